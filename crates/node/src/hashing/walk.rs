//! What there is to share under a path.

use std::fs::Metadata;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Component, Path, PathBuf};

use proto::metainfo::{NewFile, Shape};
use walkdir::WalkDir;

use super::create::CreateError;
use crate::disk::FileIdentity;

/// A file or link, and which file it is.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) file: NewFile,
    /// `None` for links: nothing of theirs is read.
    pub(super) identity: Option<FileIdentity>,
}

/// The content of a new torrent.
#[derive(Debug)]
pub(super) struct Walked {
    pub(super) shape: Shape,
    /// The file or folder itself, free of links.
    pub(super) root: PathBuf,
    /// Sorted by the bytes of the paths' components, as BEP 52 has it.
    pub(super) found: Vec<Found>,
    /// Sockets, pipes and devices, which cannot be shared.
    pub(super) skipped: Vec<PathBuf>,
}

/// Looks at everything under `path`, which may itself be a link.
pub(super) fn walk(path: &Path) -> Result<Walked, CreateError> {
    let root = path.canonicalize().map_err(|error| CreateError::io("find", path, error))?;
    let metadata = root.metadata().map_err(|error| CreateError::io("look at", &root, error))?;
    if metadata.is_file() {
        let found = vec![regular(Vec::new(), &metadata)];
        return Ok(Walked { shape: Shape::File, root, found, skipped: Vec::new() });
    }
    if !metadata.is_dir() {
        return Err(CreateError::NotContent { path: path.to_owned() });
    }
    let mut walked = Walked { shape: Shape::Folder, root, found: Vec::new(), skipped: Vec::new() };
    for entry in WalkDir::new(&walked.root).min_depth(1) {
        let entry = entry.map_err(|error| {
            let at = error.path().unwrap_or(path).to_owned();
            let source = error
                .into_io_error()
                .unwrap_or_else(|| std::io::Error::other("the folders go round in a circle"));
            CreateError::io("read", &at, source)
        })?;
        let (path, kind) = (entry.path(), entry.file_type());
        if kind.is_dir() {
            continue;
        }
        if !kind.is_file() && !kind.is_symlink() {
            walked.skipped.push(path.to_owned());
            continue;
        }
        let inside = components(path.strip_prefix(&walked.root).unwrap_or(path), path)?;
        if kind.is_symlink() {
            let target = link_target(&walked.root, path, &inside)?;
            let file = NewFile { path: inside, symlink: Some(target), ..NewFile::default() };
            walked.found.push(Found { file, identity: None });
        } else {
            let metadata =
                path.symlink_metadata().map_err(|error| CreateError::io("look at", path, error))?;
            walked.found.push(regular(inside, &metadata));
        }
    }
    walked.found.sort_unstable_by(|left, right| left.file.path.cmp(&right.file.path));
    Ok(walked)
}

fn regular(path: Vec<String>, metadata: &Metadata) -> Found {
    let executable = metadata.permissions().mode() & 0o100 != 0;
    let file = NewFile { path, len: metadata.size(), executable, symlink: None };
    Found { file, identity: Some(FileIdentity::of(metadata)) }
}

/// The names in a path below the root; `whole` is for the message.
fn components(inside: &Path, whole: &Path) -> Result<Vec<String>, CreateError> {
    let names = inside.components().map(|component| component.as_os_str().to_str());
    names
        .map(|name| name.map(str::to_owned))
        .collect::<Option<_>>()
        .ok_or_else(|| CreateError::NotUnicode { path: whole.to_owned() })
}

/// Where a link at `inside` points, as components below the root. It is not followed: the link itself
/// is what is shared, so its target only has to be inside by its spelling.
fn link_target(root: &Path, path: &Path, inside: &[String]) -> Result<Vec<String>, CreateError> {
    let target = std::fs::read_link(path).map_err(|error| CreateError::io("read", path, error))?;
    if target.to_str().is_none() {
        return Err(CreateError::NotUnicode { path: path.to_owned() });
    }
    resolve(root, inside, &target)
        .ok_or_else(|| CreateError::LinkOutside { path: path.to_owned(), target })
}

/// The path below `root` that a link at `inside` means with `target`; `None` when it leads out, or to
/// the root itself, which has no name inside.
pub(super) fn resolve(root: &Path, inside: &[String], target: &Path) -> Option<Vec<String>> {
    let (relative, mut at) = if target.is_absolute() {
        (target.strip_prefix(root).ok()?, Vec::new())
    } else {
        (target, inside.split_last()?.1.to_vec())
    };
    for component in relative.components() {
        match component {
            Component::Normal(name) => at.push(name.to_str()?.to_owned()),
            Component::ParentDir => drop(at.pop()?),
            Component::CurDir => {}
            Component::RootDir | Component::Prefix(_) => return None,
        }
    }
    Some(at).filter(|at| !at.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_resolve_by_their_spelling() {
        let inside = ["a", "b", "link"].map(String::from);
        let check = |target: &str, expected: Option<&str>| {
            let found = resolve(Path::new("/share"), &inside, Path::new(target));
            assert_eq!(found.map(|path| path.join("/")).as_deref(), expected, "{target}");
        };
        check("file", Some("a/b/file"));
        check("./../c/./d", Some("a/c/d"));
        check("../../top", Some("top"));
        check("/share/x/y", Some("x/y"));
        check("../../../out", None);
        check("/etc/passwd", None);
        check("/shared/x", None);
        check("../..", None);
        check("../../../share/x", None);
    }
}
