//! Names of torrents and peers, and the hashes that content is checked against.

use std::fmt;
use std::str::FromStr;

use crate::DecodeError;

macro_rules! bytes_newtype {
    ($(#[$doc:meta])* $name:ident, $len:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
        pub struct $name(pub [u8; $len]);

        impl $name {
            /// The length in bytes.
            pub const LEN: usize = $len;

            /// The bytes.
            #[must_use]
            pub const fn as_bytes(&self) -> &[u8; $len] {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}({self})", stringify!($name))
            }
        }

        impl FromStr for $name {
            type Err = DecodeError;

            fn from_str(hex: &str) -> Result<Self, Self::Err> {
                let refused = DecodeError::invalid(stringify!($name), "not the expected hex digits");
                let digits = hex.as_bytes();
                if digits.len() != 2 * $len {
                    return Err(refused);
                }
                let mut bytes = [0; $len];
                for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
                    let [high, low] = [pair[0], pair[1]].map(|digit| (digit as char).to_digit(16));
                    let (Some(high), Some(low)) = (high, low) else { return Err(refused) };
                    *byte = (high * 16 + low) as u8;
                }
                Ok(Self(bytes))
            }
        }
    };
}

bytes_newtype! {
    /// The 20 bytes that name a swarm on the wire: a v1 info hash, or a v2 info hash cut to 20 bytes
    /// (BEP 52). Handshakes, trackers and the DHT carry these.
    InfoHash, 20
}
bytes_newtype! {
    /// SHA-1 of the info dictionary (BEP 3).
    InfoHashV1, 20
}
bytes_newtype! {
    /// SHA-256 of the info dictionary (BEP 52).
    InfoHashV2, 32
}
bytes_newtype! {
    /// A peer's name for itself (BEP 3); the first bytes tell its client (BEP 20).
    PeerId, 20
}
bytes_newtype! {
    /// A DHT node's name for itself, in the same space as info hashes (BEP 5).
    NodeId, 20
}
bytes_newtype! {
    /// SHA-1 of one piece (BEP 3).
    PieceHash, 20
}
bytes_newtype! {
    /// A node of a v2 merkle tree: a leaf, a piece's root or a file's `pieces root` (BEP 52).
    MerkleHash, 32
}

bytes_newtype! {
    /// SHA-256 of a TLS certificate in DER: what a tracker that vouches for itself is known again by.
    Fingerprint, 32
}

impl From<InfoHashV1> for InfoHash {
    fn from(hash: InfoHashV1) -> Self {
        Self(hash.0)
    }
}

impl InfoHashV2 {
    /// The first 20 bytes, as handshakes and trackers carry it.
    #[must_use]
    pub fn truncated(self) -> InfoHash {
        let mut bytes = [0; 20];
        bytes.copy_from_slice(&self.0[..20]);
        InfoHash(bytes)
    }
}

/// The info hashes that one torrent has: v1, v2 or, for a hybrid, both. At least one is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct InfoHashes {
    v1: Option<InfoHashV1>,
    v2: Option<InfoHashV2>,
}

impl InfoHashes {
    /// A torrent's hashes; `None` when both are missing.
    #[must_use]
    pub const fn new(v1: Option<InfoHashV1>, v2: Option<InfoHashV2>) -> Option<Self> {
        if v1.is_none() && v2.is_none() { None } else { Some(Self { v1, v2 }) }
    }

    /// The v1 info hash.
    #[must_use]
    pub const fn v1(&self) -> Option<InfoHashV1> {
        self.v1
    }

    /// The v2 info hash.
    #[must_use]
    pub const fn v2(&self) -> Option<InfoHashV2> {
        self.v2
    }

    /// Both are there.
    #[must_use]
    pub const fn is_hybrid(&self) -> bool {
        self.v1.is_some() && self.v2.is_some()
    }

    /// The hashes under which this torrent meets peers, v1 first.
    pub fn wire(&self) -> impl Iterator<Item = InfoHash> {
        self.v1.map(InfoHash::from).into_iter().chain(self.v2.map(InfoHashV2::truncated))
    }

    /// One hash to key tables with: the v1 hash if there is one, else the v2 hash cut to 20 bytes.
    #[must_use]
    pub fn primary(&self) -> InfoHash {
        match (self.v1, self.v2) {
            (Some(v1), _) => v1.into(),
            (None, Some(v2)) => v2.truncated(),
            (None, None) => unreachable!("new() refuses a torrent without hashes"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hex_round_trips() {
        let hash = InfoHash(std::array::from_fn(|i| i as u8 * 13));
        assert_eq!(hash.to_string().parse(), Ok(hash));
        assert!("zz".repeat(20).parse::<InfoHash>().is_err());
        assert!("00".repeat(19).parse::<InfoHash>().is_err());
    }
}
