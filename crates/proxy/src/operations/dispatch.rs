//! The handler of each request.

use http::Response;

use super::request_body::BodySlot;
use super::{
    Job, copy_object, cors_preflight, delete_bucket, delete_object, delete_objects, forward,
    get_object, get_object_attributes, head_object, list_buckets, list_objects, missing_keys,
    post_object, put_object, upload_steps,
};
use crate::body::outbound::ResponseBody;
use crate::failure::Outcome;
use crate::s3_request::S3Request;

/// Carries out a request. The failure is one that the client may learn.
pub(crate) async fn carry_out(
    job: &Job<'_>,
    body: &mut BodySlot,
) -> Outcome<Response<ResponseBody>> {
    let outcome = handle(job, body).await;
    outcome.map_err(|failure| missing_keys::conceal(job.request, failure))
}

async fn handle(job: &Job<'_>, body: &mut BodySlot) -> Outcome<Response<ResponseBody>> {
    match &job.request.parameters.request {
        S3Request::PutObject => put_object::put_object(job, body.take()).await,
        S3Request::GetObject(read) => get_object::get_object(job, read).await,
        S3Request::HeadObject(read) => head_object::head_object(job, read).await,
        S3Request::GetObjectAttributes(version) => {
            get_object_attributes::get_object_attributes(job, version.as_ref()).await
        }
        S3Request::ListBuckets => list_buckets::list_buckets(job).await,
        S3Request::ListObjects(list) => list_objects::list_objects(job, list).await,
        S3Request::DeleteObject(version) => {
            delete_object::delete_object(job, version.as_ref()).await
        }
        S3Request::DeleteObjects => delete_objects::delete_objects(job, body.take()).await,
        S3Request::CopyObject(source) => copy_object::copy_object(job, source).await,
        S3Request::PostObject => post_object::post_object(job, body).await,
        S3Request::Upload(request) => upload_steps::step(job, request, body).await,
        S3Request::DeleteBucket => delete_bucket::delete_bucket(job, body).await,
        S3Request::Forward => forward::forward(job, body).await,
        S3Request::Preflight => cors_preflight::preflight(job).await,
    }
}
