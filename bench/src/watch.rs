//! Resident memory of a server during some work.
//!
//! The result is the kernel's own peak, or a higher sample of the resident size (the kernel updates
//! its peak only now and then). The median of the samples tells a spike from a plateau.

use std::time::{Duration, Instant};

use serde::Serialize;

use crate::process::{PeakReset, ProcessError, Server};
use crate::site::SiteError;

const SAMPLE_EVERY: Duration = Duration::from_millis(100);

#[derive(Debug, Serialize)]
pub(crate) struct MemoryCurve {
    pub(crate) seconds: f64,
    /// Bytes of payload that were transferred.
    pub(crate) bytes: u64,
    pub(crate) cpu: f64,
    /// Resident bytes before the first request.
    pub(crate) idle: u64,
    pub(crate) peak: u64,
    pub(crate) peak_reset: PeakReset,
    pub(crate) samples: usize,
    pub(crate) sampled_median: u64,
    pub(crate) sampled_highest: u64,
}

/// Watches `server` until `work` is done; `work` returns the number of bytes that it transferred.
pub(crate) async fn watch(
    server: &Server,
    work: impl Future<Output = Result<u64, SiteError>>,
) -> Result<MemoryCurve, SiteError> {
    let peak_reset = server.reset_peak()?;
    let before = server.usage()?;
    let started = Instant::now();
    let (bytes, mut samples) = sampled(work, server).await?;
    let bytes = bytes?;
    let seconds = started.elapsed().as_secs_f64();
    let after = server.usage()?;
    samples.sort_unstable();
    let sampled_highest = samples[samples.len() - 1];
    Ok(MemoryCurve {
        seconds,
        bytes,
        cpu: after.cpu.saturating_sub(before.cpu).as_secs_f64(),
        idle: before.resident,
        peak: after.peak.max(sampled_highest),
        peak_reset,
        samples: samples.len(),
        sampled_median: samples[samples.len() / 2],
        sampled_highest,
    })
}

/// Runs `work` and samples the server's resident memory until it is done, at least once.
async fn sampled<T>(
    work: impl Future<Output = T>,
    server: &Server,
) -> Result<(T, Vec<u64>), ProcessError> {
    tokio::pin!(work);
    let mut samples = Vec::new();
    loop {
        // Sampled before the wait, so that short work has a sample as well.
        samples.push(server.usage()?.resident);
        tokio::select! {
            done = &mut work => return Ok((done, samples)),
            () = tokio::time::sleep(SAMPLE_EVERY) => {}
        }
    }
}
