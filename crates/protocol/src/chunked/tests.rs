//! AWS's published example bodies, bodies in the forms that real clients send, and corrupted ones.

use aws_sigv4::sign::v4::{calculate_signature, generate_signing_key};
use http::HeaderName;
use proptest::collection::vec;
use proptest::prelude::*;
use std::time::SystemTime;

use super::*;
use crate::sigv4::tests::examples::{self, NOW, SECRET};
use aws_lc_rs::digest;

// Time and credential scope of the published requests, as in the string to sign.
const SCOPE: &str = "20130524T000000Z\n20130524/us-east-1/s3/aws4_request";
const SEED: &str = "4f232c4386841ef735655705268965c44a0e4690baa4adea153f7db9fa80a0a9";
const TRAILER_SEED: &str = "106e2a8a18243abcf37539882f36619c00e2dfc72633413f02d3b74544bfeb8e";
const EMPTY_SHA256: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

fn crc32c() -> HeaderName {
    HeaderName::from_static("x-amz-checksum-crc32c")
}

/// Kind of body: its signatures, and whether trailers are announced.
#[derive(Debug, Clone, Copy)]
enum Kind {
    Signed,
    SignedTrailer,
    SignedUnchecked,
    SignedTrailerUnchecked,
    Unsigned,
}

fn decoder(kind: Kind, length: usize) -> ChunkDecoder {
    let verified = |request: crate::sigv4::tests::Request| Box::new(request.verify(NOW).unwrap());
    let (mode, trailers) = match kind {
        Kind::Signed => (ChunkMode::Signed(verified(examples::chunked())), vec![]),
        Kind::SignedTrailer => (
            ChunkMode::SignedTrailer(verified(examples::chunked_with_trailer())),
            vec![crc32c()],
        ),
        Kind::SignedUnchecked => (ChunkMode::SignedUnchecked, vec![]),
        Kind::SignedTrailerUnchecked => (ChunkMode::SignedTrailerUnchecked, vec![crc32c()]),
        Kind::Unsigned => (ChunkMode::UnsignedTrailer, vec![crc32c()]),
    };
    ChunkDecoder::new(mode, length as u64, trailers)
}

/// Decodes `body` in pieces of the given sizes, and returns the payload and the trailer.
fn decode(
    mut decoder: ChunkDecoder,
    body: &[u8],
    sizes: &[usize],
) -> Result<(Vec<u8>, Option<String>), ChunkError> {
    let mut payload = Vec::new();
    let mut rest = body;
    let mut sizes = sizes.iter().copied().cycle();
    while !rest.is_empty() {
        // At least one byte per call, so that the loop ends.
        let size = sizes.next().unwrap_or(rest.len()).clamp(1, rest.len());
        let step = decoder.decode(&rest[..size])?;
        assert!(step.consumed > 0 && step.consumed <= size && step.payload.end <= step.consumed);
        payload.extend_from_slice(&rest[step.payload]);
        rest = &rest[step.consumed..];
    }
    let trailers = decoder.finish()?;
    let value = trailers.get(&crc32c());
    Ok((
        payload,
        value.map(|value| value.to_str().unwrap().to_owned()),
    ))
}

/// Signs each link of the chain with AWS's own crate.
struct Signer {
    previous: String,
}

impl Signer {
    fn sign(&mut self, algorithm: &str, digests: &str) -> String {
        let key = generate_signing_key(SECRET, SystemTime::from(NOW), "us-east-1", "s3");
        let text = format!("{algorithm}\n{SCOPE}\n{}\n{digests}", self.previous);
        self.previous = calculate_signature(key, text.as_bytes());
        self.previous.clone()
    }

    fn chunk(&mut self, payload: &[u8]) -> Vec<u8> {
        let digests = format!("{EMPTY_SHA256}\n{}", sha256(payload));
        let signature = self.sign("AWS4-HMAC-SHA256-PAYLOAD", &digests);
        let mut chunk = format!("{:x};chunk-signature={signature}\r\n", payload.len()).into_bytes();
        // The last chunk has neither payload nor the line break after it.
        if !payload.is_empty() {
            chunk.extend_from_slice(payload);
            chunk.extend_from_slice(b"\r\n");
        }
        chunk
    }

