//! The database: one connection that writes and a few that read, each used by one thread at a time.
//!
//! This file reads; `publish` writes.

use std::fs::{File, TryLockError};
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};

use parking_lot::{Mutex, MutexGuard};
use proto::{InfoHash, InfoHashV1, InfoHashV2, InfoHashes};
use rusqlite::types::Type;
use rusqlite::{Connection, ErrorCode, OptionalExtension as _, Row, params};

use super::name::Versioned;
use super::query::{Query, fold};
use super::{CatalogueError, CatalogueLimits, Entry, Found, Hit, Stored, Which};
use super::{index, schema, usage};
use crate::access::Owner;
use crate::limits::{CATALOGUE_READERS, MATCHES_SORTED_MAX, PATHS_SCANNED_MAX};

/// Databases up to this size are checked from end to end when they are opened.
const CHECKED_LEN_MAX: u64 = 64 << 20;

/// The database in the data folder.
pub(crate) const DATABASE_FILE: &str = "tracker.db";

/// Entries as [`entry_of`] reads them.
const ENTRIES: &str = "SELECT e.id, n.name, n.owner, n.description, n.tags, n.versions,
    e.version, e.v1, e.v2, e.size, e.files, e.piece_len, e.published
    FROM entry e JOIN name n ON n.id = e.name_id";

#[derive(Debug)]
pub(super) struct Store {
    pub(super) writer: Mutex<Connection>,
    pub(super) limits: CatalogueLimits,
    readers: Vec<Mutex<Connection>>,
    /// Which reader to wait for when all are at work.
    turn: AtomicUsize,
    // Locked for as long as it is open.
    _lock: File,
}

/// An entry and the number of its row.
#[derive(Debug)]
pub(super) struct Numbered {
    pub(super) id: i64,
    pub(super) entry: Entry,
}

impl Store {
    pub(super) fn open(folder: &Path, limits: CatalogueLimits) -> Result<Self, CatalogueError> {
        let disk = |what: &str, path: &Path| {
            let what = format!("{what} {}", path.display());
            move |source| CatalogueError::Disk { what, source }
        };
        std::fs::create_dir_all(folder).map_err(disk("make the folder", folder))?;
        let lock_path = folder.join("tracker.lock");
        let lock = File::create(&lock_path).map_err(disk("open", &lock_path))?;
        lock.try_lock().map_err(|error| match error {
            TryLockError::WouldBlock => CatalogueError::Locked(folder.display().to_string()),
            TryLockError::Error(source) => disk("lock", &lock_path)(source),
        })?;
        let writer = Mutex::new(open_database(folder)?);
        let path = folder.join(DATABASE_FILE);
        let open = || -> Result<_, CatalogueError> {
            let reader = connect(&path)?;
            reader.pragma_update(None, "query_only", true)?;
            Ok(Mutex::new(reader))
        };
        let readers: Result<_, _> = std::iter::repeat_with(open).take(CATALOGUE_READERS).collect();
        let readers = readers.map_err(|error| explained(error, &path.display().to_string()))?;
        Ok(Self { writer, limits, readers, turn: AtomicUsize::new(0), _lock: lock })
    }

    pub(super) fn find(&self, which: &Which) -> Result<Option<Entry>, CatalogueError> {
        Ok(find_in(&self.reader(), which)?.map(|found| found.entry))
    }

    pub(super) fn fetch(&self, which: &Which) -> Result<Option<Found>, CatalogueError> {
        let mut reader = self.reader();
        // One look at both tables: the version may be taken back meanwhile.
        let transaction = reader.transaction()?;
        let Some(Numbered { id, entry, .. }) = find_in(&transaction, which)? else {
            return Ok(None);
        };
        Ok(Some(Found { metainfo: metainfo_of(&transaction, id)?, entry }))
    }

