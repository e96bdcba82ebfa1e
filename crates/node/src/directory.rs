//! How incoming connections find their torrent.

use std::collections::HashMap;

use parking_lot::Mutex;
use proto::{InfoHash, InfoHashes};
use tokio::sync::mpsc;

use crate::torrent::Input;

/// All torrents that peers may ask for.
#[derive(Default)]
pub(crate) struct Directory(Mutex<Tables>);

#[derive(Default)]
struct Tables {
    torrents: HashMap<InfoHash, Entry>,
    /// By what an encrypted handshake says instead of the info hash.
    keys: HashMap<[u8; 20], InfoHash>,
}

struct Entry {
    facts: Facts,
    /// It runs, so peers may find it.
    awake: bool,
    inputs: mpsc::UnboundedSender<Input>,
}

/// What a handshake has to know of a torrent.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Facts {
    pub(crate) hashes: InfoHashes,
    /// Known to be private (BEP 27).
    pub(crate) private: bool,
}

impl Directory {
    pub(crate) fn facts(&self, info_hash: InfoHash) -> Option<Facts> {
        self.0.lock().awake(info_hash).map(|entry| entry.facts)
    }

    /// The way to a torrent's task.
    pub(crate) fn inputs(&self, info_hash: InfoHash) -> Option<mpsc::UnboundedSender<Input>> {
        self.0.lock().awake(info_hash).map(|entry| entry.inputs.clone())
    }

    /// The torrent of a [`mse::torrent_key`].
    pub(crate) fn by_key(&self, key: [u8; 20]) -> Option<InfoHash> {
        let tables = self.0.lock();
        tables.keys.get(&key).copied().filter(|hash| tables.awake(*hash).is_some())
    }

    /// False when one of its hashes is there already.
    pub(crate) fn insert_new(&self, facts: Facts, inputs: &mpsc::UnboundedSender<Input>) -> bool {
        let mut tables = self.0.lock();
        let is_new = !facts.hashes.wire().any(|hash| tables.torrents.contains_key(&hash));
        if is_new {
            tables.insert(facts, inputs);
        }
        is_new
    }

    /// Replaces what was known: a magnet link's metadata may bring a second hash.
    pub(crate) fn insert(&self, facts: Facts, inputs: &mpsc::UnboundedSender<Input>) {
        self.0.lock().insert(facts, inputs);
    }

    /// The torrent rests: nobody finds it, and nobody can add it a second time.
    pub(crate) fn rest(&self, hashes: InfoHashes) {
        let mut tables = self.0.lock();
        for hash in hashes.wire() {
            if let Some(entry) = tables.torrents.get_mut(&hash) {
                entry.awake = false;
            }
        }
    }

    pub(crate) fn remove(&self, hashes: InfoHashes) {
        let mut tables = self.0.lock();
        for hash in hashes.wire() {
            tables.torrents.remove(&hash);
            tables.keys.remove(&mse::torrent_key(hash));
        }
    }
}

impl Tables {
    fn awake(&self, info_hash: InfoHash) -> Option<&Entry> {
        self.torrents.get(&info_hash).filter(|entry| entry.awake)
    }

    fn insert(&mut self, facts: Facts, inputs: &mpsc::UnboundedSender<Input>) {
        for hash in facts.hashes.wire() {
            let entry = Entry { facts, awake: true, inputs: inputs.clone() };
            self.torrents.insert(hash, entry);
            self.keys.insert(mse::torrent_key(hash), hash);
        }
    }
}
