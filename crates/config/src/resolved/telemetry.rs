//! The program's own reports: log, audit log, traces.

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
    /// Text if standard error is a terminal, JSON otherwise.
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

/// What happens to requests whose lines cannot be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AuditFailure {
    Refuse,
    Drop,
}

/// Receiver of traces.
#[derive(Debug, Clone, PartialEq)]
pub struct Collector {
    pub address: ServerAddress,
    pub transport: OtlpTransport,
    /// Headers of each request; marked as sensitive, so that they are never printed.
    pub headers: HeaderMap,
    /// Timeout of one batch.
    pub timeout: Duration,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OtlpTransport {
    Grpc,
    HttpProtobuf { path: PathAndQuery },
}

impl OtlpTransport {
    /// Returns OpenTelemetry's name of the protocol.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Grpc => "grpc",
            Self::HttpProtobuf { .. } => "http/protobuf",
        }
    }
}

/// Displays the URL that traces are sent to.
impl fmt::Display for Collector {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}", self.address)?;
        match &self.transport {
            OtlpTransport::Grpc => Ok(()),
            OtlpTransport::HttpProtobuf { path } => write!(formatter, "{path}"),
        }
    }
}

/// OpenTelemetry traces.
#[derive(Debug, Clone, PartialEq)]
pub enum Traces {
    Off,
    Sent {
        collector: Box<Collector>,
        /// Sampled share of requests, from 0 to 1.
        sample_ratio: f64,
        service_name: String,
    },
}
