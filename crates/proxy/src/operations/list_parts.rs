//! ListParts: the backend's parts and the staged ones in one list, in plaintext terms.
//!
//! The backend is asked for a full page after the client's marker, regardless of the client's page
//! size: a server that lists a replaced part next to its successor must not split the two. If its
//! page is truncated, the last number is left for the next page for the same reason, and no staged
//! part beyond it is shown yet. A page may therefore be shorter than requested, which S3 allows,
//! and markers are numbers of parts that were shown.
//!
//! Of two parts with one number the newer is shown. If both lists give the same time, it is the one
//! that this replica stored last (`attempts`), or else the staged one. Which of them is completed
//! depends on the ETag that the client names (ADR 0006). The tail's number is never shown.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use http::{HeaderValue, Method, Response, header};
use s3proxy_envelope::layout::message_plaintext_length;
use s3proxy_envelope::multipart::{PartEtag, PartNumber};
use s3proxy_protocol::etag::ETag;
use s3proxy_protocol::xml::parts::{ListedPart, PartsAnswer, PartsPage, ShownPart};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::body::outbound::ResponseBody;
use crate::failure::{Failure, Outcome};
use crate::objects::call::{client_headers, read_bounded};
use crate::operations::Job;
use crate::s3_request::{ListParts, RequestedPage};
use crate::stored_fault::StoredFault;
use crate::upload_state::TAIL_NUMBER;
use crate::upload_state::part::upload_request;
use crate::upload_state::staged::{self, StagedPart};
use crate::upload_state::state::{self, OpenUpload};

/// Longest page that is read, in bytes: 1000 parts.
const MAX_PAGE_BYTES: usize = 2 * 1024 * 1024;

/// One entry of the list.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Part {
    number: u16,
    /// ETag of the part as the backend returned it.
    etag: ETag,
    /// Length in stored bytes.
    size: u64,
    last_modified: String,
}

/// Page that the client is shown.
#[derive(Debug, PartialEq, Eq)]
struct ShownParts {
    parts: Vec<Part>,
    has_more: bool,
}

/// Handles ListParts.
pub(crate) async fn list_parts(job: &Job<'_>, list: &ListParts) -> Outcome<Response<ResponseBody>> {
    let requested = list.page;
    let upload = state::load(&job.uploads(), job.object(), list.upload_id.as_str()).await?;
    let mut request = upload_request(&job.call, Method::GET, &upload);
    request.headers = job.headers_for_backend()?;
    request.headers.extend(upload.customer_key());
    if requested.after > 0 {
        let marker = Some(requested.after.to_string());
        request
            .query
            .push(("part-number-marker".to_owned(), marker));
    }
    let _share = job.call.share(MAX_PAGE_BYTES).await?;
    let backed = match job.call.expect_success(request).await {
        Ok(backed) => backed,
        Err(failure) => {
            if state::is_gone(&failure) {
                state::forget(&job.services.uploads, &upload.place.hash);
            }
            return Err(failure);
        }
    };
    let text = read_bounded(backed.body, MAX_PAGE_BYTES).await?;
    let page =
        PartsPage::parse(&text).map_err(|_| Failure::Unusable("a malformed ListPartsResult"))?;
    let staged = staged::list_staged(&job.call, &upload.place).await?;
    let is_last = |part: &Part| {
        let number = PartNumber::new(part.number);
        let attempts = &job.services.uploads.attempts;
        number.is_some_and(|number| attempts.is_last(upload.place.hash, number, &part.etag))
    };
    let shown = merge(
        requested,
        page.parts(),
        page.is_truncated(),
        staged,
        is_last,
    );
    let document = render(job, &upload, requested, &page, &shown)?;
    let mut headers = client_headers(&backed.headers);
    let xml = HeaderValue::from_static("application/xml");
    headers.insert(header::CONTENT_TYPE, xml);
    let mut response = Response::new(ResponseBody::held(document));
    *response.status_mut() = backed.status;
    *response.headers_mut() = headers;
    Ok(response)
}

