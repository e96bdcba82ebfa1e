//! Every bound of the servers and the catalogue, with its reason.

use std::time::Duration;

/// Shards of the registry: enough that a few dozen threads seldom meet at one lock.
pub const SHARDS: usize = 64;

/// Bytes of one read that are fetched ahead: the peers of a small swarm.
pub(crate) const AHEAD_LEN_MAX: usize = 256;

/// UDP packets moved by one system call.
pub(crate) const UDP_BATCH: usize = 64;

/// UDP threads for each address at most: past it the network card is the limit.
pub(crate) const UDP_THREADS_MAX: usize = 8;

/// How often a UDP thread looks whether to end, when no packet comes.
pub(crate) const UDP_WAIT: Duration = Duration::from_millis(250);

/// What is asked of the system for packets that wait; it may give less.
pub(crate) const UDP_RECEIVE_BUFFER: usize = 8 << 20;

/// Peers in an IPv4 answer over UDP: with its header 1,220 bytes, below every path's limit.
pub(crate) const UDP_PEERS_V4_MAX: usize = 200;

/// Peers in an IPv6 answer over UDP: 1,208 bytes.
pub(crate) const UDP_PEERS_V6_MAX: usize = 66;

/// Connections of HTTP, and as many of JSON, at once unless the operator says otherwise. Each costs some
/// 20 KiB at most while it is idle over HTTP, and 32 KiB over JSON but for those with long requests. With
/// one more, the idlest of the largest network ends.
pub const CONNECTIONS_MAX: usize = 8_192;

/// A request's head has to arrive within this time, and the next one on the same connection too.
pub(crate) const HTTP_HEAD_TIMEOUT: Duration = Duration::from_secs(5);

/// Bytes of a request's head, and of what a connection reads ahead.
pub(crate) const HTTP_HEAD_LEN_MAX: usize = 32 << 10;

/// What a connection over HTTP keeps for requests while it waits for one, and as much for answers:
/// announces and their answers fit in.
pub(crate) const HTTP_BUFFER_LEN: usize = 2 << 10;

/// Bytes of answers to pipelined requests before they are sent.
pub(crate) const HTTP_ANSWERS_LEN_MAX: usize = 16 << 10;

/// Longest life of a connection. One that trickles its body or never reads its answer ends here.
pub(crate) const HTTP_CONNECTION_LIFE_MAX: Duration = Duration::from_secs(15 * 60);

/// Proxies in a row between a client and us. Longer lists are a client's own making.
pub(crate) const FORWARDED_HOPS_MAX: usize = 16;

/// What connections get to end by themselves when the tracker stops.
pub(crate) const HTTP_STOP_TIMEOUT: Duration = Duration::from_secs(2);

/// The operator's connections at once: a scraper of metrics, a few browsers, a few scripts.
pub(crate) const ADMIN_CONNECTIONS_MAX: usize = 64;

/// A TLS handshake has to end within this time of its first byte.
pub(crate) const TLS_HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(5);

/// Bytes of a client's part of a handshake; the usual ones are half a KiB to two. With this much of
/// each connection, all 8,192 of a port hold 128 MiB while they last.
pub(crate) const TLS_HANDSHAKE_LEN_MAX: usize = 16 << 10;

/// How often the certificate's files are looked at: two questions to the file system.
pub(crate) const TLS_LOOK_EVERY: Duration = Duration::from_secs(10);

/// Info hashes on one list: 160 MiB.
pub const LIST_HASHES_MAX: usize = 8 << 20;

/// Beginnings of peer ids on one list: there are a few hundred clients.
pub const LIST_CLIENTS_MAX: usize = 10_000;

/// Bytes of a line of a list: an info hash, and a comment that says why.
pub(crate) const LIST_LINE_LEN_MAX: usize = 1_024;

/// How often a copy of the database is tried while somebody holds it, as SQLite does for a moment when it
/// tidies up.
pub(crate) const BACKUP_BUSY_TRIES: u32 = 100;

/// And the time between two of them.
pub(crate) const BACKUP_BUSY_PAUSE: Duration = Duration::from_millis(50);

/// How often the peers are written for the next start: a tracker that is killed loses what is newer.
pub(crate) const KEEP_EVERY: Duration = Duration::from_secs(5 * 60);

/// A request has to arrive within this time of the one before.
pub(crate) const JSON_IDLE_TIMEOUT: Duration = Duration::from_secs(60);

