//! What a torrent has sent and received in all runs, and how long it was seeded.
//!
//! How long it was seeded grows while nothing happens, so it is not written as it grows: a row says since
//! when of this run the torrent is seeded, and one row for all says until when the run lived. Both are
//! in milliseconds since the run began, so no change of the clock counts. The next run adds the difference.

use std::collections::BTreeMap;

use proto::InfoHash;
use rusqlite::params;

use super::{RecordError, Records};

/// The totals of one torrent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct TotalsRecord {
    /// Payload bytes received.
    pub downloaded: u64,
    /// Payload bytes sent.
    pub uploaded: u64,
    /// Milliseconds for which it was complete and served, before `seeding_since_ms`.
    pub seeded_ms: u64,
    /// It is since then, in milliseconds of the run.
    pub seeding_since_ms: Option<u64>,
}

impl Records {
    /// The totals of all torrents. What an earlier run left open is added up; call it once, before anything
    /// is written.
    pub fn load_totals(&self) -> Result<BTreeMap<InfoHash, TotalsRecord>, RecordError> {
        self.db.write(|db| {
            db.execute(
                "UPDATE totals SET seeding_since_ms = NULL, seeded_ms = seeded_ms + max(0,
                     coalesce((SELECT ms FROM alive), 0) - seeding_since_ms)
                 WHERE seeding_since_ms IS NOT NULL",
                [],
            )?;
            db.execute("DELETE FROM alive", [])?;
            Ok(())
        })?;
        self.db.read(|db| {
            let mut statement =
                db.prepare("SELECT key, downloaded, uploaded, seeded_ms FROM totals")?;
            let rows = statement.query_map([], |row| {
                let totals = TotalsRecord {
                    downloaded: row.get::<_, i64>(1)? as u64,
                    uploaded: row.get::<_, i64>(2)? as u64,
                    seeded_ms: row.get::<_, i64>(3)? as u64,
                    seeding_since_ms: None,
                };
                Ok((InfoHash(row.get(0)?), totals))
            })?;
            Ok(rows.collect::<Result<_, _>>()?)
        })
    }

    /// Writes totals that changed, and that the run lives at `now_ms`.
    pub fn save_totals(
        &self,
        changed: Vec<(InfoHash, TotalsRecord)>,
        now_ms: u64,
    ) -> Result<(), RecordError> {
        Ok(self.db.write(move |db| {
            let mut write = db.prepare_cached(
                "INSERT OR REPLACE INTO totals
                     (key, downloaded, uploaded, seeded_ms, seeding_since_ms)
                 VALUES (?1, ?2, ?3, ?4, ?5)",
            )?;
            for (key, totals) in changed {
                write.execute(params![
                    key.as_bytes(),
                    totals.downloaded as i64,
                    totals.uploaded as i64,
                    totals.seeded_ms as i64,
                    totals.seeding_since_ms.map(|ms| ms as i64),
                ])?;
            }
            db.prepare_cached("INSERT OR REPLACE INTO alive (id, ms) VALUES (0, ?1)")?
                .execute([now_ms as i64])?;
            Ok(())
        })?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_goes_on_until_the_run_was_last_known_to_live() {
        let dir = tempfile::tempdir().unwrap();
        let key = |byte| InfoHash([byte; 20]);
        let seeding = TotalsRecord {
            downloaded: 1,
            uploaded: u64::from(u32::MAX) * 3,
            seeded_ms: 500,
            seeding_since_ms: Some(1_000),
        };
        let rests = TotalsRecord { seeding_since_ms: None, ..seeding };
        {
            let records = Records::open(dir.path()).unwrap();
            assert!(records.load_totals().unwrap().is_empty());
            records.save_totals(vec![(key(1), seeding), (key(2), rests)], 1_000).unwrap();
            records.save_totals(Vec::new(), 61_000).unwrap();
        }
        // Killed; the next run begins at nothing, and is killed at once.
        for _ in 0..2 {
            let records = Records::open(dir.path()).unwrap();
            let known = records.load_totals().unwrap();
            assert_eq!(known[&key(1)], TotalsRecord { seeded_ms: 60_500, ..rests });
            assert_eq!(known[&key(2)], rests);
        }
    }
}
