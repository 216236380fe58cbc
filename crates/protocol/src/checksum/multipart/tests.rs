use proptest::prelude::*;

use super::*;

const CRCS: [ChecksumAlgorithm; 3] = [
    ChecksumAlgorithm::Crc32,
    ChecksumAlgorithm::Crc32c,
    ChecksumAlgorithm::Crc64Nvme,
];

fn checksum(algorithm: ChecksumAlgorithm, content: &[u8]) -> ChecksumValue {
    let mut checksummer = Checksummer::new(algorithm);
    checksummer.update(content);
    checksummer.finish()
}

fn combined(algorithm: ChecksumAlgorithm, parts: &[Vec<u8>]) -> Option<ChecksumValue> {
    let values: Vec<_> = parts
        .iter()
        .map(|part| (checksum(algorithm, part), part.len() as u64))
        .collect();
    combine_crc(
        algorithm,
        values.iter().map(|(value, length)| (value, *length)),
    )
}

proptest! {
    #[test]
    fn combined_crcs_are_those_of_the_concatenation(parts in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..300), 0..8)) {
        for algorithm in CRCS {
            let whole = checksum(algorithm, &parts.concat());
            prop_assert_eq!(combined(algorithm, &parts), Some(whole), "{}", algorithm);
        }
    }

    #[test]
    fn a_combined_crc_depends_on_the_order_of_the_parts(one in "[a-m]{1,50}", other in "[n-z]{1,50}") {
        for algorithm in CRCS {
            let there = combined(algorithm, &[one.clone().into_bytes(), other.clone().into_bytes()]);
            let back = combined(algorithm, &[other.clone().into_bytes(), one.clone().into_bytes()]);
            prop_assert_ne!(there, back);
        }
    }
}

proptest! {
    /// Compares with another implementation, for lengths beyond 32 bits too, whose content no test
    /// can hold.
    #[test]
    fn combining_agrees_with_another_implementation_for_any_length(one in any::<u32>(), other in any::<u32>(), length in any::<u64>()) {
        for (algorithm, known) in [
            (ChecksumAlgorithm::Crc32, crc_fast::CrcAlgorithm::Crc32IsoHdlc),
            (ChecksumAlgorithm::Crc32c, crc_fast::CrcAlgorithm::Crc32Iscsi),
            (ChecksumAlgorithm::Crc64Nvme, crc_fast::CrcAlgorithm::Crc64Nvme),
        ] {
            // For the 64-bit CRC, the upper half is the complement of the lower half.
            let widen = |crc: u32| match algorithm.length() {
                8 => u64::from(!crc) << 32 | u64::from(crc),
                _ => u64::from(crc),
            };
            let value = |crc: u64| {
                ChecksumValue::from_bytes(algorithm, &crc.to_be_bytes()[8 - algorithm.length()..]).unwrap()
            };
            let (one, other) = (widen(one), widen(other));
            let expected = value(crc_fast::checksum_combine(known, one, other, length));
            let values = [(&value(one), 3), (&value(other), length)];
            prop_assert_eq!(combine_crc(algorithm, values.into_iter()), Some(expected), "{}", algorithm);
        }
    }
}

#[test]
fn no_parts_have_the_checksum_of_nothing() {
    for algorithm in CRCS {
        assert_eq!(combined(algorithm, &[]), Some(checksum(algorithm, b"")));
    }
}

#[test]
fn what_is_not_a_crc_of_the_algorithm_is_not_combined() {
    for algorithm in [ChecksumAlgorithm::Sha1, ChecksumAlgorithm::Sha256] {
        assert_eq!(combined(algorithm, &[b"a".to_vec()]), None);
        assert_eq!(combined(algorithm, &[]), None);
    }
    let value = checksum(ChecksumAlgorithm::Crc64Nvme, b"a");
    let parts = [(&value, 1)];
    assert_eq!(
        combine_crc(ChecksumAlgorithm::Crc32, parts.into_iter()),
        None
    );
}

/// What Python's zlib and hashlib, a CRC by table and the AWS Common Runtime compute of the raw
/// checksums of "hello ", "world" and nothing, one after the other.
#[test]
fn composite_checksums_are_those_of_the_raw_checksums() {
    for (algorithm, expected) in [
        (ChecksumAlgorithm::Crc32, "+C5hwg=="),
        (ChecksumAlgorithm::Crc32c, "7TboKQ=="),
        (ChecksumAlgorithm::Crc64Nvme, "MLaDmnefW7Y="),
        (ChecksumAlgorithm::Sha1, "/dy3/wA4/oNr2ASPVhV5iu25akw="),
        (
            ChecksumAlgorithm::Sha256,
            "eJNhz9TszLU/kCxEccim3DdnR0YYCfhWFgEhd6vyC+o=",
        ),
        (
            ChecksumAlgorithm::Sha512,
            "4iEopF72g61KqO/jD3sylI13UiXDyfTN/W8ASr5CBcDI\
             C2W092cpJtoPqUZ6R9WH9sAkqxxYtylVVIMkbcV/7A==",
        ),
        (ChecksumAlgorithm::Md5, "z7FqIYKvXdUwe7Q5khm97Q=="),
        (ChecksumAlgorithm::XxHash64, "XskYieFyx6s="),
        (ChecksumAlgorithm::XxHash3, "9EvCS4ke0HQ="),
        (ChecksumAlgorithm::XxHash128, "8+zuTkE/nf9O0/1srKvXYw=="),
    ] {
        let parts = ["hello ", "world", ""].map(|part| checksum(algorithm, part.as_bytes()));
        let value = composite(algorithm, parts.iter());
        assert_eq!(value.to_base64(), expected, "{algorithm}");
    }
}

#[test]
fn types_lead_back_from_their_names() {
    for known in [ChecksumType::FullObject, ChecksumType::Composite] {
        assert_eq!(ChecksumType::parse(known.as_str()), Some(known));
        assert_eq!(
            ChecksumType::parse(&known.as_str().to_lowercase()),
            Some(known)
        );
    }
    assert_eq!(ChecksumType::parse("FULL"), None);
    assert_eq!(ChecksumType::parse(""), None);
}

/// Table from the S3 User Guide, "Checking object integrity".
#[test]
fn types_are_valid_as_s3_has_them() {
    use ChecksumType::{Composite, FullObject};
    for (algorithm, valid, default) in [
        (
            ChecksumAlgorithm::Crc32,
            &[FullObject, Composite][..],
            Composite,
        ),
        (
            ChecksumAlgorithm::Crc32c,
            &[FullObject, Composite],
            Composite,
        ),
        (ChecksumAlgorithm::Crc64Nvme, &[FullObject], FullObject),
        (ChecksumAlgorithm::Sha1, &[Composite], Composite),
        (ChecksumAlgorithm::Sha256, &[Composite], Composite),
        (ChecksumAlgorithm::Sha512, &[Composite], Composite),
        (ChecksumAlgorithm::Md5, &[Composite], Composite),
        (ChecksumAlgorithm::XxHash64, &[Composite], Composite),
        (ChecksumAlgorithm::XxHash3, &[Composite], Composite),
        (ChecksumAlgorithm::XxHash128, &[Composite], Composite),
    ] {
        for known in [FullObject, Composite] {
            assert_eq!(
                known.is_valid_for(algorithm),
                valid.contains(&known),
                "{known} {algorithm}"
            );
        }
        assert_eq!(ChecksumType::default_for(algorithm), default, "{algorithm}");
    }
}
