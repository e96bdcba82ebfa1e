//! Going over a shard's swarms and peers in steps, for statistics, exports and dumps.
//!
//! A walk goes from the last swarm to the first: when a swarm is taken out, the last one takes its
//! place, and that one has been seen by then. So whatever is there all the time is seen at least once,
//! however much comes and goes between two steps; a swarm that moves may be seen twice.

use std::net::SocketAddr;

use proto::InfoHash;
use proto::tracker::SwarmCounts;

use super::Shard;
use crate::client::ClientClass;
use crate::feed::Presence;
use crate::key::PeerKey;
use crate::limits::INTAKE_LIFE_MAX_SECS;
use crate::mark::{Epoch, Expiry, Mark, Names};
use crate::peers::Role;
use crate::swarm::{Count, Swarm};
use crate::time::Secs;

/// How far a walk has come. Bound to one shard.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Walk {
    /// Swarms below this position are to come.
    below: usize,
    /// In the next swarm, where to go on, if it is still this one.
    at: (InfoHash, usize),
}

impl Walk {
    /// Nothing seen yet.
    pub const START: Self = Self::below(usize::MAX);

    /// Swarms from this position on have been seen.
    #[must_use]
    pub const fn below(position: usize) -> Self {
        Self { below: position, at: (InfoHash([0; 20]), 0) }
    }

    /// The position that swarms to come are below: less with every step.
    #[must_use]
    pub const fn position(&self) -> usize {
        self.below
    }

    /// All has been seen.
    #[must_use]
    pub const fn is_over(&self) -> bool {
        self.below == 0
    }
}

/// One swarm.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SwarmFacts {
    /// The hash it is kept under.
    pub info_hash: InfoHash,
    /// A hybrid's other hash.
    pub second: Option<InfoHash>,
    /// How many peers it has.
    pub counts: SwarmCounts,
}

/// What a walk comes by: a swarm, then its peers. A long one is named again with every step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Seen {
    /// The peers that follow are its own.
    Swarm(SwarmFacts),
    /// One of them. Its life is what is left of it.
    Peer(Presence),
}

/// How many peers of which kind: by client, address family and role.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Tally([[[u64; 2]; 2]; ClientClass::COUNT]);

impl Tally {
    /// Counts a peer.
    pub fn add(&mut self, peer: &Presence) {
        let family = usize::from(peer.peer.is_ipv6());
        let role = usize::from(peer.role == Role::Leecher);
        if let Some(of_class) = self.0.get_mut(usize::from(peer.class.number())) {
            of_class[family][role] += 1;
        }
    }

    /// Peers of a client: IPv4 seeders, IPv4 leechers, IPv6 seeders, IPv6 leechers. Clients without
    /// peers are left out.
    pub fn rows(&self) -> impl Iterator<Item = (ClientClass, [u64; 4])> + '_ {
        let flat = |[v4, v6]: &[[u64; 2]; 2]| [v4[0], v4[1], v6[0], v6[1]];
        let rows = self.0.iter().enumerate();
        let rows =
            rows.map(move |(number, row)| (ClientClass::from_number(number as u8), flat(row)));
        rows.filter(|(_, row)| row.iter().any(|count| *count > 0))
    }
}

impl Shard {
    /// Shows the next swarms, at most `max`.
    pub fn survey(&self, walk: &mut Walk, max: usize, each: impl FnMut(SwarmFacts)) {
        let end = walk.below.min(self.swarms.len());
        let start = end.saturating_sub(max);
        self.swarms[start..end].iter().rev().map(facts).for_each(each);
        *walk = Walk::below(start);
    }

