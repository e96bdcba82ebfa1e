//! How much is answered: so many questions of one source, so many bytes in all.

use std::net::IpAddr;
use std::time::Instant;

use crate::limits::{
    ANSWER_BYTES_A_SECOND, ANSWER_BYTES_BURST, ASKED_A_SECOND, ASKED_BURST, SOURCES_SLOTS,
};
use crate::proven::hash;
use crate::space::source_of;

/// A token bucket in thousandths, which time refills.
#[derive(Debug, Clone, Copy)]
struct Bucket {
    thousandths: u64,
    at: Instant,
}

impl Bucket {
    const fn full(now: Instant, burst: u32) -> Self {
        Self { thousandths: burst as u64 * 1000, at: now }
    }

    fn refill(&mut self, now: Instant, a_second: u32, burst: u32) {
        let elapsed = now.duration_since(self.at).as_millis().min(u128::from(u32::MAX)) as u64;
        if elapsed > 0 {
            let grown = self.thousandths.saturating_add(elapsed * u64::from(a_second));
            self.thousandths = grown.min(u64::from(burst) * 1000);
            self.at = now;
        }
    }

    const fn holds(&self, count: u32) -> bool {
        self.thousandths >= count as u64 * 1000
    }

    const fn take(&mut self, count: u32) -> bool {
        let there = self.holds(count);
        if there {
            self.thousandths -= count as u64 * 1000;
        }
        there
    }
}

/// What may still be answered.
#[derive(Debug)]
pub(crate) struct Budget {
    key: [u8; 16],
    bytes: Bucket,
    sources: Vec<Option<Bucket>>,
}

impl Budget {
    pub(crate) fn new(now: Instant, key: [u8; 16]) -> Self {
        Self { key, bytes: Bucket::full(now, ANSWER_BYTES_BURST), sources: Vec::new() }
    }

    /// Whether a question from there is looked at.
    pub(crate) fn admits(&mut self, now: Instant, ip: IpAddr) -> bool {
        if self.sources.is_empty() {
            self.sources.resize(SOURCES_SLOTS, None);
        }
        let slot = hash(&self.key, source_of(ip)) as usize % SOURCES_SLOTS;
        let bucket = self.sources[slot].get_or_insert_with(|| Bucket::full(now, ASKED_BURST));
        bucket.refill(now, ASKED_A_SECOND, ASKED_BURST);
        bucket.take(1)
    }

    /// Whether an answer of that length could be sent.
    pub(crate) fn covers(&mut self, now: Instant, len: usize) -> bool {
        self.bytes.refill(now, ANSWER_BYTES_A_SECOND, ANSWER_BYTES_BURST);
        self.bytes.holds(len as u32)
    }

    /// Whether an answer of that length is sent.
    pub(crate) fn spend(&mut self, now: Instant, len: usize) -> bool {
        self.bytes.refill(now, ANSWER_BYTES_A_SECOND, ANSWER_BYTES_BURST);
        self.bytes.take(len as u32)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn one_source_cannot_use_up_what_others_may_ask() {
        let now = crate::test_now();
        let mut budget = Budget::new(now, [1; 16]);
        let flood = (0..500_u32).filter(|at| budget.admits(now, [1, 2, 3, *at as u8].into()));
        assert_eq!(flood.count(), ASKED_BURST as usize, "a /24 is one source");
        assert!(budget.admits(now, [1, 2, 4, 1].into()));
        let later = now + Duration::from_secs(1);
        let more = (0..500).filter(|_| budget.admits(later, [1, 2, 3, 9].into()));
        assert_eq!(more.count(), ASKED_A_SECOND as usize);
        for host in [[192, 168, 0, 1], [192, 168, 0, 2]] {
            let asked = (0..500).filter(|_| budget.admits(now, host.into()));
            assert_eq!(asked.count(), ASKED_BURST as usize, "hosts of a LAN stand for themselves");
        }
    }

    #[test]
    fn bytes_are_limited_in_all() {
        let now = crate::test_now();
        let mut budget = Budget::new(now, [1; 16]);
        let sent = (0..2000).filter(|_| budget.spend(now, 1024)).count();
        assert_eq!(sent, ANSWER_BYTES_BURST as usize / 1024);
        assert!(budget.covers(now, 0) && !budget.covers(now, 1));
        let later = now + Duration::from_secs(2);
        assert!(budget.covers(later, 1), "and takes nothing");
        let sent = (0..2000).filter(|_| budget.spend(later, 1024)).count();
        assert_eq!(sent, 2 * ANSWER_BYTES_A_SECOND as usize / 1024);
    }
}
