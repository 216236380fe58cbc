//! The stored parts of an upload, from both shelves.
//!
//! Some servers list a replaced part beside the one that replaced it. Both are kept here: the ETag
//! that the client names tells them apart, and the backend has the last word when it completes.

use http::Method;
use s3proxy_envelope::multipart::PartNumber;
use s3proxy_protocol::xml::complete::CompleteRequest;
use s3proxy_protocol::xml::parts::PartsPage;

use super::part::{Shelf, upload_request};
use super::selection::{Present, all_present};
use super::state::OpenUpload;
use super::{TAIL_NUMBER, staged};
use crate::execute::{Job, Outcome, answer};
use crate::respond::Failure;

/// Longest page that is read: 1000 parts.
const MAX_PAGE_BYTES: usize = 2 * 1024 * 1024;

/// More than an upload has at 1000 a page; a backend that goes on is broken.
const MAX_PAGES: usize = 10_000;

/// The parts that a completion can be made of. Staged ones are listed only where the request names
/// something else than the backend's own.
pub(super) async fn present(
    job: &Job<'_>,
    upload: &OpenUpload,
    request: &CompleteRequest,
) -> Outcome<Vec<Present>> {
    let mut present = in_upload(job, upload).await?;
    if !all_present(request, &present) {
        let staged = staged::list_staged(job, &upload.place).await?;
        present.extend(staged.into_iter().map(|part| Present {
            number: part.number,
            etag: part.etag,
            size: part.size,
            shelf: Shelf::Staged,
        }));
    }
    Ok(present)
}

/// What the backend's upload holds, tails left out.
async fn in_upload(job: &Job<'_>, upload: &OpenUpload) -> Outcome<Vec<Present>> {
    let mut found = Vec::new();
    let mut marker = None;
    for _ in 0..MAX_PAGES {
        let mut request = upload_request(job, Method::GET, upload);
        request.headers = upload.customer_key();
        if let Some(marker) = marker {
            let parameter = ("part-number-marker".to_owned(), Some(format!("{marker}")));
            request.query.push(parameter);
        }
        let backed = answer::expect_success(job, job.parts.backend.send(request).await?).await?;
        let text = answer::read_bounded(backed.body, MAX_PAGE_BYTES).await?;
        let page = PartsPage::parse(&text)
            .map_err(|_| Failure::Unusable("a ListPartsResult that is not S3's"))?;
        found.extend(page.parts().iter().filter_map(|part| {
            let number = PartNumber::new(part.number).filter(|number| *number != TAIL_NUMBER)?;
            Some(Present {
                number,
                etag: part.etag.clone(),
                size: part.size,
                shelf: Shelf::Upload,
            })
        }));
        if !page.is_truncated() {
            return Ok(found);
        }
        let next = page
            .next_marker()
            .or_else(|| page.parts().last().map(|part| part.number));
        if next <= marker {
            return Err(Failure::Unusable(
                "a listing of parts that does not advance",
            ));
        }
        marker = next;
    }
    Err(Failure::Unusable("a listing of parts without end"))
}
