//! The Version 2 signature of a browser's form: over its policy, as received in the field.

use zeroize::Zeroizing;

use super::error::SigV2Error;
use super::key::{Signature, SigningKey};
use crate::sigv4::{SecretAccessKey, SigV4Error};

const VERSION_4: &[&str] = &[
    "x-amz-algorithm",
    "x-amz-credential",
    "x-amz-date",
    "x-amz-signature",
];

/// A form's policy and who claims to have signed it; not yet verified.
pub struct SignedPolicy {
    access_key_id: String,
    signature: Option<Signature>,
    session_token: Option<Zeroizing<String>>,
    policy: String,
}

impl SignedPolicy {
    /// Reads the fields of a form; `field` gives one by its name in lower case. `None` where the
    /// form has no part of a Version 2 signature.
    pub fn parse<'f>(field: impl Fn(&str) -> Option<&'f str>) -> Result<Option<Self>, SigV2Error> {
        let fields = (field("awsaccesskeyid"), field("signature"), field("policy"));
        let (access_key_id, signature, policy) = match fields {
            (None, None, _) => return Ok(None),
            (Some(access_key_id), Some(signature), Some(policy)) => {
                (access_key_id, signature, policy)
            }
            _ => {
                return Err(SigV2Error::FormMalformed(
                    "AWSAccessKeyId, policy and signature are required together",
                ));
            }
        };
        if VERSION_4.iter().any(|name| field(name).is_some()) {
            return Err(SigV2Error::FormMalformed(
                "it must be of Version 2 or of Version 4, not of both",
            ));
        }
        Ok(Some(Self {
            access_key_id: access_key_id.to_owned(),
            signature: Signature::from_base64(signature),
            session_token: field("x-amz-security-token")
                .map(|token| Zeroizing::new(token.to_owned())),
            policy: policy.to_owned(),
        }))
    }

    /// Whose signature it claims to be.
    #[must_use]
    pub fn access_key_id(&self) -> &str {
        &self.access_key_id
    }

    /// The session token that came along; to be compared in constant time, never forwarded.
    #[must_use]
    pub fn session_token(&self) -> Option<&str> {
        self.session_token.as_ref().map(|token| token.as_str())
    }

    /// Verifies the signature with the client's secret. Until when the form is good its policy
    /// says.
    pub fn verify(&self, secret: &SecretAccessKey) -> Result<(), SigV2Error> {
        let key = SigningKey::new(secret);
        let good = self
            .signature
            .as_ref()
            .is_some_and(|signature| key.verifies(self.policy.as_bytes(), signature));
        if good {
            Ok(())
        } else {
            Err(SigV4Error::PolicyMismatch.into())
        }
    }
}
