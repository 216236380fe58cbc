//! The span of one client request.
//!
//! It begins once the client is known, backdated to the request's arrival, and ends with the
//! request's record.

use std::sync::OnceLock;
use std::time::{Duration, SystemTime};

use http::{HeaderMap, Method};
use opentelemetry::trace::{Link, SpanContext, SpanKind, Status, TraceContextExt, Tracer};
use opentelemetry::{Context, KeyValue};

use super::{Traces, trace_context};

/// Whether the client's claimed trace is trusted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Trust {
    /// The client is authenticated, or authentication is off.
    Client,
    Nobody,
}

/// Trace facts of a request at its arrival.
pub(crate) struct Arrival {
    method: &'static str,
    parent: Option<SpanContext>,
}

/// Trace of one request.
#[derive(Default)]
pub(crate) struct RequestTrace(OnceLock<Context>);

/// Facts about a request at its end.
pub(crate) struct RequestEnd<'a> {
    pub(crate) request_id: &'a str,
    pub(crate) operation: Option<&'static str>,
    pub(crate) bucket: Option<&'a str>,
    pub(crate) status: u16,
    pub(crate) outcome: &'static str,
    pub(crate) received: u64,
    pub(crate) sent: u64,
}

impl Traces {
    /// Collects the trace facts before the request's head is consumed. `None` without tracing.
    pub(crate) fn arrival(&self, method: &Method, headers: &HeaderMap) -> Option<Arrival> {
        self.0.as_ref().map(|_| Arrival {
            method: known_method(method),
            parent: trace_context::read(headers),
        })
    }

    /// Begins the span of a request, once. Work within the returned context belongs to it.
    pub(crate) fn begin(
        &self,
        trace: &RequestTrace,
        arrival: Option<&Arrival>,
        trust: Trust,
        since: Duration,
    ) -> Context {
        let (Some(tracing), Some(arrival)) = (&self.0, arrival) else {
            return Context::new();
        };
        let begun = trace.0.get_or_init(|| {
            let mut builder = tracing
                .tracer
                .span_builder(arrival.method)
                .with_kind(SpanKind::Server)
                // The request arrived earlier than its client was known.
                .with_start_time(SystemTime::now() - since)
                .with_attributes([
                    KeyValue::new("http.request.method", arrival.method),
                    KeyValue::new("rpc.system", "aws-api"),
                    KeyValue::new("rpc.service", "S3"),
                ]);
            let mut parent = Context::new();
            match (&arrival.parent, trust) {
                (Some(remote), Trust::Client) => {
                    parent = parent.with_remote_span_context(remote.clone());
                }
                (Some(remote), Trust::Nobody) => {
                    builder = builder.with_links(vec![Link::with_context(remote.clone())]);
                }
                (None, Trust::Client | Trust::Nobody) => {}
            }
            let span = builder.start_with_context(&tracing.tracer, &parent);
            Context::new()
                .with_value(tracing.tracer.clone())
                .with_span(span)
        });
        begun.clone()
    }
}

/// Returns the method's name if it is a known one: clients can invent others.
fn known_method(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::HEAD => "HEAD",
        Method::PUT => "PUT",
        Method::POST => "POST",
        Method::DELETE => "DELETE",
        Method::OPTIONS => "OPTIONS",
        _ => "_OTHER",
    }
}

impl RequestTrace {
    /// Returns the trace id, if the trace is sampled.
    pub(crate) fn trace_id(&self) -> Option<String> {
        let span = self.0.get()?.span();
        let span = span.span_context();
        span.is_sampled().then(|| span.trace_id().to_string())
    }

    /// Ends the span.
    pub(crate) fn end(&self, end: &RequestEnd<'_>) {
        let Some(context) = self.0.get() else { return };
        let span = context.span();
        if !span.is_recording() {
            return;
        }
        let number = |count: u64| i64::try_from(count).unwrap_or(i64::MAX);
        span.set_attributes([
            KeyValue::new("s3proxy.request_id", end.request_id.to_owned()),
            KeyValue::new("s3proxy.outcome", end.outcome),
            KeyValue::new("http.request.body.size", number(end.received)),
            KeyValue::new("http.response.body.size", number(end.sent)),
        ]);
        if let Some(operation) = end.operation {
            span.update_name(format!("S3.{operation}"));
            span.set_attribute(KeyValue::new("rpc.method", operation));
        }
        if let Some(bucket) = end.bucket {
            span.set_attribute(KeyValue::new("aws.s3.bucket", bucket.to_owned()));
        }
        if end.status != 0 {
            let status = i64::from(end.status);
            span.set_attribute(KeyValue::new("http.response.status_code", status));
        }
        // By OpenTelemetry's conventions 4xx is no error of the server.
        if end.status >= 500 || end.outcome == "aborted" {
            let kind = match end.outcome {
                "aborted" => "aborted".to_owned(),
                _ => end.status.to_string(),
            };
            span.set_attribute(KeyValue::new("error.type", kind));
            span.set_status(Status::error(""));
        }
        span.end();
    }
}
