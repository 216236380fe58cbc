//! Peeking at the start of an error's body, to decide on the next step without losing it.
//!
//! Only error responses that may be acted on are read, up to a bound. The read bytes are put in
//! front of the rest again, so that the caller sees the response unchanged.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use tokio::time::timeout;

const BOUND: usize = 64 * 1024;

/// Start of a body, with the rest.
pub(super) struct PeekedBody {
    pub(super) start: Bytes,
    /// `None` if the start is the whole body.
    pub(super) rest: Option<Incoming>,
}

#[derive(Debug)]
pub(super) enum PeekError {
    Broken(hyper::Error),
    TimedOut,
}

/// Reads the start of a body, with a timeout on each frame.
pub(super) async fn peek(mut body: Incoming, silence: Duration) -> Result<PeekedBody, PeekError> {
    let mut start = BytesMut::new();
    while start.len() < BOUND {
        match timeout(silence, body.frame()).await {
            Ok(Some(Ok(frame))) => {
                if let Some(data) = frame.data_ref() {
                    start.extend_from_slice(data);
                }
            }
            Ok(None) => {
                return Ok(PeekedBody {
                    start: start.freeze(),
                    rest: None,
                });
            }
            Ok(Some(Err(error))) => return Err(PeekError::Broken(error)),
            Err(_) => return Err(PeekError::TimedOut),
        }
    }
    Ok(PeekedBody {
        start: start.freeze(),
        rest: Some(body),
    })
}

/// Returns the text of the first element with this name. Sufficient for the flat errors of S3,
/// whose texts only influence retries here.
pub(super) fn element<'a>(xml: &'a [u8], name: &str) -> Option<&'a str> {
    let xml = std::str::from_utf8(xml).ok()?;
    let (_, after) = xml.split_once(&format!("<{name}>"))?;
    let (text, _) = after.split_once(&format!("</{name}>"))?;
    Some(text.trim())
}
