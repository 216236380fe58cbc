use s3proxy_envelope::layout::message_length;
use s3proxy_envelope::message::MessageHead;

use crate::upload_state::selection::*;

const LEAST: u64 = PADDED_FROM.0;
const CRC: [u8; 4] = [1, 2, 3, 4];

fn number(number: u16) -> PartNumber {
    PartNumber::new(number).unwrap()
}

fn present(at: u16, etag: &str, length: u64, shelf: Shelf) -> Present {
    Present {
        number: number(at),
        etag: ETag::parse(etag),
        size: message_length(PlaintextLength(length)),
        shelf,
    }
}

fn marked(etag: &str, checksum: Option<&[u8]>) -> String {
    let head = MessageHead::from_slice(&[7; 56]).unwrap();
    PartEtag::marked(etag, &head, checksum).encode()
}

fn named(parts: &[(u16, String)]) -> CompleteRequest {
    let parts = parts.iter().map(|(number, etag)| CompletedPart {
        number: *number,
        etag: etag.clone(),
        checksum: None,
    });
    CompleteRequest {
        parts: parts.collect(),
    }
}

fn with_checksum(etag: String, algorithm: ChecksumAlgorithm, raw: &[u8]) -> CompleteRequest {
    let value = ChecksumValue::from_bytes(algorithm, raw).unwrap();
    let mut request = named(&[(1, etag)]);
    request.parts[0].checksum = Some((algorithm, value));
    request
}

fn upload(algorithm: ChecksumAlgorithm, kind: ChecksumType) -> UploadChecksum {
    UploadChecksum { algorithm, kind }
}

#[test]
fn parts_are_found_by_number_and_etag_on_either_shelf() {
    let stored = [
        present(1, "a", LEAST, Shelf::Upload),
        present(2, "b", LEAST, Shelf::Upload),
        present(2, "c", 10, Shelf::Staged),
    ];
    for (etag, shelf, length) in [("b", Shelf::Upload, LEAST), ("c", Shelf::Staged, 10)] {
        let request = named(&[(1, marked("a", None)), (2, format!("{etag}-0"))]);
        assert!(all_present(&request, &stored));
        let selected = select(&request, &stored, None).unwrap();
        let last = &selected[1];
        assert_eq!((last.etag.as_str(), last.shelf), (etag, shelf));
        assert_eq!(last.frame.length().0, length);
        assert_eq!(last.tag, PartTag::Listed);
    }
}

#[test]
fn a_part_listed_twice_is_the_one_that_the_client_names() {
    let stored = [
        present(1, "old", LEAST, Shelf::Upload),
        present(1, "new", LEAST + 1, Shelf::Upload),
    ];
    let selected = select(&named(&[(1, marked("new", None))]), &stored, None).unwrap();
    assert_eq!(selected[0].frame.length().0, LEAST + 1);
}

#[test]
fn what_is_not_there_is_an_invalid_part() {
    let mut stored = vec![present(1, "a", LEAST, Shelf::Upload)];
    stored.push(Present {
        size: 71,
        ..present(2, "no-message-is-so-short", 0, Shelf::Staged)
    });
    for part in [
        (2, marked("a", None)),
        (1, marked("b", None)),
        (1, "a".to_owned()),
        (1, "a-1".to_owned()),
        (2, marked("no-message-is-so-short", None)),
    ] {
        let refused = select(&named(&[part]), &stored, None);
        assert!(matches!(refused, Err(SelectionError::Missing { .. })));
    }
}

#[test]
fn numbers_must_ascend() {
    let stored = [
        present(1, "a", LEAST, Shelf::Upload),
        present(2, "b", LEAST, Shelf::Upload),
    ];
    let [one, two] = [(1, "a-0".to_owned()), (2, "b-0".to_owned())];
    for order in [vec![two, one.clone()], vec![one.clone(), one]] {
        let refused = select(&named(&order), &stored, None);
        assert_eq!(refused, Err(SelectionError::Order));
    }
}

#[test]
fn only_the_last_part_may_be_short_in_plaintext() {
    let stored = [
        present(1, "a", LEAST - 1, Shelf::Staged),
        present(2, "b", LEAST, Shelf::Upload),
        present(3, "c", 0, Shelf::Staged),
    ];
    let [one, two, three] = ["a-0", "b-0", "c-0"].map(str::to_owned);
    assert!(select(&named(&[(2, two.clone()), (3, three)]), &stored, None).is_ok());
    assert!(select(&named(&[(1, one.clone())]), &stored, None).is_ok());
    assert_eq!(
        select(&named(&[(1, one.clone()), (2, two)]), &stored, None),
        Err(SelectionError::TooSmall {
            number: 1,
            etag: one,
            size: LEAST - 1
        })
    );
}

#[test]
fn a_checksum_that_is_named_must_agree_with_what_the_etag_carries() {
    let stored = [present(1, "a", LEAST, Shelf::Upload)];
    let crc32 = ChecksumAlgorithm::Crc32;
    let composite = Some(upload(crc32, ChecksumType::Composite));
    let good = with_checksum(marked("a", Some(&CRC)), crc32, &CRC);
    let selected = select(&good, &stored, composite).unwrap();
    assert_eq!(selected[0].checksum.as_ref().unwrap().as_bytes(), CRC);

    let other = with_checksum(marked("a", Some(&CRC)), crc32, &[1, 2, 3, 5]);
    let algorithm = with_checksum(marked("a", Some(&CRC)), ChecksumAlgorithm::Crc32c, &CRC);
    for (request, upload) in [(&other, composite), (&other, None), (&algorithm, composite)] {
        let refused = select(request, &stored, upload);
        assert!(matches!(refused, Err(SelectionError::Missing { .. })));
    }
}

#[test]
fn a_crc_32_is_known_from_the_etag_alone_and_longer_ones_are_not() {
    let stored = [present(1, "a", LEAST, Shelf::Upload)];
    let request = named(&[(1, marked("a", Some(&CRC)))]);
    for (algorithm, kind, known) in [
        (ChecksumAlgorithm::Crc32, ChecksumType::Composite, true),
        (ChecksumAlgorithm::Crc32c, ChecksumType::FullObject, true),
        (
            ChecksumAlgorithm::Crc64Nvme,
            ChecksumType::FullObject,
            false,
        ),
    ] {
        let selected = select(&request, &stored, Some(upload(algorithm, kind))).unwrap();
        assert_eq!(selected[0].checksum.is_some(), known, "{algorithm}");
    }
}

#[test]
fn a_composite_upload_needs_every_checksum_but_those_of_listed_parts() {
    let stored = [present(1, "a", LEAST, Shelf::Upload)];
    let sha = Some(upload(ChecksumAlgorithm::Sha256, ChecksumType::Composite));
    let refused = select(&named(&[(1, marked("a", Some(&CRC)))]), &stored, sha);
    assert_eq!(
        refused,
        Err(SelectionError::NoChecksum {
            number: 1,
            algorithm: ChecksumAlgorithm::Sha256
        })
    );
    let selected = select(&named(&[(1, "a-0".to_owned())]), &stored, sha).unwrap();
    assert_eq!(selected[0].checksum, None);
}

#[test]
fn the_checksum_of_an_empty_part_is_known() {
    let stored = [present(1, "a", 0, Shelf::Staged)];
    let crc = Some(upload(ChecksumAlgorithm::Crc32, ChecksumType::Composite));
    let selected = select(&named(&[(1, marked("a", Some(&[0; 4])))]), &stored, crc).unwrap();
    assert_eq!(selected[0].checksum.as_ref().unwrap().as_bytes(), [0; 4]);
}
