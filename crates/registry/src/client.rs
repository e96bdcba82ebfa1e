//! What kind of client a peer is, in one small number (BEP 20).

use proto::PeerId;

/// A kind of client; number 0 is unknown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct ClientClass(pub(crate) u8);

/// How a peer id starts, the client's name, and the seconds below which it does not announce again
/// even when it is asked to.
const KNOWN: [(&[u8], &str, u32); 16] = [
    (b"-TE", "Teem", 0),
    (b"-qB", "qBittorrent", 300),
    (b"-LT", "libtorrent", 300),
    (b"-DE", "Deluge", 300),
    (b"-lt", "rTorrent", 300),
    (b"-TR", "Transmission", 0),
    (b"A2-", "aria2", 0),
    (b"-UT", "uTorrent", 0),
    (b"-UM", "uTorrent Mac", 0),
    (b"-BT", "BitTorrent", 0),
    (b"-BI", "BiglyBT", 0),
    (b"-AZ", "Vuze", 0),
    (b"-rQ", "rqbit", 0),
    (b"-WW", "WebTorrent", 0),
    (b"-GT", "anacrolix/torrent", 0),
    (b"-KT", "KTorrent", 0),
];

impl ClientClass {
    /// How many classes there are, the unknown one counted.
    pub const COUNT: usize = KNOWN.len() + 1;

    /// The class of a peer id.
    #[must_use]
    pub fn of(peer_id: &PeerId) -> Self {
        let position = KNOWN.iter().position(|(prefix, ..)| peer_id.0.starts_with(prefix));
        Self(position.map_or(0, |index| index as u8 + 1))
    }

    /// The class with that number; unknown if there is none.
    #[must_use]
    pub const fn from_number(number: u8) -> Self {
        if (number as usize) < Self::COUNT { Self(number) } else { Self(0) }
    }

    /// Its number.
    #[must_use]
    pub const fn number(self) -> u8 {
        self.0
    }

    /// The client's name.
    #[must_use]
    pub fn name(self) -> &'static str {
        self.known().map_or("unknown", |known| known.1)
    }

    /// Seconds below which it does not announce again.
    #[must_use]
    pub fn slowest_secs(self) -> u32 {
        self.known().map_or(0, |known| known.2)
    }

    /// It answers clients that are no BitTorrent peers, too: it is Teem.
    #[must_use]
    pub const fn serves_strangers(self) -> bool {
        // The first of the table.
        self.0 == 1
    }

    fn known(self) -> Option<&'static (&'static [u8], &'static str, u32)> {
        KNOWN.get(usize::from(self.0).checked_sub(1)?)
    }
}

// A peer has six bits for it.
const _: () = assert!(ClientClass::COUNT <= 64);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn class_comes_from_the_first_bytes() {
        let mut id = PeerId([b'x'; 20]);
        assert_eq!(ClientClass::of(&id).name(), "unknown");
        id.0[..8].copy_from_slice(b"-qB5000-");
        assert_eq!(ClientClass::of(&id).name(), "qBittorrent");
        assert_eq!(ClientClass::of(&id).slowest_secs(), 300);
        assert!(!ClientClass::of(&id).serves_strangers());
        id.0[..8].copy_from_slice(b"-TE0100-");
        assert!(ClientClass::of(&id).serves_strangers());
        assert_eq!(ClientClass::from_number(200), ClientClass::default());
    }
}
