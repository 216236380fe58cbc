//! The text of one look at the progress: two lines for a terminal, or one line for a log.

use std::fmt::{self, Display};
use std::time::Duration;

use anstyle::{AnsiColor, Style};
use indicatif::{HumanBytes, HumanCount};

use super::pace::Rates;
use super::{Total, Unit};

/// Widest bar, in columns.
const BAR: usize = 40;

/// Narrowest bar that says anything.
const LEAST_BAR: usize = 10;

const SPINNER: [char; 10] = ['⠋', '⠙', '⠹', '⠸', '⠼', '⠴', '⠦', '⠧', '⠇', '⠏'];

/// Everything that is shown.
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

/// Styles of a terminal; none where it has no colours.
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

/// One of the facts behind the counts.
struct Piece {
    text: String,
    style: Style,
    /// Those with the highest go first where there is no room.
    dispensable: u8,
}

impl View<'_> {
    /// Two lines of at most `width` columns; `turn` moves the spinner.
    pub(super) fn frame(&self, width: usize, turn: usize, palette: Palette) -> String {
        format!(
            "{}\n{}",
            self.first_line(width, turn, palette),
            self.second_line(width, palette)
        )
    }

    /// The line of a log.
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
        // Without colours the two halves have to look different.
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
        let mut pieces = self.pieces(palette);
        let mut order: Vec<usize> = (0..pieces.len()).collect();
        order.sort_by_key(|index| pieces[*index].dispensable);
        let mut kept = vec![false; pieces.len()];
        for index in order {
            let needs = pieces[index].text.chars().count() + 2;
            if needs > room {
                break;
            }
            room -= needs;
            kept[index] = true;
        }
        let mut keep = kept.into_iter();
        pieces.retain(|_| keep.next().unwrap_or_default());
        let pieces = pieces
            .iter()
            .map(|Piece { text, style, .. }| format!(", {style}{text}{style:#}"));
        shortened(&counts, width) + &pieces.collect::<String>()
    }

    fn counts(&self) -> String {
        let amount = |number: u64| match self.unit {
            Unit::Objects | Unit::Buckets => HumanCount(number).to_string(),
            Unit::Bytes => HumanBytes(number).to_string(),
        };
        let done = amount(self.done);
        match self.total {
            Total::Exactly(total) => {
                let total = total.max(self.done);
                format!("{done} of {}{}", amount(total), self.unit.noun(total))
            }
            Total::AtLeast(total) if total > self.done => {
                format!("{done} of {}+{}", amount(total), self.unit.noun(total))
            }
            Total::AtLeast(_) | Total::Unknown => format!("{done}{}", self.unit.noun(self.done)),
        }
    }

    fn pieces(&self, palette: Palette) -> Vec<Piece> {
        let plain = |text: String, dispensable| Piece {
            text,
            style: Style::new(),
            dispensable,
        };
        let mut pieces = Vec::new();
        match self.unit {
            Unit::Objects => pieces.push(plain(format!("{}/s", self.rate()), 3)),
            Unit::Buckets | Unit::Bytes => {}
        }
        match self.unit {
            Unit::Objects | Unit::Bytes => {
                pieces.push(plain(
                    format!("{}/s", HumanBytes(whole(self.rates.bytes))),
                    4,
                ));
            }
            Unit::Buckets => {}
        }
        pieces.push(plain(format!("{} elapsed", Clock(self.elapsed)), 5));
        if let Some(left) = self.left() {
            pieces.push(plain(format!("{} left", Clock(left)), 2));
        }
        match self.unit {
            Unit::Objects | Unit::Buckets => pieces.push(Piece {
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
            pieces.push(plain(format!("{} skipped", HumanCount(self.skipped)), 6));
        }
        pieces
    }

    fn rate(&self) -> impl Display {
        HumanCount(whole(self.rates.done))
    }

    /// The time until the end, where the end is known.
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
    /// Behind a number of them.
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
        let columns = columns as u128;
        let part = columns * u128::from(self.done) / u128::from(self.total);
        usize::try_from(part).unwrap_or(usize::MAX)
    }
}

/// Hours, minutes and seconds.
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

/// Text that fits so many columns.
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
mod tests {
    use super::*;

