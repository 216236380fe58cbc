//! The proxy's own credentials, fetched once for many requests and renewed before they expire.
//!
//! One request renews while the others use the credentials that are still valid. Only if those have
//! expired do the others wait for the renewal, in turn, and share its result. Rejected credentials
//! are renewed once for all requests that used them: each passes the generation that it signed
//! with.
//!
//! Absent: writing credentials anywhere, and comparing secrets.

use std::sync::{Arc, RwLock};
use std::time::{Duration, SystemTime};

use aws_config::default_provider::credentials::DefaultCredentialsChain;
use aws_credential_types::Credentials as Keys;
use aws_credential_types::provider::{ProvideCredentials, SharedCredentialsProvider};
use aws_types::region::Region;
use tokio::sync::Mutex;
use tokio::time::{Instant, timeout};

use super::error::BackendError;
use super::missing_credential::CredentialSources;
use crate::net::with_causes;

/// Time before expiry at which renewal starts.
const RENEW_BEFORE: Duration = Duration::from_mins(5);
/// Least time between two renewals of credentials that are still valid.
const RENEWAL_PAUSE: Duration = Duration::from_secs(10);
/// Time limit of a fetch; metadata services respond within it or not at all.
const FETCH_LIMIT: Duration = Duration::from_secs(20);

/// Provider of the proxy's keys, and the current ones.
#[derive(Clone)]
pub(crate) struct Credentials {
    shared: Arc<CredentialCache>,
}

struct CredentialCache {
    provider: SharedCredentialsProvider,
    current: RwLock<CredentialLease>,
    /// Time of the last attempt at renewal; locked while one runs.
    renewal: Mutex<Option<Instant>>,
}

/// Keys, with the number of the renewal that brought them.
#[derive(Clone)]
pub(super) struct CredentialLease {
    pub(super) keys: Keys,
    pub(super) generation: u64,
}

impl Credentials {
    /// Uses keys from the configuration, which never change.
    pub(crate) async fn fixed(
        access_key_id: &str,
        secret_access_key: &str,
        session_token: Option<&str>,
    ) -> Result<Self, BackendError> {
        let keys = Keys::new(
            access_key_id,
            secret_access_key,
            session_token.map(str::to_owned),
            None,
            "configuration",
        );
        Self::from_provider(SharedCredentialsProvider::new(keys)).await
    }

    /// Uses AWS's default chain: environment, profile, web identity, container, instance metadata.
    pub(crate) async fn default_chain(region: &str) -> Result<Self, BackendError> {
        let chain = DefaultCredentialsChain::builder()
            .region(Region::new(region.to_owned()))
            .build()
            .await;
        let provider = SharedCredentialsProvider::new(chain);
        match Self::from_provider(provider).await {
            Err(BackendError::Credentials(cause)) => {
                let sources = CredentialSources::new(&variable);
                Err(BackendError::Credentials(sources.explain(&cause)))
            }
            other => other,
        }
    }

    /// Returns whether the default chain would fetch the credential from a service, so that it
    /// changes over time.
    pub(crate) fn come_from_a_service() -> bool {
        let is_given = ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"]
            .iter()
            .all(|name| variable(name).is_some_and(|text| !text.is_empty()));
        !is_given && CredentialSources::new(&variable).asks_remotely()
    }

    /// Fetches the first keys; without any there is nothing to sign with.
    pub(crate) async fn from_provider(
        provider: SharedCredentialsProvider,
    ) -> Result<Self, BackendError> {
        let keys = fetch(&provider).await?;
        let lease = CredentialLease {
            keys,
            generation: 0,
        };
        Ok(Credentials {
            shared: Arc::new(CredentialCache {
                provider,
                current: RwLock::new(lease),
                renewal: Mutex::new(None),
            }),
        })
    }

    /// Returns keys that are valid now.
    pub(crate) async fn current(&self) -> Result<Keys, BackendError> {
        Ok(self.lease().await?.keys)
    }

