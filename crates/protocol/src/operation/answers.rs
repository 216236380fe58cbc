//! Which statuses a server may answer an operation with.
//!
//! An error (4xx, 5xx) may answer every operation. A success must be one that S3 has for the
//! operation: to a client every 2xx is a success, so that a 203 or 204 to a read would pass some
//! other server's document, or an empty body, off as the object. A 206 answers a request for a range
//! or a part only, and a 304 a read under a condition that can end so (RFC 9110, sections 15.3.7 and
//! 15.4.5).
//!
//! Where servers differ, both statuses are on the list: some answer a deletion with 200, and a
//! configuration that was stored with 204.

use http::header::{HeaderMap, IF_MODIFIED_SINCE, IF_NONE_MATCH, RANGE};
use http::{Method, StatusCode};

use super::table::{Level, ROWS, Row, Selector};
use super::{Kind, Operation};

/// A request as it goes to a backend.
#[derive(Debug, Clone, Copy)]
pub struct SentRequest<'a> {
    /// The method.
    pub method: &'a Method,
    /// Whether it names a bucket.
    pub has_bucket: bool,
    /// Whether it names an object key.
    pub has_key: bool,
    /// The names of its query parameters.
    pub parameters: &'a [&'a str],
    /// Its headers.
    pub headers: &'a HeaderMap,
}

impl SentRequest<'_> {
    /// The operation that the request asks for; `None` where S3 has no such operation.
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
        let about_a_part = rows().filter(names_it).find(selected);
        let row = about_a_part.or_else(|| {
            let mut whole = rows().filter(|row| row.sub_resource.is_empty());
            whole.find(selected)
        });
        row.map(|row| row.operation)
    }

    /// Whether a server may answer with this status.
    #[must_use]
    pub fn may_be_answered(&self, status: StatusCode) -> bool {
        if status.is_client_error() || status.is_server_error() {
            return true;
        }
        let Some(operation) = self.operation() else {
            return false;
        };
        let reads = matches!(operation.kind(), Kind::GetObject | Kind::HeadObject);
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

/// The statuses by which a server may say that it has carried an operation out, besides the 206 of
/// a read in part.
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
        // An archive is on its way, or its copy is there already.
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

    /// The statuses below 400 that may answer a request.
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
