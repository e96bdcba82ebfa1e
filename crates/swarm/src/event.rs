//! The whole language between sessions, the swarm and the shell around them, on one page.
//!
//! ```text
//!            PeerEvent                Action::Disk
//!  Session ------------->  Swarm  ------------------>  disk and hash workers
//!          <-------------         <------------------
//!            PeerCommand              DiskEvent
//! ```

use std::net::SocketAddr;
use std::sync::Arc;

use proto::egress::Nearness;
use proto::metainfo::{Expected, Info, OpenHash, PieceLayers};
pub use proto::peer::HashRange;
use proto::peer::{HolePunch, PeerExchange, Place};
pub use proto::tracker::AnnounceEvent;
use proto::{Bitfield, Block, Geometry, InfoHash, MerkleHash, PeerId, PieceIndex};

use crate::BlockBuf;

/// A connection's name inside one swarm; never used twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PeerKey(pub u64);

/// Somebody who is no BitTorrent peer and wants one thing: its name inside one swarm; never used twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct GuestKey(pub u64);

/// Who opened the connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// The peer dialled us.
    Incoming,
    /// We dialled the peer.
    Outgoing,
}

/// What both handshakes settled (BEP 3, 6, 10, 52).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Connected {
    /// The peer's address as the socket has it, IPv4-mapped addresses as IPv4.
    pub addr: SocketAddr,
    /// Who dialled.
    pub direction: Direction,
    /// The peer's name for itself.
    pub peer_id: PeerId,
    /// The hash that the connection runs under.
    pub info_hash: InfoHash,
    /// The connection runs under the v2 info hash, so hash requests are allowed.
    pub v2: bool,
    /// Both sides have the fast extension.
    pub fast: bool,
    /// Both sides have the extension protocol.
    pub extended: bool,
    /// Both sides have a node of the DHT, and the torrent is not private (BEP 5, 27).
    pub dht: bool,
    /// It is carried by uTP (BEP 29): then that is where uTP reaches the peer, whatever stands between.
    pub utp: bool,
}

/// What a peer says of itself in its extension handshake (BEP 10, 21).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PeerInfo {
    /// Client name and version, control characters removed.
    pub client: Option<String>,
    /// Outstanding requests that it accepts.
    pub reqq: Option<u32>,
    /// Blocks that one message may ask it for (`docs/protocols/runs.md`); 0 until it says so, then 1 at least.
    pub run_blocks: u32,
    /// Length of the info dictionary, when it has it.
    pub metadata_len: Option<u32>,
    /// It wants nothing more (BEP 21).
    pub upload_only: bool,
    /// The port it listens on.
    pub listen_port: Option<u16>,
    /// It wants to hear of other peers (BEP 11).
    pub exchanges: bool,
    /// It can be brought together with others, and bring others together (BEP 55).
    pub punches: bool,
}

/// What happened on one connection.
#[derive(Debug)]
pub enum PeerEvent {
    /// The extension handshake came (it may come again).
    Extended(PeerInfo),
    /// All that the peer has: bitfield, have all or have none, checked against the torrent's size.
    Has(Bitfield),
    /// It has one more piece.
    Have(PieceIndex),
    /// It lost a piece (`lt_donthave`).
    DontHave(PieceIndex),
    /// It stopped answering requests. Follows a [`PeerEvent::Dropped`] for each one it will not answer.
    Choked,
    /// It answers requests.
    Unchoked,
    /// It wants something we have.
    Interested,
    /// It wants nothing.
    NotInterested,
    /// It answers requests for this piece even while choking us (BEP 6).
    AllowedFast(PieceIndex),
    /// A block that was asked for.
    Block(Block, BlockBuf),
    /// The peer refused a request (BEP 6).
    Rejected(Block),
    /// A request that will never be answered: the peer choked us, or we cancelled it.
    Dropped(Block),
    /// A part of the info dictionary, 16 KiB but for the last (BEP 9).
    Metadata(u32, Vec<u8>),
    /// The peer does not give that part.
    MetadataRejected(u32),
    /// Hashes that were asked for: the range, its hashes and the uncles.
    Hashes(HashRange, Vec<MerkleHash>),
    /// The peer does not give those hashes.
    HashesRejected(HashRange),
    /// The peer asks for hashes; answered by [`PeerCommand::Hashes`].
    HashesRequested(HashRange),
    /// Payload bytes put on the wire since the last such event.
    Sent(u64),
    /// The number of requests of the peer that wait for data changed from or to zero.
    Waiting(bool),
    /// The UDP port of its DHT node (BEP 5).
    DhtPort(u16),
    /// Whom it is connected to (BEP 11).
    Exchanged(PeerExchange),
    /// It wants to meet somebody, or says whom to meet (BEP 55).
    HolePunch(HolePunch),
    /// Our place among those that wait for its upload slots changed (`docs/protocols/slots.md`); `None` when
    /// it tells none. [`PeerEvent::Choked`] and [`PeerEvent::Unchoked`] make it void.
    Place(Option<Place>),
}

