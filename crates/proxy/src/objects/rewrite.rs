//! Rewrites an object's content in another form: sealed in place, or as plaintext.
//!
//! The content is read by GetObject's readers and streamed, which bounds memory by the budget. A
//! sealed object gets a fresh data key. All other properties of the object are kept: user metadata,
//! content headers, tags, storage class, website redirect, the backend's encryption settings,
//! object lock, and in place the ACL. Afterwards the new object is checked, and losses are
//! reported.
//!
//! The write is conditional on the ETag of the HEAD, and a concurrent writer wins: the rewrite ends
//! with [`Failure::Replaced`]. Not kept: the ETag and the modification time.

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use http_body_util::BodyExt;
use s3proxy_envelope::layout::PlaintextLength;
use s3proxy_protocol::etag::ETag;
use s3proxy_protocol::header_rules::METADATA_PREFIX;
use s3proxy_protocol::headers::TAGGING;
use s3proxy_protocol::operation::Operation;
use time::OffsetDateTime;

use crate::backend::{BodyStream, Request, RequestBody};
use crate::body::buffers::PIECE_BYTES;
use crate::body::replaying::Replay;
use crate::config::resolved::Metadata;
use crate::failure::{Failure, Outcome};
use crate::objects::call::read_bounded;
use crate::objects::read::{self, Found, Source};
use crate::objects::rekey::{differences, hindrance, name_again};
use crate::objects::stored::Form;
use crate::objects::versions::{self, NULL_VERSION};
use crate::objects::write::{self, Copied, Destination, response_etag, written_headers};
use crate::objects::{
    ObjectRef, StoreCall, copy_directives, document_times, plaintext_headers, tags, write_in_parts,
};
use crate::stored_fault::StoredFault;

/// S3's limit for PutObject, in bytes.
const MAX_PLAINTEXT: PlaintextLength = PlaintextLength(5 << 30);

/// Longest ACL that is read, in bytes: S3 allows at most 100 grants.
const MAX_ACL_BYTES: usize = 256 * 1024;

/// Form of the rewritten object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NewForm {
    /// Format v1, under a fresh data key.
    Sealed,
    /// Plaintext.
    Plaintext,
}

/// Condition on the target of the write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Condition {
    /// The target is the source, and must not have changed since it was read.
    Unchanged,
    /// The target is the source, and nobody else writes to it.
    InPlace,
    /// The target must not exist.
    Absent,
    /// The target is overwritten unconditionally.
    Anything,
}

/// Result of a rewrite.
#[derive(Debug)]
pub(crate) struct Rewritten {
    /// Version that the write created, if the bucket has versions.
    pub(crate) version: Option<String>,
    /// Names of the properties that the backend did not keep.
    pub(crate) lost: Vec<String>,
}

/// Rewrites the content of `found`, which may be the target itself.
pub(crate) async fn rewrite(
    call: &StoreCall<'_>,
    target: ObjectRef<'_>,
    source: &Source<'_>,
    found: &Found,
    form: NewForm,
    condition: Condition,
) -> Outcome<Rewritten> {
    if let Some(reason) = hindrance(&found.headers) {
        return Err(StoredFault::malformed(reason).into());
    }
    let mut outgoing = kept_headers(call, source, found).await?;
    let expected = expected(call, form, &outgoing);
    // Added after `expected` was made: a HEAD does not show tags.
    if let Some(tags) = tags::header_of_source(call, source, found).await? {
        outgoing.insert(TAGGING, tags);
    }
    insert_condition(&mut outgoing, found, condition)?;
    // Read before the write, which resets the ACL.
    let acl = match condition {
        Condition::Unchanged | Condition::InPlace => acl(call, target.at(found.version())).await,
        Condition::Absent | Condition::Anything => None,
    };
    let destination = Destination {
        object: target,
        headers: outgoing,
        part_headers: HeaderMap::new(),
    };
    let written = match form {
        NewForm::Sealed => write::store_sealed(call, source, found, destination, None).await,
        NewForm::Plaintext => store_plaintext(call, source, found, destination).await,
    };
    let copied = written.map_err(|failure| overtaken(failure, condition))?;
    let version = versions::version(&copied.headers).map(str::to_owned);
    let written = target.at(version.as_deref());
    let mut lost = lost(call, &copied, written, &expected).await?;
    if let Some(acl) = acl
        && !keeps_acl(call, written, acl).await
    {
        lost.push("acl".to_owned());
    }
    Ok(Rewritten { version, lost })
}

/// Headers of the new object, without its envelope.
async fn kept_headers(
    call: &StoreCall<'_>,
    source: &Source<'_>,
    found: &Found,
) -> Outcome<HeaderMap> {
    let mut outgoing = HeaderMap::new();
    copy_directives::carry(&mut outgoing, &found.headers, &call.store.dek_tag);
    name_again(&mut outgoing, &found.headers, OffsetDateTime::now_utc());
    if let Form::Sealed(envelope) = &found.form {
        let dek = read::unwrap(call, source, envelope).await?;
        if let Some(private) = plaintext_headers::private_map(source, envelope, &dek)? {
            plaintext_headers::replace_user_metadata(call, &mut outgoing, &private)?;
        }
    }
    Ok(outgoing)
}

