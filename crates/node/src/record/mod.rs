//! What a node remembers: `node.db` and the lock on the folder that holds it.
//!
//! One row a torrent says what it is and where its bytes are; one row says which pieces are durable;
//! one row a file says which file on disk was meant (inode, size, times). The database is in WAL mode
//! with `synchronous = FULL`, so a transaction that returned survives a power cut; those that come together
//! share one sync (`group`). Callers sync data before they record it: a record never claims what the disk
//! does not hold.
//!
//! Beside them stands where which content lies, by its v2 root: a file of one torrent is taken from
//! another's instead of being fetched.
//!
//! A database that cannot be read is put aside under a new name, never deleted, and reported: content
//! can always be hashed again.

mod aliases;
mod copies;
mod group;
mod lock;
mod moves;
mod schema;
mod totals;
mod wishes;

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use parking_lot::Mutex;
use proto::metainfo::Metainfo;
use proto::{Bitfield, FileIndex, InfoHash};
use rusqlite::{OptionalExtension, Savepoint, params};

use crate::disk::FileIdentity;
pub(crate) use copies::LEN_MIN as COPY_LEN_MIN;
use group::Group;
use lock::FolderLock;
pub use moves::{Arrival, MoveRecord, Stage};
pub use totals::TotalsRecord;
pub use wishes::{Rest, Wishes};

/// The node's memory on disk. All methods block; none is slow but for the sync.
#[derive(Debug)]
pub struct Records {
    db: Group,
    dir: PathBuf,
    lock: Mutex<Option<FolderLock>>,
}

/// A torrent as it was added.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TorrentRecord {
    /// The key of all that belongs to it.
    pub key: InfoHash,
    /// What it is.
    pub source: SavedSource,
    /// Where its bytes are.
    pub content: SavedContent,
    /// Tracker URLs in tiers.
    pub trackers: Vec<Vec<String>>,
    /// Every file has its name and all is synced.
    pub finished: bool,
}

/// What a torrent is, as bytes that can be decoded again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SavedSource {
    /// A torrent file.
    Metainfo(Vec<u8>),
    /// A magnet link.
    Magnet(String),
}

/// Where a torrent's bytes are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SavedContent {
    /// Fetched into this folder.
    Fetch(PathBuf),
    /// Served from this very file or folder.
    Share(PathBuf),
}

/// What is known of one file's place on disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FileRecord {
    /// Which file it was.
    pub identity: FileIdentity,
    /// It is complete and nobody of us writes to it any more, so its times count.
    pub whole: bool,
    /// We made it, so we may remove it as long as nobody changes it.
    pub made: bool,
}

/// What is durable of a torrent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Progress {
    /// The pieces that are on disk and synced.
    pub have: Bitfield,
    /// The files that were written or checked.
    pub files: BTreeMap<FileIndex, FileRecord>,
    /// The last run ended in good order, so the times of unfinished files count too.
    pub clean: bool,
    /// Every file has its name and all is synced.
    pub finished: bool,
}

/// Why the record cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum RecordError {
    /// Another process uses the folder.
    #[error("{0} is in use by another teem process; give this one its own --data folder")]
    Locked(PathBuf),
    /// The folder or a file in it cannot be used.
    #[error("{what}: {source}")]
    Io {
        /// What was tried, on what.
        what: String,
        /// The system's answer.
        source: io::Error,
    },
    /// The database was made by a newer version.
    #[error("{path} was written by a newer version of teem (format {found}, known up to {known})")]
    Newer {
        /// The database.
        path: PathBuf,
        /// Its format.
        found: i64,
        /// The newest format known here.
        known: i64,
    },
    /// The database is damaged. It was put aside; the next start begins with an empty one.
    #[error(
        "{path} is damaged ({reason}); it was kept as {kept}. Start again: \
         torrents that are added again are checked, not fetched again"
    )]
    Damaged {
        /// The database.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
        /// Where it is now.
        kept: PathBuf,
    },
    /// A statement failed.
    #[error("state database: {0}")]
    Database(#[from] rusqlite::Error),
}

