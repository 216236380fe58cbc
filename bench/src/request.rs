//! Signed S3 requests, created once and sent many times.
//!
//! A signature is valid for fifteen minutes and for any number of repetitions, so each object's
//! request is signed before a measurement and cloned during it. The same goes for chunk signatures
//! and checksums. The proxy still verifies every one of them, while the generator's share of the
//! two cores stays small.
//!
//! Signing follows S3's settings: the path is not normalised, and the payload mode is in
//! `x-amz-content-sha256`. The signature covers the client's `Host`, which nginx forwards
//! unchanged.

use std::time::SystemTime;

use aws_credential_types::Credentials;
use aws_sigv4::http_request::{
    PayloadChecksumKind, PercentEncodingMode, SignableBody, SignableRequest, SigningError,
    SigningSettings, UriPathNormalizationMode, sign,
};
use aws_sigv4::sign::v4;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use crc_fast::{CrcAlgorithm, Digest};
use http::header::{CONTENT_ENCODING, CONTENT_LENGTH, HOST};
use http::{HeaderValue, Method, Request};

use crate::content::{Pattern, Segments};

/// Plaintext bytes in one `aws-chunked` chunk, as in the AWS SDK for Rust.
const CHUNK: u64 = 64 * 1024;

const CHUNK_SIGNATURE: &str = ";chunk-signature=";
const SIGNED_CHUNKS: &str = "STREAMING-AWS4-HMAC-SHA256-PAYLOAD";

