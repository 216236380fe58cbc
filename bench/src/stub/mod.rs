//! A backend that costs next to nothing: a minimal S3, in memory, on loopback.
//!
//! A real server would be the bottleneck of every measurement on two cores. This one accepts any
//! PUT and drops its bytes as they arrive. The key decides what is stored:
//!
//! - `keep/` and `.s3proxy/`: bytes and metadata, served to GET and HEAD, including ranges and
//!   `If-Match`;
//! - `sized/`, and completed multipart uploads: length and metadata; the bytes are made up;
//! - anything else: nothing.
//!
//! `plain/<bytes>` is an object of that size that exists without an upload. Buckets can be created
//! and deleted; `ListBuckets` answers, so that readiness checks pass, and so does `ListObjectsV2`.
//!
//! Absent on purpose: signatures (none are checked), checksums, versions, copies by the backend,
//! and a true Last-Modified. An `ETag` is 32 hex digits that count upwards, not an MD5: hashing
//! would cost more than everything else here. Unknown requests are refused with `NotImplemented`.

mod aws_chunked;
mod listing;
mod query;
mod range;
mod store;
mod uploads;

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use http::header::{
    ACCEPT_RANGES, CONTENT_RANGE, CONTENT_TYPE, ETAG, IF_MATCH, LAST_MODIFIED, RANGE,
};
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;

use crate::content::Segments;
use query::Query;
use range::RequestedRange;
use store::{Content, Object, Store};
use uploads::{RefusedUpload, Uploads};

/// Prefix of keys whose objects are stored completely.
pub(crate) const KEPT: &str = "keep/";
/// Prefix of keys whose objects are stored as length and metadata.
pub(crate) const SIZED: &str = "sized/";
/// Prefix of keys that continue with the size of an object that exists without an upload.
pub(crate) const PLAIN: &str = "plain/";
/// Prefix of the state that s3proxy stores beside the data.
const STATE: &str = ".s3proxy/";

const BUCKETS: &str = r#"<ListAllMyBucketsResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><Owner><ID>stub</ID><DisplayName>stub</DisplayName></Owner><Buckets></Buckets></ListAllMyBucketsResult>"#;
const NO_TAGS: &str = "<Tagging><TagSet></TagSet></Tagging>";

#[derive(Debug, thiserror::Error)]
pub(crate) enum StubError {
    #[error("the stub cannot listen on {address}: {source}")]
    Listen {
        address: SocketAddr,
        source: std::io::Error,
    },
    #[error("the stub can accept no more connections: {0}")]
    Accept(std::io::Error),
}

