//! Conditions for a retry, and the pause before it.
//!
//! Three conditions must hold: the body is whole (held, or not one byte of it was taken), another
//! execution does no harm, and the budget that all requests share is not spent. The budget keeps a
//! failing backend from being hit several times as hard as a healthy one.
//!
//! A conditional write is retried only if the backend cannot have executed it: if the first attempt
//! was executed, its retry would return 412 for a write that succeeded.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, SystemTime};

use aws_lc_rs::rand;
use http::{HeaderMap, StatusCode, header};
use s3proxy_protocol::headers;

use super::clock;
use super::request::PreparedRequest;
use super::settings::RetrySettings;

/// Fate of a request whose attempt failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    /// A retry would fail the same way.
    Hopeless,
    /// The backend did not execute the request.
    NotExecuted,
    /// The backend may have executed the request.
    Unknown,
}

/// Returns the fate of a request with this status, if the status calls for a retry.
pub(super) fn fate_of(status: StatusCode) -> Option<Fate> {
    match status {
        // S3 sends these before it executes anything.
        StatusCode::SERVICE_UNAVAILABLE | StatusCode::TOO_MANY_REQUESTS => Some(Fate::NotExecuted),
        StatusCode::INTERNAL_SERVER_ERROR
        | StatusCode::BAD_GATEWAY
        | StatusCode::GATEWAY_TIMEOUT => Some(Fate::Unknown),
        _ => None,
    }
}

/// Returns whether another attempt is possible and harmless.
pub(super) fn may_repeat(request: &PreparedRequest, fate: Fate) -> bool {
    request.body_is_whole()
        && match fate {
            Fate::Hopeless => false,
            Fate::NotExecuted => true,
            Fate::Unknown => !request.is_conditional_write(),
        }
}

/// Remaining retries, in tenths; an answered request returns one tenth.
pub(super) struct RetryBudget {
    tenths: AtomicU32,
    capacity: u32,
}

impl RetryBudget {
    pub(super) fn new(retry: &RetrySettings) -> Self {
        let capacity = retry.budget.saturating_mul(10);
        RetryBudget {
            tenths: AtomicU32::new(capacity),
            capacity,
        }
    }

    /// Spends one retry. Returns `false` if the budget is exhausted.
    #[must_use]
    pub(super) fn try_spend(&self) -> bool {
        let left = |tenths: u32| tenths.checked_sub(10);
        self.tenths
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, left)
            .is_ok()
    }

    /// Returns one tenth of a retry to the budget, for an answered request.
    pub(super) fn earn(&self) {
        let more = |tenths: u32| (tenths < self.capacity).then(|| tenths + 1);
        // An error means that the budget is full.
        let _ = self
            .tenths
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, more);
    }
}

/// Returns the pause after attempt number `attempt` (from 1): exponential, with a random upper
/// half.
pub(super) fn pause(retry: &RetrySettings, attempt: u32, headers: Option<&HeaderMap>) -> Duration {
    // `attempt` counts from 1, and a shift by 32 or more saturates.
    let doubled = retry
        .base_delay
        .saturating_mul(1_u32.checked_shl(attempt - 1).unwrap_or(u32::MAX));
    let longest = doubled.min(retry.max_delay);
    let half = longest / 2;
    let backoff = half + half.mul_f64(random_fraction());
    let wanted = headers.map_or(Duration::ZERO, |headers| {
        retry_after(headers, SystemTime::now())
    });
    backoff.max(wanted.min(retry.max_delay))
}

fn retry_after(headers: &HeaderMap, now: SystemTime) -> Duration {
    let Some(value) = headers.get(header::RETRY_AFTER) else {
        return Duration::ZERO;
    };
    let seconds = headers::parsed(headers, header::RETRY_AFTER);
    let until = || {
        let date = clock::seconds_of(value)?;
        u64::try_from(date - clock::seconds_since_epoch(now)).ok()
    };
    Duration::from_secs(seconds.or_else(until).unwrap_or(0))
}

fn random_fraction() -> f64 {
    let mut bytes = [0; 4];
    // Without randomness all pauses are equally long; that is no reason to fail.
    let _ = rand::fill(&mut bytes);
    f64::from(u32::from_le_bytes(bytes)) / f64::from(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    fn retry() -> RetrySettings {
        RetrySettings {
            attempts: 5,
            base_delay: Duration::from_millis(100),
            max_delay: Duration::from_secs(2),
            budget: 2,
        }
    }

    #[test]
    fn pauses_double_up_to_the_longest() {
        for (attempt, longest) in [(1, 100), (2, 200), (3, 400), (6, 2000), (40, 2000)] {
            let pause = pause(&retry(), attempt, None);
            let longest = Duration::from_millis(longest);
            assert!(
                pause <= longest && pause >= longest / 2,
                "{attempt}: {pause:?}"
            );
        }
    }

    #[test]
    fn retry_after_is_honoured_up_to_the_longest_pause() {
        for (value, expected) in [("1", 1), ("3600", 2), ("Sun, 06 Nov 1994 08:49:37 GMT", 0)] {
            let mut headers = HeaderMap::new();
            headers.insert(header::RETRY_AFTER, HeaderValue::from_static(value));
            let pause = pause(&retry(), 1, Some(&headers));
            let expected = Duration::from_secs(expected);
            assert!(
                pause >= expected && pause <= expected + Duration::from_millis(100),
                "{value}: {pause:?}"
            );
        }
    }

    #[test]
    fn the_budget_runs_out_and_ten_responses_buy_one_retry() {
        let budget = RetryBudget::new(&retry());
        assert!(budget.try_spend());
        assert!(budget.try_spend());
        assert!(!budget.try_spend());
        for _ in 0..9 {
            budget.earn();
        }
        assert!(!budget.try_spend());
        budget.earn();
        assert!(budget.try_spend());
        assert!(!budget.try_spend());
    }
}
