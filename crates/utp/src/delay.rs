//! How long packets queue on their way: what they took, less what the quickest of the last two minutes
//! took (RFC 6817, sections 3.4 and 4.2).
//!
//! One-way delays hold an unknown difference of two clocks and wrap, so only their differences mean
//! anything.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// The one-way delays of one direction.
#[derive(Debug)]
pub(crate) struct DelayHistory {
    /// The shortest delay of each span of time, and when the span began; oldest first.
    spans: VecDeque<(Instant, u32)>,
    base: Option<u32>,
    recent: [u32; RECENT],
    recent_at: usize,
}

impl DelayHistory {
    pub(crate) fn new() -> Self {
        Self { spans: VecDeque::new(), base: None, recent: [u32::MAX; RECENT], recent_at: 0 }
    }

    /// Takes a measured delay in microseconds; tells how long packets queue. A single late packet does
    /// not count: it is the least of the last few that does.
    pub(crate) fn sample(&mut self, now: Instant, micros: u32) -> Duration {
        while self.spans.front().is_some_and(|(began, _)| now >= *began + SPAN * SPANS) {
            self.spans.pop_front();
            self.base = self.spans.iter().map(|(_, least)| *least).reduce(earlier);
        }
        match self.spans.back_mut() {
            Some((began, least)) if now < *began + SPAN => *least = earlier(*least, micros),
            Some(_) | None => self.spans.push_back((now, micros)),
        }
        let base = self.base.map_or(micros, |base| earlier(base, micros));
        self.base = Some(base);
        self.recent[self.recent_at] = micros.wrapping_sub(base);
        self.recent_at = (self.recent_at + 1) % RECENT;
        let least = self.recent.iter().copied().min().unwrap_or(0);
        Duration::from_micros(u64::from(least))
    }

    /// The shortest delay, by both clocks.
    pub(crate) const fn base(&self) -> Option<u32> {
        self.base
    }

    /// The two clocks drift apart: every delay of this direction has become longer by that much.
    pub(crate) fn shift(&mut self, micros: u32) {
        for (_, least) in &mut self.spans {
            *least = least.wrapping_add(micros);
        }
        self.base = self.base.map(|base| base.wrapping_add(micros));
    }
}

/// The lesser of two delays that may have wrapped.
fn earlier(one: u32, other: u32) -> u32 {
    if one.wrapping_sub(other).cast_signed() < 0 { one } else { other }
}

/// How long one span lasts, and how many are kept: a bit more than two minutes.
const SPAN: Duration = Duration::from_secs(10);
const SPANS: u32 = 13;
/// Samples of which the least counts.
const RECENT: usize = 4;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_now;

    fn settle(history: &mut DelayHistory, now: Instant, micros: u32) -> Duration {
        (0..RECENT).map(|_| history.sample(now, micros)).last().unwrap_or_default()
    }

    #[test]
    fn queueing_is_counted_from_the_quickest_packet() {
        let (mut history, now) = (DelayHistory::new(), test_now());
        assert_eq!(settle(&mut history, now, 5_000), Duration::ZERO);
        assert_eq!(settle(&mut history, now, 45_000), Duration::from_millis(40));
        // One late packet changes nothing.
        assert_eq!(history.sample(now, 900_000), Duration::from_millis(40));
    }

    #[test]
    fn delays_wrap() {
        let (mut history, now) = (DelayHistory::new(), test_now());
        settle(&mut history, now, u32::MAX - 999);
        assert_eq!(settle(&mut history, now, 9_000), Duration::from_millis(10));
    }

    #[test]
    fn longer_way_is_accepted_after_two_minutes() {
        let (mut history, start) = (DelayHistory::new(), test_now());
        settle(&mut history, start, 1_000);
        let mut queued = Duration::ZERO;
        for seconds in 1..140 {
            queued = settle(&mut history, start + Duration::from_secs(seconds), 31_000);
            assert_eq!(queued.is_zero(), seconds >= 130, "{seconds} s");
        }
        assert!(queued.is_zero());
    }

    #[test]
    fn drift_of_the_clocks_is_no_queue() {
        let (mut history, now) = (DelayHistory::new(), test_now());
        settle(&mut history, now, 1_000);
        history.shift(500);
        assert_eq!(settle(&mut history, now, 1_500), Duration::ZERO);
    }
}
