//! Turns at opening files: each reads, and thousands of torrents may start together. Those of one folder have
//! some turns at most, so that a disk that does not answer leaves others theirs.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Weak};

use parking_lot::Mutex;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::api::Content;

/// Who opens files at the moment.
#[derive(Debug)]
pub(crate) struct Openings {
    all: Arc<Semaphore>,
    folders: Mutex<HashMap<PathBuf, Weak<Semaphore>>>,
}

/// Files may be opened while one has it.
#[derive(Debug)]
pub(crate) struct Turn {
    _of_all: Option<OwnedSemaphorePermit>,
    _of_folder: Option<OwnedSemaphorePermit>,
    /// Keeps it known while it is in use.
    _folder: Arc<Semaphore>,
}

impl Default for Openings {
    fn default() -> Self {
        Self { all: Arc::new(Semaphore::new(ALL_MAX)), folders: Mutex::default() }
    }
}

impl Openings {
    /// Waits for a turn.
    pub(crate) async fn turn(&self, content: &Content) -> Turn {
        let folder = self.folder(match content {
            Content::Fetch { folder } => folder,
            Content::Share { path, .. } => path.parent().unwrap_or(path),
        });
        // That of the folder first: who waits for it takes no turn from others. Neither is ever closed.
        let of_folder = folder.clone().acquire_owned().await.ok();
        let of_all = self.all.clone().acquire_owned().await.ok();
        Turn { _of_all: of_all, _of_folder: of_folder, _folder: folder }
    }

    fn folder(&self, path: &Path) -> Arc<Semaphore> {
        let mut folders = self.folders.lock();
        if let Some(known) = folders.get(path).and_then(Weak::upgrade) {
            return known;
        }
        if folders.len() >= FOLDERS_MAX {
            folders.retain(|_, folder| folder.strong_count() > 0);
        }
        let folder = Arc::new(Semaphore::new(FOLDER_MAX));
        folders.insert(path.to_owned(), Arc::downgrade(&folder));
        folder
    }
}

/// Turns of all folders, on threads of which there are 512.
const ALL_MAX: usize = 128;
/// Of those, turns of one: enough for their record-keeping to share its syncs, and few enough for a disk that
/// must be read.
const FOLDER_MAX: usize = 32;
/// So many folders are known before those in which nothing is opened are forgotten.
const FOLDERS_MAX: usize = 1024;

#[cfg(test)]
mod tests {
    use std::pin::pin;
    use std::task::{Context, Poll, Waker};

    use super::*;

    /// The turn, if there is one at once.
    fn take(openings: &Openings, folder: &str) -> Option<Turn> {
        let content = Content::Fetch { folder: folder.into() };
        match pin!(openings.turn(&content)).poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(turn) => Some(turn),
            Poll::Pending => None,
        }
    }

    #[test]
    fn a_folder_that_takes_long_leaves_others_their_turns() {
        let openings = Openings::default();
        let take = |folder: &str| take(&openings, folder);
        let slow: Vec<_> = (0..FOLDER_MAX).map(|_| take("slow").unwrap()).collect();
        assert!(take("slow").is_none());
        let quick = take("quick").unwrap();
        drop((slow, quick));
        assert!(take("slow").is_some());
        (0..3 * FOLDERS_MAX).for_each(|number| drop(take(&number.to_string()).unwrap()));
        assert!(openings.folders.lock().len() <= FOLDERS_MAX);
    }
}
