//! Fetching: which blocks are asked from a peer, and what becomes of pieces.

use std::collections::BTreeSet;
use std::ops::Range;
use std::time::Duration;

use proto::{Block, FileIndex, MerkleHash, PieceIndex};

use super::open::{Asking, Received, are_several};
use super::peer::Peer;
use super::rarity::Rarity;
use super::web_seeds::Duty;
use super::{PieceSet, Swarm, Torrent, view};
use crate::{Action, BlockBuf, DiskEvent, DiskJob, Notice, PeerCommand, PeerKey, PieceOrder};
use chance::Chance;

impl Swarm {
    /// Asks a peer for as much as its window has room for.
    pub(super) fn fill(&mut self, key: PeerKey) {
        let now = self.now;
        let may_ask = self.may_ask(key);
        if may_ask {
            self.fill_for_readers(key);
        }
        let (leisure, readers) = (self.leisure(key), !self.readers.is_empty());
        let (Some(torrent), Some(peer)) = (&mut self.torrent, self.peers.get_mut(&key)) else {
            return;
        };
        let window = peer.window.size().min(leisure);
        let room = window.saturating_sub(peer.outstanding);
        // Who takes runs is asked for whole ones.
        let room = if room < peer.run_blocks().min(window / 4) { 0 } else { room };
        peer.starved = room > 0 || readers;
        if !may_ask || room == 0 {
            return;
        }
        let mut blocks = Vec::new();
        let geometry = torrent.geometry.clone();
        // v1 blames whole pieces, so peers rather have pieces of their own there, and suspects must.
        // With v2's hashes, which blame blocks, they finish what is begun.
        let v2 = torrent.info.hashes().v2().is_some();
        let suspect = !v2 && self.suspicions.is_suspected(key);
        let asking = |room| Asking { geometry: &geometry, now, peer: key, room };
        let (rarity, duty) = (&mut torrent.rarity, self.web_seeds.duty);
        torrent.open.ask(asking(room), v2, |piece| duty.may(peer, piece, rarity), &mut blocks);
        let piece_len = u64::from(geometry.nominal_piece_len());
        let budget = (self.config.piece_budget / piece_len).max(OPEN_MIN) as usize;
        // A disk that refused is tried with one piece, or all would be fetched in vain.
        let open_max = if self.disk_refused { 1 } else { budget };
        let mut pads = Vec::new();
        while blocks.len() < room && torrent.open.len() + torrent.verifying.len() < open_max {
            let rules = (self.config.order, duty);
            let Some(piece) = pick(rarity, rules, peer, &mut self.chance) else { break };
            rarity.withdraw(piece);
            peer.next_piece = peer.web_seed.then_some(PieceIndex(piece.0 + 1));
            let on_parole = suspect || self.suspicions.is_suspect(piece);
            if torrent.open.open(&geometry, piece, on_parole) {
                pads.push(piece);
                continue;
            }
            let left = asking(room - blocks.len());
            torrent.open.ask(left, v2, |piece| duty.may(peer, piece, rarity), &mut blocks);
        }
        if !v2 && !suspect && blocks.len() < room {
            let left = asking(room - blocks.len());
            torrent.open.ask(left, true, |piece| duty.may(peer, piece, rarity), &mut blocks);
        }
        let idle = blocks.is_empty() && peer.outstanding == 0 && !suspect;
        if idle {
            self.end_game(key, room, &mut blocks);
        }
        self.with(key, |peer| peer.starved = blocks.len() < room || readers);
        self.request(key, blocks);
        pads.into_iter().for_each(|piece| self.store(piece));
    }

    /// Something is wanted, and the peer gives.
    fn may_ask(&self, key: PeerKey) -> bool {
        let may_fetch = self.config.fetch && !self.stopping && self.paused_until.is_none();
        let (Some(torrent), Some(peer)) = (&self.torrent, self.peers.get(&key)) else {
            return false;
        };
        let gives = !peer.chokes_us || !peer.allowed_fast.is_empty();
        may_fetch && !torrent.complete && peer.we_are_interested && gives
    }

    /// Has a peer asked for blocks that were taken for it.
    pub(super) fn request(&mut self, key: PeerKey, blocks: Vec<Block>) {
        let Some(peer) = self.peers.get_mut(&key) else { return };
        if blocks.is_empty() {
            return;
        }
        if peer.outstanding == 0 {
            peer.asked_at = self.now;
        }
        peer.outstanding += blocks.len();
        self.command(key, PeerCommand::Request(blocks));
    }

