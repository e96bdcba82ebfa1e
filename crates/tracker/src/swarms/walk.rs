//! Looking at all swarms without stopping the tracker: in steps, one shard's lock for a moment each.
//!
//! What comes and goes meanwhile may be seen or not; a swarm that is there all the time is seen at
//! least once, and seldom twice (`registry::Walk`).

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::fmt;
use std::str::FromStr;

use proto::InfoHash;
use registry::{Names, Presence, Seen, SwarmDump, SwarmFacts, Tally, Totals, Walk};

use super::Swarms;
use crate::limits::SWEEP_STEP;

/// Where the next page of swarms begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cursor {
    shard: usize,
    below: usize,
}

impl Cursor {
    /// The first page.
    pub const START: Self = Self { shard: 0, below: usize::MAX };
}

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.shard, self.below)
    }
}

impl FromStr for Cursor {
    type Err = std::num::ParseIntError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (shard, below) = text.split_once('.').unwrap_or((text, ""));
        Ok(Self { shard: shard.parse()?, below: below.parse()? })
    }
}

/// The tracker as a whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Overview {
    /// Sums.
    pub totals: Totals,
    /// Its peers by client, family and role.
    pub tally: Tally,
    /// The swarms with the most peers, the largest first.
    pub largest: Vec<SwarmFacts>,
}

impl Swarms {
    /// Up to `max` swarms, and where the next ones begin, if there are more. In no order.
    #[must_use]
    pub fn page(&self, from: Cursor, max: usize) -> (Vec<SwarmFacts>, Option<Cursor>) {
        let mut found = Vec::new();
        let mut walk = Walk::below(from.below);
        for (number, shard) in self.shards.iter().enumerate().skip(from.shard) {
            while !walk.is_over() {
                let left = (max - found.len()).min(SWEEP_STEP);
                if left == 0 {
                    return (found, Some(Cursor { shard: number, below: walk.position() }));
                }
                shard.lock().survey(&mut walk, left, |facts| found.push(facts));
            }
            walk = Walk::START;
        }
        (found, None)
    }

    /// Shows every swarm. Blocks for long: some seconds when there are millions.
    pub fn each_swarm(&self, mut each: impl FnMut(SwarmFacts)) {
        let mut step = Vec::new();
        for shard in &self.shards {
            let mut walk = Walk::START;
            while !walk.is_over() {
                shard.lock().survey(&mut walk, SWEEP_STEP, |facts| step.push(facts));
                step.drain(..).for_each(&mut each);
            }
        }
    }

    /// Shows every swarm and its peers. Blocks for long.
    pub(crate) fn each_peer<E>(
        &self,
        mut each: impl FnMut(Seen) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut step = Vec::new();
        for shard in &self.shards {
            let mut walk = Walk::START;
            while !walk.is_over() {
                shard.lock().walk(self.now(), &mut walk, SWEEP_STEP, |seen| step.push(seen));
                step.drain(..).try_for_each(&mut each)?;
            }
        }
        Ok(())
    }

    /// The tracker as a whole, with its `largest_max` largest swarms. Blocks for long.
    #[must_use]
    pub fn overview(&self, largest_max: usize) -> Overview {
        let mut tally = Tally::default();
        let mut largest = BinaryHeap::new();
        let mut known = BTreeMap::new();
        let seen = self.each_peer(|seen| {
            let facts = match seen {
                Seen::Peer(peer) => {
                    tally.add(&peer);
                    return Ok::<_, std::convert::Infallible>(());
                }
                Seen::Swarm(facts) => facts,
            };
            let peers = u64::from(facts.counts.seeders) + u64::from(facts.counts.leechers);
            // A long swarm, or one that moved, comes by more than once.
            if peers > 0 && known.insert(facts.info_hash, facts).is_none() {
                largest.push(Reverse((peers, facts.info_hash)));
            }
            if largest.len() > largest_max
                && let Some(Reverse((_, least))) = largest.pop()
            {
                known.remove(&least);
            }
            Ok(())
        });
        let Ok(()) = seen;
        let largest = largest.into_sorted_vec().into_iter();
        let largest = largest.filter_map(|Reverse((_, hash))| known.remove(&hash)).collect();
        Overview { totals: self.totals(), tally, largest }
    }

