//! Turns at opening files: each reads, and thousands of torrents may start together. Those of one file system
//! have some turns at most, so that a disk that does not answer leaves others theirs.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Weak};

use parking_lot::Mutex;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::api::Content;
use crate::mounts;

/// Who opens files at the moment.
#[derive(Debug)]
pub(crate) struct Openings {
    all: Arc<Semaphore>,
    mounts: Mutex<HashMap<PathBuf, Weak<Semaphore>>>,
}

/// Files may be opened while one has it.
#[derive(Debug)]
pub(crate) struct Turn {
    _of_all: Option<OwnedSemaphorePermit>,
    _of_mount: Option<OwnedSemaphorePermit>,
    /// Keeps it known while it is in use.
    _mount: Arc<Semaphore>,
}

impl Default for Openings {
    fn default() -> Self {
        Self { all: Arc::new(Semaphore::new(ALL_MAX)), mounts: Mutex::default() }
    }
}

impl Openings {
    /// Waits for a turn.
    pub(crate) async fn turn(&self, content: &Content) -> Turn {
        let folder = match content {
            Content::Fetch { folder } => folder,
            Content::Share { path, .. } => path.parent().unwrap_or(path),
        };
        self.turn_on(mounts::mount_of(folder)).await
    }

    async fn turn_on(&self, mount_point: PathBuf) -> Turn {
        let mount = self.mount(mount_point);
        // That of the mount first: who waits for it takes no turn from others. Neither is ever closed.
        let of_mount = mount.clone().acquire_owned().await.ok();
        let of_all = self.all.clone().acquire_owned().await.ok();
        Turn { _of_all: of_all, _of_mount: of_mount, _mount: mount }
    }

    fn mount(&self, point: PathBuf) -> Arc<Semaphore> {
        let mut mounts = self.mounts.lock();
        if let Some(known) = mounts.get(&point).and_then(Weak::upgrade) {
            return known;
        }
        if mounts.len() >= MOUNTS_MAX {
            mounts.retain(|_, mount| mount.strong_count() > 0);
        }
        let mount = Arc::new(Semaphore::new(MOUNT_MAX));
        mounts.insert(point, Arc::downgrade(&mount));
        mount
    }
}

/// Turns of all, on threads of which there are 512.
const ALL_MAX: usize = 128;
/// Of those, turns of one file system: enough for their record-keeping to share its syncs, and few enough for a disk that
/// must be read.
const MOUNT_MAX: usize = 32;
/// So many are known before those on which nothing is opened are forgotten.
const MOUNTS_MAX: usize = 1024;

#[cfg(test)]
mod tests {
    use std::pin::pin;
    use std::task::{Context, Poll, Waker};

    use super::*;

    /// The turn, if there is one at once.
    fn take(openings: &Openings, mount: &str) -> Option<Turn> {
        match pin!(openings.turn_on(mount.into())).poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(turn) => Some(turn),
            Poll::Pending => None,
        }
    }

    #[test]
    fn a_disk_that_takes_long_leaves_others_their_turns() {
        let openings = Openings::default();
        let take = |mount: &str| take(&openings, mount);
        let slow: Vec<_> = (0..MOUNT_MAX).map(|_| take("slow").unwrap()).collect();
        assert!(take("slow").is_none());
        let quick = take("quick").unwrap();
        drop((slow, quick));
        assert!(take("slow").is_some());
        (0..3 * MOUNTS_MAX).for_each(|number| drop(take(&number.to_string()).unwrap()));
        assert!(openings.mounts.lock().len() <= MOUNTS_MAX);
    }
}
