//! The messages of the distributed hash table: KRPC (BEP 5), IPv6 (BEP 32), node ids that belong to
//! addresses (BEP 42), nodes that only ask (BEP 43).
//!
//! A message is one datagram, one bencoded dictionary. [`Message::decode`] takes what came, within
//! [`MESSAGE_LEN_MAX`]; a query that lacks something still says whom to tell so ([`Body::Malformed`]).
//! Whether an address makes sense is not judged here.

mod decode;
mod encode;
mod nodes;
mod secure;
#[cfg(test)]
mod tests;

use std::net::SocketAddr;

pub(crate) use self::secure::crc32c;
pub use self::secure::{is_secure, secure_id};
use crate::InfoHash;
pub use crate::id::NodeId;

/// Longest datagram that is read: more than anybody sends (BEP 32 asks for 1,024 bytes).
pub const MESSAGE_LEN_MAX: usize = 2048;
/// Longest datagram that is written (BEP 32).
pub const MESSAGE_LEN_SENT: usize = 1024;
/// Longest transaction id that is echoed; two to eight bytes are usual.
pub const TRANSACTION_LEN_MAX: usize = 32;
/// Longest token that is kept; four to twenty bytes are usual.
pub const TOKEN_LEN_MAX: usize = 64;
/// Most nodes of one family that are taken from a reply: twice what BEP 5 asks for.
pub const NODES_MAX: usize = 16;
/// Longest text of an error that is kept, in characters.
pub const REASON_LEN_MAX: usize = 100;
/// Bytes that a node of an IPv4 address takes up in a reply.
pub const NODE_LEN_V4: usize = NodeId::LEN + 6;
/// Bytes that a node of an IPv6 address takes up in a reply.
pub const NODE_LEN_V6: usize = NodeId::LEN + 18;

/// A node as others tell of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Contact {
    /// Its name.
    pub id: NodeId,
    /// Its UDP address.
    pub addr: SocketAddr,
}

/// One datagram.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message<'a> {
    /// Chosen by who asks, echoed by who answers (`t`).
    pub transaction: &'a [u8],
    /// The sender's program (`v`), when it is told in four bytes.
    pub version: Option<[u8; 4]>,
    /// In answers: the address that the question came from (`ip`, BEP 42).
    pub observed: Option<SocketAddr>,
    /// What it says.
    pub body: Body<'a>,
}

/// What a message says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Body<'a> {
    /// A question.
    Query(Query<'a>),
    /// A question that lacks something: to be answered with [`ErrorCode::Protocol`] and this reason.
    Malformed(&'static str),
    /// An answer.
    Reply(Reply<'a>),
    /// The other side could not answer.
    Error {
        /// What kind of error.
        code: ErrorCode,
        /// In words, free of control characters.
        reason: String,
    },
}

/// A question.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Query<'a> {
    /// Who asks.
    pub id: NodeId,
    /// Who asks cannot be asked (`ro`, BEP 43).
    pub read_only: bool,
    /// What is asked.
    pub method: Method<'a>,
}

/// What is asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Method<'a> {
    /// Are you there?
    Ping,
    /// Which nodes are near that id?
    FindNode {
        /// The id.
        target: NodeId,
        /// The families of addresses wanted (BEP 32).
        want: Want,
    },
    /// Who is in that swarm?
    GetPeers {
        /// The swarm.
        info_hash: InfoHash,
        /// The families of nodes' addresses wanted (BEP 32).
        want: Want,
    },
    /// The sender is in that swarm.
    AnnouncePeer {
        /// The swarm.
        info_hash: InfoHash,
        /// Where the sender takes connections; `None` is the port that the datagram came from
        /// (`implied_port`).
        port: Option<u16>,
        /// What the answer to an earlier [`Method::GetPeers`] carried.
        token: &'a [u8],
    },
    /// Something that is not known here: to be answered with [`ErrorCode::MethodUnknown`].
    Unknown,
}

/// Families of addresses that a question asks for; neither means that of the datagram (BEP 32).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Want {
    /// `n4`.
    pub v4: bool,
    /// `n6`.
    pub v6: bool,
}

/// An answer. What a question did not ask for stays empty.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Reply<'a> {
    /// Who answers.
    pub id: NodeId,
    /// Nodes near the target, with IPv4 addresses (`nodes`).
    pub nodes: Option<Vec<Contact>>,
    /// Nodes near the target, with IPv6 addresses (`nodes6`).
    pub nodes6: Option<Vec<Contact>>,
    /// Peers of the swarm (`values`).
    pub peers: Vec<SocketAddr>,
    /// To be shown when announcing (`token`).
    pub token: Option<&'a [u8]>,
}

/// Kinds of errors (BEP 5).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErrorCode {
    /// 201.
    Generic,
    /// 202: the node cannot, now.
    Server,
    /// 203: the question was wrong, or its token.
    Protocol,
    /// 204.
    MethodUnknown,
    /// A number that BEP 5 does not name.
    Other(i64),
}

impl ErrorCode {
    const fn number(self) -> i64 {
        match self {
            Self::Generic => 201,
            Self::Server => 202,
            Self::Protocol => 203,
            Self::MethodUnknown => 204,
            Self::Other(number) => number,
        }
    }

    const fn from_number(number: i64) -> Self {
        match number {
            201 => Self::Generic,
            202 => Self::Server,
            203 => Self::Protocol,
            204 => Self::MethodUnknown,
            other => Self::Other(other),
        }
    }
}

const WHAT: &str = "DHT message";
