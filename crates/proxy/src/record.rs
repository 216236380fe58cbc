//! The record of one request, and its log line.
//!
//! The line is written when the last owner drops the record: after the response's last byte, or
//! when the client disconnected. It names the bucket, but the object's key appears at debug level
//! only; no header value and no query string is ever part of it.

mod end_reports;

use std::fmt;
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, AtomicU16, AtomicU64, Ordering};
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use http::{HeaderValue, Method, header};
use s3proxy_protocol::headers;
use s3proxy_protocol::quote;

use crate::keys::keys_in_use::SealingRequest;
use crate::telemetry::audit::AuditTrail;
use crate::telemetry::metrics::{self, GaugeGuard};
use crate::telemetry::traces::RequestTrace;

/// Longest reason of a failure that is kept, in bytes: it may quote a client or a backend.
const MAXIMUM_REASON_BYTES: usize = 1024;

/// Longest text of a refused request that its line repeats, in bytes.
const MAXIMUM_CLAIM_BYTES: usize = 128;

/// Longest request id of a backend that is kept, in bytes.
const MAXIMUM_REQUEST_ID_BYTES: usize = 128;

/// Identifies a request in its response (`x-amz-request-id` and `x-s3proxy-request-id`), in errors and
/// in logs.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct RequestId(String);

impl RequestId {
    /// Generates 16 hexadecimal digits, unique for practical purposes.
    pub(crate) fn generate() -> Self {
        let mut bytes = [0; 8];
        aws_lc_rs::rand::fill(&mut bytes).expect("the system's generator works");
        Self(format!("{:016X}", u64::from_be_bytes(bytes)))
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for RequestId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

/// Identifies this process in responses (`x-amz-id-2`) and errors (`HostId`), as S3 identifies the
/// host that responded.
pub(crate) fn host_id() -> &'static str {
    static HOST_ID: LazyLock<String> =
        LazyLock::new(|| format!("{}{}", RequestId::generate(), RequestId::generate()));
    &HOST_ID
}

/// Facts about a request, collected while it is served.
pub(crate) struct RequestRecord {
    pub(crate) id: RequestId,
    started: Instant,
    pub(crate) peer: IpAddr,
    operation: OnceLock<&'static str>,
    bucket: OnceLock<String>,
    object_key: OnceLock<String>,
    client: OnceLock<String>,
    /// Name of the client in metrics.
    counted_as: OnceLock<String>,
    backend_request_id: OnceLock<String>,
    backend_id_2: OnceLock<String>,
    failure: OnceLock<String>,
    claimed_access_key_id: OnceLock<String>,
    /// Operation of a request without a valid signature: for the log, never a label of metrics.
    claimed_operation: OnceLock<&'static str>,
    refused: OnceLock<Refused>,
    status: AtomicU16,
    /// Number of received bytes of the request's body, as they were sent.
    pub(crate) received: Arc<AtomicU64>,
    sent: AtomicU64,
    broken: AtomicBool,
    left: AtomicBool,
    /// Status of an error after a status line of 200; zero without one.
    late_status: AtomicU16,
    /// Number of requests to the backend for an exact listing, beyond its own.
    lookups: AtomicU64,
    /// Number of bytes that the response announced.
    announced: AtomicU64,
    _in_flight: GaugeGuard,
    /// Keys that the request may seal under.
    sealing: Mutex<Option<SealingRequest>>,
    /// Notes for the audit log.
    pub(crate) trail: AuditTrail,
    pub(crate) trace: RequestTrace,
}

/// Properties of a request in case it is refused, as it claims them: none was verified.
pub(crate) struct Refusal {
    method: Method,
    host: Option<HeaderValue>,
}

/// Shortened properties, which hold no memory of the request's head.
struct Refused {
    method: String,
    host: Option<String>,
}

impl Refusal {
    pub(crate) fn from_head(parts: &http::request::Parts) -> Self {
        Self {
            method: parts.method.clone(),
            host: parts.headers.get(header::HOST).cloned(),
        }
    }

    fn shortened(&self) -> Refused {
        let host = self.host.as_ref().and_then(headers::value_text);
        Refused {
            method: quote::bounded(&self.method, MAXIMUM_CLAIM_BYTES),
            host: host.map(|host| quote::bounded(&host, MAXIMUM_CLAIM_BYTES)),
        }
    }
}

impl RequestRecord {
    pub(crate) fn begin(peer: IpAddr) -> Self {
        Self {
            id: RequestId::generate(),
            started: Instant::now(),
            peer,
            operation: OnceLock::new(),
            bucket: OnceLock::new(),
            object_key: OnceLock::new(),
            client: OnceLock::new(),
            counted_as: OnceLock::new(),
            backend_request_id: OnceLock::new(),
            backend_id_2: OnceLock::new(),
            failure: OnceLock::new(),
            claimed_access_key_id: OnceLock::new(),
            claimed_operation: OnceLock::new(),
            refused: OnceLock::new(),
            status: AtomicU16::new(0),
            received: Arc::default(),
            sent: AtomicU64::new(0),
            broken: AtomicBool::new(false),
            left: AtomicBool::new(false),
            late_status: AtomicU16::new(0),
            lookups: AtomicU64::new(0),
            announced: AtomicU64::new(0),
            _in_flight: metrics::request_begun(),
            sealing: Mutex::default(),
            trail: AuditTrail::default(),
            trace: RequestTrace::default(),
        }
    }

    /// Notes that the request may seal under any of these keys until its end.
    pub(crate) fn may_seal(&self, request: SealingRequest) {
        *self.sealing() = Some(request);
    }

