//! Documents for the answers that the HTTP library gives by itself: to heads that it cannot read, or that
//! are too large for it.
//!
//! The library answers them with a status and without a body, and tells nobody. Between two requests it
//! writes nothing else, so its response is recognised by its timing, and S3's document goes out in its
//! place. Then the rest of what the client sends is read and dropped, up to a bound and within the time of
//! a head, so that the client reads the response and sees no reset.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// How the library's answers begin.
const STATUS_LINE: &[u8] = b"HTTP/1.1 ";

/// What is read and dropped of a client's bytes, as for requests in the other protocol.
const DROPPED_BYTES: usize = 64 * 1024;

/// Watches a connection for such answers.
pub(super) struct ParseErrorResponses {
    /// The head before whose response everything was written.
    flushed: Option<u64>,
    /// The first byte of the head of this number.
    first: Option<(u64, u8)>,
    response: Option<RewrittenResponse>,
}

struct RewrittenResponse {
    bytes: Vec<u8>,
    written: usize,
    dropped: usize,
    shut: bool,
}

impl ParseErrorResponses {
    pub(super) fn new() -> Self {
        Self {
            flushed: Some(0),
            first: None,
            response: None,
        }
    }

    /// Bytes came while the head of this number was awaited.
    pub(super) fn read(&mut self, head: Option<u64>, bytes: &[u8]) {
        if let (Some(head), Some(byte)) = (head, bytes.first())
            && self.first.is_none_or(|(of, _)| of != head)
        {
            self.first = Some((head, *byte));
        }
    }

    /// Everything was written while the head of this number was awaited.
    pub(super) fn flushed(&mut self, head: Option<u64>) {
        self.flushed = head;
    }

    /// Writes the document, if `library` is a response of the HTTP library's own; `None` otherwise.
    pub(super) fn poll_write<IO: AsyncWrite + Unpin>(
        &mut self,
        head: Option<u64>,
        library: &[u8],
        socket: &mut IO,
        context: &mut Context<'_>,
    ) -> Option<Poll<io::Result<usize>>> {
        if self.response.is_none() {
            let head = head.filter(|head| self.flushed == Some(*head))?;
            let status = library.strip_prefix(STATUS_LINE)?.get(..3)?;
            let is_head = self.first == Some((head, b'H'));
            self.response = Some(RewrittenResponse {
                bytes: s3_response(std::str::from_utf8(status).ok()?, is_head)?,
                written: 0,
                dropped: 0,
                shut: false,
            });
        }
        let response = self.response.as_mut()?;
        while let Some(left @ [_, ..]) = response.bytes.get(response.written..) {
            match Pin::new(&mut *socket).poll_write(context, left) {
                Poll::Ready(Ok(0)) => {
                    return Some(Poll::Ready(Err(io::ErrorKind::WriteZero.into())));
                }
                Poll::Ready(Ok(count)) => response.written += count,
                Poll::Ready(Err(error)) => return Some(Poll::Ready(Err(error))),
                Poll::Pending => return Some(Poll::Pending),
            }
        }
        Some(Poll::Ready(Ok(library.len())))
    }

    /// Shuts the connection down; after such a response, when the client's bytes were dropped.
    pub(super) fn poll_shutdown<IO: AsyncRead + AsyncWrite + Unpin>(
        &mut self,
        socket: &mut IO,
        context: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        let Some(response) = &mut self.response else {
            return Pin::new(socket).poll_shutdown(context);
        };
        if !response.shut {
            ready!(Pin::new(&mut *socket).poll_shutdown(context))?;
            response.shut = true;
        }
        while response.dropped < DROPPED_BYTES {
            let mut buffer = [0; 4096];
            let mut buffer = ReadBuf::new(&mut buffer);
            match ready!(Pin::new(&mut *socket).poll_read(context, &mut buffer)) {
                Ok(()) if !buffer.filled().is_empty() => response.dropped += buffer.filled().len(),
                Ok(()) | Err(_) => break,
            }
        }
        Poll::Ready(Ok(()))
    }
}

/// S3's response in place of the library's; `None` for a status that the library does not give.
fn s3_response(status: &str, is_head: bool) -> Option<Vec<u8>> {
    let (line, code, message) = match status {
        "400" => (
            "400 Bad Request",
            "BadRequest",
            "The request line or a header is not HTTP.",
        ),
        "414" => (
            "414 URI Too Long",
            "RequestHeaderSectionTooLarge",
            "The request target is too long.",
        ),
        "431" => (
            "431 Request Header Fields Too Large",
            "RequestHeaderSectionTooLarge",
            "The request line and headers are too long or too many.",
        ),
        _ => return None,
    };
    let document = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Error><Code>{code}</Code>\
         <Message>{message}</Message></Error>"
    );
    let body = if is_head { "" } else { &document };
    let response = format!(
        "HTTP/1.1 {line}\r\ncontent-type: application/xml\r\nx-s3proxy-reason: {code}: {message}\r\n\
         content-length: {}\r\nconnection: close\r\n\r\n{body}",
        document.len()
    );
    Some(response.into_bytes())
}
