//! How long a closing server keeps a connection.

use super::*;

const TIME: Duration = Duration::from_secs(5);

/// Returns how long a connection that does `work` is kept by a closing server.
async fn kept_for(activity: &Activity, work: impl Future<Output = ()>) -> Duration {
    let (close, closing) = watch::channel(false);
    close.send_replace(true);
    let started = Instant::now();
    let connection = async {
        work.await;
        std::future::pending::<()>().await;
    };
    // In one task, like a connection.
    tokio::select! {
        biased;
        () = connection => {}
        () = activity.clone().idle_while_closing(closing, TIME) => {}
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
            // As the HTTP library flushes an idle connection.
            activity.wrote(WriteOutcome::Bytes(0));
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
        activity.wrote(WriteOutcome::Blocked);
        tokio::time::sleep(2 * TIME).await;
        activity.wrote(WriteOutcome::Bytes(1));
        activity.read(1).unwrap();
        tokio::time::sleep(2 * TIME).await;
        drop(activity.begin());
    });
    assert!(kept.await >= 5 * TIME);
}
