//! Multipart uploads and copies as clients make them: several at the same time, each with many
//! parts at the same time.
//!
//! Every client creates one object: by an upload whose parts it sends, by an upload whose parts are
//! copied from a plaintext object on the backend, or by one CopyObject. Responses are checked,
//! including the late errors of long operations, and at the end also the length of the object as
//! the target reports it.
//!
//! Absent: retries, and reading the objects back. The stub does not keep their bytes.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use http::{Method, Request};
use serde::Serialize;
use tokio::task::JoinSet;

use crate::call::Caller;
use crate::content::{Pattern, Segments};
use crate::load::LoadError;
use crate::request::{Payload, RequestError, Signer};
use crate::site::{self, Contender, Site, SiteError};
use crate::size::Size;
use crate::xml;

const COPY_SOURCE: &str = "x-amz-copy-source";
const COPY_RANGE: &str = "x-amz-copy-source-range";

/// S3's limit.
const MOST_PARTS: u64 = 10_000;

/// The way in which a client creates its object.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Kind {
    /// A multipart upload.
    Upload,
    /// A multipart upload whose parts are ranges of a plaintext object.
    PartCopies,
    /// A multipart upload whose only part is a whole plaintext object.
    WholePartCopy,
    /// CopyObject of a plaintext object.
    ObjectCopy,
}

/// The work of all clients at the same time.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct Transfers {
    pub(crate) kind: Kind,
    pub(crate) clients: usize,
    pub(crate) size: Size,
    pub(crate) part_size: Size,
    pub(crate) parts_at_once: usize,
}

impl Transfers {
    /// Creates all objects, and returns their total size in bytes.
    pub(crate) async fn run(self, site: &Site, contender: &Contender) -> Result<u64, SiteError> {
        let mut clients = JoinSet::new();
        for client in 0..self.clients {
            let maker = Maker {
                transfers: self,
                authority: site.authority(contender).to_owned(),
                path: contender.sized(&format!("{:?}-{client}", self.kind)),
                source: site::plaintext(self.size.0),
                signer: Arc::clone(&site.signer),
                content: site.content.clone(),
                payload: site.payload,
            };
            clients.spawn(maker.run());
        }
        while let Some(client) = clients.join_next().await {
            client.map_err(LoadError::from)??;
        }
        Ok(self.size.0 * self.clients as u64)
    }

    fn parts(&self) -> Result<u64, SiteError> {
        let parts = self.size.0.div_ceil(self.part_size.0.max(1)).max(1);
        if parts > MOST_PARTS {
            return Err(SiteError::TooManyParts(self.size, self.part_size));
        }
        Ok(parts)
    }
}

impl fmt::Display for Transfers {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            clients,
            size,
            part_size,
            parts_at_once,
            kind,
        } = self;
        match kind {
            Kind::Upload => write!(
                out,
                "{clients} uploads of {size} in parts of {part_size}, {parts_at_once} at once of \
                 each"
            ),
            Kind::PartCopies => write!(
                out,
                "{clients} uploads by UploadPartCopy of {part_size} each from a plaintext object \
                 of {size}, {parts_at_once} at once of each"
            ),
            Kind::WholePartCopy => write!(
                out,
                "{clients} times UploadPartCopy of a whole plaintext object of {size}"
            ),
            Kind::ObjectCopy => {
                write!(
                    out,
                    "{clients} times CopyObject of a plaintext object of {size}"
                )
            }
        }
    }
}

/// One client, which creates one object.
struct Maker {
    transfers: Transfers,
    authority: String,
    /// Path of the object to create.
    path: String,
    /// Path of the plaintext object to copy.
    source: String,
    signer: Arc<Signer>,
    content: Pattern,
    payload: Payload,
}

impl Maker {
    async fn run(self) -> Result<(), SiteError> {
        let maker = Arc::new(self);
        let mut caller = Caller::new(&maker.authority);
        maker.make(&mut caller).await?;
        maker.check(&mut caller).await
    }

