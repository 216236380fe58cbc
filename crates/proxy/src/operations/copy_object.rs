//! CopyObject: one HEAD describes the source, the client's conditions are judged on it, and the
//! engine copies that state. If the source was replaced meanwhile, the copy starts again.

use http::Response;
use s3proxy_protocol::copy_source::CopySource;
use s3proxy_protocol::xml::copy::copy_object_document;

use super::long_running::{self, Finished};
use super::{Job, OwnedJob, copy_source};
use crate::body::outbound::ResponseBody;
use crate::failure::Outcome;
use crate::objects::copy::{self, CopyOrder};
use crate::objects::new_object::announce_encryption;
use crate::objects::replaced::retry_replaced;
use crate::objects::write::Copied;

/// Handles CopyObject.
pub(crate) async fn copy_object(
    job: &Job<'_>,
    source: &CopySource,
) -> Outcome<Response<ResponseBody>> {
    let source = source.clone();
    long_running::answer(job, |owned| copy(owned, source)).await
}

async fn copy(owned: OwnedJob, source: CopySource) -> Outcome<Finished> {
    let job = &owned.job();
    let order = CopyOrder::new(job.object(), &source, &job.request.headers)?;
    let copied = retry_replaced(|| attempt(job, &source, &order)).await?;
    let checksum = copied.checksum.as_ref();
    let document = copy_object_document(
        copied.etag.as_str(),
        &copied.last_modified,
        checksum.map(|(algorithm, value, _)| (*algorithm, value.as_str())),
        checksum.map(|(_, _, kind)| *kind),
    );
    let mut headers = copied.headers;
    let store = job.call.store;
    if !store.stores_plaintext(order.target) {
        announce_encryption(&mut headers, store.policy.announce_encryption);
    }
    Ok(Finished { headers, document })
}

async fn attempt(job: &Job<'_>, source: &CopySource, order: &CopyOrder<'_>) -> Outcome<Copied> {
    let source = copy_source::source(job, source);
    let found = copy_source::find(job, &source).await?;
    copy::copy(&job.call, order, &source, &found).await
}