    fn trailer(&mut self, trailer: &str) -> String {
        self.sign("AWS4-HMAC-SHA256-TRAILER", &sha256(trailer.as_bytes()))
    }
}

fn sha256(bytes: &[u8]) -> String {
    hex::encode(digest::digest(&digest::SHA256, bytes).as_ref())
}

fn signed_body(chunks: &[Vec<u8>]) -> Vec<u8> {
    let mut signer = Signer {
        previous: SEED.to_owned(),
    };
    let mut body = Vec::new();
    for chunk in chunks.iter().map(Vec::as_slice).chain([b"".as_slice()]) {
        body.extend(signer.chunk(chunk));
    }
    body.extend_from_slice(b"\r\n");
    body
}

fn signed_trailer_body(chunks: &[Vec<u8>]) -> Vec<u8> {
    let mut signer = Signer {
        previous: TRAILER_SEED.to_owned(),
    };
    let mut body = Vec::new();
    for chunk in chunks.iter().map(Vec::as_slice).chain([b"".as_slice()]) {
        body.extend(signer.chunk(chunk));
    }
    let signature = signer.trailer("x-amz-checksum-crc32c:sOO8/Q==\n");
    body.extend_from_slice(
        format!("x-amz-checksum-crc32c:sOO8/Q==\r\nx-amz-trailer-signature:{signature}\r\n\r\n")
            .as_bytes(),
    );
    body
}

fn unsigned_body(chunks: &[Vec<u8>], ending: &str) -> Vec<u8> {
    let mut body = Vec::new();
    for chunk in chunks {
        // Sizes in upper case, since clients send both.
        body.extend_from_slice(format!("{:X}\r\n", chunk.len()).as_bytes());
        body.extend_from_slice(chunk);
        body.extend_from_slice(b"\r\n");
    }
    body.extend_from_slice(b"0\r\n");
    body.extend_from_slice(ending.as_bytes());
    body
}

fn body(kind: Kind, chunks: &[Vec<u8>]) -> Vec<u8> {
    match kind {
        Kind::Signed | Kind::SignedUnchecked => signed_body(chunks),
        Kind::SignedTrailer | Kind::SignedTrailerUnchecked => signed_trailer_body(chunks),
        Kind::Unsigned => unsigned_body(chunks, "x-amz-checksum-crc32c:sOO8/Q==\r\n\r\n"),
    }
}

/// Body of AWS's examples: 64 KiB and 1 KiB of `a`.
fn published_body(signatures: [&str; 3], ending: &str) -> Vec<u8> {
    let mut body = Vec::new();
    for (size, signature) in [65_536, 1024].into_iter().zip(signatures) {
        body.extend_from_slice(format!("{size:x};chunk-signature={signature}\r\n").as_bytes());
        body.extend(vec![b'a'; size]);
        body.extend_from_slice(b"\r\n");
    }
    let [.., last] = signatures;
    body.extend_from_slice(format!("0;chunk-signature={last}\r\n{ending}").as_bytes());
    body
}

const SIGNATURES: [&str; 3] = [
    "ad80c730a21e5b8d04586a2213dd63b9a0e99e0e2307b0ade35a65485a288648",
    "0055627c9e194cb4542bae2aa5492e3c1575bbb81b612b7d234b86a503ef5497",
    "b6c6ea8a5354eaf15b3cb7646744f4275b71ea724fed81ceb9323e279d449df9",
];
const TRAILER_SIGNATURES: [&str; 3] = [
    "b474d8862b1487a5145d686f57f013e54db672cee1c953b3010fb58501ef5aa2",
    "1c1344b170168f8e65b41376b44b20fe354e373826ccbbe2c1d40a8cae51e5c7",
    "2ca2aba2005185cf7159c6277faf83795951dd77a3a99e6e65d5c9f85863f992",
];
const TRAILER_SIGNATURE: &str = "d81f82fc3505edab99d459891051a732e8730629a2e4a59689829ca17fe2e435";

