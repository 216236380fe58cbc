//! A key at a key service, with the KEKs that the service made and opened.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use futures_util::FutureExt;
use s3proxy_envelope::kek::Kek;
use tokio::task::AbortHandle;

use super::active_kek::{ActiveKek, KekPurpose, LentKek};
use super::key_cache::KeyCache;
use super::key_service::{KeyService, ServiceError};
use super::service_caller::{Caller, Retrier, timeout_error};
use crate::config::resolved::ServiceCalls;
use crate::telemetry::traces::call;

// Names of trace spans.
const CREATE: &str = "key_service create";
const OPEN: &str = "key_service open";

/// Longest ciphertext of a KEK in bytes: the envelope has to fit S3's 2 KB of metadata.
const MAX_CIPHERTEXT_BYTES: usize = 1024;

/// Time that a replica's readiness check waits for a key service. Shorter than a probe's time
/// limit, so that a silent service does not take out replicas that still serve everything else.
const READINESS_WAIT: Duration = Duration::from_secs(2);

/// A key that a service holds.
pub(super) struct RemoteKey {
    key: Arc<RemoteKeyState>,
    caller: Arc<Caller>,
    renewal: OnceLock<Renewal>,
}

/// State that calls share with the key and keep alive after their request is gone.
struct RemoteKeyState {
    name: Arc<str>,
    service: Arc<dyn KeyService>,
    retrier: Arc<Retrier>,
    active_kek: ActiveKek,
    opened: Arc<KeyCache<Kek>>,
    /// Whether the service ever made a KEK.
    answered: AtomicBool,
}

/// Background task that replaces KEKs before they expire. It is aborted on drop.
struct Renewal(AbortHandle);

impl RemoteKey {
    pub(super) fn new(
        service: Arc<dyn KeyService>,
        calls: ServiceCalls,
        opened: Arc<KeyCache<Kek>>,
    ) -> Self {
        let name: Arc<str> = service.name().into();
        let caller = Caller::new(Arc::clone(&name), service.kind(), calls.timeout);
        Self {
            key: Arc::new(RemoteKeyState {
                name,
                service,
                retrier: Arc::clone(caller.retrier()),
                active_kek: ActiveKek::new(calls),
                opened,
                answered: AtomicBool::new(false),
            }),
            caller: Arc::new(caller),
            renewal: OnceLock::new(),
        }
    }

    /// Returns a KEK to wrap under. At most one call; none if a KEK is in use.
    pub(super) async fn lend(&self, purpose: KekPurpose) -> Result<LentKek, ServiceError> {
        // Started on first use: a key that never seals needs no renewal.
        self.renewal.get_or_init(|| self.renew());
        if let Some(lent) = self.key.active_kek.lend_current(purpose) {
            return Ok(lent);
        }
        let make = || Arc::clone(&self.key).make();
        // Boxed, so that the futures of requests stay small.
        let lending = self.key.active_kek.lend(purpose, &self.caller, make);
        lending.boxed().await
    }

    /// Returns the KEK of a ciphertext. At most one call; none on a cache hit.
    pub(super) async fn open(&self, ciphertext: &[u8]) -> Result<Arc<Kek>, ServiceError> {
        let open = || {
            let (key, ciphertext) = (Arc::clone(&self.key), ciphertext.into());
            async move { key.open(ciphertext).await }
        };
        let (name, opened) = (&self.key.name, &self.key.opened);
        let opening = opened.get(name, ciphertext, &self.caller, open);
        opening.boxed().await
    }

    /// Checks, within a short time, that there is a KEK to wrap under.
    pub(super) async fn can_seal(&self) -> Result<(), ServiceError> {
        let lent = tokio::time::timeout(READINESS_WAIT, self.lend(KekPurpose::Readiness)).await;
        lent.unwrap_or_else(|_| Err(timeout_error(READINESS_WAIT)))
            .map(|_| ())
    }

    /// Checks, within a short time and without using the key, that the service answers.
    pub(super) async fn check(&self) -> Result<(), ServiceError> {
        let checked = tokio::time::timeout(READINESS_WAIT, self.key.service.check()).await;
        let checked = checked.unwrap_or_else(|_| Err(timeout_error(READINESS_WAIT)));
        self.key.retrier.note(checked.as_ref().err());
        checked
    }

    /// Returns whether the service ever made a KEK.
    pub(super) fn has_answered(&self) -> bool {
        self.key.answered.load(Ordering::Relaxed)
    }

    /// Takes over that fact from the same key of an earlier configuration.
    pub(super) fn follow(&self, before: &Self) {
        let answered = before.has_answered();
        self.key.answered.store(answered, Ordering::Relaxed);
    }

    fn renew(&self) -> Renewal {
        let (key, caller) = (Arc::clone(&self.key), Arc::clone(&self.caller));
        let renewing = async move {
            let make = || Arc::clone(&key).make();
            key.active_kek.keep_renewed(&caller, make).await;
        };
        Renewal(tokio::spawn(renewing).abort_handle())
    }
}

impl RemoteKeyState {
    /// Has the service make a KEK, and puts it into use.
    async fn make(self: Arc<Self>) -> Result<(), ServiceError> {
        let made = self.retrier.call(|| {
            let creating = self.service.create();
            call(CREATE, &self.name, ServiceError::kind, creating)
        });
        let made = made.await?;
        // An empty ciphertext opens nothing, and a longer one does not fit the metadata.
        if !(1..=MAX_CIPHERTEXT_BYTES).contains(&made.ciphertext.len()) {
            let reason = "its ciphertext of a KEK is empty, or longer than 1024 bytes";
            return Err(ServiceError::Key(reason.to_owned()));
        }
        let lent = LentKek {
            kek: Arc::new(made.kek),
            ciphertext: made.ciphertext.into(),
        };
        // Before `install`: the first reader of an object under the new KEK finds it in the cache.
        self.opened
            .insert(&self.name, &lent.ciphertext, Arc::clone(&lent.kek));
        self.answered.store(true, Ordering::Relaxed);
        self.active_kek.install(lent);
        Ok(())
    }

    async fn open(self: Arc<Self>, ciphertext: Box<[u8]>) -> Result<Kek, ServiceError> {
        let open = self.retrier.call(|| {
            let opening = self.service.open(&ciphertext);
            call(OPEN, &self.name, ServiceError::kind, opening)
        });
        open.await
    }
}

impl Drop for Renewal {
    fn drop(&mut self) {
        self.0.abort();
    }
}
