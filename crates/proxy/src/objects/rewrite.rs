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
use s3proxy_protocol::etag;
use s3proxy_protocol::header_rules::METADATA_PREFIX;
use s3proxy_protocol::operation::Operation;
use time::OffsetDateTime;

use super::rewrap::{differences, hindrance, name_again};
use super::{Copied, carried, large, origin, plain, sealed, tags, times};
use crate::backend::{BodyStream, Request, RequestBody};
use crate::body::buffers::PIECE_BYTES;
use crate::body::replaying::Replay;
use crate::config::resolved::Metadata;
use crate::execute::answer;
use crate::execute::plaintext_headers;
use crate::execute::put_object::expect_result;
use crate::execute::source::{self, Found, Source};
use crate::execute::stored::Form;
use crate::execute::{Job, Outcome};
use crate::respond::Failure;
use crate::stored_fault::StoredFault;

/// S3's limit for PutObject, in bytes.
const MAX_PLAINTEXT: PlaintextLength = PlaintextLength(5 << 30);

/// Longest ACL that is read, in bytes: S3 allows at most 100 grants.
const MAX_ACL_BYTES: usize = 256 * 1024;

const VERSION_ID: &str = "x-amz-version-id";

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

/// Rewrites the content of `found` under the request's bucket and key.
pub(crate) async fn rewrite(
    job: &Job<'_>,
    source: &Source<'_>,
    found: &Found,
    form: NewForm,
    condition: Condition,
) -> Outcome<Rewritten> {
    if let Some(reason) = hindrance(&found.headers) {
        return Err(StoredFault::malformed(reason).into());
    }
    let mut outgoing = kept_headers(job, source, found).await?;
    let expected = expected(job, form, &outgoing);
    // Added after `expected` was made: a HEAD does not show tags.
    if let Some(tags) = tags::header_of_source(job, source, found).await? {
        outgoing.insert(tags::TAGGING, tags);
    }
    insert_condition(&mut outgoing, found, condition)?;
    // Read before the write, which resets the ACL.
    let acl = match condition {
        Condition::Unchanged | Condition::InPlace => acl(job, origin::version(found)).await,
        Condition::Absent | Condition::Anything => None,
    };
    let written = match form {
        NewForm::Sealed => plain::store(job, source, found, outgoing, None).await,
        NewForm::Plaintext => store_plaintext(job, source, found, outgoing).await,
    };
    let copied = written.map_err(|failure| overtaken(failure, condition))?;
    let version = copied.headers.get(VERSION_ID);
    let version = version.and_then(|version| version.to_str().ok());
    let version = version.map(str::to_owned);
    let mut lost = lost(job, &copied, version.as_deref(), &expected).await?;
    if let Some(acl) = acl
        && !keeps_acl(job, version.as_deref(), acl).await
    {
        lost.push("acl".to_owned());
    }
    Ok(Rewritten { version, lost })
}

/// Headers of the new object, without its envelope.
async fn kept_headers(job: &Job<'_>, source: &Source<'_>, found: &Found) -> Outcome<HeaderMap> {
    let mut outgoing = HeaderMap::new();
    carried::carry(&mut outgoing, &found.headers, &job.parts.dek_tag);
    name_again(&mut outgoing, &found.headers, OffsetDateTime::now_utc());
    if let Form::Sealed(envelope) = &found.form {
        let dek = source::unwrap(job, source, envelope).await?;
        if let Some(private) = plaintext_headers::private_map(source, envelope, &dek)? {
            plaintext_headers::replace_user_metadata(job, &mut outgoing, &private)?;
        }
    }
    Ok(outgoing)
}

/// Headers that a HEAD of the new object should show.
fn expected(job: &Job<'_>, form: NewForm, outgoing: &HeaderMap) -> HeaderMap {
    let is_sealed = form == NewForm::Sealed && job.parts.policy.metadata == Metadata::Sealed;
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
            let etag = HeaderValue::try_from(origin::etag(found)?);
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
    job: &Job<'_>,
    source: &Source<'_>,
    found: &Found,
    outgoing: HeaderMap,
) -> Outcome<Copied> {
    let (headers, etag) = if found.length > MAX_PLAINTEXT {
        large::store_plaintext(job, source, found, outgoing).await?
    } else {
        put_plaintext(job, source, found, outgoing).await?
    };
    Ok(Copied {
        etag,
        last_modified: times::answered(&headers),
        headers: sealed::client_headers(&headers, found),
        checksum: None,
    })
}

