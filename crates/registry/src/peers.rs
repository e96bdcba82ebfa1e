//! The peers of one swarm and one address family: a dense array, seeders first.
//!
//! Invariant: `entries[..seeders]` have everything, the rest do not; no address is there twice; above
//! [`INDEXED_FROM`] entries the index knows each of them. Nothing here knows the time.

use smallvec::SmallVec;

use crate::index::Index;
use crate::mark::Mark;
use crate::place::HashKey;

/// From so many entries on they are found by index; below, looking at each is as fast.
const INDEXED_FROM: usize = 33;
/// An index is given up below so many entries.
const INDEXED_UNTIL: usize = 16;

/// A peer: its address and port as the wire has them, and 32 bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Entry<const N: usize> {
    key: [u8; N],
    // Bytes, so that an IPv4 entry takes ten of them and not twelve.
    mark: [u8; 4],
}

/// Peers whose compact form has `N` bytes: 6 for IPv4, 18 for IPv6.
#[derive(Debug, Clone, Default)]
pub(crate) struct PeerSet<const N: usize> {
    // One without a heap block: the record is no larger for it.
    entries: SmallVec<[Entry<N>; 1]>,
    seeders: u32,
    index: Option<Box<Index>>,
}

/// Whether a peer has all of the content.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// It has.
    Seeder,
    /// It has not yet.
    Leecher,
}

impl<const N: usize> PeerSet<N> {
    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    /// What a search reads first, its first byte and how many there are: the index, or all entries.
    pub(crate) fn read_first(&self) -> Option<(*const u8, usize)> {
        if let Some(index) = &self.index {
            return Some((std::ptr::from_ref(&**index).cast(), size_of::<Index>()));
        }
        let first = self.entries.first()?;
        Some((std::ptr::from_ref(first).cast(), size_of_val(&self.entries[..])))
    }

    pub(crate) const fn seeders(&self) -> usize {
        self.seeders as usize
    }

    /// The peer at a position: its address, its mark, its role.
    pub(crate) fn at(&self, position: usize) -> ([u8; N], Mark, Role) {
        let entry = &self.entries[position];
        let role = if position < self.seeders() { Role::Seeder } else { Role::Leecher };
        (entry.key, Mark::unpack(entry.mark), role)
    }

    pub(crate) fn find(&self, hasher: &HashKey, key: &[u8; N]) -> Option<usize> {
        match &self.index {
            Some(index) => index
                .find(hasher.hash(key), |at| self.entries[at as usize].key == *key)
                .map(|at| at as usize),
            None => self.entries.iter().position(|entry| entry.key == *key),
        }
    }

    /// Adds a peer that is not there.
    pub(crate) fn insert(&mut self, hasher: &HashKey, key: [u8; N], mark: Mark, role: Role) {
        debug_assert!(self.find(hasher, &key).is_none(), "an address is there once");
        let position = self.entries.len();
        if position == self.entries.capacity() {
            self.entries.reserve_exact(room_for_more(position, size_of::<Entry<N>>()));
        }
        self.entries.push(Entry { key, mark: mark.pack() });
        let entries = &self.entries;
        let hash_of = |at: u32| hasher.hash(&entries[at as usize].key);
        if let Some(index) = &mut self.index {
            index.insert(hasher.hash(&key), position as u32, hash_of);
        } else if entries.len() >= INDEXED_FROM {
            let mut index = Box::<Index>::default();
            for at in 0..entries.len() as u32 {
                index.insert(hash_of(at), at, hash_of);
            }
            self.index = Some(index);
        }
        if role == Role::Seeder {
            self.set_role(hasher, position, role);
        }
    }

    /// Changes the mark of the peer at a position.
    pub(crate) fn set_mark(&mut self, position: usize, mark: Mark) {
        self.entries[position].mark = mark.pack();
    }

    /// Moves the peer at a position to the part for its role; tells where it is now.
    pub(crate) fn set_role(&mut self, hasher: &HashKey, position: usize, role: Role) -> usize {
        let is_seeder = position < self.seeders();
        let target = match role {
            Role::Seeder if !is_seeder => {
                self.seeders += 1;
                self.seeders() - 1
            }
            Role::Leecher if is_seeder => {
                self.seeders -= 1;
                self.seeders()
            }
            Role::Seeder | Role::Leecher => return position,
        };
        self.swap(hasher, position, target);
        target
    }

