//! The envelope: the metadata value that describes an object's body, `s3p1.` and base64url of CBOR.
//!
//! Invariants: an envelope has one text form, and no other is accepted; flags, layout and fields
//! agree with each other; unknown layouts, flags and fields (below 32) are refused. Parsing proves
//! nothing about authenticity: the unwrapped key and the commitment do.
//! Absent: the name of the metadata header, and the list of known key names.

mod private;

use std::fmt;

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use thiserror::Error;

use crate::{
    cbor::{CborError, Fields, MapWriter},
    dek::WrappedDek,
    message::MessageHead,
};

pub use private::{PrivateMap, PrivateMapError};

const PREFIX: &str = "s3p1.";
/// Longest value that is parsed, in bytes. Far above the limit of any backend for one metadata
/// value.
const MAX_VALUE_BYTES: usize = 16 * 1024;

const KEY_LAYOUT: u64 = 1;
const KEY_NAME: u64 = 2;
const KEY_WRAPPED_DEK: u64 = 3;
const KEY_HEAD: u64 = 4;
const KEY_FLAGS: u64 = 5;
const KEY_PRIVATE: u64 = 6;
const KEY_ENCRYPTED_KEK: u64 = 7;

/// Why a metadata value is not an envelope.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum EnvelopeError {
    /// The value does not start with `s3p1.`.
    #[error("the envelope does not start with `s3p1.`")]
    Prefix,
    /// The value is longer than any envelope.
    #[error("the envelope is longer than 16384 characters")]
    TooLong,
    /// The rest is not canonical unpadded base64url.
    #[error("the envelope is not canonical unpadded base64url")]
    Base64,
    /// The decoded bytes are not the expected deterministic CBOR map.
    #[error("the envelope is damaged: {0}")]
    Cbor(#[from] CborError),
    /// The envelope names a layout of a later version.
    #[error("the envelope names layout {0}; this version knows 1 and 2")]
    Layout(u64),
    /// The envelope has a flag of a later version.
    #[error("the envelope has flags {0}; this version knows 1, 2 and 4")]
    Flags(u64),
    /// The message head is present in layout 2, or absent in layout 1.
    #[error("the envelope's message head does not go with its layout")]
    Head,
    /// The private map is present without its flag, or absent with it.
    #[error("the envelope's private map does not go with its flags")]
    Private,
}

/// Layout of a sealed body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Layout {
    /// Layout 1: one message, then padding.
    Single,
    /// Layout 2: the parts of a multipart upload, a seal and a footer; or one message below 5 MiB.
    Multipart,
}

impl Layout {
    pub(crate) fn octet(self) -> u8 {
        match self {
            Self::Single => 1,
            Self::Multipart => 2,
        }
    }

    fn from_number(number: u64) -> Result<Self, EnvelopeError> {
        match number {
            1 => Ok(Self::Single),
            2 => Ok(Self::Multipart),
            other => Err(EnvelopeError::Layout(other)),
        }
    }
}

/// Flags of an envelope: its binding, and whether it holds a private map.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Flags(u8);

const FLAG_KEY_BOUND: u8 = 1;
const FLAG_PRIVATE: u8 = 2;
const FLAG_BUCKET_BOUND: u8 = 4;

impl Flags {
    /// No binding and no private map.
    pub const NONE: Self = Self(0);
    /// Binding to the object key: the default.
    pub const KEY_BOUND: Self = Self(FLAG_KEY_BOUND);

    /// Bound to the bucket as well.
    #[must_use]
    pub const fn with_bucket_bound(self) -> Self {
        Self(self.0 | FLAG_BUCKET_BOUND)
    }

    /// Keeps the binding and marks the private map as present.
    #[must_use]
    pub const fn with_private(self) -> Self {
        Self(self.0 | FLAG_PRIVATE)
    }

    /// Keeps the binding and marks the private map as absent.
    #[must_use]
    pub const fn without_private(self) -> Self {
        Self(self.0 & !FLAG_PRIVATE)
    }

    /// Returns whether the object key is bound.
    #[must_use]
    pub const fn is_key_bound(self) -> bool {
        self.0 & FLAG_KEY_BOUND != 0
    }

    /// Returns whether the bucket is bound.
    #[must_use]
    pub const fn is_bucket_bound(self) -> bool {
        self.0 & FLAG_BUCKET_BOUND != 0
    }

    /// Returns whether the envelope holds a private map.
    #[must_use]
    pub const fn has_private(self) -> bool {
        self.0 & FLAG_PRIVATE != 0
    }

    pub(crate) fn octet(self) -> u8 {
        self.0
    }

    fn from_number(number: u64) -> Result<Self, EnvelopeError> {
        // Unknown bits are refused, never ignored: a flag of a later version may change the
        // binding.
        const KNOWN: u8 = FLAG_KEY_BOUND | FLAG_PRIVATE | FLAG_BUCKET_BOUND;
        match u8::try_from(number) {
            Ok(bits) if bits & !KNOWN == 0 => Ok(Self(bits)),
            Ok(_) | Err(_) => Err(EnvelopeError::Flags(number)),
        }
    }
}

