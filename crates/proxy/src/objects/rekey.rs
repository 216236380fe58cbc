//! Rewraps an object's data key under another key-encryption key: a copy onto itself that moves no
//! data.
//!
//! The backend copies the body onto itself under new metadata: the same data key, wrapped for the
//! key and the binding that a new object would get in this place, and the envelope's private part,
//! sealed for them again. All other properties that HEAD shows are sent too, since REPLACE drops
//! headers that are not sent. Readers see the old envelope or the new one, and both open.
//!
//! The copy is conditional on the ETag of the HEAD, at its source and, if the backend supports it,
//! at its target. The source is never named by its version: copying a version would hide a client's
//! write that came meanwhile. Afterwards a HEAD checks the result, and lost metadata is reported. A
//! lost envelope is a failure, since the object still needs its old key. Tags are read before the
//! copy and put back after it, since Ceph's gateway (16) loses them.
//!
//! Not kept: the ACL, in buckets that still use ACLs, and the ETag of objects that were uploaded in
//! parts, which the backend computes.

use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use s3proxy_envelope::header::Envelope;
use s3proxy_protocol::copy_source::CopySource;
use s3proxy_protocol::etag::ETag;
use s3proxy_protocol::headers::{
    self, COPY_SOURCE, COPY_SOURCE_IF_MATCH, LEGAL_HOLD, LOCK_MODE, LOCK_UNTIL, METADATA_DIRECTIVE,
    MISSING_METADATA,
};
use s3proxy_protocol::http_date;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::failure::{BackendAnswer, Failure, Outcome};
use crate::keys::scope::binding_flags;
use crate::objects::call::expect_success;
use crate::objects::copy::sealed::{COPY_TIMEOUT, MAX_STORED_BYTES, result};
use crate::objects::copy_directives;
use crate::objects::copy_in_parts::{self, Pinned};
use crate::objects::new_object::{NewObject, insert_envelope};
use crate::objects::read::{self, Found, Source};
use crate::objects::stored::{self, Form};
use crate::objects::{ObjectRef, Store, StoreCall, plaintext_headers, tags, versions};
use crate::stored_fault::StoredFault;

/// Headers that a REPLACE copy must repeat besides content headers and user metadata.
const NAMED_AGAIN: [HeaderName; 8] = [
    HeaderName::from_static("x-amz-storage-class"),
    HeaderName::from_static("x-amz-website-redirect-location"),
    HeaderName::from_static("x-amz-server-side-encryption"),
    HeaderName::from_static("x-amz-server-side-encryption-aws-kms-key-id"),
    HeaderName::from_static("x-amz-server-side-encryption-bucket-key-enabled"),
    LEGAL_HOLD,
    LOCK_MODE,
    LOCK_UNTIL,
];

/// Conditions that the copy request carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Conditions {
    /// Conditions on the source and on the target.
    SourceAndTarget,
    /// A condition on the source only: the backend ignores or rejects one on the target.
    Source,
}

/// Result of a rewrap.
#[derive(Debug)]
pub(crate) struct Rewrapped {
    /// Version that the copy created, if the bucket has versions.
    pub(crate) version: Option<String>,
    /// Names of the headers that the backend did not keep.
    pub(crate) lost: Vec<String>,
}

/// Whether the envelope has the key and the binding that a new object would get here.
pub(crate) fn is_right(store: &Store, object: ObjectRef<'_>, envelope: &Envelope) -> bool {
    let storing = store.storing(object);
    let bind = binding_flags(storing.key_binding);
    envelope.key_name == storing.key.name() && envelope.flags.without_private() == bind
}

