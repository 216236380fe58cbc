//! Multipart uploads, one file a step.

use http::Response;
use s3proxy_protocol::error::{ErrorCode, S3Error};

use super::{BodySlot, Job, Outcome};
use crate::body::outbound::ResponseBody;
use crate::plan::Step;
use crate::respond::Failure;

/// Serves one step of an upload.
pub(crate) async fn step(
    _job: &Job<'_>,
    _step: Step,
    _body: &mut BodySlot,
) -> Outcome<Response<ResponseBody>> {
    Err(Failure::Refused(S3Error::new(
        ErrorCode::NotImplemented,
        "This operation is not part of this version of the proxy.",
    )))
}
