//! The program's metrics, and the functions that count them.
//!
//! Callers name the event in types; names and labels of metrics are internal to this module. Every
//! label value comes from a closed set or from the configuration, so that no request can create
//! series. Without an admin listener no recorder is installed, and all of this does nothing.
//!
//! Absent: buckets, object keys, addresses and access key ids, which belong to logs.

pub(crate) mod declared;
pub(crate) mod exporter;
mod labels;
mod process;
pub mod reference;

use std::borrow::Cow;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use metrics::{counter, gauge, histogram};

pub use self::exporter::ExporterError;
pub(crate) use self::labels::{
    Eviction, KeyCall, KeyResult, LegacyFormat, Limit, OpenFailure, ReloadResult, RetryReason,
    SealFailure, ServiceKind,
};

use self::declared::{
    ACTIVE_KEY, AUDIT_LOST, BACKEND_REQUESTS, BACKEND_RETRIES, BACKEND_SECONDS, BODY_MEMORY,
    BODY_MEMORY_LIMIT, BUILD_INFO, CERTIFICATE_EXPIRY, CONFIG_LAST_SUCCESS, CONFIG_RELOADS,
    CONFIG_SUCCESSFUL, CONNECTIONS, EVICTED, KEY_CACHE_HITS, KEY_CACHE_MISSES,
    KEY_SERVICE_BREAKERS, KEY_SERVICE_CALLS, KEY_SERVICE_SECONDS, KEY_SERVICE_WITHHELD,
    LEGACY_READS, Metric, OPEN_FAILURES, PANICS, PLAINTEXT_READS, RECEIVED_BYTES, REQUEST_SECONDS,
    REQUESTS, REQUESTS_IN_FLIGHT, REQUESTS_UNDER_KEY, SEAL_FAILURES, SENT_BYTES, THROTTLED,
};
use crate::version;

/// A request that ended.
pub(crate) struct EndedRequest<'a> {
    /// Name of the operation, or `unknown`.
    pub(crate) operation: &'static str,
    pub(crate) status: Cow<'static, str>,
    pub(crate) client: &'a str,
    pub(crate) took: Duration,
    pub(crate) received_bytes: u64,
    pub(crate) sent_bytes: u64,
}

/// Counts a request that ended.
pub(crate) fn request_ended(request: EndedRequest<'_>) {
    let EndedRequest {
        operation,
        status,
        client,
        took,
        received_bytes,
        sent_bytes,
    } = request;
    let client = client.to_owned();
    counter!(REQUESTS.name, "operation" => operation, "status" => status, "client" => client)
        .increment(1);
    histogram!(REQUEST_SECONDS.name, "operation" => operation).record(took);
    if received_bytes > 0 {
        counter!(RECEIVED_BYTES.name, "operation" => operation).increment(received_bytes);
    }
    if sent_bytes > 0 {
        counter!(SENT_BYTES.name, "operation" => operation).increment(sent_bytes);
    }
}

/// Returns the label of a status: its code, or its class if HTTP registers no such code, so that a
/// backend cannot create series.
pub(crate) fn status_text(status: u16) -> Cow<'static, str> {
    let known = http::StatusCode::from_u16(status)
        .ok()
        .filter(|status| status.canonical_reason().is_some());
    match known {
        Some(status) => Cow::Owned(status.as_str().to_owned()),
        None => Cow::Owned(format!("{}xx", (status / 100).min(9))),
    }
}

/// A gauge that is raised until this is dropped.
#[must_use]
pub(crate) struct GaugeGuard {
    gauge: metrics::Gauge,
    amount: f64,
}

impl GaugeGuard {
    fn up(gauge: metrics::Gauge, amount: f64) -> Self {
        gauge.increment(amount);
        Self { gauge, amount }
    }
}

impl Drop for GaugeGuard {
    fn drop(&mut self) {
        self.gauge.decrement(self.amount);
    }
}

/// Counts a request in flight until the returned value is dropped.
pub(crate) fn request_begun() -> GaugeGuard {
    GaugeGuard::up(gauge!(REQUESTS_IN_FLIGHT.name), 1.0)
}

