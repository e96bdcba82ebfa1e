//! What an embedder gives to a node and sees of it.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use proto::InfoHashes;
use proto::choice::Choice;
use proto::magnet::Magnet;
use proto::metainfo::Metainfo;
use swarm::PieceOrder;

use crate::block_list::BlockList;
use crate::egress::{Gate, Proxy};
use crate::limiter::{Limiter, Rates};
use crate::tls::Trust;

/// How a node behaves.
#[derive(Debug, Clone)]
pub struct NodeConfig {
    /// Holds `node.db` and the lock; made if missing.
    pub data_dir: PathBuf,
    /// Where peers connect to. Port 0 picks a free one.
    pub listen: Vec<SocketAddr>,
    /// When a listen port is taken, try the following ones.
    pub next_free_port: bool,
    /// Local address of outgoing connections; the system chooses when `None`.
    pub bind: Option<SocketAddr>,
    /// The only network interface that peers and trackers are spoken to through; Linux only.
    pub interface: Option<Arc<str>>,
    /// Carries every connection to peers and trackers. Then nothing else leaves: there is no uTP, no DHT,
    /// no local discovery, and no tracker over UDP.
    pub proxy: Option<Arc<Proxy>>,
    /// Connections a torrent may have.
    pub max_peers_per_torrent: usize,
    /// Connections of all torrents together.
    pub max_peers: usize,
    /// Peers served at once beyond those on the LAN; by rate when `None`.
    pub upload_slots: Option<usize>,
    /// Memory for open pieces, in bytes.
    pub piece_budget: u64,
    /// Threads that hash and write.
    pub workers: usize,
    /// Threads that carry torrents and their peers.
    pub network_threads: usize,
    /// Whom to believe when announcing over HTTPS.
    pub trust: Trust,
    /// Finds peers through the DHT (BEP 5), and helps others to; not at all when `None`. Private
    /// torrents (BEP 27) never do.
    pub dht: Option<DhtConfig>,
    /// Tells peers of each other (BEP 11). Those of private torrents (BEP 27) never are.
    pub exchange: bool,
    /// Tells the local network of torrents, and hears of theirs (BEP 14). Private torrents (BEP 27) never do.
    pub local_discovery: bool,
    /// Whether peers are reached over uTP (BEP 29), too.
    pub utp: UtpMode,
    /// Who is neither dialled nor answered.
    pub blocked: Arc<BlockList>,
    /// How fast peers are talked to, all together.
    pub rates: Rates,
    /// The limits hold for peers of the local network, too.
    pub limit_lan: bool,
    /// Whether what peers say to each other looks like noise (MSE).
    pub encryption: Encryption,
}

/// How a node uses message stream encryption (MSE), which hides BitTorrent from whoever shapes traffic by
/// pattern. It is no secrecy: who knows the info hash can read along. Where the other side agrees, only
/// the handshake is hidden, and what follows travels in plain bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Encryption {
    /// Nothing else is spoken, and all of the stream is hidden (RC4). Clients that are no peers are refused.
    Forced,
    /// We dial with it, and in plain bytes when the peer closes such a connection.
    Preferred,
    /// We dial in plain bytes, and with it when the peer closes such a connection.
    #[default]
    Allowed,
    /// Not at all.
    Off,
}

impl NodeConfig {
    /// What of it leaves through a proxy, if there is one: TCP connections alone.
    pub(crate) fn held_to_its_proxy(self) -> Self {
        if self.proxy.is_none() {
            return self;
        }
        Self { dht: None, local_discovery: false, utp: UtpMode::Off, ..self }
    }

    pub(crate) fn gate(&self) -> Gate {
        let bind = self.bind.map(|bind| bind.ip());
        Gate { bind, interface: self.interface.clone(), proxy: self.proxy.clone() }
    }
}

/// How a node uses uTP, which makes way for other traffic.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum UtpMode {
    /// Peers may use it; we do where TCP does not get through.
    #[default]
    On,
    /// Not at all.
    Off,
    /// We dial by nothing else: all that we send to peers that we dialled makes way.
    Only,
}

/// How a node takes part in the DHT.
#[derive(Debug, Clone, Default)]
pub struct DhtConfig {
    /// Where to start, HOST:PORT each, beside the nodes that an earlier run knew.
    pub bootstrap: Vec<String>,
    /// Asks and never answers (BEP 43).
    pub read_only: bool,
}

/// What to add.
#[derive(Debug, Clone)]
pub struct Add {
    /// What the torrent is.
    pub source: Source,
    /// Where its bytes are or go.
    pub content: Content,
    /// Tracker URLs in tiers, beside those of the source.
    pub trackers: Vec<Vec<String>>,
    /// Peers known already.
    pub peers: Vec<SocketAddr>,
    /// Web seeds (BEP 19) that the person names, beside those of the source. These may be anywhere; those
    /// of the source lead to the internet only.
    pub web_seeds: Vec<String>,
    /// Folders (or files) with old or partial copies of the content, under any names. What of them is
    /// right is copied; nothing is written to them.
    pub adopt: Vec<PathBuf>,
    /// In which order its pieces are fetched.
    pub order: PieceOrder,
    /// If all of it is there, each piece is sent once as far as peers pass it on (BEP 16).
    pub super_seed: bool,
    /// Which files are wanted. What a magnet link selects holds where this says all.
    pub choice: Choice,
    /// How fast its peers are talked to, within the node's limits; changeable later.
    pub limiter: Limiter,
    /// Its name in the catalogue, under which clients that are no peers ask for its files.
    pub name: Option<String>,
    /// Strangers do not hear of it through the DHT, as of a private torrent.
    pub secluded: bool,
    /// Whether it runs.
    pub begin: Begin,
}

