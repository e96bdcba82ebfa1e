//! The registry's shards, each behind a short lock, and the coarse clock that they share.

mod walk;

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Instant;

use parking_lot::{Mutex, MutexGuard};
use proto::tracker::{Announce, Announced, SwarmCounts};
use proto::{InfoHash, PeerId};
use registry::{
    Caps, Families, HashKey, Intervals, Names, PeerView, Place, Presence, Route, Secs, Shard, Step,
    SwarmChanges, Totals, Visit,
};

use crate::limits::{AHEAD_LEN_MAX, SHARDS, SWEEP_STEP};

pub use walk::{Cursor, Overview};

/// All swarms of the tracker. Every protocol asks here, so an info hash is one swarm for all of them.
#[derive(Debug)]
pub struct Swarms {
    hasher: HashKey,
    shards: Box<[Mutex<Shard>]>,
    /// The longest interval that peers are told.
    long_secs: u32,
    started: Instant,
    now: AtomicU32,
}

/// Where an announce came from and what its reply can hold.
#[derive(Debug, Clone, Copy)]
pub struct Asker {
    /// The address that the announce came from, in canonical form, with the port that the peer
    /// listens on.
    pub peer: SocketAddr,
    /// Which addresses the reply can hold.
    pub families: Families,
    /// How many it can hold.
    pub peers_max: usize,
}

impl Swarms {
    /// No swarms; `intervals` are what peers will be told, `caps` holds for all shards together.
    #[must_use]
    pub fn new(intervals: Intervals, caps: Caps) -> Self {
        let Caps { swarms, peers } = caps;
        let caps = Caps { swarms: swarms.div_ceil(SHARDS), peers: peers.div_ceil(SHARDS) };
        let hasher = HashKey::new(rand::random());
        let shard = || Mutex::new(Shard::new(hasher, intervals, caps));
        let shards = std::iter::repeat_with(shard).take(SHARDS).collect();
        Self {
            hasher,
            shards,
            long_secs: intervals.long_secs,
            started: Instant::now(),
            now: AtomicU32::new(0),
        }
    }

    /// The coarse time. Whoever handles a batch of requests calls [`Swarms::tick`] first.
    #[must_use]
    pub fn now(&self) -> Secs {
        Secs(self.now.load(Ordering::Relaxed))
    }

    /// Reads the clock. Never goes back.
    pub fn tick(&self) -> Secs {
        let secs = u32::try_from(self.started.elapsed().as_secs()).unwrap_or(u32::MAX);
        Secs(self.now.fetch_max(secs, Ordering::Relaxed).max(secs))
    }

    /// Where an info hash belongs.
    pub(crate) fn place(&self, hash: &InfoHash) -> Place {
        self.hasher.place(hash)
    }

    /// Has the memory fetched that announces and scrapes of these places will read, for all of them side
    /// by side. Skips what somebody else works on.
    pub(crate) fn fetch_ahead(&self, places: &[Place]) {
        for step in Step::ALL {
            for &place in places {
                let shard = &self.shards[place.shard(self.shards.len())];
                let span = shard.try_lock().and_then(|shard| shard.ahead(place, step));
                if let Some((first, len)) = span {
                    sys::prefetch(first, len.min(AHEAD_LEN_MAX));
                }
            }
        }
    }

    /// Notes an announce and fills the reply.
    pub fn announce(&self, announce: &Announce, asker: &Asker, reply: &mut Announced) {
        self.announce_at(self.now(), announce, asker, reply);
    }

    /// The reply to whoever asks too often: nobody, and come back late.
    pub(crate) fn put_off(&self, reply: &mut Announced) {
        *reply = Announced { peers: std::mem::take(&mut reply.peers), ..Announced::default() };
        reply.peers.clear();
        reply.interval = self.long_secs;
    }

    /// [`Swarms::announce`] at a given time.
    pub fn announce_at(
        &self,
        now: Secs,
        announce: &Announce,
        asker: &Asker,
        reply: &mut Announced,
    ) {
        let (mut shard, route) = self.home(&announce.info_hash);
        let visit = Visit {
            route,
            peer: asker.peer,
            families: asker.families,
            peers_max: asker.peers_max,
            chance: rand::random(),
        };
        shard.announce(now, announce, &visit, reply);
    }

