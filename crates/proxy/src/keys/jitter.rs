//! Random pauses, so that replicas and requests that failed together do not retry together.

use std::time::Duration;

use aws_lc_rs::rand;

/// Returns a pause between zero and `longest`: full jitter.
pub(super) fn full(longest: Duration) -> Duration {
    longest.mul_f64(fraction())
}

/// Returns a pause between half of `longest` and all of it, for a guaranteed minimum.
pub(super) fn upper_half(longest: Duration) -> Duration {
    longest / 2 + full(longest / 2)
}

fn fraction() -> f64 {
    let mut bytes = [0; 4];
    // Without randomness all pauses are equally short; that is no reason to fail.
    let _ = rand::fill(&mut bytes);
    f64::from(u32::from_le_bytes(bytes)) / f64::from(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_spread_over_all_of_their_range() {
        let longest = Duration::from_millis(400);
        let pauses: Vec<Duration> = (0..1000).map(|_| full(longest)).collect();
        assert!(pauses.iter().all(|pause| *pause <= longest));
        for quarter in 0..4 {
            let range = longest / 4 * quarter..longest / 4 * (quarter + 1);
            let count = pauses.iter().filter(|pause| range.contains(*pause));
            assert!(count.count() > 100, "{range:?}");
        }
        assert!((0..1000).all(|_| upper_half(longest) >= longest / 2));
    }
}
