//! Classifies a request: determines its operation and refuses unknown parameters and headers.
//!
//! The checks run in this order, so that each sees only requests that passed the previous ones:
//! method overrides in headers, repeated parameters, more than one sub-resource, no matching row in
//! the table, a parameter that is not in the row, a header that the row does not know. The query of
//! a CORS preflight is not its own, so preflights are classified after the first check.

use http::header::CONTENT_TYPE;
use http::{HeaderMap, Method};

use super::table::{Level, ROWS, Row, Selector};
use super::{Kind, Operation};
use crate::address::Address;
use crate::error::{ErrorCode, S3Error};
use crate::query::Query;
use crate::quote::quoted;
use crate::{header_rules, headers, query_headers};

/// Parameters that are allowed in any query: those of presigned URLs, and the operation's name,
/// which SDKs add.
const COMMON_PARAMETERS: &[&str] = &[
    "x-id",
    "X-Amz-Algorithm",
    "X-Amz-Credential",
    "X-Amz-Date",
    "X-Amz-Expires",
    "X-Amz-SignedHeaders",
    "X-Amz-Signature",
    "X-Amz-Security-Token",
    "X-Amz-Content-Sha256",
];

/// Parameters of other S3 servers that some clients send with every listing, and that change only
/// the order or the headers of the response. S3 ignores them.
const IGNORED_OF_BUCKETS: &[&str] = &["_", "allow-unordered", "read-stats"];

/// Headers by which a client asks for another method than the request line's.
const METHOD_OVERRIDES: &[&str] = &[
    "x-http-method",
    "x-http-method-override",
    "x-method-override",
];

/// Determines the operation of a request.
///
/// Errors: `NotImplemented` for unlisted sub-resources, parameters that S3 does not ignore, and
/// `x-amz-*` headers that may carry meaning; `MethodNotAllowed` for a method that the resource does
/// not have; `InvalidArgument` for listed parameters in a combination that is not listed. An
/// operation of [`Kind::Unsupported`](super::Kind::Unsupported) is `Ok`: the caller refuses it by
/// name.
pub fn classify(
    method: &Method,
    address: &Address,
    query: &Query,
    headers: &HeaderMap,
) -> Result<Operation, S3Error> {
    refuse_method_override(headers)?;
    let level = match (&address.bucket, &address.key) {
        (None, _) => Level::Service,
        (Some(_), None) => Level::Bucket,
        (Some(_), Some(_)) => Level::Object,
    };
    // A preflight has the path and query of the request that will follow, often presigned for
    // another method. Only the path matters here.
    if method == Method::OPTIONS {
        return preflight(level);
    }
    // Servers differ in which of two equal parameters they use; a check of one must not let the
    // other through.
    if let Some(name) = query.duplicate() {
        return Err(S3Error::new(
            ErrorCode::InvalidArgument,
            format!("Query parameter {} appears more than once.", quoted(name)),
        ));
    }
    let sub_resource = sub_resource(query)?;
    let row = row(method, level, sub_resource, query, headers)?;
    refuse_unknown_parameters(row, query)?;
    require_parameters(row, query)?;
    judge_values(query)?;
    if row.operation == Operation::PostObject {
        require_form(headers)?;
    }
    header_rules::refuse_unknown(row.operation, headers)?;
    Ok(row.operation)
}

/// Parameters that are forwarded to the backend: the operation's own, and no other. The request
/// must have passed [`classify`].
pub fn forwarded_parameters(
    operation: Operation,
    query: &Query,
) -> impl Iterator<Item = (&str, &str)> {
    let row = operation.row();
    query.pairs().filter(|(name, _)| row.has_parameter(name))
}

/// Whether a parameter that the operation does not have means nothing to S3: a tag for access logs
/// (S3 User Guide, "Amazon S3 server access log format"), anything with a read of an object, and
/// the few that clients of other servers send with listings.
fn is_ignored(row: &Row, name: &str) -> bool {
    let starts_with = |prefix: &str| {
        let start = name.as_bytes().get(..prefix.len());
        start.is_some_and(|start| start.eq_ignore_ascii_case(prefix.as_bytes()))
    };
    let is_read = [Method::GET, Method::HEAD].contains(&row.method);
    let lists_or_describes_bucket =
        row.kind == Kind::ListObjects || row.operation == Operation::HeadBucket;
    starts_with("x-") && !starts_with("x-amz-")
        || is_read && row.level == Level::Object
        || lists_or_describes_bucket && IGNORED_OF_BUCKETS.contains(&name)
}

fn is_common(name: &str) -> bool {
    COMMON_PARAMETERS
        .iter()
        // Compared without case, as the signature's parser does, so no spelling is forwarded.
        .any(|common| common.eq_ignore_ascii_case(name))
}

fn refuse_method_override(headers: &HeaderMap) -> Result<(), S3Error> {
    match METHOD_OVERRIDES
        .iter()
        .find(|name| headers.contains_key(**name))
    {
        None => Ok(()),
        Some(name) => Err(not_implemented(format!(
            "The header {name} is not supported: send the method on the request line."
        ))),
    }
}

fn preflight(level: Level) -> Result<Operation, S3Error> {
    match level {
        Level::Service => Err(method_not_allowed()),
        Level::Bucket => Ok(Operation::OptionsBucket),
        Level::Object => Ok(Operation::OptionsObject),
    }
}

