//! A bucket that the proxy itself lists and cleans, to remove upload state.
//!
//! These requests are made for no client, and no grants are checked: the sweep runs in the
//! background. Lists are complete (every page) or an error. An endless list is an error too
//! ([`ListingWalk`]), because removals depend on the absence of entries.
//!
//! Writing and reading state belongs to the steps of an upload, not here.

use std::ops::ControlFlow;

use futures_util::stream::{self, StreamExt};
use http::{HeaderMap, Method};
use s3proxy_protocol::xml::document::XmlError;
use s3proxy_protocol::xml::listing::{EntryKind, ListEntry, ListPage};
use s3proxy_protocol::xml::uploads::{ListedUpload, UploadsPage};

use crate::backend::{Backend, Request, Service};
use crate::failure::{Failure, Outcome};
use crate::objects::StoreCall;
use crate::objects::call::{BackendResponse, failure_of, read_bounded};
use crate::objects::listing_walk::{ListingWalk, check_entries};

/// Longest page that is read, in bytes: 1000 keys of 1024 bytes, three bytes each when URL-encoded,
/// with a margin for the other elements.
const MAX_PAGE_BYTES: usize = 16 * 1024 * 1024;

/// Most objects of one upload: its state, and its parts with their older versions.
const MOST_IN_FOLDER: usize = 20_000;

/// Concurrent deletions.
const DELETIONS_AT_ONCE: usize = 8;

/// A bucket at the backend, accessed with the proxy's own credential.
#[derive(Clone)]
pub(crate) struct Bucket {
    backend: Backend,
    pub(crate) name: String,
    service: Option<Service>,
}

/// Whether a backend supports listing versions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum VersionListing {
    Supported,
    Unsupported,
}

/// Effect of a DELETE without a version.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Deletion {
    /// The object is gone.
    Done,
    /// The bucket is versioned: the object got a delete marker.
    Marked,
}

impl Deletion {
    /// Reads the effect from the response headers. In unversioned buckets the version is absent or
    /// `null`. With suspended versioning it is `null` too, but there is a delete marker.
    fn from_headers(headers: &HeaderMap) -> Self {
        let says = |name, is: fn(&[u8]) -> bool| {
            let value = headers.get(name);
            value.is_some_and(|value| is(value.as_bytes()))
        };
        let marked = says("x-amz-delete-marker", |value| value == b"true");
        if marked || says("x-amz-version-id", |value| value != b"null") {
            Self::Marked
        } else {
            Self::Done
        }
    }
}

/// An object or version that could not be removed.
#[derive(Debug)]
pub(crate) struct NotRemoved {
    pub(crate) key: String,
    pub(crate) failure: Failure,
}

impl Bucket {
    pub(crate) fn new(backend: &Backend, name: &str, service: Option<Service>) -> Self {
        Self {
            backend: backend.clone(),
            name: name.to_owned(),
            service,
        }
    }

    /// A bucket of the service that the call uses.
    pub(crate) fn for_call(call: &StoreCall<'_>, name: &str) -> Self {
        Self::new(&call.store.backend, name, call.service().cloned())
    }

    /// Another bucket of the same service.
    pub(crate) fn named(&self, name: &str) -> Self {
        Self::new(&self.backend, name, self.service.clone())
    }

    /// Service of the bucket, unless it is the configured backend.
    pub(crate) fn service(&self) -> Option<&Service> {
        self.service.as_ref()
    }

    /// Objects in the folder of one upload.
    pub(crate) async fn objects(&self, prefix: &str) -> Outcome<Vec<ListEntry>> {
        let mut entries = Vec::new();
        let course = ListingWalk::of_folder();
        self.object_pages(prefix, course, collect(&mut entries))
            .await?;
        bounded(entries)
    }

    /// Versions and delete markers in the folder of one upload; `None` if the backend does not
    /// support versions.
    pub(crate) async fn versions(&self, prefix: &str) -> Outcome<Option<Vec<ListEntry>>> {
        let mut entries = Vec::new();
        let course = ListingWalk::of_folder();
        let walked = self.version_pages(prefix, course, collect(&mut entries));
        Ok(match walked.await? {
            VersionListing::Supported => Some(bounded(entries)?),
            VersionListing::Unsupported => None,
        })
    }

    /// Visits everything stored under a prefix: versions and delete markers, or objects if versions
    /// are not supported. `visit` may end the walk.
    pub(crate) async fn walk(
        &self,
        prefix: &str,
        mut visit: impl FnMut(&ListEntry) -> ControlFlow<()>,
    ) -> Outcome<()> {
        match self
            .version_pages(prefix, ListingWalk::new(), &mut visit)
            .await?
        {
            VersionListing::Supported => Ok(()),
            VersionListing::Unsupported => self.walk_objects(prefix, visit).await,
        }
    }

    /// Visits the objects under a prefix, any number of them. `visit` may end the walk.
    pub(crate) async fn walk_objects(
        &self,
        prefix: &str,
        visit: impl FnMut(&ListEntry) -> ControlFlow<()>,
    ) -> Outcome<()> {
        self.object_pages(prefix, ListingWalk::new(), visit).await
    }

