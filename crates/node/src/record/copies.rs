//! Where content lies on this machine, by its v2 root: the files of all torrents that were shared or
//! fetched. A row is a hint and no proof: who takes a file from there checks it.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use proto::metainfo::{File, Info};
use proto::{BLOCK_LEN, MerkleHash};
use rusqlite::params;

use super::{RecordError, Records};

impl Records {
    /// Notes that all of the torrent's files are at `path`: the file or folder itself. What was noted
    /// before stays: earlier copies may still be there.
    pub fn note_copies(&self, path: &Path, info: &Info) -> Result<(), RecordError> {
        let at = |file: &File| match info.is_single_file() {
            true => path.to_owned(),
            false => file.path.iter().fold(path.to_owned(), |path, name| path.join(name)),
        };
        let worth = info.files().iter().filter(|file| file.len >= LEN_MIN);
        let mut worth = worth.filter_map(|file| Some((file.root?, file))).peekable();
        let Some((root, first)) = worth.peek() else { return Ok(()) };
        let key = info.hashes().primary();
        // All are noted at once, so the first tells of the others.
        let noted = self.db.read(|db| {
            db.prepare_cached("SELECT 1 FROM copies WHERE root = ?1 AND path = ?2 AND key = ?3")?
                .exists(params![root.0, at(first).as_os_str().as_bytes(), key.as_bytes()])
        });
        if noted? {
            return Ok(());
        }
        let rows: Vec<_> = worth.map(|(root, file)| (root, at(file))).collect();
        Ok(self.db.write(move |db| {
            for (root, path) in rows {
                db.prepare_cached(
                    "INSERT OR REPLACE INTO copies (root, path, key) VALUES (?1, ?2, ?3)",
                )?
                .execute(params![
                    root.0,
                    path.as_os_str().as_bytes(),
                    key.as_bytes()
                ])?;
            }
            Ok(())
        })?)
    }

    /// Where files with that root may lie.
    pub fn copies_of(&self, root: &MerkleHash) -> Result<Vec<PathBuf>, RecordError> {
        self.db.read(|db| {
            let mut statement =
                db.prepare_cached("SELECT path FROM copies WHERE root = ?1 LIMIT ?2")?;
            let rows = statement.query_map(params![root.0, COPIES_MAX], |row| {
                let path: Vec<u8> = row.get(0)?;
                Ok(PathBuf::from(OsStr::from_bytes(&path)))
            })?;
            Ok(rows.collect::<Result<_, _>>()?)
        })
    }

    /// There are no such files any more.
    pub fn forget_copies(&self, gone: Vec<(MerkleHash, PathBuf)>) -> Result<(), RecordError> {
        if gone.is_empty() {
            return Ok(());
        }
        Ok(self.db.write(move |db| {
            let mut delete =
                db.prepare_cached("DELETE FROM copies WHERE root = ?1 AND path = ?2")?;
            for (root, path) in gone {
                delete.execute(params![root.0, path.as_os_str().as_bytes()])?;
            }
            Ok(())
        })?)
    }
}

/// Smaller files are fetched as fast as they are looked up.
pub(crate) const LEN_MIN: u64 = BLOCK_LEN as u64;
/// One good copy is enough; a few more for those that are gone or changed.
const COPIES_MAX: u32 = 8;
