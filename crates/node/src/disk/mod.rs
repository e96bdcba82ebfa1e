//! Files: opening what is there, reading, checking and writing pieces, and making them durable.
//!
//! * [`Storage`] is one torrent's files. Connections read from it; [`Disk`] writes to it.
//! * [`Disk`] owns the threads, those of each disk apart: workers check each piece in memory and write it
//!   with one call a file; one thread syncs.
//!
//! Invariant: data is written, then synced, then recorded as there. HAVE may be told as soon as a
//! piece is verified and written; only the record waits for the sync.
//! Invariant: nothing is written to a file that we did not make, nothing is replaced, and no path
//! leads out of the folder or through a symbolic link.

mod budget;
mod checkpoint;
mod clone;
mod copies;
mod descriptors;
mod error;
mod identity;
mod journal;
mod lanes;
mod names;
mod open;
mod parts;
mod pool;
mod read;
mod recheck;
pub(crate) mod relocate;
mod renames;
mod reuse;
mod root;
mod settle;
mod shared;
mod storage;
mod survey;
pub mod switch;
mod waiting;
mod worker;
mod write;

#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use swarm::DiskJob;

use crate::record::Records;

pub(crate) use budget::Allowance;
pub use error::{NoRoom, OpenError, ReadError, StorageEvent};
pub use identity::FileIdentity;
pub use open::{OpenArgs, Opened};
pub use pool::BlockPool;
pub use renames::{RenameError, Renames};
pub use storage::Storage;
pub(crate) use waiting::Read;

use shared::{Job, Shared};

/// How the disk's threads behave.
#[derive(Debug, Clone)]
pub struct DiskConfig {
    /// Threads that check and write, for each disk.
    pub workers: usize,
    /// Written bytes after which a torrent is synced.
    pub sync_bytes: u64,
    /// Time after which what was written is synced at the latest.
    pub sync_interval: Duration,
    /// Bytes of pieces that all torrents together may have on their way to disks, beside two pieces each.
    pub memory: u64,
    /// Files to keep open; a quarter of the process's limit, at most 256, when `None`.
    pub open_files: Option<usize>,
}

impl Default for DiskConfig {
    fn default() -> Self {
        Self {
            workers: 2,
            // What a crash may cost, against a sync that pays.
            sync_bytes: 64 << 20,
            sync_interval: Duration::from_secs(2),
            memory: 256 << 20,
            open_files: None,
        }
    }
}

/// The threads that check, write and sync, for all torrents of a process.
pub struct Disk {
    shared: Arc<Shared>,
}

impl Disk {
    /// The threads of a disk start when the first torrent that lies there is opened.
    #[must_use]
    pub fn new(config: DiskConfig, records: Arc<Records>, pool: Arc<BlockPool>) -> Self {
        Self { shared: Arc::new(Shared::new(config, records, pool)) }
    }

    /// Hands a job to the workers; never waits. It ends in exactly one [`StorageEvent::Disk`] on the
    /// storage's channel. How many are under way is bounded by the swarm's credit.
    pub fn submit(&self, storage: &Arc<Storage>, job: DiskJob) {
        storage.lane.jobs.push(Job::Store(storage.clone(), job));
    }

    /// As [`Disk::submit`] for a batch: workers are woken once.
    pub fn submit_all(&self, storage: &Arc<Storage>, jobs: impl IntoIterator<Item = DiskJob>) {
        let jobs = jobs.into_iter().map(|job| Job::Store(storage.clone(), job));
        storage.lane.jobs.push_all(jobs);
    }

    /// The buffers that jobs come in and go back to.
    #[must_use]
    pub fn pool(&self) -> &Arc<BlockPool> {
        &self.shared.pool
    }

    /// The record.
    #[must_use]
    pub fn records(&self) -> &Arc<Records> {
        &self.shared.records
    }

    /// Does what is queued, syncs and records all that was written, and ends the threads. Blocks.
    /// Close each storage before ([`Storage::close`]), so that its record says that it ended well.
    pub fn stop(&self) {
        self.shared.lanes.stop_workers();
        self.shared.lanes.stop_syncs();
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        self.stop();
    }
}

impl std::fmt::Debug for Disk {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Disk").field("config", &self.shared.config).finish_non_exhaustive()
    }
}
