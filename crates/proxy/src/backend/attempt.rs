//! One request on one connection: addressed, signed, sent, watched.
//!
//! The result is a response of any status, or a failure together with the knowledge about the
//! request's fate. Nothing is retried here.

use std::pin::pin;
use std::time::{Duration, SystemTime};

use http::header::HOST;
use http::{HeaderValue, StatusCode};
use hyper::body::Incoming;
use hyper_util::client::legacy::connect::{CaptureConnection, capture_connection};
use hyper_util::client::legacy::{self, ResponseFuture};
use s3proxy_protocol::headers;
use tokio::time::{Instant, timeout_at};

use super::address::{Location, Target};
use super::client::Client;
use super::connect::{ConnectError, Opened};
use super::credentials::Lease;
use super::error::{BackendError, Phase};
use super::family::{Family, has_quoted_condition, unquote_conditions};
use super::measured::UnderWay;
use super::outgoing::{Limits, Outgoing, Progress, Watch};
use super::peek::{PeekError, Peeked, peek};
use super::request::{Payload, Prepared, Signature};
use super::retry::Trace;
use super::sign::{PayloadHash, sign_request};
use super::trailer::Form;
use crate::net::with_causes;
use crate::telemetry::traces::Call;

/// A response with unread body, except for the peeked start of a body that may be acted on.
pub(super) struct Answer {
    pub(super) head: http::response::Parts,
    pub(super) body: Peeked,
    /// Endpoint that responded, for messages.
    pub(super) endpoint: String,
}

/// A failure without a response, with the knowledge about the request's fate.
#[derive(Debug)]
pub(super) struct Failure {
    pub(super) error: BackendError,
    pub(super) trace: Trace,
}

impl From<BackendError> for Failure {
    fn from(error: BackendError) -> Self {
        Failure {
            error,
            trace: Trace::Hopeless,
        }
    }
}

impl Client {
    pub(super) async fn attempt(
        &self,
        request: &Prepared,
        target: &Target,
        lease: &Lease,
    ) -> Result<Answer, Failure> {
        let under_way = UnderWay::begin(request);
        let to = &target.endpoint;
        let call = request
            .trace
            .attempt(&request.method, &to.host, to.effective_port());
        let outcome = self.send_once(request, target, lease, &call).await;
        match &outcome {
            Ok(Answer { head, .. }) => {
                self.family.learn(&head.headers);
                let id = headers::text(&head.headers, headers::REQUEST_ID);
                call.answered(head.status, id);
            }
            Err(failure) => call.failed(failure.error.kind()),
        }
        under_way.ended(&outcome);
        outcome
    }

    async fn send_once(
        &self,
        request: &Prepared,
        target: &Target,
        lease: &Lease,
        call: &Call,
    ) -> Result<Answer, Failure> {
        let location = target.locate(
            request.bucket.as_deref(),
            request.key.as_deref(),
            &request.query,
        )?;
        let progress = Progress::start();
        let body = Outgoing::new(&request.payload, progress.clone());
        let mut message = self.message(request, target, lease, &location, body)?;
        call.tell(message.headers_mut());
        // To find out afterwards which connection the request has used.
        let connection = capture_connection(&mut message);
        let limits = Limits {
            connect: self.settings.connect_timeout,
            body: self.settings.body_timeout,
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
        request: &Prepared,
        target: &Target,
        lease: &Lease,
        location: &Location,
        body: Outgoing,
    ) -> Result<http::Request<Outgoing>, BackendError> {
        let mut headers = request.headers.clone();
        if self.family.get() == Some(Family::Ceph)
            && has_quoted_condition(&request.method, &headers)
        {
            unquote_conditions(&mut headers);
        }
        let host = HeaderValue::from_str(&location.authority).map_err(|_| {
            BackendError::Request(format!("{} is no host name", location.authority))
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
        let max_age = self.settings.connection_max_age;
        // The current request still uses the connection; poisoning only keeps it out of the pool.
        if extras
            .get::<Opened>()
            .is_some_and(|opened| opened.0.elapsed() >= max_age)
        {
            connected.poison();
        }
    }

    async fn look_into(
        &self,
        response: http::Response<Incoming>,
        progress: &Progress,
        endpoint: String,
    ) -> Result<Answer, Failure> {
        let (head, incoming) = response.into_parts();
        // If the request has failed, the rest of its body is sent in vain.
        let in_vain = !head.status.is_success() && progress.is_under_way();
        let body = if in_vain || may_be_acted_on(head.status) {
            match peek(incoming, self.settings.body_timeout).await {
                Ok(peeked) => peeked,
                Err(error) => return Err(self.unreadable(error, endpoint)),
            }
        } else {
            Peeked {
                start: bytes::Bytes::new(),
                rest: Some(incoming),
            }
        };
        if in_vain {
            progress.abandon();
        }
        Ok(Answer {
            head,
            body,
            endpoint,
        })
    }

    fn unreadable(&self, error: PeekError, endpoint: String) -> Failure {
        let error = match error {
            PeekError::Broken(error) => BackendError::Broken {
                endpoint,
                reason: with_causes(&error),
            },
            PeekError::Silent => BackendError::Timeout {
                endpoint,
                phase: Phase::ReceivingBody,
                limit: self.settings.body_timeout,
            },
        };
        Failure {
            error,
            trace: Trace::Unknown,
        }
    }
}

fn may_be_acted_on(status: StatusCode) -> bool {
    super::redirect::duration_of(status).is_some()
        || matches!(
            status,
            StatusCode::BAD_REQUEST | StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN
        )
}

fn payload_hash(payload: &Payload) -> PayloadHash<'_> {
    const EMPTY: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
    match payload {
        Payload::Empty => PayloadHash::Sha256(EMPTY),
        Payload::Held { sha256, .. } => PayloadHash::Sha256(sha256),
        Payload::Stream { form, .. } => match form {
            Form::Bare => PayloadHash::Unsigned,
            Form::Trailed => PayloadHash::UnsignedWithTrailer,
        },
    }
}

enum Unanswered {
    Failed(legacy::Error),
    Overdue(Phase, Duration),
}

async fn watched(
    sending: ResponseFuture,
    progress: &Progress,
    limits: &Limits,
) -> Result<http::Response<Incoming>, Unanswered> {
    let mut sending = pin!(sending);
    loop {
        match progress.watch(limits, Instant::now()) {
            Watch::Overdue(phase, limit) => return Err(Unanswered::Overdue(phase, limit)),
            Watch::LookAgain(when) => {
                if let Ok(outcome) = timeout_at(when, &mut sending).await {
                    return outcome.map_err(Unanswered::Failed);
                }
            }
        }
    }
}

fn failure(unanswered: Unanswered, progress: &Progress, endpoint: String) -> Failure {
    // A failed source is the cause, whatever the connection reports.
    if let Some(cause) = progress.take_failure() {
        return BackendError::RequestBody(cause).into();
    }
    let (error, trace) = match unanswered {
        Unanswered::Overdue(phase, limit) => (
            BackendError::Timeout {
                endpoint,
                phase,
                limit,
            },
            Trace::Unknown,
        ),
        // Without a connection nothing was sent.
        Unanswered::Failed(error) if error.is_connect() => {
            (unconnected(&error, endpoint), Trace::NotExecuted)
        }
        Unanswered::Failed(error) => (
            BackendError::Broken {
                endpoint,
                reason: with_causes(&error),
            },
            Trace::Unknown,
        ),
    };
    Failure { error, trace }
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
                "the server does not answer in TLS; if it speaks plain HTTP, write http:// in \
                 backend.host (S3PROXY_HOST)"
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
