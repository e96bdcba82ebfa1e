//! Every bound and pace of this crate, with its reason.

use std::time::Duration;

/// Nodes in a bucket, in an answer, and that keep an announce (BEP 5).
pub const K: usize = 8;
/// Nodes kept to stand in for one of a bucket that goes bad: as many as could.
pub const SPARES_MAX: usize = K;
/// Failed questions in a row that make a node bad (BEP 5: "multiple").
pub const FAILURES_BAD: u8 = 2;
/// A node that was heard of within this time is good, a bucket that did not change for as long is
/// refreshed (BEP 5).
pub const FRESH: Duration = Duration::from_secs(15 * 60);
/// A bucket that is less than half full is refreshed sooner: after a minute, then two, four … Its refreshes
/// are counted as long as it lives: one that empties later has had its hurry.
pub const REFRESH_FIRST: Duration = Duration::from_secs(60);

/// Questions of a lookup that are under way at once (Kademlia's alpha). One that takes longer than
/// most does not count any more.
pub const ALPHA: usize = 3;
/// Questions of a lookup under way, slow ones included.
pub const LOOKUP_IN_FLIGHT_MAX: usize = 12;
/// Names that a lookup has not asked yet and whose id belongs to their address, and as many others:
/// several times what the last steps need. The sources that name them share the room.
pub const CANDIDATES_MAX: usize = 48;
/// Questions of one lookup. In a network of millions some 30 are enough; beyond this somebody leads us
/// about.
pub const LOOKUP_ASKED_MAX: u32 = 160;
/// Peers that one search reports: more than a torrent dials.
pub const PEERS_FOUND_MAX: usize = 500;
/// Peers taken from one answer, so that one liar cannot fill the report.
pub const PEERS_AN_ANSWER_MAX: usize = 100;

/// Searches of one family under way. Each is some 40 questions in a few seconds.
pub const SEARCHES_MAX: usize = 16;
/// Searches that wait for their turn: one for each of 10,000 torrents.
pub const SEARCHES_WAITING_MAX: usize = 10_000;
/// Questions of all kinds under way: those of all searches, and some.
pub const REQUESTS_MAX: usize = 512;
/// Datagrams that wait to be taken by the caller; one call causes a few dozen.
pub const TRANSMITS_MAX: usize = 1_024;
/// Events that wait to be taken by the caller.
pub const EVENTS_MAX: usize = 1_024;

/// Nodes that asked us, or were named to a family with too few, and wait to be asked themselves. Who does
/// not fit will ask, or be named, again.
pub const ACQUAINTANCES_MAX: usize = 32;
/// They are asked one by one at this pace, so that few of these questions can be aimed at a victim. Those of
/// lookups go where answers point, within [`LOOKUP_ASKED_MAX`].
pub const ACQUAINT_EVERY: Duration = Duration::from_millis(500);
/// Nodes of the other family that are taken from one answer, so that one liar cannot fill the queue.
pub const OTHERS_AN_ANSWER_MAX: usize = 4;
/// Addresses to start from: a few given ones, each with a few addresses.
pub const ROOTS_MAX: usize = 64;

/// How long to wait for an answer before anything is known of round trips.
pub const PATIENCE_FIRST: Duration = Duration::from_secs(1);
/// However fast the others are, a slow one gets this long.
pub const PATIENCE_MIN: Duration = Duration::from_millis(250);
/// However slow the others are.
pub const PATIENCE_MAX: Duration = Duration::from_secs(2);
/// An answer that did not come within this many times the patience does not come.
pub const PATIENCES_DEAD: u32 = 3;

/// Info hashes that peers are kept for. When there are more, the source that brought most of them loses
/// one; of sources that brought as many each, the one far from us, which is other nodes' to keep.
pub const HASHES_MAX: usize = 2_000;
/// Peers kept of one info hash; an answer carries a few dozen of them.
pub const PEERS_A_HASH_MAX: usize = 500;
/// Peers kept in all: some 5 MB.
pub const PEERS_MAX: usize = 50_000;
/// Peers kept of one source (/24, /48) and one info hash: many people may stand behind one address.
pub const PEERS_A_SOURCE_AND_HASH_MAX: u32 = 32;
/// Peers kept of one source in all, so that it takes many to fill the store.
pub const PEERS_A_SOURCE_MAX: u32 = 500;
/// A peer is kept that long after its last announce; clients announce every 15 minutes or more often.
pub const PEER_KEPT: Duration = Duration::from_secs(30 * 60);

/// Secrets behind tokens change that often, and one that was changed counts once more (BEP 5).
pub const TOKEN_SECRET_KEPT: Duration = Duration::from_secs(5 * 60);
/// Who has not proved their address gets at most so many times the bytes that they sent.
pub const AMPLIFICATION_MAX: usize = 3;
/// How long a proof of an address counts.
pub const PROVEN_KEPT: Duration = Duration::from_secs(10 * 60);
/// Addresses that proved themselves, by a keyed hash; a newer one takes an older one's place.
pub const PROVEN_SLOTS: usize = 4_096;
/// Questions that one source (/24, /48) may ask at once …
pub const ASKED_BURST: u32 = 60;
/// … and a second, on average. A lookup asks a node once or twice.
pub const ASKED_A_SECOND: u32 = 10;
/// Counters of sources, by a keyed hash; sources that fall together share what they may.
pub const SOURCES_SLOTS: usize = 4_096;
/// Bytes of answers at once …
pub const ANSWER_BYTES_BURST: u32 = 512 * 1024;
/// … and a second, on average: a tenth of a slow line.
pub const ANSWER_BYTES_A_SECOND: u32 = 64 * 1024;

/// Networks whose word about our address is kept.
pub const VOTES_MAX: usize = 32;
/// Networks that must have spoken before our address counts as known.
pub const VOTES_NEEDED: usize = 4;
/// Our id changes at most that often: an address that goes to and fro must not empty the tables.
pub const ID_KEPT: Duration = Duration::from_secs(10 * 60);

/// How often what is old is looked for.
pub const TICK: Duration = Duration::from_secs(5);
/// Without enough nodes we start anew after this, then after twice as long …
pub const BOOTSTRAP_FIRST: Duration = Duration::from_secs(5);
/// … up to this.
pub const BOOTSTRAP_MAX: Duration = Duration::from_secs(5 * 60);
/// Nodes kept over a restart, of each family.
pub const SAVED_MAX: usize = 200;
/// Longest saved state that is read: both families, and room.
pub const STATE_LEN_MAX: usize = 64 * 1024;

const _: () = assert!(SEARCHES_MAX * LOOKUP_IN_FLIGHT_MAX * 2 < REQUESTS_MAX);
const _: () = assert!(SAVED_MAX * (38 + 26 + 6) < STATE_LEN_MAX);
const _: () = assert!(PEERS_A_HASH_MAX <= PEERS_MAX);
const _: () = assert!(REFRESH_FIRST.as_secs() < FRESH.as_secs());
