//! Assembly of the service from a valid configuration.
//!
//! It happens at start, and again for every configuration that replaces another. In a replacement,
//! state that the changed settings do not concern is kept: connections to the backend, logins at
//! key services, opened keys, and caches about stored objects. Nothing here takes effect before
//! everything is built, so that a failure leaves the running service untouched.
//!
//! Invariant: resources that requests of all configurations share (memory, work that outlives its
//! client) are counted in one place, [`ProcessState`].

use std::collections::HashMap;
use std::sync::{Arc, OnceLock};

use http::uri::Scheme;
use s3proxy_protocol::address::{EndpointSelection, HostRules};
use s3proxy_protocol::sigv4::SecretAccessKey;

use super::backend_caches::BackendCaches;
use super::{StartError, backend_settings};
use crate::auth::{Authenticator, Client, Gate, SigningKeys};
use crate::backend::{Backend, Credentials};
use crate::body::budget::BodyBudget;
use crate::body::buffers::BufferPool;
use crate::body::client_pace::PaceLimits;
use crate::config::Changes;
use crate::config::resolved::{
    self, Access, Authentication, Bound, Config, Endpoint, Grant, Host, Keys, KnownClients, Limits,
    Listen, Pattern, Permission, Policy, Rule, SessionToken, Tls,
};
use crate::health::ProbeHandler;
use crate::keys::connect::connect;
use crate::keys::keys_in_use::KeysInUse;
use crate::keys::legacy::{ConstellationKek, LegacyKeys};
use crate::keys::{Keyring, KeyringError, Readiness};
use crate::listen::{self, DrainState, ServiceGeneration};
use crate::objects::Store;
use crate::operations::Services;
use crate::operations::long_running::LongWork;
use crate::panics::PanicWatch;
use crate::rules::Rules;
use crate::service::Service;
use crate::telemetry::LogRateLimit;
use crate::telemetry::audit::AuditLog;
use crate::telemetry::traces::Traces;
use crate::throttle::Throttle;
use crate::trusted_proxies::TrustedProxies;
use crate::upload_state::periodic_sweep::SeenBuckets;

/// State that outlives every configuration.
pub(super) struct ProcessState {
    pub(super) pool: Arc<BufferPool>,
    pub(super) budget: Arc<BodyBudget>,
    pub(super) long_work: Arc<LongWork>,
    pub(super) seen_buckets: Arc<SeenBuckets>,
    pub(super) draining: Arc<DrainState>,
    pub(super) panics: Arc<PanicWatch>,
    pub(super) keys_in_use: Arc<KeysInUse>,
}

impl ProcessState {
    pub(super) fn new(limits: &Limits) -> Self {
        Self {
            pool: Arc::new(BufferPool::default()),
            budget: Arc::new(BodyBudget::new(limits.body_memory_bytes)),
            long_work: Arc::new(LongWork::new()),
            seen_buckets: Arc::new(SeenBuckets::default()),
            draining: Arc::new(DrainState::default()),
            panics: Arc::default(),
            keys_in_use: Arc::default(),
        }
    }
}

/// Sinks for records of requests besides the log: audit and traces. They outlive every
/// configuration.
pub(super) struct RecordSinks {
    pub(super) audit: AuditLog,
    pub(super) traces: Traces,
}

impl RecordSinks {
    pub(super) fn start(config: &Config) -> Result<Self, StartError> {
        let connections = config.listen.max_connections.get();
        Ok(Self {
            audit: AuditLog::start(&config.audit, connections)?,
            traces: Traces::start(&config.traces)?,
        })
    }

    /// Flushes both sinks, for a bounded time.
    pub(super) async fn finish(&self) {
        tokio::join!(self.audit.finish(), self.traces.finish());
    }
}

/// The service that is replaced, if any.
#[derive(Clone, Copy)]
pub(super) enum Predecessor<'a> {
    None,
    /// A running service, and the differences between its configuration and the new one.
    Service(&'a Service, &'a Changes),
}

impl<'a> Predecessor<'a> {
    /// Returns the running service if its settings in these sections are unchanged.
    fn same(self, sections: &[&str]) -> Option<&'a Service> {
        match self {
            Self::None => None,
            Self::Service(service, changes) => {
                let touched = sections.iter().any(|section| changes.touch(section));
                (!touched).then_some(service)
            }
        }
    }
}

