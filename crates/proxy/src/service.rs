//! One request from its arrival to its response: the order of the steps, and nothing else.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use http_body::Body;
use http_body_util::BodyExt;
use hyper::body::Incoming;
use opentelemetry::trace::FutureExt;
use s3proxy_protocol::error::{ErrorCode, S3Error};
use s3proxy_protocol::header_rules;
use s3proxy_protocol::headers;
use s3proxy_protocol::operation::Kind;
use s3proxy_protocol::post::FormParser;
use time::OffsetDateTime;

use crate::auth::{Admission, Admitted, Authenticated, Gate, UnreadForm};
use crate::authorization::{Facts, authorize};
use crate::backend::Forwarder;
use crate::body::budget::MemoryHolder;
use crate::body::outbound::ResponseBody;
use crate::config::resolved::{Feature, Policy};
use crate::failure::{Failure, Outcome};
use crate::health::ProbeHandler;
use crate::listen::Serve;
use crate::listen::connection_limits::ConnectionHandle;
use crate::listen::overflow_connections::ConnectionClass;
use crate::missing_features;
use crate::operations::cors_rules::{Lookup, PageRequest};
use crate::operations::request_body::BodySlot;
use crate::operations::{self, OwnedJob, Services};
use crate::panics::PanicWatch;
use crate::record::{Refusal, RequestRecord};
use crate::respond::{self, ErrorContext, Verbosity};
use crate::s3_request::UnparsedRequest;
use crate::telemetry::LogRateLimit;
use crate::telemetry::audit::AuditLog;
use crate::telemetry::metrics::Limit;
use crate::telemetry::traces::{Arrival, Traces, Trust};
use crate::throttle::{RETRY_AFTER, Throttle, Throttled, ThrottledSender, UnreadBody};
use crate::trusted_proxies::TrustedProxies;

/// Most bytes of a body that an early refusal reads and drops, so that the client sees the response
/// and not a reset.
const DRAINED_BYTES: u64 = 1024 * 1024;

/// Memory of a parsed header besides its bytes.
const HEADER_ENTRY_BYTES: usize = 128;

/// Time limit of draining a body, unless too many are being drained already.
const DRAIN_WAIT: Duration = Duration::from_secs(5);

/// The service that handles requests.
pub(crate) struct Service {
    pub(crate) gate: Gate,
    pub(crate) throttle: Arc<Throttle>,
    pub(crate) health: ProbeHandler,
    pub(crate) panics: Arc<PanicWatch>,
    pub(crate) trusted: Arc<TrustedProxies>,
    pub(crate) services: Arc<Services>,
    /// Features that the backend lacks.
    pub(crate) lacks: Vec<Feature>,
    pub(crate) audit: AuditLog,
    pub(crate) traces: Traces,
    /// Rate limit for log lines about requests that came back.
    pub(crate) loops: LogRateLimit,
}

/// Whether the sender of a request is known, which limits the cost of its response.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum SenderStanding {
    /// An unknown sender, or one that is not known yet.
    Unknown,
    /// A client, or anybody if signatures are not required.
    Known,
}

