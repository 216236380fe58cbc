//! Properties of a stored object, according to the backend's headers.
//!
//! An object is sealed, in a legacy format, or plain, and the metadata header decides. A header
//! with an unknown form is an error, never plaintext: otherwise a damaged envelope would turn
//! ciphertext into content.

use std::sync::LazyLock;

use http::{HeaderMap, HeaderName, header};
use s3proxy_envelope::dek::Binding;
use s3proxy_envelope::header::Envelope;
use s3proxy_envelope::layout::{PlaintextLength, StoredLength, plaintext_length};
use s3proxy_envelope::legacy::{LegacyWrappedDek, legacy_plaintext_length};
use s3proxy_envelope::names::{BucketStr, KeyStr};
use s3proxy_protocol::error::{ErrorCode, S3Error};
use s3proxy_protocol::etag;
use s3proxy_protocol::headers;
use s3proxy_protocol::range::ContentRange;

use crate::config::resolved::{DekTag, Permission};
use crate::failure::Failure;
use crate::keys::legacy::{LegacyEnvelope, LegacyTag, RecordedVersion};
use crate::objects::{ObjectRef, StoreCall};
use crate::stored_fault::StoredFault;
use crate::telemetry::audit::StoredForm;

/// Metadata header of objects that Constellation's proxy wrote, and Intrinsec's if configured so.
pub(crate) const CONSTELLATION_TAG: &str = "x-amz-meta-constellation-dek";

static CONSTELLATION: LazyLock<DekTag> =
    LazyLock::new(|| "constellation-dek".parse().expect("a metadata name"));

/// Whether a metadata name is reserved for envelopes, current or legacy. Clients may not set these.
pub(crate) fn is_reserved(name: &HeaderName, tag: &DekTag) -> bool {
    tag.is_part(name.as_str()) || CONSTELLATION.is_part(name.as_str())
}

/// Removes envelopes of any form, and the KEK version of legacy ones, from a client's response.
pub(crate) fn remove_envelope(headers: &mut HeaderMap, tag: &DekTag) {
    let reserved: Vec<HeaderName> = headers
        .keys()
        .filter(|name| is_reserved(name, tag))
        .cloned()
        .collect();
    for name in reserved {
        headers.remove(name);
    }
}

/// Form of a stored object.
#[derive(Clone)]
pub(crate) enum Form {
    Sealed(Box<Envelope>),
    /// An object in a legacy format.
    Legacy(LegacyEnvelope),
    Plain,
}

/// Reads the form from an object's metadata.
pub(crate) fn form(headers: &HeaderMap, tag: &DekTag) -> Result<Form, Failure> {
    if let Some(text) = one_value(headers, tag.header().as_str())? {
        let legacy_tag = match tag.header().as_str() {
            CONSTELLATION_TAG => LegacyTag::Constellation,
            _ => LegacyTag::Configured,
        };
        // The configured tag may be one that a legacy proxy used, so both forms occur under it.
        if let Some(wrapped_dek) = LegacyWrappedDek::from_hex(text) {
            return legacy(headers, legacy_tag, tag, wrapped_dek);
        }
        return Envelope::parse(text)
            .map(|envelope| Form::Sealed(Box::new(envelope)))
            .map_err(|error| Failure::Stored(error.into()));
    }
    let Some(text) = one_value(headers, CONSTELLATION_TAG)? else {
        return Ok(Form::Plain);
    };
    let wrapped_dek = LegacyWrappedDek::from_hex(text)
        .ok_or_else(|| stored("the older proxy's wrapped key is not 80 hexadecimal digits"))?;
    legacy(
        headers,
        LegacyTag::Constellation,
        &CONSTELLATION,
        wrapped_dek,
    )
}

/// Reads a legacy envelope, with the KEK version in its own header. An unknown version is no error
/// here: the object's length follows without its key.
fn legacy(
    headers: &HeaderMap,
    tag: LegacyTag,
    names: &DekTag,
    wrapped_dek: LegacyWrappedDek,
) -> Result<Form, Failure> {
    let recorded = one_value(headers, names.kek_version_header().as_str())?;
    Ok(Form::Legacy(LegacyEnvelope {
        tag,
        kek_version: RecordedVersion::read(recorded),
        wrapped_dek,
    }))
}

fn one_value<'a>(headers: &'a HeaderMap, name: &str) -> Result<Option<&'a str>, Failure> {
    let mut values = headers.get_all(name).iter();
    match (values.next(), values.next()) {
        (None, _) => Ok(None),
        // Readers could disagree about which of two values counts.
        (Some(_), Some(_)) => Err(stored("the envelope, or its KEK version, is there twice")),
        (Some(value), None) => headers::value_text(value)
            .map(Some)
            .ok_or_else(|| stored("the envelope, or its KEK version, is not ASCII")),
    }
}