/// Builds everything that serves a configuration.
pub(super) async fn generation(
    config: Config,
    (lasting, sinks): (&ProcessState, &RecordSinks),
    before: Predecessor<'_>,
) -> Result<ServiceGeneration<Service>, StartError> {
    let hosts = host_rules(&config.listen, &config.backend.endpoint);
    let trusted = Arc::new(TrustedProxies::new(config.listen.trusted_proxies.clone()));
    let Config {
        listen,
        backend,
        clients,
        keys,
        policy,
        rules,
        limits: sizes,
        // These need a restart of the program.
        audit: _,
        traces: _,
        // These do not change how a request is served.
        log: _,
        watch: _,
    } = config;
    let services = services(
        (&backend, keys, rules, policy),
        (&listen, &sizes),
        lasting,
        before,
    )
    .await?;
    let own_rates = own_rates(&clients.authentication);
    let authenticator =
        authenticator(clients.authentication, services.store.backend.credentials()).await?;
    let limits = connection_limits(&listen, &services.patience);
    // Nothing fails from here on, so the requests in flight can be counted under the new limits.
    let throttle = match (before.same(&["limits", "clients"]), before) {
        (Some(service), _) => Arc::clone(&service.throttle),
        (None, Predecessor::Service(service, _)) => {
            Arc::new(service.throttle.rebuilt(&sizes, own_rates))
        }
        (None, Predecessor::None) => Arc::new(Throttle::new(&sizes, own_rates)),
    };
    let service = Service {
        gate: Gate {
            hosts,
            authenticator,
            anonymous_read_buckets: clients.anonymous_read_buckets,
        },
        throttle,
        health: ProbeHandler::new(Arc::clone(&lasting.draining), Arc::clone(&lasting.panics)),
        panics: Arc::clone(&lasting.panics),
        trusted: Arc::clone(&trusted),
        services: Arc::new(services),
        lacks: backend.lacks,
        audit: sinks.audit.clone(),
        traces: sinks.traces.clone(),
        loops: LogRateLimit::default(),
    };
    Ok(ServiceGeneration {
        service: Arc::new(service),
        panics: Arc::clone(&lasting.panics),
        limits,
        trusted,
    })
}

/// Builds the engine's store, for work without clients.
pub(crate) async fn store_without_clients(config: Config) -> Result<Arc<Store>, StartError> {
    let Config {
        listen,
        backend,
        keys,
        policy,
        rules,
        limits,
        ..
    } = config;
    let lasting = ProcessState::new(&limits);
    let storing = (&backend, keys, rules, policy);
    let services = services(storing, (&listen, &limits), &lasting, Predecessor::None);
    Ok(Box::pin(services).await?.store)
}

async fn services(
    (backend_config, keys, rules, policy): (&resolved::Backend, Keys, Vec<Rule>, Policy),
    (listen, limits): (&Listen, &Limits),
    lasting: &ProcessState,
    before: Predecessor<'_>,
) -> Result<Services, StartError> {
    let backend = match before.same(&["backend"]) {
        Some(service) => service.services.store.backend.clone(),
        None => backend(backend_config).await?,
    };
    let (dek_tag, zero_key) = (keys.dek_tag.clone(), keys.legacy_zero_key);
    let (keyring, legacy_keys) = if let Some(service) = before.same(&["keys"]) {
        let store = &service.services.store;
        (Arc::clone(&store.keys), Arc::clone(&store.legacy_keys))
    } else {
        let (keyring, legacy_keys) = keyring(keys).await?;
        if let Predecessor::Service(service, _) = before {
            keyring.follow(&service.services.store.keys);
            refuse_idle_service(&keyring, &service.services.store.keys).await?;
        }
        (keyring, legacy_keys)
    };
    let rules = Rules::new(rules, &policy, zero_key, &keyring)?;
    // What was learnt under other settings may not hold under these.
    let caches = match before.same(&["backend", "keys", "policy", "rules"]) {
        Some(service) => BackendCaches::of(&service.services),
        None => BackendCaches::empty(backend_config),
    };
    let store = Store {
        backend,
        rules,
        keys: keyring,
        legacy_keys,
        dek_tag,
        policy,
        pool: Arc::clone(&lasting.pool),
        budget: Arc::clone(&lasting.budget),
        layouts: caches.layouts,
        verified: caches.verified,
        tag_keeping: caches.tag_keeping,
        held_body_bytes: limits.held_body_bytes as u64,
    };
    Ok(Services {
        store: Arc::new(store),
        uploads: caches.uploads,
        lookups: caches.lookups,
        sub_resources: caches.sub_resources,
        versions: caches.versions,
        page_rules: caches.page_rules,
        long_work: Arc::clone(&lasting.long_work),
        seen_buckets: Arc::clone(&lasting.seen_buckets),
        sealing: OnceLock::new(),
        client_scheme: match &listen.tls {
            Tls::Off => Scheme::HTTP,
            Tls::Files { .. } => Scheme::HTTPS,
        },
        put_body_bytes: limits.put_body_bytes,
        patience: PaceLimits {
            silence: listen.body_timeout,
            least_rate: listen.min_body_bytes,
            pressure: Arc::clone(lasting.budget.pressure()),
        },
    })
}

