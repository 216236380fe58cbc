//! Requests to the backend, and their form ready for sending.
//!
//! A `PreparedRequest` can be sent any number of times while its body was not begun: held bodies
//! are hashed once, streams wait in a slot until the HTTP library first polls them. Headers that
//! this module makes itself (`Host`, lengths, hashes, everything of the signature) are dropped from
//! the caller's.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use aws_lc_rs::digest;
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use http::Method;
use http::header::{
    AUTHORIZATION, CONNECTION, CONTENT_LENGTH, HOST, HeaderMap, HeaderName, HeaderValue, IF_MATCH,
    IF_NONE_MATCH, ORIGIN, TE, TRANSFER_ENCODING, UPGRADE,
};
use http_body_util::BodyExt;
use http_body_util::combinators::UnsyncBoxBody;
use md5::{Digest, Md5};
use s3proxy_protocol::hex;

use super::address::ServiceTarget;
use super::error::{BackendError, BodyStreamError};
use super::settings::{Endpoint, Settings};
use super::trailer::{self, StreamFraming};
use super::white_space;
use crate::telemetry::traces::ParentTrace;

/// A body that is made while it is sent; its error aborts the request to the backend.
pub(crate) type BodyStream = UnsyncBoxBody<Bytes, BodyStreamError>;

/// One S3 request, in decoded form.
pub(crate) struct Request {
    pub(crate) method: Method,
    pub(crate) bucket: Option<String>,
    /// The object key itself, not an encoding of it.
    pub(crate) key: Option<String>,
    /// Decoded names and values; `None` is a name without `=`.
    pub(crate) query: Vec<(String, Option<String>)>,
    /// End-to-end headers.
    pub(crate) headers: HeaderMap,
    pub(crate) body: RequestBody,
    /// A service other than the configured one, for redirected DNS names.
    pub(crate) service: Option<ServiceAddress>,
    pub(crate) signature: Signature,
    /// Timeout in place of the configured one, for operations that work long before they respond.
    pub(crate) response_timeout: Option<Duration>,
    /// The page that the client's request came from.
    pub(crate) page: Option<PageOrigin>,
}

/// Origin of a page in a browser, with the method and bucket of its request.
///
/// Only backend requests with the same method and bucket carry the origin. The responses to others,
/// such as a HEAD of a copy's source, would have CORS headers by other rules.
#[derive(Debug, Clone)]
pub(crate) struct PageOrigin {
    origin: HeaderValue,
    method: Method,
    bucket: Option<String>,
}

impl PageOrigin {
    /// Reads the origin from the headers of a client's request.
    pub(crate) fn from_headers(
        headers: &HeaderMap,
        method: &Method,
        bucket: Option<&str>,
    ) -> Option<Self> {
        Some(Self {
            origin: headers.get(ORIGIN)?.clone(),
            method: method.clone(),
            bucket: bucket.map(str::to_owned),
        })
    }

    /// Returns whether the backend request has the method and bucket of the page's request.
    pub(super) fn is_meant_by(&self, request: &Request) -> bool {
        self.method == request.method && self.bucket == request.bucket
    }
}

/// Signature of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Signature {
    /// The proxy's own signature.
    Own,
    /// No signature.
    None,
}

/// A service named by the client's `Host`.
#[derive(Debug, Clone)]
pub(crate) struct ServiceAddress {
    pub(crate) endpoint: Endpoint,
    pub(crate) region: String,
}

/// Body of a request to the backend.
pub(crate) enum RequestBody {
    Empty,
    /// A body in memory, sent with SHA-256 and Content-MD5; can be sent again.
    Held(Bytes),
    /// A stream, sent with `UNSIGNED-PAYLOAD` or with a checksum in a trailer (`Integrity`). The
    /// last bytes are passed on only after the stream has ended cleanly with exactly this length;
    /// until then the backend cannot take it for complete.
    Stream {
        length: u64,
        body: BodyStream,
    },
}

impl Request {
    /// Makes a request without headers and body.
    #[must_use]
    pub(crate) fn new(method: Method, bucket: Option<&str>, key: Option<&str>) -> Self {
        Request {
            method,
            bucket: bucket.map(str::to_owned),
            key: key.map(str::to_owned),
            query: Vec::new(),
            headers: HeaderMap::new(),
            body: RequestBody::Empty,
            service: None,
            signature: Signature::Own,
            response_timeout: None,
            page: None,
        }
    }
}

/// An unpolled stream, shared between the attempts to send it.
pub(super) type StreamSlot = Arc<Mutex<Option<BodyStream>>>;

/// Body, ready for any number of attempts until its stream is begun.
#[derive(Clone)]
pub(super) enum PreparedPayload {
    Empty,
    Held {
        bytes: Bytes,
        sha256: String,
    },
    Stream {
        /// Length of the stored bytes, without framing.
        length: u64,
        framing: StreamFraming,
        slot: StreamSlot,
    },
}

/// A request ready to be sent: own headers set, body hashed or in its slot.
#[derive(Clone)]
pub(super) struct PreparedRequest {
    pub(super) method: Method,
    pub(super) bucket: Option<String>,
    pub(super) key: Option<String>,
    pub(super) query: Vec<(String, Option<String>)>,
    pub(super) headers: HeaderMap,
    pub(super) payload: PreparedPayload,
    pub(super) signature: Signature,
    pub(super) target: ServiceTarget,
    pub(super) response_timeout: Duration,
    pub(super) trace: ParentTrace,
}

