//! Names that a person gave to content, instead of those in its torrent.
//!
//! Invariant: a name that is accepted leads into the torrent's own folder, and no two files have the same.

use std::collections::{BTreeMap, HashSet};
use std::path::PathBuf;

use proto::FileIndex;
use proto::metainfo::{Info, check_name};

/// A torrent's own names, as far as they differ from those of its metainfo.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Renames {
    /// The name of its file or folder.
    pub(crate) top: Option<String>,
    /// The names of files below its folder.
    pub(crate) files: BTreeMap<FileIndex, Vec<String>>,
}

/// Why something cannot have that name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RenameError {
    /// The name itself.
    #[error("{name:?} {reason}")]
    Name {
        /// The path that was asked for.
        name: String,
        /// What is wrong with it, as the rest of a sentence.
        reason: &'static str,
    },
    /// The torrent has no such file.
    #[error("the torrent has no file number {0}")]
    NoSuchFile(u32),
    /// Another file of the torrent has that name, or a folder.
    #[error("{0:?} is the name of another file of the torrent, or of a folder")]
    Taken(String),
}

impl Renames {
    /// Gives the torrent's file or folder another name.
    pub fn rename_top(&mut self, info: &Info, name: &str) -> Result<(), RenameError> {
        let refused = |reason| RenameError::Name { name: name.to_owned(), reason };
        check_name(name).map_err(refused)?;
        self.top = (name != info.name()).then(|| name.to_owned());
        Ok(())
    }

    /// Gives a file another path below the torrent's folder, its parts separated by slashes. The file of a
    /// torrent that has no folder gets another name.
    pub fn rename_file(
        &mut self,
        info: &Info,
        file: FileIndex,
        path: &str,
    ) -> Result<(), RenameError> {
        let known = info.files().get(file.0 as usize).ok_or(RenameError::NoSuchFile(file.0))?;
        if info.is_single_file() {
            return self.rename_top(info, path);
        }
        let names: Vec<String> = path.split('/').map(str::to_owned).collect();
        let refused = |reason| RenameError::Name { name: path.to_owned(), reason };
        names.iter().try_for_each(|name| check_name(name).map_err(refused))?;
        if names.len() > DEPTH_MAX || path.len() > PATH_LEN_MAX {
            return Err(refused("is too long"));
        }
        let before = self.files.remove(&file);
        if names != known.path {
            self.files.insert(file, names);
        }
        if self.has_twins(info) {
            match before {
                Some(before) => self.files.insert(file, before),
                None => self.files.remove(&file),
            };
            return Err(RenameError::Taken(path.to_owned()));
        }
        Ok(())
    }

    /// Two files have one path, or one has that of a folder of another.
    fn has_twins(&self, info: &Info) -> bool {
        let indexes = || (0..info.files().len() as u32).map(FileIndex);
        let paths: HashSet<PathBuf> = indexes().map(|index| self.path_of(info, index)).collect();
        let is_folder = |index| {
            let path = self.path_of(info, index);
            path.ancestors().skip(1).any(|folder| paths.contains(folder))
        };
        paths.len() < info.files().len() || indexes().any(is_folder)
    }

    /// The name of the torrent's file or folder.
    #[must_use]
    pub fn top<'a>(&'a self, info: &'a Info) -> &'a str {
        self.top.as_deref().unwrap_or_else(|| info.name())
    }

    /// Where a file goes, below the folder that the person chose.
    pub(crate) fn path_of(&self, info: &Info, index: FileIndex) -> PathBuf {
        let own = &info.files()[index.0 as usize].path;
        let inside: &[String] = match info.is_single_file() {
            true => &[],
            false => self.files.get(&index).unwrap_or(own),
        };
        std::iter::once(self.top(info)).chain(inside.iter().map(String::as_str)).collect()
    }

    /// The torrent's own names hold.
    #[cfg(test)]
    fn is_empty(&self) -> bool {
        self.top.is_none() && self.files.is_empty()
    }
}

/// As deep and long as the paths in torrents may be.
const DEPTH_MAX: usize = 100;
/// The same of all of a path's bytes.
const PATH_LEN_MAX: usize = 4096;

#[cfg(test)]
mod tests {
    use super::super::tests::fixture::{Torrent, file};
    use super::*;

    #[test]
    fn names_lead_into_the_folder_and_meet_no_other() {
        let info = Torrent::folder(vec![file("a", 1), file("b/c", 1)]).info;
        let mut names = Renames::default();
        let one = FileIndex(0);
        names.rename_file(&info, one, "b/a").unwrap();
        names.rename_top(&info, "u").unwrap();
        assert_eq!(names.path_of(&info, one), PathBuf::from("u/b/a"));
        for (path, reason) in [
            ("../x", "has a name of dots and spaces only"),
            ("", "has an empty name"),
            ("/x", "has an empty name"),
            ("x\0", "has a control character"),
        ] {
            let name = path.to_owned();
            let refused = Err(RenameError::Name { name, reason });
            assert_eq!(names.rename_file(&info, one, path), refused);
        }
        for path in ["b/c", "b", "b/c/d"] {
            let taken = Err(RenameError::Taken(path.to_owned()));
            assert_eq!(names.rename_file(&info, one, path), taken, "{path}");
        }
        let other = FileIndex(2);
        assert_eq!(names.rename_file(&info, other, "x"), Err(RenameError::NoSuchFile(2)));
        assert_eq!(
            names.path_of(&info, one),
            PathBuf::from("u/b/a"),
            "what is refused changes nothing"
        );
        names.rename_file(&info, one, "a").unwrap();
        names.rename_top(&info, "t").unwrap();
        assert!(names.is_empty());
    }
}
