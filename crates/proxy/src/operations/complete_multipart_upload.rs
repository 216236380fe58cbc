//! CompleteMultipartUpload: turns the client's list of parts into one readable object.
//!
//! The order of the steps: list the stored parts, check the client's list against them, store the
//! tail, complete the backend's upload (with the client's conditions), remove the state. Nothing is
//! visible before the backend's own completion, and every step can be repeated.
//!
//! Two concurrent Completes overwrite each other's tail. The backend refuses the one whose tail is
//! gone (`InvalidPart`), which then starts again; within one replica they take turns. If the upload
//! or its parts are gone, an earlier Complete may have succeeded; [`idempotent_complete`] checks the object.
//!
//! Failing to remove the state is not reported to the client: the sweep removes it later.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Method, Response, header};
use s3proxy_envelope::layout::PADDED_FROM;
use s3proxy_protocol::address::AddressingStyle;
use s3proxy_protocol::error::{ErrorCode, S3Error};
use s3proxy_protocol::etag::ETag;
use s3proxy_protocol::headers::{self, MP_OBJECT_SIZE};
use s3proxy_protocol::ids::UploadId;
use s3proxy_protocol::xml::complete::{
    CompleteAnswer, CompleteRequest, CompleteResult, complete_document, complete_request,
};

use crate::backend::RequestBody;
use crate::body::outbound::ResponseBody;
use crate::failure::{Failure, Outcome};
use crate::objects::call::{BackendResponse, client_headers};
use crate::objects::embedded_error;
use crate::objects::new_object::announce_encryption;
use crate::operations::held_body::HeldMemory;
use crate::operations::long_running::{self, Finished};
use crate::operations::request_body::BodySlot;
use crate::operations::{Job, OwnedJob, idempotent_complete, payload};
use crate::upload_state::object_checksum::{self, Whole};
use crate::upload_state::part::{Shelf, upload_request};
use crate::upload_state::selection::{Selected, select};
use crate::upload_state::state::{self, OpenUpload};
use crate::upload_state::stored_parts::present;
use crate::upload_state::tail::{TailPiece, move_into_upload, store_small, store_tail};
use crate::upload_state::{CompletionError, staged};

/// Longest list of parts, in bytes: 10,000 parts with the longest ETags and checksums.
const MAX_REQUEST_BYTES: u64 = 8 * 1024 * 1024;

/// Memory for the text of the list, and for the parsed list.
const MEMORY: HeldMemory = HeldMemory {
    per_byte: 4,
    besides: 0,
};

/// Response timeout of a completion, which backends may work on for long.
const COMPLETION_TIMEOUT: Duration = Duration::from_mins(15);

/// Most attempts of one Complete, each of which gives way to a concurrent one.
const ATTEMPTS: usize = 4;

/// Reads the client's list, and responds after the work is done.
pub(crate) async fn complete_upload(
    job: &Job<'_>,
    id: &UploadId,
    body: &mut BodySlot,
) -> Outcome<Response<ResponseBody>> {
    let announced = payload::announced_document(job.request)?;
    refuse_unknown_upload(job, id.as_str()).await?;
    // Not before the check: an unused body is drained, which lets the client see the refusal.
    let body = body.take();
    let limit = MAX_REQUEST_BYTES;
    let held = payload::read_announced(job, announced, body, limit, MEMORY).await?;
    let request = CompleteRequest::parse(&held.bytes)?;
    let share = held.share;
    // The parsed list is enough for the work that follows, which may take minutes.
    drop(held.bytes);
    let id = id.clone();
    long_running::answer(job, move |owned| async move {
        let _share = share;
        complete(owned, id.as_str(), request).await
    })
    .await
}

/// Refuses an upload that is neither open nor completed, before its list is read.
async fn refuse_unknown_upload(job: &Job<'_>, id: &str) -> Outcome<()> {
    match state::load_for_writing(&job.uploads(), job.object(), id).await {
        Ok(_) => Ok(()),
        Err(failure) if !is_gone(&failure) => Err(failure),
        Err(_) if idempotent_complete::is_its_object(job, id).await? => Ok(()),
        Err(_) => Err(state::no_such_upload()),
    }
}

