//! The peers and torrents that a run makes up: the same ones each time, for each tracker.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use anyhow::ensure;
use chance::Chance;
use proto::tracker::{Announce, AnnounceEvent, ClaimedAddrs};
use proto::{InfoHash, PeerId};

/// Ports of one address that peers may have.
const PORTS_MAX: u64 = 64_000;
/// The first of them: some trackers refuse the lowest.
const PORT_FIRST: u64 = 1_025;
/// One peer in so many is a seeder.
const SEEDER_EVERY: u64 = 4;

/// Who announces what.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct CrowdArgs {
    /// Torrents; 1 is one hot swarm
    #[arg(long, default_value_t = 100_000)]
    pub(crate) torrents: u64,
    /// Peers, each of one torrent
    #[arg(long, default_value_t = 1_000_000)]
    pub(crate) peers: u64,
    /// Addresses that they come from [default: 64, or as many as their ports need]
    #[arg(long)]
    pub(crate) sources: Option<u64>,
    /// The torrent of rank K has a share in proportion to 1/K of the peers
    #[arg(long)]
    pub(crate) zipf: bool,
    /// Peers that each asks for
    #[arg(long, default_value_t = 30)]
    pub(crate) want: u32,
}

/// A crowd.
#[derive(Debug)]
pub(crate) struct Crowd {
    torrents: u64,
    peers: u64,
    sources: u64,
    per_source: u64,
    zipf: bool,
    want: u32,
    v6: bool,
}

impl Crowd {
    /// The crowd that talks to the tracker at an address: over IPv6 it has one address.
    pub(crate) fn new(args: &CrowdArgs, tracker: SocketAddr) -> anyhow::Result<Self> {
        ensure!(args.torrents > 0 && args.peers > 0, "at least one torrent and one peer");
        let v6 = tracker.is_ipv6();
        let least = if v6 { 1 } else { 64.min(args.peers) };
        let sources = args.sources.unwrap_or_else(|| args.peers.div_ceil(PORTS_MAX).max(least));
        let per_source = args.peers.div_ceil(sources.max(1));
        ensure!(per_source <= PORTS_MAX, "too many peers for {sources} addresses");
        ensure!(!v6 || sources == 1, "there is only one IPv6 address on loopback");
        ensure!(sources < 1 << 16, "at most 65,535 addresses");
        let (torrents, want) = (args.torrents, args.want);
        Ok(Self { torrents, peers: args.peers, sources, per_source, zipf: args.zipf, want, v6 })
    }

    pub(crate) const fn peers(&self) -> u64 {
        self.peers
    }

    pub(crate) const fn sources(&self) -> u64 {
        self.sources
    }

    /// The address with that number.
    pub(crate) fn source(&self, number: u64) -> IpAddr {
        if self.v6 {
            return Ipv6Addr::LOCALHOST.into();
        }
        // 127.1.0.1, 127.1.0.2, …, none that ends in 0 or 255.
        let (high, low) = (number / 250, number % 250);
        Ipv4Addr::new(127, 1 + (high >> 8) as u8, high as u8, 1 + low as u8).into()
    }

    /// Which address a peer comes from.
    pub(crate) const fn source_of(&self, peer: u64) -> u64 {
        peer / self.per_source
    }

    /// A peer of that address.
    pub(crate) fn peer_of(&self, source: u64, dice: &mut Chance) -> u64 {
        let first = source * self.per_source;
        first + dice.below(self.per_source.min(self.peers - first).max(1))
    }

    /// A torrent, as likely as it has peers.
    pub(crate) fn torrent(&self, dice: &mut Chance) -> InfoHash {
        info_hash(self.rank(dice.number()))
    }

    /// What a peer announces.
    pub(crate) fn announce(&self, peer: u64) -> Announce {
        let facts = Chance::new(peer).number();
        let mut peer_id = *b"-LT20B0-000000000000";
        peer_id[12..].copy_from_slice(&facts.to_be_bytes());
        Announce {
            info_hash: info_hash(self.rank(facts)),
            peer_id: PeerId(peer_id),
            port: (PORT_FIRST + peer % self.per_source) as u16,
            uploaded: 0,
            downloaded: 0,
            left: if facts.is_multiple_of(SEEDER_EVERY) { 0 } else { 1 << 20 },
            event: AnnounceEvent::None,
            num_want: Some(self.want),
            key: Some(facts as u32),
            claimed: ClaimedAddrs::default(),
        }
    }

    fn rank(&self, facts: u64) -> u64 {
        let share = (Chance::new(facts).number() >> 11) as f64 / (1_u64 << 53) as f64;
        let torrents = self.torrents as f64;
        let rank = if self.zipf { torrents.powf(share) } else { torrents * share };
        (rank as u64).min(self.torrents - 1)
    }
}

/// The info hash of the torrent with that number.
pub(crate) fn info_hash(number: u64) -> InfoHash {
    let mut hash = [0; 20];
    Chance::new(number.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ 0x7465_656d).fill(&mut hash);
    InfoHash(hash)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn crowd(peers: u64, torrents: u64, zipf: bool) -> Crowd {
        let args = CrowdArgs { torrents, peers, sources: None, zipf, want: 30 };
        Crowd::new(&args, "127.0.0.1:1".parse().expect("an address")).expect("it is possible")
    }

    #[test]
    fn no_two_peers_share_address_and_port() {
        let crowd = crowd(100_000, 10, false);
        let all: BTreeSet<_> = (0..crowd.peers())
            .map(|peer| (crowd.source(crowd.source_of(peer)), crowd.announce(peer).port))
            .collect();
        assert_eq!(all.len(), 100_000);
        let mut dice = Chance::new(1);
        for source in 0..crowd.sources() {
            let peer = crowd.peer_of(source, &mut dice);
            assert!(peer < crowd.peers() && crowd.source_of(peer) == source);
        }
    }

    #[test]
    fn zipf_makes_the_first_torrent_the_largest() {
        for (zipf, most) in [(false, 150), (true, 2_000)] {
            let crowd = crowd(10_000, 100, zipf);
            let first = info_hash(if zipf { 1 } else { 0 });
            let count = (0..10_000).filter(|&peer| crowd.announce(peer).info_hash == first).count();
            assert!(count > most / 2 && count < most, "{count}");
        }
    }
}
