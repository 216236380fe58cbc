//! Child processes: their start, their resource usage and their end.
//!
//! The usage is the kernel's own data in `/proc`: CPU time of all threads, user and system
//! (`stat`), and resident memory with its peak (`status`). A server consists of its first process
//! and the children of that process, so nginx includes all its workers; resident memory is added
//! up, and shared pages count for each process.
//!
//! A child gets SIGTERM when its owner drops it, and is killed if it does not exit: nginx's workers
//! would outlive a killed master.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

/// Time for a server to exit before it is killed.
const PATIENCE: Duration = Duration::from_secs(5);

/// Number of log lines that an error quotes.
const LOG_LINES: usize = 15;

#[derive(Debug, thiserror::Error)]
pub(crate) enum ProcessError {
    #[error("{name} did not start ({program}): {source}")]
    Start {
        name: &'static str,
        program: String,
        source: io::Error,
    },
    #[error("{name} ended by itself ({status}); the end of its log:\n{log}")]
    Ended {
        name: &'static str,
        status: std::process::ExitStatus,
        log: String,
    },
    #[error("{path} could not be read: {source}")]
    Proc { path: PathBuf, source: io::Error },
    #[error("{path} does not have the form that the kernel documents")]
    Format { path: PathBuf },
}

/// Resources that a server and its children have used since they started.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Usage {
    pub(crate) cpu: Duration,
    /// Bytes of resident memory.
    pub(crate) resident: u64,
    /// The peak of `resident` since the start, or since the last reset.
    pub(crate) peak: u64,
}

pub(crate) struct Server {
    name: &'static str,
    child: Child,
    log: PathBuf,
}

impl Server {
    /// Starts `command` with its output in a file in `folder`.
    pub(crate) fn start(
        name: &'static str,
        mut command: Command,
        folder: &Path,
    ) -> Result<Self, ProcessError> {
        let failed = |source, command: &Command| ProcessError::Start {
            name,
            program: command.get_program().to_string_lossy().into_owned(),
            source,
        };
        // A file, not a pipe: nobody reads while the benchmark runs, and a full pipe would block.
        let log = folder.join(format!("{name}.log"));
        let output = File::create(&log).and_then(|file| Ok((file.try_clone()?, file)));
        let (out, err) = output.map_err(|source| failed(source, &command))?;
        command.stdin(Stdio::null()).stdout(out).stderr(err);
        let child = command.spawn().map_err(|source| failed(source, &command))?;
        Ok(Self { name, child, log })
    }

    /// Fails if the process has exited.
    pub(crate) fn check(&mut self) -> Result<(), ProcessError> {
        match self.child.try_wait() {
            Ok(Some(status)) => Err(ProcessError::Ended {
                name: self.name,
                status,
                log: self.last_words(),
            }),
            Ok(None) | Err(_) => Ok(()),
        }
    }

    pub(crate) fn name(&self) -> &'static str {
        self.name
    }

    pub(crate) fn last_words(&self) -> String {
        let log = fs::read(&self.log).unwrap_or_default();
        let log = String::from_utf8_lossy(&log);
        let lines: Vec<&str> = log.lines().collect();
        lines[lines.len().saturating_sub(LOG_LINES)..].join("\n")
    }

    pub(crate) fn usage(&self) -> Result<Usage, ProcessError> {
        let mut sum = Usage::default();
        for pid in self.family()? {
            let one = usage(&format!("/proc/{pid}"))?;
            sum.cpu += one.cpu;
            sum.resident += one.resident;
            sum.peak += one.peak;
        }
        Ok(sum)
    }

    /// Resets the peaks to the current resident memory, if the system permits it.
    pub(crate) fn reset_peak(&self) -> Result<PeakReset, ProcessError> {
        let mut done = PeakReset::Done;
        for pid in self.family()? {
            // Writing "5" resets the peak (proc_pid_clear_refs(5)).
            if fs::write(format!("/proc/{pid}/clear_refs"), "5").is_err() {
                done = PeakReset::NotPermitted;
            }
        }
        Ok(done)
    }

    fn family(&self) -> Result<Vec<u32>, ProcessError> {
        let first = self.child.id();
        // Only children of the main thread, which is enough for nginx's master.
        let children = read(&format!("/proc/{first}/task/{first}/children"))?;
        let children = children
            .split_whitespace()
            .filter_map(|pid| pid.parse().ok());
        Ok(std::iter::once(first).chain(children).collect())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let pid = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw);
        let asked = pid.is_some_and(|pid| kill_process(pid, Signal::TERM).is_ok());
        let deadline = Instant::now() + PATIENCE;
        while asked && Instant::now() < deadline {
            if !matches!(self.child.try_wait(), Ok(None)) {
                return;
            }
            sleep(Duration::from_millis(20));
        }
        // Both fail only if the process has already exited.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Whether the peaks belong to one phase only.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum PeakReset {
    Done,
    NotPermitted,
}

