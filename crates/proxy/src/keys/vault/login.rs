//! The token that requests carry: obtained by a login, renewed in time, replaced when it is
//! refused.
//!
//! Invariants: requests that need a token at the same time share one login. A refused login fails
//! all requests that waited for it, and is tried again for the next request. The token of a login
//! is replaced before its lease ends if the lease cannot be renewed further. A configured token is
//! renewed as long as the service allows it, and never replaced.
//!
//! A background task keeps the lease, since a replica that serves from its caches may not call the
//! service for longer than the lease. The task ends with the [`LeaseKeeper`].
//!
//! Absent: revoking the token at the end. Its lease expires anyway, and a killed replica could not
//! revoke it either.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use http::uri::PathAndQuery;
use serde::{Deserialize, Serialize};
use tokio::sync::{Mutex, Notify};
use tokio::task::AbortHandle;
use tokio::time::Instant;
use zeroize::Zeroizing;

use super::super::key_service::ServiceError;
use super::lease::{LeaseAction, TokenLease};
use super::response::{self, VaultOperation};
use super::server::{self, VaultServer, VaultToken};
use super::{VaultData, VaultError};
use crate::config::resolved::VaultLogin;

/// Age below which a refused token is not replaced: its age cannot be the reason, and a policy
/// without the permission must not make every request log in.
const YOUNG: Duration = Duration::from_secs(1);

/// The one login of a key, shared by its requests.
pub(super) struct LoginSession {
    server: Arc<VaultServer>,
    login: Login,
    lookup: PathAndQuery,
    renew: PathAndQuery,
    held: Mutex<Option<HeldToken>>,
    changed: Notify,
}

enum Login {
    /// The token was configured.
    Given,
    AppRole {
        path: PathAndQuery,
        role_id: String,
        secret_id: Zeroizing<String>,
    },
    Kubernetes {
        path: PathAndQuery,
        role: String,
        token_file: PathBuf,
    },
}

#[derive(Clone)]
struct HeldToken {
    token: VaultToken,
    obtained: Instant,
    lease: TokenLease,
}

impl LoginSession {
    pub(super) fn new(server: Arc<VaultServer>, login: &VaultLogin) -> Result<Self, VaultError> {
        let path = |mount: &str| server::path(&["auth", mount, "login"], "login mount");
        let mut held = None;
        let login = match login {
            VaultLogin::Token(text) => {
                let token = VaultToken::new(text.expose()).ok_or(VaultError::Name {
                    what: "token",
                    value: "(not shown)".to_owned(),
                })?;
                held = Some(HeldToken {
                    token,
                    obtained: Instant::now(),
                    lease: TokenLease::Unknown {
                        look: Instant::now(),
                    },
                });
                Login::Given
            }
            VaultLogin::AppRole {
                mount,
                role_id,
                secret_id,
            } => Login::AppRole {
                path: path(mount)?,
                role_id: role_id.clone(),
                secret_id: Zeroizing::new(secret_id.expose().to_owned()),
            },
            VaultLogin::Kubernetes {
                mount,
                role,
                token_file,
            } => Login::Kubernetes {
                path: path(mount)?,
                role: role.clone(),
                token_file: token_file.clone(),
            },
        };
        Ok(Self {
            server,
            login,
            lookup: PathAndQuery::from_static("/v1/auth/token/lookup-self"),
            renew: PathAndQuery::from_static("/v1/auth/token/renew-self"),
            held: Mutex::new(held),
            changed: Notify::new(),
        })
    }

    /// Returns the token to send, after a login if there is no token that may still be valid.
    pub(super) async fn token(&self) -> Result<VaultToken, ServiceError> {
        let mut held = self.held.lock().await;
        match &*held {
            // A configured token is sent even when it seems to be over: only the server can tell.
            Some(held) if !(held.is_over() && self.can_log_in()) => Ok(held.token.clone()),
            Some(_) | None => self.log_in_as(&mut held).await,
        }
    }

    /// Returns a token in place of the refused one, if it has a chance of being accepted.
    pub(super) async fn replace(
        &self,
        refused: &VaultToken,
    ) -> Result<Option<VaultToken>, ServiceError> {
        if !self.can_log_in() {
            return Ok(None);
        }
        let mut held = self.held.lock().await;
        match &*held {
            // Another request replaced it already.
            Some(held) if held.token != *refused => Ok(Some(held.token.clone())),
            Some(held) if held.obtained.elapsed() < YOUNG => Ok(None),
            Some(_) | None => self.log_in_as(&mut held).await.map(Some),
        }
    }

    fn can_log_in(&self) -> bool {
        match self.login {
            Login::Given => false,
            Login::AppRole { .. } | Login::Kubernetes { .. } => true,
        }
    }

