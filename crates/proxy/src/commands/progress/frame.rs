//! Text of the progress: two lines for a terminal, or one line for a log.

use std::fmt::{self, Display};
use std::time::Duration;

use anstyle::{AnsiColor, Style};
use indicatif::{HumanBytes, HumanCount};

use super::rate_meter::Rates;
use super::{Total, Unit};

/// Widest bar, in columns.
const BAR: usize = 40;

/// Narrowest useful bar, in columns.
const LEAST_BAR: usize = 10;

const SPINNER: [char; 10] = ['⠋', '⠙', '⠹', '⠸', '⠼', '⠴', '⠦', '⠧', '⠇', '⠏'];

/// State to be shown.
#[derive(Debug, Clone, Copy)]
pub(super) struct View<'a> {
    /// Command and target.
    pub(super) heading: &'a str,
    pub(super) unit: Unit,
    pub(super) done: u64,
    pub(super) total: Total,
    pub(super) bytes: u64,
    pub(super) skipped: u64,
    pub(super) failed: u64,
    pub(super) rates: Rates,
    pub(super) elapsed: Duration,
}

/// Styles of a terminal; plain if it has no colours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Palette {
    heading: Style,
    filled: Style,
    empty: Style,
    failed: Style,
}

impl Palette {
    pub(super) const COLOURED: Self = Self {
        heading: Style::new().bold(),
        filled: AnsiColor::Green.on_default(),
        empty: Style::new().dimmed(),
        failed: AnsiColor::Red.on_default().bold(),
    };

    pub(super) const PLAIN: Self = Self {
        heading: Style::new(),
        filled: Style::new(),
        empty: Style::new(),
        failed: Style::new(),
    };
}

/// A field after the counts, such as the rate.
struct StatusField {
    text: String,
    style: Style,
    /// Rank in which fields are dropped if there is no room: the highest first.
    dispensable: u8,
}

