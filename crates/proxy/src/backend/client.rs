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
use hyper_util::client::legacy;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use moka::sync::Cache;
use s3proxy_protocol::request_head::MAXIMUM_HEADERS;

use super::address::Target;
use super::attempt::{Answer, Failure};
use super::attempt_metrics;
use super::clock::{BackendClock, TOLERANCE_SECONDS};
use super::connect::Connector;
use super::credentials::{Credentials, Lease};
use super::error::BackendError;
use super::error_body::element;
use super::family::KnownFamily;
use super::loop_mark::Mark;
use super::outgoing_body::Outgoing;
use super::redirect;
use super::request::{Prepared, Signature};
use super::retry::{Budget, Spending, Trace, may_repeat, pause, trace_of};
use super::settings::Settings;
use super::tls;
use crate::telemetry::metrics::{self, Retry};

/// Largest read and write buffer of a connection; 128 transfers must fit into a small container.
const CONNECTION_BUFFER: usize = 64 * 1024;
/// Most headers of a response. It repeats those of the request that stored the object, plus some of
/// the backend's own; the HTTP library's default limit is 100.
const HEADERS: usize = MAXIMUM_HEADERS + 256;
const MOVED_BUCKETS: u64 = 10_000;
const MOVED_FOR: Duration = Duration::from_hours(1);
/// Difference between the clocks from which a refusal without a reason may be about the time.
const SKEW_SECONDS: u64 = 240;

pub(super) struct Client {
    pub(super) settings: Settings,
    pub(super) home: Target,
    pub(super) http: legacy::Client<Connector, Outgoing>,
    pub(super) credentials: Credentials,
    pub(super) clock: BackendClock,
    /// Mark on outgoing requests.
    pub(super) mark: Mark,
    pub(super) family: KnownFamily,
    /// When the backend took the credential last: for a request of any kind.
    pub(super) accepted: Mutex<Option<Instant>>,
    budget: Budget,
    /// Buckets that permanent redirects moved, or that are in another region, by service and
    /// bucket.
    moved: Cache<String, Target>,
}

