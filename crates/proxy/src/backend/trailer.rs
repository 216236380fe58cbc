//! Streams with a checksum of the stored bytes in a trailer (S3 API Reference, "Signature
//! Calculations for the Authorization Header: Transferring Payload in Multiple Chunks": unsigned
//! payload with a trailer).
//!
//! Invariants:
//! - the framing is a function of the length alone, so that `Content-Length` is exact and known
//!   before the first byte;
//! - the checksum is made only after the source has ended cleanly: a truncated body has neither its
//!   length nor its trailer;
//! - stored bytes are passed on without copying.
//!
//! Absent: signatures of chunks (the checksum is no defence against an attacker on the network;
//! sealed data defends itself), and trailers on parts, whose checksums AWS accepts only with part
//! numbers without gaps.

use std::collections::VecDeque;

use bytes::Bytes;
use http::header::{CONTENT_ENCODING, HeaderMap, HeaderName, HeaderValue};
use s3proxy_protocol::checksum::{ChecksumAlgorithm, Checksummer};
use s3proxy_protocol::header_rules;

use super::settings::{Endpoint, Integrity};

/// Number of stored bytes in every chunk except the last; AWS accepts none below 8 KiB.
const CHUNK_BYTES: u64 = 64 * 1024;
const ALGORITHM: ChecksumAlgorithm = ChecksumAlgorithm::Crc32;
const DECODED_LENGTH: HeaderName = HeaderName::from_static("x-amz-decoded-content-length");
const TRAILER: HeaderName = HeaderName::from_static("x-amz-trailer");

/// Framing of a stream's bytes on the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum StreamFraming {
    /// The stored bytes alone.
    Bare,
    /// Chunks, with the checksum in a trailer.
    Trailer,
}

impl StreamFraming {
    /// Returns the framing of a streamed body.
    ///
    /// A server that does not know the framing refuses it or, worse, stores it as content. So
    /// `auto` uses it where it is documented, on AWS, and for uploads under object lock: S3 refuses
    /// those without a checksum, so no working upload is put at risk.
    pub(super) fn select(
        integrity: Integrity,
        endpoint: &Endpoint,
        query: &[(String, Option<String>)],
        headers: &HeaderMap,
    ) -> Self {
        let is_part = query.iter().any(|(name, _)| name == "uploadId");
        let is_wanted = match integrity {
            Integrity::Auto => endpoint.is_aws() || is_under_object_lock(headers),
            Integrity::Trailer => true,
            Integrity::Unsigned => false,
        };
        if is_wanted && !is_part {
            StreamFraming::Trailer
        } else {
            StreamFraming::Bare
        }
    }

    /// Returns the number of bytes on the wire for a stream of `length` bytes.
    pub(super) fn wire_length(self, length: u64) -> u64 {
        match self {
            StreamFraming::Bare => length,
            StreamFraming::Trailer => chunked_length(length),
        }
    }
}

fn is_under_object_lock(headers: &HeaderMap) -> bool {
    headers
        .keys()
        .any(|name| name.as_str().starts_with("x-amz-object-lock-"))
}

/// Sets the headers that announce the framing of a stream of `length` bytes.
pub(super) fn announce(headers: &mut HeaderMap, length: u64) {
    // First in the list, as S3 documents it.
    let mut codings = b"aws-chunked".to_vec();
    for coding in headers.get_all(CONTENT_ENCODING) {
        codings.push(b',');
        codings.extend_from_slice(coding.as_bytes());
    }
    let codings = HeaderValue::from_bytes(&codings).expect("parts of it were header values");
    headers.insert(CONTENT_ENCODING, codings);
    headers.insert(DECODED_LENGTH, HeaderValue::from(length));
    headers.insert(TRAILER, HeaderValue::from(ALGORITHM.header_name()));
}

/// Removes `aws-chunked` from a response's Content-Encoding: some servers store it as if it were a
/// coding of the object.
pub(super) fn forget_framing(headers: &mut HeaderMap) {
    header_rules::remove_aws_chunked(headers);
}

