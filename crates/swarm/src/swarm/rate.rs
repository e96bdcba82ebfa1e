//! Bytes a second, smoothed over a few seconds.

use std::time::{Duration, Instant};

/// A moving average that is fed by counting and read after a tick.
#[derive(Debug, Clone)]
pub(crate) struct Rate {
    since: Instant,
    counted: u64,
    total: u64,
    average: f64,
}

impl Rate {
    pub(crate) const fn new(now: Instant) -> Self {
        Self { since: now, counted: 0, total: 0, average: 0.0 }
    }

    pub(crate) const fn add(&mut self, bytes: u64) {
        self.counted += bytes;
        self.total += bytes;
    }

    /// Bytes counted since the start.
    pub(crate) const fn total(&self) -> u64 {
        self.total
    }

    /// Takes what was counted since the last tick into the average.
    pub(crate) fn tick(&mut self, now: Instant) {
        let elapsed = now.duration_since(self.since);
        if elapsed < Duration::from_millis(100) {
            return;
        }
        let current = self.counted as f64 / elapsed.as_secs_f64();
        // About three seconds of memory, and the first tick counts in full: a young transfer shows
        // its speed at once.
        let weight = if self.average == 0.0 { 1.0 } else { (elapsed.as_secs_f64() / 3.0).min(1.0) };
        self.average += (current - self.average) * weight;
        if self.average < 1.0 {
            self.average = 0.0;
        }
        (self.since, self.counted) = (now, 0);
    }

    /// Bytes a second, as of the last tick.
    pub(crate) const fn per_second(&self) -> u64 {
        self.average as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steady_flow_is_its_own_average() {
        let start = crate::test_now();
        let mut rate = Rate::new(start);
        for second in 1..=10 {
            rate.add(5_000);
            rate.tick(start + Duration::from_secs(second));
        }
        assert_eq!((rate.per_second(), rate.total()), (5_000, 50_000));
        rate.tick(start + Duration::from_secs(60));
        assert_eq!(rate.per_second(), 0);
    }
}