    async fn log_in_as(&self, held: &mut Option<HeldToken>) -> Result<VaultToken, ServiceError> {
        let new = self.log_in().await?;
        let token = new.token.clone();
        *held = Some(new);
        // Wakes the keeper, which still sleeps until the old lease's deadline.
        self.changed.notify_one();
        Ok(token)
    }

    async fn log_in(&self) -> Result<HeldToken, ServiceError> {
        let (path, body) = match &self.login {
            Login::Given => {
                return Err(ServiceError::Refused(
                    "the configured token is no longer valid; configure a new one".to_owned(),
                ));
            }
            Login::AppRole {
                path,
                role_id,
                secret_id,
            } => (path, json(&AppRole { role_id, secret_id })),
            Login::Kubernetes {
                path,
                role,
                token_file,
            } => {
                let jwt = service_account_token(token_file).await?;
                (
                    path,
                    json(&Kubernetes {
                        role,
                        jwt: jwt.trim(),
                    }),
                )
            }
        };
        let response = self.server.post(path, None, body).await?;
        response::check(VaultOperation::Login, &response)?;
        tracing::debug!(server = %self.server.address, "logged in to Vault");
        let auth = auth(&response.body)?;
        let token = VaultToken::new(auth.client_token).ok_or_else(|| no_token("log in"))?;
        Ok(HeldToken {
            token,
            obtained: Instant::now(),
            lease: auth.lease(auth.seconds()),
        })
    }

    /// Returns when the lease needs attention next; `None` for never.
    async fn next_renewal(&self) -> Option<Instant> {
        match self.held.lock().await.as_ref()?.lease {
            TokenLease::Unknown { look } => Some(look),
            TokenLease::Unmanaged => None,
            TokenLease::Ends { tend, .. } => Some(tend),
        }
    }

    /// Extends the lease, or replaces the token. Requests use the old token meanwhile.
    async fn tend(&self, limit: Duration) {
        let Some(old) = self.held.lock().await.clone() else {
            return;
        };
        // The lock is not held during the call, so that requests keep getting the old token.
        let tended = tokio::time::timeout(limit, self.tended(&old))
            .await
            .unwrap_or_else(|_| {
                Err(ServiceError::Unavailable(format!(
                    "timed out after {limit:?}"
                )))
            });
        let new = tended.unwrap_or_else(|error| {
            let lease = old.lease.after(&error);
            tracing::warn!(
                server = %self.server.address, %error,
                "could not renew the login at Vault: {}", lease.prospect()
            );
            HeldToken {
                lease,
                ..old.clone()
            }
        });
        let mut held = self.held.lock().await;
        // A request may have logged in meanwhile; its token must not be overwritten.
        if held.as_ref().is_some_and(|held| held.token == old.token) {
            *held = Some(new);
        }
    }

    async fn tended(&self, old: &HeldToken) -> Result<HeldToken, ServiceError> {
        let lease = match old.lease {
            TokenLease::Unknown { .. } => self.look_up(&old.token).await?,
            TokenLease::Ends {
                by: LeaseAction::LogIn,
                ..
            } if self.can_log_in() => {
                return self.log_in().await;
            }
            // A configured token that cannot be renewed is used until the server refuses it.
            TokenLease::Unmanaged
            | TokenLease::Ends {
                by: LeaseAction::LogIn,
                ..
            } => TokenLease::Unmanaged,
            TokenLease::Ends {
                by: LeaseAction::Renew,
                granted,
                ..
            } => match self.renewed(&old.token, granted).await {
                // A refused renewal means that the token is gone, so a login is due at once.
                Err(ServiceError::Refused(_)) if self.can_log_in() => return self.log_in().await,
                lease => lease?,
            },
        };
        Ok(HeldToken {
            lease,
            ..old.clone()
        })
    }

    async fn look_up(&self, token: &VaultToken) -> Result<TokenLease, ServiceError> {
        let response = self.server.get(&self.lookup, token).await?;
        response::check(VaultOperation::Token, &response)?;
        let found = serde_json::from_slice::<VaultData<TokenLookup>>(&response.body)
            .map_err(|_| no_token("look up the token"))?
            .data;
        let by = LeaseAction::for_token(found.renewable);
        Ok(TokenLease::new(
            Duration::from_secs(found.ttl),
            by,
            Duration::ZERO,
        ))
    }

    async fn renewed(
        &self,
        token: &VaultToken,
        granted: Duration,
    ) -> Result<TokenLease, ServiceError> {
        let body = Zeroizing::new(b"{}".to_vec());
        let response = self.server.post(&self.renew, Some(token), body).await?;
        response::check(VaultOperation::Token, &response)?;
        tracing::debug!(server = %self.server.address, "renewed the login at Vault");
        Ok(auth(&response.body)?.lease(granted))
    }
}

