//! One part of a file: where its bytes are in the torrent's pieces, and reading them run by run.

use std::sync::Arc;

use proto::tracker::json::parts_of;
use proto::{Block, PieceIndex};

use super::RUN_LEN;
use crate::disk::{ReadError, Storage};

/// A file of a torrent whose files are open.
#[derive(Debug, Clone)]
pub(crate) struct NamedFile {
    pub(super) storage: Arc<Storage>,
    /// Where it begins in the torrent.
    pub(super) offset: u64,
    /// Its length in bytes.
    pub(super) len: u64,
}

/// What of a part has not been read yet, as a stretch of the torrent.
#[derive(Debug)]
pub(super) struct Part {
    storage: Arc<Storage>,
    at: u64,
    end: u64,
}

impl NamedFile {
    /// Bytes in a part, but for the last.
    pub(super) fn part_len(&self) -> u32 {
        self.storage.geometry().nominal_piece_len()
    }

    pub(super) fn parts(&self) -> u32 {
        parts_of(self.len, self.part_len())
    }

    /// A part, from 0; `None` if there is no such part.
    pub(super) fn part(&self, index: u32) -> Option<Part> {
        if index >= self.parts() {
            return None;
        }
        let part_len = u64::from(self.part_len());
        let begin = u64::from(index) * part_len;
        let end = (begin + part_len).min(self.len);
        let storage = Arc::clone(&self.storage);
        Some(Part { storage, at: self.offset + begin, end: self.offset + end })
    }
}

impl Part {
    /// Bytes that are left.
    pub(super) const fn left(&self) -> u32 {
        (self.end - self.at) as u32
    }

    /// All of it can be read: we have every piece that it touches.
    pub(super) fn is_here(&self) -> bool {
        let mut rest = Self { storage: Arc::clone(&self.storage), at: self.at, end: self.end };
        std::iter::from_fn(|| rest.next_run()).all(|run| self.storage.is_servable(run))
    }

    /// Reads the next run into `buffer`, at once what memory holds, else on another thread. False when
    /// nothing is left.
    pub(super) async fn read(&mut self, buffer: &mut Vec<u8>) -> Result<bool, ReadError> {
        let Some(run) = self.next_run() else { return Ok(false) };
        buffer.resize(run.len as usize, 0);
        if self.storage.read_cached(run, buffer)? {
            return Ok(true);
        }
        let read = self.storage.read_later(run, std::mem::take(buffer));
        // A read that panicked has taken the buffer with it.
        let (given_back, result) = read.await.map_err(|_| ReadError::Absent)?;
        *buffer = given_back;
        result.map(|()| true)
    }

    /// The next bytes that lie in one piece.
    fn next_run(&mut self) -> Option<Block> {
        if self.at >= self.end {
            return None;
        }
        let piece_len = u64::from(self.storage.geometry().nominal_piece_len());
        let begin = self.at % piece_len;
        let len = (piece_len - begin).min(self.end - self.at).min(u64::from(RUN_LEN)) as u32;
        let piece = PieceIndex((self.at / piece_len) as u32);
        self.at += u64::from(len);
        Some(Block { piece, begin: begin as u32, len })
    }
}
