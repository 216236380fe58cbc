//! ListMultipartUploads: the backend's list without the proxy's own uploads.
//!
//! The backend has one upload for each of the client's, under the same id, so its page is passed
//! on. Checksum elements are removed, since they describe stored bytes. The client's own algorithm
//! is kept in the state of each upload and is not looked up.

use http::Response;
use s3proxy_protocol::xml::uploads::{UploadEdit, UploadsPage};

use crate::body::outbound::ResponseBody;
use crate::effective_name::is_state_key;
use crate::failure::{Failure, Outcome};
use crate::objects::listing_walk::check_entries;
use crate::operations::Job;
use crate::operations::listing_page::{self, Page};
use crate::operations::state_key_filter::{self, ListedPage};
use crate::s3_request::{PageStart, Paging};

/// Handles ListMultipartUploads.
pub(crate) async fn list_uploads(
    job: &Job<'_>,
    start: &PageStart,
) -> Outcome<Response<ResponseBody>> {
    let _share = job.call.share(listing_page::SHARE_BYTES).await?;
    let (paging, query) = (Paging::Uploads, job.query_for_backend());
    let prefix = &job.call.store.policy.state_prefix;
    let last_hidden = |text: &[u8]| -> Outcome<Option<String>> {
        Ok(state_key_filter::last_of_nothing_shown(
            &parse(text)?,
            prefix,
        ))
    };
    let (response, mut edits) =
        Page::ask_past_hidden(job, (paging, start), query, last_hidden).await?;
    let page = parse(&response.text)?;
    let last = state_key_filter::last_shown(&page, prefix);
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
        |shared| state_key_filter::prefix_edit(shared, prefix),
        &edits,
    );
    Ok(response.answer(document))
}

fn parse(text: &[u8]) -> Outcome<UploadsPage<'_>> {
    let page = UploadsPage::parse(text)
        .map_err(|_| Failure::Unusable("a malformed ListMultipartUploadsResult"))?;
    check_entries(page.uploads().len() + page.common_prefixes().len())?;
    Ok(page)
}

impl ListedPage for UploadsPage<'_> {
    fn is_truncated(&self) -> bool {
        self.is_truncated()
    }

    fn keys(&self) -> impl DoubleEndedIterator<Item = (&str, Option<&str>)> {
        let uploads = self.uploads().iter();
        uploads.map(|upload| (upload.object_key.as_str(), Some(upload.upload_id.as_str())))
    }

    fn common_prefixes(&self) -> &[String] {
        self.common_prefixes()
    }
}