    /// Notes that the request seals under this key, or under none.
    pub(crate) fn seals_under(&self, key: Option<&str>) {
        if let Some(request) = self.sealing().as_mut() {
            request.only(key);
        }
    }

    fn sealing(&self) -> MutexGuard<'_, Option<SealingRequest>> {
        // A poisoned lock is usable: an `Option` has no half-written state.
        self.sealing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns how long ago the request arrived.
    pub(crate) fn age(&self) -> Duration {
        self.started.elapsed()
    }

    pub(crate) fn operation(&self, name: &'static str) {
        // The first note counts.
        let _ = self.operation.set(name);
    }

    pub(crate) fn target(&self, bucket: Option<&str>, object_key: Option<&str>) {
        if let Some(bucket) = bucket {
            let _ = self.bucket.set(bucket.to_owned());
        }
        if let Some(object_key) = object_key {
            let _ = self.object_key.set(object_key.to_owned());
        }
    }

    pub(crate) fn client(&self, name: &str) {
        let _ = self.client.set(name.to_owned());
    }

    /// Notes the client's name in metrics: never an unverified claim.
    pub(crate) fn counted_as(&self, name: &str) {
        let _ = self.counted_as.set(name.to_owned());
    }

    pub(crate) fn backend_request_id(&self, id: &str) {
        let _ = self
            .backend_request_id
            .set(quote::bounded(&id, MAXIMUM_REQUEST_ID_BYTES));
    }

    /// Notes the backend's id of its host, from `x-amz-id-2`.
    pub(crate) fn backend_id_2(&self, id: &str) {
        let _ = self
            .backend_id_2
            .set(quote::bounded(&id, MAXIMUM_REQUEST_ID_BYTES));
    }

    /// The ids that a response carries, with the names of their headers: the proxy's own as S3 names
    /// them, and the backend's, if it was asked.
    pub(crate) fn ids(&self) -> impl Iterator<Item = (&'static str, &str)> {
        let backend = [
            (
                "x-s3proxy-backend-request-id",
                known(&self.backend_request_id),
            ),
            ("x-s3proxy-backend-id-2", known(&self.backend_id_2)),
        ];
        let own = [
            ("x-amz-request-id", self.id.as_str()),
            ("x-amz-id-2", host_id()),
            ("x-s3proxy-request-id", self.id.as_str()),
        ];
        own.into_iter().chain(
            backend
                .into_iter()
                .filter_map(|(name, id)| Some((name, id?))),
        )
    }

    /// Notes the reason of an error response, for the log only.
    pub(crate) fn failure(&self, reason: &dyn fmt::Display) {
        let _ = self
            .failure
            .set(quote::bounded(reason, MAXIMUM_REASON_BYTES));
    }

    /// Notes the access key id that the sender claims; a signature has yet to prove it.
    pub(crate) fn claims(&self, access_key_id: &str) {
        let _ = self
            .claimed_access_key_id
            .set(quote::bounded(&access_key_id, MAXIMUM_CLAIM_BYTES));
        self.trail.claims(access_key_id);
    }

    /// Notes the operation that the request would be, if its sender were known.
    pub(crate) fn claims_operation(&self, name: &'static str) {
        let _ = self.claimed_operation.set(name);
    }

    /// Notes that the request was refused: its line is a warning, and repeats its claims.
    pub(crate) fn refused(&self, refusal: &Refusal) {
        let _ = self.refused.set(refusal.shortened());
    }

    pub(crate) fn answered(&self, status: http::StatusCode, announced: u64) {
        self.status.store(status.as_u16(), Ordering::Relaxed);
        self.announced.store(announced, Ordering::Relaxed);
    }

    pub(crate) fn sent(&self, bytes: usize) {
        self.sent.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    /// Counts a look-up of an object in a listing.
    pub(crate) fn looked_up(&self) {
        self.lookups.fetch_add(1, Ordering::Relaxed);
    }

    /// Notes that the client disconnected before its response was made.
    pub(crate) fn client_left(&self) {
        self.left.store(true, Ordering::Relaxed);
    }

    /// Notes that a response that began with 200 turned out to be an error.
    pub(crate) fn failed_late(&self, status: http::StatusCode) {
        self.late_status.store(status.as_u16(), Ordering::Relaxed);
    }

    /// Notes that the response's body failed after the status line: the connection is aborted.
    pub(crate) fn broke_off(&self, reason: &dyn fmt::Display) {
        self.broken.store(true, Ordering::Relaxed);
        self.failure(reason);
    }

    /// Returns the final status of the request; 0 if there was none.
    pub(crate) fn status(&self) -> u16 {
        match self.late_status.load(Ordering::Relaxed) {
            0 => self.status.load(Ordering::Relaxed),
            late => late,
        }
    }

    /// Returns, in one word, how the response ended.
    pub(crate) fn outcome(&self) -> &'static str {
        let sent = self.sent.load(Ordering::Relaxed);
        let cut_short = sent < self.announced.load(Ordering::Relaxed);
        // From the worst to the best: an aborted response was also cut short.
        if self.broken.load(Ordering::Relaxed) {
            "aborted"
        } else if self.status() == 0 || cut_short || self.left.load(Ordering::Relaxed) {
            "client_left"
        } else if self.late_status.load(Ordering::Relaxed) != 0 {
            "late_error"
        } else {
            "complete"
        }
    }
}

fn known<T: AsRef<str>>(field: &OnceLock<T>) -> Option<&str> {
    field.get().map(AsRef::as_ref)
}