/// The sub-resource in the query, or an empty string. Fails with `InvalidArgument` if there are
/// several.
fn sub_resource(query: &Query) -> Result<&str, S3Error> {
    // A name is a sub-resource if any row has it, at any level: `/bucket?uploadId` must not pass as
    // a listing of the bucket.
    let mut found = query
        .pairs()
        .map(|(name, _)| name)
        .filter(|name| ROWS.iter().any(|row| row.sub_resource == *name));
    match (found.next(), found.next()) {
        (None, _) => Ok(""),
        (Some(name), None) => Ok(name),
        (Some(first), Some(second)) => Err(S3Error::new(
            ErrorCode::InvalidArgument,
            format!("Conflicting query string parameters: {first}, {second}."),
        )),
    }
}

fn row(
    method: &Method,
    level: Level,
    sub_resource: &str,
    query: &Query,
    headers: &HeaderMap,
) -> Result<&'static Row, S3Error> {
    // Narrow down step by step, since each step that leaves no row has its own error.
    let mut same_resource = ROWS
        .iter()
        .filter(|row| row.level == level && row.sub_resource == sub_resource)
        .peekable();
    if same_resource.peek().is_none() {
        return Err(not_implemented(format!(
            "The sub-resource {sub_resource:?} is not supported here."
        )));
    }
    let mut same_method = same_resource.filter(|row| row.method == *method).peekable();
    if same_method.peek().is_none() {
        return Err(method_not_allowed());
    }
    same_method
        // The order of rows matters: those with a selector precede the unconditional one.
        .find(|row| match row.selector {
            Selector::Always => true,
            Selector::Parameter(name) => query.contains(name),
            Selector::Header(name) => headers.contains_key(name),
        })
        .ok_or_else(|| {
            S3Error::new(
                ErrorCode::InvalidArgument,
                format!(
                    "The sub-resource {sub_resource:?} needs the parameter 'id' with {method}."
                ),
            )
        })
}

fn refuse_unknown_parameters(row: &Row, query: &Query) -> Result<(), S3Error> {
    let known = |name: &str| {
        row.has_parameter(name)
            || is_common(name)
            || query_headers::is_header_parameter(name)
            || is_ignored(row, name)
    };
    match query.pairs().find(|(name, _)| !known(name)) {
        None => Ok(()),
        Some((name, _)) => Err(not_implemented(format!(
            "The parameter {} is not supported for {}.",
            quoted(name),
            row.name
        ))),
    }
}

/// Checks the few parameters whose value or presence decides which operation a request is.
fn require_parameters(row: &Row, query: &Query) -> Result<(), S3Error> {
    let operation = row.operation;
    let part = operation == Operation::UploadPart || operation == Operation::UploadPartCopy;
    let message = if operation == Operation::ListObjectsV2 && query.get("list-type") != Some("2") {
        "The only list-type is 2."
    // A server could take an empty upload ID for an absent one, and the request for a plain write.
    } else if row.sub_resource == "uploadId" && query.get("uploadId") == Some("") {
        "An uploadId must not be empty."
    } else if part && !query.contains("partNumber") {
        "An uploadId needs a partNumber with PUT."
    } else {
        return Ok(());
    };
    Err(S3Error::new(ErrorCode::InvalidArgument, message))
}

/// Checks listing parameters that have a closed set of values. Servers differ in how they check
/// them, and some do not.
fn judge_values(query: &Query) -> Result<(), S3Error> {
    let invalid = |message: &'static str| Err(S3Error::new(ErrorCode::InvalidArgument, message));
    if query
        .get("encoding-type")
        .is_some_and(|value| value != "url")
    {
        return invalid("Invalid Encoding Method specified in Request: the only one is url.");
    }
    // Python's spellings of a boolean are sent by some clients, as is an empty value.
    let is_truth = |value: &str| matches!(value, "" | "true" | "false" | "True" | "False");
    if query
        .get("fetch-owner")
        .is_some_and(|value| !is_truth(value))
    {
        return invalid("fetch-owner must be true or false.");
    }
    for name in ["max-keys", "max-uploads", "max-buckets"] {
        // Some clients send an unset limit as an empty parameter.
        let value = query.get(name).filter(|value| !value.is_empty());
        if value.is_some_and(|value| !is_limit(value)) {
            return Err(S3Error::new(
                ErrorCode::InvalidArgument,
                format!("Provided {name} not an integer or within integer range"),
            ));
        }
    }
    Ok(())
}

/// Whether a text is a number from 0 to 2^31 - 1, without a sign.
fn is_limit(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_digit()) && text.parse::<i32>().is_ok()
}

/// Requires the media type of an HTML form upload (S3 API Reference, `POST Object`).
fn require_form(headers: &HeaderMap) -> Result<(), S3Error> {
    let form = headers::text(headers, CONTENT_TYPE)
        .and_then(|value| value.split(';').next())
        .is_some_and(|media| media.trim().eq_ignore_ascii_case("multipart/form-data"));
    if form {
        Ok(())
    } else {
        Err(S3Error::new(
            ErrorCode::PreconditionFailed,
            "A POST to a bucket must be a form: its Content-Type must be multipart/form-data.",
        ))
    }
}

fn not_implemented(message: String) -> S3Error {
    S3Error::new(ErrorCode::NotImplemented, message)
}

fn method_not_allowed() -> S3Error {
    S3Error::new(
        ErrorCode::MethodNotAllowed,
        "The specified method is not allowed against this resource.",
    )
}
