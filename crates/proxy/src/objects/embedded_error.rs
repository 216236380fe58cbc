//! Result documents of responses that the backend began before its work was done. A 200 may still
//! hold an error, as S3's responses to CompleteMultipartUpload and copies do; the error is then
//! reported with the status that belongs to its code. White space sent during the work precedes the
//! document.

use bytes::Bytes;
use http::StatusCode;
use s3proxy_protocol::error::ErrorCode;
use s3proxy_protocol::xml::error_document::{ErrorDocument, is_error};

use crate::failure::{BackendAnswer, Failure, Outcome};
use crate::objects::call::{BackendResponse, read_bounded};

/// Longest result document that is read, in bytes.
const MAX_RESULT_BYTES: usize = 256 * 1024;

/// Returns the result document of a success, or the error that it contains as a failure.
pub(crate) async fn document(backed: BackendResponse) -> Outcome<Bytes> {
    let document = read_bounded(backed.body, MAX_RESULT_BYTES).await?;
    // `slice_ref` shares the buffer: the document is not copied.
    let document = document.slice_ref(document.trim_ascii());
    match is_error(&document) {
        Ok(false) => Ok(document),
        Ok(true) => {
            let unusable = |_| Failure::Unusable("a malformed error document");
            let document = ErrorDocument::parse(&document).map_err(unusable)?;
            Err(Failure::Answer(Box::new(BackendAnswer {
                status: status_of(&document.code),
                headers: backed.headers,
                document,
            })))
        }
        Err(_) => Err(Failure::Unusable("a success without a document")),
    }
}

/// Status that S3 sends with an error code; 500 for unknown codes.
fn status_of(code: &str) -> StatusCode {
    let known = ErrorCode::ALL.iter().find(|known| known.as_str() == code);
    known.map_or(StatusCode::INTERNAL_SERVER_ERROR, |known| known.status())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_within_a_success_gets_the_status_it_would_have_had() {
        for (code, status) in [
            ("PreconditionFailed", 412),
            ("NoSuchKey", 404),
            ("SlowDown", 503),
            ("InternalError", 500),
            ("SomethingElse", 500),
        ] {
            assert_eq!(status_of(code).as_u16(), status, "{code}");
        }
    }
}
