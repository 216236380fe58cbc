//! The string to sign (Amazon S3 User Guide, "Signing and authenticating REST requests").
//!
//! Method, `Content-MD5`, `Content-Type` and date, a line each, then every `x-amz-*` header, then
//! the resource. Headers in the query of a presigned request are signed as the headers that they
//! stand for. The resource is the bucket of `Host`, the path, and those query parameters that
//! Version 2 signs; clients differ in how they spell it, so it comes in several spellings of one
//! meaning.
//!
//! Invariant: every parameter that an operation knows is in the resource, but for [`LISTING`]. AWS
//! documents a closed list of signed parameters ([`DOCUMENTED`]), and clients do not sign others; a
//! request with one that means something is refused, since anybody on the way could have added it.
//!
//! Limit of the version: values are signed decoded, so `response-content-type=a%26versionId%3Db`
//! and `response-content-type=a&versionId=b` have the same signature.

use std::collections::BTreeMap;

use http::HeaderValue;
use http::header::{CONTENT_TYPE, HeaderName};

use super::RequestParts;
use super::error::SigV2Error;
use crate::headers::CONTENT_MD5;
use crate::operation;
use crate::percent::Plus;
use crate::sigv4::SigV4Error;
use crate::sigv4::canonical_request::{self, Spellings, decode, pairs};

/// Parameters that every client of Version 2 signs, besides `response-*`.
const DOCUMENTED: &[&str] = &[
    "accelerate",
    "acl",
    "analytics",
    "cors",
    "delete",
    "inventory",
    "lifecycle",
    "location",
    "logging",
    "metrics",
    "notification",
    "partNumber",
    "policy",
    "replication",
    "requestPayment",
    "restore",
    "tagging",
    "torrent",
    "uploadId",
    "uploads",
    "versionId",
    "versioning",
    "versions",
    "website",
];

/// Parameters that need no signature: they page, narrow or format a listing that the same signature
/// grants in full, since anybody could leave them out.
const LISTING: &[&str] = &[
    "bucket-region",
    "continuation-token",
    "delimiter",
    "encoding-type",
    "fetch-owner",
    "key-marker",
    "list-type",
    "marker",
    "max-buckets",
    "max-keys",
    "max-parts",
    "max-uploads",
    "part-number-marker",
    "prefix",
    "start-after",
    "upload-id-marker",
    "version-id-marker",
];

/// Everything above the resource. `date` is its line for the date.
pub(super) fn head(request: RequestParts<'_>, date: &str) -> Result<Vec<u8>, SigV2Error> {
    let mut head = Vec::with_capacity(256);
    let value = |name| {
        request
            .headers
            .get(name)
            .map_or(&b""[..], HeaderValue::as_bytes)
    };
    for line in [
        request.method.as_str().as_bytes(),
        value(CONTENT_MD5),
        value(CONTENT_TYPE),
        date.as_bytes(),
    ] {
        head.extend_from_slice(line.trim_ascii());
        head.push(b'\n');
    }
    for (name, values) in amz_headers(request)? {
        head.extend_from_slice(name.as_bytes());
        head.push(b':');
        head.extend_from_slice(&values.join(&b","[..]));
        head.push(b'\n');
    }
    Ok(head)
}

/// AWS's headers by name, including those in the query. `CloudFront` adds
/// `x-amz-cf-id` on the way.
fn amz_headers(request: RequestParts<'_>) -> Result<BTreeMap<String, Vec<Vec<u8>>>, SigV2Error> {
    let mut found = BTreeMap::<String, Vec<Vec<u8>>>::new();
    let is_amz = |name: &str| name.starts_with("x-amz-") && name != "x-amz-cf-id";
    for (name, value) in request.headers {
        if is_amz(name.as_str()) {
            let values = found.entry(name.as_str().to_owned()).or_default();
            values.push(value.as_bytes().trim_ascii().to_vec());
        }
    }
    for (name, value) in pairs(request.raw_query) {
        let name = decoded(name)?.to_ascii_lowercase();
        if is_amz(&name) {
            // A line break would let one parameter pass for two headers.
            let no_header = || SigV2Error::NoHeader(name.clone());
            HeaderName::try_from(&name).map_err(|_| no_header())?;
            let value = HeaderValue::try_from(decoded(value)?).map_err(|_| no_header())?;
            let values = found.entry(name).or_default();
            let value = value.as_bytes().trim_ascii().to_vec();
            // Some clients repeat their headers in the query.
            if *values != [value.clone()] {
                values.push(value);
            }
        }
    }
    Ok(found)
}