    /// Gives an idle peer some of the blocks that others owe for long. Who has much to send before it
    /// comes to them is told to leave them; blocks are asked for twice only when none is left that was
    /// not asked for.
    fn end_game(&mut self, key: PeerKey, room: usize, blocks: &mut Vec<Block>) {
        let busy = self.peers.iter().filter(|(_, peer)| peer.outstanding > BUSY);
        let busy: BTreeSet<_> = busy.map(|(key, _)| *key).collect();
        let (Some(torrent), Some(peer)) = (&mut self.torrent, self.peers.get(&key)) else { return };
        let geometry = torrent.geometry.clone();
        let twice = torrent.rarity.is_empty() && !torrent.open.has_unasked();
        // v1 blames whole pieces: few of them should have several senders.
        if !twice && torrent.info.hashes().v2().is_none() {
            return;
        }
        let room = room.min(end_game_blocks(peer.down.per_second()));
        let (rarity, duty) = (&torrent.rarity, self.web_seeds.duty);
        let may = |piece| duty.may(peer, piece, rarity);
        let asking = Asking { geometry: &geometry, now: self.now, peer: key, room };
        let left = torrent.open.ask_again(asking, may, &busy, twice, blocks);
        for (other, block) in left {
            self.command(other, PeerCommand::Cancel(block));
        }
    }

    /// A block that we asked for came.
    pub(super) fn on_block(&mut self, key: PeerKey, block: Block, data: BlockBuf) {
        let (Some(torrent), Some(peer)) = (&mut self.torrent, self.peers.get_mut(&key)) else {
            return;
        };
        peer.outstanding = peer.outstanding.saturating_sub(1);
        peer.on_block(self.now, block.len);
        self.down.add(u64::from(block.len));
        match torrent.open.receive(key, block, data) {
            Received::Wanted { also_asked, whole } => {
                for other in also_asked {
                    self.command(other, PeerCommand::Cancel(block));
                }
                if whole {
                    self.store(block.piece);
                }
            }
            Received::Surplus(data) => {
                self.wasted += u64::from(block.len);
                self.actions.push(Action::Recycle(data));
            }
        }
    }

    /// A request came to nothing.
    pub(super) fn on_refused(&mut self, key: PeerKey, block: Block) {
        let (Some(torrent), Some(peer)) = (&mut self.torrent, self.peers.get_mut(&key)) else {
            return;
        };
        peer.outstanding = peer.outstanding.saturating_sub(1);
        torrent.open.give_back(key, block);
        self.refill = true;
    }

    /// The peer owes us blocks: others may be asked for them. If it was snubbed already, it goes.
    pub(super) fn snub(&mut self, key: PeerKey) {
        let (Some(torrent), Some(peer)) = (&mut self.torrent, self.peers.get_mut(&key)) else {
            return;
        };
        if peer.window.is_snubbed() {
            self.actions.push(Action::Disconnect(key, crate::Goodbye::TimedOut));
            return;
        }
        peer.window.on_snub();
        torrent.open.give_back_all(key);
        self.refill = true;
    }

    /// Makes every piece pickable that is missing and whose hash is known.
    pub(super) fn offer_missing(&mut self) {
        let count = self.torrent.as_ref().map_or(0, |torrent| torrent.geometry.piece_count());
        self.offer_missing_in(0..count);
    }

    /// The same for the pieces of one file, of which more is known now.
    pub(super) fn offer_missing_of(&mut self, file: FileIndex) {
        let pieces = self.torrent.as_ref().map_or(0..0, |torrent| torrent.geometry.pieces_of(file));
        self.offer_missing_in(pieces);
    }

    fn offer_missing_in(&mut self, pieces: Range<u32>) {
        let v1_alone = self.hashes.v1_alone();
        let Some(torrent) = &mut self.torrent else { return };
        for piece in pieces.map(PieceIndex) {
            let busy = torrent.open.is_open(piece) || torrent.verifying.contains_key(&piece);
            if !busy && torrent.lacks(piece) && torrent.expected(piece, v1_alone).is_some() {
                torrent.rarity.offer(piece);
            }
        }
        self.refill = true;
    }

    pub(super) fn on_disk_event(&mut self, event: DiskEvent) {
        match event {
            DiskEvent::Stored { piece, digests } => self.on_stored(piece, digests.as_deref()),
            DiskEvent::Bad { piece, digests, inconsistent } => {
                self.on_bad(piece, &digests, inconsistent);
            }
            DiskEvent::Failed { piece, reason, full } => self.on_disk_failed(piece, reason, full),
            DiskEvent::Lost(pieces) => self.on_lost(pieces.into_iter().collect()),
            DiskEvent::Leaves { piece, leaves } => self.on_leaves(piece, leaves.as_deref()),
        }
        self.store_held();
    }

