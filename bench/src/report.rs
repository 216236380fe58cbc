//! The results as text for people, and as JSON.
//!
//! Tables show the median over the rounds, separately for each figure. A ratio to nginx is the
//! median of the rounds' ratios, each between two measurements of the same round: other load on the
//! machine affects both. The project's own aims are printed beside the ratios. They are never
//! enforced: no timing fails a run.

use std::fmt::Write;
use std::num::NonZero;

use serde::Serialize;

use crate::cli::{BackendKind, RunOptions, Target};
use crate::memory::MemoryRun;
use crate::process::PeakReset;
use crate::request::Payload;
use crate::throughput::{Comparison, Direction, Sample, TargetSamples, Unit, Workload};

const MIB: f64 = 1_048_576.0;
const GIB: f64 = 1024.0 * MIB;

/// The project's aim for the proxy's memory.
const MEMORY_AIM: u64 = 64 << 20;

#[derive(Serialize)]
pub(crate) struct Report {
    pub(crate) backend: BackendKind,
    pub(crate) payload: Payload,
    pub(crate) cores: usize,
    /// Average number of runnable processes in the minute before the start: other load distorts
    /// rates.
    pub(crate) load_before: Option<f64>,
    pub(crate) rounds: u16,
    pub(crate) seconds_each: f64,
    pub(crate) throughput: Vec<Comparison>,
    pub(crate) memory: Vec<MemoryRun>,
}

impl Report {
    pub(crate) fn new(options: &RunOptions) -> Self {
        Self {
            backend: options.backend,
            payload: options.payload,
            cores: std::thread::available_parallelism().map_or(1, NonZero::get),
            load_before: load(),
            rounds: options.rounds,
            seconds_each: options.seconds.as_secs_f64(),
            throughput: Vec::new(),
            memory: Vec::new(),
        }
    }

    pub(crate) fn text(&self) -> String {
        let mut out = String::new();
        self.write(&mut out)
            .expect("writing to a String cannot fail");
        out
    }

    fn write(&self, out: &mut String) -> std::fmt::Result {
        writeln!(
            out,
            "backend {:?}, uploads {:?}, medians of {} rounds of {} s",
            self.backend, self.payload, self.rounds, self.seconds_each
        )?;
        writeln!(
            out,
            "Everything shares {} core(s): generator, backend and the measured proxy take time from\n\
             each other, so rates are lower than on separate machines. CPU seconds are the\n\
             process's own (user and system, workers included) and suffer least from that.",
            self.cores
        )?;
        if let Some(load) = self.load_before {
            writeln!(out, "Load average before the start: {load:.2}.")?;
        }
        for comparison in &self.throughput {
            write_comparison(out, comparison)?;
        }
        self.memory
            .iter()
            .try_for_each(|run| write_memory(out, run))
    }
}

/// The load average of the machine, if the system has one.
fn load() -> Option<f64> {
    let text = std::fs::read_to_string("/proc/loadavg").ok()?;
    text.split(' ').next()?.parse().ok()
}

/// The figures of one measurement, or the medians of several.
#[derive(Clone, Copy)]
struct Figures {
    rate: f64,
    cpu: f64,
    backend_cpu: f64,
    generator_cpu: f64,
    peak: f64,
}

impl Figures {
    fn of(unit: Unit, sample: &Sample) -> Self {
        // `moved` is the unit of rates, `amount` that of CPU time.
        let (moved, amount) = match unit {
            Unit::Bytes => (whole(sample.bytes) / MIB, whole(sample.bytes) / GIB),
            Unit::Requests => (whole(sample.requests), whole(sample.requests) / 1000.0),
        };
        Self {
            rate: moved / sample.seconds,
            cpu: sample.cpu / amount,
            backend_cpu: sample.backend_cpu / amount,
            generator_cpu: sample.generator_cpu / amount,
            peak: whole(sample.peak) / MIB,
        }
    }

    fn medians(rounds: &[Self]) -> Self {
        let median = |figure: fn(&Self) -> f64| median(rounds.iter().map(figure).collect());
        Self {
            rate: median(|one| one.rate),
            cpu: median(|one| one.cpu),
            backend_cpu: median(|one| one.backend_cpu),
            generator_cpu: median(|one| one.generator_cpu),
            peak: median(|one| one.peak),
        }
    }
}

/// One line of a table.
struct Row {
    target: Target,
    medians: Figures,
    /// Rate and CPU time as fractions of nginx's.
    to_nginx: Option<(f64, f64)>,
}

