//! What each request gets.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use proto::tracker::SwarmCounts;
use proto::tracker::json::limits::{HASHES_MAX, PAGE_MAX, PEERS_MAX};
use proto::tracker::json::{File, FilePage, Peer, Reply, Request, Session, Stats};
use rand::seq::SliceRandom as _;
use registry::{Files, FilesError, Token};

use super::{JsonShared, console};
use crate::access::{Denied, Scope, Secret, TokenId};
use crate::catalogue::{CatalogueError, NamedFile, PieceHashes, fitting};

/// Answers a request from `ip`.
pub(super) async fn answer(json: &JsonShared, ip: IpAddr, request: Request) -> Reply {
    if !json.shared.quotas.allows(json.shared.swarms.now(), ip) {
        json.counters().limited.fetch_add(1, Ordering::Relaxed);
        return put_off(&request);
    }
    let scope = match request.session() {
        Some(session) => match scope_of(json, ip, session) {
            Ok(scope) => scope,
            Err(error) => return Reply::error(error),
        },
        None => Scope::Read,
    };
    match request {
        Request::Auth { peer_id, secret } => admit(json, ip, &peer_id, secret.as_deref()),
        Request::Register { session, port, files } => {
            register(json, &session.peer_id, scope, port, &files).await
        }
        Request::PeerList { file_name, .. } => peers(json, file_name).await,
        Request::Keepalive { .. } => Reply::ack(),
        Request::Unregister { session, files } => {
            json.files.lock().remove(&session.peer_id, files.as_deref());
            console::left(&session.peer_id, files.as_deref());
            Reply::ack()
        }
        Request::BecomeSeeder { session, file_name, parts } => {
            become_seeder(json, &session.peer_id, scope, &file_name, parts).await
        }
        Request::FileList { page, .. } => files(json, page).await,
        Request::GetCount { file_name, .. } => count(json, file_name).await,
        Request::ChunkHashes { file_name, from, count, .. } => {
            hashes(json, file_name, from, count).await
        }
        Request::Stats { .. } => {
            let (peers, files) = json.files.lock().totals();
            let requests = json.counters().requests.load(Ordering::Relaxed);
            Reply::Stats(Stats { peers, files, requests })
        }
    }
}

/// What a network over its quota hears: an empty list where there could be one.
fn put_off(request: &Request) -> Reply {
    match request {
        Request::PeerList { .. } => Reply::Peers { peers: Vec::new(), total_parts: 0 },
        Request::FileList { .. } => Reply::Files { files: Vec::new(), next: None },
        Request::Auth { .. }
        | Request::Register { .. }
        | Request::Keepalive { .. }
        | Request::Unregister { .. }
        | Request::BecomeSeeder { .. }
        | Request::GetCount { .. }
        | Request::ChunkHashes { .. }
        | Request::Stats { .. } => {
            Reply::error("your network asks too often; try again in a few seconds")
        }
    }
}

/// Who asks is who they say, and may still do that much.
fn scope_of(json: &JsonShared, ip: IpAddr, session: &Session) -> Result<Scope, FilesError> {
    let now = json.shared.swarms.now();
    let token = read_token(&session.token).ok_or(FilesError::InvalidToken)?;
    let voucher = json.files.lock().renew(now, &session.peer_id, ip, &token)?;
    json.shared.access.scope_of(voucher.map(TokenId)).ok_or(FilesError::InvalidToken)
}

fn admit(json: &JsonShared, ip: IpAddr, peer_id: &str, secret: Option<&str>) -> Reply {
    // A private tracker says what it misses; an open one asks for nothing.
    let caller = match secret.map(|text| Secret::parse(text).ok_or(Denied::BadToken)).transpose() {
        Ok(secret) => json.shared.access.caller(secret.as_ref()),
        Err(_) if !json.shared.access.is_private() => json.shared.access.caller(None),
        Err(denied) => Err(denied),
    };
    let caller = match caller {
        Ok(caller) => caller,
        Err(Denied::NoToken) => {
            return Reply::error("this tracker is private: AUTH needs the \"secret\" of a token");
        }
        Err(denied) => return Reply::error(denied),
    };
    let token: Token = rand::random();
    let now = json.shared.swarms.now();
    let voucher = caller.token.map(|TokenId(id)| id);
    match json.files.lock().admit(now, peer_id, ip, (token, voucher)) {
        Ok(()) => Reply::token(write_token(&token)),
        Err(error) => Reply::error(error),
    }
}

async fn register(
    json: &JsonShared,
    peer_id: &str,
    scope: Scope,
    port: u16,
    files: &BTreeMap<String, u32>,
) -> Reply {
    if let Err(reply) = check_files(json, scope, files).await {
        return reply;
    }
    match json.files.lock().register(peer_id, port, files) {
        Ok(()) => {
            console::registered(peer_id, files.len());
            Reply::registered()
        }
        Err(error) => Reply::error(error),
    }
}

