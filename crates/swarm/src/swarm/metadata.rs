//! The info dictionary of a magnet link, from peers (BEP 9).
//!
//! One peer at a time gives all parts: then a wrong dictionary has one author.

use std::time::{Duration, Instant};

use proto::InfoHashes;
use proto::metainfo::Info;
use proto::peer::extension::METADATA_LEN_MAX;

use crate::PeerKey;

/// Fetches and checks the info dictionary.
#[derive(Debug)]
pub(crate) struct MetadataFetch {
    hashes: InfoHashes,
    current: Option<Assembly>,
    /// Peers that refused, stalled or gave something else, and until when they are left alone.
    failed: Vec<(PeerKey, Option<Instant>)>,
}

#[derive(Debug)]
struct Assembly {
    from: PeerKey,
    len: u32,
    parts: Vec<Option<Vec<u8>>>,
    asked: u32,
    deadline: Instant,
}

/// What a part led to.
#[derive(Debug)]
pub(crate) enum Progress {
    /// More parts are needed: ask this peer for these.
    Ask(PeerKey, Vec<u32>),
    /// Nothing to do.
    Wait,
    /// The dictionary is here and right.
    Done(Box<Info>),
    /// The peer gave a dictionary that does not hash to the info hash.
    Liar(PeerKey),
    /// The dictionary hashes right, but is no valid torrent: nobody can have it.
    Invalid(String),
}

impl MetadataFetch {
    pub(crate) const fn new(hashes: InfoHashes) -> Self {
        Self { hashes, current: None, failed: Vec::new() }
    }

    /// A peer has the dictionary and says how long it is.
    pub(crate) fn offer(&mut self, now: Instant, peer: PeerKey, len: u32) -> Progress {
        let usable = (1..=METADATA_LEN_MAX).contains(&len) && !self.has_failed(now, peer);
        if self.current.is_some() || !usable {
            return Progress::Wait;
        }
        let count = len.div_ceil(PART_LEN);
        let parts = vec![None; count as usize];
        let asked = count.min(PARTS_ASKED);
        self.current = Some(Assembly { from: peer, len, parts, asked, deadline: now + PATIENCE });
        Progress::Ask(peer, (0..asked).collect())
    }

    pub(crate) fn on_part(
        &mut self,
        now: Instant,
        peer: PeerKey,
        index: u32,
        data: Vec<u8>,
    ) -> Progress {
        let Some(assembly) = self.current.as_mut().filter(|current| current.from == peer) else {
            return Progress::Wait;
        };
        let Some(part) = assembly.parts.get_mut(index as usize) else { return Progress::Wait };
        let expected = (assembly.len - index * PART_LEN).min(PART_LEN) as usize;
        if data.len() != expected {
            return self.give_up(peer, None);
        }
        *part = Some(data);
        assembly.deadline = now + PATIENCE;
        if assembly.parts.iter().all(Option::is_some) {
            return self.judge(peer);
        }
        if assembly.asked < assembly.parts.len() as u32 {
            assembly.asked += 1;
            return Progress::Ask(peer, vec![assembly.asked - 1]);
        }
        Progress::Wait
    }

    /// The peer refused a part or is gone.
    pub(crate) fn on_refused(&mut self, now: Instant, peer: PeerKey) {
        if self.current.as_ref().is_some_and(|current| current.from == peer) {
            self.give_up(peer, Some(now + AGAIN));
        }
    }

    fn has_failed(&self, now: Instant, peer: PeerKey) -> bool {
        let mut failed = self.failed.iter();
        failed.any(|(failed, until)| *failed == peer && until.is_none_or(|until| now < until))
    }

    /// Gives up on a peer that stalls.
    pub(crate) fn tick(&mut self, now: Instant) {
        let stalled = self.current.as_ref().filter(|current| current.deadline <= now);
        if let Some(peer) = stalled.map(|current| current.from) {
            self.give_up(peer, Some(now + AGAIN));
        }
    }

