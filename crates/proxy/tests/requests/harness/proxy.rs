//! The proxy under test, started as the program starts it.

use std::ffi::OsString;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use http::Method;
use s3proxy::app::{App, Reloading};
use s3proxy::cli::{self, Command};
use s3proxy::config::resolved::{Config, Endpoint, Host, Scheme, ServerAddress};
use s3proxy::config::{self, Sources};
use s3proxy::dev::{Development, EmbeddedStore};
use tempfile::TempDir;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use super::client::{Answer, ClientRequest};
use super::signer::Credential;
use super::{BACKEND_ACCESS_KEY_ID, Backend};

/// Settings of a proxy before it starts.
#[derive(Default)]
pub(crate) struct ProxyBuilder {
    file: String,
    environment: Vec<(OsString, OsString)>,
}

impl ProxyBuilder {
    /// Adds TOML to the configuration file.
    #[must_use]
    pub(crate) fn file(mut self, toml: &str) -> Self {
        self.file.push_str(toml);
        self.file.push('\n');
        self
    }

    /// Sets an environment variable of the program.
    #[must_use]
    pub(crate) fn environment(mut self, name: &str, value: &str) -> Self {
        self.environment.push((name.into(), value.into()));
        self
    }

    /// Starts the proxy with a new store.
    pub(crate) async fn start(self) -> Proxy {
        show_log();
        let folder = tempfile::tempdir().unwrap();
        let development = Development::open(Some(folder.path())).unwrap();
        let secret = std::fs::read_to_string(folder.path().join("secret")).unwrap();
        let file = folder.path().join("s3proxy.toml");
        std::fs::write(&file, &self.file).unwrap();
        let sources = sources(&development, &file, self.environment);
        let mut config = load(sources.clone());
        let store = development.start_store(&mut config).await.unwrap();
        let backend = Backend::start(store.address()).await;
        point_at(&mut config, backend.address());
        let app = App::start(config).await.unwrap();
        let (address, admin) = (app.address(), app.admin_address());
        let (stop, stopped) = oneshot::channel::<()>();
        let task = tokio::spawn(async move {
            let stop = async {
                let _ = stopped.await;
            };
            app.run(Reloading::Off, stop).await;
        });
        Proxy {
            address,
            admin,
            owner: Credential::new(BACKEND_ACCESS_KEY_ID, secret.trim()),
            backend,
            sources,
            stop: Some(stop),
            task,
            _store: store,
            folder,
        }
    }
}

/// A running proxy with its backend; both stop when it is dropped.
pub(crate) struct Proxy {
    address: SocketAddr,
    admin: Option<SocketAddr>,
    owner: Credential,
    pub(crate) backend: Backend,
    sources: Sources,
    stop: Option<oneshot::Sender<()>>,
    task: JoinHandle<()>,
    _store: EmbeddedStore,
    folder: TempDir,
}

impl Proxy {
    /// A proxy with the settings of `s3proxy dev`.
    pub(crate) async fn start() -> Self {
        Self::builder().start().await
    }

    pub(crate) fn builder() -> ProxyBuilder {
        ProxyBuilder::default()
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// The address of the admin listener, if the settings enable it.
    pub(crate) fn admin_address(&self) -> SocketAddr {
        self.admin.unwrap()
    }

    /// The `Host` header of requests to the proxy.
    pub(crate) fn host(&self) -> String {
        self.address.to_string()
    }

    /// The only client of a proxy whose settings list none.
    pub(crate) fn owner(&self) -> &Credential {
        &self.owner
    }

    /// The folder with the embedded store's files: `store/<bucket>/<key>`.
    pub(crate) fn folder(&self) -> &std::path::Path {
        self.folder.path()
    }

    /// A configuration for an operator's command, with the proxy's settings and backend.
    pub(crate) fn command_config(&self) -> Config {
        let mut config = load(self.sources.clone());
        point_at(&mut config, self.backend.address());
        config
    }

    /// Sends a request signed by the owner.
    pub(crate) async fn send(&self, request: ClientRequest) -> Answer {
        self.send_as(&self.owner, request).await
    }

    /// Sends a request signed by `credential`.
    pub(crate) async fn send_as(&self, credential: &Credential, request: ClientRequest) -> Answer {
        let request = request.signed(credential, &self.host());
        self.send_unsigned(request).await
    }

    /// Sends a request without a signature.
    pub(crate) async fn send_unsigned(&self, request: ClientRequest) -> Answer {
        request.send_from(None, self.address, &self.host()).await
    }

    /// Sends a request signed by `credential` from another address of the loopback network.
    pub(crate) async fn send_from(
        &self,
        source: IpAddr,
        credential: &Credential,
        request: ClientRequest,
    ) -> Answer {
        let request = request.signed(credential, &self.host());
        request
            .send_from(Some(source), self.address, &self.host())
            .await
    }

    /// Sends a request with its signature in the query.
    pub(crate) async fn send_presigned(&self, mut request: ClientRequest) -> Answer {
        let host = self.host();
        let described = (
            request.method.as_str(),
            host.as_str(),
            request.target.as_str(),
        );
        request.target = self.owner.presigned(described, Duration::from_mins(1));
        self.send_unsigned(request).await
    }

    /// Sends a request of the owner directly to the embedded store; neither proxy nor script sees
    /// it.
    pub(crate) async fn send_to_store(&self, request: ClientRequest) -> Answer {
        let store = self.backend.store_address();
        let host = store.to_string();
        let request = request.signed(&self.owner, &host);
        request.send_from(None, store, &host).await
    }

    pub(crate) async fn create_bucket(&self, bucket: &str) {
        self.send(ClientRequest::new(Method::PUT, format!("/{bucket}")))
            .await
            .expect(200);
    }

    /// Stores an object through the proxy; returns the ETag.
    pub(crate) async fn put(&self, target: &str, body: impl Into<bytes::Bytes>) -> String {
        let answer = self
            .send(ClientRequest::put(target, body))
            .await
            .expect(200);
        answer.header("etag").to_owned()
    }

    /// Drains and stops, as on SIGTERM.
    pub(crate) async fn stop(mut self) {
        if let Some(stop) = self.stop.take() {
            let _ = stop.send(());
        }
        let _ = (&mut self.task).await;
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Writes the proxy's log to standard error if `S3PROXY_TEST_LOG` names a level.
fn show_log() {
    let Some(level) = std::env::var("S3PROXY_TEST_LOG").ok() else {
        return;
    };
    let level: tracing::Level = level.parse().unwrap();
    // Only the first proxy of the process can install the subscriber.
    let _ = tracing_subscriber::fmt()
        .with_max_level(level)
        .with_writer(std::io::stderr)
        .try_init();
}

fn sources(
    development: &Development,
    file: &std::path::Path,
    environment: Vec<(OsString, OsString)>,
) -> Sources {
    let arguments = [
        "s3proxy".into(),
        "--config".into(),
        file.as_os_str().to_owned(),
    ];
    let Ok(Command::Serve(flags)) = cli::try_parse(arguments) else {
        panic!("these are the arguments of serve");
    };
    development.preset(Sources::new(flags, environment))
}

fn load(sources: Sources) -> Config {
    let loaded = config::load(sources).unwrap_or_else(|problems| panic!("{problems}"));
    let mut config = loaded.config;
    // A free port, whatever the settings say, because tests run in parallel.
    config.listen.address.set_port(0);
    config
}

fn point_at(config: &mut Config, backend: SocketAddr) {
    config.backend.endpoint = Endpoint::Fixed(ServerAddress {
        scheme: Scheme::Http,
        host: Host::Address(backend.ip()),
        port: backend.port(),
    });
}
