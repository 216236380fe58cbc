//! What the program tells, and to whom: log, audit log, traces.

use std::path::PathBuf;

use super::ServerAddress;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Log {
    pub level: LogLevel,
    pub format: LogFormat,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum LogLevel {
    Error,
    Warn,
    Info,
    Debug,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// Text when standard error is a terminal, JSON otherwise.
    Auto,
    Text,
    Json,
}

/// The audit log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Audit {
    pub output: AuditOutput,
    pub object_keys: AuditObjectKeys,
    pub on_failure: AuditFailure,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AuditOutput {
    Off,
    Stdout,
    File(PathBuf),
}

/// Whether lines name objects.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AuditObjectKeys {
    Plain,
    Off,
}

/// What becomes of requests whose lines cannot be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AuditFailure {
    Refuse,
    Drop,
}

/// OpenTelemetry.
#[derive(Debug, Clone, PartialEq)]
pub enum Traces {
    Off,
    Sent {
        collector: ServerAddress,
        /// From 0 to 1.
        sample_ratio: f64,
        service_name: String,
    },
}
