//! Seeders by name: those of the text protocol, which know no info hash and hand in a chunk list.
//!
//! A seeder is its name and the address that its datagrams come from. Datagrams can be forged, so a
//! seeder counts as proven only when its address completed a connection or its chunk list came: when
//! there is no more room, the unproven go first, the oldest of them before the others.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use std::ops::RangeInclusive;
use std::sync::Arc;

use chance::Chance;
use proto::tracker::text::ChunkList;

use crate::limits::{
    CHUNK_LISTS_HOLDER_LEN_MAX, CHUNK_LISTS_LEN_MAX, SEEDERS_HOLDER_MAX, SEEDERS_MAX,
};
use crate::sample::sample;
use crate::{Holder, Secs};

/// Who serves what, in the text protocol.
#[derive(Debug)]
pub struct Seeders {
    life_secs: u32,
    rows: Vec<Row>,
    index: BTreeMap<Arc<str>, usize>,
    /// By age: the first to go when there is no room.
    unproven: BTreeSet<(u64, Arc<str>)>,
    holders: BTreeMap<Holder, Holding>,
    lists: usize,
    lists_len: usize,
    next_age: u64,
}

/// A seeder that is known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seeder {
    /// Its name.
    pub name: Arc<str>,
    /// Where it serves, as it is told to leechers.
    pub addr: SocketAddr,
    /// Where its datagrams come from.
    pub source: IpAddr,
    /// Bytes in its chunk list, as it said.
    pub size: u32,
    /// Its chunk list, once it came.
    pub list: Option<ChunkList>,
}

#[derive(Debug)]
struct Row {
    seeder: Seeder,
    until: Secs,
    /// It was silent too long, and is being tried.
    tried: bool,
    proven: bool,
    age: u64,
}

/// What one holder of addresses has here.
#[derive(Debug, Default)]
struct Holding {
    names: BTreeSet<Arc<str>>,
    lists_len: usize,
}

/// A seeder registers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Registration<'a> {
    /// Its name.
    pub name: &'a str,
    /// Where its datagram came from.
    pub source: IpAddr,
    /// Where it serves, as leechers shall be told.
    pub addr: SocketAddr,
    /// Bytes in its chunk list.
    pub size: u32,
    /// Its source is not forged.
    pub proven: bool,
}

/// Why something is not taken. Nobody is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SeedersError {
    /// The name belongs to a seeder at another address.
    #[error("the name is in use at another address")]
    NameTaken,
    /// One address has too much here.
    #[error("too many names, or too long chunk lists, of one address")]
    TooMany,
    /// No room for one more.
    #[error("there is no room for one more")]
    Full,
    /// No seeder of that address said that its chunk list is so long.
    #[error("no seeder of this address has a chunk list of that length")]
    Unexpected,
}

/// One of a choice among seeders and others, which are only counted here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Chosen<'a> {
    /// A seeder.
    Seeder(&'a Seeder),
    /// The other one of that number.
    Other(usize),
}

impl Seeders {
    /// Nobody is known; who is silent for `life_secs` is tried, then forgotten.
    #[must_use]
    pub const fn new(life_secs: u32) -> Self {
        Self {
            life_secs,
            rows: Vec::new(),
            index: BTreeMap::new(),
            unproven: BTreeSet::new(),
            holders: BTreeMap::new(),
            lists: 0,
            lists_len: 0,
            next_age: 0,
        }
    }

    /// A seeder is there, or still there. True when its chunk list is missing.
    ///
    /// # Errors
    /// When the name is somebody else's, or there is no room.
    pub fn register(&mut self, now: Secs, wish: &Registration<'_>) -> Result<bool, SeedersError> {
        let known = self.index.get(wish.name).copied();
        if let Some(at) = known.filter(|&at| self.rows[at].seeder.source == wish.source) {
            return Ok(self.renew(now, at, wish));
        }
        self.check_holder(wish.source)?;
        if let Some(at) = known {
            // Who forged a register must not keep a name from its owner.
            if self.rows[at].proven || !wish.proven {
                return Err(SeedersError::NameTaken);
            }
            self.remove(at);
        }
        self.make_room()?;
        self.insert(now, wish);
        Ok(wish.size > 0)
    }

