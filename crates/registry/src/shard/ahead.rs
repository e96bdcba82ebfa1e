//! Where an announce or a scrape will read, so that whoever has many to answer can have the processor
//! fetch it for all of them at once, instead of waiting for each.
//!
//! Three reads lead from a hash to its peers, and each is likely to miss every cache. An address is
//! only told here, never read through: a wrong guess costs nothing but time.

use proto::InfoHash;

use super::Shard;

/// A read on the way to a swarm's peers. Each needs the one before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// The slot of the index.
    Slot,
    /// The swarm's record.
    Swarm,
    /// Its first peers.
    Peers,
}

impl Step {
    /// All of them, in order.
    pub const ALL: [Self; 3] = [Self::Slot, Self::Swarm, Self::Peers];
}

/// Memory that will be read: its first byte, and how many there are.
pub type Span = (*const u8, usize);

impl Shard {
    /// What that step reads for that hash. The earlier steps are read for it. A hybrid's second hash leads to nothing.
    #[must_use]
    pub fn ahead(&self, hash: &InfoHash, step: Step) -> Option<Span> {
        let hash = self.hasher.hash(&hash.0);
        if step == Step::Slot {
            return self.by_hash.start_of(hash).map(span_of);
        }
        let swarm = self.swarms.get(self.by_hash.guess(hash)? as usize)?;
        match step {
            Step::Slot | Step::Swarm => Some(span_of(swarm)),
            Step::Peers => swarm.first_peers(),
        }
    }
}

const fn span_of<T>(value: &T) -> Span {
    (std::ptr::from_ref(value).cast(), size_of::<T>())
}
