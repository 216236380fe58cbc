//! Control characters, escaped before they reach a log.
//!
//! In text, each field's value is escaped as it is written, before colours are added around it. In
//! JSON the serialiser escapes what JSON demands; DEL and the C1 controls (U+0080 to U+009F), which
//! JSON lets through and terminals obey, are escaped behind it.

use std::fmt::{self, Write as _};
use std::io;

use tracing::field::Field;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::fmt::format::Writer;

/// Writes one field of a text line.
pub(super) fn field(writer: &mut Writer<'_>, field: &Field, value: &dyn fmt::Debug) -> fmt::Result {
    if field.name() != "message" {
        write!(writer, "{}=", field.name())?;
    }
    write!(EscapedText(writer), "{value:?}")
}

struct EscapedText<'a, 'b>(&'a mut Writer<'b>);

impl fmt::Write for EscapedText<'_, '_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for character in text.chars() {
            if character.is_control() {
                write!(self.0, "{}", character.escape_default())?;
            } else {
                self.0.write_char(character)?;
            }
        }
        Ok(())
    }
}

/// Makes writers that escape what JSON does not.
pub(super) struct JsonWriters<M>(pub M);

impl<'a, M: MakeWriter<'a>> MakeWriter<'a> for JsonWriters<M> {
    type Writer = JsonWriter<M::Writer>;

    fn make_writer(&'a self) -> Self::Writer {
        JsonWriter(self.0.make_writer())
    }
}

/// Takes whole lines, which is how events are written: no character is ever split.
pub(super) struct JsonWriter<W>(W);

impl<W: io::Write> io::Write for JsonWriter<W> {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.0.write_all(&escaped(line))?;
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

/// Escapes in JSON what JSON does not.
pub(super) fn escaped(line: &[u8]) -> Vec<u8> {
    let mut escaped = Vec::with_capacity(line.len());
    let mut bytes = line.iter().copied().peekable();
    while let Some(byte) = bytes.next() {
        match (byte, bytes.peek()) {
            (0x7f, _) => escaped.extend_from_slice(b"\\u007f"),
            // In UTF-8, C2 80 to C2 9F are the C1 controls.
            (0xc2, Some(&next @ 0x80..=0x9f)) => {
                bytes.next();
                escaped.extend_from_slice(format!("\\u{next:04x}").as_bytes());
            }
            (byte, _) => escaped.push(byte),
        }
    }
    escaped
}
