//! Open files of all torrents, at most a fixed number.
//!
//! A descriptor that was written to is synced before it is closed: closing it unsynced could lose the
//! report of a write error. One that is in use at the moment is never closed.

use std::collections::HashMap;
use std::fs::File;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::Mutex;
use proto::FileIndex;

/// A storage's number in this process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct StorageId(pub(super) u64);

/// The open files.
#[derive(Debug)]
pub(super) struct Descriptors {
    open: Mutex<Open>,
    budget: usize,
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
    /// Raised when syncing at eviction fails.
    sync_failed: Arc<AtomicBool>,
}

impl Descriptors {
    /// Keeps at most `budget` files open, but for those in use.
    pub(super) fn new(budget: usize) -> Self {
        Self { open: Mutex::default(), budget }
    }

    /// A quarter of what the process may open, at most 256: the rest is for sockets.
    pub(super) fn budget_of_process() -> usize {
        let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile).current;
        limit.map_or(256, |limit| usize::try_from(limit / 4).unwrap_or(256).clamp(16, 256))
    }

    /// How many dirty files may pile up before a sync is due.
    pub(super) const fn dirty_max(&self) -> usize {
        self.budget / 2
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
        sync_failed: &Arc<AtomicBool>,
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
        let sync_failed = sync_failed.clone();
        let entry = Entry { file: file.clone(), writable, dirty: false, used, sync_failed };
        let mut victims: Vec<_> =
            open.entries.insert((storage, index), entry).into_iter().collect();
        victims.extend(open.evict(self.budget));
        drop(open);
        for victim in victims {
            if victim.dirty && sync_data(&victim.file).is_err() {
                victim.sync_failed.store(true, Ordering::Release);
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
    /// Takes out enough idle entries to get well below the budget: clean ones first, oldest first.
    fn evict(&mut self, budget: usize) -> Vec<Entry> {
        if self.entries.len() <= budget {
            return Vec::new();
        }
        let mut idle: Vec<_> = self
            .entries
            .iter()
            .filter(|(_, entry)| Arc::strong_count(&entry.file) == 1)
            .map(|(key, entry)| (entry.dirty, entry.used, *key))
            .collect();
        idle.sort_unstable_by_key(|(dirty, used, _)| (*dirty, *used));
        let surplus = self.entries.len() - budget;
        // A few more clean ones, so that not every insertion has to look for victims.
        let clean = idle.iter().take_while(|(dirty, ..)| !dirty).count();
        let count = surplus.max(clean.min(surplus + budget / 8));
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
        let descriptors = Descriptors::new(16);
        let failed = Arc::new(AtomicBool::new(false));
        let storage = StorageId(1);
        let insert = |index| {
            let file = tempfile::tempfile().unwrap();
            descriptors.insert((storage, FileIndex(index)), file, true, &failed)
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
        assert!(!failed.load(Ordering::Acquire));
        descriptors.close_all(storage);
        assert_eq!(descriptors.len(), 0);
    }
}
