//! Hashes of v2 trees, from peers and to peers (BEP 52).
//!
//! A magnet link brings no piece layers: they are asked for, proved against each file's root, and make
//! the file's pieces fetchable. The leaves of a failed piece are asked for to find the wrong block. And
//! what we have we tell.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use proto::merkle::{self, Tree, TreeShape};
use proto::metainfo::{File, Info, PieceLayers};
use proto::{BLOCK_LEN, FileIndex, MerkleHash, PieceIndex};

use super::{Swarm, Torrent};
use crate::{Action, Goodbye, HashRange, Notice, PeerCommand, PeerKey};

/// Hashes asked for, and requests of peers that wait for the disk.
#[derive(Debug, Default)]
pub(crate) struct HashFetch {
    under_way: BTreeMap<(PeerKey, HashRange), Instant>,
    /// Layers of which some ranges are here.
    partial: BTreeMap<MerkleHash, Partial>,
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

/// A layer that is coming.
#[derive(Debug)]
struct Partial {
    hashes: Vec<Option<MerkleHash>>,
    missing: usize,
}

/// The files of a torrent by their roots, and those of which the piece layer is not known: each answer of a
/// peer is about one of them, and there may be 100,000.
#[derive(Debug, Default)]
pub(crate) struct Roots {
    /// Files that have a root, in the order of their roots.
    sorted: Box<[FileIndex]>,
    layerless: BTreeSet<FileIndex>,
}

impl Roots {
    pub(crate) fn new(info: &Info, layers: &PieceLayers) -> Self {
        let files = info.files();
        let rooted = (0..).map(FileIndex).zip(files).filter(|(_, file)| file.root.is_some());
        let mut sorted: Vec<_> = rooted.map(|(index, _)| index).collect();
        sorted.sort_by_key(|index| files[index.0 as usize].root);
        let piece_len = u64::from(info.piece_len());
        let lacks = |file: &File| {
            file.len > piece_len && file.root.is_some_and(|root| layers.layer(&root).is_none())
        };
        let layerless = (0..).map(FileIndex).zip(files).filter(|(_, file)| lacks(file));
        Self { layerless: layerless.map(|(index, _)| index).collect(), sorted: sorted.into() }
    }

    /// The files with that root: those of equal content have one.
    fn of(&self, files: &[File], root: &MerkleHash) -> &[FileIndex] {
        let root_of = |index: &FileIndex| files.get(index.0 as usize).and_then(|file| file.root);
        let start = self.sorted.partition_point(|index| root_of(index) < Some(*root));
        let same = self.sorted[start..].partition_point(|index| root_of(index) == Some(*root));
        &self.sorted[start..start + same]
    }
}

impl Partial {
    fn new(len: usize) -> Self {
        Self { hashes: vec![None; len], missing: len }
    }

    fn has(&self, index: u32) -> bool {
        self.hashes.get(index as usize).is_some_and(Option::is_some)
    }

    fn take(&mut self, index: u32, hashes: &[MerkleHash]) {
        for (place, hash) in self.hashes.iter_mut().skip(index as usize).zip(hashes) {
            self.missing -= usize::from(place.is_none());
            *place = Some(*hash);
        }
    }
}

impl HashFetch {
    pub(crate) const fn v1_alone(&self) -> bool {
        self.v1_alone
    }