impl Default for Flags {
    fn default() -> Self {
        Self::KEY_BOUND
    }
}

/// An envelope. `head` is present exactly in layout 1, `private` exactly with its flag.
#[derive(Clone, PartialEq, Eq)]
pub struct Envelope {
    /// Layout of the body.
    pub layout: Layout,
    /// Name of the key-encryption key.
    pub key_name: String,
    /// Wrapped data-encryption key of the object.
    pub wrapped_dek: WrappedDek,
    /// Salt and commitment of the body's message; layout 1 only.
    pub head: Option<MessageHead>,
    /// Binding of the wrapped key, and whether there is a private map.
    pub flags: Flags,
    /// Sealed private map.
    pub private: Option<Vec<u8>>,
    /// Ciphertext of the KEK as the key service returned it; only for KEKs of a key service.
    pub encrypted_kek: Option<Vec<u8>>,
}

impl Envelope {
    /// Reads a metadata value.
    pub fn parse(value: &str) -> Result<Self, EnvelopeError> {
        let encoded = value.strip_prefix(PREFIX).ok_or(EnvelopeError::Prefix)?;
        // Bounded before it is decoded, and so before anything is allocated for it.
        if value.len() > MAX_VALUE_BYTES {
            return Err(EnvelopeError::TooLong);
        }
        let bytes = URL_SAFE_NO_PAD
            .decode(encoded)
            .map_err(|_| EnvelopeError::Base64)?;
        let mut fields = Fields::parse(&bytes)?;
        let layout = Layout::from_number(fields.unsigned(KEY_LAYOUT)?)?;
        let flags = Flags::from_number(fields.unsigned(KEY_FLAGS)?)?;
        let key_name = fields.text(KEY_NAME)?.ok_or(CborError::Missing(KEY_NAME))?;
        let wrapped = fields
            .bytes(KEY_WRAPPED_DEK)?
            .ok_or(CborError::Missing(KEY_WRAPPED_DEK))?;
        let head = fields.bytes(KEY_HEAD)?;
        let envelope = Self {
            layout,
            key_name,
            wrapped_dek: WrappedDek::from_slice(&wrapped)
                .ok_or(CborError::WrongValue(KEY_WRAPPED_DEK))?,
            head: head
                .map(|head| MessageHead::from_slice(&head).ok_or(CborError::WrongValue(KEY_HEAD)))
                .transpose()?,
            flags,
            private: fields.bytes(KEY_PRIVATE)?,
            encrypted_kek: fields.bytes(KEY_ENCRYPTED_KEK)?,
        };
        fields.finish()?;
        envelope.check()?;
        Ok(envelope)
    }

    /// Returns the metadata value.
    ///
    /// # Panics
    /// If `head` does not match the layout or `private` does not match the flags: such an envelope
    /// could not be read back, and its object would be lost.
    #[must_use]
    pub fn encode(&self) -> String {
        self.check()
            .expect("head goes with layout 1 and the private map with its flag");
        let bytes = MapWriter::default()
            .unsigned(KEY_LAYOUT, self.layout.octet().into())
            .text(KEY_NAME, Some(&self.key_name))
            .bytes(KEY_WRAPPED_DEK, Some(self.wrapped_dek.as_bytes()))
            .bytes(
                KEY_HEAD,
                self.head.as_ref().map(|head| &head.as_bytes()[..]),
            )
            .unsigned(KEY_FLAGS, self.flags.octet().into())
            .bytes(KEY_PRIVATE, self.private.as_deref())
            .bytes(KEY_ENCRYPTED_KEK, self.encrypted_kek.as_deref())
            .finish();
        let mut value = String::from(PREFIX);
        URL_SAFE_NO_PAD.encode_string(&bytes, &mut value);
        value
    }

    fn check(&self) -> Result<(), EnvelopeError> {
        // A field that was stripped or added contradicts the layout or the flags.
        if self.head.is_some() != (self.layout == Layout::Single) {
            return Err(EnvelopeError::Head);
        }
        if self.private.is_some() != self.flags.has_private() {
            return Err(EnvelopeError::Private);
        }
        Ok(())
    }
}

impl fmt::Debug for Envelope {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Envelope")
            .field("layout", &self.layout)
            .field("key_name", &self.key_name)
            .field("flags", &self.flags)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::HEAD_BYTES;

    fn envelope() -> Envelope {
        Envelope {
            layout: Layout::Single,
            key_name: "local:0011223344556677".to_owned(),
            wrapped_dek: WrappedDek::from_slice(&[3; 40]).unwrap(),
            head: MessageHead::from_slice(&[4; HEAD_BYTES]),
            flags: Flags::default().with_bucket_bound().with_private(),
            private: Some(vec![5; 100]),
            encrypted_kek: Some(vec![6; 7]),
        }
    }