impl Serve for Service {
    async fn serve(
        self: Arc<Self>,
        request: Request<Incoming>,
        peer: SocketAddr,
    ) -> Response<ResponseBody> {
        // Probes first: they need no record, no place and no authentication.
        if let Some(answer) = self
            .health
            .answer(&self.gate.hosts, &request, &self.services.store)
            .await
        {
            return answer;
        }
        let from = self.trusted.client_address(peer.ip(), request.headers());
        let record = Arc::new(RequestRecord::begin(from));
        if let Some(keys) = self.services.sealing.get() {
            record.may_seal(keys.request());
        }
        let (mut parts, body) = request.into_parts();
        if let Some(scheme) = self.trusted.client_scheme(peer.ip(), &parts.headers) {
            parts.extensions.insert(scheme);
        }
        let resource = parts.uri.path().to_owned();
        let expects_continue = parts.headers.contains_key(header::EXPECT);
        let is_chunked = parts.headers.contains_key(header::TRANSFER_ENCODING);
        let range = parts.headers.get(header::RANGE).cloned();
        let context = ErrorContext {
            resource: &resource,
            verbosity: verbosity(&parts.method),
            range: range.as_ref().and_then(headers::value_text),
        };
        let page = PageRequest::of(&self.gate.hosts, &parts);
        let mut standing = SenderStanding::Unknown;
        let mut body = BodySlot::new(body);
        let arrival = self.traces.arrival(&parts.method, &parts.headers);
        let arrival = arrival.as_ref();
        let handling =
            Box::pin(self.handle(parts, &mut body, from, &record, arrival, &mut standing));
        let outcome = self.panics.guard(handling).await;
        let outcome = outcome.unwrap_or_else(|panicked| Err(panicked.into()));
        // Takes effect only for requests that were not admitted; `handle` has begun the others.
        self.traces
            .begin(&record.trace, arrival, Trust::Nobody, record.age());
        let mut response =
            outcome.unwrap_or_else(|failure| respond::failure(&failure, &context, &record));
        if let Some(page) = page {
            Box::pin(self.complete_for_page(page, standing, from, &mut response)).await;
        }
        let waits_for_continue = expects_continue && !body.has_begun();
        if let Some(unread) = body.into_unused() {
            let place = self.throttle.unread_body(from);
            finish_unread(unread, place, waits_for_continue, &mut response).await;
            if response.status() == StatusCode::BAD_REQUEST {
                // The head may be readable in two ways: the bytes after it must not be taken for a
                // request.
                close(&mut response);
            }
        } else if response.status().is_client_error() || response.status().is_server_error() {
            // The body may have been left half read: this connection cannot carry another request.
            close(&mut response);
        }
        if is_chunked {
            // The HTTP library drops a Content-Length next to it, so this head may have had two
            // framings (RFC 9112, section 6.1).
            close(&mut response);
        }
        complete(response, &record)
    }
}

impl Service {
    /// Returns status and text of `/healthz`.
    pub(crate) fn liveness(&self) -> (StatusCode, String) {
        self.health.liveness()
    }

    /// Returns status and text of `/readyz`.
    pub(crate) async fn readiness(&self) -> (StatusCode, String) {
        self.health.readiness(&self.services.store).await
    }

    async fn handle(
        &self,
        parts: http::request::Parts,
        body: &mut BodySlot,
        from: IpAddr,
        record: &Arc<RequestRecord>,
        arrival: Option<&Arrival>,
        standing: &mut SenderStanding,
    ) -> Outcome<Response<ResponseBody>> {
        // Before any work: a request whose line cannot be written may have to be refused.
        if let Some(slot) = self.audit.reserve().await? {
            record.trail.begin(slot);
        }
        let visit = parts.extensions.get::<ConnectionHandle>().cloned();
        if parts.method == Method::POST
            && let Some(visit) = &visit
        {
            visit.keeps(parts.headers.len() * HEADER_ENTRY_BYTES);
        }
        match parts.extensions.get() {
            Some(ConnectionClass::Overflow) => {
                return Err(Throttled::new(Limit::Connections, RETRY_AFTER).into());
            }
            Some(ConnectionClass::Regular) | None => {}
        }
        let refusal = Refusal::from_head(&parts);
        let request = match self.known_sender(parts, body, from, record).await {
            Ok(request) => request,
            Err(failure) => {
                record.refused(&refusal);
                if let Some(visit) = visit {
                    visit.refused();
                }
                // A refused request takes a turn only if no other request waits for it.
                self.throttle.turned_away()?;
                return Err(failure);
            }
        };
        if !request.identity.is_anonymous() {
            *standing = SenderStanding::Known;
        }
        let (sender, holder) = if request.identity.is_listed() {
            let name = request.identity.name.as_str();
            (
                ThrottledSender::Client(name),
                Some(MemoryHolder::authenticated(name)),
            )
        } else if request.identity.is_anonymous() {
            (ThrottledSender::Anonymous(from), None)
        } else {
            (ThrottledSender::Stranger(from), None)
        };
        if let Some(visit) = visit {
            let admitted = visit.admitted(holder);
            admitted.map_err(|_| Throttled::new(Limit::Connections, RETRY_AFTER))?;
        }
        let in_flight = self.throttle.admit(sender).await?;
        let trust = request.identity.trust();
        let context = self
            .traces
            .begin(&record.trace, arrival, trust, record.age());
        // On the heap, and only now: a request that was not admitted takes no memory for it.
        let response = Box::pin(self.carry_out(request, refusal, body, record))
            .with_context(context)
            .await?;
        Ok(response.map(|body| body.holding(in_flight)))
    }

