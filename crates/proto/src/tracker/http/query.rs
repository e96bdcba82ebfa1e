//! Query strings: announce and scrape requests.

use std::fmt::{Display, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::str::FromStr;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, percent_encode};

use crate::tracker::{Announce, AnnounceEvent, ClaimedAddrs};
use crate::{DecodeError, InfoHash, PeerId};

/// All that RFC 3986 does not call unreserved.
const ESCAPED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// Most swarms in one scrape.
const SCRAPE_MAX: usize = 74;

/// An announce, and in which form its sender wants the peers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AnnounceQuery {
    /// The report.
    pub announce: Announce,
    /// Peers as packed bytes (BEP 23); false only when the sender says `compact=0`.
    pub compact: bool,
    /// No peer ids in the long form, please.
    pub no_peer_id: bool,
}

/// Reads the query of an announce (what follows the `?`).
pub fn decode_announce(query: &str) -> Result<AnnounceQuery, DecodeError> {
    let fields = Fields::of(query);
    let what = "announce";
    let info_hash = fields
        .info_hash
        .and_then(unescape)
        .ok_or(const { DecodeError::invalid("announce", "info_hash is not 20 bytes") })?;
    let peer_id = fields
        .peer_id
        .and_then(unescape)
        .ok_or(const { DecodeError::invalid("announce", "peer_id is not 20 bytes") })?;
    let port = number(fields.port)?
        .ok_or(const { DecodeError::invalid("announce", "port is missing") })?;
    let event = match fields.event {
        None | Some("" | "empty" | "paused") => AnnounceEvent::None,
        Some("started") => AnnounceEvent::Started,
        Some("completed") => AnnounceEvent::Completed,
        Some("stopped") => AnnounceEvent::Stopped,
        Some(_) => return Err(DecodeError::invalid(what, "event is not one of the known ones")),
    };
    let announce = Announce {
        info_hash: InfoHash(info_hash),
        peer_id: PeerId(peer_id),
        port,
        uploaded: number(fields.uploaded)?.unwrap_or(0),
        downloaded: number(fields.downloaded)?.unwrap_or(0),
        left: number(fields.left)?.unwrap_or(u64::MAX),
        event,
        // Negative numbers and nonsense ask for the default.
        num_want: fields.numwant.and_then(|count| count.parse().ok()),
        key: fields.key.and_then(|key| u32::from_str_radix(key, 16).ok()),
        claimed: ClaimedAddrs {
            ip: fields.ip.and_then(text),
            v4: fields.ipv4.and_then(addr::<Ipv4Addr>),
            v6: fields.ipv6.and_then(addr::<Ipv6Addr>),
        },
    };
    let compact = fields.compact != Some("0");
    let no_peer_id = fields.no_peer_id.is_some_and(|flag| flag != "0");
    Ok(AnnounceQuery { announce, compact, no_peer_id })
}

/// The values in an announce's query, as they were sent.
#[derive(Default)]
struct Fields<'q> {
    info_hash: Option<&'q str>,
    peer_id: Option<&'q str>,
    port: Option<&'q str>,
    uploaded: Option<&'q str>,
    downloaded: Option<&'q str>,
    left: Option<&'q str>,
    event: Option<&'q str>,
    numwant: Option<&'q str>,
    key: Option<&'q str>,
    ip: Option<&'q str>,
    ipv4: Option<&'q str>,
    ipv6: Option<&'q str>,
    compact: Option<&'q str>,
    no_peer_id: Option<&'q str>,
}

impl<'q> Fields<'q> {
    /// Of several values of one name the first counts.
    fn of(query: &'q str) -> Self {
        let mut fields = Self::default();
        for (name, value) in pairs(query) {
            let field = match name {
                "info_hash" => &mut fields.info_hash,
                "peer_id" => &mut fields.peer_id,
                "port" => &mut fields.port,
                "uploaded" => &mut fields.uploaded,
                "downloaded" => &mut fields.downloaded,
                "left" => &mut fields.left,
                "event" => &mut fields.event,
                "numwant" => &mut fields.numwant,
                "key" => &mut fields.key,
                "ip" => &mut fields.ip,
                "ipv4" => &mut fields.ipv4,
                "ipv6" => &mut fields.ipv6,
                "compact" => &mut fields.compact,
                "no_peer_id" => &mut fields.no_peer_id,
                _ => continue,
            };
            field.get_or_insert(value);
        }
        fields
    }
}

