//! The active service, and its replacement.
//!
//! A replacement is built next to the active service. It then takes over at once for everything
//! that begins afterwards: requests (also on open connections), connections, handshakes, sweeps.
//! Work in flight ends with the service that it began with. A replacement that cannot be built has
//! no effect.

use std::sync::Arc;

use http::StatusCode;
use tokio::sync::watch;

use super::StartError;
use super::assembly::{self, Predecessor, ProcessState, RecordSinks};
use crate::admin::ProbeSource;
use crate::config::Changes;
use crate::config::resolved::{Config, Tls};
use crate::listen::certificate::{Certificate, CertificateFiles};
use crate::listen::tls::{self, CertificatePair};
use crate::listen::{CurrentGeneration, ServiceGeneration};
use crate::objects::Store;
use crate::operations::Services;
use crate::service::Service;
use crate::telemetry::metrics;

/// The active service.
pub(super) struct RunningService {
    generation: watch::Sender<Arc<ServiceGeneration<Service>>>,
    store: watch::Sender<Arc<Store>>,
    certificate: Option<Arc<Certificate>>,
    lasting: ProcessState,
    sinks: RecordSinks,
}

impl RunningService {
    pub(super) async fn begin(config: Config) -> Result<Self, StartError> {
        let files = pair_files(&config.listen.tls);
        let lasting = ProcessState::new(&config.limits);
        let sinks = RecordSinks::start(&config)?;
        let generation = assembly::generation(config, (&lasting, &sinks), Predecessor::None);
        let generation = Box::pin(generation).await?;
        let services = &generation.service.services;
        begin_sealing(services, &lasting);
        let store = Arc::clone(&services.store);
        store.keys.announce();
        Ok(Self {
            generation: watch::Sender::new(Arc::new(generation)),
            store: watch::Sender::new(store),
            certificate: files.map(Certificate::load).transpose()?,
            lasting,
            sinks,
        })
    }

    /// Replaces the active configuration by `config`, which differs by `changes`.
    pub(super) async fn replace(
        &self,
        config: Config,
        changes: &Changes,
    ) -> Result<(), StartError> {
        // Everything that can fail comes before the first visible effect.
        let pair = pair(&config.listen.tls)?;
        let before = Arc::clone(&self.generation.borrow().service);
        let lasting = (&self.lasting, &self.sinks);
        let generation =
            assembly::generation(config, lasting, Predecessor::Service(&before, changes));
        let generation = Box::pin(generation).await?;
        let store = Arc::clone(&generation.service.services.store);
        let (old, new) = (before.services.store.keys.active(), store.keys.active());
        if old.name() != new.name() {
            metrics::former_active_key(old.name());
            store.keys.announce();
        }
        // Before the new service is published, so that its keys count as in use before any request
        // seals.
        begin_sealing(&generation.service.services, &self.lasting);
        self.generation.send_replace(Arc::new(generation));
        self.store.send_replace(store);
        self.show(pair);
        Ok(())
    }

    /// Serves the current contents of the certificate's files.
    pub(super) fn renew_certificate(&self, tls: &Tls) -> Result<(), StartError> {
        let pair = pair(tls)?;
        self.show(pair);
        Ok(())
    }

    fn show(&self, pair: Option<(CertificateFiles, CertificatePair)>) {
        if let Some((certificate, (files, pair))) = self.certificate.as_ref().zip(pair) {
            certificate.serve(files, &pair);
        }
    }

    pub(super) fn generation(&self) -> CurrentGeneration<Service> {
        self.generation.subscribe()
    }

    pub(super) fn store(&self) -> watch::Receiver<Arc<Store>> {
        self.store.subscribe()
    }

    pub(super) fn certificate(&self) -> Option<&Arc<Certificate>> {
        self.certificate.as_ref()
    }

    pub(super) fn lasting(&self) -> &ProcessState {
        &self.lasting
    }

    pub(super) fn sinks(&self) -> &RecordSinks {
        &self.sinks
    }
}

impl ProbeSource for RunningService {
    fn liveness(&self) -> (StatusCode, String) {
        self.generation.borrow().service.liveness()
    }

    async fn readiness(&self) -> (StatusCode, String) {
        let service = Arc::clone(&self.generation.borrow().service);
        service.readiness().await
    }

    fn keys(&self) -> String {
        self.lasting.keys_in_use.to_json().to_string()
    }
}

/// Registers the keys of these services as in use, until the last holder of the services is gone.
fn begin_sealing(services: &Services, lasting: &ProcessState) {
    let keys = services.store.rules.sealing_keys();
    services
        .sealing
        .get_or_init(|| lasting.keys_in_use.begin(keys));
}

/// Loads the current contents of the certificate's files.
fn pair(tls: &Tls) -> Result<Option<(CertificateFiles, CertificatePair)>, StartError> {
    let Some(files) = pair_files(tls) else {
        return Ok(None);
    };
    let pair = tls::pair(&files)?;
    Ok(Some((files, pair)))
}

fn pair_files(tls: &Tls) -> Option<CertificateFiles> {
    match tls {
        Tls::Off => None,
        Tls::Files {
            certificate,
            private_key,
        } => Some(CertificateFiles {
            certificate: certificate.clone(),
            private_key: private_key.clone(),
        }),
    }
}