#[test]
fn the_published_chunked_upload_decodes() {
    let body = published_body(SIGNATURES, "\r\n");
    assert_eq!(body.len(), 66_824, "the published Content-Length");
    // One slice, single bytes, sizes unrelated to chunks, and the first chunk's header and payload.
    for sizes in [&[][..], &[1], &[7, 1000], &[65_536 + 88]] {
        let (payload, trailer) = decode(decoder(Kind::Signed, 66_560), &body, sizes).unwrap();
        assert!(payload == vec![b'a'; 66_560]);
        assert_eq!(trailer, None);
    }
}

#[test]
fn the_published_upload_with_a_trailer_decodes_with_every_line_end_that_clients_send() {
    let signature = format!("x-amz-trailer-signature:{TRAILER_SIGNATURE}");
    for ending in [
        format!("x-amz-checksum-crc32c:sOO8/Q==\r\n{signature}\r\n"),
        format!("x-amz-checksum-crc32c:sOO8/Q==\r\n{signature}\r\n\r\n"),
        format!("x-amz-checksum-crc32c:sOO8/Q==\n\r\n{signature}\r\n\r\n"),
        format!("\r\nx-amz-checksum-crc32c:sOO8/Q==\r\n{signature}\r\n\r\n"),
        format!("X-Amz-Checksum-Crc32c: sOO8/Q==\n{signature}\n\n"),
    ] {
        let body = published_body(TRAILER_SIGNATURES, &ending);
        for kind in [Kind::SignedTrailer, Kind::SignedTrailerUnchecked] {
            let (payload, trailer) = decode(decoder(kind, 66_560), &body, &[1000]).unwrap();
            assert!(payload == vec![b'a'; 66_560]);
            assert_eq!(trailer.as_deref(), Some("sOO8/Q=="), "{ending}");
        }
    }
}

#[test]
fn unsigned_bodies_decode_with_every_line_end_that_clients_send() {
    for ending in [
        "x-amz-checksum-crc32c:sOO8/Q==\r\n\r\n",
        "x-amz-checksum-crc32c:sOO8/Q==\r\n",
        "x-amz-checksum-crc32c:sOO8/Q==\n\r\n\r\n",
        "\r\nx-amz-checksum-crc32c:sOO8/Q==\r\n\r\n",
    ] {
        let body = unsigned_body(&[vec![b'a'; 5]], ending);
        let (payload, trailer) = decode(decoder(Kind::Unsigned, 5), &body, &[]).unwrap();
        assert_eq!(payload, b"aaaaa");
        assert_eq!(trailer.as_deref(), Some("sOO8/Q=="), "{ending}");
    }
}

#[test]
fn a_body_without_announced_trailers_may_end_without_any() {
    for (mode, body) in [
        (ChunkMode::UnsignedTrailer, "3\r\nabc\r\n0\r\n\r\n"),
        (ChunkMode::UnsignedTrailer, "3\r\nabc\r\n0\r\n"),
        (ChunkMode::SignedUnchecked, "3\r\nabc\r\n0\r\n\r\n"),
        (ChunkMode::SignedTrailerUnchecked, "3\r\nabc\r\n0\r\n\r\n"),
    ] {
        let decoder = ChunkDecoder::new(mode, 3, vec![]);
        assert_eq!(
            decode(decoder, body.as_bytes(), &[1]),
            Ok((b"abc".to_vec(), None))
        );
    }
}

#[test]
fn a_changed_chunk_is_refused_before_its_last_byte_is_handed_out() {
    let mut body = published_body(SIGNATURES, "\r\n");
    // The header takes 88 bytes, so this byte is in the first chunk's payload.
    body[90] = b'b';
    let mut decoder = decoder(Kind::Signed, 66_560);
    let header = decoder.decode(&body[..88]).unwrap();
    assert_eq!(header.payload.len(), 0);
    let first = decoder.decode(&body[88..88 + 65_535]).unwrap();
    assert_eq!(first.payload.len(), 65_535);
    // The signature is checked with the chunk's last byte, which must not be handed out.
    let last = decoder.decode(&body[88 + 65_535..]);
    assert_eq!(last, Err(ChunkError::SignatureMismatch));
    // An error is permanent, even if the framing goes on correctly.
    let after = decoder.decode(b"400;chunk-signature=");
    assert_eq!(after, Err(ChunkError::SignatureMismatch));
    assert_eq!(decoder.finish().err(), Some(ChunkError::SignatureMismatch));
}