    /// Every version of a name that is kept, the latest first.
    pub(super) fn versions(&self, name: &str) -> Result<Vec<Entry>, CatalogueError> {
        let reader = self.reader();
        let sql = format!("{ENTRIES} WHERE n.name = ? ORDER BY e.version DESC");
        let mut statement = reader.prepare_cached(&sql)?;
        let entries = statement.query_map([name], |row| Ok(entry_of(row)?.entry))?;
        Ok(entries.collect::<Result<_, _>>()?)
    }

    /// Names in the order of their bytes. Looks at all names at most, and at the paths of a few.
    pub(super) fn search(
        &self,
        query: &Query,
        after: &str,
        limit: usize,
    ) -> Result<(Vec<Hit>, bool), CatalogueError> {
        let mut reader = self.reader();
        let transaction = reader.transaction()?;
        let mut ids = match query.index().map(|index| index::find(&transaction, index)) {
            None => walk(&transaction, query, (after, limit + 1), |_| true)?,
            Some(found) => {
                let found = found?;
                if found.len() > MATCHES_SORTED_MAX {
                    let is_found = |id| found.binary_search(&id).is_ok();
                    walk(&transaction, query, (after, limit + 1), is_found)?
                } else {
                    sorted(&transaction, query, (after, limit + 1), &found)?
                }
            }
        };
        let more = ids.len() > limit;
        ids.truncate(limit);
        let sql = format!("{ENTRIES} WHERE n.id = ? AND e.id = n.latest");
        let mut latest = transaction.prepare_cached(&sql)?;
        let mut scanned = 0;
        let mut hits = Vec::with_capacity(ids.len());
        for id in ids {
            let entry = latest.query_row([id], |row| Ok(entry_of(row)?.entry))?;
            let paths = |scanned: &mut usize| {
                let paths = index::paths_of(&transaction, id)?;
                *scanned += paths.len();
                Ok(paths)
            };
            hits.push(hit(query, entry, &mut scanned, paths)?);
        }
        Ok((hits, more))
    }

    pub(super) fn stored(&self) -> Result<Stored, CatalogueError> {
        let usage = usage::total(&self.reader())?;
        let number = |count: i64| u64::try_from(count).unwrap_or(0);
        Ok(Stored {
            names: number(usage.names),
            versions: number(usage.versions),
            bytes: number(usage.bytes),
        })
    }

    /// The hashes of every version, and how many downloads have ended.
    pub(super) fn registered(&self) -> Result<Vec<(InfoHashes, u32)>, CatalogueError> {
        let reader = self.reader();
        let mut statement = reader.prepare("SELECT v1, v2, completed FROM entry")?;
        let rows = statement.query_map([], |row| Ok((hashes_of(row)?, row.get("completed")?)))?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    /// A connection that reads: one that nobody uses, or else the next one in turn.
    fn reader(&self) -> MutexGuard<'_, Connection> {
        let idle = self.readers.iter().find_map(Mutex::try_lock);
        idle.unwrap_or_else(|| {
            let turn = self.turn.fetch_add(1, Ordering::Relaxed);
            self.readers[turn % self.readers.len()].lock()
        })
    }
}

/// Ids of the names that fit, read in the order of the names.
fn walk(
    connection: &Connection,
    query: &Query,
    (after, limit): (&str, usize),
    is_found: impl Fn(i64) -> bool,
) -> rusqlite::Result<Vec<i64>> {
    let sql = "SELECT id, folded FROM name INDEXED BY name_folded WHERE name > ? ORDER BY name";
    let mut statement = connection.prepare_cached(sql)?;
    let mut rows = statement.query([after])?;
    let mut ids = Vec::new();
    while ids.len() < limit {
        let Some(row) = rows.next()? else { break };
        let id = row.get(0)?;
        let folded = row.get_ref(1)?.as_str().map_err(|_| broken(1, "folded name"))?;
        if is_found(id) && query.fits(folded) {
            ids.push(id);
        }
    }
    Ok(ids)
}

