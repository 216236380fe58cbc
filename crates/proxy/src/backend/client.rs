//! A request until its response: attempts, pauses, redirects, fresh credentials, and corrections of
//! clock or region.
//!
//! Each kind of correction is made at most once per request and spends no budget; a retry of a
//! failed attempt does. If nothing more may be tried, the last response is passed on unchanged, or
//! the last error returned.

use std::sync::Mutex;
use std::time::{Duration, Instant, SystemTime};

use http::header::DATE;
use http::{Method, StatusCode};
use moka::sync::Cache;

use super::address::ServiceTarget;
use super::attempt::{AttemptFailure, AttemptResponse, Transport};
use super::attempt_metrics;
use super::clock::TOLERANCE_SECONDS;
use super::credentials::{CredentialLease, Credentials};
use super::error::BackendError;
use super::error_body::element;
use super::redirect;
use super::request::{PreparedRequest, Signature};
use super::retry::{Fate, RetryBudget, fate_of, may_repeat, pause};
use super::settings::Settings;
use crate::telemetry::metrics::{self, RetryReason};

/// Number of moved buckets that are remembered.
const MOVED_BUCKETS: u64 = 10_000;
/// Time for which a moved bucket is remembered.
const MOVED_FOR: Duration = Duration::from_hours(1);
/// Difference between the clocks from which a refusal without a reason may be about the time.
const SKEW_SECONDS: u64 = 240;

/// Client of the backend: attempts at requests, and the state that all requests share.
pub(super) struct BackendClient {
    pub(super) settings: Settings,
    /// The configured service.
    pub(super) home: ServiceTarget,
    pub(super) transport: Transport,
    pub(super) credentials: Credentials,
    /// Time at which the backend last accepted the credential, for a request of any kind.
    pub(super) accepted: Mutex<Option<Instant>>,
    budget: RetryBudget,
    /// Buckets that permanent redirects moved, or that are in another region, by service and
    /// bucket.
    moved: Cache<String, ServiceTarget>,
}

/// State of one request over its attempts.
struct ExchangeState {
    target: ServiceTarget,
    attempts: u32,
    redirected: Option<redirect::Permanence>,
    has_renewed_credentials: bool,
    has_set_clock: bool,
    has_set_region: bool,
}

/// Next step after an attempt.
enum AfterAttempt {
    /// Return the response or the error to the caller.
    Deliver,
    RetryNow,
    RetryAfter(Duration),
}

impl BackendClient {
    pub(super) fn new(settings: Settings, credentials: Credentials) -> Result<Self, BackendError> {
        Ok(BackendClient {
            home: ServiceTarget {
                endpoint: settings.endpoint.clone(),
                addressing: settings.addressing,
                region: settings.region.clone(),
            },
            transport: Transport::new(&settings)?,
            credentials,
            accepted: Mutex::default(),
            budget: RetryBudget::new(&settings.retry),
            moved: Cache::builder()
                .max_capacity(MOVED_BUCKETS)
                .time_to_live(MOVED_FOR)
                .build(),
            settings,
        })
    }

    /// Sends a request until a response or an error is final.
    pub(super) async fn exchange(
        &self,
        request: &PreparedRequest,
    ) -> Result<AttemptResponse, BackendError> {
        let mut state = ExchangeState {
            target: self.known_target(request),
            attempts: 0,
            redirected: None,
            has_renewed_credentials: false,
            has_set_clock: false,
            has_set_region: false,
        };
        loop {
            state.attempts += 1;
            // For each attempt, since a retry may come after the expiry.
            let lease = self.credentials.lease().await?;
            // Read before the attempt: another request may correct the clock meanwhile.
            let offset = self.transport.clock.offset_seconds();
            let outcome = self.transport.attempt(request, &state.target, &lease).await;
            let next = match &outcome {
                Ok(response) => {
                    self.judge(request, &mut state, response, &lease, offset)
                        .await?
                }
                Err(failure) => self.judge_failure(request, &state, failure),
            };
            match next {
                AfterAttempt::Deliver => {
                    self.remember(request, &state, &outcome);
                    return outcome.map_err(|failure| failure.error);
                }
                AfterAttempt::RetryNow => {}
                AfterAttempt::RetryAfter(pause) => {
                    // Releases the response's connection before the pause.
                    drop(outcome);
                    tokio::time::sleep(pause).await;
                }
            }
        }
    }

    async fn judge(
        &self,
        request: &PreparedRequest,
        state: &mut ExchangeState,
        response: &AttemptResponse,
        lease: &CredentialLease,
        signed_at_offset: i64,
    ) -> Result<AfterAttempt, BackendError> {
        // Corrections come before retries, since they spend no budget.
        if let Some(duration) = redirect::permanence_of(response.head.status) {
            return self.follow(request, state, response, duration);
        }
        if let Some(target) = self.learn_region(request, state, response)
            && !state.has_set_region
            && request.body_is_whole()
        {
            state.has_set_region = true;
            state.target = target;
            return Ok(at_once(RetryReason::Region));
        }
        if self.learn_clock(request, response, signed_at_offset)
            && !state.has_set_clock
            && request.body_is_whole()
        {
            state.has_set_clock = true;
            return Ok(at_once(RetryReason::Clock));
        }
        if self.is_about_credentials(response)
            && !state.has_renewed_credentials
            && request.body_is_whole()
        {
            state.has_renewed_credentials = true;
            self.credentials.replace(lease).await?;
            return Ok(at_once(RetryReason::Credentials));
        }
        if let Some(fate) = fate_of(response.head.status) {
            let next = self.repeat(request, state, fate, Some(response));
            if let AfterAttempt::RetryAfter(_) = next {
                metrics::backend_retried(match fate {
                    Fate::NotExecuted => RetryReason::SlowDown,
                    Fate::Unknown | Fate::Hopeless => RetryReason::ServerError,
                });
            }
            return Ok(next);
        }
        self.budget.earn();
        Ok(AfterAttempt::Deliver)
    }