impl HeldToken {
    fn is_over(&self) -> bool {
        match self.lease {
            TokenLease::Unknown { .. } | TokenLease::Unmanaged => false,
            TokenLease::Ends { at, .. } => at <= Instant::now(),
        }
    }
}

/// Keeps the lease of one session until it is dropped.
pub(super) struct LeaseKeeper(AbortHandle);

impl LeaseKeeper {
    pub(super) fn start(session: Arc<LoginSession>, limit: Duration) -> Self {
        let task = tokio::spawn(async move {
            loop {
                match session.next_renewal().await {
                    None => session.changed.notified().await,
                    // A new token ends the sleep: its lease has another deadline.
                    Some(at) => tokio::select! {
                        () = session.changed.notified() => {}
                        () = tokio::time::sleep_until(at) => session.tend(limit).await,
                    },
                }
            }
        });
        Self(task.abort_handle())
    }
}

impl Drop for LeaseKeeper {
    fn drop(&mut self) {
        self.0.abort();
    }
}

#[derive(Serialize)]
struct AppRole<'a> {
    role_id: &'a str,
    secret_id: &'a str,
}

#[derive(Serialize)]
struct Kubernetes<'a> {
    role: &'a str,
    jwt: &'a str,
}

#[derive(Deserialize)]
struct LoginResponse<'a> {
    #[serde(borrow)]
    auth: Option<Auth<'a>>,
}

#[derive(Deserialize)]
struct Auth<'a> {
    client_token: &'a str,
    #[serde(default)]
    lease_duration: u64,
    #[serde(default)]
    renewable: bool,
}

impl Auth<'_> {
    fn seconds(&self) -> Duration {
        Duration::from_secs(self.lease_duration)
    }

    fn lease(&self, granted: Duration) -> TokenLease {
        TokenLease::new(
            self.seconds(),
            LeaseAction::for_token(self.renewable),
            granted,
        )
    }
}

#[derive(Deserialize)]
struct TokenLookup {
    ttl: u64,
    #[serde(default)]
    renewable: bool,
}

/// Returns whether the response to a login or a renewal grants a token with a usable lease.
#[cfg(any(test, feature = "fuzzing"))]
pub(in crate::keys) fn grants(body: &[u8]) -> bool {
    auth(body).is_ok_and(|auth| {
        let renewed = auth.lease(Duration::from_secs(1));
        renewed.prospect();
        auth.lease(auth.seconds()).prospect();
        VaultToken::new(auth.client_token).is_some()
    })
}

fn auth(body: &[u8]) -> Result<Auth<'_>, ServiceError> {
    serde_json::from_slice::<LoginResponse<'_>>(body)
        .ok()
        .and_then(|response| response.auth)
        .ok_or_else(|| no_token("log in"))
}

fn no_token(what: &str) -> ServiceError {
    ServiceError::Refused(format!("{what}: the response contains no token"))
}

/// Reads the service account's token. Kubernetes replaces the file, so it is read at each login.
async fn service_account_token(file: &Path) -> Result<Zeroizing<String>, ServiceError> {
    let text = tokio::fs::read_to_string(file).await.map_err(|error| {
        ServiceError::Refused(format!(
            "cannot read the service account's token from {}: {error}",
            file.display()
        ))
    })?;
    Ok(Zeroizing::new(text))
}

/// Serialises `body` into one allocation that is wiped.
fn json(body: &impl Serialize) -> Zeroizing<Vec<u8>> {
    // More than a service account's token takes; a vector that grows leaves copies behind.
    let mut json = Zeroizing::new(Vec::with_capacity(16 * 1024));
    serde_json::to_writer(&mut *json, body).expect("texts become JSON");
    json
}

#[cfg(test)]
mod tests {
    use super::super::lease::MAX_LEASE;
    use super::*;

    #[test]
    fn a_lease_of_any_length_is_looked_after() {
        for seconds in [1, 3600, u64::from(u32::MAX), u64::MAX] {
            let body = format!(
                "{{\"auth\":{{\"client_token\":\"t\",\"lease_duration\":{seconds},\"renewable\":true}}}}"
            );
            let auth = auth(body.as_bytes()).unwrap();
            for granted in [auth.seconds(), Duration::from_hours(1)] {
                let TokenLease::Ends { at, tend, .. } = auth.lease(granted) else {
                    panic!("a lease of {seconds} s ends");
                };
                assert!(tend <= at && at <= Instant::now() + MAX_LEASE);
            }
        }
    }
}