    async fn make(self: &Arc<Self>, caller: &mut Caller) -> Result<(), SiteError> {
        match self.transfers.kind {
            Kind::Upload | Kind::PartCopies | Kind::WholePartCopy => self.upload(caller).await,
            Kind::ObjectCopy => {
                let headers = [(COPY_SOURCE, self.source.as_str())];
                let request = self.request(Method::PUT, &self.path, &headers, String::new())?;
                caller.ask(request).await?.element("ETag")?;
                Ok(())
            }
        }
    }

    /// Checks the length of the created object.
    async fn check(&self, caller: &mut Caller) -> Result<(), SiteError> {
        let head = self.request(Method::HEAD, &self.path, &[], String::new())?;
        let answer = caller.ask(head).await?;
        let length: u64 = answer.header("content-length")?.parse().unwrap_or(0);
        if length != self.transfers.size.0 {
            return Err(SiteError::Load(LoadError::Length {
                subject: format!("HEAD {}", self.path),
                got: length,
                expected: self.transfers.size.0,
            }));
        }
        Ok(())
    }

    async fn upload(self: &Arc<Self>, caller: &mut Caller) -> Result<(), SiteError> {
        let parts = self.transfers.parts()?;
        let path = format!("{}?uploads", self.path);
        let request = self.request(Method::POST, &path, &[], String::new())?;
        let id = caller.ask(request).await?.element("UploadId")?.to_owned();
        // The id is opaque and may need encoding in a query.
        let id: String = form_urlencoded::byte_serialize(id.as_bytes()).collect();
        let next = Arc::new(AtomicU64::new(1));
        let mut workers = JoinSet::new();
        for _ in 0..self.transfers.parts_at_once {
            let worker = Arc::clone(self).send_parts(id.clone(), Arc::clone(&next), parts);
            workers.spawn(worker);
        }
        let mut sent = Vec::new();
        while let Some(worker) = workers.join_next().await {
            sent.extend(worker.map_err(LoadError::from)??);
        }
        // Complete demands ascending numbers, and workers finish in any order.
        sent.sort_unstable();
        let list: String = sent
            .iter()
            .map(|(number, etag)| listed(*number, etag))
            .collect();
        let list = format!("<CompleteMultipartUpload>{list}</CompleteMultipartUpload>");
        let path = format!("{}?uploadId={id}", self.path);
        let request = self.request(Method::POST, &path, &[], list)?;
        caller.ask(request).await?.element("ETag")?;
        Ok(())
    }

    /// Sends parts until none are left, and returns their numbers and entity tags.
    async fn send_parts(
        self: Arc<Self>,
        id: String,
        next: Arc<AtomicU64>,
        parts: u64,
    ) -> Result<Vec<(u64, String)>, SiteError> {
        let mut caller = Caller::new(&self.authority);
        let mut sent = Vec::new();
        loop {
            // All workers of an upload share this counter, so no number is sent twice.
            let number = next.fetch_add(1, Ordering::Relaxed);
            if number > parts {
                return Ok(sent);
            }
            let answer = caller.ask(self.part(&id, number)?).await?;
            let etag = match self.transfers.kind {
                Kind::Upload => answer.header("etag")?,
                Kind::PartCopies | Kind::WholePartCopy | Kind::ObjectCopy => {
                    answer.element("ETag")?
                }
            };
            sent.push((number, xml::unquoted(etag).to_owned()));
        }
    }

    fn part(&self, id: &str, number: u64) -> Result<Request<Segments>, RequestError> {
        let Transfers {
            size, part_size, ..
        } = self.transfers;
        let first = (number - 1) * part_size.0;
        let length = part_size.0.min(size.0 - first);
        let path = format!("{}?partNumber={number}&uploadId={id}", self.path);
        let source = (COPY_SOURCE, self.source.as_str());
        match self.transfers.kind {
            Kind::Upload => {
                let Self {
                    signer, content, ..
                } = self;
                signer.put(&self.authority, &path, content, length, self.payload)
            }
            Kind::PartCopies => {
                let range = format!("bytes={first}-{}", first + length - 1);
                let headers = [source, (COPY_RANGE, &range)];
                self.request(Method::PUT, &path, &headers, String::new())
            }
            Kind::WholePartCopy | Kind::ObjectCopy => {
                self.request(Method::PUT, &path, &[source], String::new())
            }
        }
    }

