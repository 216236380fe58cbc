//! Meaning of a PKCS#11 return code, for the object and for the session.
//!
//! Unknown codes, vendors' own among them, count as an unavailable service: they may be transient,
//! and nobody's data is called altered because of them.

use cryptoki::error::{Error, RvError};

use super::super::key_service::ServiceError;

/// A failed call, with the remedy that may help.
#[derive(Debug)]
pub(super) struct TokenFailure {
    pub(super) error: ServiceError,
    pub(super) remedy: Remedy,
}

/// Remedy that may make the same call succeed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Remedy {
    None,
    /// Open another session with another login.
    NewSession,
    /// Initialise the library again, so that it looks for tokens.
    Restart,
}

impl TokenFailure {
    pub(super) fn lasting(error: ServiceError) -> Self {
        Self {
            error,
            remedy: Remedy::None,
        }
    }

    pub(super) fn absent_token(text: String) -> Self {
        Self {
            error: ServiceError::Unavailable(text),
            remedy: Remedy::Restart,
        }
    }
}

impl From<Error> for TokenFailure {
    fn from(error: Error) -> Self {
        let Error::Pkcs11(code, function) = error else {
            return Self::lasting(ServiceError::Unavailable(format!("PKCS#11: {error}")));
        };
        Self {
            remedy: remedy(code),
            // The library's own descriptions are a paragraph each; operators look up the code.
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
            "{text}; the key must be a 256-bit AES key, and the token must allow AES-GCM with it"
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
        | RvError::TokenNotRecognized => Remedy::Restart,
        _ => Remedy::None,
    }
}
