//! Output of a terminal while a command runs, and after it.

use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use indicatif::TermLike;

use super::*;

/// Fake terminal that remembers its lines.
#[derive(Debug, Clone, Default)]
struct Screen(Arc<Mutex<Drawn>>);

#[derive(Debug, Default)]
struct Drawn {
    lines: Vec<String>,
    row: usize,
}

impl Drawn {
    fn line(&mut self) -> &mut String {
        let row = self.row;
        self.lines
            .resize(self.lines.len().max(row + 1), String::new());
        &mut self.lines[row]
    }
}

impl Screen {
    fn shown(&self) -> MutexGuard<'_, Drawn> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn text(&self) -> String {
        self.shown().lines.join("\n")
    }

    fn progress(&self) -> ProgressDisplay {
        // Without a limit on the rate of updates.
        let target = ProgressDrawTarget::term_like_with_hz(Box::new(self.clone()), u8::MAX);
        let bar = Bar::on(target, Palette::PLAIN, || 80);
        ProgressDisplay::new("verify", Unit::Objects, super::DisplayForm::Bar(bar))
    }
}

impl TermLike for Screen {
    fn width(&self) -> u16 {
        80
    }

    fn move_cursor_up(&self, lines: usize) -> io::Result<()> {
        let mut shown = self.shown();
        shown.row = shown.row.saturating_sub(lines);
        Ok(())
    }

    fn move_cursor_down(&self, lines: usize) -> io::Result<()> {
        self.shown().row += lines;
        Ok(())
    }

    fn move_cursor_right(&self, _columns: usize) -> io::Result<()> {
        Ok(())
    }

    fn move_cursor_left(&self, _columns: usize) -> io::Result<()> {
        Ok(())
    }

    fn write_line(&self, text: &str) -> io::Result<()> {
        let mut shown = self.shown();
        shown.line().push_str(text);
        shown.row += 1;
        Ok(())
    }

    fn write_str(&self, text: &str) -> io::Result<()> {
        let mut shown = self.shown();
        for (index, line) in text.split('\n').enumerate() {
            shown.row += usize::from(index > 0);
            shown.line().push_str(line);
        }
        Ok(())
    }

    fn clear_line(&self) -> io::Result<()> {
        self.shown().line().clear();
        Ok(())
    }

    fn flush(&self) -> io::Result<()> {
        Ok(())
    }
}

fn done(units: u64, failed: u64) -> DoneCounts {
    DoneCounts {
        units,
        bytes: units * 1024,
        skipped: 0,
        failed,
    }
}

#[test]
fn a_terminal_shows_the_target_the_total_and_what_is_done() {
    let screen = Screen::default();
    let mut progress = screen.progress();
    progress.begin("photos");
    progress.set_total(Total::Exactly(40));
    progress.show(done(10, 1), Duration::from_secs(1));
    let text = screen.text();
    assert!(text.starts_with("verify photos  ━"), "{text}");
    assert!(text.contains("10 of 40 objects"), "{text}");
    assert!(text.contains("1 failed"), "{text}");
}

#[test]
fn the_last_look_has_all_that_was_done_and_leaves_nothing_behind() {
    let screen = Screen::default();
    let mut progress = screen.progress();
    progress.begin("photos");
    progress.set_total(Total::Exactly(40));
    progress.show(done(10, 0), Duration::from_secs(1));
    let seen = Arc::new(Mutex::new(String::new()));
    // Too soon after the previous update to be drawn automatically.
    progress.show(done(12, 0), Duration::from_millis(1001));
    if let super::DisplayForm::Bar(bar) = &progress.shown {
        bar.drawn.force_draw();
        seen.lock().unwrap().push_str(&screen.text());
    }
    assert!(seen.lock().unwrap().contains("12 of 40 objects"));
    // The end clears the bar, so that only the report remains.
    progress.end(done(13, 0), Duration::from_millis(1002));
    assert_eq!(screen.text().trim(), "");
}

#[test]
fn names_cannot_move_the_cursor() {
    let screen = Screen::default();
    let mut progress = screen.progress();
    progress.begin("photos/\u{1b}[2J");
    progress.show(done(1, 0), Duration::from_secs(1));
    assert!(!screen.text().contains('\u{1b}'), "{}", screen.text());
}
