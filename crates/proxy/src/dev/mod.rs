//! `s3proxy dev`: the proxy on loopback over an embedded store, for a first look.
//!
//! Everything lies in one folder: `store/` with what a storage provider would see, `key` with the
//! generated key-encryption key and `secret` with the generated secret access key. Not for data
//! that matters: the key lies beside what it protects.

pub(crate) mod store;

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::net::SocketAddr;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use s3proxy_envelope::kek::Kek;
use zeroize::Zeroizing;

/// The access key id of the one client.
pub(crate) const ACCESS_KEY_ID: &str = "dev";

/// The region that clients are told.
pub(crate) const REGION: &str = "us-east-1";

/// Why the development folder cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum DevError {
    /// A file or folder is missing, or cannot be made or read.
    #[error("{}: {error}; `s3proxy dev DIR` needs a folder that it may write to", .path.display())]
    File {
        /// Which one.
        path: PathBuf,
        /// What the system says.
        error: io::Error,
    },
    /// The embedded store does not start.
    #[error("the embedded store: {0}")]
    Store(String),
}

/// What the folder holds.
pub(crate) struct Folder {
    pub(crate) store: PathBuf,
    /// A key in the form of `S3PROXY_ENCRYPT_KEY`.
    pub(crate) encrypt_key: Zeroizing<String>,
    pub(crate) secret_access_key: Zeroizing<String>,
}

impl Folder {
    /// Opens the folder; what is missing is made.
    pub(crate) fn open(folder: &Path) -> Result<Self, DevError> {
        let store = folder.join("store");
        fs::create_dir_all(&store).map_err(at(&store))?;
        Ok(Self {
            encrypt_key: kept(&folder.join("key"), || Kek::generate().to_configured())?,
            secret_access_key: kept(&folder.join("secret"), generate_secret)?,
            store,
        })
    }
}

/// The text of a file, which is made on first use and readable by its owner alone.
fn kept(
    path: &Path,
    generate: impl FnOnce() -> Zeroizing<String>,
) -> Result<Zeroizing<String>, DevError> {
    match fs::read_to_string(path) {
        Ok(text) => return Ok(Zeroizing::new(text.trim_end().to_owned())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(at(path)(error)),
    }
    let text = generate();
    let mut options = OpenOptions::new();
    options.write(true).create_new(true).mode(0o600);
    let mut file = options.open(path).map_err(at(path))?;
    file.write_all(text.as_bytes())
        .and_then(|()| file.write_all(b"\n"))
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

/// What a newcomer reads.
pub(crate) fn welcome(address: SocketAddr, folder: &Folder, store: SocketAddr) -> String {
    format!(
        "\
s3proxy listens on http://{address} and stores sealed objects in {store_dir}

In another terminal:

  export AWS_ENDPOINT_URL=http://{address} AWS_REGION={REGION} \\
         AWS_ACCESS_KEY_ID={ACCESS_KEY_ID} AWS_SECRET_ACCESS_KEY={secret}

  aws s3 mb s3://hello
  echo 'nobody else can read this' | aws s3 cp - s3://hello/secret.txt
  aws s3 cp s3://hello/secret.txt -

And what the storage provider sees:

  hexdump -C {store_dir}/hello/secret.txt

(The embedded store itself answers on http://{store}, with the same credential.)
",
        store_dir = folder.store.display(),
        secret = folder.secret_access_key.as_str(),
    )
}