    /// All blocks are here: to the workers.
    pub(super) fn store(&mut self, piece: PieceIndex) {
        let v1_alone = self.hashes.v1_alone();
        let Some(torrent) = &mut self.torrent else { return };
        let Some(expected) = torrent.expected(piece, v1_alone) else { return };
        if torrent.must_wait(piece) {
            torrent.held.push(piece);
            return;
        }
        let Some(whole) = torrent.open.take(piece) else { return };
        torrent.verifying.insert(piece, whole.senders);
        let want_digests = self.suspicions.is_suspect(piece);
        let blocks = whole.blocks;
        let job = DiskJob::Store { piece, blocks, expected, want_digests };
        self.actions.push(Action::Disk(job));
    }

    /// A piece was judged: those that waited for it may go.
    fn store_held(&mut self) {
        let Some(torrent) = &mut self.torrent else { return };
        for piece in std::mem::take(&mut torrent.held) {
            // What a suspect sent of it may have been thrown away meanwhile.
            if self.torrent.as_ref().is_some_and(|torrent| torrent.open.is_whole(piece)) {
                self.store(piece);
            }
        }
    }

    fn on_stored(&mut self, piece: PieceIndex, digests: Option<&[Option<MerkleHash>]>) {
        let Some(torrent) = &mut self.torrent else { return };
        torrent.verifying.remove(&piece);
        self.disk_refused = false;
        if !torrent.have.insert(piece) {
            return;
        }
        // It may have turned up by itself: in a file that was checked again, in a copy elsewhere.
        torrent.rarity.withdraw(piece);
        torrent.verified += view::content_in(&torrent.geometry, piece);
        let was_wanted = torrent.wishes.wants(piece);
        torrent.wishes.on_stored(&torrent.geometry, piece);
        let now_complete = torrent.wishes.lacking == 0;
        let complete = now_complete && !std::mem::replace(&mut torrent.complete, now_complete);
        self.refill = true;
        let keys: Vec<_> = self.peers.keys().copied().collect();
        for key in &keys {
            let Some(peer) = self.peers.get_mut(key) else { continue };
            if was_wanted && peer.has.as_ref().is_some_and(|has| has.has(piece)) {
                peer.wanted -= 1;
            }
            self.command(*key, PeerCommand::Have(piece));
            self.update_interest(*key);
        }
        if let Some(right) = digests {
            self.blame(piece, right);
        }
        self.suspicions.forget(piece);
        if complete {
            self.on_complete(&keys);
        }
    }

    pub(super) fn on_complete(&mut self, keys: &[PeerKey]) {
        // Who wanted only some of it has not completed it (BEP 3).
        if self.torrent.as_ref().is_some_and(|torrent| torrent.have.is_full()) {
            self.announcer.completed(self.now);
        }
        self.actions.push(Action::Notice(Notice::Complete));
        for key in keys {
            self.command(*key, PeerCommand::UploadOnly(true));
            self.part_if_useless(*key);
        }
        self.dial_and_announce();
    }

    fn on_bad(&mut self, piece: PieceIndex, digests: &[Option<MerkleHash>], inconsistent: bool) {
        let Some(torrent) = &mut self.torrent else { return };
        let Some(senders) = torrent.verifying.remove(&piece) else { return };
        self.wasted += u64::from(torrent.geometry.piece_len(piece));
        if inconsistent {
            self.actions.push(Action::Notice(Notice::Inconsistent(piece)));
            return;
        }
        self.actions.push(Action::Notice(Notice::BadPiece(piece)));
        let pairs = senders.iter().zip(digests);
        let blocks = pairs.map(|(sender, digest)| Some(((*sender)?, (*digest)?))).collect();
        let sole = self.suspicions.add(piece, blocks);
        self.fetch_leaves(piece);
        self.quarantine(&senders);
        if let Some(liar) = sole {
            self.ban(liar, format!("sent the whole of piece {}, which is wrong", piece.0));
        }
        if let Some(torrent) = &mut self.torrent {
            torrent.offer(piece);
        }
        self.refill = true;
    }

    /// v1 cannot tell which of a bad piece's senders lied: what they sent of pieces shared with others
    /// is thrown away, and until that piece is right they fetch pieces of their own only.
    fn quarantine(&mut self, senders: &[Option<PeerKey>]) {
        let Some(torrent) = &mut self.torrent else { return };
        if torrent.info.hashes().v2().is_some() {
            return;
        }
        let senders: BTreeSet<_> = senders.iter().flatten().copied().collect();
        for data in senders.into_iter().flat_map(|sender| torrent.open.distrust(sender, true)) {
            self.wasted += data.as_slice().len() as u64;
            self.actions.push(Action::Recycle(data));
        }
    }

