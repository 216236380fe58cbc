//! What a PKCS#11 return code means: for the object that is asked for, and for the session.
//!
//! Codes that are not known, vendors' own among them, count as a service that does not work now:
//! they may pass, and nobody's data is called altered for them.

use cryptoki::error::{Error, RvError};

use super::super::key_service::ServiceError;

/// A call that failed, and whether a new session may help.
#[derive(Debug)]
pub(super) struct Failure {
    pub(super) error: ServiceError,
    pub(super) remedy: Remedy,
}

/// What may make the same call succeed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Remedy {
    None,
    /// Another session with another login.
    NewSession,
    /// The library has to look for tokens again.
    NewStart,
}

impl Failure {
    pub(super) fn lasting(error: ServiceError) -> Self {
        Self {
            error,
            remedy: Remedy::None,
        }
    }

    pub(super) fn absent_token(text: String) -> Self {
        Self {
            error: ServiceError::Unavailable(text),
            remedy: Remedy::NewStart,
        }
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        let Error::Pkcs11(code, function) = error else {
            return Self::lasting(ServiceError::Unavailable(format!("PKCS#11: {error}")));
        };
        Self {
            remedy: remedy(code),
            // The library's own sentences are a paragraph each; operators look codes up.
            error: meaning(code, format!("PKCS#11 {function:?}: {code:?}")),
        }
    }
}

fn meaning(code: RvError, text: String) -> ServiceError {
    match code {
        RvError::PinIncorrect
        | RvError::PinInvalid
        | RvError::PinLenRange
        | RvError::PinExpired
        | RvError::PinLocked
        | RvError::UserNotLoggedIn
        | RvError::UserPinNotInitialized
        | RvError::UserTypeInvalid
        | RvError::UserAnotherAlreadyLoggedIn => ServiceError::Refused(text),
        RvError::KeyHandleInvalid
        | RvError::ObjectHandleInvalid
        | RvError::KeySizeRange
        | RvError::KeyTypeInconsistent
        | RvError::KeyFunctionNotPermitted
        | RvError::ActionProhibited
        | RvError::MechanismInvalid
        | RvError::MechanismParamInvalid => ServiceError::Key(format!(
            "{text}; the key must be of AES with 256 bits, and the token must allow AES-GCM with it"
        )),
        RvError::EncryptedDataInvalid | RvError::EncryptedDataLenRange => {
            ServiceError::Ciphertext(text)
        }
        _ => ServiceError::Unavailable(text),
    }
}

fn remedy(code: RvError) -> Remedy {
    match code {
        RvError::SessionHandleInvalid
        | RvError::SessionClosed
        | RvError::UserNotLoggedIn
        | RvError::OperationActive
        | RvError::KeyHandleInvalid
        | RvError::ObjectHandleInvalid => Remedy::NewSession,
        RvError::CryptokiNotInitialized
        | RvError::DeviceError
        | RvError::DeviceRemoved
        | RvError::FunctionFailed
        | RvError::GeneralError
        | RvError::SlotIdInvalid
        | RvError::TokenNotPresent
        | RvError::TokenNotRecognized => Remedy::NewStart,
        _ => Remedy::None,
    }
}
