//! Chance that a seed decides, so that the same inputs give the same outputs.
//!
//! [`Chance`] spreads choices and is fast; who sees some of its numbers can compute the others. Where
//! strangers must not guess, there is [`Secrets`].
#![forbid(unsafe_code)]

use std::hash::Hasher as _;

use siphasher::sip::SipHasher24;

/// SplitMix64.
#[derive(Debug, Clone)]
pub struct Chance(u64);

impl Chance {
    /// The numbers of a seed.
    #[must_use]
    pub const fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// Any number.
    pub const fn number(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `bound`, which is not 0.
    pub const fn below(&mut self, bound: u64) -> u64 {
        below(self.number(), bound)
    }

    /// A position among `len`, which is not 0.
    pub const fn index(&mut self, len: usize) -> usize {
        self.below(len as u64) as usize
    }

    /// Random bytes.
    pub fn fill(&mut self, bytes: &mut [u8]) {
        fill(bytes, || self.number());
    }

    /// Brings items into any order.
    pub fn shuffle<T>(&mut self, items: &mut [T]) {
        for last in (1..items.len()).rev() {
            items.swap(last, self.index(last + 1));
        }
    }
}

/// SipHash of a counter: who sees some of it cannot tell the rest without the seed.
#[derive(Clone)]
pub struct Secrets {
    key: [u8; 16],
    counter: u64,
}

impl Secrets {
    /// The numbers of a seed.
    #[must_use]
    pub const fn new(seed: [u8; 16]) -> Self {
        Self { key: seed, counter: 0 }
    }

    /// Any number.
    pub fn number(&mut self) -> u64 {
        self.counter += 1;
        let mut hasher = SipHasher24::new_with_key(&self.key);
        hasher.write_u64(self.counter);
        hasher.finish()
    }

    /// Random bytes.
    #[must_use]
    pub fn bytes<const N: usize>(&mut self) -> [u8; N] {
        let mut bytes = [0; N];
        fill(&mut bytes, || self.number());
        bytes
    }

    /// Moves `count` random items to the front, in random order.
    pub fn sample<T>(&mut self, items: &mut [T], count: usize) {
        for at in 0..count.min(items.len().saturating_sub(1)) {
            let left = (items.len() - at) as u64;
            items.swap(at, at + below(self.number(), left) as usize);
        }
    }
}

impl std::fmt::Debug for Secrets {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secrets(..)")
    }
}

const fn below(number: u64, bound: u64) -> u64 {
    ((number as u128 * bound as u128) >> 64) as u64
}

fn fill(bytes: &mut [u8], mut number: impl FnMut() -> u64) {
    for part in bytes.chunks_mut(8) {
        part.copy_from_slice(&number().to_le_bytes()[..part.len()]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// From the generator's own reference program.
    #[test]
    fn splitmix64_says_what_it_says_elsewhere() {
        let mut chance = Chance::new(1_234_567);
        let expected = [6_457_827_717_110_365_317, 3_203_168_211_198_807_973];
        assert_eq!(expected.map(|_| chance.number()), expected);
    }

    #[test]
    fn numbers_stay_below_their_bound_and_reach_all_of_it() {
        let mut chance = Chance::new(7);
        let mut seen = [false; 3];
        (0..100).for_each(|_| seen[chance.index(3)] = true);
        assert_eq!(seen, [true; 3]);
    }

    #[test]
    fn a_seed_says_it_all_and_no_item_is_lost() {
        let (mut one, mut other) = (Secrets::new([1; 16]), Secrets::new([1; 16]));
        assert_eq!(one.bytes::<20>(), other.bytes::<20>());
        assert_ne!(one.bytes::<20>(), Secrets::new([2; 16]).bytes::<20>());
        let mut items: Vec<u32> = (0..10).collect();
        one.sample(&mut items, 20);
        Chance::new(1).shuffle(&mut items);
        assert_ne!(items, (0..10).collect::<Vec<_>>());
        items.sort_unstable();
        assert_eq!(items, (0..10).collect::<Vec<_>>());
    }
}
