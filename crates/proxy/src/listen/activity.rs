//! What a connection is doing: nothing, reading a head, or serving a request.
//!
//! A drain closes connections that have been idle for a while, and no others: a client that got the
//! end of an answer a moment ago may be sending its next request already, and one that finds its
//! connection closed then cannot know whether the request was carried out. A request is being served
//! until the last byte of its answer was handed to the HTTP library.
//!
//! All of it happens in the connection's own task; the lock is there for the compiler.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Poll;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;

/// Shared by all that serves one connection.
#[derive(Clone)]
pub(super) struct Activity(Arc<Mutex<State>>);

struct State {
    /// Heads read so far.
    heads: u64,
    doing: Doing,
    /// Bytes of an answer wait for the client to take them.
    unsent: bool,
}

enum Doing {
    Nothing { since: Instant },
    ReadingHead,
    Serving,
}

/// A request is being served for as long as this is held.
#[must_use]
pub(super) struct Serving(Activity);

impl Default for Activity {
    fn default() -> Self {
        Self(Arc::new(Mutex::new(State {
            heads: 0,
            doing: Doing::Nothing {
                since: Instant::now(),
            },
            unsent: false,
        })))
    }
}

impl Activity {
    /// The head is complete.
    pub(super) fn begin(&self) -> Serving {
        let mut state = self.state();
        state.heads += 1;
        state.doing = Doing::Serving;
        Serving(self.clone())
    }

    /// The number of the head that is awaited, if one is.
    pub(super) fn head(&self) -> Option<u64> {
        let state = self.state();
        match state.doing {
            Doing::Nothing { .. } | Doing::ReadingHead => Some(state.heads),
            Doing::Serving => None,
        }
    }

    /// Bytes came.
    pub(super) fn read(&self) {
        let mut state = self.state();
        match state.doing {
            Doing::Nothing { .. } => state.doing = Doing::ReadingHead,
            Doing::ReadingHead | Doing::Serving => {}
        }
    }

    /// The client took bytes, or did not.
    pub(super) fn wrote(&self, outcome: Written) {
        let mut state = self.state();
        let nothing_new = match outcome {
            // The HTTP library flushes whenever it is polled.
            Written::Bytes(0) => !state.unsent,
            Written::Bytes(_) | Written::Later => false,
        };
        state.unsent = matches!(outcome, Written::Later);
        match &mut state.doing {
            Doing::Nothing { since } if !nothing_new => *since = Instant::now(),
            Doing::Nothing { .. } | Doing::ReadingHead | Doing::Serving => {}
        }
    }

    fn idle_since(&self) -> Option<Instant> {
        let state = self.state();
        match state.doing {
            Doing::Nothing { since } if !state.unsent => Some(since),
            Doing::Nothing { .. } | Doing::ReadingHead | Doing::Serving => None,
        }
    }

    /// Returns when the server is closing and nothing has happened here for `time`. Has to be
    /// polled in the task that serves the connection, whenever that did something.
    pub(super) async fn idle_at_the_end(self, mut closing: watch::Receiver<bool>, time: Duration) {
        if closing.changed().await.is_err() {
            // The server is gone, and this task with it.
            return std::future::pending().await;
        }
        loop {
            let since = std::future::poll_fn(|_| match self.idle_since() {
                Some(since) => Poll::Ready(since),
                None => Poll::Pending,
            });
            let since = since.await;
            tokio::time::sleep_until(since + time).await;
            if self.idle_since() == Some(since) {
                return;
            }
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // No code that can panic runs under the lock.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What became of an attempt to write.
#[derive(Clone, Copy)]
pub(super) enum Written {
    /// So many.
    Bytes(usize),
    /// The client has to take other bytes first.
    Later,
}

impl Drop for Serving {
    fn drop(&mut self) {
        self.0.state().doing = Doing::Nothing {
            since: Instant::now(),
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TIME: Duration = Duration::from_secs(5);

    /// How long a connection that does `work` is kept by a server that is closing.
    async fn kept_for(activity: &Activity, work: impl Future<Output = ()>) -> Duration {
        let (close, closing) = watch::channel(false);
        close.send_replace(true);
        let started = Instant::now();
        let connection = async {
            work.await;
            std::future::pending::<()>().await;
        };
        // One task, as a connection is.
        tokio::select! {
            biased;
            () = connection => {}
            () = activity.clone().idle_at_the_end(closing, TIME) => {}
        }
        started.elapsed()
    }

    #[tokio::test(start_paused = true)]
    async fn an_idle_connection_is_closed_at_the_end_of_the_delay() {
        let activity = Activity::default();
        tokio::time::sleep(TIME).await;
        assert!(kept_for(&activity, async {}).await < TIME);
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_written_without_bytes_keeps_no_connection() {
        let activity = Activity::default();
        let kept = kept_for(&activity, async {
            loop {
                activity.wrote(Written::Bytes(0));
                tokio::time::sleep(TIME / 10).await;
            }
        });
        assert!(kept.await < 2 * TIME);
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_is_kept_for_a_while_after_the_last_byte_of_an_answer() {
        let activity = Activity::default();
        let serving = activity.begin();
        let kept = kept_for(&activity, async move {
            tokio::time::sleep(10 * TIME).await;
            drop(serving);
        });
        assert!(kept.await >= 11 * TIME);
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_with_half_a_head_or_unsent_bytes_is_kept() {
        let activity = Activity::default();
        tokio::time::sleep(TIME).await;
        let kept = kept_for(&activity, async {
            activity.wrote(Written::Later);
            tokio::time::sleep(2 * TIME).await;
            activity.wrote(Written::Bytes(1));
            activity.read();
            tokio::time::sleep(2 * TIME).await;
            drop(activity.begin());
        });
        assert!(kept.await >= 5 * TIME);
    }
}