impl RecordError {
    /// The disk is full.
    #[must_use]
    pub fn is_full(&self) -> bool {
        match self {
            Self::Io { source, .. } => source.kind() == io::ErrorKind::StorageFull,
            Self::Database(error) => {
                error.sqlite_error_code() == Some(rusqlite::ErrorCode::DiskFull)
            }
            Self::Locked(_) | Self::Newer { .. } | Self::Damaged { .. } => false,
        }
    }
}

impl Records {
    /// Locks `data_dir`, made if missing, and opens the database in it.
    pub fn open(data_dir: &Path) -> Result<Self, RecordError> {
        let io = |source| RecordError::Io { what: data_dir.display().to_string(), source };
        std::fs::create_dir_all(data_dir).map_err(io)?;
        let lock = FolderLock::take(data_dir)?;
        let db = schema::open(&data_dir.join("node.db"))?;
        Ok(Self { db: Group::new(db), dir: data_dir.to_owned(), lock: Mutex::new(Some(lock)) })
    }

    /// Gives the folder up to another process. Whoever writes must have ended.
    pub fn release(&self) {
        self.lock.lock().take();
    }

    /// The folder.
    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Every torrent that was saved, in the order of adding.
    pub fn load_all(&self) -> Result<Vec<TorrentRecord>, RecordError> {
        self.db.read(|db| {
            let mut statement = db.prepare(
                "SELECT t.key, t.source_kind, t.source, t.content_kind, t.path, t.trackers,
                        coalesce(p.finished, 0)
                 FROM torrents t LEFT JOIN progress p ON p.key = t.key ORDER BY t.rowid",
            )?;
            let rows = statement.query_map([], |row| {
                let source: Vec<u8> = row.get(2)?;
                let path: Vec<u8> = row.get(4)?;
                let path = PathBuf::from(OsStr::from_bytes(&path));
                Ok(TorrentRecord {
                    key: InfoHash(row.get(0)?),
                    source: SavedSource::from_columns(row.get(1)?, source),
                    content: SavedContent::from_columns(row.get(3)?, path),
                    trackers: tiers_from(&row.get::<_, String>(5)?),
                    finished: row.get(6)?,
                })
            })?;
            Ok(rows.collect::<Result<_, _>>()?)
        })
    }

    /// The torrent file of a torrent that was saved, and where its content is.
    pub fn saved(&self, key: InfoHash) -> Result<Option<(Metainfo, SavedContent)>, RecordError> {
        self.db.read(|db| {
            let row = db
                .prepare_cached(
                    "SELECT source_kind, source, content_kind, path FROM torrents WHERE key = ?1",
                )?
                .query_row([key.as_bytes()], |row| {
                    let source = SavedSource::from_columns(row.get(0)?, row.get(1)?);
                    let path: Vec<u8> = row.get(3)?;
                    let path = PathBuf::from(OsStr::from_bytes(&path));
                    Ok((source, SavedContent::from_columns(row.get(2)?, path)))
                })
                .optional()?;
            let Some((SavedSource::Metainfo(bytes), content)) = row else { return Ok(None) };
            Ok(Metainfo::decode(&bytes).ok().map(|metainfo| (metainfo, content)))
        })
    }

    /// What was saved of the torrents whose bytes are there, the latest first.
    pub fn sources_of(&self, content: &SavedContent) -> Result<Vec<SavedSource>, RecordError> {
        let (kind, path) = content.columns();
        self.db.read(|db| {
            let mut statement = db.prepare(
                "SELECT source_kind, source FROM torrents WHERE content_kind = ?1 AND path = ?2
                 ORDER BY rowid DESC",
            )?;
            let rows = statement.query_map(params![kind, path], |row| {
                Ok(SavedSource::from_columns(row.get(0)?, row.get(1)?))
            })?;
            Ok(rows.collect::<Result<_, _>>()?)
        })
    }

