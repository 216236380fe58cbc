//! Bodies that match their headers, bodies that do not, and invalid headers.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::HeaderValue;

use super::*;
use crate::chunked::{ChunkDecoder, ChunkMode};

/// Text over which the check values of the CRC catalogue are computed.
const BODY: &[u8] = b"123456789";
const BODY_MD5: &str = "JfnnlDI7RTiF9RgfG2JNCw==";
const BODY_SHA512: &str =
    "2eZ2LdHI6vbWGzxhkvxAjU1tXxF20MKRabwk5xw/J0rSf81YEbMT1oH35V7ALXPUmclUVba1u1A6z1dPuo/+hQ==";
const BODY_SHA256: &str = "FeKw08M4keuw8e9gnsQZQgwg4yDOlMZfvIwzEkSOsiU=";

fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in pairs {
        headers.append(*name, HeaderValue::from_str(value).unwrap());
    }
    headers
}

fn body_sha256() -> PayloadMode {
    let digest = STANDARD.decode(BODY_SHA256).unwrap();
    PayloadMode::Sha256(digest.try_into().unwrap())
}

fn verify(
    pairs: &[(&'static str, &str)],
    mode: &PayloadMode,
    body: &[u8],
) -> Result<VerifiedPayload, PayloadError> {
    let mut verifier = PayloadExpectation::from_headers(&headers(pairs), mode)?.verifier();
    // In pieces, to cover state that is kept between updates.
    for piece in body.chunks(4) {
        verifier.update(piece);
    }
    verifier.finish(&Trailers::default())
}

fn refusal(pairs: &[(&'static str, &str)], mode: &PayloadMode) -> PayloadError {
    PayloadExpectation::from_headers(&headers(pairs), mode).unwrap_err()
}

/// Trailers of a body that sent `value`.
fn trailers(algorithm: ChecksumAlgorithm, value: &str) -> Trailers {
    let name = algorithm.header_name();
    let mut decoder = ChunkDecoder::new(ChunkMode::UnsignedTrailer, 0, vec![name.clone()]);
    let body = format!("0\r\n{name}:{value}\r\n\r\n");
    let step = decoder.decode(body.as_bytes()).unwrap();
    assert_eq!(step.consumed, body.len());
    decoder.finish().unwrap()
}

/// Of [`BODY`].
const CHECKSUMS: [(&str, &str, ChecksumAlgorithm); 10] = [
    ("x-amz-checksum-crc32", "y/Q5Jg==", ChecksumAlgorithm::Crc32),
    (
        "x-amz-checksum-crc32c",
        "4waSgw==",
        ChecksumAlgorithm::Crc32c,
    ),
    (
        "x-amz-checksum-crc64nvme",
        "rosUhgp5mIg=",
        ChecksumAlgorithm::Crc64Nvme,
    ),
    (
        "x-amz-checksum-sha1",
        "98O8HYCOBHMq32eZZczDTKeuNEE=",
        ChecksumAlgorithm::Sha1,
    ),
    (
        "x-amz-checksum-sha256",
        BODY_SHA256,
        ChecksumAlgorithm::Sha256,
    ),
    (
        "x-amz-checksum-sha512",
        BODY_SHA512,
        ChecksumAlgorithm::Sha512,
    ),
    ("x-amz-checksum-md5", BODY_MD5, ChecksumAlgorithm::Md5),
    (
        "x-amz-checksum-xxhash64",
        "jLhB20DmroM=",
        ChecksumAlgorithm::XxHash64,
    ),
    (
        "x-amz-checksum-xxhash3",
        "ctyxi2ehff8=",
        ChecksumAlgorithm::XxHash3,
    ),
    (
        "x-amz-checksum-xxhash128",
        "MxGUd+3l3NXpcWQnaB1YYA==",
        ChecksumAlgorithm::XxHash128,
    ),
];

#[test]
fn every_checksum_is_verified_and_handed_on() {
    for (header, value, algorithm) in CHECKSUMS {
        let pairs = [
            (header, value),
            ("x-amz-sdk-checksum-algorithm", algorithm.as_str()),
        ];
        let verified = verify(&pairs, &PayloadMode::Unsigned, BODY).unwrap();
        let (verified_algorithm, verified_value) = verified.checksum.unwrap();
        assert_eq!(verified_algorithm, algorithm);
        assert_eq!(verified_value.to_base64(), value);
        assert_eq!(
            verify(&pairs, &PayloadMode::Unsigned, b"123456780"),
            Err(PayloadError::ChecksumMismatch(algorithm))
        );
    }
}

#[test]
fn every_checksum_is_verified_as_a_trailer() {
    for (header, value, algorithm) in CHECKSUMS {
        let mode = PayloadMode::UnsignedChunksTrailer;
        let headers = headers(&[
            ("x-amz-trailer", &header.to_uppercase()),
            ("x-amz-decoded-content-length", "9"),
            // Larger than the decoded length: it includes the framing.
            ("content-length", "60"),
        ]);
        let expectation = PayloadExpectation::from_headers(&headers, &mode).unwrap();
        assert_eq!(expectation.trailer_algorithm(), Some(algorithm));
        assert_eq!(expectation.expected_trailers(), [algorithm.header_name()]);
        assert_eq!(expectation.decoded_length(), Some(9));
        assert_eq!(expectation.known_checksum(), None);
        let finish = |body: &[u8], trailers: &Trailers| {
            let mut verifier = expectation.clone().verifier();
            verifier.update(body);
            verifier.finish(trailers)
        };
        let verified = finish(BODY, &trailers(algorithm, value)).unwrap();
        assert_eq!(verified.checksum.unwrap().1.to_base64(), value);
        assert_eq!(
            finish(b"123456780", &trailers(algorithm, value)),
            Err(PayloadError::ChecksumMismatch(algorithm))
        );
        // Valid Base64, but too short for every algorithm.
        assert_eq!(
            finish(BODY, &trailers(algorithm, "AAAA")),
            Err(PayloadError::InvalidChecksum(
                algorithm.header_name(),
                algorithm
            ))
        );
        assert_eq!(
            finish(BODY, &Trailers::default()),
            Err(PayloadError::MissingTrailer(algorithm.header_name()))
        );
    }
}

#[test]
fn the_bodys_sha256_and_md5_are_verified() {
    let mode = body_sha256();
    assert!(verify(&[("content-md5", BODY_MD5)], &mode, BODY).is_ok());
    assert_eq!(
        verify(&[], &mode, b"123456780"),
        Err(PayloadError::ContentSha256Mismatch)
    );
    assert_eq!(
        verify(
            &[("content-md5", BODY_MD5)],
            &PayloadMode::Unsigned,
            b"123456780"
        ),
        Err(PayloadError::ContentMd5Mismatch)
    );
}

#[test]
fn a_body_of_another_length_than_announced_is_incomplete() {
    for body in [b"12345678".as_slice(), b"1234567890"] {
        assert_eq!(
            verify(&[("content-length", "9")], &PayloadMode::Unsigned, body),
            Err(PayloadError::Incomplete {
                announced: 9,
                received: body.len() as u64
            })
        );
    }
    assert!(verify(&[("content-length", "9")], &PayloadMode::Unsigned, BODY).is_ok());
}

#[test]
fn nothing_promised_is_nothing_hashed() {
    // These headers describe checksums without stating one.
    let pairs = [
        ("x-amz-checksum-mode", "ENABLED"),
        ("x-amz-checksum-type", "FULL_OBJECT"),
    ];
    let expectation =
        PayloadExpectation::from_headers(&headers(&pairs), &PayloadMode::Unsigned).unwrap();
    assert_eq!(expectation.decoded_length(), None);
    let verifier = expectation.verifier();
    assert!(verifier.sha256.is_none() && verifier.md5.is_none() && verifier.checksummer.is_none());
    let outcome = verifier.finish(&Trailers::default());
    assert_eq!(outcome, Ok(VerifiedPayload { checksum: None }));
}

#[test]
fn a_md5_that_is_none_is_an_invalid_digest() {
    for value in [
        "",
        "JfnnlDI7RTiF9RgfG2JNCw",
        "JfnnlDI7RTiF9RgfG2JN",
        "not base64!",
    ] {
        let error = refusal(&[("content-md5", value)], &PayloadMode::Unsigned);
        assert_eq!(error.s3_error().code, ErrorCode::InvalidDigest, "{value}");
    }
    let twice = [("content-md5", BODY_MD5), ("content-md5", BODY_MD5)];
    assert_eq!(
        refusal(&twice, &PayloadMode::Unsigned),
        PayloadError::InvalidContentMd5
    );
}

#[test]
fn headers_that_cannot_be_kept_are_refused_by_name() {
    let crc32 = ("x-amz-checksum-crc32", "y/Q5Jg==");
    for (pairs, code) in [
        (
            vec![("x-amz-checksum-crc32", "y/Q5Jg")],
            ErrorCode::InvalidRequest,
        ),
        // The value of a CRC-64 in the header of a CRC-32.
        (
            vec![("x-amz-checksum-crc32", "rosUhgp5mIg=")],
            ErrorCode::InvalidRequest,
        ),
        (vec![crc32, crc32], ErrorCode::InvalidRequest),
        (
            vec![crc32, ("x-amz-checksum-sha256", BODY_SHA256)],
            ErrorCode::InvalidRequest,
        ),
        (
            vec![("x-amz-checksum-xxhash32", "rosUhg==")],
            ErrorCode::NotImplemented,
        ),
        (
            vec![crc32, ("x-amz-sdk-checksum-algorithm", "SHA1")],
            ErrorCode::InvalidRequest,
        ),
        (
            vec![crc32, ("x-amz-sdk-checksum-algorithm", "SHA3")],
            ErrorCode::InvalidRequest,
        ),
        (
            vec![("x-amz-sdk-checksum-algorithm", "CRC32")],
            ErrorCode::InvalidRequest,
        ),
        (
            vec![("x-amz-trailer", "x-amz-checksum-crc32")],
            ErrorCode::MalformedTrailerError,
        ),
        (vec![("content-length", "+9")], ErrorCode::InvalidRequest),
        (vec![("content-length", "")], ErrorCode::InvalidRequest),
        (
            vec![("content-length", "9"), ("content-length", "9")],
            ErrorCode::InvalidRequest,
        ),
    ] {
        let error = refusal(&pairs, &PayloadMode::Unsigned);
        assert_eq!(error.s3_error().code, code, "{pairs:?}");
    }
}

#[test]
fn chunked_bodies_need_a_length_and_one_checksum_trailer_at_most() {
    let length = ("x-amz-decoded-content-length", "9");
    let mode = PayloadMode::SignedChunksTrailer;
    for (pairs, code) in [
        (
            vec![("content-length", "9")],
            ErrorCode::MissingContentLength,
        ),
        (
            vec![("x-amz-decoded-content-length", "-9")],
            ErrorCode::InvalidRequest,
        ),
        (
            vec![length, ("x-amz-trailer", "x-amz-meta-a")],
            ErrorCode::InvalidRequest,
        ),
        (
            vec![length, ("x-amz-trailer", "")],
            ErrorCode::InvalidRequest,
        ),
        (
            vec![
                length,
                ("x-amz-trailer", "x-amz-checksum-crc32, x-amz-checksum-sha1"),
            ],
            ErrorCode::InvalidRequest,
        ),
        (
            vec![
                length,
                ("x-amz-trailer", "x-amz-checksum-crc32"),
                ("x-amz-checksum-crc32", "y/Q5Jg=="),
            ],
            ErrorCode::InvalidRequest,
        ),
    ] {
        assert_eq!(refusal(&pairs, &mode).s3_error().code, code, "{pairs:?}");
    }
    let trailer = [length, ("x-amz-trailer", "x-amz-checksum-crc32")];
    assert_eq!(
        refusal(&trailer, &PayloadMode::SignedChunks),
        PayloadError::TrailerWithoutChunks
    );
}

#[test]
fn checksums_of_something_else_than_the_body_can_be_left_alone() {
    let headers = headers(&[
        ("x-amz-checksum-crc32", "AAAAAA=="),
        ("content-md5", BODY_MD5),
    ]);
    let expectation = PayloadExpectation::without_checksum(&headers, &body_sha256()).unwrap();
    assert_eq!(expectation.known_checksum(), None);
    let mut verifier = expectation.verifier();
    verifier.update(BODY);
    let outcome = verifier.finish(&Trailers::default());
    assert_eq!(outcome, Ok(VerifiedPayload { checksum: None }));
}

#[test]
fn broken_promises_have_their_codes() {
    for (error, code) in [
        (
            PayloadError::ContentSha256Mismatch,
            ErrorCode::XAmzContentSHA256Mismatch,
        ),
        (PayloadError::ContentMd5Mismatch, ErrorCode::BadDigest),
        (
            PayloadError::ChecksumMismatch(ChecksumAlgorithm::Sha1),
            ErrorCode::BadDigest,
        ),
        (
            PayloadError::Incomplete {
                announced: 2,
                received: 1,
            },
            ErrorCode::IncompleteBody,
        ),
    ] {
        assert_eq!(error.s3_error().code, code);
    }
}
