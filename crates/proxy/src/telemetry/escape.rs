//! Escaping of deceptive characters before they reach a log, and limits on the length of lines.
//!
//! In text, each field's value is escaped as it is written, before colours are added around it. In
//! JSON the serialiser escapes the characters that JSON requires; other controls (DEL, U+0080 to
//! U+009F) and the format characters that hide text or change its direction are escaped afterwards.
//! In text no value has more than [`MAXIMUM_VALUE_BYTES`], and no line has more than
//! [`MAXIMUM_LINE_BYTES`].

use std::fmt;
use std::io;

use s3proxy_protocol::quote::{self, is_deceptive};
use serde_json::Value;
use tracing::field::Field;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::fmt::format::Writer;

/// Longest line of the log in bytes, with its end: collectors drop or split longer ones.
pub(super) const MAXIMUM_LINE_BYTES: usize = 4096;

/// Longest value in a line of text, in bytes before it is escaped.
const MAXIMUM_VALUE_BYTES: usize = 1024;

/// End of a truncated line: it resets colours, which may be on.
const CUT: &str = "…\x1b[0m\n";
const CUT_PLAIN: &str = "…\n";

/// Replacement for a line that cannot be shortened.
const LEFT_OUT: &str =
    "{\"level\":\"WARN\",\"message\":\"omitted a log line of more than 4096 bytes\"}\n";

/// Writes one field of a text line.
pub(super) fn field(writer: &mut Writer<'_>, field: &Field, value: &dyn fmt::Debug) -> fmt::Result {
    if field.name() != "message" {
        write!(writer, "{}=", field.name())?;
    }
    writer.write_str(&self::value(value))
}

/// Returns a value as text lines show it: bounded, and without deceptive characters.
pub(super) fn value(value: &dyn fmt::Debug) -> String {
    let value = quote::bounded(&format_args!("{value:?}"), MAXIMUM_VALUE_BYTES);
    let mut escaped = String::with_capacity(value.len());
    for character in value.chars() {
        if is_deceptive(character) {
            escaped.extend(character.escape_default());
        } else {
            escaped.push(character);
        }
    }
    escaped
}

/// Maker of writers that truncate long lines of text.
pub(super) struct TextWriters<M> {
    pub writers: M,
    pub coloured: bool,
}

impl<'a, M: MakeWriter<'a>> MakeWriter<'a> for TextWriters<M> {
    type Writer = TextWriter<M::Writer>;

    fn make_writer(&'a self) -> Self::Writer {
        TextWriter {
            writer: self.writers.make_writer(),
            cut: if self.coloured { CUT } else { CUT_PLAIN },
        }
    }
}

/// Writer of whole lines, which is how events are written.
pub(super) struct TextWriter<W> {
    writer: W,
    cut: &'static str,
}

impl<W: io::Write> io::Write for TextWriter<W> {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        if line.len() <= MAXIMUM_LINE_BYTES {
            self.writer.write_all(line)?;
        } else {
            let text = String::from_utf8_lossy(line);
            let kept = text.floor_char_boundary(MAXIMUM_LINE_BYTES - self.cut.len());
            let cut = format!("{}{}", &text[..kept], self.cut);
            self.writer.write_all(cut.as_bytes())?;
        }
        // The whole line counts as written: a short count would make the caller write the rest.
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.writer.flush()
    }
}

/// Maker of writers that escape the characters that JSON does not, and shorten lines.
pub(super) struct JsonWriters<M>(pub M);

impl<'a, M: MakeWriter<'a>> MakeWriter<'a> for JsonWriters<M> {
    type Writer = JsonWriter<M::Writer>;

    fn make_writer(&'a self) -> Self::Writer {
        JsonWriter(self.0.make_writer())
    }
}

/// Writer of whole lines, which is how events are written: no character is ever split.
pub(super) struct JsonWriter<W>(W);

impl<W: io::Write> io::Write for JsonWriter<W> {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.0.write_all(&short(escaped(line)))?;
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

/// Returns the line, or the same fields with shorter texts.
fn short(line: Vec<u8>) -> Vec<u8> {
    if line.len() <= MAXIMUM_LINE_BYTES {
        return line;
    }
    // Never expected, but a line that is not JSON cannot be shortened by field.
    let Ok(mut value) = serde_json::from_slice::<Value>(&line) else {
        return LEFT_OUT.into();
    };
    // Escaping can make a text longer, so the limit is found by trying.
    for bytes in [512, 256, 128, 64, 32] {
        shorten_texts(&mut value, bytes);
        let mut shortened = escaped(value.to_string().as_bytes());
        shortened.push(b'\n');
        if shortened.len() <= MAXIMUM_LINE_BYTES {
            return shortened;
        }
    }
    LEFT_OUT.into()
}

fn shorten_texts(value: &mut Value, bytes: usize) {
    match value {
        Value::String(text) if text.len() > bytes => *text = quote::bounded(text, bytes),
        Value::Array(values) => values
            .iter_mut()
            .for_each(|value| shorten_texts(value, bytes)),
        Value::Object(fields) => fields
            .values_mut()
            .for_each(|value| shorten_texts(value, bytes)),
        Value::String(_) | Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

/// Escapes in JSON the characters that JSON does not.
pub(super) fn escaped(line: &[u8]) -> Vec<u8> {
    quote::escaped_json(&String::from_utf8_lossy(line))
        .into_owned()
        .into_bytes()
}
