//! Reading files of a torrent while they come: what is there at once, what is not when it is.
//!
//! A [`Reader`] tells the swarm where it stands, so that what it needs is fetched first, and waits.
//!
//! Invariant: it gives out only bytes of pieces that were verified, and holds no more than one run of
//! them. When it is dropped, nothing is fetched for it any more.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use proto::metainfo::Info;
use proto::{Block, FileIndex, PieceIndex};
use swarm::{Command, ReaderKey};
use tokio::sync::mpsc::UnboundedSender;
use tokio::sync::watch;

use crate::disk::{ReadError, Storage};
use crate::torrent::Input;

/// A torrent whose files are open and can be read.
#[derive(Debug, Clone)]
pub struct Reading {
    storage: Arc<Storage>,
    torrent: UnboundedSender<Input>,
    arrived: watch::Receiver<()>,
}

/// Somebody who reads a part of a file from its beginning to its end.
#[derive(Debug)]
pub struct Reader {
    key: ReaderKey,
    storage: Arc<Storage>,
    torrent: UnboundedSender<Input>,
    arrived: watch::Receiver<()>,
    /// What is left, in bytes of the torrent's space.
    rest: Range<u64>,
    /// What the swarm knows of it.
    told: Option<PieceIndex>,
}

impl Reading {
    pub(crate) const fn new(
        storage: Arc<Storage>,
        torrent: UnboundedSender<Input>,
        arrived: watch::Receiver<()>,
    ) -> Self {
        Self { storage, torrent, arrived }
    }

    /// What the torrent is.
    #[must_use]
    pub fn info(&self) -> &Arc<Info> {
        self.storage.info()
    }

    /// The file is wanted, or all of it is there: who reads it gets to its end.
    #[must_use]
    pub fn is_readable(&self, file: FileIndex) -> bool {
        self.storage.is_wanted(file) || self.storage.is_whole(file)
    }

    /// Somebody who reads these bytes of a file, cut to its length.
    #[must_use]
    pub fn read(&self, file: FileIndex, range: Range<u64>) -> Reader {
        let (offset, len) =
            self.info().files().get(file.0 as usize).map_or((0, 0), |file| (file.offset, file.len));
        let end = range.end.min(len);
        let reader = Reader {
            key: ReaderKey(NEXT.fetch_add(1, Ordering::Relaxed)),
            storage: self.storage.clone(),
            torrent: self.torrent.clone(),
            arrived: self.arrived.clone(),
            rest: offset + range.start.min(end)..offset + end,
            told: None,
        };
        tracing::debug!(reader = reader.key.0, file = file.0, ?range, "somebody reads");
        reader
    }
}

impl Reader {
    /// Bytes that are left.
    #[must_use]
    pub const fn left(&self) -> u64 {
        self.rest.end - self.rest.start
    }

    /// Puts the next bytes into `buffer`, as soon as they are there: at most 256 KiB. False at the end.
    pub async fn read(&mut self, buffer: &mut Vec<u8>) -> Result<bool, ReadError> {
        loop {
            let Some(run) = self.next_run() else { return Ok(false) };
            self.arrived.borrow_and_update();
            self.tell(run.piece);
            if self.storage.is_servable(run) {
                match self.read_run(run, buffer).await {
                    Ok(()) => {
                        self.rest.start += u64::from(run.len);
                        return Ok(true);
                    }
                    // Its file changed: it is checked, or fetched, once more.
                    Err(ReadError::Changed { .. } | ReadError::Absent) => {}
                    Err(error @ ReadError::Io { .. }) => return Err(error),
                }
            }
            // The torrent has ended: nothing comes any more.
            self.arrived.changed().await.map_err(|_| ReadError::Absent)?;
        }
    }

    /// What memory holds at once, anything else on another thread.
    async fn read_run(&self, run: Block, buffer: &mut Vec<u8>) -> Result<(), ReadError> {
        buffer.resize(run.len as usize, 0);
        if self.storage.read_cached(run, buffer)? {
            return Ok(());
        }
        let read = self.storage.read_later(run, std::mem::take(buffer));
        // A read that panicked has taken the buffer with it.
        let (given_back, result) = read.await.map_err(|_| ReadError::Absent)?;
        *buffer = given_back;
        result
    }

    fn next_run(&self) -> Option<Block> {
        if self.rest.is_empty() {
            return None;
        }
        let piece_len = u64::from(self.storage.geometry().nominal_piece_len());
        let (begin, left) = (self.rest.start % piece_len, self.rest.end - self.rest.start);
        let len = (piece_len - begin).min(left).min(RUN_LEN) as u32;
        let piece = PieceIndex((self.rest.start / piece_len) as u32);
        Some(Block { piece, begin: begin as u32, len })
    }

    /// Each piece is told once.
    fn tell(&mut self, piece: PieceIndex) {
        if self.told.replace(piece) != Some(piece) {
            let command = Command::Read(self.key, self.rest.clone());
            // If the torrent has ended, that shows when something is missing.
            let _ = self.torrent.send(Input::Command(command));
        }
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        tracing::debug!(reader = self.key.0, "a reader left");
        // A torrent that has ended fetches nothing.
        let _ = self.torrent.send(Input::Command(Command::ReadEnded(self.key)));
    }
}

static NEXT: AtomicU64 = AtomicU64::new(1);
/// Bytes that are read at once.
const RUN_LEN: u64 = 256 << 10;