    fn is_here_or_asked(&self, range: &HashRange) -> bool {
        self.partial.get(&range.root).is_some_and(|known| known.has(range.index))
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
        let layer = self.hashes.partial.entry(range.root).or_insert_with(|| Partial::new(count));
        layer.take(range.index, hashes);
        if layer.missing == 0 {
            let layer = self.hashes.partial.remove(&range.root).map(|partial| partial.hashes);
            let layer: Vec<_> = layer.into_iter().flatten().flatten().collect();
            torrent.layers.insert_verified(range.root, layer.into());
            let files = torrent.roots.of(torrent.info.files(), &range.root).to_vec();
            for file in &files {
                torrent.roots.layerless.remove(file);
            }
            if torrent.roots.layerless.is_empty() {
                let layers = torrent.layers.clone();
                self.actions.push(Action::Notice(Notice::LayersKnown(layers)));
            }
            for file in files {
                self.offer_missing_of(file);
            }
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
        let files = self.info.files();
        self.roots.layerless.iter().filter_map(|index| files.get(index.0 as usize))
    }

    fn file_with_root(&self, root: &MerkleHash) -> Option<&File> {
        let files = self.info.files();
        let first = self.roots.of(files, root).first()?;
        files.get(first.0 as usize)
    }

    /// The file that a piece begins in, and the piece's number in it.
    fn file_at(&self, piece: PieceIndex) -> Option<(&File, u32)> {
        let piece_len = u64::from(self.info.piece_len());
        let start = u64::from(piece.0) * piece_len;
        // Files without bytes share their offset with the next one, so look for one that ends later.
        let files = self.info.files();
        let files = &files[files.partition_point(|file| file.offset + file.len <= start)..];
        let file = files.first().filter(|file| file.offset <= start)?;
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

#[cfg(test)]
mod tests {
    use proto::metainfo::{ContentHashes, Details, FileHashes, Format, Layout, NewFile, Shape};

    use super::*;

    const PIECE_LEN: u32 = BLOCK_LEN;

    /// A v2 torrent of files of two pieces, each with a root of that number, and a short one at the end.
    fn torrent(roots: &[u8]) -> (Info, PieceLayers) {
        let len = |number: usize| if number < roots.len() { u64::from(2 * PIECE_LEN) } else { 5 };
        let file = |number| NewFile {
            path: vec![format!("{number:03}")],
            len: len(number),
            ..NewFile::default()
        };
        let files = (0..=roots.len()).map(file).collect();
        let layout =
            Layout::plan("many", Shape::Folder, files, PIECE_LEN, Format::V2).expect("a layout");
        let hashes_of = |seed: u8| {
            let layer: Vec<_> = [1, 2].map(|piece| MerkleHash([seed * 3 + piece; 32])).into();
            let shape = TreeShape::new(u64::from(2 * PIECE_LEN), PIECE_LEN).expect("a shape");
            let root = merkle::file_root(&shape, &layer).expect("a root");
            Some(FileHashes { root, layer: layer.into() })
        };
        let short = Some(FileHashes { root: MerkleHash([9; 32]), layer: Vec::new().into() });
        let files = roots.iter().map(|seed| hashes_of(*seed)).chain([short]).collect();
        let hashes = ContentHashes { v1_pieces: Vec::new(), files };
        let metainfo = layout.build(hashes, Details::default()).expect("a torrent");
        (metainfo.info, metainfo.layers)
    }

    #[test]
    fn files_are_found_by_their_roots_and_equal_ones_together() {
        let (info, _) = torrent(&[7, 3, 7, 5]);
        let roots = Roots::new(&info, &PieceLayers::default());
        for file in info.files() {
            let root = file.root.expect("every file has one");
            let same = (0..).map(FileIndex).zip(info.files());
            let same: Vec<_> =
                same.filter(|(_, file)| file.root == Some(root)).map(|(index, _)| index).collect();
            assert_eq!(roots.of(info.files(), &root), same);
        }
        assert_eq!(roots.of(info.files(), &MerkleHash([0; 32])), []);
    }

    #[test]
    fn only_long_files_wait_for_a_layer_and_only_while_it_is_not_known() {
        let (info, layers) = torrent(&[7, 3, 7, 5]);
        let waiting = Roots::new(&info, &PieceLayers::default()).layerless;
        assert_eq!(waiting, [0, 1, 2, 3].map(FileIndex).into());
        assert_eq!(Roots::new(&info, &layers).layerless, BTreeSet::new());
    }

    #[test]
    fn a_layer_is_whole_when_each_hash_came_whatever_came_twice() {
        let mut partial = Partial::new(3);
        partial.take(2, &[MerkleHash([1; 32]); 2]);
        assert!(partial.has(2) && !partial.has(0));
        partial.take(2, &[MerkleHash([1; 32])]);
        assert_eq!(partial.missing, 2);
        partial.take(0, &[MerkleHash([1; 32]); 2]);
        assert_eq!(partial.missing, 0);
    }
}
