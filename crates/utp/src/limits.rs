//! Every bound of this crate, with its reason.

use std::time::Duration;

use proto::utp::HEADER_LEN;

/// Connections of one endpoint: twice what a node keeps, for those that are still leaving.
pub const CONNECTIONS_MAX: usize = 1024;

/// Strangers that sent a SYN and nothing more. Each costs some 100 bytes; the oldest makes room.
pub const HALF_OPEN_MAX: usize = 1024;

/// Of those, how many may share one IPv4 address or IPv6 network (/64), so that one host cannot push out all others.
pub const HALF_OPEN_PER_SOURCE: usize = 16;

/// How long a stranger may take to prove its address: initiators repeat their SYN within that time.
pub const HALF_OPEN_FOR: Duration = Duration::from_secs(10);

/// Connections that wait to be taken by [`crate::Endpoint::poll_accept`]. More must repeat themselves.
pub const ACCEPT_MAX: usize = 64;

/// Answers to strangers (SYN, RESET) that wait to be sent; more are dropped, and asked for again.
pub const REPLIES_MAX: usize = 256;

/// Answers of that kind in a second: a flood of forged packets costs us no more uplink than that.
pub const REPLIES_PER_SECOND: u32 = 2_000;

/// Bytes written and not yet acknowledged: 100 ms at 80 MB/s. Little of it is used on slower paths,
/// see [`SEND_LEN_MIN`].
pub const SEND_LEN_MAX: usize = 8 * 1024 * 1024;

/// Bytes that a stream takes in advance of its congestion window.
pub const SEND_LEN_MIN: usize = 256 * 1024;

/// Room that a new stream advertises for bytes that come in.
pub const RECEIVE_LEN_MIN: usize = 512 * 1024;

/// Room that a busy stream advertises in the end: 100 ms at 40 MB/s.
pub const RECEIVE_LEN_MAX: usize = 4 * 1024 * 1024;

/// Packets that may come before one that is missing: all of [`RECEIVE_LEN_MAX`] in small packets.
pub const EARLY_PACKETS_MAX: usize = 8 * 1024;

/// Bytes that the place of an early packet counts for, also of one that is missing: those of an empty vector,
/// twice, since rings double, and what an allocation costs beside its bytes.
pub const EARLY_SLOT_LEN: usize = 64;

/// Bytes of early packets and their places, of all connections: above it only what fills a gap is taken.
pub const EARLY_LEN_TOTAL: usize = 64 * 1024 * 1024;

/// Packets in flight: no more than our own kind takes early.
pub const FLIGHT_PACKETS_MAX: usize = 8 * 1024;

/// Bytes of a selective acknowledgement's mask: what is beyond 1,024 packets is told later.
pub const SACK_LEN: usize = 128;

/// How far behind what we have seen an acknowledgement or number may be, in packets, and still be taken
/// for a late one: as many as are in flight at most.
pub const LATE_MAX: i32 = 8 * 1024;

/// Bytes of a UDP payload that cross every IPv6 path and nearly every IPv4 path.
pub const PACKET_LEN_MIN: usize = 1_232;

/// Bytes of a UDP payload at most over IPv4: what crosses an Ethernet in one piece.
pub const PACKET_LEN_MAX_V4: usize = 1_472;

/// The same over IPv6.
pub const PACKET_LEN_MAX_V6: usize = 1_452;

/// Packets of one train, as many as the kernel takes in one piece (Linux: 64).
pub const TRAIN_MAX: usize = 44;

/// SYN packets of one attempt.
pub const SYN_TRIES: u32 = 4;

/// The first timeout, while no round trip was measured (BEP 29).
pub const RTO_INITIAL: Duration = Duration::from_millis(1000);

/// The shortest timeout (BEP 29).
pub const RTO_MIN: Duration = Duration::from_millis(500);

/// The longest timeout.
pub const RTO_MAX: Duration = Duration::from_secs(15);

/// Timeouts in a row, without a sign of life, after which the peer is gone: more than 30 seconds.
pub const TIMEOUTS_MAX: u32 = 6;

/// How long an acknowledgement may wait for company.
pub const ACK_DELAY: Duration = Duration::from_millis(20);

/// Packets after which one is sent at once.
pub const ACK_EVERY: u32 = 2;

/// Packets at the beginning that are acknowledged one by one, so that slow start is not held up.
pub const ACK_EACH_FIRST: u32 = 32;

/// An idle connection sends something that often, to keep the way through address translators open.
pub const KEEP_ALIVE: Duration = Duration::from_secs(29);

/// Memory that a stream did not use for that long is given back. Rings of a busy stream are megabytes, and most
/// of a node's streams are quiet most of the time.
pub const TRIM_EVERY: Duration = Duration::from_secs(10);

/// How long a closed stream may go without progress until it is forgotten: time for the tries of a path
/// that loses much.
pub const LINGER: Duration = Duration::from_secs(60);

/// A peer that was heard from in this time is not gone, whatever timed out.
pub const SILENCE: Duration = Duration::from_secs(10);

/// How long a closed connection goes on acknowledging a repeated FIN.
pub const TIME_WAIT: Duration = Duration::from_secs(2);

const _: () = assert!(PACKET_LEN_MIN < PACKET_LEN_MAX_V6 && PACKET_LEN_MAX_V6 < PACKET_LEN_MAX_V4);
const _: () = assert!(TRAIN_MAX * PACKET_LEN_MAX_V4 < 65_000);
const _: () = assert!(SEND_LEN_MAX / (PACKET_LEN_MIN - HEADER_LEN) < FLIGHT_PACKETS_MAX);
const _: () =
    assert!(FLIGHT_PACKETS_MAX <= EARLY_PACKETS_MAX && FLIGHT_PACKETS_MAX as i32 <= LATE_MAX);
const _: () = assert!(EARLY_PACKETS_MAX + LATE_MAX as usize <= 32_768);
const _: () = assert!(SACK_LEN <= proto::utp::SACK_LEN_MAX && SACK_LEN.is_multiple_of(4));
const _: () = assert!(EARLY_SLOT_LEN >= 2 * size_of::<Option<Vec<u8>>>());
