//! Which pieces were written since the last checkpoint: what to hash again after a crash.
//!
//! One small file a torrent, never synced. It proves nothing: pieces that it names are read and
//! hashed before they count, so a torn or lost entry costs a piece fetched twice, never a wrong one.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use proto::{InfoHash, PieceIndex};

/// The open journal of one torrent.
#[derive(Debug)]
pub(super) struct Journal {
    path: PathBuf,
    file: Option<File>,
}

impl Journal {
    /// The journal of a torrent in a data folder; made at the first write.
    pub(super) fn new(data_dir: &Path, key: InfoHash) -> Self {
        Self { path: data_dir.join("written").join(key.to_string()), file: None }
    }

    /// The pieces that the last run wrote after its last checkpoint, without repetition, as far as
    /// they exist in a torrent of `pieces`.
    pub(super) fn read(&self, pieces: u32) -> io::Result<Vec<PieceIndex>> {
        let bytes = match std::fs::read(&self.path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(error),
        };
        let (entries, _torn) = bytes.as_chunks::<4>();
        let mut found: Vec<_> = entries
            .iter()
            .map(|entry| PieceIndex(u32::from_le_bytes(*entry)))
            .filter(|piece| piece.0 < pieces)
            .collect();
        found.sort_unstable();
        found.dedup();
        Ok(found)
    }

    /// Adds pieces, in one write.
    pub(super) fn append(&mut self, pieces: &[PieceIndex]) -> io::Result<()> {
        let bytes: Vec<u8> = pieces.iter().flat_map(|piece| piece.0.to_le_bytes()).collect();
        self.open()?.write_all(&bytes)
    }

    /// After a checkpoint: only these are still unrecorded.
    pub(super) fn reset(&mut self, pieces: &[PieceIndex]) -> io::Result<()> {
        if self.file.is_none() && pieces.is_empty() && !self.path.exists() {
            return Ok(());
        }
        self.open()?.set_len(0)?;
        match pieces {
            [] => Ok(()),
            _ => self.append(pieces),
        }
    }

    /// Everything is recorded and nothing more will be written.
    pub(super) fn remove(&mut self) {
        self.file = None;
        // If it stays, its pieces are hashed once more for nothing.
        let _ = std::fs::remove_file(&self.path);
    }

    fn open(&mut self) -> io::Result<&mut File> {
        if self.file.is_none() {
            if let Some(folder) = self.path.parent() {
                std::fs::create_dir_all(folder)?;
            }
            let file = OpenOptions::new().create(true).append(true).open(&self.path)?;
            self.file = Some(file);
        }
        Ok(self.file.as_mut().expect("opened above"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_outlive_the_journal_and_torn_ones_do_not_count() {
        let dir = tempfile::tempdir().unwrap();
        let key = InfoHash([1; 20]);
        let pieces = |list: &[u32]| list.iter().map(|index| PieceIndex(*index)).collect::<Vec<_>>();
        let mut journal = Journal::new(dir.path(), key);
        assert_eq!(journal.read(10).unwrap(), []);
        journal.append(&pieces(&[7, 3])).unwrap();
        journal.append(&pieces(&[3, 11])).unwrap();
        drop(journal);

        let path = dir.path().join("written").join(key.to_string());
        OpenOptions::new().append(true).open(path).unwrap().write_all(&[1, 0]).unwrap();
        let mut journal = Journal::new(dir.path(), key);
        assert_eq!(journal.read(10).unwrap(), pieces(&[3, 7]));
        journal.reset(&pieces(&[5])).unwrap();
        assert_eq!(journal.read(10).unwrap(), pieces(&[5]));
        journal.remove();
        assert_eq!(journal.read(10).unwrap(), []);
    }
}
