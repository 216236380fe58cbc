//! GetObjectAttributes in plaintext terms.
//!
//! For a sealed object the proxy makes the response itself, from a HEAD and, if parts or a checksum
//! are requested, from the seal: this works with backends that do not support the operation. For an
//! object that is not sealed the request is forwarded. Parts have the numbers under which they were
//! uploaded, as for `partNumber`.

use http::{HeaderMap, HeaderName, HeaderValue, Method, Response, header};
use s3proxy_envelope::header::{Envelope, Layout};
use s3proxy_envelope::multipart::Seal;
use s3proxy_protocol::checksum::{ChecksumAlgorithm, ChecksumValue};
use s3proxy_protocol::error::{ErrorCode, S3Error};
use s3proxy_protocol::etag::ETag;
use s3proxy_protocol::header_rules;
use s3proxy_protocol::headers::{
    self, MAX_PARTS, OBJECT_ATTRIBUTES, PART_NUMBER_MARKER, STORAGE_CLASS,
};
use s3proxy_protocol::ids::VersionId;
use s3proxy_protocol::xml::attributes::{
    AttributesAnswer, ObjectAttribute, ObjectAttributes, ObjectPart, ObjectParts, ObjectPartsPage,
};

use crate::body::outbound::ResponseBody;
use crate::failure::Outcome;
use crate::objects::call::client_headers;
use crate::objects::plaintext_headers::{self, Checksums};
use crate::objects::read::{self, Found, Source};
use crate::objects::replaced::retry_replaced;
use crate::objects::stored::{self, Form};
use crate::operations::Job;

/// Most parts in one response, and the default if the client names no limit.
const PARTS_PER_PAGE: u32 = 1000;

/// Headers of the HEAD response that belong to this operation too, besides those of CORS.
const PASSED: &[&str] = &[
    "last-modified",
    "vary",
    "x-amz-request-charged",
    "x-amz-version-id",
];

/// Handles GetObjectAttributes.
pub(crate) async fn get_object_attributes(
    job: &Job<'_>,
    version: Option<&VersionId>,
) -> Outcome<Response<ResponseBody>> {
    let wanted = ObjectAttributes::parse(&job.request.headers)?;
    let page = PartsPageRequest::of(&job.request.headers)?;
    let mut source = job.source(version)?;
    // The source is described by a HEAD, which does not have these headers.
    for name in [MAX_PARTS, PART_NUMBER_MARKER, OBJECT_ATTRIBUTES] {
        source.headers.remove(name);
    }
    retry_replaced(|| describe(job, &source, &wanted, page)).await
}

async fn describe(
    job: &Job<'_>,
    source: &Source<'_>,
    wanted: &ObjectAttributes,
    page: PartsPageRequest,
) -> Outcome<Response<ResponseBody>> {
    let found = read::describe(&job.call, source).await?;
    match &found.form {
        Form::Sealed(envelope) => {
            let document = sealed(job, source, &found, envelope, wanted, page).await?;
            Ok(respond(&found.headers, document))
        }
        Form::Legacy(envelope) => {
            // The key is not needed: unwrapping proves that the object may be read here.
            read::unwrap_legacy(&job.call, source, envelope).await?;
            Ok(respond(
                &found.headers,
                render(job, &found, wanted, None, None),
            ))
        }
        Form::Plain => {
            stored::permit_plain(&job.call, source.object)?;
            plain(job).await
        }
    }
}

/// Forwards the request for an object that is not sealed.
async fn plain(job: &Job<'_>) -> Outcome<Response<ResponseBody>> {
    let mut request = job.request_for(Method::GET);
    request.query = job.query_for_backend();
    request.headers = job.headers_for_backend()?;
    let backed = job.call.expect_success(request).await?;
    let mut headers = client_headers(&backed.headers);
    if let Some(length) = backed.headers.get(header::CONTENT_LENGTH) {
        headers.insert(header::CONTENT_LENGTH, length.clone());
    }
    let body = ResponseBody::passing(backed.body);
    let mut response = Response::new(body);
    *response.headers_mut() = headers;
    Ok(response)
}

