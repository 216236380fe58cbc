//! Counting and timing of attempts at the backend.
//!
//! An attempt that is dropped before its response, because its client disconnected, counts as cut
//! off. The operation is derived from method, target and query: a closed set for requests about
//! objects, and one name for all others.

use std::borrow::Cow;
use std::time::Instant;

use http::Method;

use super::attempt::{Answer, Failure};
use super::error::BackendError;
use super::request::Prepared;
use crate::telemetry::metrics::{self, Retry};

const COPY_SOURCE: &str = "x-amz-copy-source";

/// An attempt in flight.
pub(super) struct UnderWay {
    operation: &'static str,
    began: Instant,
    status: Cow<'static, str>,
}

impl UnderWay {
    pub(super) fn begin(request: &Prepared) -> Self {
        Self {
            operation: operation(request),
            began: Instant::now(),
            status: Cow::Borrowed("cut_off"),
        }
    }

    pub(super) fn ended(mut self, outcome: &Result<Answer, Failure>) {
        self.status = match outcome {
            Ok(answer) => metrics::status_text(answer.head.status.as_u16()),
            Err(failure) => Cow::Borrowed(status(&failure.error)),
        };
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        let status = std::mem::take(&mut self.status);
        metrics::backend_request_ended(self.operation, status, self.began.elapsed());
    }
}

fn status(error: &BackendError) -> &'static str {
    match error {
        BackendError::Unreachable { .. } => "unreachable",
        BackendError::Timeout { .. } => "timeout",
        BackendError::Broken { .. } => "broken",
        BackendError::Tls { .. } => "tls",
        BackendError::OutboundProxy { .. } => "outbound_proxy",
        BackendError::RequestBody(_) => "refused_body",
        BackendError::Settings(_)
        | BackendError::Credentials(_)
        | BackendError::Malformed(_)
        | BackendError::Request(_)
        | BackendError::Redirect { .. }
        // An attempt with a response is counted by its status.
        | BackendError::Status { .. } => "unsendable",
    }
}

/// Returns the reason for a retry after this error.
pub(super) fn reason(error: &BackendError) -> Retry {
    match error {
        BackendError::Timeout { .. } => Retry::Timeout,
        BackendError::Broken { .. } => Retry::Broken,
        BackendError::Unreachable { .. }
        | BackendError::Tls { .. }
        | BackendError::OutboundProxy { .. }
        | BackendError::RequestBody(_)
        | BackendError::Settings(_)
        | BackendError::Credentials(_)
        | BackendError::Malformed(_)
        | BackendError::Request(_)
        | BackendError::Redirect { .. }
        | BackendError::Status { .. } => Retry::Unreachable,
    }
}

/// Returns S3's name of the operation.
fn operation(request: &Prepared) -> &'static str {
    const OTHER: &str = "Other";
    let method = Asked::of(&request.method);
    let has = |name: &str| request.query.iter().any(|(given, _)| given == name);
    let copies = request.headers.contains_key(COPY_SOURCE);
    match (&request.bucket, &request.key) {
        (None, _) => match method {
            Asked::Get => "ListBuckets",
            Asked::Head | Asked::Put | Asked::Post | Asked::Delete | Asked::Else => OTHER,
        },
        (Some(_), None) => match method {
            Asked::Head => "HeadBucket",
            Asked::Get if has("uploads") => "ListMultipartUploads",
            Asked::Get if has("versions") => "ListObjectVersions",
            Asked::Get if has("list-type") => "ListObjectsV2",
            Asked::Get if lists(request) => "ListObjects",
            Asked::Post if has("delete") => "DeleteObjects",
            Asked::Get | Asked::Put | Asked::Post | Asked::Delete | Asked::Else => OTHER,
        },
        (Some(_), Some(_)) => match method {
            // Before `is_about_content`, which does not know the parameters of uploads.
            Asked::Get if has("uploadId") => "ListParts",
            Asked::Put if has("partNumber") && copies => "UploadPartCopy",
            Asked::Put if has("partNumber") => "UploadPart",
            Asked::Post if has("uploads") => "CreateMultipartUpload",
            Asked::Post if has("uploadId") => "CompleteMultipartUpload",
            Asked::Delete if has("uploadId") => "AbortMultipartUpload",
            Asked::Get | Asked::Head | Asked::Put | Asked::Post | Asked::Delete | Asked::Else
                if !is_about_content(request) =>
            {
                OTHER
            }
            Asked::Get => "GetObject",
            Asked::Head => "HeadObject",
            Asked::Put if copies => "CopyObject",
            Asked::Put => "PutObject",
            Asked::Delete => "DeleteObject",
            Asked::Post | Asked::Else => OTHER,
        },
    }
}

