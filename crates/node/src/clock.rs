//! The one place in this crate that reads the clock.

use std::time::{Duration, Instant};

/// Now.
pub(crate) fn now() -> Instant {
    Instant::now()
}

/// "Never", for timers that are not set.
pub(crate) const LONG: Duration = Duration::from_secs(3600);