    /// The counts of a swarm; `None` if there is none.
    #[must_use]
    pub fn scrape(&self, hash: &InfoHash) -> Option<SwarmCounts> {
        let (mut shard, route) = self.home(hash);
        shard.scrape(self.now(), &route.swarm)
    }

    /// Up to `max` peers of a swarm by chance: those that announced under that very hash, or, with
    /// [`Names::BOTH`], under either hash of a hybrid.
    #[must_use]
    pub fn peers(&self, hash: &InfoHash, names: Option<Names>, max: usize) -> Vec<PeerView> {
        let (mut shard, route) = self.home(hash);
        let names = names.unwrap_or(route.names);
        shard.peers(self.now(), &route.swarm, names, (max, rand::random()))
    }

    /// Up to `max` of Teem's own peers in a swarm, under either hash of a hybrid, by chance.
    #[must_use]
    pub fn named_peers(&self, hash: &InfoHash, max: usize) -> Vec<(PeerId, SocketAddr)> {
        let (mut shard, route) = self.home(hash);
        shard.named_peers(self.now(), &route.swarm, (max, rand::random()))
    }

    /// Keeps the counts of a torrent that the catalogue names, and joins the two hashes of a hybrid.
    pub fn register(&self, hashes: &proto::InfoHashes) {
        let now = self.now();
        let first = hashes.primary();
        let second = hashes.wire().nth(1);
        let Some(second) = second else {
            self.shard(&first).pin(now, first);
            return;
        };
        // In between, announces under the second hash lead to a swarm that has not heard of it yet:
        // they are noted under their name all the same.
        let displaced = self.shard(&second).redirect(second, first);
        self.shard(&first).adopt(now, first, second, displaced);
    }

    /// The other hash of a registered hybrid.
    pub(crate) fn other_hash(&self, hash: &InfoHash) -> Option<InfoHash> {
        let (shard, route) = self.home(hash);
        if route.swarm == *hash { shard.second_of(hash) } else { Some(route.swarm) }
    }

    /// Takes back what [`Swarms::register`] did. Peers may go on; those of a hybrid are two swarms from
    /// now on.
    pub fn unregister(&self, hashes: &proto::InfoHashes) {
        let now = self.now();
        let first = hashes.primary();
        let second = hashes.wire().nth(1);
        if let Some(second) = second {
            self.shard(&second).unredirect(&second);
        }
        let departed = self.shard(&first).unpin(now, &first);
        if let Some(second) = second {
            self.shard(&second).settle(now, second, departed);
        }
    }

    /// Counts at least so many downloads of a registered torrent.
    pub fn restore_completed(&self, hashes: &proto::InfoHashes, completed: u32) {
        let first = hashes.primary();
        self.shard(&first).restore_completed(&first, completed);
    }

    /// Appends the registered torrents whose downloads have changed since the last call, by their first
    /// hash, and how many there are now.
    pub fn drain_completed(&self, out: &mut Vec<(InfoHash, u32)>) {
        self.shards.iter().for_each(|shard| shard.lock().drain_completed(out));
    }

    /// One step of the sweep in every shard.
    pub fn sweep(&self) {
        let now = self.tick();
        for shard in &self.shards {
            // A full round in some ten steps, whatever the size.
            let budget = SWEEP_STEP.max(shard.lock().totals().peers / 10);
            let mut left = budget;
            while left > 0 {
                if shard.lock().sweep(now, SWEEP_STEP) {
                    break;
                }
                left = left.saturating_sub(SWEEP_STEP);
            }
        }
    }

    /// Sums over all shards.
    #[must_use]
    pub fn totals(&self) -> Totals {
        self.shards.iter().fold(Totals::default(), |sum, shard| {
            let totals = shard.lock().totals();
            Totals {
                swarms: sum.swarms + totals.swarms,
                peers: sum.peers + totals.peers,
                seeders: sum.seeders + totals.seeders,
                completed: sum.completed + totals.completed,
                refused: sum.refused + totals.refused,
                evicted: sum.evicted + totals.evicted,
                feed_dropped: sum.feed_dropped + totals.feed_dropped,
            }
        })
    }

