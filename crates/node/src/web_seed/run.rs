//! Blocks that lie side by side are asked for with one request, and cut out of its body again.

use std::collections::{BTreeMap, VecDeque};

use proto::{Block, Geometry};
use swarm::{BlockBuf, PeerEvent};

use crate::disk::BlockPool;

/// The blocks that are wanted, by where they lie in the torrent. As many as the swarm's window has.
#[derive(Debug, Default)]
pub(super) struct Wanted {
    blocks: BTreeMap<u64, Block>,
    /// Where the last run ended: the next one starts behind it, so each has its turn.
    at: u64,
}

impl Wanted {
    pub(super) fn add(&mut self, geometry: &Geometry, block: Block) {
        self.blocks.insert(place(geometry, block), block);
    }

    /// True when it was wanted.
    pub(super) fn remove(&mut self, geometry: &Geometry, block: Block) -> bool {
        self.blocks.remove(&place(geometry, block)).is_some()
    }

    pub(super) fn take_all(&mut self) -> impl Iterator<Item = Block> {
        std::mem::take(&mut self.blocks).into_values()
    }

    /// The next blocks that lie side by side.
    pub(super) fn take_run(&mut self) -> Option<Run> {
        let next = self.blocks.range(self.at..).next().or_else(|| self.blocks.iter().next());
        let mut end = *next?.0;
        let mut run: Option<Run> = None;
        while let Some(block) = self.blocks.remove(&end) {
            end += u64::from(block.len);
            let run = run.get_or_insert_with(|| Run::of(block));
            run.add(block);
            if run.whole.len >= RUN_LEN {
                break;
            }
        }
        self.at = end;
        run
    }
}

fn place(geometry: &Geometry, block: Block) -> u64 {
    u64::from(block.piece.0) * u64::from(geometry.nominal_piece_len()) + u64::from(block.begin)
}

/// Blocks side by side, as far as they are not there yet.
#[derive(Debug)]
pub(super) struct Run {
    /// All of them; its length may pass the end of its piece.
    pub(super) whole: Block,
    missing: VecDeque<Block>,
    /// The first missing block's memory, and how much of it is there.
    filling: Option<(BlockBuf, usize)>,
    /// How far into the run all is there.
    filled: u32,
}

impl Run {
    fn of(first: Block) -> Self {
        let whole = Block { len: 0, ..first };
        Self { whole, missing: VecDeque::new(), filling: None, filled: 0 }
    }

    fn add(&mut self, block: Block) {
        self.whole.len += block.len;
        self.missing.push_back(block);
    }

    /// The next bytes of the run; blocks that are whole now go to `out`. What comes behind the run's
    /// end is left.
    pub(super) fn push(&mut self, mut data: &[u8], pool: &BlockPool, out: &mut Vec<PeerEvent>) {
        while let (Some(block), false) = (self.missing.front().copied(), data.is_empty()) {
            let (mut buffer, there) = self.filling.take().unwrap_or_else(|| (fresh(pool), 0));
            let count = data.len().min(block.len as usize - there);
            let (now, later) = data.split_at(count);
            buffer.space()[there..there + count].copy_from_slice(now);
            data = later;
            self.filled += count as u32;
            if there + count < block.len as usize {
                self.filling = Some((buffer, there + count));
                return;
            }
            buffer.set_len(block.len);
            self.missing.pop_front();
            out.push(PeerEvent::Block(block, buffer));
        }
    }

    /// Zeros up to `begin`, counted as [`proto::Span::begin`] is: there lies a pad (BEP 47).
    pub(super) fn pad_to(&mut self, begin: u32, pool: &BlockPool, out: &mut Vec<PeerEvent>) {
        let end = begin - self.whole.begin;
        while self.filled < end {
            let count = ZEROS.len().min((end - self.filled) as usize);
            self.push(&ZEROS[..count], pool, out);
        }
    }

    /// It will not go on: the blocks that did not come.
    pub(super) fn give_up(self, pool: &BlockPool) -> Vec<Block> {
        pool.give(self.filling.map(|(buffer, _)| buffer));
        self.missing.into()
    }
}

