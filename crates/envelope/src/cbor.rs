//! Deterministic CBOR maps with small unsigned keys (RFC 8949, section 4.2.1).
//!
//! Invariants: the decoded bytes equal, byte for byte, the re-encoding of the decoded value, with
//! the keys of every map ascending in their encoded form. This one rule refuses trailing bytes,
//! long integers, indefinite lengths and duplicate keys. Depth and size are bounded first.
//! Keys from 32 on are reserved for later versions: unknown ones are ignored, unknown ones below 32
//! are refused.

use std::collections::BTreeMap;

use ciborium::Value;
use thiserror::Error;

/// Longest encoding that is parsed, in bytes. Far above any envelope, seal map or upload state.
const MAX_BYTES: usize = 64 * 1024;
const MAX_DEPTH: usize = 8;
const FIRST_IGNORED_KEY: u64 = 32;

/// Why a map was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum CborError {
    /// The encoding is longer than 64 KiB.
    #[error("the CBOR map is longer than 64 KiB")]
    TooLong,
    /// The bytes are not CBOR, or not a map with unsigned keys.
    #[error("not a CBOR map with unsigned integer keys")]
    NotAMap,
    /// The bytes are CBOR, but not in its deterministic encoding.
    #[error("not deterministic CBOR: keys must ascend, lengths be definite and shortest")]
    NotDeterministic,
    /// The map has a key below 32 that this version does not know.
    #[error("unknown key {0}: made by a later version, or damaged")]
    UnknownKey(u64),
    /// A required key is missing.
    #[error("key {0} is missing")]
    Missing(u64),
    /// The value of a key has the wrong type or length.
    #[error("the value of key {0} has the wrong type or length")]
    WrongValue(u64),
}

/// Fields of a decoded map. Each getter removes its field, so that `finish` sees the unknown ones.
pub(crate) struct Fields(BTreeMap<u64, Value>);

impl Fields {
    pub(crate) fn parse(bytes: &[u8]) -> Result<Self, CborError> {
        // Both bounds come before the parser: the bytes may be hostile.
        if bytes.len() > MAX_BYTES {
            return Err(CborError::TooLong);
        }
        let value: Value = ciborium::de::from_reader_with_recursion_limit(bytes, MAX_DEPTH)
            .map_err(|_| CborError::NotAMap)?;
        // A round trip alone would accept maps in any order, since the encoder keeps the order it
        // read; the second check makes the order canonical and refuses duplicates.
        if encode_value(&value) != bytes || !keys_ascend(&value) {
            return Err(CborError::NotDeterministic);
        }
        let entries = value.into_map().map_err(|_| CborError::NotAMap)?;
        let mut fields = BTreeMap::new();
        for (key, value) in entries {
            let key = key.as_integer().ok_or(CborError::NotAMap)?;
            let key = u64::try_from(key).map_err(|_| CborError::NotAMap)?;
            fields.insert(key, value);
        }
        Ok(Self(fields))
    }

    pub(crate) fn unsigned(&mut self, key: u64) -> Result<u64, CborError> {
        self.optional(key, |value| {
            value.as_integer().and_then(|n| n.try_into().ok())
        })?
        .ok_or(CborError::Missing(key))
    }

    pub(crate) fn text(&mut self, key: u64) -> Result<Option<String>, CborError> {
        self.optional(key, |value| value.into_text().ok())
    }

    pub(crate) fn bytes(&mut self, key: u64) -> Result<Option<Vec<u8>>, CborError> {
        self.optional(key, |value| value.into_bytes().ok())
    }

    /// Takes a map of text to bytes; empty if the key is absent.
    pub(crate) fn byte_map(&mut self, key: u64) -> Result<BTreeMap<String, Vec<u8>>, CborError> {
        let map = self.optional(key, |value| {
            value
                .into_map()
                .ok()?
                .into_iter()
                .map(|(name, bytes)| Some((name.into_text().ok()?, bytes.into_bytes().ok()?)))
                .collect::<Option<BTreeMap<_, _>>>()
        })?;
        Ok(map.unwrap_or_default())
    }

    /// Refuses fields that nobody took, except the keys reserved for later versions.
    pub(crate) fn finish(self) -> Result<(), CborError> {
        // An unknown key below 32 may change the meaning of the others; those from 32 on never do.
        match self.0.keys().find(|key| **key < FIRST_IGNORED_KEY) {
            Some(key) => Err(CborError::UnknownKey(*key)),
            None => Ok(()),
        }
    }

    fn optional<T>(
        &mut self,
        key: u64,
        convert: impl FnOnce(Value) -> Option<T>,
    ) -> Result<Option<T>, CborError> {
        self.0
            .remove(&key)
            .map(|value| convert(value).ok_or(CborError::WrongValue(key)))
            .transpose()
    }
}

/// Builder of a deterministic CBOR map.
#[derive(Default)]
pub(crate) struct MapWriter(Vec<(Value, Value)>);

impl MapWriter {
    pub(crate) fn unsigned(self, key: u64, value: u64) -> Self {
        self.put(key, value.into())
    }

    pub(crate) fn text(self, key: u64, value: Option<&str>) -> Self {
        match value {
            Some(value) => self.put(key, value.into()),
            None => self,
        }
    }

    pub(crate) fn bytes(self, key: u64, value: Option<&[u8]>) -> Self {
        match value {
            Some(value) => self.put(key, value.into()),
            None => self,
        }
    }