    /// Starts noting changes for other nodes.
    pub fn enable_feed(&self) {
        self.shards.iter().for_each(|shard| shard.lock().enable_feed());
    }

    /// Takes about `max` changes out of each shard.
    pub fn drain_feed(&self, max: usize, out: &mut Vec<SwarmChanges>) {
        self.shards.iter().for_each(|shard| shard.lock().drain_feed(max, out));
    }

    /// Takes in a peer that another node told of.
    pub fn intake(&self, hash: &InfoHash, presence: &Presence) {
        let (mut shard, route) = self.home(hash);
        shard.intake(self.now(), route.swarm, presence);
    }

    /// Another node says that a peer left.
    pub fn intake_left(&self, hash: &InfoHash, peer: SocketAddr) {
        let (mut shard, route) = self.home(hash);
        shard.intake_left(&route.swarm, peer);
    }

    fn shard(&self, hash: &InfoHash) -> MutexGuard<'_, Shard> {
        self.shards[self.place(hash).shard(self.shards.len())].lock()
    }

    /// The shard that keeps the swarm of a hash. Only one lock is held at a time.
    fn home(&self, hash: &InfoHash) -> (MutexGuard<'_, Shard>, Route) {
        let shard = self.shard(hash);
        let route = shard.route(hash);
        if route.swarm == *hash {
            return (shard, route);
        }
        drop(shard);
        (self.shard(&route.swarm), route)
    }
}

#[cfg(test)]
mod tests {
    use proto::tracker::{AnnounceEvent, ClaimedAddrs};
    use proto::{InfoHashV1, InfoHashV2, InfoHashes};

    use super::*;

    fn join(swarms: &Swarms, now: u32, info_hash: InfoHash, port: u16) -> Announced {
        let announce = Announce {
            info_hash,
            peer_id: PeerId(*b"-TE0100-000000000000"),
            port,
            uploaded: 0,
            downloaded: 0,
            left: 1,
            event: AnnounceEvent::Started,
            num_want: None,
            key: None,
            claimed: ClaimedAddrs::default(),
        };
        let peer = SocketAddr::from(([127, 0, 0, 1], port));
        let asker = Asker { peer, families: Families::Both, peers_max: 50 };
        let mut reply = Announced::default();
        swarms.announce_at(Secs(now), &announce, &asker, &mut reply);
        reply
    }

    #[test]
    fn hybrids_are_joined_across_shards() {
        let swarms = Swarms::new(Intervals::default(), Caps { swarms: 1 << 20, peers: 1 << 20 });
        for number in 0..40 {
            let v1 = InfoHashV1([number; 20]);
            let v2 = InfoHashV2([number + 100; 32]);
            join(&swarms, 0, v2.truncated(), 7);
            let hashes = InfoHashes::new(Some(v1), Some(v2)).expect("both are there");
            swarms.register(&hashes);
            join(&swarms, 0, v1.into(), 8);
            let counts = swarms.scrape(&v2.truncated()).expect("it is there");
            assert_eq!(counts.leechers, 2);
            assert_eq!(join(&swarms, 0, v1.into(), 9).peers.len(), 1, "only that of this hash");
            assert_eq!(swarms.peers(&v1.into(), Some(Names::BOTH), 50).len(), 3);
            assert_eq!(swarms.peers(&v2.truncated(), None, 50).len(), 1);
        }
    }

    #[test]
    fn silent_peers_are_gone() {
        let swarms = Swarms::new(Intervals::default(), Caps { swarms: 1 << 20, peers: 1 << 20 });
        join(&swarms, 0, InfoHash([1; 20]), 7);
        assert_eq!(join(&swarms, 140, InfoHash([1; 20]), 8).peers.len(), 1);
        assert_eq!(join(&swarms, 160, InfoHash([1; 20]), 8).peers.len(), 0);
    }
}
