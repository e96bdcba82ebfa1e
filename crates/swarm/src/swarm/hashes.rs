//! Hashes of v2 trees, from peers and to peers (BEP 52).
//!
//! A magnet link brings no piece layers: they are asked for, proved against each file's root, and make
//! the file's pieces fetchable. The leaves of a failed piece are asked for to find the wrong block. And
//! what we have we tell.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use proto::merkle::{self, Tree, TreeShape};
use proto::metainfo::File;
use proto::{BLOCK_LEN, MerkleHash, PieceIndex};

use super::{Swarm, Torrent};
use crate::{Action, Goodbye, HashRange, Notice, PeerCommand, PeerKey};

/// Hashes asked for, and requests of peers that wait for the disk.
#[derive(Debug, Default)]
pub(crate) struct HashFetch {
    under_way: BTreeMap<(PeerKey, HashRange), Instant>,
    /// Layers of which some ranges are here.
    partial: BTreeMap<MerkleHash, Vec<Option<MerkleHash>>>,
    /// Peers that refused a range: others are asked first.
    refused: BTreeMap<PeerKey, u32>,
    /// Requests for the leaves of a piece, until the disk has read it.
    waiting: BTreeMap<PieceIndex, Vec<(PeerKey, HashRange)>>,
    /// Trees that peers asked about lately.
    trees: BTreeMap<MerkleHash, Tree>,
    /// Since when layers are missing and no peer can give them.
    helpless_since: Option<Instant>,
    /// A hybrid's v1 hashes alone must do: no peer speaks v2.
    v1_alone: bool,
}

impl HashFetch {
    pub(crate) const fn v1_alone(&self) -> bool {
        self.v1_alone
    }

    fn is_here_or_asked(&self, range: &HashRange) -> bool {
        let known = self.partial.get(&range.root);
        known.is_some_and(|known| known.get(range.index as usize).is_some_and(Option::is_some))
            || self.under_way.keys().any(|(_, asked)| asked == range)
    }

    pub(crate) fn on_peer_gone(&mut self, key: PeerKey) {
        self.under_way.retain(|(peer, _), _| *peer != key);
        self.waiting.values_mut().for_each(|waiting| waiting.retain(|(peer, _)| *peer != key));
        self.refused.remove(&key);
    }

    /// Who is silent counts as one who refuses, or it would be asked again for ever.
    fn drop_overdue(&mut self, now: Instant) {
        let Self { under_way, refused, .. } = self;
        under_way.retain(|(peer, _), asked_at| {
            let in_time = now.duration_since(*asked_at) < PATIENCE;
            if !in_time {
                *refused.entry(*peer).or_default() += 1;
            }
            in_time
        });
    }

    pub(crate) fn on_rejected(&mut self, key: PeerKey, range: HashRange) {
        self.under_way.remove(&(key, range));
        *self.refused.entry(key).or_default() += 1;
    }
}

impl Swarm {
    /// Asks for piece layers that are missing.
    pub(super) fn fetch_hashes(&mut self) {
        let now = self.now;
        self.hashes.drop_overdue(now);
        let Some(torrent) = &self.torrent else { return };
        if !self.config.fetch || torrent.complete {
            return;
        }
        let missing = torrent.files_without_layer().filter_map(|file| torrent.shape(file));
        let wanted = missing.flat_map(|(root, shape)| shape.layer_requests(root));
        let mut wanted = wanted.filter(|range| !self.hashes.is_here_or_asked(range)).peekable();
        let room = UNDER_WAY_MAX.saturating_sub(self.hashes.under_way.len());
        if wanted.peek().is_none() {
            return;
        }
        let wanted: Vec<_> = wanted.take(room).collect();
        let Some(peer) = self.hash_giver(|_| true) else { return self.without_hash_givers() };
        self.hashes.helpless_since = None;
        for range in wanted {
            self.request_hashes(peer, range);
        }
    }

    /// Asks for the leaves of a failed piece, rather not from those who sent it.
    pub(super) fn fetch_leaves(&mut self, piece: PieceIndex) {
        let Some(torrent) = &self.torrent else { return };
        let Some((file, number)) = torrent.file_at(piece) else { return };
        let Some((root, shape)) = torrent.shape(file) else { return };
        let ranges: Vec<_> = shape.leaf_requests(root, number).collect();
        // Only who has the piece can read its leaves.
        let has = |key: PeerKey| {
            let has = self.peers.get(&key).and_then(|peer| peer.has.as_ref());
            has.is_some_and(|has| has.has(piece))
        };
        let innocent = self.hash_giver(|key| has(key) && !self.suspicions.sent_by(piece, key));
        let Some(peer) = innocent.or_else(|| self.hash_giver(has)) else { return };
        for range in ranges {
            self.request_hashes(peer, range);
        }
    }