/// What a session must do.
#[derive(Debug, Clone)]
pub enum PeerCommand {
    /// First of all, and again when a magnet link's metadata becomes known: what the torrent is and
    /// which pieces we have.
    Torrent {
        /// Its pieces.
        geometry: Arc<Geometry>,
        /// Its info dictionary.
        info: Arc<Info>,
        /// Our pieces.
        have: Bitfield,
        /// Its peers may be told of each other (BEP 11, 27).
        exchange: bool,
        /// Its peers may be brought together (BEP 55).
        punch: bool,
    },
    /// Answer the peer's requests, or stop.
    Choke(bool),
    /// Tell the peer whether we want something.
    Interest(bool),
    /// Ask for these blocks, in this order.
    Request(Vec<Block>),
    /// Take a request back; ends as block, rejected or dropped all the same.
    Cancel(Block),
    /// We have one more piece, verified and written. Told to the peer unless it has it.
    Have(PieceIndex),
    /// We no longer have a piece (`lt_donthave`); requests for it are refused.
    Lost(PieceIndex),
    /// We want nothing more (BEP 21), or want again.
    UploadOnly(bool),
    /// Ask for a part of the info dictionary.
    RequestMetadata(u32),
    /// Ask for hashes.
    RequestHashes(HashRange),
    /// Answer the peer's hash request; `None` rejects it.
    Hashes(HashRange, Option<Vec<MerkleHash>>),
    /// Tell the peer whom we are connected to (BEP 11).
    Exchange(PeerExchange),
    /// Ask the peer to bring us together with another, or tell it whom to meet (BEP 55).
    HolePunch(HolePunch),
    /// The peer's place among those that wait for our upload slots. Told if it understands that.
    Place(Option<Place>),
}

/// Why a connection ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Goodbye {
    /// We are connected to this peer already, or to ourselves.
    #[error("a second connection to the same peer")]
    Duplicate,
    /// It sent bad data.
    #[error("banned")]
    Banned,
    /// Neither side wants anything from the other.
    #[error("both sides only upload")]
    Useless,
    /// There are better peers.
    #[error("too many peers")]
    TooMany,
    /// The torrent stops.
    #[error("stopping")]
    Stopping,
    /// The same peer may speak v2 when dialled anew.
    #[error("made anew to go on under v2")]
    Upgrade,
    /// It was silent for too long.
    #[error("timed out")]
    TimedOut,
}

/// Work for the disk and hash workers.
#[derive(Debug)]
pub enum DiskJob {
    /// Check a whole piece in memory; if it is right, write it.
    Store {
        /// The piece.
        piece: PieceIndex,
        /// Its blocks in order; `None` where a block is all pad.
        blocks: Vec<Option<BlockBuf>>,
        /// What it must hash to.
        expected: Expected,
        /// Give each block's digest back even if the piece is right, to find who lied before.
        want_digests: bool,
    },
}

