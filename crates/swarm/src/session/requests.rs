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
    /// It was asked for in one message with the one before it.
    joined: bool,
    /// A cancel was sent; the peer still owes an answer (BEP 6).
    cancelled: bool,
}

impl Requests {
    pub(super) fn len(&self) -> usize {
        self.queue.len()
    }

    /// Adds the blocks that one message asks for.
    pub(super) fn push(&mut self, run: Block) {
        let requests = run.blocks().map(|block| {
            let joined = block.begin != run.begin;
            Request { block, joined, cancelled: false }
        });
        self.queue.extend(requests);
    }

    /// The blocks that come next if the peer keeps the order.
    pub(super) fn expected(&self) -> impl Iterator<Item = Block> {
        self.queue.iter().map(|request| request.block)
    }

    /// The run that the block at that place starts, as far as one message asked for it.
    ///
    /// # Panics
    /// If there are not that many.
    pub(super) fn run_at(&self, at: usize) -> Block {
        let rest = self.queue.range(at + 1..).take_while(|next| next.joined);
        rest.fold(self.queue[at].block, |run, next| run.joined(next.block).unwrap_or(run))
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
        at.inspect(|at| self.part(at + 1)).and_then(|at| self.queue.remove(at)).is_some()
    }

    /// What comes from there on is a message of its own.
    fn part(&mut self, at: usize) {
        if let Some(request) = self.queue.get_mut(at) {
            request.joined = false;
        }
    }

    /// Marks the request for `block` as cancelled; false when there is none left to cancel.
    pub(super) fn cancel(&mut self, block: Block) -> bool {
        let is_it = |request: &Request| !request.cancelled && request.block == block;
        let Some(at) = self.queue.iter().position(is_it) else { return false };
        self.queue[at].cancelled = true;
        self.part(at);
        self.part(at + 1);
        true
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
