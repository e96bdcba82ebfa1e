//! The files of the watched folder: what they say, and how one is put away.

use std::io;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use node::Source;
use proto::magnet::Magnet;
use proto::metainfo::Metainfo;

use super::folder::Change;

/// The torrent is removed: its file stays, under a name that nobody takes for one.
pub(super) async fn put_away(file: &Path) -> io::Result<()> {
    let file = file.to_owned();
    let renamed = tokio::task::spawn_blocking(move || rename_away(&file)).await;
    renamed.map_err(io::Error::other)?
}

/// On the disk when it returns; when it fails, the file is where it was.
fn rename_away(file: &Path) -> io::Result<()> {
    let mut number = 0;
    let away = loop {
        let mut away = file.as_os_str().to_owned();
        away.push(if number == 0 { ".removed".to_owned() } else { format!(".removed-{number}") });
        let away = PathBuf::from(away);
        if !away.exists() {
            break away;
        }
        number += 1;
    };
    std::fs::rename(file, &away)?;
    let folder = file.parent().unwrap_or_else(|| Path::new("/"));
    let synced = std::fs::File::open(folder).and_then(|folder| folder.sync_all());
    if synced.is_err() {
        std::fs::rename(&away, file)?;
    }
    synced
}

/// A change, with what the file says.
pub(super) enum Read {
    Came(PathBuf, anyhow::Result<Source>),
    Changed(PathBuf, anyhow::Result<Source>),
    Went(PathBuf),
}

impl Read {
    pub(super) fn of(change: Change) -> Self {
        match change {
            Change::Came(file) => {
                let source = read(&file);
                Self::Came(file, source)
            }
            Change::Changed(file) => {
                let source = read(&file);
                Self::Changed(file, source)
            }
            Change::Went(file) => Self::Went(file),
        }
    }
}

pub(super) fn is_torrent(file: &Path) -> bool {
    let hidden = file.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"."));
    let end = file.extension().unwrap_or_default();
    !hidden && (end.eq_ignore_ascii_case("torrent") || end.eq_ignore_ascii_case("magnet"))
}

/// What a torrent file, or a file with a magnet link in it, says.
fn read(file: &Path) -> anyhow::Result<Source> {
    let bytes = crate::torrent_file::read_bytes(file)?;
    if file.extension().is_some_and(|end| end.eq_ignore_ascii_case("magnet")) {
        let link = std::str::from_utf8(&bytes).context("it is no text")?;
        let magnet: Magnet =
            link.trim().parse().context("it has no magnet link that can be used")?;
        return Ok(Source::Magnet(magnet));
    }
    let metainfo = Metainfo::decode(&bytes).context("it is not a torrent that can be used")?;
    Ok(Source::Metainfo(Box::new(metainfo)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_cannot_be_put_away_is_told_of() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("a.torrent");
        assert!(rename_away(&file).is_err(), "there is none");
        for away in ["a.torrent.removed", "a.torrent.removed-1"] {
            std::fs::write(&file, b"a").expect("written");
            rename_away(&file).expect("put away");
            assert!(!file.exists() && folder.path().join(away).exists(), "{away}");
        }
    }
}
