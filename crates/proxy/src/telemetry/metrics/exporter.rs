//! The recorder of the metrics, and its output for Prometheus.
//!
//! It is installed once per process, if there is an admin listener. Histograms collect samples
//! until they are drained, so [`Exporter::keep_up`] has to run as long as the program does.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use metrics_exporter_prometheus::PrometheusRecorder;
use metrics_exporter_prometheus::{BuildError, PrometheusBuilder, PrometheusHandle};

use super::declared::{self, Kind};
use super::process;

/// Upper bounds of the buckets of every histogram, in seconds.
pub(crate) const BUCKETS: &[f64] = &[
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0,
];

/// Interval between two drains of the samples.
const UPKEEP: Duration = Duration::from_secs(1);

/// Failure to start metrics.
#[derive(Debug, thiserror::Error)]
pub enum ExporterError {
    /// The exporter refuses its settings.
    #[error("metrics: {0}")]
    Build(#[from] BuildError),
    /// Another recorder is installed already.
    #[error("metrics: another recorder is installed; expected one call, at start")]
    Taken,
}

/// Handle to all metrics since the program's start.
#[derive(Clone)]
pub(crate) struct Exporter(PrometheusHandle);

/// The exporter of this process, once installed.
static INSTALLED: Mutex<Option<Exporter>> = Mutex::new(None);

impl Exporter {
    /// Installs the recorder, or returns the installed one, whose counts continue.
    pub(crate) fn install() -> Result<Self, ExporterError> {
        // A poisoned lock is usable: an `Option` has no half-written state.
        let mut installed = INSTALLED.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(installed) = &*installed {
            return Ok(installed.clone());
        }
        let recorder = recorder()?;
        let exporter = Self(recorder.handle());
        metrics::set_global_recorder(recorder).map_err(|_| ExporterError::Taken)?;
        describe();
        super::begin();
        *installed = Some(exporter.clone());
        Ok(exporter)
    }

    /// Renders the text format of Prometheus, version 0.0.4.
    pub(crate) fn render(&self) -> String {
        let mut text = self.0.render();
        text.push_str(&process::render());
        text
    }

    /// Drains the histograms periodically, forever.
    pub(crate) async fn keep_up(self) {
        let mut turns = tokio::time::interval(UPKEEP);
        loop {
            turns.tick().await;
            self.0.run_upkeep();
        }
    }
}

/// Makes a recorder with the buckets of all histograms.
pub(super) fn recorder() -> Result<PrometheusRecorder, BuildError> {
    Ok(PrometheusBuilder::new()
        .set_buckets(BUCKETS)?
        .build_recorder())
}

/// Gives the recorder the help of every metric.
pub(super) fn describe() {
    for metric in declared::ALL {
        match metric.kind {
            Kind::Counter => metrics::describe_counter!(metric.name, metric.help),
            Kind::Gauge => metrics::describe_gauge!(metric.name, metric.help),
            Kind::Histogram => metrics::describe_histogram!(metric.name, metric.help),
        }
    }
}