    /// Adds the CORS headers that the bucket's rules give the page. Responses of an overloaded proxy
    /// cause no preflight to the backend.
    async fn complete_for_page(
        &self,
        page: PageRequest,
        standing: SenderStanding,
        from: IpAddr,
        response: &mut Response<ResponseBody>,
    ) {
        let rules = &self.services.page_rules;
        let is_overloaded = response.status() == StatusCode::SERVICE_UNAVAILABLE;
        let lookup = match standing {
            SenderStanding::Known => Lookup::Wait,
            SenderStanding::Unknown
                if is_overloaded
                    || rules.are_known_for(&page, response.headers())
                    || !self.throttle.anonymous_turn(from) =>
            {
                Lookup::CacheOnly
            }
            SenderStanding::Unknown => Lookup::Try,
        };
        let backend = &self.services.store.backend;
        let headers = response.headers_mut();
        rules.complete(backend, page, lookup, headers).await;
    }

    /// A request that has gone through a proxy of this kind already.
    fn loop_detected(&self, forwarder: Forwarder, from: IpAddr) -> Failure {
        let (log, message) = match forwarder {
            Forwarder::ThisProxy => (
                "a request came back from the backend: this proxy is its own backend; set \
                 S3PROXY_HOST (--backend, backend.host) to the S3 server",
                "The request has gone through this proxy already: its backend leads back to it. Ask \
                 the proxy's operator to set backend.host to the S3 server.",
            ),
            Forwarder::AnotherProxy => (
                "the backend of another s3proxy is this one; set its S3PROXY_HOST (--backend, \
                 backend.host) to the S3 server",
                "The backend of an s3proxy is another s3proxy. Ask their operator to set \
                 backend.host of the first one to the S3 server.",
            ),
        };
        if let Some(times) = self.loops.count() {
            tracing::warn!(%from, times, "{log}");
        }
        Failure::Refused(S3Error::new(ErrorCode::LoopDetected, message))
    }

    /// Returns the request, once its sender is known.
    async fn known_sender(
        &self,
        parts: http::request::Parts,
        body: &mut BodySlot,
        from: IpAddr,
        record: &Arc<RequestRecord>,
    ) -> Outcome<Authenticated<UnparsedRequest>> {
        // Before authentication: the other proxy's signature would fail here, and hide the loop.
        if let Some(forwarder) = self.services.store.backend.forwarder(&parts.headers) {
            return Err(self.loop_detected(forwarder, from));
        }
        match self.gate.admit(parts, OffsetDateTime::now_utc(), record)? {
            Admission::Request(admitted) => {
                let Admitted { request, chunks } = *admitted;
                body.chunks = chunks;
                Ok(request)
            }
            Admission::Form(form) => self.read_form(*form, body, record).await,
        }
    }

    async fn carry_out(
        &self,
        mut request: Authenticated<UnparsedRequest>,
        refusal: Refusal,
        body: &mut BodySlot,
        record: &Arc<RequestRecord>,
    ) -> Outcome<Response<ResponseBody>> {
        let policy = &self.services.store.policy;
        // Grants come first: a client without them learns nothing of the backend.
        let authorized = authorize(&facts(&request, policy)).and_then(|()| {
            missing_features::remove_or_refuse(&self.lacks, request.operation, &mut request.headers)
        });
        if let Err(error) = authorized {
            record.seals_under(None);
            record.refused(&refusal);
            return Err(Failure::Refused(error));
        }
        record.seals_under(sealing_key(&request, &self.services));
        record.trail.admit();
        let request = Arc::new(request.parse()?);
        let services = Arc::clone(&self.services);
        let owned = OwnedJob::new(services, request, Arc::clone(record));
        operations::carry_out(&owned.job(), body).await
    }

