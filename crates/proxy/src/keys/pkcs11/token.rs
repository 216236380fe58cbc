//! One token, its sessions, and the key in it. Every call here blocks.
//!
//! Invariants: a session is used by one call at a time and belongs to one epoch of the library. A
//! refused PIN is not tried again, since tokens lock themselves after a few wrong ones. The key is
//! looked up by its label at each use: uses are rare, and its handle may have passed to another
//! object.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use aws_lc_rs::rand;
use cryptoki::context::{Function, Pkcs11 as Context};
use cryptoki::error::{Error, RvError};
use cryptoki::mechanism::Mechanism;
use cryptoki::mechanism::aead::GcmParams;
use cryptoki::object::{Attribute, AttributeType, KeyType, ObjectClass, ObjectHandle};
use cryptoki::session::{Session, UserType};
use cryptoki::slot::Slot;
use cryptoki::types::AuthPin;
use zeroize::Zeroizing;

use super::failure::{Remedy, TokenFailure};
use super::library::{Epoch, Library};
use super::{CIPHERTEXT_BYTES, KEK_BYTES, MOST_CALLS, NONCE_BYTES, TAG_BYTES};
use crate::config::resolved::Pkcs11Key;
use crate::keys::key_service::ServiceError;

/// Frozen: the tag length and associated data of the KEK's ciphertext.
const TAG_BITS: u64 = 8 * TAG_BYTES as u64;
const ASSOCIATED_DATA: &[u8] = b"s3proxy/v1/kek";

pub(super) struct Pkcs11Token {
    library: Arc<Library>,
    label: String,
    key_label: String,
    pin: AuthPin,
    pin_refused: AtomicBool,
    idle: Mutex<Vec<TokenSession>>,
}

/// A logged-in session. It has to be closed explicitly: after a restart of the library its handle
/// may denote another session.
struct TokenSession {
    session: Session,
    epoch: Epoch,
}

impl Pkcs11Token {
    pub(super) fn new(library: Arc<Library>, config: &Pkcs11Key) -> Self {
        Self {
            library,
            label: config.token_label.clone(),
            key_label: config.key_label.clone(),
            pin: AuthPin::from(config.pin.expose().to_owned()),
            pin_refused: AtomicBool::new(false),
            idle: Mutex::new(Vec::new()),
        }
    }

    pub(super) fn encrypt(&self, kek: &[u8]) -> Result<Vec<u8>, ServiceError> {
        self.use_key(|session, key| {
            let (nonce, sealed) = encrypted(session, key, kek)?;
            let ciphertext = [&nonce[..], &sealed].concat();
            if ciphertext.len() == CIPHERTEXT_BYTES {
                Ok(ciphertext)
            } else {
                Err(TokenFailure::lasting(ServiceError::Key(format!(
                    "the token's AES-GCM returned {} bytes for {KEK_BYTES} bytes; with a tag of \
                     {TAG_BYTES} bytes there should be {}",
                    sealed.len(),
                    KEK_BYTES + TAG_BYTES
                ))))
            }
        })
    }

    pub(super) fn decrypt(
        &self,
        ciphertext: &[u8; CIPHERTEXT_BYTES],
    ) -> Result<Zeroizing<Vec<u8>>, ServiceError> {
        self.use_key(|session, key| {
            let (nonce, sealed) = ciphertext.split_at(NONCE_BYTES);
            let nonce = nonce.try_into().expect("it was split there");
            match decrypted(session, key, nonce, sealed) {
                // Some tokens report a tag mismatch with a vague code. If the key still encrypts
                // and decrypts, the ciphertext is at fault.
                Err(Error::Pkcs11(code, Function::Decrypt))
                    if is_vague(code) && round_trip(session, key) =>
                {
                    let text = format!("PKCS#11 Decrypt: {code:?}");
                    Err(TokenFailure::lasting(ServiceError::Ciphertext(text)))
                }
                opened => Ok(opened?),
            }
        })
        .map_err(|error| match error {
            ServiceError::Ciphertext(text) => ServiceError::Ciphertext(format!(
                "{text}; it was not encrypted by the key labelled {:?} in the token {:?}, or was \
                 altered. If that key was replaced under the same label, restore it",
                self.key_label, self.label
            )),
            error @ (ServiceError::Unavailable(_)
            | ServiceError::Throttled(_)
            | ServiceError::Refused(_)
            | ServiceError::Key(_)) => error,
        })
    }

