//! Files: opening what is there, reading, checking and writing pieces, and making them durable.
//!
//! * [`Storage`] is one torrent's files. Connections read from it; [`Disk`] writes to it.
//! * [`Disk`] owns the threads: workers check each piece in memory and write it with one call a file;
//!   one thread syncs.
//!
//! Invariant: data is written, then synced, then recorded as there. HAVE may be told as soon as a
//! piece is verified and written; only the record waits for the sync.
//! Invariant: nothing is written to a file that we did not make, nothing is replaced, and no path
//! leads out of the folder or through a symbolic link.

mod checkpoint;
mod clone;
mod copies;
mod descriptors;
mod error;
mod identity;
mod journal;
mod names;
mod open;
mod parts;
mod pool;
mod read;
mod recheck;
mod reuse;
mod root;
mod settle;
mod shared;
mod storage;
mod survey;
pub mod switch;
mod worker;
mod write;

#[cfg(test)]
mod tests;

use std::io;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use parking_lot::Mutex;
use swarm::DiskJob;

use crate::record::Records;

pub use error::{OpenError, ReadError, StorageEvent};
pub use identity::FileIdentity;
pub use open::{OpenArgs, Opened};
pub use pool::BlockPool;
pub use storage::Storage;

use shared::{Job, Shared};

/// How the disk's threads behave.
#[derive(Debug, Clone)]
pub struct DiskConfig {
    /// Threads that check and write.
    pub workers: usize,
    /// Written bytes after which a torrent is synced.
    pub sync_bytes: u64,
    /// Time after which what was written is synced at the latest.
    pub sync_interval: Duration,
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
            open_files: None,
        }
    }
}

/// The threads that check, write and sync, for all torrents of a process.
pub struct Disk {
    shared: Arc<Shared>,
    workers: Mutex<Vec<JoinHandle<()>>>,
    sync: Mutex<Vec<JoinHandle<()>>>,
}

impl Disk {
    /// Starts the threads.
    pub fn start(
        config: DiskConfig,
        records: Arc<Records>,
        pool: Arc<BlockPool>,
    ) -> io::Result<Self> {
        let workers = config.workers.max(1);
        let disk = Self {
            shared: Arc::new(Shared::new(config, records, pool)),
            workers: Mutex::default(),
            sync: Mutex::default(),
        };
        for number in 0..workers {
            let shared = disk.shared.clone();
            let worker = spawn(format!("teem-disk-{number}"), move || worker::run(&shared))?;
            disk.workers.lock().push(worker);
        }
        let shared = disk.shared.clone();
        let sync = spawn("teem-sync".into(), move || checkpoint::run(&shared))?;
        disk.sync.lock().push(sync);
        Ok(disk)
    }

    /// Hands a job to the workers; never waits. It ends in exactly one [`StorageEvent::Disk`] on the
    /// storage's channel. How many are under way is bounded by the swarm's credit.
    pub fn submit(&self, storage: &Arc<Storage>, job: DiskJob) {
        self.shared.jobs.push(Job::Store(storage.clone(), job));
    }

    /// As [`Disk::submit`] for a batch: workers are woken once.
    pub fn submit_all(&self, storage: &Arc<Storage>, jobs: impl IntoIterator<Item = DiskJob>) {
        let jobs = jobs.into_iter().map(|job| Job::Store(storage.clone(), job));
        self.shared.jobs.push_all(jobs);
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
        self.stop_workers();
        self.shared.sync.stop();
        join(std::mem::take(&mut *self.sync.lock()));
    }

    /// Does what is queued and ends the workers.
    fn stop_workers(&self) {
        self.shared.jobs.stop();
        join(std::mem::take(&mut *self.workers.lock()));
    }
}

fn spawn(name: String, body: impl FnOnce() + Send + 'static) -> io::Result<JoinHandle<()>> {
    std::thread::Builder::new().name(name).spawn(body)
}

fn join(threads: Vec<JoinHandle<()>>) {
    for thread in threads {
        if thread.join().is_err() {
            tracing::error!("a disk thread panicked");
        }
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
