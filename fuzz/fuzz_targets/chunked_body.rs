//! `aws-chunked` bodies: the outcome does not depend on how a body is cut; bodies that a client
//! signed decode; and no change of signed bytes changes the payload.

#![no_main]

use std::sync::LazyLock;

use aws_sigv4::http_request::{SignableBody, SignatureLocation};
use http::HeaderName;
use http::request::Parts;
use libfuzzer_sys::fuzz_target;
use s3proxy_fuzz::choices::{Choices, Pieces};
use s3proxy_fuzz::head;
use s3proxy_fuzz::signing::{self, ChunkSigner, NOW, SECRET, hex_sha256};
use s3proxy_protocol::chunked::{ChunkDecoder, ChunkError, ChunkMode};
use s3proxy_protocol::sigv4::{self, Authentication, SecretAccessKey};

const TRAILER: HeaderName = HeaderName::from_static("x-amz-checksum-crc32c");

#[derive(Clone, Copy, PartialEq)]
enum Kind {
    Signed,
    SignedTrailer,
    SignedUnchecked,
    SignedTrailerUnchecked,
    Unsigned,
}

const KINDS: [Kind; 5] = [
    Kind::Signed,
    Kind::SignedTrailer,
    Kind::SignedUnchecked,
    Kind::SignedTrailerUnchecked,
    Kind::Unsigned,
];

impl Kind {
    fn has_trailers(self) -> bool {
        !matches!(self, Self::Signed | Self::SignedUnchecked)
    }

    fn is_checked(self) -> bool {
        matches!(self, Self::Signed | Self::SignedTrailer)
    }
}

fn signed_head(payload: &str) -> Parts {
    let parts = head::parse(b"PUT /bucket/key\nhost:localhost").expect("a head");
    let body = SignableBody::Precomputed(payload.to_owned());
    signing::sign_head(parts, SignatureLocation::Headers, None, body).expect("a signed head")
}

static SIGNED: LazyLock<Parts> =
    LazyLock::new(|| signed_head("STREAMING-AWS4-HMAC-SHA256-PAYLOAD"));
static SIGNED_TRAILER: LazyLock<Parts> =
    LazyLock::new(|| signed_head("STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER"));

fn signed_mode(parts: &Parts) -> ChunkMode {
    let Ok(Authentication::Signed(request)) = sigv4::parse(None, &parts.headers) else {
        panic!("the head is signed");
    };
    let secret = SecretAccessKey::new(SECRET.to_owned());
    let path = parts.uri.path();
    let verified = request.verify(&secret, &parts.method, path, None, &parts.headers, NOW);
    let verified = verified.expect("the signature is good");
    ChunkMode::checked(request.payload(), verified).expect("the body is chunked")
}

fn decoder(kind: Kind, length: u64) -> ChunkDecoder {
    let mode = match kind {
        Kind::Signed => signed_mode(&SIGNED),
        Kind::SignedTrailer => signed_mode(&SIGNED_TRAILER),
        Kind::SignedUnchecked => ChunkMode::SignedUnchecked,
        Kind::SignedTrailerUnchecked => ChunkMode::SignedTrailerUnchecked,
        Kind::Unsigned => ChunkMode::UnsignedTrailer,
    };
    let trailers = kind.has_trailers().then_some(TRAILER);
    ChunkDecoder::new(mode, length, trailers.into_iter().collect())
}

type Decoded = Result<(Vec<u8>, Option<Vec<u8>>), ChunkError>;

fn decode(kind: Kind, length: u64, body: &[u8], pieces: &Pieces) -> Decoded {
    let mut decoder = decoder(kind, length);
    let mut payload = Vec::new();
    for piece in pieces.of(body) {
        let mut rest = piece;
        while !rest.is_empty() {
            let step = decoder.decode(rest)?;
            assert!(step.consumed > 0 && step.consumed <= rest.len());
            assert!(step.payload.end <= step.consumed);
            payload.extend_from_slice(&rest[step.payload]);
            assert!(payload.len() as u64 <= length, "never more than announced");
            rest = &rest[step.consumed..];
        }
    }
    let trailers = decoder.finish()?;
    assert_eq!(payload.len() as u64, length);
    let trailer = trailers
        .get(&TRAILER)
        .map(|value| value.as_bytes().to_vec());
    assert_eq!(trailer.is_some(), kind.has_trailers());
    Ok((payload, trailer))
}

/// A body as a client sends it, with its payload.
fn built(kind: Kind, choices: &mut Choices<'_>) -> (Vec<u8>, Vec<u8>) {
    let head = if kind.has_trailers() {
        &*SIGNED_TRAILER
    } else {
        &*SIGNED
    };
    let mut signer = ChunkSigner::behind(head).expect("the head is signed");
    let (mut body, mut payload) = (Vec::new(), Vec::new());
    let count = choices.byte() % 4;
    let chunks: Vec<&[u8]> = (0..count)
        .map(|_| {
            let length = usize::from(choices.u16() % 700);
            choices.bytes(length)
        })
        .filter(|chunk| !chunk.is_empty())
        .collect();
    for chunk in chunks.into_iter().chain([&b""[..]]) {
        let extension = match kind {
            Kind::Unsigned => String::new(),
            _ => format!(";chunk-signature={}", signer.chunk(&hex_sha256(chunk))),
        };
        body.extend_from_slice(format!("{:x}{extension}\r\n", chunk.len()).as_bytes());
        body.extend_from_slice(chunk);
        payload.extend_from_slice(chunk);
        if !chunk.is_empty() {
            body.extend_from_slice(b"\r\n");
        }
    }
    if kind.has_trailers() {
        body.extend_from_slice(b"x-amz-checksum-crc32c:sOO8/Q==\r\n");
        if kind != Kind::Unsigned {
            let digest = hex_sha256(b"x-amz-checksum-crc32c:sOO8/Q==\n");
            let signature = signer.trailer(&digest);
            body.extend_from_slice(format!("x-amz-trailer-signature:{signature}\r\n").as_bytes());
        }
    }
    body.extend_from_slice(b"\r\n");
    (body, payload)
}

fuzz_target!(|input: &[u8]| {
    let mut choices = Choices::new(input);
    let kind = choices.pick(&KINDS);
    let pieces = choices.pieces();
    if choices.flag() {
        let length = u64::from(choices.u16());
        let body = choices.rest();
        let whole = decode(kind, length, body, &Pieces::whole());
        assert_eq!(
            decode(kind, length, body, &pieces),
            whole,
            "the cut does not matter"
        );
        return;
    }
    let (mut body, payload) = built(kind, &mut choices);
    let length = payload.len() as u64;
    let expected = kind.has_trailers().then(|| b"sOO8/Q==".to_vec());
    let decoded = decode(kind, length, &body, &pieces);
    assert_eq!(decoded, Ok((payload.clone(), expected.clone())));
    if kind.is_checked() && choices.mutate(&mut body) {
        match decode(kind, length, &body, &pieces) {
            Ok(decoded) => assert_eq!(decoded, (payload, expected), "a signature holds"),
            Err(_) => {}
        }
    }
});
