//! Standard error as the terminal that the bar is drawn on.

use std::io;

use console::Term;
use indicatif::TermLike;

/// A terminal on which each drawing leaves the cursor at the beginning of its last line.
///
/// The bar's library leaves the cursor at the right edge, where the `^C` of an interrupt would wrap
/// to the next line, and the wrong lines would be cleared. The drawing and the carriage return are
/// one write, so that no key is echoed between them.
#[derive(Debug)]
pub(super) struct Homing(Term);

impl Homing {
    pub(super) fn stderr() -> Self {
        Self(Term::buffered_stderr())
    }
}

impl TermLike for Homing {
    fn width(&self) -> u16 {
        TermLike::width(&self.0)
    }

    fn height(&self) -> u16 {
        TermLike::height(&self.0)
    }

    fn move_cursor_up(&self, lines: usize) -> io::Result<()> {
        self.0.move_cursor_up(lines)
    }

    fn move_cursor_down(&self, lines: usize) -> io::Result<()> {
        self.0.move_cursor_down(lines)
    }

    fn move_cursor_right(&self, columns: usize) -> io::Result<()> {
        self.0.move_cursor_right(columns)
    }

    fn move_cursor_left(&self, columns: usize) -> io::Result<()> {
        self.0.move_cursor_left(columns)
    }

    fn write_line(&self, text: &str) -> io::Result<()> {
        self.0.write_line(text)
    }

    fn write_str(&self, text: &str) -> io::Result<()> {
        self.0.write_str(text)
    }

    fn clear_line(&self) -> io::Result<()> {
        self.0.clear_line()
    }

    fn flush(&self) -> io::Result<()> {
        // Buffered with the drawing: the flush writes both at once.
        self.0.write_str("\r")?;
        self.0.flush()
    }
}
