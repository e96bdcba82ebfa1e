//! The tracker: servers that decode, ask the registry and encode, and the catalogue of names.
//!
//! UDP (BEP 15) and HTTP (BEP 3, 7, 23, 48) answer on one port number and from one set of swarms;
//! JSON over TCP, on another, knows files by name; text over UDP, when asked for, knows seeders by name. The HTTP port carries more than announces: whatever
//! else is asked goes to a router handed in, which finds everything in [`Shared`].
#![forbid(unsafe_code)]

mod accept;
mod access;
mod admin;
mod backup;
mod catalogue;
mod completed;
mod connection_id;
mod export;
mod http;
mod inner;
mod json;
mod keep;
mod latency;
pub mod limits;
mod lists;
mod proxy;
mod quota;
mod reload;
mod sample;
mod server;
mod swarms;
mod text;
mod tls;
mod udp;
pub mod whole_file;

pub use accept::ConnectionCounters;
pub use access::{
    Access, Caller, Denied, NewToken, Owner, Passkey, Scope, Secret, Token, TokenError, TokenId,
    TokenStore, TokenStoreError,
};
pub use admin::AdminCounters;
pub use backup::{BackupError, backup};
pub use catalogue::{
    About, AboutError, Catalogue, CatalogueError, CatalogueLimits, Changes, ChunkHashes, Entry,
    Found, Full, Hit, Name, NameError, NameTaken, NamedFile, PieceHashes, Publication, Published,
    Publisher, Stored, Which, Withdrawn,
};
pub use export::Export;
pub use http::{Connection, HttpCounters};
pub use json::JsonCounters;
pub use latency::{Distribution, Histogram, Latencies};
pub use lists::{ListError, ListFiles, ListSizes, Lists};
pub use proxy::{Network, TrustedProxy, forwarded_host};
pub use reload::ReloadError;
pub use server::{Extra, Listener, Protocol, Routers, Shared, StartError, Tracker, TrackerConfig};
pub use swarms::{Asker, Cursor, Overview, Swarms};
pub use text::{TextConfig, TextCounters};
pub use tls::{CertificateError, CertificateSource, Plain, Reloaded, Tls, TlsConfig, TlsCounters};
pub use udp::UdpCounters;

pub use quota::QuotaRates;
pub use registry::{
    Caps, ClientClass, Intervals, Lives, Names, PeerView, Role, SwarmFacts, Tally, Totals,
};
