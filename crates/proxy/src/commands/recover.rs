//! `s3proxy recover`: one stored object from files alone, without network and storage.
//!
//! It takes the same input as `recover/s3proxy_recover.py`, and has the same result. The body is
//! read as a stream, so that it may be of any length. The output file gets its name only after
//! everything was authenticated. Only local keys work, since no key service is called.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use http::{HeaderMap, HeaderName, HeaderValue};
use s3proxy_envelope::dek::{Binding, Dek};
use s3proxy_envelope::header::{Envelope, Layout, PrivateMap};
use s3proxy_envelope::layout::{PlaintextLength, PlaintextRange, StoredLength};
use s3proxy_envelope::legacy::{
    LegacyDek, LegacyError, LegacyOpener, LegacyVerifier, NONCE_BYTES, TAG_BYTES,
    legacy_plaintext_length,
};
use s3proxy_envelope::multipart::{Seal, tail_first};
use s3proxy_envelope::names::{BucketStr, KeyStr};
use s3proxy_envelope::object::ObjectOpener;
use serde_json::Value;

use super::Ended;
use super::anew::reading_everything;
use super::decrypt_one::{OutputError, Unfinished, at};
use super::report::shown;
use crate::app::{StartError, rules};
use crate::config::resolved::{ActiveKey, Config, DekTag, KeyBinding, SecretText};
use crate::failure::Failure;
use crate::keys::legacy::{ConstellationKek, LegacyKeys};
use crate::keys::{KeyError, Keyring, unasked};
use crate::objects::stored::{self, Form};
use crate::rules::Rules;
use crate::stored_fault::StoredFault;

/// Number of stored bytes that are read at a time; a chunk is shorter.
const PIECE_BYTES: usize = 64 * 1024;

/// Input and output of the command.
pub struct Asked {
    /// File with the object as the backend stores it.
    pub stored: PathBuf,
    /// Metadata of the object.
    pub metadata: Metadata,
    /// Bucket of the object, in case the envelope is bound to it.
    pub bucket: String,
    /// Key of the object.
    pub key: String,
    /// Text of its key-encryption key, in place of the configured ones.
    pub key_text: Option<SecretText>,
    /// File to write.
    pub output: PathBuf,
}

/// Form of the metadata.
#[derive(Debug)]
pub enum Metadata {
    /// The value of the envelope's header.
    Envelope {
        /// `s3p1.…`, or an older proxy's wrapped key.
        value: String,
        /// KEK version that an older proxy's object records, if any.
        kek_version: Option<String>,
    },
    /// A JSON document that contains them: a response to head-object, or names and values.
    File(PathBuf),
}