#[test]
fn a_body_that_is_cut_anywhere_is_refused() {
    for kind in [Kind::Signed, Kind::SignedTrailer, Kind::Unsigned] {
        let body = body(kind, &[b"hello".to_vec(), b"world!".to_vec()]);
        // Only the last line end is optional.
        let required = body.len() - 2;
        for length in 0..required {
            let cut = decode(decoder(kind, 11), &body[..length], &[]);
            assert!(cut.is_err(), "{}", String::from_utf8_lossy(&body[..length]));
        }
        for length in [required, body.len()] {
            let whole = decode(decoder(kind, 11), &body[..length], &[]).unwrap();
            assert_eq!(whole.0, b"helloworld!");
        }
    }
}

#[test]
fn chunks_that_do_not_add_up_are_refused() {
    for kind in [Kind::Signed, Kind::SignedTrailer, Kind::Unsigned] {
        let body = body(kind, &[b"hello".to_vec()]);
        for length in [0, 4, 6, 100] {
            let decoded = decode(decoder(kind, length), &body, &[]);
            assert_eq!(decoded, Err(ChunkError::Incomplete), "{length}");
        }
    }
}

#[test]
fn bytes_behind_the_end_are_refused() {
    for kind in [
        Kind::Signed,
        Kind::SignedTrailer,
        Kind::Unsigned,
        Kind::SignedUnchecked,
    ] {
        for tail in ["x", "0\r\n", "GET / HTTP/1.1\r\n", "\r\n\r\n\r\n"] {
            let mut body = body(kind, &[b"hello".to_vec()]);
            body.extend_from_slice(tail.as_bytes());
            let decoded = decode(decoder(kind, 5), &body, &[1]);
            assert!(
                matches!(decoded, Err(ChunkError::Malformed(_))),
                "{tail}: {decoded:?}"
            );
        }
    }
}

#[test]
fn malformed_framing_is_refused() {
    for body in [
        "\r\n",
        "5\nhello\r\n0\r\n\r\n",
        "0x5\r\nhello\r\n0\r\n\r\n",
        "+5\r\nhello\r\n0\r\n\r\n",
        " 5\r\nhello\r\n0\r\n\r\n",
        // 17 digits, one more than a `u64` has.
        "00000000000000005\r\nhello\r\n0\r\n\r\n",
        "5;name=value\r\nhello\r\n0\r\n\r\n",
        "5;chunk-signature=00\r\nhello\r\n0\r\n\r\n",
        "5\r\nhello\n0\r\n\r\n",
        "5\r\nhello0\r\n\r\n",
        &"0".repeat(1025),
    ] {
        let decoded = decode(decoder(Kind::Unsigned, 5), body.as_bytes(), &[]);
        assert!(
            matches!(decoded, Err(ChunkError::Malformed(_))),
            "{body}: {decoded:?}"
        );
    }
    let unsigned = decode(decoder(Kind::Signed, 5), b"5\r\nhello\r\n0\r\n\r\n", &[]);
    assert!(
        matches!(unsigned, Err(ChunkError::Malformed(_))),
        "{unsigned:?}"
    );
    // Refused by the announced length, before any payload arrives.
    let huge = decode(decoder(Kind::Unsigned, 5), b"ffffffffffffffff\r\n", &[]);
    assert_eq!(huge, Err(ChunkError::Incomplete));
}

