//! OpenTelemetry traces: a span for each request, and below it one for each request to the backend
//! and each call of a key service.
//!
//! A request's span is carried by the OpenTelemetry context of the task that serves it, so that
//! `backend` and `keys` find it there and know nothing of who asked. Where nothing is traced there
//! is no context, and nothing is made. Spans leave through a bounded queue and a thread of its own:
//! a collector that is away costs spans, never a request.
//!
//! Traces go to others, so they never carry object keys, header values, queries, credentials or
//! reasons: names of operations and buckets, numbers, and codes alone. docs/traces.md lists them.
//!
//! Trust: the trace of a client is continued, and its decision to sample followed, where the client
//! may do anything at all here. Anybody else could choose trace ids that the ratio always takes; so
//! that request begins a trace of its own, with a link to the one it claims.

mod call;
mod exporter;
mod over_http;
mod parent;
mod request;

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
use tonic::metadata::MetadataMap;
use tonic::transport::ClientTlsConfig;

use crate::config::resolved::{self, Collector, OtlpTransport, Scheme};
use crate::net::{PemError, trusted_roots, with_causes};

pub(crate) use call::{Call, Traced, call, within_current};
pub(crate) use request::{Arrival, RequestEnd, RequestTrace, Trust};

use exporter::Patient;
use over_http::{CollectorClient, LastFailure};

/// How long the end of the program waits for the last spans.
const FLUSH_WAIT: Duration = Duration::from_secs(3);

/// Traces cannot be sent as configured.
#[derive(Debug, thiserror::Error)]
pub enum TracesError {
    /// The roots that the collector's certificate is judged by cannot be read.
    #[error("traces.endpoint: {0}")]
    Roots(#[from] PemError),
    /// The collector's address, or one of OpenTelemetry's own variables, cannot be used.
    #[error("traces.endpoint: {collector} cannot be used: {reason}")]
    Exporter {
        /// The address.
        collector: String,
        /// What is wrong.
        reason: String,
    },
}

/// Traces, or none. Clones share them.
#[derive(Clone)]
pub(crate) struct Traces(Option<Tracing>);

#[derive(Clone)]
struct Tracing {
    provider: SdkTracerProvider,
    tracer: SdkTracer,
}

impl Traces {
    /// Opens no connection. Has to be called where the runtime is, which drives it.
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
        tracing::info!(%collector, protocol, sample_ratio, "requests are traced");
        Ok(Self::over(provider))
    }

    fn over(provider: SdkTracerProvider) -> Self {
        let tracer = provider.tracer("s3proxy");
        Self(Some(Tracing { provider, tracer }))
    }

    /// Sends what is left, for a bounded time.
    pub(crate) async fn finish(&self) {
        let Some(Tracing { provider, .. }) = self.0.clone() else {
            return;
        };
        // It waits for the runtime, and so must not hold up one of its threads.
        let ended =
            tokio::task::spawn_blocking(move || provider.shutdown_with_timeout(FLUSH_WAIT)).await;
        if !matches!(ended, Ok(Ok(()))) {
            tracing::warn!("the last spans could not be sent to the collector");
        }
    }
}

/// What goes on of the trace that a request says to be part of. For fuzz targets.
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) fn carried(headers: &HeaderMap) -> Option<HeaderMap> {
    let mut written = HeaderMap::new();
    parent::write(&mut written, &parent::read(headers)?);
    Some(written)
}

fn sampler(ratio: f64) -> Sampler {
    Sampler::ParentBased(Box::new(Sampler::TraceIdRatioBased(ratio)))
}

fn resource(service_name: String) -> Resource {
    Resource::builder()
        .with_service_name(service_name)
        .with_attribute(KeyValue::new("service.version", env!("CARGO_PKG_VERSION")))
        .build()
}

/// Of OpenTelemetry's variables, the exporter reads those for headers itself too; the settings have
/// read and judged them before.
fn exporter(collector: &Collector) -> Result<Patient, TracesError> {
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
    Ok(Patient::new(exporter, failure))
}

fn texts(headers: &HeaderMap) -> HashMap<String, String> {
    let texts = headers.iter().filter_map(|(name, value)| {
        let value = value.to_str().ok()?;
        Some((name.to_string(), value.to_owned()))
    });
    texts.collect()
}

#[cfg(test)]
mod tests;
