//! A page of a listing: requested, read whole within a bound, and sent to the client after
//! rewriting. The rewriting differs between listings and is not done here.

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Response, header};
use s3proxy_protocol::xml::listing::PageEdit;

use crate::body::outbound::ResponseBody;
use crate::failure::Outcome;
use crate::objects::call::{BackendResponse, client_headers, read_bounded};
use crate::objects::listing_walk::MOST_ENTRIES;
use crate::operations::Job;
use crate::operations::state_key_filter::{MOVES, behind_hidden};
use crate::s3_request::{PageStart, Paging, Parameters};

/// Longest page that is read, in bytes: 1000 keys of 1024 bytes, three bytes each when URL-encoded,
/// with a margin for the other elements.
const MAX_BYTES: usize = 16 * 1024 * 1024;

/// Share of the memory budget that a page takes while it is rewritten, in bytes.
pub(crate) const SHARE_BYTES: usize = 2 * 1024 * 1024;

/// A page as received from the backend.
pub(crate) struct Page {
    headers: HeaderMap,
    pub(crate) text: Bytes,
}

impl Page {
    /// Requests the page that the query names.
    pub(crate) async fn ask(job: &Job<'_>, query: Parameters) -> Outcome<Self> {
        let mut request = job.request_for(Method::GET);
        request.query = query.into_iter().map(at_most_a_page).collect();
        request.headers = job.headers_for_backend()?;
        let BackendResponse { headers, body, .. } = job.call.expect_success(request).await?;
        Ok(Self {
            headers: client_headers(&headers),
            text: read_bounded(body, MAX_BYTES).await?,
        })
    }

    /// Requests the page that the query names. A page of hidden keys alone is skipped
    /// (`last_hidden` finds the last of them); the edits then restore the client's own start.
    pub(crate) async fn ask_past_hidden<'a>(
        job: &Job<'_>,
        (paging, start): (Paging, &'a PageStart),
        mut query: Parameters,
        last_hidden: impl Fn(&[u8]) -> Outcome<Option<String>>,
    ) -> Outcome<(Self, Vec<(&'static str, PageEdit<'a>)>)> {
        let state_prefix = &job.call.store.policy.state_prefix;
        let mut page = Self::ask(job, query.clone()).await?;
        let mut edits = Vec::new();
        // Bounded: a backend must not keep the proxy busy with hidden keys.
        for _ in 0..MOVES {
            let Some(last) = last_hidden(&page.text)? else {
                break;
            };
            query = paging.behind(query, &behind_hidden(&last, state_prefix));
            page = Self::ask(job, query.clone()).await?;
            // The page no longer begins at the client's start, which the response must still name.
            edits = paging.asked(start);
        }
        Ok((page, edits))
    }

    /// Response with the rewritten page.
    pub(crate) fn answer(self, rewritten: impl Into<Bytes>) -> Response<ResponseBody> {
        let mut response = Response::new(ResponseBody::held(rewritten.into()));
        *response.headers_mut() = self.headers;
        let xml = HeaderValue::from_static("application/xml");
        response.headers_mut().insert(header::CONTENT_TYPE, xml);
        response
    }
}

/// Lowers a limit above the page size, as S3 does: some servers would return more entries.
fn at_most_a_page((name, value): (String, Option<String>)) -> (String, Option<String>) {
    let is_limit = ["max-keys", "max-uploads"].contains(&name.as_str());
    let wanted = value.as_deref().and_then(|text| text.parse::<u64>().ok());
    let is_more = wanted.is_some_and(|wanted| wanted > MOST_ENTRIES as u64);
    if is_limit && is_more {
        (name, Some(MOST_ENTRIES.to_string()))
    } else {
        (name, value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_more_is_asked_for_than_a_page() {
        for (name, value, sent) in [
            ("max-keys", "1001", "1000"),
            ("max-keys", "1000", "1000"),
            ("max-keys", "0", "0"),
            ("max-keys", "many", "many"),
            ("max-uploads", "18446744073709551615", "1000"),
            ("prefix", "2000", "2000"),
        ] {
            let asked = at_most_a_page((name.to_owned(), Some(value.to_owned())));
            assert_eq!(asked, (name.to_owned(), Some(sent.to_owned())));
        }
    }
}