    fn request(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: String,
    ) -> Result<Request<Segments>, RequestError> {
        let Self {
            signer, authority, ..
        } = self;
        signer.document(method, authority, path, headers, &body.into())
    }
}

fn listed(number: u64, etag: &str) -> String {
    format!("<Part><PartNumber>{number}</PartNumber><ETag>\"{etag}\"</ETag></Part>")
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::stub;

    fn maker(authority: &str, kind: Kind, size: u64, part_size: u64) -> Maker {
        let transfers = Transfers {
            kind,
            clients: 1,
            size: Size(size),
            part_size: Size(part_size),
            parts_at_once: 4,
        };
        Maker {
            transfers,
            authority: authority.to_owned(),
            path: "/bench/sized/x".to_owned(),
            source: format!("/bench/plain/{size}"),
            signer: Arc::new(crate::servers::credential()),
            content: Pattern::new(),
            payload: Payload::Trailer,
        }
    }

    async fn stub() -> String {
        let any = "127.0.0.1:0".parse().expect("an address");
        let listener = stub::listen(any).await.expect("a free port");
        let authority = listener.local_addr().expect("bound").to_string();
        tokio::spawn(stub::serve(listener));
        authority
    }

    #[tokio::test]
    async fn an_upload_of_many_uneven_parts_has_its_whole_length_in_the_end() {
        let authority = stub().await;
        let maker = maker(&authority, Kind::Upload, 100_001, 1000);
        maker.run().await.expect("made and checked");
    }

    #[tokio::test]
    async fn an_object_of_another_length_than_was_to_be_made_is_an_error() {
        let authority = stub().await;
        let made = maker(&authority, Kind::Upload, 5000, 1000);
        made.run().await.expect("made and checked");
        let other = maker(&authority, Kind::Upload, 5001, 1000);
        let mut caller = Caller::new(&authority);
        let checked = other.check(&mut caller).await;
        assert!(matches!(
            checked,
            Err(SiteError::Load(LoadError::Length { got: 5000, .. }))
        ));
    }

    #[tokio::test]
    async fn an_answer_that_begins_as_a_success_and_ends_as_an_error_is_one() {
        let authority = stub().await;
        let signer = crate::servers::credential();
        let mut caller = Caller::new(&authority);
        let late = Bytes::from_static(b"  <Error><Code>InternalError</Code></Error>");
        let path = "/bench/keep/late";
        let put = signer.document(Method::PUT, &authority, path, &[], &late);
        caller.ask(put.expect("signed")).await.expect("stored");
        let get = signer.get(&authority, path).expect("signed");
        let answer = caller.ask(get).await;
        let Err(LoadError::Status { status, body, .. }) = answer else {
            panic!("taken for a success");
        };
        assert_eq!(status, 200);
        assert!(body.contains("InternalError"));
    }

    #[tokio::test]
    async fn more_parts_than_s3_takes_are_refused_before_anything_is_sent() {
        let maker = maker("127.0.0.1:1", Kind::Upload, 10_001, 1);
        let made = maker.run().await;
        assert!(matches!(made, Err(SiteError::TooManyParts(..))));
    }

    #[test]
    fn ranges_of_copied_parts_join_to_the_source() {
        let maker = maker("127.0.0.1:1", Kind::PartCopies, 2500, 1000);
        let ranges = (1..=3).map(|number| {
            let part = maker.part("id", number).expect("signed");
            let headers = part.headers();
            assert_eq!(headers[COPY_SOURCE], "/bench/plain/2500");
            headers[COPY_RANGE].to_str().expect("text").to_owned()
        });
        let expected = ["bytes=0-999", "bytes=1000-1999", "bytes=2000-2499"];
        assert_eq!(ranges.collect::<Vec<_>>(), expected);
    }
}
