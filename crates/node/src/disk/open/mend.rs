//! A check of everything that somebody asked for: what to do with files that are not right.
//!
//! Invariant: a file that is as we made it is fetched again where it is; one that somebody changed is kept
//! under another name, and what of it is right is copied.

use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};

use proto::{FileIndex, PieceIndex};

use super::super::names::shortened;
use super::super::storage::SlotState;
use super::super::survey::Surveyed;
use super::super::{FileIdentity, OpenError};
use super::Opener;
use crate::record::FileRecord;

impl Opener<'_> {
    /// What the record says of the file, if it is the same one, whatever was done to it.
    pub(super) fn recorded_file(
        &self,
        index: FileIndex,
        identity: &FileIdentity,
    ) -> Option<&FileRecord> {
        let recorded = self.known.as_ref()?.files.get(&index);
        recorded.filter(|recorded| recorded.identity.ino == identity.ino)
    }

    /// Gets files out of the way that were read and are not right; returns the folders to sync.
    pub(super) fn mend(
        &self,
        files: &mut [Surveyed],
        (read, good): (&[PieceIndex], &[PieceIndex]),
    ) -> Result<BTreeSet<PathBuf>, OpenError> {
        let mut dirs = BTreeSet::new();
        for (index, file) in (0..).map(FileIndex).zip(files) {
            let own = &self.names[index.0 as usize].own;
            let wrong = match (&file.foreign, file.state) {
                (Some((path, identity)), _) if path == own => Some(*identity),
                (None, SlotState::Whole(identity)) if self.is_wrong(index, (read, good)) => {
                    Some(identity)
                }
                (Some(_) | None, _) => None,
            };
            let Some(identity) = wrong else { continue };
            self.get_out_of_the_way(index, file, identity).map_err(|source| OpenError::Io {
                what: format!("rename {}", self.root.path().join(own).display()),
                source,
            })?;
            dirs.insert(own.parent().map(Path::to_owned).unwrap_or_default());
        }
        Ok(dirs)
    }

    /// A piece that has bytes of the file was read and is not right. One that reaches into a file that is not
    /// there could not be read, which says nothing.
    fn is_wrong(&self, index: FileIndex, (read, good): (&[PieceIndex], &[PieceIndex])) -> bool {
        self.geometry.pieces_of(index).map(PieceIndex).any(|piece| {
            read.binary_search(&piece).is_ok()
                && self.args.info.expected(piece, &self.args.layers).is_some()
                && good.binary_search(&piece).is_err()
        })
    }

    fn get_out_of_the_way(
        &self,
        index: FileIndex,
        file: &mut Surveyed,
        identity: FileIdentity,
    ) -> io::Result<()> {
        let names = &self.names[index.0 as usize];
        let has_part = matches!(file.state, SlotState::Part(_));
        let as_made = self.recorded_file(index, &identity).is_some_and(|recorded| {
            recorded.made && recorded.whole && identity.recorded_as(&recorded.identity, true)
        });
        if as_made && !has_part {
            self.root.rename_new(&names.own, &names.part)?;
            file.mend(identity, names.part.clone());
            return Ok(());
        }
        file.foreign = Some((self.put_aside(&names.own)?, identity));
        if !has_part {
            file.state = SlotState::Absent;
        }
        Ok(())
    }

    /// Gives what has that name another one beside it.
    fn put_aside(&self, own: &Path) -> io::Result<PathBuf> {
        let name = own.file_name().unwrap_or_default().to_string_lossy();
        let mut number = 1;
        loop {
            let aside = own.with_file_name(shortened(&name, &format!(" (changed {number})")));
            match self.root.rename_new(own, &aside) {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => number += 1,
                renamed => return renamed.map(|()| aside),
            }
        }
    }
}
