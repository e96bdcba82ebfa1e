//! Finds an entry of a dense array by its key's hash, at four to eight bytes an entry.
//!
//! Open addressing with linear probing; holes are closed on removal, so there are no tombstones. The
//! array holds the keys, and the caller hashes and compares them. A slot has a position, which is below the
//! number of slots, and in the bits left over a part of the key's hash: neighbours of another key are
//! passed without a look at the array, which seldom is in the processor's cache.

/// Marks a free slot.
const FREE: u32 = u32::MAX;

/// Positions of a dense array, by hash. Each is below the number of those that the index knows.
#[derive(Debug, Clone, Default)]
pub(crate) struct Index {
    /// A power of two of slots, or none at all: a position and, above it, a part of the hash.
    slots: Vec<u32>,
    len: usize,
}

impl Index {
    /// Knows nothing, takes no memory.
    pub(crate) const fn new() -> Self {
        Self { slots: Vec::new(), len: 0 }
    }

    /// The position whose entry has that hash and satisfies `is_it`.
    pub(crate) fn find(&self, hash: u64, is_it: impl Fn(u32) -> bool) -> Option<u32> {
        self.slot_of(hash, is_it).map(|slot| self.slots[slot] & self.mask())
    }

    /// Where [`Index::find`] begins to look.
    pub(crate) fn start_of(&self, hash: u64) -> Option<&u32> {
        self.slots.get(hash as usize & self.mask() as usize)
    }

    /// The position that is most likely the hash's, without a look at the array.
    pub(crate) fn guess(&self, hash: u64) -> Option<u32> {
        self.find(hash, |_| true)
    }

    /// Adds a position that is not there yet. `hash_of` tells the hash of every position, for when
    /// the table grows.
    pub(crate) fn insert(&mut self, hash: u64, position: u32, hash_of: impl Fn(u32) -> u64) {
        if (self.len + 1) * 4 > self.slots.len() * 3 {
            self.grow(hash_of);
        }
        self.put(hash, position);
        self.len += 1;
    }

    /// Removes a position.
    pub(crate) fn remove(&mut self, hash: u64, position: u32, hash_of: impl Fn(u32) -> u64) {
        let Some(mut hole) = self.slot_of(hash, |found| found == position) else { return };
        self.len -= 1;
        let mask = self.slots.len() - 1;
        let mut next = hole;
        loop {
            next = (next + 1) & mask;
            let moved = self.slots[next];
            if moved == FREE {
                break;
            }
            // An entry may move back into the hole unless its home lies after the hole.
            let home = hash_of(moved & mask as u32) as usize & mask;
            if (next.wrapping_sub(home) & mask) >= (next.wrapping_sub(hole) & mask) {
                self.slots[hole] = moved;
                hole = next;
            }
        }
        self.slots[hole] = FREE;
    }

    /// The entries at two positions, given with their hashes, change places.
    pub(crate) fn swap(&mut self, (hash_a, a): (u64, u32), (hash_b, b): (u64, u32)) {
        // Both slots are found before either changes.
        let slot_a = self.slot_of(hash_a, |found| found == a);
        let slot_b = self.slot_of(hash_b, |found| found == b);
        if let (Some(slot_a), Some(slot_b)) = (slot_a, slot_b) {
            self.slots[slot_a] = self.entry(hash_a, b);
            self.slots[slot_b] = self.entry(hash_b, a);
        }
    }

    fn slot_of(&self, hash: u64, is_it: impl Fn(u32) -> bool) -> Option<usize> {
        let mask = self.slots.len().checked_sub(1)?;
        let mut slot = hash as usize & mask;
        let sign = self.entry(hash, 0);
        loop {
            match self.slots[slot] {
                FREE => return None,
                entry if entry & !self.mask() == sign && is_it(entry & self.mask()) => {
                    return Some(slot);
                }
                _ => slot = (slot + 1) & mask,
            }
        }
    }

    /// The bits of a slot that hold a position.
    const fn mask(&self) -> u32 {
        (self.slots.len() as u32).wrapping_sub(1)
    }

    /// What stands in a slot. Never [`FREE`]: a quarter of the slots is free, so no position has all bits.
    const fn entry(&self, hash: u64, position: u32) -> u32 {
        // The low half says which slot.
        (hash >> 32) as u32 & !self.mask() | position
    }

    fn put(&mut self, hash: u64, position: u32) {
        let mask = self.slots.len() - 1;
        let mut slot = hash as usize & mask;
        while self.slots[slot] != FREE {
            slot = (slot + 1) & mask;
        }
        debug_assert!(position < self.mask(), "positions are those of a dense array");
        self.slots[slot] = self.entry(hash, position);
    }

    fn grow(&mut self, hash_of: impl Fn(u32) -> u64) {
        let larger = vec![FREE; (self.slots.len() * 2).max(16)];
        let mask = self.mask();
        let old = std::mem::replace(&mut self.slots, larger);
        for position in old.into_iter().filter(|&entry| entry != FREE).map(|entry| entry & mask) {
            self.put(hash_of(position), position);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Few distinct hashes, so that runs collide and wrap around the end of the table.
    fn weak(key: u16) -> u64 {
        (u64::from(key % 7) * 5) | (u64::from(key % 3) << 40)
    }

    proptest! {
        #[test]
        fn finds_what_is_there_and_nothing_else(keys in prop::collection::vec(0_u16..60, 1..200)) {
            let mut dense: Vec<u16> = Vec::new();
            let mut index = Index::default();
            for key in keys {
                let hash = weak(key);
                match index.find(hash, |at| dense[at as usize] == key) {
                    Some(at) => {
                        let last = dense.len() as u32 - 1;
                        if at != last {
                            index.swap((hash, at), (weak(dense[last as usize]), last));
                            dense.swap(at as usize, last as usize);
                        }
                        index.remove(hash, last, |p| weak(dense[p as usize]));
                        dense.pop();
                    }
                    None => {
                        dense.push(key);
                        let at = dense.len() as u32 - 1;
                        index.insert(hash, at, |p| weak(dense[p as usize]));
                    }
                }
                for key in 0..60 {
                    let found = index.find(weak(key), |at| dense[at as usize] == key);
                    let expected = dense.iter().position(|&other| other == key);
                    prop_assert_eq!(found.map(|at| at as usize), expected);
                }
            }
        }
    }
}
