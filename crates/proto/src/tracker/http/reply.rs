//! Bodies of replies. Dictionaries are written with sorted keys, straight into the caller's buffer.

use std::borrow::Cow;
use std::io::Write;
use std::net::{IpAddr, SocketAddr};

use crate::bencode::{self, Limits, Value};
use crate::compact;
use crate::tracker::udp::Family;
use crate::tracker::{Announced, Refusal, RetryIn, Scraped, SwarmCounts, TrackedPeer};
use crate::{DecodeError, InfoHash, PeerId};

/// Most peers that are kept of a reply; the rest is ignored.
const PEERS_MAX: usize = 2000;

/// Seconds until the next announce where a reply does not say it.
const INTERVAL_UNSAID: u32 = 1800;

/// Most characters kept of a tracker's words.
const WORDS_LEN_MAX: usize = 256;

/// Appends the reply to an announce, in the form that its sender wants.
pub fn encode_announced(out: &mut Vec<u8>, reply: &Announced, compact: bool, no_peer_id: bool) {
    out.push(b'd');
    number(out, "complete", reply.seeders);
    match reply.external_ip {
        Some(IpAddr::V4(ip)) => entry(out, "external ip", &ip.octets()),
        Some(IpAddr::V6(ip)) => entry(out, "external ip", &ip.octets()),
        None => {}
    }
    number(out, "incomplete", reply.leechers);
    number(out, "interval", reply.interval);
    if let Some(interval) = reply.min_interval {
        number(out, "min interval", interval);
    }
    if compact {
        compact_peers(out, "peers", reply, Family::V4);
        compact_peers(out, "peers6", reply, Family::V6);
    } else {
        string(out, b"peers");
        out.push(b'l');
        reply.peers.iter().for_each(|peer| long_peer(out, peer, no_peer_id));
        out.push(b'e');
    }
    if let Some(warning) = &reply.warning {
        entry(out, "warning message", warning.as_bytes());
    }
    out.push(b'e');
}

/// Appends the reply to a scrape. Sorts the swarms and drops repeated ones, as a dictionary must.
pub fn encode_scraped(out: &mut Vec<u8>, swarms: &mut Vec<(InfoHash, SwarmCounts)>) {
    swarms.sort_unstable_by_key(|(info_hash, _)| *info_hash);
    swarms.dedup_by_key(|(info_hash, _)| *info_hash);
    out.push(b'd');
    string(out, b"files");
    out.push(b'd');
    for (info_hash, counts) in swarms {
        string(out, info_hash.as_bytes());
        out.push(b'd');
        number(out, "complete", counts.seeders);
        number(out, "downloaded", counts.completed);
        number(out, "incomplete", counts.leechers);
        out.push(b'e');
    }
    out.extend_from_slice(b"ee");
}

/// Appends a refusal.
pub fn encode_refused(out: &mut Vec<u8>, refusal: &Refusal) {
    out.push(b'd');
    entry(out, "failure reason", refusal.reason.as_bytes());
    match refusal.retry {
        Some(RetryIn::Never) => entry(out, "retry in", b"never"),
        Some(RetryIn::Minutes(minutes)) => number(out, "retry in", minutes),
        None => {}
    }
    out.push(b'e');
}

/// Reads the reply to an announce, in any of the forms that are in use.
pub fn decode_announced(body: &[u8]) -> Result<Result<Announced, Refusal>, DecodeError> {
    let document = bencode::decode(body, &Limits::TRACKER_REPLY)?;
    let root = document.root();
    if let Some(refusal) = refusal(root)? {
        return Ok(Err(refusal));
    }
    let mut peers: Vec<TrackedPeer> = Vec::new();
    if let Some(list) = root.get(b"peers").and_then(Value::list) {
        peers.extend(list.iter().filter_map(decode_long_peer).take(PEERS_MAX));
    }
    let packed = |key: &[u8]| root.get(key).and_then(Value::bytes).unwrap_or_default();
    peers.extend(compact::list_v4(packed(b"peers")).take(PEERS_MAX).map(TrackedPeer::from));
    peers.extend(compact::list_v6(packed(b"peers6")).take(PEERS_MAX).map(TrackedPeer::from));
    peers.truncate(PEERS_MAX);
    Ok(Ok(Announced {
        interval: count(root, b"interval").unwrap_or(INTERVAL_UNSAID),
        min_interval: count(root, b"min interval"),
        seeders: count(root, b"complete").unwrap_or(0),
        leechers: count(root, b"incomplete").unwrap_or(0),
        peers,
        external_ip: root.get(b"external ip").and_then(Value::bytes).and_then(packed_ip),
        warning: root.get(b"warning message").and_then(Value::bytes).map(words),
    }))
}

