//! HashiCorp Vault and OpenBao: a key of the Transit engine.
//!
//! A KEK is generated here and encrypted there. The ciphertext in envelopes is the service's own
//! text, `vault:v<version>:<base64>`. It names the key's version, so a key that is rotated at the
//! service still opens ciphertexts of its older versions, until `min_decryption_version` excludes
//! them, and new KEKs are under the newest. Text of any other form is not passed on.
//!
//! The login needs the policy `update` on `<mount>/encrypt/<key>` and `<mount>/decrypt/<key>`,
//! nothing else. With `create` on the former, Transit would make a missing key.
//!
//! Keys of RSA types are refused, though Transit encrypts with them: everyone with the public half
//! could make up a KEK, and with it objects that the proxy would accept as its own. Their
//! ciphertexts are recognised by length.
//!
//! If the settings ask for it, KEKs are bound to this use by associated data, which AEAD keys
//! authenticate. A server that is too old ignores it, so the first KEK is test-decrypted without it
//! before use.
//!
//! Absent: making keys, `rewrap` at the service (`s3proxy rewrap` asks for a new KEK), derived
//! keys, and redirects: a standby node that does not forward requests is the wrong address.

mod lease;
pub(super) mod login;
pub(super) mod response;
mod server;

use std::borrow::Cow;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use futures_util::future::BoxFuture;
use http::StatusCode;
use http::uri::PathAndQuery;
use s3proxy_envelope::kek::Kek;
use serde::Deserialize;
use zeroize::Zeroizing;

use super::key_service::{KeyService, NewKek, ServiceError};
use crate::config::resolved::{AssociatedData, VaultKey};
use crate::telemetry::metrics::ServiceKind;

use self::login::{LeaseKeeper, LoginSession};
use self::response::VaultOperation;
use self::server::VaultServer;

/// Longest ciphertext in bytes. FORMAT, "Envelope": a service's ciphertext has 1 to 1024 bytes.
const MOST_CIPHERTEXT_BYTES: usize = 1024;

/// Frozen: KEKs at services were encrypted with it.
const ASSOCIATED_DATA: &[u8] = b"s3proxy/v1/kek";

/// Least length of an RSA ciphertext. A KEK with the nonce and tag of a symmetric key takes 72
/// bytes at most.
const LEAST_RSA_BYTES: usize = 256;

/// Why the settings make no client.
#[derive(Debug, thiserror::Error)]
pub(crate) enum VaultError {
    /// The certificates of authorities cannot be read.
    #[error("Vault at {address}: {reason}")]
    Client {
        /// Configured address.
        address: String,
        /// Reason from the client library.
        reason: String,
    },
    /// A mount, key or namespace has characters that a request cannot carry.
    #[error("Vault: invalid {what} {value:?}; set it as `vault` shows it")]
    Name {
        /// Name of the setting.
        what: &'static str,
        /// Value of the setting.
        value: String,
    },
}

/// Client of a key of the Transit engine.
pub(crate) struct Vault {
    name: String,
    server: Arc<VaultServer>,
    session: Arc<LoginSession>,
    encrypt: PathAndQuery,
    decrypt: PathAndQuery,
    associated_data: AssociatedData,
    /// Whether the server was seen to refuse a ciphertext without its associated data.
    is_bound: AtomicBool,
    timeout: Duration,
    _keeper: LeaseKeeper,
}

impl Vault {
    /// Builds the client; reads certificates and makes no request. Must run inside the runtime,
    /// since a background task keeps the login alive.
    pub(crate) fn connect(config: &VaultKey, timeout: Duration) -> Result<Self, VaultError> {
        let server = Arc::new(VaultServer::new(config)?);
        let session = Arc::new(LoginSession::new(Arc::clone(&server), &config.login)?);
        Ok(Self {
            name: format!("vault:{}/{}", config.mount, config.key),
            encrypt: server::path(&[&config.mount, "encrypt", &config.key], "mount or key")?,
            decrypt: server::path(&[&config.mount, "decrypt", &config.key], "mount or key")?,
            associated_data: config.associated_data,
            is_bound: AtomicBool::new(false),
            _keeper: LeaseKeeper::start(Arc::clone(&session), timeout),
            server,
            session,
            timeout,
        })
    }

