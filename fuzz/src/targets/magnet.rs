//! Magnet links: what is read is written back and read the same.

use proto::magnet::{Magnet, PEER_COUNT_MAX, TRACKER_COUNT_MAX, WEB_SEED_COUNT_MAX};

/// Parses the text.
pub fn run(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let Ok(magnet) = text.parse::<Magnet>() else { return };
    assert!(magnet.trackers.len() <= TRACKER_COUNT_MAX);
    assert!(magnet.web_seeds.len() <= WEB_SEED_COUNT_MAX);
    assert!(magnet.peers.len() <= PEER_COUNT_MAX);
    assert!(!magnet.name.iter().any(|name| name.contains(char::is_control)));
    let written = magnet.to_string();
    // Escaping makes a link up to three times longer, so it may pass the limit on the way back.
    if written.len() <= proto::magnet::LINK_LEN_MAX {
        assert_eq!(written.parse::<Magnet>().as_ref(), Ok(&magnet), "{written}");
    }
}