/// The same for the few that the index has found.
fn sorted(
    connection: &Connection,
    query: &Query,
    (after, limit): (&str, usize),
    found: &[i64],
) -> rusqlite::Result<Vec<i64>> {
    let sql = "SELECT name, folded FROM name WHERE id = ?";
    let mut statement = connection.prepare_cached(sql)?;
    let mut names: Vec<(String, i64)> = Vec::new();
    for &id in found {
        let mut rows = statement.query([id])?;
        let Some(row) = rows.next()? else { continue };
        let name = row.get_ref(0)?.as_str().map_err(|_| broken(0, "name"))?;
        let folded = row.get_ref(1)?.as_str().map_err(|_| broken(1, "folded name"))?;
        if name > after && query.fits(folded) {
            names.push((name.to_owned(), id));
        }
    }
    names.sort_unstable();
    Ok(names.into_iter().take(limit).map(|(_, id)| id).collect())
}

/// Says whether it was a path that fits, and which one as long as looking is cheap.
fn hit(
    query: &Query,
    entry: Entry,
    scanned: &mut usize,
    paths: impl FnOnce(&mut usize) -> rusqlite::Result<String>,
) -> rusqlite::Result<Hit> {
    let about = format!("{}\n{}\n{}", entry.name, entry.tags.join(" "), entry.description);
    let missing = query.missing_in(&about);
    let in_paths = !missing.is_empty();
    let mut path = None;
    if in_paths && *scanned < PATHS_SCANNED_MAX {
        let lines = paths(scanned)?;
        let fits = |line: &&str| {
            let folded = fold(line);
            missing.iter().any(|word| folded.contains(word))
        };
        path = lines.lines().find(fits).map(str::to_owned);
    }
    Ok(Hit { entry, in_paths, path })
}

/// Opens the tracker's database in a folder, made or brought up to date if need be. What is written
/// over this connection is on the disk when it is acknowledged.
pub(crate) fn open_database(folder: &Path) -> Result<Connection, CatalogueError> {
    let path = folder.join(DATABASE_FILE);
    let shown = path.display().to_string();
    let open = || -> Result<_, CatalogueError> {
        let mut connection = connect(&path)?;
        check(&connection, &path)?;
        schema::migrate(&mut connection, &shown)?;
        connection.pragma_update(None, "synchronous", "FULL")?;
        Ok(connection)
    };
    open().map_err(|error| explained(error, &shown))
}

fn connect(path: &Path) -> Result<Connection, rusqlite::Error> {
    let connection = Connection::open(path)?;
    connection.busy_timeout(std::time::Duration::from_secs(5))?;
    connection.pragma_update(None, "journal_mode", "WAL")?;
    connection.pragma_update(None, "foreign_keys", true)?;
    // Nothing in the file may name functions or tables that were not there when it was made.
    connection.pragma_update(None, "trusted_schema", false)?;
    Ok(connection)
}

fn check(connection: &Connection, path: &Path) -> Result<(), CatalogueError> {
    if std::fs::metadata(path).is_ok_and(|meta| meta.len() > CHECKED_LEN_MAX) {
        return Ok(());
    }
    let verdict: String = connection.query_row("PRAGMA quick_check(1)", [], |row| row.get(0))?;
    if verdict == "ok" { Ok(()) } else { Err(damaged(&path.display().to_string(), &verdict)) }
}

fn damaged(path: &str, detail: &str) -> CatalogueError {
    let reason = format!(
        "the catalogue is damaged ({detail}); move the file away to start with an empty one, or put \
         a copy back"
    );
    CatalogueError::Unusable { path: path.to_owned(), reason }
}

/// What an error of SQLite means when it comes while opening.
fn explained(error: CatalogueError, path: &str) -> CatalogueError {
    if let CatalogueError::Database(rusqlite::Error::SqliteFailure(failure, _)) = &error
        && matches!(failure.code, ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase)
    {
        return damaged(path, &failure.to_string());
    }
    error
}

