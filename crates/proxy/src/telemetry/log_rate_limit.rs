//! Rate limit for log lines about frequent events: once a minute.

use std::sync::Mutex;
use std::time::{Duration, Instant};

const APART: Duration = Duration::from_mins(1);

/// Counter of an event that returns when the next log line is due.
#[derive(Default)]
pub(crate) struct LogRateLimit(Mutex<LogCounts>);

#[derive(Default)]
struct LogCounts {
    untold: u64,
    told: Option<Instant>,
}

impl LogRateLimit {
    /// Counts an event. Returns the number of events since the last log line, if a new line is due.
    pub(crate) fn count(&self) -> Option<u64> {
        self.count_at(Instant::now())
    }

    fn count_at(&self, now: Instant) -> Option<u64> {
        let mut state = self.0.lock().expect("no holder of this lock can panic");
        state.untold += 1;
        if state.told.is_some_and(|told| now - told < APART) {
            return None;
        }
        state.told = Some(now);
        Some(std::mem::take(&mut state.untold))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_happens_often_is_told_once_a_minute_with_its_number() {
        let limit = LogRateLimit::default();
        let start = Instant::now();
        assert_eq!(limit.count_at(start), Some(1));
        assert_eq!(limit.count_at(start + APART / 2), None);
        assert_eq!(limit.count_at(start + APART / 2), None);
        assert_eq!(limit.count_at(start + APART), Some(3));
    }
}
