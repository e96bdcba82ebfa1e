//! Hashes of v2 trees, fetched and served (BEP 52).

use proto::MerkleHash;
use proto::peer::message::hashes;
use proto::peer::{HashRange, Message};

use super::{PeerFault, Session};
use crate::PeerEvent;
use crate::limits::session::{CONTROL_LEN, HASH_REQUESTS_IN, HASH_REQUESTS_OUT};

#[derive(Debug, Default)]
pub(super) struct HashExchange {
    /// Ranges that we asked for.
    asked: Vec<HashRange>,
    /// Ranges that the peer waits for.
    wanted: Vec<HashRange>,
}

impl Session {
    pub(super) fn request_hashes(&mut self, range: HashRange) {
        let room = self.hashes.asked.len() < HASH_REQUESTS_OUT;
        if !self.config.connected.v2 || !room || !range.is_valid() {
            self.events.push(PeerEvent::HashesRejected(range));
            return;
        }
        self.hashes.asked.push(range);
        self.outbox.push(&Message::HashRequest(range));
    }

    pub(super) fn answer_hashes(&mut self, range: HashRange, hashes: Option<Vec<MerkleHash>>) {
        if !take(&mut self.hashes.wanted, range) {
            return;
        }
        match hashes {
            Some(hashes) => {
                let bytes: Vec<u8> = hashes.iter().flat_map(|hash| hash.0).collect();
                self.outbox.push(&Message::Hashes(range, &bytes));
            }
            None => self.outbox.push(&Message::HashReject(range)),
        }
    }

    pub(super) fn on_hash_request(&mut self, range: HashRange) -> Result<(), PeerFault> {
        self.need_v2()?;
        let busy = self.hashes.wanted.len() >= HASH_REQUESTS_IN
            || self.outbox.control_len() > CONTROL_LEN / 2;
        if busy || !range.is_valid() {
            if self.outbox.control_len() > CONTROL_LEN {
                return Err(PeerFault::Flood);
            }
            self.outbox.push(&Message::HashReject(range));
            return Ok(());
        }
        self.hashes.wanted.push(range);
        self.events.push(PeerEvent::HashesRequested(range));
        Ok(())
    }

    pub(super) fn on_hashes(&mut self, range: HashRange, bytes: &[u8]) -> Result<(), PeerFault> {
        self.need_v2()?;
        let hashes = hashes(bytes)?;
        let most = (range.length + range.proof_layers.min(u32::MAX - range.length)) as usize;
        if !take(&mut self.hashes.asked, range)
            || !(range.length as usize..=most).contains(&hashes.len())
        {
            return Err(PeerFault::UnsolicitedHashes);
        }
        self.events.push(PeerEvent::Hashes(range, hashes));
        Ok(())
    }

    pub(super) fn on_hash_reject(&mut self, range: HashRange) -> Result<(), PeerFault> {
        self.need_v2()?;
        if take(&mut self.hashes.asked, range) {
            self.events.push(PeerEvent::HashesRejected(range));
        }
        Ok(())
    }

    const fn need_v2(&self) -> Result<(), PeerFault> {
        if self.config.connected.v2 { Ok(()) } else { Err(PeerFault::NotV2) }
    }
}

/// Takes a range out of a list; false when it is not there.
fn take(ranges: &mut Vec<HashRange>, range: HashRange) -> bool {
    let at = ranges.iter().position(|known| *known == range);
    at.map(|at| ranges.swap_remove(at)).is_some()
}
