//! Rate limit for log lines about frequent events: once a minute.

use std::sync::Mutex;
use std::time::{Duration, Instant};

const APART: Duration = Duration::from_mins(1);

/// Counter of an event, at most one of which per minute is logged.
#[derive(Default)]
pub(crate) struct LogRateLimit(Mutex<LogCounts>);

#[derive(Default)]
struct LogCounts {
    /// Number of events since the last log line.
    unlogged: u64,
    last_logged: Option<Instant>,
}

impl LogRateLimit {
    /// Counts an event. Returns the number of events since the last log line, if a new line is due.
    pub(crate) fn count(&self) -> Option<u64> {
        self.count_at(Instant::now())
    }

    fn count_at(&self, now: Instant) -> Option<u64> {
        let mut counts = self.0.lock().expect("no holder of this lock can panic");
        counts.unlogged += 1;
        if counts
            .last_logged
            .is_some_and(|logged| now - logged < APART)
        {
            return None;
        }
        counts.last_logged = Some(now);
        Some(std::mem::take(&mut counts.unlogged))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frequent_event_is_logged_once_a_minute_with_its_count() {
        let limit = LogRateLimit::default();
        let start = Instant::now();
        assert_eq!(limit.count_at(start), Some(1));
        assert_eq!(limit.count_at(start + APART / 2), None);
        assert_eq!(limit.count_at(start + APART / 2), None);
        assert_eq!(limit.count_at(start + APART), Some(3));
    }
}
