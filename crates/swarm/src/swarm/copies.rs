//! How many peers have all of it, as they say themselves: who left is counted still.

use std::collections::BTreeSet;

use proto::PeerId;

/// Peers that were seen with every piece.
#[derive(Debug, Default)]
pub(crate) struct Copies(BTreeSet<PeerId>);

impl Copies {
    /// A peer has all.
    pub(crate) fn note(&mut self, peer: PeerId) {
        if self.0.len() < COPIES_MAX {
            self.0.insert(peer);
        }
    }

    /// How many there are.
    pub(crate) fn count(&self) -> usize {
        self.0.len()
    }
}

/// Beyond that nobody counts: 200 KiB of names.
pub(crate) const COPIES_MAX: usize = 10_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_peer_counts_once_and_memory_has_an_end() {
        let mut copies = Copies::default();
        let name = |number: u32| {
            let mut name = [0; 20];
            name[..4].copy_from_slice(&number.to_be_bytes());
            PeerId(name)
        };
        (0..3).for_each(|_| copies.note(name(7)));
        assert_eq!(copies.count(), 1);
        (0..20_000).for_each(|number| copies.note(name(number)));
        assert_eq!(copies.count(), COPIES_MAX);
    }
}
