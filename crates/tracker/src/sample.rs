//! Log lines of hot paths: one a second for each kind, with how many were left out since the last.
//!
//! A stranger decides how often such things happen; a line for each would let them fill the disk and
//! slow the answers of everybody else.

use std::sync::LazyLock;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::Instant;

use registry::Secs;

/// One kind of line. Put it in a `static` beside the line.
#[derive(Debug)]
pub(crate) struct Sample {
    /// The next line may be written at this time.
    next: AtomicU32,
    left_out: AtomicU64,
}

impl Sample {
    pub(crate) const fn new() -> Self {
        Self { next: AtomicU32::new(0), left_out: AtomicU64::new(0) }
    }

    /// [`Sample::take`] for one event, by a clock of its own: for paths that have none at hand.
    pub(crate) fn take_one(&self) -> Option<u64> {
        static STARTED: LazyLock<Instant> = LazyLock::new(Instant::now);
        self.take(Secs(u32::try_from(STARTED.elapsed().as_secs()).unwrap_or(u32::MAX)), 1)
    }

    /// For `count` events at this time: how many were left out before them, if a line is to be written.
    pub(crate) fn take(&self, now: Secs, count: u64) -> Option<u64> {
        let next = self.next.load(Ordering::Relaxed);
        let is_ours = now.0 >= next
            && self
                .next
                .compare_exchange(
                    next,
                    now.0.saturating_add(1),
                    Ordering::Relaxed,
                    Ordering::Relaxed,
                )
                .is_ok();
        if is_ours {
            return Some(self.left_out.swap(0, Ordering::Relaxed) + count - 1);
        }
        self.left_out.fetch_add(count, Ordering::Relaxed);
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_a_second_and_none_is_forgotten() {
        let sample = Sample::new();
        assert_eq!(sample.take(Secs(0), 1), Some(0));
        assert_eq!(sample.take(Secs(0), 1), None);
        assert_eq!(sample.take(Secs(0), 5), None);
        assert_eq!(sample.take(Secs(1), 3), Some(8));
        assert_eq!(sample.take(Secs(1), 1), None);
        assert_eq!(sample.take(Secs(9), 1), Some(1));
    }
}