/// Reasons why an upload is refused.
#[derive(Debug, thiserror::Error)]
enum UploadError {
    #[error("the upload broke off: {0}")]
    Broken(#[from] hyper::Error),
    #[error(transparent)]
    Framing(#[from] aws_chunked::FramingError),
    #[error("refused with {0}")]
    Refused(#[from] RefusedUpload),
}

impl UploadError {
    fn answer(&self) -> Response<Segments> {
        match self {
            Self::Broken(_) | Self::Framing(_) => {
                refusal(StatusCode::BAD_REQUEST, "IncompleteBody")
            }
            Self::Refused(RefusedUpload::Unknown) => refusal(StatusCode::NOT_FOUND, "NoSuchUpload"),
            Self::Refused(refused) => refusal(StatusCode::BAD_REQUEST, &refused.to_string()),
        }
    }
}

pub(crate) async fn listen(address: SocketAddr) -> Result<TcpListener, StubError> {
    let listener = TcpListener::bind(address).await;
    listener.map_err(|source| StubError::Listen { address, source })
}

/// The state of the stub.
struct Stub {
    store: Store,
    uploads: Uploads,
}

/// Serves until the process exits.
pub(crate) async fn serve(listener: TcpListener) -> Result<(), StubError> {
    let stub = Arc::new(Stub {
        store: Store::new(),
        uploads: Uploads::default(),
    });
    loop {
        let (stream, _) = listener.accept().await.map_err(StubError::Accept)?;
        // Otherwise a small response waits for the peer's acknowledgement. An error means that the
        // connection is closed already, which is reported below.
        let _ = stream.set_nodelay(true);
        let stub = Arc::clone(&stub);
        tokio::spawn(async move {
            let service = service_fn(|request| stub.answer(request));
            let connection = http1::Builder::new().serve_connection(TokioIo::new(stream), service);
            if let Err(error) = connection.await {
                eprintln!("a connection to the stub ended early: {error}");
            }
        });
    }
}

impl Stub {
    async fn answer(&self, request: Request<Incoming>) -> Result<Response<Segments>, Infallible> {
        let path = request.uri().path().trim_start_matches('/').to_owned();
        let asked = Query::of(request.uri());
        let (bucket, key) = path.split_once('/').unwrap_or((&path, ""));
        let answer = match key {
            "" => Ok(self.bucket(request.method(), bucket, &asked)),
            key if asked.has("uploads") || asked.has("uploadId") => {
                self.upload(bucket, key, &asked, request).await
            }
            key => self.object(bucket, key, &asked, request).await,
        };
        let mut answer = answer.unwrap_or_else(|error| {
            eprintln!("{path}: {error}");
            error.answer()
        });
        let headers = answer.headers_mut();
        headers.insert("x-amz-request-id", HeaderValue::from_static("STUB"));
        Ok(answer)
    }

    /// Requests about one bucket, or about all of them.
    fn bucket(&self, method: &Method, bucket: &str, asked: &Query) -> Response<Segments> {
        match *method {
            Method::GET | Method::HEAD if bucket.is_empty() => document(StatusCode::OK, BUCKETS),
            Method::GET if asked.text("list-type") == Some("2") => {
                let page = listing::page(&self.store, bucket, asked);
                document(StatusCode::OK, &page)
            }
            Method::PUT | Method::HEAD => plain(StatusCode::OK),
            Method::DELETE => plain(StatusCode::NO_CONTENT),
            _ => not_implemented(),
        }
    }

    async fn object(
        &self,
        bucket: &str,
        key: &str,
        asked: &Query,
        request: Request<Incoming>,
    ) -> Result<Response<Segments>, UploadError> {
        // All buckets share one store; the key alone decides whether an object is kept.
        let name = format!("{bucket}/{key}");
        match *request.method() {
            Method::GET if asked.has("tagging") => Ok(document(StatusCode::OK, NO_TAGS)),
            Method::PUT if !request.headers().contains_key("x-amz-copy-source") => {
                self.put(&name, Fate::of(key), request).await
            }
            Method::GET | Method::HEAD => Ok(read(&self.store, &name, request.headers())),
            Method::DELETE => {
                self.store.remove(&name);
                Ok(plain(StatusCode::NO_CONTENT))
            }
            _ => Ok(not_implemented()),
        }
    }

    /// Requests about a multipart upload.
    async fn upload(
        &self,
        bucket: &str,
        key: &str,
        asked: &Query,
        request: Request<Incoming>,
    ) -> Result<Response<Segments>, UploadError> {
        let name = format!("{bucket}/{key}");
        let id = asked.text("uploadId");
        match (request.method(), id) {
            (&Method::POST, None) => {
                let id = self.uploads.create(name, request.headers().clone());
                let xml = format!(
                    "<InitiateMultipartUploadResult><Bucket>{bucket}</Bucket><Key>{key}</Key>\
                     <UploadId>{id}</UploadId></InitiateMultipartUploadResult>"
                );
                Ok(document(StatusCode::OK, &xml))
            }
            (&Method::PUT, Some(id)) if !request.headers().contains_key("x-amz-copy-source") => {
                let number = asked.number("partNumber").ok_or(RefusedUpload::Part)?;
                // Parts are read to their end but not stored; only their length counts.
                let received = receive(request, Fate::Size).await?;
                let etag = self.store.next_etag();
                self.uploads.put(id, number, &etag, received.length)?;
                Ok(tagged(etag))
            }
            (&Method::GET, Some(id)) => {
                let after = asked.number("part-number-marker").unwrap_or(0);
                Ok(document(StatusCode::OK, &self.uploads.list(id, after)?))
            }
            (&Method::POST, Some(id)) => self.complete(bucket, key, id, request).await,
            (&Method::DELETE, Some(id)) => {
                self.uploads.abort(id)?;
                Ok(plain(StatusCode::NO_CONTENT))
            }
            _ => Ok(not_implemented()),
        }
    }

    async fn complete(
        &self,
        bucket: &str,
        key: &str,
        id: &str,
        request: Request<Incoming>,
    ) -> Result<Response<Segments>, UploadError> {
        let received = receive(request, Fate::Keep).await?;
        let list = String::from_utf8_lossy(&received.bytes);
        let (name, object) = self.uploads.complete(id, &list, &self.store.next_etag())?;
        let etag = object.etag.to_str().unwrap_or_default().to_owned();
        self.store.keep(name, object);
        let xml = format!(
            "<CompleteMultipartUploadResult><Bucket>{bucket}</Bucket><Key>{key}</Key>\
             <ETag>{etag}</ETag></CompleteMultipartUploadResult>"
        );
        Ok(document(StatusCode::OK, &xml))
    }

    async fn put(
        &self,
        name: &str,
        fate: Fate,
        request: Request<Incoming>,
    ) -> Result<Response<Segments>, UploadError> {
        let headers = request.headers().clone();
        let received = receive(request, fate).await?;
        let etag = self.store.next_etag();
        let content = match fate {
            Fate::Keep => Content::Held(received.bytes.into()),
            Fate::Size => Content::Made(received.length),
            Fate::Drop => return Ok(tagged(etag)),
        };
        let object = Object::new(content, &headers, etag.clone());
        self.store.keep(name.to_owned(), object);
        Ok(tagged(etag))
    }
}

/// The stored remainder of an upload.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Fate {
    Keep,
    Size,
    Drop,
}

impl Fate {
    fn of(key: &str) -> Self {
        if key.starts_with(KEPT) || key.starts_with(STATE) {
            Self::Keep
        } else if key.starts_with(SIZED) {
            Self::Size
        } else {
            Self::Drop
        }
    }
}

struct ReceivedBody {
    /// Empty unless the bytes are kept.
    bytes: Vec<u8>,
    /// Length without the framing.
    length: u64,
}

/// Reads a body to its end.
async fn receive(request: Request<Incoming>, fate: Fate) -> Result<ReceivedBody, UploadError> {
    let (head, mut body) = request.into_parts();
    let announced = |name| head.headers.get(name)?.to_str().ok()?.parse::<u64>().ok();
    let mut bytes = Vec::new();
    let mut length = 0;
    while let Some(frame) = body.frame().await {
        if let Ok(data) = frame?.into_data() {
            length += data.len() as u64;
            if fate == Fate::Keep {
                bytes.extend_from_slice(&data);
            }
        }
    }
    if is_aws_chunked(&head.headers) {
        if fate == Fate::Keep {
            bytes = aws_chunked::decode(&bytes)?;
        }
        // Without decoding, the announced length is the only one without framing.
        length = announced("x-amz-decoded-content-length").unwrap_or(length);
    }
    Ok(ReceivedBody { bytes, length })
}

fn is_aws_chunked(headers: &HeaderMap) -> bool {
    let mode = headers.get("x-amz-content-sha256");
    mode.is_some_and(|mode| mode.as_bytes().starts_with(b"STREAMING-"))
}

/// GET and HEAD; hyper drops the body of a response to HEAD.
fn read(store: &Store, name: &str, asked: &HeaderMap) -> Response<Segments> {
    let Some(object) = store.object(name) else {
        return refusal(StatusCode::NOT_FOUND, "NoSuchKey");
    };
    let pinned = asked.get(IF_MATCH);
    // s3proxy pins ranged reads to the ETag of the first response.
    if pinned.is_some_and(|pinned| pinned != "*" && pinned != object.etag) {
        return refusal(StatusCode::PRECONDITION_FAILED, "PreconditionFailed");
    }
    let length = object.content.length();
    let range = asked.get(RANGE).and_then(|range| range.to_str().ok());
    let requested = range.map_or(RequestedRange::Whole, |range| {
        RequestedRange::parse(range, length)
    });
    let (status, range) = match requested {
        RequestedRange::Whole => (StatusCode::OK, 0..length),
        RequestedRange::Part(range) => {
            let (first, last) = range.into_inner();
            (StatusCode::PARTIAL_CONTENT, first..last + 1)
        }
        RequestedRange::Unsatisfiable => {
            return refusal(StatusCode::RANGE_NOT_SATISFIABLE, "InvalidRange");
        }
    };
    let mut response = Response::new(store.body(&object, range.clone()));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.extend(object.headers.clone());
    headers.insert(ETAG, object.etag.clone());
    headers.insert(ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    let modified = HeaderValue::from_static("Sat, 01 Jan 2022 00:00:00 GMT");
    headers.insert(LAST_MODIFIED, modified);
    if status == StatusCode::PARTIAL_CONTENT {
        let range = format!("bytes {}-{}/{length}", range.start, range.end - 1);
        let range = HeaderValue::try_from(range).expect("digits are a header value");
        headers.insert(CONTENT_RANGE, range);
    }
    response
}

fn tagged(etag: HeaderValue) -> Response<Segments> {
    let mut answer = plain(StatusCode::OK);
    answer.headers_mut().insert(ETAG, etag);
    answer
}

fn plain(status: StatusCode) -> Response<Segments> {
    let mut answer = Response::new(Segments::empty());
    *answer.status_mut() = status;
    answer
}

fn document(status: StatusCode, xml: &str) -> Response<Segments> {
    let xml = format!("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n{xml}");
    let mut answer = Response::new(Segments::new([Bytes::from(xml)]));
    *answer.status_mut() = status;
    let xml = HeaderValue::from_static("application/xml");
    answer.headers_mut().insert(CONTENT_TYPE, xml);
    answer
}

fn not_implemented() -> Response<Segments> {
    refusal(StatusCode::NOT_IMPLEMENTED, "NotImplemented")
}

fn refusal(status: StatusCode, code: &str) -> Response<Segments> {
    let xml = format!(
        "<Error><Code>{code}</Code>\
         <Message>The benchmark's stub says so.</Message><RequestId>STUB</RequestId></Error>"
    );
    document(status, &xml)
}
