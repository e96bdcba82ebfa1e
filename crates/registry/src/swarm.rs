//! One swarm: its peers of both families, and the choice among them.

use std::net::SocketAddr;

use chance::Chance;
use proto::InfoHash;

use crate::key::{Families, PeerKey, addr_of};
use crate::limits::{FILTER_SCAN_MAX, NEAR_PEERS, RUN_PEERS, SWARM_PEERS_MAX, TOUCH_SWEEP_MAX};
use crate::mark::{Mark, Names};
use crate::peers::{PeerSet, Role};
use crate::place::HashKey;
use crate::sample::sample_runs;
use crate::time::Secs;

/// The peers that share one torrent.
#[derive(Debug)]
pub(crate) struct Swarm {
    /// The hash it is kept under.
    pub(crate) hash: InfoHash,
    /// A hybrid's other hash.
    pub(crate) second: Option<Box<InfoHash>>,
    /// Kept without peers, since the catalogue names it.
    pub(crate) pinned: bool,
    /// Downloads that ended.
    pub(crate) completed: u32,
    pub(crate) born: Secs,
    v4: PeerSet<6>,
    // Most swarms of a small tracker have no IPv6 peer.
    v6: Option<Box<PeerSet<18>>>,
}

/// How many peers there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Count {
    pub(crate) seeders: usize,
    pub(crate) peers: usize,
}

/// A peer found in a swarm.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Found {
    pub(crate) position: usize,
    pub(crate) mark: Mark,
    pub(crate) role: Role,
}

/// Who asks for peers and which ones will do.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Wish {
    pub(crate) asker: Option<(PeerKey, usize)>,
    /// Seeders have no use for seeders.
    pub(crate) asker_role: Role,
    /// Only peers that announced under one of these.
    pub(crate) names: Names,
    pub(crate) families: Families,
    pub(crate) want: usize,
}

impl Swarm {
    pub(crate) fn new(hash: InfoHash, born: Secs) -> Self {
        Self {
            hash,
            second: None,
            pinned: false,
            completed: 0,
            born,
            v4: PeerSet::default(),
            v6: None,
        }
    }

    pub(crate) fn count(&self) -> Count {
        let (seeders6, peers6) = self.v6.as_ref().map_or((0, 0), |set| (set.seeders(), set.len()));
        Count { seeders: self.v4.seeders() + seeders6, peers: self.v4.len() + peers6 }
    }

    pub(crate) fn find(&self, hasher: &HashKey, peer: &PeerKey) -> Option<Found> {
        let (position, (mark, role)) = match peer {
            PeerKey::V4(key) => {
                let position = self.v4.find(hasher, key)?;
                let (_, mark, role) = self.v4.at(position);
                (position, (mark, role))
            }
            PeerKey::V6(key) => {
                let set = self.v6.as_ref()?;
                let position = set.find(hasher, key)?;
                let (_, mark, role) = set.at(position);
                (position, (mark, role))
            }
        };
        Some(Found { position, mark, role })
    }

    /// What a search among its IPv4 peers reads first, if it has any.
    pub(crate) fn read_first(&self) -> Option<(*const u8, usize)> {
        self.v4.read_first()
    }

    /// Adds a peer that is not there; false if the swarm is full.
    pub(crate) fn insert(
        &mut self,
        hasher: &HashKey,
        peer: PeerKey,
        mark: Mark,
        role: Role,
    ) -> bool {
        match peer {
            PeerKey::V4(key) if self.v4.len() < SWARM_PEERS_MAX => {
                self.v4.insert(hasher, key, mark, role);
            }
            PeerKey::V6(key) => {
                let set = self.v6.get_or_insert_default();
                if set.len() >= SWARM_PEERS_MAX {
                    return false;
                }
                set.insert(hasher, key, mark, role);
            }
            PeerKey::V4(_) => return false,
        }
        true
    }

    /// Changes the peer of that family at a position.
    pub(crate) fn update(
        &mut self,
        hasher: &HashKey,
        (peer, position): (&PeerKey, usize),
        mark: Mark,
        role: Role,
    ) {
        match (peer, &mut self.v6) {
            (PeerKey::V4(_), _) => {
                let position = self.v4.set_role(hasher, position, role);
                self.v4.set_mark(position, mark);
            }
            (PeerKey::V6(_), Some(set)) => {
                let position = set.set_role(hasher, position, role);
                set.set_mark(position, mark);
            }
            (PeerKey::V6(_), None) => {}
        }
    }