/// Rewraps `found`, which is the current version.
pub(crate) async fn rewrap(
    call: &StoreCall<'_>,
    source: &Source<'_>,
    found: &Found,
    envelope: &Envelope,
    conditions: Conditions,
) -> Outcome<Rewrapped> {
    if let Some(reason) = hindrance(&found.headers) {
        return Err(StoredFault::malformed(reason).into());
    }
    let dek = read::unwrap(call, source, envelope).await?;
    let private = plaintext_headers::private_map(source, envelope, &dek)?.unwrap_or_default();
    let object = NewObject::under(call, envelope.layout, source.object, &private, dek).await?;
    let mut outgoing = HeaderMap::new();
    copy_directives::carry(&mut outgoing, &found.headers, &call.store.dek_tag);
    plaintext_headers::remove_forged_metadata(&mut outgoing, &private);
    name_again(&mut outgoing, &found.headers, OffsetDateTime::now_utc());
    insert_envelope(call.store, &mut outgoing, &object.envelope(envelope.head))?;
    // The headers that the copy must show afterwards, without source and conditions.
    let expected = outgoing.clone();
    let pinned = pinned(source, found)?;
    insert_conditions(&mut outgoing, &pinned, conditions);

    // While the tags are certainly there: after the copy the source is gone.
    let tags = tags::before_replacement(call, source, found).await?;
    let copied = match send(call, source, found, outgoing).await? {
        CopyAttempt::CopyResponse(copied) => copied,
        CopyAttempt::TooLarge if may_copy_in_parts(call, conditions) => {
            in_parts(call, source, found, expected.clone(), &pinned).await?
        }
        CopyAttempt::TooLarge => return Err(too_large(found)),
    };
    tags.settle(call, source.object, source, found, &copied.headers)
        .await?;
    let version = versions::version(&copied.headers).map(str::to_owned);
    look_at(call, source, &copied, version, &expected).await
}

/// Reason why a copy would lose some of the object's metadata.
pub(crate) fn hindrance(headers: &HeaderMap) -> Option<String> {
    let missing = headers::text(headers, MISSING_METADATA)?;
    (missing != "0").then(|| {
        format!(
            "{missing} of its metadata values cannot be read over HTTP and would be lost; set them \
             again, or write the object again"
        )
    })
}

/// Adds the headers that REPLACE would drop. Retention that has ended cannot be set again.
pub(crate) fn name_again(outgoing: &mut HeaderMap, seen: &HeaderMap, now: OffsetDateTime) {
    let until = headers::text(seen, LOCK_UNTIL);
    let until = until.and_then(|until| OffsetDateTime::parse(until.trim(), &Rfc3339).ok());
    let has_ended = until.is_some_and(|until| until <= now);
    for name in NAMED_AGAIN {
        let is_retention = name == LOCK_MODE || name == LOCK_UNTIL;
        if let Some(value) = seen.get(&name)
            // An empty value means that the property is not set.
            && !value.is_empty()
            && !(is_retention && has_ended)
        {
            outgoing.insert(name, value.clone());
        }
    }
}

/// The object as the source of a copy onto itself, pinned to its ETag.
fn pinned(source: &Source<'_>, found: &Found) -> Outcome<Pinned> {
    let itself = CopySource {
        bucket: source.object.bucket.clone(),
        key: source.object.key.clone(),
        version_id: None,
    };
    let itself = HeaderValue::try_from(itself.encode()).expect("percent-encoded text is ASCII");
    let etag = HeaderValue::try_from(found.etag()?).expect("it was a header's value");
    let source = itself;
    Ok(Pinned { source, etag })
}

fn insert_conditions(outgoing: &mut HeaderMap, pinned: &Pinned, conditions: Conditions) {
    outgoing.insert(COPY_SOURCE, pinned.source.clone());
    outgoing.insert(METADATA_DIRECTIVE, HeaderValue::from_static("REPLACE"));
    match conditions {
        Conditions::SourceAndTarget => {
            outgoing.insert(header::IF_MATCH, pinned.etag.clone());
        }
        Conditions::Source => {}
    }
    outgoing.insert(COPY_SOURCE_IF_MATCH, pinned.etag.clone());
}

/// Whether a copy in parts cannot overwrite a client's write: nobody writes meanwhile, or the
/// backend honors a condition on a completion. The probe tests single copies only; AWS is
/// documented to honor it.
fn may_copy_in_parts(call: &StoreCall<'_>, conditions: Conditions) -> bool {
    match conditions {
        Conditions::Source => true,
        Conditions::SourceAndTarget => call.is_aws(),
    }
}

