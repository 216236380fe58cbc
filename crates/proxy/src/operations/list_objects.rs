//! ListObjects, ListObjectsV2 and ListObjectVersions in plaintext terms.
//!
//! The backend's page is edited, not replaced: tokens and unknown elements stay as they are. Keys
//! under the state prefix are hidden ([`state_key_filter`]). Metadata in a page,
//! which is an extension, loses the envelope; sealed metadata is inside it, and not listed.

use http::{HeaderName, Response};
use s3proxy_protocol::etag;
use s3proxy_protocol::xml::document::XmlError;
use s3proxy_protocol::xml::listing::{EntryEdit, EntryKind, ListEntry, ListPage};

use crate::backend::Family;
use crate::body::outbound::ResponseBody;
use crate::config::resolved::Listing;
use crate::effective_name::is_state_key;
use crate::failure::{Failure, Outcome};
use crate::objects::listing_walk::check_entries;
use crate::objects::stored;
use crate::operations::Job;
use crate::operations::listed_objects::{self, Listed, ListedForm};
use crate::operations::listing_page::{self, Page};
use crate::operations::state_key_filter::{self, ListedPage};
use crate::s3_request::ListObjects;

/// Parameter of an extension that one family of servers has.
const METADATA: &str = "metadata";

/// Serves the three listings.
pub(crate) async fn list_objects(
    job: &Job<'_>,
    requested: &ListObjects,
) -> Outcome<Response<ResponseBody>> {
    let _share = job.call.share(listing_page::SHARE_BYTES).await?;
    let paging = requested.paging;
    let state_prefix = &job.call.store.policy.state_prefix;
    let mut query = job.query_for_backend();
    if !lists_metadata(job, requested).await {
        query.retain(|(name, _)| name != METADATA);
    }
    let last_hidden = |text: &[u8]| -> Outcome<Option<String>> {
        Ok(state_key_filter::last_of_nothing_shown(
            &parse(text)?,
            state_prefix,
        ))
    };
    let (response, mut edits) =
        Page::ask_past_hidden(job, (paging, &requested.start), query, last_hidden).await?;
    let page = parse(&response.text)?;
    let described = describe(job, &page).await;
    let mut entries = described.iter();
    let next = paging.next().map(|next| page.key_of_page(next.key));
    let next = next.transpose().map_err(not_s3)?.flatten();
    let last = state_key_filter::last_shown(&page, state_prefix);
    let next_edits =
        state_key_filter::next_edits(paging, next.as_deref(), last.as_ref(), state_prefix);
    edits.extend(next_edits);
    let rendered = page.render_with(
        |entry| edit(job, entry, &mut entries),
        |prefix| state_key_filter::prefix_edit(prefix, state_prefix),
        |name| is_kept_from_clients(job, name),
        &edits,
    );
    Ok(response.answer(rendered))
}

/// Whether the page is to have the objects' metadata and tags: an extension that the family's own
/// clients ask every server for, and that other servers ignore or refuse.
async fn lists_metadata(job: &Job<'_>, requested: &ListObjects) -> bool {
    requested.metadata
        && job.call.service().is_none()
        && job.call.store.backend.family().await == Family::Minio
}

/// Whether metadata of this name is the envelope's.
fn is_kept_from_clients(job: &Job<'_>, name: &str) -> bool {
    HeaderName::try_from(name).map_or(true, |name| {
        stored::is_reserved(&name, &job.call.store.dek_tag)
    })
}

fn parse(text: &[u8]) -> Outcome<ListPage<'_>> {
    let page = ListPage::parse(text).map_err(not_s3)?;
    check_entries(page.entries().len() + page.common_prefixes().len())?;
    Ok(page)
}

fn not_s3(_: XmlError) -> Failure {
    Failure::Unusable("a malformed listing")
}

impl ListedPage for ListPage<'_> {
    fn is_truncated(&self) -> bool {
        self.is_truncated()
    }

    fn keys(&self) -> impl DoubleEndedIterator<Item = (&str, Option<&str>)> {
        let entries = self.entries().iter();
        entries.map(|entry| (entry.key.as_str(), entry.version_id.as_deref()))
    }

    fn common_prefixes(&self) -> &[String] {
        self.common_prefixes()
    }
}

/// Descriptions of the entries that have content, in the page's order.
async fn describe(job: &Job<'_>, page: &ListPage<'_>) -> Vec<ListedForm> {
    let contents = page.entries().iter().filter_map(|entry| listed(job, entry));
    match job.call.store.policy.listing {
        Listing::Computed => contents
            .map(|listed| listed_objects::compute(listed.size))
            .collect(),
        Listing::Exact => listed_objects::look_up(job, contents.collect()).await,
    }
}

/// The entry to describe; `None` for delete markers and hidden keys.
fn listed(job: &Job<'_>, entry: &ListEntry) -> Option<Listed> {
    let has_content = match entry.kind {
        EntryKind::Object | EntryKind::Version => true,
        EntryKind::DeleteMarker => false,
    };
    if !has_content || is_state_key(&entry.key, &job.call.store.policy.state_prefix) {
        return None;
    }
    Some(Listed {
        object_key: entry.key.clone(),
        version: entry.version_id.clone(),
        etag: entry.etag.clone(),
        size: entry.size?,
    })
}

fn edit<'d>(
    job: &Job<'_>,
    entry: &ListEntry,
    described: &mut impl Iterator<Item = &'d ListedForm>,
) -> EntryEdit {
    if is_state_key(&entry.key, &job.call.store.policy.state_prefix) {
        return EntryEdit::Hide;
    }
    let Some(listed) = listed(job, entry) else {
        return EntryEdit::Keep;
    };
    // In step with `describe`, which skips the same entries through `listed`.
    match described.next() {
        Some(ListedForm::Sealed(length) | ListedForm::Legacy(length)) => EntryEdit::Replace {
            etag: etag::to_client(&listed.etag.unwrap_or_default()).into_owned(),
            size: length.0,
        },
        Some(ListedForm::AsItIs) | None => EntryEdit::Keep,
    }
}
