//! Who is in which swarm: the tracker's pure half.
//!
//! A [`Shard`] holds the swarms of some of the info hashes ([`HashKey::place`] says which). It reads no
//! clock and draws no random numbers: the time ([`Secs`]) and chance come in as arguments. A server
//! keeps many shards, each behind a short lock; a simulator keeps one.
//!
//! | what | where |
//! |---|---|
//! | announce, scrape, sweeping, hybrids, intake | [`Shard`] |
//! | changes for other nodes | [`SwarmChanges`] |
//! | ids of Teem's own peers, bounded | [`Shard::named_peers`] |
//! | peers of files by name, for protocols that know no info hash | [`Files`] |
//! | the swarms as a file, for a restart | [`DumpWriter`], [`DumpReader`] |
//! | seeders by name and their chunk lists, for datagrams that may be forged | [`Seeders`], [`Proofs`] |
//! | every bound | [`limits`] |
#![forbid(unsafe_code)]

mod client;
mod dump;
mod evict;
mod feed;
mod files;
mod ids;
mod index;
mod key;
pub mod limits;
mod mark;
mod peers;
mod place;
mod proofs;
mod sample;
mod seeders;
mod shard;
mod swarm;
mod time;

pub use client::ClientClass;
pub use dump::{DumpError, DumpReader, DumpWriter, SwarmDump};
pub use feed::{Change, Presence, SwarmChanges};
pub use files::{FileHolders, Files, FilesError, Lives, Token, Voucher};
pub use key::Families;
pub use mark::Names;
pub use peers::Role;
pub use place::{HashKey, Place};
pub use proofs::{Holder, Proofs};
pub use seeders::{Chosen, Registration, Seeder, Seeders, SeedersError};
pub use shard::{
    Caps, Departed, Displaced, PeerView, Route, Seen, Shard, Span, Step, SwarmFacts, Tally, Totals,
    Visit, Walk,
};
pub use time::{Intervals, Secs};
