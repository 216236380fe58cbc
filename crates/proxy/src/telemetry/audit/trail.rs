//! Notes that the steps of a request leave for the audit log.
//!
//! Each step notes the facts it learns. The first note of a kind counts, and all notes are written
//! when the request's record ends. Without an audit log, nothing is kept.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use time::OffsetDateTime;
use tokio::sync::OwnedSemaphorePermit;

use super::line::{
    self, CopySource, Event, LineHead, ObjectLine, RequestLine, StoredForm, shortened,
};
use super::{AuditSlot, AuditUnavailable};
use crate::config::resolved::AuditObjectKeys;

/// Notes for the lines of one request.
#[derive(Default)]
pub(crate) struct AuditTrail {
    slot: OnceLock<AuditSlot>,
    claimed_access_key_id: OnceLock<String>,
    access_key_id: OnceLock<String>,
    signature_version: OnceLock<u8>,
    requested_version: OnceLock<String>,
    response_version: OnceLock<String>,
    source: OnceLock<CopySource>,
    admitted: AtomicBool,
    denied: AtomicBool,
    error_code: OnceLock<String>,
    read: OnceLock<StoredForm>,
    written: OnceLock<StoredForm>,
    batch: OnceLock<BatchObjects>,
    batch_errors: OnceLock<BatchErrors>,
}

/// Objects of a batch.
struct BatchObjects {
    lines: Vec<ObjectLine>,
    slot: Option<OwnedSemaphorePermit>,
}

/// Object key, version id and error code of the backend, per object.
pub(crate) type BatchErrors = Vec<(String, Option<String>, String)>;

/// Facts from the request's own record.
pub(crate) struct RequestFacts<'a> {
    pub(crate) request_id: &'a str,
    pub(crate) trace_id: Option<&'a str>,
    pub(crate) peer: IpAddr,
    pub(crate) client: Option<&'a str>,
    pub(crate) operation: Option<&'static str>,
    pub(crate) bucket: Option<&'a str>,
    pub(crate) object_key: Option<&'a str>,
    pub(crate) status: u16,
    pub(crate) outcome: &'static str,
    pub(crate) failure: Option<&'a str>,
    pub(crate) duration: Duration,
    pub(crate) received: u64,
    pub(crate) sent: u64,
    pub(crate) backend_request_id: Option<&'a str>,
}

impl AuditTrail {
    /// Marks the request as audited from now on.
    pub(crate) fn begin(&self, slot: AuditSlot) {
        let _ = self.slot.set(slot);
    }

    fn is_kept(&self) -> bool {
        self.slot.get().is_some()
    }

    fn note<T>(&self, field: &OnceLock<T>, make: impl FnOnce() -> T) {
        if self.is_kept() {
            let _ = field.set(make());
        }
    }

    /// Notes the access key id that the request claims. Nothing was verified.
    pub(crate) fn claims(&self, access_key_id: &str) {
        self.note(&self.claimed_access_key_id, || {
            shortened(access_key_id, line::CLAIM_BYTES).to_owned()
        });
    }

    /// Notes the access key id whose signature was verified.
    pub(crate) fn verified(&self, access_key_id: &str) {
        self.note(&self.access_key_id, || access_key_id.to_owned());
    }

    /// Notes that the signature is of Version 2.
    pub(crate) fn signed_with_version_2(&self) {
        self.note(&self.signature_version, || 2);
    }

    /// Notes the version that the request names.
    pub(crate) fn requests_version(&self, version: &str) {
        self.note(&self.requested_version, || {
            shortened(version, line::VERSION_ID_BYTES).to_owned()
        });
    }

    /// Notes the version that the response names.
    pub(crate) fn returns_version(&self, version: &str) {
        self.note(&self.response_version, || {
            shortened(version, line::VERSION_ID_BYTES).to_owned()
        });
    }

    /// Notes the source of a copy.
    pub(crate) fn copies(&self, bucket: &str, object_key: &str, version: Option<&str>) {
        let names_objects = |slot: &AuditSlot| match slot.object_keys() {
            AuditObjectKeys::Plain => true,
            AuditObjectKeys::Off => false,
        };
        self.note(&self.source, || {
            let source = CopySource {
                bucket: bucket.to_owned(),
                object_key: self
                    .slot
                    .get()
                    .filter(|slot| names_objects(slot))
                    .map(|_| object_key.to_owned()),
                version_id: version.map(str::to_owned),
            };
            source.bounded()
        });
    }

    /// Notes that signature, grants and policy admitted the request.
    pub(crate) fn admit(&self) {
        self.admitted.store(true, Ordering::Relaxed);
    }

    /// Notes that the proxy itself denied access later on.
    pub(crate) fn deny(&self) {
        self.denied.store(true, Ordering::Relaxed);
    }

    /// Notes the S3 error code of the response.
    pub(crate) fn error_code(&self, code: &str) {
        self.note(&self.error_code, || {
            shortened(code, line::ERROR_CODE_BYTES).to_owned()
        });
    }

