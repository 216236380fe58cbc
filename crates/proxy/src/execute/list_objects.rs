//! ListObjects, ListObjectsV2 and ListObjectVersions in plaintext terms.
//!
//! The page is rewritten and not made anew: markers, tokens and whatever else the backend says
//! stay. Keys under the state prefix are hidden.

use bytes::Bytes;
use http::{HeaderValue, Method, Response, header};
use s3proxy_protocol::etag;
use s3proxy_protocol::xml::listing::{EntryEdit, EntryKind, ListEntry, ListPage, PrefixEdit};

use super::lookup::{self, Described, Listed};
use super::{Job, Outcome, answer};
use crate::body::outbound::ResponseBody;
use crate::config::resolved::Listing;
use crate::plan::is_state_key;
use crate::respond::Failure;

/// Longest page that is read: 1000 keys of 1024 bytes, three bytes each when URL-encoded, with
/// room for what stands beside them.
const MAX_PAGE_BYTES: usize = 16 * 1024 * 1024;

/// Memory that a page may take while it is rewritten, against the budget of all bodies.
const PAGE_SHARE_BYTES: usize = 2 * 1024 * 1024;

/// Serves the three listings.
pub(crate) async fn list_objects(job: &Job<'_>) -> Outcome<Response<ResponseBody>> {
    let mut request = answer::request_for(job, Method::GET);
    request.query = answer::query_for_backend(job);
    request.headers = answer::headers_for_backend(job)?;
    let _share = job.parts.budget.share(PAGE_SHARE_BYTES).await?;
    let backed = answer::expect_success(job, job.parts.backend.send(request).await?).await?;
    let text = answer::read_bounded(backed.body, MAX_PAGE_BYTES).await?;
    let page =
        ListPage::parse(&text).map_err(|_| Failure::Unusable("a listing that is not S3's"))?;
    let described = describe(job, &page).await;
    let mut entries = described.iter();
    let rendered = page.render(
        |entry| edit(job, entry, &mut entries),
        |prefix| {
            if is_state_key(prefix, &job.parts.policy.state_prefix) {
                PrefixEdit::Hide
            } else {
                PrefixEdit::Keep
            }
        },
    );
    let mut headers = answer::client_headers(&backed.headers);
    headers.insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("application/xml"),
    );
    let mut response = Response::new(ResponseBody::held(Bytes::from(rendered)));
    *response.status_mut() = backed.status;
    *response.headers_mut() = headers;
    Ok(response)
}

/// One description for each entry that has a content, in the page's order.
async fn describe(job: &Job<'_>, page: &ListPage<'_>) -> Vec<Described> {
    let contents = page.entries().iter().filter_map(|entry| listed(job, entry));
    match job.parts.policy.listing {
        Listing::Computed => contents
            .map(|listed| lookup::compute(listed.size))
            .collect(),
        Listing::Exact => lookup::look_up(job, contents.collect()).await,
    }
}

/// What is to be described of an entry; none for delete markers and for what is hidden.
fn listed(job: &Job<'_>, entry: &ListEntry) -> Option<Listed> {
    let has_content = match entry.kind {
        EntryKind::Object | EntryKind::Version => true,
        EntryKind::DeleteMarker => false,
    };
    if !has_content || is_state_key(&entry.key, &job.parts.policy.state_prefix) {
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
    if is_state_key(&entry.key, &job.parts.policy.state_prefix) {
        return EntryEdit::Hide;
    }
    let Some(listed) = listed(job, entry) else {
        return EntryEdit::Keep;
    };
    match described.next() {
        Some(Described::Sealed(length)) => EntryEdit::Replace {
            etag: etag::to_client(&listed.etag.unwrap_or_default()).into_owned(),
            size: length.0,
        },
        Some(Described::AsItIs) | None => EntryEdit::Keep,
    }
}