    fn encoded(map: MapWriter) -> String {
        format!("{PREFIX}{}", URL_SAFE_NO_PAD.encode(map.finish()))
    }

    fn required() -> MapWriter {
        MapWriter::default()
            .text(KEY_NAME, Some("k"))
            .bytes(KEY_WRAPPED_DEK, Some(&[3; 40]))
    }

    #[test]
    fn every_field_reads_back() {
        let value = envelope().encode();
        assert!(Envelope::parse(&value).unwrap() == envelope());
    }

    #[test]
    fn a_usual_envelope_has_some_180_characters() {
        let usual = Envelope {
            flags: Flags::default(),
            private: None,
            encrypted_kek: None,
            ..envelope()
        };
        assert_eq!(usual.encode().len(), 180);
    }

    #[test]
    fn only_the_one_text_form_is_read() {
        let value = envelope().encode();
        for (other, error) in [
            (value.replace("s3p1", "S3P1"), EnvelopeError::Prefix),
            (value.replace("s3p1", "s3p2"), EnvelopeError::Prefix),
            // Neither padding nor white space is tolerated.
            (format!("{value}="), EnvelopeError::Base64),
            (format!("{value} "), EnvelopeError::Base64),
            (
                format!("{value}{}", "A".repeat(20_000)),
                EnvelopeError::TooLong,
            ),
        ] {
            assert_eq!(Envelope::parse(&other), Err(error), "{other}");
        }
    }

    #[test]
    fn unknown_layouts_flags_and_fields_are_refused() {
        let layout = encoded(required().unsigned(KEY_LAYOUT, 3).unsigned(KEY_FLAGS, 1));
        assert_eq!(Envelope::parse(&layout), Err(EnvelopeError::Layout(3)));
        for flags in [8, 256, u64::MAX] {
            let value = encoded(
                required()
                    .unsigned(KEY_LAYOUT, 2)
                    .unsigned(KEY_FLAGS, flags),
            );
            assert_eq!(Envelope::parse(&value), Err(EnvelopeError::Flags(flags)));
        }
        // Key 8 is below 32 and refused, key 32 is ignored.
        let known = || required().unsigned(KEY_LAYOUT, 2).unsigned(KEY_FLAGS, 1);
        let refused = Err(EnvelopeError::Cbor(CborError::UnknownKey(8)));
        assert_eq!(Envelope::parse(&encoded(known().unsigned(8, 0))), refused);
        assert!(Envelope::parse(&encoded(known().unsigned(32, 0))).is_ok());
    }

    #[test]
    fn fields_that_contradict_each_other_are_refused() {
        let both = |layout, flags| {
            required()
                .unsigned(KEY_LAYOUT, layout)
                .unsigned(KEY_FLAGS, flags)
        };
        let parse = |map| Envelope::parse(&encoded(map));
        // Layout 1 without a head.
        assert_eq!(parse(both(1, 1)), Err(EnvelopeError::Head));
        // Layout 2 with one.
        let head = both(2, 1).bytes(KEY_HEAD, Some(&[4; HEAD_BYTES]));
        assert_eq!(parse(head), Err(EnvelopeError::Head));
        // Flag 2 announces a private map, which is missing, and then the reverse.
        assert_eq!(parse(both(2, 3)), Err(EnvelopeError::Private));
        let private = both(2, 1).bytes(KEY_PRIVATE, Some(&[5; 80]));
        assert_eq!(parse(private), Err(EnvelopeError::Private));
        let short = both(1, 1).bytes(KEY_HEAD, Some(&[4; HEAD_BYTES - 1]));
        assert_eq!(parse(short), Err(CborError::WrongValue(KEY_HEAD).into()));
    }

    #[test]
    fn missing_and_short_fields_are_refused() {
        let without_key = MapWriter::default()
            .unsigned(KEY_LAYOUT, 2)
            .text(KEY_NAME, Some("k"))
            .unsigned(KEY_FLAGS, 1);
        let refused = Err(CborError::Missing(KEY_WRAPPED_DEK).into());
        assert_eq!(Envelope::parse(&encoded(without_key)), refused);
        let short = MapWriter::default()
            .unsigned(KEY_LAYOUT, 2)
            .text(KEY_NAME, Some("k"))
            .bytes(KEY_WRAPPED_DEK, Some(&[3; 16]))
            .unsigned(KEY_FLAGS, 1);
        let refused = Err(CborError::WrongValue(KEY_WRAPPED_DEK).into());
        assert_eq!(Envelope::parse(&encoded(short)), refused);
    }

    #[test]
    fn debug_shows_neither_wrapped_key_nor_sealed_metadata() {
        let shown = format!("{:?}", envelope());
        assert!(shown.contains("local:0011223344556677"));
        assert!(
            !shown.contains("3, 3") && !shown.contains("5, 5"),
            "{shown}"
        );
    }
}
