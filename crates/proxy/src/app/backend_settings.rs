//! Mapping from the configuration to the backend client's own settings.

use crate::backend::{self, BackendError, Credentials, OutboundProxy, Settings};
use crate::config::resolved::{
    Addressing, Authorities, Backend, ClientCertificate, Credential, Endpoint, Host, Integrity,
    Scheme, ServerAddress,
};

/// Domain of the placeholder host if every request names its own service.
const BY_HOST_NAME_HOME: &str = "amazonaws.com";

/// Converts the settings of the backend client.
pub(super) fn settings(backend: &Backend) -> Settings {
    Settings {
        endpoint: match &backend.endpoint {
            Endpoint::Fixed(address) => endpoint(address),
            Endpoint::ByHostName => backend::Endpoint {
                scheme: backend::Scheme::Https,
                host: format!("s3.{}.{BY_HOST_NAME_HOME}", backend.region),
                port: None,
            },
        },
        region: backend.region.clone(),
        addressing: match backend.addressing {
            Addressing::Path => backend::Addressing::Path,
            Addressing::VirtualHost => backend::Addressing::VirtualHost,
        },
        ca_file: match &backend.authorities {
            Authorities::System => None,
            Authorities::File(path) => Some(path.clone()),
        },
        client_certificate: match &backend.client_certificate {
            ClientCertificate::Absent => None,
            ClientCertificate::Files {
                certificate,
                private_key,
            } => Some(backend::ClientCertificate {
                certificate: certificate.clone(),
                key: private_key.clone(),
            }),
        },
        outbound_proxy: OutboundProxy::Environment,
        connect_timeout: backend.connect_timeout,
        response_timeout: backend.response_timeout,
        body_timeout: backend.body_timeout,
        connection_idle: backend.connection_idle,
        connection_max_age: backend.connection_max_age,
        max_idle_connections: backend.max_idle_connections,
        retry: backend::RetrySettings {
            attempts: backend.retry.attempts.get(),
            base_delay: backend.retry.base_delay,
            max_delay: backend.retry.max_delay,
            budget: backend.retry.budget,
        },
        integrity: match backend.integrity {
            Integrity::Auto => backend::Integrity::Auto,
            Integrity::Trailer => backend::Integrity::Trailer,
            Integrity::Unsigned => backend::Integrity::Unsigned,
        },
    }
}

fn endpoint(address: &ServerAddress) -> backend::Endpoint {
    backend::Endpoint {
        scheme: match address.scheme {
            Scheme::Http => backend::Scheme::Http,
            Scheme::Https => backend::Scheme::Https,
        },
        host: match &address.host {
            Host::Name(name) => name.clone(),
            Host::Address(address) => address.to_string(),
        },
        port: (address.port != address.scheme.default_port()).then_some(address.port),
    }
}

/// Returns the proxy's own credential.
pub(super) async fn credentials(backend: &Backend) -> Result<Credentials, BackendError> {
    match &backend.credential {
        Credential::Static {
            access_key_id,
            secret_access_key,
        } => Credentials::fixed(access_key_id, secret_access_key.expose(), None).await,
        Credential::DefaultChain => Credentials::default_chain(&backend.region).await,
    }
}