fn fresh(pool: &BlockPool) -> BlockBuf {
    let mut taken = Vec::with_capacity(1);
    pool.take(1, &mut taken);
    taken.pop().unwrap_or_default()
}

/// Bytes after which a request is long enough: the next one may go elsewhere.
const RUN_LEN: u32 = 4 << 20;
static ZEROS: [u8; 4096] = [0; 4096];

#[cfg(test)]
mod tests {
    use proto::{BLOCK_LEN, FileIndex, PieceIndex};

    use super::*;

    /// Two pieces of two blocks: a file of 20,000 bytes, a pad, and a file of 20,000 bytes.
    fn geometry() -> Geometry {
        let files = [(FileIndex(0), 0, 20_000), (FileIndex(1), 32_768, 20_000)];
        Geometry::new(2 * BLOCK_LEN, 52_768, false, files)
    }

    fn wanted(numbers: &[(u32, u32)]) -> Wanted {
        let mut wanted = Wanted::default();
        for (piece, number) in numbers {
            wanted.add(&geometry(), geometry().block(PieceIndex(*piece), *number));
        }
        wanted
    }

    fn runs(mut wanted: Wanted) -> Vec<(u32, u32, u32)> {
        let runs = std::iter::from_fn(|| wanted.take_run());
        runs.map(|run| (run.whole.piece.0, run.whole.begin, run.whole.len)).collect()
    }

    #[test]
    fn neighbours_are_one_run_over_pieces() {
        let all = wanted(&[(1, 1), (0, 1), (1, 0), (0, 0)]);
        assert_eq!(runs(all), [(0, 0, 52_768)]);
        assert_eq!(runs(wanted(&[(0, 0), (1, 0)])), [(0, 0, 16_384), (1, 0, 16_384)]);
    }

    #[test]
    fn a_run_goes_on_where_the_last_one_ended() {
        let mut wanted = wanted(&[(1, 0)]);
        assert_eq!(wanted.take_run().unwrap().whole.piece, PieceIndex(1));
        for (piece, number) in [(0, 0), (1, 1)] {
            wanted.add(&geometry(), geometry().block(PieceIndex(piece), number));
        }
        assert_eq!(wanted.take_run().unwrap().whole.begin, BLOCK_LEN);
        assert_eq!(wanted.take_run().unwrap().whole.piece, PieceIndex(0));
        assert!(wanted.take_run().is_none());
    }

    #[test]
    fn bytes_become_blocks_with_zeros_where_a_pad_is() {
        let (geometry, pool) = (geometry(), BlockPool::new(8));
        let mut run = wanted(&[(0, 0), (0, 1), (1, 0), (1, 1)]).take_run().unwrap();
        let mut out = Vec::new();
        for span in geometry.spans(run.whole) {
            run.pad_to(span.begin, &pool, &mut out);
            // In pieces of all sizes.
            for chunk in vec![7; span.len as usize].chunks(4999) {
                run.push(chunk, &pool, &mut out);
            }
        }
        let blocks = out.iter().filter_map(|event| {
            let PeerEvent::Block(block, data) = event else { return None };
            Some((block, data))
        });
        let (blocks, data): (Vec<&Block>, Vec<&BlockBuf>) = blocks.unzip();
        let all: Vec<u8> = data.iter().flat_map(|data| data.as_slice()).copied().collect();
        let mut expected = vec![7; 52_768];
        expected[20_000..32_768].fill(0);
        assert!(all == expected);
        assert_eq!(blocks.iter().map(|block| block.len).sum::<u32>(), 52_768);
        assert!(run.give_up(&pool).is_empty());
    }

    #[test]
    fn what_did_not_come_is_given_back() {
        let pool = BlockPool::new(8);
        let mut run = wanted(&[(0, 0), (0, 1)]).take_run().unwrap();
        let mut out = Vec::new();
        run.push(&[1; 20_000], &pool, &mut out);
        assert_eq!(out.len(), 1);
        let left = run.give_up(&pool);
        assert_eq!(left.iter().map(|block| block.begin).collect::<Vec<_>>(), [BLOCK_LEN]);
        assert_eq!(pool.idle(), 1);
    }
}
