//! Documents of answers that began before the work was done: a 200 may still hold an error, as S3's
//! to CompleteMultipartUpload and copies do, which is then told with the status that its code has.
//! White space that was sent while the work lasted stands before the document.

use bytes::Bytes;
use http::StatusCode;
use s3proxy_protocol::error::ErrorCode;
use s3proxy_protocol::xml::error_document::{ErrorDocument, is_error};

use super::Outcome;
use super::answer::{self, Backed};
use crate::respond::{BackendAnswer, Failure};

/// Longest result that is read, in bytes.
const MAX_RESULT_BYTES: usize = 256 * 1024;

/// The document of a success, unless it is an error's.
pub(crate) async fn document(backed: Backed) -> Outcome<Bytes> {
    let document = answer::read_bounded(backed.body, MAX_RESULT_BYTES).await?;
    let document = document.slice_ref(document.trim_ascii());
    match is_error(&document) {
        Ok(false) => Ok(document),
        Ok(true) => {
            let unusable = |_| Failure::Unusable("an error that cannot be read");
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

/// The status that S3 sends with a code; for what is not known here the backend is at fault.
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