/// How a torrent that is added begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Begin {
    /// It runs, whatever people did with it in an earlier run.
    #[default]
    Anew,
    /// As it was left: held, moved, renamed.
    AsLeft,
    /// The same, and if it may run, it waits for [`Torrent::run`](crate::Torrent::run).
    Waiting,
}

impl Add {
    /// A torrent with what its source says of it, and nothing beside.
    #[must_use]
    pub fn new(source: Source, content: Content) -> Self {
        Self {
            source,
            content,
            trackers: Vec::new(),
            peers: Vec::new(),
            web_seeds: Vec::new(),
            adopt: Vec::new(),
            order: PieceOrder::default(),
            limiter: Limiter::default(),
            super_seed: false,
            choice: Choice::All,
            name: None,
            secluded: false,
            begin: Begin::Anew,
        }
    }
}

/// What a torrent is.
#[derive(Debug, Clone)]
pub enum Source {
    /// All of it is known.
    Metainfo(Box<Metainfo>),
    /// Only its hashes; the rest comes from peers (BEP 9, 52).
    Magnet(Magnet),
}

/// Where a torrent's bytes are.
#[derive(Debug, Clone)]
pub enum Content {
    /// Fetch what is missing into this folder; what is there already is adopted, never overwritten.
    Fetch {
        /// The folder that gets the torrent's file or folder.
        folder: PathBuf,
    },
    /// Serve what is there, read only: this very file or folder, whose name may differ from the
    /// torrent's.
    Share {
        /// The file or folder.
        path: PathBuf,
        /// It was hashed just now by this process, so it need not be read again. Without it a record
        /// of an earlier run serves, else it is checked.
        fresh: Option<Fresh>,
    },
}

/// The identity (device, inode, size, times) of each file as it was when it was hashed.
#[derive(Debug, Clone)]
pub struct Fresh(pub(crate) Vec<Option<crate::disk::FileIdentity>>);

/// What a torrent is doing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum State {
    /// Waiting for the info dictionary from a peer.
    Metadata,
    /// Reading files that were there.
    Checking,
    /// Fetching.
    Downloading,
    /// All there that is wanted; serving.
    Seeding,
    /// The disk is full or refuses: waits, goes on by itself when there is room.
    Paused {
        /// What is wrong, in words.
        reason: String,
    },
    /// Waits for its turn; nothing of it runs.
    Queued,
    /// Rests, since somebody said so or it was seeded enough; nothing of it runs.
    Held,
    /// Its content is being moved; `checked` says how much of it was copied.
    Moving,
    /// Cannot go on.
    Failed {
        /// What is wrong, in words.
        reason: String,
        /// Whose fault it is, for the exit status.
        fault: Fault,
    },
    /// Ended in good order.
    Stopped,
}

/// Whose fault a [`State::Failed`] is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The disk, its permissions or its room.
    Disk,
    /// The content contradicts its hashes.
    Verification,
    /// Another file stands where the content should go.
    Conflict,
    /// What was asked for is not in the torrent.
    NoSuchFile,
    /// Anything else.
    Other,
}

/// How a torrent stands, published a few times a second.
#[derive(Debug, Clone)]
pub struct Snapshot {
    /// What it is doing.
    pub state: State,
    /// Its name, once known.
    pub name: Option<String>,
    /// Its info hashes; a magnet link's may gain the other half when the metadata comes.
    pub info_hashes: InfoHashes,
    /// Where the content is or will be, once the name is known.
    pub path: Option<PathBuf>,
    /// Content bytes in all; 0 while unknown.
    pub content_len: u64,
    /// Content bytes of the files that are wanted; 0 while unknown.
    pub wanted_len: u64,
    /// Of those, the ones that are verified and written.
    pub wanted_verified: u64,
    /// Content bytes verified and written.
    pub verified: u64,
    /// Content bytes that would survive a power cut.
    pub durable: u64,
    /// While checking or moving: bytes read so far, of `content_len`.
    pub checked: u64,
    /// Payload bytes received since the start.
    pub downloaded: u64,
    /// Payload bytes sent since the start.
    pub uploaded: u64,
    /// What was received and sent in all runs, and how long it was seeded.
    pub totals: Totals,
    /// Payload bytes received that were thrown away.
    pub wasted: u64,
    /// Content bytes that were taken from copies elsewhere on this machine since the start.
    pub reused: u64,
    /// Bytes a second, smoothed over a few seconds.
    pub down_rate: u64,
    /// Bytes a second, smoothed over a few seconds.
    pub up_rate: u64,
    /// Time left at this rate.
    pub eta: Option<Duration>,
    /// Each connection.
    pub peers: Vec<PeerView>,
    /// The upload slots.
    pub slots: swarm::Slots,
    /// Some of the addresses where peers cannot be had now: not reached, refused, or banned.
    pub unavailable: Vec<SocketAddr>,
    /// How many of them there are.
    pub unavailable_count: usize,
    /// Peers that were seen with all of it, those that left too; 10,000 at most.
    pub copies: usize,
    /// What the trackers said last: seeders and leechers.
    pub swarm_counts: Option<(u32, u32)>,
    /// Each tracker.
    pub trackers: Vec<TrackerView>,
    /// Every wanted file has its own name and all is synced: what [`State::Seeding`] promises durably.
    pub finished: bool,
}

