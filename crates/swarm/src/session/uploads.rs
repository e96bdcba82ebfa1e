//! The peer's requests, from their arrival to the buffer that answers them.

use std::collections::VecDeque;

use proto::{Block, PieceIndex};

use crate::limits::session::REQQ;

/// Neighbouring requests of one piece that the peer made one after another: to be read in one go and handed
/// back by `Session::upload_ready` or `Session::upload_failed`. Each is answered by a message of its own.
#[derive(Debug)]
#[must_use = "the peer waits for it"]
pub struct UploadRun {
    pub(super) requests: Vec<Block>,
    /// The choke period in which it was taken; a later choke makes it void.
    pub(super) epoch: u32,
}

impl UploadRun {
    /// The bytes to read, as one run.
    #[must_use]
    pub fn span(&self) -> Block {
        let first = self.requests[0];
        Block { len: self.requests.iter().map(|request| request.len).sum(), ..first }
    }

    fn block_count(&self) -> usize {
        self.requests.iter().map(|request| request.block_count() as usize).sum()
    }
}

#[derive(Debug, Default)]
pub(super) struct Uploads {
    queue: VecDeque<Block>,
    /// Blocks in the queue.
    queued: usize,
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
    /// Blocks that wait for data.
    pub(super) fn waiting(&self) -> usize {
        self.queued + self.reading
    }

    /// Runs being read.
    pub(super) fn runs(&self) -> usize {
        self.runs
    }

    /// Queues a request; false when the peer has asked for too much.
    pub(super) fn push(&mut self, run: Block) -> bool {
        let blocks = run.block_count() as usize;
        let room = self.waiting() + blocks <= REQQ as usize;
        if room {
            self.queue.push_back(run);
            self.queued += blocks;
        }
        room
    }

    /// Takes a block out of the queue; false when it is not there (any more).
    pub(super) fn cancel(&mut self, block: Block) -> bool {
        let mut parts = self.queue.iter().map(|queued| queued.around(block)).enumerate();
        let found = parts.find_map(|(at, around)| Some((at, around?)));
        let Some((at, around)) = found else { return false };
        self.queued -= self.queue[at].block_count() as usize;
        self.queue.remove(at);
        for part in around.into_iter().rev().filter(|part| part.len > 0) {
            self.queued += part.block_count() as usize;
            self.queue.insert(at, part);
        }
        true
    }

    /// Takes out every queued request for a piece that is not to be kept.
    pub(super) fn remove(&mut self, mut keep: impl FnMut(PieceIndex) -> bool) -> Vec<Block> {
        let mut removed = Vec::new();
        self.queue.retain(|run| {
            let stays = keep(run.piece);
            if !stays {
                self.queued -= run.block_count() as usize;
                removed.push(*run);
            }
            stays
        });
        removed
    }

    /// Takes out every queued request that a choke ends.
    pub(super) fn remove_ungranted(&mut self) -> Vec<Block> {
        let granted = std::mem::take(&mut self.granted);
        let given = self.grant > 0;
        let removed = self.remove(|piece| given && granted.contains(&piece));
        self.granted = granted;
        removed
    }

    /// Makes runs void that are being read.
    pub(super) fn start_epoch(&mut self) {
        self.epoch = self.epoch.wrapping_add(1);
    }

    /// The next neighbouring requests, up to `len_max` bytes but at least one.
    pub(super) fn next_run(&mut self, len_max: u32) -> Option<UploadRun> {
        let mut span = self.queue.pop_front()?;
        let mut requests = vec![span];
        while let Some(longer) = self.queue.front().and_then(|next| span.joined(*next))
            && longer.len <= len_max
        {
            span = longer;
            requests.extend(self.queue.pop_front());
        }
        let run = UploadRun { requests, epoch: self.epoch };
        self.queued -= run.block_count();
        self.reading += run.block_count();
        self.runs += 1;
        Some(run)
    }

    /// A run came back; false when a choke made it void.
    pub(super) fn finish(&mut self, run: &UploadRun) -> bool {
        self.reading -= run.block_count();
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

    /// More blocks are given away.
    pub(super) fn use_grant(&mut self, blocks: u32) {
        self.grant = self.grant.saturating_sub(blocks);
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
