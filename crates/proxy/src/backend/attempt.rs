//! One request on one connection: addressed, signed, sent, watched.
//!
//! The result is a response of any status, or a failure with the request's fate: whether the
//! backend may have executed it. Nothing is retried here.

use std::pin::pin;
use std::time::{Duration, SystemTime};

use http::header::HOST;
use http::{HeaderValue, StatusCode};
use hyper::body::Incoming;
use hyper_util::client::legacy::connect::{CaptureConnection, capture_connection};
use hyper_util::client::legacy::{self, ResponseFuture};
use hyper_util::rt::{TokioExecutor, TokioTimer};
use s3proxy_protocol::headers;
use s3proxy_protocol::request_head::MAXIMUM_HEADERS;
use tokio::time::{Instant, timeout_at};

use super::address::{RequestLocation, ServiceTarget};
use super::attempt_metrics::AttemptTimer;
use super::clock::BackendClock;
use super::connect::{ConnectError, Connector, OpenedAt};
use super::credentials::CredentialLease;
use super::error::{BackendError, Phase};
use super::error_body::{PeekError, PeekedBody, peek};
use super::family::{Family, KnownFamily, has_quoted_condition, unquote_conditions};
use super::loop_mark::LoopMark;
use super::outgoing_body::OutgoingBody;
use super::request::{PreparedPayload, PreparedRequest, Signature};
use super::retry::Fate;
use super::send_progress::{DeadlineCheck, PhaseLimits, SendProgress};
use super::settings::Settings;
use super::sign::{PayloadHash, sign_request};
use super::tls;
use super::trailer::StreamFraming;
use crate::net::with_causes;
use crate::telemetry::traces::CallSpan;

/// Largest read and write buffer of a connection; 128 transfers must fit into a small container.
const CONNECTION_BUFFER: usize = 64 * 1024;

/// Most headers of a response. It repeats those of the request that stored the object, plus some of
/// the backend's own; the HTTP library's default limit is 100.
const MAXIMUM_RESPONSE_HEADERS: usize = MAXIMUM_HEADERS + 256;

/// Connections to the backend, and the knowledge about it that each attempt uses and extends.
pub(super) struct Transport {
    http: legacy::Client<Connector, OutgoingBody>,
    connect_timeout: Duration,
    body_timeout: Duration,
    connection_max_age: Duration,
    pub(super) clock: BackendClock,
    /// Mark that every outgoing request carries.
    pub(super) mark: LoopMark,
    pub(super) family: KnownFamily,
}

/// A response with unread body, except for the peeked start of a body that may be acted on.
pub(super) struct AttemptResponse {
    pub(super) head: http::response::Parts,
    pub(super) body: PeekedBody,
    /// Endpoint that responded, for messages.
    pub(super) endpoint: String,
}

/// A failure without a response, with the fate of the request.
#[derive(Debug)]
pub(super) struct AttemptFailure {
    pub(super) error: BackendError,
    pub(super) fate: Fate,
}

impl From<BackendError> for AttemptFailure {
    fn from(error: BackendError) -> Self {
        AttemptFailure {
            error,
            fate: Fate::Hopeless,
        }
    }
}

