//! `s3proxy dev`: the proxy on loopback over an embedded store, for a first look.
//!
//! Everything is kept in one folder: `store/` is the storage provider's view, `key` holds the
//! generated key-encryption key and `secret` the generated secret access key. Not for data
//! that matters: the key is stored next to the data that it protects.

mod store;
mod store_workarounds;

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::net::SocketAddr;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use s3proxy_envelope::kek::Kek;
use zeroize::Zeroizing;

use crate::config::Sources;
use crate::config::resolved::{Config, Endpoint, Host, Scheme, ServerAddress};

pub use store::EmbeddedStore;

/// Folder used unless another one is named.
pub const DEFAULT_FOLDER: &str = "s3proxy-dev";

/// Access key id of the only client.
const ACCESS_KEY_ID: &str = "dev";

/// Region that clients are told to use.
const REGION: &str = "us-east-1";

/// Why the development folder cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum DevError {
    /// A file or folder is missing, or cannot be made or read.
    #[error("{}: {error}; `s3proxy dev DIR` needs a writable folder", .path.display())]
    File {
        /// The missing or unusable file or folder.
        path: PathBuf,
        /// The system's error.
        error: io::Error,
    },
    /// The key file does not contain a key.
    #[error(
        "{} does not contain a key made by `s3proxy keygen`; restore it, or use another folder: \
         without the key, the objects in {} cannot be read",
        .key.display(), .store.display()
    )]
    Key {
        /// Path of the key file.
        key: PathBuf,
        /// Folder of the objects that the key opens.
        store: PathBuf,
    },
    /// The embedded store did not start.
    #[error("the embedded store: {0}")]
    Store(String),
}

/// An open development folder.
pub struct Development {
    store: PathBuf,
    /// Key-encryption key in the form of `S3PROXY_ENCRYPT_KEY`.
    encrypt_key: Zeroizing<String>,
    secret_access_key: Zeroizing<String>,
    /// Files of the key and of the secret access key.
    secret_files: [PathBuf; 2],
}

impl Development {
    /// Opens the folder ([`DEFAULT_FOLDER`] unless one is named) and creates missing files.
    pub fn open(folder: Option<&Path>) -> Result<Self, DevError> {
        let folder = folder.unwrap_or(Path::new(DEFAULT_FOLDER));
        let store = folder.join("store");
        fs::create_dir_all(&store).map_err(at(&store))?;
        let secret_files = ["key", "secret"].map(|name| folder.join(name));
        let [key, secret] = &secret_files;
        let encrypt_key = kept(key, || Kek::generate().to_configured())?;
        // Any text is a valid passphrase: a damaged key would otherwise seal under another key.
        if Kek::is_passphrase(&encrypt_key) {
            let key = key.clone();
            return Err(DevError::Key { key, store });
        }
        Ok(Self {
            encrypt_key,
            secret_access_key: kept(secret, generate_secret)?,
            secret_files,
            store,
        })
    }

    /// Defaults for development, which the user's settings override.
    #[must_use]
    pub fn preset(&self, sources: Sources) -> Sources {
        let files = self.secret_files.iter().cloned();
        files
            .fold(sources, Sources::secret_file)
            .preset("listen.ip", "127.0.0.1")
            // DNS rebinding: a page whose host name resolves to this machine gets no response.
            .preset("listen.hosts", "localhost")
            .preset("listen.tls", "off")
            .preset("listen.drain_delay", "0s")
            .preset("backend.host", "http://127.0.0.1")
            .preset("backend.region", REGION)
            .preset("backend.access_key_id", ACCESS_KEY_ID)
            .preset("backend.secret_access_key", self.secret_access_key.as_str())
            .preset("keys.encrypt_key", self.encrypt_key.as_str())
            .preset("log.level", "info")
    }

    /// Starts the embedded store and makes it the backend.
    pub async fn start_store(&self, config: &mut Config) -> Result<EmbeddedStore, DevError> {
        let secret = &self.secret_access_key;
        let store = EmbeddedStore::start(&self.store, ACCESS_KEY_ID, secret).await?;
        config.backend.endpoint = Endpoint::Fixed(ServerAddress {
            scheme: Scheme::Http,
            host: Host::Address(store.address().ip()),
            port: store.address().port(),
        });
        Ok(store)
    }

    /// Text for a new user: addresses, credentials and first commands.
    #[must_use]
    pub fn welcome(&self, address: SocketAddr, store: &EmbeddedStore) -> String {
        format!(
            "\
s3proxy listens on http://{address} and stores sealed objects in {folder}

In another terminal:

  export AWS_ENDPOINT_URL=http://{address} AWS_REGION={REGION} \\
         AWS_ACCESS_KEY_ID={ACCESS_KEY_ID} AWS_SECRET_ACCESS_KEY={secret}

  aws s3 mb s3://hello
  echo 'nobody else can read this' | aws s3 cp - s3://hello/secret.txt
  aws s3 cp s3://hello/secret.txt -

What the storage provider would see:

  hexdump -C {folder}/hello/secret.txt

The embedded store itself listens on http://{store}, with the same credential. Ctrl-C stops both.
",
            folder = self.store.display(),
            secret = self.secret_access_key.as_str(),
            store = store.address(),
        )
    }
}

/// Reads the text of a file. A missing file is generated first, readable by its owner alone.
fn kept(
    path: &Path,
    generate: impl FnOnce() -> Zeroizing<String>,
) -> Result<Zeroizing<String>, DevError> {
    match fs::read_to_string(path) {
        // The file ends in a newline, and an editor may have added another.
        Ok(text) => return Ok(Zeroizing::new(text.trim_end().to_owned())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(at(path)(error)),
    }
    let text = generate();
    // Complete before it gets its name: after a crash in between, an empty file would be the key.
    let unfinished = path.with_extension("new");
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(true).mode(0o600);
    let mut file = options.open(&unfinished).map_err(at(&unfinished))?;
    file.write_all(text.as_bytes())
        .and_then(|()| file.write_all(b"\n"))
        .and_then(|()| file.sync_all())
        .and_then(|()| fs::rename(&unfinished, path))
        .map_err(at(path))?;
    Ok(text)
}

fn at(path: &Path) -> impl FnOnce(io::Error) -> DevError + use<> {
    let path = path.to_owned();
    move |error| DevError::File { path, error }
}

fn generate_secret() -> Zeroizing<String> {
    use base64::Engine as _;
    let mut bytes = Zeroizing::new([0; 24]);
    aws_lc_rs::rand::fill(bytes.as_mut()).expect("the system's generator works");
    Zeroizing::new(base64::prelude::BASE64_URL_SAFE_NO_PAD.encode(bytes.as_ref()))
}
