//! Wiring: from a valid configuration to a running program, and down again.

mod backend_settings;
pub mod sweep;

use std::collections::HashMap;
use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use http::uri::Scheme;
use s3proxy_protocol::address::{AwsNames, HostRules};
use s3proxy_protocol::sigv4::SecretAccessKey;
use tokio::net::TcpListener;

use crate::admin::Admin;
use crate::auth::{Authenticator, Client, Gate, SigningKeys};
use crate::backend::{Backend, BackendError, Credentials};
use crate::body::buffers::{BodyBudget, BufferPool};
use crate::body::pace::Patience;
use crate::config;
use crate::config::resolved::{
    Access, Authentication, Bound, Config, Endpoint, Grant, Keys, KnownClients, Limits, Listen,
    Pattern, Policy, Rule, SecretText, SessionToken, Tls,
};
use crate::execute::Parts;
use crate::execute::copy::tags::TagKeeping;
use crate::execute::layouts::LayoutCache;
use crate::execute::lookup::LookupCache;
use crate::execute::multipart::seldom::{self, SeenBuckets};
use crate::execute::multipart::state::UploadCache;
use crate::execute::patience::LongWork;
use crate::execute::verified::VerifiedCache;
use crate::health::Health;
use crate::keys::connect::connect;
use crate::keys::legacy::{ConstellationKek, LegacyKeys};
use crate::keys::{Keyring, KeyringError};
use crate::listen::tls::{self, TlsError};
use crate::listen::{self, Drained, Draining, Server};
use crate::rules::Rules;
use crate::service::Service;
use crate::telemetry::audit::{AuditError, AuditLog};
use crate::telemetry::metrics::ExporterError;
use crate::telemetry::metrics::exporter::Exporter;
use crate::telemetry::traces::{Traces, TracesError};
use crate::throttle::Throttle;
use crate::trusted::TrustedProxies;

