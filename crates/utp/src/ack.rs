//! When to acknowledge: at once what looks like loss, else every second packet, or after a moment.

use std::time::Instant;

use crate::limits::{ACK_DELAY, ACK_EACH_FIRST, ACK_EVERY};

/// What we owe the peer.
#[derive(Debug)]
pub(crate) struct Acks {
    unacknowledged: u32,
    received: u32,
    urgent: bool,
    due: Option<Instant>,
}

impl Acks {
    pub(crate) const fn new() -> Self {
        Self { unacknowledged: 0, received: 0, urgent: false, due: None }
    }

    /// A packet with the next number came.
    pub(crate) fn on_packet(&mut self, now: Instant) {
        self.unacknowledged += 1;
        self.received = self.received.saturating_add(1);
        if self.unacknowledged >= ACK_EVERY || self.received <= ACK_EACH_FIRST {
            self.urgent = true;
        }
        self.due.get_or_insert(now + ACK_DELAY);
    }

    /// Something the peer must know of soon: a gap, a repeated packet, room again.
    pub(crate) const fn hurry(&mut self) {
        self.urgent = true;
    }

    /// A packet that says how far we are has left.
    pub(crate) const fn on_sent(&mut self) {
        (self.unacknowledged, self.urgent, self.due) = (0, false, None);
    }

    pub(crate) fn is_due(&self, now: Instant) -> bool {
        self.urgent || self.due.is_some_and(|due| due <= now)
    }

    pub(crate) const fn poll_timeout(&self) -> Option<Instant> {
        self.due
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_now;

    #[test]
    fn every_second_packet_is_acknowledged_or_after_a_moment() {
        let (mut acks, now) = (Acks::new(), test_now());
        for _ in 0..ACK_EACH_FIRST {
            acks.on_packet(now);
            assert!(acks.is_due(now));
            acks.on_sent();
        }
        acks.on_packet(now);
        assert!(!acks.is_due(now) && acks.is_due(now + ACK_DELAY));
        acks.on_packet(now);
        assert!(acks.is_due(now));
        acks.on_sent();
        assert_eq!(acks.poll_timeout(), None);
        acks.hurry();
        assert!(acks.is_due(now));
    }
}
