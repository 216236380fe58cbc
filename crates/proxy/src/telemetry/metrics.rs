//! What the program counts, and the functions that count it.
//!
//! Callers name what happened in types; names and labels of metrics are this module's. Every label
//! value comes from a closed set or from the configuration, so that no request can make series.
//! Without an admin listener no recorder is installed, and all of this does nothing.
//!
//! Absent: buckets, object keys, addresses and access key ids, which belong to logs.

pub(crate) mod declared;
pub(crate) mod exporter;
mod process;
pub mod reference;

use std::borrow::Cow;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use metrics::{counter, gauge, histogram};

pub use self::exporter::ExporterError;

use self::declared::{
    ACTIVE_KEY, AUDIT_LOST, BACKEND_REQUESTS, BACKEND_RETRIES, BACKEND_SECONDS, BODY_MEMORY,
    BODY_MEMORY_LIMIT, BUILD_INFO, CERTIFICATE_EXPIRY, CONFIG_LAST_SUCCESS, CONFIG_RELOADS,
    CONFIG_SUCCESSFUL, CONNECTIONS, EVICTED, KEY_CACHE_HITS, KEY_CACHE_MISSES,
    KEY_SERVICE_BREAKERS, KEY_SERVICE_CALLS, KEY_SERVICE_SECONDS, KEY_SERVICE_WITHHELD,
    LEGACY_READS, OPEN_FAILURES, PANICS, PLAINTEXT_READS, RECEIVED_BYTES, REQUEST_SECONDS,
    REQUESTS, REQUESTS_IN_FLIGHT, REQUESTS_UNDER_KEY, SEAL_FAILURES, SENT_BYTES, THROTTLED,
};
use crate::version;

/// Declares the values of a label.
macro_rules! label {
    ($(#[$attribute:meta])* $name:ident { $($(#[$documentation:meta])* $value:ident = $text:literal,)+ }) => {
        $(#[$attribute])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub(crate) enum $name { $($(#[$documentation])* $value,)+ }

        impl $name {
            pub(crate) const ALL: &[Self] = &[$(Self::$value),+];

            pub(crate) fn as_str(self) -> &'static str {
                match self { $(Self::$value => $text,)+ }
            }
        }
    };
}

label! {
    /// A limit that a request can meet.
    Limit {
        Rate = "rate",
        ClientRate = "client_rate",
        InFlight = "in_flight",
        ClientInFlight = "client_in_flight",
        /// No memory for another body became free in time.
        Memory = "memory",
        /// A body was too slow while others waited for memory.
        BodyRate = "body_rate",
        /// More connections than are held.
        Connections = "connections",
    }
}

label! {
    /// What a connection was closed for.
    Eviction {
        /// Another connection needed its place.
        Places = "places",
        /// The heads and forms of requests that are not yet authenticated took too much memory.
        HeadMemory = "head_memory",
        /// The admin listener's places were taken.
        Admin = "admin",
    }
}

label! {
    /// Why a write had no key.
    SealFailure {
        /// The service is away, too slow, or failing inside.
        Service = "key_service",
        /// The service refused the login or the permission.
        Refused = "key_refused",
        /// The key is missing there, disabled, or of the wrong kind.
        Unusable = "key_unusable",
    }
}

label! {
    /// Why something stored did not open.
    OpenFailure {
        /// Not authentic: altered, or put together from several objects.
        Tampered = "tampered",
        /// Of a length that it cannot have: cut or extended.
        Truncated = "truncated",
        /// An envelope, or what else says how it is sealed, cannot be read.
        Malformed = "malformed",
        /// Its wrapped key is not one of this key or object.
        WrongKey = "wrong_key",
        /// No configured key is the one that it was sealed under.
        UnknownKey = "unknown_key",
        /// Its key or binding does not open where it stands: moved there, or not listed by the rule.
        OtherPlace = "other_place",
        /// An older proxy's, under the all-zero key, which may not be used.
        ZeroKey = "zero_key",
        KeyService = "key_service",
        KeyRefused = "key_refused",
        KeyUnusable = "key_unusable",
    }
}

label! {
    /// The format of an object that an older proxy wrote.
    LegacyFormat {
        Intrinsec = "intrinsec",
        Constellation = "constellation",
    }
}

label! {
    /// How a reload of the configuration ended.
    Reload {
        Success = "success",
        Failure = "failure",
    }
}

label! {
    /// Why a request to the backend is sent again.
    Retry {
        /// 429 or 503.
        SlowDown = "slow_down",
        /// 500, 502 or 504.
        ServerError = "server_error",
        Unreachable = "unreachable",
        Timeout = "timeout",
        Broken = "broken",
        Redirect = "redirect",
        Region = "region",
        Clock = "clock",
        Credentials = "credentials",
        /// A read goes on where it broke.
        Resumed = "resumed",
    }
}

label! {
    /// A kind of key service.
    ServiceKind {
        Vault = "vault",
        AwsKms = "aws_kms",
        Pkcs11 = "pkcs11",
        Constellation = "constellation",
    }
}

label! {
    /// What a key service is asked for.
    KeyCall {
        /// A new key.
        Create = "create",
        /// A key that an envelope carries.
        Open = "open",
        /// Whether it answers.
        Check = "check",
        /// The key of an older proxy's objects.
        Legacy = "legacy",
    }
}

label! {
    /// What a key service answered.
    KeyResult {
        Ok = "ok",
        Unavailable = "unavailable",
        /// It is asked too often.
        Throttled = "throttled",
        Refused = "refused",
        /// The key cannot be used.
        Unusable = "unusable",
        /// What was to be opened is not this key's.
        Unknown = "unknown",
        /// Nobody waited for the answer any longer.
        CutOff = "cut_off",
    }
}

/// A request that ended.
pub(crate) struct EndedRequest<'a> {
    /// The operation's name, or `unknown`.
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

/// The text of a status: its code, or its class where the code is none that HTTP registers, so that
/// a backend cannot make series.
pub(crate) fn status_text(status: u16) -> Cow<'static, str> {
    let known = http::StatusCode::from_u16(status)
        .ok()
        .filter(|status| status.canonical_reason().is_some());
    match known {
        Some(status) => Cow::Owned(status.as_str().to_owned()),
        None => Cow::Owned(format!("{}xx", (status / 100).min(9))),
    }
}

