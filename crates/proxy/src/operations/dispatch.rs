//! Which handler carries out a plan.

use http::Response;

use super::request_body::BodySlot;
use super::{
    Job, copy_object, cors_preflight, delete_bucket, delete_object, delete_objects, forward,
    get_object, get_object_attributes, head_object, list_buckets, list_objects, missing_keys,
    post_object, put_object, upload_steps,
};
use crate::body::outbound::ResponseBody;
use crate::failure::{Failure, Outcome};
use crate::plan::{Plan, Rewrite};

/// Carries out a plan. The failure is one that the client may learn.
pub(crate) async fn carry_out(
    job: &Job<'_>,
    plan: Plan,
    body: &mut BodySlot,
) -> Outcome<Response<ResponseBody>> {
    let outcome = handle(job, plan, body).await;
    outcome.map_err(|failure| missing_keys::conceal(job.request, failure))
}

async fn handle(job: &Job<'_>, plan: Plan, body: &mut BodySlot) -> Outcome<Response<ResponseBody>> {
    match plan {
        Plan::Seal => put_object::put_object(job, body.take()).await,
        Plan::Open => get_object::get_object(job).await,
        Plan::Describe => head_object::head_object(job).await,
        Plan::Rewrite(Rewrite::ListBuckets) => list_buckets::list_buckets(job).await,
        Plan::Rewrite(Rewrite::ListObjects) => list_objects::list_objects(job).await,
        Plan::Rewrite(Rewrite::DeleteObject) => delete_object::delete_object(job).await,
        Plan::Rewrite(Rewrite::DeleteObjects) => {
            delete_objects::delete_objects(job, body.take()).await
        }
        Plan::DescribeAttributes => get_object_attributes::get_object_attributes(job).await,
        Plan::Copy => copy_object::copy_object(job).await,
        Plan::Form => post_object::post_object(job, body).await,
        Plan::Multipart(step) => upload_steps::step(job, step, body).await,
        Plan::DeleteBucket => delete_bucket::delete_bucket(job, body).await,
        Plan::Forward => forward::forward(job, body).await,
        Plan::Preflight => cors_preflight::preflight(job).await,
        Plan::Refuse(error) => Err(Failure::Refused(error)),
    }
}
