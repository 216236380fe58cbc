//! Test drivers: they run sealers and openers to the end, and make the known-answer plaintext and
//! hex.

use std::fmt::Write as _;

use crate::{
    message::OpenError,
    object::{ObjectOpener, ObjectSealer},
};

pub(crate) fn bytes(hex: &str) -> Vec<u8> {
    assert!(hex.len().is_multiple_of(2));
    (0..hex.len())
        .step_by(2)
        .map(|start| u8::from_str_radix(&hex[start..start + 2], 16).unwrap())
        .collect()
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, octet| {
        write!(text, "{octet:02x}").unwrap();
        text
    })
}

pub(crate) fn plaintext(length: u64) -> Vec<u8> {
    (0..length)
        .map(|index| u8::try_from(index % 251).unwrap())
        .collect()
}

pub(crate) fn sealed(mut sealer: ObjectSealer, plaintext: &[u8]) -> Vec<u8> {
    let buffer = || Vec::with_capacity(100_000);
    let mut stored = Vec::new();
    let mut rest = plaintext;
    while !rest.is_empty() {
        let consumed = sealer.push(rest).unwrap();
        rest = &rest[consumed..];
        stored.extend(sealer.take(buffer).into_iter().flatten());
    }
    let mut tail = sealer.finish().unwrap();
    while let Some(piece) = tail.take(buffer) {
        stored.extend(piece);
    }
    stored
}

pub(crate) fn opened(mut opener: ObjectOpener, stored: &[u8]) -> Result<Vec<u8>, OpenError> {
    let mut plaintext = Vec::with_capacity(stored.len());
    let consumed = opener.push(stored, &mut plaintext)?;
    assert_eq!(consumed, stored.len());
    opener.finish()?;
    Ok(plaintext)
}
