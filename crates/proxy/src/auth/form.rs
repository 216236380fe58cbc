//! A browser's form (PostObject): verification of its policy, and the fields that are admitted.
//!
//! The request's head does not identify the sender. Until its fields have been read a form is an
//! [`UnreadForm`]: unambiguous, addressed to a bucket, a PostObject, and no more. The signature is
//! verified before the fields are used for anything else. The key is known only after the policy's
//! `${filename}` has been replaced; [`crate::authorization`] checks grants after that.
//!
//! Invariant: the object's metadata comes from the fields alone. A header or a query parameter that
//! would change it is refused, since no policy covers it.

use bytes::Bytes;
use http::Method;
use http::header::CONTENT_LENGTH;
use http::request::Parts;
use http::uri::Scheme;
use s3proxy_protocol::address::{Address, AddressingStyle};
use s3proxy_protocol::error::{ErrorCode, S3Error};
use s3proxy_protocol::header_rules;
use s3proxy_protocol::headers;
use s3proxy_protocol::name::{BucketName, ObjectKey};
use s3proxy_protocol::operation::{self, Operation};
use s3proxy_protocol::post::{
    Boundary, FileBounds, FormFields, FormHead, LengthRange, Policy, PostError, SuccessAction,
};
use s3proxy_protocol::query::Query;
use s3proxy_protocol::sigv4::{self, Authentication, PayloadMode, SignedPolicy};
use time::OffsetDateTime;

use super::version_2;
use super::{
    Authenticated, Authenticator, ClassifiedHead, Gate, Identity, anonymous, check_session_token,
    host, known_client,
};
use crate::record::RequestRecord;
use crate::s3_request::UnparsedRequest;

/// S3 headers that SDKs send with every request, and that do not affect an object.
const HARMLESS: &[&str] = &[
    "x-amz-cf-id",
    "x-amz-content-sha256",
    "x-amz-date",
    "x-amz-user-agent",
];

/// A form whose fields have not been read yet: its sender is unknown.
pub(crate) struct UnreadForm {
    parts: Parts,
    address: Address,
    boundary: Boundary,
    content_length: u64,
}

/// An admitted form, without the object's headers. Its file is still to be read.
pub(crate) struct PostedForm {
    pub(crate) boundary: Boundary,
    pub(crate) bounds: FileBounds,
    /// Limits of the policy on the file's length.
    pub(crate) range: LengthRange,
    /// Bytes of the file that were read along with the fields.
    pub(crate) first: Bytes,
    pub(crate) success: SuccessAction,
    /// Where the object will be, as this client sees it.
    pub(crate) location: String,
}

/// Whether a request is a PostObject, before its sender is known. Only a POST to a bucket is
/// classified here: any other request must be authenticated before anything is decided about it.
pub(super) fn is_form(parts: &Parts, address: &Address, query: &Query) -> bool {
    if parts.method != Method::POST || address.bucket.is_none() || address.key.is_some() {
        return false;
    }
    let operation = operation::classify(&parts.method, address, query, &parts.headers);
    operation == Ok(Operation::PostObject)
}

impl UnreadForm {
    /// Takes the head of a request for which [`is_form`] holds.
    pub(super) fn new(parts: Parts, address: Address, query: &Query) -> Result<Self, S3Error> {
        let not_implemented = |message| Err(S3Error::new(ErrorCode::NotImplemented, message));
        match sigv4::parse(parts.uri.query(), &parts.headers) {
            Ok(Authentication::Anonymous) => {}
            Ok(Authentication::Signed(_)) | Err(_) => {
                return not_implemented(
                    "A form is not signed in its header or its query, but by its fields: policy, \
                     X-Amz-Algorithm, X-Amz-Credential, X-Amz-Date and X-Amz-Signature."
                        .to_owned(),
                );
            }
        }
        let header = parts
            .headers
            .keys()
            .find(|name| name.as_str().starts_with("x-amz-") && !HARMLESS.contains(&name.as_str()));
        if let Some(name) = header {
            return not_implemented(format!(
                "The header {name} is not supported with a form; send a field of that name."
            ));
        }
        if query.pairs().any(|(name, _)| name != "x-id") {
            return not_implemented("A form has no parameters in its query.".to_owned());
        }
        let boundary = Boundary::from_headers(&parts.headers).map_err(refused)?;
        let content_length = headers::parsed(&parts.headers, CONTENT_LENGTH);
        let content_length = content_length.ok_or_else(|| {
            S3Error::new(
                ErrorCode::MissingContentLength,
                "The length of the form must be announced: send Content-Length.",
            )
        })?;
        Ok(Self {
            parts,
            address,
            boundary,
            content_length,
        })
    }