#[derive(Debug, thiserror::Error)]
pub(crate) enum RequestError {
    #[error("a request could not be signed: {0}")]
    Sign(#[from] SigningError),
    #[error("a request could not be built: {0}")]
    Build(#[from] http::Error),
    #[error("a signature is not a header value: {0}")]
    Header(#[from] http::header::InvalidHeaderValue),
}

/// Framing and integrity of an upload's body.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Payload {
    /// The plain bytes: `UNSIGNED-PAYLOAD`.
    Unsigned,
    /// Chunks followed by a CRC32, as current SDKs send over TLS:
    /// `STREAMING-UNSIGNED-PAYLOAD-TRAILER`.
    Trailer,
    /// Every chunk signed: `STREAMING-AWS4-HMAC-SHA256-PAYLOAD`.
    SignedChunks,
}

/// The only credential of a run, for the backend and its clients.
pub(crate) struct Signer {
    pub(crate) access_key: String,
    pub(crate) secret_key: String,
    pub(crate) region: String,
}

impl Signer {
    pub(crate) fn get(
        &self,
        authority: &str,
        path: &str,
    ) -> Result<Request<Segments>, RequestError> {
        let body = SignableBody::UnsignedPayload;
        let request = Request::get(path).header(HOST, authority);
        let mut request = request.body(Segments::empty())?;
        self.sign(&mut request, authority, body, SystemTime::now())?;
        Ok(request)
    }

    /// A request without a body, other than a read or an upload, such as `CreateBucket`.
    pub(crate) fn bare(
        &self,
        method: Method,
        authority: &str,
        path: &str,
    ) -> Result<Request<Segments>, RequestError> {
        self.document(method, authority, path, &[], &Bytes::new())
    }

    /// A request with additional headers and a short body, or none.
    pub(crate) fn document(
        &self,
        method: Method,
        authority: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &Bytes,
    ) -> Result<Request<Segments>, RequestError> {
        let mut request = Request::builder().method(method).uri(path);
        request = request.header(HOST, authority);
        request = request.header(CONTENT_LENGTH, body.len());
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let mut request = request.body(Segments::new([body.clone()]))?;
        self.sign(
            &mut request,
            authority,
            SignableBody::Bytes(body),
            SystemTime::now(),
        )?;
        Ok(request)
    }

    /// An upload with the first `length` bytes of the pattern.
    pub(crate) fn put(
        &self,
        authority: &str,
        path: &str,
        content: &Pattern,
        length: u64,
        payload: Payload,
    ) -> Result<Request<Segments>, RequestError> {
        let request = Request::put(path).header(HOST, authority);
        let now = SystemTime::now();
        match payload {
            Payload::Unsigned => {
                let body = Segments::new(content.slices(0, length));
                let mut request = request.header(CONTENT_LENGTH, length).body(body)?;
                self.sign(&mut request, authority, SignableBody::UnsignedPayload, now)?;
                Ok(request)
            }
            Payload::Trailer => {
                let body = trailer_body(content, length);
                let mut request = chunked(request, body.length(), length)
                    .header("x-amz-sdk-checksum-algorithm", "CRC32")
                    .header("x-amz-trailer", "x-amz-checksum-crc32")
                    .body(body)?;
                let signable = SignableBody::StreamingUnsignedPayloadTrailer;
                self.sign(&mut request, authority, signable, now)?;
                Ok(request)
            }
            Payload::SignedChunks => {
                let mut request = chunked(request, signed_length(length), length).body(())?;
                let signable = SignableBody::Precomputed(SIGNED_CHUNKS.to_owned());
                let seed = self.sign(&mut request, authority, signable, now)?;
                let body = self.signed_body(content, length, seed, now)?;
                Ok(request.map(|()| body))
            }
        }
    }

    /// Adds the signature's headers to `request` and returns the signature.
    fn sign<B>(
        &self,
        request: &mut Request<B>,
        authority: &str,
        body: SignableBody<'_>,
        now: SystemTime,
    ) -> Result<String, RequestError> {
        let identity = self.credentials().into();
        let params = v4::SigningParams::builder()
            .identity(&identity)
            .region(&self.region)
            .name("s3")
            .time(now)
            .settings(settings())
            .build()
            .expect("every signing parameter is set")
            .into();
        let uri = format!("http://{authority}{}", request.uri());
        let headers: Vec<(String, String)> = request
            .headers()
            .iter()
            .map(|(name, value)| {
                let value = value.to_str().expect("the generator's headers are text");
                (name.as_str().to_owned(), value.to_owned())
            })
            .collect();
        let headers = headers.iter().map(|(name, value)| (&**name, &**value));
        let signable = SignableRequest::new(request.method().as_str(), &uri, headers, body)?;
        let (instructions, signature) = sign(signable, &params)?.into_parts();
        for (name, value) in instructions.headers() {
            let name: http::HeaderName = name.parse().map_err(http::Error::from)?;
            request
                .headers_mut()
                .insert(name, HeaderValue::from_str(value)?);
        }
        Ok(signature)
    }

    fn signed_body(
        &self,
        content: &Pattern,
        length: u64,
        seed: String,
        now: SystemTime,
    ) -> Result<Segments, RequestError> {
        let identity = self.credentials().into();
        let params = v4::SigningParams::builder()
            .identity(&identity)
            .region(&self.region)
            .name("s3")
            .time(now)
            .settings(settings())
            .build()
            .expect("every signing parameter is set");
        let mut slices = Vec::new();
        let mut previous = seed;
        // The empty chunk at the end is signed as well.
        for (offset, size) in chunks(length).chain([(length, 0)]) {
            let chunk: Vec<u8> = content.slices(offset, size).flatten().collect();
            let signed = v4::sign_chunk(&Bytes::from(chunk), &previous, &params)?;
            signed.signature().clone_into(&mut previous);
            slices.push(format!("{size:x}{CHUNK_SIGNATURE}{previous}\r\n").into());
            slices.extend(content.slices(offset, size));
            slices.push(Bytes::from_static(b"\r\n"));
        }
        Ok(Segments::new(slices))
    }

    fn credentials(&self) -> Credentials {
        Credentials::new(
            &self.access_key,
            &self.secret_key,
            None,
            None,
            "s3proxy-bench",
        )
    }
}

fn settings() -> SigningSettings {
    let mut settings = SigningSettings::default();
    // S3 encodes the path once and does not normalise it, unlike other AWS services.
    settings.percent_encoding_mode = PercentEncodingMode::Single;
    settings.payload_checksum_kind = PayloadChecksumKind::XAmzSha256;
    settings.uri_path_normalization_mode = UriPathNormalizationMode::Disabled;
    settings
}

/// Offset and size of every chunk but the last, empty one.
fn chunks(length: u64) -> impl Iterator<Item = (u64, u64)> {
    (0..length.div_ceil(CHUNK)).map(move |index| {
        let offset = index * CHUNK;
        (offset, CHUNK.min(length - offset))
    })
}

/// Length of a body with signed chunks. It must be known before the chunks exist: the seed
/// signature covers Content-Length, and the first chunk's signature covers the seed.
fn signed_length(length: u64) -> u64 {
    chunks(length)
        .chain([(length, 0)])
        .map(|(_, size)| {
            let header = format!("{size:x}{CHUNK_SIGNATURE}").len() + 64 + 2;
            header as u64 + size + 2
        })
        .sum()
}

/// Adds the headers of an upload in chunks; `length` is that of the content.
fn chunked(request: http::request::Builder, framed: u64, length: u64) -> http::request::Builder {
    request
        .header(CONTENT_LENGTH, framed)
        .header(CONTENT_ENCODING, "aws-chunked")
        .header("x-amz-decoded-content-length", length)
}

fn trailer_body(content: &Pattern, length: u64) -> Segments {
    let mut digest = Digest::new(CrcAlgorithm::Crc32IsoHdlc);
    let mut slices = Vec::new();
    for (offset, size) in chunks(length) {
        slices.push(format!("{size:x}\r\n").into());
        for slice in content.slices(offset, size) {
            digest.update(&slice);
            slices.push(slice);
        }
        slices.push(Bytes::from_static(b"\r\n"));
    }
    let crc = u32::try_from(digest.finalize()).expect("a CRC32 has 32 bits");
    let crc = STANDARD.encode(crc.to_be_bytes());
    slices.push(format!("0\r\nx-amz-checksum-crc32:{crc}\r\n\r\n").into());
    Segments::new(slices)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn signer() -> Signer {
        Signer {
            access_key: "access".to_owned(),
            secret_key: "secret".to_owned(),
            region: "us-east-1".to_owned(),
        }
    }

    fn header<'a>(request: &'a Request<Segments>, name: &str) -> &'a str {
        let value = request.headers().get(name);
        value.map_or("", |value| value.to_str().expect("text"))
    }

