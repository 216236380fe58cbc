//! Response headers of a sealed object in plaintext terms: ETag, checksums, user metadata.
//!
//! Checksums and sealed metadata are in the envelope's private map, and those of multipart
//! objects in their seal; both open with the data key only. No flag tells whether a private map
//! contains metadata, so every response with headers opens it, HEAD included: an object that was
//! written with `metadata = sealed` is read correctly under any current setting. Therefore a
//! HEAD of an object with a private map needs its key, and fails if GET would; with local keys
//! this costs no request.

use std::collections::BTreeMap;

use http::{HeaderMap, HeaderName, HeaderValue};
use s3proxy_envelope::dek::Dek;
use s3proxy_envelope::header::{Envelope, PrivateMap};
use s3proxy_envelope::multipart::Seal;
use s3proxy_protocol::checksum::{ChecksumAlgorithm, ChecksumValue};
use s3proxy_protocol::header_rules::METADATA_PREFIX;
use s3proxy_protocol::headers::{CHECKSUM_TYPE, PARTS_COUNT};

use crate::failure::{Failure, Outcome};
use crate::objects::call::client_headers;
use crate::objects::delivery::{RequestedPortion, part_index};
use crate::objects::read::Source;
use crate::objects::{StoreCall, stored};
use crate::stored_fault::StoredFault;

pub(crate) const FULL_OBJECT: &str = "FULL_OBJECT";
const COMPOSITE: &str = "COMPOSITE";

/// The backend's headers, with the ETag in the client's form and without the envelope.
pub(crate) fn sealed_headers(call: &StoreCall<'_>, backend: &HeaderMap) -> HeaderMap {
    let mut headers = client_headers(backend);
    stored::map_etag(&mut headers);
    stored::remove_envelope(&mut headers, &call.store.dek_tag);
    // It counts the backend's parts, tail included.
    headers.remove(PARTS_COUNT);
    headers
}

/// Opens the private map of a sealed object, if it has one.
pub(crate) fn private_map(
    source: &Source<'_>,
    envelope: &Envelope,
    dek: &Dek,
) -> Outcome<Option<PrivateMap>> {
    let Some(sealed) = &envelope.private else {
        return Ok(None);
    };
    let binding = stored::binding(envelope, source.object);
    PrivateMap::open(dek, &binding, sealed)
        .map(Some)
        .map_err(|error| Failure::Stored(error.into()))
}

/// Replaces the backend's user metadata by the sealed ones.
pub(crate) fn replace_user_metadata(
    call: &StoreCall<'_>,
    headers: &mut HeaderMap,
    private: &PrivateMap,
) -> Outcome<()> {
    remove_forged_metadata(headers, private);
    for (name, value) in &private.user_metadata {
        let name = HeaderName::try_from(format!("{METADATA_PREFIX}{name}"));
        let (Ok(name), Ok(value)) = (name, HeaderValue::from_bytes(value)) else {
            return Err(StoredFault::malformed("sealed metadata is no header").into());
        };
        // A name may have become reserved after the object was written, by another setting.
        if !stored::is_reserved(&name, &call.store.dek_tag) {
            headers.insert(name, value);
        }
    }
    Ok(())
}

/// Removes the backend's user metadata if the object's own is sealed. Sealing takes all of it, so
/// anything next to it was added at the backend. An object without sealed metadata keeps its
/// headers, since it may have been written before sealing was enabled.
pub(crate) fn remove_forged_metadata(headers: &mut HeaderMap, private: &PrivateMap) {
    if !private.user_metadata.is_empty() {
        remove_user_metadata(headers);
    }
}

/// Removes all user metadata, and with it the envelope.
pub(crate) fn remove_user_metadata(headers: &mut HeaderMap) {
    let names: Vec<HeaderName> = headers
        .keys()
        .filter(|name| name.as_str().starts_with(METADATA_PREFIX))
        .cloned()
        .collect();
    for name in names {
        headers.remove(name);
    }
}

