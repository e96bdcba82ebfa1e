//! Every bound of the registry, with its reason.

/// Swarms in one shard at most. With 64 shards that is sixteen million swarms; an empty record costs about
/// 120 bytes, so a flood of made-up hashes ends at some two gigabytes in the worst case.
pub const SWARMS_MAX: usize = 1 << 18;

/// Peers of one swarm, each address family. A tracker hands out a sample, so a larger record serves
/// nobody; counts stop there too.
pub const SWARM_PEERS_MAX: usize = 1 << 17;

/// Peers in one shard at most, all swarms together: 64 shards hold 128 million.
pub const PEERS_MAX: usize = 1 << 21;

/// Peers handed out at once, whatever was asked for. HTTP replies grow with it.
pub const NUMWANT_MAX: usize = 200;

/// Peers handed out when a peer does not say how many it wants.
pub const NUMWANT_DEFAULT: usize = 50;

/// Peers looked at when only those of one hash of a hybrid may be handed out.
pub const FILTER_SCAN_MAX: usize = 4_096;

/// Swarms up to this many peers (each family) drop expired peers whenever they are asked.
pub const TOUCH_SWEEP_MAX: usize = 64;

/// Changes that wait to be fetched from the feed of one shard. At 60 bytes each this is 4 MB; what
/// does not fit comes again with the peer's next announce.
pub const FEED_MAX: usize = 1 << 16;

/// Names of the catalogue that one shard keeps a record for even without peers.
pub const PINNED_MAX: usize = 1 << 17;

/// A pool of fewer peers, about 20 kB, stays in the processor's nearer caches, and each peer of an answer
/// is drawn on its own.
pub const NEAR_PEERS: usize = 2_048;

/// Neighbours that are drawn together out of a larger pool: an answer of 50 peers reads seven stretches of
/// memory and not fifty.
pub const RUN_PEERS: usize = 8;

/// Longest life that another node's peer may claim, in seconds: two and a half of the longest
/// intervals, and a refresh period of slack.
pub const INTAKE_LIFE_MAX_SECS: u32 = 3 * 3_600;

/// Peer ids kept in one shard, some 100 bytes each: those of Teem's own peers only. 64 shards keep a
/// million; who finds no room is a peer all the same, but not told to clients that are no peers.
pub const PEER_IDS_MAX: usize = 1 << 14;

/// Peers that are known by a name of their own. Each costs a few hundred bytes.
pub const FILE_PEERS_MAX: usize = 1 << 17;

/// Pairs of such a peer and a file of its. Each costs about 200 bytes.
pub const FILE_HOLDINGS_MAX: usize = 1 << 21;

/// Seeders of the text protocol. Each costs half a kilobyte at most without its chunk list: 8 MB.
pub const SEEDERS_MAX: usize = 1 << 14;

/// Such seeders of one IPv4 address or IPv6 /64: a household's, not a flood's.
pub const SEEDERS_HOLDER_MAX: usize = 64;

/// Bytes in the chunk lists of all such seeders.
pub const CHUNK_LISTS_LEN_MAX: usize = 128 << 20;

/// Bytes in the chunk lists of one address: 64 liars at once are needed to fill the room for all.
pub const CHUNK_LISTS_HOLDER_LEN_MAX: usize = 2 << 20;

/// Addresses that are known not to be forged. Each costs about 80 bytes.
pub const PROOFS_MAX: usize = 1 << 16;

/// How long an address counts as not forged, in seconds.
pub const PROOF_SECS: u32 = 600;

const _: () = assert!(NUMWANT_MAX <= FILTER_SCAN_MAX);
const _: () = assert!(PINNED_MAX < SWARMS_MAX);
// The expiry of a peer has 16 bits of four seconds and is compared by wrapping.
const _: () = assert!(INTAKE_LIFE_MAX_SECS / 4 < 1 << 15);
const _: () =
    assert!(proto::tracker::text::limits::CHUNK_LIST_LEN_MAX <= CHUNK_LISTS_HOLDER_LEN_MAX);
