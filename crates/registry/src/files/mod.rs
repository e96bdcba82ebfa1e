//! Files by name: the peers of protocols that know no info hash.
//!
//! A peer has a name of its own choice, proves it by a token, and says which files it has and in how
//! many parts. All peers agree on the parts of a file. A peer is known as long as it asks for
//! something now and then; who falls silent can be tried once before it is forgotten.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use crate::Secs;
use crate::limits::{FILE_HOLDINGS_MAX, FILE_PEERS_MAX};
use crate::sample::sample;
use chance::Chance;

/// A secret that proves a peer's name: 128 bits of chance.
pub type Token = [u8; 16];

/// Who let a peer in, for the caller to know again: nothing here looks at it.
pub type Voucher = i64;

/// Who has which file.
#[derive(Debug)]
pub struct Files {
    lives: Lives,
    peers: BTreeMap<Arc<str>, Peer>,
    files: BTreeMap<Arc<str>, Holders>,
    /// Pairs of peer and file.
    holdings: usize,
}

/// How long things last, in seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lives {
    /// A peer that asks for nothing.
    pub peer_secs: u32,
    /// A token.
    pub token_secs: u32,
}

impl Default for Lives {
    fn default() -> Self {
        Self { peer_secs: 180, token_secs: 24 * 3_600 }
    }
}

#[derive(Debug)]
struct Peer {
    ip: IpAddr,
    /// Where it serves; none before it registered.
    port: Option<u16>,
    token: Token,
    token_until: Secs,
    voucher: Option<Voucher>,
    until: Secs,
    /// It was silent too long, and is being tried.
    tried: bool,
    files: BTreeSet<Arc<str>>,
}

#[derive(Debug)]
struct Holders {
    parts: u32,
    peers: BTreeSet<Arc<str>>,
}

/// Why a peer's wish is refused; the words go to the client.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FilesError {
    /// Missing, wrong, expired, or given to another address.
    #[error("Invalid token")]
    InvalidToken,
    /// A peer of that name is known at another address.
    #[error("the peer_id {0:?} is in use at another address; choose another one")]
    NameTaken(String),
    /// Others have the file in another number of parts.
    #[error("{file:?} has {known} parts, not {claimed}")]
    Parts {
        /// The file.
        file: String,
        /// Parts that are known.
        known: u32,
        /// Parts that the peer says.
        claimed: u32,
    },
    /// No room for one more.
    #[error("the tracker is full; try again later")]
    Full,
}

/// Who has a file.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct FileHolders {
    /// Parts of the file; 0 when nobody has it.
    pub parts: u32,
    /// Some of them, by chance: name and address.
    pub peers: Vec<(Arc<str>, SocketAddr)>,
}

impl Files {
    /// Nobody has anything.
    #[must_use]
    pub const fn new(lives: Lives) -> Self {
        Self { lives, peers: BTreeMap::new(), files: BTreeMap::new(), holdings: 0 }
    }

    /// Gives a peer a new token in place of the one it had.
    pub fn admit(
        &mut self,
        now: Secs,
        name: &str,
        ip: IpAddr,
        (token, voucher): (Token, Option<Voucher>),
    ) -> Result<(), FilesError> {
        let (until, token_until) =
            (now.plus(self.lives.peer_secs), now.plus(self.lives.token_secs));
        if let Some(peer) = self.peers.get_mut(name) {
            if peer.ip == ip {
                (peer.token, peer.token_until, peer.voucher) = (token, token_until, voucher);
                (peer.until, peer.tried) = (until, false);
                return Ok(());
            }
            if !peer.is_gone(now) {
                return Err(FilesError::NameTaken(name.to_owned()));
            }
            self.forget(name);
        }
        if self.peers.len() >= FILE_PEERS_MAX {
            return Err(FilesError::Full);
        }
        let (port, tried, files) = (None, false, BTreeSet::new());
        let peer = Peer { ip, port, token, token_until, voucher, until, tried, files };
        self.peers.insert(name.into(), peer);
        Ok(())
    }

