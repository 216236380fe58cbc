//! The embedded S3 store: files in a folder, served on loopback.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;

use hyper::server::conn::http1;
use hyper_util::rt::TokioIo;
use s3proxy_protocol::request_head::MAXIMUM_HEADERS;
use s3s::auth::SimpleAuth;
use s3s::service::{S3Service, S3ServiceBuilder};
use s3s_fs::FileSystem;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use super::DevError;
use super::store_workarounds::StoreWorkarounds;

/// Most headers of a request: a client's, and as many of the proxy's own.
const HEADERS: usize = 2 * MAXIMUM_HEADERS;

/// A running store; dropping it ends the store.
pub struct EmbeddedStore {
    address: SocketAddr,
    task: JoinHandle<()>,
}

impl EmbeddedStore {
    /// Loopback address that the store listens on.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Serves `folder` on a free port of the loopback interface.
    pub(super) async fn start(
        folder: &Path,
        access_key_id: &str,
        secret_access_key: &str,
    ) -> Result<Self, DevError> {
        let files =
            || FileSystem::new(folder).map_err(|error| DevError::Store(format!("{error:?}")));
        let mut builder = S3ServiceBuilder::new(files()?);
        builder.set_auth(SimpleAuth::from_single(access_key_id, secret_access_key));
        builder.set_access(StoreWorkarounds {
            files: files()?,
            root: folder.to_owned(),
        });
        let failed = |error: std::io::Error| DevError::Store(error.to_string());
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
            .await
            .map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        let task = tokio::spawn(serve(listener, builder.build()));
        Ok(Self { address, task })
    }
}

impl Drop for EmbeddedStore {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn serve(listener: TcpListener, service: S3Service) {
    let mut connections = tokio::task::JoinSet::new();
    loop {
        tokio::select! {
            // Reaps connections that have ended. Dropping the set, with the task, aborts the rest.
            Some(_) = connections.join_next(), if !connections.is_empty() => {}
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => {
                    let connection = http1::Builder::new()
                        .max_headers(HEADERS)
                        .serve_connection(TokioIo::new(stream), service.clone());
                    connections.spawn(async move {
                        if let Err(error) = connection.await {
                            tracing::debug!(%error, "a connection to the embedded store ended early");
                        }
                    });
                }
                Err(error) => {
                    tracing::warn!(%error, "the embedded store could not accept a connection");
                    // Without a pause, running out of file descriptors would make this loop spin.
                    tokio::time::sleep(std::time::Duration::from_millis(50)).await;
                }
            }
        }
    }
}
