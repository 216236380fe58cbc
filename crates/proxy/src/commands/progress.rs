//! Progress of a command, on standard error: a bar on a terminal, and a line every ten seconds
//! elsewhere, for logs.
//!
//! Nothing is drawn on a terminal that cannot move its cursor (`TERM=dumb`), and nothing in colour
//! if `NO_COLOR` is set.

mod frame;
mod rate_meter;
mod terminal;

use std::io::{IsTerminal, Stderr};
use std::time::Duration;

use anstream::{AutoStream, ColorChoice};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use self::frame::{Palette, View};
use self::rate_meter::RateMeter;
use self::terminal::Homing;
use super::report::shown;

/// Interval between two lines.
const LINE_INTERVAL: Duration = Duration::from_secs(10);

/// Interval between two positions of the spinner.
const SPIN_INTERVAL: Duration = Duration::from_millis(120);

/// Most updates of a terminal per second.
const LOOKS_PER_SECOND: u8 = 20;

/// Width in columns if the terminal does not report its own.
const USUAL_WIDTH: usize = 80;

/// Unit of the counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unit {
    Objects,
    Buckets,
    Bytes,
}

/// Total number of units.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Total {
    Unknown,
    /// Counted so far.
    AtLeast(u64),
    Exactly(u64),
}

/// Counts of finished work.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct DoneCounts {
    /// Units that are done, including skipped and failed ones.
    pub(super) units: u64,
    /// Stored bytes of the done units.
    pub(super) bytes: u64,
    pub(super) skipped: u64,
    pub(super) failed: u64,
}

/// Progress display of a command.
pub(crate) struct ProgressDisplay {
    command: &'static str,
    heading: String,
    unit: Unit,
    total: Total,
    rates: RateMeter,
    shown: DisplayForm,
}

enum DisplayForm {
    Bar(Bar),
    Lines { next: Duration },
}

struct Bar {
    drawn: ProgressBar,
    palette: Palette,
    width: fn() -> usize,
}

impl ProgressDisplay {
    /// Chooses the display that suits standard error.
    pub(super) fn on_standard_error(command: &'static str, unit: Unit) -> Self {
        let stderr = std::io::stderr();
        let shown = if stderr.is_terminal() && !is_dumb() {
            let palette = match AutoStream::<Stderr>::choice(&stderr) {
                ColorChoice::Never => Palette::PLAIN,
                ColorChoice::Always | ColorChoice::AlwaysAnsi | ColorChoice::Auto => {
                    Palette::COLOURED
                }
            };
            let terminal = Box::new(Homing::stderr());
            let target = ProgressDrawTarget::term_like_with_hz(terminal, LOOKS_PER_SECOND);
            DisplayForm::Bar(Bar::on(target, palette, terminal_width))
        } else {
            DisplayForm::Lines {
                next: LINE_INTERVAL,
            }
        };
        Self::new(command, unit, shown)
    }

    fn new(command: &'static str, unit: Unit, shown: DisplayForm) -> Self {
        Self {
            command,
            heading: command.to_owned(),
            unit,
            total: Total::Unknown,
            rates: RateMeter::new(),
            shown,
        }
    }

    /// Makes a display that never shows anything.
    pub(super) fn silent() -> Self {
        let never = DisplayForm::Lines {
            next: Duration::MAX,
        };
        Self::new("", Unit::Objects, never)
    }

    /// Sets the current target.
    pub(super) fn begin(&mut self, target: &str) {
        self.heading = format!("{} {}", self.command, shown(target));
    }

    /// Sets the total number of units, those of earlier targets included.
    pub(super) fn set_total(&mut self, total: Total) {
        self.total = total;
    }

    pub(super) fn show(&mut self, done: DoneCounts, elapsed: Duration) {
        let rates = self.rates.at(elapsed, done.units, done.bytes);
        let view = View {
            heading: &self.heading,
            unit: self.unit,
            done: done.units,
            total: self.total,
            bytes: done.bytes,
            skipped: done.skipped,
            failed: done.failed,
            rates,
            elapsed,
        };
        match &mut self.shown {
            DisplayForm::Bar(bar) => bar.draw(&view),
            DisplayForm::Lines { next } if elapsed >= *next => {
                *next = elapsed + LINE_INTERVAL;
                eprintln!("{}", view.line());
            }
            DisplayForm::Lines { .. } => {}
        }
    }

    /// Writes a line above the bar.
    pub(super) fn note(&mut self, text: &str) {
        self.suspended(|| eprintln!("{text}"));
    }

    /// Runs `write`, which writes to the same terminal, while the bar is hidden.
    pub(super) fn suspended<T>(&self, write: impl FnOnce() -> T) -> T {
        match &self.shown {
            DisplayForm::Bar(bar) => bar.drawn.suspend(write),
            DisplayForm::Lines { .. } => write(),
        }
    }

    /// Draws the final state, which agrees with the summary, and removes the bar before the summary
    /// follows.
    pub(super) fn end(&mut self, done: DoneCounts, elapsed: Duration) {
        match &self.shown {
            DisplayForm::Lines { .. } => return,
            DisplayForm::Bar(_) => self.show(done, elapsed),
        }
        if let DisplayForm::Bar(bar) = &self.shown {
            bar.drawn.force_draw();
            bar.drawn.finish_and_clear();
        }
    }
}

impl Bar {
    fn on(target: ProgressDrawTarget, palette: Palette, width: fn() -> usize) -> Self {
        let bar = ProgressBar::with_draw_target(None, target);
        let template = ProgressStyle::with_template("{msg}").expect("the template is valid");
        Self {
            drawn: bar.with_style(template),
            palette,
            width,
        }
    }

    fn draw(&self, view: &View<'_>) {
        let turn = view.elapsed.as_millis() / SPIN_INTERVAL.as_millis();
        let turn = usize::try_from(turn).unwrap_or_default();
        // A line as wide as the terminal wraps on some terminals and not on others.
        let width = (self.width)().saturating_sub(1);
        let frame = view.frame(width, turn, self.palette);
        self.drawn.set_message(frame);
    }
}

/// Returns whether the terminal takes no control sequences.
fn is_dumb() -> bool {
    std::env::var_os("TERM").is_none_or(|terminal| terminal.is_empty() || terminal == "dumb")
}

fn terminal_width() -> usize {
    let size = rustix::termios::tcgetwinsize(std::io::stderr());
    match size.map(|size| usize::from(size.ws_col)) {
        Ok(0) | Err(_) => USUAL_WIDTH,
        Ok(width) => width,
    }
}

#[cfg(test)]
mod tests;
