//! AbortMultipartUpload: first the backend's upload, then the proxy's state.
//!
//! The state is removed even if the backend knows no such upload: then an earlier end did not get
//! that far. A part that is being staged meanwhile may be left over; the sweep removes it.

use http::{Method, Response};

use super::staged::{self, StatePlace};
use super::{state, upload_id};
use crate::body::outbound::ResponseBody;
use crate::execute::{Job, Outcome, answer, sub_resource};

/// Handles AbortMultipartUpload.
pub(super) async fn abort(job: &Job<'_>) -> Outcome<Response<ResponseBody>> {
    let place = StatePlace::of(job, upload_id(job)?);
    sub_resource::require_uploads(job).await?;
    let mut request = answer::request_for(job, Method::DELETE);
    request.query = answer::query_for_backend(job);
    request.headers = answer::headers_for_backend(job)?;
    let answered = answer::expect_success(job, job.parts.backend.send(request).await?).await;
    let ended = match &answered {
        Ok(_) => true,
        Err(failure) => state::is_gone(failure),
    };
    if ended {
        // First the cache: no request here may find the upload while its state is removed.
        state::forget(job, &place.hash);
        if let Err(failure) = staged::delete_state(job, &place).await {
            // E.g. object lock holds it. The upload is aborted nevertheless.
            tracing::warn!(reason = %failure, "the state of an aborted upload stays for the sweep");
        }
    }
    let backed = answered?;
    let mut response = Response::new(ResponseBody::empty());
    *response.status_mut() = backed.status;
    *response.headers_mut() = answer::client_headers(&backed.headers);
    Ok(response)
}