/// The query of an announce, to be put behind the `?` or `&` of a tracker's URL.
#[must_use]
pub fn announce_query(announce: &Announce) -> String {
    let mut query = String::with_capacity(300);
    let mut push = |key: &str, value: &dyn Display| {
        let separator = if query.is_empty() { "" } else { "&" };
        // Writing to a string cannot fail.
        _ = write!(query, "{separator}{key}={value}");
    };
    push("info_hash", &percent_encode(announce.info_hash.as_bytes(), ESCAPED));
    push("peer_id", &percent_encode(announce.peer_id.as_bytes(), ESCAPED));
    push("port", &announce.port);
    push("uploaded", &announce.uploaded);
    push("downloaded", &announce.downloaded);
    // Many trackers read a signed number.
    push("left", &announce.left.min(i64::MAX as u64));
    push("compact", &1);
    match announce.event {
        AnnounceEvent::None => {}
        AnnounceEvent::Started => push("event", &"started"),
        AnnounceEvent::Completed => push("event", &"completed"),
        AnnounceEvent::Stopped => push("event", &"stopped"),
    }
    if let Some(count) = announce.num_want {
        push("numwant", &count);
    }
    if let Some(key) = announce.key {
        push("key", &format_args!("{key:08X}"));
    }
    let ClaimedAddrs { ip, v4, v6 } = announce.claimed;
    let claimed =
        [("ip", ip.map(|ip| ip.to_string())), ("ipv4", v4.map(claim)), ("ipv6", v6.map(claim))];
    for (key, value) in claimed {
        if let Some(value) = value {
            push(key, &percent_encode(value.as_bytes(), ESCAPED));
        }
    }
    query
}

/// Reads the query of a scrape. An empty one would ask for all swarms there are: refused.
pub fn decode_scrape(query: &str) -> Result<Vec<InfoHash>, DecodeError> {
    let mut info_hashes = Vec::new();
    for (_, value) in pairs(query).filter(|(name, _)| *name == "info_hash") {
        if info_hashes.len() == SCRAPE_MAX {
            return Err(DecodeError::TooLong { what: "scrape", limit: SCRAPE_MAX as u64 });
        }
        let hash = unescape(value)
            .ok_or(const { DecodeError::invalid("scrape", "info_hash is not 20 bytes") })?;
        info_hashes.push(InfoHash(hash));
    }
    if info_hashes.is_empty() {
        return Err(DecodeError::invalid("scrape", "no info_hash is given"));
    }
    Ok(info_hashes)
}

/// The query of a scrape.
#[must_use]
pub fn scrape_query(info_hashes: &[InfoHash]) -> String {
    let hash = |hash: &InfoHash| format!("info_hash={}", percent_encode(hash.as_bytes(), ESCAPED));
    info_hashes.iter().map(hash).collect::<Vec<_>>().join("&")
}

/// Where a tracker answers scrapes (BEP 48): the `announce` that starts the last part of the path
/// becomes `scrape`. `None` when there is no such part.
#[must_use]
pub fn scrape_url(announce_url: &str) -> Option<String> {
    let path_end = announce_url.find(['?', '#']).unwrap_or(announce_url.len());
    let start = announce_url[..path_end].rfind('/')? + 1;
    let rest = announce_url[start..].strip_prefix("announce")?;
    Some(format!("{}scrape{rest}", &announce_url[..start]))
}

fn pairs(query: &str) -> impl Iterator<Item = (&str, &str)> {
    query.split('&').filter_map(|pair| pair.split_once('='))
}

/// Exactly 20 bytes.
fn unescape(value: &str) -> Option<[u8; 20]> {
    let mut bytes = [0; 20];
    let mut decoded = percent_decode_str(value);
    for byte in &mut bytes {
        *byte = decoded.next()?;
    }
    decoded.next().is_none().then_some(bytes)
}

/// A number, if there is a value at all.
fn number<N: FromStr>(value: Option<&str>) -> Result<Option<N>, DecodeError> {
    let refused =
        |_| DecodeError::invalid("announce", "port or a count of bytes is no such number");
    value.map(|value| value.parse().map_err(|_| ()).map_err(refused)).transpose()
}

fn text<T: FromStr>(value: &str) -> Option<T> {
    percent_decode_str(value).decode_utf8().ok()?.parse().ok()
}

/// An address with or without a port, which is 0 then.
fn addr<I: FromStr + Into<IpAddr>>(value: &str) -> Option<SocketAddr> {
    let bare = text::<I>(value).map(|ip| SocketAddr::new(ip.into(), 0));
    bare.or_else(|| text(value))
}

