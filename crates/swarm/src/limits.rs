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

/// Bounds of hole punching (BEP 55). Each word costs its sender some 20 bytes, and others a message or a few
/// packets to an address of the sender's choice; so each is counted by the minute.
pub mod punch {
    use std::time::Duration;

    /// What counts as recent.
    pub const MINUTE: Duration = Duration::from_secs(60);

    /// Addresses that a peer said it could bring us together with: four full messages of its exchange.
    pub const INTRODUCED_MAX: usize = 200;

    /// Wishes of all peers that we answer in a minute.
    pub const RELAYED_TOTAL: usize = 120;

    /// Of those, wishes of one peer: one that comes into a swarm has a few others to meet.
    pub const RELAYED_FOR_ONE: usize = 12;

    /// Of those, meetings that one peer is called to.
    pub const RELAYED_TO_ONE: usize = 12;

    /// Wishes of our own in a minute.
    pub const ASKED_TOTAL: usize = 30;

    /// Of those, to one peer: fewer than one of our kind answers.
    pub const ASKED_OF_ONE: usize = 10;

    /// Addresses of which we remember that we asked.
    pub const ASKED_MAX: usize = 200;

    /// How often we ask for a meeting with one address.
    pub const ASKED_TIMES: u32 = 3;

    /// Between the first and the second time; then twice as long.
    pub const ASKED_AGAIN: Duration = Duration::from_secs(30);

    /// Addresses dialled by others' word in a minute.
    pub const BEGUN_TOTAL: usize = 30;

    /// Of those, by the word of one peer.
    pub const BEGUN_BY_ONE: usize = 10;

    /// Of those, in one network (/24, /64), whoever says so: who wants others to bother it gets no more.
    pub const BEGUN_TO_ONE: usize = 3;

    const _: () = assert!(ASKED_OF_ONE < RELAYED_FOR_ONE && RELAYED_FOR_ONE < RELAYED_TOTAL);
    const _: () = assert!(BEGUN_TO_ONE < BEGUN_BY_ONE && BEGUN_BY_ONE < BEGUN_TOTAL);
}

/// Readers of one torrent that the picker knows: each is a connection of the shell, which has a bound of its
/// own below this one.
pub const READERS_MAX: usize = 64;

/// Guests that wait for an upload slot: each is a connection of the shell, which has a bound of its
/// own below this one.
pub const GUESTS_WAITING_MAX: usize = 256;