async fn become_seeder(
    json: &JsonShared,
    peer_id: &str,
    scope: Scope,
    file_name: &str,
    parts: u32,
) -> Reply {
    let one = BTreeMap::from([(file_name.to_owned(), parts)]);
    if let Err(reply) = check_files(json, scope, &one).await {
        return reply;
    }
    match json.files.lock().add(peer_id, file_name, parts) {
        Ok(()) => Reply::ack(),
        Err(error) => Reply::error(error),
    }
}

/// The catalogue agrees with the parts that a peer says, and who brings a new name may do so.
async fn check_files(
    json: &JsonShared,
    scope: Scope,
    files: &BTreeMap<String, u32>,
) -> Result<(), Reply> {
    let names = files.keys().cloned().collect();
    let known = json.shared.catalogue.files(names).await.map_err(|error| sorry(&error))?;
    for ((file, claimed), known) in files.iter().zip(known) {
        if scope < Scope::Publish && known.is_none() && json.files.lock().parts(file).is_none() {
            let denied = Denied::Scope;
            return Err(Reply::error(format!("{denied}: {file:?} would be a new name")));
        }
        if let Some(known) = known
            && known.parts != *claimed
        {
            let (file, known, claimed) = (file.clone(), known.parts, *claimed);
            return Err(Reply::error(FilesError::Parts { file, known, claimed }));
        }
    }
    Ok(())
}

/// Peers that such a client can talk to: those registered here, and Teem's own.
async fn peers(json: &JsonShared, file_name: String) -> Reply {
    let found = json.files.lock().find(&file_name, PEERS_MAX, rand::random());
    let known = match known(json, file_name).await {
        Ok(known) if !admits(json, known.as_deref()) => {
            return Reply::Peers { peers: Vec::new(), total_parts: 0 };
        }
        Ok(known) => known,
        Err(reply) => return reply,
    };
    let total_parts = known.as_ref().map_or(found.parts, |file| file.parts);
    // Where tokens are asked for, torrents are private, and no peer hands parts of them to strangers.
    let open = known.filter(|_| !json.shared.access.is_private());
    let named = open.map_or_else(Vec::new, |file| {
        json.shared.swarms.named_peers(&file.entry.hashes.primary(), PEERS_MAX)
    });
    let registered = found.peers.into_iter().map(|(peer_id, addr)| Peer {
        peer_id: peer_id.to_string(),
        ip: addr.ip(),
        port: addr.port(),
    });
    let own = named.into_iter().map(|(peer_id, addr)| Peer {
        peer_id: peer_id.to_string(),
        ip: addr.ip(),
        port: addr.port(),
    });
    let mut peers: Vec<Peer> = registered.chain(own).collect();
    if peers.len() > PEERS_MAX {
        peers.shuffle(&mut rand::rng());
        peers.truncate(PEERS_MAX);
    }
    Reply::Peers { peers, total_parts }
}

async fn count(json: &JsonShared, file_name: String) -> Reply {
    match known(json, file_name.clone()).await {
        Ok(known) if !admits(json, known.as_deref()) => unknown(&file_name),
        Ok(Some(file)) => {
            let (chunk_size, size) = (file.entry.piece_len, file.size);
            Reply::chunk_count(file_name, file.parts, Some(chunk_size), Some(size))
        }
        Ok(None) => match json.files.lock().parts(&file_name) {
            Some(parts) => Reply::chunk_count(file_name, parts, None, None),
            None => unknown(&file_name),
        },
        Err(reply) => reply,
    }
}

async fn hashes(json: &JsonShared, file_name: String, from: u32, count: Option<u32>) -> Reply {
    if json.shared.lists.are_any() {
        match known(json, file_name.clone()).await {
            Ok(known) if !admits(json, known.as_deref()) => return unknown(&file_name),
            Ok(_) => {}
            Err(reply) => return reply,
        }
    }
    match json.shared.catalogue.piece_hashes(file_name.clone()).await {
        Ok(Some(PieceHashes::Known(hashes))) => {
            let count = count.map_or(HASHES_MAX, |count| (count as usize).min(HASHES_MAX));
            let some = hashes.iter().skip(from as usize).take(count);
            Reply::chunk_hashes(some.map(ToString::to_string).collect())
        }
        Ok(Some(PieceHashes::None)) => Reply::error(format!(
            "{file_name:?} has no SHA-256 hashes: it is a folder, or was published as v1 only"
        )),
        Ok(None) => unknown(&file_name),
        Err(error) => sorry(&error),
    }
}

