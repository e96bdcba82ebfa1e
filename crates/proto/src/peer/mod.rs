//! What two peers say to each other (BEP 3, 6, 9, 10, 11, 21, 52, 54, 55): bytes to values and back.
//!
//! [`handshake`] opens a connection, [`frame`] finds the messages in what follows, [`message`] reads
//! and writes each kind, [`extension`] those that travel inside [`Message::Extended`].

mod exchange;
pub mod extension;
mod fast;
pub mod frame;
pub mod handshake;
mod holepunch;
pub mod message;
mod priority;
mod slots;

pub use exchange::{EXCHANGED_MAX, PeerExchange, PeerFlags};
pub use extension::{ExtensionHandshake, MetadataMessage};
pub use fast::allowed_fast;
pub use frame::{BLOCK_HEADER_LEN, Head, RUN_LEN_MAX, block_header, decode_block_header};
pub use handshake::{Capabilities, Handshake};
pub use holepunch::{HolePunch, PunchError};
pub use message::{HashRange, Id, Message};
pub use priority::priority;
pub use slots::Place;