/// What a torrent received and sent in all runs, and how long it was seeded. A kill costs a few seconds
/// of the bytes and a minute of the time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Totals {
    /// Payload bytes received.
    pub downloaded: u64,
    /// Payload bytes sent.
    pub uploaded: u64,
    pub(crate) seeded_before: Duration,
    pub(crate) seeding_since: Option<Instant>,
}

impl Totals {
    /// How long all that is wanted was there and served, until `now`.
    #[must_use]
    pub fn seeded(&self, now: Instant) -> Duration {
        let since = self.seeding_since.map(|since| now.saturating_duration_since(since));
        self.seeded_before + since.unwrap_or_default()
    }

    /// When it will have been seeded for that long, if it goes on; `None` while it is not seeded.
    #[must_use]
    pub fn seeded_at(&self, time: Duration) -> Option<Instant> {
        Some(self.seeding_since? + time.saturating_sub(self.seeded_before))
    }
}

/// One connection of a [`Snapshot`].
#[derive(Debug, Clone)]
pub struct PeerView {
    /// Its address.
    pub addr: SocketAddr,
    /// Its client, when it says so.
    pub client: Option<String>,
    /// Pieces it has.
    pub pieces: u32,
    /// Pieces it has that we want and lack.
    pub wanted: u32,
    /// It has all.
    pub seeder: bool,
    /// Payload bytes received from it.
    pub downloaded: u64,
    /// Payload bytes sent to it.
    pub uploaded: u64,
    /// Bytes a second from it.
    pub down_rate: u64,
    /// Bytes a second to it.
    pub up_rate: u64,
    /// It is a web seed (BEP 19), and its address says nothing.
    pub web_seed: bool,
    /// What it is to us; `None` while it has nothing that we want.
    pub gives: Option<swarm::Standing>,
    /// What we are to it; `None` while it wants nothing.
    pub gets: Option<swarm::Standing>,
}

/// One tracker of a [`Snapshot`].
#[derive(Debug, Clone)]
pub struct TrackerView {
    /// Its URL.
    pub url: String,
    /// It answered an announce.
    pub working: bool,
    /// Its last error.
    pub error: Option<String>,
}

/// Why a node or torrent could not start.
#[derive(Debug, thiserror::Error)]
pub enum NodeError {
    /// Another process uses the data folder.
    #[error("{0} is in use by another teem process; give this one its own --data folder")]
    Locked(PathBuf),
    /// A port that was asked for is taken.
    #[error("cannot listen on {addr}: {source}; `ss -lntup` shows who holds the port")]
    Listen {
        /// The address.
        addr: SocketAddr,
        /// The system's answer.
        source: std::io::Error,
    },
    /// The torrent is there already.
    #[error("{0} is being shared or fetched already")]
    Duplicate(String),
    /// The disk or the state database refuses.
    #[error("{what}: {source}")]
    Disk {
        /// What was tried, on what.
        what: String,
        /// The system's answer.
        source: std::io::Error,
    },
    /// The state database is damaged or cannot be read.
    #[error("state database: {0}")]
    Database(String),
    /// The node has been shut down.
    #[error("the node is shutting down")]
    Closed,
}

impl Default for NodeConfig {
    fn default() -> Self {
        Self {
            data_dir: PathBuf::from("."),
            listen: crate::listen::everywhere(6881),
            next_free_port: true,
            bind: None,
            interface: None,
            proxy: None,
            max_peers_per_torrent: 100,
            max_peers: 500,
            upload_slots: None,
            piece_budget: 64 << 20,
            workers: 2,
            network_threads: 1,
            trust: Trust::default(),
            dht: None,
            exchange: true,
            local_discovery: false,
            utp: UtpMode::On,
            blocked: Arc::default(),
            rates: Rates::default(),
            limit_lan: false,
            encryption: Encryption::Allowed,
        }
    }
}

impl From<crate::record::RecordError> for NodeError {
    fn from(error: crate::record::RecordError) -> Self {
        match error {
            crate::record::RecordError::Locked(folder) => Self::Locked(folder),
            crate::record::RecordError::Io { what, source } => Self::Disk { what, source },
            other @ (crate::record::RecordError::Newer { .. }
            | crate::record::RecordError::Damaged { .. }
            | crate::record::RecordError::Database(_)) => Self::Database(other.to_string()),
        }
    }
}
