//! Where an announce or a scrape will read, so that whoever has many to answer can have the processor
//! fetch it for all of them at once, instead of waiting for each.
//!
//! Three reads lead from a hash to its peers, and each is likely to miss every cache. An address is
//! only told here, never read through: a wrong guess costs nothing but time.

use super::Shard;
use crate::place::Place;

/// A read on the way to a swarm's peers. Each needs the one before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// The slot of the index.
    Slot,
    /// The swarm's record.
    Swarm,
    /// Its IPv4 peers, or the index of many.
    Peers,
}

impl Step {
    /// All of them, in order.
    pub const ALL: [Self; 3] = [Self::Slot, Self::Swarm, Self::Peers];
}

/// Memory that will be read: its first byte, and how many there are.
pub type Span = (*const u8, usize);

impl Shard {
    /// What that step reads for the info hash of that place. The earlier steps are read for it. A hybrid's
    /// second hash leads to nothing.
    #[must_use]
    pub fn ahead(&self, Place(hash): Place, step: Step) -> Option<Span> {
        if step == Step::Slot {
            return self.by_hash.start_of(hash).map(span_of);
        }
        let swarm = self.swarms.get(self.by_hash.guess(hash)? as usize)?;
        match step {
            Step::Slot | Step::Swarm => Some(span_of(swarm)),
            Step::Peers => swarm.read_first(),
        }
    }
}

const fn span_of<T>(value: &T) -> Span {
    (std::ptr::from_ref(value).cast(), size_of::<T>())
}

#[cfg(test)]
mod tests {
    use proto::InfoHash;

    use super::*;
    use crate::index::Index;
    use crate::swarm::Swarm;
    use crate::{Caps, ClientClass, HashKey, Intervals, Names, Presence, Role, Secs};

    #[test]
    fn each_step_leads_to_the_next() {
        let hasher = HashKey::new([3; 16]);
        let mut shard = Shard::new(hasher, Intervals::default(), Caps::default());
        let (known, unknown) = (InfoHash([1; 20]), InfoHash([2; 20]));
        let of = |shard: &Shard, hash, step| shard.ahead(hasher.place(&hash), step);
        assert_eq!(Step::ALL.map(|step| of(&shard, known, step)), [None; 3]);

        let mut enter = |port: u16| {
            let peer = ([127, 0, 0, 1], port).into();
            let (role, names, class) = (Role::Leecher, Names::FIRST, ClientClass::default());
            let presence = Presence { peer, role, names, class, life_secs: 60 };
            shard.intake(Secs(0), known, &presence);
            let spans = Step::ALL.map(|step| of(&shard, known, step).map(|(_, len)| len));
            assert_eq!(of(&shard, unknown, Step::Peers), None);
            spans
        };
        assert_eq!(enter(1), [Some(4), Some(size_of::<Swarm>()), Some(10)]);
        assert_eq!(enter(2), [Some(4), Some(size_of::<Swarm>()), Some(20)]);
        let many = (3..100).map(&mut enter).last();
        assert_eq!(many, Some([Some(4), Some(size_of::<Swarm>()), Some(size_of::<Index>())]));
    }
}
