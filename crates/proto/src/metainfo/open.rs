//! Which info hashes may be told to strangers.
//!
//! A private torrent (BEP 27) is nobody's business but its trackers': whatever asks or tells others than
//! those takes an [`OpenHash`], and for a private torrent there is none.

use super::Info;
use crate::{InfoHash, InfoHashes};

/// An info hash that strangers may be asked about. It can only be had from a torrent that is not private,
/// or of which nobody can know yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct OpenHash {
    info_hash: InfoHash,
    known: bool,
}

impl OpenHash {
    /// The hashes of a torrent; none of a private one.
    #[must_use]
    pub fn of(info: &Info) -> Vec<Self> {
        if info.is_private() {
            return Vec::new();
        }
        info.hashes().wire().map(|info_hash| Self { info_hash, known: true }).collect()
    }

    /// The hashes of a magnet link, whose info dictionary has to be found first: they may be asked about,
    /// but nobody is told that we are there ([`OpenHash::may_announce`]).
    #[must_use]
    pub fn of_unknown(hashes: InfoHashes) -> Vec<Self> {
        hashes.wire().map(|info_hash| Self { info_hash, known: false }).collect()
    }

    /// The hash.
    #[must_use]
    pub const fn info_hash(self) -> InfoHash {
        self.info_hash
    }

    /// The torrent is known not to be private, so strangers may be told that we are one of its peers.
    #[must_use]
    pub const fn may_announce(self) -> bool {
        self.known
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::InfoHashV1;

    fn info(private: &str) -> Info {
        let text = format!(
            "d6:lengthi1e4:name1:a12:piece lengthi16384e6:pieces20:aaaaaaaaaaaaaaaaaaaa{private}e"
        );
        Info::decode(text.as_bytes()).expect("an info dictionary")
    }

    #[test]
    fn a_private_torrent_has_no_open_hash() {
        assert_eq!(OpenHash::of(&info("7:privatei1e")), []);
        let open = OpenHash::of(&info(""));
        assert_eq!(open.len(), 1);
        assert!(open[0].may_announce());
        assert_eq!(open[0].info_hash(), info("").hashes().primary());
    }

    #[test]
    fn what_is_not_known_is_asked_about_and_not_announced() {
        let hashes = InfoHashes::new(Some(InfoHashV1([1; 20])), None).expect("one hash");
        let open = OpenHash::of_unknown(hashes);
        assert_eq!(open.len(), 1);
        assert!(!open[0].may_announce());
    }
}