    /// A peer asks for something: it is who it says, and still there. Tells who let it in.
    pub fn renew(
        &mut self,
        now: Secs,
        name: &str,
        ip: IpAddr,
        token: &Token,
    ) -> Result<Option<Voucher>, FilesError> {
        let until = now.plus(self.lives.peer_secs);
        let peer = self.peers.get_mut(name).ok_or(FilesError::InvalidToken)?;
        if peer.ip != ip || peer.token != *token || now >= peer.token_until {
            return Err(FilesError::InvalidToken);
        }
        (peer.until, peer.tried) = (until, false);
        Ok(peer.voucher)
    }

    /// Replaces the files of a peer. When one of them has another number of parts than is known,
    /// nothing changes. The peer was renewed just now.
    pub fn register(
        &mut self,
        name: &str,
        port: u16,
        files: &BTreeMap<String, u32>,
    ) -> Result<(), FilesError> {
        let Some((key, peer)) = self.peers.get_key_value(name) else {
            return Err(FilesError::InvalidToken);
        };
        let (key, had) = (Arc::clone(key), peer.files.len());
        for (file, parts) in files {
            self.check_parts(&key, file, *parts)?;
        }
        if self.holdings - had + files.len() > FILE_HOLDINGS_MAX {
            return Err(FilesError::Full);
        }
        self.drop_all(name);
        for (file, parts) in files {
            self.hold(&key, file, *parts);
        }
        if let Some(peer) = self.peers.get_mut(name) {
            peer.port = Some(port);
        }
        Ok(())
    }

    /// A peer has one more file.
    pub fn add(&mut self, name: &str, file: &str, parts: u32) -> Result<(), FilesError> {
        let Some((key, _)) = self.peers.get_key_value(name) else {
            return Err(FilesError::InvalidToken);
        };
        let key = Arc::clone(key);
        self.check_parts(&key, file, parts)?;
        if self.holdings >= FILE_HOLDINGS_MAX {
            return Err(FilesError::Full);
        }
        self.hold(&key, file, parts);
        Ok(())
    }

    /// A peer has some files no more; none at all when they are not named.
    pub fn remove(&mut self, name: &str, files: Option<&[String]>) {
        match files {
            None => self.drop_all(name),
            Some(files) => files.iter().for_each(|file| self.drop_one(name, file)),
        }
    }

    /// Parts of a file, as its holders say.
    #[must_use]
    pub fn parts(&self, file: &str) -> Option<u32> {
        self.files.get(file).map(|holders| holders.parts)
    }

    /// How many have the file.
    #[must_use]
    pub fn holders_of(&self, file: &str) -> usize {
        self.files.get(file).map_or(0, |holders| holders.peers.len())
    }

    /// Who has a file: up to `max` peers by chance.
    #[must_use]
    pub fn find(&self, file: &str, max: usize, chance: u64) -> FileHolders {
        let Some(holders) = self.files.get(file) else { return FileHolders::default() };
        let reachable = holders.peers.iter().filter_map(|name| {
            let peer = self.peers.get(name)?;
            Some((Arc::clone(name), SocketAddr::new(peer.ip, peer.port?)))
        });
        let reachable: Vec<_> = reachable.collect();
        let mut peers = Vec::with_capacity(max.min(reachable.len()));
        let mut dice = Chance::new(chance);
        sample(reachable.len(), max, &mut dice, |at| peers.push(reachable[at].clone()));
        FileHolders { parts: holders.parts, peers }
    }

