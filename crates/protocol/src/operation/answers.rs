//! Response statuses that are valid for an operation.
//!
//! Any operation may fail with an error (4xx, 5xx). A success has to have a status that S3 defines
//! for the operation: clients take every 2xx as success, so a 203 or 204 in response to a read
//! would pass off another server's document, or an empty body, as the object. A 206 is valid only
//! for requests with a range or a part number, and a 304 only for reads with a condition that can
//! produce it (RFC 9110, sections 15.3.7 and 15.4.5).
//!
//! If servers differ, all their statuses are accepted: some respond to a deletion with 200, or to a
//! stored configuration with 204.

use http::header::{HeaderMap, IF_MODIFIED_SINCE, IF_NONE_MATCH, RANGE};
use http::{Method, StatusCode};

use super::table::{Level, ROWS, Row, Selector};
use super::{Kind, Operation};

/// A request in the form in which it is sent to a backend.
#[derive(Debug, Clone, Copy)]
pub struct SentRequest<'a> {
    /// HTTP method.
    pub method: &'a Method,
    /// Whether the request names a bucket.
    pub has_bucket: bool,
    /// Whether the request names an object key.
    pub has_key: bool,
    /// Names of the query parameters.
    pub parameters: &'a [&'a str],
    /// Request headers.
    pub headers: &'a HeaderMap,
}

impl SentRequest<'_> {
    /// The operation of the request; `None` if S3 has no such operation.
    #[must_use]
    pub fn operation(&self) -> Option<Operation> {
        let level = match (self.has_bucket, self.has_key) {
            (false, _) => Level::Service,
            (true, false) => Level::Bucket,
            (true, true) => Level::Object,
        };
        let names_it = |row: &&Row| self.parameters.contains(&row.sub_resource);
        let rows = || {
            let same = ROWS.iter().filter(move |row| row.level == level);
            same.filter(|row| row.method == *self.method)
        };
        let selected = |row: &&Row| match row.selector {
            Selector::Always => true,
            Selector::Parameter(name) => self.parameters.contains(&name),
            Selector::Header(name) => self.headers.contains_key(name),
        };
        // Rows with a sub-resource first: a row without one matches by selector alone, and a
        // parameter such as `uploadId` turns the same path into another operation.
        let about_a_part = rows().filter(names_it).find(selected);
        let row = about_a_part.or_else(|| {
            let mut whole = rows().filter(|row| row.sub_resource.is_empty());
            whole.find(selected)
        });
        row.map(|row| row.operation)
    }

    /// Whether `status` is valid in a response to this request.
    #[must_use]
    pub fn may_be_answered(&self, status: StatusCode) -> bool {
        if status.is_client_error() || status.is_server_error() {
            return true;
        }
        // A request that S3 does not define has no valid success.
        let Some(operation) = self.operation() else {
            return false;
        };
        let reads = matches!(operation.kind(), Kind::GetObject | Kind::HeadObject);
        // These two depend on the request's headers, so they are not in `successes`.
        match status {
            StatusCode::PARTIAL_CONTENT => {
                let names_bytes = self.headers.contains_key(RANGE);
                reads && (names_bytes || self.parameters.contains(&"partNumber"))
            }
            StatusCode::NOT_MODIFIED => {
                let conditions = [IF_NONE_MATCH, IF_MODIFIED_SINCE];
                reads
                    && conditions
                        .iter()
                        .any(|name| self.headers.contains_key(name))
            }
            _ => successes(operation).contains(&status),
        }
    }
}

const OK: &[StatusCode] = &[StatusCode::OK];
const OK_OR_EMPTY: &[StatusCode] = &[StatusCode::OK, StatusCode::NO_CONTENT];
const OK_OR_BEGUN: &[StatusCode] = &[StatusCode::OK, StatusCode::ACCEPTED];

