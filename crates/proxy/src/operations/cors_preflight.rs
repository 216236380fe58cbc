//! CORS preflights, answered by the backend's rules.
//!
//! Preflights are unsigned, so the request to the backend is unsigned too, and carries only three
//! of the client's headers. A preflight has no body, and its query belongs to the announced
//! request.

use http::header::{
    ACCESS_CONTROL_REQUEST_HEADERS, ACCESS_CONTROL_REQUEST_METHOD, HeaderName, ORIGIN,
};
use http::{Method, Response};
use s3proxy_protocol::error::{ErrorCode, S3Error};

use crate::backend::Signature;
use crate::body::outbound::ResponseBody;
use crate::failure::Outcome;
use crate::objects::call::client_headers;
use crate::operations::{Job, payload};

const CARRIED: [HeaderName; 3] = [
    ORIGIN,
    ACCESS_CONTROL_REQUEST_METHOD,
    ACCESS_CONTROL_REQUEST_HEADERS,
];

/// Handles a preflight.
pub(crate) async fn preflight(job: &Job<'_>) -> Outcome<Response<ResponseBody>> {
    let headers = &job.request.headers;
    if payload::has_body(headers) {
        return Err(refusal("A preflight has no body.").into());
    }
    if !headers.contains_key(ORIGIN) || !headers.contains_key(ACCESS_CONTROL_REQUEST_METHOD) {
        let message = "Insufficient information. The headers Origin and \
                       Access-Control-Request-Method are needed.";
        return Err(refusal(message).into());
    }
    let mut request = job.request_for(Method::OPTIONS);
    request.signature = Signature::None;
    for name in CARRIED {
        if let Some(value) = headers.get(&name) {
            request.headers.insert(name, value.clone());
        }
    }
    let backed = job.call.expect_success(request).await?;
    let mut response = Response::new(ResponseBody::empty());
    *response.status_mut() = backed.status;
    *response.headers_mut() = client_headers(&backed.headers);
    Ok(response)
}

fn refusal(message: &'static str) -> S3Error {
    S3Error::new(ErrorCode::InvalidRequest, message)
}
