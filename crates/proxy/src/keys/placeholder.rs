//! Placeholders for key services, known by name and never called: for commands that need none.

use std::sync::Arc;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use s3proxy_envelope::kek::Kek;

use super::key_service::{KeyService, NewKek, ServiceError};
use crate::config::resolved::Service;
use crate::telemetry::metrics::ServiceKind;

/// Makes a placeholder for each service, without a connection.
pub(crate) fn placeholders(services: &[Service]) -> Vec<Arc<dyn KeyService>> {
    let placeholders = services.iter().map(|service| {
        let name = service.name();
        let kind = match service {
            Service::Vault(_) => ServiceKind::Vault,
            Service::AwsKms(_) => ServiceKind::AwsKms,
            Service::Pkcs11(_) => ServiceKind::Pkcs11,
            Service::Constellation(_) => ServiceKind::Constellation,
        };
        Arc::new(PlaceholderService { name, kind }) as Arc<dyn KeyService>
    });
    placeholders.collect()
}

struct PlaceholderService {
    name: String,
    kind: ServiceKind,
}

impl PlaceholderService {
    fn refusal<T: Send + 'static>() -> BoxFuture<'static, Result<T, ServiceError>> {
        let reason = "this command does not use key services".to_owned();
        async { Err(ServiceError::Key(reason)) }.boxed()
    }
}

impl KeyService for PlaceholderService {
    fn name(&self) -> &str {
        &self.name
    }

    fn kind(&self) -> ServiceKind {
        self.kind
    }

    fn create(&self) -> BoxFuture<'_, Result<NewKek, ServiceError>> {
        Self::refusal()
    }

    fn open<'a>(&'a self, _ciphertext: &'a [u8]) -> BoxFuture<'a, Result<Kek, ServiceError>> {
        Self::refusal()
    }

    fn check(&self) -> BoxFuture<'_, Result<(), ServiceError>> {
        Self::refusal()
    }
}