    /// Sends a request that uses the key. A refused token is replaced once, if there is a login for
    /// that.
    async fn ask(
        &self,
        operation: VaultOperation,
        path: &PathAndQuery,
        body: impl Fn() -> Zeroizing<Vec<u8>>,
    ) -> Result<Zeroizing<Vec<u8>>, ServiceError> {
        let token = self.session.token().await?;
        let mut response = self.server.post(path, Some(&token), body()).await?;
        // Vault answers 403 to an expired token as well as to a missing permission, so one retry
        // with a fresh login decides.
        if response.status == StatusCode::FORBIDDEN
            && let Some(another) = self.session.replace(&token).await?
        {
            response = self.server.post(path, Some(&another), body()).await?;
        }
        response::check(operation, &response).map(|()| response.body)
    }

    async fn encrypt_new(&self) -> Result<NewKek, ServiceError> {
        let kek = Kek::generate();
        let body = || {
            let plaintext = Zeroizing::new(STANDARD.encode(kek.as_bytes()));
            json_of_text("plaintext", plaintext.as_bytes(), self.associated_data)
        };
        let response = self
            .ask(VaultOperation::Encrypt, &self.encrypt, body)
            .await?;
        let ciphertext = parse_ciphertext(&response)?;
        match self.associated_data {
            // Only the first KEK is tested: the server's version does not change per request.
            AssociatedData::On if !self.is_bound.load(Ordering::Relaxed) => {
                self.require_binding(&ciphertext).await?;
                self.is_bound.store(true, Ordering::Relaxed);
            }
            AssociatedData::On | AssociatedData::Off => {}
        }
        Ok(NewKek { kek, ciphertext })
    }

    /// Refuses a server that opens a KEK without the associated data that it was encrypted with.
    async fn require_binding(&self, ciphertext: &[u8]) -> Result<(), ServiceError> {
        let body = || json_of_text("ciphertext", ciphertext, AssociatedData::Off);
        // The decryption must fail: this KEK was encrypted with associated data.
        match self.ask(VaultOperation::Decrypt, &self.decrypt, body).await {
            Err(ServiceError::Ciphertext(_)) => Ok(()),
            Err(error) => Err(error),
            Ok(_) => Err(ServiceError::Key(
                "the server ignores associated_data, which requires Vault 1.13 or OpenBao and a \
                 key of an AEAD type, such as aes256-gcm96; otherwise set \
                 associated_data = \"off\" for this key"
                    .to_owned(),
            )),
        }
    }

    async fn decrypt_kek(&self, ciphertext: &[u8]) -> Result<Kek, ServiceError> {
        let refused = match CiphertextKind::classify(ciphertext) {
            CiphertextKind::Symmetric => None,
            CiphertextKind::Asymmetric => Some(
                "it was made with an RSA key, whose public half anyone may have; it was not sent",
            ),
            CiphertextKind::Foreign => {
                Some("it does not have Transit's form, vault:v<version>:<base64>; it was not sent")
            }
        };
        if let Some(reason) = refused {
            return Err(ServiceError::Ciphertext(reason.to_owned()));
        }
        let body = || json_of_text("ciphertext", ciphertext, self.associated_data);
        let response = self
            .ask(VaultOperation::Decrypt, &self.decrypt, body)
            .await?;
        parse_kek(&response)
    }

    async fn within<T>(
        &self,
        what: &str,
        asking: impl Future<Output = Result<T, ServiceError>>,
    ) -> Result<T, ServiceError> {
        let limit = self.timeout;
        tokio::time::timeout(limit, asking)
            .await
            .unwrap_or_else(|_| {
                Err(ServiceError::Unavailable(format!(
                    "{}: {what} timed out after {limit:?}",
                    self.server.address
                )))
            })
    }
}

impl KeyService for Vault {
    fn name(&self) -> &str {
        &self.name
    }

    fn kind(&self) -> ServiceKind {
        ServiceKind::Vault
    }

    fn create(&self) -> BoxFuture<'_, Result<NewKek, ServiceError>> {
        Box::pin(self.within("encrypt", self.encrypt_new()))
    }

    fn open<'a>(&'a self, ciphertext: &'a [u8]) -> BoxFuture<'a, Result<Kek, ServiceError>> {
        Box::pin(self.within("decrypt", self.decrypt_kek(ciphertext)))
    }

    fn check(&self) -> BoxFuture<'_, Result<(), ServiceError>> {
        Box::pin(self.within("sys/health", self.server.health()))
    }
}

#[derive(Deserialize)]
struct VaultData<T> {
    data: T,
}

