//! Entry points for fuzz targets: interpretation of key services' responses. Not in the program.

use http::StatusCode;
use zeroize::Zeroizing;

use super::aws_kms::error;
use super::http::HttpResponse;
use super::key_service::ServiceError;
use super::vault::response::{self, VaultOperation};
use super::{constellation, vault};

/// Returns the ciphertext in Vault's response to an encryption.
pub(crate) fn vault_encrypted(status: StatusCode, body: &[u8]) -> Result<Vec<u8>, ServiceError> {
    judged(VaultOperation::Encrypt, status, body).and_then(|()| vault::parse_ciphertext(body))
}

/// Returns the length of the KEK in Vault's response to a decryption.
pub(crate) fn vault_decrypted(status: StatusCode, body: &[u8]) -> Result<usize, ServiceError> {
    judged(VaultOperation::Decrypt, status, body)?;
    Ok(vault::parse_kek(body)?.as_bytes().len())
}

/// Returns whether Vault's response to a login, a token look-up or a renewal grants a token.
pub(crate) fn vault_login(status: StatusCode, body: &[u8]) -> Result<bool, ServiceError> {
    judged(VaultOperation::Token, status, body)?;
    judged(VaultOperation::Login, status, body)?;
    Ok(vault::login::grants(body))
}

/// Returns the length of the key in a response of Constellation's service.
pub(crate) fn constellation_key(message: &[u8]) -> Option<usize> {
    constellation::key_length(message)
}

/// Returns whether the id in an envelope would be passed on to Constellation's service.
pub(crate) fn constellation_asks(ciphertext: &[u8]) -> bool {
    constellation::id_of(ciphertext).is_some()
}

/// Returns the advice about an error of AWS KMS.
pub(crate) fn kms_advice(code: &str, status: u16) -> &'static str {
    error::classify_response(code, status).1
}

fn judged(operation: VaultOperation, status: StatusCode, body: &[u8]) -> Result<(), ServiceError> {
    let body = Zeroizing::new(body.to_vec());
    response::check(operation, &HttpResponse { status, body })
}