fn stored(reason: &str) -> Failure {
    StoredFault::malformed(reason).into()
}

/// Binding of an envelope's data key in this place.
pub(crate) fn binding(envelope: &Envelope, object: ObjectRef<'_>) -> Binding {
    let (bucket, key) = (object.bucket.as_str(), object.key.as_str());
    Binding::new(
        envelope.layout,
        envelope.flags,
        BucketStr(bucket),
        KeyStr(key),
    )
}

/// Refuses to serve an object that is not sealed, unless the settings allow it.
pub(crate) fn permit_plain(call: &StoreCall<'_>, object: ObjectRef<'_>) -> Result<(), Failure> {
    let (bucket, key) = (object.bucket.as_str(), object.key.as_str());
    match call.store.rules.plaintext_reads(bucket, key) {
        Permission::Allow => {
            call.reads(StoredForm::plaintext);
            Ok(())
        }
        Permission::Deny => Err(Failure::Refused(S3Error::new(
            ErrorCode::AccessDenied,
            "The stored object is not sealed, and the proxy's settings (policy.plaintext_reads or a \
             rule) refuse to serve it.",
        ))),
    }
}

/// Plaintext length of an object of this form. Of an object that is not sealed it is the stored
/// length.
pub(crate) fn length_of(form: &Form, stored: StoredLength) -> Result<PlaintextLength, Failure> {
    match form {
        Form::Sealed(_) => plaintext_length(stored).ok_or_else(|| {
            let reason = format!("no sealed object has {} bytes", stored.0);
            StoredFault::truncated(reason).into()
        }),
        Form::Legacy(_) => {
            legacy_plaintext_length(stored).map_err(|error| Failure::Stored(error.into()))
        }
        Form::Plain => Ok(PlaintextLength(stored.0)),
    }
}

/// Total length of the stored object in bytes, from `Content-Range` or `Content-Length`.
pub(crate) fn stored_length(headers: &HeaderMap) -> Result<StoredLength, Failure> {
    // First the range: in a 206 the Content-Length is only that of the part.
    match content_range(headers) {
        Some(ContentRange::Satisfied { total, .. }) => {
            return total
                .map(StoredLength)
                .ok_or(Failure::Unusable("Content-Range without a total"));
        }
        Some(ContentRange::Unsatisfied { total }) => return Ok(StoredLength(total)),
        None => {}
    }
    content_length(headers)
        .map(StoredLength)
        .ok_or(Failure::Unusable(
            "neither Content-Length nor Content-Range",
        ))
}

pub(crate) fn content_range(headers: &HeaderMap) -> Option<ContentRange> {
    ContentRange::parse(headers::text(headers, header::CONTENT_RANGE)?)
}

pub(crate) fn content_length(headers: &HeaderMap) -> Option<u64> {
    headers::parsed(headers, header::CONTENT_LENGTH)
}

/// Converts the `ETag` header of a sealed object to the client's form.
pub(crate) fn map_etag(headers: &mut HeaderMap) {
    let mapped = headers::text(headers, header::ETAG)
        .and_then(|text| http::HeaderValue::try_from(etag::to_client(text).as_ref()).ok());
    if let Some(value) = mapped {
        headers.insert(header::ETAG, value);
    }
}

#[cfg(test)]
mod tests {
    use s3proxy_envelope::legacy::KekVersion;

    use super::*;

    fn headers(name: &'static str, value: &str) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.append(name, value.parse().expect("a header value"));
        headers
    }

    #[test]
    fn a_damaged_envelope_is_an_error_and_never_plaintext() {
        let tag = "isec".parse::<DekTag>().expect("a tag");
        for damaged in ["", "s3p1.", "s3p1.AAAA", "s3p2.AAAA", "abc", "deadbeef"] {
            let read = form(&headers("x-amz-meta-isec", damaged), &tag);
            assert!(matches!(read, Err(Failure::Stored(_))), "{damaged}");
        }
    }

    #[test]
    fn names_that_a_server_takes_for_the_envelopes_are_reserved() {
        let tag = "my-tag_1".parse::<DekTag>().expect("a tag");
        for (name, expected) in [
            ("x-amz-meta-my-tag_1", true),
            ("x-amz-meta-my_tag-1", true),
            ("x-amz-meta-constellation-dek", true),
            ("x-amz-meta-constellation_dek", true),
            ("x-amz-meta-my-tag_1-kek-ver", true),
            ("x-amz-meta-my_tag-1_kek_ver", true),
            ("x-amz-meta-constellation-dek-kek-ver", true),
            ("x-amz-meta-kek-ver", false),
            ("x-amz-meta-constellation.dek", false),
            ("x-amz-meta-my-tag_12", false),
            ("x-amz-meta-my-tag", false),
        ] {
            let name = HeaderName::from_static(name);
            assert_eq!(is_reserved(&name, &tag), expected, "{name}");
        }
    }

