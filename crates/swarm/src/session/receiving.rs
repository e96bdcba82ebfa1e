//! Bytes in, in whatever portions.

use std::time::Instant;

use proto::Block;
use proto::peer::frame::BITFIELD_LEN_UNKNOWN;
use proto::peer::{BLOCK_HEADER_LEN, Message};

use super::inbox::{Next, PartialBlock, next};
use super::{PeerFault, Session};
use crate::PeerEvent;
use crate::limits::session::CONTROL_SOFT_LEN;

impl Session {
    /// Bytes arrived that did not go through [`Session::landing`].
    pub fn handle_bytes(&mut self, now: Instant, bytes: &[u8]) -> Result<(), PeerFault> {
        if !bytes.is_empty() {
            self.last_heard = now;
        }
        let result = self.feed(bytes);
        self.note_pending(now);
        result
    }

    pub(super) fn feed(&mut self, mut bytes: &[u8]) -> Result<(), PeerFault> {
        while !bytes.is_empty() {
            if let Some(partial) = &mut self.inbox.partial {
                bytes = partial.fill(bytes);
                self.finish_block();
            } else if let Some(rest) = self.inbox.rest.take() {
                self.start_block(rest)?;
            } else if self.inbox.bytes.is_empty() {
                let taken = self.feed_message(bytes)?;
                if taken == 0 {
                    self.inbox.bytes.extend_from_slice(bytes);
                    return Ok(());
                }
                bytes = &bytes[taken..];
            } else {
                bytes = self.feed_cut(bytes)?;
            }
        }
        Ok(())
    }

    /// Handles the message at the front of `bytes`, of a block only the header. Returns the bytes it
    /// takes up, 0 when it is cut.
    fn feed_message(&mut self, bytes: &[u8]) -> Result<usize, PeerFault> {
        match next(bytes, self.bitfield_len())? {
            Next::Need(_) => Ok(0),
            Next::KeepAlive => Ok(4),
            Next::Message(id, len) => {
                self.on_message(Message::decode(id, &bytes[5..len])?)?;
                Ok(len)
            }
            Next::Block(run) => {
                self.start_block(run)?;
                Ok(BLOCK_HEADER_LEN)
            }
        }
    }

    /// Adds to the cut message just what it needs, then handles it. Returns the bytes that are left.
    fn feed_cut<'a>(&mut self, mut bytes: &'a [u8]) -> Result<&'a [u8], PeerFault> {
        while let Next::Need(len) = next(&self.inbox.bytes, self.bitfield_len())? {
            let missing = len - self.inbox.bytes.len();
            let (more, rest) = bytes.split_at(missing.min(bytes.len()));
            self.inbox.bytes.extend_from_slice(more);
            if more.len() < missing {
                return Ok(rest);
            }
            bytes = rest;
        }
        let mut message = std::mem::take(&mut self.inbox.bytes);
        self.feed_message(&message)?;
        message.clear();
        message.shrink_to(CONTROL_SOFT_LEN);
        self.inbox.bytes = message;
        Ok(bytes)
    }

    fn bitfield_len(&self) -> u32 {
        let known = self.torrent.as_ref().map(|torrent| torrent.geometry.piece_count());
        known.map_or(BITFIELD_LEN_UNKNOWN, |pieces| pieces.div_ceil(8))
    }

    /// The next thing that comes is the first block of this run, or of this rest of one.
    fn start_block(&mut self, run: Block) -> Result<(), PeerFault> {
        let block = run.blocks().next().unwrap_or(run);
        let buffer = if self.requests.take(block) {
            Some(self.landing.take_buffer())
        } else if self.config.connected.fast {
            return Err(PeerFault::UnsolicitedBlock);
        } else {
            // One that was cancelled, or dropped by a choke, most likely.
            None
        };
        self.inbox.partial = Some(PartialBlock { block, buffer, filled: 0 });
        self.inbox.rest = behind(run, block);
        self.finish_block();
        Ok(())
    }

    /// If the block that is arriving is complete, tells of it.
    pub(super) fn finish_block(&mut self) {
        let complete = self.inbox.partial.take_if(|partial| partial.missing() == 0);
        if let Some(PartialBlock { block, buffer: Some(mut buffer), .. }) = complete {
            buffer.set_len(block.len);
            self.events.push(PeerEvent::Block(block, buffer));
        }
    }
}

/// What is left of a run behind its first block.
pub(super) fn behind(run: Block, first: Block) -> Option<Block> {
    run.around(first).map(|[_, behind]| behind).filter(|behind| behind.len > 0)
}