    /// Adds a map of text to bytes; leaves the key out if the map is empty.
    pub(crate) fn byte_map(self, key: u64, map: &BTreeMap<String, Vec<u8>>) -> Self {
        if map.is_empty() {
            return self;
        }
        let entries = map
            .iter()
            .map(|(name, bytes)| (name.as_str().into(), bytes.as_slice().into()));
        self.put(key, Value::Map(sorted(entries.collect())))
    }

    pub(crate) fn finish(self) -> Vec<u8> {
        encode_value(&Value::Map(sorted(self.0)))
    }

    fn put(mut self, key: u64, value: Value) -> Self {
        self.0.push((key.into(), value));
        self
    }
}

fn sorted(mut entries: Vec<(Value, Value)>) -> Vec<(Value, Value)> {
    // RFC 8949 orders by the encoded key, not by its value: shorter encodings sort first.
    entries.sort_by_cached_key(|(key, _)| encode_value(key));
    entries
}

fn keys_ascend(value: &Value) -> bool {
    match value {
        Value::Map(entries) => {
            let keys: Vec<_> = entries.iter().map(|(key, _)| encode_value(key)).collect();
            // Strictly: equal neighbours would be duplicate keys.
            keys.is_sorted_by(|left, right| left < right)
                && entries
                    .iter()
                    .all(|(key, value)| keys_ascend(key) && keys_ascend(value))
        }
        Value::Array(items) => items.iter().all(keys_ascend),
        Value::Tag(_, inner) => keys_ascend(inner),
        // `Value` is a non-exhaustive enum; a value without a map inside has no keys to check.
        _ => true,
    }
}

fn encode_value(value: &Value) -> Vec<u8> {
    let mut bytes = Vec::new();
    ciborium::into_writer(value, &mut bytes).expect("writing to a Vec cannot fail");
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse_error(bytes: &[u8]) -> Option<CborError> {
        Fields::parse(bytes).err()
    }

    #[test]
    fn the_deterministic_form_is_read_and_every_other_form_refused() {
        assert_eq!(parse_error(&[0xa1, 0x01, 0x02]), None);
        for (name, bytes) in [
            ("trailing byte", &[0xa1, 0x01, 0x02, 0x00][..]),
            ("duplicate key", &[0xa2, 0x01, 0x02, 0x01, 0x02]),
            ("descending keys", &[0xa2, 0x02, 0x02, 0x01, 0x02]),
            ("long integer", &[0xa1, 0x01, 0x18, 0x02]),
            ("long key", &[0xa1, 0x18, 0x01, 0x02]),
            ("long map length", &[0xb8, 0x01, 0x01, 0x02]),
            ("indefinite map", &[0xbf, 0x01, 0x02, 0xff]),
            ("indefinite bytes", &[0xa1, 0x01, 0x5f, 0x41, 0x00, 0xff]),
            (
                "inner duplicate",
                &[0xa1, 1, 0xa2, 0x61, b'a', 0, 0x61, b'a', 0],
            ),
            (
                "inner order",
                &[0xa1, 1, 0xa2, 0x61, b'b', 0, 0x61, b'a', 0],
            ),
            ("bignum", &[0xa1, 0x01, 0xc2, 0x41, 0x02]),
            ("float that is shorter", &[0xa1, 0x01, 0xfa, 0, 0, 0, 0]),
        ] {
            assert_eq!(
                parse_error(bytes),
                Some(CborError::NotDeterministic),
                "{name}"
            );
        }
    }

    #[test]
    fn what_is_no_map_of_unsigned_keys_is_refused() {
        for bytes in [
            &[][..],
            &[0x01],
            &[0x80],
            &[0xa1, 0x20, 0x01],
            &[0xa1, 0x61, b'a', 1],
        ] {
            assert_eq!(parse_error(bytes), Some(CborError::NotAMap), "{bytes:?}");
        }
    }

    #[test]
    fn claimed_lengths_and_depths_beyond_the_input_are_refused_without_allocating() {
        // A byte string that claims almost 2^63 bytes.
        let bomb = [
            0xa1, 0x01, 0x5b, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
        ];
        assert_eq!(parse_error(&bomb), Some(CborError::NotAMap));
        // An array that claims as many items.
        let array = [
            0xa1, 0x01, 0x9b, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
        ];
        assert_eq!(parse_error(&array), Some(CborError::NotAMap));
        let mut deep = vec![0xa1, 0x01];
        // Arrays of one item, nested 60,000 deep.
        deep.resize(60_000, 0x81);
        deep.push(0);
        assert_eq!(parse_error(&deep), Some(CborError::NotAMap));
        assert_eq!(
            parse_error(&vec![0; MAX_BYTES + 1]),
            Some(CborError::TooLong)
        );
    }

    #[test]
    fn unknown_keys_are_refused_below_32_and_ignored_from_there() {
        let fields = Fields::parse(&[0xa1, 0x18, 0x1f, 0x00]).unwrap();
        assert_eq!(fields.finish(), Err(CborError::UnknownKey(31)));
        let fields = Fields::parse(&[0xa1, 0x18, 0x20, 0x00]).unwrap();
        assert_eq!(fields.finish(), Ok(()));
    }

    #[test]
    fn text_keys_are_written_in_the_order_of_their_encoded_form() {
        let map = BTreeMap::from([("aa".to_owned(), vec![1]), ("b".to_owned(), vec![2])]);
        let bytes = MapWriter::default().byte_map(1, &map).finish();
        // Shorter first: "b" sorts before "aa".
        assert_eq!(bytes[2..5], [0xa2, 0x61, b'b']);
        assert_eq!(Fields::parse(&bytes).unwrap().byte_map(1), Ok(map));
    }
}
