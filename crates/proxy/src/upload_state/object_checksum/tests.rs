use http::HeaderValue;
use s3proxy_envelope::layout::PlaintextLength;
use s3proxy_envelope::multipart::{Frame, PartNumber, PartTag};
use s3proxy_envelope::names::{BucketStr, KeyStr, UploadIdStr};
use s3proxy_protocol::checksum::Checksummer;
use s3proxy_protocol::etag::ETag;

use crate::upload_state::object_checksum::*;
use crate::upload_state::part::Shelf;

fn checksum(algorithm: ChecksumAlgorithm, content: &[u8]) -> ChecksumValue {
    let mut checksummer = Checksummer::new(algorithm);
    checksummer.update(content);
    checksummer.finish()
}

fn part(number: u16, length: u64, checksum: Option<ChecksumValue>) -> Selected {
    let number = PartNumber::new(number).unwrap();
    Selected {
        frame: Frame::new(number, PlaintextLength(length)).unwrap(),
        etag: ETag::parse("e"),
        shelf: Shelf::Upload,
        tag: PartTag::Listed,
        checksum,
    }
}

fn upload(algorithm: ChecksumAlgorithm, kind: ChecksumType) -> UploadChecksum {
    UploadChecksum { algorithm, kind }
}

const CONTENT: [&[u8]; 3] = [b"one", b"", b"three!"];

fn parts(algorithm: ChecksumAlgorithm) -> Vec<Selected> {
    let pieces = CONTENT.iter().zip(1..);
    pieces
        .map(|(piece, number)| part(number, piece.len() as u64, Some(checksum(algorithm, piece))))
        .collect()
}

#[test]
fn a_full_object_checksum_is_that_of_all_the_content() {
    for algorithm in [
        ChecksumAlgorithm::Crc32,
        ChecksumAlgorithm::Crc32c,
        ChecksumAlgorithm::Crc64Nvme,
    ] {
        let upload = Some(upload(algorithm, ChecksumType::FullObject));
        let expected = checksum(algorithm, &CONTENT.concat());
        let verdict = judge(upload, None, &parts(algorithm)).unwrap();
        let whole = verdict.whole.unwrap();
        assert_eq!(whole.value, expected, "{algorithm}");
        assert_eq!(whole.text(3), expected.to_base64());
        assert!(judge(upload, Some((algorithm, expected)), &parts(algorithm)).is_ok());
        let wrong = checksum(algorithm, b"other");
        let refused = judge(upload, Some((algorithm, wrong)), &parts(algorithm)).unwrap_err();
        assert_eq!(refused.code, ErrorCode::BadDigest);
    }
}

#[test]
fn a_composite_checksum_is_that_of_the_parts_and_says_how_many() {
    for algorithm in ChecksumAlgorithm::ALL {
        if !ChecksumType::Composite.is_valid_for(algorithm) {
            continue;
        }
        let raw: Vec<u8> = CONTENT
            .iter()
            .flat_map(|piece| checksum(algorithm, piece).as_bytes().to_vec())
            .collect();
        let upload = Some(upload(algorithm, ChecksumType::Composite));
        let whole = judge(upload, None, &parts(algorithm))
            .unwrap()
            .whole
            .unwrap();
        let expected = checksum(algorithm, &raw).to_base64();
        assert_eq!(whole.text(3), format!("{expected}-3"));
    }
}

#[test]
fn with_a_part_unknown_the_clients_own_word_is_kept_and_no_parts_checksum() {
    let algorithm = ChecksumAlgorithm::Crc32;
    let mut parts = parts(algorithm);
    parts[1].checksum = None;
    let stated = checksum(algorithm, b"whatever");
    let upload = Some(upload(algorithm, ChecksumType::FullObject));
    let verdict = judge(upload, Some((algorithm, stated.clone())), &parts).unwrap();
    let fields = verdict.seal_fields(UploadHash::new(
        BucketStr("b"),
        KeyStr("k"),
        UploadIdStr("u"),
    ));
    assert_eq!(fields.checksums["CRC32"], stated.as_bytes());
    assert_eq!(fields.checksum_type.as_deref(), Some("FULL_OBJECT"));
    assert_eq!(fields.part_checksum, None);
    assert!(verdict.sealed_part(&parts[0]).checksum.is_empty());
    assert_eq!(judge(upload, None, &parts).unwrap().whole, None);
}