    /// Takes out the peer of that family at a position.
    pub(crate) fn remove(&mut self, hasher: &HashKey, (peer, position): (&PeerKey, usize)) {
        match (peer, &mut self.v6) {
            (PeerKey::V4(_), _) => self.v4.remove(hasher, position),
            (PeerKey::V6(_), Some(set)) => set.remove(hasher, position),
            (PeerKey::V6(_), None) => {}
        }
        self.drop_empty_set();
    }

    /// Takes out a peer by chance. There is one.
    pub(crate) fn remove_any(&mut self, hasher: &HashKey, dice: &mut Chance) -> (PeerKey, Mark) {
        let number = dice.index(self.count().peers);
        let removed = match (number.checked_sub(self.v4.len()), &mut self.v6) {
            (Some(position), Some(set)) => {
                let (key, mark, _) = set.at(position);
                set.remove(hasher, position);
                (PeerKey::V6(key), mark)
            }
            (Some(_) | None, _) => {
                let (key, mark, _) = self.v4.at(number);
                self.v4.remove(hasher, number);
                (PeerKey::V4(key), mark)
            }
        };
        self.drop_empty_set();
        removed
    }

    /// Drops expired peers if looking at all of them costs little.
    pub(crate) fn touch(
        &mut self,
        hasher: &HashKey,
        now: Secs,
        mut gone: impl FnMut(PeerKey, Mark),
    ) {
        if self.v4.len() <= TOUCH_SWEEP_MAX {
            sweep(&mut self.v4, hasher, now, 0..TOUCH_SWEEP_MAX, |key, mark| {
                gone(PeerKey::V4(key), mark);
            });
        }
        if let Some(set) = &mut self.v6
            && set.len() <= TOUCH_SWEEP_MAX
        {
            sweep(set, hasher, now, 0..TOUCH_SWEEP_MAX, |key, mark| gone(PeerKey::V6(key), mark));
            self.drop_empty_set();
        }
    }

    /// Looks at up to `budget` peers from a position on, IPv6 after IPv4, and drops expired ones.
    /// Tells the position to go on from, `None` at the end, and how many were looked at.
    pub(crate) fn sweep(
        &mut self,
        hasher: &HashKey,
        now: Secs,
        (from, budget): (usize, usize),
        mut gone: impl FnMut(PeerKey, Mark),
    ) -> (Option<usize>, usize) {
        let mut looked = 0;
        if from < self.v4.len() {
            let (next, cost) =
                sweep(&mut self.v4, hasher, now, from..from + budget, |key, mark| {
                    gone(PeerKey::V4(key), mark);
                });
            looked = cost;
            if next < self.v4.len() {
                return (Some(next), looked);
            }
        }
        let Some(set) = &mut self.v6 else { return (None, looked) };
        if looked >= budget {
            return (Some(self.v4.len()), looked);
        }
        let from = from.saturating_sub(self.v4.len());
        let (next, cost) = sweep(set, hasher, now, from..from + budget - looked, |key, mark| {
            gone(PeerKey::V6(key), mark);
        });
        let end = next >= set.len();
        self.drop_empty_set();
        (if end { None } else { Some(self.v4.len() + next) }, looked + cost)
    }

    /// Picks peers by chance.
    pub(crate) fn choose(
        &self,
        wish: &Wish,
        chance: u64,
        mut emit: impl FnMut(SocketAddr, Mark, Role),
    ) {
        let mut dice = Chance::new(chance);
        let filter = self.second.is_some().then_some(wish.names);
        let asker4 = wish.asker.and_then(|(key, at)| matches!(key, PeerKey::V4(_)).then_some(at));
        let asker6 = wish.asker.and_then(|(key, at)| matches!(key, PeerKey::V6(_)).then_some(at));
        let set6 = self.v6.as_deref().filter(|_| wish.families.has_v6());
        let pool4 = wish.families.has_v4().then(|| Pool::new(&self.v4, asker4, wish.asker_role));
        let pool6 = set6.map(|set| Pool::new(set, asker6, wish.asker_role));
        let counts = (pool4.as_ref().map_or(0, |p| p.count), pool6.as_ref().map_or(0, |p| p.count));
        let want4 = split(wish.want, counts);
        let mut taken = 0;
        if let Some(pool) = pool4 {
            taken = pool.pick(filter, want4, &mut dice, &mut emit);
        }
        if let Some(pool) = pool6 {
            pool.pick(filter, wish.want - taken, &mut dice, &mut emit);
        }
    }

