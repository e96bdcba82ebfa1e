//! How many blocks may be asked from a peer at once.
//!
//! Slow start: one more for each block that came. Then twice the measured rate times the round trip,
//! never below 2 MiB for a fast peer: rate times round trip alone confirms whatever it is and never
//! grows.

use std::time::Duration;

use proto::BLOCK_LEN;

/// One peer's request window, in blocks.
#[derive(Debug, Clone)]
pub(crate) struct Window {
    size: u32,
    slow_start: bool,
    rate_before: u64,
    /// Requests that the peer says it accepts.
    peer_limit: u32,
    snubbed: bool,
    /// Never below, however slow the peer is.
    floor: u32,
}

impl Window {
    pub(crate) const fn new() -> Self {
        let peer_limit = REQQ_ASSUMED;
        let floor = SLOW_FLOOR;
        Self { size: INITIAL, slow_start: true, rate_before: 0, peer_limit, snubbed: false, floor }
    }

    /// A web seed answers one request after the other: each should be worth its round trip.
    pub(crate) const fn of_web_seed() -> Self {
        Self { size: FAST_FLOOR, floor: FAST_FLOOR, ..Self::new() }
    }

    pub(crate) fn set_peer_limit(&mut self, reqq: u32) {
        self.peer_limit = reqq.clamp(1, LARGEST);
    }

    /// Blocks that may be outstanding.
    pub(crate) fn size(&self) -> usize {
        if self.snubbed { 1 } else { self.size.min(self.peer_limit) as usize }
    }

    pub(crate) const fn on_block(&mut self) {
        self.snubbed = false;
        if self.slow_start && self.size < LARGEST {
            self.size += 1;
        }
    }

    /// The peer owes us blocks and sends none.
    pub(crate) const fn on_snub(&mut self) {
        self.snubbed = true;
    }

    pub(crate) const fn is_snubbed(&self) -> bool {
        self.snubbed
    }

    /// Once a second: leaves slow start when the rate stops growing, then follows the rate.
    pub(crate) fn tick(&mut self, rate: u64, round_trip: Duration) {
        if self.slow_start {
            self.slow_start = rate == 0 || rate > self.rate_before + GROWTH_MIN;
            self.rate_before = rate;
            return;
        }
        let in_flight = 2.0 * rate as f64 * round_trip.as_secs_f64() / f64::from(BLOCK_LEN);
        let floor = if rate > FAST { FAST_FLOOR } else { self.floor };
        self.size = (in_flight as u32).clamp(floor, LARGEST);
    }
}

/// 512 KiB: the first round trip moves a whole piece of the usual length.
const INITIAL: u32 = 32;
/// 2 MiB: what a fast local peer needs to never wait for us.
const FAST_FLOOR: u32 = 128;
/// Enough to keep a slow peer busy, few enough that it does not hoard blocks.
const SLOW_FLOOR: u32 = 4;
/// Bytes a second above which a peer counts as fast.
const FAST: u64 = 1 << 20;
/// Bytes a second by which slow start must still grow.
const GROWTH_MIN: u64 = 5_000;
/// 32 MiB in flight to one peer.
const LARGEST: u32 = 2_000;
/// What a peer that names no limit accepts.
const REQQ_ASSUMED: u32 = 250;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn window_grows_with_each_block_then_follows_the_rate() {
        let mut window = Window::new();
        (0..300).for_each(|_| window.on_block());
        assert_eq!(window.size(), 250);
        window.set_peer_limit(2_000);
        assert_eq!(window.size(), 332);
        window.tick(50 << 20, Duration::from_millis(1));
        window.tick(50 << 20, Duration::from_millis(1));
        window.tick(50 << 20, Duration::from_millis(1));
        assert_eq!(window.size(), 128);
        window.tick(50 << 20, Duration::from_millis(100));
        assert_eq!(window.size(), 640);
    }

    #[test]
    fn a_slow_web_seed_is_asked_for_much_at_once() {
        let mut window = Window::of_web_seed();
        (0..3).for_each(|_| window.tick(1000, Duration::from_millis(1)));
        assert_eq!(window.size(), 128);
    }

    #[test]
    fn a_snubbed_peer_gets_one_request_until_it_answers() {
        let mut window = Window::new();
        window.on_snub();
        assert_eq!(window.size(), 1);
        window.on_block();
        assert!(window.size() > 1);
    }
}