/// Builds the backend client, for work without clients.
pub(crate) async fn backend(settings: &resolved::Backend) -> Result<Backend, StartError> {
    let credentials = backend_settings::credentials(settings).await?;
    Ok(Backend::new(
        backend_settings::settings(settings),
        credentials,
    )?)
}

/// Builds the keys, and those of the older proxies from the same texts.
async fn keyring(keys: Keys) -> Result<(Arc<Keyring>, Arc<LegacyKeys>), StartError> {
    let connected = connect(&keys.services, keys.service_calls.timeout).await?;
    let constellation = match connected.constellation {
        Some(service) => ConstellationKek::from_service(service, keys.service_calls),
        None => ConstellationKek::Absent,
    };
    // Stretching a passphrase takes a while; on a blocking thread it does not delay running
    // requests.
    let deriving = tokio::task::spawn_blocking(move || Keyring::new(&keys, connected.services));
    let keyring: Result<Keyring, KeyringError> = match deriving.await {
        Ok(keyring) => keyring,
        Err(error) => std::panic::resume_unwind(error.into_panic()),
    };
    let mut keyring = keyring?;
    // The older proxies' keys from the same texts move to their own store.
    let legacy = LegacyKeys::new(keyring.take_passphrases(), constellation);
    Ok((Arc::new(keyring), Arc::new(legacy)))
}

/// Refuses a new active key whose service does not work. A start may wait for a service, but a
/// running program must not lose a working key to one that no service answers for.
async fn refuse_idle_service(keyring: &Keyring, before: &Keyring) -> Result<(), StartError> {
    if keyring.active().name() == before.active().name() {
        return Ok(());
    }
    match keyring.readiness().await {
        Readiness::NotReady(reason) => Err(StartError::Refused(reason)),
        Readiness::Ready | Readiness::Degraded(_) => Ok(()),
    }
}

/// Builds the rules, for work without a backend.
pub(crate) fn rules(config: &Config, keys: &Keyring) -> Result<Rules, KeyringError> {
    let zero_key = config.keys.legacy_zero_key;
    Rules::new(config.rules.clone(), &config.policy, zero_key, keys)
}

fn connection_limits(listen: &Listen, patience: &PaceLimits) -> listen::ConnectionLimits {
    listen::ConnectionLimits {
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
    let mut virtual_host_domains = listen.virtual_host_domains.clone();
    let selection = match endpoint {
        Endpoint::Fixed(backend) => {
            // Clients whose DNS maps the backend's own name to this proxy put buckets in front of
            // it.
            if let Host::Name(name) = &backend.host {
                virtual_host_domains.push(name.clone());
            }
            EndpointSelection::Configured
        }
        Endpoint::ByHostName => EndpointSelection::ByHost,
    };
    HostRules {
        virtual_host_domains,
        names: listen.hosts.clone(),
        selection,
    }
}

async fn authenticator(
    authentication: Authentication,
    credentials: &Credentials,
) -> Result<Authenticator, StartError> {
    let clients = match authentication {
        Authentication::None => {
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
    Ok(Authenticator::SigV4 { clients })
}

/// Returns the rates of clients that have their own, by name.
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
    let own = |client: &resolved::Client| Some((client.name.clone(), client.requests_per_second?));
    listed.iter().filter_map(own).collect()
}

fn listed_client(client: resolved::Client) -> Client {
    Client {
        name: client.name,
        secret: SecretAccessKey::new(client.secret_access_key.expose().to_owned()),
        access_key_id: client.access_key_id,
        session_token: match client.session_token {
            SessionToken::Absent => None,
            SessionToken::Required(token) => Some(token),
        },
        signature_v2: client.signature_v2,
        grants: client.grants,
        signing_keys: SigningKeys::default(),
    }
}

/// Makes the proxy's own credential its only client, so that an application keeps its keys.
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
        signature_v2: Permission::Deny,
        grants: vec![everything()],
        signing_keys: SigningKeys::default(),
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
