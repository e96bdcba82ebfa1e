//! What is answered to announces, scrapes and the health check, however the request came in.

use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::Ordering;
use std::time::Instant;

use proto::InfoHash;
use proto::tracker::http::{
    AnnounceQuery, decode_announce, decode_scrape, encode_announced, encode_refused, encode_scraped,
};
use proto::tracker::{Announced, Refusal};
use registry::Families;
use registry::limits::NUMWANT_MAX;

use super::HttpShared;
use crate::access::Passkey;
use crate::sample::Sample;
use crate::swarms::Asker;

/// A question that is answered here.
#[derive(Debug)]
pub(super) struct Asked<'q> {
    page: Page,
    passkey: Option<Passkey>,
    query: &'q str,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Page {
    Announce,
    Scrape,
    Health,
}

impl<'q> Asked<'q> {
    /// What is asked for with this path and query; `None` when it is something else.
    pub(super) fn of(path: &str, query: &'q str) -> Option<Self> {
        let passkey = Passkey::in_path(path);
        let page = passkey.as_ref().map_or(path, |passkey| &path[1 + passkey.reveal().len()..]);
        let page = match page {
            "/announce" => Page::Announce,
            "/scrape" => Page::Scrape,
            "/health" => Page::Health,
            _ => return None,
        };
        Some(Self { page, passkey, query })
    }

    /// The body of the answer; its status is 200.
    pub(super) fn answer(&self, client: IpAddr, shared: &HttpShared) -> Vec<u8> {
        if self.page != Page::Health
            && let Err(denied) = shared.access.announcer(self.passkey.as_ref())
        {
            return refuse(shared, &denied.refusal());
        }
        let start = Instant::now();
        let body = match self.page {
            Page::Announce => announce(self.query, client, shared),
            Page::Scrape => scrape(self.query, client, shared),
            Page::Health => b"ok\n".to_vec(),
        };
        shared.latencies.http_announce.since(start);
        body
    }
}

fn announce(query: &str, client: IpAddr, shared: &HttpShared) -> Vec<u8> {
    let AnnounceQuery { announce, compact, no_peer_id } = match decode_announce(query) {
        Ok(query) => query,
        Err(error) => return refuse(shared, &said(error)),
    };
    if announce.port == 0 {
        return refuse(shared, &Refusal::new("port 0 cannot be connected to"));
    }
    let asker = Asker {
        // Whatever address the announce claims, it is the one it came from that counts.
        peer: SocketAddr::new(client, announce.port),
        families: Families::Both,
        peers_max: NUMWANT_MAX,
    };
    let mut reply = Announced::default();
    let now = shared.swarms.tick();
    let HttpShared { swarms, lists, counters, .. } = shared;
    if !shared.quotas.allows(now, client) {
        counters.limited.fetch_add(1, Ordering::Relaxed);
        swarms.put_off(&mut reply);
    } else if !lists.admits_announce(swarms, &announce.info_hash, &announce.peer_id) {
        counters.denied.fetch_add(1, Ordering::Relaxed);
        swarms.put_off(&mut reply);
    } else {
        swarms.announce(&announce, &asker, &mut reply);
    }
    reply.external_ip = Some(client);
    shared.counters.announces.fetch_add(1, Ordering::Relaxed);
    let mut body = Vec::with_capacity(160 + reply.peers.len() * if compact { 18 } else { 64 });
    encode_announced(&mut body, &reply, compact, no_peer_id);
    body
}

fn scrape(query: &str, client: IpAddr, shared: &HttpShared) -> Vec<u8> {
    let hashes = match decode_scrape(query) {
        Ok(hashes) => hashes,
        Err(error) => return refuse(shared, &said(error)),
    };
    let now = shared.swarms.tick();
    let allowed = shared.quotas.allows(now, client);
    shared.counters.limited.fetch_add(u64::from(!allowed), Ordering::Relaxed);
    let admitted = |hash: &InfoHash| {
        let admitted = shared.lists.admits_hash(&shared.swarms, hash);
        shared.counters.denied.fetch_add(u64::from(!admitted), Ordering::Relaxed);
        admitted
    };
    let known = |hash| Some((hash, shared.swarms.scrape(&hash)?));
    let hashes = hashes.into_iter().filter(|_| allowed).filter(admitted);
    let mut swarms = hashes.filter_map(known).collect();
    shared.counters.scrapes.fetch_add(1, Ordering::Relaxed);
    let mut body = Vec::new();
    encode_scraped(&mut body, &mut swarms);
    body
}

fn said(error: impl std::fmt::Display) -> Refusal {
    Refusal { reason: error.to_string().into(), retry: None }
}

/// Clients read refusals out of the body; many do not read it at all unless the status is 200.
fn refuse(shared: &HttpShared, refusal: &Refusal) -> Vec<u8> {
    static SAMPLE: Sample = Sample::new();
    shared.counters.refused.fetch_add(1, Ordering::Relaxed);
    if tracing::enabled!(tracing::Level::DEBUG)
        && let Some(left_out) = SAMPLE.take_one()
    {
        tracing::debug!(reason = &*refusal.reason, left_out, "HTTP announce or scrape refused");
    }
    let mut body = Vec::new();
    encode_refused(&mut body, refusal);
    body
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_pages_are_answered_with_a_passkey_or_without() {
        let key = "0123456789".repeat(4);
        let page = |path: &str| {
            let asked = Asked::of(&path.replace("KEY", &key), "a=b")?;
            assert_eq!(asked.query, "a=b");
            Some((asked.page, asked.passkey.is_some()))
        };
        assert_eq!(page("/announce"), Some((Page::Announce, false)));
        assert_eq!(page("/KEY/announce"), Some((Page::Announce, true)));
        assert_eq!(page("/KEY/scrape"), Some((Page::Scrape, true)));
        assert_eq!(page("/health"), Some((Page::Health, false)));
        for other in ["/", "/announce/", "//announce", "/KEY", "/KEYx/announce", "/api/v1/status"] {
            assert_eq!(page(other), None, "{other}");
        }
    }
}