impl Transport {
    /// Builds the HTTP client; reads certificates and keys, and opens no connection.
    pub(super) fn new(settings: &Settings) -> Result<Self, BackendError> {
        let connector = Connector::new(settings, tls::client_config(settings)?);
        let http = legacy::Client::builder(TokioExecutor::new())
            .timer(TokioTimer::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(settings.connection_idle)
            .pool_max_idle_per_host(settings.max_idle_connections)
            .http1_max_buf_size(CONNECTION_BUFFER)
            .http1_max_headers(MAXIMUM_RESPONSE_HEADERS)
            // `Host` is set and signed by this client.
            .set_host(false)
            // Retries only requests that a closing connection returned unsent.
            .retry_canceled_requests(true)
            .build(connector);
        Ok(Transport {
            http,
            connect_timeout: settings.connect_timeout,
            body_timeout: settings.body_timeout,
            connection_max_age: settings.connection_max_age,
            clock: BackendClock::default(),
            mark: LoopMark::new(),
            family: KnownFamily::default(),
        })
    }

    /// Sends the request once, to `target`, signed with the lease's keys.
    pub(super) async fn attempt(
        &self,
        request: &PreparedRequest,
        target: &ServiceTarget,
        lease: &CredentialLease,
    ) -> Result<AttemptResponse, AttemptFailure> {
        let timer = AttemptTimer::begin(request);
        let to = &target.endpoint;
        let call = request
            .trace
            .attempt(&request.method, &to.host, to.effective_port());
        let outcome = self.send_once(request, target, lease, &call).await;
        match &outcome {
            Ok(AttemptResponse { head, .. }) => {
                self.family.learn(&head.headers);
                let id = headers::text(&head.headers, headers::REQUEST_ID);
                call.answered(head.status, id);
            }
            Err(failure) => call.failed(failure.error.kind()),
        }
        let result = outcome.as_ref();
        timer.ended(result.map(|r| r.head.status).map_err(|f| &f.error));
        outcome
    }

    async fn send_once(
        &self,
        request: &PreparedRequest,
        target: &ServiceTarget,
        lease: &CredentialLease,
        call: &CallSpan,
    ) -> Result<AttemptResponse, AttemptFailure> {
        let location = target.locate(
            request.bucket.as_deref(),
            request.key.as_deref(),
            &request.query,
        )?;
        let progress = SendProgress::start();
        let body = OutgoingBody::new(&request.payload, progress.clone());
        let mut message = self.message(request, target, lease, &location, body)?;
        call.propagate(message.headers_mut());
        // To find out afterwards which connection the request has used.
        let connection = capture_connection(&mut message);
        let limits = PhaseLimits {
            connect: self.connect_timeout,
            body: self.body_timeout,
            response: request.response_timeout,
        };
        let endpoint = target.endpoint.to_string();
        let sending = self.http.request(message);
        let response = match watched(sending, &progress, &limits).await {
            Ok(response) => response,
            Err(unanswered) => return Err(failure(unanswered, &progress, endpoint)),
        };
        self.retire_if_old(&connection);
        self.look_into(response, &progress, endpoint).await
    }

    fn message(
        &self,
        request: &PreparedRequest,
        target: &ServiceTarget,
        lease: &CredentialLease,
        location: &RequestLocation,
        body: OutgoingBody,
    ) -> Result<http::Request<OutgoingBody>, BackendError> {
        let mut headers = request.headers.clone();
        if self.family.get() == Some(Family::Ceph)
            && has_quoted_condition(&request.method, &headers)
        {
            unquote_conditions(&mut headers);
        }
        let host = HeaderValue::from_str(&location.authority).map_err(|_| {
            BackendError::Request(format!("{} is not a valid host name", location.authority))
        })?;
        headers.insert(HOST, host);
        if request.signature == Signature::Own {
            sign_request(
                &request.method,
                &location.uri,
                &mut headers,
                payload_hash(&request.payload),
                &lease.keys,
                target,
                self.clock.now(SystemTime::now()),
            )?;
        }
        // After the signature: a proxy on the way may drop the header, and servers ignore it.
        self.mark.put_on(&mut headers);
        let mut message = http::Request::new(body);
        *message.method_mut() = request.method.clone();
        *message.uri_mut() = location.uri.clone();
        *message.headers_mut() = headers;
        Ok(message)
    }

    fn retire_if_old(&self, connection: &CaptureConnection) {
        let connected = connection.connection_metadata();
        let Some(connected) = connected.as_ref() else {
            return;
        };
        let mut extras = http::Extensions::new();
        connected.get_extras(&mut extras);
        let max_age = self.connection_max_age;
        // The current request still uses the connection; poisoning only keeps it out of the pool.
        if extras
            .get::<OpenedAt>()
            .is_some_and(|opened| opened.0.elapsed() >= max_age)
        {
            connected.poison();
        }
    }

    async fn look_into(
        &self,
        response: http::Response<Incoming>,
        progress: &SendProgress,
        endpoint: String,
    ) -> Result<AttemptResponse, AttemptFailure> {
        let (head, incoming) = response.into_parts();
        // If the request has failed, the rest of its body is sent in vain.
        let in_vain = !head.status.is_success() && progress.is_under_way();
        let body = if in_vain || may_be_acted_on(head.status) {
            match peek(incoming, self.body_timeout).await {
                Ok(peeked) => peeked,
                Err(error) => return Err(self.unreadable(error, endpoint)),
            }
        } else {
            PeekedBody {
                start: bytes::Bytes::new(),
                rest: Some(incoming),
            }
        };
        if in_vain {
            progress.abandon();
        }
        Ok(AttemptResponse {
            head,
            body,
            endpoint,
        })
    }

    fn unreadable(&self, error: PeekError, endpoint: String) -> AttemptFailure {
        let error = match error {
            PeekError::Broken(error) => BackendError::Broken {
                endpoint,
                reason: with_causes(&error),
            },
            PeekError::TimedOut => BackendError::Timeout {
                endpoint,
                phase: Phase::ReceivingBody,
                limit: self.body_timeout,
            },
        };
        AttemptFailure {
            error,
            fate: Fate::Unknown,
        }
    }
}

fn may_be_acted_on(status: StatusCode) -> bool {
    super::redirect::permanence_of(status).is_some()
        || matches!(
            status,
            StatusCode::BAD_REQUEST | StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN
        )
}

fn payload_hash(payload: &PreparedPayload) -> PayloadHash<'_> {
    const EMPTY: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
    match payload {
        PreparedPayload::Empty => PayloadHash::Sha256(EMPTY),
        PreparedPayload::Held { sha256, .. } => PayloadHash::Sha256(sha256),
        PreparedPayload::Stream { framing, .. } => match framing {
            StreamFraming::Bare => PayloadHash::Unsigned,
            StreamFraming::Trailer => PayloadHash::UnsignedWithTrailer,
        },
    }
}