/// Reads the reply to a scrape of `info_hashes`; swarms that it leaves out count as empty.
pub fn decode_scraped(
    body: &[u8],
    info_hashes: &[InfoHash],
) -> Result<Result<Scraped, Refusal>, DecodeError> {
    let document = bencode::decode(body, &Limits::TRACKER_REPLY)?;
    let root = document.root();
    if let Some(refusal) = refusal(root)? {
        return Ok(Err(refusal));
    }
    let files = root.get(b"files");
    let counts = |info_hash: &InfoHash| {
        let swarm = files.and_then(|files| files.get(info_hash.as_bytes()));
        let of = |key: &[u8]| swarm.and_then(|swarm| count(swarm, key)).unwrap_or(0);
        SwarmCounts {
            seeders: of(b"complete"),
            completed: of(b"downloaded"),
            leechers: of(b"incomplete"),
        }
    };
    Ok(Ok(Scraped { swarms: info_hashes.iter().map(counts).collect() }))
}

fn refusal(root: Value<'_, '_>) -> Result<Option<Refusal>, DecodeError> {
    if root.dict().is_none() {
        return Err(DecodeError::invalid("tracker reply", "not a dictionary"));
    }
    let Some(reason) = root.get(b"failure reason").and_then(Value::bytes) else { return Ok(None) };
    let retry = root.get(b"retry in");
    let text = retry.and_then(Value::text);
    let minutes = retry.and_then(Value::int).and_then(|minutes| u32::try_from(minutes).ok());
    let minutes = minutes.or_else(|| text?.parse().ok());
    let retry = match text {
        Some("never") => Some(RetryIn::Never),
        Some(_) | None => minutes.map(RetryIn::Minutes),
    };
    Ok(Some(Refusal { reason: words(reason), retry }))
}

/// A tracker's words for people, fit for a terminal.
fn words(bytes: &[u8]) -> Cow<'static, str> {
    let text = String::from_utf8_lossy(bytes);
    Cow::Owned(text.chars().filter(|c| !c.is_control()).take(WORDS_LEN_MAX).collect())
}

/// A peer as a dictionary. Host names are skipped: nobody looks up names for a tracker.
fn decode_long_peer(peer: Value<'_, '_>) -> Option<TrackedPeer> {
    let ip: IpAddr = peer.get(b"ip")?.text()?.parse().ok()?;
    let port = u16::try_from(peer.get(b"port")?.int()?).ok()?;
    let peer_id = peer.get(b"peer id").and_then(Value::bytes);
    let peer_id = peer_id.and_then(|id| Some(PeerId(<[u8; 20]>::try_from(id).ok()?)));
    Some(TrackedPeer { addr: SocketAddr::new(ip, port), peer_id })
}

fn count(dict: Value<'_, '_>, key: &[u8]) -> Option<u32> {
    u32::try_from(dict.get(key)?.int()?).ok()
}

fn packed_ip(bytes: &[u8]) -> Option<IpAddr> {
    let v4 = <[u8; 4]>::try_from(bytes).map(IpAddr::from);
    v4.or_else(|_| <[u8; 16]>::try_from(bytes).map(IpAddr::from)).ok()
}

/// Some clients take a reply without `peers` for broken, so that is always there.
fn compact_peers(out: &mut Vec<u8>, key: &str, reply: &Announced, family: Family) {
    let peers = || reply.peers.iter().filter(|peer| Family::of(&peer.addr) == family);
    let len = peers().count() * family.peer_len();
    if len == 0 && family == Family::V6 {
        return;
    }
    string(out, key.as_bytes());
    write(out, format_args!("{len}:"));
    peers().for_each(|peer| compact::push(out, peer.addr));
}

fn long_peer(out: &mut Vec<u8>, peer: &TrackedPeer, no_peer_id: bool) {
    out.push(b'd');
    entry(out, "ip", peer.addr.ip().to_string().as_bytes());
    if let Some(peer_id) = peer.peer_id.filter(|_| !no_peer_id) {
        entry(out, "peer id", peer_id.as_bytes());
    }
    number(out, "port", u32::from(peer.addr.port()));
    out.push(b'e');
}

fn number(out: &mut Vec<u8>, key: &str, value: u32) {
    string(out, key.as_bytes());
    write(out, format_args!("i{value}e"));
}

