//! AbortMultipartUpload: the backend's upload first, then what is kept beside it.
//!
//! The state is removed also when the backend knows no such upload: then it was left behind by an
//! end that did not come that far. A part that is being staged meanwhile may stay; the sweep finds it.

use http::{Method, Response};

use super::staged::{self, StatePlace};
use super::{state, upload_id};
use crate::body::outbound::ResponseBody;
use crate::execute::{Job, Outcome, answer, sub_resource};

/// Aborts an upload.
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
        state::forget(job, &place.hash);
        if let Err(failure) = staged::delete_state(job, &place).await {
            // Object lock may hold it; the upload is aborted all the same.
            tracing::warn!(reason = %failure, "the state of an aborted upload stays for the sweep");
        }
    }
    let backed = answered?;
    let mut response = Response::new(ResponseBody::empty());
    *response.status_mut() = backed.status;
    *response.headers_mut() = answer::client_headers(&backed.headers);
    Ok(response)
}