/// Headers that this module makes itself, and accepts from no caller.
pub(super) const OWN_HEADERS: [HeaderName; 2] = [DECODED_LENGTH, TRAILER];

fn chunked_length(length: u64) -> u64 {
    let chunk = |bytes: u64| size_line(bytes).len() as u64 + bytes + 2;
    let rest = length % CHUNK_BYTES;
    let last = if rest == 0 { 0 } else { chunk(rest) };
    // Base64 of the checksum has the same length for every value.
    let placeholder = "=".repeat(ALGORITHM.length().div_ceil(3) * 4);
    length / CHUNK_BYTES * chunk(CHUNK_BYTES) + last + end(&placeholder).len() as u64
}

fn size_line(bytes: u64) -> String {
    format!("{bytes:x}\r\n")
}

/// Returns the final empty chunk, and the trailer.
fn end(checksum: &str) -> String {
    format!("0\r\n{}:{checksum}\r\n\r\n", ALGORITHM.header_name())
}

/// Splitter of stored bytes into chunks.
pub(super) struct Chunks {
    checksum: Checksummer,
    /// Number of stored bytes that belong to no chunk yet.
    unassigned: u64,
    /// Number of stored bytes missing from the current chunk.
    missing: u64,
    /// Number of bytes on the wire still to come, including those that are ready.
    left: u64,
    ready: VecDeque<Bytes>,
    /// End of the previous chunk; empty before the first.
    separator: &'static str,
}

impl Chunks {
    pub(super) fn new(length: u64) -> Self {
        Chunks {
            checksum: Checksummer::new(ALGORITHM),
            unassigned: length,
            missing: 0,
            left: chunked_length(length),
            ready: VecDeque::new(),
            separator: "",
        }
    }

    /// Takes the next stored bytes; in total no more than announced.
    pub(super) fn push(&mut self, mut data: Bytes) {
        self.checksum.update(&data);
        while !data.is_empty() {
            if self.missing == 0 {
                self.begin();
            }
            let fitting = usize::try_from(self.missing).map_or(data.len(), |m| m.min(data.len()));
            self.missing -= fitting as u64;
            self.ready.push_back(data.split_to(fitting));
        }
    }

    fn begin(&mut self) {
        self.missing = self.unassigned.min(CHUNK_BYTES);
        assert!(self.missing > 0, "the caller checks the announced length");
        self.unassigned -= self.missing;
        let head = format!("{}{}", self.separator, size_line(self.missing));
        self.ready.push_back(Bytes::from(head));
        self.separator = "\r\n";
    }

    /// Ends the body, once all stored bytes have arrived and their source has ended cleanly.
    pub(super) fn finish(&mut self) {
        let checksum = std::mem::replace(&mut self.checksum, Checksummer::new(ALGORITHM));
        let end = end(&checksum.finish().to_base64());
        self.ready
            .push_back(Bytes::from(format!("{}{end}", self.separator)));
    }

    /// Returns the next bytes for the wire, if there are any.
    pub(super) fn next(&mut self) -> Option<Bytes> {
        let bytes = self.ready.pop_front()?;
        self.left -= bytes.len() as u64;
        Some(bytes)
    }

