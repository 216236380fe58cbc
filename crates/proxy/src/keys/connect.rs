//! From the configuration of keys at services to clients of those services.

use std::time::Duration;

use super::KeyringError;
use super::service::KeyService;
use crate::config::resolved::Service;

/// A client for each key. None of the services has to be up yet.
#[expect(clippy::unused_async, reason = "clients of some services are made asynchronously")]
pub(crate) async fn services(
    services: &[Service],
    _timeout: Duration,
) -> Result<Vec<Box<dyn KeyService>>, KeyringError> {
    let mut clients: Vec<Box<dyn KeyService>> = Vec::with_capacity(services.len());
    for service in services {
        let client = match service {
            Service::Vault(_) | Service::AwsKms(_) | Service::Pkcs11(_) | Service::Constellation(_) => {
                return Err(KeyringError::Service {
                    name: service.name(),
                    reason: "not in this version".to_owned(),
                });
            }
        };
        #[expect(unreachable_code, reason = "no client is made yet")]
        clients.push(client);
    }
    Ok(clients)
}