    /// How long the longest chunk list is that a seeder of this address may hand in; `None` when there
    /// is no such seeder.
    #[must_use]
    pub fn longest_at(&self, source: IpAddr) -> Option<u32> {
        self.at(source).map(|row| row.seeder.size).max()
    }

    /// A chunk list of this address still has to come.
    #[must_use]
    pub fn lacks_list(&self, source: IpAddr) -> bool {
        self.at(source).any(|row| row.seeder.list.is_none() && row.seeder.size > 0)
    }

    /// The shortest length within `lens` that a seeder of this address said its chunk list has.
    #[must_use]
    pub fn expected(&self, source: IpAddr, lens: RangeInclusive<usize>) -> Option<usize> {
        self.at(source).map(|row| row.seeder.size as usize).filter(|len| lens.contains(len)).min()
    }

    /// A chunk list came from an address. It belongs to the seeder there that said this length: to one
    /// without a list before one that has it, to the newest before the others.
    ///
    /// # Errors
    /// When there is no such seeder, or no room.
    pub fn deliver(
        &mut self,
        now: Secs,
        source: IpAddr,
        list: ChunkList,
    ) -> Result<Arc<str>, SeedersError> {
        let len = list.as_str().len();
        let fitting = self.at(source).filter(|row| row.seeder.size as usize == len);
        let newest = fitting.max_by_key(|row| (row.seeder.list.is_none(), row.age));
        let name = Arc::clone(&newest.ok_or(SeedersError::Unexpected)?.seeder.name);
        let at = self.index[&name];
        let had = self.rows[at].seeder.list.as_ref().map_or(0, |list| list.as_str().len());
        let holding = self.holders.entry(Holder::of(source)).or_default();
        if holding.lists_len - had + len > CHUNK_LISTS_HOLDER_LEN_MAX {
            return Err(SeedersError::TooMany);
        }
        if self.lists_len - had + len > CHUNK_LISTS_LEN_MAX {
            return Err(SeedersError::Full);
        }
        self.take_list(at);
        self.lists += 1;
        self.lists_len += len;
        self.holders.entry(Holder::of(source)).or_default().lists_len += len;
        let row = &mut self.rows[at];
        row.seeder.list = Some(list);
        (row.until, row.tried) = (now.plus(self.life_secs), false);
        self.prove(at);
        Ok(name)
    }

    /// The seeder of a name.
    #[must_use]
    pub fn find(&self, name: &str) -> Option<&Seeder> {
        self.index.get(name).map(|&at| &self.rows[at].seeder)
    }

    /// Some seeder that has handed in its chunk list.
    #[must_use]
    pub fn any_with_list(&self) -> Option<&Seeder> {
        self.rows.iter().map(|row| &row.seeder).find(|seeder| seeder.list.is_some())
    }

    /// Seeders, how many of them have handed in a chunk list, and bytes in these lists.
    #[must_use]
    pub fn totals(&self) -> (usize, usize, usize) {
        (self.rows.len(), self.lists, self.lists_len)
    }

    /// Chooses up to `max` among the seeders and so many others, each with the same chance.
    pub fn choose<'a>(
        &'a self,
        others: usize,
        max: usize,
        chance: u64,
        mut each: impl FnMut(Chosen<'a>),
    ) {
        sample(self.rows.len() + others, max, &mut Chance::new(chance), |at| {
            each(match self.rows.get(at) {
                Some(row) => Chosen::Seeder(&row.seeder),
                None => Chosen::Other(at - self.rows.len()),
            });
        });
    }

    /// Forgets who was silent too long and had been tried; gives those that are to be tried now, with
    /// the address where they should answer.
    pub fn sweep(&mut self, now: Secs) -> Vec<(Arc<str>, SocketAddr)> {
        let mut to_try = Vec::new();
        let mut gone = Vec::new();
        for row in self.rows.iter_mut().filter(|row| now >= row.until) {
            let name = Arc::clone(&row.seeder.name);
            if row.tried {
                gone.push(name);
                continue;
            }
            row.tried = true;
            // As long as a try may take; then it is gone.
            row.until = now.plus(TRY_SECS);
            to_try.push((name, SocketAddr::new(row.seeder.source, row.seeder.addr.port())));
        }
        for name in gone {
            self.remove(self.index[&name]);
        }
        to_try
    }