/// Headers that a HEAD of the new object should show.
fn expected(call: &StoreCall<'_>, form: NewForm, outgoing: &HeaderMap) -> HeaderMap {
    let is_sealed = form == NewForm::Sealed && call.store.policy.metadata == Metadata::Sealed;
    // Sealed user metadata is in the envelope, and a HEAD does not show it.
    let is_visible = |name: &str| !is_sealed || !name.starts_with(METADATA_PREFIX);
    let visible = outgoing
        .iter()
        .filter(|(name, _)| is_visible(name.as_str()));
    visible
        .map(|(name, value)| (name.clone(), value.clone()))
        .collect()
}

fn insert_condition(outgoing: &mut HeaderMap, found: &Found, condition: Condition) -> Outcome<()> {
    match condition {
        Condition::Unchanged => {
            let etag = HeaderValue::try_from(found.etag()?);
            outgoing.insert(header::IF_MATCH, etag.expect("it was a header's value"));
        }
        Condition::Absent => {
            outgoing.insert(header::IF_NONE_MATCH, HeaderValue::from_static("*"));
        }
        Condition::InPlace | Condition::Anything => {}
    }
    Ok(())
}

/// Turns a failed condition into [`Failure::Replaced`]: another writer was faster.
fn overtaken(failure: Failure, condition: Condition) -> Failure {
    // 412 if the ETag differs, 409 on a concurrent write, 404 if the object was deleted meanwhile
    // (S3 API Reference, `PutObject`).
    let statuses = [
        StatusCode::PRECONDITION_FAILED,
        StatusCode::CONFLICT,
        StatusCode::NOT_FOUND,
    ];
    match (condition, &failure) {
        (Condition::Unchanged | Condition::Absent, Failure::Answer(answer))
            if statuses.contains(&answer.status) && answer.document.code != "NoSuchBucket" =>
        {
            Failure::Replaced
        }
        _ => failure,
    }
}

async fn store_plaintext(
    call: &StoreCall<'_>,
    source: &Source<'_>,
    found: &Found,
    destination: Destination<'_>,
) -> Outcome<Copied> {
    let (headers, etag) = if found.length > MAX_PLAINTEXT {
        write_in_parts::store_plaintext(call, source, found, destination).await?
    } else {
        put_plaintext(call, source, found, destination).await?
    };
    Ok(Copied {
        etag: etag.into(),
        last_modified: document_times::answered(&headers),
        headers: written_headers(&headers, found),
        checksum: None,
    })
}

async fn put_plaintext(
    call: &StoreCall<'_>,
    source: &Source<'_>,
    found: &Found,
    destination: Destination<'_>,
) -> Outcome<(HeaderMap, ETag)> {
    let content = read::open(call, source, found, None).await?;
    let length = found.length.0;
    let mut request = call.request(Method::PUT, destination.object);
    request.headers = destination.headers;
    // Declared before the branch: the memory stays reserved until the backend has responded.
    let _share;
    request.body = if length <= call.store.held_body_bytes {
        let size = usize::try_from(length).expect("a held body fits memory");
        _share = call.share(size + PIECE_BYTES).await?;
        let mut plaintext = Vec::with_capacity(size);
        Replay::new(content, length)
            .read_to_end(&mut plaintext)
            .await?;
        RequestBody::Held(Bytes::from(plaintext))
    } else {
        let body = BodyStream::new(content.map_err(Into::into));
        RequestBody::Stream { length, body }
    };
    let backed = call.expect_etag(request).await?;
    let etag = response_etag(&backed.headers);
    Ok((backed.headers, etag))
}

/// Headers that the new object lacks. An object that was overwritten meanwhile is not checked.
async fn lost(
    call: &StoreCall<'_>,
    copied: &Copied,
    written: ObjectRef<'_>,
    expected: &HeaderMap,
) -> Outcome<Vec<String>> {
    let request = call.request(Method::HEAD, written);
    let backed = call.send(request).await?;
    let etag = response_etag(&backed.headers);
    // A version is ours by its id; without one only the ETag shows whether this is our object.
    let is_it = written
        .version
        .is_some_and(|version| version != NULL_VERSION)
        || [etag.to_client(), etag.into()].contains(&copied.etag);
    if !backed.status.is_success() || !is_it {
        return Ok(Vec::new());
    }
    Ok(differences(expected, &backed.headers))
}

fn acl_request(call: &StoreCall<'_>, method: Method, object: ObjectRef<'_>) -> Request {
    let mut request = call.request(method, object);
    request.query.insert(0, ("acl".to_owned(), None));
    request
}

/// ACL document of the object, if the backend supports ACLs.
async fn acl(call: &StoreCall<'_>, object: ObjectRef<'_>) -> Option<Bytes> {
    let request = acl_request(call, Method::GET, object);
    let backed = call.send(request).await.ok()?;
    if !backed.status.is_success() {
        return None;
    }
    let document = read_bounded(backed.body, MAX_ACL_BYTES).await.ok()?;
    // A backend without ACLs returns the object's content, which must not be sent anywhere.
    let written = Operation::PutObjectAcl
        .request_document()
        .written_anew(&document, &HeaderMap::new());
    written.ok().map(Bytes::from)
}

/// Whether the new object has the old ACL, which is restored if it differs.
async fn keeps_acl(call: &StoreCall<'_>, object: ObjectRef<'_>, wanted: Bytes) -> bool {
    // Both documents were rewritten in the same form: equal ACLs are equal bytes.
    if acl(call, object).await.as_ref() == Some(&wanted) {
        return true;
    }
    let mut request = acl_request(call, Method::PUT, object);
    request.body = RequestBody::Held(wanted);
    match call.store.backend.send(request).await {
        Ok(response) => response.status().is_success(),
        Err(_) => false,
    }
}
