//! The JSON of the tracker's HTTP API, `/api/v1`: written by the router beside this file, read by the
//! command line's client.
//!
//! Sizes are bytes, times are seconds since 1970, hashes are lower-case hex, addresses are
//! `IP:PORT` (`[IP]:PORT` for IPv6). Readers ignore fields that they do not know.
//!
//! | request | reply |
//! |---|---|
//! | `PUT /api/v1/catalogue/{name}?description=&tag=&tag=`, body: a torrent file | 201 or 200 and a [`Published`] |
//! | `DELETE /api/v1/catalogue/{name}`, all of it, or `{name}@{n}`, one version | an [`Unpublished`] |
//! | `GET /api/v1/catalogue?q=&after=&limit=` | a [`Page`] |
//! | `GET /api/v1/catalogue/{name}` | an [`EntryWithPeers`] |
//! | `GET /api/v1/catalogue/{name}/torrent` | the torrent file, peers in the header [`PEERS_HEADER`] |
//! | `GET /api/v1/catalogue/{name}/magnet` | a magnet link, as text |
//! | `GET /api/v1/status` | a [`Status`] |
//! | `GET /api/v1/openapi.json` | all of this for programs (OpenAPI 3.1) |
//!
//! `{name}` is percent-encoded, slashes too. Where something is read, `{name}@{n}` is a version of it,
//! and the name alone, or `{name}@latest`, the latest one. It may also be an info hash in hex (40 or 64 digits)
//! wherever an entry is read: no name looks like one. Any refusal is an [`Refusal`] with a fitting
//! status.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Header of a handed-out torrent file: up to [`PEERS_MAX`] addresses of its peers, comma-separated,
/// so that a get costs one round trip. All of them announced under the torrent's first info hash (v1
/// if it has one).
pub(crate) const PEERS_HEADER: &str = "teem-peers";

/// Peers that come along with an entry or a torrent file.
pub(crate) const PEERS_MAX: usize = 50;

/// Entries on a page when `limit` is not given.
pub(crate) const PAGE_LIMIT: u32 = 100;

/// Entries on a page at most.
pub(crate) const PAGE_LIMIT_MAX: u32 = 1_000;

/// Which hashes a torrent has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Format {
    /// SHA-1 pieces (BEP 3).
    V1,
    /// SHA-256 merkle trees (BEP 52).
    V2,
    /// Both.
    Hybrid,
}

/// One name of the catalogue.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub(crate) struct Entry {
    /// The name in the catalogue.
    pub(crate) name: String,
    /// Which version of it, from 1.
    #[serde(default = "one")]
    pub(crate) version: u32,
    /// How many versions the name has.
    #[serde(default = "one")]
    pub(crate) versions: u32,
    /// What its owner says about it.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub(crate) description: String,
    /// Words that its owner files it under.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) tags: Vec<String>,
    /// Whoever asks owns it.
    #[serde(default)]
    pub(crate) mine: bool,
    /// Something that was searched for is only in the paths inside it.
    #[serde(default, skip_serializing_if = "is_false")]
    pub(crate) in_paths: bool,
    /// The first such path.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) path: Option<String>,
    /// Which hashes it has.
    pub(crate) format: Format,
    /// The v1 info hash: 40 hex digits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) info_hash_v1: Option<String>,
    /// The v2 info hash: 64 hex digits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) info_hash_v2: Option<String>,
    /// Bytes of all files together.
    pub(crate) size: u64,
    /// How many files.
    pub(crate) files: u64,
    /// Bytes in a piece.
    pub(crate) piece_length: u32,
    /// When it was published first.
    pub(crate) published: i64,
    /// Peers that have all of it.
    pub(crate) seeders: u32,
    /// Peers that do not yet.
    pub(crate) leechers: u32,
    /// Downloads that ended, in all runs of the tracker.
    pub(crate) completed: u32,
    /// Peers that registered a file of this name over JSON; they are in no swarm.
    #[serde(default)]
    pub(crate) simple_peers: u64,
}

const fn one() -> u32 {
    1
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "the serialiser passes a reference")]
const fn is_false(value: &bool) -> bool {
    !*value
}

/// One version of a name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub(crate) struct Version {
    /// Its number.
    pub(crate) version: u32,
    /// The v1 info hash: 40 hex digits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) info_hash_v1: Option<String>,
    /// The v2 info hash: 64 hex digits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) info_hash_v2: Option<String>,
    /// Bytes of all files together.
    pub(crate) size: u64,
    /// How many files.
    pub(crate) files: u64,
    /// When it was published first.
    pub(crate) published: i64,
    /// Peers that have all of it.
    pub(crate) seeders: u32,
    /// Peers that do not yet.
    pub(crate) leechers: u32,
    /// Downloads that ended, in all runs of the tracker.
    pub(crate) completed: u32,
}

/// One peer of an entry.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub(crate) struct Peer {
    /// Where it accepts connections.
    #[schema(value_type = String, example = "192.0.2.1:6881")]
    pub(crate) addr: std::net::SocketAddr,
    /// It has all of the content.
    pub(crate) seeder: bool,
    /// It announced under the v1 info hash.
    pub(crate) v1: bool,
    /// It announced under the v2 info hash.
    pub(crate) v2: bool,
}

