//! Scatter reads that put blocks where they belong without a copy.
//!
//! Peers answer in the order of the requests nearly always, so the next bytes can be foretold: the
//! rest of the block that is arriving, then a header of 13 known bytes, a block, a header, a block.
//! The read lands in these places, with a spill buffer behind them. Afterwards the headers are
//! checked. From the first one that is not as foretold, the bytes are fed to the ordinary parser in
//! the order in which they arrived, which costs one copy of at most one read.

use std::collections::VecDeque;
use std::io::IoSliceMut;
use std::time::Instant;

use proto::peer::{BLOCK_HEADER_LEN, block_header};

use super::inbox::PartialBlock;
use super::{PeerFault, Session};
use crate::BlockBuf;
use crate::limits::session::{LANDING_BLOCKS, SPILL_LEN};

/// Where reads land.
#[derive(Debug)]
pub(super) struct Landing {
    /// Buffers for the next blocks, in order.
    stash: VecDeque<BlockBuf>,
    headers: [[u8; BLOCK_HEADER_LEN]; LANDING_BLOCKS],
    /// Header and block pairs in the last offer.
    offered: usize,
    spill: Box<[u8]>,
}

impl Default for Landing {
    fn default() -> Self {
        Self {
            stash: VecDeque::with_capacity(LANDING_BLOCKS),
            headers: [[0; BLOCK_HEADER_LEN]; LANDING_BLOCKS],
            offered: 0,
            spill: vec![0; SPILL_LEN].into(),
        }
    }
}

impl Landing {
    /// A buffer for a block that came otherwise than foretold.
    pub(super) fn take_buffer(&mut self) -> BlockBuf {
        self.stash.pop_front().unwrap_or_default()
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
        let cut = inbox.bytes.len();
        let mut pairs = requests.len().min(landing.stash.len()).min(LANDING_BLOCKS);
        for (header, block) in landing.headers[..pairs].iter_mut().zip(requests.expected()) {
            *header = block_header(block);
        }
        let fits = landing.headers.first().is_some_and(|header| header.starts_with(&inbox.bytes));
        let discards = inbox.partial.as_ref().is_some_and(|partial| partial.buffer.is_none());
        if discards || (cut > 0 && !fits) {
            pairs = 0;
        }
        landing.offered = pairs;
        if let Some(PartialBlock { block, buffer: Some(buffer), filled }) = &mut inbox.partial {
            let rest = &mut buffer.space()[*filled as usize..block.len as usize];
            slices.extend([IoSliceMut::new(rest)]);
        }
        let places = landing.headers.iter_mut().zip(&mut landing.stash).zip(requests.expected());
        slices.extend(places.take(pairs).enumerate().flat_map(
            |(number, ((header, buffer), block))| {
                let known = if number == 0 { cut } else { 0 };
                let data = &mut buffer.space()[..block.len as usize];
                [IoSliceMut::new(&mut header[known..]), IoSliceMut::new(data)]
            },
        ));
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
        self.landing.offered = 0;
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
        for number in 0..self.landing.offered {
            if len == 0 {
                return Ok(());
            }
            let known = self.inbox.bytes.len();
            let header = self.landing.headers[number];
            let missing = BLOCK_HEADER_LEN - known;
            let foretold = self.requests.front().filter(|block| block_header(*block) == header);
            let (true, Some(block)) = (len >= missing, foretold) else {
                return self.settle_otherwise(number, len);
            };
            self.inbox.bytes.clear();
            self.requests.pop_front();
            len -= missing;
            let filled = len.min(block.len as usize);
            len -= filled;
            let buffer = Some(self.landing.take_buffer());
            self.inbox.partial = Some(PartialBlock { block, buffer, filled: filled as u32 });
            self.finish_block();
        }
        self.settle_spill(len)
    }

    /// The pair of that number is not what was foretold, or its header is cut: from there on, `len`
    /// bytes go to the parser.
    fn settle_otherwise(&mut self, number: usize, mut len: usize) -> Result<(), PeerFault> {
        let pairs = self.landing.offered - number;
        let headers = self.landing.headers;
        let data_lens: Vec<_> =
            self.requests.expected().take(pairs).map(|block| block.len as usize).collect();
        let landed: Vec<_> = self.landing.stash.drain(..pairs).collect();
        let mut known = self.inbox.bytes.len();
        let mut take = |whole: usize| {
            let taken = len.min(whole);
            len -= taken;
            taken
        };
        let mut result = Ok(());
        for ((header, mut buffer), data_len) in headers[number..].iter().zip(landed).zip(data_lens)
        {
            let header = &header[std::mem::take(&mut known)..];
            let header = &header[..take(header.len())];
            let data = &buffer.space()[..take(data_len)];
            result = result.and_then(|()| self.feed(header)).and_then(|()| self.feed(data));
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
