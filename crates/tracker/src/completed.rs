//! Counts of downloads that ended, on their way from the swarms to the catalogue.
//!
//! The swarms count; what has changed is written every few seconds and at the end. So many at once that
//! a tracker of any size writes little: a crash loses the last seconds of them, nothing else.

use std::collections::BTreeMap;
use std::sync::Arc;

use proto::InfoHash;
use tokio::sync::Mutex;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::limits::{COMPLETED_BATCH, COMPLETED_EVERY};
use crate::server::Shared;

/// What has changed and is not on the disk yet. No larger than the catalogue: it has one count for
/// each torrent there.
#[derive(Debug, Default)]
pub(crate) struct Completed {
    pending: Mutex<BTreeMap<InfoHash, u32>>,
}

impl Completed {
    /// Starts writing what has changed, now and then, until the tracker stops.
    pub(crate) fn start(
        shared: &Arc<Shared>,
        tasks: &TaskTracker,
        stop: CancellationToken,
    ) -> Arc<Self> {
        let completed = Arc::new(Self::default());
        let (task, shared) = (Arc::clone(&completed), Arc::clone(shared));
        tasks.spawn(async move { task.keep(&shared, stop).await });
        completed
    }

    async fn keep(&self, shared: &Shared, stop: CancellationToken) {
        let mut rounds = tokio::time::interval(COMPLETED_EVERY);
        rounds.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                _ = rounds.tick() => self.flush(shared).await,
                () = stop.cancelled() => return,
            }
        }
    }

    /// Writes what has changed. What cannot be written stays for the next time.
    pub(crate) async fn flush(&self, shared: &Shared) {
        let mut pending = self.pending.lock().await;
        let mut changed = Vec::new();
        shared.swarms.drain_completed(&mut changed);
        pending.extend(changed);
        while !pending.is_empty() {
            let batch: Vec<_> =
                pending.iter().take(COMPLETED_BATCH).map(|(&k, &v)| (k, v)).collect();
            if let Err(error) = shared.catalogue.note_completed(batch.clone()).await {
                tracing::error!(%error, "writing how many downloads have ended");
                return;
            }
            for (hash, _) in batch {
                pending.remove(&hash);
            }
        }
    }
}