    /// Hashes came: proved before anything is believed.
    pub(super) fn on_hashes(&mut self, key: PeerKey, range: HashRange, hashes: &[MerkleHash]) {
        self.hashes.under_way.remove(&(key, range));
        let Some(torrent) = &self.torrent else { return };
        let Some(file) = torrent.file_with_root(&range.root) else { return };
        let Some((_, shape)) = torrent.shape(file) else { return };
        let proved = merkle::prove(&shape, &range, hashes);
        if !proved.is_some_and(|proved| torrent.agrees(file, &shape, &proved)) {
            self.ban(key, "sent hashes that do not lead to the file's root".into());
            return self.fetch_hashes();
        }
        let hashes = &hashes[..range.length as usize];
        if range.base == shape.piece_layer() {
            self.on_layer_hashes(range, hashes);
        } else {
            self.on_leaf_hashes(range, hashes);
        }
    }

    /// A peer asks: from the layers at once, leaves after reading the piece.
    pub(super) fn on_hashes_requested(&mut self, key: PeerKey, range: HashRange) {
        let Some(torrent) = &self.torrent else { return };
        let file = torrent.file_with_root(&range.root);
        let known = file.and_then(|file| Some((file, torrent.shape(file)?.1)));
        let Some((file, shape)) = known.filter(|(_, shape)| shape.accepts(&range)) else {
            return self.command(key, PeerCommand::Hashes(range, None));
        };
        let below = shape.pieces_below(&range);
        let piece_len = u64::from(torrent.info.piece_len());
        let piece = PieceIndex((file.offset / piece_len + below.start) as u32);
        match below.end - below.start {
            0 => self.answer(key, range, &[]),
            1 if torrent.have.has(piece) && self.hashes.waiting.len() < WAITING_MAX => {
                let waiting = self.hashes.waiting.entry(piece).or_default();
                waiting.push((key, range));
                if waiting.len() == 1 {
                    self.actions.push(Action::ReadLeaves(piece));
                }
            }
            _ => self.command(key, PeerCommand::Hashes(range, None)),
        }
    }

    /// The leaves of a piece of ours were read.
    pub(super) fn on_leaves(&mut self, piece: PieceIndex, leaves: Option<&[MerkleHash]>) {
        for (key, range) in self.hashes.waiting.remove(&piece).unwrap_or_default() {
            match leaves {
                Some(leaves) => self.answer(key, range, leaves),
                None => self.command(key, PeerCommand::Hashes(range, None)),
            }
        }
    }

    fn answer(&mut self, key: PeerKey, range: HashRange, leaves: &[MerkleHash]) {
        let hashes = self.tree(&range.root).and_then(|tree| tree.answer(&range, leaves));
        self.command(key, PeerCommand::Hashes(range, hashes));
    }

    /// The tree of a file, made when it is first asked about.
    fn tree(&mut self, root: &MerkleHash) -> Option<&Tree> {
        if !self.hashes.trees.contains_key(root) {
            let torrent = self.torrent.as_ref()?;
            let (_, shape) = torrent.shape(torrent.file_with_root(root)?)?;
            let layer = match torrent.layers.layer(root) {
                Some(layer) => layer.clone(),
                None => [].into(),
            };
            let tree = Tree::new(shape, *root, &layer)?;
            if self.hashes.trees.len() >= TREES_MAX {
                self.hashes.trees.pop_first();
            }
            self.hashes.trees.insert(*root, tree);
        }
        self.hashes.trees.get(root)
    }

    fn on_leaf_hashes(&mut self, range: HashRange, leaves: &[MerkleHash]) {
        let Some(torrent) = &self.torrent else { return };
        let Some(file) = torrent.file_with_root(&range.root) else { return };
        let per_piece = torrent.info.piece_len() / BLOCK_LEN;
        let first = (file.offset / u64::from(torrent.info.piece_len())) as u32;
        let piece = PieceIndex(first + range.index / per_piece);
        let mut right = vec![None; (range.index % per_piece) as usize];
        right.extend(leaves.iter().copied().map(Some));
        self.blame(piece, &right);
    }