pub(super) fn find_in(
    connection: &Connection,
    which: &Which,
) -> Result<Option<Numbered>, rusqlite::Error> {
    match which {
        Which::Name(text) => {
            let latest = format!("{ENTRIES} WHERE n.name = ? AND e.id = n.latest");
            let mut latest = connection.prepare_cached(&latest)?;
            let whole = latest.query_row([text], entry_of).optional()?;
            // Names of earlier versions of this program may end like a version.
            let Some(Versioned { name, number }) =
                Versioned::parse(text).filter(|_| whole.is_none())
            else {
                return Ok(whole);
            };
            match number {
                None => latest.query_row([name], entry_of).optional(),
                Some(number) => version_in(connection, name, number),
            }
        }
        Which::Hash(hash) => {
            let Some(id) = first_with(connection, hash)? else { return Ok(None) };
            connection
                .prepare_cached(&format!("{ENTRIES} WHERE e.id = ?"))?
                .query_row([id], entry_of)
                .optional()
        }
    }
}

/// A version of a name.
pub(super) fn version_in(
    connection: &Connection,
    name: &str,
    version: u32,
) -> Result<Option<Numbered>, rusqlite::Error> {
    connection
        .prepare_cached(&format!("{ENTRIES} WHERE n.name = ? AND e.version = ?"))?
        .query_row(params![name, version], entry_of)
        .optional()
}

/// The first published entry that has this hash: v1, or v2 cut to 20 bytes.
pub(super) fn first_with(
    connection: &Connection,
    hash: &InfoHash,
) -> Result<Option<i64>, rusqlite::Error> {
    let sql = "SELECT id FROM entry WHERE v1 = ?1
               UNION ALL
               SELECT id FROM entry WHERE v2 IS NOT NULL AND substr(v2, 1, 20) = ?1
               ORDER BY id LIMIT 1";
    connection.prepare_cached(sql)?.query_row([hash.0], |row| row.get(0)).optional()
}

/// The torrent file of an entry.
pub(super) fn metainfo_of(connection: &Connection, id: i64) -> Result<Vec<u8>, rusqlite::Error> {
    connection
        .prepare_cached("SELECT bytes FROM metainfo WHERE entry_id = ?")?
        .query_row([id], |row| row.get(0))
}

/// Numbers are signed in SQLite; ours are never below 0.
fn number(row: &Row<'_>, column: impl rusqlite::RowIndex) -> Result<u64, rusqlite::Error> {
    Ok(u64::try_from(row.get::<_, i64>(column)?).unwrap_or(0))
}

fn hashes_of(row: &Row<'_>) -> Result<InfoHashes, rusqlite::Error> {
    let v1: Option<[u8; 20]> = row.get("v1")?;
    let v2: Option<[u8; 32]> = row.get("v2")?;
    let hashes = InfoHashes::new(v1.map(InfoHashV1), v2.map(InfoHashV2));
    hashes.ok_or_else(|| broken(2, "no info hash"))
}

pub(super) fn entry_of(row: &Row<'_>) -> Result<Numbered, rusqlite::Error> {
    let tags: String = row.get("tags")?;
    let entry = Entry {
        name: row.get("name")?,
        version: row.get("version")?,
        versions: row.get("versions")?,
        hashes: hashes_of(row)?,
        size: number(row, "size")?,
        files: number(row, "files")?,
        piece_len: row.get("piece_len")?,
        published: row.get("published")?,
        description: row.get("description")?,
        tags: tags.split_whitespace().map(str::to_owned).collect(),
        owner: row.get::<_, Option<String>>("owner")?.map(Owner::stored),
    };
    Ok(Numbered { id: row.get("id")?, entry })
}

/// A row that the schema's own checks rule out.
fn broken(column: usize, what: &'static str) -> rusqlite::Error {
    rusqlite::Error::FromSqlConversionFailure(column, Type::Blob, what.into())
}