fn entry(out: &mut Vec<u8>, key: &str, value: &[u8]) {
    string(out, key.as_bytes());
    string(out, value);
}

fn string(out: &mut Vec<u8>, bytes: &[u8]) {
    write(out, format_args!("{}:", bytes.len()));
    out.extend_from_slice(bytes);
}

fn write(out: &mut Vec<u8>, text: std::fmt::Arguments<'_>) {
    // Writing to memory cannot fail.
    _ = out.write_fmt(text);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn reply(v4: Vec<u32>, v6: Vec<u128>, numbers: [u32; 4]) -> Announced {
        let ips = v4.into_iter().map(|ip| IpAddr::from(ip.to_be_bytes()));
        let ips = ips.chain(v6.into_iter().map(|ip| IpAddr::from(ip.to_be_bytes())));
        Announced {
            interval: numbers[0],
            min_interval: Some(numbers[1]),
            seeders: numbers[2],
            leechers: numbers[3],
            peers: ips.map(|ip| SocketAddr::new(ip, numbers[0] as u16).into()).collect(),
            external_ip: Some(IpAddr::from([1, 2, 3, 4])),
            warning: Some(Cow::Borrowed("careful")),
        }
    }

    proptest! {
        #[test]
        fn announce_replies_round_trip(
            v4 in prop::collection::vec(any::<u32>(), 0..20),
            v6 in prop::collection::vec(any::<u128>(), 0..20),
            numbers: [u32; 4],
            compact: bool,
        ) {
            let reply = reply(v4, v6, numbers);
            let mut body = Vec::new();
            encode_announced(&mut body, &reply, compact, true);
            let canonical = Limits { form: bencode::Form::Canonical, ..Limits::TRACKER_REPLY };
            prop_assert!(bencode::decode(&body, &canonical).is_ok());
            prop_assert_eq!(decode_announced(&body), Ok(Ok(reply)));
        }

        #[test]
        fn any_bytes_decode_or_fail(body in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = decode_announced(&body);
            let _ = decode_scraped(&body, &[InfoHash([0; 20])]);
        }
    }

    #[test]
    fn the_long_form_has_peer_ids_unless_unwanted() {
        let mut announced = reply(vec![0x0102_0304], vec![], [80, 1, 1, 1]);
        announced.peers[0].peer_id = Some(PeerId([b'x'; 20]));
        let body = |no_peer_id| {
            let mut body = Vec::new();
            encode_announced(&mut body, &announced, false, no_peer_id);
            body
        };
        assert_eq!(decode_announced(&body(false)), Ok(Ok(announced.clone())));
        assert!(body(true).windows(30).any(|w| w == b"5:peersld2:ip7:1.2.3.44:porti8"));
    }

    #[test]
    fn an_empty_reply_still_has_peers() {
        let mut body = Vec::new();
        encode_announced(
            &mut body,
            &Announced { interval: 9, ..Announced::default() },
            true,
            false,
        );
        assert_eq!(body, b"d8:completei0e10:incompletei0e8:intervali9e5:peers0:e");
    }

    #[test]
    fn refusals_say_when_to_try_again() {
        for retry in [None, Some(RetryIn::Never), Some(RetryIn::Minutes(5))] {
            let refusal = Refusal { reason: Cow::Borrowed("not here"), retry };
            let mut body = Vec::new();
            encode_refused(&mut body, &refusal);
            assert_eq!(decode_announced(&body), Ok(Err(refusal.clone())));
            assert_eq!(decode_scraped(&body, &[]), Ok(Err(refusal)));
        }
        let text = decode_announced(b"d14:failure reason3:a\x1bb8:retry in2:15e").unwrap();
        let expected = Refusal { reason: "ab".into(), retry: Some(RetryIn::Minutes(15)) };
        assert_eq!(text, Err(expected));
    }

    #[test]
    fn scraped_swarms_come_back_in_the_order_asked() {
        let (a, b, c) = (InfoHash([9; 20]), InfoHash([1; 20]), InfoHash([5; 20]));
        let counts = |seeders| SwarmCounts { seeders, completed: 2, leechers: 3 };
        let mut body = Vec::new();
        encode_scraped(&mut body, &mut vec![(a, counts(1)), (b, counts(2)), (a, counts(1))]);
        let expected = Scraped { swarms: vec![counts(1), SwarmCounts::default(), counts(2)] };
        assert_eq!(decode_scraped(&body, &[a, c, b]), Ok(Ok(expected)));
        assert!(decode_scraped(b"le", &[a]).is_err());
    }
}