/// One up until it is dropped.
#[must_use]
pub(crate) struct Counted {
    gauge: metrics::Gauge,
    amount: f64,
}

impl Counted {
    fn up(gauge: metrics::Gauge, amount: f64) -> Self {
        gauge.increment(amount);
        Self { gauge, amount }
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.gauge.decrement(self.amount);
    }
}

/// A request has begun; it is in flight until what this returns is dropped.
pub(crate) fn request_begun() -> Counted {
    Counted::up(gauge!(REQUESTS_IN_FLIGHT.name), 1.0)
}

/// A request may seal something under a configured key until what this returns is dropped.
pub(crate) fn request_under_key(key: &str) -> Counted {
    Counted::up(
        gauge!(REQUESTS_UNDER_KEY.name, "key" => key.to_owned()),
        1.0,
    )
}

/// A client's connection is open until what this returns is dropped.
pub(crate) fn connection_opened() -> Counted {
    Counted::up(gauge!(CONNECTIONS.name), 1.0)
}

/// A connection was closed because others needed what it held.
pub(crate) fn evicted(reason: Eviction) {
    counter!(EVICTED.name, "reason" => reason.as_str()).increment(1);
}

/// A body has a share of the memory until what this returns is dropped.
pub(crate) fn body_memory(bytes: usize) -> Counted {
    Counted::up(gauge!(BODY_MEMORY.name), as_number(bytes as u64))
}

/// The memory for bodies, at start and after each change.
pub(crate) fn body_memory_limit(bytes: usize) {
    gauge!(BODY_MEMORY_LIMIT.name).set(as_number(bytes as u64));
}

/// A write had no key.
pub(crate) fn seal_failed(kind: SealFailure) {
    counter!(SEAL_FAILURES.name, "kind" => kind.as_str()).increment(1);
}

/// Something stored did not open.
pub(crate) fn open_failed(kind: OpenFailure) {
    counter!(OPEN_FAILURES.name, "kind" => kind.as_str()).increment(1);
}

/// An object that is not sealed was read.
pub(crate) fn plaintext_read() {
    counter!(PLAINTEXT_READS.name).increment(1);
}

/// An object of an older proxy was read.
pub(crate) fn legacy_read(format: LegacyFormat) {
    counter!(LEGACY_READS.name, "format" => format.as_str()).increment(1);
}

/// A key service was called.
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

/// A key service is left alone until what this returns is dropped.
pub(crate) fn breaker_opened(service: ServiceKind) -> Counted {
    let gauge = gauge!(KEY_SERVICE_BREAKERS.name, "service" => service.as_str());
    Counted::up(gauge, 1.0)
}

/// A call to a key service was not made, since its breaker is open.
pub(crate) fn key_service_call_withheld(service: ServiceKind) {
    counter!(KEY_SERVICE_WITHHELD.name, "service" => service.as_str()).increment(1);
}

/// A key of a key service was at hand.
pub(crate) fn key_cache_hit() {
    counter!(KEY_CACHE_HITS.name).increment(1);
}

