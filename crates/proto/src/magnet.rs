//! Magnet links (BEP 9, 52, 53): a torrent by its hashes, without its metadata.
//!
//! `xt` names the torrent: `urn:btih:` with a v1 hash in 40 hex digits or 32 of base32, `urn:btmh:`
//! with a v2 hash as a multihash (`1220` and 64 hex digits). Keys that we do not use are skipped;
//! among them `xs` and `as`, which would make us fetch from wherever a stranger likes.

use std::fmt::{self, Write as _};
use std::net::SocketAddr;
use std::str::FromStr;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};

use crate::choice::Numbers;
use crate::metainfo::limits::URL_LEN_MAX;
pub use crate::metainfo::limits::WEB_SEED_COUNT_MAX;
use crate::metainfo::{Metainfo, is_web_seed};
use crate::{DecodeError, InfoHashV1, InfoHashV2, InfoHashes};

/// A magnet link.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Magnet {
    /// What is asked for (`xt`).
    pub hashes: InfoHashes,
    /// A name to show until the metadata is here (`dn`), free of control characters. Not checked
    /// otherwise: never use it as a path.
    pub name: Option<String>,
    /// Tracker URLs (`tr`), at most [`TRACKER_COUNT_MAX`].
    pub trackers: Vec<String>,
    /// Peers to try at once (`x.pe`), at most [`PEER_COUNT_MAX`]. Host names are skipped.
    pub peers: Vec<SocketAddr>,
    /// Web seeds (`ws`; BEP 19), http and https only, at most [`WEB_SEED_COUNT_MAX`].
    pub web_seeds: Vec<String>,
    /// The only files that are wanted (`so`; BEP 53), by [`crate::metainfo::Info::link_number`].
    pub select: Option<Numbers>,
}

/// Longest link in bytes.
pub const LINK_LEN_MAX: usize = 64 * 1024;
/// Most trackers that are kept; more are skipped.
pub const TRACKER_COUNT_MAX: usize = 64;
/// Most peers that are kept; more are skipped.
pub const PEER_COUNT_MAX: usize = 64;
/// Longest name that is kept, in bytes; longer ones are cut.
pub const NAME_LEN_MAX: usize = 1024;

const WHAT: &str = "magnet link";

impl From<InfoHashes> for Magnet {
    fn from(hashes: InfoHashes) -> Self {
        let (trackers, peers, web_seeds) = (Vec::new(), Vec::new(), Vec::new());
        Self { hashes, name: None, trackers, peers, web_seeds, select: None }
    }
}

impl Metainfo {
    /// A link to this torrent, with its name, trackers and web seeds.
    #[must_use]
    pub fn magnet(&self) -> Magnet {
        Magnet {
            name: Some(self.info.name().to_owned()),
            trackers: self.trackers.iter().flatten().cloned().collect(),
            web_seeds: self.web_seeds.clone(),
            ..self.info.hashes().into()
        }
    }
}

impl FromStr for Magnet {
    type Err = DecodeError;

    fn from_str(link: &str) -> Result<Self, Self::Err> {
        if link.len() > LINK_LEN_MAX {
            return Err(DecodeError::TooLong { what: WHAT, limit: LINK_LEN_MAX as u64 });
        }
        let (scheme, query) = link.split_at_checked(8).unwrap_or((link, ""));
        if !scheme.eq_ignore_ascii_case("magnet:?") {
            return Err(DecodeError::invalid(WHAT, "does not start with `magnet:?`"));
        }
        let (mut v1, mut v2) = (None, None);
        let (mut name, mut trackers, mut peers, mut web_seeds) = (None, vec![], vec![], vec![]);
        let mut select = None;
        for pair in query.split('&') {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            // Keys may be numbered: `xt.1`, `tr.2`.
            let plain = key.split_once('.').map_or(key, |(plain, number)| {
                if number.bytes().all(|byte| byte.is_ascii_digit()) { plain } else { key }
            });
            match plain {
                "xt" => add_topic(&decoded(value), &mut v1, &mut v2)?,
                "dn" if name.is_none() => name = shown(&decoded(value)),
                "tr" => add_url(&mut trackers, TRACKER_COUNT_MAX, &decoded(value)),
                "ws" => {
                    let url = decoded(value);
                    if is_web_seed(url.trim()) {
                        add_url(&mut web_seeds, WEB_SEED_COUNT_MAX, &url);
                    }
                }
                "so" if select.is_none() => select = Numbers::decode(&decoded(value)),
                "x.pe" => {
                    if let Some(peer) = decoded(value).parse().ok().filter(is_dialable)
                        && peers.len() < PEER_COUNT_MAX
                        && !peers.contains(&peer)
                    {
                        peers.push(peer);
                    }
                }
                _ => {}
            }
        }
        let hashes = InfoHashes::new(v1, v2)
            .ok_or(DecodeError::invalid(WHAT, "has no BitTorrent hash (`xt=urn:btih:…`)"))?;
        Ok(Self { hashes, name, trackers, peers, web_seeds, select })
    }
}

