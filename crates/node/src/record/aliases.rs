//! Torrents that were added under another of their hashes than the one that the record knows them by: a magnet
//! link may have only the v2 hash of a hybrid, whose v1 hash is known once its description has come.
//!
//! Invariant: within a run a torrent keeps the key that it was added by; [`Records::unite`] brings together what
//! is known of it before the next one.

use std::collections::BTreeMap;

use proto::InfoHash;
use rusqlite::params;

use super::{RecordError, Records};

impl Records {
    /// `alias` is the torrent `key`, too.
    pub fn save_alias(&self, alias: InfoHash, key: InfoHash) -> Result<(), RecordError> {
        Ok(self.db.write(move |db| {
            db.execute(
                "INSERT OR REPLACE INTO aliases (alias, key) VALUES (?1, ?2)",
                params![alias.as_bytes(), key.as_bytes()],
            )?;
            Ok(())
        })?)
    }

    /// Writes what is known of torrents by their aliases to their keys; returns the aliases. Call it once, before
    /// anything is read.
    pub fn unite(&self) -> Result<BTreeMap<InfoHash, InfoHash>, RecordError> {
        let known: BTreeMap<InfoHash, InfoHash> = self.db.read(|db| {
            let mut statement = db.prepare("SELECT alias, key FROM aliases")?;
            let rows = statement
                .query_map([], |row| Ok((InfoHash(row.get(0)?), InfoHash(row.get(1)?))))?;
            rows.collect::<Result<_, rusqlite::Error>>()
        })?;
        if !known.is_empty() {
            self.db.write(|db| db.execute_batch(UNITE))?;
        }
        Ok(known)
    }
}

/// What people want of it was said last by the alias, but for the folder, which a move writes by the key.
const UNITE: &str = "
    INSERT INTO wishes (key, rest, forced, place, folder)
        SELECT a.key, w.rest, w.forced, w.place, w.folder
        FROM wishes w JOIN aliases a ON a.alias = w.key WHERE true
        ON CONFLICT (key) DO UPDATE SET rest = excluded.rest, forced = excluded.forced,
            place = coalesce(excluded.place, place), folder = coalesce(folder, excluded.folder);
    DELETE FROM wishes WHERE key IN (SELECT alias FROM aliases);
    INSERT INTO totals (key, downloaded, uploaded, seeded_ms, seeding_since_ms)
        SELECT a.key, t.downloaded, t.uploaded, t.seeded_ms, t.seeding_since_ms
        FROM totals t JOIN aliases a ON a.alias = t.key WHERE true
        ON CONFLICT (key) DO UPDATE SET downloaded = downloaded + excluded.downloaded,
            uploaded = uploaded + excluded.uploaded, seeded_ms = seeded_ms + excluded.seeded_ms,
            seeding_since_ms = coalesce(seeding_since_ms, excluded.seeding_since_ms);
    DELETE FROM totals WHERE key IN (SELECT alias FROM aliases);
    INSERT OR REPLACE INTO removals (key, content)
        SELECT a.key, r.content FROM removals r JOIN aliases a ON a.alias = r.key;
    DELETE FROM removals WHERE key IN (SELECT alias FROM aliases);
";

#[cfg(test)]
mod tests {
    use super::super::{Rest, TotalsRecord};
    use super::*;

    #[test]
    fn what_was_said_by_an_alias_holds_for_the_torrent() {
        let dir = tempfile::tempdir().unwrap();
        let records = Records::open(dir.path()).unwrap();
        let [alias, key, other] = [1, 2, 3].map(|byte| InfoHash([byte; 20]));
        let totals = |downloaded| TotalsRecord { downloaded, ..TotalsRecord::default() };
        records.save_rest(alias, Some(Rest::Held), false).unwrap();
        records.save_rest(other, None, true).unwrap();
        records.save_places(vec![(key, 7)]).unwrap();
        let all = vec![(alias, totals(1)), (key, totals(10)), (other, totals(100))];
        records.save_totals(all, 0).unwrap();
        records.condemn(alias, true).unwrap();
        assert!(records.unite().unwrap().is_empty());
        records.save_alias(alias, key).unwrap();
        for _ in 0..2 {
            assert_eq!(records.unite().unwrap(), BTreeMap::from([(alias, key)]));
            let wishes = records.load_wishes().unwrap();
            assert_eq!(wishes.keys().collect::<Vec<_>>(), [&key, &other]);
            assert_eq!((wishes[&key].rest, wishes[&key].place), (Some(Rest::Held), Some(7)));
            let known = records.load_totals().unwrap();
            assert_eq!(known, BTreeMap::from([(key, totals(11)), (other, totals(100))]));
            assert_eq!(records.condemned().unwrap(), [(key, true)]);
        }
        records.remove(key).unwrap();
        assert!(records.unite().unwrap().is_empty());
    }
}
