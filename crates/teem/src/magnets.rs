//! The magnet link of a torrent.

use proto::magnet::Magnet;
use proto::metainfo::Metainfo;

/// The magnet link of `metainfo`, with `trackers` after its own.
pub(crate) fn of(metainfo: &Metainfo, trackers: &[Vec<String>]) -> Magnet {
    let mut urls: Vec<String> = Vec::new();
    for url in metainfo.trackers.iter().chain(trackers).flatten() {
        if !urls.contains(url) {
            urls.push(url.clone());
        }
    }
    Magnet {
        hashes: metainfo.info.hashes(),
        name: Some(metainfo.info.name().to_owned()),
        trackers: urls,
        peers: Vec::new(),
        web_seeds: metainfo.web_seeds.clone(),
        select: None,
    }
}
