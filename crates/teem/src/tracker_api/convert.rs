//! From the tracker's values to the JSON's.

use proto::InfoHash;
use proto::metainfo::Format;
use tracker::{Caller, Hit, Names, PeerView, Protocol, Role, Shared};

use super::dto;

/// An entry as `caller` may see it: nobody learns who owns it but the owner.
pub(super) fn entry(
    entry: &tracker::Entry,
    shared: &Shared,
    caller: Option<&Caller>,
) -> dto::Entry {
    let counts = shared.swarms.scrape(&entry.hashes.primary()).unwrap_or_default();
    dto::Entry {
        name: entry.name.clone(),
        version: entry.version,
        versions: entry.versions,
        description: entry.description.clone(),
        tags: entry.tags.clone(),
        mine: entry.owner.is_some() && caller.is_some_and(|caller| caller.owner == entry.owner),
        in_paths: false,
        path: None,
        format: Format::of(&entry.hashes).into(),
        info_hash_v1: entry.hashes.v1().map(|hash| hash.to_string()),
        info_hash_v2: entry.hashes.v2().map(|hash| hash.to_string()),
        size: entry.size,
        files: entry.files,
        piece_length: entry.piece_len,
        published: entry.published,
        seeders: counts.seeders,
        leechers: counts.leechers,
        completed: counts.completed,
        simple_peers: shared.simple_peers(&entry.name) as u64,
    }
}

/// What a search found.
pub(super) fn hit(hit: Hit, shared: &Shared, caller: &Caller) -> dto::Entry {
    let Hit { entry: found, in_paths, path } = hit;
    dto::Entry { in_paths, path, ..entry(&found, shared, Some(caller)) }
}

/// One version of a name among all of them.
pub(super) fn version(found: &tracker::Entry, shared: &Shared) -> dto::Version {
    let entry = entry(found, shared, None);
    dto::Version {
        version: entry.version,
        info_hash_v1: entry.info_hash_v1,
        info_hash_v2: entry.info_hash_v2,
        size: entry.size,
        files: entry.files,
        published: entry.published,
        seeders: entry.seeders,
        leechers: entry.leechers,
        completed: entry.completed,
    }
}

/// Some of an entry's peers. The only hash of a torrent that is not a hybrid counts as what it is.
pub(super) fn peers(entry: &tracker::Entry, shared: &Shared) -> Vec<dto::Peer> {
    let hash: InfoHash = entry.hashes.primary();
    let views = shared.swarms.peers(&hash, Some(Names::BOTH), dto::PEERS_MAX);
    let is_v2_only = entry.hashes.v1().is_none();
    let peer = |view: PeerView| {
        let [first, second] = [Names::FIRST, Names::SECOND].map(|name| view.names.overlaps(name));
        dto::Peer {
            addr: view.addr,
            seeder: view.role == Role::Seeder,
            v1: first && !is_v2_only,
            v2: second || is_v2_only,
        }
    };
    views.into_iter().map(peer).collect()
}

/// What everybody may reach.
impl From<dto::Scope> for tracker::Scope {
    fn from(scope: dto::Scope) -> Self {
        match scope {
            dto::Scope::Read => Self::Read,
            dto::Scope::Publish => Self::Publish,
            dto::Scope::Admin => Self::Admin,
        }
    }
}

impl dto::Token {
    /// As the API has it.
    pub(super) fn of(token: &tracker::Token) -> Self {
        Self {
            id: token.id.0,
            name: token.name.clone(),
            note: token.note.clone(),
            scope: match token.scope {
                tracker::Scope::Read => dto::Scope::Read,
                tracker::Scope::Publish => dto::Scope::Publish,
                tracker::Scope::Admin => dto::Scope::Admin,
            },
            created: token.created,
            expires: token.expires,
            revoked: token.revoked,
        }
    }
}

pub(super) fn listeners(shared: &Shared) -> Vec<dto::Listener> {
    let listener = |listener: &tracker::Listener| dto::Listener {
        protocol: listener.protocol.to_string(),
        addr: listener.addr,
    };
    let public = shared.listeners.iter().filter(|listener| listener.protocol != Protocol::Admin);
    public.map(listener).collect()
}

impl From<Format> for dto::Format {
    fn from(format: Format) -> Self {
        match format {
            Format::Hybrid => Self::Hybrid,
            Format::V1 => Self::V1,
            Format::V2 => Self::V2,
        }
    }
}
