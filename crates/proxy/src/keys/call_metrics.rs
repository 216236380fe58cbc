//! Counting and timing of calls to key services.
//!
//! One wrapper covers every [`KeyService`], so that no implementation can forget it. A call that is
//! dropped before its result, because of a timeout or a cancelled request, counts as cut off.

use std::future::Future;
use std::sync::Arc;
use std::time::Instant;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use s3proxy_envelope::kek::Kek;

use super::key_service::{KeyService, NewKek, ServiceError};
use crate::telemetry::metrics::{self, KeyCall, KeyResult, ServiceKind};

/// A key service whose calls are counted.
pub(super) struct MeteredService {
    inner: Arc<dyn KeyService>,
    kind: ServiceKind,
}

impl MeteredService {
    pub(super) fn new(inner: Arc<dyn KeyService>) -> Self {
        let kind = inner.kind();
        Self { inner, kind }
    }
}

impl KeyService for MeteredService {
    fn name(&self) -> &str {
        self.inner.name()
    }

    fn kind(&self) -> ServiceKind {
        self.kind
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
    // Preset to `CutOff`: if this future is dropped at the `await`, only `drop` runs.
    let mut timer = CallTimer {
        kind,
        call,
        began: Instant::now(),
        result: KeyResult::CutOff,
    };
    let answer = asking.await;
    timer.result = match &answer {
        Ok(_) => KeyResult::Ok,
        Err(ServiceError::Unavailable(_)) => KeyResult::Unavailable,
        Err(ServiceError::Throttled(_)) => KeyResult::Throttled,
        Err(ServiceError::Refused(_)) => KeyResult::Refused,
        Err(ServiceError::Key(_)) => KeyResult::Unusable,
        Err(ServiceError::Ciphertext(_)) => KeyResult::Unknown,
    };
    answer
}

struct CallTimer {
    kind: ServiceKind,
    call: KeyCall,
    began: Instant,
    result: KeyResult,
}

impl Drop for CallTimer {
    fn drop(&mut self) {
        metrics::key_service_called(self.kind, self.call, self.result, self.began.elapsed());
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::telemetry::metrics::tests::counted;

    /// Returns the recorded results of some calls.
    fn results(calls: impl AsyncFnOnce()) -> BTreeMap<String, u64> {
        let text = counted(|| {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .build()
                .unwrap();
            runtime.block_on(calls());
        });
        let calls = text
            .lines()
            .filter_map(|line| line.strip_prefix("s3proxy_key_service_calls_total"));
        calls
            .map(|line| {
                let (labels, count) = line.rsplit_once(' ').unwrap();
                let result = labels.split("result=\"").nth(1).unwrap();
                let result = result.split('"').next().unwrap();
                (result.to_owned(), count.parse().unwrap())
            })
            .collect()
    }

    async fn call(answer: Result<(), ServiceError>) {
        let asking = std::future::ready(answer);
        let _ = measured(ServiceKind::Vault, KeyCall::Open, asking).await;
    }

    #[test]
    fn each_answer_has_its_result() {
        let text = String::new;
        let found = results(async || {
            call(Ok(())).await;
            call(Ok(())).await;
            call(Err(ServiceError::Unavailable(text()))).await;
            call(Err(ServiceError::Throttled(text()))).await;
            call(Err(ServiceError::Refused(text()))).await;
            call(Err(ServiceError::Key(text()))).await;
            call(Err(ServiceError::Ciphertext(text()))).await;
        });
        let expected = [
            ("ok", 2),
            ("refused", 1),
            ("throttled", 1),
            ("unavailable", 1),
            ("unknown", 1),
            ("unusable", 1),
        ];
        let expected = expected.map(|(result, count)| (result.to_owned(), count));
        assert_eq!(found, BTreeMap::from(expected));
    }

    #[test]
    fn a_call_that_nobody_waits_for_any_longer_is_cut_off() {
        let found = results(async || {
            let asking = std::future::pending::<Result<(), ServiceError>>();
            let asking = measured(ServiceKind::Vault, KeyCall::Open, asking);
            assert!(asking.now_or_never().is_none());
        });
        assert_eq!(found, BTreeMap::from([("cut_off".to_owned(), 1)]));
    }
}
