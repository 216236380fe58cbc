//! All parts of a running benchmark: the backend, the targets in front of it, and a temporary
//! folder for their files.

use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::sync::Arc;

use tempfile::TempDir;

use crate::cli::{BackendKind, RunOptions, Target};
use crate::content::Pattern;
use crate::load::{self, Expect, LoadError};
use crate::process::{PeakReset, ProcessError, Server};
use crate::request::{Payload, RequestError, Signer};
use crate::servers::{self, BUCKET, RunningServer, ServerError};
use crate::size::Size;
use crate::stub::{KEPT, PLAIN, SIZED};

#[derive(Debug, thiserror::Error)]
pub(crate) enum SiteError {
    #[error(transparent)]
    Server(#[from] ServerError),
    #[error(transparent)]
    Process(#[from] ProcessError),
    #[error(transparent)]
    Request(#[from] RequestError),
    #[error(transparent)]
    Load(#[from] LoadError),
    #[error("no folder for the servers' files: {0}")]
    Folder(std::io::Error),
    #[error("this program's own path is unknown, and the stub is a part of it: {0}")]
    OwnPath(std::io::Error),
    #[error("{0} in parts of {1} are more than 10000 parts; choose a longer --part-size")]
    TooManyParts(Size, Size),
    #[error(
        "the backend returned the plaintext of an object that was written through s3proxy: \
         the measured proxy does not encrypt"
    )]
    NotEncrypted,
}

pub(crate) struct Site {
    // Fields are dropped in this order: the targets before their backend, and both before the
    // folder.
    targets: Vec<Contender>,
    backend: RunningServer,
    _folder: TempDir,
    pub(crate) signer: Arc<Signer>,
    pub(crate) content: Pattern,
    pub(crate) payload: Payload,
}

pub(crate) struct Contender {
    pub(crate) target: Target,
    /// `None` for [`Target::Direct`].
    running: Option<RunningServer>,
}

impl Site {
    pub(crate) async fn start(options: &RunOptions) -> Result<Self, SiteError> {
        let folder = tempfile::Builder::new().prefix("s3proxy-bench-").tempdir();
        let folder = folder.map_err(SiteError::Folder)?;
        // nginx's workers drop root and still need to enter the folder.
        let open = std::fs::Permissions::from_mode(0o755);
        std::fs::set_permissions(folder.path(), open).map_err(SiteError::Folder)?;
        let path = folder.path();
        let backend = match options.backend {
            BackendKind::Stub => servers::stub(&own_path()?, path).await?,
            BackendKind::Seaweedfs => servers::seaweedfs(&options.weed, path).await?,
        };
        let mut targets = Vec::new();
        for target in &options.targets {
            let authority = &backend.authority;
            let running = match target {
                Target::Proxy => Some(servers::proxy(&options.proxy, path, authority).await?),
                Target::Nginx => Some(servers::nginx(&options.nginx, path, authority).await?),
                Target::Direct => None,
            };
            targets.push(Contender {
                target: *target,
                running,
            });
        }
        Ok(Self {
            targets,
            backend,
            _folder: folder,
            signer: Arc::new(servers::credential()),
            content: Pattern::new(),
            payload: options.payload,
        })
    }

    pub(crate) fn contenders(&self) -> &[Contender] {
        &self.targets
    }

    pub(crate) fn backend(&self) -> &Server {
        &self.backend.server
    }

    /// The address to which clients of `contender` connect.
    pub(crate) fn authority<'a>(&'a self, contender: &'a Contender) -> &'a str {
        let running = contender.running.as_ref();
        &running.unwrap_or(&self.backend).authority
    }

    /// Stores an object through `contender` and reads it back, comparing every byte. The backend
    /// must not have the plaintext of an object that s3proxy stored.
    pub(crate) async fn seed(
        &self,
        contender: &Contender,
        path: &str,
        length: u64,
    ) -> Result<(), SiteError> {
        let authority = self.authority(contender);
        let (signer, content) = (&self.signer, &self.content);
        let put = signer.put(authority, path, content, length, self.payload)?;
        load::once(authority, &put, &Expect::Stored { length }).await?;
        let whole = Expect::Content(length, content.clone());
        load::once(authority, &signer.get(authority, path)?, &whole).await?;
        // Otherwise the run might measure a proxy that forwards plaintext.
        if contender.target == Target::Proxy {
            let backend = &self.backend.authority;
            let stored = signer.get(backend, path)?;
            if load::once(backend, &stored, &whole).await.is_ok() {
                return Err(SiteError::NotEncrypted);
            }
        }
        Ok(())
    }
}

impl Contender {
    pub(crate) fn server(&self) -> Option<&Server> {
        self.running.as_ref().map(|running| &running.server)
    }

    pub(crate) fn reset_peak(&self) -> Result<PeakReset, ProcessError> {
        self.server()
            .map_or(Ok(PeakReset::Done), Server::reset_peak)
    }

    /// The path of an object that every backend stores, with a different name for each target.
    pub(crate) fn kept(&self, name: &str) -> String {
        format!("/{BUCKET}/{KEPT}{:?}-{name}", self.target)
    }

    /// The path of an object of which the stub stores length and metadata.
    pub(crate) fn sized(&self, name: &str) -> String {
        format!("/{BUCKET}/{SIZED}{:?}-{name}", self.target)
    }

    /// The path of an object that the stub forgets.
    pub(crate) fn dropped(&self, name: &str) -> String {
        format!("/{BUCKET}/drop/{:?}-{name}", self.target)
    }
}

/// The path of a plaintext object of this size, which the stub has without an upload.
pub(crate) fn plaintext(size: u64) -> String {
    format!("/{BUCKET}/{PLAIN}{size}")
}

fn own_path() -> Result<PathBuf, SiteError> {
    std::env::current_exe().map_err(SiteError::OwnPath)
}
