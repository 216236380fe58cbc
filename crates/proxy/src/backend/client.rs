//! A request until its answer: attempts, pauses, redirects, fresh credentials, a corrected clock or
//! region.
//!
//! Each kind of correction is made at most once for a request and spends no budget; what repeats
//! a failed attempt does. When nothing more may be tried, the last answer is handed on as it came,
//! or the last error.

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
use super::clock::{BackendClock, TOLERANCE_SECONDS};
use super::connect::Connector;
use super::credentials::{Credentials, Lease};
use super::error::BackendError;
use super::family::KnownFamily;
use super::hop::Mark;
use super::measured;
use super::outgoing::Outgoing;
use super::peek::element;
use super::redirect;
use super::request::{Prepared, Signature};
use super::retry::{Budget, Spending, Trace, may_repeat, pause, trace_of};
use super::settings::Settings;
use super::tls;
use crate::telemetry::metrics::{self, Retry};

/// Read and write buffer of a connection at most; 128 transfers must fit in a small container.
const CONNECTION_BUFFER: usize = 64 * 1024;
/// Headers of an answer at most. It repeats those of the request that stored the object, with some of
/// the backend's own; the HTTP library's own bound is 100.
const HEADERS: usize = MAXIMUM_HEADERS + 256;
const MOVED_BUCKETS: u64 = 10_000;
const MOVED_FOR: Duration = Duration::from_hours(1);
/// A difference between the clocks by which a refusal without a reason may be for the time.
const SKEW_SECONDS: u64 = 240;

pub(super) struct Client {
    pub(super) settings: Settings,
    pub(super) home: Target,
    pub(super) http: legacy::Client<Connector, Outgoing>,
    pub(super) credentials: Credentials,
    pub(super) clock: BackendClock,
    /// Of the requests that go out.
    pub(super) mark: Mark,
    pub(super) family: KnownFamily,
    /// When the backend took the credential last: for a request of any kind.
    pub(super) accepted: Mutex<Option<Instant>>,
    budget: Budget,
    /// Buckets that permanent redirects led elsewhere, or that are in another region, by service
    /// and bucket.
    moved: Cache<String, Target>,
}

/// What has been tried for one request.
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
            .set_host(false)
            // Only for requests that a closing connection gave back unread.
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
            let lease = self.credentials.lease().await?;
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
            metrics::backend_retried(measured::reason(error));
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
        // A remembered move that no longer holds must not keep the bucket out of reach.
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
        // Somebody else notes the same where it is locked.
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

    /// Kept even where this request cannot be repeated, so that the next one is signed rightly.
    fn learn_region(&self, request: &Prepared, course: &Course, answer: &Answer) -> Option<Target> {
        let (head, body) = (&answer.head, &answer.body.start);
        let target = redirect::other_region(&course.target, head.status, &head.headers, body)?;
        if course.redirected != Some(redirect::Duration::Once) {
            self.moved.insert(moved_key(request), target.clone());
        }
        Some(target)
    }

    /// Takes over the backend's time from a refusal for ours, and says whether this request was
    /// signed with another. Kept even where it cannot be repeated, as a region is.
    fn learn_clock(&self, request: &Prepared, answer: &Answer, signed_at_offset: i64) -> bool {
        if answer.head.status != StatusCode::FORBIDDEN {
            return false;
        }
        let smallest = match element(&answer.body.start, "Code") {
            Some("RequestTimeTooSkewed") => TOLERANCE_SECONDS,
            // An answer to HEAD says nothing but its time.
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
