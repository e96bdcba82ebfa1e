//! What people want of a torrent beyond one run: that it rests, its place in the queue, another folder,
//! other names, or to be rid of it.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use proto::{FileIndex, InfoHash};
use rusqlite::{Connection, Savepoint, params};

use super::{RecordError, Records};
use crate::disk::Renames;

/// Why a torrent rests until somebody says otherwise.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rest {
    /// A person holds it.
    Held,
    /// It was seeded enough.
    Seeded,
}

/// What people want of a torrent.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Wishes {
    /// It rests.
    pub rest: Option<Rest>,
    /// It runs whatever a queue or limits of seeding say.
    pub forced: bool,
    /// Its place in the queue, if somebody gave it one: smaller ones come first.
    pub place: Option<i64>,
    /// Where it was moved.
    pub folder: Option<PathBuf>,
    /// Its names, if somebody gave it any.
    pub renames: Renames,
}

impl Records {
    /// Of all torrents of which people want something.
    pub fn load_wishes(&self) -> Result<BTreeMap<InfoHash, Wishes>, RecordError> {
        self.db.read(|db| {
            let mut statement =
                db.prepare("SELECT key, rest, forced, place, folder FROM wishes")?;
            let rows = statement.query_map([], |row| {
                let folder: Option<Vec<u8>> = row.get(4)?;
                let wishes = Wishes {
                    rest: match row.get::<_, i64>(1)? {
                        HELD => Some(Rest::Held),
                        SEEDED => Some(Rest::Seeded),
                        _ => None,
                    },
                    forced: row.get(2)?,
                    place: row.get(3)?,
                    folder: folder.map(|folder| PathBuf::from(OsStr::from_bytes(&folder))),
                    renames: Renames::default(),
                };
                Ok((InfoHash(row.get(0)?), wishes))
            })?;
            let mut known: BTreeMap<InfoHash, Wishes> = rows.collect::<Result<_, _>>()?;
            let mut statement = db.prepare("SELECT DISTINCT key FROM renames WHERE pending = 0")?;
            let keys = statement.query_map([], |row| Ok(InfoHash(row.get(0)?)))?;
            for key in keys.collect::<Result<Vec<_>, _>>()? {
                known.entry(key).or_default().renames = load_renames(db, key, NOW)?;
            }
            Ok(known)
        })
    }

    /// The torrents whose content was being moved.
    pub fn moves(&self) -> Result<Vec<InfoHash>, RecordError> {
        self.keys("SELECT key FROM moves")
    }

    /// The torrents all of whose wanted files were there.
    pub fn finished(&self) -> Result<Vec<InfoHash>, RecordError> {
        self.keys("SELECT key FROM progress WHERE finished")
    }

    fn keys(&self, query: &str) -> Result<Vec<InfoHash>, RecordError> {
        self.db.read(|db| {
            let mut statement = db.prepare(query)?;
            let rows = statement.query_map([], |row| Ok(InfoHash(row.get(0)?)))?;
            Ok(rows.collect::<Result<_, _>>()?)
        })
    }

    /// Whether the torrent rests, and whether it runs in any case.
    pub fn save_rest(
        &self,
        key: InfoHash,
        rest: Option<Rest>,
        forced: bool,
    ) -> Result<(), RecordError> {
        let rest = match rest {
            None => 0,
            Some(Rest::Held) => HELD,
            Some(Rest::Seeded) => SEEDED,
        };
        Ok(self.db.write(move |db| {
            db.prepare_cached(
                "INSERT INTO wishes (key, rest, forced) VALUES (?1, ?2, ?3)
                 ON CONFLICT (key) DO UPDATE SET rest = ?2, forced = ?3",
            )?
            .execute(params![key.as_bytes(), rest, forced])?;
            Ok(())
        })?)
    }

    /// The places of torrents in the queue, all at once.
    pub fn save_places(&self, places: Vec<(InfoHash, i64)>) -> Result<(), RecordError> {
        Ok(self.db.write(move |db| {
            let mut write = db.prepare_cached(
                "INSERT INTO wishes (key, place) VALUES (?1, ?2)
                 ON CONFLICT (key) DO UPDATE SET place = ?2",
            )?;
            for (key, place) in places {
                write.execute(params![key.as_bytes(), place])?;
            }
            Ok(())
        })?)
    }

