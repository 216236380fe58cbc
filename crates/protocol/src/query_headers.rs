//! Headers in the query of a presigned request.
//!
//! SDKs that presign put `x-amz-*` headers into the URL (an ACL, a checksum, metadata), and S3
//! treats them as headers. The proxy therefore adds them to the headers, so that the same rules
//! apply: which are known, which are forwarded, which end at the proxy. They are interpreted only
//! there, so a parameter can never do more than a header may.

use http::header::{HeaderMap, HeaderName, HeaderValue};

use crate::checksum::ChecksumAlgorithm;
use crate::error::{ErrorCode, S3Error};
use crate::query::Query;
use crate::quote::quoted;

/// Whether a query parameter represents a header: an `x-amz-*` parameter that is not one of the
/// signature's own.
#[must_use]
pub(crate) fn is_header_parameter(name: &str) -> bool {
    const SIGNATURE: &[&str] = &[
        "x-amz-algorithm",
        "x-amz-content-sha256",
        "x-amz-credential",
        "x-amz-date",
        "x-amz-expires",
        "x-amz-security-token",
        "x-amz-signature",
        "x-amz-signedheaders",
    ];
    // Bytes, since a decoded name may have a character that spans the sixth byte.
    let prefix = name.as_bytes().get(..6);
    prefix.is_some_and(|prefix| prefix.eq_ignore_ascii_case(b"x-amz-"))
        && !SIGNATURE
            .iter()
            .any(|known| known.eq_ignore_ascii_case(name))
}

/// Adds the headers in a presigned request's query to its headers. Call it after the signature of
/// the request as received was verified, and before [`classify`](crate::operation::classify).
///
/// Refuses a header that is in both places with different values, and a parameter that is not a
/// valid header.
pub fn promote(headers: &mut HeaderMap, query: &Query) -> Result<(), S3Error> {
    let invalid = |message| S3Error::new(ErrorCode::InvalidArgument, message);
    for (parameter, value) in query.pairs().filter(|(name, _)| is_header_parameter(name)) {
        let name = HeaderName::try_from(parameter).map_err(|_| {
            invalid(format!(
                "Parameter {} is not a valid header name.",
                quoted(parameter)
            ))
        })?;
        if is_about_a_body_that_was_not_known(&name) {
            continue;
        }
        let value = HeaderValue::try_from(value).map_err(|_| {
            invalid(format!(
                "The value of parameter {} is not a valid header value.",
                quoted(parameter)
            ))
        })?;
        let mut present = headers.get_all(&name).iter();
        let is_repeated = present.next() == Some(&value) && present.next().is_none();
        if !is_repeated && headers.insert(&name, value).is_some() {
            return Err(invalid(format!(
                "{} is both in the headers and in the query: send it once.",
                quoted(name.as_str())
            )));
        }
    }
    Ok(())
}

/// Whether the header describes the body at the time of signing. SDKs that presign an upload put
/// the checksum of an empty body into the URL. It says nothing about the body that is sent later,
/// and S3 does not compare the two.
fn is_about_a_body_that_was_not_known(name: &HeaderName) -> bool {
    name == "x-amz-sdk-checksum-algorithm" || ChecksumAlgorithm::from_header_name(name).is_some()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn puts_headers_among_the_headers_and_leaves_the_signature_alone() {
        let query = Query::parse(Some(
            "X-Amz-Signature=1&X-Amz-Date=2&x-amz-acl=private&X-Amz-Meta-A=b+c&prefix=x",
        ))
        .unwrap();
        let mut headers = HeaderMap::new();
        promote(&mut headers, &query).unwrap();
        assert_eq!(headers.len(), 2);
        assert_eq!(headers["x-amz-acl"], "private");
        assert_eq!(headers["x-amz-meta-a"], "b c");
    }

    #[test]
    fn leaves_the_checksum_of_a_body_that_was_not_known_when_the_url_was_made() {
        let raw = "x-amz-checksum-crc32=AAAAAA%3D%3D&x-amz-sdk-checksum-algorithm=CRC32\
                   &x-amz-checksum-mode=ENABLED";
        let mut headers = HeaderMap::new();
        promote(&mut headers, &Query::parse(Some(raw)).unwrap()).unwrap();
        assert_eq!(headers.len(), 1);
        assert_eq!(headers["x-amz-checksum-mode"], "ENABLED");
    }

    #[test]
    fn a_header_that_the_query_repeats_counts_once() {
        let mut headers = HeaderMap::new();
        headers.insert("x-amz-acl", HeaderValue::from_static("private"));
        let query = Query::parse(Some("X-Amz-Acl=private")).unwrap();
        promote(&mut headers, &query).unwrap();
        assert_eq!(headers.len(), 1);
    }

    #[test]
    fn refuses_what_is_no_header_or_stands_in_both_places() {
        for raw in ["x-amz-acl=a%0Ab", "x-amz-a%20b=1", "x-amz-present=2"] {
            let mut headers = HeaderMap::new();
            headers.insert("x-amz-present", HeaderValue::from_static("1"));
            let error = promote(&mut headers, &Query::parse(Some(raw)).unwrap()).unwrap_err();
            assert_eq!(error.code, ErrorCode::InvalidArgument, "{raw}");
        }
    }
}
