//! ListMultipartUploads: the backend's list without the proxy's own uploads.
//!
//! The backend has one upload for each of the client's, under the same id, so its page is passed
//! on. Checksum elements are removed, since they describe stored bytes. The client's own algorithm
//! is kept in the state of each upload and is not looked up.

use http::Response;
use s3proxy_protocol::xml::listing::PrefixEdit;
use s3proxy_protocol::xml::uploads::{UploadEdit, UploadsPage};

use crate::body::outbound::ResponseBody;
use crate::effective_name::is_state_key;
use crate::failure::{Failure, Outcome};
use crate::objects::listing_walk::check_entries;
use crate::operations::Job;
use crate::operations::listing_page::{self, Page};
use crate::operations::state_key_filter::{self, LastShown, MOVES};
use crate::s3_request::{PageStart, Paging};

/// Handles ListMultipartUploads.
pub(crate) async fn list_uploads(
    job: &Job<'_>,
    start: &PageStart,
) -> Outcome<Response<ResponseBody>> {
    let _share = job.call.share(listing_page::SHARE_BYTES).await?;
    let mut query = job.query_for_backend();
    let mut asked = Page::ask(job, query.clone()).await?;
    let mut edits = Vec::new();
    for _ in 0..MOVES {
        let Some(last) = last_of_nothing_shown(job, &asked.text)? else {
            break;
        };
        let behind = state_key_filter::behind_hidden(&last, &job.call.store.policy.state_prefix);
        query = Paging::Uploads.behind(query, &behind);
        asked = Page::ask(job, query.clone()).await?;
        // The page no longer begins at the client's start, which the response must still name.
        edits = Paging::Uploads.asked(start);
    }
    let page = parse(&asked.text)?;
    let last = last_shown(job, &page);
    let prefix = &job.call.store.policy.state_prefix;
    let next = page.next_key_marker();
    edits.extend(state_key_filter::next_edits(
        Paging::Uploads,
        next,
        last.as_ref(),
        prefix,
    ));
    let document = page.render_with(
        |upload| {
            if is_state_key(&upload.object_key, prefix) {
                UploadEdit::Hide
            } else {
                UploadEdit::Keep
            }
        },
        |shared| {
            if is_state_key(shared, prefix) {
                PrefixEdit::Hide
            } else {
                PrefixEdit::Keep
            }
        },
        &edits,
    );
    Ok(asked.answer(document))
}

fn parse(text: &[u8]) -> Outcome<UploadsPage<'_>> {
    let page = UploadsPage::parse(text)
        .map_err(|_| Failure::Unusable("a ListMultipartUploadsResult that is not S3's"))?;
    check_entries(page.uploads().len() + page.common_prefixes().len())?;
    Ok(page)
}

/// Last hidden key of a page that shows nothing although the list continues.
fn last_of_nothing_shown(job: &Job<'_>, text: &[u8]) -> Outcome<Option<String>> {
    let page = parse(text)?;
    if !page.is_truncated() || last_shown(job, &page).is_some() {
        return Ok(None);
    }
    let keys = page.uploads().iter().map(|upload| &upload.object_key);
    Ok(keys.chain(page.common_prefixes()).max().cloned())
}

fn last_shown(job: &Job<'_>, page: &UploadsPage<'_>) -> Option<LastShown> {
    let prefix = &job.call.store.policy.state_prefix;
    let mut uploads = page.uploads().iter().rev();
    let upload = uploads.find(|upload| !is_state_key(&upload.object_key, prefix));
    let mut prefixes = page.common_prefixes().iter().rev();
    let shared = prefixes.find(|shared| !is_state_key(shared, prefix));
    let upload = upload.map(|upload| LastShown {
        key: upload.object_key.clone(),
        detail: Some(upload.upload_id.clone()),
    });
    state_key_filter::last_shown(upload, shared.map(String::as_str))
}
