//! One direction of a path: a bottleneck with a queue, a delay, and everything that goes wrong.

use std::time::{Duration, Instant};

use chance::Chance;

/// What a direction is like.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Path {
    /// Bytes a second; 0 for no limit.
    pub(crate) rate: u64,
    /// Bytes that may wait at the bottleneck; more are dropped.
    pub(crate) queue: usize,
    pub(crate) delay: Duration,
    /// Packets lost, repeated and held up, in thousandths.
    pub(crate) loss: u64,
    pub(crate) repeats: u64,
    pub(crate) late: u64,
    /// How long packets are held up at most.
    pub(crate) late_by: Duration,
    /// The longest datagram that passes unfragmented.
    pub(crate) mtu: usize,
}

impl Path {
    pub(crate) const fn clean(delay_millis: u64) -> Self {
        Self {
            rate: 0,
            queue: usize::MAX,
            delay: Duration::from_millis(delay_millis),
            loss: 0,
            repeats: 0,
            late: 0,
            late_by: Duration::ZERO,
            mtu: 1_472,
        }
    }

    pub(crate) const fn with_rate(self, rate: u64, queue: usize) -> Self {
        Self { rate, queue, ..self }
    }
}

/// A direction at work.
#[derive(Debug)]
pub(crate) struct Link {
    pub(crate) path: Path,
    chance: Chance,
    busy_until: Option<Instant>,
    /// The longest that a packet waited at the bottleneck.
    pub(crate) waited_max: Duration,
    /// The sum of waits, for their mean.
    pub(crate) waited: Duration,
    pub(crate) passed: u32,
    pub(crate) dropped: u32,
}

impl Link {
    pub(crate) const fn new(path: Path, seed: u64) -> Self {
        Self {
            path,
            chance: Chance::new(seed),
            busy_until: None,
            waited_max: Duration::ZERO,
            waited: Duration::ZERO,
            passed: 0,
            dropped: 0,
        }
    }

    /// When a datagram arrives, each time that it does.
    pub(crate) fn send(&mut self, now: Instant, len: usize, probe: bool) -> Vec<Instant> {
        let path = self.path;
        if (probe && len > path.mtu) || self.happens(path.loss) {
            self.dropped += 1;
            return Vec::new();
        }
        let mut leaves = now;
        if path.rate > 0 {
            let begins = self.busy_until.map_or(now, |busy| busy.max(now));
            let waits = begins - now;
            if waits.as_secs_f64() * path.rate as f64 > path.queue as f64 {
                self.dropped += 1;
                return Vec::new();
            }
            self.waited_max = self.waited_max.max(waits);
            self.waited += waits;
            // IP and UDP headers travel, too.
            leaves = begins + Duration::from_secs_f64((len + 28) as f64 / path.rate as f64);
            self.busy_until = Some(leaves);
        }
        self.passed += 1;
        let mut arrivals = vec![leaves + path.delay];
        if self.happens(path.repeats) {
            arrivals.push(leaves + path.delay + path.late_by / 2);
        }
        for arrival in &mut arrivals {
            if self.happens(path.late) {
                let share = self.chance.below(1_000) as u32;
                *arrival += path.late_by * share / 1_000;
            }
        }
        arrivals
    }

    /// True that often, in thousandths.
    const fn happens(&mut self, thousandths: u64) -> bool {
        self.chance.below(1_000) < thousandths
    }

    pub(crate) fn forget_waits(&mut self) {
        (self.waited, self.waited_max, self.passed) = (Duration::ZERO, Duration::ZERO, 0);
    }

    pub(crate) fn waited_mean(&self) -> Duration {
        self.waited / self.passed.max(1)
    }
}
