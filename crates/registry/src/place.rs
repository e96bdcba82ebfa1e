//! Keyed hashing: where info hashes and addresses belong.

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
