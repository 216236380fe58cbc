//! PostObject: a browser's form.

use http::Response;
use s3proxy_protocol::error::{ErrorCode, S3Error};

use super::{Job, Outcome, RawBody};
use crate::body::outbound::ResponseBody;
use crate::respond::Failure;

/// Serves it.
pub(crate) async fn post_object(_job: &Job<'_>, _body: RawBody) -> Outcome<Response<ResponseBody>> {
    Err(Failure::Refused(S3Error::new(
        ErrorCode::NotImplemented,
        "This operation is not part of this version of the proxy.",
    )))
}
