//! Torrents take turns at their trackers: thousands that start together must neither storm a tracker nor take all
//! sockets, and one tracker that never answers must not hold up the others.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use url::Url;

/// Clones are the same turns.
#[derive(Debug, Clone)]
pub(super) struct Turns {
    all: Arc<Semaphore>,
    trackers: Arc<Mutex<HashMap<String, Arc<Semaphore>>>>,
}

/// Held while a tracker is asked.
#[derive(Debug)]
pub(super) struct Turn {
    _of_tracker: OwnedSemaphorePermit,
    _of_all: OwnedSemaphorePermit,
}

impl Default for Turns {
    fn default() -> Self {
        Self { all: Arc::new(Semaphore::new(ASKED_MAX)), trackers: Arc::default() }
    }
}

impl Turns {
    /// Waits for a turn, in the order of coming.
    pub(super) async fn take(&self, url: &Url) -> Turn {
        const OPEN: &str = "the semaphores are never closed";
        let tracker = self.of(url);
        let of_tracker = tracker.acquire_owned().await.expect(OPEN);
        let of_all = self.all.clone().acquire_owned().await.expect(OPEN);
        Turn { _of_tracker: of_tracker, _of_all: of_all }
    }

    fn of(&self, url: &Url) -> Arc<Semaphore> {
        let tracker =
            format!("{}:{:?}", url.host_str().unwrap_or_default(), url.port_or_known_default());
        let mut trackers = self.trackers.lock();
        if trackers.len() >= TRACKERS_KEPT {
            // Whom nobody waits for begins anew.
            trackers.retain(|_, turns| Arc::strong_count(turns) > 1);
        }
        let turns = trackers.entry(tracker);
        turns.or_insert_with(|| Arc::new(Semaphore::new(ASKED_OF_ONE_MAX))).clone()
    }
}

/// Requests to one tracker at once: ten thousand torrents are told in seconds to one that answers within
/// milliseconds.
const ASKED_OF_ONE_MAX: usize = 16;
/// Requests to all of them at once, each with a socket.
const ASKED_MAX: usize = 128;
/// Trackers that are remembered though nobody asks them.
const TRACKERS_KEPT: usize = 256;

#[cfg(test)]
mod tests {
    use tokio::time::{Duration, timeout};

    use super::*;

    fn url(host: &str) -> Url {
        Url::parse(&format!("http://{host}/announce")).unwrap()
    }

    #[tokio::test(start_paused = true)]
    async fn a_tracker_that_hangs_holds_up_its_own_torrents_alone() {
        let turns = Turns::default();
        let mut held = Vec::new();
        for _ in 0..ASKED_OF_ONE_MAX {
            held.push(turns.take(&url("hangs")).await);
        }
        let hangs = url("hangs");
        let next = turns.take(&hangs);
        assert!(timeout(Duration::from_secs(60), next).await.is_err());
        turns.take(&url("answers")).await;
        held.pop();
        turns.take(&url("hangs")).await;
    }

    #[tokio::test]
    async fn trackers_that_nobody_asks_are_forgotten() {
        let turns = Turns::default();
        let held = turns.take(&url("held")).await;
        for number in 0..3 * TRACKERS_KEPT {
            turns.take(&url(&format!("t{number}"))).await;
        }
        let trackers = turns.trackers.lock();
        assert!(trackers.len() <= TRACKERS_KEPT);
        assert!(trackers.contains_key("held:Some(80)"));
        drop(held);
    }
}