#[derive(Deserialize)]
struct EncryptData<'a> {
    #[serde(borrow)]
    ciphertext: Cow<'a, str>,
}

/// Decrypted KEK, borrowed from the response, which is wiped.
#[derive(Deserialize)]
struct DecryptData<'a> {
    #[serde(borrow)]
    plaintext: Cow<'a, str>,
}

/// Parses the ciphertext in the response to an encryption.
pub(super) fn parse_ciphertext(response: &[u8]) -> Result<Vec<u8>, ServiceError> {
    let ciphertext = serde_json::from_slice::<VaultData<EncryptData<'_>>>(response)
        .map(|response| response.data.ciphertext.into_owned().into_bytes())
        .map_err(|_| unexpected("encrypt", "no text data.ciphertext"))?;
    match CiphertextKind::classify(&ciphertext) {
        CiphertextKind::Symmetric => Ok(ciphertext),
        CiphertextKind::Asymmetric => Err(ServiceError::Key(
            "the Transit key is an RSA key, with which anyone who has its public half could seal \
             objects; configure a symmetric key, such as aes256-gcm96"
                .to_owned(),
        )),
        CiphertextKind::Foreign => {
            Err(unexpected("encrypt", "a ciphertext that is not vault:v1:…"))
        }
    }
}

/// Parses the KEK in the response to a decryption.
pub(super) fn parse_kek(response: &[u8]) -> Result<Kek, ServiceError> {
    let data = serde_json::from_slice::<VaultData<DecryptData<'_>>>(response)
        .map_err(|_| unexpected("decrypt", "no text data.plaintext"))?
        .data;
    let foreign = || {
        ServiceError::Ciphertext(
            "its plaintext is not 32 bytes long; another program encrypted it under this key"
                .to_owned(),
        )
    };
    let bytes = Zeroizing::new(STANDARD.decode(&*data.plaintext).map_err(|_| foreign())?);
    Kek::from_bytes(&bytes).map_err(|_| foreign())
}

fn unexpected(what: &str, why: &str) -> ServiceError {
    ServiceError::Unavailable(format!(
        "unexpected response to {what}: {why}; is this a Vault or OpenBao server?"
    ))
}

/// Classification of a text that claims to be Transit's ciphertext of a KEK. Only symmetric ones
/// are passed on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum CiphertextKind {
    /// `vault:v`, a version from 1 without leading zeros, `:`, base64.
    Symmetric,
    /// Symmetric form, but of a length that only RSA produces.
    Asymmetric,
    Foreign,
}

impl CiphertextKind {
    fn classify(bytes: &[u8]) -> Self {
        let parse = || {
            let rest = std::str::from_utf8(bytes).ok()?.strip_prefix("vault:v")?;
            let (version, base64) = rest.split_once(':')?;
            let number: u32 = version.parse().ok()?;
            // A plus sign or leading zeros would be further texts for the same version.
            let canonical = number >= 1 && number.to_string() == version;
            let decoded = STANDARD.decode(base64).ok()?;
            canonical.then_some(decoded.len())
        };
        match parse() {
            Some(length) if bytes.len() > MOST_CIPHERTEXT_BYTES || length == 0 => Self::Foreign,
            Some(LEAST_RSA_BYTES..) => Self::Asymmetric,
            Some(_) => Self::Symmetric,
            None => Self::Foreign,
        }
    }
}

/// Makes `{"<name>":"<value>"}`, with associated data if it is on, in one allocation that is wiped.
/// For texts that need no escapes: base64, and ciphertexts of the form checked above.
fn json_of_text(name: &str, value: &[u8], associated: AssociatedData) -> Zeroizing<Vec<u8>> {
    let associated = match associated {
        AssociatedData::On => {
            let data = STANDARD.encode(ASSOCIATED_DATA);
            format!(",\"associated_data\":\"{data}\"")
        }
        AssociatedData::Off => String::new(),
    };
    // Concatenated by hand: a serialiser would leave copies of the secret in its buffers.
    let pieces = [
        b"{\"",
        name.as_bytes(),
        b"\":\"",
        value,
        b"\"",
        associated.as_bytes(),
        b"}",
    ];
    let mut json = Zeroizing::new(Vec::with_capacity(pieces.iter().map(|p| p.len()).sum()));
    for piece in pieces {
        json.extend_from_slice(piece);
    }
    json
}

#[cfg(test)]
mod tests;
