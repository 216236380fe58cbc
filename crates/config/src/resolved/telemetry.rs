//! What the program tells, and to whom: log, audit log, traces.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use http::HeaderMap;
use http::uri::PathAndQuery;

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

/// Where traces go.
#[derive(Debug, Clone, PartialEq)]
pub struct Collector {
    pub address: ServerAddress,
    pub transport: OtlpTransport,
    /// Marked as sensitive: they are never shown.
    pub headers: HeaderMap,
    /// For one batch.
    pub timeout: Duration,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OtlpTransport {
    Grpc,
    HttpProtobuf { path: PathAndQuery },
}

impl OtlpTransport {
    /// As OpenTelemetry names it.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Grpc => "grpc",
            Self::HttpProtobuf { .. } => "http/protobuf",
        }
    }
}

/// The URL that traces go to.
impl fmt::Display for Collector {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}", self.address)?;
        match &self.transport {
            OtlpTransport::Grpc => Ok(()),
            OtlpTransport::HttpProtobuf { path } => write!(formatter, "{path}"),
        }
    }
}

/// OpenTelemetry.
#[derive(Debug, Clone, PartialEq)]
pub enum Traces {
    Off,
    Sent {
        collector: Box<Collector>,
        /// From 0 to 1.
        sample_ratio: f64,
        service_name: String,
    },
}
