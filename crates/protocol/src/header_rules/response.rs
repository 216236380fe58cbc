//! Backend response headers that are forwarded to the client: a closed list.
//!
//! All others are dropped. Reverse proxies and browsers obey headers that have nothing to do with
//! S3 (`X-Accel-Redirect`, `Refresh`, `WWW-Authenticate`), and others reveal the backend's
//! internals. `Location` is not listed, since the proxy itself tells the client where a new bucket
//! is.

use http::HeaderMap;
use http::header::HeaderName;

use super::{METADATA_PREFIX, Names, named_by_connection};

/// HTTP headers about the representation and about retries.
const ENTITY: Names = &[
    "accept-ranges",
    "allow",
    "cache-control",
    "content-disposition",
    "content-encoding",
    "content-language",
    "content-length",
    "content-range",
    "content-type",
    "etag",
    "expires",
    "last-modified",
    "retry-after",
    "vary",
];

/// CORS response headers, which a bucket's CORS rules produce.
const CORS: Names = &[
    "access-control-allow-credentials",
    "access-control-allow-headers",
    "access-control-allow-methods",
    "access-control-allow-origin",
    "access-control-expose-headers",
    "access-control-max-age",
];

/// S3's own (API Reference, the responses of all operations and "Common response headers"), without
/// those about stored bytes and the ids of the request, which are the proxy's own.
const S3: Names = &[
    "x-amz-abort-date",
    "x-amz-abort-rule-id",
    "x-amz-access-point-alias",
    "x-amz-archive-status",
    "x-amz-bucket-arn",
    "x-amz-bucket-location-name",
    "x-amz-bucket-location-type",
    "x-amz-bucket-region",
    "x-amz-copy-source-version-id",
    "x-amz-delete-marker",
    "x-amz-expiration",
    "x-amz-missing-meta",
    "x-amz-mp-parts-count",
    "x-amz-object-lock-legal-hold",
    "x-amz-object-lock-mode",
    "x-amz-object-lock-retain-until-date",
    "x-amz-replication-status",
    "x-amz-request-charged",
    "x-amz-restore",
    "x-amz-restore-output-path",
    "x-amz-server-side-encryption",
    "x-amz-server-side-encryption-aws-kms-key-id",
    "x-amz-server-side-encryption-bucket-key-enabled",
    "x-amz-server-side-encryption-context",
    "x-amz-server-side-encryption-customer-algorithm",
    "x-amz-server-side-encryption-customer-key-md5",
    "x-amz-storage-class",
    "x-amz-tagging-count",
    "x-amz-transition-default-minimum-object-size",
    "x-amz-version-id",
    "x-amz-website-redirect-location",
];

/// Whether the header belongs to CORS responses.
#[must_use]
pub fn is_cors(name: &HeaderName) -> bool {
    CORS.contains(&name.as_str())
}

/// Removes the CORS headers of an answer.
pub fn remove_cors(headers: &mut HeaderMap) {
    for name in CORS {
        headers.remove(*name);
    }
}

/// Whether a header of a backend's answer goes on to the client.
#[must_use]
pub fn is_for_client(name: &HeaderName) -> bool {
    let name = name.as_str();
    [ENTITY, CORS, S3].iter().any(|names| names.contains(&name))
        || name.starts_with(METADATA_PREFIX)
}

/// Removes all headers that are not forwarded to the client, including hop-by-hop ones.
pub fn retain_client_response_headers(headers: &mut HeaderMap) {
    let of_connection = named_by_connection(headers);
    // `Connection` may name any header, so a listed one can be hop-by-hop as well. Collect the
    // names first: the map cannot change while it is iterated.
    let dropped: Vec<HeaderName> = headers
        .keys()
        .filter(|name| !is_for_client(name) || of_connection.contains(name))
        .cloned()
        .collect();
    for name in dropped {
        headers.remove(name);
    }
}