    /// The peers of one swarm by client, family and role; `None` if there is no such swarm.
    #[must_use]
    pub fn tally(&self, hash: &InfoHash) -> Option<(SwarmFacts, Tally)> {
        let counts = self.scrape(hash)?;
        let mut tally = Tally::default();
        let mut from = Some(0);
        while let Some(position) = from {
            let (shard, route) = self.home(hash);
            from = shard.tally(self.now(), &route.swarm, (position, SWEEP_STEP), &mut tally);
        }
        let (_, route) = self.home(hash);
        let second = (route.swarm != *hash).then_some(*hash);
        Some((SwarmFacts { info_hash: route.swarm, second, counts }, tally))
    }

    /// Notes what was known before a restart, `away_secs` ago.
    pub(crate) fn restore(&self, dump: &SwarmDump, away_secs: u64) -> usize {
        let (mut shard, route) = self.home(&dump.info_hash);
        let is_second = route.swarm != dump.info_hash;
        let alive = dump.peers.iter().filter_map(|peer| {
            let left = u64::from(peer.life_secs).checked_sub(away_secs).filter(|left| *left > 0)?;
            let names = if is_second { Names::SECOND } else { peer.names };
            Some(Presence { names, life_secs: u32::try_from(left).ok()?, ..*peer })
        });
        let alive: Vec<_> = alive.collect();
        shard.restore(self.now(), route.swarm, dump.completed, &alive);
        alive.len()
    }
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use registry::{Caps, ClientClass, Intervals, Role};

    use super::*;

    fn swarms(sizes: &[u16]) -> Swarms {
        let swarms = Swarms::new(Intervals::default(), Caps::default());
        for (number, size) in sizes.iter().enumerate() {
            let peer = |port: u16| Presence {
                peer: SocketAddr::from(([10, 0, 0, 1], port + 1)),
                role: Role::Seeder,
                names: Names::FIRST,
                class: ClientClass::default(),
                life_secs: 100,
            };
            let info_hash = InfoHash([number as u8; 20]);
            let peers = (0..*size).map(peer).collect();
            swarms.restore(&SwarmDump { info_hash, completed: 2, peers }, 0);
        }
        swarms
    }

    #[test]
    fn pages_show_every_swarm_once() {
        let sizes: Vec<u16> = (1..=200).collect();
        let swarms = swarms(&sizes);
        let mut found = Vec::new();
        let mut cursor = Some(Cursor::START);
        while let Some(from) = cursor {
            assert_eq!(from.to_string().parse(), Ok(from));
            let (page, next) = swarms.page(from, 7);
            assert!(page.len() <= 7);
            found.extend(page.into_iter().map(|facts| facts.info_hash.0[0]));
            cursor = next;
        }
        found.sort_unstable();
        assert_eq!(found, (0..200).collect::<Vec<u8>>());
        assert_eq!(swarms.page(Cursor { shard: 99, below: 3 }, 7), (Vec::new(), None));
    }

    #[test]
    fn an_overview_has_the_largest_first() {
        let swarms = swarms(&[5, 2_000, 1, 300, 7]);
        let overview = swarms.overview(3);
        let sizes: Vec<u32> = overview.largest.iter().map(|facts| facts.counts.seeders).collect();
        assert_eq!(sizes, [2_000, 300, 7]);
        let all: u64 = overview.tally.rows().flat_map(|(_, row)| row).sum();
        assert_eq!((all, overview.totals.peers), (2_313, 2_313));
        let (facts, tally) = swarms.tally(&InfoHash([1; 20])).expect("it is there");
        assert_eq!((facts.counts.seeders, tally.rows().count()), (2_000, 1));
        assert_eq!(swarms.tally(&InfoHash([99; 20])), None);
    }

    #[test]
    fn who_would_have_been_forgotten_meanwhile_is_not_restored() {
        let swarms = swarms(&[]);
        let peer = |port: u16, life_secs| Presence {
            peer: SocketAddr::from(([10, 0, 0, 1], port)),
            role: Role::Leecher,
            names: Names::FIRST,
            class: ClientClass::default(),
            life_secs,
        };
        let peers = vec![peer(1, 100), peer(2, 200)];
        let dump = SwarmDump { info_hash: InfoHash([7; 20]), completed: 2, peers };
        assert_eq!(swarms.restore(&dump, 150), 1);
        assert_eq!(swarms.scrape(&dump.info_hash).map(|counts| counts.leechers), Some(1));
    }
}