    const VIEW: View<'_> = View {
        heading: "verify photos/2024/",
        unit: Unit::Objects,
        done: 1240,
        total: Total::Exactly(2000),
        bytes: 154_140_672,
        skipped: 0,
        failed: 0,
        rates: Rates {
            done: 209.0,
            bytes: 26_004_685.0,
        },
        elapsed: Duration::from_secs(6),
    };

    fn widths(frame: &str) -> Vec<usize> {
        let plain = anstream::adapter::strip_str(frame).to_string();
        plain.lines().map(|line| line.chars().count()).collect()
    }

    #[test]
    fn a_known_total_has_a_bar_and_the_time_left() {
        insta::assert_snapshot!(VIEW.frame(80, 0, Palette::PLAIN), @r"
        verify photos/2024/  ━━━━━━━━━━━━━━━━━━━━━━━━────────────────  62%
          1,240 of 2,000 objects, 209/s, 24.80 MiB/s, 0:06 elapsed, 0:03 left, 0 failed
        ");
    }

    #[test]
    fn an_unknown_total_has_a_spinner_and_what_was_counted_so_far() {
        let counting = View {
            total: Total::AtLeast(15_000),
            failed: 3,
            ..VIEW
        };
        insta::assert_snapshot!(counting.frame(80, 2, Palette::PLAIN), @r"
        ⠹ verify photos/2024/
          1,240 of 15,000+ objects, 209/s, 24.80 MiB/s, 0:06 elapsed, 3 failed
        ");
        let unknown = View {
            total: Total::Unknown,
            ..VIEW
        };
        assert!(
            unknown
                .frame(80, 0, Palette::PLAIN)
                .contains("\n  1,240 objects, ")
        );
    }

    #[test]
    fn colours_change_nothing_but_the_look() {
        let failed = View { failed: 3, ..VIEW };
        let coloured = failed.frame(80, 0, Palette::COLOURED);
        assert!(
            coloured.contains("\u{1b}[1m\u{1b}[31m3 failed\u{1b}[0m"),
            "{coloured:?}"
        );
        let plain = anstream::adapter::strip_str(&coloured).to_string();
        let expected = failed.frame(80, 0, Palette::PLAIN);
        assert_eq!(plain.replace('━', "─"), expected.replace('━', "─"));
    }

    #[test]
    fn no_line_is_wider_than_the_terminal_and_failures_stay_longest() {
        let long = View {
            heading: "verify a-bucket-with-a-long-name/and/a/prefix/that/goes/on/and/on/",
            done: 1_234_567,
            total: Total::Exactly(98_765_432),
            failed: 4321,
            skipped: 99,
            ..VIEW
        };
        for view in [VIEW, long] {
            for width in [1, 10, 20, 40, 60, 80, 100, 200] {
                for palette in [Palette::PLAIN, Palette::COLOURED] {
                    let frame = view.frame(width, 1, palette);
                    let widest = widths(&frame).into_iter().max().unwrap_or(0);
                    assert!(widest <= width.max(14), "{width}: {widest}: {frame}");
                }
            }
        }
        assert!(long.frame(60, 0, Palette::PLAIN).contains("4,321 failed"));
    }

    #[test]
    fn only_the_whole_is_a_hundred_percent() {
        for (done, total, percent) in [
            (0, 1, 0),
            (1999, 2000, 99),
            (7, 7, 100),
            (9, 7, 100),
            (0, 0, 100),
        ] {
            let view = View {
                done,
                total: Total::Exactly(total),
                ..VIEW
            };
            let frame = view.frame(80, 0, Palette::PLAIN);
            assert!(
                frame.contains(&format!(" {percent}%")),
                "{done} of {total}: {frame}"
            );
        }
    }

    #[test]
    fn a_log_has_a_line() {
        let line = "verify photos/2024/: 1,240 of 2,000 objects, 0 skipped, 0 failed, 147.00 MiB, \
            209/s, 0:03 left";
        assert_eq!(VIEW.line(), line);
        let unknown = View {
            total: Total::Unknown,
            ..VIEW
        };
        let line = "verify photos/2024/: 1,240 objects, 0 skipped, 0 failed, 147.00 MiB, 209/s";
        assert_eq!(unknown.line(), line);
    }

    #[test]
    fn bytes_and_buckets_are_counted_too() {
        let object = View {
            heading: "decrypt photos/cat.jpg",
            unit: Unit::Bytes,
            done: 52_428_800,
            total: Total::Exactly(104_857_600),
            rates: Rates {
                done: 26_214_400.0,
                bytes: 26_214_400.0,
            },
            ..VIEW
        };
        insta::assert_snapshot!(object.frame(80, 0, Palette::PLAIN), @r"
        decrypt photos/cat.jpg  ━━━━━━━━━━━━━━━━━━━━────────────────────  50%
          50.00 MiB of 100.00 MiB, 25.00 MiB/s, 0:06 elapsed, 0:02 left
        ");
        let sweep = View {
            heading: "sweep photos",
            unit: Unit::Buckets,
            done: 1,
            total: Total::Exactly(4),
            rates: Rates::default(),
            ..VIEW
        };
        insta::assert_snapshot!(sweep.frame(80, 0, Palette::PLAIN), @r"
        sweep photos  ━━━━━━━━━━──────────────────────────────  25%
          1 of 4 buckets, 0:06 elapsed, 0 failed
        ");
    }

    #[test]
    fn long_times_have_hours() {
        assert_eq!(Clock(Duration::from_secs(59)).to_string(), "0:59");
        assert_eq!(Clock(Duration::from_secs(3723)).to_string(), "1:02:03");
    }
}