/// Files of the catalogue and of peers, in the order of their names.
async fn files(json: &JsonShared, page: FilePage) -> Reply {
    let pattern = page.pattern.unwrap_or_default();
    let after = page.after.unwrap_or_default();
    let limit = page.limit.unwrap_or(PAGE_MAX).clamp(1, PAGE_MAX);
    let named = json.shared.catalogue.list(&pattern, Some(after.clone()), limit + 1).await;
    let (entries, _) = match named {
        Ok(named) => named,
        Err(error) => return sorry(&error),
    };
    let mut merged: BTreeMap<String, File> = BTreeMap::new();
    for entry in entries {
        let SwarmCounts { seeders, leechers, .. } =
            json.shared.swarms.scrape(&entry.hashes.primary()).unwrap_or_default();
        let (size, total_parts) = (Some(entry.size), entry.parts_of(entry.size));
        let file_name = entry.name.clone();
        let file = File { file_name, size, total_parts, seeders, leechers, simple_peers: 0 };
        merged.insert(entry.name, file);
    }
    let (mut files, next) = merge(&json.files.lock(), merged, (&pattern, &after, limit));
    match retain_admitted(json, &mut files).await {
        Ok(()) => Reply::Files { files, next },
        Err(reply) => reply,
    }
}

/// Files of the catalogue and of peers on one page, and where the next one begins.
fn merge(
    simple: &Files,
    mut merged: BTreeMap<String, File>,
    (pattern, after, limit): (&str, &str, usize),
) -> (Vec<File>, Option<String>) {
    for (name, total_parts) in simple.list(fitting(pattern), after, limit + 1) {
        merged.entry(name.to_owned()).or_insert_with(|| {
            let (file_name, size) = (name.to_owned(), None);
            File { file_name, size, total_parts, seeders: 0, leechers: 0, simple_peers: 0 }
        });
    }
    let more = merged.len() > limit;
    let mut files: Vec<File> = merged.into_values().take(limit).collect();
    for file in &mut files {
        file.simple_peers = simple.holders_of(&file.file_name) as u32;
    }
    let next = files.last().filter(|_| more).map(|last| last.file_name.clone());
    (files, next)
}

/// Whether the operator's lists let a file in that the catalogue knows, or not.
fn admits(json: &JsonShared, known: Option<&NamedFile>) -> bool {
    let admitted = json.shared.lists.admits_named(known.map(|file| &file.entry.hashes));
    json.counters().denied.fetch_add(u64::from(!admitted), Ordering::Relaxed);
    admitted
}

/// Leaves out files that the operator's lists do not let in: of those of the catalogue it has left them
/// out itself.
async fn retain_admitted(json: &JsonShared, files: &mut Vec<File>) -> Result<(), Reply> {
    if !json.shared.lists.are_any() {
        return Ok(());
    }
    let names = files.iter().map(|file| file.file_name.clone()).collect();
    let known = json.shared.catalogue.files(names).await.map_err(|error| sorry(&error))?;
    let mut known = known.iter();
    files.retain(|_| {
        let hashes = known.next().and_then(Option::as_deref).map(|file| &file.entry.hashes);
        json.shared.lists.admits_named(hashes)
    });
    Ok(())
}

async fn known(json: &JsonShared, file_name: String) -> Result<Option<Arc<NamedFile>>, Reply> {
    let found = json.shared.catalogue.files(vec![file_name]).await;
    found.map(|mut found| found.pop().flatten()).map_err(|error| sorry(&error))
}

fn unknown(file_name: &str) -> Reply {
    Reply::error(format!("nobody has a file of the name {file_name:?}"))
}

/// What went wrong is the operator's business; the client can only come back.
fn sorry(error: &CatalogueError) -> Reply {
    tracing::error!(%error, "answering a JSON request");
    Reply::error("the tracker cannot answer now; try again later")
}

fn write_token(token: &Token) -> String {
    format!("token_{:032x}", u128::from_be_bytes(*token))
}

fn read_token(text: &str) -> Option<Token> {
    let digits = text.strip_prefix("token_").filter(|digits| digits.len() == 32)?;
    let lower = digits.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte));
    lower.then(|| u128::from_str_radix(digits, 16).ok()).flatten().map(u128::to_be_bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_are_read_as_they_are_written() {
        let token = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 255];
        let text = write_token(&token);
        assert_eq!(text, "token_000102030405060708090a0b0c0d0eff");
        assert_eq!(read_token(&text), Some(token));
        for bad in [
            "",
            "token_",
            "token_00",
            &text.to_uppercase(),
            &format!("{text}0"),
            "token_+00102030405060708090a0b0c0d0eff",
        ] {
            assert_eq!(read_token(bad), None, "{bad}");
        }
    }
}
