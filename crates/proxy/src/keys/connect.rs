//! Construction of clients for the configured keys at key services.

use std::sync::Arc;
use std::time::Duration;

use super::KeyringError;
use super::aws_kms::AwsKms;
use super::call_metrics::MeteredService;
use super::constellation::Constellation;
use super::key_service::KeyService;
use super::pkcs11::Pkcs11;
use super::vault::Vault;
use crate::config::resolved::Service;

/// Clients of all configured key services.
pub(crate) struct KeyServiceClients {
    /// One client per key.
    pub(crate) services: Vec<Arc<dyn KeyService>>,
    /// The service that also holds the key of an older proxy.
    pub(crate) constellation: Option<Arc<Constellation>>,
}

/// Builds a client for each key. None of the services has to be up yet; `timeout` bounds each
/// request.
pub(crate) async fn connect(
    keys: &[Service],
    timeout: Duration,
) -> Result<KeyServiceClients, KeyringError> {
    let mut connected = KeyServiceClients {
        services: Vec::with_capacity(keys.len()),
        constellation: None,
    };
    for key in keys {
        let refused = |error: &dyn std::error::Error| KeyringError::Service {
            name: key.name(),
            reason: error.to_string(),
        };
        let service: Arc<dyn KeyService> = match key {
            Service::Vault(config) => {
                let client = Vault::connect(config, timeout);
                Arc::new(client.map_err(|error| refused(&error))?)
            }
            Service::AwsKms(config) => {
                let client = AwsKms::connect(config, timeout).await;
                Arc::new(client.map_err(|error| refused(&error))?)
            }
            Service::Pkcs11(config) => {
                let client = Pkcs11::connect(config, timeout);
                Arc::new(client.map_err(|error| refused(&error))?)
            }
            Service::Constellation(config) => {
                let client = Constellation::connect(config, timeout);
                let client = Arc::new(client.map_err(|error| refused(&error))?);
                connected.constellation = Some(Arc::clone(&client));
                client
            }
        };
        let service = Arc::new(MeteredService::new(service));
        connected.services.push(service);
    }
    Ok(connected)
}
