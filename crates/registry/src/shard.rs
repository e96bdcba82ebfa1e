//! A shard: the swarms of some of the info hashes.
//!
//! Invariants: a swarm is there while it has peers or is pinned, and until it is swept if it lost its
//! last one to make room; a hybrid's second hash never has a swarm of its own; the totals are the sums
//! over the swarms.

mod ahead;
mod pins;
mod walk;

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;

use chance::Chance;
use proto::tracker::{Announce, AnnounceEvent, Announced, SwarmCounts};
use proto::{InfoHash, PeerId};

use crate::client::ClientClass;
use crate::feed::{Change, Feed, Presence, SwarmChanges};
use crate::ids::PeerIds;
use crate::index::Index;
use crate::key::{Families, PeerKey};
use crate::limits::{
    INTAKE_LIFE_MAX_SECS, NUMWANT_DEFAULT, NUMWANT_MAX, PEERS_MAX, PINNED_MAX, SWARMS_MAX,
};
use crate::mark::{EPOCH_SECS, Epoch, Expiry, Mark, Names};
use crate::peers::{Role, room_for_more};
use crate::place::HashKey;
use crate::sample::sample;
use crate::swarm::{Count, Found, Swarm, Wish};
use crate::time::{Intervals, Secs};

pub use ahead::{Span, Step};
pub use pins::Departed;
pub use walk::{Seen, SwarmFacts, Tally, Walk};

/// The swarms of some of the info hashes.
#[derive(Debug)]
pub struct Shard {
    pub(crate) hasher: HashKey,
    intervals: Intervals,
    caps: Caps,
    pub(crate) swarms: Vec<Swarm>,
    by_hash: Index,
    /// Second hashes of hybrids, and the hash that their swarm is kept under.
    aliases: BTreeMap<InfoHash, InfoHash>,
    pub(crate) feed: Option<Feed>,
    ids: PeerIds,
    pub(crate) totals: Totals,
    pinned: usize,
    /// Pinned swarms whose count of downloads has changed.
    finished: BTreeSet<InfoHash>,
    /// Where sweeping goes on: a swarm and a peer in it.
    cursor: (usize, usize),
}

/// How much a shard keeps. Past it, room is made at the cost of what serves the fewest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Caps {
    /// Swarms, at most [`SWARMS_MAX`](crate::limits::SWARMS_MAX).
    pub swarms: usize,
    /// Peers of all swarms, at most [`PEERS_MAX`](crate::limits::PEERS_MAX).
    pub peers: usize,
}

impl Default for Caps {
    fn default() -> Self {
        Self { swarms: SWARMS_MAX, peers: PEERS_MAX }
    }
}

/// Where a swarm is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Route {
    /// The hash to ask for; its shard may be another one.
    pub swarm: InfoHash,
    /// Which of the swarm's hashes it was that was asked about.
    pub names: Names,
}

/// What is known of an announce beside its own words.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Visit {
    /// From [`Shard::route`].
    pub route: Route,
    /// The address that the peer came from, with the port that it listens on.
    pub peer: SocketAddr,
    /// Which addresses the reply can hold.
    pub families: Families,
    /// How many addresses the reply can hold.
    pub peers_max: usize,
    /// A random number.
    pub chance: u64,
}

/// One peer, for people and for the catalogue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PeerView {
    /// Its address.
    pub addr: SocketAddr,
    /// Whether it has all of the content.
    pub role: Role,
    /// Under which hashes it announced.
    pub names: Names,
}

/// Sums over a shard.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Totals {
    /// Swarms with at least one peer.
    pub swarms: usize,
    /// Peers of all of them.
    pub peers: usize,
    /// Those that have all of their content.
    pub seeders: usize,
    /// Downloads that ended.
    pub completed: u64,
    /// Announces that were answered but not noted, since something was full.
    pub refused: u64,
    /// Swarms and peers dropped to make room.
    pub evicted: u64,
    /// Changes that found no room in the feed.
    pub feed_dropped: u64,
}

/// A swarm taken out from under a hash that turned out to be a hybrid's second one.
#[derive(Debug)]
pub struct Displaced(Option<Swarm>);

