//! A move of content that is under way, so that one that was interrupted anywhere is ended later.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use proto::{FileIndex, InfoHash};
use rusqlite::{OptionalExtension, Savepoint, params};

use super::wishes::{NOW, PENDING, load_renames, save_folder, save_renames};
use super::{FileRecord, RecordError, Records, identity_from, write_file};
use crate::disk::{FileIdentity, Renames};

/// How far a move is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// Files are renamed; each is at one end or the other.
    Renaming,
    /// Files are copied under names that only we give; the old ones hold.
    Copying,
    /// All copies are on the disk and get their names; the old ones hold.
    Placing,
    /// The new files hold; the old ones go.
    Clearing,
}

/// A move that was begun.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MoveRecord {
    /// The folder where the content was.
    pub origin: PathBuf,
    /// Where the content goes.
    pub folder: PathBuf,
    /// The names that it gets there.
    pub renames: Renames,
    /// How far it is.
    pub stage: Stage,
    /// While placing, the copies; while clearing, the old files.
    pub moved: Vec<Arrival>,
}

/// A file that is on its way, or of no use any more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Arrival {
    /// Which one.
    pub file: FileIndex,
    /// What it is.
    pub identity: FileIdentity,
    /// Where it is: an absolute path.
    pub path: PathBuf,
}

impl Stage {
    const ALL: [Self; 4] = [Self::Renaming, Self::Copying, Self::Placing, Self::Clearing];
}

impl Records {
    /// The move of a torrent that was begun, if there is one.
    pub fn load_move(&self, key: InfoHash) -> Result<Option<MoveRecord>, RecordError> {
        self.db.read(|db| {
            let row = db
                .prepare_cached("SELECT folder, stage, origin FROM moves WHERE key = ?1")?
                .query_row([key.as_bytes()], |row| {
                    let [folder, origin] = [row.get::<_, Vec<u8>>(0)?, row.get(2)?];
                    Ok((folder, row.get::<_, i64>(1)?, origin))
                })
                .optional()?;
            let Some((folder, stage, origin)) = row else { return Ok(None) };
            let stage = usize::try_from(stage).ok().and_then(|stage| Stage::ALL.get(stage));
            let mut statement = db.prepare(
                "SELECT file, dev, ino, size, mtime_ns, ctime_ns, path FROM moved WHERE key = ?1",
            )?;
            let moved = statement.query_map([key.as_bytes()], |row| {
                let path: Vec<u8> = row.get(6)?;
                let (file, identity) = (FileIndex(row.get(0)?), identity_from(row)?);
                Ok(Arrival { file, identity, path: PathBuf::from(OsStr::from_bytes(&path)) })
            })?;
            Ok(Some(MoveRecord {
                origin: PathBuf::from(OsStr::from_bytes(&origin)),
                folder: PathBuf::from(OsStr::from_bytes(&folder)),
                renames: load_renames(db, key, PENDING)?,
                stage: stage.copied().unwrap_or(Stage::Renaming),
                moved: moved.collect::<Result<_, _>>()?,
            }))
        })
    }

    /// A move has come so far.
    pub fn save_move(&self, key: InfoHash, moving: MoveRecord) -> Result<(), RecordError> {
        Ok(self.db.write(move |db| write_move(db, key, &moving))?)
    }

    /// The content is at the other end now, and these are its files there. `left` is what of it is still to
    /// be removed where it was; without any, the move has ended.
    pub fn switch_move(
        &self,
        key: InfoHash,
        moving: MoveRecord,
        files: Vec<(FileIndex, Option<FileRecord>)>,
        left: Vec<Arrival>,
    ) -> Result<(), RecordError> {
        Ok(self.db.write(move |db| {
            save_folder(db, key, &moving.folder)?;
            save_renames(db, key, NOW, &moving.renames)?;
            files.into_iter().try_for_each(|(file, record)| write_file(db, key, file, record))?;
            match left.is_empty() {
                true => end_move(db, key),
                false => {
                    let moving = MoveRecord { stage: Stage::Clearing, moved: left, ..moving };
                    write_move(db, key, &moving)
                }
            }
        })?)
    }

    /// A move has ended, or is given up.
    pub fn end_move(&self, key: InfoHash) -> Result<(), RecordError> {
        Ok(self.db.write(move |db| end_move(db, key))?)
    }
}

fn write_move(
    db: &Savepoint<'_>,
    key: InfoHash,
    moving: &MoveRecord,
) -> Result<(), rusqlite::Error> {
    db.execute(
        "INSERT OR REPLACE INTO moves (key, folder, stage, origin) VALUES (?1, ?2, ?3, ?4)",
        params![
            key.as_bytes(),
            moving.folder.as_os_str().as_bytes(),
            moving.stage as i64,
            moving.origin.as_os_str().as_bytes(),
        ],
    )?;
    save_renames(db, key, PENDING, &moving.renames)?;
    db.execute("DELETE FROM moved WHERE key = ?1", [key.as_bytes()])?;
    let mut write = db.prepare_cached(
        "INSERT INTO moved (key, file, dev, ino, size, mtime_ns, ctime_ns, path)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
    )?;
    for Arrival { file, identity, path } in &moving.moved {
        write.execute(params![
            key.as_bytes(),
            file.0,
            identity.dev as i64,
            identity.ino as i64,
            identity.size as i64,
            identity.mtime_ns,
            identity.ctime_ns,
            path.as_os_str().as_bytes(),
        ])?;
    }
    Ok(())
}

fn end_move(db: &Savepoint<'_>, key: InfoHash) -> Result<(), rusqlite::Error> {
    for table in ["moves", "moved"] {
        db.execute(&format!("DELETE FROM {table} WHERE key = ?1"), [key.as_bytes()])?;
    }
    save_renames(db, key, PENDING, &Renames::default())
}
