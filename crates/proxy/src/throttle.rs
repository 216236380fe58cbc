//! Requests per second: a request waits for its turn, and is told to slow down after the wait.

use std::time::Duration;

use governor::{DefaultDirectRateLimiter, Quota, RateLimiter};
use s3proxy_protocol::error::{ErrorCode, S3Error};

use crate::config::resolved;

/// A limit on requests over all clients.
pub(crate) enum Throttle {
    Off,
    Limited {
        limiter: DefaultDirectRateLimiter,
        wait: Duration,
    },
}

impl Throttle {
    pub(crate) fn new(setting: resolved::Throttle) -> Self {
        match setting {
            resolved::Throttle::Off => Self::Off,
            resolved::Throttle::Requests { per_second, wait } => Self::Limited {
                limiter: RateLimiter::direct(Quota::per_second(per_second)),
                wait,
            },
        }
    }

    /// Returns when it is the request's turn.
    pub(crate) async fn admit(&self) -> Result<(), S3Error> {
        match self {
            Self::Off => Ok(()),
            Self::Limited { limiter, wait } => {
                let turn = tokio::time::timeout(*wait, limiter.until_ready()).await;
                turn.map_err(|_| {
                    S3Error::new(
                        ErrorCode::SlowDown,
                        "Too many requests at once; please reduce your request rate.",
                    )
                })
            }
        }
    }
}
