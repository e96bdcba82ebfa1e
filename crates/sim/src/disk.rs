//! One peer's files, in memory. Pieces are checked for real before they are kept.

use std::collections::BTreeMap;
use std::time::Duration;

use proto::merkle;
use proto::metainfo::Expected;
use proto::{BLOCK_LEN, Bitfield, Block, Geometry, MerkleHash, PieceHash, PieceIndex};
use swarm::{BlockBuf, DiskEvent, DiskJob};

use crate::content::Content;

/// Files that may be full, and their queue.
#[derive(Debug)]
pub(crate) struct Disk {
    pieces: BTreeMap<PieceIndex, Vec<u8>>,
    have: Bitfield,
    /// When the jobs under way are done.
    pub(crate) free_at: Duration,
    pub(crate) full_until: Duration,
    pub(crate) refusals: u32,
}

impl Disk {
    pub(crate) fn new(content: &Content, complete: bool) -> Self {
        let count = content.geometry.piece_count();
        let mut disk = Self {
            pieces: BTreeMap::new(),
            have: Bitfield::empty(count),
            free_at: Duration::ZERO,
            full_until: Duration::ZERO,
            refusals: 0,
        };
        if complete {
            for piece in (0..count).map(PieceIndex) {
                let data = content.read(content.geometry.whole(piece)).to_vec();
                disk.pieces.insert(piece, data);
                disk.have.insert(piece);
            }
        }
        disk
    }

    pub(crate) const fn have(&self) -> &Bitfield {
        &self.have
    }

    pub(crate) fn piece(&self, piece: PieceIndex) -> Option<&[u8]> {
        self.pieces.get(&piece).map(Vec::as_slice)
    }

    /// The bytes of a run; `None` when the piece is not there.
    pub(crate) fn read(&self, run: Block) -> Option<Vec<u8>> {
        let piece = self.pieces.get(&run.piece)?;
        Some(piece.get(run.begin as usize..(run.begin + run.len) as usize)?.to_vec())
    }

    /// A file changed underneath.
    pub(crate) fn lose(&mut self, piece: PieceIndex) {
        self.pieces.remove(&piece);
        self.have.remove(piece);
    }

    /// Carries a job out.
    pub(crate) fn run(&mut self, now: Duration, geometry: &Geometry, job: DiskJob) -> DiskEvent {
        let DiskJob::Store { piece, blocks, expected, want_digests } = job;
        let data = assemble(geometry, piece, &blocks);
        let digests = digests(geometry, piece, &data);
        let [v1, v2] = judge(&data, &digests, &expected);
        if v1 == Some(false) || v2 == Some(false) {
            let inconsistent = v1 == Some(true) || v2 == Some(true);
            return DiskEvent::Bad { piece, digests, inconsistent };
        }
        if now < self.full_until {
            self.refusals += 1;
            let reason = "no space left (simulated)".to_owned();
            return DiskEvent::Failed { piece, reason, full: true };
        }
        self.pieces.insert(piece, data);
        self.have.insert(piece);
        DiskEvent::Stored { piece, digests: want_digests.then_some(digests) }
    }

    /// Reads a piece and hashes its blocks.
    pub(crate) fn leaves(&self, geometry: &Geometry, piece: PieceIndex) -> DiskEvent {
        let data = self.pieces.get(&piece);
        let leaves =
            data.map(|data| digests(geometry, piece, data).into_iter().flatten().collect());
        DiskEvent::Leaves { piece, leaves }
    }
}

/// The piece's bytes; pads read as zeros whatever came.
fn assemble(geometry: &Geometry, piece: PieceIndex, blocks: &[Option<BlockBuf>]) -> Vec<u8> {
    let mut data = vec![0; geometry.piece_len(piece) as usize];
    for span in geometry.spans(geometry.whole(piece)) {
        for at in (span.begin..span.begin + span.len).step_by(1024) {
            // Spans need not begin at blocks, so copy in steps that stay inside one.
            let end = (at + 1024).min(span.begin + span.len);
            copy(&mut data, blocks, at, end);
        }
    }
    data
}

fn copy(data: &mut [u8], blocks: &[Option<BlockBuf>], mut at: u32, end: u32) {
    while at < end {
        let number = at / BLOCK_LEN;
        let stop = end.min((number + 1) * BLOCK_LEN);
        let Some(Some(block)) = blocks.get(number as usize) else { return };
        let from = (at - number * BLOCK_LEN) as usize;
        let source = &block.as_slice()[from..from + (stop - at) as usize];
        data[at as usize..stop as usize].copy_from_slice(source);
        at = stop;
    }
}

/// SHA-256 of each block's file bytes; `None` where the block is all pad.
fn digests(geometry: &Geometry, piece: PieceIndex, data: &[u8]) -> Vec<Option<MerkleHash>> {
    let numbers = 0..geometry.block_count(piece);
    let blocks = numbers.map(|number| geometry.block(piece, number));
    let digest = |block: Block| {
        let end = geometry.spans(block).map(|span| span.begin + span.len).max()?;
        Some(merkle::leaf(&data[block.begin as usize..end as usize]))
    };
    blocks.map(digest).collect()
}

/// Whether the v1 and the v2 hash are right, each where there is one.
fn judge(data: &[u8], digests: &[Option<MerkleHash>], expected: &Expected) -> [Option<bool>; 2] {
    let v1 = expected.v1.map(|hash| PieceHash(digest::sha1(data)) == hash);
    let v2 = expected.v2.map(|expected| {
        let leaves: Vec<_> = digests.iter().flatten().copied().collect();
        merkle::root(&leaves, u64::from(expected.leaf_count)) == expected.hash
    });
    [v1, v2]
}
