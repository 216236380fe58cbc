//! Meaning of a response of Vault or OpenBao for the object that it was requested for.
//!
//! Statuses alone are ambiguous: a missing key, a withdrawn version and a foreign ciphertext are
//! all 400, and a ciphertext that fails its check is 500 from some versions. So the messages of the
//! Transit engine are matched, too; they have been stable for years, and an unknown one is
//! classified by its status. The service's message is included in the error, truncated and on one
//! line.

use http::StatusCode;
use serde::Deserialize;

use super::super::http::HttpResponse;
use super::super::key_service::ServiceError;

/// Longest message of the service that is passed on, in characters.
const MAX_MESSAGE_CHARS: usize = 300;

/// Kind of request; determines the meaning of a refusal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::keys) enum VaultOperation {
    Encrypt,
    Decrypt,
    Login,
    /// Look-up or renewal of the token.
    Token,
}

/// Transit's messages that the key itself cannot do the operation.
const KEY_ERRORS: [&str; 9] = [
    "encryption key not found",
    "no handler for route",
    "unsupported path",
    "unsupported operation",
    "disallowed by policy (too old)",
    "soft deleted",
    "soft-deleted",
    "key type",
    "key derivation",
];

/// Transit's messages that the ciphertext is not this key's, with any status.
const CIPHERTEXT_ERRORS: [&str; 2] = ["message authentication failed", "invalid ciphertext"];

/// Message about a token at its maximum TTL. It has status 500, as if it were transient.
const MAX_TTL_ERROR: &str = "past the max TTL";

/// Returns success, or the error by who is at fault.
pub(in crate::keys) fn check(
    operation: VaultOperation,
    response: &HttpResponse,
) -> Result<(), ServiceError> {
    if response.status.is_success() {
        return Ok(());
    }
    let words = words(response);
    let any = |known: &[&str]| known.iter().any(|text| words.contains(text));
    let message = describe(operation.attempt(), response);
    Err(match (operation, response.status) {
        // Messages first, then statuses: the order of these arms matters.
        (VaultOperation::Decrypt, _) if any(&CIPHERTEXT_ERRORS) => {
            ServiceError::Ciphertext(format!(
                "{message}; it was encrypted under another key or at another service, or was \
                 altered"
            ))
        }
        (VaultOperation::Encrypt | VaultOperation::Decrypt, _) if any(&KEY_ERRORS) => {
            ServiceError::Key(message)
        }
        (VaultOperation::Token, _) if words.contains(MAX_TTL_ERROR) => {
            ServiceError::Refused(message)
        }
        (_, StatusCode::TOO_MANY_REQUESTS) => ServiceError::Throttled(message),
        (_, StatusCode::REQUEST_TIMEOUT) => ServiceError::Unavailable(message),
        (_, status) if status.is_server_error() => ServiceError::Unavailable(message),
        (VaultOperation::Login | VaultOperation::Token, _) => ServiceError::Refused(message),
        (
            VaultOperation::Encrypt | VaultOperation::Decrypt,
            StatusCode::FORBIDDEN | StatusCode::UNAUTHORIZED,
        ) => ServiceError::Refused(format!(
            "{message}; the token must be valid, and its policy needs `update` on the path; a \
             missing key is refused in the same way"
        )),
        (VaultOperation::Encrypt, _)
        | (VaultOperation::Decrypt, StatusCode::NOT_FOUND | StatusCode::METHOD_NOT_ALLOWED) => {
            ServiceError::Key(message)
        }
        (VaultOperation::Decrypt, _) => ServiceError::Ciphertext(message),
    })
}

impl VaultOperation {
    fn attempt(self) -> &'static str {
        match self {
            Self::Encrypt => "encrypt with the Transit key",
            Self::Decrypt => "decrypt with the Transit key",
            Self::Login => "log in",
            Self::Token => "look up or renew the token",
        }
    }
}

#[derive(Deserialize)]
struct Errors {
    #[serde(default)]
    errors: Vec<String>,
}

/// Formats `what`, the status, and the service's message.
pub(super) fn describe(what: &str, response: &HttpResponse) -> String {
    let words = words(response);
    let status = response.status.as_u16();
    if words.is_empty() {
        format!("{what}: status {status}")
    } else {
        format!("{what}: status {status}, {words}")
    }
}

fn words(response: &HttpResponse) -> String {
    let errors = serde_json::from_slice::<Errors>(&response.body)
        .map(|response| response.errors)
        .unwrap_or_default();
    // Vault wraps single errors into lists with line breaks and tabs.
    let words: Vec<&str> = errors
        .iter()
        .flat_map(|text| text.split_whitespace())
        .collect();
    let clean = words.join(" ").replace(char::is_control, "");
    clean.chars().take(MAX_MESSAGE_CHARS).collect()
}