/// Why the object was refused.
#[derive(Debug, thiserror::Error)]
enum RecoverError {
    #[error("{path}: {error}")]
    Read { path: String, error: io::Error },
    #[error("{0}")]
    Metadata(String),
    #[error(transparent)]
    Object(#[from] Failure),
    #[error(transparent)]
    Output(#[from] OutputError),
}

/// Runs the command.
pub async fn recover(config: Config, mut asked: Asked) -> Result<Ended, StartError> {
    let mut config = reading_everything(config);
    if let Some(text) = asked.key_text.take() {
        // The operator chooses the key, so the rules of the place do not apply.
        config.rules.clear();
        config.policy.key_binding = KeyBinding::Key;
        config.keys.services.clear();
        config.keys.encrypt_key = Some(text);
        config.keys.decrypt_keys.clear();
        config.keys.labelled.clear();
        config.keys.active = ActiveKey::EncryptKey;
    }
    let mut keys = Keyring::new(&config.keys, unasked(&config.keys.services))?;
    // No network is used, so Constellation cannot hand over its key.
    let opener = Opener {
        legacy: LegacyKeys::new(keys.take_passphrases(), ConstellationKek::Absent),
        rules: rules(&config, &keys)?,
        keys,
        dek_tag: config.keys.dek_tag,
    };
    let done = run(&opener, &asked).await;
    Ok(match done {
        Ok(private) => {
            for (name, value) in &private.user_metadata {
                println!(
                    "{}: {}",
                    shown(name),
                    shown(&String::from_utf8_lossy(value))
                );
            }
            Ended::Everything
        }
        Err(error) => {
            eprintln!("s3proxy: refused: {error}{}", hint(&error));
            Ended::Incomplete
        }
    })
}

/// Returns what to check if a key does not open the object: the object's name is authenticated,
/// too.
fn hint(error: &RecoverError) -> &'static str {
    match error {
        RecoverError::Object(Failure::Key(KeyError::Unwrap)) => {
            "; check the encryption key, --key and --bucket: all three must be those of the object"
        }
        _ => "",
    }
}

/// The keys and rules that open objects.
struct Opener {
    keys: Keyring,
    legacy: LegacyKeys,
    rules: Rules,
    dek_tag: DekTag,
}

async fn run(opener: &Opener, asked: &Asked) -> Result<PrivateMap, RecoverError> {
    let headers = headers(&asked.metadata, &opener.dek_tag)?;
    let mut source = Stored::open(&asked.stored)?;
    let place = opener.rules.place(&asked.bucket, &asked.key);
    match stored::form(&headers, &opener.dek_tag)? {
        Form::Sealed(envelope) => {
            let binding = Binding::new(
                envelope.layout,
                envelope.flags,
                BucketStr(&asked.bucket),
                KeyStr(&asked.key),
            );
            let dek = opener.keys.unwrap(place, &envelope).await;
            let dek = dek.map_err(Failure::from)?;
            // Before the output file exists, so that a refused object leaves nothing behind.
            let private = private_map(&envelope, &dek, &binding)?;
            let mut output = Unfinished::beside(&asked.output)?;
            sealed(&mut source, &envelope, &dek, |plaintext| {
                written(&mut output, &asked.output, plaintext)
            })?;
            output.finish(&asked.output)?;
            Ok(private)
        }
        Form::Legacy(envelope) => {
            let dek = opener.legacy.unwrap(place, &envelope).await;
            let dek = dek.map_err(Failure::from)?.dek;
            let mut output = Unfinished::beside(&asked.output)?;
            legacy(&mut source, &dek, |plaintext| {
                written(&mut output, &asked.output, plaintext)
            })?;
            output.finish(&asked.output)?;
            Ok(PrivateMap::default())
        }
        Form::Plain => Err(RecoverError::Metadata(
            "the metadata name no envelope: the object is not sealed, so the stored file is its \
             content"
                .to_owned(),
        )),
    }
}

fn written(output: &mut Unfinished, path: &Path, plaintext: &[u8]) -> Result<(), RecoverError> {
    let written = output.file.write_all(plaintext);
    written.map_err(|error| at(path, error).into())
}

fn private_map(
    envelope: &Envelope,
    dek: &Dek,
    binding: &Binding,
) -> Result<PrivateMap, RecoverError> {
    match &envelope.private {
        None => Ok(PrivateMap::default()),
        Some(sealed) => PrivateMap::open(dek, binding, sealed).map_err(refused),
    }
}

fn refused(error: impl Into<StoredFault>) -> RecoverError {
    Failure::Stored(error.into()).into()
}

/// Converts the metadata to headers.
fn headers(metadata: &Metadata, tag: &DekTag) -> Result<HeaderMap, RecoverError> {
    match metadata {
        Metadata::Envelope { value, kek_version } => {
            let of = |text: &str, message: &str| {
                HeaderValue::try_from(text.trim())
                    .map_err(|_| RecoverError::Metadata(message.to_owned()))
            };
            let mut headers = HeaderMap::new();
            headers.insert(tag.header().clone(), of(value, NO_ENVELOPE)?);
            if let Some(version) = kek_version {
                let version = of(version, NO_KEK_VERSION)?;
                headers.insert(tag.kek_version_header().clone(), version);
            }
            Ok(headers)
        }
        Metadata::File(path) => {
            let text = std::fs::read(path).map_err(|error| unreadable(path, error))?;
            let value: Value = serde_json::from_slice(&text)
                .map_err(|error| RecoverError::Metadata(format!("{}: {error}", path.display())))?;
            Ok(headers_of(&value))
        }
    }
}

const NO_ENVELOPE: &str = "the envelope is not ASCII; expected s3p1.… or 80 hexadecimal digits";

const NO_KEK_VERSION: &str = "the KEK version is not ASCII; expected 1, or none";

/// Accepts a response to `head-object`, its `Metadata` alone, or full header names.
fn headers_of(value: &Value) -> HeaderMap {
    let inner = value.get("Metadata").and_then(Value::as_object);
    let pairs = inner.or_else(|| value.as_object()).into_iter().flatten();
    let headers = pairs.filter_map(|(name, value)| {
        let name = name.to_ascii_lowercase();
        let short = name.strip_prefix("x-amz-meta-").unwrap_or(&name);
        let name = HeaderName::try_from(format!("x-amz-meta-{short}")).ok()?;
        Some((name, HeaderValue::try_from(value.as_str()?).ok()?))
    });
    headers.collect()
}

fn unreadable(path: &Path, error: io::Error) -> RecoverError {
    RecoverError::Read {
        path: path.display().to_string(),
        error,
    }
}

/// A stored body in a file.
struct Stored {
    file: File,
    path: PathBuf,
    length: StoredLength,
}

impl Stored {
    fn open(path: &Path) -> Result<Self, RecoverError> {
        let opened = File::open(path).and_then(|file| Ok((file.metadata()?.len(), file)));
        let (length, file) = opened.map_err(|error| unreadable(path, error))?;
        Ok(Self {
            file,
            path: path.to_owned(),
            length: StoredLength(length),
        })
    }

