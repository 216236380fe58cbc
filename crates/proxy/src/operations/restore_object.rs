//! RestoreObject: forwarded ([`super::forward`]) if it restores the object itself.

use s3proxy_protocol::error::{ErrorCode, S3Error};
use s3proxy_protocol::xml::restore::{RestoreRequest, restore_request};

/// Refuses SELECT, which would evaluate a query on ciphertext.
pub(super) fn refuse_select(document: &[u8]) -> Result<(), S3Error> {
    match restore_request(document) {
        Ok(RestoreRequest::Archive) => Ok(()),
        Ok(RestoreRequest::Select) => Err(S3Error::new(
            ErrorCode::NotImplemented,
            "A restore with SELECT cannot work on sealed data; restore the object itself.",
        )),
        Err(error) => Err(S3Error::new(ErrorCode::MalformedXML, error.to_string())),
    }
}
