//! Spans of the proxy's own outgoing calls while it serves a request.

use std::sync::atomic::{AtomicI64, Ordering};

use http::{HeaderMap, Method, StatusCode};
use opentelemetry::trace::{FutureExt, SpanKind, Status, TraceContextExt, Tracer};
use opentelemetry::{Context, KeyValue};
use opentelemetry_sdk::trace::SdkTracer;

use super::trace_context;

/// The trace that outgoing requests belong to, and their number so far. Made while the caller's
/// context is current, used wherever the work continues.
#[derive(Default)]
pub(crate) struct ParentTrace(Option<Box<ParentContext>>);

struct ParentContext {
    parent: Context,
    sent: AtomicI64,
}

/// Span of one call. Dropped before its end, it is recorded as cut off.
pub(crate) struct CallSpan(Option<Context>);

impl ParentTrace {
    /// Returns the current trace, if there is one.
    pub(crate) fn current() -> Self {
        let parent =
            Context::map_current(|current| current.has_active_span().then(|| current.clone()));
        Self(parent.map(|parent| {
            let sent = AtomicI64::new(0);
            Box::new(ParentContext { parent, sent })
        }))
    }

    /// Begins the span of one attempt at an HTTP request.
    pub(crate) fn attempt(&self, method: &Method, host: &str, port: u16) -> CallSpan {
        let Some(belonging) = &self.0 else {
            return CallSpan(None);
        };
        let resent = belonging.sent.fetch_add(1, Ordering::Relaxed);
        let method = method.as_str().to_owned();
        let mut attributes = vec![
            KeyValue::new("http.request.method", method.clone()),
            KeyValue::new("server.address", host.to_owned()),
            KeyValue::new("server.port", i64::from(port)),
        ];
        if resent > 0 {
            attributes.push(KeyValue::new("http.request.resend_count", resent));
        }
        CallSpan::begin(&belonging.parent, method, attributes)
    }
}

impl Clone for ParentTrace {
    fn clone(&self) -> Self {
        Self(self.0.as_ref().map(|belonging| {
            let parent = belonging.parent.clone();
            // The copy continues the count: a resumed read is not a first attempt.
            let sent = AtomicI64::new(belonging.sent.load(Ordering::Relaxed));
            Box::new(ParentContext { parent, sent })
        }))
    }
}

impl CallSpan {
    fn begin(parent: &Context, name: String, attributes: Vec<KeyValue>) -> Self {
        let begun = parent.get::<SdkTracer>().map(|tracer| {
            let span = tracer
                .span_builder(name)
                .with_kind(SpanKind::Client)
                .with_attributes(attributes)
                .start_with_context(tracer, parent);
            parent.with_span(span)
        });
        Self(begun)
    }

    /// Sets the trace headers, so that the server's work belongs to this span.
    pub(crate) fn propagate(&self, headers: &mut HeaderMap) {
        if let Some(context) = &self.0 {
            trace_context::write(headers, context.span().span_context());
        }
    }

    /// Ends the span with the server's response.
    pub(crate) fn answered(self, status: StatusCode, request_id: Option<&str>) {
        self.end(|context| {
            let span = context.span();
            let code = i64::from(status.as_u16());
            span.set_attribute(KeyValue::new("http.response.status_code", code));
            if let Some(id) = request_id {
                span.set_attribute(KeyValue::new("aws.request_id", id.to_owned()));
            }
            if status.is_client_error() || status.is_server_error() {
                fail(context, status.as_str().to_owned());
            }
        });
    }

    /// Ends the span with a failure: no response, or an unusable one.
    pub(crate) fn failed(self, kind: &'static str) {
        self.end(|context| fail(context, kind.to_owned()));
    }

    fn end(mut self, record: impl FnOnce(&Context)) {
        if let Some(context) = self.0.take() {
            record(&context);
            context.span().end();
        }
    }
}

impl Drop for CallSpan {
    fn drop(&mut self) {
        if let Some(context) = self.0.take() {
            fail(&context, "cut_off".to_owned());
            context.span().end();
        }
    }
}

fn fail(context: &Context, kind: String) {
    let span = context.span();
    span.set_attribute(KeyValue::new("error.type", kind));
    // Without a description: a reason could contain object keys.
    span.set_status(Status::error(""));
}

/// Attaches the current request's trace to work that runs in its own task.
pub(crate) fn within_current<W: Future>(work: W) -> impl Future<Output = W::Output> {
    work.with_context(Context::current())
}

/// Traces a call of a key service as part of the current request. `kind` names its failures.
pub(crate) async fn call<T, E>(
    name: &'static str,
    key: &str,
    kind: fn(&E) -> &'static str,
    calling: impl Future<Output = Result<T, E>>,
) -> Result<T, E> {
    let traced = ParentTrace::current();
    let Some(belonging) = traced.0 else {
        return calling.await;
    };
    let attributes = vec![KeyValue::new("s3proxy.key", key.to_owned())];
    let span = CallSpan::begin(&belonging.parent, name.to_owned(), attributes);
    let outcome = calling.await;
    match &outcome {
        Ok(_) => span.end(|_| {}),
        Err(error) => span.failed(kind(error)),
    }
    outcome
}
