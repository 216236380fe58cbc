//! Keys and envelope of an object that is about to be stored, for any operation.
//!
//! The data key is generated here, or kept by a copy. It is wrapped under the key that the rules
//! select, and bound to bucket and key as they require. Private data (checksums, sealed user
//! metadata) goes into the envelope's private map. The head of the body is known only after its
//! sealer was made, so the envelope is written last.
//!
//! The body and the other headers are the operation's task.

use std::collections::BTreeMap;

use http::{HeaderMap, HeaderName, HeaderValue};
use s3proxy_envelope::dek::{Binding, Dek};
use s3proxy_envelope::header::{Envelope, Flags, Layout, PrivateMap};
use s3proxy_envelope::message::MessageHead;
use s3proxy_envelope::names::{BucketStr, KeyStr};
use s3proxy_protocol::checksum::{ChecksumAlgorithm, ChecksumValue};
use s3proxy_protocol::error::{ErrorCode, S3Error};
use s3proxy_protocol::header_rules::METADATA_PREFIX;
use s3proxy_protocol::headers::CHECKSUM_TYPE;

use crate::config::resolved::{AnnounceEncryption, Metadata};
use crate::keys::scope::binding_flags;
use crate::keys::{KeyError, SealingKey, Wrapped};
use crate::objects::{ObjectRef, Store, StoreCall, stored};
use crate::telemetry::audit::Stored;

/// S3's limit for user metadata, names and values together, in bytes (S3 User Guide, "Working with
/// object metadata").
const USER_METADATA_BYTES: usize = 2048;

/// Most user metadata, names and values together, that a response of the backend can return whole:
/// its head may have 64 KiB. Some backends accept more than S3, as does `listen.max_header_bytes`.
const READABLE_METADATA_BYTES: usize = 48 * 1024;

/// A checksum of the whole plaintext.
pub(crate) type Checksum = (ChecksumAlgorithm, ChecksumValue);

/// Key-encryption key and binding of a new object. Obtained before the body takes memory: while a
/// key service does not respond, the request holds no memory that others need.
pub(crate) struct SealingTarget<'p> {
    object: ObjectRef<'p>,
    flags: Flags,
    key: SealingKey,
}

impl<'p> SealingTarget<'p> {
    /// Selects the key and the binding by the rules for the object.
    pub(crate) async fn new(call: &StoreCall<'_>, object: ObjectRef<'p>) -> Result<Self, KeyError> {
        let storing = call.storing(object);
        let flags = binding_flags(storing.key_binding);
        let key = call.store.keys.sealing_key(&storing.key).await?;
        Ok(Self { object, flags, key })
    }

    /// The object that is about to be stored.
    pub(crate) fn object(&self) -> ObjectRef<'p> {
        self.object
    }
}

/// Keys and envelope of a new object.
pub(crate) struct NewObject {
    layout: Layout,
    flags: Flags,
    private: Option<Vec<u8>>,
    wrapped: Wrapped,
    pub(crate) dek: Dek,
}

impl NewObject {
    /// Makes an object with a new data key.
    pub(crate) async fn new(
        call: &StoreCall<'_>,
        layout: Layout,
        object: ObjectRef<'_>,
        private: &PrivateMap,
    ) -> Result<Self, KeyError> {
        Self::under(call, layout, object, private, Dek::generate()).await
    }

    /// Makes an object whose body is already sealed under `dek`: a copy that moves no data.
    pub(crate) async fn under(
        call: &StoreCall<'_>,
        layout: Layout,
        object: ObjectRef<'_>,
        private: &PrivateMap,
        dek: Dek,
    ) -> Result<Self, KeyError> {
        let target = SealingTarget::new(call, object).await?;
        Ok(Self::wrapped(call, &target, layout, private, dek))
    }

    /// Makes an object whose body is sealed under `dek`, which is wrapped for `target`.
    pub(crate) fn wrapped(
        call: &StoreCall<'_>,
        target: &SealingTarget<'_>,
        layout: Layout,
        private: &PrivateMap,
        dek: Dek,
    ) -> Self {
        // The flag is part of the binding: without its private map the envelope does not unwrap.
        let flags = if private.is_empty() {
            target.flags
        } else {
            target.flags.with_private()
        };
        let ObjectRef { bucket, key, .. } = target.object;
        let binding = Binding::new(
            layout,
            flags,
            BucketStr(bucket.as_str()),
            KeyStr(key.as_str()),
        );
        let private = (!private.is_empty()).then(|| private.seal(&dek, &binding));
        let wrapped = target.key.wrap(&dek, &binding);
        call.writes(|| Stored::sealed(&wrapped.key_name));
        Self {
            layout,
            flags,
            private,
            wrapped,
            dek,
        }
    }