async fn complete(owned: OwnedJob, id: &str, request: CompleteRequest) -> Outcome<Finished> {
    let job = &owned.job();
    let mut last = None;
    for _ in 0..ATTEMPTS {
        match attempt(job, id, &request).await {
            Ok(finished) => return Ok(finished),
            Err(CompletionError::Changed(failure)) => last = Some(failure),
            Err(CompletionError::Failed(failure)) => {
                return perhaps_repeated(job, id, &request, failure).await;
            }
        }
    }
    let last = last.expect("every attempt that ends here left its reason");
    perhaps_repeated(job, id, &request, last).await
}

/// Returns the success of an equal Complete if that one ended the upload. Ceph's gateway returns
/// `NoSuchKey` for any request about an upload that is ending at this moment. If an upload ends
/// between two listings, a part of it is missing in the second.
async fn perhaps_repeated(
    job: &Job<'_>,
    id: &str,
    request: &CompleteRequest,
    failure: Failure,
) -> Outcome<Finished> {
    let is_gone = is_gone(&failure);
    if !is_gone && !misses_part(&failure) {
        return Err(failure);
    }
    let answer = idempotent_complete::answer(job, id, request).await?;
    answer.ok_or_else(|| {
        if is_gone {
            state::no_such_upload()
        } else {
            failure
        }
    })
}

fn is_gone(failure: &Failure) -> bool {
    state::is_gone(failure) || failure.backend_code() == Some("NoSuchKey")
}

/// Whether a part that the client named is missing, according to the backend or to the proxy.
fn misses_part(failure: &Failure) -> bool {
    match failure {
        Failure::Explained(error, _) => error.code == ErrorCode::InvalidPart,
        failure => failure.backend_code() == Some("InvalidPart"),
    }
}

async fn attempt(
    job: &Job<'_>,
    id: &str,
    request: &CompleteRequest,
) -> Result<Finished, CompletionError> {
    let upload = state::load_for_writing(&job.uploads(), job.object(), id).await?;
    // Within this replica one Complete at a time: another one would overwrite the tail.
    let _turn = upload.completing.lock().await;
    if upload.completed().is_some() {
        return Err(state::no_such_upload().into());
    }
    if let Some(checksum) = upload.checksum {
        checksum.agrees(&job.request.headers)?;
    }
    let stated = object_checksum::stated(&job.request.headers)?;
    let present = present(&job.call, &upload, request).await?;
    let mut parts =
        select(request, &present, upload.checksum).map_err(|refusal| refusal.into_failure(id))?;
    let remembered = &job.services.uploads.open.part_checksums;
    remembered.fill_in(&upload, &mut parts);
    let total = parts.iter().map(|part| part.frame.length().0).sum();
    // All checks come before the first write, so that a refused Complete changes nothing.
    judge_size(&job.request.headers, total)?;
    let verdict = object_checksum::judge(upload.checksum, stated, &parts)?;

    // Only the last part may stay staged: the tail includes it. Others must become backend parts.
    if let Some((_last, followed)) = parts.split_last_mut() {
        for part in followed
            .iter_mut()
            .filter(|part| part.shelf == Shelf::Staged)
        {
            move_into_upload(&job.call, &upload, part).await?;
        }
    }
    let tail = match parts.as_slice() {
        [only] if total < PADDED_FROM.0 => store_small(&job.call, &upload, only).await?,
        parts => store_tail(&job.call, &upload, parts, &verdict).await?,
    };
    let (headers, etag) = finish(job, &upload, &parts, &tail).await?;
    // From here on the object exists: failing to remove the state must not fail the Complete.
    let completed = parts.iter();
    let completed = completed.map(|part| (part.frame.number(), part.tag.mark()));
    upload.end(completed.collect());
    job.services.uploads.open.reweigh(&upload);
    if let Err(failure) = staged::delete_state(&job.call, &upload.place).await {
        tracing::warn!(reason = %failure, "failed to delete the state of a completed upload; the sweep will");
    }
    let etag = match etag {
        Some(etag) => etag,
        None => etag_of_object(job).await?,
    };
    let headers = client_headers(&headers);
    Ok(finished(
        job,
        headers,
        &etag,
        verdict.whole.as_ref(),
        parts.len(),
    ))
}