async fn sealed(
    job: &Job<'_>,
    source: &Source<'_>,
    found: &Found,
    envelope: &Envelope,
    wanted: &ObjectAttributes,
    page: PartsPageRequest,
) -> Outcome<String> {
    let wants_checksum = wanted.contains(ObjectAttribute::Checksum);
    let needs_seal = found.has_seal(envelope)
        && (wants_checksum || wanted.contains(ObjectAttribute::ObjectParts));
    // Authenticates the envelope: an altered one, or another object's, does not unwrap.
    let dek = read::unwrap(&job.call, source, envelope).await?;
    let private = plaintext_headers::private_map(source, envelope, &dek)?;
    let layout = if needs_seal {
        Some(read::layout(&job.call, source, found, envelope, &dek).await?)
    } else {
        None
    };
    let seal = layout.as_ref().and_then(|layout| layout.seal());
    let checksums = Checksums::stored(private.as_ref(), seal);
    let checksum = checksums.as_ref().and_then(|known| known.values().next());
    let checksums_of_parts = checksums_of_parts(seal);
    let parts = match (envelope.layout, seal) {
        (Layout::Single, _) => None,
        (Layout::Multipart, None) => Some(ObjectParts {
            total: 1,
            page: None,
        }),
        (Layout::Multipart, Some(seal)) => Some(page.cut(seal, &checksums_of_parts)),
    };
    Ok(render(job, found, wanted, checksum.as_ref(), parts))
}

fn render(
    job: &Job<'_>,
    found: &Found,
    wanted: &ObjectAttributes,
    checksum: Option<&(ChecksumAlgorithm, ChecksumValue, &'static str)>,
    parts: Option<ObjectParts<'_>>,
) -> String {
    let headers = plaintext_headers::sealed_headers(&job.call, &found.headers);
    let etag = ETag::from_headers(&headers);
    let storage_class = headers::text(&headers, STORAGE_CLASS);
    let answer = AttributesAnswer {
        etag: etag.as_ref().map(ETag::as_str),
        checksum: checksum.map(|(algorithm, value, _)| (*algorithm, value)),
        checksum_type: checksum.map(|(_, _, kind)| *kind),
        parts,
        storage_class: Some(storage_class.unwrap_or("STANDARD")),
        object_size: Some(found.length.0),
    };
    answer.render(wanted)
}

fn checksums_of_parts(seal: Option<&Seal>) -> Vec<(ChecksumAlgorithm, ChecksumValue)> {
    let Some(seal) = seal else {
        return Vec::new();
    };
    let indices = 0..seal.frames().len();
    indices
        .filter_map(|index| plaintext_headers::part_checksum(seal, index))
        .collect()
}

/// Page of parts that the client requested.
#[derive(Clone, Copy)]
struct PartsPageRequest {
    marker: u32,
    max_parts: u32,
}

impl PartsPageRequest {
    fn of(headers: &HeaderMap) -> Result<Self, S3Error> {
        Ok(Self {
            marker: number(headers, &PART_NUMBER_MARKER)?.unwrap_or(0),
            max_parts: number(headers, &MAX_PARTS)?
                .map_or(PARTS_PER_PAGE, |requested| requested.min(PARTS_PER_PAGE)),
        })
    }

    /// Cuts the requested page. As in S3, parts are listed only if they have checksums.
    fn cut<'a>(
        self,
        seal: &Seal,
        checksums: &'a [(ChecksumAlgorithm, ChecksumValue)],
    ) -> ObjectParts<'a> {
        let total = u32::try_from(seal.frames().len()).expect("at most 10000 parts");
        let behind_marker = |part: &ObjectPart<'_>| u32::from(part.number) > self.marker;
        let listed = seal.frames().zip(checksums);
        let listed = listed.map(|(frame, (algorithm, value))| ObjectPart {
            number: frame.number().get(),
            size: frame.length().0,
            checksum: Some((*algorithm, value)),
        });
        let mut left = listed.filter(behind_marker);
        let page_length = usize::try_from(self.max_parts).unwrap_or(usize::MAX);
        let parts: Vec<_> = left.by_ref().take(page_length).collect();
        let last = parts.last().map_or(0, |part| u32::from(part.number));
        let page = ObjectPartsPage {
            part_number_marker: self.marker,
            next_part_number_marker: last,
            max_parts: self.max_parts,
            is_truncated: !parts.is_empty() && left.next().is_some(),
            parts,
        };
        ObjectParts {
            total,
            page: (!checksums.is_empty()).then_some(page),
        }
    }
}

fn number(headers: &HeaderMap, name: &HeaderName) -> Result<Option<u32>, S3Error> {
    let Some(value) = headers.get(name) else {
        return Ok(None);
    };
    let number = headers::value_text(value).and_then(|text| text.parse().ok());
    number.map(Some).ok_or_else(|| {
        S3Error::new(
            ErrorCode::InvalidArgument,
            format!("The header {name} must be a number from 0 up."),
        )
    })
}

fn respond(seen: &HeaderMap, document: String) -> Response<ResponseBody> {
    let mut headers = HeaderMap::new();
    for (name, value) in &client_headers(seen) {
        if PASSED.contains(&name.as_str()) || header_rules::is_cors(name) {
            headers.append(name.clone(), value.clone());
        }
    }
    let xml = HeaderValue::from_static("application/xml");
    headers.insert(header::CONTENT_TYPE, xml);
    let mut response = Response::new(ResponseBody::held(document));
    *response.headers_mut() = headers;
    response
}
