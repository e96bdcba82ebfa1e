//! Torrent files on disk, read with a limit.

use std::fs::File;
use std::io::Read as _;
use std::path::Path;

use anyhow::Context as _;
use proto::metainfo::Metainfo;
use proto::metainfo::limits::FILE_LEN_MAX;

/// The torrent in a file.
pub(crate) fn read(path: &Path) -> anyhow::Result<Metainfo> {
    let bytes = read_bytes(path)?;
    Metainfo::decode(&bytes)
        .with_context(|| format!("{} is not a torrent that can be used", path.display()))
}

/// The bytes of a file that is no longer than a torrent file may be.
pub(crate) fn read_bytes(path: &Path) -> anyhow::Result<Vec<u8>> {
    let shown = path.display();
    let file = File::open(path).with_context(|| format!("read {shown}"))?;
    let mut bytes = Vec::new();
    let limit = FILE_LEN_MAX as u64;
    file.take(limit + 1).read_to_end(&mut bytes).with_context(|| format!("read {shown}"))?;
    anyhow::ensure!(bytes.len() as u64 <= limit, "{shown} is too large for a torrent file");
    Ok(bytes)
}