/// The spellings of the resource.
pub(super) struct Resources {
    complete: Vec<String>,
    uncovered: Option<Uncovered>,
}

/// A resource without its parameters that AWS does not document as signed.
pub(super) struct Uncovered {
    /// The first of these parameters.
    pub(super) parameter: String,
    pub(super) resources: Vec<String>,
}

impl Resources {
    pub(super) fn of(request: RequestParts<'_>) -> Result<Self, SigV2Error> {
        let paths = paths(request)?;
        let signed = |selects: fn(&str) -> bool| {
            let queries = sub_resources(request.raw_query, selects)?;
            let each_path = |path: &String| {
                let with_query = queries.iter().map(|query| format!("{path}{query}"));
                with_query.collect::<Vec<_>>()
            };
            Ok::<_, SigV2Error>(paths.iter().flat_map(each_path).collect::<Vec<_>>())
        };
        let undocumented = pairs(request.raw_query)
            .filter_map(|(name, _)| decoded(name).ok())
            .find(|name| has_meaning(name) && !is_documented(name));
        let uncovered = match undocumented {
            None => None,
            Some(parameter) => Some(Uncovered {
                parameter,
                resources: signed(is_documented)?,
            }),
        };
        Ok(Self {
            complete: signed(has_meaning)?,
            uncovered,
        })
    }

    /// With every parameter that has a meaning.
    pub(super) fn complete(&self) -> impl Iterator<Item = &String> {
        self.complete.iter()
    }

    /// Where a parameter with a meaning is not one that clients sign.
    pub(super) fn uncovered(&self) -> Option<&Uncovered> {
        self.uncovered.as_ref()
    }
}

/// Whether a parameter changes what a request does, beyond [`LISTING`].
fn has_meaning(name: &str) -> bool {
    is_documented(name) || (operation::has_parameter(name) && !LISTING.contains(&name))
}

fn is_documented(name: &str) -> bool {
    DOCUMENTED.contains(&name) || name.starts_with("response-")
}

/// The path with the bucket in front, in every spelling that clients sign.
fn paths(request: RequestParts<'_>) -> Result<Vec<String>, SigV2Error> {
    let spellings = canonical_request::path(request.raw_path)?;
    let mut paths: Vec<String> = match request.bucket_in_host {
        Some(bucket) => spellings
            .iter()
            .map(|path| format!("/{}{path}", bucket.as_str()))
            .collect(),
        None => spellings.iter().cloned().collect(),
    };
    // Some clients sign a bucket with a trailing slash, and send it without.
    let is_bucket = |path: &String| path.len() > 1 && !path[1..].contains('/');
    let with_slash: Vec<String> = paths
        .iter()
        .filter(|path| is_bucket(path))
        .map(|path| format!("{path}/"))
        .collect();
    paths.extend(with_slash);
    Ok(paths)
}

/// The selected parameters after a question mark, decoded and sorted by name. Clients differ in
/// whether an empty value has an equals sign: never, and as sent.
fn sub_resources(
    raw_query: Option<&str>,
    selects: fn(&str) -> bool,
) -> Result<Spellings<String>, SigV2Error> {
    let mut canonical = Vec::new();
    let mut sent = Vec::new();
    for pair in raw_query.unwrap_or_default().split('&') {
        let (name, value) = match pair.split_once('=') {
            Some((name, value)) => (name, Some(decoded(value)?)),
            None => (pair, None),
        };
        let name = decoded(name)?;
        if selects(&name) {
            let filled = value.clone().filter(|value| !value.is_empty());
            canonical.push((name.clone(), filled));
            sent.push((name, value));
        }
    }
    Ok(Spellings::new([joined(canonical), joined(sent)]))
}

fn joined(mut parameters: Vec<(String, Option<String>)>) -> String {
    parameters.sort_unstable();
    let texts = parameters.into_iter().map(|(name, value)| match value {
        Some(value) => format!("{name}={value}"),
        None => name,
    });
    let texts: Vec<String> = texts.collect();
    match texts.as_slice() {
        [] => String::new(),
        texts => format!("?{}", texts.join("&")),
    }
}

fn decoded(text: &str) -> Result<String, SigV2Error> {
    let bytes = decode(text, Plus::Space)?;
    String::from_utf8(bytes).map_err(|_| SigV4Error::InvalidUri.into())
}
