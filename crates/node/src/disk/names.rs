//! The names under which files are kept: their own, and the one that they have while incomplete.

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use proto::metainfo::{File, Info};
use proto::{FileIndex, InfoHash};

use super::Renames;

/// Bytes that a file name may have (NAME_MAX of every common file system).
const NAME_LEN_MAX: usize = 255;

/// What other programs append to the names of incomplete files.
pub(super) const FOREIGN_SUFFIXES: [&str; 2] = [".part", ".!qB"];

/// A file's place below the root.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Names {
    /// Its own name.
    pub(super) own: PathBuf,
    /// Its name while incomplete: tells the torrent, so that two torrents with a file of the same
    /// name do not meet, fits the file system, and is no other file's name.
    pub(super) part: PathBuf,
}

/// The names of all files of a torrent that is fetched into the root.
pub(super) fn for_fetch(info: &Info, renames: &Renames) -> Vec<Names> {
    let tag = tag(info.hashes().primary());
    let indexes = (0..info.files().len() as u32).map(FileIndex);
    let own: Vec<PathBuf> = indexes.map(|index| renames.path_of(info, index)).collect();
    let taken: HashSet<&Path> = own.iter().map(PathBuf::as_path).collect();
    let part = |(index, path): (usize, &PathBuf)| {
        (0..)
            .map(|attempt| part_name(path, index, attempt, &tag))
            .find(|part| !taken.contains(part.as_path()))
            .expect("a torrent has fewer files than there are numbers")
    };
    let parts: Vec<_> = own.iter().enumerate().map(part).collect();
    own.iter().cloned().zip(parts).map(|(own, part)| Names { own, part }).collect()
}

/// The paths of all files below a shared folder, or the one name of a shared file.
pub(super) fn for_share(info: &Info, file_name: Option<&Path>) -> Vec<Names> {
    let own = |file: &File| match file_name {
        Some(name) => name.to_owned(),
        None => file.path.iter().collect(),
    };
    info.files().iter().map(|file| Names { own: own(file), part: PathBuf::new() }).collect()
}

pub(super) fn tag(key: InfoHash) -> String {
    key.to_string()[..8].to_owned()
}

fn part_name(path: &Path, index: usize, attempt: usize, tag: &str) -> PathBuf {
    let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    let plain = format!(".{tag}.part");
    let whole_fits = attempt == 0 && name.len() + plain.len() <= NAME_LEN_MAX;
    // A name that was cut could equal that of a neighbour; the file's number makes it its own.
    let suffix = match whole_fits {
        true => plain,
        false => format!("~{index}-{attempt}.{tag}.part"),
    };
    path.with_file_name(shortened(name, &suffix))
}

/// The name with an end of its own, as much of it as fits.
pub(super) fn shortened(name: &str, suffix: &str) -> String {
    let mut end = name.len().min(NAME_LEN_MAX - suffix.len());
    while !name.is_char_boundary(end) {
        end -= 1;
    }
    format!("{}{suffix}", &name[..end])
}

/// A symbolic link's text: the way from its folder to `target`, both below the torrent's folder.
pub(super) fn link_text(file: &File, target: &[String]) -> PathBuf {
    let up = file.path.len().saturating_sub(1);
    std::iter::repeat_n("..", up).chain(target.iter().map(String::as_str)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn part_names_fit_and_differ() {
        let long = "ü".repeat(127);
        let paths: Vec<PathBuf> = [1, 2].iter().map(|n| format!("a/{long}{n}").into()).collect();
        let parts: Vec<_> =
            paths.iter().enumerate().map(|(i, path)| part_name(path, i, 0, "0123abcd")).collect();
        assert_ne!(parts[0], parts[1]);
        for part in &parts {
            assert!(part.file_name().unwrap().len() <= NAME_LEN_MAX);
            assert!(part.to_str().unwrap().ends_with(".0123abcd.part"));
            assert_eq!(part.parent(), Some(Path::new("a")));
        }
        assert_eq!(part_name(Path::new("x"), 0, 0, "0123abcd"), Path::new("x.0123abcd.part"));
        assert_eq!(part_name(Path::new("x"), 4, 1, "0123abcd"), Path::new("x~4-1.0123abcd.part"));
    }
}