impl Shard {
    /// An empty shard. All shards of a process have the same key.
    #[must_use]
    pub fn new(hasher: HashKey, intervals: Intervals, caps: Caps) -> Self {
        let caps = Caps { swarms: caps.swarms.min(SWARMS_MAX), peers: caps.peers.min(PEERS_MAX) };
        Self {
            hasher,
            intervals,
            caps,
            swarms: Vec::new(),
            by_hash: Index::new(),
            aliases: BTreeMap::new(),
            feed: None,
            ids: PeerIds::new(),
            totals: Totals {
                swarms: 0,
                peers: 0,
                seeders: 0,
                completed: 0,
                refused: 0,
                evicted: 0,
                feed_dropped: 0,
            },
            pinned: 0,
            finished: BTreeSet::new(),
            cursor: (0, 0),
        }
    }

    /// Where the swarm of a hash is kept: under that hash, unless it is a hybrid's second one.
    #[must_use]
    pub fn route(&self, hash: &InfoHash) -> Route {
        match self.aliases.get(hash) {
            Some(first) => Route { swarm: *first, names: Names::SECOND },
            None => Route { swarm: *hash, names: Names::FIRST },
        }
    }

    /// Notes a peer's announce and makes the reply, into one that may have been used before.
    pub fn announce(
        &mut self,
        now: Secs,
        announce: &Announce,
        visit: &Visit,
        reply: &mut Announced,
    ) {
        reply.peers.clear();
        reply.min_interval = None;
        reply.external_ip = None;
        reply.warning = None;
        let peer = PeerKey::new(visit.peer);
        if announce.event == AnnounceEvent::Stopped {
            self.stop(now, &visit.route, &peer);
            self.fill_counts(now, self.find(&visit.route.swarm), visit.chance, reply);
            return;
        }
        let Some(at) = self.find_or_create(now, visit.route.swarm) else {
            // No room for one more swarm: nobody to tell of, and no hurry to come back.
            self.totals.refused += 1;
            (reply.interval, reply.seeders, reply.leechers) = (self.intervals.long_secs, 0, 0);
            return;
        };
        self.touch(at, now);
        let role = if announce.left == 0 { Role::Seeder } else { Role::Leecher };
        let found = self.swarms[at].find(&self.hasher, &peer);
        let begins = announce.event == AnnounceEvent::Started || found.is_none();
        let want = announce.num_want.map_or(NUMWANT_DEFAULT, |want| want as usize);
        let wish = Wish {
            asker: found.map(|found| (peer, found.position)),
            // A client that begins with a magnet link does not know its size yet, and some then say
            // that nothing is left (aria2), nor even that they begin (rqbit): the first answer names
            // seeders too.
            asker_role: if begins { Role::Leecher } else { role },
            names: visit.route.names,
            families: visit.families,
            want: want.min(visit.peers_max).min(NUMWANT_MAX),
        };
        self.swarms[at].choose(&wish, visit.chance, |addr, _, _| reply.peers.push(addr.into()));
        let interval = self.interval(at, now, visit.chance);
        let class = ClientClass::of(&announce.peer_id);
        let presence = Presence {
            peer: visit.peer,
            role,
            names: visit.route.names,
            class,
            life_secs: Intervals::life(interval, class.slowest_secs()),
        };
        self.note(now, at, &presence, found);
        if class.serves_strangers() {
            let until = now.plus(presence.life_secs);
            self.ids.insert(visit.route.swarm, peer, announce.peer_id, until);
        }
        if announce.event == AnnounceEvent::Completed
            && found.is_none_or(|found| found.role == Role::Leecher)
        {
            let swarm = &mut self.swarms[at];
            swarm.completed = swarm.completed.saturating_add(1);
            self.totals.completed += 1;
            if swarm.pinned {
                self.finished.insert(swarm.hash);
            }
        }
        self.fill_counts(now, Some(at), visit.chance, reply);
        self.drop_if_idle(at);
    }

    /// The counts of a swarm; `None` if there is no such swarm.
    pub fn scrape(&mut self, now: Secs, swarm: &InfoHash) -> Option<SwarmCounts> {
        let at = self.find(swarm)?;
        self.touch(at, now);
        let swarm = &self.swarms[at];
        let Count { seeders, peers } = swarm.count();
        let counts = SwarmCounts {
            seeders: seeders as u32,
            completed: swarm.completed,
            leechers: (peers - seeders) as u32,
        };
        self.drop_if_idle(at);
        Some(counts)
    }

    /// Up to `max` peers of a swarm by chance, those of `names` only.
    pub fn peers(
        &mut self,
        now: Secs,
        swarm: &InfoHash,
        names: Names,
        (max, chance): (usize, u64),
    ) -> Vec<PeerView> {
        let Some(at) = self.find(swarm) else { return Vec::new() };
        self.touch(at, now);
        let wish = Wish {
            asker: None,
            asker_role: Role::Leecher,
            names,
            families: Families::Both,
            want: max.min(NUMWANT_MAX),
        };
        let mut views = Vec::with_capacity(wish.want.min(self.swarms[at].count().peers));
        self.swarms[at].choose(&wish, chance, |addr, mark, role| {
            views.push(PeerView { addr, role, names: mark.names });
        });
        self.drop_if_idle(at);
        views
    }

