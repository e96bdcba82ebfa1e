//! What torrents sent, received and how long they were seeded, in all runs.
//!
//! Torrents say what changed; one task writes all of it together, some seconds later. A kill costs these
//! seconds. Torrents that are seeded and send nothing cost one row a minute, all together.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use proto::InfoHash;
use tokio_util::sync::CancellationToken;

use crate::api::Totals;
use crate::clock;
use crate::record::{RecordError, Records, TotalsRecord};

/// The totals of all torrents that this node has ever had.
#[derive(Debug)]
pub(crate) struct Ledger {
    records: Arc<Records>,
    begun: Instant,
    rows: Mutex<Rows>,
}

#[derive(Debug, Default)]
struct Rows {
    known: BTreeMap<InfoHash, TotalsRecord>,
    changed: BTreeSet<InfoHash>,
}

impl Ledger {
    /// Reads what earlier runs wrote. Blocks.
    pub(crate) fn open(records: Arc<Records>) -> Result<Arc<Self>, RecordError> {
        let known = records.load_totals()?;
        let rows = Mutex::new(Rows { known, changed: BTreeSet::new() });
        Ok(Arc::new(Self { records, begun: clock::now(), rows }))
    }

    /// The account of one torrent.
    pub(crate) fn account(self: &Arc<Self>, key: InfoHash) -> Account {
        let base = self.rows.lock().known.get(&key).copied().unwrap_or_default();
        Account { ledger: self.clone(), key, base, run: (0, 0), seeding_since: None }
    }

    /// Writes what changes until the node ends, and then the rest.
    pub(crate) async fn keep(self: Arc<Self>, closing: CancellationToken) {
        let mut lived = clock::now();
        loop {
            tokio::select! {
                () = closing.cancelled() => return,
                () = tokio::time::sleep(WRITE_EVERY) => {}
            }
            if self.is_due(lived) {
                lived = clock::now();
                let ledger = self.clone();
                if tokio::task::spawn_blocking(move || ledger.write()).await.is_err() {
                    tracing::error!("writing totals failed");
                }
            }
        }
    }

    fn is_due(&self, lived: Instant) -> bool {
        let rows = self.rows.lock();
        let seeding = || rows.known.values().any(|row| row.seeding_since_ms.is_some());
        !rows.changed.is_empty() || (clock::now().duration_since(lived) >= LIVE_EVERY && seeding())
    }

    /// Writes what changed. Blocks.
    pub(crate) fn write(&self) {
        let changed: Vec<_> = {
            let mut rows = self.rows.lock();
            let keys = std::mem::take(&mut rows.changed);
            keys.into_iter().filter_map(|key| Some((key, *rows.known.get(&key)?))).collect()
        };
        let keys: Vec<_> = changed.iter().map(|(key, _)| *key).collect();
        if let Err(error) = self.records.save_totals(changed, self.millis(clock::now())) {
            // Nothing is fetched or served wrongly without them. The next time may do.
            tracing::warn!(%error, "totals of torrents are not written");
            self.rows.lock().changed.extend(keys);
        }
    }

    /// The torrent is gone.
    pub(crate) fn forget(&self, key: InfoHash) {
        let mut rows = self.rows.lock();
        rows.known.remove(&key);
        rows.changed.remove(&key);
    }

    fn millis(&self, at: Instant) -> u64 {
        at.duration_since(self.begun).as_millis() as u64
    }

    fn note(&self, key: InfoHash, row: TotalsRecord) {
        let mut rows = self.rows.lock();
        if rows.known.insert(key, row) != Some(row) {
            rows.changed.insert(key);
        }
    }
}

/// One torrent's totals, as its task keeps them.
#[derive(Debug)]
pub(crate) struct Account {
    ledger: Arc<Ledger>,
    key: InfoHash,
    base: TotalsRecord,
    /// Received and sent since the torrent's task began.
    run: (u64, u64),
    seeding_since: Option<Instant>,
}

impl Account {
    /// How the torrent stands since its task began.
    pub(crate) fn update(&mut self, downloaded: u64, uploaded: u64, seeding: bool) -> Totals {
        self.run = (downloaded, uploaded);
        match (seeding, self.seeding_since) {
            (true, None) => self.seeding_since = Some(clock::now()),
            (false, Some(since)) => {
                self.base.seeded_ms += millis_since(since);
                self.seeding_since = None;
            }
            (true, Some(_)) | (false, None) => {}
        }
        self.note();
        self.totals()
    }

    /// The torrent's task ends.
    pub(crate) fn pause(&mut self) {
        let (downloaded, uploaded) = std::mem::take(&mut self.run);
        self.base.downloaded += downloaded;
        self.base.uploaded += uploaded;
        self.update(0, 0, false);
    }

    pub(crate) fn totals(&self) -> Totals {
        Totals {
            downloaded: self.base.downloaded + self.run.0,
            uploaded: self.base.uploaded + self.run.1,
            seeded_before: Duration::from_millis(self.base.seeded_ms),
            seeding_since: self.seeding_since,
        }
    }

    /// The torrent is gone.
    pub(crate) fn forget(&self) {
        self.ledger.forget(self.key);
    }

    fn note(&self) {
        let totals = self.totals();
        let row = TotalsRecord {
            downloaded: totals.downloaded,
            uploaded: totals.uploaded,
            seeding_since_ms: self.seeding_since.map(|since| self.ledger.millis(since)),
            ..self.base
        };
        if row != TotalsRecord::default() {
            self.ledger.note(self.key, row);
        }
    }
}

fn millis_since(since: Instant) -> u64 {
    clock::now().duration_since(since).as_millis() as u64
}

/// What a kill may cost of the counts.
const WRITE_EVERY: Duration = Duration::from_secs(5);
/// What it may cost of the time, and how often a disk must turn for it.
const LIVE_EVERY: Duration = Duration::from_secs(60);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_of_a_run_are_added_to_those_before() {
        let dir = tempfile::tempdir().unwrap();
        let key = InfoHash([1; 20]);
        for run in 1..=3 {
            let records = Arc::new(Records::open(dir.path()).unwrap());
            let ledger = Ledger::open(records).unwrap();
            let mut account = ledger.account(key);
            assert_eq!(account.totals().uploaded, 10 * (run - 1));
            account.update(0, 4, true);
            account.pause();
            // The torrent's task begins anew, and counts from nothing.
            account.update(1, 6, true);
            assert_eq!((account.totals().downloaded, account.totals().uploaded), (run, 10 * run));
            ledger.write();
        }
    }

    #[test]
    fn what_did_not_change_is_not_written() {
        let dir = tempfile::tempdir().unwrap();
        let ledger = Ledger::open(Arc::new(Records::open(dir.path()).unwrap())).unwrap();
        let mut account = ledger.account(InfoHash([1; 20]));
        account.update(0, 0, false);
        assert!(!ledger.is_due(clock::now()));
        account.update(1, 2, false);
        assert!(ledger.is_due(clock::now()));
        ledger.write();
        account.update(1, 2, false);
        assert!(!ledger.is_due(clock::now()));
    }
}
