//! Scatter reads that put blocks where they belong without a copy.
//!
//! Peers answer in the order of the requests nearly always, so the next bytes can be foretold: the
//! rest of the block that is arriving, then a header of 13 known bytes, a block, a header, a block;
//! or, where a message carries a run of blocks, a header and many blocks.
//! The read lands in these places, with a spill buffer behind them. Afterwards the headers are
//! checked. From the first one that is not as foretold, the bytes are fed to the ordinary parser in
//! the order in which they arrived, which costs one copy of at most one read.

use std::collections::VecDeque;
use std::io::IoSliceMut;
use std::time::Instant;

use proto::Block;
use proto::peer::{BLOCK_HEADER_LEN, block_header};

use super::inbox::{Inbox, PartialBlock};
use super::receiving::behind;
use super::requests::Requests;
use super::{PeerFault, Session};
use crate::BlockBuf;
use crate::limits::session::{LANDING_BLOCKS, SPILL_LEN};

/// Where reads land.
#[derive(Debug)]
pub(super) struct Landing {
    /// Buffers for the next blocks, in order.
    stash: VecDeque<BlockBuf>,
    headers: [[u8; BLOCK_HEADER_LEN]; LANDING_BLOCKS],
    /// A place for a block each in the last offer, with the message whose header comes before it, if one does.
    offered: Vec<Option<Block>>,
    spill: Box<[u8]>,
}

impl Default for Landing {
    fn default() -> Self {
        Self {
            stash: VecDeque::with_capacity(LANDING_BLOCKS),
            headers: [[0; BLOCK_HEADER_LEN]; LANDING_BLOCKS],
            offered: Vec::with_capacity(LANDING_BLOCKS),
            spill: vec![0; SPILL_LEN].into(),
        }
    }
}

impl Landing {
    /// A buffer for a block that came otherwise than foretold.
    pub(super) fn take_buffer(&mut self) -> BlockBuf {
        self.stash.pop_front().unwrap_or_default()
    }

    /// Foretells what comes behind the block that is arriving.
    fn plan(&mut self, inbox: &Inbox, requests: &Requests) {
        self.offered.clear();
        // Nobody asked for what is arriving: what follows is not foretold either.
        if inbox.partial.as_ref().is_some_and(|partial| partial.buffer.is_none()) {
            return;
        }
        let places = self.stash.len().min(LANDING_BLOCKS);
        let mut rest = inbox.rest;
        for (at, block) in requests.expected().take(places).enumerate() {
            let begun = rest.is_some();
            let run = rest.unwrap_or_else(|| requests.run_at(at));
            if run.blocks().next() != Some(block) {
                return;
            }
            if !begun {
                self.headers[at] = block_header(run);
                if at == 0 && !self.headers[0].starts_with(&inbox.bytes) {
                    return;
                }
            }
            self.offered.push((!begun).then_some(run));
            rest = behind(run, block);
        }
    }
}

impl Session {
    /// How many buffers the next read could use beyond those that were supplied.
    #[must_use]
    pub fn buffers_wanted(&self) -> usize {
        self.requests.len().min(LANDING_BLOCKS).saturating_sub(self.landing.stash.len())
    }

    /// Gives a buffer for blocks to come.
    pub fn supply(&mut self, buffer: BlockBuf) {
        self.landing.stash.push_back(buffer);
    }

    /// Takes the unused buffers back, when the connection ends or rests.
    pub fn reclaim(&mut self) -> impl Iterator<Item = BlockBuf> {
        self.landing.stash.drain(..)
    }

