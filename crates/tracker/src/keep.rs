//! Peers that outlive a restart: the swarms in a file of the data folder (`registry::DumpWriter`),
//! written whole or not at all, now and then and at the end.

use std::fs::File;
use std::io::{self, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use registry::{DumpError, DumpReader, DumpWriter};
use tokio_util::sync::CancellationToken;

use crate::limits::KEEP_EVERY;
use crate::swarms::Swarms;
use crate::whole_file::{OWNER, write_whole};

/// The file.
const FILE: &str = "peers.dump";

/// Takes in the peers of the run before. A file that cannot be used is left alone with a warning: the
/// peers come again by themselves.
pub(crate) fn load(folder: &Path, swarms: &Swarms) {
    let path = folder.join(FILE);
    match read(&path, swarms) {
        Ok(Some(peers)) => tracing::info!(peers, "peers of the run before"),
        Ok(None) => {}
        Err(error) => {
            tracing::warn!(path = %path.display(), %error, "the peers of the run before are not used");
        }
    }
}

/// Read twice: nothing of a damaged file is used.
fn read(path: &Path, swarms: &Swarms) -> Result<Option<usize>, DumpError> {
    let open = || DumpReader::new(BufReader::new(File::open(path)?));
    let mut check = match open() {
        Err(DumpError::Read(error)) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        opened => opened?,
    };
    while check.block()?.is_some() {}
    let mut reader = open()?;
    let away_secs = unix_now().saturating_sub(reader.written());
    let mut peers = 0;
    while let Some(records) = reader.block()? {
        peers += records.iter().map(|record| swarms.restore(record, away_secs)).sum::<usize>();
    }
    Ok(Some(peers))
}

/// Writes all peers. Blocks for long.
pub(crate) fn save(folder: &Path, swarms: &Swarms) -> io::Result<()> {
    write_whole(&folder.join(FILE), OWNER, |file| {
        let mut writer = DumpWriter::new(unix_now());
        swarms.each_peer(|seen| {
            writer.push(&seen);
            file.write_all(&writer.take())
        })?;
        file.write_all(&writer.finish())
    })
}

/// Writes all peers now and then, until the tracker stops.
pub(crate) async fn keep(folder: PathBuf, swarms: Arc<Swarms>, stop: CancellationToken) {
    loop {
        tokio::select! {
            () = tokio::time::sleep(KEEP_EVERY) => {}
            () = stop.cancelled() => return,
        }
        save_apart(folder.clone(), Arc::clone(&swarms)).await;
    }
}

/// Writes all peers on a thread that may block.
pub(crate) async fn save_apart(folder: PathBuf, swarms: Arc<Swarms>) {
    let saved = tokio::task::spawn_blocking(move || save(&folder, &swarms)).await;
    if let Ok(Err(error)) = saved {
        tracing::error!(%error, "writing the peers");
    }
}

fn unix_now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

#[cfg(test)]
mod tests {
    use proto::InfoHash;
    use registry::{Caps, ClientClass, Intervals, Names, Presence, Role, SwarmDump};

    use super::*;

    #[test]
    fn peers_are_there_again_and_a_damaged_file_changes_nothing() {
        let folder = tempfile::TempDir::new().expect("a folder");
        let before = Swarms::new(Intervals::default(), Caps::default());
        let info_hash = InfoHash([7; 20]);
        let peer = |port: u16| Presence {
            peer: ([10, 0, 0, 1], port).into(),
            role: if port == 1 { Role::Seeder } else { Role::Leecher },
            names: Names::FIRST,
            class: ClientClass::default(),
            life_secs: 2_000,
        };
        let dump = SwarmDump { info_hash, completed: 5, peers: (1..=9_000).map(peer).collect() };
        before.restore(&dump, 0);
        save(folder.path(), &before).expect("it is written");
        #[cfg(unix)]
        {
            let file = std::fs::metadata(folder.path().join(FILE)).expect("it is there");
            let mode = std::os::unix::fs::MetadataExt::mode(&file);
            assert_eq!(mode & 0o777, 0o600, "there are addresses in it");
        }
        let after = Swarms::new(Intervals::default(), Caps::default());
        load(folder.path(), &after);
        assert_eq!(after.scrape(&info_hash), before.scrape(&info_hash));
        assert_eq!(after.totals().peers, 9_000);

        let path = folder.path().join(FILE);
        let mut bytes = std::fs::read(&path).expect("it is there");
        let last = bytes.len() - 20;
        bytes[last] ^= 1;
        std::fs::write(&path, bytes).expect("it is changed");
        let damaged = Swarms::new(Intervals::default(), Caps::default());
        assert!(matches!(read(&path, &damaged), Err(DumpError::Damaged(_))));
        assert_eq!(damaged.totals().peers, 0, "nothing of it is used");
        assert_eq!(std::fs::read_dir(folder.path()).expect("a folder").count(), 1, "no draft");
    }
}
