//! Counting and timing of attempts at the backend.
//!
//! An attempt that is dropped before its response, because its client disconnected, counts as cut
//! off. The operation is derived from method, target and query: a closed set for requests about
//! objects, and one name for all others.

use std::borrow::Cow;
use std::time::Instant;

use http::{Method, StatusCode};

use super::error::BackendError;
use super::request::PreparedRequest;
use crate::telemetry::metrics::{self, RetryReason};

const COPY_SOURCE: &str = "x-amz-copy-source";

/// Counts and times an attempt in flight; counted as `cut_off` if dropped before its end.
pub(super) struct AttemptTimer {
    operation: &'static str,
    began: Instant,
    status: Cow<'static, str>,
}

impl AttemptTimer {
    pub(super) fn begin(request: &PreparedRequest) -> Self {
        Self {
            operation: operation(request),
            began: Instant::now(),
            status: Cow::Borrowed("cut_off"),
        }
    }

    /// Ends the attempt with the status of its response, or with its error.
    pub(super) fn ended(mut self, result: Result<StatusCode, &BackendError>) {
        self.status = match result {
            Ok(status) => metrics::status_text(status.as_u16()),
            Err(error) => Cow::Borrowed(status_label(error)),
        };
    }
}

impl Drop for AttemptTimer {
    fn drop(&mut self) {
        let status = std::mem::take(&mut self.status);
        metrics::backend_request_ended(self.operation, status, self.began.elapsed());
    }
}

/// Returns the label of an attempt without a response.
fn status_label(error: &BackendError) -> &'static str {
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
pub(super) fn retry_reason(error: &BackendError) -> RetryReason {
    match error {
        BackendError::Timeout { .. } => RetryReason::Timeout,
        BackendError::Broken { .. } => RetryReason::Broken,
        BackendError::Unreachable { .. }
        | BackendError::Tls { .. }
        | BackendError::OutboundProxy { .. }
        | BackendError::RequestBody(_)
        | BackendError::Settings(_)
        | BackendError::Credentials(_)
        | BackendError::Malformed(_)
        | BackendError::Request(_)
        | BackendError::Redirect { .. }
        | BackendError::Status { .. } => RetryReason::Unreachable,
    }
}

/// Returns S3's name of the operation.
fn operation(request: &PreparedRequest) -> &'static str {
    const OTHER: &str = "Other";
    let method = MethodKind::from_method(&request.method);
    let has = |name: &str| request.query.iter().any(|(given, _)| given == name);
    let copies = request.headers.contains_key(COPY_SOURCE);
    match (&request.bucket, &request.key) {
        (None, _) => match method {
            MethodKind::Get => "ListBuckets",
            MethodKind::Head
            | MethodKind::Put
            | MethodKind::Post
            | MethodKind::Delete
            | MethodKind::Other => OTHER,
        },
        (Some(_), None) => match method {
            MethodKind::Head => "HeadBucket",
            MethodKind::Get if has("uploads") => "ListMultipartUploads",
            MethodKind::Get if has("versions") => "ListObjectVersions",
            MethodKind::Get if has("list-type") => "ListObjectsV2",
            MethodKind::Get if lists(request) => "ListObjects",
            MethodKind::Post if has("delete") => "DeleteObjects",
            MethodKind::Get
            | MethodKind::Put
            | MethodKind::Post
            | MethodKind::Delete
            | MethodKind::Other => OTHER,
        },
        (Some(_), Some(_)) => match method {
            // Before `is_about_content`, which does not know the parameters of uploads.
            MethodKind::Get if has("uploadId") => "ListParts",
            MethodKind::Put if has("partNumber") && copies => "UploadPartCopy",
            MethodKind::Put if has("partNumber") => "UploadPart",
            MethodKind::Post if has("uploads") => "CreateMultipartUpload",
            MethodKind::Post if has("uploadId") => "CompleteMultipartUpload",
            MethodKind::Delete if has("uploadId") => "AbortMultipartUpload",
            MethodKind::Get
            | MethodKind::Head
            | MethodKind::Put
            | MethodKind::Post
            | MethodKind::Delete
            | MethodKind::Other
                if !is_about_content(request) =>
            {
                OTHER
            }
            MethodKind::Get => "GetObject",
            MethodKind::Head => "HeadObject",
            MethodKind::Put if copies => "CopyObject",
            MethodKind::Put => "PutObject",
            MethodKind::Delete => "DeleteObject",
            MethodKind::Post | MethodKind::Other => OTHER,
        },
    }
}

#[derive(Clone, Copy)]
enum MethodKind {
    Get,
    Head,
    Put,
    Post,
    Delete,
    Other,
}

impl MethodKind {
    fn from_method(method: &Method) -> Self {
        match *method {
            Method::GET => Self::Get,
            Method::HEAD => Self::Head,
            Method::PUT => Self::Put,
            Method::POST => Self::Post,
            Method::DELETE => Self::Delete,
            _ => Self::Other,
        }
    }
}

/// Returns whether a request on a bucket is the first version of listing; all other parameters
/// select configuration.
fn lists(request: &PreparedRequest) -> bool {
    let parameters = ["delimiter", "encoding-type", "marker", "max-keys", "prefix"];
    request
        .query
        .iter()
        .all(|(name, _)| parameters.contains(&name.as_str()))
}

/// Returns whether the request is about the object itself, not about its tags or the like.
fn is_about_content(request: &PreparedRequest) -> bool {
    request.query.iter().all(|(name, _)| {
        matches!(name.as_str(), "versionId" | "partNumber" | "x-id")
            || name.starts_with("response-")
    })
}

#[cfg(test)]
mod tests {
    use super::super::address::ServiceTarget;
    use super::super::request::PreparedPayload;
    use super::super::{Addressing, Endpoint, Scheme};
    use super::*;
    use crate::telemetry::traces::ParentTrace;

    fn prepared(method: &str, bucket: bool, key: bool, query: &[&str]) -> PreparedRequest {
        let endpoint = Endpoint {
            scheme: Scheme::Http,
            host: "localhost".to_owned(),
            port: None,
        };
        PreparedRequest {
            method: method.parse().unwrap(),
            bucket: bucket.then(|| "bucket".to_owned()),
            key: key.then(|| "key".to_owned()),
            query: query
                .iter()
                .map(|name| ((*name).to_owned(), None))
                .collect(),
            headers: http::HeaderMap::new(),
            payload: PreparedPayload::Empty,
            signature: crate::backend::Signature::Own,
            target: ServiceTarget {
                endpoint,
                addressing: Addressing::Path,
                region: "eu-west-1".to_owned(),
            },
            response_timeout: std::time::Duration::from_secs(1),
            trace: ParentTrace::current(),
        }
    }

    #[test]
    fn requests_about_objects_have_their_names_and_all_others_share_one() {
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
    fn copies_are_distinguished_from_writes() {
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
