//! The flags of everything that talks to peers, and the node's configuration that they make.

use std::sync::Arc;

use clap::builder::FalseyValueParser;
use node::egress::Gate;
use node::tls::Trust;
use node::{BlockList, BlockListError, Encryption, Node, NodeConfig, Rates, UtpMode};

use super::dht::{DhtArgs, Origin};
use crate::lan::Lan;
use crate::listen::{Listen, ListenAddr};
use crate::locate::TrackerArgs;
use crate::peer_ports::Reachable;
use crate::schedule::Schedule;
use crate::state::StateDir;
use crate::units::parse_size;

/// The flags.
#[derive(Debug, Clone, clap::Args)]
#[command(next_help_heading = "Peers")]
pub(super) struct PeerArgs {
    /// Accept peers at this address of this machine, ADDR or ADDR:PORT [default: all]
    #[arg(long, env = "TEEM_LISTEN", value_name = "ADDR", value_delimiter = ',')]
    listen: Vec<ListenAddr>,
    /// Accept peers on this port; 0 for any free one [default: 6881 or the next free one]
    #[arg(short, long, env = "TEEM_PORT", value_name = "N")]
    port: Option<u16>,
    /// Ask the router to open the port to peers outside (PCP, NAT-PMP, UPnP)
    #[arg(long, env = "TEEM_MAP_PORTS", value_name = "WHEN", default_value = "on")]
    map_ports: Switch,
    #[command(flatten)]
    limits: LimitArgs,
}

/// The limits among the flags.
#[derive(Debug, Clone, clap::Args)]
#[command(next_help_heading = "Peers")]
pub(super) struct LimitArgs {
    /// Connect to this many peers at most
    #[arg(
        long, env = "TEEM_MAX_PEERS", value_name = "N", default_value_t = 100,
        value_parser = clap::value_parser!(u16).range(1..)
    )]
    max_peers: u16,
    /// Serve this many peers at once, those of the local network not counted [default: by rate]
    #[arg(long, env = "TEEM_UPLOAD_SLOTS", value_name = "N")]
    upload_slots: Option<u16>,
    /// Tell peers of each other, and hear from them of others; never of a private torrent
    #[arg(long, env = "TEEM_PEX", value_name = "WHEN", default_value = "on")]
    pex: Switch,
    #[command(flatten)]
    dht: DhtArgs,
    /// Use uTP, which makes way for other traffic: where TCP does not get through, never, or alone
    #[arg(long, env = "TEEM_UTP", value_name = "WHEN", default_value = "on")]
    utp: Utp,
    /// Hide from whoever shapes traffic that this is BitTorrent (MSE); no secrecy
    #[arg(long, env = "TEEM_ENCRYPTION", value_name = "WHEN", default_value = "allowed")]
    encryption: Hiding,
    /// Neither dial nor answer the addresses in this file: networks, or ranges as other clients have them
    #[arg(long, env = "TEEM_BLOCK_LIST", value_name = "FILE", value_parser = read_block_list)]
    block_list: Option<Arc<BlockList>>,
    /// Receive at most this much a second, such as 500K or 2M; peers of the local network do not count
    #[arg(long, env = "TEEM_MAX_DOWN", value_name = "RATE", value_parser = parse_size)]
    max_down: Option<u64>,
    /// Send at most this much a second
    #[arg(long, env = "TEEM_MAX_UP", value_name = "RATE", value_parser = parse_size)]
    max_up: Option<u64>,
    /// The limits hold for peers of the local network, too
    #[arg(long, env = "TEEM_LIMIT_LAN", value_parser = FalseyValueParser::new())]
    limit_lan: bool,
    /// Other limits at times: "full speed 20:00-07:00; 500K down mon-fri 09:00-17:00"
    #[arg(long, env = "TEEM_SCHEDULE", value_name = "RULES")]
    schedule: Option<Schedule>,
}

/// When to use uTP.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Utp {
    /// Peers may use it; we dial by TCP first
    On,
    /// Neither we nor peers
    Off,
    /// We dial by nothing else
    Only,
}

