//! The counts of all torrents as a file: what a scrape of everything would answer (BEP 48), for
//! indexes and archives that would otherwise ask for it over HTTP.
//!
//! Bencode: `d5:filesd<20 bytes of info hash>d8:completei…e10:downloadedi…e10:incompletei…ee…ee`, the
//! hashes in order, a hybrid under both of its hashes. The file is replaced whole.

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use proto::InfoHash;
use proto::tracker::SwarmCounts;
use tokio_util::sync::CancellationToken;

use crate::swarms::Swarms;
use crate::whole_file::{BY_MASK, write_whole};

/// Where and how often.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Export {
    /// The file.
    pub file: PathBuf,
    /// Time between two of them.
    pub every: Duration,
}

/// Writes the file now and again, until the tracker stops.
pub(crate) async fn keep(export: Export, swarms: Arc<Swarms>, stop: CancellationToken) {
    loop {
        let (file, source) = (export.file.clone(), Arc::clone(&swarms));
        let written = tokio::task::spawn_blocking(move || save(&file, &source)).await;
        if let Ok(Err(error)) = written {
            tracing::error!(file = %export.file.display(), %error, "writing the counts");
        }
        tokio::select! {
            () = tokio::time::sleep(export.every) => {}
            () = stop.cancelled() => return,
        }
    }
}

/// Takes 32 bytes of memory for each torrent.
fn save(file: &Path, swarms: &Swarms) -> io::Result<()> {
    let mut all: Vec<(InfoHash, SwarmCounts)> = Vec::new();
    swarms.each_swarm(|facts| {
        let hashes = std::iter::once(facts.info_hash).chain(facts.second);
        all.extend(hashes.map(|hash| (hash, facts.counts)));
    });
    all.sort_unstable_by_key(|(hash, _)| *hash);
    // A swarm that moved meanwhile was seen twice.
    all.dedup_by_key(|(hash, _)| *hash);
    write_whole(file, BY_MASK, |out| encode(&all, out))
}

fn encode(all: &[(InfoHash, SwarmCounts)], out: &mut impl Write) -> io::Result<()> {
    out.write_all(b"d5:filesd")?;
    for (hash, SwarmCounts { seeders, completed, leechers }) in all {
        out.write_all(b"20:")?;
        out.write_all(&hash.0)?;
        write!(out, "d8:completei{seeders}e10:downloadedi{completed}e10:incompletei{leechers}ee")?;
    }
    out.write_all(b"ee")
}

#[cfg(test)]
mod tests {
    use proto::tracker::http::decode_scraped;
    use registry::{Caps, Intervals, SwarmDump};

    use super::*;

    #[test]
    fn the_file_is_a_scrape_of_everything() {
        let folder = tempfile::TempDir::new().expect("a folder");
        let swarms = Swarms::new(Intervals::default(), Caps::default());
        let hashes: Vec<InfoHash> = (0..100).map(|number| InfoHash([number; 20])).collect();
        for (completed, hash) in (0..).zip(&hashes) {
            let v1 = proto::InfoHashV1(hash.0);
            swarms.register(&proto::InfoHashes::new(Some(v1), None).expect("one is enough"));
            let (info_hash, peers) = (*hash, Vec::new());
            swarms.restore(&SwarmDump { info_hash, completed, peers }, 0);
        }
        let file = folder.path().join("counts");
        save(&file, &swarms).expect("it is written");
        let bytes = std::fs::read(&file).expect("it is there");
        let scraped = decode_scraped(&bytes, &hashes).expect("it is a scrape").expect("no refusal");
        let completed: Vec<u32> = scraped.swarms.iter().map(|counts| counts.completed).collect();
        assert_eq!(completed, (0..100).collect::<Vec<u32>>());
    }
}