fn claim(addr: SocketAddr) -> String {
    if addr.port() == 0 { addr.ip().to_string() } else { addr.to_string() }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn announces_round_trip(
            ids: ([u8; 20], [u8; 20]),
            numbers: (u16, u64, u64, u32),
            event in 0..4_u8,
            options: (Option<u32>, Option<u32>),
            ips: (Option<u32>, Option<u128>),
        ) {
            let event = match event {
                0 => AnnounceEvent::None,
                1 => AnnounceEvent::Started,
                2 => AnnounceEvent::Completed,
                _ => AnnounceEvent::Stopped,
            };
            let (v4, v6) = (ips.0.map(Ipv4Addr::from_bits), ips.1.map(Ipv6Addr::from_bits));
            let announce = Announce {
                info_hash: InfoHash(ids.0),
                peer_id: PeerId(ids.1),
                port: numbers.0,
                uploaded: numbers.1,
                downloaded: numbers.2,
                left: u64::from(numbers.3),
                event,
                num_want: options.0,
                key: options.1,
                claimed: ClaimedAddrs {
                    ip: v6.map(IpAddr::from),
                    v4: v4.map(|ip| SocketAddr::new(ip.into(), 0)),
                    v6: v6.map(|ip| SocketAddr::new(ip.into(), numbers.0)),
                },
            };
            let expected = AnnounceQuery { announce, compact: true, no_peer_id: false };
            prop_assert_eq!(decode_announce(&announce_query(&announce)), Ok(expected));
        }

        #[test]
        fn scrapes_round_trip(hashes in prop::collection::vec(any::<[u8; 20]>(), 1..74)) {
            let hashes: Vec<_> = hashes.into_iter().map(InfoHash).collect();
            prop_assert_eq!(decode_scrape(&scrape_query(&hashes)), Ok(hashes));
        }

        #[test]
        fn any_query_decodes_or_fails(query in "[a-z_=&%0-9é+]{0,200}") {
            let _ = decode_announce(&query);
            let _ = decode_scrape(&query);
        }
    }

    const HASH: &str = "%124Vx%9A%BC%DE%F1%23Eg%89%AB%CD%EF%124Vx%9A";

    #[test]
    fn a_client_that_escapes_little_is_understood() {
        let query = format!(
            "info_hash={HASH}&peer_id=-TR3000-abcdefghijkl&port=51413&uploaded=0&downloaded=0\
             &left=5&numwant=-1&key=0000beef&compact=0&no_peer_id=1&supportcrypto=1&event=started\
             &ipv6=2001%3Adb8%3A%3A1"
        );
        let decoded = decode_announce(&query).unwrap();
        assert_eq!(
            decoded.announce.info_hash.to_string(),
            "123456789abcdef123456789abcdef123456789a"
        );
        assert_eq!(decoded.announce.peer_id.as_bytes(), b"-TR3000-abcdefghijkl");
        assert_eq!(decoded.announce.event, AnnounceEvent::Started);
        assert_eq!((decoded.announce.num_want, decoded.announce.key), (None, Some(0xbeef)));
        assert_eq!((decoded.compact, decoded.no_peer_id), (false, true));
        assert_eq!(decoded.announce.claimed.v6, "[2001:db8::1]:0".parse().ok());
    }

    #[test]
    fn of_several_values_the_first_counts() {
        let query = format!("info_hash={HASH}&peer_id=-TR3000-abcdefghijkl&port=1&x&=&port=2");
        assert_eq!(decode_announce(&query).unwrap().announce.port, 1);
        let bad_first = query.replace("port=1", "port=x");
        assert!(decode_announce(&bad_first).is_err());
    }

    #[test]
    fn what_a_tracker_needs_must_be_there() {
        let id = "peer_id=-TR3000-abcdefghijkl";
        for bad in [
            String::new(),
            format!("{id}&port=1"),
            format!("info_hash={HASH}&port=1"),
            format!("info_hash={HASH}&{id}"),
            format!("info_hash={HASH}x&{id}&port=1"),
            format!("info_hash={HASH}&{id}&port=65536"),
            format!("info_hash={HASH}&{id}&port=1&left=-1"),
            format!("info_hash={HASH}&{id}&port=1&event=done"),
        ] {
            assert!(decode_announce(&bad).is_err(), "{bad}");
        }
        assert!(decode_scrape("").is_err());
        assert!(decode_scrape("info_hash=abc").is_err());
        assert!(decode_scrape(&scrape_query(&[InfoHash([0; 20]); 75])).is_err());
    }

    #[test]
    fn scrape_urls_follow_bep_48() {
        let check = |url, expected: Option<&str>| {
            assert_eq!(scrape_url(url).as_deref(), expected, "{url}");
        };
        check("http://a/announce", Some("http://a/scrape"));
        check("http://a/x/announce.php?k=/announce", Some("http://a/x/scrape.php?k=/announce"));
        check("http://a/a", None);
        check("http://a/announce/x", None);
        check("", None);
    }
}
