//! Who reads while it comes: which pieces are needed first, and from whom.
//!
//! A reader stands somewhere in the torrent and goes on from there. What lies right before it is asked
//! from peers that are not slow, beyond their windows if need be, and twice when it is late; what lies
//! further ahead comes next, as far as the reader gets in a while. What else is missing is fetched with
//! what is left, and little of it waits at any peer: whoever jumps should not have to wait behind it.

use std::collections::BTreeMap;
use std::ops::Range;
use std::time::{Duration, Instant};

use proto::{BLOCK_LEN, PieceIndex};

use super::open::Asking;
use super::peer::Peer;
use super::rate::Rate;
use super::{Swarm, Torrent};
use crate::limits::READERS_MAX;
use crate::{PeerCommand, PeerKey};

/// Somebody who reads: its name inside one swarm; never used twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ReaderKey(pub u64);

/// One reader.
#[derive(Debug)]
struct Reader {
    /// What it has yet to read, in bytes of the torrent's space.
    rest: Range<u64>,
    rate: Rate,
}

/// All readers of a torrent.
#[derive(Debug, Default)]
pub(crate) struct Readers {
    readers: BTreeMap<ReaderKey, Reader>,
    /// When to look whether what is needed first is late; only while somebody waits.
    check_at: Option<Instant>,
}

impl Readers {
    pub(crate) fn is_empty(&self) -> bool {
        self.readers.is_empty()
    }

    pub(crate) const fn next_at(&self) -> Option<Instant> {
        self.check_at
    }

    pub(crate) fn tick(&mut self, now: Instant) {
        self.readers.values_mut().for_each(|reader| reader.rate.tick(now));
    }

    /// A reader is there or went on; true if it is new or jumped.
    pub(super) fn note(&mut self, now: Instant, key: ReaderKey, rest: Range<u64>) -> bool {
        if let Some(reader) = self.readers.get_mut(&key) {
            let went_on = reader.rest.contains(&rest.start) || reader.rest.start == rest.start;
            let read = rest.start.saturating_sub(reader.rest.start);
            reader.rate.add(if went_on { read } else { 0 });
            reader.rest = rest;
            return !went_on || read > JUMP;
        }
        if self.readers.len() < READERS_MAX {
            self.readers.insert(key, Reader { rest, rate: Rate::new(now) });
        }
        true
    }

    #[cfg(test)]
    pub(super) fn window_of(&self, key: ReaderKey) -> Option<u64> {
        self.readers.get(&key).map(Reader::ahead)
    }

    /// The pieces that readers need, the most urgent first, and whether one is needed at once.
    fn pieces(&self, piece_len: u64) -> impl Iterator<Item = (PieceIndex, Needed)> {
        let windows: Vec<Range<u64>> = self
            .readers
            .values()
            .filter(|reader| !reader.rest.is_empty())
            .map(|reader| {
                let end = reader.rest.end.min(reader.rest.start + reader.ahead());
                reader.rest.start / piece_len..end.div_ceil(piece_len)
            })
            .collect();
        let longest = windows.iter().map(|window| window.end - window.start).max().unwrap_or(0);
        (0..longest).flat_map(move |distance| {
            let there = windows.clone().into_iter();
            let there = there.filter(move |window| window.start + distance < window.end);
            there.map(move |window| {
                let needed = if distance < AT_ONCE { Needed::Now } else { Needed::Soon };
                (PieceIndex((window.start + distance) as u32), needed)
            })
        })
    }
}

impl Reader {
    /// Bytes from where it stands that are fetched for it.
    fn ahead(&self) -> u64 {
        (self.rate.per_second() * AHEAD_SECS).clamp(AHEAD_MIN, AHEAD_MAX)
    }
}

/// How soon a piece is needed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Needed {
    /// Somebody stands before it.
    Now,
    Soon,
}

impl Swarm {
    /// Somebody reads from there on.
    pub(super) fn on_reader(&mut self, key: ReaderKey, rest: Range<u64>) {
        let jumped = self.readers.note(self.now, key, rest);
        if jumped && self.lacks_now() {
            self.make_way();
        }
        self.serve_readers();
    }

    /// It reads no more.
    pub(super) fn on_reader_left(&mut self, key: ReaderKey) {
        self.readers.readers.remove(&key);
        self.refill = true;
    }

    /// What is needed first may be late.
    pub(super) fn check_readers(&mut self) {
        if self.readers.check_at.is_some_and(|at| at <= self.now) {
            self.serve_readers();
        }
    }

    /// Asks all peers for what readers need, the fastest first.
    fn serve_readers(&mut self) {
        let mut keys: Vec<_> =
            self.peers.iter().map(|(key, peer)| (peer.down.per_second(), *key)).collect();
        keys.sort_unstable_by_key(|(rate, key)| (std::cmp::Reverse(*rate), *key));
        keys.into_iter().for_each(|(_, key)| self.fill(key));
        self.readers.check_at = self.lacks_now().then(|| self.now + CHECK_EVERY);
    }

    /// Somebody stands before a piece that is not there.
    fn lacks_now(&self) -> bool {
        let Some(torrent) = &self.torrent else { return false };
        let mut now =
            self.readers.pieces(torrent.piece_len()).take_while(|(_, n)| *n == Needed::Now);
        now.any(|(piece, _)| torrent.lacks(piece))
    }

