//! Requests as the operations see them: a closed list, whose variants carry parsed parameters.
//!
//! The gate knows the operation of a request and keeps its parameters as an [`UnparsedRequest`].
//! They are parsed once, by [`UnparsedRequest::parse`], after the client's grants were checked: a
//! client without a grant gets `AccessDenied`, whatever its parameters are. Behind that, no code
//! reads a query by name. Parameters that the backend evaluates go on as received
//! ([`ParsedRequest::forwarded`]).

use http::HeaderMap;
use http::header::RANGE;
use s3proxy_envelope::multipart::PartNumber;
use s3proxy_protocol::copy_source::{CopyRange, CopySource};
use s3proxy_protocol::error::{ErrorCode, S3Error};
use s3proxy_protocol::headers;
use s3proxy_protocol::ids::{UploadId, VersionId};
use s3proxy_protocol::operation::{self, Kind, Operation};
use s3proxy_protocol::query::Query;
use s3proxy_protocol::range::RangeRequest;

use crate::objects::delivery::RequestedPortion;

/// Query parameters of a backend request, in order. Without a value only the name is sent.
pub(crate) type Parameters = Vec<(String, Option<String>)>;

/// Highest number of parts on a page, and the default.
const MAX_PARTS: u32 = 1000;

/// Largest value that S3 accepts in parameters of ListParts.
const MAX_LIST_PARTS_PARAMETER: u32 = 2_147_483_647;

/// A request of a client, by operation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum S3Request {
    ListBuckets,
    DeleteBucket,
    /// ListObjects, ListObjectsV2 and ListObjectVersions.
    ListObjects(ListObjects),
    GetObject(ObjectRead),
    HeadObject(ObjectRead),
    /// With the version that it names.
    GetObjectAttributes(Option<VersionId>),
    PutObject,
    PostObject,
    /// With the source of the copy.
    CopyObject(CopySource),
    /// With the version that it names.
    DeleteObject(Option<VersionId>),
    DeleteObjects,
    Upload(UploadRequest),
    /// An operation whose parameters only the backend evaluates.
    Forward,
    /// A CORS preflight. Its query belongs to the announced request.
    Preflight,
}

/// Parameters of the listings of objects and versions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ListObjects {
    pub(crate) paging: Paging,
    pub(crate) start: PageStart,
    /// Whether the client wants metadata on the page, which is an extension of some servers.
    pub(crate) metadata: bool,
}

/// Object that a read names, and the portion of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ObjectRead {
    pub(crate) version: Option<VersionId>,
    pub(crate) portion: RequestedPortion,
}

/// A request about multipart uploads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum UploadRequest {
    Create,
    List(PageStart),
    UploadPart(UploadPart),
    UploadPartCopy(UploadPartCopy),
    ListParts(ListParts),
    Complete(UploadId),
    Abort(UploadId),
}

/// Parameters of UploadPart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct UploadPart {
    pub(crate) upload_id: UploadId,
    pub(crate) number: PartNumber,
}

/// Parameters of UploadPartCopy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct UploadPartCopy {
    pub(crate) upload_id: UploadId,
    pub(crate) number: PartNumber,
    pub(crate) source: CopySource,
    pub(crate) range: Option<CopyRange>,
}

/// Parameters of ListParts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ListParts {
    pub(crate) upload_id: UploadId,
    pub(crate) page: RequestedPage,
}

/// Page of a list of parts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct RequestedPage {
    /// Part number after which the page starts; 0 for the first page.
    pub(crate) after: u32,
    /// Maximum number of parts on the page, at most 1000.
    pub(crate) max_parts: u32,
}

/// Pagination scheme of a listing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Paging {
    /// ListObjects.
    Marker,
    /// ListObjectsV2.
    Token,
    /// ListObjectVersions.
    Versions,
    /// ListMultipartUploads.
    Uploads,
}

/// Start of a page, as the client named it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct PageStart {
    /// Key after which the page starts.
    pub(crate) key: Option<String>,
    /// Continuation token, or version or upload among those of the key.
    pub(crate) detail: Option<String>,
}

impl Paging {
    /// Names of the parameters for a page's start: its key, and its detail if the scheme has one.
    pub(crate) fn start_parameters(self) -> (&'static str, Option<&'static str>) {
        match self {
            Self::Marker => ("marker", None),
            Self::Token => ("start-after", Some("continuation-token")),
            Self::Versions => ("key-marker", Some("version-id-marker")),
            Self::Uploads => ("key-marker", Some("upload-id-marker")),
        }
    }

