//! The congestion window (RFC 6817): grows while packets queue for less than the target, shrinks when they
//! queue for longer, so that whatever else uses the path comes first.
//!
//! Two things are stricter than the RFC, as in its successor LEDBAT++: close to the target and above it the
//! window shrinks in proportion to itself, so that flows that share a path come to equal shares and a
//! full queue empties within round trips; and slow start ends at half the target, not at the first loss.

use std::time::Duration;

/// The window of one connection, in bytes.
#[derive(Debug)]
pub(crate) struct Ledbat {
    window: f64,
    /// Slow start ends here.
    threshold: f64,
}

impl Ledbat {
    pub(crate) fn new(packet_len: usize) -> Self {
        Self { window: (WINDOW_INITIAL * packet_len) as f64, threshold: f64::INFINITY }
    }

    /// Bytes that may be in flight.
    pub(crate) const fn window(&self) -> usize {
        self.window as usize
    }

    pub(crate) fn is_slow_start(&self) -> bool {
        self.window < self.threshold
    }

    /// Bytes were acknowledged that had used the window; `queued` is how long packets queue.
    pub(crate) fn on_ack(&mut self, acked: usize, queued: Duration, packet_len: usize) {
        let (acked, packet) = (acked as f64, packet_len as f64);
        let load = queued.as_secs_f64() / TARGET.as_secs_f64();
        if self.is_slow_start() {
            if load < SLOW_START_LOAD {
                // An acknowledgement may tell of all that a timeout took for lost.
                self.window = (self.window + acked.min(self.window)).min(self.threshold);
            } else {
                // The packets that tell were sent when the window was half of what it is now.
                self.window /= 2.0;
                self.threshold = self.window;
            }
        } else {
            let share = (acked / self.window).min(1.0);
            let grow = packet * (1.0 - load).max(0.0);
            let shrink = (self.window * (load - SHRINK_LOAD)).clamp(0.0, self.window / 2.0);
            self.window += share * GAIN.mul_add(grow, -shrink);
        }
        self.clamp(packet_len);
    }

    /// A packet was lost, for the first time in a round trip.
    pub(crate) fn on_loss(&mut self, packet_len: usize) {
        self.window /= 2.0;
        self.clamp(packet_len);
        self.threshold = self.window;
    }

    /// Nothing came back for too long; `again` when the same was true of what was sent for that reason: the
    /// window is small by then, and says nothing about the path (RFC 5681, section 3.1).
    pub(crate) fn on_timeout(&mut self, packet_len: usize, again: bool) {
        if !again {
            self.threshold = (self.window / 2.0).max((WINDOW_MIN * packet_len) as f64);
        }
        self.window = packet_len as f64;
    }

    fn clamp(&mut self, packet_len: usize) {
        self.window = self.window.clamp((WINDOW_MIN * packet_len) as f64, WINDOW_MAX);
    }
}

/// How long packets may queue because of us.
const TARGET: Duration = Duration::from_millis(100);
/// Packets that a round trip without a queue adds.
const GAIN: f64 = 1.0;
/// The share of the target from which the window shrinks in proportion.
const SHRINK_LOAD: f64 = 0.9;
/// The share of the target at which slow start ends.
const SLOW_START_LOAD: f64 = 0.5;
/// Packets (RFC 6928 lets TCP begin with ten; a background transfer begins more softly).
const WINDOW_INITIAL: usize = 4;
const WINDOW_MIN: usize = 2;
/// More is not in flight ever, see [`crate::limits::SEND_LEN_MAX`].
const WINDOW_MAX: f64 = crate::limits::SEND_LEN_MAX as f64;

#[cfg(test)]
mod tests {
    use super::*;

    const PACKET: usize = 1_000;

    /// Acknowledges whole windows, each with the same delay.
    fn rounds(ledbat: &mut Ledbat, count: usize, queued: Duration) {
        for _ in 0..count {
            let window = ledbat.window();
            for _ in 0..window / PACKET {
                ledbat.on_ack(PACKET, queued, PACKET);
            }
        }
    }

    fn steady(window: f64) -> Ledbat {
        Ledbat { window, threshold: 0.0 }
    }

    #[test]
    fn slow_start_doubles_until_packets_queue() {
        let mut ledbat = Ledbat::new(PACKET);
        rounds(&mut ledbat, 4, Duration::ZERO);
        assert_eq!(ledbat.window(), 16 * WINDOW_INITIAL * PACKET);
        ledbat.on_ack(PACKET, TARGET / 2, PACKET);
        assert!(!ledbat.is_slow_start());
        assert_eq!(ledbat.window(), 8 * WINDOW_INITIAL * PACKET);
    }

    #[test]
    fn window_grows_by_no_more_than_a_packet_a_round_trip() {
        let mut ledbat = steady(50_000.0);
        rounds(&mut ledbat, 10, Duration::ZERO);
        assert!((58_000..=60_000).contains(&ledbat.window()), "{}", ledbat.window());
    }

    #[test]
    fn window_neither_grows_nor_shrinks_much_near_the_target() {
        let mut ledbat = steady(50_000.0);
        rounds(&mut ledbat, 50, TARGET.mul_f64(0.9));
        assert!((50_000..=56_000).contains(&ledbat.window()), "{}", ledbat.window());
    }

    #[test]
    fn full_queue_makes_room_within_round_trips() {
        let mut ledbat = steady(500_000.0);
        rounds(&mut ledbat, 6, TARGET * 2);
        assert!(ledbat.window() < 50_000, "{}", ledbat.window());
    }

    #[test]
    fn unequal_windows_come_closer_under_the_same_delay() {
        let (mut large, mut small) = (steady(200_000.0), steady(20_000.0));
        rounds(&mut large, 150, TARGET.mul_f64(0.93));
        rounds(&mut small, 150, TARGET.mul_f64(0.93));
        assert!(large.window() < 2 * small.window(), "{large:?} {small:?}");
    }

    #[test]
    fn acknowledgement_of_much_takes_slow_start_no_further_than_its_end() {
        let mut ledbat = steady(50_000.0);
        ledbat.on_timeout(PACKET, false);
        ledbat.on_ack(1_000_000, Duration::ZERO, PACKET);
        assert_eq!(ledbat.window(), 2 * PACKET);
        while ledbat.is_slow_start() {
            ledbat.on_ack(1_000_000, Duration::ZERO, PACKET);
        }
        assert_eq!(ledbat.window(), 25_000);
    }

    #[test]
    fn loss_halves_and_a_timeout_leaves_one_packet() {
        let mut ledbat = steady(50_000.0);
        ledbat.on_loss(PACKET);
        assert_eq!(ledbat.window(), 25_000);
        ledbat.on_timeout(PACKET, false);
        ledbat.on_timeout(PACKET, true);
        assert_eq!(ledbat.window(), PACKET);
        assert!(ledbat.is_slow_start());
        rounds(&mut ledbat, 8, Duration::ZERO);
        assert!((12_500..20_000).contains(&ledbat.window()), "{}", ledbat.window());
    }
}
