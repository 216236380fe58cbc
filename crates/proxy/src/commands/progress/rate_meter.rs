//! Current speed of a command: measured over the last half minute, since objects that were done
//! earlier are skipped in no time and would distort an average.

use std::collections::VecDeque;
use std::time::Duration;

/// Time over which the rates are measured.
const WINDOW: Duration = Duration::from_secs(30);

/// Shortest time between two samples.
const SPACING: Duration = Duration::from_millis(200);

/// Units and bytes done at a point in time.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Sample {
    elapsed: Duration,
    done: u64,
    bytes: u64,
}

/// Units and bytes per second.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(super) struct Rates {
    pub(super) done: f64,
    pub(super) bytes: f64,
}

/// Recent samples; the first is at the beginning of the window.
#[derive(Debug)]
pub(super) struct RateMeter {
    samples: VecDeque<Sample>,
}

impl RateMeter {
    pub(super) fn new() -> Self {
        Self {
            samples: VecDeque::from([Sample::default()]),
        }
    }

    /// Returns the rates up to now.
    pub(super) fn at(&mut self, elapsed: Duration, done: u64, bytes: u64) -> Rates {
        let now = Sample {
            elapsed,
            done,
            bytes,
        };
        let is_due = |last: &Sample| elapsed >= last.elapsed + SPACING;
        if self.samples.back().is_none_or(is_due) {
            self.samples.push_back(now);
        }
        // One sample older than the window is kept as its beginning.
        let is_old = |next: &Sample| next.elapsed + WINDOW <= elapsed;
        while self.samples.get(1).is_some_and(is_old) {
            self.samples.pop_front();
        }
        let first = self.samples.front().copied().unwrap_or_default();
        let seconds = elapsed.saturating_sub(first.elapsed).as_secs_f64();
        if seconds <= 0.0 {
            return Rates::default();
        }
        Rates {
            done: number(done.saturating_sub(first.done)) / seconds,
            bytes: number(bytes.saturating_sub(first.bytes)) / seconds,
        }
    }
}

impl Rates {
    /// Returns the time for this many more units; `None` while the rate is zero.
    pub(super) fn time_for(self, units: u64) -> Option<Duration> {
        let seconds = number(units) / self.done;
        (self.done > 0.0).then(|| Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX))
    }
}

#[expect(
    clippy::cast_precision_loss,
    reason = "a rate for people needs no more than 52 bits"
)]
fn number(count: u64) -> f64 {
    count as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn rates_are_those_of_the_last_half_minute() {
        let mut meter = RateMeter::new();
        // 1000 per second that are skipped, and then 10 per second.
        for second in 1..=60_u64 {
            let done = 1000 * second.min(20) + 10 * second.saturating_sub(20);
            meter.at(seconds(second), done, 0);
        }
        let rates = meter.at(seconds(60), 20_400, 0);
        assert!((rates.done - 10.0).abs() < 0.01, "{rates:?}");
        assert_eq!(rates.time_for(100), Some(seconds(10)));
        assert!(meter.samples.len() < 40, "{}", meter.samples.len());
    }

    #[test]
    fn at_the_beginning_nothing_is_known() {
        let mut meter = RateMeter::new();
        let rates = meter.at(Duration::ZERO, 0, 0);
        assert_eq!((rates, rates.time_for(1)), (Rates::default(), None));
        assert_eq!(meter.at(seconds(1), 0, 0).time_for(1), None);
    }
}