/// Checksums of a whole object, by algorithm.
pub(crate) struct Checksums<'a> {
    raw: &'a BTreeMap<String, Vec<u8>>,
    kind: Option<&'a str>,
    /// Number of parts of a composite checksum.
    parts: usize,
}

impl<'a> Checksums<'a> {
    /// Takes the checksums from the seal, or from the private map if the object is one message.
    pub(crate) fn stored(private: Option<&'a PrivateMap>, seal: Option<&'a Seal>) -> Option<Self> {
        let in_seal = seal.map(|seal| Self {
            raw: &seal.fields().checksums,
            kind: seal.fields().checksum_type.as_deref(),
            parts: seal.frames().len(),
        });
        in_seal.or_else(|| {
            private.map(|private| Self {
                raw: &private.checksums,
                kind: private.checksum_type.as_deref(),
                parts: 1,
            })
        })
    }

    /// Algorithm, value and type; algorithms and types that this version does not know are left out.
    pub(crate) fn values(
        &self,
    ) -> impl Iterator<Item = (ChecksumAlgorithm, ChecksumValue, &'static str)> + '_ {
        let kind = match self.kind {
            None | Some(FULL_OBJECT) => Some(FULL_OBJECT),
            Some(COMPOSITE) => Some(COMPOSITE),
            Some(_) => None,
        };
        self.raw.iter().filter_map(move |(name, raw)| {
            let algorithm = ChecksumAlgorithm::from_name(name)?;
            Some((algorithm, ChecksumValue::from_bytes(algorithm, raw)?, kind?))
        })
    }

    /// The same in the spelling of headers: a composite checksum ends in the number of parts.
    pub(crate) fn spelled(
        &self,
    ) -> impl Iterator<Item = (ChecksumAlgorithm, String, &'static str)> + '_ {
        self.values().map(|(algorithm, value, kind)| {
            let base64 = value.to_base64();
            let text = if kind == COMPOSITE {
                format!("{base64}-{}", self.parts)
            } else {
                base64
            };
            (algorithm, text, kind)
        })
    }
}

/// Adds the checksums that a response to `requested` may have: those of the whole object, or of one
/// part. A range has none.
pub(crate) fn add_checksums(
    headers: &mut HeaderMap,
    requested: RequestedPortion,
    private: Option<&PrivateMap>,
    seal: Option<&Seal>,
) {
    match (requested, seal) {
        (RequestedPortion::Range(_), _) => {}
        (RequestedPortion::Part(number), Some(seal)) => {
            if let Some(index) = part_index(seal, number) {
                add_part_checksum(headers, seal, index);
            }
        }
        // An object that is one message is a single part.
        (RequestedPortion::Whole, _) | (RequestedPortion::Part(_), None) => {
            let checksums = Checksums::stored(private, seal);
            for (algorithm, value, kind) in checksums.iter().flat_map(Checksums::spelled) {
                insert(headers, algorithm, &value, kind);
            }
        }
    }
}

fn add_part_checksum(headers: &mut HeaderMap, seal: &Seal, index: usize) {
    if let Some((algorithm, value)) = part_checksum(seal, index) {
        let kind = match seal.fields().checksum_type.as_deref() {
            Some(COMPOSITE) => COMPOSITE,
            Some(_) | None => FULL_OBJECT,
        };
        insert(headers, algorithm, &value.to_base64(), kind);
    }
}

/// The checksum of a part, by its position from 0.
pub(crate) fn part_checksum(
    seal: &Seal,
    index: usize,
) -> Option<(ChecksumAlgorithm, ChecksumValue)> {
    let algorithm = ChecksumAlgorithm::from_name(seal.fields().part_checksum?.name())?;
    let value = ChecksumValue::from_bytes(algorithm, seal.checksum(index)?)?;
    Some((algorithm, value))
}

fn insert(headers: &mut HeaderMap, algorithm: ChecksumAlgorithm, value: &str, kind: &'static str) {
    let value = HeaderValue::try_from(value).expect("base64 and a number are a header value");
    headers.insert(algorithm.header_name(), value);
    headers.insert(CHECKSUM_TYPE, HeaderValue::from_static(kind));
}