/// The generator's own CPU time.
pub(crate) fn own_usage() -> Result<Usage, ProcessError> {
    usage("/proc/self")
}

fn usage(folder: &str) -> Result<Usage, ProcessError> {
    let path = format!("{folder}/stat");
    let cpu = cpu(&read(&path)?).ok_or(ProcessError::Format { path: path.into() })?;
    let path = format!("{folder}/status");
    let status = read(&path)?;
    let (resident, peak) = memory(&status).ok_or(ProcessError::Format { path: path.into() })?;
    Ok(Usage {
        cpu,
        resident,
        peak,
    })
}

fn read(path: &str) -> Result<String, ProcessError> {
    fs::read_to_string(path).map_err(|source| ProcessError::Proc {
        path: path.into(),
        source,
    })
}

/// Fields 14 and 15 of `stat`. The second field is the program's name, which may contain anything.
fn cpu(stat: &str) -> Option<Duration> {
    // The name is in parentheses and may contain any: only the last one ends it.
    let (_, rest) = stat.rsplit_once(')')?;
    // The rest starts at field 3, so 11 fields precede field 14.
    let mut fields = rest.split_whitespace().skip(11);
    let user: u64 = fields.next()?.parse().ok()?;
    let system: u64 = fields.next()?.parse().ok()?;
    let tick =
        Duration::from_secs(1) / u32::try_from(rustix::param::clock_ticks_per_second()).ok()?;
    Some(tick * u32::try_from(user + system).ok()?)
}

/// Resident memory and its peak from `status`, which has them in KiB.
fn memory(status: &str) -> Option<(u64, u64)> {
    let field = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name))?;
        let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
        Some(kib * 1024)
    };
    Some((field("VmRSS:")?, field("VmHWM:")?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cpu_time_is_read_past_any_program_name() {
        let stat = "7 (a) b (c) S 1 7 7 0 -1 4194560 9 0 0 0 250 150 8 8 20 0 3 0 100 9 9";
        assert_eq!(cpu(stat), Some(Duration::from_secs(4)));
        assert_eq!(cpu("7 (cut"), None);
    }

    #[test]
    fn memory_is_read_in_bytes() {
        let status = "Name:\tx\nVmPeak:\t 9 kB\nVmHWM:\t    2048 kB\nVmRSS:\t    1024 kB\n";
        assert_eq!(memory(status), Some((1 << 20, 2 << 20)));
        assert_eq!(memory("Name:\tx\n"), None);
    }

    #[test]
    fn a_dropped_server_is_gone_with_its_children_counted_before() {
        let folder = tempfile::tempdir().expect("folder");
        let mut command = Command::new("sh");
        command.args([
            "-c",
            "sleep 600 & echo started; trap 'kill $!; exit' TERM; wait",
        ]);
        let mut server = Server::start("shell", command, folder.path()).expect("started");
        while server.family().expect("readable").len() < 2 || server.last_words() != "started" {
            server.check().expect("running");
            std::thread::yield_now();
        }
        let usage = server.usage().expect("readable");
        assert!(usage.peak >= usage.resident && usage.resident > 0);
        let processes = server.family().expect("readable");
        drop(server);
        assert!(!Path::new(&format!("/proc/{}", processes[0])).exists());
    }
}
