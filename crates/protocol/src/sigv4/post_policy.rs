//! Signature of a browser's form, over the policy exactly as in its field.
//!
//! The string to sign is the policy's Base64 text (S3 API Reference, "Authenticating requests in
//! browser-based uploads using POST"). The clock is used only to refuse signatures from the future;
//! the policy has its own expiration.

use time::OffsetDateTime;
use zeroize::Zeroizing;

use super::authorization::ALGORITHM;
use super::credential_scope::{Credential, CredentialScope};
use super::error::SigV4Error;
use super::signing_key::{Signature, SigningKey};
use super::timestamp::Timestamp;
use super::verify::CLOCK_SKEW;

/// A form's policy and its claimed signer, not yet verified.
pub struct SignedPolicy {
    credential: Credential,
    timestamp: Timestamp,
    signature: Signature,
    session_token: Option<Zeroizing<String>>,
    policy: String,
}

impl SignedPolicy {
    /// Parses the fields of a form; `field` returns the value of a field by its lower-case name.
    /// `None` if the form has neither a policy nor any part of a signature.
    pub fn parse<'f>(field: impl Fn(&str) -> Option<&'f str>) -> Result<Option<Self>, SigV4Error> {
        if field("awsaccesskeyid").is_some() || field("signature").is_some() {
            return Err(SigV4Error::UnsupportedVersion("Signature Version 2"));
        }
        let names = [
            "policy",
            "x-amz-algorithm",
            "x-amz-credential",
            "x-amz-date",
            "x-amz-signature",
        ];
        // A form with only some of these is not anonymous but malformed.
        if names.iter().all(|name| field(name).is_none()) {
            return Ok(None);
        }
        let required = |name| field(name).ok_or(SigV4Error::FormMalformed(MISSING));
        match required("x-amz-algorithm")? {
            ALGORITHM => {}
            "AWS4-ECDSA-P256-SHA256" => {
                return Err(SigV4Error::UnsupportedVersion("Signature Version 4A"));
            }
            _ => {
                return Err(SigV4Error::FormMalformed(
                    "X-Amz-Algorithm must be AWS4-HMAC-SHA256",
                ));
            }
        }
        let credential =
            Credential::parse(required("x-amz-credential")?).map_err(SigV4Error::FormMalformed)?;
        let timestamp = Timestamp::from_basic(required("x-amz-date")?).ok_or(
            SigV4Error::FormMalformed("X-Amz-Date must be in the form YYYYMMDD'T'HHMMSS'Z'"),
        )?;
        if credential.scope.date() != timestamp.date() {
            return Err(SigV4Error::FormMalformed(
                "the credential's date must be that of X-Amz-Date",
            ));
        }
        let signature = Signature::from_hex(required("x-amz-signature")?.as_bytes()).ok_or(
            SigV4Error::FormMalformed("X-Amz-Signature must be 64 lower-case hexadecimal digits"),
        )?;
        Ok(Some(Self {
            credential,
            timestamp,
            signature,
            session_token: field("x-amz-security-token")
                .map(|token| Zeroizing::new(token.to_owned())),
            policy: required("policy")?.to_owned(),
        }))
    }

    /// Access key ID that the form claims.
    #[must_use]
    pub fn access_key_id(&self) -> &str {
        &self.credential.access_key_id
    }

    /// Date and region for which the signing key has to be derived.
    #[must_use]
    pub fn scope(&self) -> &CredentialScope {
        &self.credential.scope
    }

    /// The client's session token. Compare it in constant time, and do not forward it.
    #[must_use]
    pub fn session_token(&self) -> Option<&str> {
        self.session_token.as_ref().map(|token| token.as_str())
    }

    /// Verifies the signature with the key for [`SignedPolicy::scope`]. Errors:
    /// [`SigV4Error::NotYetValid`], [`SigV4Error::PolicyMismatch`].
    pub fn verify(&self, key: &SigningKey, now: OffsetDateTime) -> Result<(), SigV4Error> {
        if self.timestamp.instant() - now > CLOCK_SKEW {
            return Err(SigV4Error::NotYetValid);
        }
        if key.verifies(self.policy.as_bytes(), &self.signature) {
            Ok(())
        } else {
            Err(SigV4Error::PolicyMismatch)
        }
    }
}