    fn on_layer_hashes(&mut self, range: HashRange, hashes: &[MerkleHash]) {
        let Some(torrent) = &mut self.torrent else { return };
        let Some(file) = torrent.file_with_root(&range.root) else { return };
        let count = file.len.div_ceil(u64::from(torrent.info.piece_len())) as usize;
        let layer = self.hashes.partial.entry(range.root).or_insert_with(|| vec![None; count]);
        for (place, hash) in layer.iter_mut().skip(range.index as usize).zip(hashes) {
            *place = Some(*hash);
        }
        if layer.iter().all(Option::is_some) {
            let layer = self.hashes.partial.remove(&range.root).unwrap_or_default();
            let layer: Vec<_> = layer.into_iter().flatten().collect();
            torrent.layers.insert_verified(range.root, layer.into());
            if torrent.files_without_layer().next().is_none() {
                let layers = torrent.layers.clone();
                self.actions.push(Action::Notice(Notice::LayersKnown(layers)));
            }
            self.offer_missing();
        }
        self.fetch_hashes();
    }

    /// No connection speaks v2. A hybrid met under v1 may have peers that would: those connections are
    /// made anew, once. After that its v1 hashes must do.
    fn without_hash_givers(&mut self) {
        let hybrid = self.torrent.as_ref().is_some_and(|torrent| torrent.info.hashes().is_hybrid());
        if !hybrid || self.peers.is_empty() || self.hashes.v1_alone {
            return;
        }
        let since = *self.hashes.helpless_since.get_or_insert(self.now);
        if since == self.now {
            let old = self.peers.iter().filter(|(_, peer)| peer.listen_addr().is_some());
            let old: Vec<_> = old.map(|(key, _)| *key).collect();
            for key in old {
                self.actions.push(Action::Disconnect(key, Goodbye::Upgrade));
            }
        } else if self.now.duration_since(since) >= UPGRADE_PATIENCE {
            self.hashes.v1_alone = true;
            self.offer_missing();
        }
    }

    fn request_hashes(&mut self, peer: PeerKey, range: HashRange) {
        if self.hashes.under_way.insert((peer, range), self.now).is_none() {
            self.command(peer, PeerCommand::RequestHashes(range));
        }
    }

    /// A v2 connection to ask for hashes: the one that refused least.
    fn hash_giver(&self, may: impl Fn(PeerKey) -> bool) -> Option<PeerKey> {
        let givers = self.peers.iter().filter(|(key, peer)| {
            peer.connected.v2 && peer.has.as_ref().is_some_and(|has| has.count() > 0) && may(**key)
        });
        let refused = |key: &PeerKey| self.hashes.refused.get(key).copied().unwrap_or(0);
        givers.map(|(key, _)| *key).min_by_key(refused)
    }
}

impl Torrent {
    fn files_without_layer(&self) -> impl Iterator<Item = &File> {
        let piece_len = u64::from(self.info.piece_len());
        self.info.files().iter().filter(move |file| {
            file.len > piece_len && file.root.is_some_and(|root| self.layers.layer(&root).is_none())
        })
    }

    fn file_with_root(&self, root: &MerkleHash) -> Option<&File> {
        self.info.files().iter().find(|file| file.root.as_ref() == Some(root))
    }

    /// The file that a piece begins in, and the piece's number in it.
    fn file_at(&self, piece: PieceIndex) -> Option<(&File, u32)> {
        let piece_len = u64::from(self.info.piece_len());
        let start = u64::from(piece.0) * piece_len;
        let mut files = self.info.files().iter();
        let file = files.find(|file| file.offset <= start && start < file.offset + file.len)?;
        Some((file, ((start - file.offset) / piece_len) as u32))
    }

    fn shape(&self, file: &File) -> Option<(MerkleHash, TreeShape)> {
        Some((file.root?, TreeShape::new(file.len, self.info.piece_len())?))
    }

    /// A proved node is the one that we know.
    fn agrees(&self, file: &File, shape: &TreeShape, proved: &merkle::Proved) -> bool {
        if proved.layer == shape.root_layer() {
            return Some(proved.hash) == file.root;
        }
        let layer = file.root.and_then(|root| self.layers.layer(&root));
        proved.layer == shape.piece_layer()
            && layer.is_some_and(|layer| layer.get(proved.index as usize) == Some(&proved.hash))
    }
}

/// Hash requests that wait for an answer.
const UNDER_WAY_MAX: usize = 16;
/// How long one may take; then it is asked again, perhaps of another.
const PATIENCE: Duration = Duration::from_secs(3);
/// Requests of peers that wait for the disk.
const WAITING_MAX: usize = 64;
/// Trees kept for answers; another is made in milliseconds.
const TREES_MAX: usize = 8;
/// How long a hybrid waits for a peer that speaks v2.
const UPGRADE_PATIENCE: Duration = Duration::from_secs(5);