    /// The peer at a position below the count, IPv6 after IPv4.
    pub(crate) fn at(&self, position: usize) -> (SocketAddr, Mark, Role) {
        match (position.checked_sub(self.v4.len()), &self.v6) {
            (Some(position), Some(set)) => {
                let (key, mark, role) = set.at(position);
                (addr_of(&key), mark, role)
            }
            (None | Some(_), _) => {
                let (key, mark, role) = self.v4.at(position);
                (addr_of(&key), mark, role)
            }
        }
    }

    /// Every peer, for moving a swarm into another.
    pub(crate) fn into_peers(self) -> impl Iterator<Item = (PeerKey, Mark, Role)> {
        let v6 = self.v6.unwrap_or_default();
        let v4 = self.v4;
        let first = (0..v4.len()).map(move |at| {
            let (key, mark, role) = v4.at(at);
            (PeerKey::V4(key), mark, role)
        });
        let second = (0..v6.len()).map(move |at| {
            let (key, mark, role) = v6.at(at);
            (PeerKey::V6(key), mark, role)
        });
        first.chain(second)
    }

    fn drop_empty_set(&mut self) {
        if self.v6.as_ref().is_some_and(|set| set.len() == 0) {
            self.v6 = None;
        }
    }
}

/// How many of the wanted peers are IPv4: by their share, but a quarter for either family if it has
/// that many.
fn split(want: usize, (count4, count6): (usize, usize)) -> usize {
    let share = (want * count4).checked_div(count4 + count6).unwrap_or(0);
    let least4 = count4.min(want / 4);
    let most4 = want - count6.min(want / 4);
    share.clamp(least4, most4.max(least4)).max(want.saturating_sub(count6)).min(count4)
}

/// The part of a set that an asker may get.
struct Pool<'a, const N: usize> {
    set: &'a PeerSet<N>,
    base: usize,
    skip: Option<usize>,
    count: usize,
}

impl<'a, const N: usize> Pool<'a, N> {
    fn new(set: &'a PeerSet<N>, asker: Option<usize>, asker_role: Role) -> Self {
        let base = match asker_role {
            Role::Seeder => set.seeders(),
            Role::Leecher => 0,
        };
        let skip = asker.and_then(|at| at.checked_sub(base));
        Self { set, base, skip, count: set.len() - base - usize::from(skip.is_some()) }
    }

    fn at(&self, number: usize) -> ([u8; N], Mark, Role) {
        let passed = usize::from(self.skip.is_some_and(|skip| number >= skip));
        self.set.at(self.base + number + passed)
    }

    fn pick(
        &self,
        filter: Option<Names>,
        want: usize,
        dice: &mut Chance,
        mut emit: impl FnMut(SocketAddr, Mark, Role),
    ) -> usize {
        let Some(names) = filter else {
            let run = if self.count < NEAR_PEERS { 1 } else { RUN_PEERS };
            sample_runs(self.count, want, run, dice, |number| {
                let (key, mark, role) = self.at(number);
                emit(addr_of(&key), mark, role);
            });
            return want.min(self.count);
        };
        let mut taken = 0;
        let start = if self.count == 0 { 0 } else { dice.index(self.count) };
        for number in 0..self.count.min(FILTER_SCAN_MAX) {
            if taken == want {
                break;
            }
            let (key, mark, role) = self.at((start + number) % self.count);
            if mark.names.overlaps(names) {
                emit(addr_of(&key), mark, role);
                taken += 1;
            }
        }
        taken
    }
}

fn sweep<const N: usize>(
    set: &mut PeerSet<N>,
    hasher: &HashKey,
    now: Secs,
    range: std::ops::Range<usize>,
    mut gone: impl FnMut([u8; N], Mark),
) -> (usize, usize) {
    let budget = range.len();
    let mut at = range.start;
    let mut looked = 0;
    while looked < budget && at < set.len() {
        let (key, mark, _) = set.at(at);
        if mark.expiry.is_past(now) {
            set.remove(hasher, at);
            gone(key, mark);
        } else {
            at += 1;
        }
        looked += 1;
    }
    (at, looked)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_are_small() {
        assert_eq!(size_of::<Swarm>(), 88);
    }

    #[test]
    fn families_share_an_answer() {
        assert_eq!(split(50, (1_000, 0)), 50);
        assert_eq!(split(50, (0, 1_000)), 0);
        assert_eq!(split(50, (1_000, 5)), 45, "all of the few");
        assert_eq!(split(50, (1_000, 1_000)), 25);
        assert_eq!(split(48, (10, 100_000)), 10);
        assert_eq!(split(48, (100_000, 100)), 36, "a quarter at least");
        assert_eq!(split(50, (3, 4)), 3);
        assert_eq!(split(0, (3, 4)), 0);
    }
}
