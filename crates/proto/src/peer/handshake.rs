//! The 68 bytes that open a connection (BEP 3), and the capabilities in their reserved bits.

use crate::reader::Reader;
use crate::{DecodeError, InfoHash, PeerId};

/// The length-prefixed name of the protocol, which every handshake starts with.
pub const PREFIX: [u8; 20] = *b"\x13BitTorrent protocol";

/// What a peer says it can do. A capability counts when both sides have it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Capabilities {
    /// The extension protocol (BEP 10).
    pub extended: bool,
    /// The fast extension (BEP 6).
    pub fast: bool,
    /// The torrent is a hybrid and this v1 connection may become a v2 one (BEP 52): the side that was
    /// dialled says yes by answering with the v2 info hash.
    pub v2_upgrade: bool,
    /// The peer runs a DHT node (BEP 5).
    pub dht: bool,
}

impl Capabilities {
    fn decode(reserved: [u8; 8]) -> Self {
        Self {
            extended: reserved[5] & 0x10 != 0,
            fast: reserved[7] & 0x04 != 0,
            v2_upgrade: reserved[7] & 0x10 != 0,
            dht: reserved[7] & 0x01 != 0,
        }
    }

    fn encode(self) -> [u8; 8] {
        let bit = |set: bool, mask: u8| if set { mask } else { 0 };
        let last = bit(self.fast, 0x04) | bit(self.v2_upgrade, 0x10) | bit(self.dht, 0x01);
        [0, 0, 0, 0, 0, bit(self.extended, 0x10), 0, last]
    }

    /// What both sides can do.
    #[must_use]
    pub const fn common(self, other: Self) -> Self {
        Self {
            extended: self.extended && other.extended,
            fast: self.fast && other.fast,
            v2_upgrade: self.v2_upgrade && other.v2_upgrade,
            dht: self.dht && other.dht,
        }
    }
}

/// The opening message of either side.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Handshake {
    /// What the sender can do.
    pub capabilities: Capabilities,
    /// The swarm that the connection is for.
    pub info_hash: InfoHash,
    /// The sender's name for itself.
    pub peer_id: PeerId,
}

impl Handshake {
    /// Its length in bytes.
    pub const LEN: usize = 68;

    /// The bytes to send.
    #[must_use]
    pub fn encode(&self) -> [u8; Self::LEN] {
        let mut bytes = [0; Self::LEN];
        bytes[..20].copy_from_slice(&PREFIX);
        bytes[20..28].copy_from_slice(&self.capabilities.encode());
        bytes[28..48].copy_from_slice(self.info_hash.as_bytes());
        bytes[48..].copy_from_slice(self.peer_id.as_bytes());
        bytes
    }

    /// Reads a peer's handshake. Reserved bits that mean nothing to us are ignored.
    pub fn decode(bytes: &[u8; Self::LEN]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new("handshake", bytes);
        if reader.array()? != PREFIX {
            return Err(DecodeError::invalid("handshake", "this is not the BitTorrent protocol"));
        }
        Ok(Self {
            capabilities: Capabilities::decode(reader.array()?),
            info_hash: InfoHash(reader.array()?),
            peer_id: PeerId(reader.array()?),
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn handshakes_round_trip(bits in any::<[bool; 4]>(), hash: [u8; 20], id: [u8; 20]) {
            let [extended, fast, v2_upgrade, dht] = bits;
            let capabilities = Capabilities { extended, fast, v2_upgrade, dht };
            let handshake =
                Handshake { capabilities, info_hash: InfoHash(hash), peer_id: PeerId(id) };
            prop_assert_eq!(Handshake::decode(&handshake.encode()), Ok(handshake));
        }
    }

    #[test]
    fn capability_bits_are_where_the_specifications_put_them() {
        let all = Capabilities { extended: true, fast: true, v2_upgrade: true, dht: true };
        assert_eq!(all.encode(), [0, 0, 0, 0, 0, 0x10, 0, 0x15]);
        assert_eq!(Capabilities::decode([0xff; 8]), all);
        assert_eq!(all.common(Capabilities::default()), Capabilities::default());
    }

    #[test]
    fn another_protocol_is_refused() {
        let mut bytes = Handshake {
            capabilities: all_off(),
            info_hash: InfoHash([1; 20]),
            peer_id: PeerId([2; 20]),
        }
        .encode();
        bytes[0] = 18;
        assert!(Handshake::decode(&bytes).is_err());
    }

    fn all_off() -> Capabilities {
        Capabilities::default()
    }
}
