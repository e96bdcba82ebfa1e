//! Open files of the torrents of one disk, at most so many.
//!
//! A descriptor that was written to is not simply closed: the report of a write error could be lost
//! with it. Either it is synced first, or its owner is told to sync the whole file system through a
//! descriptor that stays open, which reports such errors too and is cheaper for many small files.
//! One that is in use at the moment is never closed.

use std::collections::HashMap;
use std::fs::File;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use parking_lot::Mutex;
use proto::FileIndex;

/// A storage's number in this process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct StorageId(pub(super) u64);

/// The open files.
#[derive(Debug)]
pub(super) struct Descriptors {
    open: Mutex<Open>,
    budget: Arc<AtomicUsize>,
}

#[derive(Debug, Default)]
struct Open {
    entries: HashMap<(StorageId, FileIndex), Entry>,
    /// Counts uses, to tell which is the least recent.
    uses: u64,
}

#[derive(Debug)]
struct Entry {
    file: Arc<File>,
    writable: bool,
    dirty: bool,
    used: u64,
    debt: Arc<SyncDebt>,
}

/// What it costs to close a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Cost {
    /// It was not written to.
    Nothing,
    /// A sync of the file system, which covers many.
    Shared,
    /// A sync of its own.
    Sync,
}

impl Entry {
    fn cost(&self) -> Cost {
        match (self.dirty, self.debt.covered_dev) {
            (false, _) => Cost::Nothing,
            (true, Some(_)) => Cost::Shared,
            (true, None) => Cost::Sync,
        }
    }
}

/// What closing descriptors left for a storage's next checkpoint.
#[derive(Debug)]
pub(super) struct SyncDebt {
    /// The file system that one sync of the storage's root covers, if it reports errors.
    covered_dev: Option<u64>,
    /// Files were closed unsynced: the file system must be synced.
    all: AtomicBool,
    /// A sync failed: what was written since the last good one may be gone.
    failed: AtomicBool,
}

impl SyncDebt {
    pub(super) const fn new(covered_dev: Option<u64>) -> Self {
        Self { covered_dev, all: AtomicBool::new(false), failed: AtomicBool::new(false) }
    }

    /// Whether the file system must be synced; asked once a checkpoint.
    pub(super) fn take_all(&self) -> bool {
        self.all.swap(false, Ordering::AcqRel)
    }

    pub(super) fn has_failed(&self) -> bool {
        self.failed.load(Ordering::Acquire)
    }

    pub(super) fn set_failed(&self) {
        self.failed.store(true, Ordering::Release);
    }

    /// A file that was written to is being closed.
    fn on_closing(&self, file: &File) {
        let dev = rustix::fs::fstat(file).map(|stat| stat.st_dev).ok();
        if dev.is_some() && dev == self.covered_dev {
            self.all.store(true, Ordering::Release);
        } else if sync_data(file).is_err() {
            self.set_failed();
        }
    }
}

impl Descriptors {
    /// Keeps at most `budget` files open, but for those in use.
    pub(super) fn new(budget: Arc<AtomicUsize>) -> Self {
        Self { open: Mutex::default(), budget }
    }