/// State of one request over its attempts.
struct Course {
    target: Target,
    attempts: u32,
    redirected: Option<redirect::Duration>,
    renewed: Tried,
    set_clock: Tried,
    set_region: Tried,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Tried {
    NotYet,
    Once,
}

enum Next {
    Deliver,
    RepeatAtOnce,
    RepeatAfter(Duration),
}

impl Client {
    pub(super) fn new(settings: Settings, credentials: Credentials) -> Result<Self, BackendError> {
        let connector = Connector::new(&settings, tls::client_config(&settings)?);
        let http = legacy::Client::builder(TokioExecutor::new())
            .timer(TokioTimer::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(settings.connection_idle)
            .pool_max_idle_per_host(settings.max_idle_connections)
            .http1_max_buf_size(CONNECTION_BUFFER)
            .http1_max_headers(HEADERS)
            // `Host` is set and signed by this client.
            .set_host(false)
            // Retries only requests that a closing connection returned unsent.
            .retry_canceled_requests(true)
            .build(connector);
        Ok(Client {
            home: Target {
                endpoint: settings.endpoint.clone(),
                addressing: settings.addressing,
                region: settings.region.clone(),
            },
            http,
            credentials,
            clock: BackendClock::default(),
            mark: Mark::new(),
            family: KnownFamily::default(),
            accepted: Mutex::default(),
            budget: Budget::new(&settings.retry),
            moved: Cache::builder()
                .max_capacity(MOVED_BUCKETS)
                .time_to_live(MOVED_FOR)
                .build(),
            settings,
        })
    }

    pub(super) async fn exchange(&self, request: &Prepared) -> Result<Answer, BackendError> {
        let mut course = Course {
            target: self.known_target(request),
            attempts: 0,
            redirected: None,
            renewed: Tried::NotYet,
            set_clock: Tried::NotYet,
            set_region: Tried::NotYet,
        };
        loop {
            course.attempts += 1;
            // For each attempt, since a retry may come after the expiry.
            let lease = self.credentials.lease().await?;
            // Read before the attempt: another request may correct the clock meanwhile.
            let offset = self.clock.offset_seconds();
            let outcome = self.attempt(request, &course.target, &lease).await;
            let next = match &outcome {
                Ok(answer) => {
                    self.judge(request, &mut course, answer, &lease, offset)
                        .await?
                }
                Err(failure) => self.judge_failure(request, &course, failure),
            };
            match next {
                Next::Deliver => {
                    self.remember(request, &course, &outcome);
                    return outcome.map_err(|failure| failure.error);
                }
                Next::RepeatAtOnce => {}
                Next::RepeatAfter(pause) => {
                    // Releases the response's connection before the pause.
                    drop(outcome);
                    tokio::time::sleep(pause).await;
                }
            }
        }
    }

    async fn judge(
        &self,
        request: &Prepared,
        course: &mut Course,
        answer: &Answer,
        lease: &Lease,
        signed_at_offset: i64,
    ) -> Result<Next, BackendError> {
        // Corrections come before retries, since they spend no budget.
        if let Some(duration) = redirect::duration_of(answer.head.status) {
            return self.follow(request, course, answer, duration);
        }
        if let Some(target) = self.learn_region(request, course, answer)
            && course.set_region == Tried::NotYet
            && request.body_is_whole()
        {
            course.set_region = Tried::Once;
            course.target = target;
            return Ok(at_once(Retry::Region));
        }
        if self.learn_clock(request, answer, signed_at_offset)
            && course.set_clock == Tried::NotYet
            && request.body_is_whole()
        {
            course.set_clock = Tried::Once;
            return Ok(at_once(Retry::Clock));
        }
        if self.is_about_credentials(answer)
            && course.renewed == Tried::NotYet
            && request.body_is_whole()
        {
            course.renewed = Tried::Once;
            self.credentials.replace(lease).await?;
            return Ok(at_once(Retry::Credentials));
        }
        if let Some(trace) = trace_of(answer.head.status) {
            let next = self.repeat(request, course, trace, Some(answer));
            if let Next::RepeatAfter(_) = next {
                metrics::backend_retried(match trace {
                    Trace::NotExecuted => Retry::SlowDown,
                    Trace::Unknown | Trace::Hopeless => Retry::ServerError,
                });
            }
            return Ok(next);
        }
        self.budget.earn();
        Ok(Next::Deliver)
    }

    fn judge_failure(&self, request: &Prepared, course: &Course, failure: &Failure) -> Next {
        let next = self.repeat(request, course, failure.trace, None);
        if let Next::RepeatAfter(pause) = next {
            let error = &failure.error;
            metrics::backend_retried(attempt_metrics::reason(error));
            tracing::debug!(%error, ?pause, attempt = course.attempts, "repeating a backend request");
        }
        next
    }

    fn repeat(
        &self,
        request: &Prepared,
        course: &Course,
        trace: Trace,
        answer: Option<&Answer>,
    ) -> Next {
        // The budget comes last, since asking spends it.
        let retry = &self.settings.retry;
        if course.attempts >= retry.attempts
            || !may_repeat(request, trace)
            || self.budget.spend() == Spending::Exhausted
        {
            return Next::Deliver;
        }
        let headers = answer.map(|answer| &answer.head.headers);
        Next::RepeatAfter(pause(retry, course.attempts, headers))
    }

    fn follow(
        &self,
        request: &Prepared,
        course: &mut Course,
        answer: &Answer,
        duration: redirect::Duration,
    ) -> Result<Next, BackendError> {
        let refused = |reason: String| BackendError::Redirect {
            endpoint: answer.endpoint.clone(),
            reason,
        };
        if course.redirected.is_some() {
            return Err(refused("it is the second one in a row".to_owned()));
        }
        if !request.body_is_whole() {
            return Err(refused("the body has been sent already".to_owned()));
        }
        // A remembered move that does not hold any more must not keep the bucket out of reach.
        self.moved.invalidate(&moved_key(request));
        let bucket = request.bucket.as_deref();
        course.target = redirect::target(
            &course.target,
            bucket,
            &answer.head.headers,
            &answer.body.start,
        )
        .map_err(refused)?;
        course.redirected = Some(duration);
        Ok(at_once(Retry::Redirect))
    }

    fn known_target(&self, request: &Prepared) -> Target {
        self.moved
            .get(&moved_key(request))
            .unwrap_or_else(|| request.target.clone())
    }

    fn remember(&self, request: &Prepared, course: &Course, outcome: &Result<Answer, Failure>) {
        let worked = outcome
            .as_ref()
            .is_ok_and(|answer| answer.head.status.is_success());
        // If the lock is taken, another request is noting the same.
        if worked
            && request.signature == Signature::Own
            && let Ok(mut accepted) = self.accepted.try_lock()
        {
            *accepted = Some(Instant::now());
        }
        if worked && course.redirected == Some(redirect::Duration::Permanent) {
            self.moved.insert(moved_key(request), course.target.clone());
        }
    }

    /// Remembers the region from a refusal, even if this request cannot be retried, so that the
    /// next one is signed correctly.
    fn learn_region(&self, request: &Prepared, course: &Course, answer: &Answer) -> Option<Target> {
        let (head, body) = (&answer.head, &answer.body.start);
        let target = redirect::other_region(&course.target, head.status, &head.headers, body)?;
        // A one-time redirect must not be remembered by way of its region.
        if course.redirected != Some(redirect::Duration::Once) {
            self.moved.insert(moved_key(request), target.clone());
        }
        Some(target)
    }

    /// Learns the backend's time from a refusal of ours. Returns whether this request was signed
    /// with another time. The time is kept even if this request cannot be retried, as a region is.
    fn learn_clock(&self, request: &Prepared, answer: &Answer, signed_at_offset: i64) -> bool {
        if answer.head.status != StatusCode::FORBIDDEN {
            return false;
        }
        let smallest = match element(&answer.body.start, "Code") {
            Some("RequestTimeTooSkewed") => TOLERANCE_SECONDS,
            // A response to HEAD has no reason, only a date.
            None if request.method == Method::HEAD => SKEW_SECONDS,
            Some(_) | None => return false,
        };
        let date = answer.head.headers.get(DATE);
        self.clock.learn(date, SystemTime::now(), smallest);
        self.clock.offset_seconds().abs_diff(signed_at_offset) > smallest
    }

    fn is_about_credentials(&self, answer: &Answer) -> bool {
        !self.credentials.is_static()
            && matches!(
                element(&answer.body.start, "Code"),
                Some(
                    "ExpiredToken" | "InvalidToken" | "TokenRefreshRequired" | "InvalidAccessKeyId"
                )
            )
    }
}

fn at_once(reason: Retry) -> Next {
    metrics::backend_retried(reason);
    Next::RepeatAtOnce
}

fn moved_key(request: &Prepared) -> String {
    let bucket = request.bucket.as_deref().unwrap_or_default();
    format!("{}/{bucket}", request.target.endpoint)
}
