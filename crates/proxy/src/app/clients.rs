//! The clients that may sign requests, from the configuration or from the backend's credential.

use std::collections::HashMap;
use std::sync::Arc;

use s3proxy_protocol::sigv4::SecretAccessKey;

use super::StartError;
use crate::auth::{Authenticator, Client, SigningKeys};
use crate::backend::Credentials;
use crate::config::resolved::{
    self, Access, Authentication, Bound, Grant, KnownClients, Pattern, Permission, SessionToken,
};

/// Builds the check of clients' signatures. Without a list of clients, the backend's own credential
/// is the only one that they may sign with.
pub(super) async fn authenticator(
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
pub(super) fn own_rates(authentication: &Authentication) -> HashMap<String, Bound> {
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
