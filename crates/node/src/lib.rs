//! Sockets, disk and tasks around the swarm.
//!
//! ```text
//!  Node --add--> Torrent       one task a torrent owns its Swarm        (torrent)
//!                  |  |
//!        commands  |  | events, one message a read
//!                  v  |
//!               Connection     one task a peer owns its Session         (connection)
//!
//!               WebSeed        or one task a web seed, over HTTP          (web_seed)
//!
//!  disk            workers check and write pieces, one thread syncs and records
//!  tracker_client  one task a running announce
//!  finder          one task owns the DHT's node, and datagram one each UDP socket
//!  utp             uTP's endpoint over such a socket; a stream is of TCP or of uTP
//! ```
//!
//! A torrent and its peers live on one thread, so nothing about them is locked. The waiting graph has
//! no cycle: connections wait for their torrent (that is backpressure), a torrent waits for nobody.
#![forbid(unsafe_code)]

mod api;
mod block_list;
mod carrier;
mod chunks;
mod clock;
mod connection;
mod datagram;
mod directory;
pub mod disk;
pub mod egress;
mod encryption;
mod finder;
mod handshake;
pub mod hashing;
pub mod http;
mod keeper;
mod ledger;
mod left;
mod limiter;
mod listen;
mod mounts;
mod neighbours;
mod node;
mod opening;
mod openings;
mod orders;
mod publisher;
mod reading;
pub mod record;
mod roads;
mod stream;
pub mod tls;
mod torrent;
pub mod tracker_client;
mod utp;
mod versions;
mod web_seed;

pub use api::{
    Add, Begin, Content, DhtConfig, Encryption, Fault, Fresh, NodeConfig, NodeError, PeerView,
    Snapshot, Source, State, Totals, TrackerView, UtpMode,
};
pub use block_list::{BlockList, BlockListError};
pub use disk::NoRoom;
pub use disk::relocate::{MoveError, RemoveError};
pub use left::LeftOf;
pub use limiter::{Limiter, Rates};
pub use node::{ExternalPort, Node, Torrent};
pub use orders::{Data, Force, OrderError, Outcome, Rest};
pub use proto::choice::Choice;
pub use reading::{Reader, Reading};
pub use swarm::{PieceOrder, Priority, Slots, Standing, UploadState};

/// Our name and version, as other clients show it.
pub const CLIENT: &str = concat!("Teem ", env!("CARGO_PKG_VERSION"));
