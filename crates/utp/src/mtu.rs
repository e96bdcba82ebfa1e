//! How long packets may be: starts with what crosses every path and tries longer ones (as RFC 8899 does).
//!
//! A probe is a data packet that must not be fragmented. It cannot be repackaged when it is lost (uTP
//! numbers packets, not bytes), so it is sent again as it is, fragments allowed.

use std::net::SocketAddr;

use crate::limits::{PACKET_LEN_MAX_V4, PACKET_LEN_MAX_V6, PACKET_LEN_MIN};

/// The search for the longest packet of one path.
#[derive(Debug)]
pub(crate) struct PacketLen {
    /// Known to pass.
    proven: usize,
    /// The longest that may still pass.
    ceiling: usize,
    /// A probe is on its way.
    probing: bool,
    /// Nothing was lost yet: the longest is tried first, since it passes nearly always.
    untried: bool,
}

impl PacketLen {
    pub(crate) const fn new(peer: SocketAddr) -> Self {
        let ceiling = if peer.is_ipv4() { PACKET_LEN_MAX_V4 } else { PACKET_LEN_MAX_V6 };
        Self { proven: PACKET_LEN_MIN, ceiling, probing: false, untried: true }
    }

    /// Bytes of a UDP payload that pass.
    pub(crate) const fn get(&self) -> usize {
        self.proven
    }

    /// The length of the probe that should be sent next, if one should.
    pub(crate) const fn poll_probe(&self) -> Option<usize> {
        if self.probing || self.ceiling < self.proven + STEP {
            return None;
        }
        let middle = self.proven + (self.ceiling - self.proven).div_ceil(2);
        Some(if self.untried { self.ceiling } else { middle })
    }

    pub(crate) const fn on_probe_sent(&mut self) {
        self.probing = true;
        self.untried = false;
    }

    pub(crate) fn on_probe_passed(&mut self, len: usize) {
        self.probing = false;
        self.proven = self.proven.max(len.min(self.ceiling));
    }

    pub(crate) fn on_probe_lost(&mut self, len: usize) {
        self.probing = false;
        self.ceiling = self.ceiling.min(len - 1).max(self.proven);
    }

    /// Nothing comes through any more: perhaps the path has changed.
    pub(crate) const fn on_black_hole(&mut self) {
        self.proven = PACKET_LEN_MIN;
        self.ceiling = PACKET_LEN_MIN;
        self.probing = false;
    }
}

/// A gain that is not worth a probe.
const STEP: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;

    fn found(path: usize) -> (usize, u32) {
        let mut len = PacketLen::new(([192, 0, 2, 1], 1).into());
        let mut probes = 0;
        while let Some(probe) = len.poll_probe() {
            len.on_probe_sent();
            assert_eq!(len.poll_probe(), None, "one at a time");
            if probe <= path {
                len.on_probe_passed(probe)
            } else {
                len.on_probe_lost(probe)
            }
            probes += 1;
        }
        (len.get(), probes)
    }

    #[test]
    fn longest_packet_is_found_in_few_steps() {
        assert_eq!(found(9_000), (PACKET_LEN_MAX_V4, 1));
        assert_eq!(found(PACKET_LEN_MAX_V4), (PACKET_LEN_MAX_V4, 1));
        for path in (PACKET_LEN_MIN..PACKET_LEN_MAX_V4).step_by(7) {
            let (len, probes) = found(path);
            assert!(len <= path && len + STEP > path && probes < 9, "{path}: {len}, {probes}");
        }
        assert_eq!(found(500).0, PACKET_LEN_MIN);
    }
}
