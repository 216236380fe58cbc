//! Lines of text for people: a request is one short line, any other event a message with its
//! fields.
//!
//! A terminal gets the time of day and colours, a file the full date. Both are in UTC.

use std::fmt;

use indicatif::BinaryBytes;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::registry::LookupSpan;

use super::escape;
use super::{REQUEST_MESSAGE, REQUEST_TARGET};

/// Formatter of events as lines of text.
pub(super) struct TextLines {
    /// Whether to use colours, for a terminal.
    pub coloured: bool,
}

impl<S, N> FormatEvent<S, N> for TextLines
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        self.begin(&mut writer, *event.metadata().level())?;
        let mut request = RequestFields::default();
        // Only events of this target can be requests; the others are not visited twice.
        if event.metadata().target() == REQUEST_TARGET {
            event.record(&mut request);
        }
        if request.is_request {
            request.write(&mut writer)?;
        } else {
            context.format_fields(writer.by_ref(), event)?;
        }
        writeln!(writer)
    }
}

impl TextLines {
    fn begin(&self, writer: &mut Writer<'_>, level: Level) -> fmt::Result {
        let now = OffsetDateTime::now_utc();
        if !self.coloured {
            let now = now.format(&Rfc3339).map_err(|_| fmt::Error)?;
            return write!(writer, "{now} {level:>5} ");
        }
        let (hour, minute, second) = now.to_hms();
        let colour = match level {
            Level::ERROR => "31",
            Level::WARN => "33",
            Level::INFO => "32",
            _ => "34",
        };
        write!(
            writer,
            "\x1b[2m{hour:02}:{minute:02}:{second:02}\x1b[0m \x1b[{colour}m{level:>5}\x1b[0m "
        )
    }
}

/// Fields of a request's event that its line shows.
#[derive(Default)]
struct RequestFields {
    is_request: bool,
    status: u64,
    milliseconds: u64,
    bytes_in: u64,
    bytes_out: u64,
    texts: Vec<(&'static str, String)>,
}

impl Visit for RequestFields {
    fn record_u64(&mut self, field: &Field, value: u64) {
        match field.name() {
            "status" => self.status = value,
            "milliseconds" => self.milliseconds = value,
            "bytes_in" => self.bytes_in = value,
            "bytes_out" => self.bytes_out = value,
            _ => {}
        }
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        let text = escape::value(value);
        if field.name() == "message" {
            self.is_request = text == REQUEST_MESSAGE;
        } else {
            self.texts.push((field.name(), text));
        }
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.record_debug(field, &format_args!("{value}"));
    }
}

impl RequestFields {
    fn text(&self, name: &str) -> Option<&str> {
        let mut texts = self.texts.iter();
        texts.find_map(|(known, text)| (*known == name).then_some(text.as_str()))
    }

    /// Writes `200 PutObject photos, 6 B in, 2 ms, client dev at 127.0.0.1`, and the reason of a
    /// failure.
    fn write(&self, writer: &mut Writer<'_>) -> fmt::Result {
        match self.status {
            0 => writer.write_str("---")?,
            status => write!(writer, "{status}")?,
        }
        let what = self.text("operation").or_else(|| self.text("method"));
        for text in [what, self.text("bucket")].into_iter().flatten() {
            write!(writer, " {text}")?;
        }
        for (bytes, direction) in [(self.bytes_in, "in"), (self.bytes_out, "out")] {
            if bytes > 0 {
                write!(writer, ", {} {direction}", BinaryBytes(bytes))?;
            }
        }
        write!(writer, ", {} ms", self.milliseconds)?;
        match (self.text("client"), self.text("claimed_access_key_id")) {
            (Some(client), _) => write!(writer, ", client {client}")?,
            (None, Some(claimed)) => write!(writer, ", access key {claimed} (not verified)")?,
            (None, None) => {}
        }
        if let Some(peer) = self.text("peer") {
            write!(writer, ", from {peer}")?;
        }
        if let Some(host) = self.text("host") {
            write!(writer, ", Host {host}")?;
        }
        match self.text("outcome") {
            Some("complete") | None => {}
            Some(outcome) => write!(writer, ", {}", outcome.replace('_', " "))?,
        }
        match self.text("reason") {
            Some(reason) => write!(
                writer,
                ": {reason} (request {})",
                self.text("request_id").unwrap_or_default()
            ),
            None => Ok(()),
        }
    }
}
