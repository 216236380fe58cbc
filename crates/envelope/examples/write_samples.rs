//! Writes stored objects and all that is needed to open them into a folder, for the tests of the
//! recovery script: `write_samples FOLDER`. Each sample is `<name>.stored`, `<name>.json`, and
//! `<name>.plain`, what opening it gives.

use std::{collections::BTreeMap, error::Error, fs, path::Path};

use s3proxy_envelope::names::{BucketStr, KeyStr};
use s3proxy_envelope::{
    dek::{Binding, Dek},
    header::{Envelope, Flags, Layout, PrivateMap},
    kek::Kek,
    layout::PlaintextLength,
    message::MessageHead,
    multipart::{ChecksumAlgorithm, Frame, Mark, PartNumber, Seal, SealFields, SealedPart},
    object::ObjectSealer,
};
use serde_json::json;

const BUCKET: &str = "a-bucket";
const PASSPHRASE: &str = "not a good passphrase";
const FIVE_MIB: u64 = 5 * 1024 * 1024;

struct Sample {
    dek: Dek,
    key: String,
    flags: Flags,
}

impl Sample {
    fn new(key: &str, flags: Flags) -> Self {
        Self {
            dek: Dek::generate(),
            key: key.to_owned(),
            flags,
        }
    }

    fn envelope(&self, layout: Layout, kek: &Kek, head: Option<MessageHead>) -> Envelope {
        let binding = Binding::new(layout, self.flags, BucketStr(BUCKET), KeyStr(&self.key));
        let private = PrivateMap {
            checksums: BTreeMap::from([("CRC32".to_owned(), vec![1, 2, 3, 4])]),
            user_metadata: BTreeMap::from([("owner".to_owned(), b"somebody".to_vec())]),
            checksum_type: Some("FULL_OBJECT".to_owned()),
        };
        Envelope {
            layout,
            key_name: kek.local_name(),
            wrapped_dek: self.dek.wrap(kek, &binding),
            head,
            flags: self.flags,
            private: self
                .flags
                .has_private()
                .then(|| private.seal(&self.dek, &binding)),
            encrypted_kek: None,
        }
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let folder = std::env::args()
        .nth(1)
        .ok_or("usage: write_samples FOLDER")?;
    let folder = Path::new(&folder);
    let key = Kek::generate();
    let configured = key.to_configured().to_string();
    let passphrase = Kek::from_configured(PASSPHRASE)?;
    let bound = Flags::KEY_BOUND;

    for (name, length) in [
        ("empty", 0),
        ("small", 11),
        ("chunk", 16_384),
        ("padded", FIVE_MIB + 7),
    ] {
        let sample = Sample::new(&format!("dir/{name} ü"), bound);
        single(folder, name, &sample, length, (&key, &configured))?;
    }
    let all = bound.with_bucket_bound().with_private();
    let sample = Sample::new("bound to all", all);
    single(folder, "bound", &sample, 40_000, (&passphrase, PASSPHRASE))?;
    let sample = Sample::new("bound to nothing", Flags::NONE);
    single(folder, "unbound", &sample, 40_000, (&key, &configured))?;

    for (name, lengths) in [
        ("multipart-small", &[70_000][..]),
        ("multipart-one", &[FIVE_MIB]),
        ("multipart-three", &[FIVE_MIB, FIVE_MIB + 16_384, 99]),
    ] {
        let sample = Sample::new(name, bound);
        multipart(folder, name, &sample, lengths, (&key, &configured))?;
    }
    Ok(())
}

fn single(
    folder: &Path,
    name: &str,
    sample: &Sample,
    length: u64,
    (kek, configured): (&Kek, &str),
) -> Result<(), Box<dyn Error>> {
    let sealer = ObjectSealer::new(&sample.dek, PlaintextLength(length), buffer());
    let envelope = sample.envelope(Layout::Single, kek, Some(*sealer.head()));
    let plaintext = plaintext(length)?;
    let stored = sealed(sealer, &plaintext)?;
    write(
        folder, name, sample, &envelope, configured, &stored, &plaintext,
    )
}

fn multipart(
    folder: &Path,
    name: &str,
    sample: &Sample,
    lengths: &[u64],
    (kek, configured): (&Kek, &str),
) -> Result<(), Box<dyn Error>> {
    let envelope = sample.envelope(Layout::Multipart, kek, None);
    let (mut stored, mut whole, mut parts) = (Vec::new(), Vec::new(), Vec::new());
    for (number, length) in (3..).zip(lengths) {
        let number = PartNumber::new(number).ok_or("a part number")?;
        let frame = Frame::new(number, PlaintextLength(*length)).ok_or("a part length")?;
        let sealer = ObjectSealer::part(&sample.dek, frame, buffer());
        let mark = Mark::of(sealer.head());
        let checksum = vec![7; 4];
        parts.push(SealedPart {
            frame,
            mark,
            checksum,
        });
        let plaintext = plaintext(*length)?;
        stored.extend(sealed(sealer, &plaintext)?);
        whole.extend(plaintext);
    }
    if (whole.len() as u64) < FIVE_MIB {
        let length = PlaintextLength(whole.len() as u64);
        stored = sealed(ObjectSealer::new(&sample.dek, length, buffer()), &whole)?;
    } else {
        let fields = SealFields {
            part_checksum: Some(ChecksumAlgorithm::Crc32c),
            ..SealFields::default()
        };
        stored.extend(Seal::new(fields, &parts)?.tail(&sample.dek));
    }
    write(folder, name, sample, &envelope, configured, &stored, &whole)
}

fn write(
    folder: &Path,
    name: &str,
    sample: &Sample,
    envelope: &Envelope,
    configured: &str,
    stored: &[u8],
    plaintext: &[u8],
) -> Result<(), Box<dyn Error>> {
    let facts = json!({
        "kek": configured, "bucket": BUCKET, "key": sample.key, "envelope": envelope.encode(),
    });
    fs::write(folder.join(format!("{name}.json")), facts.to_string())?;
    fs::write(folder.join(format!("{name}.stored")), stored)?;
    fs::write(folder.join(format!("{name}.plain")), plaintext)?;
    Ok(())
}

fn sealed(mut sealer: ObjectSealer, mut plaintext: &[u8]) -> Result<Vec<u8>, Box<dyn Error>> {
    let mut stored = Vec::new();
    while !plaintext.is_empty() {
        let consumed = sealer.push(plaintext)?;
        plaintext = &plaintext[consumed..];
        stored.extend(sealer.take(buffer).into_iter().flatten());
    }
    let mut tail = sealer.finish()?;
    while let Some(piece) = tail.take(buffer) {
        stored.extend(piece);
    }
    Ok(stored)
}

fn buffer() -> Vec<u8> {
    Vec::with_capacity(128 * 1024)
}

fn plaintext(length: u64) -> Result<Vec<u8>, Box<dyn Error>> {
    (0..length)
        .map(|index| Ok(u8::try_from(index % 253)?))
        .collect()
}