#[derive(Clone, Copy)]
enum Asked {
    Get,
    Head,
    Put,
    Post,
    Delete,
    Else,
}

impl Asked {
    fn of(method: &Method) -> Self {
        match *method {
            Method::GET => Self::Get,
            Method::HEAD => Self::Head,
            Method::PUT => Self::Put,
            Method::POST => Self::Post,
            Method::DELETE => Self::Delete,
            _ => Self::Else,
        }
    }
}

/// Returns whether a request on a bucket is the first version of listing; all other parameters
/// select configuration.
fn lists(request: &Prepared) -> bool {
    let parameters = ["delimiter", "encoding-type", "marker", "max-keys", "prefix"];
    request
        .query
        .iter()
        .all(|(name, _)| parameters.contains(&name.as_str()))
}

/// Returns whether the request is about the object itself, not about its tags or the like.
fn is_about_content(request: &Prepared) -> bool {
    request.query.iter().all(|(name, _)| {
        matches!(name.as_str(), "versionId" | "partNumber" | "x-id")
            || name.starts_with("response-")
    })
}

#[cfg(test)]
mod tests {
    use super::super::address::Target;
    use super::super::request::Payload;
    use super::super::{Addressing, Endpoint, Scheme};
    use super::*;
    use crate::telemetry::traces::Traced;

    fn prepared(method: &str, bucket: bool, key: bool, query: &[&str]) -> Prepared {
        let endpoint = Endpoint {
            scheme: Scheme::Http,
            host: "localhost".to_owned(),
            port: None,
        };
        Prepared {
            method: method.parse().unwrap(),
            bucket: bucket.then(|| "bucket".to_owned()),
            key: key.then(|| "key".to_owned()),
            query: query
                .iter()
                .map(|name| ((*name).to_owned(), None))
                .collect(),
            headers: http::HeaderMap::new(),
            payload: Payload::Empty,
            signature: crate::backend::Signature::Own,
            target: Target {
                endpoint,
                addressing: Addressing::Path,
                region: "eu-west-1".to_owned(),
            },
            response_timeout: std::time::Duration::from_secs(1),
            trace: Traced::current(),
        }
    }

    #[test]
    fn what_moves_objects_has_its_name_and_all_the_rest_one() {
        for (method, bucket, key, query, expected) in [
            ("GET", false, false, &[][..], "ListBuckets"),
            ("HEAD", true, false, &[], "HeadBucket"),
            (
                "GET",
                true,
                false,
                &["list-type", "prefix"],
                "ListObjectsV2",
            ),
            ("GET", true, false, &["prefix", "marker"], "ListObjects"),
            ("GET", true, false, &["uploads"], "ListMultipartUploads"),
            ("GET", true, false, &["cors"], "Other"),
            ("POST", true, false, &["delete"], "DeleteObjects"),
            ("PUT", true, false, &[], "Other"),
            ("GET", true, true, &["versionId"], "GetObject"),
            ("GET", true, true, &["tagging"], "Other"),
            ("HEAD", true, true, &[], "HeadObject"),
            ("PUT", true, true, &[], "PutObject"),
            ("PUT", true, true, &["partNumber", "uploadId"], "UploadPart"),
            ("POST", true, true, &["uploads"], "CreateMultipartUpload"),
            ("POST", true, true, &["uploadId"], "CompleteMultipartUpload"),
            ("DELETE", true, true, &["uploadId"], "AbortMultipartUpload"),
            ("GET", true, true, &["uploadId"], "ListParts"),
            ("DELETE", true, true, &["versionId"], "DeleteObject"),
            ("BREW", true, true, &[], "Other"),
        ] {
            let request = prepared(method, bucket, key, query);
            assert_eq!(operation(&request), expected, "{method} {query:?}");
        }
    }

    #[test]
    fn copies_are_told_from_writes() {
        for (query, expected) in [
            (&[][..], "CopyObject"),
            (&["partNumber", "uploadId"], "UploadPartCopy"),
        ] {
            let mut request = prepared("PUT", true, true, query);
            let source = http::HeaderValue::from_static("/b/k");
            request.headers.insert(COPY_SOURCE, source);
            assert_eq!(operation(&request), expected);
        }
    }
}