const MISSING: &str = "policy, X-Amz-Algorithm, X-Amz-Credential, X-Amz-Date and X-Amz-Signature are required together";

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use time::macros::datetime;

    use super::*;
    use crate::error::ErrorCode;
    use crate::sigv4::SecretAccessKey;

    /// Example of a browser-based upload from the S3 API Reference.
    const POLICY: &str = "eyAiZXhwaXJhdGlvbiI6ICIyMDE1LTEyLTMwVDEyOjAwOjAwLjAwMFoiLA0KICAiY29uZGl0aW9ucyI6IFsNCiAgICB7ImJ1Y2tldCI6ICJzaWd2NGV4YW1wbGVidWNrZXQifSwNCiAgICBbInN0YXJ0cy13aXRoIiwgIiRrZXkiLCAidXNlci91c2VyMS8iXSwNCiAgICB7ImFjbCI6ICJwdWJsaWMtcmVhZCJ9LA0KICAgIHsic3VjY2Vzc19hY3Rpb25fcmVkaXJlY3QiOiAiaHR0cDovL3NpZ3Y0ZXhhbXBsZWJ1Y2tldC5zMy5hbWF6b25hd3MuY29tL3N1Y2Nlc3NmdWxfdXBsb2FkLmh0bWwifSwNCiAgICBbInN0YXJ0cy13aXRoIiwgIiRDb250ZW50LVR5cGUiLCAiaW1hZ2UvIl0sDQogICAgeyJ4LWFtei1tZXRhLXV1aWQiOiAiMTQzNjUxMjM2NTEyNzQifSwNCiAgICB7IngtYW16LXNlcnZlci1zaWRlLWVuY3J5cHRpb24iOiAiQUVTMjU2In0sDQogICAgWyJzdGFydHMtd2l0aCIsICIkeC1hbXotbWV0YS10YWciLCAiIl0sDQoNCiAgICB7IngtYW16LWNyZWRlbnRpYWwiOiAiQUtJQUlPU0ZPRE5ON0VYQU1QTEUvMjAxNTEyMjkvdXMtZWFzdC0xL3MzL2F3czRfcmVxdWVzdCJ9LA0KICAgIHsieC1hbXotYWxnb3JpdGhtIjogIkFXUzQtSE1BQy1TSEEyNTYifSwNCiAgICB7IngtYW16LWRhdGUiOiAiMjAxNTEyMjlUMDAwMDAwWiIgfQ0KICBdDQp9";
    const SIGNATURE: &str = "8afdbf4008c03f22c2cd3cdb72e4afbb1f6a588f3255ac628749a66d7f09699e";
    const NOW: OffsetDateTime = datetime!(2015-12-29 12:00:00 UTC);

    fn fields() -> HashMap<&'static str, &'static str> {
        HashMap::from([
            ("policy", POLICY),
            ("x-amz-algorithm", "AWS4-HMAC-SHA256"),
            (
                "x-amz-credential",
                "AKIAIOSFODNN7EXAMPLE/20151229/us-east-1/s3/aws4_request",
            ),
            ("x-amz-date", "20151229T000000Z"),
            ("x-amz-signature", SIGNATURE),
        ])
    }

    fn verify(
        fields: &HashMap<&'static str, &'static str>,
        now: OffsetDateTime,
    ) -> Result<(), SigV4Error> {
        let signed = SignedPolicy::parse(|name| fields.get(name).copied())?.unwrap();
        let secret = SecretAccessKey::new("wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY".to_owned());
        let scope = signed.scope();
        signed.verify(
            &SigningKey::derive(&secret, scope.date(), scope.region()),
            now,
        )
    }

    #[test]
    fn the_published_example_verifies() {
        assert_eq!(verify(&fields(), NOW), Ok(()));
    }

    #[test]
    fn an_altered_form_does_not_verify() {
        for (name, value, code) in [
            ("policy", &POLICY[4..], ErrorCode::SignatureDoesNotMatch),
            (
                "x-amz-credential",
                "AKIAIOSFODNN7EXAMPLE/20151229/eu-west-3/s3/aws4_request",
                ErrorCode::SignatureDoesNotMatch,
            ),
            (
                "x-amz-credential",
                "AKIAIOSFODNN7EXAMPLE",
                ErrorCode::InvalidArgument,
            ),
            ("x-amz-date", "20151230T000000Z", ErrorCode::InvalidArgument),
            ("x-amz-date", "2015-12-29", ErrorCode::InvalidArgument),
            (
                "x-amz-algorithm",
                "AWS4-ECDSA-P256-SHA256",
                ErrorCode::NotImplemented,
            ),
            ("x-amz-algorithm", "HMAC", ErrorCode::InvalidArgument),
            ("x-amz-signature", "00", ErrorCode::InvalidArgument),
            ("awsaccesskeyid", "AKIA", ErrorCode::NotImplemented),
        ] {
            let mut altered = fields();
            altered.insert(name, value);
            let error = verify(&altered, NOW).unwrap_err();
            assert_eq!(error.s3_error().code, code, "{name} {value}");
        }
        // One second more than the allowed 15 minutes before the signature's time.
        let early = datetime!(2015-12-28 23:44:59 UTC);
        assert_eq!(verify(&fields(), early), Err(SigV4Error::NotYetValid));
    }

    #[test]
    fn a_signature_is_whole_or_not_there() {
        assert!(SignedPolicy::parse(|_| None).unwrap().is_none());
        for name in fields().keys() {
            let mut incomplete = fields();
            incomplete.remove(name);
            let refused = SignedPolicy::parse(|name| incomplete.get(name).copied());
            assert!(refused.is_err(), "{name}");
        }
    }
}