    /// Takes back what peers with long queues were asked for and nobody waits for.
    fn make_way(&mut self) {
        let Some(torrent) = &mut self.torrent else { return };
        let needed: Vec<_> = self
            .readers
            .pieces(torrent.piece_len())
            .map(|(piece, _)| piece)
            .take(NEEDED_MAX)
            .collect();
        let geometry = torrent.geometry.clone();
        let mut left = Vec::new();
        for (key, _) in self.peers.iter().filter(|(_, peer)| queue_time(peer) > QUEUE_MAX) {
            let blocks = torrent.open.take_back(&geometry, *key, |piece| !needed.contains(&piece));
            left.extend(blocks.into_iter().map(|block| (*key, block)));
        }
        for (key, block) in left {
            self.command(key, PeerCommand::Cancel(block));
        }
    }

    /// How many blocks a peer may be asked for that nobody waits for.
    pub(super) fn leisure(&self, key: PeerKey) -> usize {
        let peer = self.peers.get(&key).filter(|peer| !self.readers.is_empty() && !peer.web_seed);
        let Some(peer) = peer else { return usize::MAX };
        let half_a_second = peer.down.per_second() / 2 / u64::from(BLOCK_LEN);
        (half_a_second as usize).max(LEISURE_MIN)
    }

    /// Asks a peer for what readers need.
    pub(super) fn fill_for_readers(&mut self, key: PeerKey) {
        if self.readers.is_empty() {
            return;
        }
        let best = self.peers.values().filter(|peer| !peer.chokes_us);
        let best = best.map(|peer| peer.down.per_second()).max().unwrap_or(0);
        let duty = self.web_seeds.duty;
        let (Some(torrent), Some(peer)) = (&mut self.torrent, self.peers.get(&key)) else { return };
        let geometry = torrent.geometry.clone();
        let v2 = torrent.info.hashes().v2().is_some();
        if !v2 && self.suspicions.is_suspected(key) {
            return;
        }
        let is_fast = peer.down.per_second() * 2 >= best;
        let window = peer.window.size();
        let piece_len = torrent.piece_len();
        let open_max = (self.config.piece_budget / piece_len).max(1) as usize + EXTRA_PIECES;
        let (mut blocks, mut pads) = (Vec::new(), Vec::new());
        for (piece, needed) in self.readers.pieces(piece_len).take(NEEDED_MAX) {
            let extra = if needed == Needed::Now { EXTRA_BLOCKS } else { 0 };
            let room = (window + extra).saturating_sub(peer.outstanding + blocks.len());
            if room == 0 {
                break;
            }
            // One that is slow would keep the reader waiting.
            let slow = needed == Needed::Now && !is_fast;
            if slow || !torrent.lacks(piece) || !duty.may(peer, piece, &torrent.rarity) {
                continue;
            }
            if torrent.rarity.may_pick(piece) && !self.disk_refused {
                if torrent.open.len() + torrent.verifying.len() >= open_max {
                    continue;
                }
                torrent.rarity.withdraw(piece);
                if torrent.open.open(&geometry, piece, self.suspicions.is_suspect(piece)) {
                    pads.push(piece);
                    continue;
                }
            }
            let asking = Asking { geometry: &geometry, now: self.now, peer: key, room };
            torrent.open.ask_of(asking, piece, &mut blocks);
            if needed == Needed::Now {
                let room = (window + extra).saturating_sub(peer.outstanding + blocks.len());
                let asking = Asking { room, ..asking };
                torrent.open.ask_late(asking, piece, LATE, &mut blocks);
            }
        }
        self.request(key, blocks);
        pads.into_iter().for_each(|piece| self.store(piece));
    }
}

impl Torrent {
    pub(super) fn piece_len(&self) -> u64 {
        u64::from(self.geometry.nominal_piece_len())
    }
}

/// How long what a peer was asked for will take.
fn queue_time(peer: &Peer) -> Duration {
    let bytes = peer.outstanding as f64 * f64::from(BLOCK_LEN);
    // In its first second nobody knows yet.
    let rate = peer.down.per_second().max(RATE_ASSUMED);
    Duration::from_secs_f64(bytes / rate as f64)
}

/// Pieces from where a reader stands that are needed at once.
const AT_ONCE: u64 = 2;
/// A reader gets what it reads in so many seconds …
const AHEAD_SECS: u64 = 10;
/// … but no less than what an eager player buffers before it begins …
const AHEAD_MIN: u64 = 4 << 20;
/// … and no more than what may be forgotten when it jumps.
const AHEAD_MAX: u64 = 64 << 20;
/// Pieces that are looked at; with the shortest pieces, 16 MiB.
const NEEDED_MAX: usize = 1024;
/// Bytes by which a reader goes on without jumping: more than it is told of at once.
const JUMP: u64 = 1 << 20;
/// Blocks beyond the window of a peer that a reader waits for: its queue is no reason to wait.
const EXTRA_BLOCKS: usize = 32;
/// Pieces beyond the budget that may be open for readers.
const EXTRA_PIECES: usize = 4;
/// Blocks that are always under way at a peer, so that it is not idle while its rate is unknown.
const LEISURE_MIN: usize = 16;
/// What waits longer than this at a peer is taken back when somebody jumps.
const QUEUE_MAX: Duration = Duration::from_millis(100);
const RATE_ASSUMED: u64 = 1 << 20;
/// A block that a reader waits for is asked from a second peer after this long.
const LATE: Duration = Duration::from_millis(400);
const CHECK_EVERY: Duration = Duration::from_millis(200);