/// Why the program does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A key cannot be used.
    #[error(transparent)]
    Key(#[from] KeyringError),
    /// HTTPS cannot be offered.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// The audit log cannot be begun.
    #[error(transparent)]
    Audit(#[from] AuditError),
    /// Traces cannot be sent.
    #[error(transparent)]
    Traces(#[from] TracesError),
    /// The backend client cannot be made.
    #[error("backend: {0}")]
    Backend(#[from] BackendError),
    /// The address cannot be listened on.
    #[error("cannot listen on {address}: {error}; choose another with --ip and --port")]
    Listen {
        /// Which one.
        address: SocketAddr,
        /// What the system says.
        error: std::io::Error,
    },
    /// The address of the admin listener cannot be listened on.
    #[error(
        "cannot listen on {address} for metrics and probes: {error}; choose another with \
         listen.admin (--admin, S3PROXY_ADMIN)"
    )]
    Admin {
        /// Which one.
        address: SocketAddr,
        /// What the system says.
        error: std::io::Error,
    },
    /// Nothing can be counted.
    #[error(transparent)]
    Metrics(#[from] ExporterError),
    /// Signals cannot be caught.
    #[error("cannot wait for SIGTERM: {0}")]
    Signal(std::io::Error),
    /// A command would do harm, or cannot know that it does not.
    #[error("{0}")]
    Refused(String),
    /// There is no list of clients, and the proxy's own credential cannot stand in for one.
    #[error(
        "no clients are listed and the proxy's own AWS credential changes over time (a role), so \
         that no client could sign with it: list clients in the configuration file \
         ([[clients.known]]), or ask for clients.auth = \"none\" by name"
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
    parts: Arc<Parts>,
    drain_timeout: Duration,
    /// Kept to the end, the drain included.
    admin: Option<Admin>,
    audit: AuditLog,
    traces: Traces,
}

impl App {
    /// Builds everything.
    pub async fn start(config: Config) -> Result<Self, StartError> {
        let watched = config.listen.admin.map(watch).transpose()?;
        let settings = backend_settings::settings(&config.backend);
        let credentials = backend_settings::credentials(&config.backend).await?;
        let backend = Backend::new(settings, credentials.clone())?;
        let storing = (config.rules, config.policy);
        let parts = parts(
            backend,
            &config.keys,
            storing,
            &config.listen,
            &config.limits,
        )
        .await?;
        tracing::info!(
            key = parts.keys.active().name(),
            "objects are sealed under this key"
        );
        let tls = match &config.listen.tls {
            Tls::Off => None,
            Tls::Files {
                certificate,
                private_key,
            } => Some(tls::acceptor(certificate, private_key)?),
        };
        let own_rates = own_rates(&config.clients.authentication);
        let authenticator = authenticator(config.clients.authentication, &credentials).await?;
        let gate = Gate {
            hosts: host_rules(&config.listen, &config.backend.endpoint),
            authenticator,
            anonymous_read_buckets: config.clients.anonymous_read_buckets,
        };
        let audit = AuditLog::start(&config.audit, config.listen.max_connections.get())?;
        let traces = Traces::start(&config.traces)?;
        let draining = Arc::new(Draining::default());
        let trusted = Arc::new(TrustedProxies::new(config.listen.trusted_proxies.clone()));
        listen::descriptors::ask_for_descriptors(config.listen.max_connections.get());
        let limits = connection_limits(&config.listen, &parts.patience);
        let service = Arc::new(Service {
            gate,
            throttle: Throttle::new(&config.limits, own_rates),
            health: Health::new(Arc::clone(&draining)),
            trusted: Arc::clone(&trusted),
            parts: Arc::clone(&parts),
            audit: audit.clone(),
            traces: traces.clone(),
        });
        let admin = match watched {
            None => None,
            Some(watched) => Some(watched.serve(&service)?),
        };
        let listener = bind(config.listen.address)?;
        let address = listener.local_addr().unwrap_or(config.listen.address);
        let server = Server::new(listener, tls, limits, trusted, service, draining);
        Ok(Self {
            server,
            address,
            parts,
            drain_timeout: config.listen.drain_timeout,
            admin,
            audit,
            traces,
        })
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Serves until `stop` resolves, then drains.
    pub async fn run(self, stop: impl Future<Output = ()>) {
        tracing::info!(address = %self.address, "serving");
        let sweeping = tokio::spawn(seldom::sweep_now_and_then(Arc::clone(&self.parts)));
        let reopening = tokio::spawn(self.audit.clone().reopen_on_hangup());
        let drained = self.server.run(stop).await;
        // A sweep that is cut off is made up for by the next one.
        sweeping.abort();
        reopening.abort();
        match drained {
            Drained::Clean => tracing::info!("drained; every request was finished"),
            Drained::CutOff(connections) => {
                tracing::warn!(connections, "the wait is over; connections were cut off");
            }
        }
        // What goes on for clients that have left: it has had its time where connections were cut
        // off, and otherwise gets as much.
        let work = &self.parts.long_work;
        if tokio::time::timeout(self.drain_timeout, work.ended())
            .await
            .is_err()
        {
            let running = work.running();
            tracing::warn!(
                running,
                "the wait is over; work without a client was cut off"
            );
        }
        tokio::join!(self.audit.finish(), self.traces.finish());
        drop(self.admin);
    }
}

/// What operations work with, for work without clients.
pub(crate) async fn parts_without_clients(config: Config) -> Result<Arc<Parts>, StartError> {
    let backend = backend(&config.backend).await?;
    let storing = (config.rules, config.policy);
    parts(
        backend,
        &config.keys,
        storing,
        &config.listen,
        &config.limits,
    )
    .await
}

async fn parts(
    backend: Backend,
    keys: &Keys,
    (rules, policy): (Vec<Rule>, Policy),
    listen: &Listen,
    limits: &Limits,
) -> Result<Arc<Parts>, StartError> {
    let (keyring, legacy_keys) = keyring(keys).await?;
    let budget = BodyBudget::new(limits.body_memory_bytes);
    Ok(Arc::new(Parts {
        backend,
        rules: Rules::new(rules, &policy, &keyring)?,
        keys: keyring,
        legacy_keys,
        dek_tag: keys.dek_tag.clone(),
        policy,
        pool: Arc::new(BufferPool::default()),
        patience: Patience {
            silence: listen.body_timeout,
            least_rate: listen.min_body_bytes,
            pressure: Arc::clone(budget.pressure()),
        },
        budget,
        lookups: LookupCache::new(),
        uploads: UploadCache::new(),
        client_scheme: match &listen.tls {
            Tls::Off => Scheme::HTTP,
            Tls::Files { .. } => Scheme::HTTPS,
        },
        layouts: LayoutCache::new(),
        verified: VerifiedCache::new(),
        tag_keeping: TagKeeping::default(),
        long_work: LongWork::new(),
        seen_buckets: SeenBuckets::default(),
        held_body_bytes: limits.held_body_bytes as u64,
    }))
}

/// The backend client, for work without clients.
pub(crate) async fn backend(settings: &config::resolved::Backend) -> Result<Backend, StartError> {
    let credentials = backend_settings::credentials(settings).await?;
    Ok(Backend::new(
        backend_settings::settings(settings),
        credentials,
    )?)
}

/// The admin listener's socket, from which nothing is answered yet. What happens is counted from
/// now on.
struct Watched {
    address: SocketAddr,
    listener: TcpListener,
    exporter: Exporter,
}

fn watch(address: SocketAddr) -> Result<Watched, StartError> {
    let listener = listen::bind(address).map_err(|error| StartError::Admin { address, error })?;
    Ok(Watched {
        address,
        listener,
        exporter: Exporter::install()?,
    })
}

impl Watched {
    fn serve(self, service: &Arc<Service>) -> Result<Admin, StartError> {
        let address = self.address;
        let admin = Admin::serve(self.listener, self.exporter, Arc::clone(service));
        let admin = admin.map_err(|error| StartError::Admin { address, error })?;
        tracing::info!(address = %admin.address(), "serving metrics and probes");
        Ok(admin)
    }
}

fn bind(address: SocketAddr) -> Result<TcpListener, StartError> {
    listen::bind(address).map_err(|error| StartError::Listen { address, error })
}

/// The keys, and those of the older proxies from the same texts.
async fn keyring(keys: &Keys) -> Result<(Keyring, LegacyKeys), KeyringError> {
    let connected = connect(&keys.services, keys.service_calls.timeout).await?;
    let constellation = match connected.constellation {
        Some(service) => ConstellationKek::asked_of(service, keys.service_calls.cache_time),
        None => ConstellationKek::Absent,
    };
    let legacy = legacy_keys(keys, constellation);
    Ok((Keyring::new(keys, connected.services)?, legacy))
}

/// The older proxies' keys, from the same texts.
pub(crate) fn legacy_keys(keys: &Keys, constellation: ConstellationKek) -> LegacyKeys {
    let labelled = keys.labelled.iter().map(|labelled| &labelled.key);
    let texts = keys
        .encrypt_key
        .iter()
        .chain(&keys.decrypt_keys)
        .chain(labelled);
    LegacyKeys::new(
        texts.map(SecretText::expose),
        constellation,
        keys.legacy_zero_key,
    )
}

fn connection_limits(listen: &Listen, patience: &Patience) -> listen::Limits {
    listen::Limits {
        header_bytes: listen.max_header_bytes,
        connections: listen.max_connections.get(),
        idle_timeout: listen.idle_timeout,
        header_timeout: listen.header_timeout,
        patience: patience.clone(),
        drain_delay: listen.drain_delay,
        drain_timeout: listen.drain_timeout,
    }
}

fn host_rules(listen: &Listen, endpoint: &Endpoint) -> HostRules {
    HostRules {
        virtual_host_domains: listen.virtual_host_domains.clone(),
        aws_names: match endpoint {
            Endpoint::Fixed(_) => AwsNames::Refused,
            Endpoint::ByHostName => AwsNames::Listed,
        },
    }
}

async fn authenticator(
    authentication: Authentication,
    credentials: &Credentials,
) -> Result<Authenticator, StartError> {
    let clients = match authentication {
        Authentication::None => {
            tracing::warn!(
                "auth = none: whoever reaches this proxy uses its credential and its keys"
            );
            return Ok(Authenticator::Nobody);
        }
        Authentication::SigV4 { known } => match known {
            KnownClients::List(clients) => clients.into_iter().map(listed_client).collect(),
            KnownClients::BackendCredential => vec![own_credential(credentials).await?],
        },
    };
    let clients = clients
        .into_iter()
        .map(|client| (client.access_key_id.clone(), Arc::new(client)))
        .collect::<HashMap<_, _>>();
    tracing::info!(
        clients = clients.len(),
        "client signatures are verified (AWS SigV4)"
    );
    Ok(Authenticator::SigV4 {
        clients,
        signing_keys: SigningKeys::default(),
    })
}

/// The rates of clients that have their own, by name.
fn own_rates(authentication: &Authentication) -> HashMap<String, Bound> {
    let listed = match authentication {
        Authentication::SigV4 {
            known: KnownClients::List(clients),
        } => clients.as_slice(),
        Authentication::SigV4 {
            known: KnownClients::BackendCredential,
        }
        | Authentication::None => &[],
    };
    let own = |client: &config::resolved::Client| {
        Some((client.name.clone(), client.requests_per_second?))
    };
    listed.iter().filter_map(own).collect()
}

fn listed_client(client: crate::config::resolved::Client) -> Client {
    Client {
        name: client.name,
        secret: SecretAccessKey::new(client.secret_access_key.expose().to_owned()),
        access_key_id: client.access_key_id,
        session_token: match client.session_token {
            SessionToken::Absent => None,
            SessionToken::Required(token) => Some(token),
        },
        grants: client.grants,
    }
}

/// The proxy's own credential as its one client, so that an application keeps its keys.
async fn own_credential(credentials: &Credentials) -> Result<Client, StartError> {
    if !credentials.is_static() {
        return Err(StartError::NoClients);
    }
    let own = credentials.current().await?;
    Ok(Client {
        name: own.access_key_id().to_owned(),
        access_key_id: own.access_key_id().to_owned(),
        secret: SecretAccessKey::new(own.secret_access_key().to_owned()),
        session_token: None,
        grants: vec![everything()],
    })
}

fn everything() -> Grant {
    let operations = [
        Access::Read,
        Access::Write,
        Access::Delete,
        Access::List,
        Access::Admin,
    ];
    Grant {
        operations: operations.into_iter().collect(),
        buckets: vec![Pattern::everything()],
        prefixes: vec![Pattern::everything()],
    }
}
