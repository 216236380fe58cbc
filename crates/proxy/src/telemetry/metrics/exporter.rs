//! The recorder behind the metrics, and their text for Prometheus.
//!
//! Installed once in a process, when there is an admin listener to ask for it. Histograms collect
//! samples until somebody drains them, so [`Exporter::keep_up`] has to run as long as the program
//! does.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use metrics_exporter_prometheus::PrometheusRecorder;
use metrics_exporter_prometheus::{BuildError, PrometheusBuilder, PrometheusHandle};

use super::declared::{self, Kind};
use super::process;

/// Upper ends of the buckets of every histogram, in seconds.
pub(crate) const BUCKETS: &[f64] = &[
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0,
];

/// How often samples are drained.
const UPKEEP: Duration = Duration::from_secs(1);

/// Why nothing can be counted.
#[derive(Debug, thiserror::Error)]
pub enum ExporterError {
    /// The exporter refuses its settings.
    #[error("metrics: {0}")]
    Build(#[from] BuildError),
    /// Somebody else counts already.
    #[error("metrics: another recorder is installed; expected one call, at start")]
    Taken,
}

/// Everything that was counted since the program's start.
#[derive(Clone)]
pub(crate) struct Exporter(PrometheusHandle);

/// That of this process.
static INSTALLED: Mutex<Option<Exporter>> = Mutex::new(None);

impl Exporter {
    /// Counts from now on; what is counted already goes on.
    pub(crate) fn install() -> Result<Self, ExporterError> {
        // A panic elsewhere cannot leave an `Option` in a bad state.
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

    /// The text format of Prometheus, version 0.0.4.
    pub(crate) fn render(&self) -> String {
        let mut text = self.0.render();
        text.push_str(&process::render());
        text
    }

    /// Drains histograms now and then, for ever.
    pub(crate) async fn keep_up(self) {
        let mut turns = tokio::time::interval(UPKEEP);
        loop {
            turns.tick().await;
            self.0.run_upkeep();
        }
    }
}

pub(super) fn recorder() -> Result<PrometheusRecorder, BuildError> {
    Ok(PrometheusBuilder::new()
        .set_buckets(BUCKETS)?
        .build_recorder())
}

/// Tells the recorder the help of every metric.
pub(super) fn describe() {
    for metric in declared::ALL {
        match metric.kind {
            Kind::Counter => metrics::describe_counter!(metric.name, metric.help),
            Kind::Gauge => metrics::describe_gauge!(metric.name, metric.help),
            Kind::Histogram => metrics::describe_histogram!(metric.name, metric.help),
        }
    }
}