/// Completes the backend's upload. Some servers return no ETag.
async fn finish(
    job: &Job<'_>,
    upload: &OpenUpload,
    parts: &[Selected],
    tail: &[TailPiece],
) -> Result<(HeaderMap, Option<ETag>), CompletionError> {
    // A staged last part is inside the tail.
    let kept = parts.iter().filter(|part| part.shelf == Shelf::Upload);
    let named = kept
        .map(|part| (part.frame.number().get(), part.etag.as_str()))
        .chain(
            tail.iter()
                .map(|(number, etag)| (number.get(), etag.as_str())),
        );
    let document = complete_request(named);
    let mut request = upload_request(&job.call, Method::POST, upload);
    // With the client's conditions, which the backend checks at the moment of completion.
    request.headers = job.headers_for_backend()?;
    request.body = RequestBody::Held(Bytes::from(document));
    request.response_timeout = Some(COMPLETION_TIMEOUT);
    let backed = job.call.expect_success(request).await;
    let outcome = match backed {
        Ok(backed) => read_result(backed).await,
        Err(failure) => Err(failure),
    };
    outcome.map_err(|failure| match failure.backend_code() {
        Some("InvalidPart") => CompletionError::Changed(failure),
        // Ceph's gateway returns this for an upload that another Complete has just ended.
        Some("NoSuchKey") => CompletionError::Failed(state::no_such_upload()),
        Some(_) | None => CompletionError::Failed(failure),
    })
}

/// Response headers of the backend, and the ETag if there is one.
async fn read_result(backed: BackendResponse) -> Outcome<(HeaderMap, Option<ETag>)> {
    let headers = backed.headers.clone();
    let document = embedded_error::document(backed).await?;
    let result = CompleteResult::parse(&document)
        .map_err(|_| Failure::Unusable("a malformed CompleteMultipartUploadResult"))?;
    Ok((headers, result.etag))
}

/// Plaintext length in bytes that the client states, if any.
pub(crate) fn stated_size(headers: &HeaderMap) -> Result<Option<u64>, S3Error> {
    let Some(value) = headers.get(MP_OBJECT_SIZE) else {
        return Ok(None);
    };
    let size = headers::value_text(value).and_then(|text| text.trim().parse().ok());
    size.map(Some).ok_or_else(|| {
        S3Error::new(
            ErrorCode::InvalidRequest,
            "Value for x-amz-mp-object-size header is invalid: it must be a number of bytes.",
        )
    })
}

/// Compares the plaintext length with the one that the client states.
fn judge_size(headers: &HeaderMap, total: u64) -> Result<(), S3Error> {
    match stated_size(headers)? {
        Some(stated) if stated != total => Err(S3Error::new(
            ErrorCode::InvalidRequest,
            format!(
                "The provided 'x-amz-mp-object-size' header value {stated} does not match what \
                 was computed: {total}"
            ),
        )),
        Some(_) | None => Ok(()),
    }
}

async fn etag_of_object(job: &Job<'_>) -> Outcome<ETag> {
    let mut request = job.request_for(Method::HEAD);
    request.headers = job.headers_for_backend()?;
    // The conditions held before the completion, and would fail now.
    request.headers.remove(header::IF_MATCH);
    request.headers.remove(header::IF_NONE_MATCH);
    let backed = job.call.expect_success(request).await?;
    ETag::from_headers(&backed.headers)
        .ok_or(Failure::Unusable("a completed upload without an ETag"))
}

/// Success for the client. `etag` is the backend's.
pub(crate) fn finished(
    job: &Job<'_>,
    mut headers: HeaderMap,
    etag: &ETag,
    whole: Option<&Whole>,
    parts: usize,
) -> Finished {
    let object = job.object();
    let text = whole.map(|whole| whole.text(parts));
    let document = complete_document(&CompleteAnswer {
        location: &location(job),
        bucket: object.bucket.as_str(),
        object_key: object.key.as_str(),
        etag: etag.to_client().as_str(),
        checksum: whole.map(|whole| whole.algorithm).zip(text.as_deref()),
        checksum_type: whole.map(|whole| whole.kind.as_str()),
    });
    for name in [header::ETAG, header::LAST_MODIFIED, header::CONTENT_TYPE] {
        headers.remove(name);
    }
    announce_encryption(&mut headers, job.call.store.policy.announce_encryption);
    Finished { headers, document }
}

/// URL of the object at the host that the client used.
fn location(job: &Job<'_>) -> String {
    let object = job.object();
    let bucket = object.bucket;
    let host = headers::text(&job.request.headers, header::HOST).unwrap_or_default();
    let (scheme, path) = (&job.services.client_scheme, object.key.encode());
    match job.request.address.style {
        AddressingStyle::Path => format!("{scheme}://{host}/{bucket}/{path}"),
        AddressingStyle::VirtualHost => format!("{scheme}://{host}/{path}"),
    }
}