#[test]
fn the_seal_has_every_parts_checksum_or_none() {
    let algorithm = ChecksumAlgorithm::Sha256;
    let parts = parts(algorithm);
    let verdict = judge(
        Some(upload(algorithm, ChecksumType::Composite)),
        None,
        &parts,
    )
    .unwrap();
    let fields = verdict.seal_fields(UploadHash::new(
        BucketStr("b"),
        KeyStr("k"),
        UploadIdStr("u"),
    ));
    assert_eq!(
        fields.part_checksum,
        Some(multipart::ChecksumAlgorithm::Sha256)
    );
    assert!(
        parts
            .iter()
            .all(|part| verdict.sealed_part(part).checksum.len() == 32)
    );
}

/// An older version refuses a seal whose parts have checksums of an algorithm that it does not know.
#[test]
fn of_algorithms_that_seals_have_no_room_for_the_whole_is_kept_alone() {
    for algorithm in [
        ChecksumAlgorithm::Sha512,
        ChecksumAlgorithm::Md5,
        ChecksumAlgorithm::XxHash64,
        ChecksumAlgorithm::XxHash3,
        ChecksumAlgorithm::XxHash128,
    ] {
        let parts = parts(algorithm);
        let upload = Some(upload(algorithm, ChecksumType::Composite));
        let verdict = judge(upload, None, &parts).unwrap();
        let fields = verdict.seal_fields(UploadHash::new(
            BucketStr("b"),
            KeyStr("k"),
            UploadIdStr("u"),
        ));
        assert_eq!(fields.part_checksum, None, "{algorithm}");
        let expected = composite(
            algorithm,
            parts.iter().filter_map(|part| part.checksum.as_ref()),
        );
        assert_eq!(fields.checksums[algorithm.as_str()], expected.as_bytes());
        assert!(verdict.sealed_part(&parts[0]).checksum.is_empty());
    }
}

#[test]
fn an_upload_without_algorithm_keeps_what_the_client_says_of_a_crc() {
    let crc = ChecksumAlgorithm::Crc64Nvme;
    let stated = checksum(crc, b"whole");
    let verdict = judge(None, Some((crc, stated.clone())), &parts(crc)).unwrap();
    assert_eq!(verdict.whole.unwrap().value, stated);
    assert_eq!(judge(None, None, &parts(crc)).unwrap().whole, None);
    let sha = ChecksumAlgorithm::Sha1;
    assert!(judge(None, Some((sha, checksum(sha, b"whole"))), &parts(crc)).is_err());
}

#[test]
fn a_checksum_of_another_algorithm_than_the_uploads_is_refused() {
    let upload = Some(upload(ChecksumAlgorithm::Crc32, ChecksumType::FullObject));
    let other = ChecksumAlgorithm::Crc32c;
    let refused = judge(
        upload,
        Some((other, checksum(other, b"x"))),
        &parts(ChecksumAlgorithm::Crc32),
    );
    assert_eq!(refused.unwrap_err().code, ErrorCode::InvalidRequest);
}

#[test]
fn headers_state_at_most_one_checksum_with_or_without_the_number_of_parts() {
    let value = checksum(ChecksumAlgorithm::Crc32, b"x");
    let base64 = value.to_base64();
    for text in [base64.clone(), format!("{base64}-12")] {
        let mut headers = HeaderMap::new();
        let text = HeaderValue::try_from(text).unwrap();
        headers.insert("x-amz-checksum-crc32", text.clone());
        let found = stated(&headers).unwrap().unwrap();
        assert_eq!(found, (ChecksumAlgorithm::Crc32, value.clone()));
        headers.insert("x-amz-checksum-crc32c", text);
        assert!(stated(&headers).is_err());
    }
    let mut headers = HeaderMap::new();
    headers.insert(
        "x-amz-checksum-crc32",
        HeaderValue::from_static("no base64"),
    );
    assert!(stated(&headers).is_err());
    assert_eq!(stated(&HeaderMap::new()), Ok(None));
}