/// An answer has to be taken within this time.
pub(crate) const JSON_WRITE_TIMEOUT: Duration = Duration::from_secs(10);

/// What a client gets to read its last answer.
pub(crate) const JSON_LINGER: Duration = Duration::from_secs(2);

/// Bytes that are read to no purpose meanwhile.
pub(crate) const JSON_LINGER_LEN_MAX: usize = 8 << 20;

/// Requests up to this length need no permit.
pub(crate) const JSON_SHORT_LEN_MAX: usize = 16 << 10;

/// Longer requests that arrive at once; the others wait, and slow ones give way to them. With two
/// megabytes each, as buffers grow, this is 128 MiB.
pub(crate) const JSON_LONG_REQUESTS_MAX: usize = 64;

/// What a silent peer gets to accept a connection.
pub(crate) const JSON_TRY_TIMEOUT: Duration = Duration::from_secs(2);

/// Silent peers that are tried at once.
pub(crate) const JSON_TRIES_AT_ONCE: usize = 256;

/// Datagrams of the text protocol moved by one system call.
pub(crate) const TEXT_BATCH: usize = 16;

/// Seeders that are chosen for an answer: no more than some forty fit into its 1,200 bytes.
pub(crate) const TEXT_LISTED_MAX: usize = 48;

/// Full answers in a second to sources that may be forged, when the operator wants them. An answer is
/// 109 times as long as its question at most; this makes it 60 kB a second in all, towards all victims
/// together.
pub(crate) const TEXT_PUBLIC_REPLIES_A_SECOND: u32 = 50;

/// Connections for chunk lists at once. Each costs 12 KiB at most, but for those with long lists: 96 MiB.
/// With one more, the idlest of the largest network ends.
pub(crate) const TEXT_CONNECTIONS_MAX: usize = 8_192;

/// What somebody who connects gets to say something, and to go on with it.
pub(crate) const TEXT_SILENCE: Duration = Duration::from_secs(1);

/// Clients that fell silent and are answered at once: a few, so that who spoke seldom waits for them.
pub(crate) const TEXT_SILENT_AT_ONCE: usize = 4;

/// A name has to be whole within this time.
pub(crate) const TEXT_QUESTION_TIMEOUT: Duration = Duration::from_secs(5);

/// Bytes of what somebody says first: a name and what may stand around it.
pub(crate) const TEXT_QUESTION_LEN_MAX: usize = 512;

/// A chunk list has to arrive within this time.
pub(crate) const TEXT_DELIVERY_TIMEOUT: Duration = Duration::from_secs(30);

/// A chunk list has to be taken within this time.
pub(crate) const TEXT_HANDOUT_TIMEOUT: Duration = Duration::from_secs(30);

/// What a client gets to read the end of its list.
pub(crate) const TEXT_LINGER: Duration = Duration::from_secs(2);

/// Bytes that are read to no purpose meanwhile.
pub(crate) const TEXT_LINGER_LEN_MAX: usize = 8 << 20;

/// Chunk lists up to this length, coming or going, need no permit.
pub(crate) const TEXT_SHORT_LEN_MAX: usize = 4 << 10;

/// Longer lists that arrive at once; the others wait, and slow ones give way to them. As buffers grow,
/// this is 64 MiB.
pub(crate) const TEXT_LONG_LISTS_MAX: usize = 32;

/// Longer lists of the catalogue that are handed out at once, each to any number of clients. A torrent
/// file has 32 MiB of hashes at most, so this is 256 MiB in the worst case, and some megabytes in any
/// usual one.
pub(crate) const TEXT_LONG_HANDOUTS_MAX: usize = 8;

/// Chunk lists that are looked up in the catalogue at once: each reads a torrent file.
pub(crate) const TEXT_CATALOGUE_LOOKUPS_MAX: usize = 4;

/// Connections to seeders for their chunk lists at once. A register may be forged: with two seconds
/// each, that many make 32 attempts in a second at other people's addresses.
pub(crate) const TEXT_FETCHES_MAX: usize = 64;

/// What a seeder gets to accept the connection for its chunk list.
pub(crate) const TEXT_FETCH_TIMEOUT: Duration = Duration::from_secs(2);

/// What a silent seeder gets to accept a connection.
pub(crate) const TEXT_TRY_TIMEOUT: Duration = Duration::from_secs(2);

/// Silent seeders that are tried at once.
pub(crate) const TEXT_TRIES_AT_ONCE: usize = 256;

/// Names of the catalogue on a page for the text protocol.
pub(crate) const TEXT_PAGE_LEN: usize = 256;

