//! The stored parts of an upload: backend parts and staged ones.
//!
//! Some servers list a replaced part next to the one that replaced it. Both are kept here: the ETag
//! that the client names distinguishes them, and the backend decides on completion.

use http::Method;
use s3proxy_envelope::multipart::PartNumber;
use s3proxy_protocol::xml::complete::CompleteRequest;
use s3proxy_protocol::xml::parts::PartsPage;

use crate::backend::Request;
use crate::failure::{Failure, Outcome};
use crate::objects::StoreCall;
use crate::objects::call::read_bounded;
use crate::upload_state::part::{Shelf, upload_request};
use crate::upload_state::selection::{Present, all_present};
use crate::upload_state::state::OpenUpload;
use crate::upload_state::{TAIL_NUMBER, staged};

/// Longest page that is read, in bytes: 1000 parts.
const MAX_PAGE_BYTES: usize = 2 * 1024 * 1024;

/// Most listed parts of an upload: each may be listed with the one that it replaced.
const MOST_PARTS: usize = 20_000;

/// Parts that a completion can use. Staged ones are listed only if the request names a part that
/// the backend's upload does not have.
pub(crate) async fn present(
    call: &StoreCall<'_>,
    upload: &OpenUpload,
    request: &CompleteRequest,
) -> Outcome<Vec<Present>> {
    let mut present = in_upload(call, upload).await?;
    if !all_present(request, &present) {
        let staged = staged::list_staged(call, &upload.place).await?;
        present.extend(staged.into_iter().map(|part| Present {
            number: part.number,
            etag: part.etag,
            size: part.size,
            shelf: Shelf::Staged,
        }));
    }
    Ok(present)
}

/// One page of the backend's list of parts, without tails.
pub(crate) struct BackendPartsPage {
    pub(crate) parts: Vec<Present>,
    /// Marker of the next page: the number that it starts after.
    next: Option<u16>,
}

async fn in_upload(call: &StoreCall<'_>, upload: &OpenUpload) -> Outcome<Vec<Present>> {
    let mut found = Vec::new();
    let mut marker = None;
    loop {
        let mut request = upload_request(call, Method::GET, upload);
        request.headers = upload.customer_key();
        if let Some(marker) = marker {
            let parameter = ("part-number-marker".to_owned(), Some(format!("{marker}")));
            request.query.push(parameter);
        }
        let page = page(call, request).await?;
        found.extend(page.parts);
        if found.len() > MOST_PARTS {
            return Err(Failure::Unusable("more parts than an upload can have"));
        }
        if page.next.is_none() {
            return Ok(found);
        }
        // A page that does not advance would be requested forever.
        if page.next <= marker {
            return Err(Failure::Unusable(
                "a listing of parts that does not advance",
            ));
        }
        marker = page.next;
    }
}

/// Requests one page.
pub(crate) async fn page(call: &StoreCall<'_>, request: Request) -> Outcome<BackendPartsPage> {
    let backed = call.expect_success(request).await?;
    let text = read_bounded(backed.body, MAX_PAGE_BYTES).await?;
    let page =
        PartsPage::parse(&text).map_err(|_| Failure::Unusable("a malformed ListPartsResult"))?;
    let parts = page.parts().iter().filter_map(|part| {
        let number = PartNumber::new(part.number).filter(|number| *number != TAIL_NUMBER)?;
        Some(Present {
            number,
            etag: part.etag.clone(),
            size: part.size,
            shelf: Shelf::Upload,
        })
    });
    // Some servers return no marker; the last number listed is the same.
    let last = || page.parts().last().map(|part| part.number);
    let next = page
        .is_truncated()
        .then(|| page.next_marker().or_else(last));
    match next {
        Some(None) => Err(Failure::Unusable(
            "a truncated listing without a marker for the next page",
        )),
        Some(next) => Ok(BackendPartsPage {
            parts: parts.collect(),
            next,
        }),
        None => Ok(BackendPartsPage {
            parts: parts.collect(),
            next: None,
        }),
    }
}
