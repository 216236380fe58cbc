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
const MAX_MESSAGE_CHARS: usize = 300;

/// Context of a request, for error texts.
pub(super) struct KmsRequest<'a> {
    pub(super) operation: &'static str,
    pub(super) key: &'a str,
    pub(super) region: &'a str,
}

impl KmsRequest<'_> {
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
pub(in crate::keys) enum KmsFault {
    Unavailable,
    Throttled,
    Login,
    Permission,
    Key,
    Ciphertext,
}

impl KmsFault {
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
pub(super) fn service_error<E>(
    request: &KmsRequest<'_>,
    error: &SdkError<E, HttpResponse>,
) -> ServiceError
where
    E: ProvideErrorMetadata + StdError + 'static,
{
    let (fault, reason) = classify(error);
    fault.error(request.text(&reason))
}

/// Returns success if the failed request proves that the service works and knows the login.
pub(super) fn check_reachable<E>(
    request: &KmsRequest<'_>,
    error: &SdkError<E, HttpResponse>,
) -> Result<(), ServiceError>
where
    E: ProvideErrorMetadata + StdError + 'static,
{
    let (fault, reason) = classify(error);
    match fault {
        KmsFault::Unavailable | KmsFault::Throttled | KmsFault::Login => {
            Err(fault.error(request.text(&reason)))
        }
        KmsFault::Permission | KmsFault::Key | KmsFault::Ciphertext => Ok(()),
    }
}

fn classify<E>(error: &SdkError<E, HttpResponse>) -> (KmsFault, String)
where
    E: ProvideErrorMetadata + StdError + 'static,
{
    // Credentials are resolved before the request is sent, so they come first.
    if let Some(credentials) = cause::<CredentialsError>(error) {
        return classify_credentials(credentials);
    }
    let Some(response) = error.raw_response() else {
        return (KmsFault::Unavailable, with_causes(error));
    };
    let status = response.status().as_u16();
    let code = error.code().unwrap_or("no error code");
    let (fault, advice) = classify_response(code, status);
    let mut reason = format!("{code} (status {status})");
    // Messages of failed logins repeat the signed headers, session token included.
    if fault != KmsFault::Login
        && let Some(message) = error.message()
    {
        reason.push_str(": ");
        reason.extend(message.chars().take(MAX_MESSAGE_CHARS));
    }
    if !advice.is_empty() {
        reason.push_str("; ");
        reason.push_str(advice);
    }
    (fault, reason)
}

/// Returns the cause of an error response, and advice for the operator.
pub(in crate::keys) fn classify_response(code: &str, status: u16) -> (KmsFault, &'static str) {
    match code {
        "DisabledException" => (KmsFault::Key, "the key is disabled: enable it"),
        "KMSInvalidStateException" => (
            KmsFault::Key,
            "the key's state does not allow its use, such as a pending deletion: cancel that, and \
             enable the key",
        ),
        "NotFoundException" | "InvalidArnException" | "ValidationException" => (
            KmsFault::Key,
            "no such key: check its name, its account and its region",
        ),
        "InvalidKeyUsageException" | "UnsupportedOperationException" => (
            KmsFault::Key,
            "the key must be symmetric, with the usage ENCRYPT_DECRYPT",
        ),
        "InvalidCiphertextException" => (
            KmsFault::Ciphertext,
            "it was altered, or was not encrypted by this proxy",
        ),
        "IncorrectKeyException" => (
            KmsFault::Ciphertext,
            "it was encrypted under another key; if the alias was moved, point it to the old key \
             again",
        ),
        "AccessDeniedException" | "NotAuthorized" | "InvalidGrantTokenException" => (
            KmsFault::Permission,
            "the login needs kms:GenerateDataKey and kms:Decrypt for the key",
        ),
        "ExpiredTokenException" | "ExpiredToken" => {
            (KmsFault::Login, "the login has expired and was not renewed")
        }
        "UnrecognizedClientException" | "InvalidClientTokenId" | "OptInRequired" => {
            (KmsFault::Login, "unknown access key or session token")
        }
        "InvalidSignatureException"
        | "SignatureDoesNotMatch"
        | "IncompleteSignature"
        | "IncompleteSignatureException"
        | "MissingAuthenticationToken"
        | "MissingAuthenticationTokenException"
        | "RequestExpired" => (
            KmsFault::Login,
            "the signature was refused: check the secret access key and the clock",
        ),
        "KMSInternalException"
        | "KeyUnavailableException"
        | "DependencyTimeoutException"
        | "ServiceUnavailable" => (KmsFault::Unavailable, ""),
        "LimitExceededException"
        | "RequestLimitExceeded"
        | "SlowDown"
        | "Throttling"
        | "ThrottlingException"
        | "TooManyRequestsException" => (KmsFault::Throttled, ""),
        _ => match status {
            429 => (KmsFault::Throttled, ""),
            500.. => (KmsFault::Unavailable, ""),
            401 | 403 => (
                KmsFault::Permission,
                "the login was refused or has no permission",
            ),
            _ => (KmsFault::Key, ""),
        },
    }
}

fn classify_credentials(error: &CredentialsError) -> (KmsFault, String) {
    let reason = with_causes(error);
    match error {
        CredentialsError::CredentialsNotLoaded(_) => (
            KmsFault::Login,
            format!(
                "no AWS credentials were found: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, a \
                 profile, a web identity or a role ({reason})"
            ),
        ),
        CredentialsError::InvalidConfiguration(_) => (
            KmsFault::Login,
            format!("the AWS credentials are misconfigured: {reason}"),
        ),
        // The provider of the credentials may be down, as any other service.
        _ => (
            KmsFault::Unavailable,
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