impl View<'_> {
    /// Renders two lines of at most `width` columns; `turn` moves the spinner.
    pub(super) fn frame(&self, width: usize, turn: usize, palette: Palette) -> String {
        format!(
            "{}\n{}",
            self.first_line(width, turn, palette),
            self.second_line(width, palette)
        )
    }

    /// Renders the line of a log.
    pub(super) fn line(&self) -> String {
        let failed = HumanCount(self.failed);
        let facts = match self.unit {
            Unit::Objects => format!(
                "{} skipped, {failed} failed, {}, {}/s",
                HumanCount(self.skipped),
                HumanBytes(self.bytes),
                self.rate()
            ),
            Unit::Buckets => format!("{failed} failed"),
            Unit::Bytes => format!("{}/s", HumanBytes(whole(self.rates.bytes))),
        };
        let left = self.left().map(|left| format!(", {} left", Clock(left)));
        let left = left.unwrap_or_default();
        format!("{}: {}, {facts}{left}", self.heading, self.counts())
    }

    fn first_line(&self, width: usize, turn: usize, palette: Palette) -> String {
        let Palette {
            heading,
            filled,
            empty,
            ..
        } = palette;
        let share = self.share();
        let around = match share {
            // Blanks around the bar, and the percentage in four columns.
            Some(_) => 7,
            // The spinner and a blank.
            None => 2,
        };
        let room = width.saturating_sub(around);
        let name = shortened(self.heading, room);
        let Some(share) = share else {
            let spinner = SPINNER[turn % SPINNER.len()];
            return format!("{filled}{spinner}{filled:#} {heading}{name}{heading:#}");
        };
        let columns = room.saturating_sub(name.chars().count()).min(BAR);
        if columns < LEAST_BAR {
            return format!("{heading}{name}{heading:#}  {}%", share.percent());
        }
        let done = share.of(columns);
        let (before, after) = ("━".repeat(done), "━".repeat(columns - done));
        // Without colours the two halves need different characters.
        let after = if palette == Palette::PLAIN {
            "─".repeat(columns - done)
        } else {
            after
        };
        format!(
            "{heading}{name}{heading:#}  {filled}{before}{filled:#}{empty}{after}{empty:#} {:>3}%",
            share.percent()
        )
    }

    fn second_line(&self, width: usize, palette: Palette) -> String {
        let counts = format!("  {}", self.counts());
        let mut room = width.saturating_sub(counts.chars().count());
        let mut fields = self.fields(palette);
        let mut order: Vec<usize> = (0..fields.len()).collect();
        order.sort_by_key(|index| fields[*index].dispensable);
        let mut kept = vec![false; fields.len()];
        for index in order {
            let needs = fields[index].text.chars().count() + 2;
            // Stop at the first that does not fit: a less important field must not take its room.
            if needs > room {
                break;
            }
            room -= needs;
            kept[index] = true;
        }
        let mut keep = kept.into_iter();
        fields.retain(|_| keep.next().unwrap_or_default());
        let fields = fields
            .iter()
            .map(|StatusField { text, style, .. }| format!(", {style}{text}{style:#}"));
        shortened(&counts, width) + &fields.collect::<String>()
    }

    fn counts(&self) -> String {
        let amount = |number: u64| match self.unit {
            Unit::Objects | Unit::Buckets => HumanCount(number).to_string(),
            Unit::Bytes => HumanBytes(number).to_string(),
        };
        let done = amount(self.done);
        match self.total {
            Total::Exactly(total) => {
                // Objects may be added after they were counted.
                let total = total.max(self.done);
                format!("{done} of {}{}", amount(total), self.unit.noun(total))
            }
            Total::AtLeast(total) if total > self.done => {
                format!("{done} of {}+{}", amount(total), self.unit.noun(total))
            }
            Total::AtLeast(_) | Total::Unknown => format!("{done}{}", self.unit.noun(self.done)),
        }
    }

    /// Returns the fields after the counts, in their order on the line.
    fn fields(&self, palette: Palette) -> Vec<StatusField> {
        let plain = |text: String, dispensable| StatusField {
            text,
            style: Style::new(),
            dispensable,
        };
        let object_rate = || plain(format!("{}/s", self.rate()), 3);
        let byte_rate = || plain(format!("{}/s", HumanBytes(whole(self.rates.bytes))), 4);
        let mut fields = match self.unit {
            Unit::Objects => vec![object_rate(), byte_rate()],
            Unit::Bytes => vec![byte_rate()],
            Unit::Buckets => Vec::new(),
        };
        fields.push(plain(format!("{} elapsed", Clock(self.elapsed)), 5));
        if let Some(left) = self.left() {
            fields.push(plain(format!("{} left", Clock(left)), 2));
        }
        match self.unit {
            Unit::Objects | Unit::Buckets => fields.push(StatusField {
                text: format!("{} failed", HumanCount(self.failed)),
                style: if self.failed > 0 {
                    palette.failed
                } else {
                    Style::new()
                },
                dispensable: 1,
            }),
            Unit::Bytes => {}
        }
        if self.skipped > 0 {
            fields.push(plain(format!("{} skipped", HumanCount(self.skipped)), 6));
        }
        fields
    }

    fn rate(&self) -> impl Display {
        HumanCount(whole(self.rates.done))
    }

    /// Returns the time until the end, if the end is known.
    fn left(&self) -> Option<Duration> {
        match self.total {
            Total::Exactly(total) => self.rates.time_for(total.saturating_sub(self.done)),
            Total::AtLeast(_) | Total::Unknown => None,
        }
    }

    fn share(&self) -> Option<Share> {
        match self.total {
            Total::Exactly(total) => Some(Share {
                done: self.done.min(total),
                total,
            }),
            Total::AtLeast(_) | Total::Unknown => None,
        }
    }
}

impl Unit {
    /// Returns the noun after a number of these units.
    fn noun(self, number: u64) -> &'static str {
        match (self, number) {
            (Self::Objects, 1) => " object",
            (Self::Objects, _) => " objects",
            (Self::Buckets, 1) => " bucket",
            (Self::Buckets, _) => " buckets",
            (Self::Bytes, _) => "",
        }
    }
}

/// A part of the whole, rounded down: only the whole is 100 %.
#[derive(Debug, Clone, Copy)]
struct Share {
    done: u64,
    total: u64,
}

impl Share {
    fn percent(self) -> usize {
        self.of(100)
    }

    fn of(self, columns: usize) -> usize {
        if self.total == 0 {
            return columns;
        }
        // In 128 bits, since the product may exceed 64.
        let columns = columns as u128;
        let part = columns * u128::from(self.done) / u128::from(self.total);
        usize::try_from(part).unwrap_or(usize::MAX)
    }
}

/// Time in hours, minutes and seconds.
struct Clock(Duration);

impl Display for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.0.as_secs();
        let (hours, minutes, seconds) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
        if hours > 0 {
            write!(f, "{hours}:{minutes:02}:{seconds:02}")
        } else {
            write!(f, "{minutes}:{seconds:02}")
        }
    }
}

/// Truncates text to this number of columns.
fn shortened(text: &str, columns: usize) -> String {
    if text.chars().count() <= columns {
        return text.to_owned();
    }
    let kept: String = text.chars().take(columns.saturating_sub(1)).collect();
    kept + "…"
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a rate is not negative, and one above u64's range is not met"
)]
fn whole(rate: f64) -> u64 {
    rate.round() as u64
}

#[cfg(test)]
mod tests;
