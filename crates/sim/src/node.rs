//! One peer: its swarm, its files, its place in the network.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use proto::{InfoHashes, PeerId};
use swarm::{Config, Notice, PeerKey, Swarm};

use crate::content::Content;
use crate::disk::Disk;
use crate::link::Access;
use crate::plan::{Behaviour, NodeSpec, Start};
use crate::report::NodeReport;
use chance::Chance;

/// One peer.
#[derive(Debug)]
pub(crate) struct Node {
    pub(crate) spec: NodeSpec,
    pub(crate) addr: SocketAddr,
    pub(crate) peer_id: PeerId,
    pub(crate) hashes: InfoHashes,
    pub(crate) swarm: Swarm,
    pub(crate) disk: Disk,
    pub(crate) access: Access,
    /// Connection and side of each key.
    pub(crate) ends: BTreeMap<PeerKey, (usize, usize)>,
    /// It has come and has not gone.
    pub(crate) alive: bool,
    /// It knows what the torrent is.
    pub(crate) knows_info: bool,
    pub(crate) timer_at: Option<Duration>,
    pub(crate) finished_at: Option<Duration>,
    pub(crate) notices: Vec<Notice>,
    /// Blocks handed to the swarm that it has not given to the disk or back.
    pub(crate) buffers_held: u64,
    /// Payload bytes sent, for those who stop sending.
    pub(crate) sent: u64,
}

impl Node {
    pub(crate) fn new(
        number: usize,
        base: Instant,
        spec: NodeSpec,
        content: &Content,
        chance: &mut Chance,
    ) -> Self {
        let addr = match spec.behaviour {
            Behaviour::Squatter(network) => squat(number, network),
            Behaviour::Honest | Behaviour::Poisoner(_) | Behaviour::Staller(_) => {
                address(number, spec.local)
            }
        };
        let mut id = *b"-SM0001-            ";
        chance.fill(&mut id[8..]);
        let peer_id = PeerId(id);
        let all = content.metainfo.info.hashes();
        let known = if spec.v2 { all } else { InfoHashes::new(all.v1(), None).unwrap_or(all) };
        let trackers = if spec.tracker { vec![vec![TRACKER.to_owned()]] } else { Vec::new() };
        let config = Config {
            seed: chance.number(),
            peer_id,
            info_hashes: known,
            trackers,
            max_peers: spec.max_peers,
            upload_slots: spec.upload_slots,
            piece_budget: spec.piece_budget,
            fetch: !matches!(spec.behaviour, Behaviour::Squatter(_)),
            super_seed: spec.super_seed,
            metadata_known: spec.start == Start::Torrent,
            order: swarm::PieceOrder::default(),
            exchange: true,
            punch: true,
            dht: false,
        };
        let (up, down, latency) = (spec.up, spec.down, spec.latency);
        let (up_free_at, down_free_at) = (Duration::ZERO, Duration::ZERO);
        Self {
            addr,
            peer_id,
            hashes: known,
            swarm: Swarm::new(base + spec.joins_at, config),
            disk: Disk::new(content, spec.seeder),
            access: Access { up, down, latency, up_free_at, down_free_at },
            ends: BTreeMap::new(),
            alive: false,
            knows_info: spec.start == Start::Torrent,
            timer_at: None,
            finished_at: None,
            notices: Vec::new(),
            buffers_held: 0,
            sent: 0,
            spec,
        }
    }

    /// It must have everything in the end.
    pub(crate) fn must_finish(&self) -> bool {
        self.spec.behaviour == Behaviour::Honest && !self.spec.seeder
    }

    pub(crate) fn report(&self) -> NodeReport {
        let stats = self.swarm.stats();
        NodeReport {
            kind: match (self.spec.behaviour, self.spec.seeder) {
                (Behaviour::Honest, true) => "seeder",
                (Behaviour::Honest, false) => "leecher",
                (Behaviour::Poisoner(_), _) => "poisoner",
                (Behaviour::Staller(_), _) => "staller",
                (Behaviour::Squatter(_), _) => "squatter",
            },
            finished_at: self.finished_at,
            complete: stats.complete,
            uploaded: stats.uploaded,
            downloaded: stats.downloaded,
            wasted: stats.wasted,
            notices: self.notices.clone(),
            addr: self.addr,
            connections: self.ends.len(),
            refused_by_disk: self.disk.refusals,
        }
    }
}

/// Addresses are public, so that slots count, unless the peer is local. Each has a network of its own:
/// allowed-fast pieces are the same for all of one network (BEP 6).
fn address(number: usize, local: bool) -> SocketAddr {
    let [high, low] = [(number / 200) as u8, (number % 200 + 1) as u8];
    SocketAddr::from(([if local { 10 } else { 20 }, high, low, 1], PORT))
}

/// One of the addresses of a network.
fn squat(number: usize, network: u8) -> SocketAddr {
    SocketAddr::from(([30, network, 0, (number % 250 + 1) as u8], PORT))
}

/// The tracker's name.
const TRACKER: &str = "sim://tracker";
/// Where every peer listens.
pub(crate) const PORT: u16 = 6881;