    /// Shows the next swarms with their peers, at most about `budget` of both. Peers that other nodes
    /// told of and those whose time is over are left out.
    pub fn walk(&self, now: Secs, walk: &mut Walk, budget: usize, mut each: impl FnMut(Seen)) {
        let mut left = budget.max(1);
        walk.below = walk.below.min(self.swarms.len());
        while left > 0 && walk.below > 0 {
            let swarm = &self.swarms[walk.below - 1];
            let from = if walk.at.0 == swarm.hash { walk.at.1 } else { 0 };
            each(Seen::Swarm(facts(swarm)));
            left -= 1;
            let until = swarm.count().peers.min(from.saturating_add(left.max(1)));
            show_peers(swarm, now, from..until, |peer| each(Seen::Peer(peer)));
            left = left.saturating_sub(until.saturating_sub(from));
            if until == swarm.count().peers {
                *walk = Walk::below(walk.below - 1);
            } else {
                walk.at = (swarm.hash, until);
            }
        }
    }

    /// Counts up to `budget` peers of one swarm, from a position on. Tells the position to go on from,
    /// `None` at the end.
    pub fn tally(
        &self,
        now: Secs,
        swarm: &InfoHash,
        (from, budget): (usize, usize),
        tally: &mut Tally,
    ) -> Option<usize> {
        let swarm = &self.swarms[self.find(swarm)?];
        let until = swarm.count().peers.min(from.saturating_add(budget));
        show_peers(swarm, now, from..until, |peer| tally.add(&peer));
        (until < swarm.count().peers).then_some(until)
    }

    /// Notes what was known before a restart: a peer that has been heard since stays as it is.
    pub fn restore(&mut self, now: Secs, swarm: InfoHash, completed: u32, peers: &[Presence]) {
        let Some(at) = self.find_or_create(now, swarm) else { return };
        self.restore_completed(&swarm, completed);
        for presence in peers {
            let peer = PeerKey::new(presence.peer);
            if self.swarms[at].find(&self.hasher, &peer).is_some() {
                continue;
            }
            let mark = Mark {
                expiry: Expiry::after(now, presence.life_secs.min(INTAKE_LIFE_MAX_SECS)),
                class: presence.class,
                epoch: Epoch::not(now),
                names: presence.names,
                remote: false,
            };
            self.store(at, &peer, mark, presence.role, None);
        }
        self.drop_if_idle(at);
    }
}

fn facts(swarm: &Swarm) -> SwarmFacts {
    let Count { seeders, peers } = swarm.count();
    let counts = SwarmCounts {
        seeders: seeders as u32,
        completed: swarm.completed,
        leechers: (peers - seeders) as u32,
    };
    SwarmFacts { info_hash: swarm.hash, second: swarm.second.as_deref().copied(), counts }
}

