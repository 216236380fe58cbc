//! Metrics of the process itself, with the names that Prometheus's own clients use.
//!
//! They are read from `/proc` on each request. Unreadable values are left out: a system without
//! `/proc` only lacks these metrics.

use std::fmt::Write;
use std::fs;

/// A metric of the process, with its source.
pub(super) struct ProcessMetric {
    pub(super) name: &'static str,
    pub(super) kind: &'static str,
    pub(super) help: &'static str,
    value: fn(&Process) -> Option<f64>,
}

/// All metrics of the process.
pub(super) const ALL: &[ProcessMetric] = &[
    ProcessMetric {
        name: "process_cpu_seconds_total",
        kind: "counter",
        help: "CPU time of the process, user and system, in seconds.",
        value: |process| Some(process.ticks()? / clock_ticks()),
    },
    ProcessMetric {
        name: "process_resident_memory_bytes",
        kind: "gauge",
        help: "Resident memory of the process.",
        value: |process| Some(process.field(RESIDENT_PAGES)? * page_bytes()),
    },
    ProcessMetric {
        name: "process_virtual_memory_bytes",
        kind: "gauge",
        help: "Virtual memory of the process.",
        value: |process| process.field(VIRTUAL_BYTES),
    },
    ProcessMetric {
        name: "process_threads",
        kind: "gauge",
        help: "Number of threads.",
        value: |process| process.field(THREADS),
    },
    ProcessMetric {
        name: "process_start_time_seconds",
        kind: "gauge",
        help: "Start time of the process, in seconds since 1970.",
        value: |process| Some(booted()? + process.field(START_TICKS)? / clock_ticks()),
    },
    ProcessMetric {
        name: "process_open_fds",
        kind: "gauge",
        help: "Open file descriptors.",
        value: |_| open_descriptors(),
    },
    ProcessMetric {
        name: "process_max_fds",
        kind: "gauge",
        help: "Limit on open file descriptors.",
        value: |_| most_descriptors(),
    },
];

// Fields of /proc/self/stat after the command's name, counted from 0. (proc_pid_stat(5) counts from
// 1 and starts before the name: its field 14 is 11 here.)
const USER_TICKS: usize = 11;
const SYSTEM_TICKS: usize = 12;
const THREADS: usize = 17;
const START_TICKS: usize = 19;
const VIRTUAL_BYTES: usize = 20;
const RESIDENT_PAGES: usize = 21;

/// Fields of `/proc/self/stat`.
struct Process(Vec<f64>);

impl Process {
    fn read() -> Self {
        Self::parse(&fs::read_to_string("/proc/self/stat").unwrap_or_default())
    }

    /// Parses the file. The command's name is in parentheses, and may contain spaces and
    /// parentheses.
    fn parse(stat: &str) -> Self {
        let fields = stat.rsplit_once(") ").map_or("", |(_, fields)| fields);
        // The first field, the state, is a letter.
        let number = |field: &str| field.parse().unwrap_or(f64::NAN);
        Self(fields.split_ascii_whitespace().map(number).collect())
    }

    fn field(&self, index: usize) -> Option<f64> {
        self.0.get(index).copied().filter(|value| !value.is_nan())
    }

    fn ticks(&self) -> Option<f64> {
        Some(self.field(USER_TICKS)? + self.field(SYSTEM_TICKS)?)
    }
}

/// Renders the text format of Prometheus.
pub(super) fn render() -> String {
    let process = Process::read();
    let mut text = String::new();
    for metric in ALL {
        let ProcessMetric {
            name,
            kind,
            help,
            value,
        } = metric;
        if let Some(value) = value(&process) {
            write!(
                text,
                "# HELP {name} {help}\n# TYPE {name} {kind}\n{name} {value}\n\n"
            )
            .expect("writing to a String cannot fail");
        }
    }
    text
}

fn clock_ticks() -> f64 {
    super::as_number(rustix::param::clock_ticks_per_second())
}

fn page_bytes() -> f64 {
    super::as_number(rustix::param::page_size() as u64)
}

/// Returns the system's boot time, in seconds since 1970.
fn booted() -> Option<f64> {
    let stat = fs::read_to_string("/proc/stat").ok()?;
    let line = stat.lines().find_map(|line| line.strip_prefix("btime "))?;
    line.trim().parse().ok()
}

fn open_descriptors() -> Option<f64> {
    let entries = fs::read_dir("/proc/self/fd").ok()?.count() as u64;
    // Reading the folder opens one more descriptor.
    Some(super::as_number(entries.saturating_sub(1)))
}

fn most_descriptors() -> Option<f64> {
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile);
    limit.current.map(super::as_number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_name_with_spaces_and_parentheses_hides_no_field() {
        let stat = "7 (a) b) S 1 7 7 0 -1 4194304 9 0 0 0 150 50 0 0 20 0 3 0 1000 4096 2 0";
        let process = Process::parse(stat);
        assert_eq!(process.ticks(), Some(200.0));
        assert_eq!(process.field(THREADS), Some(3.0));
        assert_eq!(process.field(START_TICKS), Some(1000.0));
        assert_eq!(process.field(VIRTUAL_BYTES), Some(4096.0));
        assert_eq!(process.field(RESIDENT_PAGES), Some(2.0));
        assert!(Process::parse("").ticks().is_none());
    }

    #[test]
    fn metrics_of_this_process_are_plausible() {
        let text = render();
        let value = |name: &str| -> f64 {
            let line = text.lines().find_map(|line| line.strip_prefix(name));
            line.and_then(|value| value.trim().parse().ok())
                .unwrap_or_else(|| panic!("{name} is there: {text}"))
        };
        assert!(value("process_resident_memory_bytes ") > 1e6);
        assert!(value("process_open_fds ") >= 3.0);
        let age = std::time::UNIX_EPOCH.elapsed().unwrap().as_secs_f64()
            - value("process_start_time_seconds ");
        assert!((-2.0..86_400.0).contains(&age), "{age}");
    }
}
