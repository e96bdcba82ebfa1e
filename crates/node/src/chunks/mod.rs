//! Parts of files for clients of twenty lines: JSON on the peers' port (`docs/protocols/json.md`).
//!
//! Such a client knows files by their names in the catalogue and asks for one part after the other. It
//! is served what a BitTorrent peer would be served, verified pieces of a file that nobody has changed,
//! and out of the same upload slots: the torrent's task gives them. A connection waits for its torrent,
//! never the other way round. Private torrents are not there for it.

mod connection;
mod desk;
mod door;
mod part;

pub(crate) use connection::serve;
pub(crate) use desk::{Asked, Desk};
pub(crate) use door::Doors;

use std::collections::BTreeMap;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::mpsc::UnboundedSender;

use crate::torrent::Input;

/// Which torrent has which name in the catalogue.
#[derive(Debug, Default)]
pub(crate) struct Names(Mutex<BTreeMap<String, UnboundedSender<Input>>>);

impl Names {
    /// Several torrents may claim a name; the newest has it.
    pub(crate) fn insert(&self, name: &str, torrent: UnboundedSender<Input>) {
        self.0.lock().insert(unversioned(name).to_owned(), torrent);
    }

    /// The torrent has ended.
    pub(crate) fn remove(&self, torrent: &UnboundedSender<Input>) {
        self.0.lock().retain(|_, other| !other.same_channel(torrent));
    }

    /// The torrents that a file of this name can be in, with what is left of the name for the path
    /// inside: the whole name first.
    fn candidates(&self, file_name: &str) -> Vec<(UnboundedSender<Input>, Option<String>)> {
        let names = self.0.lock();
        let whole = names.get(unversioned(file_name)).map(|torrent| (torrent.clone(), None));
        let folders = file_name.match_indices('/').take(DEPTH_TRIED_MAX).filter_map(|(at, _)| {
            let torrent = names.get(unversioned(&file_name[..at]))?;
            Some((torrent.clone(), Some(file_name[at + 1..].to_owned())))
        });
        whole.into_iter().chain(folders).collect()
    }

    /// Every torrent that has a name.
    fn all(&self) -> Vec<UnboundedSender<Input>> {
        self.0.lock().values().cloned().collect()
    }
}

/// `NAME` of `NAME@3` and `NAME@latest`. The tracker knows which version a name means, and names peers
/// that have that one; a peer knows only the name under which it shared or fetched.
fn unversioned(name: &str) -> &str {
    let is_number = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    let is_version = |text: &str| text == "latest" || (!text.is_empty() && is_number(text));
    let parts = name.rsplit_once('@').filter(|(_, version)| is_version(version));
    parts.map_or(name, |(name, _)| name)
}

/// Connections of this kind at once, apart from those of BitTorrent. Each has one buffer of
/// [`RUN_LEN`] while it is served, and 8 KiB else: 32 MiB in all.
const CONNECTIONS_MAX: usize = 128;
/// Of these, from one address.
const CONNECTIONS_OF_ONE_MAX: usize = 32;
/// A request has to arrive within this time of the answer before.
const IDLE_TIMEOUT: Duration = Duration::from_secs(60);
/// What a client gets to take one run of bytes: 13 KB a second at least, or it loses its slot.
const WRITE_TIMEOUT: Duration = Duration::from_secs(20);
/// How long a request waits for a slot.
const QUEUE_TIMEOUT: Duration = Duration::from_secs(30);
/// What a client gets to read its last answer.
const LINGER: Duration = Duration::from_secs(2);
/// Bytes that are read to no purpose meanwhile.
const LINGER_LEN_MAX: usize = 8 << 20;
/// Bytes read from a file and sent at once.
const RUN_LEN: u32 = 256 * 1024;
/// Beginnings of a name that are tried as that of a folder, as on the tracker.
const DEPTH_TRIED_MAX: usize = 8;

const _: () = assert!(CONNECTIONS_MAX < swarm::limits::GUESTS_WAITING_MAX);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_found_whole_and_as_folders_in_any_version() {
        let names = Names::default();
        let (torrent, _inputs) = tokio::sync::mpsc::unbounded_channel();
        names.insert("team/model@2", torrent);
        let check = |name: &str, expected: &[Option<&str>]| {
            let found = names.candidates(name);
            let paths: Vec<_> = found.iter().map(|(_, path)| path.as_deref()).collect();
            assert_eq!(paths, expected, "{name}");
        };
        check("team/model", &[None]);
        check("team/model@2", &[None]);
        check("team/model@latest", &[None]);
        check("team/model@2/a/b", &[Some("a/b")]);
        check("team/model/a@1", &[Some("a@1")]);
        check("team/model@home", &[]);
        check("team", &[]);
    }
}
