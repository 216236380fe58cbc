//! PKCS#11: an AES-256 key in a token of a hardware security module, or of SoftHSM.
//!
//! A KEK is generated here and encrypted in the token by AES-256-GCM. The ciphertext in envelopes
//! is `nonce (12) || ciphertext (32) || tag (16)` under the associated data `s3proxy/v1/kek`;
//! frozen. Ciphertexts of any other length are not passed on. The nonce is generated here unless
//! the token sets its own.
//!
//! **Rotation.** PKCS#11 has no key versions: a key is an object with a label. So a new key gets a
//! new label, is configured next to the old one and made active; the old one stays until `s3proxy
//! rewrap` has moved every object. A new key under the old label makes everything unreadable that
//! the old one encrypted: the tag does not match, and the error says what may have happened. Two
//! AES keys under one label are refused at each use, since nothing distinguishes them.
//!
//! **Calls block**, and a token may hang. Calls run on the runtime's blocking threads, a few at a
//! time. The waiting request times out; the thread returns when the library does.
//!
//! Absent: making keys, keys in more than one token, and a log-out at the end. The library is
//! finalised only to be initialised again.

mod failure;
mod library;
mod token;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use s3proxy_envelope::kek::Kek;
use tokio::sync::Semaphore;
use zeroize::Zeroizing;

use super::key_service::{KeyService, NewKek, ServiceError};
use crate::config::resolved::Pkcs11Key;
use crate::telemetry::metrics::ServiceKind;

use self::library::Library;
use self::token::Pkcs11Token;

/// Number of concurrent calls, and of sessions that stay open. Tokens are slow, and some have few
/// sessions.
const MOST_CALLS: usize = 4;

/// Frozen: the form of the ciphertext.
const NONCE_BYTES: usize = 12;
const KEK_BYTES: usize = 32;
const TAG_BYTES: usize = 16;
const CIPHERTEXT_BYTES: usize = NONCE_BYTES + KEK_BYTES + TAG_BYTES;

/// Why the settings do not lead to a library.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Pkcs11Error {
    /// The file is not a PKCS#11 library for this platform.
    #[error(
        "PKCS#11: cannot load {}, which must be the vendor's PKCS#11 library: {reason}",
        module.display()
    )]
    Module {
        /// Configured path.
        module: PathBuf,
        /// Reason from the loader.
        reason: String,
    },
}

/// A key in a token.
pub(crate) struct Pkcs11 {
    name: String,
    token: Arc<Pkcs11Token>,
    calls: Arc<Semaphore>,
    timeout: Duration,
}

impl Pkcs11 {
    /// Loads the library without calling it: the token may be absent for now.
    pub(crate) fn connect(config: &Pkcs11Key, timeout: Duration) -> Result<Self, Pkcs11Error> {
        let library = Library::load(&config.module)?;
        Ok(Self {
            name: format!("pkcs11:{}/{}", config.token_label, config.key_label),
            token: Arc::new(Pkcs11Token::new(library, config)),
            calls: Arc::new(Semaphore::new(MOST_CALLS)),
            timeout,
        })
    }

    /// Runs a blocking call. The time limit bounds the wait, not the call.
    async fn call<T: Send + 'static>(
        &self,
        what: &'static str,
        work: impl FnOnce(&Pkcs11Token) -> Result<T, ServiceError> + Send + 'static,
    ) -> Result<T, ServiceError> {
        let limit = self.timeout;
        let calling = async {
            // Inside the timeout: a request must not wait forever for hung calls.
            let permit = Arc::clone(&self.calls)
                .acquire_owned()
                .await
                .expect("the semaphore is never closed");
            let token = Arc::clone(&self.token);
            let worker = tokio::task::spawn_blocking(move || {
                let done = work(&token);
                // The permit is held by the thread, not by the waiting future: after a timeout the
                // hung call still counts, so that hung threads stay bounded.
                drop(permit);
                done
            });
            worker.await.unwrap_or_else(|_| {
                Err(ServiceError::Unavailable(format!(
                    "PKCS#11: {what} panicked"
                )))
            })
        };
        tokio::time::timeout(limit, calling)
            .await
            .unwrap_or_else(|_| {
                Err(ServiceError::Unavailable(format!(
                    "PKCS#11: {what} timed out after {limit:?}"
                )))
            })
    }
}

impl KeyService for Pkcs11 {
    fn name(&self) -> &str {
        &self.name
    }

    fn kind(&self) -> ServiceKind {
        ServiceKind::Pkcs11
    }

    fn create(&self) -> BoxFuture<'_, Result<NewKek, ServiceError>> {
        Box::pin(self.call("encrypt", |token| {
            let kek = Kek::generate();
            let ciphertext = token.encrypt(kek.as_bytes())?;
            Ok(NewKek { kek, ciphertext })
        }))
    }

    fn open<'a>(&'a self, ciphertext: &'a [u8]) -> BoxFuture<'a, Result<Kek, ServiceError>> {
        Box::pin(async move {
            let Ok(ciphertext) = <[u8; CIPHERTEXT_BYTES]>::try_from(ciphertext) else {
                return Err(ServiceError::Ciphertext(format!(
                    "it has {} bytes instead of {CIPHERTEXT_BYTES}; it was not sent",
                    ciphertext.len()
                )));
            };
            self.call("decrypt", move |token| {
                let bytes: Zeroizing<Vec<u8>> = token.decrypt(&ciphertext)?;
                Kek::from_bytes(&bytes).map_err(|error| ServiceError::Ciphertext(error.to_string()))
            })
            .await
        })
    }

    fn check(&self) -> BoxFuture<'_, Result<(), ServiceError>> {
        Box::pin(self.call("check", Pkcs11Token::check))
    }
}