    /// Returns whether the keys have no expiry, so that a client may use the same ones.
    #[must_use]
    pub(crate) fn is_static(&self) -> bool {
        self.peek().keys.expiry().is_none()
    }

    /// Returns keys that are valid now, and renews them before they expire.
    pub(super) async fn lease(&self) -> Result<CredentialLease, BackendError> {
        let lease = self.peek();
        match freshness(&lease.keys, SystemTime::now()) {
            Freshness::Good => Ok(lease),
            // One request renews; the others do not wait while the keys are valid.
            Freshness::Ageing => match self.shared.renewal.try_lock() {
                Ok(mut last) if last.is_none_or(|tried| tried.elapsed() >= RENEWAL_PAUSE) => {
                    match self.renew(&lease, &mut last).await {
                        Ok(renewed) => Ok(renewed),
                        Err(error) => {
                            tracing::warn!(%error, "could not renew the credentials; still using the old ones");
                            Ok(lease)
                        }
                    }
                }
                Ok(_) | Err(_) => Ok(lease),
            },
            Freshness::Expired => self.replace(&lease).await,
        }
    }

    /// Returns new keys in place of rejected or expired ones.
    pub(super) async fn replace(
        &self,
        rejected: &CredentialLease,
    ) -> Result<CredentialLease, BackendError> {
        let mut last = self.shared.renewal.lock().await;
        let current = self.peek();
        // Renewed while this request waited for the lock: use that result.
        if current.generation != rejected.generation {
            return Ok(current);
        }
        self.renew(rejected, &mut last).await
    }

    async fn renew(
        &self,
        old: &CredentialLease,
        last: &mut Option<Instant>,
    ) -> Result<CredentialLease, BackendError> {
        // Before the fetch, so that a failed one delays the next, too.
        *last = Some(Instant::now());
        let lease = CredentialLease {
            keys: fetch(&self.shared.provider).await?,
            generation: old.generation + 1,
        };
        *self
            .shared
            .current
            .write()
            .expect("no holder of this lock can panic") = lease.clone();
        Ok(lease)
    }

    fn peek(&self) -> CredentialLease {
        self.shared
            .current
            .read()
            .expect("no holder of this lock can panic")
            .clone()
    }
}

enum Freshness {
    Good,
    Ageing,
    Expired,
}

fn freshness(keys: &Keys, now: SystemTime) -> Freshness {
    match keys.expiry().map(|expiry| expiry.duration_since(now)) {
        None => Freshness::Good,
        Some(Ok(left)) if left > RENEW_BEFORE => Freshness::Good,
        Some(Ok(left)) if !left.is_zero() => Freshness::Ageing,
        Some(Ok(_) | Err(_)) => Freshness::Expired,
    }
}

fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

/// Refuses keys with white space at their ends: a line break from a file or a variable would make
/// every signature wrong.
fn checked(keys: Keys) -> Result<Keys, BackendError> {
    let has_space = |text: &str| text.trim() != text;
    let what = if has_space(keys.access_key_id()) {
        "access key id (AWS_ACCESS_KEY_ID)"
    } else if has_space(keys.secret_access_key()) {
        "secret access key (AWS_SECRET_ACCESS_KEY)"
    } else if keys.session_token().is_some_and(has_space) {
        "session token (AWS_SESSION_TOKEN)"
    } else {
        return Ok(keys);
    };
    Err(BackendError::Malformed(format!(
        "white space precedes or follows the {what}, often a line break from a file; remove it"
    )))
}

async fn fetch(provider: &SharedCredentialsProvider) -> Result<Keys, BackendError> {
    match timeout(FETCH_LIMIT, provider.provide_credentials()).await {
        Ok(Ok(keys)) => checked(keys),
        Ok(Err(error)) => Err(BackendError::Credentials(with_causes(&error))),
        Err(_) => Err(BackendError::Credentials(format!(
            "timed out after {FETCH_LIMIT:?} waiting for their source"
        ))),
    }
}
