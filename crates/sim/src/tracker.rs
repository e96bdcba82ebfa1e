//! The tracker: addresses by info hash.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::time::Duration;

use proto::InfoHash;
use proto::egress::Nearness;
use swarm::{AnnounceEvent, AnnounceTo, Found, TrackerAnswer};

use chance::Chance;

/// Who announced what and did not take it back.
#[derive(Debug, Default)]
pub(crate) struct Tracker {
    swarms: BTreeMap<InfoHash, BTreeSet<SocketAddr>>,
    seeders: BTreeSet<SocketAddr>,
    pub(crate) announces: u64,
    pub(crate) away_until: Duration,
}

impl Tracker {
    pub(crate) fn announce(
        &mut self,
        now: Duration,
        from: SocketAddr,
        told: &AnnounceTo,
        chance: &mut Chance,
    ) -> Result<(TrackerAnswer, Found), String> {
        self.announces += 1;
        if now < self.away_until {
            return Err("no answer (simulated)".to_owned());
        }
        let swarm = self.swarms.entry(told.info_hash).or_default();
        if told.event == AnnounceEvent::Stopped {
            swarm.remove(&from);
        } else {
            swarm.insert(from);
        }
        if told.left == 0 {
            self.seeders.insert(from);
        } else {
            self.seeders.remove(&from);
        }
        let mut others: Vec<_> = swarm.iter().copied().filter(|addr| *addr != from).collect();
        let seeders = swarm.intersection(&self.seeders).count() as u32;
        chance.shuffle(&mut others);
        others.truncate(told.num_want as usize);
        let answer = TrackerAnswer {
            interval: INTERVAL,
            min_interval: None,
            seeders: Some(seeders),
            leechers: Some(swarm.len() as u32 - seeders),
            our_ip: Some(from.ip()),
        };
        Ok((answer, Found { by: Nearness::Machine, peers: others }))
    }
}

/// What young swarms get.
const INTERVAL: Duration = Duration::from_secs(60);