    fn start(self, query: &Query) -> PageStart {
        let owned = |name| query.get(name).map(str::to_owned);
        let (key, detail) = self.start_parameters();
        PageStart {
            key: owned(key),
            detail: detail.and_then(owned),
        }
    }
}

/// A request whose operation is known, with its parameters as received.
pub(crate) struct UnparsedRequest {
    operation: Operation,
    query: Query,
    /// Source of a copy; `None` for every other operation.
    copy_source: Option<CopySource>,
}

/// A request, and the parameters that go on to the backend.
#[derive(Debug, Clone)]
pub(crate) struct ParsedRequest {
    pub(crate) request: S3Request,
    /// The operation's own parameters, in the client's order and as received.
    pub(crate) forwarded: Parameters,
}

impl UnparsedRequest {
    /// Takes a request that [`operation::classify`] let pass. The source of a copy is parsed at
    /// once, because grants are needed for it too: fails as [`CopySource::from_headers`] does.
    pub(crate) fn new(
        operation: Operation,
        query: Query,
        headers: &HeaderMap,
    ) -> Result<Self, S3Error> {
        let is_copy = matches!(operation.kind(), Kind::CopyObject | Kind::UploadPartCopy);
        let copy_source = is_copy.then(|| CopySource::from_headers(headers));
        Ok(Self {
            operation,
            query,
            copy_source: copy_source.transpose()?,
        })
    }

    /// Source of a copy.
    pub(crate) fn copy_source(&self) -> Option<&CopySource> {
        self.copy_source.as_ref()
    }

    /// `prefix` of a listing, which grants restrict.
    pub(crate) fn prefix(&self) -> Option<&str> {
        self.query.get("prefix")
    }

    /// Parameters as received.
    #[cfg(any(test, feature = "fuzzing"))]
    pub(crate) fn query(&self) -> &Query {
        &self.query
    }

    /// Parses the parameters of the operation. `headers` are the client's: a range belongs to the
    /// parameters of a read. Errors are those of S3 for a malformed parameter.
    pub(crate) fn parse(self, headers: &HeaderMap) -> Result<ParsedRequest, S3Error> {
        let forwarded = operation::forwarded_parameters(self.operation, &self.query)
            .map(|(name, value)| {
                // Sub-resources such as `?acl` have no value, and are sent as a bare name.
                let value = (!value.is_empty()).then(|| value.to_owned());
                (name.to_owned(), value)
            })
            .collect();
        let request = self.into_request(headers)?;
        Ok(ParsedRequest { request, forwarded })
    }

    fn into_request(self, headers: &HeaderMap) -> Result<S3Request, S3Error> {
        let query = &self.query;
        let upload = match self.operation.kind() {
            Kind::ListBuckets => return Ok(S3Request::ListBuckets),
            Kind::DeleteBucket => return Ok(S3Request::DeleteBucket),
            Kind::ListObjects => return Ok(S3Request::ListObjects(self.list_objects())),
            Kind::GetObject => return ObjectRead::parse(query, headers).map(S3Request::GetObject),
            Kind::HeadObject => {
                return ObjectRead::parse(query, headers).map(S3Request::HeadObject);
            }
            Kind::GetObjectAttributes => {
                return Ok(S3Request::GetObjectAttributes(version(query)));
            }
            Kind::PutObject => return Ok(S3Request::PutObject),
            Kind::PostObject => return Ok(S3Request::PostObject),
            Kind::CopyObject => return Ok(S3Request::CopyObject(self.into_copy_source())),
            Kind::DeleteObject => return deleted_version(query).map(S3Request::DeleteObject),
            Kind::DeleteObjects => return Ok(S3Request::DeleteObjects),
            Kind::Forward | Kind::ForwardXml | Kind::RestoreObject => {
                return Ok(S3Request::Forward);
            }
            Kind::Preflight => return Ok(S3Request::Preflight),
            Kind::Unsupported => return Err(unsupported(self.operation)),
            Kind::CreateMultipartUpload => UploadRequest::Create,
            Kind::ListMultipartUploads => UploadRequest::List(Paging::Uploads.start(query)),
            Kind::UploadPart => UploadRequest::UploadPart(UploadPart::parse(query)?),
            Kind::UploadPartCopy => UploadRequest::UploadPartCopy(self.into_part_copy(headers)?),
            Kind::ListParts => UploadRequest::ListParts(ListParts::parse(query)?),
            Kind::CompleteMultipartUpload => UploadRequest::Complete(upload_id(query)?),
            Kind::AbortMultipartUpload => UploadRequest::Abort(upload_id(query)?),
        };
        Ok(S3Request::Upload(upload))
    }

