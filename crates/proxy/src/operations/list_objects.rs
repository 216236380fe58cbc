//! ListObjects, ListObjectsV2 and ListObjectVersions in plaintext terms.
//!
//! The page is rewritten and not made anew: tokens and whatever else the backend says stay. Keys
//! under the state prefix are hidden, and `hidden` says what that means for pages. Metadata in a page,
//! which is an extension, loses the envelope; sealed metadata is inside it, and not listed.

use http::{HeaderName, Response};
use s3proxy_protocol::etag;
use s3proxy_protocol::xml::document::XmlError;
use s3proxy_protocol::xml::listing::{EntryEdit, EntryKind, ListEntry, ListPage, PrefixEdit};

use crate::backend::Family;
use crate::body::outbound::ResponseBody;
use crate::config::resolved::Listing;
use crate::effective_name::is_state_key;
use crate::failure::{Failure, Outcome};
use crate::objects::listing_walk::check_entries;
use crate::objects::stored;
use crate::operations::Job;
use crate::operations::listed_objects::{self, Described, Listed};
use crate::operations::listing_page::{self, Page};
use crate::operations::state_key_filter::{self, LastShown, MOVES};
use crate::s3_request::ListObjects;

/// Parameter of an extension that one family of servers has.
const METADATA: &str = "metadata";

/// Serves the three listings.
pub(crate) async fn list_objects(
    job: &Job<'_>,
    list: &ListObjects,
) -> Outcome<Response<ResponseBody>> {
    let _share = job.call.share(listing_page::SHARE_BYTES).await?;
    let paging = list.paging;
    let state_prefix = &job.call.store.policy.state_prefix;
    let mut query = job.query_for_backend();
    if !lists_metadata(job, list).await {
        query.retain(|(name, _)| name != METADATA);
    }
    let mut asked = Page::ask(job, query.clone()).await?;
    let mut edits = Vec::new();
    // Bounded: a page of hidden keys alone is skipped, but a backend must not keep the proxy busy.
    for _ in 0..MOVES {
        let Some(last) = last_of_nothing_shown(job, &asked.text)? else {
            break;
        };
        query = paging.behind(query, &state_key_filter::behind_hidden(&last, state_prefix));
        asked = Page::ask(job, query.clone()).await?;
        // The page no longer begins at the client's start, which the response must still name.
        edits = paging.asked(&list.start);
    }
    let page = parse(&asked.text)?;
    let described = describe(job, &page).await;
    let mut entries = described.iter();
    let next = paging.next().map(|next| page.key_of_page(next.key));
    let next = next.transpose().map_err(not_s3)?.flatten();
    let last = last_shown(job, &page);
    let next_edits =
        state_key_filter::next_edits(paging, next.as_deref(), last.as_ref(), state_prefix);
    edits.extend(next_edits);
    let rendered = page.render_with(
        |entry| edit(job, entry, &mut entries),
        |prefix| {
            if is_state_key(prefix, state_prefix) {
                PrefixEdit::Hide
            } else {
                PrefixEdit::Keep
            }
        },
        |name| is_kept_from_clients(job, name),
        &edits,
    );
    Ok(asked.answer(rendered))
}

/// Whether the page is to have the objects' metadata and tags: an extension that the family's own
/// clients ask every server for, and that other servers ignore or refuse.
async fn lists_metadata(job: &Job<'_>, list: &ListObjects) -> bool {
    list.metadata
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
    Failure::Unusable("a listing that is not S3's")
}

/// Last hidden key of a page that shows nothing although the list continues.
fn last_of_nothing_shown(job: &Job<'_>, text: &[u8]) -> Outcome<Option<String>> {
    let page = parse(text)?;
    if !page.is_truncated() || last_shown(job, &page).is_some() {
        return Ok(None);
    }
    let keys = page.entries().iter().map(|entry| &entry.key);
    // Keys and prefixes are listed separately; the later of the two is where the page ends.
    Ok(keys.chain(page.common_prefixes()).max().cloned())
}

fn last_shown(job: &Job<'_>, page: &ListPage<'_>) -> Option<LastShown> {
    let state_prefix = &job.call.store.policy.state_prefix;
    let mut entries = page.entries().iter().rev();
    let entry = entries.find(|entry| !is_state_key(&entry.key, state_prefix));
    let mut prefixes = page.common_prefixes().iter().rev();
    let prefix = prefixes.find(|prefix| !is_state_key(prefix, state_prefix));
    let entry = entry.map(|entry| LastShown {
        key: entry.key.clone(),
        detail: entry.version_id.clone(),
    });
    state_key_filter::last_shown(entry, prefix.map(String::as_str))
}

/// Descriptions of the entries that have content, in the page's order.
async fn describe(job: &Job<'_>, page: &ListPage<'_>) -> Vec<Described> {
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
    described: &mut impl Iterator<Item = &'d Described>,
) -> EntryEdit {
    if is_state_key(&entry.key, &job.call.store.policy.state_prefix) {
        return EntryEdit::Hide;
    }
    let Some(listed) = listed(job, entry) else {
        return EntryEdit::Keep;
    };
    // In step with `describe`, which skips the same entries through `listed`.
    match described.next() {
        Some(Described::Sealed(length) | Described::Legacy(length)) => EntryEdit::Replace {
            etag: etag::to_client(&listed.etag.unwrap_or_default()).into_owned(),
            size: length.0,
        },
        Some(Described::AsItIs) | None => EntryEdit::Keep,
    }
}