/// Counts a request that may seal under a configured key, until the returned value is dropped.
pub(crate) fn request_under_key(key: &str) -> GaugeGuard {
    GaugeGuard::up(
        gauge!(REQUESTS_UNDER_KEY.name, "key" => key.to_owned()),
        1.0,
    )
}

/// Counts an open connection of a client until the returned value is dropped.
pub(crate) fn connection_opened() -> GaugeGuard {
    GaugeGuard::up(gauge!(CONNECTIONS.name), 1.0)
}

/// Counts a connection that was closed because others needed its resources.
pub(crate) fn evicted(reason: Eviction) {
    counter!(EVICTED.name, "reason" => reason.as_str()).increment(1);
}

/// Counts a body's share of the memory until the returned value is dropped.
pub(crate) fn body_memory(bytes: usize) -> GaugeGuard {
    GaugeGuard::up(gauge!(BODY_MEMORY.name), as_number(bytes as u64))
}

/// Sets the memory limit for bodies, at start and after each change.
pub(crate) fn body_memory_limit(bytes: usize) {
    gauge!(BODY_MEMORY_LIMIT.name).set(as_number(bytes as u64));
}

/// Counts a write for which there was no key.
pub(crate) fn seal_failed(kind: SealFailure) {
    counter!(SEAL_FAILURES.name, "kind" => kind.as_str()).increment(1);
}

/// Counts stored data that could not be opened.
pub(crate) fn open_failed(kind: OpenFailure) {
    counter!(OPEN_FAILURES.name, "kind" => kind.as_str()).increment(1);
}

/// Counts a read of an object that is not sealed.
pub(crate) fn plaintext_read() {
    counter!(PLAINTEXT_READS.name).increment(1);
}

/// Counts a read of an older proxy's object.
pub(crate) fn legacy_read(format: LegacyFormat) {
    counter!(LEGACY_READS.name, "format" => format.as_str()).increment(1);
}

/// Counts a call to a key service.
pub(crate) fn key_service_called(
    service: ServiceKind,
    call: KeyCall,
    result: KeyResult,
    took: Duration,
) {
    let (service, call) = (service.as_str(), call.as_str());
    let result = result.as_str();
    counter!(KEY_SERVICE_CALLS.name, "service" => service, "call" => call, "result" => result)
        .increment(1);
    histogram!(KEY_SERVICE_SECONDS.name, "service" => service, "call" => call).record(took);
}

/// Counts an open breaker of a key service until the returned value is dropped.
pub(crate) fn breaker_opened(service: ServiceKind) -> GaugeGuard {
    let gauge = gauge!(KEY_SERVICE_BREAKERS.name, "service" => service.as_str());
    GaugeGuard::up(gauge, 1.0)
}

/// Counts a call to a key service that was not made, since its breaker is open.
pub(crate) fn key_service_call_withheld(service: ServiceKind) {
    counter!(KEY_SERVICE_WITHHELD.name, "service" => service.as_str()).increment(1);
}

/// Counts a cache hit for a key of a key service.
pub(crate) fn key_cache_hit() {
    counter!(KEY_CACHE_HITS.name).increment(1);
}

/// Counts a cache miss for a key of a key service.
pub(crate) fn key_cache_missed() {
    counter!(KEY_CACHE_MISSES.name).increment(1);
}

/// Counts an attempt at a request to the backend, with its result.
pub(crate) fn backend_request_ended(
    operation: &'static str,
    status: Cow<'static, str>,
    took: Duration,
) {
    counter!(BACKEND_REQUESTS.name, "operation" => operation, "status" => status).increment(1);
    histogram!(BACKEND_SECONDS.name, "operation" => operation).record(took);
}

/// Counts another attempt at a request to the backend.
pub(crate) fn backend_retried(reason: RetryReason) {
    counter!(BACKEND_RETRIES.name, "reason" => reason.as_str()).increment(1);
}

/// Counts a panic in any task of the program.
pub(crate) fn panicked() {
    counter!(PANICS.name).increment(1);
}