/// Success statuses of an operation, without the 206 of a partial read.
#[must_use]
pub fn successes(operation: Operation) -> &'static [StatusCode] {
    match operation.kind() {
        Kind::ListBuckets
        | Kind::ListObjects
        | Kind::ListMultipartUploads
        | Kind::ListParts
        | Kind::GetObject
        | Kind::HeadObject
        | Kind::GetObjectAttributes
        | Kind::PutObject
        | Kind::PostObject
        | Kind::CopyObject
        | Kind::DeleteObjects
        | Kind::CreateMultipartUpload
        | Kind::UploadPart
        | Kind::UploadPartCopy
        | Kind::CompleteMultipartUpload => OK,
        Kind::DeleteBucket | Kind::DeleteObject | Kind::AbortMultipartUpload | Kind::Preflight => {
            OK_OR_EMPTY
        }
        // 202: the restore has begun. 200: a restored copy already exists.
        Kind::RestoreObject => OK_OR_BEGUN,
        Kind::Forward | Kind::ForwardXml => match operation.row().method {
            Method::GET | Method::HEAD => OK,
            _ => OK_OR_EMPTY,
        },
        Kind::Unsupported => &[],
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn operation(method: &Method, level: Level, parameters: &[&str]) -> Option<Operation> {
        SentRequest {
            method,
            has_bucket: level != Level::Service,
            has_key: level == Level::Object,
            parameters,
            headers: &HeaderMap::new(),
        }
        .operation()
    }

    #[test]
    fn what_is_sent_for_a_row_of_the_table_is_recognised() {
        for row in ROWS {
            let mut headers = HeaderMap::new();
            let mut parameters = vec![row.sub_resource];
            match row.selector {
                Selector::Always => {}
                Selector::Parameter(name) => parameters.push(name),
                Selector::Header(name) => {
                    headers.insert(name, HeaderValue::from_static("x"));
                }
            }
            parameters.retain(|name| !name.is_empty());
            let sent = SentRequest {
                method: &row.method,
                has_bucket: row.level != Level::Service,
                has_key: row.level == Level::Object,
                parameters: &parameters,
                headers: &headers,
            };
            assert_eq!(sent.operation(), Some(row.operation), "{row:?}");
        }
    }

    #[test]
    fn parameters_beside_the_sub_resource_change_nothing() {
        for (method, level, parameters, expected) in [
            (
                Method::GET,
                Level::Object,
                &["versionId"][..],
                Operation::GetObject,
            ),
            (
                Method::GET,
                Level::Bucket,
                &["prefix", "max-keys"],
                Operation::ListObjects,
            ),
            (
                Method::PUT,
                Level::Object,
                &["partNumber", "uploadId"],
                Operation::UploadPart,
            ),
            (
                Method::GET,
                Level::Object,
                &["uploadId", "max-parts"],
                Operation::ListParts,
            ),
        ] {
            assert_eq!(operation(&method, level, parameters), Some(expected));
        }
        assert_eq!(operation(&Method::PATCH, Level::Object, &[]), None);
        assert_eq!(operation(&Method::HEAD, Level::Service, &[]), None);
    }

    /// All statuses below 400 that are valid for a request.
    fn accepted(
        (method, level): (Method, Level),
        parameters: &[&str],
        header: Option<&'static str>,
    ) -> Vec<u16> {
        let mut headers = HeaderMap::new();
        if let Some(name) = header {
            headers.insert(name, HeaderValue::from_static("x"));
        }
        let sent = SentRequest {
            method: &method,
            has_bucket: level != Level::Service,
            has_key: level == Level::Object,
            parameters,
            headers: &headers,
        };
        let status = |code| StatusCode::from_u16(code).unwrap();
        for code in 400..600 {
            assert!(sent.may_be_answered(status(code)), "{code}");
        }
        for code in 600..1000 {
            assert!(!sent.may_be_answered(status(code)), "{code}");
        }
        (100..400)
            .filter(|code| sent.may_be_answered(status(*code)))
            .collect()
    }

    #[test]
    fn an_operation_has_the_statuses_that_s3_has_for_it_and_no_others() {
        let object = |method| (method, Level::Object);
        let bucket = |method| (method, Level::Bucket);
        for (target, parameters, header, expected) in [
            (object(Method::GET), &[][..], None, &[200][..]),
            (object(Method::GET), &[], Some("range"), &[200, 206]),
            (object(Method::GET), &["partNumber"], None, &[200, 206]),
            (object(Method::GET), &[], Some("if-none-match"), &[200, 304]),
            (
                object(Method::GET),
                &[],
                Some("if-modified-since"),
                &[200, 304],
            ),
            (object(Method::GET), &[], Some("if-match"), &[200]),
            (object(Method::HEAD), &[], None, &[200]),
            (object(Method::HEAD), &["partNumber"], None, &[200, 206]),
            (object(Method::GET), &["tagging"], Some("range"), &[200]),
            (
                object(Method::GET),
                &["uploadId"],
                Some("if-none-match"),
                &[200],
            ),
            (object(Method::PUT), &[], None, &[200]),
            (object(Method::PUT), &[], Some("x-amz-copy-source"), &[200]),
            (
                object(Method::PUT),
                &["uploadId", "partNumber"],
                Some("range"),
                &[200],
            ),
            (object(Method::PUT), &["tagging"], None, &[200, 204]),
            (object(Method::POST), &["uploadId"], None, &[200]),
            (object(Method::POST), &["restore"], None, &[200, 202]),
            (object(Method::DELETE), &[], None, &[200, 204]),
            (object(Method::DELETE), &["uploadId"], None, &[200, 204]),
            (object(Method::OPTIONS), &[], None, &[200, 204]),
            (object(Method::POST), &["select"], None, &[]),
            (bucket(Method::GET), &["list-type"], None, &[200]),
            (bucket(Method::GET), &["policy"], None, &[200]),
            (bucket(Method::PUT), &["policy"], None, &[200, 204]),
            (bucket(Method::PUT), &[], None, &[200, 204]),
            (bucket(Method::POST), &["delete"], None, &[200]),
            (bucket(Method::DELETE), &[], None, &[200, 204]),
            ((Method::GET, Level::Service), &[], None, &[200]),
        ] {
            let name = format!("{target:?} {parameters:?} {header:?}");
            assert_eq!(accepted(target, parameters, header), expected, "{name}");
        }
    }
}
