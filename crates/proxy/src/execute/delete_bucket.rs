//! DeleteBucket: forwarded, once nothing of the proxy's own keeps the bucket from being empty.

use http::Response;

use super::{BodySlot, Job, Outcome, forward};
use crate::body::outbound::ResponseBody;

/// Serves DeleteBucket.
pub(crate) async fn delete_bucket(
    job: &Job<'_>,
    body: &mut BodySlot,
) -> Outcome<Response<ResponseBody>> {
    forward::forward(job, body).await
}