impl Row {
    fn all(comparison: &Comparison) -> Vec<Self> {
        let figures = |measured: &TargetSamples| -> Vec<Figures> {
            let samples = measured.samples.iter();
            let unit = comparison.workload.unit;
            samples.map(|sample| Figures::of(unit, sample)).collect()
        };
        let nginx = comparison
            .measured
            .iter()
            .find(|one| one.target == Target::Nginx);
        let nginx = nginx.map(figures);
        let row = |measured: &TargetSamples| {
            let rounds = figures(measured);
            let ratio = |figure: fn(&Figures) -> f64| {
                let nginx = nginx.as_ref()?.iter();
                let ratios = rounds
                    .iter()
                    .zip(nginx)
                    .map(|(own, nginx)| figure(own) / figure(nginx));
                Some(median(ratios.collect()))
            };
            Self {
                target: measured.target,
                medians: Figures::medians(&rounds),
                to_nginx: ratio(|one| one.rate).zip(ratio(|one| one.cpu)),
            }
        };
        comparison.measured.iter().map(row).collect()
    }

    fn write(&self, out: &mut String) -> std::fmt::Result {
        let ratio =
            |ratio: Option<f64>| ratio.map_or("-".to_owned(), |ratio| format!("{ratio:.2}"));
        let own = |text: String| match self.target {
            Target::Direct => "-".to_owned(),
            Target::Proxy | Target::Nginx => text,
        };
        let Figures {
            rate,
            cpu,
            backend_cpu,
            generator_cpu,
            peak,
        } = self.medians;
        writeln!(
            out,
            "  {:<8}{rate:>12.0}{:>10}{:>13}{:>10}{:>11}{backend_cpu:>13.3}{generator_cpu:>15.3}",
            name(self.target),
            ratio(self.to_nginx.map(|(rate, _)| rate)),
            own(format!("{cpu:.3}")),
            own(ratio(self.to_nginx.map(|(_, cpu)| cpu))),
            own(format!("{peak:.1}")),
        )
    }
}

fn write_comparison(out: &mut String, comparison: &Comparison) -> std::fmt::Result {
    let Workload {
        direction,
        size,
        clients,
        unit,
    } = &comparison.workload;
    let direction = match direction {
        Direction::Get => "GET",
        Direction::Put => "PUT",
    };
    let (rate, cpu) = match unit {
        Unit::Bytes => ("MiB/s", "CPU s/GiB"),
        Unit::Requests => ("requests/s", "CPU s/1000"),
    };
    writeln!(out, "\n{direction} of {size}, {clients} at once")?;
    writeln!(
        out,
        "  {:<8}{rate:>12}{:>10}{cpu:>13}{:>10}{:>11}{:>13}{:>15}",
        "", "to nginx", "to nginx", "peak MiB", "backend CPU", "generator CPU"
    )?;
    let rows = Row::all(comparison);
    rows.iter().try_for_each(|row| row.write(out))?;
    let proxy = rows.iter().find(|row| row.target == Target::Proxy);
    if let Some((rate, cpu)) = proxy.and_then(|row| row.to_nginx) {
        write_aims(out, *unit, rate, cpu)?;
    }
    let mut samples = comparison.measured.iter().flat_map(|one| &one.samples);
    if samples.any(|one| one.peak_reset == PeakReset::NotPermitted) {
        writeln!(
            out,
            "  peaks could not be reset: they are those since the servers' start"
        )?;
    }
    Ok(())
}

fn write_aims(out: &mut String, unit: Unit, rate: f64, cpu: f64) -> std::fmt::Result {
    match unit {
        Unit::Bytes => writeln!(
            out,
            "  aims: at least 0.80 of nginx's throughput: {}; at most 1.60 of its CPU: {}",
            met(rate >= 0.8),
            met(cpu <= 1.6)
        ),
        Unit::Requests => writeln!(
            out,
            "  aim: at least 0.50 of nginx's requests: {}",
            met(rate >= 0.5)
        ),
    }
}