    fn list_objects(&self) -> ListObjects {
        let paging = if self.operation == Operation::ListObjectsV2 {
            Paging::Token
        } else if self.operation == Operation::ListObjectVersions {
            Paging::Versions
        } else {
            Paging::Marker
        };
        ListObjects {
            paging,
            start: paging.start(&self.query),
            metadata: self.query.get("metadata") == Some("true"),
        }
    }

    fn into_part_copy(self, headers: &HeaderMap) -> Result<UploadPartCopy, S3Error> {
        Ok(UploadPartCopy {
            number: part_number(self.query.get("partNumber"))?,
            range: CopyRange::from_headers(headers)?,
            upload_id: upload_id(&self.query)?,
            source: self.into_copy_source(),
        })
    }

    fn into_copy_source(self) -> CopySource {
        self.copy_source
            .expect("the source of a copy is parsed before anything else")
    }
}

impl UploadPart {
    fn parse(query: &Query) -> Result<Self, S3Error> {
        Ok(Self {
            number: part_number(query.get("partNumber"))?,
            upload_id: upload_id(query)?,
        })
    }
}

impl ObjectRead {
    /// Parses `versionId`, `partNumber` and `Range`. As in S3, an invalid range means the whole
    /// object, as do several ranges.
    fn parse(query: &Query, headers: &HeaderMap) -> Result<Self, S3Error> {
        let range = match RangeRequest::parse(headers::text(headers, RANGE)) {
            RangeRequest::Single(range) => Some(range),
            RangeRequest::None | RangeRequest::Many | RangeRequest::Invalid => None,
        };
        let portion = match (query.get("partNumber"), range) {
            (Some(_), Some(_)) => {
                return Err(S3Error::new(
                    ErrorCode::InvalidRequest,
                    "Cannot specify both Range header and partNumber query parameter",
                ));
            }
            (number @ Some(_), None) => RequestedPortion::Part(part_number(number)?),
            (None, Some(range)) => RequestedPortion::Range(range),
            (None, None) => RequestedPortion::Whole,
        };
        Ok(Self {
            version: version(query),
            portion,
        })
    }
}

impl ListParts {
    fn parse(query: &Query) -> Result<Self, S3Error> {
        let after = list_parts_parameter(query, "part-number-marker")?.unwrap_or(0);
        let max_parts = list_parts_parameter(query, "max-parts")?.unwrap_or(MAX_PARTS);
        Ok(Self {
            upload_id: upload_id(query)?,
            page: RequestedPage {
                after,
                max_parts: max_parts.min(MAX_PARTS),
            },
        })
    }
}

/// Parses a number that may be absent or empty.
fn list_parts_parameter(query: &Query, name: &str) -> Result<Option<u32>, S3Error> {
    let Some(text) = query.get(name).filter(|text| !text.is_empty()) else {
        return Ok(None);
    };
    let number = text.parse().ok();
    let number = number.filter(|number| *number <= MAX_LIST_PARTS_PARAMETER);
    number.map(Some).ok_or_else(|| {
        S3Error::new(
            ErrorCode::InvalidArgument,
            format!("Argument {name} must be an integer between 0 and {MAX_LIST_PARTS_PARAMETER}."),
        )
    })
}

/// Version that a read names. As in S3, an empty id means the current version.
fn version(query: &Query) -> Option<VersionId> {
    query.get("versionId").and_then(VersionId::new)
}

/// Version that a deletion names. An empty id is refused: without one, the backend would delete
/// the current version.
fn deleted_version(query: &Query) -> Result<Option<VersionId>, S3Error> {
    query.get("versionId").map(VersionId::parse).transpose()
}

fn upload_id(query: &Query) -> Result<UploadId, S3Error> {
    UploadId::parse(query.get("uploadId").unwrap_or_default())
}

fn part_number(text: Option<&str>) -> Result<PartNumber, S3Error> {
    let number = text.and_then(|text| text.parse().ok());
    number.and_then(PartNumber::new).ok_or_else(|| {
        S3Error::new(
            ErrorCode::InvalidArgument,
            "Part number must be an integer between 1 and 10000, inclusive",
        )
    })
}

/// The error for an operation that cannot work on sealed data.
pub(crate) fn unsupported(operation: Operation) -> S3Error {
    S3Error::new(
        ErrorCode::NotImplemented,
        format!(
            "{} does not work through an encrypting proxy.",
            operation.as_str()
        ),
    )
}

#[cfg(test)]
mod tests;
