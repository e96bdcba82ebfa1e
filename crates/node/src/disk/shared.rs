//! What the threads of all disks share, and the two queues that each disk has: of jobs, and of checkpoints.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};
use proto::FileIndex;
use swarm::DiskJob;

use super::descriptors::{Descriptors, StorageId};
use super::lanes::Lanes;
use super::root::Folders;
use super::storage::Storage;
use super::{BlockPool, DiskConfig};
use crate::record::Records;

pub(super) struct Shared {
    pub(super) config: DiskConfig,
    pub(super) records: Arc<Records>,
    pub(super) pool: Arc<BlockPool>,
    pub(super) folders: Folders,
    pub(super) lanes: Lanes,
    next_storage: AtomicU64,
    started: Instant,
}

impl Shared {
    pub(super) fn new(config: DiskConfig, records: Arc<Records>, pool: Arc<BlockPool>) -> Self {
        let budget = config.open_files.unwrap_or_else(Descriptors::budget_of_process);
        Self {
            lanes: Lanes::new(budget, config.memory),
            config,
            records,
            pool,
            folders: Folders::default(),
            next_storage: AtomicU64::new(0),
            started: Instant::now(),
        }
    }

    pub(super) fn next_id(&self) -> StorageId {
        StorageId(self.next_storage.fetch_add(1, std::sync::atomic::Ordering::Relaxed))
    }

    /// Milliseconds since the threads started.
    pub(super) fn now_ms(&self) -> u64 {
        self.started.elapsed().as_millis() as u64
    }
}

/// Something for a worker.
pub(super) enum Job {
    Store(Arc<Storage>, DiskJob),
    Recheck(Arc<Storage>, FileIndex),
}

/// Jobs in order of arrival. Bounded by those who submit: the swarm's credit for pieces, one for each
/// file that changed.
#[derive(Default)]
pub(super) struct JobQueue {
    queue: Mutex<Jobs>,
    wake: Condvar,
}

#[derive(Default)]
struct Jobs {
    waiting: VecDeque<Job>,
    idle: usize,
    stopping: bool,
}

impl JobQueue {
    pub(super) fn push(&self, job: Job) {
        self.push_all(std::iter::once(job));
    }

    pub(super) fn push_all(&self, jobs: impl IntoIterator<Item = Job>) {
        let mut queue = self.queue.lock();
        queue.waiting.extend(jobs);
        let idle = queue.idle;
        drop(queue);
        if idle > 0 {
            self.wake.notify_one();
        }
    }

    /// Waits for jobs and takes a fair part of them, up to `max`, in order; none at the end.
    pub(super) fn take(&self, max: usize, out: &mut Vec<Job>) {
        let mut queue = self.queue.lock();
        loop {
            let waiting = queue.waiting.len();
            if waiting > 0 {
                // What is left goes to the workers that wait at this moment.
                let share = waiting.div_ceil(queue.idle + 1).min(max);
                out.extend(queue.waiting.drain(..share));
                let more = !queue.waiting.is_empty() && queue.idle > 0;
                drop(queue);
                if more {
                    self.wake.notify_one();
                }
                return;
            }
            if queue.stopping {
                return;
            }
            queue.idle += 1;
            self.wake.wait(&mut queue);
            queue.idle -= 1;
        }
    }

    /// Lets the workers end when the queue is empty.
    pub(super) fn stop(&self) {
        self.queue.lock().stopping = true;
        self.wake.notify_all();
    }
}

/// Storages with something to sync, each with the moment by which it must happen.
pub(super) struct SyncQueue {
    queue: Mutex<Due>,
    wake: Condvar,
    interval: Duration,
}

#[derive(Default)]
struct Due {
    storages: Vec<(Arc<Storage>, Instant)>,
    stopping: bool,
}

impl SyncQueue {
    pub(super) fn new(interval: Duration) -> Self {
        Self { queue: Mutex::default(), wake: Condvar::new(), interval }
    }

    /// Puts a storage into the queue if it is not there (`first`), and to its head if it is urgent.
    pub(super) fn request(&self, storage: &Arc<Storage>, first: bool, urgent: bool) {
        if !first && !urgent {
            return;
        }
        let now = Instant::now();
        let due = if urgent { now } else { now + self.interval };
        let mut queue = self.queue.lock();
        let queued = queue.storages.iter_mut().find(|(queued, _)| Arc::ptr_eq(queued, storage));
        match queued {
            Some((_, known)) if *known <= due => return,
            Some((_, known)) => *known = due,
            None => queue.storages.push((storage.clone(), due)),
        }
        drop(queue);
        self.wake.notify_one();
    }

    /// Waits until a storage is due and takes it; `None` at the end, when all were taken.
    pub(super) fn take(&self) -> Option<Arc<Storage>> {
        let mut queue = self.queue.lock();
        loop {
            let next = queue.storages.iter().enumerate().min_by_key(|(_, (_, due))| *due);
            match next.map(|(index, (_, due))| (index, *due)) {
                Some((index, due)) if queue.stopping || due <= Instant::now() => {
                    return Some(queue.storages.swap_remove(index).0);
                }
                Some((_, due)) => {
                    self.wake.wait_until(&mut queue, due);
                }
                None if queue.stopping => return None,
                None => self.wake.wait(&mut queue),
            }
        }
    }

    /// Takes a storage out: nothing is synced any more.
    pub(super) fn forget(&self, storage: &Arc<Storage>) {
        self.queue.lock().storages.retain(|(queued, _)| !Arc::ptr_eq(queued, storage));
    }

    /// Forgets what was to be synced, as a crash does.
    #[cfg(test)]
    pub(super) fn abandon(&self) {
        self.queue.lock().storages.clear();
    }

    /// Lets the sync thread take what is queued, due or not, and end.
    pub(super) fn stop(&self) {
        self.queue.lock().stopping = true;
        self.wake.notify_all();
    }
}