    /// Up to `limit` files whose name `fits`, in order, from the first one behind `after`: name and
    /// parts.
    pub fn list<'a>(
        &'a self,
        fits: impl Fn(&str) -> bool + 'a,
        after: &'a str,
        limit: usize,
    ) -> impl Iterator<Item = (&'a str, u32)> {
        let behind = (std::ops::Bound::Excluded(after), std::ops::Bound::Unbounded);
        let files = self.files.range::<str, _>(behind);
        let fitting = files.filter(move |(name, _)| fits(name));
        fitting.take(limit).map(|(name, holders)| (&**name, holders.parts))
    }

    /// Peers and files that are known.
    #[must_use]
    pub fn totals(&self) -> (usize, usize) {
        (self.peers.len(), self.files.len())
    }

    /// Forgets who was silent too long and had been tried; gives those that are to be tried now, with
    /// the address where they should answer. Who serves nothing is not tried.
    pub fn sweep(&mut self, now: Secs) -> Vec<(Arc<str>, SocketAddr)> {
        let mut to_try = Vec::new();
        let mut gone = Vec::new();
        for (name, peer) in self.peers.iter_mut().filter(|(_, peer)| now >= peer.until) {
            match peer.port.filter(|_| !peer.tried && !peer.files.is_empty()) {
                Some(port) => {
                    peer.tried = true;
                    // As long as a try may take; then it is gone.
                    peer.until = now.plus(TRY_SECS);
                    to_try.push((Arc::clone(name), SocketAddr::new(peer.ip, port)));
                }
                // Its name is its own as long as its token.
                None if now < peer.token_until && peer.files.is_empty() => {}
                None => gone.push(Arc::clone(name)),
            }
        }
        gone.iter().for_each(|name| self.forget(name));
        to_try
    }

    /// A peer that was tried answers.
    pub fn answered(&mut self, now: Secs, name: &str) {
        if let Some(peer) = self.peers.get_mut(name).filter(|peer| peer.tried) {
            (peer.until, peer.tried) = (now.plus(self.lives.peer_secs), false);
        }
    }

    fn forget(&mut self, name: &str) {
        self.drop_all(name);
        self.peers.remove(name);
    }

    fn check_parts(&self, peer: &str, file: &str, claimed: u32) -> Result<(), FilesError> {
        let Some(holders) = self.files.get(file) else { return Ok(()) };
        let sole = holders.peers.len() == 1 && holders.peers.contains(peer);
        if holders.parts == claimed || sole {
            return Ok(());
        }
        Err(FilesError::Parts { file: file.to_owned(), known: holders.parts, claimed })
    }

    fn hold(&mut self, peer: &Arc<str>, file: &str, parts: u32) {
        let key = match self.files.get_key_value(file) {
            Some((key, _)) => Arc::clone(key),
            None => file.into(),
        };
        let new = Holders { parts, peers: BTreeSet::new() };
        let holders = self.files.entry(Arc::clone(&key)).or_insert(new);
        holders.parts = parts;
        if holders.peers.insert(Arc::clone(peer)) {
            self.holdings += 1;
        }
        if let Some(peer) = self.peers.get_mut(peer) {
            peer.files.insert(key);
        }
    }

    fn drop_all(&mut self, name: &str) {
        let Some(peer) = self.peers.get_mut(name) else { return };
        for file in std::mem::take(&mut peer.files) {
            self.unlist(name, &file);
        }
    }

    fn drop_one(&mut self, name: &str, file: &str) {
        let Some(peer) = self.peers.get_mut(name) else { return };
        if peer.files.remove(file) {
            self.unlist(name, file);
        }
    }

    fn unlist(&mut self, name: &str, file: &str) {
        let Some(holders) = self.files.get_mut(file) else { return };
        if holders.peers.remove(name) {
            self.holdings -= 1;
        }
        if holders.peers.is_empty() {
            self.files.remove(file);
        }
    }
}

impl Peer {
    fn is_gone(&self, now: Secs) -> bool {
        now >= self.until && (self.tried || self.files.is_empty())
    }
}

/// How long a try may take, in seconds, before the peer counts as gone.
const TRY_SECS: u32 = 10;

#[cfg(test)]
mod tests;