    #[test]
    fn an_older_value_and_an_older_tag_are_recognised() {
        let tag = "isec".parse::<DekTag>().expect("a tag");
        let value = "9e".repeat(40);
        for (name, expected) in [
            ("x-amz-meta-isec", LegacyTag::Configured),
            (CONSTELLATION_TAG, LegacyTag::Constellation),
        ] {
            let read = form(&headers(name, &value), &tag);
            assert!(matches!(read, Ok(Form::Legacy(envelope)) if envelope.tag == expected));
        }
        let tag = "constellation-dek".parse::<DekTag>().expect("a tag");
        let read = form(&headers(CONSTELLATION_TAG, &value), &tag);
        assert!(
            matches!(read, Ok(Form::Legacy(envelope)) if envelope.tag == LegacyTag::Constellation)
        );
    }

    #[test]
    fn the_kek_version_is_read_from_beside_its_own_envelope() {
        let own = "isec".parse::<DekTag>().expect("a tag");
        let named = DekTag::new(
            "isec".parse().expect("a name"),
            Some("derived".parse().expect("a name")),
        );
        let one = Some(KekVersion::One);
        let zero = Some(KekVersion::Zero);
        for (tag, envelope, version, recorded, expected) in [
            (&own, "isec", "isec-kek-ver", "1", one),
            (&own, "isec", "isec-kek-ver", "", zero),
            (&own, "isec", "isec-kek-ver", "2", None),
            (&own, "isec", "derived", "1", zero),
            (&own, "isec", "constellation-dek-kek-ver", "1", zero),
            (&named, "isec", "derived", "1", one),
            (&named, "isec", "isec-kek-ver", "1", zero),
            (
                &own,
                "constellation-dek",
                "constellation-dek-kek-ver",
                "1",
                one,
            ),
            (&own, "constellation-dek", "isec-kek-ver", "1", zero),
        ] {
            let mut seen = HeaderMap::new();
            for (name, value) in [(envelope, &*"9e".repeat(40)), (version, recorded)] {
                let name = HeaderName::try_from(format!("x-amz-meta-{name}")).expect("a name");
                seen.append(name, value.parse().expect("a header value"));
            }
            let Ok(Form::Legacy(read)) = form(&seen, tag) else {
                panic!("{version}: {recorded}");
            };
            let known = match read.kek_version {
                RecordedVersion::Known(version) => Some(version),
                RecordedVersion::Unknown(value) => {
                    assert_eq!(&*value, recorded);
                    None
                }
            };
            assert_eq!(known, expected, "{version}: {recorded}");
        }
    }

    #[test]
    fn two_kek_versions_are_an_error() {
        let tag = "isec".parse::<DekTag>().expect("a tag");
        let mut seen = headers("x-amz-meta-isec", &"9e".repeat(40));
        for value in ["1", "1"] {
            let value = value.parse().expect("a header value");
            seen.append("x-amz-meta-isec-kek-ver", value);
        }
        assert!(matches!(form(&seen, &tag), Err(Failure::Stored(_))));
    }

    #[test]
    fn a_damaged_older_value_is_an_error_and_never_plaintext() {
        let tag = "isec".parse::<DekTag>().expect("a tag");
        let value = "9e".repeat(40);
        for damaged in ["", "s3p1.", &value[1..], &value.replace('9', "x")] {
            let read = form(&headers(CONSTELLATION_TAG, damaged), &tag);
            assert!(matches!(read, Err(Failure::Stored(_))), "{damaged}");
        }
    }

    #[test]
    fn a_client_is_told_of_no_envelope_whatever_its_tag() {
        let tag = "isec".parse::<DekTag>().expect("a tag");
        let mut told = headers("x-amz-meta-isec", "x");
        told.extend(headers(CONSTELLATION_TAG, "x"));
        told.extend(headers("x-amz-meta-isec-kek-ver", "1"));
        told.extend(headers("x-amz-meta-constellation-dek-kek-ver", "1"));
        told.extend(headers("x-amz-meta-other", "x"));
        remove_envelope(&mut told, &tag);
        assert_eq!(told, headers("x-amz-meta-other", "x"));
    }

    #[test]
    fn other_metadata_is_plain() {
        let read = form(
            &headers("x-amz-meta-other", "x"),
            &"isec".parse::<DekTag>().expect("a tag"),
        );
        assert!(matches!(read, Ok(Form::Plain)));
    }
}