fn show_peers(
    swarm: &Swarm,
    now: Secs,
    positions: std::ops::Range<usize>,
    mut each: impl FnMut(Presence),
) {
    for position in positions {
        let (peer, mark, role): (SocketAddr, Mark, Role) = swarm.at(position);
        let life_secs = mark.expiry.left(now);
        let names: Names = mark.names;
        if life_secs > 0 && !mark.remote {
            each(Presence { peer, role, names, class: mark.class, life_secs });
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;
    use crate::place::HashKey;
    use crate::shard::Caps;
    use crate::time::Intervals;

    fn shard() -> Shard {
        Shard::new(HashKey::new([3; 16]), Intervals::default(), Caps::default())
    }

    fn presence(number: u16) -> Presence {
        let peer = if number.is_multiple_of(3) {
            SocketAddr::from(([0x2001, 0xdb8, 0, 0, 0, 0, 0, 1], number + 1))
        } else {
            SocketAddr::from(([10, 0, 0, 1], number + 1))
        };
        let role = if number.is_multiple_of(2) { Role::Seeder } else { Role::Leecher };
        let class = ClientClass::from_number((number % 5) as u8);
        Presence { peer, role, names: Names::FIRST, class, life_secs: 100 + u32::from(number) }
    }

    fn hash(number: u8) -> InfoHash {
        InfoHash([number; 20])
    }

    proptest! {
        #[test]
        fn every_peer_is_seen_once_when_nothing_changes(
            sizes in prop::collection::vec(1_u16..150, 0..20),
            budget in 1_usize..200,
        ) {
            let mut shard = shard();
            let mut expected = BTreeMap::new();
            for (number, size) in sizes.iter().enumerate() {
                let peers: Vec<_> = (0..*size).map(presence).collect();
                shard.restore(Secs(50), hash(number as u8), number as u32, &peers);
                for peer in peers {
                    // A life is kept in steps of four seconds.
                    expected.insert((hash(number as u8), peer.peer), (peer.role, peer.class));
                }
            }
            let (mut walk, mut found, mut swarm) = (Walk::START, BTreeMap::new(), None);
            while !walk.is_over() {
                let mut count = 0;
                shard.walk(Secs(51), &mut walk, budget, |seen| {
                    count += 1;
                    match seen {
                        Seen::Swarm(facts) => swarm = Some(facts.info_hash),
                        Seen::Peer(peer) => {
                            let known = (peer.role, peer.class);
                            let key = (swarm.expect("a swarm comes first"), peer.peer);
                            assert_eq!(found.insert(key, known), None, "once");
                        }
                    }
                });
                prop_assert!(count <= budget + 1);
            }
            prop_assert_eq!(found, expected);
            let mut surveyed = Vec::new();
            let mut walk = Walk::START;
            while !walk.is_over() {
                shard.survey(&mut walk, budget, |facts| surveyed.push(facts.info_hash));
            }
            surveyed.sort();
            prop_assert_eq!(surveyed, (0..sizes.len() as u8).map(hash).collect::<Vec<_>>());
        }

        #[test]
        fn what_stays_is_seen_whatever_else_comes_and_goes(
            removed in prop::collection::btree_set(0_u8..40, 0..39),
            step in 1_usize..10,
        ) {
            let mut shard = shard();
            for number in 0..40 {
                shard.restore(Secs(0), hash(number), 0, &[presence(1)]);
            }
            let mut leaving: Vec<u8> = removed.iter().copied().collect();
            let mut seen = std::collections::BTreeSet::new();
            let mut walk = Walk::START;
            while !walk.is_over() {
                shard.survey(&mut walk, step, |facts| { seen.insert(facts.info_hash); });
                if let Some(number) = leaving.pop() {
                    let at = shard.find(&hash(number)).expect("it is there");
                    shard.take(at);
                }
            }
            for number in (0..40).filter(|number| !removed.contains(number)) {
                prop_assert!(seen.contains(&hash(number)), "{number}");
            }
        }
    }

    #[test]
    fn a_tally_knows_clients_families_and_roles() {
        let mut shard = shard();
        let peers: Vec<_> = (0..60).map(presence).collect();
        shard.restore(Secs(0), hash(1), 7, &peers);
        let (mut tally, mut from) = (Tally::default(), Some(0));
        while let Some(position) = from {
            from = shard.tally(Secs(1), &hash(1), (position, 7), &mut tally);
        }
        let rows: Vec<_> = tally.rows().collect();
        assert_eq!(rows.len(), 5);
        let v6_seeders: u64 = rows.iter().map(|(_, row)| row[2]).sum();
        assert_eq!(v6_seeders, 10, "every sixth");
        let all: u64 = rows.iter().flat_map(|(_, row)| row).sum();
        assert_eq!(all, 60);
        let mut late = Tally::default();
        shard.tally(Secs(1_000), &hash(1), (0, 100), &mut late);
        assert_eq!(late, Tally::default(), "their time is over");
    }

    #[test]
    fn what_was_heard_since_counts_for_more() {
        let mut shard = shard();
        let known = Presence { role: Role::Seeder, ..presence(1) };
        shard.restore(Secs(0), hash(1), 3, &[known]);
        shard.restore(Secs(0), hash(1), 2, &[Presence { role: Role::Leecher, ..known }]);
        let counts = shard.scrape(Secs(1), &hash(1)).expect("it is there");
        assert_eq!(counts, SwarmCounts { seeders: 1, completed: 3, leechers: 0 });
    }
}
