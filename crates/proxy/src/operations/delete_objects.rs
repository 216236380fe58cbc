//! DeleteObjects: forwarded, with conditions mapped to stored terms.
//!
//! A batch is checked key by key. Keys that the client may not delete, or that belong to the
//! proxy, never reach the backend; each gets its own `<Error>` in the response.

use bytes::Bytes;
use futures_util::stream::{self, StreamExt};
use http::{HeaderMap, HeaderValue, Method, Response, header};
use s3proxy_envelope::layout::{PlaintextLength, stored_length};
use s3proxy_envelope::legacy::legacy_stored_length;
use s3proxy_protocol::etag;
use s3proxy_protocol::xml::delete::{
    DeleteError, DeleteRequest, DeleteResult, ObjectIdentifier, delete_result, merge_delete_result,
};

use crate::authorization::access_denied;
use crate::backend::RequestBody;
use crate::body::outbound::ResponseBody;
use crate::config::resolved::Access;
use crate::effective_name::is_state_key;
use crate::failure::{Failure, Outcome};
use crate::objects::call::{client_headers, read_bounded};
use crate::operations::held_body::HeldMemory;
use crate::operations::listed_objects::{self, Listed, ListedForm};
use crate::operations::request_body::RawBody;
use crate::operations::{Job, payload, version_support};
use crate::telemetry::audit::{BatchErrors, ObjectLine};

/// Longest batch: 1000 keys of 1024 bytes, each byte escaped (`&#x26;`), with room for versions, ETags and
/// markup.
const MAX_BATCH_BYTES: u64 = 8 * 1024 * 1024;

/// Longest request to the backend: Ceph's gateway takes documents of 1 MiB (`rgw_max_put_param_size`). A
/// batch that is longer, because of what has to be escaped in it, goes on as several requests.
const MAX_REQUEST_BYTES: usize = 1_000_000;

/// Longest response to a batch that is read, in bytes: 1000 entries of the longest keys.
const MAX_RESULT_BYTES: usize = 8 * 1024 * 1024;

/// Memory for the text of a batch, and for the keys that it names.
const MEMORY: HeldMemory = HeldMemory {
    per_byte: 2,
    besides: 0,
};

/// Handles DeleteObjects.
pub(crate) async fn delete_objects(
    job: &Job<'_>,
    body: RawBody,
) -> Outcome<Response<ResponseBody>> {
    let held = payload::read_held(job, body, MAX_BATCH_BYTES, MEMORY).await?;
    let mut batch = DeleteRequest::parse(&held.bytes)?;
    drop(held.bytes);
    let _share = held.share;
    let mut errors = remove_refused(job, &mut batch);
    let trail = &job.record.trail;
    // The audit log gets its lines before any request that deletes.
    trail.begin_batch(|| lines(&batch, &errors)).await?;
    let unknown = remove_unknown_versions(job, &mut batch).await;
    map_conditions(job, &mut batch).await;

    let BatchResults {
        headers,
        results,
        undone,
    } = send(job, &batch).await?;
    let own: BatchErrors = unknown.iter().chain(&undone).map(audited).collect();
    errors.extend(unknown);
    errors.extend(undone);
    trail.batch_errors(|| {
        let told = results.iter().flat_map(|text| failed(text));
        told.chain(own).collect()
    });
    let text = match results.split_first() {
        None => delete_result(&errors),
        Some((first, further)) => merge_delete_result(first, further, &errors)
            .map_err(|_| Failure::Unusable("a malformed DeleteResult"))?,
    };
    let mut response = Response::new(ResponseBody::held(Bytes::from(text)));
    *response.headers_mut() = headers;
    let xml = HeaderValue::from_static("application/xml");
    response.headers_mut().insert(header::CONTENT_TYPE, xml);
    Ok(response)
}

/// Results of a batch at the backend.
#[derive(Default)]
struct BatchResults {
    /// Headers of the first response.
    headers: HeaderMap,
    results: Vec<Bytes>,
    /// Objects of requests that failed after others had succeeded.
    undone: Vec<DeleteError>,
}

/// Sends a batch, in as many requests as its length needs. If the first one fails, the batch fails.
async fn send(job: &Job<'_>, batch: &DeleteRequest) -> Outcome<BatchResults> {
    let mut sent = BatchResults::default();
    let mut next = 0;
    while next < batch.objects.len() {
        let (markup, end) = batch.render(next, MAX_REQUEST_BYTES);
        match send_part(job, markup).await {
            Ok((headers, result)) => {
                if sent.results.is_empty() {
                    sent.headers = headers;
                }
                sent.results.push(result);
            }
            Err(failure) if sent.results.is_empty() => return Err(failure),
            Err(failure) => {
                let (code, message) = version_support::batch_error(&failure);
                let left = batch.objects.get(next..).unwrap_or_default();
                sent.undone = left
                    .iter()
                    .map(|object| not_deleted(object, &code, &message))
                    .collect();
                return Ok(sent);
            }
        }
        next = end;
    }
    Ok(sent)
}

