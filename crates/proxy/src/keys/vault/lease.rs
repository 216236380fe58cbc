//! The lease of a token: how long it is valid, and when to renew it or log in again.

use std::time::Duration;

use tokio::time::Instant;

use super::super::key_service::ServiceError;

/// Pause between two tries to keep a lease while the service cannot be reached.
const RETRY_PAUSE: Duration = Duration::from_secs(2);

/// Longest lease that is honoured. A server may announce a lease whose end no clock can represent.
pub(super) const MAX_LEASE: Duration = Duration::from_hours(365 * 24);

/// How long a token is valid, and when it needs attention.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum TokenLease {
    /// A configured token that was not looked up yet.
    Unknown { look: Instant },
    /// No end, or an end that cannot be moved or seen.
    Unmanaged,
    Ends {
        at: Instant,
        /// When to renew the lease or log in again.
        tend: Instant,
        by: LeaseAction,
        /// Duration that the login gave. A much shorter renewal means that the token nears its
        /// maximum TTL.
        granted: Duration,
    },
}

/// How a lease is extended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum LeaseAction {
    Renew,
    LogIn,
}

impl TokenLease {
    /// Computes a lease that is tended at two thirds of its length. Zero is Vault's way to say that
    /// there is no end; in the response to a renewal it may also mean a remainder below a second.
    pub(super) fn new(length: Duration, by: LeaseAction, granted: Duration) -> Self {
        if length.is_zero() && granted.is_zero() {
            return Self::Unmanaged;
        }
        let now = Instant::now();
        let length = length.min(MAX_LEASE);
        // The renewal gave less than half of the original duration: the maximum TTL is near, so log
        // in next time.
        let by = if length < granted / 2 {
            LeaseAction::LogIn
        } else {
            by
        };
        Self::Ends {
            at: now + length,
            tend: now + length * 2 / 3,
            by,
            granted,
        }
    }

    /// Returns the lease after a failed attempt to keep it.
    pub(super) fn after(self, error: &ServiceError) -> Self {
        match (self, error) {
            (Self::Unknown { .. }, ServiceError::Unavailable(_) | ServiceError::Throttled(_)) => {
                Self::Unknown {
                    look: Instant::now() + RETRY_PAUSE,
                }
            }
            (
                Self::Ends {
                    at, by, granted, ..
                },
                ServiceError::Unavailable(_) | ServiceError::Throttled(_),
            ) => Self::Ends {
                at,
                tend: Instant::now() + RETRY_PAUSE,
                by,
                granted,
            },
            (Self::Unknown { .. } | Self::Unmanaged | Self::Ends { .. }, _) => Self::Unmanaged,
        }
    }

    /// Returns what follows a failed attempt, for the log.
    pub(super) fn prospect(self) -> &'static str {
        match self {
            Self::Unknown { .. } | Self::Ends { .. } => "will retry",
            Self::Unmanaged => "its token is used until it is refused",
        }
    }
}

impl LeaseAction {
    /// Returns the action for a token that is renewable, or not.
    pub(super) fn for_token(renewable: bool) -> Self {
        if renewable { Self::Renew } else { Self::LogIn }
    }
}