    /// Up to `max` of Teem's own peers in a swarm, by chance: id and address.
    pub fn named_peers(
        &mut self,
        now: Secs,
        swarm: &InfoHash,
        (max, chance): (usize, u64),
    ) -> Vec<(PeerId, SocketAddr)> {
        let Some(at) = self.find(swarm) else { return Vec::new() };
        self.touch(at, now);
        let (swarm, hasher) = (&self.swarms[at], &self.hasher);
        let is_there = |(peer, _): &(PeerKey, PeerId)| {
            swarm.find(hasher, peer).is_some_and(|found| !found.mark.expiry.is_past(now))
        };
        let there: Vec<_> = self.ids.of(swarm.hash).filter(is_there).collect();
        let mut named = Vec::with_capacity(max.min(there.len()));
        sample(there.len(), max, &mut Chance::new(chance), |at| {
            let (peer, id) = there[at];
            named.push((id, peer.into()));
        });
        self.drop_if_idle(at);
        named
    }

    /// Forgets peers that have not announced for too long, looking at no more than about `budget`
    /// peers; the next call goes on where this one ended. True when the end was reached.
    pub fn sweep(&mut self, now: Secs, budget: usize) -> bool {
        let mut left = budget;
        while left > 0 {
            let (at, from) = self.cursor;
            let Some(swarm) = self.swarms.get_mut(at) else {
                self.cursor = (0, 0);
                self.ids.sweep(now);
                return true;
            };
            let before = swarm.count();
            let (hash, feed) = (swarm.hash, &mut self.feed);
            let (next, looked) = swarm.sweep(&self.hasher, now, (from, left), |peer, mark| {
                tell_left(feed, hash, peer, mark);
            });
            let after = swarm.count();
            self.recount(before, after);
            // An idle swarm costs something too.
            left = left.saturating_sub(looked + 1);
            self.cursor = match next {
                Some(position) => (at, position),
                None if self.drop_if_idle(at) => (at, 0),
                None => (at + 1, 0),
            };
        }
        false
    }

    /// Sums over the shard.
    #[must_use]
    pub fn totals(&self) -> Totals {
        let feed_dropped = self.feed.as_ref().map_or(0, Feed::dropped);
        Totals { feed_dropped, ..self.totals }
    }

    /// Keeps a record of the swarm even without peers, since the catalogue names it. False when too
    /// many are kept already: then it is a swarm like any other.
    pub fn pin(&mut self, now: Secs, swarm: InfoHash) -> bool {
        if self.pinned >= PINNED_MAX {
            return false;
        }
        let Some(at) = self.find_or_create(now, swarm) else { return false };
        self.pinned += usize::from(!self.swarms[at].pinned);
        self.swarms[at].pinned = true;
        true
    }

    /// First half of joining a hybrid's two hashes, asked of the shard of `second`: from now on that
    /// hash leads to `first`. What was kept under it goes to [`Shard::adopt`].
    pub fn redirect(&mut self, second: InfoHash, first: InfoHash) -> Displaced {
        if second == first || self.aliases.len() >= PINNED_MAX {
            return Displaced(None);
        }
        self.aliases.entry(second).or_insert(first);
        Displaced(self.find(&second).map(|at| self.take(at)))
    }

    /// Second half, asked of the shard of `first`: the swarm has two hashes from now on, and the
    /// peers that announced under the second one are its peers.
    pub fn adopt(&mut self, now: Secs, first: InfoHash, second: InfoHash, displaced: Displaced) {
        let Some(at) = self.find_or_create(now, first) else { return };
        self.pin(now, first);
        self.swarms[at].second.get_or_insert_with(|| Box::new(second));
        let Displaced(Some(other)) = displaced else { return };
        let before = self.swarms[at].count();
        let swarm = &mut self.swarms[at];
        swarm.completed = swarm.completed.saturating_add(other.completed);
        if other.completed > 0 {
            self.finished.insert(first);
        }
        for (peer, mut mark, role) in other.into_peers() {
            mark.names = Names::SECOND;
            match swarm.find(&self.hasher, &peer) {
                Some(found) => {
                    mark.names = found.mark.names.with(Names::SECOND);
                    swarm.update(&self.hasher, (&peer, found.position), mark, role);
                }
                None => {
                    swarm.insert(&self.hasher, peer, mark, role);
                }
            }
        }
        let after = swarm.count();
        self.recount(before, after);
        self.drop_if_idle(at);
    }

