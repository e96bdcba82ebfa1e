//! What is simulated: content, peers, and what goes wrong when.

use std::time::Duration;

use crate::content::ContentSpec;
use crate::report::Report;

/// A whole simulation, before it runs.
#[derive(Debug, Clone)]
pub struct Plan {
    /// The torrent.
    pub content: ContentSpec,
    /// The peers; their place in this list is their number.
    pub nodes: Vec<NodeSpec>,
    /// What goes wrong.
    pub faults: Vec<(Duration, Fault)>,
    /// This peer leaves when all pieces exist outside of it.
    pub leaves_after_one_copy: Option<usize>,
    /// Virtual time by which all honest leechers must have everything.
    pub deadline: Duration,
    /// How long it goes on after that, to see what finished swarms do.
    pub linger: Duration,
    /// What must be so at the end, beside what must always be so.
    pub expect: fn(&Report) -> Result<(), String>,
}

/// One peer.
#[derive(Debug, Clone)]
pub struct NodeSpec {
    /// It has everything from the start.
    pub seeder: bool,
    /// It has everything, and tells of it bit by bit (BEP 16).
    pub super_seed: bool,
    /// What it knows at the start.
    pub start: Start,
    /// Whether it plays by the rules.
    pub behaviour: Behaviour,
    /// Uplink in bytes a second.
    pub up: u64,
    /// Downlink in bytes a second.
    pub down: u64,
    /// One way to the middle of the network.
    pub latency: Duration,
    /// When it comes.
    pub joins_at: Duration,
    /// Slots, or by rate.
    pub upload_slots: Option<usize>,
    /// Connections at most.
    pub max_peers: usize,
    /// Bytes of open pieces at most.
    pub piece_budget: u64,
    /// On the network of all others that are local: no slot is needed.
    pub local: bool,
    /// Speaks the fast extension.
    pub fast: bool,
    /// Speaks v2.
    pub v2: bool,
    /// Announces to the tracker.
    pub tracker: bool,
    /// Peers whose addresses it is given at the start.
    pub knows: Vec<usize>,
}

/// What a peer knows at the start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Start {
    /// The torrent file.
    Torrent,
    /// A magnet link: only the info hashes.
    Magnet,
}

/// Whether a peer plays by the rules. All of them run the shipped session and swarm.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Behaviour {
    /// It does.
    Honest,
    /// Of the blocks that it sends, so many in a hundred are wrong.
    Poisoner(u64),
    /// It takes requests and sends nothing after so many bytes.
    Staller(u64),
    /// It wants nothing and gives nothing: it takes up connections. Its network has that number, and
    /// others like it.
    Squatter(u8),
}

/// Something that goes wrong.
#[derive(Debug, Clone, Copy)]
pub enum Fault {
    /// All of a peer's connections are reset.
    Reset(usize),
    /// Nothing reaches a peer or leaves it for a while; then it goes on.
    Silence(usize, Duration),
    /// A peer vanishes without a word.
    Kill(usize),
    /// A peer's disk is full for a while.
    Full(usize, Duration),
    /// A peer loses a piece that it had.
    Lose(usize, u32),
    /// The tracker does not answer for a while.
    TrackerAway(Duration),
}

impl Default for NodeSpec {
    fn default() -> Self {
        Self {
            seeder: false,
            super_seed: false,
            start: Start::Torrent,
            behaviour: Behaviour::Honest,
            up: 1 << 20,
            down: 4 << 20,
            latency: Duration::from_millis(10),
            joins_at: Duration::ZERO,
            upload_slots: None,
            max_peers: 100,
            piece_budget: 96 << 20,
            local: false,
            fast: true,
            v2: true,
            tracker: true,
            knows: Vec::new(),
        }
    }
}

impl NodeSpec {
    /// Has everything from the start.
    #[must_use]
    pub fn seeder() -> Self {
        Self { seeder: true, ..Self::default() }
    }
}
