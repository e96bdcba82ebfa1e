//! The peer's requests, from their arrival to the buffer that answers them.

use std::collections::VecDeque;

use proto::{Block, PieceIndex};

use crate::limits::session::REQQ;

/// Neighbouring blocks of one piece that the peer asked for one after another: to be read in one go
/// and handed back by `Session::upload_ready` or `Session::upload_failed`.
#[derive(Debug)]
#[must_use = "the peer waits for it"]
pub struct UploadRun {
    pub(super) blocks: Vec<Block>,
    /// The choke period in which it was taken; a later choke makes it void.
    pub(super) epoch: u32,
}

impl UploadRun {
    /// The bytes to read, as one run.
    #[must_use]
    pub fn span(&self) -> Block {
        let first = self.blocks[0];
        Block { len: self.blocks.iter().map(|block| block.len).sum(), ..first }
    }
}

#[derive(Debug, Default)]
pub(super) struct Uploads {
    queue: VecDeque<Block>,
    /// Blocks of runs that are being read.
    reading: usize,
    /// Runs that are being read.
    runs: usize,
    epoch: u32,
    /// Pieces that the peer may fetch while choked.
    granted: Vec<PieceIndex>,
    /// Blocks of them that are still given away.
    grant: u32,
}

impl Uploads {
    /// Requests that wait for data.
    pub(super) fn waiting(&self) -> usize {
        self.queue.len() + self.reading
    }

    /// Runs being read.
    pub(super) fn runs(&self) -> usize {
        self.runs
    }

    /// Queues a request; false when the peer has asked for too much.
    pub(super) fn push(&mut self, block: Block) -> bool {
        let room = self.waiting() < REQQ as usize;
        if room {
            self.queue.push_back(block);
        }
        room
    }

    /// Takes a request out of the queue; false when it is not there (any more).
    pub(super) fn cancel(&mut self, block: Block) -> bool {
        let at = self.queue.iter().position(|queued| *queued == block);
        at.and_then(|at| self.queue.remove(at)).is_some()
    }

    /// Takes out every queued request that is not to be kept.
    pub(super) fn remove(&mut self, mut keep: impl FnMut(Block) -> bool) -> Vec<Block> {
        let mut removed = Vec::new();
        self.queue.retain(|block| {
            let stays = keep(*block);
            if !stays {
                removed.push(*block);
            }
            stays
        });
        removed
    }

    /// Takes out every queued request that a choke ends.
    pub(super) fn remove_ungranted(&mut self) -> Vec<Block> {
        let granted = std::mem::take(&mut self.granted);
        let given = self.grant > 0;
        let removed = self.remove(|block| given && granted.contains(&block.piece));
        self.granted = granted;
        removed
    }

    /// Makes runs void that are being read.
    pub(super) fn start_epoch(&mut self) {
        self.epoch = self.epoch.wrapping_add(1);
    }

    /// The next neighbouring requests, up to `len_max` bytes but at least one.
    pub(super) fn next_run(&mut self, len_max: u32) -> Option<UploadRun> {
        let first = self.queue.pop_front()?;
        let mut blocks = vec![first];
        let mut end = first.begin + first.len;
        while let Some(next) = self.queue.front()
            && next.piece == first.piece
            && next.begin == end
            && end - first.begin + next.len <= len_max
        {
            end += next.len;
            blocks.extend(self.queue.pop_front());
        }
        self.reading += blocks.len();
        self.runs += 1;
        Some(UploadRun { blocks, epoch: self.epoch })
    }

    /// A run came back; false when a choke made it void.
    pub(super) fn finish(&mut self, run: &UploadRun) -> bool {
        self.reading -= run.blocks.len();
        self.runs -= 1;
        run.epoch == self.epoch
    }

    /// Lets the peer fetch `pieces` while choked, `blocks` blocks in all.
    pub(super) fn grant(&mut self, pieces: Vec<PieceIndex>, blocks: u32) {
        self.granted = pieces;
        self.grant = blocks;
    }

    /// Whether the peer may fetch `piece` even while choked.
    pub(super) fn is_granted(&self, piece: PieceIndex) -> bool {
        self.grant > 0 && self.granted.contains(&piece)
    }

    /// One more block is given away.
    pub(super) fn use_grant(&mut self) {
        self.grant = self.grant.saturating_sub(1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn block(piece: u32, begin: u32) -> Block {
        Block { piece: PieceIndex(piece), begin, len: 100 }
    }

    #[test]
    fn runs_end_where_neighbours_do() {
        let mut uploads = Uploads::default();
        for request in [block(0, 0), block(0, 100), block(1, 0), block(1, 200), block(1, 300)] {
            assert!(uploads.push(request));
        }
        let lens = |run: Option<UploadRun>| run.map(|run| (run.span().begin, run.span().len));
        assert_eq!(lens(uploads.next_run(1000)), Some((0, 200)));
        assert_eq!(lens(uploads.next_run(1000)), Some((0, 100)));
        assert_eq!(lens(uploads.next_run(150)), Some((200, 100)));
        assert_eq!(lens(uploads.next_run(1)), Some((300, 100)));
        assert!(uploads.next_run(1000).is_none());
        assert_eq!((uploads.waiting(), uploads.runs()), (5, 4));
    }

    #[test]
    fn more_than_advertised_is_refused() {
        let mut uploads = Uploads::default();
        assert!((0..REQQ).all(|i| uploads.push(block(i, 0))));
        assert!(!uploads.push(block(0, 0)));
        assert!(uploads.cancel(block(3, 0)));
        assert!(!uploads.cancel(block(3, 0)));
        assert!(uploads.push(block(0, 0)));
    }
}