/// An entry and some of its peers, picked by chance.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub(crate) struct EntryWithPeers {
    /// The entry.
    #[serde(flatten)]
    pub(crate) entry: Entry,
    /// Up to [`PEERS_MAX`] peers.
    pub(crate) peers: Vec<Peer>,
    /// Every version of the name that is kept, the latest first.
    #[serde(default)]
    pub(crate) history: Vec<Version>,
}

/// Entries in the order of their names.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub(crate) struct Page {
    /// The entries.
    pub(crate) entries: Vec<Entry>,
    /// Give this as `after` for the next page; missing on the last one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) next: Option<String>,
}

/// The answer to a publication.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub(crate) struct Published {
    /// The name, or this version of it, is new; otherwise it had this very content before.
    pub(crate) created: bool,
    /// The entry as it stands.
    pub(crate) entry: Entry,
    /// Announce URLs of this tracker, as the client reached it.
    pub(crate) trackers: Vec<String>,
}

/// The answer to an unpublication.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub(crate) struct Unpublished {
    /// The name.
    pub(crate) name: String,
    /// Which versions of it are gone.
    pub(crate) versions: Vec<u32>,
}

/// How the tracker stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub(crate) struct Status {
    /// The tracker's own name.
    pub(crate) name: String,
    /// The program's version.
    pub(crate) version: String,
    /// Seconds since it started.
    pub(crate) uptime: u64,
    /// Only who shows a token may do anything.
    #[serde(default)]
    pub(crate) private: bool,
    /// What whoever asks may do: `read`, `publish` or `admin`, each with those before it.
    #[serde(default)]
    pub(crate) scope: String,
    /// What it listens on.
    pub(crate) listeners: Vec<Listener>,
    /// Names in the catalogue.
    pub(crate) torrents: u64,
    /// Swarms with at least one peer.
    pub(crate) swarms: u64,
    /// Peers of all swarms.
    pub(crate) peers: u64,
}

/// One address that the tracker listens on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub(crate) struct Listener {
    /// `udp`, `http` or `json`.
    pub(crate) protocol: String,
    /// The address in use.
    #[schema(value_type = String, example = "192.0.2.1:6881")]
    pub(crate) addr: std::net::SocketAddr,
}

/// What a token allows. Each scope includes those before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Scope {
    /// Search, fetch, announce.
    Read,
    /// Names too.
    Publish,
    /// Everything.
    Admin,
}

/// A token without its secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub(crate) struct Token {
    /// Its number.
    pub(crate) id: i64,
    /// Whose it is.
    pub(crate) name: String,
    /// The operator's words.
    pub(crate) note: String,
    /// What it allows.
    pub(crate) scope: Scope,
    /// When it was made.
    pub(crate) created: i64,
    /// When it ends, if it does.
    pub(crate) expires: Option<i64>,
    /// It was taken back.
    pub(crate) revoked: bool,
}

/// Every token.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub(crate) struct Tokens {
    /// In the order of their making.
    pub(crate) tokens: Vec<Token>,
}

/// A token to be made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub(crate) struct NewToken {
    /// Whose it is.
    pub(crate) name: String,
    /// The operator's words.
    #[serde(default)]
    pub(crate) note: String,
    /// What it allows.
    pub(crate) scope: Scope,
    /// Seconds after which it ends; without end when missing.
    #[serde(default)]
    pub(crate) life: Option<i64>,
}

/// A token just made. Its secret is not told again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub(crate) struct MadeToken {
    /// The token.
    #[serde(flatten)]
    pub(crate) token: Token,
    /// What its holder sends: `Authorization: Bearer SECRET`, and in AUTH.
    pub(crate) secret: String,
    /// What stands in the announce URLs of its holder's clients: `/PASSKEY/announce`.
    pub(crate) passkey: String,
}

/// Why a request was refused.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub(crate) struct Refusal {
    /// What is wrong and what to do, in words.
    pub(crate) error: String,
    /// What is wrong, for programs.
    pub(crate) code: RefusalCode,
}

/// What is wrong, for programs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum RefusalCode {
    /// 400: the name cannot be used.
    BadName,
    /// 400: the description or a tag cannot be used.
    BadAbout,
    /// 400: the body is not a valid torrent file.
    BadTorrent,
    /// 400: anything else about the request.
    BadRequest,
    /// 401: nobody knows who asks, and that matters here.
    Unauthorised,
    /// 403: who asks may not.
    Forbidden,
    /// 404: no such name, hash or page.
    NotFound,
    /// 405: not with this method.
    BadMethod,
    /// 409: the name has other content, and belongs to somebody else.
    NameTaken,
    /// 413: the torrent file is too large.
    TooLarge,
    /// 507: the catalogue is full, or the part of it that one publisher may take, or its disk.
    Full,
    /// 503: too much at once.
    Busy,
    /// 500: the tracker's own trouble.
    Internal,
    /// A code that this version does not know.
    #[serde(other)]
    Other,
}
