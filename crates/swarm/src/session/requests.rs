//! Our requests that are not answered yet, in the order in which they were sent.
//!
//! Peers answer in order nearly always, so the front is where to look first and what to expect next.

use std::collections::VecDeque;

use proto::{Block, PieceIndex};

#[derive(Debug, Default)]
pub(super) struct Requests {
    queue: VecDeque<Request>,
}

#[derive(Debug, Clone, Copy)]
struct Request {
    block: Block,
    /// A cancel was sent; the peer still owes an answer (BEP 6).
    cancelled: bool,
}

impl Requests {
    pub(super) fn len(&self) -> usize {
        self.queue.len()
    }

    pub(super) fn push(&mut self, block: Block) {
        self.queue.push_back(Request { block, cancelled: false });
    }

    /// The blocks that come next if the peer keeps the order.
    pub(super) fn expected(&self) -> impl Iterator<Item = Block> {
        self.queue.iter().map(|request| request.block)
    }

    pub(super) fn front(&self) -> Option<Block> {
        self.queue.front().map(|request| request.block)
    }

    pub(super) fn pop_front(&mut self) {
        self.queue.pop_front();
    }

    /// Takes the request for `block` out; false when there is none.
    pub(super) fn take(&mut self, block: Block) -> bool {
        if self.front() == Some(block) {
            self.queue.pop_front();
            return true;
        }
        let at = self.queue.iter().position(|request| request.block == block);
        at.and_then(|at| self.queue.remove(at)).is_some()
    }

    /// Marks the request for `block` as cancelled; false when there is none left to cancel.
    pub(super) fn cancel(&mut self, block: Block) -> bool {
        let mut live = self.queue.iter_mut().filter(|request| !request.cancelled);
        match live.find(|request| request.block == block) {
            Some(request) => {
                request.cancelled = true;
                true
            }
            None => false,
        }
    }

    /// Takes every request out, in order.
    pub(super) fn drain(&mut self) -> impl Iterator<Item = Block> {
        self.queue.drain(..).map(|request| request.block)
    }
}

/// The pieces that the peer lets us fetch while it chokes us (BEP 6).
#[derive(Debug, Default)]
pub(super) struct AllowedFast(Vec<PieceIndex>);

impl AllowedFast {
    /// Adds a piece; false when it is known already or there are too many.
    pub(super) fn insert(&mut self, piece: PieceIndex, limit: usize) -> bool {
        let new = self.0.len() < limit && !self.0.contains(&piece);
        if new {
            self.0.push(piece);
        }
        new
    }

    pub(super) fn contains(&self, piece: PieceIndex) -> bool {
        self.0.contains(&piece)
    }
}
