//! Slowdowns: now and then a stream sends next to nothing for two round trips, so that the queue that it
//! keeps drains and the shortest delay of the path shows again (as LEDBAT++ does, section 4.4 of its draft).
//!
//! Delays count from the shortest of the last two minutes. A stream that has the path for itself keeps a queue
//! all that time, forgets what the path is like without it, and would add its whole target to that again, every
//! two minutes. All streams of an endpoint slow down at the same moments: what they queue at a bottleneck that
//! they share is gone only when none of them sends. So that holds for those who send to us as well, who know nothing
//! of each other: we have room for next to nothing then, and tell them so.

use std::time::{Duration, Instant};

use crate::limits::ACK_DELAY;

/// When one stream slows down.
#[derive(Debug)]
pub(crate) struct Slowdown {
    /// When packets last passed as quickly as they ever do.
    seen_at: Instant,
    /// The next of the moments that all streams share.
    next: Instant,
    until: Option<Instant>,
}

impl Slowdown {
    pub(crate) const fn new(now: Instant) -> Self {
        Self { seen_at: now, next: now, until: None }
    }

    /// Packets queue for so long. `micros` is the endpoint's clock, `round_trip` how long one takes now, and
    /// `least` how long it takes without a queue.
    pub(crate) fn on_delay(
        &mut self,
        now: Instant,
        micros: u32,
        queued: Duration,
        (round_trip, least): (Duration, Duration),
    ) {
        if queued <= NEAR {
            (self.seen_at, self.until) = (now, None);
        }
        if now >= self.next {
            let phase = Duration::from_micros(u64::from(micros) % EVERY.as_micros() as u64);
            self.next = now + (EVERY - phase);
            if now.saturating_duration_since(self.seen_at) >= EVERY / 2 {
                // What is in flight arrives; then a packet that meets no queue comes back.
                let length = (round_trip + least + ACK_DELAY).clamp(LENGTH_MIN, LENGTH_MAX);
                self.until = Some(now + length);
            }
        }
    }

    /// Time has passed; true when it ends by that.
    pub(crate) fn on_time(&mut self, now: Instant) -> bool {
        self.until.take_if(|until| *until <= now).is_some()
    }

    /// Next to nothing may be sent.
    pub(crate) fn is_on(&self, now: Instant) -> bool {
        self.until.is_some_and(|until| now < until)
    }

    /// When it ends.
    pub(crate) const fn poll_timeout(&self) -> Option<Instant> {
        self.until
    }
}

/// How often a stream looks, at most: four times while the history of delays remembers.
const EVERY: Duration = Duration::from_secs(30);
/// How long it lasts at least, unless the queue is seen empty: streams with longer round trips are quiet later.
const LENGTH_MIN: Duration = Duration::from_millis(300);
/// How long it lasts at most: on a path that is slower than that, silence finds out nothing that is worth it.
const LENGTH_MAX: Duration = Duration::from_secs(2);
/// A queue of an eighth of the target is as good as none.
const NEAR: Duration = Duration::from_micros(12_500);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_now;

    const FULL: Duration = Duration::from_millis(90);
    const TRIPS: (Duration, Duration) = (Duration::from_millis(220), Duration::from_millis(130));

    /// One acknowledgement a second from one second to another; the seconds at which it slowed down.
    fn slow_at(slowdown: &mut Slowdown, start: Instant, seconds: std::ops::Range<u64>) -> Vec<u64> {
        let mut slow = Vec::new();
        for second in seconds {
            let now = start + Duration::from_secs(second);
            slowdown.on_time(now);
            slowdown.on_delay(now, second as u32 * 1_000_000, FULL, TRIPS);
            if slowdown.is_on(now) {
                slow.push(second);
            }
        }
        slow
    }

    #[test]
    fn stream_that_always_queues_slows_down_several_times_in_two_minutes() {
        let start = test_now();
        let mut slowdown = Slowdown::new(start);
        assert_eq!(slow_at(&mut slowdown, start, 0..130), [30, 60, 90, 120]);
    }

    #[test]
    fn streams_that_began_at_other_times_slow_down_together() {
        let start = test_now();
        let mut later = Slowdown::new(start + Duration::from_secs(7));
        assert_eq!(slow_at(&mut later, start, 7..100), [30, 60, 90]);
    }

    #[test]
    fn stream_that_leaves_the_queue_empty_has_nothing_to_find_out() {
        let start = test_now();
        let mut slowdown = Slowdown::new(start);
        slow_at(&mut slowdown, start, 0..20);
        slowdown.on_delay(start + Duration::from_secs(20), 20_000_000, NEAR, TRIPS);
        assert_eq!(slow_at(&mut slowdown, start, 21..70), [60]);
    }

    #[test]
    fn it_lasts_two_round_trips_or_until_the_queue_is_seen_empty() {
        let start = test_now();
        let mut slowdown = Slowdown::new(start);
        let now = start + EVERY;
        slow_at(&mut slowdown, start, 0..31);
        let ends = slowdown.poll_timeout().unwrap();
        assert_eq!(ends, now + TRIPS.0 + TRIPS.1 + ACK_DELAY);
        slowdown.on_delay(now + TRIPS.0, 30_120_000, FULL, TRIPS);
        assert!(slowdown.is_on(now + TRIPS.0) && !slowdown.is_on(ends));
        slowdown.on_delay(now + TRIPS.0, 30_120_000, NEAR, TRIPS);
        assert!(!slowdown.is_on(now + TRIPS.0));
        assert_eq!(slowdown.poll_timeout(), None);
    }

    #[test]
    fn slow_path_is_not_given_up_for_long() {
        let start = test_now();
        let mut slowdown = Slowdown::new(start);
        let now = start + EVERY;
        slowdown.on_delay(now, 30_000_000, FULL, (Duration::from_secs(40), Duration::from_secs(9)));
        assert_eq!(slowdown.poll_timeout(), Some(now + LENGTH_MAX));
    }
}
