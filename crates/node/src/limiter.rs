//! How fast a node may talk to its peers.
//!
//! A bucket fills at its rate; who finds something in it may pass that much, and pays for what really
//! passed, which may be a little more: then it waits until the debt is paid. Everything counts, requests
//! and headers too. Without a limit a connection reads one number and goes on.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;

/// Bytes a second that may pass; any number when `None`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Rates {
    /// From peers.
    pub down: Option<u64>,
    /// To peers.
    pub up: Option<u64>,
}

/// The limits of a node or a torrent. Clones are the same one.
#[derive(Debug, Clone, Default)]
pub struct Limiter(Arc<Buckets>);

#[derive(Debug, Default)]
struct Buckets {
    down: Bucket,
    up: Bucket,
}

/// A way that bytes take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    Down,
    Up,
}

#[derive(Debug, Default)]
struct Bucket {
    /// Bytes a second; 0 for no limit.
    rate: AtomicU64,
    level: Mutex<Level>,
}

#[derive(Debug, Default)]
struct Level {
    /// Bytes that may pass; less than 0 after more has passed.
    bytes: i64,
    at: Option<Instant>,
}

impl Limiter {
    /// One that keeps to these.
    #[must_use]
    pub fn new(rates: Rates) -> Self {
        let limiter = Self::default();
        limiter.set(rates);
        limiter
    }

    /// Changes the limits at once. A rate of 0 is one byte a second: slow, and a sign of life.
    pub fn set(&self, rates: Rates) {
        for (bucket, rate) in [(&self.0.down, rates.down), (&self.0.up, rates.up)] {
            bucket.rate.store(rate.map_or(0, |rate| rate.max(1)), Ordering::Relaxed);
        }
    }

    /// What the limits are.
    #[must_use]
    pub fn rates(&self) -> Rates {
        let rate =
            |bucket: &Bucket| Some(bucket.rate.load(Ordering::Relaxed)).filter(|rate| *rate > 0);
        Rates { down: rate(&self.0.down), up: rate(&self.0.up) }
    }

    fn bucket(&self, way: Way) -> &Bucket {
        match way {
            Way::Down => &self.0.down,
            Way::Up => &self.0.up,
        }
    }
}

/// The limits that one connection keeps.
#[derive(Debug, Clone, Default)]
pub(crate) struct Limits(Vec<Limiter>);

impl Limits {
    /// All of these at once.
    pub(crate) const fn new(limiters: Vec<Limiter>) -> Self {
        Self(limiters)
    }

    /// How many bytes may pass now.
    ///
    /// # Errors
    /// When to ask again.
    pub(crate) fn grant(&self, now: Instant, way: Way) -> Result<usize, Instant> {
        let mut granted = usize::MAX;
        for limiter in &self.0 {
            granted = granted.min(limiter.bucket(way).grant(now)?);
        }
        Ok(granted)
    }

    /// So many have passed.
    pub(crate) fn passed(&self, way: Way, bytes: usize) {
        self.0.iter().for_each(|limiter| limiter.bucket(way).passed(bytes));
    }
}

impl Bucket {
    fn grant(&self, now: Instant) -> Result<usize, Instant> {
        let rate = self.rate.load(Ordering::Relaxed);
        if rate == 0 {
            return Ok(usize::MAX);
        }
        let mut level = self.level.lock();
        level.fill(now, rate);
        if level.bytes > 0 {
            return Ok(level.bytes as usize);
        }
        // Until there is enough for a block, or for what passes in a tick where that is less.
        let wanted = (BLOCK.min(full(rate)) - level.bytes) as f64 / rate as f64;
        Err(now + Duration::from_secs_f64(wanted.min(WAIT_SECS_MAX)))
    }

    fn passed(&self, bytes: usize) {
        if self.rate.load(Ordering::Relaxed) > 0 {
            self.level.lock().bytes -= bytes as i64;
        }
    }
}

impl Level {
    fn fill(&mut self, now: Instant, rate: u64) {
        let since = self.at.replace(now).map_or(TICK, |at| now.saturating_duration_since(at));
        let filled = (since.as_secs_f64() * rate as f64) as i64;
        if filled == 0 {
            // Too early for a byte: the time counts next time.
            self.at = Some(now.checked_sub(since).unwrap_or(now));
        }
        self.bytes = self.bytes.saturating_add(filled).min(full(rate));
    }
}

/// What a bucket holds: so much may pass at once after silence.
fn full(rate: u64) -> i64 {
    ((rate as f64 * TICK.as_secs_f64()) as i64).max(1)
}

/// As long as a burst may be: people do not see it, and connections wake often enough.
const TICK: Duration = Duration::from_millis(100);
const BLOCK: i64 = proto::BLOCK_LEN as i64;
/// Limits may change meanwhile.
const WAIT_SECS_MAX: f64 = 5.0;

#[cfg(test)]
mod tests {
    use super::*;

    /// Bytes that pass within some seconds when a connection always wants `chunk` bytes.
    fn passes(limits: &Limits, seconds: u64, chunk: usize) -> u64 {
        let start = crate::clock::now();
        let (mut now, mut passed) = (start, 0);
        while now < start + Duration::from_secs(seconds) {
            match limits.grant(now, Way::Down) {
                Ok(_) => {
                    limits.passed(Way::Down, chunk);
                    passed += chunk as u64;
                }
                Err(at) => {
                    assert!(at > now, "or the connection would spin");
                    now = at;
                }
            }
        }
        passed
    }

    #[test]
    fn rate_is_kept_whatever_the_size_of_what_passes() {
        for (rate, chunk) in
            [(1_000_000, 16_384), (1_000_000, 262_144), (50_000, 16_384), (3_000, 100)]
        {
            let limits = Limits::new(vec![Limiter::new(Rates { down: Some(rate), up: None })]);
            let passed = passes(&limits, 20, chunk);
            let (least, most) = (19 * rate, 20 * rate + rate / 5 + chunk as u64);
            assert!((least..=most).contains(&passed), "{passed} of {rate} in chunks of {chunk}");
        }
    }

    #[test]
    fn the_lowest_of_several_limits_counts_and_ways_are_apart() {
        let limiter = |down| Limiter::new(Rates { down: Some(down), up: None });
        let limits = Limits::new(vec![limiter(1 << 20), limiter(100_000)]);
        let passed = passes(&limits, 10, 16_384);
        assert!((900_000..1_100_000).contains(&passed), "{passed}");
        assert_eq!(limits.grant(crate::clock::now(), Way::Up), Ok(usize::MAX));
    }

    #[test]
    fn limits_change_at_once() {
        let limiter = Limiter::new(Rates { down: Some(1), up: Some(2) });
        let limits = Limits::new(vec![limiter.clone()]);
        let now = crate::clock::now();
        limits.passed(Way::Down, 1_000_000);
        assert!(limits.grant(now, Way::Down).is_err_and(|at| at <= now + Duration::from_secs(5)));
        limiter.set(Rates::default());
        assert_eq!(limits.grant(now, Way::Down), Ok(usize::MAX));
        assert_eq!(limiter.rates(), Rates::default());
    }
}
