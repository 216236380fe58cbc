//! Wiring: from a valid configuration to a running program, and its shutdown.

mod announcement;
mod assembly;
mod backend_caches;
mod backend_settings;
pub mod check;
mod clients;
mod reload;
mod running_service;

use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::task::JoinSet;

use self::running_service::RunningService;
use crate::admin::Admin;
use crate::backend::{AccessError, BackendError};
use crate::config::resolved::Config;
use crate::keys::KeyringError;
use crate::listen::tls::{self, TlsError};
use crate::listen::{self, DrainOutcome, Server};
use crate::operations::long_running::LongWork;
use crate::service::Service;
use crate::telemetry::audit::AuditError;
use crate::telemetry::metrics::ExporterError;
use crate::telemetry::metrics::exporter::Exporter;
use crate::telemetry::traces::TracesError;
use crate::upload_state::periodic_sweep;

pub use self::announcement::announce;
pub(crate) use self::assembly::{backend, rules, store_without_clients};
pub use self::reload::{Reload, Reloading};

/// Why the program does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A key cannot be used.
    #[error(transparent)]
    Key(#[from] KeyringError),
    /// HTTPS cannot be offered.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// The audit log cannot be started.
    #[error(transparent)]
    Audit(#[from] AuditError),
    /// Traces cannot be sent.
    #[error(transparent)]
    Traces(#[from] TracesError),
    /// The backend client cannot be built.
    #[error("backend: {0}")]
    Backend(#[from] BackendError),
    /// The address cannot be listened on.
    #[error("cannot listen on {address}: {error}; choose another address with --ip and --port")]
    Listen {
        /// Address of the listener.
        address: SocketAddr,
        /// Error from the system.
        error: std::io::Error,
    },
    /// The address of the admin listener cannot be listened on.
    #[error(
        "cannot listen on {address} for metrics and probes: {error}; choose another address with \
         listen.admin (--admin, S3PROXY_LISTEN_ADMIN)"
    )]
    Admin {
        /// Address of the listener.
        address: SocketAddr,
        /// Error from the system.
        error: std::io::Error,
    },
    /// Metrics are not available.
    #[error(transparent)]
    Metrics(#[from] ExporterError),
    /// Signals cannot be caught.
    #[error("cannot listen for SIGTERM: {0}")]
    Signal(std::io::Error),
    /// A command would do harm, or cannot rule it out.
    #[error("{0}")]
    Refused(String),
    /// There is no list of clients, and the proxy's own credential cannot replace one.
    #[error(
        "no clients are listed, and no client can sign with the proxy's own AWS credential, which \
         changes over time (a role): list clients in the configuration file ([[clients.known]]), \
         or set clients.auth = \"none\" explicitly"
    )]
    NoClients,
    /// The development folder cannot be used.
    #[cfg(feature = "dev")]
    #[error(transparent)]
    Dev(#[from] crate::dev::DevError),
}

/// A program that is ready to serve: every file read, every key derived, the socket bound.
pub struct App {
    server: Server<Service>,
    address: SocketAddr,
    serving: Arc<RunningService>,
    /// Kept until the end, the drain included.
    admin: Option<Admin>,
    background: JoinSet<()>,
}

impl App {
    /// Builds all parts of the program, and binds its listeners.
    pub async fn start(config: Config) -> Result<Self, StartError> {
        // The admin listener's recorder comes first, so that everything after it is counted.
        let admin_socket = config.listen.admin.map(bind_admin).transpose()?;
        let asked = config.listen.address;
        listen::descriptors::ask_for_descriptors(config.listen.max_connections.get());
        let serving = Arc::new(Box::pin(RunningService::begin(config)).await?);
        let admin = match admin_socket {
            None => None,
            Some(admin_socket) => Some(admin_socket.serve(&serving)?),
        };
        // Bound last: a client that can connect is served.
        let listener = bind(asked)?;
        let address = listener.local_addr().unwrap_or(asked);
        let tls = serving.certificate().cloned().map(tls::acceptor);
        let draining = Arc::clone(&serving.lasting().draining);
        Ok(Self {
            server: Server::new(listener, tls, serving.generation(), draining),
            address,
            serving,
            admin,
            background: JoinSet::new(),
        })
    }

    /// Checks the backend in the background and logs the result. The backend need not be up yet.
    #[must_use]
    pub fn checking_the_backend(mut self) -> Self {
        let store = self.serving.store();
        self.background.spawn(async move {
            let backend = store.borrow().backend.clone();
            match backend.readiness().await {
                Ok(()) => {
                    tracing::info!("the backend is reachable and accepts the proxy's credential");
                }
                Err(error @ AccessError::Unreachable(_)) => tracing::warn!("{error}"),
                Err(error) => tracing::error!("{error}"),
            }
        });
        self
    }

    /// Returns the address of the S3 listener.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Returns the address of the admin listener, if there is one.
    #[must_use]
    pub fn admin_address(&self) -> Option<SocketAddr> {
        self.admin.as_ref().map(Admin::address)
    }

    /// Serves until `stop` resolves, then drains.
    pub async fn run(self, reloading: Reloading, stop: impl Future<Output = ()>) {
        let Self {
            server,
            address,
            serving,
            admin,
            mut background,
        } = self;
        tracing::info!(%address, "serving");
        // These tasks are aborted with the set. The next sweep makes up for an aborted one.
        let seen_buckets = Arc::clone(&serving.lasting().seen_buckets);
        background.spawn(periodic_sweep::sweep_periodically(
            serving.store(),
            seen_buckets,
        ));
        if let Some(certificate) = serving.certificate().cloned() {
            background.spawn(async move { certificate.follow().await });
        }
        background.spawn(serving.sinks().audit.clone().reopen_on_hangup());
        match reloading {
            Reloading::Off => {}
            Reloading::On(reload) => {
                background.spawn(reload.run(Arc::clone(&serving)));
            }
        }
        let drained = server.run(stop).await;
        background.shutdown().await;
        match drained {
            DrainOutcome::Clean => tracing::info!("drained; all requests finished"),
            DrainOutcome::CutOff(connections) => {
                tracing::warn!(connections, "drain timeout: connections were aborted");
            }
        }
        let wait = serving.generation().borrow().limits.drain_timeout;
        finish_long_work(&serving.lasting().long_work, wait).await;
        serving.sinks().finish().await;
        // Last: probes and metrics stay available while the program drains and flushes.
        drop(admin);
    }
}

/// Waits for work that continues for clients that have left, up to the drain timeout.
async fn finish_long_work(work: &LongWork, wait: Duration) {
    if tokio::time::timeout(wait, work.ended()).await.is_err() {
        let running = work.running();
        tracing::warn!(running, "drain timeout: background work was aborted");
    }
}

/// Socket of the admin listener, which does not answer yet. Metrics are counted from now on.
struct AdminSocket {
    address: SocketAddr,
    listener: TcpListener,
    exporter: Exporter,
}

fn bind_admin(address: SocketAddr) -> Result<AdminSocket, StartError> {
    let listener = listen::bind(address).map_err(|error| StartError::Admin { address, error })?;
    Ok(AdminSocket {
        address,
        listener,
        exporter: Exporter::install()?,
    })
}

impl AdminSocket {
    fn serve(self, serving: &Arc<RunningService>) -> Result<Admin, StartError> {
        let address = self.address;
        let admin = Admin::serve(self.listener, self.exporter, Arc::clone(serving));
        let admin = admin.map_err(|error| StartError::Admin { address, error })?;
        tracing::info!(address = %admin.address(), "serving metrics and probes");
        Ok(admin)
    }
}

fn bind(address: SocketAddr) -> Result<TcpListener, StartError> {
    listen::bind(address).map_err(|error| StartError::Listen { address, error })
}