    /// Starts noting changes for other nodes.
    pub fn enable_feed(&mut self) {
        self.feed.get_or_insert_default();
    }

    /// Hands out about `max` changes, whole swarms at a time.
    pub fn drain_feed(&mut self, max: usize, out: &mut Vec<SwarmChanges>) {
        if let Some(feed) = &mut self.feed {
            feed.drain(max, out);
        }
    }

    /// Takes in a peer that another node told of. What this node heard itself counts for more. Such a
    /// peer goes into replies and counts, but not into the feed.
    pub fn intake(&mut self, now: Secs, swarm: InfoHash, presence: &Presence) {
        let peer = PeerKey::new(presence.peer);
        let Some(at) = self.find_or_create(now, swarm) else { return };
        self.touch(at, now);
        let found = self.swarms[at].find(&self.hasher, &peer);
        if found.is_none_or(|found| found.mark.remote) {
            let mark = Mark {
                expiry: Expiry::after(now, presence.life_secs.min(INTAKE_LIFE_MAX_SECS)),
                class: presence.class,
                epoch: Epoch::not(now),
                names: presence.names,
                remote: true,
            };
            self.store(at, &peer, mark, presence.role, found);
        }
        self.drop_if_idle(at);
    }

    /// Another node says that a peer left. A peer that announces here stays.
    pub fn intake_left(&mut self, swarm: &InfoHash, peer: SocketAddr) {
        let peer = PeerKey::new(peer);
        let Some(at) = self.find(swarm) else { return };
        if let Some(found) = self.swarms[at].find(&self.hasher, &peer)
            && found.mark.remote
        {
            self.remove(at, &peer, found);
        }
    }

    /// Takes back one of a peer's names; without any left it is gone.
    fn stop(&mut self, now: Secs, route: &Route, peer: &PeerKey) {
        let Some(at) = self.find(&route.swarm) else { return };
        self.touch(at, now);
        let Some(found) = self.swarms[at].find(&self.hasher, peer) else {
            self.drop_if_idle(at);
            return;
        };
        let mut mark = found.mark;
        mark.names = mark.names.without(route.names);
        if mark.names.is_empty() {
            let hash = self.swarms[at].hash;
            self.ids.remove(hash, *peer);
            tell_left(&mut self.feed, hash, *peer, Mark { remote: false, ..mark });
            self.remove(at, peer, found);
        } else {
            self.swarms[at].update(&self.hasher, (peer, found.position), mark, found.role);
        }
    }

    /// Notes that a peer announced here.
    fn note(&mut self, now: Secs, at: usize, presence: &Presence, found: Option<Found>) {
        let peer = PeerKey::new(presence.peer);
        let before = found.map(|found| found.mark);
        let names = before.map_or(presence.names, |mark| mark.names.with(presence.names));
        let changed = found.is_none_or(|found| {
            found.role != presence.role || found.mark.names != names || found.mark.remote
        });
        let mut mark = Mark {
            expiry: Expiry::after(now, presence.life_secs),
            class: presence.class,
            epoch: before.map_or_else(|| Epoch::not(now), |mark| mark.epoch),
            names,
            remote: false,
        };
        if let Some(feed) = &mut self.feed
            && (changed || mark.epoch != Epoch::of(now))
        {
            let life_secs = (presence.life_secs + EPOCH_SECS).min(INTAKE_LIFE_MAX_SECS);
            let told = Presence { names, life_secs, ..*presence };
            let change = if changed { Change::Joined(told) } else { Change::Renewed(told) };
            let is_told = feed.push(self.swarms[at].hash, peer, change);
            mark.epoch = if is_told { Epoch::of(now) } else { Epoch::not(now) };
        }
        self.store(at, &peer, mark, presence.role, found);
    }

    fn store(&mut self, at: usize, peer: &PeerKey, mark: Mark, role: Role, found: Option<Found>) {
        let mut before = self.swarms[at].count();
        match found {
            Some(found) => {
                self.swarms[at].update(&self.hasher, (peer, found.position), mark, role);
            }
            None => {
                let hash = self.swarms[at].hash;
                let room = self.totals.peers < self.caps.peers || self.evict_peer(&hash);
                // The swarm may be the one that lost a peer.
                before = self.swarms[at].count();
                let fits = room && self.swarms[at].insert(&self.hasher, *peer, mark, role);
                self.totals.refused += u64::from(!fits);
            }
        }
        let after = self.swarms[at].count();
        self.recount(before, after);
    }