    async fn object_pages(
        &self,
        prefix: &str,
        mut course: ListingWalk<String>,
        mut visit: impl FnMut(&ListEntry) -> ControlFlow<()>,
    ) -> Outcome<()> {
        let mut token: Option<String> = None;
        loop {
            let mut query = vec![parameter("list-type", "2")];
            query.extend(listing_query(prefix));
            query.extend(
                token
                    .as_deref()
                    .map(|token| parameter("continuation-token", token)),
            );
            let text = self.page(query).await?;
            let page = ListPage::parse(&text).map_err(not_s3)?;
            check_entries(page.entries().len())?;
            let stopped = page.entries().iter().try_for_each(&mut visit).is_break();
            if stopped || !page.is_truncated() {
                return Ok(());
            }
            let next = page.text_of_page("NextContinuationToken").map_err(not_s3)?;
            token = Some(course.go_on(page.entries().len(), next)?);
        }
    }

    async fn version_pages(
        &self,
        prefix: &str,
        mut course: ListingWalk<(String, Option<String>)>,
        mut visit: impl FnMut(&ListEntry) -> ControlFlow<()>,
    ) -> Outcome<VersionListing> {
        let mut marker: Option<(String, Option<String>)> = None;
        loop {
            let mut query = vec![("versions".to_owned(), None)];
            query.extend(listing_query(prefix));
            if let Some((key, version)) = &marker {
                query.push(parameter("key-marker", key));
                let version = version.as_deref();
                query.extend(version.map(|id| parameter("version-id-marker", id)));
            }
            let text = match self.page(query).await {
                Err(failure) if is_not_implemented(&failure) => {
                    return Ok(VersionListing::Unsupported);
                }
                text => text?,
            };
            let page = ListPage::parse(&text).map_err(not_s3)?;
            check_entries(page.entries().len())?;
            // A server that ignores the unknown parameter lists objects.
            let is_object = |entry: &ListEntry| entry.kind == EntryKind::Object;
            if page.entries().iter().any(is_object) {
                return Ok(VersionListing::Unsupported);
            }
            let stopped = page.entries().iter().try_for_each(&mut visit).is_break();
            if stopped || !page.is_truncated() {
                return Ok(VersionListing::Supported);
            }
            let key = page.key_of_page("NextKeyMarker").map_err(not_s3)?;
            let version = page.text_of_page("NextVersionIdMarker").map_err(not_s3)?;
            let next = key.map(|key| (key, version));
            // Without a version the next page starts after all versions of the key.
            marker = Some(course.go_on(page.entries().len(), next)?);
        }
    }

    /// Calls `seen` for every upload in progress in the bucket. Keys are requested unencoded:
    /// SeaweedFS announces URL-encoding and does not encode, Ceph's gateway encodes and does not
    /// announce it.
    pub(crate) async fn each_upload(&self, seen: impl FnMut(&ListedUpload)) -> Outcome<()> {
        self.each_upload_under(None, seen).await
    }

    /// Calls `seen` for every upload in progress whose key begins with a prefix.
    pub(crate) async fn each_upload_under(
        &self,
        prefix: Option<&str>,
        mut seen: impl FnMut(&ListedUpload),
    ) -> Outcome<()> {
        // SeaweedFS pages by upload id alone, and returns no key marker.
        let mut marker: Option<(Option<String>, Option<String>)> = None;
        let mut course = ListingWalk::new();
        loop {
            let mut query = vec![("uploads".to_owned(), None)];
            query.extend(prefix.map(|prefix| parameter("prefix", prefix)));
            if let Some((key, upload)) = &marker {
                let key = key.as_deref().map(|key| parameter("key-marker", key));
                let upload = upload
                    .as_deref()
                    .map(|id| parameter("upload-id-marker", id));
                query.extend(key.into_iter().chain(upload));
            }
            let text = self.page(query).await?;
            let page = UploadsPage::parse(&text).map_err(not_s3)?;
            check_entries(page.uploads().len())?;
            page.uploads().iter().for_each(&mut seen);
            if !page.is_truncated() {
                return Ok(());
            }
            let next = (
                page.next_key_marker().map(str::to_owned),
                page.next_upload_id_marker().map(str::to_owned),
            );
            let leads_on = next.0.is_some() || next.1.is_some();
            marker = Some(course.go_on(page.uploads().len(), leads_on.then_some(next))?);
        }
    }

    /// Deletes an object, which leaves a delete marker in a versioned bucket.
    pub(crate) async fn delete(&self, key: &str) -> Outcome<Deletion> {
        Ok(Deletion::from_headers(
            &self.send_deletion(key, None).await?.headers,
        ))
    }

