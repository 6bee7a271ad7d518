//! The service's clock.

use std::time::{SystemTime, UNIX_EPOCH};

/// Seconds since 1970 UTC; zero if the clock is set before.
pub fn unix_seconds() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_secs())
}
