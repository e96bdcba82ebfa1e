//! Every bound of this crate, with its reason.

/// Bounds of one peer's session.
pub mod session {
    use std::time::Duration;

    use proto::BLOCK_LEN;

    /// Requests of ours that may be unanswered. Twice what the peers that accept most advertise; more
    /// are dropped at once.
    pub const OUTSTANDING_MAX: usize = 4096;

    /// Requests of the peer that wait for data, and what we advertise as `reqq`: as much as
    /// libtorrent and Transmission, 32 MiB in flight. More are refused.
    pub const REQQ: u32 = 2000;

    /// Blocks that one scatter read can land in: 256 KiB, beyond which a larger read saves nothing.
    pub const LANDING_BLOCKS: usize = 16;

    /// The linear end of a scatter read, for all that is not a predicted block.
    pub const SPILL_LEN: usize = 16 * 1024;

    /// Bytes of neighbouring blocks that are read and written in one go.
    pub const UPLOAD_RUN_LEN: u32 = 256 * 1024;

    /// Upload runs being read or written at a time: one of each.
    pub const UPLOAD_RUNS: usize = 2;

    /// Control bytes waiting to be written above which nothing that can wait is added.
    pub const CONTROL_SOFT_LEN: usize = 32 * 1024;

    /// Control bytes waiting to be written above which requests of ours are dropped unsent. What is
    /// added beyond is bounded: bitfield and handshakes once a torrent, hash replies by
    /// [`HASH_REQUESTS_IN`].
    pub const CONTROL_LEN: usize = 256 * 1024;

    /// Rejections waiting to be written. Reaching it takes a peer that asks and does not read.
    pub const REJECTS: usize = 2 * REQQ as usize;

    /// HAVE messages kept before the number of pieces is known; later ones are lost.
    pub const EARLY_HAVES: usize = 64 * 1024;

    /// Allowed-fast pieces granted to a peer (libtorrent grants as many).
    pub const FAST_GRANTED: usize = 5;

    /// Allowed-fast pieces kept that a peer grants us; BEP 6 suggests ten.
    pub const FAST_RECEIVED: usize = 64;

    /// Parts of the info dictionary asked for, or waiting to be served, at a time.
    pub const METADATA_PARTS: usize = 64;

    /// How often a peer may have each part of the info dictionary, on average.
    pub const METADATA_COPIES: u32 = 3;

    /// Hash requests of ours that may be unanswered.
    pub const HASH_REQUESTS_OUT: usize = 64;

    /// Hash requests of the peer that may be unanswered: 300 KiB of replies. More are rejected.
    pub const HASH_REQUESTS_IN: usize = 16;

    /// An idle connection says so that often; others give up after two minutes.
    pub const KEEP_ALIVE: Duration = Duration::from_secs(110);

    /// A peer that says nothing, or takes nothing of what we have to say, for so long is gone.
    pub const SILENCE: Duration = Duration::from_secs(130);

    const _: () = assert!(LANDING_BLOCKS as u32 * BLOCK_LEN == UPLOAD_RUN_LEN);
    const _: () = assert!(CONTROL_SOFT_LEN < CONTROL_LEN);
    const _: () = assert!(OUTSTANDING_MAX * 17 <= CONTROL_LEN);
    const _: () = assert!(KEEP_ALIVE.as_secs() < SILENCE.as_secs());
}

/// Guests that wait for an upload slot: each is a connection of the shell, which has a bound of its
/// own below this one.
pub const GUESTS_WAITING_MAX: usize = 256;