    /// Removes listed entries permanently. Delete markers go last. A marker is kept if a version
    /// under it could not be removed (object lock): without the marker that version would reappear.
    pub(crate) async fn remove(&self, entries: &[ListEntry]) -> Vec<NotRemoved> {
        let (markers, contents): (Vec<_>, Vec<_>) = entries
            .iter()
            .partition(|entry| entry.kind == EntryKind::DeleteMarker);
        let mut failed = self.remove_each(contents).await;
        let hides_nothing = |marker: &&ListEntry| failed.iter().all(|left| left.key != marker.key);
        let free = markers.into_iter().filter(hides_nothing).collect();
        let markers_left = self.remove_each(free).await;
        failed.extend(markers_left);
        failed
    }

    async fn remove_each(&self, entries: Vec<&ListEntry>) -> Vec<NotRemoved> {
        let named: Vec<(String, Option<String>)> = entries
            .into_iter()
            .map(|entry| (entry.key.clone(), entry.version_id.clone()))
            .collect();
        stream::iter(named)
            .map(|(key, version)| async move {
                let sent = self.send_deletion(&key, version.as_deref()).await;
                sent.err().map(|failure| NotRemoved { key, failure })
            })
            .buffer_unordered(DELETIONS_AT_ONCE)
            .filter_map(std::future::ready)
            .collect()
            .await
    }

    /// Deletes one version permanently; without a version it is a plain DELETE.
    pub(crate) async fn send_deletion(
        &self,
        key: &str,
        version: Option<&str>,
    ) -> Outcome<BackendResponse> {
        let mut request = self.request(Method::DELETE, Some(key));
        request
            .query
            .extend(version.map(|id| parameter("versionId", id)));
        self.send(request).await
    }

    /// Requests one page of a list, with the given query.
    pub(crate) async fn page(&self, query: Vec<(String, Option<String>)>) -> Outcome<bytes::Bytes> {
        let mut request = self.request(Method::GET, None);
        request.query = query;
        let backed = self.send(request).await?;
        read_bounded(backed.body, MAX_PAGE_BYTES).await
    }

    /// Makes a request for the bucket, or for a key in it.
    pub(crate) fn request(&self, method: Method, key: Option<&str>) -> Request {
        let mut request = Request::new(method, Some(&self.name), key);
        request.service.clone_from(&self.service);
        request
    }

    /// Sends a request, and expects a 2xx response.
    pub(crate) async fn send(&self, request: Request) -> Outcome<BackendResponse> {
        send(&self.backend, request).await
    }
}

/// Sends a request on behalf of the proxy itself, and expects a 2xx response.
pub(crate) async fn send(backend: &Backend, request: Request) -> Outcome<BackendResponse> {
    let (parts, body) = backend.send(request).await?.into_parts();
    let answered = BackendResponse {
        status: parts.status,
        headers: parts.headers,
        body,
    };
    if answered.status.is_success() {
        Ok(answered)
    } else {
        Err(failure_of(answered).await)
    }
}

/// Makes a query parameter with a value.
pub(crate) fn parameter(name: &str, value: &str) -> (String, Option<String>) {
    (name.to_owned(), Some(value.to_owned()))
}

/// Parameters that every list of keys has.
pub(crate) fn listing_query(prefix: &str) -> Vec<(String, Option<String>)> {
    let mut query = vec![parameter("encoding-type", "url")];
    if !prefix.is_empty() {
        query.push(parameter("prefix", prefix));
    }
    query
}

/// Collects entries, up to one more than a folder can have.
fn collect(entries: &mut Vec<ListEntry>) -> impl FnMut(&ListEntry) -> ControlFlow<()> {
    |entry| {
        entries.push(entry.clone());
        if entries.len() > MOST_IN_FOLDER {
            ControlFlow::Break(())
        } else {
            ControlFlow::Continue(())
        }
    }
}

fn bounded(entries: Vec<ListEntry>) -> Outcome<Vec<ListEntry>> {
    if entries.len() <= MOST_IN_FOLDER {
        Ok(entries)
    } else {
        Err(Failure::Unusable(
            "too many objects in the folder of an upload",
        ))
    }
}

/// Failure for a page that cannot be parsed.
pub(crate) fn not_s3(_: XmlError) -> Failure {
    Failure::Unusable("a malformed listing")
}

/// Whether the backend reports that it does not support the operation.
pub(crate) fn is_not_implemented(failure: &Failure) -> bool {
    matches!(failure, Failure::Answer(answer)
        if ["NotImplemented", "MethodNotAllowed"].contains(&answer.document.code.as_str()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_buckets_with_versions_mark_what_is_deleted() {
        for (headers, expected) in [
            (vec![], Deletion::Done),
            (vec![("x-amz-version-id", "null")], Deletion::Done),
            (vec![("x-amz-delete-marker", "false")], Deletion::Done),
            (vec![("x-amz-version-id", "v")], Deletion::Marked),
            (
                vec![
                    ("x-amz-delete-marker", "true"),
                    ("x-amz-version-id", "null"),
                ],
                Deletion::Marked,
            ),
        ] {
            let answer: HeaderMap = headers
                .iter()
                .map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap()))
                .collect();
            assert_eq!(Deletion::from_headers(&answer), expected, "{headers:?}");
        }
    }
}
