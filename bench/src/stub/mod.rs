//! A backend that costs next to nothing: just enough of S3, in memory, on loopback.
//!
//! A real server would be the bottleneck of every measurement on two cores. This one takes any
//! PUT and drops its bytes as they come, but for keys that start with `keep/`: those it keeps, with
//! their metadata, and serves to GET and HEAD, ranges and `If-Match` included. Both buckets and
//! objects can be made and deleted; `ListBuckets` answers, so that readiness checks pass.
//!
//! Absent on purpose: signatures (nobody's are checked), checksums, listings, multipart uploads,
//! and a true Last-Modified. An `ETag` is 32 hex digits that count upwards, no MD5: hashing would
//! cost more than everything else here. What is not known is refused with `NotImplemented`.

mod aws_chunked;
mod range;
mod store;

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use http::header::{
    ACCEPT_RANGES, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, ETAG, IF_MATCH, LAST_MODIFIED,
    RANGE,
};
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;

use crate::content::Segments;
use range::Wanted;
use store::{Object, Store};

/// Keys that start like this are kept; every other upload is read to its end and forgotten.
pub(crate) const KEPT: &str = "keep/";

const BUCKETS: &str = r#"<?xml version="1.0" encoding="UTF-8"?>
<ListAllMyBucketsResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><Owner><ID>stub</ID><DisplayName>stub</DisplayName></Owner><Buckets></Buckets></ListAllMyBucketsResult>"#;

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