async fn in_parts(
    call: &StoreCall<'_>,
    source: &Source<'_>,
    found: &Found,
    outgoing: HeaderMap,
    pinned: &Pinned,
) -> Outcome<CopyResponse> {
    match copy_in_parts::copy(call, source, found, outgoing, pinned).await {
        Ok((headers, etag)) => Ok(CopyResponse { headers, etag }),
        Err(Failure::Answer(answered)) if is_of_condition(&answered) => Err(Failure::Replaced),
        Err(failure) => Err(failure),
    }
}

/// Whether a condition on the ETag failed, or the copy conflicted with another write (409).
fn is_of_condition(answered: &BackendAnswer) -> bool {
    let conflicts = answered.document.code == "ConditionalRequestConflict";
    answered.status == StatusCode::PRECONDITION_FAILED || conflicts
}

fn too_large(found: &Found) -> Failure {
    Failure::from(StoredFault::malformed(format!(
        "the object has {} bytes, and the backend copies at most 5 GiB at once; stop everything that writes \
         to the bucket and use --offline, which copies it in parts, or read it through the proxy and \
         write it again",
        found.stored.0
    )))
}

/// The backend's response to a copy.
struct CopyResponse {
    headers: HeaderMap,
    etag: ETag,
}

enum CopyAttempt {
    CopyResponse(CopyResponse),
    /// The object is larger than the backend copies in one request.
    TooLarge,
}

async fn send(
    call: &StoreCall<'_>,
    source: &Source<'_>,
    found: &Found,
    outgoing: HeaderMap,
) -> Outcome<CopyAttempt> {
    let mut request = source.request(call, Method::PUT);
    request.headers.extend(outgoing);
    request.response_timeout = Some(COPY_TIMEOUT);
    let backed = call.send(request).await?;
    let headers = backed.headers.clone();
    let failure = match result(backed).await {
        Ok(result) => {
            let etag = result.etag;
            return Ok(CopyAttempt::CopyResponse(CopyResponse { headers, etag }));
        }
        Err(failure) => failure,
    };
    let Failure::Answer(answered) = &failure else {
        return Err(failure);
    };
    if is_of_condition(answered) {
        return Err(Failure::Replaced);
    }
    // The code differs between backends. Only above S3's limit can the size be the reason.
    let refuses_size = ["InvalidRequest", "EntityTooLarge"];
    if found.stored.0 > MAX_STORED_BYTES && refuses_size.contains(&answered.document.code.as_str())
    {
        return Ok(CopyAttempt::TooLarge);
    }
    Err(failure)
}

/// Checks the copy with a HEAD, and returns the metadata that it lacks. For an object that was
/// overwritten or deleted meanwhile nothing is reported, unless its replacement does not use the
/// key of new objects either.
async fn look_at(
    call: &StoreCall<'_>,
    source: &Source<'_>,
    copied: &CopyResponse,
    version: Option<String>,
    expected: &HeaderMap,
) -> Outcome<Rewrapped> {
    let copy = Source {
        object: source.object.at(version.as_deref()),
        headers: source.headers.clone(),
    };
    let request = copy.request(call, Method::HEAD);
    let backed = call.send(request).await?;
    let nothing_lost = |version| Rewrapped {
        version,
        lost: Vec::new(),
    };
    // Deleted after the copy: there is nothing to compare.
    if backed.status == StatusCode::NOT_FOUND {
        return Ok(nothing_lost(version));
    }
    let backed = expect_success(backed).await?;
    let is_copy = ETag::from_headers(&backed.headers).is_some_and(|etag| etag == copied.etag);
    let tag = call.store.dek_tag.header();
    // The envelope is compared before the ETag: it decides whether the old key is still needed.
    if backed.headers.get(tag) != expected.get(tag) {
        return match stored::form(&backed.headers, &call.store.dek_tag) {
            Ok(Form::Sealed(envelope))
                if !is_copy && is_right(call.store, source.object, &envelope) =>
            {
                Ok(nothing_lost(version))
            }
            // Overwritten by an object that needs rewrapping too: start again.
            Ok(_) if !is_copy => Err(Failure::Replaced),
            // The backend copied the body but kept the old metadata.
            Ok(_) | Err(_) => Err(Failure::Unusable(
                "success for a copy with an unchanged envelope",
            )),
        };
    }
    if !is_copy {
        return Ok(nothing_lost(version));
    }
    // Ceph's gateway (16) does not return the version that a copy created.
    let named = versions::version(&backed.headers).map(str::to_owned);
    Ok(Rewrapped {
        lost: differences(expected, &backed.headers),
        version: version.or(named),
    })
}