    /// A quarter of what the process may open, at most 256: the rest is for sockets.
    pub(super) fn budget_of_process() -> usize {
        let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile).current;
        limit.map_or(256, |limit| usize::try_from(limit / 4).unwrap_or(256).clamp(16, 256))
    }

    /// The open file, if there is one that allows what is wanted.
    pub(super) fn lookup(
        &self,
        storage: StorageId,
        file: FileIndex,
        write: bool,
    ) -> Option<Arc<File>> {
        let mut open = self.open.lock();
        open.uses += 1;
        let now = open.uses;
        let entry = open.entries.get_mut(&(storage, file))?;
        if write && !entry.writable {
            return None;
        }
        entry.used = now;
        Some(entry.file.clone())
    }

    /// Keeps a file open, closing the least recently used ones when there are too many. Returns the
    /// file that is kept: another thread's, if that was faster.
    pub(super) fn insert(
        &self,
        (storage, index): (StorageId, FileIndex),
        file: File,
        writable: bool,
        debt: &Arc<SyncDebt>,
    ) -> Arc<File> {
        let mut open = self.open.lock();
        open.uses += 1;
        let used = open.uses;
        if let Some(entry) = open.entries.get_mut(&(storage, index))
            && (entry.writable || !writable)
        {
            entry.used = used;
            return entry.file.clone();
        }
        let file = Arc::new(file);
        let debt = debt.clone();
        let entry = Entry { file: file.clone(), writable, dirty: false, used, debt };
        let mut victims: Vec<_> =
            open.entries.insert((storage, index), entry).into_iter().collect();
        victims.extend(open.evict(self.budget.load(Ordering::Relaxed)));
        drop(open);
        for victim in victims {
            if victim.dirty {
                victim.debt.on_closing(&victim.file);
            }
        }
        file
    }

    /// The file was written to. Call it after the write, with the file still in hand.
    pub(super) fn mark_dirty(&self, storage: StorageId, file: FileIndex) {
        if let Some(entry) = self.open.lock().entries.get_mut(&(storage, file)) {
            entry.dirty = true;
        }
    }

    /// A sync of the file begins: writes that end later make it dirty again.
    pub(super) fn begin_sync(&self, storage: StorageId, file: FileIndex) -> Option<Arc<File>> {
        let mut open = self.open.lock();
        let entry = open.entries.get_mut(&(storage, file))?;
        entry.dirty = false;
        Some(entry.file.clone())
    }

    /// Closes one file; what was written to it has been synced or is given up.
    pub(super) fn close(&self, storage: StorageId, file: FileIndex) {
        let closed = self.open.lock().entries.remove(&(storage, file));
        drop(closed);
    }

    /// Closes all files of a storage.
    pub(super) fn close_all(&self, storage: StorageId) {
        let closed: Vec<_> =
            self.open.lock().entries.extract_if(|(owner, _), _| *owner == storage).collect();
        drop(closed);
    }

    /// Files that are open.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.open.lock().entries.len()
    }
}

impl Open {
    /// Takes out enough idle entries to get well below the budget: those first that cost least to
    /// close, then the oldest.
    fn evict(&mut self, budget: usize) -> Vec<Entry> {
        if self.entries.len() <= budget {
            return Vec::new();
        }
        let mut idle: Vec<_> = self
            .entries
            .iter()
            .filter(|(_, entry)| Arc::strong_count(&entry.file) == 1)
            .map(|(key, entry)| (entry.cost(), entry.used, *key))
            .collect();
        idle.sort_unstable_by_key(|(cost, used, _)| (*cost, *used));
        let surplus = self.entries.len() - budget;
        // A few more cheap ones, so that not every insertion has to look for victims.
        let cheap = idle.iter().take_while(|(cost, ..)| *cost < Cost::Sync).count();
        let count = surplus.max(cheap.min(surplus + budget / 8));
        idle.iter().take(count).filter_map(|(.., key)| self.entries.remove(key)).collect()
    }
}

/// Makes a file's bytes survive a power cut.
pub(super) fn sync_data(file: &File) -> std::io::Result<()> {
    file.sync_data()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_budget_holds_and_files_in_use_stay_open() {
        let descriptors = Descriptors::new(Arc::new(AtomicUsize::new(16)));
        let dev = rustix::fs::fstat(tempfile::tempfile().unwrap()).unwrap().st_dev;
        let debt = Arc::new(SyncDebt::new(Some(dev)));
        let storage = StorageId(1);
        let insert = |index| {
            let file = tempfile::tempfile().unwrap();
            descriptors.insert((storage, FileIndex(index)), file, true, &debt)
        };
        let in_use = insert(0);
        for index in 1..100 {
            drop(insert(index));
            descriptors.mark_dirty(storage, FileIndex(index));
        }
        assert!(descriptors.len() <= 16);
        let found = descriptors.lookup(storage, FileIndex(0), true).unwrap();
        assert!(Arc::ptr_eq(&found, &in_use));
        assert!(descriptors.lookup(storage, FileIndex(1), false).is_none());
        assert!(debt.take_all() && !debt.take_all());
        assert!(!debt.has_failed());
        descriptors.close_all(storage);
        assert_eq!(descriptors.len(), 0);
    }
}