/// Why an upload could not be taken.
#[derive(Debug, thiserror::Error)]
pub(crate) enum UploadError {
    #[error("the upload broke off: {0}")]
    Broken(#[from] hyper::Error),
    #[error(transparent)]
    Framing(#[from] aws_chunked::FramingError),
}

pub(crate) async fn listen(address: SocketAddr) -> Result<TcpListener, StubError> {
    let listener = TcpListener::bind(address).await;
    listener.map_err(|source| StubError::Listen { address, source })
}

/// Serves until the process is ended.
pub(crate) async fn serve(listener: TcpListener) -> Result<(), StubError> {
    let store = Arc::new(Store::default());
    loop {
        let (stream, _) = listener.accept().await.map_err(StubError::Accept)?;
        // Small answers would wait for the peer's acknowledgement otherwise. Where it fails,
        // the connection is gone already and says so below.
        let _ = stream.set_nodelay(true);
        let store = Arc::clone(&store);
        tokio::spawn(async move {
            let service = service_fn(|request| answer(&store, request));
            let connection = http1::Builder::new().serve_connection(TokioIo::new(stream), service);
            if let Err(error) = connection.await {
                eprintln!("a connection to the stub ended early: {error}");
            }
        });
    }
}

async fn answer(
    store: &Store,
    request: Request<Incoming>,
) -> Result<Response<Segments>, Infallible> {
    let path = request.uri().path().trim_start_matches('/').to_owned();
    let (bucket, key) = path.split_once('/').unwrap_or((&path, ""));
    // The store itself forms one namespace; the key alone decides whether an object is kept.
    let name = format!("{bucket}/{key}");
    let method = request.method().clone();
    let answer = match (method, bucket, key) {
        (Method::GET | Method::HEAD, "", _) => Ok(document(StatusCode::OK, BUCKETS)),
        (Method::PUT | Method::HEAD, _, "") => Ok(plain(StatusCode::OK)),
        (Method::PUT, _, key) => put(store, &name, Fate::of(key), request).await,
        (Method::GET | Method::HEAD, _, _) if !key.is_empty() => {
            Ok(read(store, &name, request.headers()))
        }
        (Method::DELETE, _, _) => {
            store.remove(&name);
            Ok(plain(StatusCode::NO_CONTENT))
        }
        _ => Ok(refusal(StatusCode::NOT_IMPLEMENTED, "NotImplemented")),
    };
    let mut answer = answer.unwrap_or_else(|error| {
        eprintln!("{name}: {error}");
        refusal(StatusCode::BAD_REQUEST, "IncompleteBody")
    });
    let headers = answer.headers_mut();
    headers.insert("x-amz-request-id", HeaderValue::from_static("STUB"));
    Ok(answer)
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Fate {
    Keep,
    Drop,
}

impl Fate {
    fn of(key: &str) -> Self {
        if key.starts_with(KEPT) {
            Self::Keep
        } else {
            Self::Drop
        }
    }
}

async fn put(
    store: &Store,
    name: &str,
    fate: Fate,
    request: Request<Incoming>,
) -> Result<Response<Segments>, UploadError> {
    let (head, mut body) = request.into_parts();
    let announced = head.headers.get(CONTENT_LENGTH);
    let announced = announced.and_then(|value| value.to_str().ok()?.parse().ok());
    let mut bytes = match fate {
        Fate::Keep => Vec::with_capacity(announced.unwrap_or(0)),
        Fate::Drop => Vec::new(),
    };
    while let Some(frame) = body.frame().await {
        if let Ok(data) = frame?.into_data()
            && fate == Fate::Keep
        {
            bytes.extend_from_slice(&data);
        }
    }
    let etag = store.next_etag();
    if fate == Fate::Keep {
        if is_aws_chunked(&head.headers) {
            bytes = aws_chunked::decode(&bytes)?;
        }
        store.keep(
            name.to_owned(),
            Object::new(bytes.into(), &head.headers, etag.clone()),
        );
    }
    let mut answer = plain(StatusCode::OK);
    answer.headers_mut().insert(ETAG, etag);
    Ok(answer)
}

fn is_aws_chunked(headers: &HeaderMap) -> bool {
    let mode = headers.get("x-amz-content-sha256");
    mode.is_some_and(|mode| mode.as_bytes().starts_with(b"STREAMING-"))
}

/// GET and HEAD: hyper leaves the body out where the method says so.
fn read(store: &Store, name: &str, asked: &HeaderMap) -> Response<Segments> {
    let Some(object) = store.object(name) else {
        return refusal(StatusCode::NOT_FOUND, "NoSuchKey");
    };
    let pinned = asked.get(IF_MATCH);
    if pinned.is_some_and(|pinned| pinned != "*" && pinned != object.etag) {
        return refusal(StatusCode::PRECONDITION_FAILED, "PreconditionFailed");
    }
    let length = object.bytes.len();
    let range = asked.get(RANGE).and_then(|range| range.to_str().ok());
    let wanted = range.map_or(Wanted::Whole, |range| Wanted::parse(range, length));
    let (status, bytes, content_range) = match wanted {
        Wanted::Whole => (StatusCode::OK, object.bytes.clone(), None),
        Wanted::Part(range) => {
            let (first, last) = (range.start(), range.end());
            let content_range = format!("bytes {first}-{last}/{length}");
            let bytes = object.bytes.slice(range);
            (StatusCode::PARTIAL_CONTENT, bytes, Some(content_range))
        }
        Wanted::Unsatisfiable => {
            return refusal(StatusCode::RANGE_NOT_SATISFIABLE, "InvalidRange");
        }
    };
    let mut answer = Response::new(Segments::new([bytes]));
    *answer.status_mut() = status;
    let headers = answer.headers_mut();
    headers.extend(object.headers.clone());
    headers.insert(ETAG, object.etag.clone());
    headers.insert(ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    let modified = HeaderValue::from_static("Sat, 01 Jan 2022 00:00:00 GMT");
    headers.insert(LAST_MODIFIED, modified);
    if let Some(range) = content_range {
        let range = HeaderValue::try_from(range).expect("digits are a header value");
        headers.insert(CONTENT_RANGE, range);
    }
    answer
}

fn plain(status: StatusCode) -> Response<Segments> {
    let mut answer = Response::new(Segments::empty());
    *answer.status_mut() = status;
    answer
}

fn document(status: StatusCode, xml: &str) -> Response<Segments> {
    let mut answer = Response::new(Segments::new([Bytes::copy_from_slice(xml.as_bytes())]));
    *answer.status_mut() = status;
    let xml = HeaderValue::from_static("application/xml");
    answer.headers_mut().insert(CONTENT_TYPE, xml);
    answer
}

fn refusal(status: StatusCode, code: &str) -> Response<Segments> {
    let xml = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Error><Code>{code}</Code>\
         <Message>The benchmark's stub says so.</Message><RequestId>STUB</RequestId></Error>"
    );
    document(status, &xml)
}