enum Unanswered {
    Failed(legacy::Error),
    Overdue(Phase, Duration),
}

async fn watched(
    sending: ResponseFuture,
    progress: &SendProgress,
    limits: &PhaseLimits,
) -> Result<http::Response<Incoming>, Unanswered> {
    let mut sending = pin!(sending);
    loop {
        match progress.check_deadline(limits, Instant::now()) {
            DeadlineCheck::Overdue(phase, limit) => return Err(Unanswered::Overdue(phase, limit)),
            DeadlineCheck::CheckAgainAt(when) => {
                if let Ok(outcome) = timeout_at(when, &mut sending).await {
                    return outcome.map_err(Unanswered::Failed);
                }
            }
        }
    }
}

fn failure(unanswered: Unanswered, progress: &SendProgress, endpoint: String) -> AttemptFailure {
    // A failed source is the cause, whatever the connection reports.
    if let Some(cause) = progress.take_failure() {
        return BackendError::RequestBody(cause).into();
    }
    let (error, fate) = match unanswered {
        Unanswered::Overdue(phase, limit) => (
            BackendError::Timeout {
                endpoint,
                phase,
                limit,
            },
            Fate::Unknown,
        ),
        // Without a connection nothing was sent.
        Unanswered::Failed(error) if error.is_connect() => {
            (unconnected(&error, endpoint), Fate::NotExecuted)
        }
        Unanswered::Failed(error) => (
            BackendError::Broken {
                endpoint,
                reason: with_causes(&error),
            },
            Fate::Unknown,
        ),
    };
    AttemptFailure { error, fate }
}

/// Error of the TLS library about bytes that are no TLS record, such as a response in plain HTTP.
const NO_TLS_RECORD: &str = "InvalidContentType";

fn unconnected(error: &legacy::Error, endpoint: String) -> BackendError {
    let cause = std::error::Error::source(error);
    match cause.and_then(|cause| cause.downcast_ref::<ConnectError>()) {
        Some(ConnectError::Reach(reason)) => BackendError::Unreachable {
            endpoint,
            reason: reason.clone(),
        },
        Some(ConnectError::Proxy(reason)) => BackendError::OutboundProxy {
            endpoint,
            reason: reason.clone(),
        },
        Some(ConnectError::Tls(reason)) => BackendError::Tls {
            endpoint,
            reason: if reason.contains(NO_TLS_RECORD) {
                "the server does not speak TLS; if it speaks plain HTTP, use http:// in backend.host \
                 (S3PROXY_HOST)"
                    .to_owned()
            } else {
                reason.clone()
            },
        },
        Some(ConnectError::Timeout(limit)) => BackendError::Timeout {
            endpoint,
            phase: Phase::Connecting,
            limit: *limit,
        },
        None => BackendError::Unreachable {
            endpoint,
            reason: with_causes(error),
        },
    }
}
