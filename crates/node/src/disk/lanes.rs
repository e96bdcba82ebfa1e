//! A lane for each disk: its queues, threads and open files.
//!
//! A disk may stop to answer: a network mount whose server is away, a stick that is pulled out. Whoever waits
//! for it then waits for long. So what waits for a disk belongs to one lane.
//!
//! Invariant: no thread, queue, lock or open file of one lane is waited for by another.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::JoinHandle;

use parking_lot::Mutex;
use tokio::sync::Semaphore;

use super::budget::{LaneBudget, ProcessBudget};
use super::descriptors::Descriptors;
use super::shared::{JobQueue, Shared, SyncQueue};
use super::{checkpoint, worker};

/// What the torrents of one disk share.
pub(super) struct Lane {
    pub(super) jobs: JobQueue,
    pub(super) sync: SyncQueue,
    pub(super) descriptors: Descriptors,
    /// One permit a read that waits for the disk on a thread that all disks share.
    pub(super) reads: Arc<Semaphore>,
    pub(super) budget: Arc<LaneBudget>,
    /// Storages that are on it.
    users: AtomicUsize,
}

/// All lanes.
pub(super) struct Lanes {
    running: Mutex<Running>,
    /// Files to keep open, of all lanes together.
    open_files: usize,
    /// The same for each of them.
    open_files_each: Arc<AtomicUsize>,
    budget: Arc<ProcessBudget>,
}

#[derive(Default)]
struct Running {
    lanes: Vec<Threads>,
    stopping: bool,
}

/// A lane and those who serve it.
struct Threads {
    /// The device that it serves at the moment.
    dev: u64,
    lane: Arc<Lane>,
    workers: Vec<JoinHandle<()>>,
    sync: Option<JoinHandle<()>>,
}

impl Lane {
    /// A storage has gone.
    pub(super) fn leave(&self) {
        self.users.fetch_sub(1, Ordering::AcqRel);
    }

    fn is_idle(&self) -> bool {
        self.users.load(Ordering::Acquire) == 0
    }
}

impl Lanes {
    pub(super) fn new(open_files: usize, memory: u64) -> Self {
        Self {
            running: Mutex::default(),
            open_files,
            open_files_each: Arc::new(AtomicUsize::new(open_files)),
            budget: Arc::new(ProcessBudget::new(memory)),
        }
    }

    /// The lane of a device, for a storage that calls [`Lane::leave`] in the end. Threads start with the
    /// first one.
    pub(super) fn join(&self, shared: &Arc<Shared>, dev: u64) -> io::Result<Arc<Lane>> {
        let mut running = self.running.lock();
        if running.stopping {
            return Err(io::Error::other("the disk threads have ended"));
        }
        let lanes = &mut running.lanes;
        let place = lanes.iter().position(|threads| threads.dev == dev);
        // The lane of a disk that nobody uses any more serves another one as well.
        let place = place.or_else(|| lanes.iter().position(|threads| threads.lane.is_idle()));
        let place = match place {
            Some(place) => place,
            None if lanes.len() < LANES_MAX => {
                lanes.push(self.start(shared, dev)?);
                let each = (self.open_files / lanes.len()).max(OPEN_FILES_MIN);
                self.open_files_each.store(each, Ordering::Relaxed);
                lanes.len() - 1
            }
            // So many disks at once share some.
            None => dev as usize % lanes.len(),
        };
        let threads = &mut lanes[place];
        if threads.lane.is_idle() {
            threads.dev = dev;
        }
        threads.lane.users.fetch_add(1, Ordering::AcqRel);
        Ok(threads.lane.clone())
    }

    fn start(&self, shared: &Arc<Shared>, dev: u64) -> io::Result<Threads> {
        let lane = Arc::new(Lane {
            jobs: JobQueue::default(),
            sync: SyncQueue::new(shared.config.sync_interval),
            descriptors: Descriptors::new(self.open_files_each.clone()),
            reads: Arc::new(Semaphore::new(READS_MAX)),
            budget: Arc::new(LaneBudget::new(self.budget.clone())),
            users: AtomicUsize::new(0),
        });
        let mut threads = Threads { dev, lane, workers: Vec::new(), sync: None };
        match threads.spawn(shared) {
            Ok(()) => Ok(threads),
            Err(error) => {
                threads.stop_workers();
                threads.stop_sync();
                Err(error)
            }
        }
    }

