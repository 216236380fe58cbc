//! GetObjectAttributes in plaintext terms.

use http::Response;
use s3proxy_protocol::error::{ErrorCode, S3Error};

use super::{Job, Outcome};
use crate::body::outbound::ResponseBody;
use crate::respond::Failure;

/// Serves it.
pub(crate) async fn get_object_attributes(_job: &Job<'_>) -> Outcome<Response<ResponseBody>> {
    Err(Failure::Refused(S3Error::new(
        ErrorCode::NotImplemented,
        "This operation is not part of this version of the proxy.",
    )))
}
