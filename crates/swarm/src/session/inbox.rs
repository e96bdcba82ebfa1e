//! Cuts the stream into messages, whatever the pieces it arrives in.
//!
//! A message that is there as a whole is read where it lies. A block goes straight to its own buffer.
//! Only a message that is cut by the end of what arrived is copied, once.

use proto::peer::{BLOCK_HEADER_LEN, Head, Id, decode_block_header};
use proto::{Block, DecodeError};

use crate::BlockBuf;

/// Bytes that tell kind and length of any message.
const HEAD_LEN: usize = 5;

/// The start of a message, or the whole of one that is cut.
#[derive(Debug, Default)]
pub(super) struct Inbox {
    pub(super) bytes: Vec<u8>,
    pub(super) partial: Option<PartialBlock>,
    /// What follows it in the same message.
    pub(super) rest: Option<Block>,
}

/// A block that is arriving.
#[derive(Debug)]
pub(super) struct PartialBlock {
    pub(super) block: Block,
    /// Where its data goes; nowhere when nobody asked for it (any more).
    pub(super) buffer: Option<BlockBuf>,
    pub(super) filled: u32,
}

impl PartialBlock {
    pub(super) fn missing(&self) -> usize {
        (self.block.len - self.filled) as usize
    }

    /// Takes what it needs off the front of `bytes`.
    pub(super) fn fill<'a>(&mut self, bytes: &'a [u8]) -> &'a [u8] {
        let (taken, rest) = bytes.split_at(bytes.len().min(self.missing()));
        if let Some(buffer) = &mut self.buffer {
            let start = self.filled as usize;
            buffer.space()[start..start + taken.len()].copy_from_slice(taken);
        }
        self.filled += taken.len() as u32;
        rest
    }
}

/// What the front of the stream is.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// Cannot be told before there are that many bytes.
    Need(usize),
    /// A message that takes up four bytes.
    KeepAlive,
    /// A message that takes up that many bytes, all there.
    Message(Id, usize),
    /// The header of a block or a run of them; the data follows.
    Block(Block),
}

/// What `bytes`, at the start of a message, are.
pub(super) fn next(bytes: &[u8], bitfield_len: u32) -> Result<Next, DecodeError> {
    Ok(match Head::decode(bytes, bitfield_len)? {
        None => Next::Need(if bytes.len() < HEAD_LEN - 1 { HEAD_LEN - 1 } else { HEAD_LEN }),
        Some(Head::KeepAlive) => Next::KeepAlive,
        Some(Head::Message(Id::Block, _)) => {
            let header = bytes.first_chunk::<BLOCK_HEADER_LEN>().and_then(decode_block_header);
            header.map_or(Next::Need(BLOCK_HEADER_LEN), Next::Block)
        }
        Some(Head::Message(id, len)) => {
            let whole = HEAD_LEN + len as usize;
            if bytes.len() < whole { Next::Need(whole) } else { Next::Message(id, whole) }
        }
    })
}

#[cfg(test)]
mod tests {
    use proto::PieceIndex;
    use proto::peer::block_header;

    use super::*;

    #[test]
    fn the_bytes_needed_are_told_step_by_step() {
        let have = [0, 0, 0, 5, 4, 0, 0, 0, 9];
        assert_eq!(next(&have[..3], 0), Ok(Next::Need(4)));
        assert_eq!(next(&have[..4], 0), Ok(Next::Need(5)));
        assert_eq!(next(&have[..5], 0), Ok(Next::Need(9)));
        assert_eq!(next(&have, 0), Ok(Next::Message(Id::Have, 9)));
        assert_eq!(next(&[0; 4], 0), Ok(Next::KeepAlive));
        let block = Block { piece: PieceIndex(1), begin: 2, len: 3 };
        let header = block_header(block);
        assert_eq!(next(&header[..12], 0), Ok(Next::Need(13)));
        assert_eq!(next(&header, 0), Ok(Next::Block(block)));
    }
}