    /// Checks that the token is present and accepts the login. The check lists the token's objects,
    /// since some libraries answer everything else from memory; whether the key is among them does
    /// not matter.
    pub(super) fn check(&self) -> Result<(), ServiceError> {
        self.with_session(|_, session| Ok(session.find_objects(&self.key_template())?))
            .map(|_| ())
    }

    fn use_key<T>(
        &self,
        call: impl Fn(&Session, ObjectHandle) -> Result<T, TokenFailure>,
    ) -> Result<T, ServiceError> {
        self.with_session(|context, session| call(session, self.find_key(context, session)?))
    }

    /// Runs one call in an idle session or a new one. Retries once in a new session if that may
    /// help, and once after a restart of the library.
    fn with_session<T>(
        &self,
        call: impl Fn(&Context, &Session) -> Result<T, TokenFailure>,
    ) -> Result<T, ServiceError> {
        let mut tried = None;
        loop {
            let mut epoch = None;
            let done = self.library.enter(|context, now| {
                epoch = Some(now);
                let open = self.session(context, now)?;
                let done = call(context, &open.session);
                match &done {
                    Ok(_) => self.keep(open),
                    // The call may have left the session in any state: discard it.
                    Err(_) => self.close_all(open),
                }
                done
            });
            let failure = match done {
                Ok(value) => return Ok(value),
                Err(failure) => failure,
            };
            let again = match (tried, failure.remedy, epoch) {
                // Each remedy is tried once, the cheap one first. A new session that did not help
                // escalates to a restart of the library.
                (_, Remedy::None, _) | (_, _, None) | (Some(Remedy::Restart), _, _) => false,
                (None, Remedy::NewSession, _) => true,
                (_, Remedy::NewSession | Remedy::Restart, Some(epoch)) => self
                    .library
                    .restart(epoch)
                    .map_err(|failure| failure.error)?,
            };
            if !again {
                return Err(failure.error);
            }
            tried = Some(failure.remedy);
        }
    }

    fn session(&self, context: &Context, now: Epoch) -> Result<TokenSession, TokenFailure> {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        // Sessions of an earlier epoch ended with the restart; their handles must not be closed.
        idle.retain(|open| open.epoch == now);
        if let Some(open) = idle.pop() {
            return Ok(open);
        }
        drop(idle);
        let slot = self.slot(context)?;
        let session = context.open_ro_session_no_drop(slot)?;
        match self.log_in(&session) {
            Ok(()) => Ok(TokenSession {
                session,
                epoch: now,
            }),
            Err(failure) => {
                close(session);
                Err(failure)
            }
        }
    }

    fn slot(&self, context: &Context) -> Result<Slot, TokenFailure> {
        for slot in context.get_slots_with_token()? {
            // A slot without readable token info is not the right one, or not now.
            if context
                .get_token_info(slot)
                .is_ok_and(|found| found.label() == self.label)
            {
                return Ok(slot);
            }
        }
        Err(TokenFailure::absent_token(format!(
            "there is no token labelled {:?}; plug it in, or correct the label",
            self.label
        )))
    }

    fn log_in(&self, session: &Session) -> Result<(), TokenFailure> {
        let refused = || {
            TokenFailure::lasting(ServiceError::Refused(format!(
                "the token {:?} refused the PIN; to keep the token from locking itself, the PIN \
                 is not tried again: correct it and restart the proxy",
                self.label
            )))
        };
        // Acquire pairs with the release below: a refusal on another thread counts at once.
        if self.pin_refused.load(Ordering::Acquire) {
            return Err(refused());
        }
        match session.login(UserType::User, Some(&self.pin)) {
            // The login belongs to the application, not to the session: another session may have
            // logged in.
            Ok(()) | Err(Error::Pkcs11(RvError::UserAlreadyLoggedIn, _)) => Ok(()),
            Err(Error::Pkcs11(
                RvError::PinIncorrect | RvError::PinInvalid | RvError::PinLenRange,
                _,
            )) => {
                self.pin_refused.store(true, Ordering::Release);
                Err(refused())
            }
            Err(error) => Err(error.into()),
        }
    }

