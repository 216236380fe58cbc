use std::sync::{Arc, Mutex};

use http::{HeaderMap, HeaderValue, Method, StatusCode};
use opentelemetry::trace::{FutureExt, SpanKind, TraceContextExt};
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::trace::{SpanData, SpanExporter as Export};

use super::*;

/// Exporter that keeps the spans for the test.
#[derive(Clone, Debug, Default)]
struct Kept(Arc<Mutex<Vec<SpanData>>>);

impl Export for Kept {
    async fn export(&self, mut batch: Vec<SpanData>) -> OTelSdkResult {
        self.0.lock().unwrap().append(&mut batch);
        Ok(())
    }
}

impl Kept {
    fn traces(&self, ratio: f64) -> Traces {
        let provider = SdkTracerProvider::builder()
            .with_simple_exporter(self.clone())
            .with_sampler(sampler(ratio));
        Traces::over(provider.build())
    }

    fn spans(&self) -> Vec<SpanData> {
        self.0.lock().unwrap().clone()
    }
}

const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";

fn claimed(flags: &str) -> HeaderMap {
    // The flags are 01 if the client's trace is sampled, else 00.
    let parent = format!("00-{TRACE}-b7ad6b7169203331-{flags}");
    let mut headers = HeaderMap::new();
    headers.insert("traceparent", HeaderValue::try_from(parent).unwrap());
    headers
}

fn end<'a>(status: u16, outcome: &'static str) -> RequestEnd<'a> {
    RequestEnd {
        request_id: "0123456789ABCDEF",
        operation: Some("GetObject"),
        bucket: Some("b"),
        status,
        outcome,
        received: 0,
        sent: 5,
    }
}

fn begin(
    traces: &Traces,
    headers: &HeaderMap,
    trust: Trust,
) -> (RequestTrace, opentelemetry::Context) {
    let trace = RequestTrace::default();
    let arrival = traces.arrival(&Method::GET, headers);
    let context = traces.begin(&trace, arrival.as_ref(), trust, Duration::from_secs(1));
    (trace, context)
}

fn attribute(span: &SpanData, name: &str) -> Option<String> {
    let mut attributes = span.attributes.iter();
    let found = attributes.find(|attribute| attribute.key.as_str() == name);
    found.map(|attribute| attribute.value.to_string())
}

#[test]
fn a_request_to_the_backend_is_a_child_of_the_clients_request_and_carries_its_trace() {
    let kept = Kept::default();
    // The proxy samples nothing by itself; the client's flag decides.
    let (trace, context) = begin(&kept.traces(0.0), &claimed("01"), Trust::Client);
    let mut sent = HeaderMap::new();
    {
        let _current = context.attach();
        let traced = ParentTrace::current();
        let first = traced.attempt(&Method::GET, "backend", 443);
        first.answered(StatusCode::SERVICE_UNAVAILABLE, None);
        let second = traced.attempt(&Method::GET, "backend", 443);
        second.propagate(&mut sent);
        second.answered(StatusCode::OK, Some("ID"));
    }
    assert_eq!(trace.trace_id().as_deref(), Some(TRACE));
    trace.end(&end(200, "complete"));
    let spans = kept.spans();
    let [first, second, server] = &spans[..] else {
        panic!("{spans:?}")
    };
    assert_eq!(
        (&*server.name, &server.span_kind),
        ("S3.GetObject", &SpanKind::Server)
    );
    assert_eq!(server.parent_span_id.to_string(), "b7ad6b7169203331");
    for client in [first, second] {
        assert_eq!(client.parent_span_id, server.span_context.span_id());
        assert_eq!(client.span_context.trace_id().to_string(), TRACE);
    }
    assert_eq!(attribute(first, "error.type").as_deref(), Some("503"));
    assert_eq!(
        attribute(second, "http.request.resend_count").as_deref(),
        Some("1")
    );
    let told = format!("00-{TRACE}-{}-01", second.span_context.span_id());
    assert_eq!(sent["traceparent"], told);
}

#[test]
fn an_unsampled_trace_of_a_trusted_client_is_propagated_and_not_recorded() {
    let kept = Kept::default();
    let (trace, context) = begin(&kept.traces(1.0), &claimed("00"), Trust::Client);
    let _current = context.attach();
    let mut sent = HeaderMap::new();
    let attempt = ParentTrace::current().attempt(&Method::GET, "backend", 443);
    attempt.propagate(&mut sent);
    drop(attempt);
    trace.end(&end(200, "complete"));
    let told = sent["traceparent"].to_str().unwrap();
    assert!(
        told.starts_with(&format!("00-{TRACE}-")) && told.ends_with("-00"),
        "{told}"
    );
    assert_eq!((kept.spans().len(), trace.trace_id()), (0, None));
}

#[test]
fn an_unauthenticated_client_cannot_choose_to_be_sampled() {
    let kept = Kept::default();
    let (trace, _) = begin(&kept.traces(0.0), &claimed("01"), Trust::Nobody);
    trace.end(&end(403, "complete"));
    assert_eq!(kept.spans().len(), 0);
    let (trace, _) = begin(&kept.traces(1.0), &claimed("00"), Trust::Nobody);
    trace.end(&end(403, "complete"));
    let spans = kept.spans();
    assert_eq!(spans.len(), 1);
    // The claimed trace is only linked, not joined.
    assert_ne!(spans[0].span_context.trace_id().to_string(), TRACE);
    assert_eq!(
        spans[0].links.links[0].span_context.trace_id().to_string(),
        TRACE
    );
}

#[test]
fn only_the_proxys_own_faults_make_a_failed_span() {
    let kept = Kept::default();
    let traces = kept.traces(1.0);
    // 404 is a fault of the client, the others are not.
    for (status, outcome) in [(404, "complete"), (503, "complete"), (200, "aborted")] {
        let (trace, _) = begin(&traces, &HeaderMap::new(), Trust::Client);
        trace.end(&end(status, outcome));
    }
    let spans = kept.spans();
    let kinds: Vec<_> = spans
        .iter()
        .map(|span| attribute(span, "error.type"))
        .collect();
    assert_eq!(
        kinds,
        [None, Some("503".to_owned()), Some("aborted".to_owned())]
    );
}

#[tokio::test]
async fn a_call_that_is_cut_off_ends_its_span() {
    let kept = Kept::default();
    let (_trace, context) = begin(&kept.traces(1.0), &HeaderMap::new(), Trust::Client);
    let endless = call(
        "open",
        "local:k",
        |()| "failed",
        std::future::pending::<Result<(), ()>>(),
    );
    let mut endless = Box::pin(endless.with_context(context));
    assert_eq!(futures_util::FutureExt::now_or_never(&mut endless), None);
    drop(endless);
    let spans = kept.spans();
    assert_eq!(
        attribute(&spans[0], "error.type").as_deref(),
        Some("cut_off")
    );
    assert_eq!(
        attribute(&spans[0], "s3proxy.key").as_deref(),
        Some("local:k")
    );
}

#[tokio::test]
async fn without_tracing_no_span_is_made() {
    let off = Traces(None);
    let (trace, context) = begin(&off, &claimed("01"), Trust::Client);
    assert!(!context.has_active_span() && trace.trace_id().is_none());
    let _current = context.attach();
    let mut sent = HeaderMap::new();
    ParentTrace::current()
        .attempt(&Method::GET, "backend", 443)
        .propagate(&mut sent);
    assert_eq!(sent.len(), 0);
    assert_eq!(
        call("open", "k", |()| "failed", async { Ok(1) }).await,
        Ok(1)
    );
}
