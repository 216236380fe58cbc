//! Wrapper of the exporter for the batch processor: failures are logged once a minute, and cost
//! spans.

use std::time::Duration;

use opentelemetry_otlp::SpanExporter as Otlp;
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::trace::{SpanData, SpanExporter};

use super::collector_client::LastFailure;
use crate::telemetry::log_rate_limit::LogRateLimit;

/// Exporter that logs failures at most once a minute.
pub(super) struct RateLimitedExporter {
    inner: Otlp,
    failures: LogRateLimit,
    /// Reason that the exporter does not report itself.
    last_failure: LastFailure,
}

impl RateLimitedExporter {
    pub(super) fn new(inner: Otlp, last_failure: LastFailure) -> Self {
        Self {
            inner,
            failures: LogRateLimit::default(),
            last_failure,
        }
    }
}

impl std::fmt::Debug for RateLimitedExporter {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("RateLimitedExporter")
    }
}

impl SpanExporter for RateLimitedExporter {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        let spans = batch.len();
        let exported = self.inner.export(batch).await;
        if let Err(error) = &exported
            && let Some(times) = self.failures.count()
        {
            let reason = self.last_failure.take();
            tracing::warn!(%error, reason, times, spans, "could not send traces to the collector; they are lost");
        }
        exported
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.inner.shutdown_with_timeout(timeout)
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.inner.force_flush()
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.inner.set_resource(resource);
    }
}