#[test]
fn trailers_other_than_announced_are_refused() {
    let long = format!("x-amz-checksum-crc32c:{}\r\n\r\n", "a".repeat(8200));
    for ending in [
        "\r\n",
        "x-amz-checksum-crc32:sOO8/Q==\r\n\r\n",
        "x-amz-checksum-crc32c:sOO8/Q==\r\nx-amz-meta-a:b\r\n\r\n",
        "x-amz-checksum-crc32c:sOO8/Q==\r\nx-amz-checksum-crc32c:sOO8/Q==\r\n\r\n",
        "x-amz-checksum-crc32c:sOO8/Q==\r\nx-amz-trailer-signature:00\r\n\r\n",
        "x-amz-checksum-crc32c\r\n\r\n",
        "x amz:b\r\n\r\n",
        &long,
        // Empty lines are skipped, but they count towards the limit.
        &"\r\n".repeat(5000),
    ] {
        let body = unsigned_body(&[b"hello".to_vec()], ending);
        let decoded = decode(decoder(Kind::Unsigned, 5), &body, &[]);
        assert!(
            matches!(decoded, Err(ChunkError::Trailer(_))),
            "{ending}: {decoded:?}"
        );
    }
}

#[test]
fn signed_trailers_without_their_signature_are_refused() {
    let body = published_body(TRAILER_SIGNATURES, "x-amz-checksum-crc32c:sOO8/Q==\r\n\r\n");
    let decoded = decode(decoder(Kind::SignedTrailer, 66_560), &body, &[]);
    assert!(
        matches!(decoded, Err(ChunkError::Trailer(_))),
        "{decoded:?}"
    );
}

#[test]
fn every_refusal_has_its_code() {
    for (error, code) in [
        (ChunkError::Malformed(""), ErrorCode::InvalidRequest),
        (
            ChunkError::SignatureMismatch,
            ErrorCode::SignatureDoesNotMatch,
        ),
        (ChunkError::Incomplete, ErrorCode::IncompleteBody),
        (ChunkError::Trailer(""), ErrorCode::MalformedTrailerError),
    ] {
        assert_eq!(error.s3_error().code, code);
    }
}

fn kind() -> impl Strategy<Value = Kind> {
    prop_oneof![
        Just(Kind::Signed),
        Just(Kind::SignedTrailer),
        Just(Kind::SignedUnchecked),
        Just(Kind::SignedTrailerUnchecked),
        Just(Kind::Unsigned),
    ]
}

proptest! {
    #[test]
    fn any_chunks_in_any_pieces_give_the_payload(
        kind in kind(),
        chunks in vec(vec(any::<u8>(), 1..200), 0..5),
        sizes in vec(1_usize..120, 1..20),
    ) {
        let payload = chunks.concat();
        let decoded = decode(decoder(kind, payload.len()), &body(kind, &chunks), &sizes);
        prop_assert_eq!(decoded.map(|(payload, _)| payload), Ok(payload));
    }

    #[test]
    fn any_changed_byte_of_a_signed_body_is_refused(
        with_trailer in any::<bool>(),
        chunks in vec(vec(any::<u8>(), 1..50), 1..4),
        index in any::<prop::sample::Index>(),
        change in 1_u8..=255,
    ) {
        let kind = if with_trailer { Kind::SignedTrailer } else { Kind::Signed };
        let mut body = body(kind, &chunks);
        // Line ends in trailers and the last line end are parsed leniently, as is case in sizes and
        // names.
        let lenient = if with_trailer { 4 } else { 2 };
        let index = index.index(body.len() - lenient);
        let before = body[index];
        body[index] ^= change;
        prop_assume!(!before.eq_ignore_ascii_case(&body[index]));
        prop_assume!(!before.is_ascii_whitespace() || !with_trailer);
        prop_assert!(decode(decoder(kind, chunks.concat().len()), &body, &[]).is_err());
    }

    #[test]
    fn arbitrary_bytes_never_panic_and_never_give_more_than_announced(
        kind in kind(),
        body in vec(prop_oneof![Just(b'\r'), Just(b'\n'), Just(b'0'), Just(b'5'), any::<u8>()], 0..300),
        sizes in vec(1_usize..20, 1..5),
    ) {
        if let Ok((payload, _)) = decode(decoder(kind, 5), &body, &sizes) {
            prop_assert_eq!(payload.len(), 5);
        }
    }
}
