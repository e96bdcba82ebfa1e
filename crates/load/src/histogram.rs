//! Times, counted in buckets that are at most a thirty-second apart.

use serde::Serialize;

const STEPS_LOG2: u32 = 5;

/// Counts of times, in nanoseconds.
#[derive(Debug)]
pub(crate) struct Histogram {
    buckets: Vec<u64>,
    count: u64,
    max: u64,
}

/// What most want to know of it, in microseconds.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Percentiles {
    pub(crate) p50_us: f64,
    pub(crate) p99_us: f64,
    pub(crate) p999_us: f64,
    pub(crate) max_us: f64,
}

impl Histogram {
    pub(crate) fn new() -> Self {
        Self { buckets: vec![0; 64 << STEPS_LOG2], count: 0, max: 0 }
    }

    pub(crate) fn record(&mut self, nanos: u64) {
        self.buckets[bucket(nanos)] += 1;
        self.count += 1;
        self.max = self.max.max(nanos);
    }

    pub(crate) fn clear(&mut self) {
        self.buckets.fill(0);
        (self.count, self.max) = (0, 0);
    }

    pub(crate) fn percentiles(&self) -> Percentiles {
        let at = |share: f64| self.at(share) as f64 / 1e3;
        let max_us = self.max as f64 / 1e3;
        Percentiles { p50_us: at(0.5), p99_us: at(0.99), p999_us: at(0.999), max_us }
    }

    /// The upper end of the bucket below which that share lies.
    fn at(&self, share: f64) -> u64 {
        let rank = (self.count as f64 * share).ceil() as u64;
        let mut seen = 0;
        for (index, count) in self.buckets.iter().enumerate() {
            seen += count;
            if seen >= rank && seen > 0 {
                return end(index).min(self.max);
            }
        }
        self.max
    }
}

/// Exact below 32, then 32 buckets for each power of two.
fn bucket(nanos: u64) -> usize {
    let power = nanos.max(1).ilog2();
    if power < STEPS_LOG2 {
        return nanos as usize;
    }
    let shift = power - STEPS_LOG2;
    (((shift + 1) << STEPS_LOG2) as u64 + (nanos >> shift) - (1 << STEPS_LOG2)) as usize
}

fn end(index: usize) -> u64 {
    let shift = (index >> STEPS_LOG2).saturating_sub(1);
    let step = (index - (shift << STEPS_LOG2)) as u64;
    ((step + 1) << shift) - 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_hold_what_falls_into_them() {
        for nanos in (0..100).chain([1_000, 4_095, 4_096, 123_456_789, u64::from(u32::MAX)]) {
            let end = end(bucket(nanos));
            assert!(end >= nanos && end <= nanos + nanos / 32, "{nanos} ends at {end}");
        }
    }

    #[test]
    fn percentiles_are_those_of_the_times() {
        let mut histogram = Histogram::new();
        (1..=1_000).for_each(|number| histogram.record(number * 1_000));
        let found = histogram.percentiles();
        assert!((500.0..516.0).contains(&found.p50_us), "{found:?}");
        assert!((990.0..1_000.1).contains(&found.p99_us), "{found:?}");
        assert!((found.max_us - 1_000.0).abs() < 1e-9, "{found:?}");
    }
}