/// How long a page of a longer catalogue is kept, in seconds, before the next one has its turn.
pub(crate) const TEXT_PAGE_SECS: u32 = 10;

/// Seeders of one name that are listed.
pub(crate) const TEXT_SEEDERS_A_NAME_MAX: usize = 8;

/// Torrent files read in a second to learn how many hashes they have.
pub(crate) const TEXT_LENS_A_ROUND: usize = 8;

/// Longest torrent file of the catalogue, in bytes: a hybrid of 100,000 small files has 20 MiB and more, and
/// what is larger no peer would give to who has only its info hash.
pub const METAINFO_LEN_MAX: usize = 32 << 20;

/// Names of the catalogue: a search looks at every name at most, and must end within milliseconds.
pub const NAMES_MAX: u64 = 100_000;

/// Versions of all names together. Each has a record among the swarms, of about 250 bytes if it is a
/// hybrid's: 64 MB.
pub const VERSIONS_MAX: u64 = 1 << 18;

/// Versions of one name; the next one takes the place of the oldest.
pub const VERSIONS_PER_NAME_MAX: u32 = 100;

/// Bytes that the catalogue takes on the disk, about, unless it is told otherwise: hundred thousand
/// torrent files of 40 KB, which is one for 500 MB of content each.
pub const CATALOGUE_BYTES_MAX: u64 = 4 << 30;

/// Per cent of the catalogue that one stranger may take, unless it is told otherwise.
pub const CATALOGUE_SHARE_PERCENT: u8 = 25;

/// Longest description in bytes: a page of text.
pub const DESCRIPTION_LEN_MAX: usize = 2_000;

/// Tags of one name.
pub const TAGS_MAX: usize = 16;

/// Longest tag in bytes.
pub const TAG_LEN_MAX: usize = 50;

/// Bytes of paths of one torrent that can be searched: some thousand files. What is behind them cannot
/// be found by its path.
pub const PATHS_LEN_MAX: usize = 64 << 10;

/// Bytes of the index for each byte of paths, about.
pub(crate) const INDEX_FACTOR: usize = 8;

/// Matches up to this many are sorted by name; more are picked out while reading all names in order.
pub(crate) const MATCHES_SORTED_MAX: usize = 2_000;

/// Bytes of paths that one search reads to show which one fits.
pub(crate) const PATHS_SCANNED_MAX: usize = 4 << 20;

/// Searches and look-ups at the same moment, each on a thread. More wait for their turn.
pub(crate) const CATALOGUE_READERS: usize = 4;

/// How often counts of downloads go to the disk: a crash loses this much of them.
pub(crate) const COMPLETED_EVERY: Duration = Duration::from_secs(10);

/// Counts written in one transaction, while publications wait.
pub(crate) const COMPLETED_BATCH: usize = 10_000;

/// Longest name in bytes.
pub const NAME_LEN_MAX: usize = 255;

/// Longest search pattern in bytes: no name is longer.
pub const PATTERN_LEN_MAX: usize = NAME_LEN_MAX;

/// Entries on one page of a list.
pub const PAGE_MAX: usize = 1_000;

/// Tokens: all are in memory, a few hundred bytes each.
pub const TOKENS_MAX: i64 = 100_000;

/// How often a private tracker looks whether its tokens have changed: a revoked one ends within it.
pub(crate) const TOKENS_EVERY: Duration = Duration::from_secs(1);

/// Publications at once, each with a torrent file in memory: one is read while another is written.
pub(crate) const CATALOGUE_WRITERS: usize = 2;

/// Bytes of names, and of what they mean, that are kept beside the database.
pub(crate) const RECENT_NAMES_LEN_MAX: usize = 8 << 20;

/// Peers looked at in one step of the sweep, under one lock.
pub(crate) const SWEEP_STEP: usize = 1_024;

/// The sweep takes a step in one shard after the other with this much time between two rounds.
pub(crate) const SWEEP_EVERY: Duration = Duration::from_secs(1);

const _: () = {
    assert!(20 + 6 * UDP_PEERS_V4_MAX <= sys::datagrams::ANSWER_LEN_MAX);
    assert!(20 + 18 * UDP_PEERS_V6_MAX <= sys::datagrams::ANSWER_LEN_MAX);
    // A secret key spreads the hashes evenly over the shards.
    assert!(VERSIONS_MAX / SHARDS as u64 * 8 <= registry::limits::PINNED_MAX as u64);
};