impl From<Utp> for UtpMode {
    fn from(utp: Utp) -> Self {
        match utp {
            Utp::On => Self::On,
            Utp::Off => Self::Off,
            Utp::Only => Self::Only,
        }
    }
}

/// When to hide what is spoken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Hiding {
    /// Always, all of it; refuse who does not
    Forced,
    /// Dial so first; plain bytes after the handshake
    Preferred,
    /// Dial in plain bytes first; answer both
    Allowed,
    /// Never; refuse who does
    Off,
}

impl From<Hiding> for Encryption {
    fn from(hiding: Hiding) -> Self {
        match hiding {
            Hiding::Forced => Self::Forced,
            Hiding::Preferred => Self::Preferred,
            Hiding::Allowed => Self::Allowed,
            Hiding::Off => Self::Off,
        }
    }
}

/// A thing that is done or not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum Switch {
    /// Do it
    On,
    /// Never do it
    Off,
}

impl PeerArgs {
    /// The node that the flags ask for; its folder is still the default one.
    pub(super) fn config(&self, origin: Origin, tracker: &TrackerArgs) -> NodeConfig {
        let Gate { interface, proxy, .. } = tracker.gate();
        let mut listen = Listen::new(&self.listen, self.port, DEFAULT_PORT);
        if proxy.is_some() && self.listen.is_empty() && self.port.is_none() {
            // Nobody could dial us through it, and who finds the port finds us.
            listen.addrs.clear();
        }
        NodeConfig { interface, proxy, ..self.limits.config(listen, origin, tracker.lan()) }
    }

    /// Starts the node that the flags ask for, which believes those over TLS, in its folder or in one for
    /// `purpose`.
    pub(super) async fn start(
        &self,
        (origin, tracker): (Origin, &TrackerArgs),
        trust: Trust,
        (state, purpose): (&StateDir, &str),
    ) -> anyhow::Result<Reachable> {
        let config = NodeConfig { trust, ..self.config(origin, tracker) };
        let node = state.start_node(config, purpose).await?;
        Ok(self.open_to_peers(node, tracker))
    }

    /// The node, reached from outside if that may be: a router is asked by sockets that no proxy carries and
    /// no interface holds.
    pub(super) fn open_to_peers(&self, node: Node, tracker: &TrackerArgs) -> Reachable {
        let Gate { interface, proxy, .. } = tracker.gate();
        let free = interface.is_none() && proxy.is_none();
        self.limits.follow_clock(&node);
        Reachable::new(node, free && self.map_ports == Switch::On)
    }

    /// A torrent from there needs no tracker.
    pub(super) fn uses_dht(&self, origin: Origin) -> bool {
        self.limits.dht.config(origin).is_some()
    }
}

fn read_block_list(path: &str) -> Result<Arc<BlockList>, BlockListError> {
    BlockList::read(path.into()).map(Arc::new)
}

impl LimitArgs {
    const fn rates(&self) -> Rates {
        Rates { down: self.max_down, up: self.max_up }
    }

    /// Has the limits of a node follow the clock, as long as the process runs.
    pub(super) fn follow_clock(&self, node: &Node) {
        if let Some(schedule) = self.schedule.clone() {
            tokio::spawn(schedule.keep(node.limiter(), self.rates()));
        }
    }

    /// The node that listens there.
    pub(super) fn config(&self, listen: Listen, origin: Origin, lan: Lan) -> NodeConfig {
        NodeConfig {
            bind: listen.source(),
            next_free_port: !listen.port_given,
            listen: listen.addrs,
            max_peers_per_torrent: usize::from(self.max_peers),
            upload_slots: self.upload_slots.map(usize::from),
            dht: self.dht.config(origin),
            exchange: self.pex == Switch::On,
            local_discovery: lan == Lan::On,
            utp: self.utp.into(),
            encryption: self.encryption.into(),
            blocked: self.block_list.clone().unwrap_or_default(),
            rates: self.rates(),
            limit_lan: self.limit_lan,
            ..NodeConfig::default()
        }
    }
}

/// The port that peers connect to.
pub(super) const DEFAULT_PORT: u16 = 6881;