/// What became of a [`DiskJob`].
#[derive(Debug)]
pub enum DiskEvent {
    /// The piece is right and written; syncing is the workers' business.
    Stored {
        /// The piece.
        piece: PieceIndex,
        /// SHA-256 of each block's data, if asked for; `None` where the block is all pad.
        digests: Option<Vec<Option<MerkleHash>>>,
    },
    /// The piece is wrong; nothing was written.
    Bad {
        /// The piece.
        piece: PieceIndex,
        /// SHA-256 of each block's data (for v2 these are the leaves).
        digests: Vec<Option<MerkleHash>>,
        /// Its v2 hash is right and its v1 hash is wrong, or the other way round: the torrent itself
        /// is inconsistent, no peer is to blame.
        inconsistent: bool,
    },
    /// The disk refused; the piece is not there.
    Failed {
        /// The piece.
        piece: PieceIndex,
        /// What went wrong, for people.
        reason: String,
        /// The disk or a quota is full: goes on when there is room.
        full: bool,
    },
    /// The leaf hashes of a piece that we have, for [`Action::ReadLeaves`]; `None` if it could not be
    /// read.
    Leaves {
        /// The piece.
        piece: PieceIndex,
        /// SHA-256 of each block's data.
        leaves: Option<Vec<MerkleHash>>,
    },
    /// Pieces that were there are not any more: a file changed underneath.
    Lost(Vec<PieceIndex>),
}

/// What the shell must do.
#[derive(Debug)]
pub enum Action {
    /// Hand these to a session, in order.
    Peer(PeerKey, PeerCommand),
    /// Open a connection; answered by [`crate::Swarm::handle_connected`] or
    /// [`crate::Swarm::handle_dial_failed`]. Who named the address is that near.
    Dial(SocketAddr, Nearness),
    /// The same over uTP alone and at once: the peer there is doing it, too (BEP 55).
    Punch(SocketAddr, Nearness),
    /// A guest has its slot until [`crate::Swarm::handle_guest_left`].
    Admit(GuestKey),
    /// End a connection; answered by [`crate::Swarm::handle_disconnected`].
    Disconnect(PeerKey, Goodbye),
    /// Start a job; never waits, the swarm counts what is under way.
    Disk(DiskJob),
    /// Read a piece that we have and hash its blocks; answered by [`DiskEvent::Leaves`].
    ReadLeaves(PieceIndex),
    /// Give this memory back to the pool.
    Recycle(BlockBuf),
    /// Tell a tracker; answered by [`crate::Swarm::handle_announced`].
    Announce(AnnounceTo),
    /// Ask the DHT for peers, and tell it of us where the hash allows that; answered by
    /// [`crate::Swarm::handle_found`] any number of times, then [`crate::Swarm::handle_searched`].
    Search(OpenHash),
    /// There is a DHT node, a peer says of itself.
    DhtNode(SocketAddr),
    /// Something that people or the shell want to know.
    Notice(Notice),
}

/// Where peers may be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// How near who says so is: nobody leads us to an address that is nearer.
    pub by: Nearness,
    /// Their addresses.
    pub peers: Vec<SocketAddr>,
}

/// Which tracker to tell what.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AnnounceTo {
    /// The tracker's URL.
    pub url: String,
    /// The hash to announce.
    pub info_hash: InfoHash,
    /// Started, completed, stopped or a regular announce.
    pub event: AnnounceEvent,
    /// Payload bytes sent since the start.
    pub uploaded: u64,
    /// Payload bytes received since the start.
    pub downloaded: u64,
    /// Content bytes still missing.
    pub left: u64,
    /// Peers wanted.
    pub num_want: u32,
}

/// Something that people or the shell want to know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Notice {
    /// The info dictionary of a magnet link is known; the shell opens the files, then calls
    /// [`crate::Swarm::handle_opened`].
    MetadataKnown(Arc<Info>),
    /// The piece layers are known too, so that a .torrent file can be written.
    LayersKnown(PieceLayers),
    /// Every piece that is wanted is verified and written (not yet synced).
    Complete,
    /// More is wanted than is there, after all.
    Incomplete,
    /// The info dictionary hashes right but is no valid torrent: nobody can have it.
    Unusable(String),
    /// The torrent waits: disk trouble. Serving goes on.
    Paused(String),
    /// A piece was wrong.
    BadPiece(PieceIndex),
    /// A block was proved wrong; who sent it.
    BadBlock(Block, SocketAddr),
    /// A peer is banned, and why.
    Banned(SocketAddr, String),
    /// A web seed is banned, and why: it is not to come back.
    BannedWebSeed(PeerKey, String),
    /// v1 and v2 hashes of the torrent contradict each other; nobody can complete it.
    Inconsistent(PieceIndex),
}