    pub(crate) fn boundary(&self) -> &Boundary {
        &self.boundary
    }

    fn location(&self, bucket: &str, key: &ObjectKey) -> Result<String, S3Error> {
        let scheme = self.parts.extensions.get().unwrap_or(&Scheme::HTTP);
        let host = host(&self.parts.headers)?;
        let key = key.encode();
        Ok(match self.address.style {
            AddressingStyle::Path => format!("{scheme}://{host}/{bucket}/{key}"),
            AddressingStyle::VirtualHost => format!("{scheme}://{host}/{key}"),
        })
    }
}

impl Gate {
    /// Admits a form after its fields have been read; `first` is the beginning of its file.
    pub(crate) fn admit_form(
        &self,
        form: UnreadForm,
        head: FormHead,
        first: Bytes,
        now: OffsetDateTime,
        record: &RequestRecord,
    ) -> Result<(Authenticated<UnparsedRequest>, PostedForm), S3Error> {
        let FormHead {
            mut fields,
            file_name,
            length,
        } = head;
        let identity = self.signer(&fields, now, record)?;
        identity.tell(record);
        record.counted_as(identity.label());
        // Before the policy is judged: its conditions apply to the expanded fields.
        fields.expand(&file_name).map_err(refused)?;
        let bucket = form.address.bucket.as_ref().map_or("", BucketName::as_str);
        let range = judge(bucket, &fields, now)?;
        let key = fields.get("key");
        let key = ObjectKey::new(key.ok_or_else(|| refused(PostError::MissingField("key")))?)?;
        record.target(None, Some(key.as_str()));
        // Content-Length covers the whole form; `length` is the part before the file.
        let rest = form.content_length.saturating_sub(length as u64);
        let posted = PostedForm {
            bounds: FileBounds::new(&form.boundary, rest).map_err(refused)?,
            range,
            first,
            success: SuccessAction::of(&fields),
            location: form.location(bucket, &key)?,
            boundary: form.boundary,
        };
        let mut headers = fields.headers()?;
        header_rules::remove_empty(&mut headers);
        let head = ClassifiedHead {
            method: form.parts.method,
            headers,
            address: Address {
                key: Some(key),
                ..form.address
            },
            operation: Operation::PostObject,
            query: Query::default(),
        };
        // The policy signs the fields, not the file.
        let request = Authenticated::new(head, identity, PayloadMode::Unsigned)?;
        Ok((request, posted))
    }

    fn signer(
        &self,
        fields: &FormFields,
        now: OffsetDateTime,
        record: &RequestRecord,
    ) -> Result<Identity, S3Error> {
        let clients = match &self.authenticator {
            Authenticator::SigV4 { clients } => clients,
            Authenticator::Nobody => return Ok(Identity::unauthenticated()),
        };
        if let Some(identity) = version_2::signer(clients, fields, record)? {
            return Ok(identity);
        }
        let signed = SignedPolicy::parse(|name| fields.get(name));
        let signed = signed.map_err(|error| error.s3_error())?;
        let signed = signed.ok_or_else(anonymous)?;
        record.claims(signed.access_key_id());
        let client = known_client(clients, signed.access_key_id())?;
        check_session_token(client, signed.session_token())?;
        let keys = &client.signing_keys;
        let verified = keys.verify(&client.secret, signed.scope(), |key| {
            signed.verify(key, now)
        });
        verified.map_err(|error| error.s3_error())?;
        Ok(Identity::listed(client))
    }
}

/// Checks the fields against the policy. There is none only under `auth = none`.
fn judge(bucket: &str, fields: &FormFields, now: OffsetDateTime) -> Result<LengthRange, S3Error> {
    if fields.get("bucket").is_some_and(|named| named != bucket) {
        return Err(refused(PostError::InvalidField(
            "bucket".to_owned(),
            "it is not the bucket that the form was sent to",
        )));
    }
    match fields.get("policy") {
        None => Ok(LengthRange::ANY),
        Some(policy) => Policy::from_base64(policy)
            .and_then(|policy| policy.judge(bucket, fields, now))
            .map_err(refused),
    }
}

#[expect(
    clippy::needless_pass_by_value,
    reason = "it stands in for a conversion in map_err"
)]
fn refused(error: PostError) -> S3Error {
    error.s3_error()
}