    #[test]
    fn announced_lengths_are_those_of_the_bodies_in_every_payload_mode() {
        let content = Pattern::new();
        for length in [0, 1, CHUNK - 1, CHUNK, CHUNK + 1, 3 * CHUNK] {
            for payload in [Payload::Unsigned, Payload::Trailer, Payload::SignedChunks] {
                let request = signer().put("localhost:1", "/b/k", &content, length, payload);
                let request = request.expect("signed");
                let announced: u64 = header(&request, "content-length").parse().expect("number");
                assert_eq!(
                    announced,
                    request.body().length(),
                    "{payload:?} of {length}"
                );
            }
        }
    }

    #[test]
    fn the_payload_mode_and_its_headers_are_signed() {
        let content = Pattern::new();
        let put = |payload| {
            let request = signer().put("localhost:1", "/b/k", &content, 5, payload);
            request.expect("signed")
        };
        let request = put(Payload::Trailer);
        let mode = header(&request, "x-amz-content-sha256");
        assert_eq!(mode, "STREAMING-UNSIGNED-PAYLOAD-TRAILER");
        let authorization = header(&request, "authorization");
        assert!(authorization.contains("x-amz-decoded-content-length"));
        assert!(authorization.contains("x-amz-trailer"));
        let request = put(Payload::SignedChunks);
        assert_eq!(header(&request, "x-amz-content-sha256"), SIGNED_CHUNKS);
        let request = put(Payload::Unsigned);
        assert_eq!(header(&request, "x-amz-content-sha256"), "UNSIGNED-PAYLOAD");
    }

    #[test]
    fn the_signature_covers_the_host_that_is_sent() {
        let one = signer().get("127.0.0.1:1", "/b/k").expect("signed");
        let other = signer().get("127.0.0.1:2", "/b/k").expect("signed");
        assert_eq!(header(&one, "host"), "127.0.0.1:1");
        assert_ne!(
            header(&one, "authorization"),
            header(&other, "authorization")
        );
    }
}