    /// Makes the envelope. `head` is the head of the body in layout 1, and absent in layout 2.
    pub(crate) fn envelope(&self, head: Option<MessageHead>) -> Envelope {
        Envelope {
            layout: self.layout,
            key_name: self.wrapped.key_name.clone(),
            wrapped_dek: self.wrapped.dek,
            head,
            flags: self.flags,
            private: self.private.clone(),
            encrypted_kek: self.wrapped.encrypted_kek.clone(),
        }
    }
}

/// Adds the envelope to the headers of a write. Refuses metadata that could not be read back, and
/// metadata that exceeds S3's limit because sealing made it longer.
pub(crate) fn insert_envelope(
    store: &Store,
    headers: &mut HeaderMap,
    envelope: &Envelope,
) -> Result<(), S3Error> {
    let value = HeaderValue::try_from(envelope.encode()).expect("an envelope is ASCII");
    headers.insert(store.dek_tag.header().clone(), value);
    let used = metadata_bytes(headers);
    let (most, form) = match store.policy.metadata {
        Metadata::Sealed => (USER_METADATA_BYTES, "sealed "),
        Metadata::Plain => (READABLE_METADATA_BYTES, ""),
    };
    if used <= most {
        return Ok(());
    }
    Err(S3Error::new(
        ErrorCode::MetadataTooLarge,
        format!(
            "Your metadata headers exceed the maximum allowed metadata size: {form}they take {used} \
             bytes of {most}; shorten them."
        ),
    ))
}

fn metadata_bytes(headers: &HeaderMap) -> usize {
    headers
        .iter()
        .filter_map(|(name, value)| {
            let name = name.as_str().strip_prefix(METADATA_PREFIX)?;
            Some(name.len() + value.len())
        })
        .sum()
}

/// Private data of an object: the checksum and, if it is to be sealed, the user metadata, which is
/// taken out of `headers`.
pub(crate) fn private_map(
    store: &Store,
    headers: &mut HeaderMap,
    checksum: Option<&Checksum>,
) -> PrivateMap {
    let mut map = PrivateMap::default();
    if let Some((algorithm, value)) = checksum {
        let name = algorithm.as_str().to_owned();
        map.checksums.insert(name, value.as_bytes().to_vec());
    }
    match store.policy.metadata {
        Metadata::Plain => {}
        Metadata::Sealed => map.user_metadata = take_user_metadata(headers),
    }
    map
}

/// Takes user metadata out of the headers. Repeated values are joined by commas, as in HTTP.
fn take_user_metadata(headers: &mut HeaderMap) -> BTreeMap<String, Vec<u8>> {
    let names: Vec<HeaderName> = headers
        .keys()
        .filter(|name| name.as_str().starts_with(METADATA_PREFIX))
        .cloned()
        .collect();
    let mut taken = BTreeMap::new();
    for name in names {
        let values: Vec<&[u8]> = headers
            .get_all(&name)
            .iter()
            .map(HeaderValue::as_bytes)
            .collect();
        let short = name.as_str()[METADATA_PREFIX.len()..].to_owned();
        taken.insert(short, values.join(&b","[..]));
        headers.remove(&name);
    }
    taken
}

/// Refuses metadata names that are reserved for envelopes, current or legacy.
pub(crate) fn refuse_reserved_metadata(store: &Store, headers: &HeaderMap) -> Result<(), S3Error> {
    for name in headers.keys() {
        if stored::is_reserved(name, &store.dek_tag) {
            return Err(S3Error::new(
                ErrorCode::InvalidArgument,
                format!("The metadata name {name} belongs to the proxy; choose another."),
            ));
        }
    }
    Ok(())
}

/// Adds a checksum of the whole plaintext to a response.
pub(crate) fn insert_checksum(
    headers: &mut HeaderMap,
    algorithm: ChecksumAlgorithm,
    value: &ChecksumValue,
) {
    let value = HeaderValue::try_from(value.to_base64()).expect("base64 is a header value");
    headers.insert(algorithm.header_name(), value);
    let whole = HeaderValue::from_static("FULL_OBJECT");
    headers.insert(CHECKSUM_TYPE, whole);
}

/// Announces SSE-KMS: SDKs then do not compare the ETag of a sealed object with their own MD5.
pub(crate) fn announce_encryption(headers: &mut HeaderMap, setting: AnnounceEncryption) {
    match setting {
        AnnounceEncryption::Off => {}
        AnnounceEncryption::On => {
            headers
                .entry("x-amz-server-side-encryption")
                .or_insert(HeaderValue::from_static("aws:kms"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sealed_metadata_leaves_the_headers_and_nothing_else_does() {
        let mut headers = HeaderMap::new();
        headers.append("x-amz-meta-a", HeaderValue::from_static("1"));
        headers.append("x-amz-meta-a", HeaderValue::from_static("2"));
        headers.append("x-amz-tagging", HeaderValue::from_static("t=1"));
        let taken = take_user_metadata(&mut headers);
        assert_eq!(taken, BTreeMap::from([("a".to_owned(), b"1,2".to_vec())]));
        assert_eq!(headers.len(), 1);
    }
}
