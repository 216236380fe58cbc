//! Calls to key services, counted and timed.
//!
//! One wrapper around every [`KeyService`], so that no implementation can forget it. A call that is
//! dropped before its answer, because its time was over or its client left, counts as cut off.

use std::future::Future;
use std::sync::Arc;
use std::time::Instant;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use s3proxy_envelope::kek::Kek;

use super::key_service::{KeyService, NewKek, ServiceError};
use crate::telemetry::metrics::{self, KeyCall, KeyResult, ServiceKind};

/// A key service whose calls are counted.
pub(super) struct Measured {
    inner: Arc<dyn KeyService>,
    kind: ServiceKind,
}

impl Measured {
    pub(super) fn new(kind: ServiceKind, inner: Arc<dyn KeyService>) -> Self {
        Self { inner, kind }
    }
}

impl KeyService for Measured {
    fn name(&self) -> &str {
        self.inner.name()
    }

    fn create(&self) -> BoxFuture<'_, Result<NewKek, ServiceError>> {
        measured(self.kind, KeyCall::Create, self.inner.create()).boxed()
    }

    fn open<'a>(&'a self, ciphertext: &'a [u8]) -> BoxFuture<'a, Result<Kek, ServiceError>> {
        measured(self.kind, KeyCall::Open, self.inner.open(ciphertext)).boxed()
    }

    fn check(&self) -> BoxFuture<'_, Result<(), ServiceError>> {
        measured(self.kind, KeyCall::Check, self.inner.check()).boxed()
    }
}

/// Counts one call, however it ends.
pub(super) async fn measured<T>(
    kind: ServiceKind,
    call: KeyCall,
    asking: impl Future<Output = Result<T, ServiceError>>,
) -> Result<T, ServiceError> {
    let mut under_way = UnderWay {
        kind,
        call,
        began: Instant::now(),
        result: KeyResult::CutOff,
    };
    let answer = asking.await;
    under_way.result = match &answer {
        Ok(_) => KeyResult::Ok,
        Err(ServiceError::Unavailable(_)) => KeyResult::Unavailable,
        Err(ServiceError::Refused(_)) => KeyResult::Refused,
        Err(ServiceError::Key(_)) => KeyResult::Unusable,
        Err(ServiceError::Ciphertext(_)) => KeyResult::Unknown,
    };
    answer
}

struct UnderWay {
    kind: ServiceKind,
    call: KeyCall,
    began: Instant,
    result: KeyResult,
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        metrics::key_service_called(self.kind, self.call, self.result, self.began.elapsed());
    }
}
