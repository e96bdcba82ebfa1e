//! Chance and secrets from a seed: nobody who sees some of it can tell the rest.

use std::hash::Hasher;

use siphasher::sip::SipHasher24;

/// SipHash of a counter.
#[derive(Debug, Clone)]
pub(crate) struct Chance {
    key: [u8; 16],
    counter: u64,
}

impl Chance {
    pub(crate) const fn new(seed: [u8; 16]) -> Self {
        Self { key: seed, counter: 0 }
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.counter += 1;
        let mut hasher = SipHasher24::new_with_key(&self.key);
        hasher.write_u64(self.counter);
        hasher.finish()
    }

    /// A number below `bound`, which is not 0.
    pub(crate) fn below(&mut self, bound: usize) -> usize {
        ((u128::from(self.next()) * bound as u128) >> 64) as usize
    }

    /// Random bytes.
    pub(crate) fn bytes<const N: usize>(&mut self) -> [u8; N] {
        let mut out = [0; N];
        for part in out.chunks_mut(8) {
            part.copy_from_slice(&self.next().to_le_bytes()[..part.len()]);
        }
        out
    }

    /// Moves `count` random items to the front, in random order.
    pub(crate) fn sample<T>(&mut self, items: &mut [T], count: usize) {
        for at in 0..count.min(items.len().saturating_sub(1)) {
            let other = at + self.below(items.len() - at);
            items.swap(at, other);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_says_it_all_and_samples_lose_nothing() {
        let (mut one, mut other) = (Chance::new([1; 16]), Chance::new([1; 16]));
        assert_eq!(one.bytes::<20>(), other.bytes::<20>());
        assert_ne!(one.bytes::<20>(), Chance::new([2; 16]).bytes::<20>());
        let mut items: Vec<u32> = (0..10).collect();
        one.sample(&mut items, 20);
        items.sort_unstable();
        assert_eq!(items, (0..10).collect::<Vec<_>>());
        assert!((0..1000).all(|_| one.below(3) < 3));
    }
}
