//! The database: one connection that writes, one that reads, each used by one thread at a time.

use std::fs::{File, TryLockError};
use std::path::Path;

use parking_lot::Mutex;
use proto::{InfoHashV1, InfoHashV2, InfoHashes};
use rusqlite::types::Type;
use rusqlite::{Connection, ErrorCode, OptionalExtension as _, Row, TransactionBehavior, params};

use super::name::Pattern;
use super::{CatalogueError, Entry, Found, NameTaken, Published, Which, schema};
use crate::limits::ENTRIES_MAX;

/// Databases up to this size are checked from end to end when they are opened.
const CHECKED_LEN_MAX: u64 = 64 << 20;

/// The database in the data folder.
const FILE: &str = "tracker.db";

/// The columns that [`entry_of`] reads.
const COLUMNS: &str = "id, name, v1, v2, size, files, piece_len, published";

#[derive(Debug)]
pub(super) struct Store {
    writer: Mutex<Connection>,
    reader: Mutex<Connection>,
    // Locked for as long as it is open.
    _lock: File,
}

impl Store {
    pub(super) fn open(folder: &Path) -> Result<Self, CatalogueError> {
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
        let writer = open_database(folder)?;
        let path = folder.join(FILE);
        let shown = path.display().to_string();
        let open = || -> Result<_, CatalogueError> {
            let reader = connect(&path)?;
            reader.pragma_update(None, "query_only", true)?;
            Ok(reader)
        };
        let reader = open().map_err(|error| explained(error, &shown))?;
        Ok(Self { writer: Mutex::new(writer), reader: Mutex::new(reader), _lock: lock })
    }

    pub(super) fn publish(
        &self,
        entry: Entry,
        metainfo: &[u8],
        by: &str,
    ) -> Result<Published, CatalogueError> {
        let mut writer = self.writer.lock();
        let transaction = writer.transaction_with_behavior(TransactionBehavior::Immediate)?;
        if let Some((_, existing)) = find_in(&transaction, &Which::Name(entry.name.clone()))? {
            return if existing.hashes == entry.hashes {
                Ok(Published::Same(existing))
            } else {
                let (name, existing) = (existing.name, existing.hashes);
                let taken = NameTaken { name, existing, offered: entry.hashes };
                Err(CatalogueError::NameTaken(Box::new(taken)))
            };
        }
        if count_in(&transaction)? >= ENTRIES_MAX {
            return Err(CatalogueError::Full);
        }
        transaction
            .prepare_cached(
                "INSERT INTO entry (name, v1, v2, size, files, piece_len, published, published_by)
                 VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            )?
            .execute(params![
                entry.name,
                entry.hashes.v1().map(|hash| hash.0),
                entry.hashes.v2().map(|hash| hash.0),
                i64::try_from(entry.size).unwrap_or(i64::MAX),
                i64::try_from(entry.files).unwrap_or(i64::MAX),
                entry.piece_len,
                entry.published,
                by,
            ])?;
        let id = transaction.last_insert_rowid();
        transaction
            .prepare_cached("INSERT INTO metainfo (entry_id, bytes) VALUES (?, ?)")?
            .execute(params![id, metainfo])?;
        transaction.commit()?;
        Ok(Published::Created(entry))
    }

    pub(super) fn find(&self, which: &Which) -> Result<Option<Entry>, CatalogueError> {
        Ok(find_in(&self.reader.lock(), which)?.map(|(_, entry)| entry))
    }

    pub(super) fn fetch(&self, which: &Which) -> Result<Option<Found>, CatalogueError> {
        let reader = self.reader.lock();
        let Some((id, entry)) = find_in(&reader, which)? else { return Ok(None) };
        let metainfo = reader
            .prepare_cached("SELECT bytes FROM metainfo WHERE entry_id = ?")?
            .query_row([id], |row| row.get(0))?;
        Ok(Some(Found { entry, metainfo }))
    }

    pub(super) fn list(
        &self,
        pattern: &Pattern,
        after: &str,
        limit: usize,
    ) -> Result<(Vec<Entry>, bool), CatalogueError> {
        let reader = self.reader.lock();
        let sql = format!("SELECT {COLUMNS} FROM entry WHERE name > ? ORDER BY name");
        let mut statement = reader.prepare_cached(&sql)?;
        let mut rows = statement.query([after])?;
        let mut entries = Vec::new();
        while let Some(row) = rows.next()? {
            let name = row.get_ref("name")?.as_str().map_err(|_| broken(1, "name"))?;
            if !pattern.matches(name) {
                continue;
            }
            if entries.len() == limit {
                return Ok((entries, true));
            }
            entries.push(entry_of(row)?.1);
        }
        Ok((entries, false))
    }

    pub(super) fn count(&self) -> Result<u64, CatalogueError> {
        Ok(count_in(&self.reader.lock())?)
    }

    pub(super) fn all_hashes(&self) -> Result<Vec<InfoHashes>, CatalogueError> {
        let reader = self.reader.lock();
        let mut statement = reader.prepare(&format!("SELECT {COLUMNS} FROM entry"))?;
        let hashes = statement.query_map([], |row| Ok(entry_of(row)?.1.hashes))?;
        Ok(hashes.collect::<Result<_, _>>()?)
    }
}

/// Opens the tracker's database in a folder, made or brought up to date if need be. What is written
/// over this connection is on the disk when it is acknowledged.
pub(crate) fn open_database(folder: &Path) -> Result<Connection, CatalogueError> {
    let path = folder.join(FILE);
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

fn find_in(
    connection: &Connection,
    which: &Which,
) -> Result<Option<(i64, Entry)>, rusqlite::Error> {
    match which {
        Which::Name(name) => connection
            .prepare_cached(&format!("SELECT {COLUMNS} FROM entry WHERE name = ?"))?
            .query_row([name], entry_of)
            .optional(),
        Which::Hash(hash) => connection
            .prepare_cached(&format!(
                "SELECT {COLUMNS} FROM entry WHERE v1 = ?1
                 UNION ALL
                 SELECT {COLUMNS} FROM entry WHERE v2 IS NOT NULL AND substr(v2, 1, 20) = ?1
                 ORDER BY id LIMIT 1"
            ))?
            .query_row([hash.0], entry_of)
            .optional(),
    }
}

fn count_in(connection: &Connection) -> Result<u64, rusqlite::Error> {
    connection.prepare_cached("SELECT count(*) FROM entry")?.query_row([], |row| number(row, 0))
}

/// Numbers are signed in SQLite; ours are never below 0.
fn number(row: &Row<'_>, column: impl rusqlite::RowIndex) -> Result<u64, rusqlite::Error> {
    Ok(u64::try_from(row.get::<_, i64>(column)?).unwrap_or(0))
}

fn entry_of(row: &Row<'_>) -> Result<(i64, Entry), rusqlite::Error> {
    let v1: Option<[u8; 20]> = row.get("v1")?;
    let v2: Option<[u8; 32]> = row.get("v2")?;
    let hashes = InfoHashes::new(v1.map(InfoHashV1), v2.map(InfoHashV2));
    let entry = Entry {
        name: row.get("name")?,
        hashes: hashes.ok_or_else(|| broken(2, "no info hash"))?,
        size: number(row, "size")?,
        files: number(row, "files")?,
        piece_len: row.get("piece_len")?,
        published: row.get("published")?,
    };
    Ok((row.get("id")?, entry))
}

/// A row that the schema's own checks rule out.
fn broken(column: usize, what: &'static str) -> rusqlite::Error {
    rusqlite::Error::FromSqlConversionFailure(column, Type::Blob, what.into())
}
