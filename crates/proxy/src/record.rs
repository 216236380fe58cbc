//! The record of one request, and the log line that it becomes.
//!
//! The line is written when the last owner lets go of the record: after the response's last byte,
//! or when the client went away. It names the bucket, never the object's key, which appears at
//! debug level only; no header value and no query string is ever part of it.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::atomic::{AtomicBool, AtomicU16, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use crate::telemetry::audit::{AuditTrail, RequestFacts};
use crate::telemetry::traces::{RequestEnd, RequestTrace};

/// Identifies a request in the answer (`x-s3proxy-request-id`), in errors and in logs.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct RequestId(String);

impl RequestId {
    /// 16 hexadecimal digits, unique for practical purposes.
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

/// What is learnt of a request while it is served.
pub(crate) struct RequestRecord {
    pub(crate) id: RequestId,
    started: Instant,
    peer: IpAddr,
    operation: OnceLock<&'static str>,
    bucket: OnceLock<String>,
    object_key: OnceLock<String>,
    client: OnceLock<String>,
    backend_request_id: OnceLock<String>,
    failure: OnceLock<String>,
    status: AtomicU16,
    /// Bytes of the request's body as they came.
    pub(crate) received: Arc<AtomicU64>,
    sent: AtomicU64,
    broken: AtomicBool,
    left: AtomicBool,
    /// That of an error which came behind a status line of 200; zero without one.
    late_status: AtomicU16,
    /// Requests to the backend that an exact listing cost on top of its own.
    lookups: AtomicU64,
    /// Bytes that the response announced.
    announced: AtomicU64,
    told: Told,
    /// For the audit log.
    pub(crate) trail: AuditTrail,
    pub(crate) trace: RequestTrace,
}

/// Whether a line is written of it.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Told {
    InTheLog,
    /// A command tells of its objects itself.
    Elsewhere,
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
            backend_request_id: OnceLock::new(),
            failure: OnceLock::new(),
            status: AtomicU16::new(0),
            received: Arc::default(),
            sent: AtomicU64::new(0),
            broken: AtomicBool::new(false),
            left: AtomicBool::new(false),
            late_status: AtomicU16::new(0),
            lookups: AtomicU64::new(0),
            announced: AtomicU64::new(0),
            told: Told::InTheLog,
            trail: AuditTrail::default(),
            trace: RequestTrace::default(),
        }
    }

    /// For a request of the program's own, which no client made.
    pub(crate) fn untold() -> Self {
        let mut record = Self::begin(IpAddr::V4(Ipv4Addr::LOCALHOST));
        record.told = Told::Elsewhere;
        record
    }

    /// How long ago the request arrived.
    pub(crate) fn age(&self) -> Duration {
        self.started.elapsed()
    }

    pub(crate) fn operation(&self, name: &'static str) {
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

    pub(crate) fn backend_request_id(&self, id: &str) {
        let _ = self.backend_request_id.set(id.to_owned());
    }

    /// The reason behind an error answer, for the log alone.
    pub(crate) fn failure(&self, reason: &dyn fmt::Display) {
        let _ = self.failure.set(reason.to_string());
    }

    pub(crate) fn answered(&self, status: http::StatusCode, announced: u64) {
        self.status.store(status.as_u16(), Ordering::Relaxed);
        self.announced.store(announced, Ordering::Relaxed);
    }

    pub(crate) fn sent(&self, bytes: usize) {
        self.sent.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    /// One object of a listing was looked up.
    pub(crate) fn looked_up(&self) {
        self.lookups.fetch_add(1, Ordering::Relaxed);
    }

    /// The client left before its answer was made.
    pub(crate) fn client_left(&self) {
        self.left.store(true, Ordering::Relaxed);
    }

    /// The answer that began with 200 turned out to be an error.
    pub(crate) fn failed_late(&self, status: http::StatusCode) {
        self.late_status.store(status.as_u16(), Ordering::Relaxed);
    }

    /// The response's body failed after the status line: the connection is aborted.
    pub(crate) fn broke_off(&self, reason: &dyn fmt::Display) {
        self.broken.store(true, Ordering::Relaxed);
        self.failure(reason);
    }

    /// The status that tells what became of the request; 0 if there was none.
    pub(crate) fn status(&self) -> u16 {
        match self.late_status.load(Ordering::Relaxed) {
            0 => self.status.load(Ordering::Relaxed),
            late => late,
        }
    }

    /// How the answer ended, in one word.
    pub(crate) fn outcome(&self) -> &'static str {
        let sent = self.sent.load(Ordering::Relaxed);
        let cut_short = sent < self.announced.load(Ordering::Relaxed);
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

impl RequestRecord {
    fn end_trace(&self) {
        self.trace.end(&RequestEnd {
            request_id: self.id.as_str(),
            operation: self.operation.get().copied(),
            bucket: known(&self.bucket),
            status: self.status(),
            outcome: self.outcome(),
            received: self.received.load(Ordering::Relaxed),
            sent: self.sent.load(Ordering::Relaxed),
        });
    }

    fn audit(&mut self, trace_id: Option<&str>) {
        let facts = RequestFacts {
            request_id: self.id.as_str(),
            trace_id,
            peer: self.peer,
            client: known(&self.client),
            operation: self.operation.get().copied(),
            bucket: known(&self.bucket),
            object_key: known(&self.object_key),
            status: self.status(),
            outcome: self.outcome(),
            failure: known(&self.failure),
            duration: self.started.elapsed(),
            received: self.received.load(Ordering::Relaxed),
            sent: self.sent.load(Ordering::Relaxed),
            backend_request_id: known(&self.backend_request_id),
        };
        let mut trail = std::mem::take(&mut self.trail);
        trail.finish(&facts);
    }
}

fn known<T: AsRef<str>>(field: &OnceLock<T>) -> Option<&str> {
    field.get().map(AsRef::as_ref)
}

impl Drop for RequestRecord {
    fn drop(&mut self) {
        if self.told == Told::Elsewhere {
            return;
        }
        let status = self.status();
        let sent = self.sent.load(Ordering::Relaxed);
        let outcome = self.outcome();
        let milliseconds = u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX);
        let lookups = self.lookups.load(Ordering::Relaxed);
        let trace_id = self.trace.trace_id();
        let failed = status >= 500 || outcome == "aborted";
        macro_rules! line {
            ($level:ident) => {
                tracing::$level!(
                    target: "s3proxy::request",
                    request_id = self.id.as_str(),
                    operation = known(&self.operation),
                    bucket = known(&self.bucket),
                    status,
                    outcome,
                    bytes_in = self.received.load(Ordering::Relaxed),
                    bytes_out = sent,
                    milliseconds,
                    lookups = (lookups > 0).then_some(lookups),
                    client = known(&self.client),
                    peer = %self.peer,
                    backend_request_id = known(&self.backend_request_id),
                    trace_id = trace_id.as_deref(),
                    reason = known(&self.failure),
                    "request"
                )
            };
        }
        if failed {
            line!(warn);
        } else {
            line!(info);
        }
        self.end_trace();
        self.audit(trace_id.as_deref());
        if let Some(object_key) = known(&self.object_key) {
            tracing::debug!(
                target: "s3proxy::request",
                request_id = self.id.as_str(),
                object_key,
                "object"
            );
        }
    }
}