    /// Has every lane do what is queued, and ends the workers.
    pub(super) fn stop_workers(&self) {
        let mut running = self.running.lock();
        running.stopping = true;
        // All are told before one is waited for.
        running.lanes.iter().for_each(|threads| threads.lane.jobs.stop());
        running.lanes.iter_mut().for_each(Threads::stop_workers);
    }

    /// Has every lane sync what was written, and ends the threads that do.
    pub(super) fn stop_syncs(&self) {
        let mut running = self.running.lock();
        running.lanes.iter().for_each(|threads| threads.lane.sync.stop());
        running.lanes.iter_mut().for_each(Threads::stop_sync);
    }

    /// Forgets what was to be synced, as a crash does.
    #[cfg(test)]
    pub(super) fn abandon(&self) {
        self.running.lock().lanes.iter().for_each(|threads| threads.lane.sync.abandon());
    }

    /// How many there are.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.running.lock().lanes.len()
    }
}

impl Threads {
    fn spawn(&mut self, shared: &Arc<Shared>) -> io::Result<()> {
        for number in 0..shared.config.workers.max(1) {
            let (shared, lane) = (shared.clone(), self.lane.clone());
            let worker =
                spawn(format!("teem-disk-{number}"), move || worker::run(&shared, &lane.jobs))?;
            self.workers.push(worker);
        }
        let lane = self.lane.clone();
        self.sync = Some(spawn("teem-sync".into(), move || checkpoint::run(&lane.sync))?);
        Ok(())
    }

    fn stop_workers(&mut self) {
        self.lane.jobs.stop();
        join(self.workers.drain(..));
    }

    fn stop_sync(&mut self) {
        self.lane.sync.stop();
        join(self.sync.take());
    }
}

fn spawn(name: String, body: impl FnOnce() + Send + 'static) -> io::Result<JoinHandle<()>> {
    std::thread::Builder::new().name(name).spawn(body)
}

fn join(threads: impl IntoIterator<Item = JoinHandle<()>>) {
    for thread in threads {
        if thread.join().is_err() {
            tracing::error!("a disk thread panicked");
        }
    }
}

/// Disks that are served apart at once: each has some threads of its own.
const LANES_MAX: usize = 8;
/// Reads of one disk that may wait on threads that all share, of which there are 512.
const READS_MAX: usize = 32;
/// Open files of a lane, however many there are.
const OPEN_FILES_MIN: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::{BlockPool, Disk, DiskConfig};
    use crate::record::Records;

    #[test]
    fn each_disk_has_a_lane_while_it_is_in_use_and_very_many_share_some() {
        let dir = tempfile::tempdir().unwrap();
        let records = Arc::new(Records::open(dir.path()).unwrap());
        let config = DiskConfig { open_files: Some(64), ..DiskConfig::default() };
        let disk = Disk::new(config, records, Arc::new(BlockPool::new(1)));
        let join = |dev| disk.shared.lanes.join(&disk.shared, dev).unwrap();
        let (one, again, other) = (join(1), join(1), join(2));
        assert!(Arc::ptr_eq(&one, &again) && !Arc::ptr_eq(&one, &other));
        assert_eq!(disk.shared.lanes.open_files_each.load(Ordering::Relaxed), 32);
        one.leave();
        assert!(!Arc::ptr_eq(&one, &join(3)), "somebody uses it still");
        again.leave();
        assert!(Arc::ptr_eq(&one, &join(4)), "nobody does any more");
        assert!(Arc::ptr_eq(&one, &join(4)) && !Arc::ptr_eq(&one, &join(1)));
        (100..200).for_each(|dev| drop(join(dev)));
        assert_eq!(disk.shared.lanes.len(), LANES_MAX);
        disk.stop();
        assert!(disk.shared.lanes.join(&disk.shared, 1).is_err());
    }
}
