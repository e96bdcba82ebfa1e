//! What a peer can do wrong.

use proto::DecodeError;

/// Why a session cannot go on. The connection ends; what it costs the peer is the swarm's decision.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PeerFault {
    /// It said nothing for too long.
    #[error("the peer was silent for too long")]
    Timeout,
    /// It takes nothing of what we have to say.
    #[error("the peer does not read what is sent to it")]
    NotReading,
    /// It asks on and on without reading the answers.
    #[error("the peer sends requests faster than it reads the answers")]
    Flood,
    /// Bytes that are no message, or one that breaks its format or a limit.
    #[error("the peer sent a broken message: {0}")]
    Malformed(#[from] DecodeError),
    /// Have-all or have-none after it had said what it has.
    #[error("the peer said twice that it has all or nothing")]
    RepeatedSet,
    /// A piece that the torrent does not have.
    #[error("the peer named piece {0}, which does not exist")]
    NoSuchPiece(u32),
    /// A request that reaches outside its piece or cannot be answered.
    #[error("the peer sent a request that cannot be answered")]
    BadRequest,
    /// A block that was not asked for, where the fast extension forbids that.
    #[error("the peer sent a block that was not asked for")]
    UnsolicitedBlock,
    /// A rejection of a request that was not made.
    #[error("the peer rejected a request that was not made")]
    UnsolicitedReject,
    /// A message of the fast extension, which was not agreed on.
    #[error("the peer used the fast extension, which was not agreed on")]
    NotFast,
    /// A message of the extension protocol, which was not agreed on.
    #[error("the peer used the extension protocol, which was not agreed on")]
    NotExtended,
    /// A hash message on a connection that does not run under a v2 info hash.
    #[error("the peer sent a hash message on a v1 connection")]
    NotV2,
    /// Hashes that were not asked for, or too many or too few.
    #[error("the peer sent hashes that do not fit any request")]
    UnsolicitedHashes,
    /// A part of the info dictionary that has the wrong length.
    #[error("the peer sent a part of the metadata with a wrong length")]
    BadMetadata,
}

impl PeerFault {
    /// No honest program does this, whatever the network does to it.
    #[must_use]
    pub const fn is_hostile(&self) -> bool {
        match self {
            Self::Timeout
            | Self::NotReading
            | Self::RepeatedSet
            | Self::UnsolicitedBlock
            | Self::UnsolicitedReject
            | Self::NotFast
            | Self::NotExtended
            | Self::NotV2
            | Self::BadRequest => false,
            Self::Flood
            | Self::Malformed(_)
            | Self::NoSuchPiece(_)
            | Self::UnsolicitedHashes
            | Self::BadMetadata => true,
        }
    }
}
