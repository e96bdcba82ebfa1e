//! Spreads packets over the round trip, so that a window that opens is no burst that overflows a queue.

use std::time::{Duration, Instant};

/// A budget of bytes that time refills.
#[derive(Debug)]
pub(crate) struct Pacer {
    budget: f64,
    refilled: Instant,
}

impl Pacer {
    pub(crate) const fn new(now: Instant) -> Self {
        Self { budget: 0.0, refilled: now }
    }

    /// Refills at `rate` (bytes a second). What may leave at once is a few packets, or as much as passes
    /// between two ticks of a coarse timer.
    pub(crate) fn refill(&mut self, now: Instant, rate: f64, packet_len: usize) {
        let elapsed = now.saturating_duration_since(self.refilled).as_secs_f64();
        let burst = (rate * TICK.as_secs_f64()).max((BURST_PACKETS * packet_len) as f64);
        self.budget = elapsed.mul_add(rate, self.budget).min(burst);
        self.refilled = now;
    }

    /// Something may be sent.
    pub(crate) fn is_open(&self) -> bool {
        self.budget > 0.0
    }

    pub(crate) fn spend(&mut self, len: usize) {
        self.budget -= len as f64;
    }

    /// When something may be sent again at that rate, after [`Pacer::refill`].
    pub(crate) fn opens_at(&self, rate: f64) -> Instant {
        let wait = (1.0 - self.budget) / rate.max(1.0);
        self.refilled + Duration::from_secs_f64(wait.clamp(0.0, 1.0))
    }
}

/// Timers of common runtimes tick in milliseconds.
const TICK: Duration = Duration::from_millis(2);
const BURST_PACKETS: usize = 10;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_now;

    #[test]
    fn rate_is_kept_over_time() {
        let start = test_now();
        let mut pacer = Pacer::new(start);
        let (rate, mut now, mut sent) = (100_000.0, start, 0);
        while now < start + Duration::from_secs(10) {
            pacer.refill(now, rate, 1_000);
            if pacer.is_open() {
                pacer.spend(1_000);
                sent += 1_000;
            } else {
                let opens = pacer.opens_at(rate);
                assert!(opens > now, "a wait that passes no time would spin");
                now = opens;
            }
        }
        assert!((990_000..=1_012_000).contains(&sent), "{sent}");
    }
}
