//! The KEK of a key service that new objects are wrapped under: bounded in objects and in time.
//!
//! One request makes the next KEK while the others wait for it. If it fails, all who waited fail
//! with it, rather than each trying in turn while the service is away.

use std::sync::Arc;
use std::time::Instant;

use s3proxy_envelope::kek::Kek;
use tokio::sync::Mutex;

use super::key_service::ServiceError;
use crate::config::resolved::ServiceCalls;
use crate::telemetry::metrics;

/// The KEK in use.
#[derive(Default)]
pub(super) struct Writing(Mutex<State>);

#[derive(Default)]
struct State {
    current: Option<Current>,
    failed: Option<(Instant, ServiceError)>,
}

struct Current {
    lent: LentKek,
    objects_left: u32,
    until: Instant,
}

/// A KEK for one object.
#[derive(Clone)]
pub(super) struct LentKek {
    pub(super) kek: Arc<Kek>,
    pub(super) ciphertext: Arc<[u8]>,
}

/// Whether a KEK is needed for an object, or only has to be there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Need {
    Object,
    Readiness,
}

impl Writing {
    /// The KEK in use, or a new one that `create` makes.
    pub(super) async fn lend(
        &self,
        calls: &ServiceCalls,
        need: Need,
        create: impl AsyncFnOnce() -> Result<LentKek, ServiceError>,
    ) -> Result<LentKek, ServiceError> {
        let asked = Instant::now();
        let mut state = self.0.lock().await;
        if let Some(lent) = state
            .current
            .as_mut()
            .and_then(|current| current.lend(need))
        {
            if need == Need::Object {
                metrics::key_cache_hit();
            }
            return Ok(lent);
        }
        if need == Need::Object {
            metrics::key_cache_missed();
        }
        match &state.failed {
            Some((when, error)) if *when >= asked => return Err(error.clone()),
            Some(_) | None => {}
        }
        match create().await {
            Ok(lent) => {
                let mut current = Current {
                    lent,
                    objects_left: calls.kek_objects.get(),
                    until: Instant::now() + calls.kek_time,
                };
                let lent = current.lend(need).expect("it is new");
                state.current = Some(current);
                state.failed = None;
                Ok(lent)
            }
            Err(error) => {
                state.failed = Some((Instant::now(), error.clone()));
                Err(error)
            }
        }
    }
}

impl Current {
    fn lend(&mut self, need: Need) -> Option<LentKek> {
        if self.objects_left == 0 || Instant::now() >= self.until {
            return None;
        }
        match need {
            Need::Object => self.objects_left -= 1,
            Need::Readiness => {}
        }
        Some(self.lent.clone())
    }
}