    /// The right digests of a piece that failed before are known.
    pub(super) fn blame(&mut self, piece: PieceIndex, right: &[Option<MerkleHash>]) {
        let liars = self.suspicions.liars(piece, right);
        let Some(torrent) = &self.torrent else { return };
        let geometry = torrent.geometry.clone();
        for (number, liar) in liars {
            if let Some(addr) = self.last_seen_at.get(&liar) {
                let block = geometry.block(piece, number);
                self.actions.push(Action::Notice(Notice::BadBlock(block, *addr)));
            }
            self.ban(liar, format!("sent a wrong block {number} of piece {}", piece.0));
        }
    }

    fn on_disk_failed(&mut self, piece: PieceIndex, reason: String, full: bool) {
        let Some(torrent) = &mut self.torrent else { return };
        torrent.verifying.remove(&piece);
        torrent.offer(piece);
        let first = !std::mem::replace(&mut self.disk_refused, true);
        let pause = if full { FULL_PAUSE } else { FAULT_PAUSE };
        self.paused_until = Some(self.now + pause);
        if first {
            self.actions.push(Action::Notice(Notice::Paused(reason)));
        }
    }

    fn on_lost(&mut self, pieces: PieceSet) {
        self.end_super_seed();
        for piece in pieces {
            let Some(torrent) = &mut self.torrent else { return };
            if !torrent.have.remove(piece) {
                continue;
            }
            torrent.verified -= view::content_in(&torrent.geometry, piece);
            torrent.wishes.on_lost(&torrent.geometry, piece);
            let wanted = torrent.wishes.wants(piece);
            let was_complete = wanted && std::mem::replace(&mut torrent.complete, false);
            torrent.offer(piece);
            let keys: Vec<_> = self.peers.keys().copied().collect();
            for key in keys {
                let Some(peer) = self.peers.get_mut(&key) else { continue };
                if wanted && peer.has.as_ref().is_some_and(|has| has.has(piece)) {
                    peer.wanted += 1;
                }
                self.command(key, PeerCommand::Lost(piece));
                if was_complete {
                    self.command(key, PeerCommand::UploadOnly(false));
                }
                self.update_interest(key);
            }
        }
        self.refill = true;
    }
}

impl Torrent {
    /// v1 blames whole pieces. Of those that several peers sent, one at a time is checked: if it is
    /// wrong, what its senders sent of the others is thrown away before it can spoil them too.
    fn must_wait(&self, piece: PieceIndex) -> bool {
        let checks_one = || self.verifying.values().any(|from| are_several(from.iter().copied()));
        self.info.hashes().v2().is_none() && self.open.is_mixed(piece) && checks_one()
    }
}

/// The next piece to open for a peer: the rarest or the first, or one that it gives even while it chokes us.
fn pick(
    rarity: &mut Rarity,
    (order, duty): (PieceOrder, Duty),
    peer: &Peer,
    chance: &mut Chance,
) -> Option<PieceIndex> {
    let has = peer.has.as_ref()?;
    if !peer.chokes_us {
        // If the one that is to come next may not be asked for, none may.
        let picked = match (order, next_in_row(rarity, duty, peer)) {
            (PieceOrder::Sequential, _) => rarity.first(has),
            (PieceOrder::RarestFirst, Some(next)) => Some(next),
            (PieceOrder::RarestFirst, None) => rarity.rarest(has, chance),
        };
        return picked.filter(|piece| duty.may(peer, *piece, rarity));
    }
    let mut granted = peer.allowed_fast.iter().copied();
    granted.find(|piece| peer.gives(*piece) && rarity.may_pick(*piece))
}

/// The piece behind the one that a web seed gave last, if it is to be had.
fn next_in_row(rarity: &Rarity, duty: Duty, peer: &Peer) -> Option<PieceIndex> {
    peer.next_piece.filter(|piece| {
        rarity.may_pick(*piece) && rarity.is_of_first_rank(*piece) && duty.may(peer, *piece, rarity)
    })
}

/// Two open pieces at least, or a torrent with huge pieces would never overlap fetching and checking.
const OPEN_MIN: u64 = 2;
/// Blocks asked from an idle peer although others owe them: what it sends in a quarter of a second,
/// so that little is under way when the first copy comes.
fn end_game_blocks(rate: u64) -> usize {
    ((rate / 4 / u64::from(proto::BLOCK_LEN)) as usize).clamp(1, END_GAME_BLOCKS)
}

const END_GAME_BLOCKS: usize = 8;
/// A peer that owes more blocks than this, a first window, is busy.
const BUSY: usize = 32;
/// How long to wait for somebody to make room.
const FULL_PAUSE: Duration = Duration::from_secs(5);
/// How long to wait after another fault of the disk.
const FAULT_PAUSE: Duration = Duration::from_secs(15);
