//! Reports of a request that ended: metrics, log, trace and audit.

use std::borrow::Cow;
use std::sync::atomic::Ordering;

use super::{RequestRecord, known};
use crate::telemetry::audit::RequestFacts;
use crate::telemetry::metrics::{self, EndedRequest};
use crate::telemetry::traces::RequestEnd;
use crate::telemetry::{REQUEST_MESSAGE, REQUEST_TARGET};

impl RequestRecord {
    fn count(&self) {
        let outcome = self.outcome();
        metrics::request_ended(EndedRequest {
            operation: self.operation.get().copied().unwrap_or("unknown"),
            status: match outcome {
                "aborted" | "client_left" => Cow::Borrowed(outcome),
                _ => metrics::status_text(self.status()),
            },
            client: known(&self.counted_as).unwrap_or("unknown"),
            took: self.started.elapsed(),
            received_bytes: self.received.load(Ordering::Relaxed),
            sent_bytes: self.sent.load(Ordering::Relaxed),
        });
    }

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

    /// Logs the request's line: a warning if it failed, was aborted or was refused.
    fn log(&self, trace_id: Option<&str>) {
        let refusal = self.refused.get();
        // A macro, since the level of an event must be a constant.
        macro_rules! line {
            ($level:ident) => {
                tracing::$level!(
                    target: REQUEST_TARGET,
                    request_id = self.id.as_str(),
                    operation = known(&self.operation).or(known(&self.claimed_operation)),
                    method = refusal.map(|refused| refused.method.as_str()),
                    bucket = known(&self.bucket),
                    status = self.status(),
                    outcome = self.outcome(),
                    bytes_in = self.received.load(Ordering::Relaxed),
                    bytes_out = self.sent.load(Ordering::Relaxed),
                    milliseconds = self.milliseconds(),
                    lookups = self.exact_lookups(),
                    client = known(&self.client),
                    claimed_access_key_id = self.unproven_claim(),
                    peer = %self.peer,
                    host = refusal.and_then(|refused| refused.host.as_deref()),
                    backend_request_id = known(&self.backend_request_id),
                    backend_id_2 = known(&self.backend_id_2),
                    trace_id,
                    reason = known(&self.failure),
                    "{REQUEST_MESSAGE}"
                )
            };
        }
        if self.status() >= 500 || self.outcome() == "aborted" || refusal.is_some() {
            line!(warn);
        } else {
            line!(info);
        }
    }

    /// Logs the object key, on its own line, since the key is for the debug level only.
    fn log_object_key(&self) {
        if let Some(object_key) = known(&self.object_key) {
            tracing::debug!(
                target: REQUEST_TARGET,
                request_id = self.id.as_str(),
                object_key,
                "object"
            );
        }
    }

    /// Returns the milliseconds since the request arrived.
    fn milliseconds(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    /// Returns the number of look-ups for an exact listing, or `None` without any.
    fn exact_lookups(&self) -> Option<u64> {
        let lookups = self.lookups.load(Ordering::Relaxed);
        (lookups > 0).then_some(lookups)
    }

    /// Returns the access key id that the sender of a refused request claimed, but did not prove.
    fn unproven_claim(&self) -> Option<&str> {
        let claimed = self
            .refused
            .get()
            .and_then(|_| known(&self.claimed_access_key_id));
        // A known client has proved its access key id, so the claim is of no interest.
        claimed.filter(|_| self.client.get().is_none())
    }
}

impl Drop for RequestRecord {
    fn drop(&mut self) {
        let trace_id = self.trace.trace_id();
        self.count();
        self.log(trace_id.as_deref());
        self.end_trace();
        self.audit(trace_id.as_deref());
        self.log_object_key();
    }
}
