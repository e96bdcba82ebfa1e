//! A message on its way through a lane: which 64-byte blocks come next.
//!
//! Stretches of whole blocks are handed out where they lie. Only a block that crosses from one part
//! into the next, and the closing ones with the padding (FIPS 180-4 section 5.1), are put together in
//! the lane's own memory.

use super::{BLOCK, STEP_BLOCKS_MAX};

/// A stretch of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part<'a> {
    /// These bytes.
    Bytes(&'a [u8]),
    /// So many zero bytes, such as a pad file's (BEP 47).
    Zeros(u64),
}

impl Part<'_> {
    /// Its length in bytes.
    #[must_use]
    pub const fn len(&self) -> u64 {
        match self {
            Self::Bytes(bytes) => bytes.len() as u64,
            Self::Zeros(len) => *len,
        }
    }

    /// It has no bytes.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// Zeros to hash where a message has no memory of its own.
pub(super) static ZEROS: [[u8; BLOCK]; STEP_BLOCKS_MAX] = [[0; BLOCK]; STEP_BLOCKS_MAX];

/// One message and how far it is.
pub(super) struct Lane<'a> {
    message: usize,
    len: u64,
    /// What is left of the current part.
    part: Part<'a>,
    /// The parts after it.
    parts: &'a [Part<'a>],
    /// Blocks put together here: `own[own_next..own_end]` are still to be hashed.
    own: [[u8; BLOCK]; 2],
    own_next: usize,
    own_end: usize,
    closed: bool,
}

impl<'a> Lane<'a> {
    /// Starts the message with that number: `first`, then `rest`.
    pub(super) fn new(message: usize, first: Part<'a>, rest: &'a [Part<'a>]) -> Self {
        let len = first.len() + rest.iter().map(Part::len).sum::<u64>();
        let own = [[0; BLOCK]; 2];
        let mut lane = Self {
            message,
            len,
            part: first,
            parts: rest,
            own,
            own_next: 0,
            own_end: 0,
            closed: false,
        };
        lane.settle();
        lane
    }

    /// The message's number.
    pub(super) const fn message(&self) -> usize {
        self.message
    }

    /// All is hashed.
    pub(super) const fn is_finished(&self) -> bool {
        self.closed && self.own_next == self.own_end
    }

    /// The blocks to hash next, at most [`STEP_BLOCKS_MAX`]; none when finished.
    pub(super) fn run(&self) -> &[[u8; BLOCK]] {
        if self.own_next < self.own_end {
            return &self.own[self.own_next..self.own_end];
        }
        match self.part {
            Part::Bytes(bytes) => {
                let blocks = bytes.as_chunks().0;
                &blocks[..blocks.len().min(STEP_BLOCKS_MAX)]
            }
            Part::Zeros(len) => &ZEROS[..(len / BLOCK as u64).min(STEP_BLOCKS_MAX as u64) as usize],
        }
    }

    /// The first `blocks` of [`Self::run`] are hashed.
    pub(super) fn advance(&mut self, blocks: usize) {
        if self.own_next < self.own_end {
            self.own_next += blocks;
        } else {
            self.skip(blocks * BLOCK);
        }
        self.settle();
    }

    fn skip(&mut self, len: usize) {
        self.part = match self.part {
            Part::Bytes(bytes) => Part::Bytes(&bytes[len..]),
            Part::Zeros(zeros) => Part::Zeros(zeros - len as u64),
        };
    }

    /// Makes sure that [`Self::run`] has something, unless all is hashed.
    fn settle(&mut self) {
        if self.closed || self.own_next < self.own_end {
            return;
        }
        let mut filled = 0;
        while filled < BLOCK {
            let left = self.part.len();
            if filled == 0 && left >= BLOCK as u64 {
                return;
            }
            if left > 0 {
                let take = left.min((BLOCK - filled) as u64) as usize;
                let into = &mut self.own[0][filled..filled + take];
                match self.part {
                    Part::Bytes(bytes) => into.copy_from_slice(&bytes[..take]),
                    Part::Zeros(_) => into.fill(0),
                }
                self.skip(take);
                filled += take;
            } else if let [next, rest @ ..] = self.parts {
                (self.part, self.parts) = (*next, rest);
            } else {
                self.close(filled);
                return;
            }
        }
        (self.own_next, self.own_end) = (0, 1);
    }

    /// Ends the message, whose last `filled` bytes are in the first own block.
    fn close(&mut self, filled: usize) {
        let own = self.own.as_flattened_mut();
        own[filled..].fill(0);
        own[filled] = 0x80;
        let end = if filled < BLOCK - 8 { BLOCK } else { 2 * BLOCK };
        own[end - 8..end].copy_from_slice(&(self.len << 3).to_be_bytes());
        (self.own_next, self.own_end, self.closed) = (0, end / BLOCK, true);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The blocks that a message becomes, however the lane cuts them.
    fn blocks(parts: &[Part<'_>]) -> Vec<[u8; BLOCK]> {
        let mut lane = Lane::new(0, Part::Zeros(0), parts);
        let mut all = Vec::new();
        while !lane.is_finished() {
            all.extend_from_slice(lane.run());
            lane.advance(lane.run().len());
        }
        all
    }

    #[test]
    fn padding_takes_a_second_block_only_when_it_must() {
        let bytes = [7; 200];
        let count = |len| blocks(&[Part::Bytes(&bytes[..len])]).len();
        assert_eq!([0, 55, 56, 63, 64, 119, 120].map(count), [1, 1, 2, 2, 2, 2, 3]);
    }

    #[test]
    fn parts_make_the_same_blocks_as_the_whole() {
        let bytes: Vec<u8> = (0..40_000_u32).map(|i| (i % 251) as u8).collect();
        let (left, right) = bytes.split_at(12_345);
        let cut = [Part::Bytes(left), Part::Bytes(&[]), Part::Zeros(0), Part::Bytes(right)];
        assert_eq!(blocks(&cut), blocks(&[Part::Bytes(&bytes)]));
        assert_eq!(blocks(&[Part::Zeros(70_001)]), blocks(&[Part::Bytes(&[0; 70_001])]));
    }
}
