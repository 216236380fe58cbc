//! Repetition of work on an object that is replaced meanwhile.

use crate::failure::{Failure, Outcome};

/// Most attempts at one object.
const ATTEMPTS: usize = 3;

/// Runs `attempt`, and repeats it while the object was replaced in between, up to [`ATTEMPTS`]
/// times.
pub(crate) async fn retry_replaced<T, F>(mut attempt: impl FnMut() -> F) -> Outcome<T>
where
    F: Future<Output = Outcome<T>>,
{
    for _ in 1..ATTEMPTS {
        match attempt().await {
            Err(Failure::Replaced) => {}
            outcome => return outcome,
        }
    }
    attempt().await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn work_on_a_replaced_object_starts_again_a_few_times() {
        for (replaced, starts) in [(0, 1), (2, 3), (9, 3)] {
            let mut started = 0;
            let outcome = retry_replaced(|| {
                started += 1;
                let outcome = if started > replaced {
                    Ok(())
                } else {
                    Err(Failure::Replaced)
                };
                async { outcome }
            })
            .await;
            assert_eq!(started, starts);
            assert_eq!(outcome.is_ok(), replaced < starts);
        }
    }
}
