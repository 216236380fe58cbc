//! The throughput part: every workload with every target in turn, several times.
//!
//! Targets alternate inside a round, and every second round reverses their order, so that a machine
//! that gets slower or busier over the minutes affects all of them. Each measurement uses new
//! connections and new signatures, made before the clock starts.

use std::time::Duration;

use serde::Serialize;

use crate::cli::{RunOptions, Target, Verify};
use crate::load::{Expect, Load, StopCondition};
use crate::process::{self, PeakReset, Usage};
use crate::site::{Contender, Site, SiteError};
use crate::size::Size;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "UPPERCASE")]
pub(crate) enum Direction {
    Get,
    Put,
}

/// The units for a workload's results.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Unit {
    /// MiB per second, CPU seconds per GiB.
    Bytes,
    /// Requests per second, CPU seconds per 1000 requests.
    Requests,
}

#[derive(Clone, Debug, Serialize)]
pub(crate) struct Workload {
    pub(crate) direction: Direction,
    pub(crate) size: Size,
    pub(crate) clients: usize,
    pub(crate) unit: Unit,
}

/// One measurement of one target.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Sample {
    pub(crate) requests: u64,
    pub(crate) bytes: u64,
    pub(crate) seconds: f64,
    /// CPU seconds of the target; those of backend and generator follow.
    pub(crate) cpu: f64,
    pub(crate) backend_cpu: f64,
    pub(crate) generator_cpu: f64,
    /// Peak of the target's resident memory in bytes.
    pub(crate) peak: u64,
    pub(crate) peak_reset: PeakReset,
}

#[derive(Debug, Serialize)]
pub(crate) struct TargetSamples {
    pub(crate) target: Target,
    pub(crate) samples: Vec<Sample>,
}

#[derive(Debug, Serialize)]
pub(crate) struct Comparison {
    pub(crate) workload: Workload,
    pub(crate) measured: Vec<TargetSamples>,
}

fn workloads(options: &RunOptions) -> Vec<Workload> {
    let large = (options.large_size, options.large_clients, Unit::Bytes);
    let small = (options.small_size, options.small_clients, Unit::Requests);
    let mut workloads = Vec::new();
    for (size, clients, unit) in [large, small] {
        for direction in [Direction::Get, Direction::Put] {
            workloads.push(Workload {
                direction,
                size,
                clients: clients.into(),
                unit,
            });
        }
    }
    workloads
}

pub(crate) async fn run(site: &Site, options: &RunOptions) -> Result<Vec<Comparison>, SiteError> {
    let mut comparisons = Vec::new();
    for workload in workloads(options) {
        eprintln!(
            "measuring {:?} of {}, {} at once",
            workload.direction, workload.size, workload.clients
        );
        comparisons.push(compare(site, options, workload).await?);
    }
    Ok(comparisons)
}

async fn compare(
    site: &Site,
    options: &RunOptions,
    workload: Workload,
) -> Result<Comparison, SiteError> {
    // Objects to read are stored, and checked, once before all rounds.
    if workload.direction == Direction::Get {
        for contender in site.contenders() {
            for client in 0..workload.clients {
                let path = workload.path(contender, client);
                site.seed(contender, &path, workload.size.0).await?;
            }
        }
    }
    let mut samples: Vec<Vec<Sample>> = site.contenders().iter().map(|_| Vec::new()).collect();
    for round in 0..options.rounds {
        let mut order: Vec<usize> = (0..samples.len()).collect();
        // The reversed order cancels a drift that would favour the first or the last target.
        if round % 2 == 1 {
            order.reverse();
        }
        for index in order {
            let contender = &site.contenders()[index];
            let sample = measure(site, options, &workload, contender).await?;
            samples[index].push(sample);
        }
    }
    let targets = site.contenders().iter().map(|contender| contender.target);
    let measured = targets
        .zip(samples)
        .map(|(target, samples)| TargetSamples { target, samples })
        .collect();
    Ok(Comparison { workload, measured })
}

async fn measure(
    site: &Site,
    options: &RunOptions,
    workload: &Workload,
    contender: &Contender,
) -> Result<Sample, SiteError> {
    let load = workload.load(site, options.verify, contender, options.seconds)?;
    let peak_reset = contender.reset_peak()?;
    // A direct target has no process of its own: the backend's CPU time is separate.
    let usage = || match contender.server() {
        Some(server) => server.usage(),
        None => Ok(Usage::default()),
    };
    // CPU times are differences: the servers also ran before the measurement.
    let before = (usage()?, site.backend().usage()?, process::own_usage()?);
    let tally = load.run().await?;
    let after = (usage()?, site.backend().usage()?, process::own_usage()?);
    let spent = |before: Usage, after: Usage| after.cpu.saturating_sub(before.cpu).as_secs_f64();
    Ok(Sample {
        requests: tally.requests,
        bytes: tally.bytes,
        seconds: tally.elapsed.as_secs_f64(),
        cpu: spent(before.0, after.0),
        backend_cpu: spent(before.1, after.1),
        generator_cpu: spent(before.2, after.2),
        peak: after.0.peak,
        peak_reset,
    })
}

impl Workload {
    fn path(&self, contender: &Contender, client: usize) -> String {
        let name = format!("{}-{client}", self.size.0);
        match self.direction {
            Direction::Get => contender.kept(&name),
            Direction::Put => contender.dropped(&name),
        }
    }

    fn load(
        &self,
        site: &Site,
        verify: Verify,
        contender: &Contender,
        time: Duration,
    ) -> Result<Load, SiteError> {
        let authority = site.authority(contender);
        let length = self.size.0;
        let sign = |client| {
            let path = self.path(contender, client);
            match self.direction {
                Direction::Get => site.signer.get(authority, &path),
                Direction::Put => {
                    let content = &site.content;
                    let signer = &site.signer;
                    signer.put(authority, &path, content, length, site.payload)
                }
            }
        };
        let requests = (0..self.clients).map(sign).collect::<Result<_, _>>()?;
        let expect = match (self.direction, verify) {
            (Direction::Put, _) => Expect::Stored { length },
            (Direction::Get, Verify::Length) => Expect::Length(length),
            (Direction::Get, Verify::Content) => Expect::Content(length, site.content.clone()),
        };
        Ok(Load {
            authority: authority.to_owned(),
            requests,
            expect,
            clients: self.clients,
            stop: StopCondition::After(time),
        })
    }
}