    /// A seeder that was tried answers.
    pub fn answered(&mut self, now: Secs, name: &str) {
        let Some(&at) = self.index.get(name) else { return };
        let row = &mut self.rows[at];
        if row.tried {
            (row.until, row.tried) = (now.plus(self.life_secs), false);
        }
    }

    fn at(&self, source: IpAddr) -> impl Iterator<Item = &Row> {
        let names = self.holders.get(&Holder::of(source)).map(|holding| holding.names.iter());
        let rows = names.into_iter().flatten().map(|name| &self.rows[self.index[name]]);
        rows.filter(move |row| row.seeder.source == source)
    }

    fn check_holder(&self, source: IpAddr) -> Result<(), SeedersError> {
        let names = self.holders.get(&Holder::of(source)).map_or(0, |holding| holding.names.len());
        if names < SEEDERS_HOLDER_MAX { Ok(()) } else { Err(SeedersError::TooMany) }
    }

    fn make_room(&mut self) -> Result<(), SeedersError> {
        if self.rows.len() < SEEDERS_MAX {
            return Ok(());
        }
        let (_, oldest) = self.unproven.first().ok_or(SeedersError::Full)?;
        self.remove(self.index[oldest]);
        Ok(())
    }

    fn renew(&mut self, now: Secs, at: usize, wish: &Registration<'_>) -> bool {
        if self.rows[at].seeder.size != wish.size {
            self.take_list(at);
        }
        let row = &mut self.rows[at];
        (row.seeder.addr, row.seeder.size) = (wish.addr, wish.size);
        (row.until, row.tried) = (now.plus(self.life_secs), false);
        let lacks_list = row.seeder.list.is_none() && wish.size > 0;
        if wish.proven {
            self.prove(at);
        }
        lacks_list
    }

    fn insert(&mut self, now: Secs, wish: &Registration<'_>) {
        let name: Arc<str> = wish.name.into();
        let age = self.next_age;
        self.next_age += 1;
        let &Registration { source, addr, size, proven, .. } = wish;
        let seeder = Seeder { name: Arc::clone(&name), addr, source, size, list: None };
        let until = now.plus(self.life_secs);
        self.index.insert(Arc::clone(&name), self.rows.len());
        self.rows.push(Row { seeder, until, tried: false, proven, age });
        if !proven {
            self.unproven.insert((age, Arc::clone(&name)));
        }
        self.holders.entry(Holder::of(source)).or_default().names.insert(name);
    }

    fn prove(&mut self, at: usize) {
        let row = &mut self.rows[at];
        if !row.proven {
            row.proven = true;
            self.unproven.remove(&(row.age, Arc::clone(&row.seeder.name)));
        }
    }

    fn remove(&mut self, at: usize) {
        self.take_list(at);
        let Row { seeder: Seeder { name, source, .. }, age, .. } = self.rows.swap_remove(at);
        self.index.remove(&name);
        if let Some(moved) = self.rows.get(at) {
            self.index.insert(Arc::clone(&moved.seeder.name), at);
        }
        let holder = Holder::of(source);
        if let Some(holding) = self.holders.get_mut(&holder) {
            holding.names.remove(&name);
            if holding.names.is_empty() {
                self.holders.remove(&holder);
            }
        }
        self.unproven.remove(&(age, name));
    }

    /// Takes a seeder's chunk list back.
    fn take_list(&mut self, at: usize) {
        let row = &mut self.rows[at];
        let Some(list) = row.seeder.list.take() else { return };
        let len = list.as_str().len();
        self.lists -= 1;
        self.lists_len -= len;
        if let Some(holding) = self.holders.get_mut(&Holder::of(row.seeder.source)) {
            holding.lists_len -= len;
        }
    }
}

/// How long a try may take, in seconds, before the seeder counts as gone.
const TRY_SECS: u32 = 10;

#[cfg(test)]
mod tests;