    /// Notes the form of an object that was opened.
    pub(crate) fn reads(&self, stored: impl FnOnce() -> StoredForm) {
        self.note(&self.read, stored);
    }

    /// Notes the form in which the request's object is stored.
    pub(crate) fn writes(&self, stored: impl FnOnce() -> StoredForm) {
        self.note(&self.written, stored);
    }

    /// Notes the objects of a batch, with the verdicts so far, before any of them is touched.
    pub(crate) async fn begin_batch(
        &self,
        lines: impl FnOnce() -> Vec<ObjectLine>,
    ) -> Result<(), AuditUnavailable> {
        let Some(slot) = self.slot.get() else {
            return Ok(());
        };
        let lines: Vec<_> = lines().into_iter().map(ObjectLine::bounded).collect();
        let slot = match slot.object_keys() {
            AuditObjectKeys::Off => None,
            AuditObjectKeys::Plain => slot.more(lines.len()).await?,
        };
        let _ = self.batch.set(BatchObjects { lines, slot });
        Ok(())
    }

    /// Notes the errors that the backend reported for objects of the batch.
    pub(crate) fn batch_errors(&self, errors: impl FnOnce() -> BatchErrors) {
        self.note(&self.batch_errors, errors);
    }

    /// Queues the lines, if the request is audited.
    pub(crate) fn finish(&mut self, facts: &RequestFacts<'_>) {
        let Some(slot) = self.slot.take() else {
            return;
        };
        let (number, mut objects, more) = match self.batch.take() {
            None => (None, Vec::new(), None),
            Some(BatchObjects { lines, slot }) => (Some(lines.len()), lines, slot),
        };
        // Lost lines are not written, but their number is.
        if more.is_none() {
            objects.clear();
        }
        if let Some(errors) = self.batch_errors.take() {
            tell_errors(&mut objects, errors);
        }
        // The time of a line is the request's arrival, not its end.
        let time = line::time_text(OffsetDateTime::now_utc() - facts.duration);
        let remote_address = facts.peer.to_string();
        let mut request = self.request_line(facts, (&time, &remote_address), number);
        match slot.object_keys() {
            AuditObjectKeys::Plain => {}
            AuditObjectKeys::Off => request.object_key = None,
        }
        let lines = line::render(&request.bounded(), &objects);
        slot.fill(lines, more);
    }

    fn request_line<'a>(
        &'a self,
        facts: &RequestFacts<'a>,
        (time, remote_address): (&'a str, &'a str),
        objects: Option<usize>,
    ) -> RequestLine<'a> {
        let access_key_id = text(&self.access_key_id);
        let claimed = text(&self.claimed_access_key_id);
        let denied = self.denied.load(Ordering::Relaxed);
        let status = facts.status;
        RequestLine {
            head: LineHead {
                schema: line::SCHEMA,
                event: Event::Request,
                time,
                request_id: facts.request_id,
                trace_id: facts.trace_id,
                remote_address,
                client: facts.client,
                access_key_id,
                signature_version: self.signature_version.get().copied(),
                claimed_access_key_id: access_key_id.is_none().then_some(claimed).flatten(),
                operation: facts.operation,
                bucket: facts.bucket,
            },
            object_key: facts.object_key,
            version_id: text(&self.response_version).or_else(|| text(&self.requested_version)),
            source: self.source.get(),
            allowed: self.admitted.load(Ordering::Relaxed) && !denied,
            status: (status != 0).then_some(status),
            error_code: text(&self.error_code).filter(|_| status >= 400),
            reason: facts.failure,
            outcome: facts.outcome,
            duration_ms: u64::try_from(facts.duration.as_millis()).unwrap_or(u64::MAX),
            bytes_in: facts.received,
            bytes_out: facts.sent,
            read: self.read.get(),
            written: self.written.get(),
            objects,
            backend_request_id: facts.backend_request_id,
        }
    }
}

fn text(field: &OnceLock<String>) -> Option<&str> {
    field.get().map(String::as_str)
}

/// Assigns each error to its object. If the backend repeats no version, the error counts for any
/// version of the key.
fn tell_errors(objects: &mut [ObjectLine], errors: BatchErrors) {
    let mut by_object: HashMap<_, _> = errors
        .into_iter()
        .map(|(key, version, code)| {
            let version = version.filter(|version| !version.is_empty());
            // Shortened as in the lines, which are compared.
            let version = version.map(|text| shortened(&text, line::VERSION_ID_BYTES).to_owned());
            ((key, version), code)
        })
        .collect();
    for object in objects {
        let name = (object.object_key.clone(), object.version_id.clone());
        let error = by_object
            .remove(&name)
            .or_else(|| by_object.remove(&(name.0, None)));
        if let Some(code) = error {
            object.error_code = Some(shortened(&code, line::ERROR_CODE_BYTES).to_owned());
        }
    }
}