/// Merges both lists. `truncated` is about the backend's page; `is_last` returns whether a part is
/// known to be the last one under its number.
fn merge(
    requested: RequestedPage,
    listed: &[ListedPart],
    truncated: bool,
    staged: Vec<StagedPart>,
    is_last: impl Fn(&Part) -> bool,
) -> ShownParts {
    let in_upload = listed.iter().map(|part| Part {
        number: part.number,
        etag: part.etag.clone(),
        size: part.size,
        last_modified: part.last_modified.clone(),
    });
    // At the backend only the tail has this number; a client's part 10000 is always staged.
    let kept = in_upload.filter(|part| part.number != TAIL_NUMBER.get());
    let wanted = |part: &Part| u32::from(part.number) > requested.after;
    let mut newest = BTreeMap::new();
    for part in kept
        // Staged parts come second: on a tie they replace the backend's.
        .chain(staged.into_iter().map(staged_part))
        .filter(wanted)
    {
        replace_older(&mut newest, part, &is_last);
    }
    let mut parts: Vec<Part> = newest.into_values().collect();
    if truncated {
        let end = trusted_end(listed);
        parts.retain(|part| part.number <= end);
    }
    let limit = usize::try_from(requested.max_parts).expect("at most 1000");
    let has_more = truncated || parts.len() > limit;
    parts.truncate(limit);
    ShownParts { parts, has_more }
}

/// Of two parts with the same time, the later in order replaces the earlier, unless the earlier is
/// known to be the last.
fn replace_older(newest: &mut BTreeMap<u16, Part>, part: Part, is_last: impl Fn(&Part) -> bool) {
    match newest.entry(part.number) {
        Entry::Vacant(free) => {
            free.insert(part);
        }
        Entry::Occupied(mut taken) => {
            let taken = taken.get_mut();
            let replaces = match age_order(&part.last_modified, &taken.last_modified) {
                Ordering::Less => false,
                Ordering::Equal => !is_last(taken),
                Ordering::Greater => true,
            };
            if replaces {
                *taken = part;
            }
        }
    }
}

/// Last number of a truncated page whose entries are complete.
fn trusted_end(listed: &[ListedPart]) -> u16 {
    let last = listed.iter().map(|part| part.number).max().unwrap_or(0);
    let before = listed.iter().map(|part| part.number);
    // A page of one number alone has to be trusted, or the list would never advance.
    before.filter(|number| *number < last).max().unwrap_or(last)
}

fn staged_part(part: StagedPart) -> Part {
    Part {
        number: part.number.get(),
        etag: part.etag,
        size: part.size,
        last_modified: part.last_modified,
    }
}

/// Compares two times at the precision that both have: some lists have whole seconds only.
fn age_order(a: &str, b: &str) -> Ordering {
    let time = |text: &str| OffsetDateTime::parse(text, &Rfc3339).ok();
    match (time(a), time(b)) {
        (Some(a), Some(b)) if a.nanosecond() == 0 || b.nanosecond() == 0 => {
            a.unix_timestamp().cmp(&b.unix_timestamp())
        }
        (a, b) => a.cmp(&b),
    }
}

fn render(
    job: &Job<'_>,
    upload: &OpenUpload,
    requested: RequestedPage,
    page: &PartsPage<'_>,
    shown: &ShownParts,
) -> Outcome<String> {
    let object = job.object();
    let etags: Vec<String> = shown
        .parts
        .iter()
        .map(|part| PartEtag::listed(part.etag.as_str()).encode())
        .collect();
    let parts = shown.parts.iter().zip(&etags);
    let parts = parts.map(|(part, etag)| {
        let length = message_plaintext_length(part.size).ok_or_else(|| {
            Failure::from(StoredFault::truncated("a part of an impossible length"))
        })?;
        Ok(ShownPart {
            number: part.number,
            etag,
            size: length.0,
            last_modified: &part.last_modified,
            checksum: None,
        })
    });
    let parts = parts.collect::<Outcome<Vec<_>>>()?;
    Ok(page.render(&PartsAnswer {
        bucket: object.bucket.as_str(),
        object_key: object.key.as_str(),
        upload_id: &upload.id,
        part_number_marker: requested.after,
        max_parts: requested.max_parts,
        next_part_number_marker: shown.next_marker(requested),
        is_truncated: shown.has_more,
        checksum_algorithm: upload.checksum.map(|checksum| checksum.algorithm.as_str()),
        checksum_type: upload.checksum.map(|checksum| checksum.kind.as_str()),
        parts,
    }))
}

impl ShownParts {
    /// Marker of the next page: the last number shown, or the client's marker if there is none.
    fn next_marker(&self, requested: RequestedPage) -> Option<u16> {
        let last = self.parts.last().map(|part| part.number);
        let unmoved = || u16::try_from(requested.after).unwrap_or(PartNumber::MAX.get());
        self.has_more.then(|| last.unwrap_or_else(unmoved))
    }
}

#[cfg(test)]
mod tests;
