//! Wycheproof's vectors of Cobblestone-256 and AES-256-GCM. Those of AES-KWP are in `dek`.

use aws_lc_rs::{
    aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey},
    digest::{SHA512, digest},
};
use wycheproof::{TestResult, aead, chunked_encryption};

use crate::{
    dek::{DEK_BYTES, Dek},
    message::{self, Salt},
};

/// The ciphertexts of this set are compressed.
fn inflated(compressed: &[u8]) -> Vec<u8> {
    miniz_oxide::inflate::decompress_to_vec_zlib(compressed).unwrap()
}

#[test]
fn cobblestone_256_opens_what_is_valid_and_refuses_the_rest() {
    let name = chunked_encryption::TestName::Cobblestone256;
    let set = chunked_encryption::TestSet::load(name).unwrap();
    let (mut valid, mut refused) = (0, 0);
    for test in set.test_groups.iter().flat_map(|group| &group.tests) {
        // A key of another length cannot become a `Dek` in the first place.
        if test.key.len() != DEK_BYTES {
            assert_eq!(test.result, TestResult::Invalid);
            continue;
        }
        let (dek, sealed) = (Dek::from_bytes(&test.key), inflated(&test.ct));
        let opened = message::open(&dek, &test.ctx, &sealed);
        match test.result {
            TestResult::Valid => {
                let opened = opened.unwrap();
                assert_eq!(Some(opened.len()), test.msg_length, "{}", test.tc_id);
                let known = test.msg_sha512.as_ref().unwrap();
                assert_eq!(
                    digest(&SHA512, &opened).as_ref(),
                    &known[..],
                    "{}",
                    test.tc_id
                );
                // Sealing again under the same salt must give the known bytes.
                let salt = Salt::fixed(&sealed[..message::SALT_BYTES]);
                assert!(message::seal_with(&dek, &salt, &test.ctx, &opened) == sealed);
                valid += 1;
            }
            TestResult::Invalid => {
                assert!(opened.is_err(), "{}", test.tc_id);
                refused += 1;
            }
            TestResult::Acceptable => panic!("the set has no such case"),
        }
    }
    assert!(valid >= 10 && refused >= 20, "{valid} {refused}");
}

#[test]
fn aes_256_gcm_opens_what_is_valid_and_refuses_the_rest() {
    let set = aead::TestSet::load(aead::TestName::AesGcm).unwrap();
    let ours = |group: &&aead::TestGroup| group.key_size == 256 && group.nonce_size == 96;
    let (mut valid, mut refused) = (0, 0);
    for test in set
        .test_groups
        .iter()
        .filter(ours)
        .flat_map(|group| &group.tests)
    {
        let key = LessSafeKey::new(UnboundKey::new(&AES_256_GCM, &test.key).unwrap());
        let nonce = Nonce::try_assume_unique_for_key(&test.nonce).unwrap();
        let mut opened = vec![0; test.ct.len()];
        let aad = Aad::from(&test.aad[..]);
        let result = key.open_separate_gather(nonce, aad, &test.ct, &test.tag, &mut opened);
        match test.result {
            TestResult::Valid => {
                assert!(result.is_ok() && opened == test.pt[..], "{}", test.tc_id);
                valid += 1;
            }
            TestResult::Invalid => {
                assert!(result.is_err(), "{}", test.tc_id);
                refused += 1;
            }
            TestResult::Acceptable => panic!("the set has no such case"),
        }
    }
    assert!(valid > 20 && refused > 5, "{valid} {refused}");
}
