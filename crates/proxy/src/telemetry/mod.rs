//! Logs and metrics, and the measures that keep secrets out of them.
//!
//! Log lines go to standard error, as text or JSON. The configured level applies to this program's
//! own modules. Libraries log at `warn` and above only, because at lower levels some of them print
//! headers, and with them signatures. Control characters, and those that hide text or change its
//! direction, are escaped in both formats, so that nothing a client sends can forge a line or
//! control a terminal. A line has at most 4 KiB. A panic is logged with its location and a fixed
//! text, never with its message, which may contain content.
//!
//! Absent on purpose: `RUST_LOG` (it could lift the limit for libraries), files and rotation.

pub(crate) mod audit;
mod core_dumps;
mod escape;
mod lines;
mod log_rate_limit;
pub mod metrics;
mod panic_hook;
pub(crate) mod traces;

pub use core_dumps::{CoreDumpError, forbid_core_dumps};
pub(crate) use log_rate_limit::LogRateLimit;

use std::io::{self, IsTerminal};

use tracing::level_filters::LevelFilter;
use tracing::{Dispatch, Level};
use tracing_subscriber::filter::Targets;
use tracing_subscriber::fmt::{MakeWriter, format};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::prelude::*;
use tracing_subscriber::{Registry, reload};

use crate::config::resolved::{Log, LogFormat, LogLevel};

/// Target of the log line that each request leaves.
pub(crate) const REQUEST_TARGET: &str = "s3proxy::request";

/// Message of the log line that each request leaves; in text it becomes a line of its own form.
pub(crate) const REQUEST_MESSAGE: &str = "request";

/// Failure to set up logging.
#[derive(Debug, thiserror::Error)]
#[error("logging is set up already; expected one call, at start")]
pub struct TelemetryError(#[source] tracing::dispatcher::SetGlobalDefaultError);

/// Starts logging to standard error, panics included, and returns the form of the lines. Once per
/// process.
pub fn init(log: Log) -> Result<(LogLevels, LogForm), TelemetryError> {
    // https://no-color.org: any value except an empty one disables colours.
    let colours = std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
    let shape = LogShape::of(log.format, io::stderr().is_terminal(), colours);
    let (dispatch, levels) = dispatch(log.level, shape, io::stderr);
    tracing::dispatcher::set_global_default(dispatch).map_err(TelemetryError)?;
    panic_hook::install();
    let written = match shape {
        LogShape::Json => LogForm::Json,
        LogShape::ColouredText | LogShape::PlainText => LogForm::Text,
    };
    Ok((levels, written))
}

/// Form of the log's lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogForm {
    /// Lines of text, for people.
    Text,
    /// One JSON object per line.
    Json,
}

/// Handle to change the level of a running log.
#[derive(Clone)]
pub struct LogLevels(reload::Handle<Targets, Registry>);

impl LogLevels {
    /// Sets the level from now on.
    pub fn set(&self, level: LogLevel) {
        // Fails only if the subscriber is gone, and with it the log.
        let _ = self.0.reload(filter(level));
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum LogShape {
    ColouredText,
    PlainText,
    Json,
}

impl LogShape {
    fn of(format: LogFormat, is_terminal: bool, colours: bool) -> Self {
        match (format, is_terminal) {
            (LogFormat::Text | LogFormat::Auto, true) if colours => Self::ColouredText,
            (LogFormat::Text, _) | (LogFormat::Auto, true) => Self::PlainText,
            (LogFormat::Auto, false) | (LogFormat::Json, _) => Self::Json,
        }
    }
}

fn dispatch<W>(level: LogLevel, shape: LogShape, writer: W) -> (Dispatch, LogLevels)
where
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    let (filter, handle) = reload::Layer::new(filter(level));
    let registry = tracing_subscriber::registry().with(filter);
    let layer = tracing_subscriber::fmt::layer();
    let dispatch = match shape {
        LogShape::Json => {
            let layer = layer.json().flatten_event(true).with_current_span(true);
            let layer = layer
                .with_span_list(false)
                .with_writer(escape::JsonWriters(writer));
            registry.with(layer).into()
        }
        LogShape::ColouredText | LogShape::PlainText => {
            let fields = format::debug_fn(escape::field).delimited(" ");
            let coloured = shape == LogShape::ColouredText;
            let layer = layer
                .with_ansi(coloured)
                .event_format(lines::TextLines { coloured })
                .fmt_fields(fields);
            let writers = escape::TextWriters {
                writers: writer,
                coloured,
            };
            registry.with(layer.with_writer(writers)).into()
        }
    };
    (dispatch, LogLevels(handle))
}

fn filter(level: LogLevel) -> Targets {
    let own = match level {
        LogLevel::Error => Level::ERROR,
        LogLevel::Warn => Level::WARN,
        LogLevel::Info => Level::INFO,
        LogLevel::Debug => Level::DEBUG,
    };
    // The target is a prefix: it covers the crates of the format and of the protocol, too.
    Targets::new()
        // Libraries log at `warn` at most, and at `error` if the program does.
        .with_default(LevelFilter::from_level(own.min(Level::WARN)))
        // This crate logs errors in Rust's debug form, and returns them as well: they are reported
        // once, by this program.
        .with_target("aws_config", LevelFilter::ERROR)
        .with_target("s3proxy", own)
}

#[cfg(test)]
mod tests;
