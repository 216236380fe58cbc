//! Decodes the `aws-chunked` framing of an upload that is kept. Chunk signatures, checksums and
//! trailers are dropped unverified.

const LINE_END: &[u8] = b"\r\n";

#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub(crate) enum FramingError {
    #[error("the upload's chunks end without the last, empty one")]
    Unfinished,
    #[error("a chunk of the upload does not begin with its size in hex digits")]
    Size,
}

pub(super) fn decode(framed: &[u8]) -> Result<Vec<u8>, FramingError> {
    let mut bytes = Vec::with_capacity(framed.len());
    let mut rest = framed;
    loop {
        let end = rest
            .windows(LINE_END.len())
            .position(|window| window == LINE_END)
            .ok_or(FramingError::Unfinished)?;
        let line = std::str::from_utf8(&rest[..end]).map_err(|_| FramingError::Size)?;
        // Chunk extensions, such as the signature, follow a semicolon.
        let digits = line.split(';').next().unwrap_or_default();
        let size = usize::from_str_radix(digits, 16).map_err(|_| FramingError::Size)?;
        if size == 0 {
            return Ok(bytes);
        }
        let start = end + LINE_END.len();
        let chunk = rest.get(start..start + size);
        bytes.extend_from_slice(chunk.ok_or(FramingError::Unfinished)?);
        rest = rest
            .get(start + size + LINE_END.len()..)
            .ok_or(FramingError::Unfinished)?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chunks_with_and_without_signatures_are_joined() {
        let signed = b"3;chunk-signature=ab\r\nabc\r\n2;chunk-signature=cd\r\nde\r\n0;chunk-signature=ef\r\n\r\n";
        assert_eq!(decode(signed), Ok(b"abcde".to_vec()));
        let trailer = b"5\r\nab\r\nc\r\n0\r\nx-amz-checksum-crc32:AAAAAA==\r\n\r\n";
        assert_eq!(decode(trailer), Ok(b"ab\r\nc".to_vec()));
    }

    #[test]
    fn a_cut_or_garbled_upload_is_an_error() {
        assert_eq!(decode(b"5\r\nabc"), Err(FramingError::Unfinished));
        assert_eq!(decode(b"3\r\nabc\r\n"), Err(FramingError::Unfinished));
        assert_eq!(decode(b"xyz\r\nabc\r\n"), Err(FramingError::Size));
    }
}