async fn put_plaintext(
    job: &Job<'_>,
    source: &Source<'_>,
    found: &Found,
    outgoing: HeaderMap,
) -> Outcome<(HeaderMap, String)> {
    let content = source::open(job, source, found, None).await?;
    let length = found.length.0;
    let mut request = answer::request_for(job, Method::PUT);
    request.headers = outgoing;
    // Declared before the branch: the memory stays reserved until the backend has responded.
    let _share;
    request.body = if length <= job.parts.held_body_bytes {
        let size = usize::try_from(length).expect("a held body fits memory");
        _share = job.share(size + PIECE_BYTES).await?;
        let mut plaintext = Vec::with_capacity(size);
        Replay::new(content, length)
            .read_to_end(&mut plaintext)
            .await?;
        RequestBody::Held(Bytes::from(plaintext))
    } else {
        let body = BodyStream::new(content.map_err(Into::into));
        RequestBody::Stream { length, body }
    };
    let backed = expect_result(job, job.parts.backend.send(request).await?).await?;
    let etag = backed.headers.get(header::ETAG);
    let etag = etag.and_then(|etag| etag.to_str().ok()).unwrap_or_default();
    let etag = etag.trim().trim_matches('"').to_owned();
    Ok((backed.headers, etag))
}

/// Headers that the new object lacks. An object that was overwritten meanwhile is not checked.
async fn lost(
    job: &Job<'_>,
    copied: &Copied,
    version: Option<&str>,
    expected: &HeaderMap,
) -> Outcome<Vec<String>> {
    let request = sub_request(job, Method::HEAD, None, version);
    let backed = answer::receive(job, job.parts.backend.send(request).await?);
    let etag = backed.headers.get(header::ETAG);
    let etag = etag.and_then(|etag| etag.to_str().ok()).unwrap_or_default();
    let etag = etag.trim_matches('"');
    // A version is ours by its id; without one only the ETag shows whether this is our object.
    let is_it = version.is_some_and(|version| version != "null")
        || [etag, &*etag::to_client(etag)].contains(&copied.etag.as_str());
    if !backed.status.is_success() || !is_it {
        return Ok(Vec::new());
    }
    Ok(differences(expected, &backed.headers))
}

fn sub_request(
    job: &Job<'_>,
    method: Method,
    resource: Option<&str>,
    version: Option<&str>,
) -> Request {
    let mut request = answer::request_for(job, method);
    let resource = resource.map(|resource| (resource.to_owned(), None));
    let version = version.map(|version| ("versionId".to_owned(), Some(version.to_owned())));
    request.query = resource.into_iter().chain(version).collect();
    request
}

/// ACL document of the object, if the backend supports ACLs.
async fn acl(job: &Job<'_>, version: Option<&str>) -> Option<Bytes> {
    let request = sub_request(job, Method::GET, Some("acl"), version);
    let backed = answer::receive(job, job.parts.backend.send(request).await.ok()?);
    if !backed.status.is_success() {
        return None;
    }
    let document = answer::read_bounded(backed.body, MAX_ACL_BYTES)
        .await
        .ok()?;
    // A backend without ACLs returns the object's content, which must not be sent anywhere.
    let written = Operation::PutObjectAcl
        .request_document()
        .written_anew(&document, &HeaderMap::new());
    written.ok().map(Bytes::from)
}

/// Whether the new object has the old ACL, which is restored if it differs.
async fn keeps_acl(job: &Job<'_>, version: Option<&str>, wanted: Bytes) -> bool {
    // Both documents were rewritten in the same form: equal ACLs are equal bytes.
    if acl(job, version).await.as_ref() == Some(&wanted) {
        return true;
    }
    let mut request = sub_request(job, Method::PUT, Some("acl"), version);
    request.body = RequestBody::Held(wanted);
    match job.parts.backend.send(request).await {
        Ok(response) => response.status().is_success(),
        Err(_) => false,
    }
}