/// Reads an `xt`. Other networks' hashes are skipped; a second, different hash of one kind is refused,
/// since nobody could tell which of them is meant.
fn add_topic(
    topic: &str,
    v1: &mut Option<InfoHashV1>,
    v2: &mut Option<InfoHashV2>,
) -> Result<(), DecodeError> {
    const TWO: DecodeError = DecodeError::invalid(WHAT, "names two torrents");
    if let Some(text) = strip_prefix(topic, "urn:btih:") {
        let hash = text.parse().ok().or_else(|| base32(text));
        let hash = hash.ok_or(DecodeError::invalid(WHAT, "has a v1 hash of the wrong form"))?;
        if v1.replace(hash).is_some_and(|old| old != hash) {
            return Err(TWO);
        }
    } else if let Some(text) = strip_prefix(topic, "urn:btmh:") {
        let hash = text.strip_prefix("1220").and_then(|hex| hex.parse().ok());
        let hash = hash.ok_or(DecodeError::invalid(WHAT, "has a v2 hash of the wrong form"))?;
        if v2.replace(hash).is_some_and(|old| old != hash) {
            return Err(TWO);
        }
    }
    Ok(())
}

fn strip_prefix<'a>(text: &'a str, prefix: &str) -> Option<&'a str> {
    let (head, rest) = text.split_at_checked(prefix.len())?;
    head.eq_ignore_ascii_case(prefix).then_some(rest)
}

/// 32 digits of RFC 4648 base32, 5 bits each.
fn base32(text: &str) -> Option<InfoHashV1> {
    if text.len() != 32 {
        return None;
    }
    let mut hash = [0; 20];
    let (mut bits, mut held, mut out) = (0_u32, 0, hash.iter_mut());
    for digit in text.bytes() {
        let value = match digit.to_ascii_uppercase() {
            letter @ b'A'..=b'Z' => letter - b'A',
            digit @ b'2'..=b'7' => digit - b'2' + 26,
            _ => return None,
        };
        bits = (bits << 5) | u32::from(value);
        held += 5;
        if held >= 8 {
            held -= 8;
            *out.next()? = (bits >> held) as u8;
        }
    }
    Some(InfoHashV1(hash))
}

/// Percent-decoded, `+` as a space; what is not UTF-8 becomes U+FFFD.
fn decoded(value: &str) -> String {
    let spaced = value.replace('+', " ");
    percent_decode_str(&spaced).decode_utf8_lossy().into_owned()
}

fn shown(name: &str) -> Option<String> {
    let name = name.trim();
    let cut = &name[..name.floor_char_boundary(NAME_LEN_MAX)];
    let clean = crate::metainfo::without_controls(cut);
    (!clean.is_empty()).then_some(clean)
}

fn add_url(urls: &mut Vec<String>, limit: usize, url: &str) {
    let url = url.trim();
    let usable = !url.is_empty() && url.len() <= URL_LEN_MAX && !url.contains(char::is_control);
    if usable && urls.len() < limit && !urls.iter().any(|known| known == url) {
        urls.push(url.to_owned());
    }
}

