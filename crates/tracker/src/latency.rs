//! How long things take: histograms that many threads fill without waiting for each other.
//!
//! A histogram is a few sets of counters; each thread has one of them as its own (several threads
//! share one when there are more threads than sets). To note a duration costs two relaxed additions
//! in a cache line that nobody else writes. Reading adds the sets up.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// Upper bounds of the buckets: 1 µs, doubled each time, 8.4 s at last; longer ones come after it.
const BOUNDED_BUCKETS: usize = 24;
/// Sets of counters of a histogram: 2 KiB together.
const SETS: usize = 8;

/// A histogram of durations.
#[derive(Debug, Default)]
pub struct Histogram {
    sets: [Counters; SETS],
}

/// Apart from others in memory, so that threads do not take cache lines from each other.
#[derive(Debug, Default)]
#[repr(align(128))]
struct Counters {
    buckets: [AtomicU64; BOUNDED_BUCKETS + 1],
    sum_nanos: AtomicU64,
}

/// What a histogram holds at some moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Distribution {
    /// Upper bound of each bucket and how many durations are not above it. The last has no bound.
    pub cumulative: Vec<(Option<Duration>, u64)>,
    /// All durations together.
    pub sum: Duration,
}

impl Histogram {
    /// Notes a duration.
    pub fn note(&self, duration: Duration) {
        let nanos = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
        let set = &self.sets[own_set()];
        set.buckets[bucket(nanos)].fetch_add(1, Ordering::Relaxed);
        set.sum_nanos.fetch_add(nanos, Ordering::Relaxed);
    }

    /// Notes the time since then.
    pub fn since(&self, start: Instant) {
        self.note(start.elapsed());
    }

    /// What has been noted.
    #[must_use]
    pub fn distribution(&self) -> Distribution {
        let mut count = 0;
        let in_bucket = |at: usize| {
            let counts = self.sets.iter().map(|set| set.buckets[at].load(Ordering::Relaxed));
            counts.sum::<u64>()
        };
        let cumulative = (0..=BOUNDED_BUCKETS).map(|at| {
            count += in_bucket(at);
            let bound = (at < BOUNDED_BUCKETS).then(|| Duration::from_micros(1 << at));
            (bound, count)
        });
        let cumulative = cumulative.collect();
        let sums = self.sets.iter().map(|set| set.sum_nanos.load(Ordering::Relaxed));
        Distribution { cumulative, sum: Duration::from_nanos(sums.sum()) }
    }
}

/// The first bucket whose bound is not below this.
fn bucket(nanos: u64) -> usize {
    let micros = nanos.div_ceil(1_000).max(1);
    let power = u64::BITS - (micros - 1).leading_zeros();
    (power as usize).min(BOUNDED_BUCKETS)
}

/// The set of the thread that asks.
fn own_set() -> usize {
    static THREADS: AtomicUsize = AtomicUsize::new(0);
    thread_local! {
        static OWN: usize = THREADS.fetch_add(1, Ordering::Relaxed) % SETS;
    }
    OWN.with(|own| *own)
}

/// The histograms of a tracker.
#[derive(Debug, Default)]
pub struct Latencies {
    /// A batch of UDP packets: from its arrival to its answers.
    pub udp_batch: Histogram,
    /// An announce or scrape over HTTP, without the network.
    pub http_announce: Histogram,
    /// A batch of the text protocol's datagrams: from its arrival to its answers.
    pub text_batch: Histogram,
    /// A JSON request, from its last byte to its answer.
    pub json_request: Histogram,
    /// An operation of the catalogue, with its wait for a turn.
    pub catalogue: Histogram,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_is_counted_below_its_bound() {
        let cases = [
            (0, 0),
            (1_000, 0),
            (1_001, 1),
            (2_000, 1),
            (2_001, 2),
            (8_388_608_000, 23),
            (8_388_608_001, 24),
            (u64::MAX, 24),
        ];
        for (nanos, expected) in cases {
            assert_eq!(bucket(nanos), expected, "{nanos}");
        }
    }

    #[test]
    fn threads_are_added_up() {
        let histogram = Histogram::default();
        std::thread::scope(|scope| {
            for _ in 0..SETS * 2 {
                scope.spawn(|| {
                    for micros in 1..=100 {
                        histogram.note(Duration::from_micros(micros));
                    }
                });
            }
        });
        let Distribution { cumulative, sum } = histogram.distribution();
        let threads = (SETS * 2) as u64;
        assert_eq!(sum, Duration::from_micros(5_050 * threads));
        assert_eq!(cumulative[3], (Some(Duration::from_micros(8)), 8 * threads));
        assert_eq!(cumulative.last(), Some(&(None, 100 * threads)));
        assert!(cumulative.is_sorted_by_key(|(_, count)| *count));
    }
}