    /// Returns the number of bytes on the wire still to come.
    pub(super) fn left(&self) -> u64 {
        self.left
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backend::settings::Scheme;

    fn framed(pieces: &[&[u8]]) -> Vec<u8> {
        let length = pieces.iter().map(|piece| piece.len() as u64).sum();
        let mut chunks = Chunks::new(length);
        assert_eq!(chunks.left(), StreamFraming::Trailer.wire_length(length));
        let mut wire = Vec::new();
        for piece in pieces {
            chunks.push(Bytes::copy_from_slice(piece));
            while let Some(bytes) = chunks.next() {
                wire.extend_from_slice(&bytes);
            }
        }
        chunks.finish();
        while let Some(bytes) = chunks.next() {
            wire.extend_from_slice(&bytes);
        }
        assert_eq!(chunks.left(), 0);
        wire
    }

    #[test]
    fn the_framing_is_as_published() {
        let wire = framed(&[b"12345", b"6789"]);
        let expected = "9\r\n123456789\r\n0\r\nx-amz-checksum-crc32:y/Q5Jg==\r\n\r\n";
        assert_eq!(String::from_utf8(wire).unwrap(), expected);
    }

    #[test]
    fn chunks_do_not_depend_on_the_size_of_the_pieces() {
        let content = vec![b'a'; 150_000];
        // 0x10000 is 64 KiB, the length of all chunks but the last.
        let mut expected = b"10000\r\n".to_vec();
        expected.extend_from_slice(&content[..65_536]);
        expected.extend_from_slice(b"\r\n10000\r\n");
        expected.extend_from_slice(&content[..65_536]);
        expected.extend_from_slice(b"\r\n49f0\r\n");
        expected.extend_from_slice(&content[..18_928]);
        let mut checksum = Checksummer::new(ALGORITHM);
        checksum.update(&content);
        let checksum = checksum.finish().to_base64();
        let tail = format!("\r\n0\r\nx-amz-checksum-crc32:{checksum}\r\n\r\n");
        expected.extend_from_slice(tail.as_bytes());
        for size in [150_000, 65_536, 65_535, 65_537, 131_072, 7_777] {
            let pieces: Vec<_> = content.chunks(size).collect();
            assert!(framed(&pieces) == expected, "pieces of {size}");
        }
    }

    #[test]
    fn the_announced_length_is_exact_around_every_boundary() {
        // Around each further hexadecimal digit, and each further chunk.
        for length in [1, 15, 16, 65_535, 65_536, 65_537, 131_071, 131_072, 131_073] {
            let wire = framed(&[&vec![0; length]]);
            let announced = StreamFraming::Trailer.wire_length(length as u64);
            assert_eq!(wire.len() as u64, announced, "{length}");
        }
    }

    #[test]
    fn the_form_follows_the_setting_the_endpoint_and_the_request() {
        let (bare, trailed) = (StreamFraming::Bare, StreamFraming::Trailer);
        let (aws, other) = ("s3.eu-west-1.amazonaws.com", "storage.example");
        for (integrity, host, parameter, header, framing) in [
            (Integrity::Auto, aws, "", "", trailed),
            (
                Integrity::Auto,
                "s3.cn-north-1.amazonaws.com.cn",
                "",
                "",
                trailed,
            ),
            (
                Integrity::Auto,
                "s3.eusc-de-east-1.amazonaws.eu",
                "",
                "",
                trailed,
            ),
            // Names that only resemble AWS's.
            (Integrity::Auto, "amazonaws.com.example", "", "", bare),
            (Integrity::Auto, "notamazonaws.com", "", "", bare),
            (Integrity::Auto, other, "", "", bare),
            (
                Integrity::Auto,
                other,
                "",
                "x-amz-object-lock-mode",
                trailed,
            ),
            (
                Integrity::Auto,
                other,
                "",
                "x-amz-object-lock-legal-hold",
                trailed,
            ),
            (Integrity::Auto, aws, "uploadId", "", bare),
            (Integrity::Trailer, other, "", "", trailed),
            (Integrity::Trailer, other, "uploadId", "", bare),
            (Integrity::Unsigned, aws, "", "x-amz-object-lock-mode", bare),
        ] {
            let endpoint = Endpoint {
                scheme: Scheme::Https,
                host: host.to_owned(),
                port: None,
            };
            let query = [(parameter.to_owned(), Some("1".to_owned()))];
            let mut headers = HeaderMap::new();
            if !header.is_empty() {
                headers.insert(header, HeaderValue::from_static("v"));
            }
            let found = StreamFraming::select(integrity, &endpoint, &query, &headers);
            assert_eq!(found, framing, "{integrity:?} {host} {parameter} {header}");
        }
    }
}