fn is_dialable(peer: &SocketAddr) -> bool {
    peer.port() != 0 && !peer.ip().is_unspecified() && !peer.ip().is_multicast()
}

/// What stays as it is in a value: what RFC 3986 calls unreserved.
const ESCAPED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

impl fmt::Display for Magnet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("magnet:?")?;
        let v1 = self.hashes.v1().map(|hash| format!("xt=urn:btih:{hash}"));
        let v2 = self.hashes.v2().map(|hash| format!("xt=urn:btmh:1220{hash}"));
        for (number, topic) in v1.into_iter().chain(v2).enumerate() {
            if number > 0 {
                f.write_char('&')?;
            }
            f.write_str(&topic)?;
        }
        if let Some(name) = &self.name {
            write!(f, "&dn={}", utf8_percent_encode(name, ESCAPED))?;
        }
        for tracker in &self.trackers {
            write!(f, "&tr={}", utf8_percent_encode(tracker, ESCAPED))?;
        }
        for seed in &self.web_seeds {
            write!(f, "&ws={}", utf8_percent_encode(seed, ESCAPED))?;
        }
        self.peers.iter().try_for_each(|peer| write!(f, "&x.pe={peer}"))?;
        match &self.select {
            Some(numbers) => write!(f, "&so={numbers}"),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const V1: &str = "0102030405060708090a0b0c0d0e0f1011121314";
    const V2: &str = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f";

    fn hashes(v1: bool, v2: bool) -> InfoHashes {
        let v1 = v1.then(|| V1.parse().unwrap());
        InfoHashes::new(v1, v2.then(|| V2.parse().unwrap())).unwrap()
    }

    fn check(link: &str, expected: Result<InfoHashes, &str>) {
        let found = link.parse::<Magnet>().map(|magnet| magnet.hashes);
        let found = found.map_err(|error| error.to_string());
        assert_eq!(found, expected.map_err(|reason| format!("magnet link: {reason}")), "{link}");
    }

    #[test]
    fn every_form_of_hash_is_read() {
        check(&format!("magnet:?xt=urn:btih:{V1}"), Ok(hashes(true, false)));
        check(&format!("MAGNET:?xt=URN:BTIH:{}", V1.to_uppercase()), Ok(hashes(true, false)));
        check("magnet:?xt=urn:btih:AEBAGBAFAYDQQCIKBMGA2DQPCAIREEYU", Ok(hashes(true, false)));
        check("magnet:?xt=urn:btih:aebagbafaydqqcikbmga2dqpcaireeyu", Ok(hashes(true, false)));
        check(&format!("magnet:?xt=urn%3Abtmh%3A1220{V2}"), Ok(hashes(false, true)));
        let both = format!("magnet:?xt.1=urn:btih:{V1}&xt.2=urn:btmh:1220{V2}");
        check(&both, Ok(hashes(true, true)));
        check(&format!("magnet:?xt=urn:sha1:X&xt=urn:btih:{V1}"), Ok(hashes(true, false)));
    }

    #[test]
    fn links_that_name_no_torrent_are_refused() {
        const NONE: &str = "has no BitTorrent hash (`xt=urn:btih:…`)";
        const FORM_V1: &str = "has a v1 hash of the wrong form";
        const FORM_V2: &str = "has a v2 hash of the wrong form";
        let other = V1.replace("01", "ff");
        let cases = [
            (String::new(), "does not start with `magnet:?`"),
            ("magnet:".into(), "does not start with `magnet:?`"),
            (format!("http://x/?xt=urn:btih:{V1}"), "does not start with `magnet:?`"),
            ("magnet:?".into(), NONE),
            ("magnet:?dn=x".into(), NONE),
            ("magnet:?xt=urn:ed2k:31D6".into(), NONE),
            ("magnet:?xt=urn:btih:".into(), FORM_V1),
            (format!("magnet:?xt=urn:btih:{V1}00"), FORM_V1),
            ("magnet:?xt=urn:btih:AEBAGBAFAYDQQCIKBMGA2DQPCAIREEY1".into(), FORM_V1),
            (format!("magnet:?xt=urn:btih:{}", "é".repeat(16)), FORM_V1),
            (format!("magnet:?xt=urn:btmh:1114{V1}"), FORM_V2),
            (format!("magnet:?xt=urn:btmh:{V2}"), FORM_V2),
            (format!("magnet:?xt=urn:btih:{V1}&xt=urn:btih:{other}"), "names two torrents"),
            (format!("magnet:?{}", "a".repeat(1 << 16)), "more than the limit of 65536"),
        ];
        for (link, reason) in cases {
            check(&link, Err(reason));
        }
    }

    #[test]
    fn what_stands_beside_the_hash_is_bounded_and_cleaned() {
        let mut link = format!("magnet:?xt=urn:btih:{V1}&dn=a+b%1b%5b2J%e2%80%aec&dn=second");
        link.push_str("&xs=http://10.0.0.1/x&so=0-99999999999&unknown&x.pe=host:1&x.pe=1.2.3.4:0");
        link.push_str("&x.pe=127.0.0.2:6881&x.pe=%5B::1%5D:6881&x.pe=127.0.0.2:6881&tr=&tr=a%0ab");
        for number in 0..100 {
            write!(link, "&tr=udp://t{number}:1/&ws=file:///{number}&ws=http://w{number}/&x.pe=10.0.0.{number}:9")
                .unwrap();
        }
        let magnet: Magnet = link.parse().unwrap();
        assert_eq!(magnet.name.as_deref(), Some("a b\u{fffd}[2J\u{fffd}c"));
        assert_eq!(magnet.select, None, "no such file can be");
        assert_eq!(magnet.trackers.len(), TRACKER_COUNT_MAX);
        assert_eq!(magnet.trackers[0], "udp://t0:1/");
        assert_eq!(magnet.web_seeds.len(), WEB_SEED_COUNT_MAX);
        assert_eq!(magnet.peers.len(), PEER_COUNT_MAX);
        assert_eq!(magnet.peers[..2], ["127.0.0.2:6881", "[::1]:6881"].map(|p| p.parse().unwrap()));
    }

    #[test]
    fn files_are_selected_as_others_write_it() {
        // libtorrent, and the example of BEP 53.
        for (so, expected) in
            [("0,2,4,6-8", "0,2,4,6-8"), ("0%2C2%2C4%2C6-8", "0,2,4,6-8"), ("3", "3")]
        {
            let magnet: Magnet = format!("magnet:?xt=urn:btih:{V1}&so={so}").parse().unwrap();
            let shown = magnet.select.as_ref().map(ToString::to_string);
            assert_eq!(shown.as_deref(), Some(expected));
            assert!(magnet.to_string().ends_with(&format!("&so={expected}")));
        }
    }

    proptest! {
        #[test]
        fn links_round_trip(
            v1: bool,
            select in proptest::collection::btree_set(0_u32..50, 0..9),
            name in proptest::option::of("[^\\p{C}\\p{Z}]{1,20}"),
            trackers in proptest::collection::btree_set("[a-z]{3,4}://[!-~]{1,20}", 0..4),
            peers in proptest::collection::btree_set(("[1-9][0-9]", 1_u16..), 0..4),
        ) {
            let peers = peers.iter().map(|(host, port)| format!("10.0.0.{host}:{port}"));
            let magnet = Magnet {
                name,
                trackers: trackers.into_iter().collect(),
                peers: peers.map(|peer| peer.parse().unwrap()).collect(),
                select: Numbers::of(select),
                ..hashes(v1, true).into()
            };
            prop_assert_eq!(magnet.to_string().parse(), Ok(magnet));
        }

        #[test]
        fn any_text_is_an_error_or_a_link(tail in "\\PC{0,60}") {
            let _ = tail.parse::<Magnet>();
            let _ = format!("magnet:?xt={tail}").parse::<Magnet>();
        }
    }
}