impl PreparedRequest {
    pub(super) async fn new(
        request: Request,
        home: &ServiceTarget,
        settings: &Settings,
    ) -> Result<Self, BackendError> {
        // Taken here, while the caller's context is current.
        let trace = ParentTrace::current();
        let page = request.page.as_ref();
        let origin = page.filter(|page| page.is_meant_by(&request));
        let origin = origin.map(|page| page.origin.clone());
        let mut headers = request.headers;
        drop_own_headers(&mut headers);
        if let Some(origin) = origin {
            headers.insert(ORIGIN, origin);
        }
        let target = match request.service {
            None => home.clone(),
            Some(service) => ServiceTarget {
                endpoint: service.endpoint,
                addressing: home.addressing,
                region: service.region,
            },
        };
        white_space::unify(&mut headers, &target.endpoint);
        let query = &request.query;
        let framing = StreamFraming::select(settings.integrity, &target.endpoint, query, &headers);
        let payload = payload_of(request.body, framing, &mut headers).await?;
        if let Some(length) = content_length(&request.method, &payload) {
            headers.insert(CONTENT_LENGTH, HeaderValue::from(length));
        }
        Ok(PreparedRequest {
            method: request.method,
            bucket: request.bucket,
            key: request.key,
            query: request.query,
            headers,
            payload,
            signature: request.signature,
            target,
            response_timeout: request
                .response_timeout
                .unwrap_or(settings.response_timeout),
            trace,
        })
    }

    /// Returns whether the same body can be sent, or sent again.
    pub(super) fn body_is_whole(&self) -> bool {
        match &self.payload {
            PreparedPayload::Empty | PreparedPayload::Held { .. } => true,
            PreparedPayload::Stream { slot, .. } => slot
                .lock()
                .expect("no holder of this lock can panic")
                .is_some(),
        }
    }

    /// Returns whether this is a conditional write: a second execution would judge the first one's
    /// result, not the state before.
    pub(super) fn is_conditional_write(&self) -> bool {
        !matches!(self.method, Method::GET | Method::HEAD)
            && (self.headers.contains_key(IF_MATCH) || self.headers.contains_key(IF_NONE_MATCH))
    }
}

async fn payload_of(
    body: RequestBody,
    framing: StreamFraming,
    headers: &mut HeaderMap,
) -> Result<PreparedPayload, BackendError> {
    Ok(match body {
        RequestBody::Empty => PreparedPayload::Empty,
        RequestBody::Held(bytes) => held(bytes, headers),
        // HTTP never polls an empty body, but its stream may still report an error.
        RequestBody::Stream { length: 0, body } => {
            end_of(body).await?;
            held(Bytes::new(), headers)
        }
        RequestBody::Stream { length, body } => {
            match framing {
                StreamFraming::Bare => {}
                StreamFraming::Trailer => trailer::announce(headers, length),
            }
            PreparedPayload::Stream {
                length,
                framing,
                slot: Arc::new(Mutex::new(Some(body))),
            }
        }
    })
}

fn held(bytes: Bytes, headers: &mut HeaderMap) -> PreparedPayload {
    let md5 = BASE64_STANDARD.encode(Md5::digest(&bytes));
    // S3 requires a digest of some bodies, such as the list of DeleteObjects.
    headers.insert(
        HeaderName::from_static("content-md5"),
        HeaderValue::from_str(&md5).expect("Base64 is visible ASCII"),
    );
    PreparedPayload::Held {
        sha256: hex::encode(digest::digest(&digest::SHA256, &bytes).as_ref()),
        bytes,
    }
}

async fn end_of(mut body: BodyStream) -> Result<(), BackendError> {
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(BackendError::RequestBody)?;
        if frame.data_ref().is_some_and(|data| !data.is_empty()) {
            return Err(BackendError::RequestBody(
                "it is longer than its announced length of 0".into(),
            ));
        }
    }
    Ok(())
}

fn content_length(method: &Method, payload: &PreparedPayload) -> Option<u64> {
    match payload {
        PreparedPayload::Held { bytes, .. } => Some(bytes.len() as u64),
        PreparedPayload::Stream {
            length, framing, ..
        } => Some(framing.wire_length(*length)),
        // RFC 9110 asks for a length of these methods even if they have no content.
        PreparedPayload::Empty if matches!(*method, Method::PUT | Method::POST) => Some(0),
        PreparedPayload::Empty => None,
    }
}

fn drop_own_headers(headers: &mut HeaderMap) {
    for name in [
        AUTHORIZATION,
        CONNECTION,
        CONTENT_LENGTH,
        HOST,
        TE,
        TRANSFER_ENCODING,
        UPGRADE,
    ] {
        headers.remove(name);
    }
    for name in trailer::OWN_HEADERS {
        headers.remove(name);
    }
    for name in [
        "content-md5",
        "x-amz-content-sha256",
        "x-amz-date",
        "x-amz-security-token",
    ] {
        headers.remove(name);
    }
}