/// A key of a key service was not at hand.
pub(crate) fn key_cache_missed() {
    counter!(KEY_CACHE_MISSES.name).increment(1);
}

/// A request to the backend was answered, or will not be.
pub(crate) fn backend_request_ended(
    operation: &'static str,
    status: Cow<'static, str>,
    took: Duration,
) {
    counter!(BACKEND_REQUESTS.name, "operation" => operation, "status" => status).increment(1);
    histogram!(BACKEND_SECONDS.name, "operation" => operation).record(took);
}

/// A request to the backend is sent once more.
pub(crate) fn backend_retried(reason: Retry) {
    counter!(BACKEND_RETRIES.name, "reason" => reason.as_str()).increment(1);
}

/// Some task of the program panicked.
pub(crate) fn panicked() {
    counter!(PANICS.name).increment(1);
}

/// The key seals new objects from now on, where no rule says otherwise.
pub(crate) fn active_key(name: &str) {
    gauge!(ACTIVE_KEY.name, "key" => name.to_owned()).set(1.0);
}

/// The key seals new objects no more.
pub(crate) fn former_active_key(name: &str) {
    gauge!(ACTIVE_KEY.name, "key" => name.to_owned()).set(0.0);
}

/// The certificate that is served from now on ends then.
pub(crate) fn certificate(expiry: time::OffsetDateTime) {
    let seconds = u64::try_from(expiry.unix_timestamp()).unwrap_or(0);
    gauge!(CERTIFICATE_EXPIRY.name).set(as_number(seconds));
}

/// A reload of the configuration ended. The first load, at start, is told of by the exporter.
pub(crate) fn config_reloaded(result: Reload) {
    counter!(CONFIG_RELOADS.name, "result" => result.as_str()).increment(1);
    config_state(result);
}

fn config_state(result: Reload) {
    match result {
        Reload::Success => {
            let now = SystemTime::now().duration_since(UNIX_EPOCH);
            let now = now.map_or(0, |since| since.as_secs());
            gauge!(CONFIG_LAST_SUCCESS.name).set(as_number(now));
            gauge!(CONFIG_SUCCESSFUL.name).set(1.0);
        }
        Reload::Failure => gauge!(CONFIG_SUCCESSFUL.name).set(0.0),
    }
}

/// A request was told to slow down.
pub(crate) fn throttled(limit: Limit) {
    counter!(THROTTLED.name, "limit" => limit.as_str()).increment(1);
}

/// Requests, or parts of a batch, have no line in the audit log.
pub(crate) fn audit_lost(lines: u32) {
    counter!(AUDIT_LOST.name).increment(u64::from(lines));
}

/// Series that are there from the start, so that the first increase can be seen as one.
fn begin() {
    let (version, commit) = (version::VERSION, version::COMMIT);
    gauge!(BUILD_INFO.name, "version" => version, "commit" => commit).set(1.0);
    gauge!(REQUESTS_IN_FLIGHT.name).set(0.0);
    gauge!(CONNECTIONS.name).set(0.0);
    gauge!(BODY_MEMORY.name).set(0.0);
    config_state(Reload::Success);
    for metric in [
        PLAINTEXT_READS,
        KEY_CACHE_HITS,
        KEY_CACHE_MISSES,
        AUDIT_LOST,
        PANICS,
    ] {
        counter!(metric.name).increment(0);
    }
    for (metric, label, values) in [
        (
            SEAL_FAILURES,
            "kind",
            all(SealFailure::ALL, SealFailure::as_str),
        ),
        (
            OPEN_FAILURES,
            "kind",
            all(OpenFailure::ALL, OpenFailure::as_str),
        ),
        (
            LEGACY_READS,
            "format",
            all(LegacyFormat::ALL, LegacyFormat::as_str),
        ),
        (BACKEND_RETRIES, "reason", all(Retry::ALL, Retry::as_str)),
        (CONFIG_RELOADS, "result", all(Reload::ALL, Reload::as_str)),
        (EVICTED, "reason", all(Eviction::ALL, Eviction::as_str)),
        (THROTTLED, "limit", all(Limit::ALL, Limit::as_str)),
    ] {
        for value in values {
            counter!(metric.name, label => value).increment(0);
        }
    }
}

fn all<T: Copy>(values: &[T], text: fn(T) -> &'static str) -> Vec<&'static str> {
    values.iter().copied().map(text).collect()
}

/// Numbers of bytes and seconds are exact below 2^53.
fn as_number(integer: u64) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "far below 2^53")]
    let number = integer as f64;
    number
}

#[cfg(test)]
pub(crate) mod tests;