    /// Where the next read should go. To be followed by [`Session::received`].
    pub fn landing<'a>(&'a mut self, slices: &mut impl Extend<IoSliceMut<'a>>) {
        let Self { inbox, landing, requests, .. } = self;
        landing.plan(inbox, requests);
        let cut = inbox.bytes.len();
        if let Some(PartialBlock { block, buffer: Some(buffer), filled }) = &mut inbox.partial {
            let rest = &mut buffer.space()[*filled as usize..block.len as usize];
            slices.extend([IoSliceMut::new(rest)]);
        }
        let Landing { stash, headers, offered, .. } = landing;
        let buffers = headers.iter_mut().zip(stash).zip(requests.expected());
        for (number, (message, ((header, buffer), block))) in
            offered.iter().zip(buffers).enumerate()
        {
            if message.is_some() {
                let known = if number == 0 { cut } else { 0 };
                slices.extend([IoSliceMut::new(&mut header[known..])]);
            }
            slices.extend([IoSliceMut::new(&mut buffer.space()[..block.len as usize])]);
        }
        slices.extend([IoSliceMut::new(&mut landing.spill)]);
    }

    /// `len` bytes arrived in what [`Session::landing`] offered.
    ///
    /// # Panics
    /// If that is more than was offered.
    pub fn received(&mut self, now: Instant, len: usize) -> Result<(), PeerFault> {
        if len > 0 {
            self.last_heard = now;
        }
        let result = self.settle(len);
        self.landing.offered.clear();
        self.note_pending(now);
        result
    }

    fn settle(&mut self, mut len: usize) -> Result<(), PeerFault> {
        if let Some(partial) = self.inbox.partial.as_mut().filter(|p| p.buffer.is_some()) {
            let taken = len.min(partial.missing());
            partial.filled += taken as u32;
            len -= taken;
            self.finish_block();
        }
        for number in 0..self.landing.offered.len() {
            if len == 0 {
                return Ok(());
            }
            let mut run = self.inbox.rest;
            if let Some(message) = self.landing.offered[number] {
                let missing = BLOCK_HEADER_LEN - self.inbox.bytes.len();
                if len < missing || block_header(message) != self.landing.headers[number] {
                    return self.settle_otherwise(number, len);
                }
                self.inbox.bytes.clear();
                len -= missing;
                run = Some(message);
            }
            let Some(block) = self.requests.front() else { break };
            self.requests.pop_front();
            let filled = len.min(block.len as usize);
            len -= filled;
            let buffer = Some(self.landing.take_buffer());
            self.inbox.partial = Some(PartialBlock { block, buffer, filled: filled as u32 });
            self.inbox.rest = run.and_then(|run| behind(run, block));
            self.finish_block();
        }
        self.settle_spill(len)
    }

    /// The header of that number is not what was foretold, or it is cut: from there on, `len` bytes go to
    /// the parser.
    fn settle_otherwise(&mut self, number: usize, mut len: usize) -> Result<(), PeerFault> {
        let offered = self.landing.offered.split_off(number);
        let headers = self.landing.headers;
        let data_lens: Vec<_> =
            self.requests.expected().map(|block| block.len as usize).take(offered.len()).collect();
        let landed: Vec<_> = self.landing.stash.drain(..offered.len()).collect();
        let mut known = self.inbox.bytes.len();
        let mut take = |whole: usize| {
            let taken = len.min(whole);
            len -= taken;
            taken
        };
        let mut result = Ok(());
        let places = headers[number..].iter().zip(offered).zip(landed).zip(data_lens);
        for (((header, message), mut buffer), data_len) in places {
            if message.is_some() {
                let header = &header[std::mem::take(&mut known)..];
                let header = &header[..take(header.len())];
                result = result.and_then(|()| self.feed(header));
            }
            let data = &buffer.space()[..take(data_len)];
            result = result.and_then(|()| self.feed(data));
            // Emptied, it serves the blocks that follow.
            self.landing.stash.push_back(buffer);
        }
        result.and_then(|()| self.settle_spill(len))
    }

    fn settle_spill(&mut self, len: usize) -> Result<(), PeerFault> {
        if len == 0 {
            return Ok(());
        }
        let spill = std::mem::take(&mut self.landing.spill);
        let result = self.feed(&spill[..len]);
        self.landing.spill = spill;
        result
    }
}
