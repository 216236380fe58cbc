//! ListMultipartUploads: the backend's list, without what is the proxy's own business.
//!
//! The backend has one upload for each of the client's, under the same id, so its page is passed on.
//! What it says of checksums is about stored bytes and goes; the client's own algorithm stands in each
//! upload's state, and is not looked up.

use http::{HeaderValue, Method, Response, header};
use s3proxy_protocol::xml::listing::PrefixEdit;
use s3proxy_protocol::xml::uploads::{UploadEdit, UploadsPage};

use crate::body::outbound::ResponseBody;
use crate::execute::answer::{self, Backed};
use crate::execute::hidden::{self, LastShown, MOVES, Paging, Parameters};
use crate::execute::{Job, Outcome};
use crate::plan::is_state_key;
use crate::respond::Failure;

/// Longest page that is read: 1000 uploads with keys of 1024 bytes, three bytes each when
/// URL-encoded, with room for what stands beside them.
const MAX_PAGE_BYTES: usize = 16 * 1024 * 1024;

/// Memory that a page may take while it is rewritten, against the budget of all bodies.
const PAGE_SHARE_BYTES: usize = 2 * 1024 * 1024;

/// Serves ListMultipartUploads.
pub(super) async fn list_uploads(job: &Job<'_>) -> Outcome<Response<ResponseBody>> {
    let _share = job.parts.budget.share(PAGE_SHARE_BYTES).await?;
    let mut query = answer::query_for_backend(job);
    let mut backed = ask(job, query.clone()).await?;
    let mut edits = Vec::new();
    for _ in 0..MOVES {
        let Some(last) = last_of_nothing_shown(job, &backed.text)? else {
            break;
        };
        let behind = hidden::behind_hidden(&last, &job.parts.policy.state_prefix);
        query = Paging::Uploads.behind(query, &behind);
        backed = ask(job, query.clone()).await?;
        edits = Paging::Uploads.asked(&job.request.query);
    }
    let page = parse(&backed.text)?;
    let last = last_shown(job, &page);
    let prefix = &job.parts.policy.state_prefix;
    let next = page.next_key_marker();
    edits.extend(hidden::next_edits(
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
    let mut response = Response::new(ResponseBody::held(document));
    *response.headers_mut() = backed.headers;
    let xml = HeaderValue::from_static("application/xml");
    response.headers_mut().insert(header::CONTENT_TYPE, xml);
    Ok(response)
}

/// A page, unread.
struct Asked {
    headers: http::HeaderMap,
    text: bytes::Bytes,
}

async fn ask(job: &Job<'_>, query: Parameters) -> Outcome<Asked> {
    let mut request = answer::request_for(job, Method::GET);
    request.query = query;
    request.headers = answer::headers_for_backend(job)?;
    let sent = job.parts.backend.send(request).await?;
    let Backed { headers, body, .. } = answer::expect_success(job, sent).await?;
    Ok(Asked {
        headers: answer::client_headers(&headers),
        text: answer::read_bounded(body, MAX_PAGE_BYTES).await?,
    })
}

fn parse(text: &[u8]) -> Outcome<UploadsPage<'_>> {
    UploadsPage::parse(text)
        .map_err(|_| Failure::Unusable("a ListMultipartUploadsResult that is not S3's"))
}

/// The last hidden key of a page that shows nothing, though the list goes on.
fn last_of_nothing_shown(job: &Job<'_>, text: &[u8]) -> Outcome<Option<String>> {
    let page = parse(text)?;
    if !page.is_truncated() || last_shown(job, &page).is_some() {
        return Ok(None);
    }
    let keys = page.uploads().iter().map(|upload| &upload.object_key);
    Ok(keys.chain(page.common_prefixes()).max().cloned())
}

fn last_shown(job: &Job<'_>, page: &UploadsPage<'_>) -> Option<LastShown> {
    let prefix = &job.parts.policy.state_prefix;
    let mut uploads = page.uploads().iter().rev();
    let upload = uploads.find(|upload| !is_state_key(&upload.object_key, prefix));
    let mut prefixes = page.common_prefixes().iter().rev();
    let shared = prefixes.find(|shared| !is_state_key(shared, prefix));
    let upload = upload.map(|upload| LastShown {
        key: upload.object_key.clone(),
        detail: Some(upload.upload_id.clone()),
    });
    hidden::last_shown(upload, shared.map(String::as_str))
}