    /// Reads a form up to its file, and authenticates it.
    async fn read_form(
        &self,
        form: UnreadForm,
        body: &mut BodySlot,
        record: &Arc<RequestRecord>,
    ) -> Outcome<Authenticated<UnparsedRequest>> {
        let parser = FormParser::new(form.boundary().clone());
        let timeout = self.services.patience.silence;
        let (head, first) = body.read_form(parser, timeout, &record.received).await?;
        let now = OffsetDateTime::now_utc();
        let (request, posted) = self.gate.admit_form(form, head, first, now, record)?;
        body.form = Some(posted);
        Ok(request)
    }
}

fn facts<'a>(request: &'a Authenticated<UnparsedRequest>, policy: &'a Policy) -> Facts<'a> {
    let headers = &request.headers;
    let sets_acl = headers.keys().any(|name| {
        header_rules::sets_acl(name) && header_rules::is_forwarded(request.operation, name)
    });
    Facts {
        operation: request.operation,
        bucket: request.bucket(),
        object_key: request.object_key(),
        copy_source: request.parameters.copy_source(),
        prefix: request.parameters.prefix(),
        bypasses_governance: headers.contains_key(headers::BYPASS_GOVERNANCE),
        sets_acl,
        identity: &request.identity,
        state_prefix: &policy.state_prefix,
        multipart: policy.multipart,
    }
}

/// Returns the key that a request seals under. Parts of an upload are sealed under the key of its
/// beginning, which is in its state.
fn sealing_key<'a, P>(request: &Authenticated<P>, services: &'a Services) -> Option<&'a str> {
    let makes_object = matches!(
        request.operation.kind(),
        Kind::PutObject | Kind::CopyObject | Kind::PostObject | Kind::CreateMultipartUpload
    );
    let (bucket, object_key) = (request.bucket()?, request.object_key()?);
    makes_object.then(|| services.store.rules.storing(bucket, object_key).key.name())
}

fn verbosity(method: &Method) -> Verbosity {
    if method == Method::HEAD {
        Verbosity::HeadersOnly
    } else {
        Verbosity::Document
    }
}

/// Handles a body that no operation has read.
async fn finish_unread(
    mut body: Incoming,
    place: Option<UnreadBody>,
    waits_for_continue: bool,
    response: &mut Response<ResponseBody>,
) {
    if body.is_end_stream() {
        return;
    }
    // A client that waits for 100 Continue has sent nothing yet; reading would tell it to send.
    // Without a place only the bytes that have already arrived are read.
    let wait = place.as_ref().map_or(Duration::ZERO, |_| DRAIN_WAIT);
    if waits_for_continue || !drained(&mut body, wait).await {
        close(response);
    }
}

/// Returns whether the rest of the body was short enough to be read, and arrived in time.
async fn drained(body: &mut Incoming, wait: Duration) -> bool {
    let read = async {
        let mut read = 0;
        while let Some(frame) = body.frame().await {
            let Ok(frame) = frame else { return false };
            read += frame.data_ref().map_or(0, |data| data.len() as u64);
            if read > DRAINED_BYTES {
                return false;
            }
        }
        true
    };
    tokio::time::timeout(wait, read).await.unwrap_or(false)
}

fn close(response: &mut Response<ResponseBody>) {
    let close = HeaderValue::from_static("close");
    response.headers_mut().insert(header::CONNECTION, close);
}

fn complete(
    response: Response<ResponseBody>,
    record: &Arc<RequestRecord>,
) -> Response<ResponseBody> {
    let announced = response.body().size_hint().exact().unwrap_or(0);
    record.answered(response.status(), announced);
    if let Some(version) = headers::text(response.headers(), headers::VERSION_ID) {
        record.trail.returns_version(version);
    }
    let mut response = response.map(|body| body.recorded(Arc::clone(record)));
    for (name, id) in record.ids() {
        let id = HeaderValue::try_from(id).expect("hexadecimal, or the text of a header");
        response.headers_mut().insert(name, id);
    }
    response
}
