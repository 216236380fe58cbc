//! The memory part: many clients read, and as many write, one large object each, all at once.
//!
//! Contents are made and dropped on the fly by generator and stub, so that nothing but the target
//! decides how fast its memory grows. The result is the kernel's own peak, or a sample of the
//! resident size where one is higher (the kernel brings its peak up to date now and then only).
//! The samples' median beside it tells a spike from a plateau.

use std::time::{Duration, Instant};

use serde::Serialize;

use crate::cli::{RunOptions, Target};
use crate::load::{Expect, Load, Stop};
use crate::process::{PeakReset, ProcessError, Server};
use crate::site::{Contender, Site, SiteError};
use crate::size::Size;

const SAMPLE_EVERY: Duration = Duration::from_millis(100);

#[derive(Debug, Serialize)]
pub(crate) struct MemoryRun {
    pub(crate) target: Target,
    pub(crate) clients_each_way: usize,
    pub(crate) size: Size,
    pub(crate) seconds: f64,
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

/// Measures the proxy; other targets are only looked at where there is none.
pub(crate) async fn run(site: &Site, options: &RunOptions) -> Result<Vec<MemoryRun>, SiteError> {
    let contenders = site.contenders();
    let proxy = contenders.iter().any(|one| one.target == Target::Proxy);
    let mut runs = Vec::new();
    for contender in contenders {
        let wanted = contender.target == Target::Proxy || !proxy;
        if let Some(server) = contender.server().filter(|_| wanted) {
            runs.push(measure(site, options, contender, server).await?);
        }
    }
    Ok(runs)
}

async fn measure(
    site: &Site,
    options: &RunOptions,
    contender: &Contender,
    server: &Server,
) -> Result<MemoryRun, SiteError> {
    let clients = usize::from(options.memory_clients);
    let length = options.memory_size;
    eprintln!(
        "measuring memory of {:?}: {clients} reads and {clients} writes of {length} at once",
        contender.target
    );
    site.seed(contender, &contender.kept("memory"), length.0)
        .await?;
    let (reads, writes) = loads(site, options, contender)?;
    let peak_reset = contender.reset_peak()?;
    let before = server.usage()?;
    let started = Instant::now();
    let both = async { tokio::try_join!(reads.run(), writes.run()) };
    let (tallies, mut samples) = sampled(both, server).await?;
    let (read, written) = tallies?;
    let seconds = started.elapsed().as_secs_f64();
    let after = server.usage()?;
    samples.sort_unstable();
    let sampled_highest = samples[samples.len() - 1];
    Ok(MemoryRun {
        target: contender.target,
        clients_each_way: clients,
        size: length,
        seconds,
        bytes: read.bytes + written.bytes,
        cpu: after.cpu.saturating_sub(before.cpu).as_secs_f64(),
        idle: before.resident,
        peak: after.peak.max(sampled_highest),
        peak_reset,
        samples: samples.len(),
        sampled_median: samples[samples.len() / 2],
        sampled_highest,
    })
}

fn loads(
    site: &Site,
    options: &RunOptions,
    contender: &Contender,
) -> Result<(Load, Load), SiteError> {
    let authority = site.authority(contender);
    let length = options.memory_size.0;
    let clients = options.memory_clients.into();
    let load = |request, expect| Load {
        authority: authority.to_owned(),
        requests: vec![request],
        expect,
        clients,
        stop: Stop::Requests(1),
    };
    let get = site.signer.get(authority, &contender.kept("memory"))?;
    let path = contender.dropped("memory");
    let content = &site.content;
    let put = site
        .signer
        .put(authority, &path, content, length, site.payload)?;
    let reads = load(get, Expect::Content(length, content.clone()));
    Ok((reads, load(put, Expect::Stored { length })))
}

/// Runs `work` and looks at the server's resident memory until it is done, at least once.
async fn sampled<T>(
    work: impl Future<Output = T>,
    server: &Server,
) -> Result<(T, Vec<u64>), ProcessError> {
    tokio::pin!(work);
    let mut samples = Vec::new();
    loop {
        samples.push(server.usage()?.resident);
        tokio::select! {
            done = &mut work => return Ok((done, samples)),
            () = tokio::time::sleep(SAMPLE_EVERY) => {}
        }
    }
}