/// Sets the key that seals new objects from now on if no rule chooses another.
pub(crate) fn active_key(name: &str) {
    gauge!(ACTIVE_KEY.name, "key" => name.to_owned()).set(1.0);
}

/// Clears a key that does not seal new objects any more.
pub(crate) fn former_active_key(name: &str) {
    gauge!(ACTIVE_KEY.name, "key" => name.to_owned()).set(0.0);
}

/// Sets the expiry of the certificate that is served from now on.
pub(crate) fn certificate(expiry: time::OffsetDateTime) {
    let seconds = u64::try_from(expiry.unix_timestamp()).unwrap_or(0);
    gauge!(CERTIFICATE_EXPIRY.name).set(as_number(seconds));
}

/// Counts a reload of the configuration. The first load, at start, is reported by the exporter.
pub(crate) fn config_reloaded(result: ReloadResult) {
    counter!(CONFIG_RELOADS.name, "result" => result.as_str()).increment(1);
    config_state(result);
}

fn config_state(result: ReloadResult) {
    match result {
        ReloadResult::Success => {
            let now = SystemTime::now().duration_since(UNIX_EPOCH);
            let now = now.map_or(0, |since| since.as_secs());
            gauge!(CONFIG_LAST_SUCCESS.name).set(as_number(now));
            gauge!(CONFIG_SUCCESSFUL.name).set(1.0);
        }
        ReloadResult::Failure => gauge!(CONFIG_SUCCESSFUL.name).set(0.0),
    }
}

/// Counts a throttled request.
pub(crate) fn throttled(limit: Limit) {
    counter!(THROTTLED.name, "limit" => limit.as_str()).increment(1);
}

/// Counts requests, or parts of a batch, without a line in the audit log.
pub(crate) fn audit_lost(lines: u32) {
    counter!(AUDIT_LOST.name).increment(u64::from(lines));
}

/// Creates the series that exist from the start, so that their first increase is visible.
fn begin() {
    let (version, commit) = (version::VERSION, version::COMMIT);
    gauge!(BUILD_INFO.name, "version" => version, "commit" => commit).set(1.0);
    gauge!(REQUESTS_IN_FLIGHT.name).set(0.0);
    gauge!(CONNECTIONS.name).set(0.0);
    gauge!(BODY_MEMORY.name).set(0.0);
    // The start counts as a successful load.
    config_state(ReloadResult::Success);
    for metric in [
        PLAINTEXT_READS,
        KEY_CACHE_HITS,
        KEY_CACHE_MISSES,
        AUDIT_LOST,
        PANICS,
    ] {
        counter!(metric.name).increment(0);
    }
    begin_labelled(SEAL_FAILURES, "kind", SealFailure::ALL, SealFailure::as_str);
    begin_labelled(OPEN_FAILURES, "kind", OpenFailure::ALL, OpenFailure::as_str);
    begin_labelled(
        LEGACY_READS,
        "format",
        LegacyFormat::ALL,
        LegacyFormat::as_str,
    );
    begin_labelled(
        BACKEND_RETRIES,
        "reason",
        RetryReason::ALL,
        RetryReason::as_str,
    );
    begin_labelled(
        CONFIG_RELOADS,
        "result",
        ReloadResult::ALL,
        ReloadResult::as_str,
    );
    begin_labelled(EVICTED, "reason", Eviction::ALL, Eviction::as_str);
    begin_labelled(THROTTLED, "limit", Limit::ALL, Limit::as_str);
}

/// Creates a counter's series of each value of a label.
fn begin_labelled<T: Copy>(
    metric: &Metric,
    label: &'static str,
    values: &[T],
    text: fn(T) -> &'static str,
) {
    for value in all(values, text) {
        counter!(metric.name, label => value).increment(0);
    }
}

fn all<T: Copy>(values: &[T], text: fn(T) -> &'static str) -> Vec<&'static str> {
    values.iter().copied().map(text).collect()
}

/// Converts a number of bytes or seconds, exact below 2^53.
fn as_number(integer: u64) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "far below 2^53")]
    let number = integer as f64;
    number
}

#[cfg(test)]
pub(crate) mod tests;
