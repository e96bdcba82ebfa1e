//! Who has proved that they receive what is sent to their address: only they get answers that are much
//! longer than their questions.

use std::hash::{Hash, Hasher};
use std::net::IpAddr;
use std::time::Instant;

use siphasher::sip::SipHasher13;

use crate::limits::{PROVEN_KEPT, PROVEN_SLOTS};

/// Addresses that answered us or showed a token. A fixed table: forgetting one costs it a few nodes in
/// an answer.
#[derive(Debug)]
pub(crate) struct Proven {
    key: [u8; 16],
    slots: Vec<Option<(u64, Instant)>>,
}

impl Proven {
    pub(crate) fn new(key: [u8; 16]) -> Self {
        Self { key, slots: Vec::new() }
    }

    pub(crate) fn insert(&mut self, now: Instant, ip: IpAddr) {
        // Most nodes of a simulated network, and those that only ask, never need it.
        if self.slots.is_empty() {
            self.slots.resize(PROVEN_SLOTS, None);
        }
        let hash = hash(&self.key, ip);
        self.slots[hash as usize % PROVEN_SLOTS] = Some((hash, now));
    }

    pub(crate) fn contains(&self, now: Instant, ip: IpAddr) -> bool {
        let hash = hash(&self.key, ip);
        let slot = self.slots.get(hash as usize % PROVEN_SLOTS).copied().flatten();
        slot.is_some_and(|(known, at)| known == hash && now.duration_since(at) < PROVEN_KEPT)
    }
}

/// A keyed hash: nobody outside can tell which addresses share a slot.
pub(crate) fn hash(key: &[u8; 16], ip: IpAddr) -> u64 {
    let mut hasher = SipHasher13::new_with_key(key);
    ip.hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_proof_counts_for_one_address_and_a_while() {
        let now = crate::test_now();
        let mut proven = Proven::new([3; 16]);
        let (ip, other): (IpAddr, IpAddr) = ([1, 2, 3, 4].into(), [1, 2, 3, 5].into());
        assert!(!proven.contains(now, ip));
        proven.insert(now, ip);
        assert!(proven.contains(now, ip) && !proven.contains(now, other));
        assert!(!proven.contains(now + PROVEN_KEPT, ip));
    }
}
