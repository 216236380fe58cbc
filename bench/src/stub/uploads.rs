//! Multipart uploads of the stub: length and entity tag of every part, but none of its bytes.
//!
//! A completed upload becomes an object of the right length and metadata with the bytes of the
//! pattern. Complete accepts the same lists as S3: existing parts in ascending order under the
//! right entity tags. So a proxy that mixes up its parts fails here.
//!
//! Absent: the minimum length of parts, checksums, and listing uploads.

use std::collections::{BTreeMap, HashMap};
use std::fmt::Write;
use std::sync::{Mutex, MutexGuard};

use http::{HeaderMap, HeaderValue};

use super::store::{Content, Object};
use crate::xml;

/// Longest page of `ListParts`, as in S3.
const PAGE: usize = 1000;

#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub(super) enum RefusedUpload {
    #[error("NoSuchUpload")]
    Unknown,
    #[error("InvalidPart")]
    Part,
    #[error("InvalidPartOrder")]
    Order,
    #[error("MalformedXML")]
    Document,
}

struct Upload {
    /// Bucket and key, joined by a slash.
    name: String,
    headers: HeaderMap,
    parts: BTreeMap<u16, Part>,
}

struct Part {
    /// Entity tag without quotes.
    etag: String,
    length: u64,
}

#[derive(Default)]
pub(super) struct Uploads {
    open: Mutex<OpenUploads>,
}

#[derive(Default)]
struct OpenUploads {
    uploads: HashMap<String, Upload>,
    created: u64,
}

impl Uploads {
    /// Creates an upload and returns its id.
    pub(super) fn create(&self, name: String, headers: HeaderMap) -> String {
        let mut open = self.open();
        open.created += 1;
        let id = format!("stub-upload-{}", open.created);
        let parts = BTreeMap::new();
        let upload = Upload {
            name,
            headers,
            parts,
        };
        open.uploads.insert(id.clone(), upload);
        id
    }

    pub(super) fn put(
        &self,
        id: &str,
        number: u16,
        etag: &HeaderValue,
        length: u64,
    ) -> Result<(), RefusedUpload> {
        let mut open = self.open();
        let upload = open.uploads.get_mut(id).ok_or(RefusedUpload::Unknown)?;
        let etag = etag.to_str().map_err(|_| RefusedUpload::Part)?;
        let etag = xml::unquoted(etag).to_owned();
        upload.parts.insert(number, Part { etag, length });
        Ok(())
    }

    /// The page of parts after the number `after`.
    pub(super) fn list(&self, id: &str, after: u16) -> Result<String, RefusedUpload> {
        let open = self.open();
        let upload = open.uploads.get(id).ok_or(RefusedUpload::Unknown)?;
        let mut page = String::new();
        let mut last = after;
        let mut listed = 0;
        let mut rest = upload.parts.range(after.saturating_add(1)..);
        for (number, part) in rest.by_ref().take(PAGE) {
            let Part { etag, length } = part;
            write!(
                page,
                "<Part><PartNumber>{number}</PartNumber>\
                 <LastModified>2022-01-01T00:00:00.000Z</LastModified>\
                 <ETag>&quot;{etag}&quot;</ETag><Size>{length}</Size></Part>"
            )
            .expect("writing to a String cannot fail");
            (last, listed) = (*number, listed + 1);
        }
        // `take` has left the iterator after the page, so another part means another page.
        let truncated = rest.next().is_some();
        Ok(format!(
            "<ListPartsResult><UploadId>{id}</UploadId>\
             <PartNumberMarker>{after}</PartNumberMarker>\
             <NextPartNumberMarker>{last}</NextPartNumberMarker>\
             <MaxParts>{PAGE}</MaxParts><IsTruncated>{truncated}</IsTruncated>\
             {page}</ListPartsResult>"
        ))
    }

    /// Completes an upload with the parts in `document`; returns name and object.
    pub(super) fn complete(
        &self,
        id: &str,
        document: &str,
        etag: &HeaderValue,
    ) -> Result<(String, Object), RefusedUpload> {
        let mut open = self.open();
        let upload = open.uploads.get(id).ok_or(RefusedUpload::Unknown)?;
        // A refused list leaves the upload open, so that the client can try again.
        let (length, count) = upload.joined(document)?;
        let etag = etag.to_str().map_err(|_| RefusedUpload::Part)?;
        // S3 marks the ETag of a multipart upload with the number of parts.
        let etag = format!("\"{}-{count}\"", xml::unquoted(etag));
        let etag = HeaderValue::try_from(etag).expect("an entity tag and digits");
        let Upload { name, headers, .. } = open.uploads.remove(id).ok_or(RefusedUpload::Unknown)?;
        Ok((name, Object::new(Content::Made(length), &headers, etag)))
    }