    /// The torrent is to be removed, with its content or without: begun, and to be ended.
    pub fn condemn(&self, key: InfoHash, with_content: bool) -> Result<(), RecordError> {
        Ok(self.db.write(move |db| {
            db.execute(
                "INSERT OR REPLACE INTO removals (key, content) VALUES (?1, ?2)",
                params![key.as_bytes(), with_content],
            )?;
            Ok(())
        })?)
    }

    /// The torrent is not to be removed after all.
    pub fn pardon(&self, key: InfoHash) -> Result<(), RecordError> {
        Ok(self.db.write(move |db| {
            db.execute("DELETE FROM removals WHERE key = ?1", [key.as_bytes()])?;
            Ok(())
        })?)
    }

    /// The torrents whose removal was begun, and whether their content goes too.
    pub fn condemned(&self) -> Result<Vec<(InfoHash, bool)>, RecordError> {
        self.db.read(|db| {
            let mut statement = db.prepare("SELECT key, content FROM removals")?;
            let rows = statement.query_map([], |row| Ok((InfoHash(row.get(0)?), row.get(1)?)))?;
            Ok(rows.collect::<Result<_, _>>()?)
        })
    }
}

/// The names that hold, or those of a move under way.
pub(super) fn load_renames(
    db: &Connection,
    key: InfoHash,
    pending: bool,
) -> Result<Renames, rusqlite::Error> {
    let mut statement =
        db.prepare_cached("SELECT file, path FROM renames WHERE key = ?1 AND pending = ?2")?;
    let rows = statement.query_map(params![key.as_bytes(), pending], |row| {
        Ok((row.get::<_, i64>(0)?, row.get::<_, String>(1)?))
    })?;
    let mut renames = Renames::default();
    for row in rows {
        match row? {
            (TOP, name) => renames.top = Some(name),
            (file, path) => {
                let names = path.split('/').map(str::to_owned).collect();
                renames.files.insert(FileIndex(file as u32), names);
            }
        }
    }
    Ok(renames)
}

/// Writes names in the place of those that are there.
pub(super) fn save_renames(
    db: &Savepoint<'_>,
    key: InfoHash,
    pending: bool,
    renames: &Renames,
) -> Result<(), rusqlite::Error> {
    let of_torrent = params![key.as_bytes(), pending];
    db.execute("DELETE FROM renames WHERE key = ?1 AND pending = ?2", of_torrent)?;
    let files = renames.files.iter().map(|(file, names)| (i64::from(file.0), names.join("/")));
    let top = renames.top.iter().map(|name| (TOP, name.clone()));
    for (file, path) in files.chain(top) {
        db.execute(
            "INSERT INTO renames (key, pending, file, path) VALUES (?1, ?2, ?3, ?4)",
            params![key.as_bytes(), pending, file, path],
        )?;
    }
    Ok(())
}

/// Writes where the content is.
pub(super) fn save_folder(
    db: &Savepoint<'_>,
    key: InfoHash,
    folder: &Path,
) -> Result<(), rusqlite::Error> {
    let folder = folder.as_os_str().as_bytes();
    db.execute(
        "INSERT INTO wishes (key, folder) VALUES (?1, ?2)
         ON CONFLICT (key) DO UPDATE SET folder = ?2",
        params![key.as_bytes(), folder],
    )?;
    db.execute(
        "UPDATE torrents SET content_kind = ?2, path = ?3 WHERE key = ?1",
        params![key.as_bytes(), super::schema::FETCH, folder],
    )?;
    Ok(())
}

const HELD: i64 = 1;
const SEEDED: i64 = 2;
/// The torrent's own name, among the numbers of its files.
const TOP: i64 = -1;
/// Names that hold.
pub(super) const NOW: bool = false;
/// Names that will hold when a move has ended.
pub(super) const PENDING: bool = true;
