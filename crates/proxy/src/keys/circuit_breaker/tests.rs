//! When the breaker opens, probes and closes again.

use super::*;

fn breaker() -> CircuitBreaker {
    CircuitBreaker::new("test:key".into(), ServiceKind::Vault)
}

fn fail(breaker: &CircuitBreaker, outcome: CallOutcome) {
    let error = ServiceError::Unavailable("away".to_owned());
    let permit = breaker.admit().expect("it lets calls pass");
    permit.report(outcome, Some(&error));
}

fn succeed(breaker: &CircuitBreaker) {
    let permit = breaker.admit().expect("it lets calls pass");
    permit.report(CallOutcome::Answered, None);
}

#[tokio::test(start_paused = true)]
async fn it_opens_after_failures_in_a_row_only() {
    let breaker = breaker();
    for _ in 0..3 {
        for _ in 1..OPENS_AT {
            fail(&breaker, CallOutcome::Failed);
        }
        succeed(&breaker);
    }
    for _ in 0..OPENS_AT {
        fail(&breaker, CallOutcome::Failed);
    }
    let withheld = breaker.admit().err().expect("it is open");
    assert!(
        withheld.to_string().contains("last error: away"),
        "{withheld}"
    );
}

#[tokio::test(start_paused = true)]
async fn silence_opens_it_sooner() {
    let breaker = breaker();
    for _ in 0..3 {
        fail(&breaker, CallOutcome::TimedOut);
    }
    assert!(breaker.admit().is_err());
}

#[tokio::test(start_paused = true)]
async fn one_probe_at_a_time_passes_and_pauses_grow_to_their_bound() {
    let breaker = breaker();
    for _ in 0..OPENS_AT {
        fail(&breaker, CallOutcome::Failed);
    }
    // The upper half of each pause is random.
    for longest in [1000, 2000, 4000, 8000, 8000, 8000] {
        tokio::time::advance(Duration::from_millis(longest / 2 - 1)).await;
        assert!(breaker.admit().is_err(), "{longest} ms");
        tokio::time::advance(Duration::from_millis(longest / 2 + 2)).await;
        let probe = breaker.admit().expect("the pause is over");
        assert!(breaker.admit().is_err(), "one at a time");
        let error = ServiceError::Unavailable("away".to_owned());
        probe.report(CallOutcome::Failed, Some(&error));
    }
    tokio::time::advance(LONGEST_PAUSE).await;
    succeed(&breaker);
    fail(&breaker, CallOutcome::Failed);
    assert!(breaker.admit().is_ok(), "a success resets the count");
}

#[tokio::test(start_paused = true)]
async fn a_probe_that_nobody_finishes_does_not_keep_it_open_for_ever() {
    let breaker = breaker();
    for _ in 0..OPENS_AT {
        fail(&breaker, CallOutcome::Failed);
    }
    tokio::time::advance(FIRST_PAUSE).await;
    drop(breaker.admit().expect("the pause is over"));
    assert!(breaker.admit().is_err());
    tokio::time::advance(LONGEST_PAUSE).await;
    succeed(&breaker);
}

#[test]
fn the_metric_counts_open_breakers_and_withheld_calls() {
    let text = metrics::tests::counted(|| {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .build()
            .expect("a runtime");
        runtime.block_on(async {
            let (open, gone) = (breaker(), breaker());
            for breaker in [&open, &gone] {
                for _ in 0..OPENS_AT {
                    fail(breaker, CallOutcome::Failed);
                }
            }
            assert!(open.admit().is_err());
            drop(gone);
            // Leaked on purpose, as a breaker lives as long as a running program.
            std::mem::forget(open);
        });
    });
    let has = |line: &str| text.lines().any(|found| found == line);
    assert!(
        has("s3proxy_key_service_breakers_open{service=\"vault\"} 1"),
        "{text}"
    );
    assert!(
        has("s3proxy_key_service_calls_withheld_total{service=\"vault\"} 1"),
        "{text}"
    );
}