    fn seek(&mut self, position: u64) -> Result<(), RecoverError> {
        let sought = self.file.seek(SeekFrom::Start(position));
        sought.map_err(|error| unreadable(&self.path, error))?;
        Ok(())
    }

    fn read(&mut self, buffer: &mut [u8]) -> Result<usize, RecoverError> {
        let read = self.file.read(buffer);
        read.map_err(|error| unreadable(&self.path, error))
    }

    fn exact<const N: usize>(&mut self, position: u64) -> Result<[u8; N], RecoverError> {
        let mut bytes = [0; N];
        self.seek(position)?;
        let read = self.file.read_exact(&mut bytes);
        read.map_err(|error| unreadable(&self.path, error))?;
        Ok(bytes)
    }
}

/// Opens a body of format v1.
fn sealed(
    source: &mut Stored,
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
                let mut tail = Vec::new();
                source.seek(first)?;
                let read = source.file.read_to_end(&mut tail);
                read.map_err(|error| unreadable(&source.path, error))?;
                let seal = Seal::open(dek, length, &tail).map_err(refused)?;
                seal.open_whole(dek)
            }
        },
    };
    // The seal was read from the end; the body starts at the beginning.
    source.seek(0)?;
    pass(source, opener.map_err(refused)?, write)
}

fn pass(
    source: &mut Stored,
    mut opener: ObjectOpener,
    mut write: impl FnMut(&[u8]) -> Result<(), RecoverError>,
) -> Result<(), RecoverError> {
    let mut buffer = vec![0; PIECE_BYTES];
    let mut plaintext = Vec::with_capacity(PIECE_BYTES);
    while !opener.is_complete() {
        let read = source.read(&mut buffer)?;
        if read == 0 {
            break;
        }
        let mut piece = &buffer[..read];
        while !piece.is_empty() && !opener.is_complete() {
            let consumed = opener.push(piece, &mut plaintext).map_err(refused)?;
            piece = &piece[consumed..];
            write(&plaintext)?;
            plaintext.clear();
        }
    }
    opener.finish().map_err(refused)
}

/// Opens a body of an older format: verified whole, then opened.
fn legacy(
    source: &mut Stored,
    dek: &LegacyDek,
    mut write: impl FnMut(&[u8]) -> Result<(), RecoverError>,
) -> Result<(), RecoverError> {
    let length = source.length;
    let PlaintextLength(plaintext) = legacy_plaintext_length(length).map_err(refused)?;
    let tag = source.exact::<TAG_BYTES>(length.0 - TAG_BYTES as u64)?;
    let nonce = source.exact::<NONCE_BYTES>(0)?;
    // The tag covers the whole body, so the file is read twice: plaintext is written only after the
    // tag was verified.
    let mut verifier = LegacyVerifier::new(dek, length, nonce, tag).map_err(refused)?;
    let mut buffer = vec![0; PIECE_BYTES];
    loop {
        let read = source.read(&mut buffer)?;
        if read == 0 {
            break;
        }
        verifier.push(&buffer[..read]).map_err(refused)?;
    }
    let body = Arc::new(verifier.finish().map_err(refused)?);
    // An empty object has no range to open, but its tag was verified above.
    let Some(range) = plaintext
        .checked_sub(1)
        .and_then(|last| PlaintextRange::new(0, last))
    else {
        return Ok(());
    };
    let mut opener = LegacyOpener::new(&body, dek, range).map_err(refused)?;
    source.seek(NONCE_BYTES as u64)?;
    while !opener.is_complete() {
        let read = source.read(&mut buffer)?;
        if read == 0 {
            return Err(refused(LegacyError::OtherLength));
        }
        let mut piece = &buffer[..read];
        while !piece.is_empty() && !opener.is_complete() {
            if let Some(block) = opener.push(&mut piece).map_err(refused)? {
                write(&block)?;
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn metadata_are_found_in_every_document_that_has_them() {
        for document in [
            json!({ "ContentLength": 5, "Metadata": { "isec": "s3p1.x", "A": "1" } }),
            json!({ "isec": "s3p1.x", "a": "1" }),
            json!({ "x-amz-meta-isec": "s3p1.x", "X-Amz-Meta-A": "1" }),
        ] {
            let headers = headers_of(&document);
            assert_eq!(headers["x-amz-meta-isec"], "s3p1.x", "{document}");
            assert_eq!(headers["x-amz-meta-a"], "1", "{document}");
        }
        assert!(headers_of(&json!([])).is_empty());
    }
}