    /// Remembers a torrent, or what changed of it. What is durable of it stays as it is.
    pub fn save(&self, torrent: &TorrentRecord) -> Result<(), RecordError> {
        if self.is_saved(torrent)? {
            return Ok(());
        }
        let torrent = torrent.clone();
        Ok(self.db.write(move |db| {
            let (source_kind, source) = torrent.source.columns();
            let (content_kind, path) = torrent.content.columns();
            db.prepare_cached(
                "INSERT INTO torrents (key, source_kind, source, content_kind, path, trackers)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6)
                 ON CONFLICT (key) DO UPDATE SET source_kind = ?2, source = ?3, content_kind = ?4,
                     path = ?5, trackers = ?6",
            )?
            .execute(params![
                torrent.key.as_bytes(),
                source_kind,
                source,
                content_kind,
                path,
                tiers_to(&torrent.trackers),
            ])?;
            Ok(())
        })?)
    }

    /// As at most starts: nothing has to wait for the disk.
    fn is_saved(&self, torrent: &TorrentRecord) -> Result<bool, RecordError> {
        let (source_kind, source) = torrent.source.columns();
        let (content_kind, path) = torrent.content.columns();
        let saved = self.db.read(|db| {
            db.prepare_cached(
                "SELECT 1 FROM torrents WHERE key = ?1 AND source_kind = ?2 AND source = ?3
                     AND content_kind = ?4 AND path = ?5 AND trackers = ?6",
            )?
            .exists(params![
                torrent.key.as_bytes(),
                source_kind,
                source,
                content_kind,
                path,
                tiers_to(&torrent.trackers),
            ])
        });
        Ok(saved?)
    }

    /// The bytes of a torrent are there now.
    pub fn move_to(&self, key: InfoHash, content: &SavedContent) -> Result<(), RecordError> {
        let content = content.clone();
        Ok(self.db.write(move |db| {
            let (kind, path) = content.columns();
            db.execute(
                "UPDATE torrents SET content_kind = ?2, path = ?3 WHERE key = ?1",
                params![key.as_bytes(), kind, path],
            )?;
            Ok(())
        })?)
    }

    /// What is durable of a torrent; `None` when nothing is known, or what is known is damaged or
    /// belongs to another number of pieces.
    pub fn progress(&self, key: InfoHash, pieces: u32) -> Result<Option<Progress>, RecordError> {
        self.db.read(|db| {
            let row = db
                .prepare_cached("SELECT have, clean, finished FROM progress WHERE key = ?1")?
                .query_row([key.as_bytes()], |row| {
                    Ok((row.get::<_, Vec<u8>>(0)?, row.get(1)?, row.get(2)?))
                })
                .optional()?;
            let Some((have, clean, finished)) = row else { return Ok(None) };
            let have = schema::unseal(&have).and_then(|bits| Bitfield::decode(bits, pieces).ok());
            let Some(have) = have else { return Ok(None) };
            let mut statement = db.prepare_cached(
                "SELECT file, dev, ino, size, mtime_ns, ctime_ns, whole, made FROM files WHERE key = ?1",
            )?;
            let files = statement.query_map([key.as_bytes()], |row| {
                let (identity, whole, made) = (identity_from(row)?, row.get(6)?, row.get(7)?);
                Ok((FileIndex(row.get(0)?), FileRecord { identity, whole, made }))
            })?;
            Ok(Some(Progress { have, files: files.collect::<Result<_, _>>()?, clean, finished }))
        })
    }

    /// Records in one transaction, synced when it returns, that exactly these pieces are durable, and
    /// what changed about the files: `None` forgets a file. The caller has synced the data before.
    pub fn checkpoint(
        &self,
        key: InfoHash,
        have: &Bitfield,
        files: &[(FileIndex, Option<FileRecord>)],
        standing: Standing,
    ) -> Result<(), RecordError> {
        let (have, files) = (schema::seal(have.as_bytes()), files.to_vec());
        Ok(self.db.write(move |db| {
            db.prepare_cached(
                "INSERT INTO progress (key, have, clean, finished) VALUES (?1, ?2, ?3, ?4)
                 ON CONFLICT (key) DO UPDATE SET have = ?2, clean = ?3, finished = ?4",
            )?
            .execute(params![
                key.as_bytes(),
                have,
                standing.clean,
                standing.finished
            ])?;
            files.into_iter().try_for_each(|(file, record)| write_file(db, key, file, record))
        })?)
    }

