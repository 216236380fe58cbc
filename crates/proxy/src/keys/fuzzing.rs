//! Entries for fuzz targets: what answers of key services mean. Not in the program.

use http::StatusCode;
use zeroize::Zeroizing;

use super::aws_kms::fault;
use super::http::Answer;
use super::key_service::ServiceError;
use super::vault::answer::{self, Asked};
use super::{constellation, vault};

/// The ciphertext that Vault's answer to an encryption gives.
pub(crate) fn vault_encrypted(status: StatusCode, body: &[u8]) -> Result<Vec<u8>, ServiceError> {
    judged(Asked::Encrypt, status, body).and_then(|()| vault::encrypted(body))
}

/// The length of the KEK that Vault's answer to a decryption gives.
pub(crate) fn vault_decrypted(status: StatusCode, body: &[u8]) -> Result<usize, ServiceError> {
    judged(Asked::Decrypt, status, body)?;
    Ok(vault::decrypted(body)?.as_bytes().len())
}

/// Whether Vault's answer to a login, a look at the token or its renewal grants something.
pub(crate) fn vault_login(status: StatusCode, body: &[u8]) -> Result<bool, ServiceError> {
    judged(Asked::Token, status, body)?;
    judged(Asked::Login, status, body)?;
    Ok(vault::login::grants(body))
}

/// The length of the key in an answer of Constellation's service.
pub(crate) fn constellation_key(message: &[u8]) -> Option<usize> {
    constellation::key_length(message)
}

/// Whether Constellation's service would be asked for the id that an envelope carries.
pub(crate) fn constellation_asks(ciphertext: &[u8]) -> bool {
    constellation::id_of(ciphertext).is_some()
}

/// Advice about an error of AWS KMS.
pub(crate) fn kms_advice(code: &str, status: u16) -> &'static str {
    fault::of_answer(code, status).1
}

fn judged(asked: Asked, status: StatusCode, body: &[u8]) -> Result<(), ServiceError> {
    let body = Zeroizing::new(body.to_vec());
    answer::judge(asked, &Answer { status, body })
}
