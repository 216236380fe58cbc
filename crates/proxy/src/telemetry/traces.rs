//! OpenTelemetry traces: a span for each request, with child spans for each request to the backend
//! and each call of a key service.
//!
//! The OpenTelemetry context of the task that serves a request carries its span; `backend` and
//! `keys` find it there and know nothing of the request. Without tracing there is no context, and
//! no span is made. Spans leave through a bounded queue and their own thread: an unavailable
//! collector costs spans, never a request.
//!
//! Traces leave the program, so they never carry object keys, header values, queries, credentials
//! or reasons: only names of operations and buckets, numbers, and codes. docs/traces.md lists them.
//!
//! Trust: the trace of a client is continued, and its sampling decision followed, only if the
//! client was authenticated or authentication is off. Any other client could choose trace ids that
//! the ratio always samples, so its request begins its own trace, with a link to the claimed one.

mod call_span;
mod collector_client;
mod exporter;
mod request_span;
mod trace_context;

use std::collections::HashMap;
use std::time::Duration;

use http::HeaderMap;
use opentelemetry::KeyValue;
use opentelemetry::trace::TracerProvider;
use opentelemetry_otlp::{
    Protocol, SpanExporter, WithExportConfig, WithHttpConfig, WithTonicConfig,
};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::{Sampler, SdkTracer, SdkTracerProvider};
use s3proxy_protocol::headers;
use tonic::metadata::MetadataMap;
use tonic::transport::ClientTlsConfig;

use crate::config::resolved::{self, Collector, OtlpTransport, Scheme};
use crate::net::{PemError, trusted_roots, with_causes};

pub(crate) use call_span::{CallSpan, ParentTrace, call, within_current};
pub(crate) use request_span::{Arrival, RequestEnd, RequestTrace, Trust};

use collector_client::{CollectorClient, LastFailure};
use exporter::RateLimitedExporter;

/// Time that the end of the program waits for the last spans.
const FLUSH_WAIT: Duration = Duration::from_secs(3);

/// Failure to set up tracing.
#[derive(Debug, thiserror::Error)]
pub enum TracesError {
    /// The trusted roots for the collector's certificate cannot be read.
    #[error("traces.endpoint: {0}")]
    Roots(#[from] PemError),
    /// The collector's address, or one of OpenTelemetry's own variables, cannot be used.
    #[error("traces.endpoint: {collector} cannot be used: {reason}")]
    Exporter {
        /// Address of the collector.
        collector: String,
        /// Reason of the failure.
        reason: String,
    },
}

/// Tracing, if it is on. Clones share it.
#[derive(Clone)]
pub(crate) struct Traces(Option<Tracing>);

#[derive(Clone)]
struct Tracing {
    provider: SdkTracerProvider,
    tracer: SdkTracer,
}

impl Traces {
    /// Starts tracing without a connection. Must run inside the runtime, which drives the
    /// connections.
    pub(crate) fn start(settings: &resolved::Traces) -> Result<Self, TracesError> {
        let resolved::Traces::Sent {
            collector,
            sample_ratio,
            service_name,
        } = settings
        else {
            return Ok(Self(None));
        };
        let exporter = exporter(collector)?;
        let provider = SdkTracerProvider::builder()
            .with_batch_exporter(exporter)
            .with_sampler(sampler(*sample_ratio))
            .with_resource(resource(service_name.clone()))
            .build();
        let protocol = collector.transport.name();
        tracing::info!(%collector, protocol, sample_ratio, "tracing requests");
        Ok(Self::over(provider))
    }

    fn over(provider: SdkTracerProvider) -> Self {
        let tracer = provider.tracer("s3proxy");
        Self(Some(Tracing { provider, tracer }))
    }

    /// Sends the remaining spans, for a bounded time.
    pub(crate) async fn finish(&self) {
        let Some(Tracing { provider, .. }) = self.0.clone() else {
            return;
        };
        // The shutdown blocks on work of the runtime, so it must not hold up one of its threads.
        let ended =
            tokio::task::spawn_blocking(move || provider.shutdown_with_timeout(FLUSH_WAIT)).await;
        if !matches!(ended, Ok(Ok(()))) {
            tracing::warn!("could not send the last spans to the collector");
        }
    }
}

/// Returns the trace headers that are passed on for a request's headers. For fuzz targets.
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) fn carried(headers: &HeaderMap) -> Option<HeaderMap> {
    let mut written = HeaderMap::new();
    trace_context::write(&mut written, &trace_context::read(headers)?);
    Some(written)
}

fn sampler(ratio: f64) -> Sampler {
    // The parent's decision counts, so that a trace is recorded as a whole or not at all.
    Sampler::ParentBased(Box::new(Sampler::TraceIdRatioBased(ratio)))
}

fn resource(service_name: String) -> Resource {
    Resource::builder()
        .with_service_name(service_name)
        .with_attribute(KeyValue::new("service.version", env!("CARGO_PKG_VERSION")))
        .build()
}

/// Builds the exporter. It reads OpenTelemetry's variables for headers itself, too; the settings
/// have read and validated them before.
fn exporter(collector: &Collector) -> Result<RateLimitedExporter, TracesError> {
    let failure = LastFailure::default();
    let built = match &collector.transport {
        OtlpTransport::Grpc => {
            let mut builder = SpanExporter::builder()
                .with_tonic()
                .with_endpoint(collector.address.to_string())
                .with_timeout(collector.timeout)
                .with_metadata(MetadataMap::from_headers(collector.headers.clone()));
            if collector.address.scheme == Scheme::Https {
                let roots = trusted_roots(None)?;
                let tls = ClientTlsConfig::new().trust_anchors(roots.roots);
                builder = builder.with_tls_config(tls);
            }
            builder.build()
        }
        OtlpTransport::HttpProtobuf { .. } => SpanExporter::builder()
            .with_http()
            .with_protocol(Protocol::HttpBinary)
            .with_endpoint(collector.to_string())
            .with_timeout(collector.timeout)
            .with_headers(texts(&collector.headers))
            .with_http_client(CollectorClient::new(collector.timeout, failure.clone())?)
            .build(),
    };
    let exporter = built.map_err(|error| TracesError::Exporter {
        collector: collector.to_string(),
        reason: with_causes(&error),
    })?;
    Ok(RateLimitedExporter::new(exporter, failure))
}

fn texts(headers: &HeaderMap) -> HashMap<String, String> {
    let texts = headers.iter().filter_map(|(name, value)| {
        let value = headers::value_text(value)?;
        Some((name.to_string(), value.to_owned()))
    });
    texts.collect()
}

#[cfg(test)]
mod tests;
