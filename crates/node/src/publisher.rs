//! When people are told how a torrent stands: some times a second while it changes, not at all while it rests,
//! so that thousands of idle torrents cost nothing.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::watch;

use crate::api::Snapshot;

/// The sending end of a torrent's snapshots.
#[derive(Debug)]
pub(crate) struct Publisher {
    sender: watch::Sender<Arc<Snapshot>>,
    published_at: Option<Instant>,
    /// Something has changed since.
    stale: bool,
}

impl Publisher {
    pub(crate) const fn new(sender: watch::Sender<Arc<Snapshot>>) -> Self {
        Self { sender, published_at: None, stale: true }
    }

    /// Something changes.
    pub(crate) const fn note(&mut self) {
        self.stale = true;
    }

    /// What changes now is not kept from anybody.
    pub(crate) const fn hurry(&mut self) {
        self.stale = true;
        self.published_at = None;
    }

    /// When to publish; at once when that has passed.
    pub(crate) fn due(&self, now: Instant) -> Option<Instant> {
        self.stale.then(|| self.published_at.map_or(now, |at| at + EVERY))
    }

    /// The same as before, but for what `change` makes of it; for a torrent that does not run.
    pub(crate) fn revise(&mut self, now: Instant, change: impl FnOnce(Snapshot) -> Snapshot) {
        let revised = change(Snapshot::clone(&self.sender.borrow()));
        self.publish(now, revised);
    }

    pub(crate) fn publish(&mut self, now: Instant, snapshot: Snapshot) {
        self.sender.send_replace(Arc::new(snapshot));
        self.published_at = Some(now);
        self.stale = false;
    }
}

/// As often as people see something new.
const EVERY: Duration = Duration::from_millis(200);

#[cfg(test)]
mod tests {
    use proto::{InfoHashV1, InfoHashes};

    use super::*;

    #[test]
    fn what_rests_is_not_published_and_what_changes_not_too_often() {
        let hashes = InfoHashes::new(Some(InfoHashV1([1; 20])), None).unwrap();
        let (sender, mut seen) = watch::channel(Arc::new(Snapshot::empty(hashes)));
        let mut publisher = Publisher::new(sender);
        let now = crate::clock::now();
        assert_eq!(publisher.due(now), Some(now), "the first one comes at once");
        publisher.publish(now, Snapshot::empty(hashes));
        assert!(seen.has_changed().unwrap());
        assert_eq!(publisher.due(now), None);
        publisher.note();
        assert_eq!(publisher.due(now), Some(now + EVERY));
        publisher.hurry();
        assert_eq!(publisher.due(now), Some(now));
        publisher.publish(now, Snapshot::empty(hashes));
        seen.borrow_and_update();
        assert_eq!(publisher.due(now + EVERY), None);
    }
}
