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

use super::backend_caches::BackendCaches;
use super::clients::{authenticator, own_rates};
use super::{StartError, backend_settings};
use crate::auth::Gate;
use crate::backend::Backend;
use crate::body::budget::BodyBudget;
use crate::body::buffers::BufferPool;
use crate::body::client_pace::PaceLimits;
use crate::config::Changes;
use crate::config::resolved::{
    self, Bound, Config, Endpoint, Host, Keys, Limits, Listen, Policy, Rule, Tls,
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
    let storing = (&backend, keys, rules, policy);
    let services = services(storing, (&listen, &sizes), lasting, before).await?;
    let own_rates = own_rates(&clients.authentication);
    let credentials = services.store.backend.credentials();
    let gate = Gate {
        hosts,
        authenticator: authenticator(clients.authentication, credentials).await?,
        anonymous_read_buckets: clients.anonymous_read_buckets,
    };
    // Nothing fails from here on, so the requests in flight can be counted under the new limits.
    let throttle = throttle(before, &sizes, own_rates);
    let service = Service {
        gate,
        throttle,
        health: ProbeHandler::new(Arc::clone(&lasting.draining), Arc::clone(&lasting.panics)),
        panics: Arc::clone(&lasting.panics),
        trusted: Arc::new(TrustedProxies::new(listen.trusted_proxies.clone())),
        services: Arc::new(services),
        lacks: backend.lacks,
        audit: sinks.audit.clone(),
        traces: sinks.traces.clone(),
        loops: LogRateLimit::default(),
    };
    Ok(service_generation(service, &listen))
}

/// Returns the throttle with the new limits. A running one keeps its counts.
fn throttle(
    before: Predecessor<'_>,
    limits: &Limits,
    own_rates: HashMap<String, Bound>,
) -> Arc<Throttle> {
    match (before.same(&["limits", "clients"]), before) {
        (Some(service), _) => Arc::clone(&service.throttle),
        (None, Predecessor::Service(service, _)) => {
            Arc::new(service.throttle.rebuilt(limits, own_rates))
        }
        (None, Predecessor::None) => Arc::new(Throttle::new(limits, own_rates)),
    }
}

/// Adds to a service what the listener needs for its connections.
fn service_generation(service: Service, listen: &Listen) -> ServiceGeneration<Service> {
    ServiceGeneration {
        panics: Arc::clone(&service.panics),
        limits: connection_limits(listen, &service.services.patience),
        trusted: Arc::clone(&service.trusted),
        service: Arc::new(service),
    }
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

/// Builds everything that operations work with. Parts that the changed settings do not concern are
/// those of the running service.
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
    let (keyring, legacy_keys) = kept_or_new_keyring(keys, before).await?;
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
        layouts: Arc::clone(&caches.layouts),
        verified: Arc::clone(&caches.verified),
        tag_keeping: Arc::clone(&caches.tag_keeping),
        held_body_bytes: limits.held_body_bytes as u64,
    };
    Ok(services_around(store, caches, (listen, limits), lasting))
}

/// Adds to a store what only the operations of clients need.
fn services_around(
    store: Store,
    caches: BackendCaches,
    (listen, limits): (&Listen, &Limits),
    lasting: &ProcessState,
) -> Services {
    Services {
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
    }
}

/// Builds the backend client, for work without clients.
pub(crate) async fn backend(settings: &resolved::Backend) -> Result<Backend, StartError> {
    let credentials = backend_settings::credentials(settings).await?;
    Ok(Backend::new(
        backend_settings::settings(settings),
        credentials,
    )?)
}

/// Returns the running service's keys if their settings are unchanged, and new ones otherwise. New
/// ones remember which key services have answered before.
async fn kept_or_new_keyring(
    keys: Keys,
    before: Predecessor<'_>,
) -> Result<(Arc<Keyring>, Arc<LegacyKeys>), StartError> {
    if let Some(service) = before.same(&["keys"]) {
        let store = &service.services.store;
        return Ok((Arc::clone(&store.keys), Arc::clone(&store.legacy_keys)));
    }
    let (keyring, legacy_keys) = keyring(keys).await?;
    if let Predecessor::Service(service, _) = before {
        keyring.follow(&service.services.store.keys);
        refuse_idle_service(&keyring, &service.services.store.keys).await?;
    }
    Ok((keyring, legacy_keys))
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