    pub(super) fn abort(&self, id: &str) -> Result<(), RefusedUpload> {
        let removed = self.open().uploads.remove(id);
        removed.map(drop).ok_or(RefusedUpload::Unknown)
    }

    fn open(&self) -> MutexGuard<'_, OpenUploads> {
        self.open
            .lock()
            .expect("no code panics while it holds the lock")
    }
}

impl Upload {
    /// Total length and number of the listed parts.
    fn joined(&self, document: &str) -> Result<(u64, usize), RefusedUpload> {
        let (mut length, mut count, mut last) = (0, 0, 0);
        for part in xml::contents(document, "Part") {
            let number = xml::content(part, "PartNumber").and_then(|text| text.parse().ok());
            let number: u16 = number.ok_or(RefusedUpload::Document)?;
            let etag = xml::content(part, "ETag").ok_or(RefusedUpload::Document)?;
            let kept = self.parts.get(&number);
            let kept = kept.filter(|kept| kept.etag == xml::unquoted(etag));
            length += kept.ok_or(RefusedUpload::Part)?.length;
            if number <= last {
                return Err(RefusedUpload::Order);
            }
            (last, count) = (number, count + 1);
        }
        if count == 0 {
            return Err(RefusedUpload::Document);
        }
        Ok((length, count))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filled(parts: impl IntoIterator<Item = u16>) -> (Uploads, String) {
        let uploads = Uploads::default();
        let id = uploads.create("b/k".to_owned(), HeaderMap::new());
        for number in parts {
            let etag = HeaderValue::try_from(format!("\"tag-{number}\"")).expect("text");
            let put = uploads.put(&id, number, &etag, 10 * u64::from(number));
            put.expect("a part of a known upload");
        }
        (uploads, id)
    }

    fn request(parts: &[(u16, &str)]) -> String {
        let part = |(number, etag): &(u16, &str)| {
            format!("<Part><PartNumber>{number}</PartNumber><ETag>{etag}</ETag></Part>")
        };
        parts.iter().map(part).collect()
    }

    #[test]
    fn a_complete_upload_has_the_length_of_the_parts_that_were_listed() {
        let (uploads, id) = filled([1, 2, 5]);
        let listed = request(&[(1, "\"tag-1\""), (5, "&quot;tag-5&quot;")]);
        let etag = HeaderValue::from_static("\"whole\"");
        let (name, object) = uploads.complete(&id, &listed, &etag).expect("complete");
        assert_eq!((name.as_str(), object.content.length()), ("b/k", 60));
        assert_eq!(object.etag, "\"whole-2\"");
        let again = uploads.complete(&id, &listed, &etag);
        assert_eq!(again.err(), Some(RefusedUpload::Unknown));
    }

    #[test]
    fn parts_that_are_missing_replaced_or_out_of_order_are_refused() {
        let (uploads, id) = filled([1, 2]);
        for (parts, refused) in [
            (vec![(1, "tag-1"), (3, "tag-3")], RefusedUpload::Part),
            (vec![(1, "tag-2")], RefusedUpload::Part),
            (vec![(2, "tag-2"), (1, "tag-1")], RefusedUpload::Order),
            (vec![(1, "tag-1"), (1, "tag-1")], RefusedUpload::Order),
            (vec![], RefusedUpload::Document),
        ] {
            let etag = HeaderValue::from_static("\"x\"");
            let done = uploads.complete(&id, &request(&parts), &etag);
            assert_eq!(done.err(), Some(refused), "{parts:?}");
        }
    }

    #[test]
    fn pages_of_parts_join_to_all_of_them() {
        let (uploads, id) = filled(1..=2500);
        let (mut numbers, mut after) = (Vec::<u16>::new(), 0);
        loop {
            let page = uploads.list(&id, after).expect("a page");
            let found = xml::contents(&page, "PartNumber").map(str::parse::<u16>);
            let found = found.map(|number| number.expect("a number"));
            numbers.extend(found);
            assert!(numbers.len() <= usize::from(after) + PAGE);
            if xml::content(&page, "IsTruncated") == Some("false") {
                break;
            }
            let next = xml::content(&page, "NextPartNumberMarker").expect("a marker");
            after = next.parse().expect("a number");
        }
        assert_eq!(numbers, (1..=2500).collect::<Vec<u16>>());
    }

    #[test]
    fn an_aborted_upload_takes_no_part() {
        let (uploads, id) = filled([]);
        assert_eq!(uploads.abort(&id), Ok(()));
        let etag = HeaderValue::from_static("\"x\"");
        assert_eq!(uploads.put(&id, 1, &etag, 1), Err(RefusedUpload::Unknown));
        assert_eq!(uploads.list(&id, 0), Err(RefusedUpload::Unknown));
        assert_eq!(uploads.abort(&id), Err(RefusedUpload::Unknown));
    }
}