    fn judge(&mut self, peer: PeerKey) -> Progress {
        let Some(assembly) = self.current.take() else { return Progress::Wait };
        let raw: Vec<u8> = assembly.parts.into_iter().flatten().flatten().collect();
        let right = [
            self.hashes.v1().map(|hash| digest::sha1(&raw) == hash.0),
            self.hashes.v2().map(|hash| digest::sha256(&raw) == hash.0),
        ];
        if right.contains(&Some(false)) {
            return self.give_up(peer, None);
        }
        match Info::decode(&raw) {
            Ok(info) => Progress::Done(Box::new(info)),
            Err(error) => Progress::Invalid(error.to_string()),
        }
    }

    /// Leaves a peer alone until then; for ever if it lied.
    fn give_up(&mut self, peer: PeerKey, until: Option<Instant>) -> Progress {
        self.current = None;
        if self.failed.len() >= FAILED_MAX {
            self.failed.remove(0);
        }
        self.failed.push((peer, until));
        if until.is_none() { Progress::Liar(peer) } else { Progress::Wait }
    }
}

/// Bytes in a part (BEP 9).
pub(crate) const PART_LEN: u32 = 16 * 1024;
/// Parts asked for at once.
const PARTS_ASKED: u32 = 16;
/// How long a peer may be silent before another one is asked.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long a peer that refused or stalled is left alone.
const AGAIN: Duration = Duration::from_secs(10);
/// Failed peers remembered.
const FAILED_MAX: usize = 256;

#[cfg(test)]
mod tests {
    use proto::InfoHashV1;

    use super::*;

    #[test]
    fn a_wrong_dictionary_has_one_author() {
        let hashes = InfoHashes::new(Some(InfoHashV1([1; 20])), None).unwrap();
        let mut fetch = MetadataFetch::new(hashes);
        let now = crate::test_now();
        let asked = fetch.offer(now, PeerKey(1), 20_000);
        assert!(matches!(asked, Progress::Ask(PeerKey(1), parts) if parts == [0, 1]));
        assert!(matches!(fetch.offer(now, PeerKey(2), 20_000), Progress::Wait));
        fetch.on_part(now, PeerKey(1), 0, vec![0; 16_384]);
        let judged = fetch.on_part(now, PeerKey(1), 1, vec![0; 20_000 - 16_384]);
        assert!(matches!(judged, Progress::Liar(PeerKey(1))));
        assert!(matches!(fetch.offer(now, PeerKey(1), 20_000), Progress::Wait));
        assert!(matches!(fetch.offer(now, PeerKey(2), 20_000), Progress::Ask(..)));
    }

    #[test]
    fn a_silent_peer_is_left_for_another() {
        let hashes = InfoHashes::new(Some(InfoHashV1([1; 20])), None).unwrap();
        let mut fetch = MetadataFetch::new(hashes);
        let now = crate::test_now();
        fetch.offer(now, PeerKey(1), 10);
        let now = now + Duration::from_secs(6);
        fetch.tick(now);
        assert!(matches!(fetch.offer(now, PeerKey(1), 10), Progress::Wait));
        assert!(matches!(fetch.offer(now, PeerKey(2), 10), Progress::Ask(..)));
    }

    #[test]
    fn the_only_peer_is_asked_again_after_a_pause() {
        let hashes = InfoHashes::new(Some(InfoHashV1([1; 20])), None).unwrap();
        let mut fetch = MetadataFetch::new(hashes);
        let now = crate::test_now();
        fetch.offer(now, PeerKey(1), 10);
        fetch.on_refused(now, PeerKey(1));
        assert!(matches!(fetch.offer(now, PeerKey(1), 10), Progress::Wait));
        assert!(matches!(fetch.offer(now + AGAIN, PeerKey(1), 10), Progress::Ask(..)));
    }

    #[test]
    fn absurd_lengths_are_refused() {
        let hashes = InfoHashes::new(Some(InfoHashV1([1; 20])), None).unwrap();
        let mut fetch = MetadataFetch::new(hashes);
        for len in [0, METADATA_LEN_MAX + 1, u32::MAX] {
            assert!(matches!(fetch.offer(crate::test_now(), PeerKey(1), len), Progress::Wait));
        }
    }
}