    fn remove(&mut self, at: usize, peer: &PeerKey, found: Found) {
        let before = self.swarms[at].count();
        self.swarms[at].remove(&self.hasher, (peer, found.position));
        let after = self.swarms[at].count();
        self.recount(before, after);
        self.drop_if_idle(at);
    }

    fn touch(&mut self, at: usize, now: Secs) {
        let swarm = &mut self.swarms[at];
        let before = swarm.count();
        let (hash, feed) = (swarm.hash, &mut self.feed);
        swarm.touch(&self.hasher, now, |peer, mark| tell_left(feed, hash, peer, mark));
        let after = swarm.count();
        self.recount(before, after);
    }

    fn fill_counts(&self, now: Secs, at: Option<usize>, chance: u64, reply: &mut Announced) {
        let Count { seeders, peers } = at.map_or_else(Count::default, |at| self.swarms[at].count());
        reply.seeders = seeders as u32;
        reply.leechers = (peers - seeders) as u32;
        reply.interval = at.map_or(self.intervals.short_secs, |at| self.interval(at, now, chance));
    }

    fn interval(&self, at: usize, now: Secs, chance: u64) -> u32 {
        let swarm = &self.swarms[at];
        self.intervals.interval(swarm.count().peers as u32, now.since(swarm.born), chance)
    }

    pub(crate) fn recount(&mut self, before: Count, after: Count) {
        let totals = &mut self.totals;
        totals.peers = totals.peers + after.peers - before.peers;
        totals.seeders = totals.seeders + after.seeders - before.seeders;
        let swarms = totals.swarms + usize::from(after.peers > 0);
        totals.swarms = swarms - usize::from(before.peers > 0);
    }

    fn find(&self, hash: &InfoHash) -> Option<usize> {
        let is_it = |at: u32| self.swarms[at as usize].hash == *hash;
        self.by_hash.find(self.hasher.hash(&hash.0), is_it).map(|at| at as usize)
    }

    fn find_or_create(&mut self, now: Secs, hash: InfoHash) -> Option<usize> {
        if let Some(at) = self.find(&hash) {
            return Some(at);
        }
        if self.swarms.len() >= self.caps.swarms && !self.evict_swarm(&hash) {
            return None;
        }
        if self.swarms.len() == self.swarms.capacity() {
            let more = room_for_more(self.swarms.len(), size_of::<Swarm>());
            self.swarms.reserve_exact(more);
        }
        self.swarms.push(Swarm::new(hash, now));
        let (swarms, hasher) = (&self.swarms, &self.hasher);
        let at = swarms.len() - 1;
        let hash_of = |at: u32| hasher.hash(&swarms[at as usize].hash.0);
        self.by_hash.insert(hasher.hash(&hash.0), at as u32, hash_of);
        Some(at)
    }

    fn drop_if_idle(&mut self, at: usize) -> bool {
        let is_idle = self.swarms[at].count().peers == 0 && !self.swarms[at].pinned;
        if is_idle {
            self.take(at);
        }
        is_idle
    }

    /// Takes a swarm out; the last one takes its place.
    pub(crate) fn take(&mut self, at: usize) -> Swarm {
        let (swarms, hasher) = (&self.swarms, &self.hasher);
        let hash_of = |at: u32| hasher.hash(&swarms[at as usize].hash.0);
        let last = (swarms.len() - 1) as u32;
        self.by_hash.swap((hash_of(at as u32), at as u32), (hash_of(last), last));
        self.swarms.swap(at, last as usize);
        let (swarms, hasher) = (&self.swarms, &self.hasher);
        let hash_of = |at: u32| hasher.hash(&swarms[at as usize].hash.0);
        self.by_hash.remove(hash_of(last), last, hash_of);
        let swarm = self.swarms.swap_remove(last as usize);
        let before = swarm.count();
        self.recount(before, Count::default());
        self.pinned -= usize::from(swarm.pinned);
        swarm
    }
}

fn tell_left(feed: &mut Option<Feed>, hash: InfoHash, peer: PeerKey, mark: Mark) {
    if let Some(feed) = feed
        && !mark.remote
    {
        feed.push(hash, peer, Change::Left { peer: peer.into() });
    }
}

#[cfg(test)]
mod tests;