    /// Forgets a torrent. Its content stays.
    pub fn remove(&self, key: InfoHash) -> Result<(), RecordError> {
        Ok(self.db.write(move |db| {
            for table in TABLES {
                db.execute(&format!("DELETE FROM {table} WHERE key = ?1"), [key.as_bytes()])?;
            }
            Ok(())
        })?)
    }
}

fn write_file(
    db: &Savepoint<'_>,
    key: InfoHash,
    file: FileIndex,
    record: Option<FileRecord>,
) -> Result<(), rusqlite::Error> {
    let Some(FileRecord { identity, whole, made }) = record else {
        db.prepare_cached("DELETE FROM files WHERE key = ?1 AND file = ?2")?
            .execute(params![key.as_bytes(), file.0])?;
        return Ok(());
    };
    db.prepare_cached(
        "INSERT OR REPLACE INTO files (key, file, dev, ino, size, mtime_ns, ctime_ns, whole, made)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
    )?
    .execute(params![
        key.as_bytes(),
        file.0,
        identity.dev as i64,
        identity.ino as i64,
        identity.size as i64,
        identity.mtime_ns,
        identity.ctime_ns,
        whole,
        made,
    ])?;
    Ok(())
}

/// The identity in the columns after the first.
fn identity_from(row: &rusqlite::Row<'_>) -> Result<FileIdentity, rusqlite::Error> {
    Ok(FileIdentity {
        dev: row.get::<_, i64>(1)? as u64,
        ino: row.get::<_, i64>(2)? as u64,
        size: row.get::<_, i64>(3)? as u64,
        mtime_ns: row.get(4)?,
        ctime_ns: row.get(5)?,
    })
}

impl SavedSource {
    fn columns(&self) -> (i64, &[u8]) {
        match self {
            Self::Metainfo(bytes) => (schema::METAINFO, bytes),
            Self::Magnet(link) => (schema::MAGNET, link.as_bytes()),
        }
    }

    fn from_columns(kind: i64, source: Vec<u8>) -> Self {
        match kind {
            schema::METAINFO => Self::Metainfo(source),
            _ => Self::Magnet(String::from_utf8_lossy(&source).into_owned()),
        }
    }
}

impl SavedContent {
    fn from_columns(kind: i64, path: PathBuf) -> Self {
        match kind {
            schema::FETCH => Self::Fetch(path),
            _ => Self::Share(path),
        }
    }

    fn columns(&self) -> (i64, &[u8]) {
        match self {
            Self::Fetch(path) => (schema::FETCH, path.as_os_str().as_bytes()),
            Self::Share(path) => (schema::SHARE, path.as_os_str().as_bytes()),
        }
    }
}

/// How a torrent stands at a checkpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Standing {
    /// Nothing is written after this checkpoint in this run.
    pub clean: bool,
    /// Every file has its name and all is synced.
    pub finished: bool,
}

/// All that know something of a torrent by its key.
const TABLES: [&str; 11] = [
    "torrents", "progress", "files", "copies", "wishes", "renames", "moves", "moved", "removals",
    "totals", "aliases",
];

/// One tier a line, URLs separated by spaces: neither can be part of a URL.
fn tiers_to(tiers: &[Vec<String>]) -> String {
    tiers.iter().map(|tier| tier.join(" ")).collect::<Vec<_>>().join("\n")
}

fn tiers_from(text: &str) -> Vec<Vec<String>> {
    text.lines()
        .map(|line| line.split_ascii_whitespace().map(str::to_owned).collect::<Vec<_>>())
        .filter(|tier| !tier.is_empty())
        .collect()
}

#[cfg(test)]
mod tests;
