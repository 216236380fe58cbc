//! Classification of the SDK's errors by who has to act, with texts for the operator.
//!
//! A code that is not listed is classified by its HTTP status. Messages of AWS are passed on,
//! except those about refused signatures: they repeat the request's headers, and the session token
//! is one of them.

use std::error::Error as StdError;

use aws_credential_types::provider::error::CredentialsError;
use aws_sdk_kms::config::http::HttpResponse;
use aws_sdk_kms::error::{ProvideErrorMetadata, SdkError};

use crate::keys::key_service::ServiceError;
use crate::net::with_causes;

/// Longest message of the service that is passed on, in characters.
const MESSAGE_LIMIT: usize = 300;

/// Context of a request, for error texts.
pub(super) struct Asked<'a> {
    pub(super) operation: &'static str,
    pub(super) key: &'a str,
    pub(super) region: &'a str,
}

impl Asked<'_> {
    /// Makes the error for a response that a key of the right kind never gives.
    pub(super) fn unusable(&self, reason: &str) -> ServiceError {
        ServiceError::Key(self.text(reason))
    }

    fn text(&self, reason: &str) -> String {
        let Self {
            operation,
            key,
            region,
        } = self;
        format!("AWS KMS, {operation} with {key} in {region}: {reason}")
    }
}

/// The cause of a failure, by who has to act.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::keys) enum Fault {
    Unavailable,
    Throttled,
    Login,
    Permission,
    Key,
    Ciphertext,
}

impl Fault {
    fn error(self, text: String) -> ServiceError {
        match self {
            Self::Unavailable => ServiceError::Unavailable(text),
            Self::Throttled => ServiceError::Throttled(text),
            Self::Login | Self::Permission => ServiceError::Refused(text),
            Self::Key => ServiceError::Key(text),
            Self::Ciphertext => ServiceError::Ciphertext(text),
        }
    }
}

/// Converts the SDK's error.
pub(super) fn told<E>(asked: &Asked<'_>, error: &SdkError<E, HttpResponse>) -> ServiceError
where
    E: ProvideErrorMetadata + StdError + 'static,
{
    let (fault, reason) = judged(error);
    fault.error(asked.text(&reason))
}

/// Returns success if the failed request proves that the service works and knows the login.
pub(super) fn answers<E>(
    asked: &Asked<'_>,
    error: &SdkError<E, HttpResponse>,
) -> Result<(), ServiceError>
where
    E: ProvideErrorMetadata + StdError + 'static,
{
    let (fault, reason) = judged(error);
    match fault {
        Fault::Unavailable | Fault::Throttled | Fault::Login => {
            Err(fault.error(asked.text(&reason)))
        }
        Fault::Permission | Fault::Key | Fault::Ciphertext => Ok(()),
    }
}

fn judged<E>(error: &SdkError<E, HttpResponse>) -> (Fault, String)
where
    E: ProvideErrorMetadata + StdError + 'static,
{
    // Credentials are resolved before the request is sent, so they come first.
    if let Some(credentials) = cause::<CredentialsError>(error) {
        return of_credentials(credentials);
    }
    let Some(response) = error.raw_response() else {
        return (Fault::Unavailable, with_causes(error));
    };
    let status = response.status().as_u16();
    let code = error.code().unwrap_or("no error code");
    let (fault, advice) = of_answer(code, status);
    let mut reason = format!("{code} (status {status})");
    // Messages of failed logins repeat the signed headers, session token included.
    if fault != Fault::Login
        && let Some(message) = error.message()
    {
        reason.push_str(": ");
        reason.extend(message.chars().take(MESSAGE_LIMIT));
    }
    if !advice.is_empty() {
        reason.push_str("; ");
        reason.push_str(advice);
    }
    (fault, reason)
}

/// Returns the cause of an error response, and advice for the operator.
pub(in crate::keys) fn of_answer(code: &str, status: u16) -> (Fault, &'static str) {
    match code {
        "DisabledException" => (Fault::Key, "the key is disabled: enable it"),
        "KMSInvalidStateException" => (
            Fault::Key,
            "the key's state forbids its use, such as a deletion that is pending: cancel it, and \
             enable the key",
        ),
        "NotFoundException" | "InvalidArnException" | "ValidationException" => (
            Fault::Key,
            "no such key: check its name, its account and its region",
        ),
        "InvalidKeyUsageException" | "UnsupportedOperationException" => (
            Fault::Key,
            "a symmetric key for ENCRYPT_DECRYPT is needed here",
        ),
        "InvalidCiphertextException" => (
            Fault::Ciphertext,
            "it was altered, or was not encrypted by this proxy",
        ),
        "IncorrectKeyException" => (
            Fault::Ciphertext,
            "it is of another key; an alias that was moved has to point to the old key again",
        ),
        "AccessDeniedException" | "NotAuthorized" | "InvalidGrantTokenException" => (
            Fault::Permission,
            "the login needs kms:GenerateDataKey and kms:Decrypt for the key",
        ),
        "ExpiredTokenException" | "ExpiredToken" => {
            (Fault::Login, "the login has expired and was not renewed")
        }
        "UnrecognizedClientException" | "InvalidClientTokenId" | "OptInRequired" => {
            (Fault::Login, "the access key or session token is not known")
        }
        "InvalidSignatureException"
        | "SignatureDoesNotMatch"
        | "IncompleteSignature"
        | "IncompleteSignatureException"
        | "MissingAuthenticationToken"
        | "MissingAuthenticationTokenException"
        | "RequestExpired" => (
            Fault::Login,
            "the signature was refused: check the secret access key and the clock",
        ),
        "KMSInternalException"
        | "KeyUnavailableException"
        | "DependencyTimeoutException"
        | "ServiceUnavailable" => (Fault::Unavailable, ""),
        "LimitExceededException"
        | "RequestLimitExceeded"
        | "SlowDown"
        | "Throttling"
        | "ThrottlingException"
        | "TooManyRequestsException" => (Fault::Throttled, ""),
        _ => match status {
            429 => (Fault::Throttled, ""),
            500.. => (Fault::Unavailable, ""),
            401 | 403 => (Fault::Permission, "the login or the permission was refused"),
            _ => (Fault::Key, ""),
        },
    }
}

fn of_credentials(error: &CredentialsError) -> (Fault, String) {
    let reason = with_causes(error);
    match error {
        CredentialsError::CredentialsNotLoaded(_) => (
            Fault::Login,
            format!(
                "no AWS credentials were found: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, a \
                 profile, a web identity or a role ({reason})"
            ),
        ),
        CredentialsError::InvalidConfiguration(_) => (
            Fault::Login,
            format!("the AWS credentials are misconfigured: {reason}"),
        ),
        // The provider of the credentials may be down, as any other service.
        _ => (
            Fault::Unavailable,
            format!("the source of the AWS credentials failed: {reason}"),
        ),
    }
}

fn cause<'a, T: StdError + 'static>(error: &'a (dyn StdError + 'static)) -> Option<&'a T> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(found) = error.downcast_ref::<T>() {
            return Some(found);
        }
        next = error.source();
    }
    None
}