    /// Takes the peer at a position out. The last leecher or seeder may take its place.
    pub(crate) fn remove(&mut self, hasher: &HashKey, position: usize) {
        // A seeder first becomes the first leecher, so that the order holds.
        let position = self.set_role(hasher, position, Role::Leecher);
        let last = self.entries.len() - 1;
        self.swap(hasher, position, last);
        let entries = &self.entries;
        let hash_of = |at: u32| hasher.hash(&entries[at as usize].key);
        if let Some(index) = &mut self.index {
            index.remove(hash_of(last as u32), last as u32, hash_of);
        }
        self.entries.pop();
        if self.entries.len() < INDEXED_UNTIL {
            self.index = None;
        }
        if self.entries.spilled() && self.entries.len() * 2 < self.entries.capacity() {
            self.entries.shrink_to_fit();
        }
    }

    fn swap(&mut self, hasher: &HashKey, a: usize, b: usize) {
        if a == b {
            return;
        }
        if let Some(index) = &mut self.index {
            let [hash_a, hash_b] = [a, b].map(|at| hasher.hash(&self.entries[at].key));
            index.swap((hash_a, a as u32), (hash_b, b as u32));
        }
        self.entries.swap(a, b);
    }
}

/// How many entries a full array of `len` takes on: an eighth, and what the allocator would round up
/// to. Doubling would leave a third of the memory of most swarms unused.
pub(crate) const fn room_for_more(len: usize, entry_len: usize) -> usize {
    let wanted = (len + 1 + len / 8) * entry_len;
    let block = (wanted + BLOCK_HEAD_LEN).next_multiple_of(BLOCK_STEP);
    (block - BLOCK_HEAD_LEN) / entry_len - len
}

/// Blocks of the usual allocators are so many bytes apart, and these are the allocator's own.
const BLOCK_STEP: usize = 16;
const BLOCK_HEAD_LEN: usize = 8;

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn arrays_grow_by_an_eighth() {
        let mut len = 1;
        let mut steps = Vec::new();
        while len < 40 {
            len += room_for_more(len, 10);
            steps.push(len);
        }
        assert_eq!(steps, [2, 4, 5, 7, 8, 10, 12, 15, 18, 21, 24, 28, 32, 37, 42]);
        assert_eq!(room_for_more(80_000, 10), 10_002);
    }

    #[test]
    fn records_are_small() {
        assert_eq!(size_of::<Entry<6>>(), 10);
        assert_eq!(size_of::<PeerSet<6>>(), 40);
    }

    proptest! {
        #[test]
        fn holds_what_a_map_holds(
            steps in prop::collection::vec((0_u8..120, 0_u8..4), 1..600),
        ) {
            let hasher = HashKey::new([7; 16]);
            let mut set = PeerSet::<6>::default();
            let mut model = BTreeMap::new();
            for (name, action) in steps {
                let key = [name, 0, 0, 1, 26, 225];
                let role = if action == 0 { Role::Seeder } else { Role::Leecher };
                match (set.find(&hasher, &key), action) {
                    (Some(at), 3) => {
                        set.remove(&hasher, at);
                        model.remove(&key);
                    }
                    (Some(at), _) => {
                        set.set_role(&hasher, at, role);
                        model.insert(key, role);
                    }
                    (None, _) => {
                        set.insert(&hasher, key, Mark::default(), role);
                        model.insert(key, role);
                    }
                }
                let all = (0..set.len()).map(|at| set.at(at));
                let all: BTreeMap<_, _> = all.map(|(key, _, role)| (key, role)).collect();
                prop_assert_eq!(set.len(), model.len());
                prop_assert!(all.iter().eq(model.iter()));
                for key in model.keys() {
                    let at = set.find(&hasher, key).expect("it is there");
                    prop_assert_eq!(set.at(at).0, *key);
                }
            }
        }
    }
}
