//! Opening of a stored body, as a stream from a file.

use std::sync::Arc;

use s3proxy_envelope::dek::Dek;
use s3proxy_envelope::header::{Envelope, Layout};
use s3proxy_envelope::layout::{PlaintextLength, PlaintextRange};
use s3proxy_envelope::legacy::{
    LegacyDek, LegacyError, LegacyOpener, LegacyVerifier, NONCE_BYTES, TAG_BYTES, VerifiedBody,
    legacy_plaintext_length,
};
use s3proxy_envelope::multipart::{Seal, tail_first};
use s3proxy_envelope::object::ObjectOpener;

use super::stored_file::StoredFile;
use super::{RecoverError, refused};
use crate::stored_fault::StoredFault;

/// Number of stored bytes that are read at a time; a chunk is shorter.
const READ_BYTES: usize = 64 * 1024;

/// Opens a body of format v1.
pub(super) fn open_sealed(
    source: &mut StoredFile,
    envelope: &Envelope,
    dek: &Dek,
    write: impl FnMut(&[u8]) -> Result<(), RecoverError>,
) -> Result<(), RecoverError> {
    let length = source.length;
    let opener = match (envelope.layout, &envelope.head) {
        (Layout::Single, Some(head)) => ObjectOpener::whole(dek, head, length),
        (Layout::Single, None) => {
            return Err(refused(StoredFault::malformed("no head in layout 1")));
        }
        (Layout::Multipart, _) => match tail_first(length) {
            None => ObjectOpener::whole_headless(dek, length),
            Some(first) => {
                let tail = source.rest(first)?;
                let seal = Seal::open(dek, length, &tail).map_err(refused)?;
                seal.open_whole(dek)
            }
        },
    };
    // The seal was read from the end; the body starts at the beginning.
    source.seek(0)?;
    open_chunks(source, opener.map_err(refused)?, write)
}

fn open_chunks(
    source: &mut StoredFile,
    mut opener: ObjectOpener,
    mut write: impl FnMut(&[u8]) -> Result<(), RecoverError>,
) -> Result<(), RecoverError> {
    let mut buffer = vec![0; READ_BYTES];
    let mut plaintext = Vec::with_capacity(READ_BYTES);
    while !opener.is_complete() {
        let read = source.read(&mut buffer)?;
        if read == 0 {
            break;
        }
        let mut rest = &buffer[..read];
        while !rest.is_empty() && !opener.is_complete() {
            let consumed = opener.push(rest, &mut plaintext).map_err(refused)?;
            rest = &rest[consumed..];
            write(&plaintext)?;
            plaintext.clear();
        }
    }
    opener.finish().map_err(refused)
}

/// Opens a body of an older format.
pub(super) fn open_legacy(
    source: &mut StoredFile,
    dek: &LegacyDek,
    mut write: impl FnMut(&[u8]) -> Result<(), RecoverError>,
) -> Result<(), RecoverError> {
    let PlaintextLength(plaintext) = legacy_plaintext_length(source.length).map_err(refused)?;
    // The tag covers the whole body, so the file is read twice: plaintext is written only after the
    // tag was verified.
    let body = Arc::new(verify_legacy(source, dek)?);
    // An empty object has no range to open, but its tag was verified above.
    let last = plaintext.checked_sub(1);
    let Some(range) = last.and_then(|last| PlaintextRange::new(0, last)) else {
        return Ok(());
    };
    let mut opener = LegacyOpener::new(&body, dek, range).map_err(refused)?;
    source.seek(NONCE_BYTES as u64)?;
    let mut buffer = vec![0; READ_BYTES];
    while !opener.is_complete() {
        let read = source.read(&mut buffer)?;
        if read == 0 {
            return Err(refused(LegacyError::OtherLength));
        }
        let mut rest = &buffer[..read];
        while !rest.is_empty() && !opener.is_complete() {
            if let Some(block) = opener.push(&mut rest).map_err(refused)? {
                write(&block)?;
            }
        }
    }
    Ok(())
}

fn verify_legacy(source: &mut StoredFile, dek: &LegacyDek) -> Result<VerifiedBody, RecoverError> {
    let length = source.length;
    let tag = source.exact::<TAG_BYTES>(length.0 - TAG_BYTES as u64)?;
    let nonce = source.exact::<NONCE_BYTES>(0)?;
    let mut verifier = LegacyVerifier::new(dek, length, nonce, tag).map_err(refused)?;
    let mut buffer = vec![0; READ_BYTES];
    loop {
        let read = source.read(&mut buffer)?;
        if read == 0 {
            return verifier.finish().map_err(refused);
        }
        verifier.push(&buffer[..read]).map_err(refused)?;
    }
}