    fn find_key(&self, context: &Context, session: &Session) -> Result<ObjectHandle, TokenFailure> {
        let unusable = |what: &str| {
            TokenFailure::lasting(ServiceError::Key(format!(
                "the token {:?} has {what} labelled {:?}",
                self.label, self.key_label
            )))
        };
        let found = session.find_objects(&self.key_template())?;
        let key = match found[..] {
            [key] => key,
            [] => {
                // A removed token may look empty in an old session: check that it is still there.
                self.slot(context)?;
                return Err(unusable("no secret key"));
            }
            _ => return Err(unusable("more than one secret key")),
        };
        let wanted = [AttributeType::KeyType, AttributeType::ValueLen];
        let attributes = session.get_attributes(key, &wanted)?;
        if !attributes.contains(&Attribute::KeyType(KeyType::AES)) {
            return Err(unusable("a secret key that is not an AES key"));
        }
        // Some tokens do not report the length; then the mechanism's errors have to suffice.
        let other_length = attributes.iter().any(
            |attribute| matches!(attribute, Attribute::ValueLen(length) if **length != KEK_BYTES as u64),
        );
        if other_length {
            return Err(unusable("an AES key whose length is not 256 bits"));
        }
        Ok(key)
    }

    fn key_template(&self) -> [Attribute; 2] {
        [
            Attribute::Class(ObjectClass::SECRET_KEY),
            Attribute::Label(self.key_label.clone().into_bytes()),
        ]
    }

    fn keep(&self, open: TokenSession) {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        if idle.len() < MOST_CALLS {
            idle.push(open);
        } else {
            drop(idle);
            close(open.session);
        }
    }

    /// Closes this session and the idle ones of its epoch: the cause of one failure may have ended
    /// all.
    fn close_all(&self, open: TokenSession) {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        // Collected under the lock and closed outside of it, since closing may block.
        let others: Vec<TokenSession> = idle.drain(..).collect();
        drop(idle);
        for other in others.into_iter().filter(|other| other.epoch == open.epoch) {
            close(other.session);
        }
        close(open.session);
    }
}

/// Closes a session that is given up; an error does not matter.
fn close(session: Session) {
    let _ = session.close();
}

fn encrypted(
    session: &Session,
    key: ObjectHandle,
    plaintext: &[u8],
) -> Result<([u8; NONCE_BYTES], Vec<u8>), Error> {
    let mut nonce = [0; NONCE_BYTES];
    rand::fill(&mut nonce).expect("the system gives random bytes");
    let mechanism = Mechanism::AesGcm(gcm(&mut nonce)?);
    let sealed = session.encrypt(&mechanism, key, plaintext)?;
    // Return the nonce as the token left it: some models replace it with their own.
    Ok((nonce, sealed))
}

fn decrypted(
    session: &Session,
    key: ObjectHandle,
    mut nonce: [u8; NONCE_BYTES],
    sealed: &[u8],
) -> Result<Zeroizing<Vec<u8>>, Error> {
    let mechanism = Mechanism::AesGcm(gcm(&mut nonce)?);
    session.decrypt(&mechanism, key, sealed).map(Zeroizing::new)
}

/// Returns whether the code is one by which some tokens, SoftHSM among them, report a tag mismatch
/// as well as other failures.
fn is_vague(code: RvError) -> bool {
    matches!(
        code,
        RvError::GeneralError
            | RvError::FunctionFailed
            | RvError::DataInvalid
            | RvError::DataLenRange
            | RvError::VendorDefined(_)
            | RvError::UnknownErrorCode(_)
    )
}

/// Checks that the key works, in which case a ciphertext that it did not open is at fault.
fn round_trip(session: &Session, key: ObjectHandle) -> bool {
    encrypted(session, key, &[0; KEK_BYTES])
        .and_then(|(nonce, sealed)| decrypted(session, key, nonce, &sealed))
        .is_ok_and(|opened| opened[..] == [0; KEK_BYTES])
}

fn gcm(nonce: &mut [u8]) -> Result<GcmParams<'_>, Error> {
    GcmParams::new(nonce, ASSOCIATED_DATA, TAG_BITS.into())
}