    fn judge_failure(
        &self,
        request: &PreparedRequest,
        state: &ExchangeState,
        failure: &AttemptFailure,
    ) -> AfterAttempt {
        let next = self.repeat(request, state, failure.fate, None);
        if let AfterAttempt::RetryAfter(pause) = next {
            let error = &failure.error;
            metrics::backend_retried(attempt_metrics::retry_reason(error));
            tracing::debug!(%error, ?pause, attempt = state.attempts, "retrying a backend request");
        }
        next
    }

    fn repeat(
        &self,
        request: &PreparedRequest,
        state: &ExchangeState,
        fate: Fate,
        response: Option<&AttemptResponse>,
    ) -> AfterAttempt {
        // The budget comes last, since asking spends it.
        let retry = &self.settings.retry;
        if state.attempts >= retry.attempts
            || !may_repeat(request, fate)
            || !self.budget.try_spend()
        {
            return AfterAttempt::Deliver;
        }
        let headers = response.map(|response| &response.head.headers);
        AfterAttempt::RetryAfter(pause(retry, state.attempts, headers))
    }

    fn follow(
        &self,
        request: &PreparedRequest,
        state: &mut ExchangeState,
        response: &AttemptResponse,
        duration: redirect::Permanence,
    ) -> Result<AfterAttempt, BackendError> {
        let refused = |reason: String| BackendError::Redirect {
            endpoint: response.endpoint.clone(),
            reason,
        };
        if state.redirected.is_some() {
            return Err(refused("it is the second redirect in a row".to_owned()));
        }
        if !request.body_is_whole() {
            return Err(refused("the request body was already sent".to_owned()));
        }
        // A remembered move that is out of date must not keep the bucket out of reach.
        self.moved.invalidate(&moved_key(request));
        let bucket = request.bucket.as_deref();
        state.target = redirect::target(
            &state.target,
            bucket,
            &response.head.headers,
            &response.body.start,
        )
        .map_err(refused)?;
        state.redirected = Some(duration);
        Ok(at_once(RetryReason::Redirect))
    }

    fn known_target(&self, request: &PreparedRequest) -> ServiceTarget {
        self.moved
            .get(&moved_key(request))
            .unwrap_or_else(|| request.target.clone())
    }

    fn remember(
        &self,
        request: &PreparedRequest,
        state: &ExchangeState,
        outcome: &Result<AttemptResponse, AttemptFailure>,
    ) {
        let worked = outcome
            .as_ref()
            .is_ok_and(|response| response.head.status.is_success());
        // If the lock is taken, another request is noting the same.
        if worked
            && request.signature == Signature::Own
            && let Ok(mut accepted) = self.accepted.try_lock()
        {
            *accepted = Some(Instant::now());
        }
        if worked && state.redirected == Some(redirect::Permanence::Permanent) {
            self.moved.insert(moved_key(request), state.target.clone());
        }
    }

    /// Remembers the region named by a refusal, even if this request cannot be retried, so that the
    /// next one is signed correctly.
    fn learn_region(
        &self,
        request: &PreparedRequest,
        state: &ExchangeState,
        response: &AttemptResponse,
    ) -> Option<ServiceTarget> {
        let (head, body) = (&response.head, &response.body.start);
        let target = redirect::other_region(&state.target, head.status, &head.headers, body)?;
        // A one-time redirect must not be remembered by way of its region.
        if state.redirected != Some(redirect::Permanence::Once) {
            self.moved.insert(moved_key(request), target.clone());
        }
        Some(target)
    }

    /// Learns the backend's time from a refusal of our time. Returns whether this request was
    /// signed with another time. The time is kept even if this request cannot be retried.
    fn learn_clock(
        &self,
        request: &PreparedRequest,
        response: &AttemptResponse,
        signed_at_offset: i64,
    ) -> bool {
        if response.head.status != StatusCode::FORBIDDEN {
            return false;
        }
        let smallest = match element(&response.body.start, "Code") {
            Some("RequestTimeTooSkewed") => TOLERANCE_SECONDS,
            // A response to HEAD has no reason, only a date.
            None if request.method == Method::HEAD => SKEW_SECONDS,
            Some(_) | None => return false,
        };
        let date = response.head.headers.get(DATE);
        self.transport
            .clock
            .learn(date, SystemTime::now(), smallest);
        self.transport
            .clock
            .offset_seconds()
            .abs_diff(signed_at_offset)
            > smallest
    }

    fn is_about_credentials(&self, response: &AttemptResponse) -> bool {
        !self.credentials.is_static()
            && matches!(
                element(&response.body.start, "Code"),
                Some(
                    "ExpiredToken" | "InvalidToken" | "TokenRefreshRequired" | "InvalidAccessKeyId"
                )
            )
    }
}

fn at_once(reason: RetryReason) -> AfterAttempt {
    metrics::backend_retried(reason);
    AfterAttempt::RetryNow
}

fn moved_key(request: &PreparedRequest) -> String {
    let bucket = request.bucket.as_deref().unwrap_or_default();
    format!("{}/{bucket}", request.target.endpoint)
}