pub(crate) fn differences(expected: &HeaderMap, has: &HeaderMap) -> Vec<String> {
    let differs = |name: &HeaderName| !is_same(name, expected.get(name), has.get(name));
    let names = expected.keys().filter(|name| differs(name));
    names.map(|name| name.as_str().to_owned()).collect()
}

fn is_same(name: &HeaderName, one: Option<&HeaderValue>, other: Option<&HeaderValue>) -> bool {
    if one == other {
        return true;
    }
    let text = |value: Option<&HeaderValue>| headers::value_text(value?).map(str::to_owned);
    let (one, other) = (text(one), text(other));
    if *name == LOCK_UNTIL {
        // Backends format the date in several ways.
        let time = |text: &Option<String>| OffsetDateTime::parse(text.as_deref()?, &Rfc3339).ok();
        return time(&one).is_some() && time(&one) == time(&other);
    }
    if *name == header::EXPIRES {
        let time = |text: &Option<String>| http_date::parse(text.as_deref()?);
        return time(&one).is_some() && time(&one) == time(&other);
    }
    // Backends may omit the default storage class.
    name.as_str() == "x-amz-storage-class" && one.as_deref() == Some("STANDARD") && other.is_none()
}

#[cfg(test)]
mod tests {
    use time::macros::datetime;

    use super::*;

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        let pairs = pairs.iter().map(|(name, value)| {
            let name = HeaderName::from_static(name);
            (name, HeaderValue::from_static(value))
        });
        pairs.collect()
    }

    #[test]
    fn what_replace_would_drop_is_named_again() {
        let seen = headers(&[
            ("x-amz-storage-class", "STANDARD_IA"),
            ("x-amz-website-redirect-location", "/x"),
            ("x-amz-server-side-encryption", "AES256"),
            ("x-amz-object-lock-legal-hold", "ON"),
            ("x-amz-object-lock-mode", "GOVERNANCE"),
            (
                "x-amz-object-lock-retain-until-date",
                "2030-01-01T00:00:00Z",
            ),
            ("x-amz-version-id", "3"),
            ("x-amz-server-side-encryption-customer-algorithm", "AES256"),
            ("etag", "\"e\""),
        ]);
        let mut outgoing = HeaderMap::new();
        name_again(&mut outgoing, &seen, datetime!(2026-01-01 0:00 UTC));
        assert_eq!(outgoing.len(), 6);
        let mut outgoing = HeaderMap::new();
        name_again(&mut outgoing, &seen, datetime!(2031-01-01 0:00 UTC));
        assert_eq!(outgoing.len(), 4);
        assert!(!outgoing.contains_key(LOCK_MODE) && outgoing.contains_key(LEGAL_HOLD));
    }

    #[test]
    fn what_the_copy_does_not_have_is_told() {
        let expected = headers(&[
            ("content-type", "text/plain"),
            ("x-amz-meta-a", "1"),
            ("x-amz-storage-class", "STANDARD"),
            (
                "x-amz-object-lock-retain-until-date",
                "2030-01-01T00:00:00Z",
            ),
            ("x-amz-website-redirect-location", "/x"),
        ]);
        let has = headers(&[
            ("content-type", "text/plain"),
            ("x-amz-meta-a", "2"),
            (
                "x-amz-object-lock-retain-until-date",
                "2030-01-01T00:00:00.000Z",
            ),
        ]);
        let mut lost = differences(&expected, &has);
        lost.sort();
        assert_eq!(lost, ["x-amz-meta-a", "x-amz-website-redirect-location"]);
    }

    #[test]
    fn metadata_that_cannot_be_read_are_in_the_way() {
        assert!(hindrance(&headers(&[("x-amz-missing-meta", "2")])).is_some());
        assert!(hindrance(&headers(&[("x-amz-missing-meta", "0")])).is_none());
        assert!(hindrance(&HeaderMap::new()).is_none());
    }
}