fn write_memory(out: &mut String, run: &MemoryRun) -> std::fmt::Result {
    let MemoryRun {
        target,
        work,
        watched,
    } = run;
    writeln!(out, "\nMemory of {}: {work}", name(*target))?;
    let gib = whole(watched.bytes) / GIB;
    writeln!(
        out,
        "  moved {gib:.1} GiB in {:.0} s ({:.0} MiB/s), {:.3} CPU s/GiB",
        watched.seconds,
        whole(watched.bytes) / MIB / watched.seconds,
        watched.cpu / gib
    )?;
    let since = match watched.peak_reset {
        PeakReset::Done => "during the transfers",
        PeakReset::NotPermitted => "since its start",
    };
    writeln!(
        out,
        "  resident: {:.1} MiB before, highest {:.1} MiB {since}; {} samples: median {:.1} MiB, \
         highest {:.1} MiB",
        whole(watched.idle) / MIB,
        whole(watched.peak) / MIB,
        watched.samples,
        whole(watched.sampled_median) / MIB,
        whole(watched.sampled_highest) / MIB
    )?;
    match target {
        Target::Proxy => {
            writeln!(
                out,
                "  aim: below 64 MiB: {}",
                met(watched.peak < MEMORY_AIM)
            )
        }
        Target::Nginx | Target::Direct => Ok(()),
    }
}

fn name(target: Target) -> &'static str {
    match target {
        Target::Proxy => "s3proxy",
        Target::Nginx => "nginx",
        Target::Direct => "direct",
    }
}

fn met(aim: bool) -> &'static str {
    if aim { "met" } else { "MISSED" }
}

#[expect(
    clippy::cast_precision_loss,
    reason = "figures are shown with a handful of digits"
)]
fn whole(number: u64) -> f64 {
    number as f64
}

fn median(mut figures: Vec<f64>) -> f64 {
    figures.sort_unstable_by(f64::total_cmp);
    let middle = figures.len() / 2;
    match figures.len() {
        0 => f64::NAN,
        length if length.is_multiple_of(2) => f64::midpoint(figures[middle - 1], figures[middle]),
        _ => figures[middle],
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::size::Size;

    fn sample(requests: u64, seconds: f64, cpu: f64) -> Sample {
        Sample {
            requests,
            bytes: requests << 30,
            seconds,
            cpu,
            backend_cpu: 1.0,
            generator_cpu: 1.0,
            peak: 10 << 20,
            peak_reset: PeakReset::Done,
        }
    }

    fn table(proxy: Vec<Sample>, nginx: Vec<Sample>) -> String {
        let measured = |target, samples| TargetSamples { target, samples };
        let comparison = Comparison {
            workload: Workload {
                direction: Direction::Get,
                size: Size(1 << 30),
                clients: 8,
                unit: Unit::Bytes,
            },
            measured: vec![
                measured(Target::Proxy, proxy),
                measured(Target::Nginx, nginx),
            ],
        };
        let mut out = String::new();
        write_comparison(&mut out, &comparison).expect("written");
        out
    }

    #[test]
    fn medians_are_the_middle_or_between_the_middle_two() {
        assert!((median(vec![3.0, 1.0, 2.0]) - 2.0).abs() < 1e-9);
        assert!((median(vec![4.0, 1.0, 3.0, 2.0]) - 2.5).abs() < 1e-9);
        assert!(median(Vec::new()).is_nan());
    }

    #[test]
    fn a_table_shows_rates_costs_and_ratios_to_nginx() {
        let text = table(vec![sample(9, 10.0, 5.4)], vec![sample(10, 10.0, 4.0)]);
        let line = text.lines().find(|line| line.contains("s3proxy"));
        let fields: Vec<&str> = line.expect("a line").split_whitespace().collect();
        assert_eq!(fields[1..6], ["922", "0.90", "0.600", "1.50", "10.0"]);
        assert!(text.contains("throughput: met; at most 1.60 of its CPU: met"));
    }

    #[test]
    fn a_round_in_which_the_machine_was_slow_for_both_does_not_move_the_ratio() {
        let proxy = vec![
            sample(9, 10.0, 5.4),
            sample(1, 10.0, 0.6),
            sample(8, 10.0, 4.8),
        ];
        let nginx = vec![
            sample(10, 10.0, 4.0),
            sample(1, 10.0, 0.4),
            sample(10, 10.0, 4.0),
        ];
        let text = table(proxy, nginx);
        let line = text.lines().find(|line| line.contains("s3proxy"));
        let fields: Vec<&str> = line.expect("a line").split_whitespace().collect();
        assert_eq!(fields[1..5], ["819", "0.90", "0.600", "1.50"]);
    }

    #[test]
    fn aims_that_are_missed_are_said_to_be() {
        let text = table(vec![sample(7, 10.0, 7.0)], vec![sample(10, 10.0, 4.0)]);
        assert!(text.contains("throughput: MISSED; at most 1.60 of its CPU: MISSED"));
    }
}
