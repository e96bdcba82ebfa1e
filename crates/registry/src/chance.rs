//! Keyed hashing and the stretching of one random number into many.

use std::hash::Hasher as _;

use proto::InfoHash;
use siphasher::sip::SipHasher13;

/// The secret that places info hashes and addresses in tables: without it nobody can aim at one
/// slot. Drawn once per process, and one for all shards.
#[derive(Clone, Copy)]
pub struct HashKey([u8; 16]);

impl HashKey {
    /// The key made of these random bytes.
    #[must_use]
    pub const fn new(secret: [u8; 16]) -> Self {
        Self(secret)
    }

    /// Where an info hash belongs.
    #[must_use]
    pub fn place(&self, hash: &InfoHash) -> Place {
        Place(self.hash(&hash.0))
    }

    pub(crate) fn hash(&self, bytes: &[u8]) -> u64 {
        let mut hasher = SipHasher13::new_with_key(&self.0);
        hasher.write(bytes);
        hasher.finish()
    }
}

/// Where an info hash belongs: which shard, and where in its tables.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place(pub(crate) u64);

impl Place {
    /// Which of `shards`.
    #[must_use]
    pub fn shard(self, shards: usize) -> usize {
        // The high half: tables inside a shard use the low bits.
        (self.0 >> 32) as usize % shards.max(1)
    }
}

impl std::fmt::Debug for HashKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("HashKey(..)")
    }
}

/// Numbers that look random, from one that is (splitmix64). Good enough to mix peers; secrets never
/// come from here.
#[derive(Debug)]
pub(crate) struct Dice(pub(crate) u64);

impl Dice {
    /// A number below `end`, which is not 0.
    pub(crate) fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((u128::from(z ^ (z >> 31)) * end as u128) >> 64) as usize
    }
}

/// Picks `want` of `count` positions, each with the same chance and none twice: one position by chance
/// out of each of `want` equal parts of a circle that starts anywhere.
pub(crate) fn sample(count: usize, want: usize, dice: &mut Dice, pick: impl FnMut(usize)) {
    sample_runs(count, want, 1, dice, pick);
}

/// [`sample`], but up to `run` neighbours out of each of fewer parts: what they stand for lies side by
/// side in memory.
pub(crate) fn sample_runs(
    count: usize,
    want: usize,
    run: usize,
    dice: &mut Dice,
    mut pick: impl FnMut(usize),
) {
    let want = want.min(count);
    if want == 0 {
        return;
    }
    let start = dice.below(count);
    let parts = want.div_ceil(run);
    // Runs and parts grow in step: `count` is not below `want`, so no part is shorter than its run.
    let run_end = |part: usize| part * want / parts;
    let part_end = |part: usize| run_end(part) * count / want;
    for part in 0..parts {
        let len = run_end(part + 1) - run_end(part);
        let low = part_end(part);
        let room = part_end(part + 1) - low - len;
        let first = start + low + if room > 0 { dice.below(room + 1) } else { 0 };
        for at in first..first + len {
            pick(if at >= count { at - count } else { at });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sample_never_repeats_and_is_fair() {
        for (count, want, run) in [
            (1, 1, 1),
            (7, 3, 1),
            (50, 50, 1),
            (50, 80, 1),
            (1_000, 30, 1),
            (9, 8, 4),
            (50, 80, 8),
            (61, 50, 8),
            (18, 17, 4),
            (1_000, 30, 8),
        ] {
            let mut seen = vec![0_u32; count];
            let rounds = 4_000;
            let mut dice = Dice(42);
            for _ in 0..rounds {
                let mut picked = Vec::new();
                sample_runs(count, want, run, &mut dice, |at| picked.push(at));
                picked.sort_unstable();
                picked.dedup();
                assert_eq!(picked.len(), want.min(count));
                picked.into_iter().for_each(|at| seen[at] += 1);
            }
            let mean = (rounds * want.min(count) / count) as f64;
            let spread = 6.0 * mean.sqrt() + 1.0;
            for times in seen {
                assert!((f64::from(times) - mean).abs() < spread, "{times} against {mean}");
            }
        }
    }
}