async fn send_part(job: &Job<'_>, markup: String) -> Outcome<(HeaderMap, Bytes)> {
    let mut request = job.request_for(Method::POST);
    request.query = job.query_for_backend();
    request.headers = job.headers_for_backend()?;
    request.body = RequestBody::Held(Bytes::from(markup));
    let backed = job.call.expect_success(request).await?;
    let text = read_bounded(backed.body, MAX_RESULT_BYTES).await?;
    if DeleteResult::parse(&text).is_err() {
        return Err(Failure::Unusable("a malformed DeleteResult"));
    }
    Ok((client_headers(&backed.headers), text))
}

fn not_deleted(object: &ObjectIdentifier, code: &str, message: &str) -> DeleteError {
    DeleteError {
        key: object.key.as_str().to_owned(),
        version_id: object.version_id.clone(),
        code: code.to_owned(),
        message: message.to_owned(),
    }
}

/// For the audit log: every object of the batch, before any of them is deleted.
fn lines(batch: &DeleteRequest, refused: &[DeleteError]) -> Vec<ObjectLine> {
    let allowed = batch.objects.iter().map(|object| ObjectLine {
        object_key: object.key.as_str().to_owned(),
        version_id: object.version_id.clone(),
        allowed: true,
        error_code: None,
    });
    let refused = refused.iter().map(|error| ObjectLine {
        object_key: error.key.clone(),
        version_id: error.version_id.clone(),
        allowed: false,
        error_code: Some(error.code.clone()),
    });
    allowed.chain(refused).collect()
}

/// Objects that the backend reports as not deleted.
fn failed(result: &[u8]) -> BatchErrors {
    let result = DeleteResult::parse(result).unwrap_or_default();
    let errors = result.errors.into_iter();
    errors
        .map(|error| (error.key, error.version_id, error.code))
        .collect()
}

fn audited(error: &DeleteError) -> (String, Option<String>, String) {
    let DeleteError {
        key,
        version_id,
        code,
        message: _,
    } = error;
    (key.clone(), version_id.clone(), code.clone())
}

/// Removes versions that the backend cannot be shown to find. Several are looked up at a time, and
/// none once the backend has shown that it selects versions.
async fn remove_unknown_versions(job: &Job<'_>, batch: &mut DeleteRequest) -> Vec<DeleteError> {
    let objects = std::mem::take(&mut batch.objects);
    let mut judged = stream::iter(objects)
        .map(|object| with_known_version(job, object))
        // `buffered` keeps the order of the client's request.
        .buffered(job.call.store.policy.lookup_concurrency.get());
    let mut errors = Vec::new();
    while let Some(judged) = judged.next().await {
        match judged {
            Ok(object) => batch.objects.push(object),
            Err(error) => errors.push(error),
        }
    }
    errors
}

async fn with_known_version(
    job: &Job<'_>,
    object: ObjectIdentifier,
) -> Result<ObjectIdentifier, DeleteError> {
    let permitted = match object.version_id.as_deref() {
        Some(version) => version_support::permit_deletion(job, &object.key, version).await,
        None => Ok(()),
    };
    let Err(failure) = permitted else {
        return Ok(object);
    };
    let (code, message) = version_support::batch_error(&failure);
    Err(not_deleted(&object, &code, &message))
}

/// Removes objects that the client may not delete, and those that belong to the proxy.
fn remove_refused(job: &Job<'_>, batch: &mut DeleteRequest) -> Vec<DeleteError> {
    let bucket = job.bucket().as_str();
    let identity = &job.request.identity;
    let mut errors = Vec::new();
    batch.objects.retain(|object| {
        let object_key = object.key.as_str();
        let granted = !is_state_key(object_key, &job.call.store.policy.state_prefix)
            && identity.may(Access::Delete, bucket, Some(object_key));
        if !granted {
            let refusal = access_denied(job.request.operation);
            errors.push(not_deleted(object, refusal.code.as_str(), &refusal.message));
        }
        granted
    });
    errors
}

/// Converts the ETags and sizes of a batch to stored terms.
async fn map_conditions(job: &Job<'_>, batch: &mut DeleteRequest) {
    for object in &mut batch.objects {
        if let Some(given) = &object.etag {
            object.etag = Some(etag::to_backend(given).into_owned());
        }
        let Some(size) = object.size else { continue };
        let listed = Listed {
            object_key: object.key.as_str().to_owned(),
            version: object.version_id.clone(),
            etag: None,
            size,
        };
        let stored = match listed_objects::describe(job, &listed).await {
            Ok(ListedForm::Sealed(_)) => stored_length(PlaintextLength(size)),
            Ok(ListedForm::Legacy(_)) => legacy_stored_length(PlaintextLength(size)),
            // After a failed lookup the size is sent as given, in plaintext terms. A sealed object
            // of that size has another stored length, so it is not deleted.
            Ok(ListedForm::AsItIs) | Err(_) => continue,
        };
        object.size = Some(stored.0);
    }
}
