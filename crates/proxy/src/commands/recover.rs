//! `s3proxy recover`: opens one stored object from local files, without network and storage.
//!
//! It takes the same input as `recover/s3proxy_recover.py`, and has the same result. The body is
//! read as a stream, so that it may be of any length. The output file gets its name only after
//! everything was authenticated. Only local keys work, since no key service is called.

mod body;
mod stored_file;

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use http::{HeaderMap, HeaderName, HeaderValue};
use s3proxy_envelope::dek::{Binding, Dek};
use s3proxy_envelope::header::{Envelope, PrivateMap};
use s3proxy_envelope::names::{BucketStr, KeyStr};
use serde_json::Value;

use self::body::{open_legacy, open_sealed};
use self::stored_file::StoredFile;
use super::CommandEnd;
use super::report::shown;
use super::rewriting::reading_everything;
use super::unfinished_file::{OutputError, UnfinishedFile, file_error};
use crate::app::{StartError, rules};
use crate::config::resolved::{ActiveKey, Config, DekTag, KeyBinding, SecretText};
use crate::failure::Failure;
use crate::keys::legacy::{ConstellationKek, LegacyKeys};
use crate::keys::{KeyError, Keyring, placeholders};
use crate::objects::stored::{self, Form};
use crate::rules::Rules;
use crate::stored_fault::StoredFault;

/// Input and output of the command.
pub struct RecoverOptions {
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
pub async fn recover(
    config: Config,
    mut options: RecoverOptions,
) -> Result<CommandEnd, StartError> {
    let mut config = reading_everything(config);
    if let Some(text) = options.key_text.take() {
        use_only_key(&mut config, text);
    }
    let mut keyring = Keyring::new(&config.keys, placeholders(&config.keys.services))?;
    // No network is used, so Constellation cannot hand over its key.
    let recovery_keys = RecoveryKeys {
        legacy: LegacyKeys::new(keyring.take_passphrases(), ConstellationKek::Absent),
        rules: rules(&config, &keyring)?,
        keyring,
        dek_tag: config.keys.dek_tag,
    };
    let done = run(&recovery_keys, &options).await;
    Ok(match done {
        Ok(private) => {
            for (name, value) in &private.user_metadata {
                println!(
                    "{}: {}",
                    shown(name),
                    shown(&String::from_utf8_lossy(value))
                );
            }
            CommandEnd::Complete
        }
        Err(error) => {
            eprintln!("s3proxy: refused: {error}{}", hint(&error));
            CommandEnd::Incomplete
        }
    })
}

/// Replaces the configured keys. The operator chooses the key, so the rules do not apply.
fn use_only_key(config: &mut Config, text: SecretText) {
    config.rules.clear();
    config.policy.key_binding = KeyBinding::Key;
    config.keys.services.clear();
    config.keys.encrypt_key = Some(text);
    config.keys.decrypt_keys.clear();
    config.keys.labelled.clear();
    config.keys.active = ActiveKey::EncryptKey;
}

/// Returns advice if a key does not open the object: the object's name is authenticated,
/// too.
fn hint(error: &RecoverError) -> &'static str {
    match error {
        RecoverError::Object(Failure::Key(KeyError::Unwrap)) => {
            "; check the encryption key, --key and --bucket: each must match the object"
        }
        _ => "",
    }
}

/// The keys and rules that open objects.
struct RecoveryKeys {
    keyring: Keyring,
    legacy: LegacyKeys,
    rules: Rules,
    dek_tag: DekTag,
}

async fn run(keys: &RecoveryKeys, options: &RecoverOptions) -> Result<PrivateMap, RecoverError> {
    let headers = headers(&options.metadata, &keys.dek_tag)?;
    let mut source = StoredFile::open(&options.stored)?;
    let place = keys.rules.place(&options.bucket, &options.key);
    match stored::form(&headers, &keys.dek_tag)? {
        Form::Sealed(envelope) => {
            let binding = Binding::new(
                envelope.layout,
                envelope.flags,
                BucketStr(&options.bucket),
                KeyStr(&options.key),
            );
            let dek = keys.keyring.unwrap(place, &envelope).await;
            let dek = dek.map_err(Failure::from)?;
            // Before the output file exists, so that a refused object leaves nothing behind.
            let private = private_map(&envelope, &dek, &binding)?;
            let mut output = UnfinishedFile::beside(&options.output)?;
            open_sealed(&mut source, &envelope, &dek, |plaintext| {
                write(&mut output, &options.output, plaintext)
            })?;
            output.finish(&options.output)?;
            Ok(private)
        }
        Form::Legacy(envelope) => {
            let dek = keys.legacy.unwrap(place, &envelope).await;
            let dek = dek.map_err(Failure::from)?.dek;
            let mut output = UnfinishedFile::beside(&options.output)?;
            open_legacy(&mut source, &dek, |plaintext| {
                write(&mut output, &options.output, plaintext)
            })?;
            output.finish(&options.output)?;
            Ok(PrivateMap::default())
        }
        Form::Plain => Err(RecoverError::Metadata(
            "no envelope in the metadata: the object is not sealed, so the stored file is its \
             content"
                .to_owned(),
        )),
    }
}

fn write(output: &mut UnfinishedFile, path: &Path, plaintext: &[u8]) -> Result<(), RecoverError> {
    let written = output.file.write_all(plaintext);
    written.map_err(|error| file_error(path, error).into())
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

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn metadata_is_found_in_every_form_of_document() {
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
