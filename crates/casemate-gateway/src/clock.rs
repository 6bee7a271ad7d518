//! The service's clock.

use std::{
    fmt,
    sync::Mutex,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use rustix::time::{ClockId, clock_gettime};

/// Returns the seconds since 1970 UTC; zero if the clock is set to an earlier time.
pub fn unix_seconds() -> u64 {
    since_epoch().as_secs()
}

fn since_epoch() -> Duration {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.unwrap_or_default()
}

/// Returns the time since boot, including suspend, which [`std::time::Instant`] excludes.
pub(crate) fn since_start() -> Duration {
    let now = clock_gettime(ClockId::Boottime);
    let seconds = u64::try_from(now.tv_sec).unwrap_or_default();
    let nanoseconds = u32::try_from(now.tv_nsec).unwrap_or_default();
    Duration::new(seconds, nanoseconds)
}

/// The clock by which dates, ages and expiry are judged.
pub trait Clock: fmt::Debug + Send + Sync {
    /// Returns the seconds since 1970 UTC; never goes back.
    fn now(&self) -> u64;
}

/// Difference from the system clock that causes a warning.
const WARNING_THRESHOLD: Duration = Duration::from_secs(5);
/// Minimum time between two warnings.
const WARNING_INTERVAL: Duration = Duration::from_mins(1);

/// A clock that follows the system clock without going back or jumping: it runs at half to twice
/// the rate until it has caught up.
///
/// A clock that jumps forward would expire marks of requests that are still in time by every other
/// clock. A clock that jumps back would accept old requests as new.
pub struct SlewingClock(Mutex<Slew>);

struct Slew {
    shown: Duration,
    read: Duration,
    warned: Option<Duration>,
}

impl Default for SlewingClock {
    fn default() -> Self {
        Self(Mutex::new(Slew {
            shown: since_epoch(),
            read: since_start(),
            warned: None,
        }))
    }
}

impl fmt::Debug for SlewingClock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SlewingClock(..)")
    }
}

impl Clock for SlewingClock {
    fn now(&self) -> u64 {
        // A panic elsewhere leaves the clock consistent.
        let mut slew = self
            .0
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        let (read, system) = (since_start(), since_epoch());
        slew.shown = follow(slew.shown, read.saturating_sub(slew.read), system);
        slew.read = read;
        let apart = slew.shown.abs_diff(system);
        let silent = |at: Duration| read.saturating_sub(at) < WARNING_INTERVAL;
        if apart > WARNING_THRESHOLD && !slew.warned.is_some_and(silent) {
            slew.warned = Some(read);
            let seconds = apart.as_secs();
            tracing::warn!(
                seconds,
                "the system clock was changed; following it gradually"
            );
        }
        slew.shown.as_secs()
    }
}

/// Returns the time that the clock shows `elapsed` after it showed `shown`.
fn follow(shown: Duration, elapsed: Duration, system: Duration) -> Duration {
    let slowest = shown.saturating_add(elapsed.checked_div(2).unwrap_or_default());
    let fastest = shown.saturating_add(elapsed.saturating_mul(2));
    system.clamp(slowest, fastest)
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn s(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn the_clock_follows_without_jumping_or_going_back() {
        assert_eq!(follow(s(1000), s(10), s(1010)), s(1010));
        assert_eq!(follow(s(1000), s(10), s(1012)), s(1012));
        assert_eq!(follow(s(1000), s(10), s(9000)), s(1020), "forward");
        assert_eq!(follow(s(1000), s(10), s(3)), s(1005), "back");
        assert_eq!(follow(s(1000), s(0), s(3)), s(1000));
    }

    #[test]
    fn the_real_clock_shows_the_time() {
        let clock = SlewingClock::default();
        assert!(clock.now().abs_diff(unix_seconds()) <= 1);
    }
}
