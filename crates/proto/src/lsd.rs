//! Local service discovery (BEP 14): a peer tells all hosts of its network which torrents it has.
//!
//! The form is that of a request of HTTP in one datagram, sent to a multicast group.

use std::fmt::Write as _;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use crate::{DecodeError, InfoHash};

/// Where IPv4 hosts hear it.
pub const GROUP_V4: Ipv4Addr = Ipv4Addr::new(239, 192, 152, 143);
/// Where IPv6 hosts hear it: in the same site.
pub const GROUP_V6: Ipv6Addr = Ipv6Addr::new(0xff15, 0, 0, 0, 0, 0, 0xefc0, 0x988f);
/// The port of both.
pub const PORT: u16 = 6771;

/// Info hashes in one message: it stays within the 1,400 bytes that BEP 14 allows.
pub const HASHES_MAX: usize = 20;

/// The longest datagram that is read.
pub const MESSAGE_LEN_MAX: usize = 1_400;

/// What is known of the sender's cookie, in bytes; more is cut off.
const COOKIE_LEN_MAX: usize = 64;

const FIRST_LINE: &str = "BT-SEARCH * HTTP/1.1";
const WHAT: &str = "local discovery message";

/// "Here I am, with these."
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Announcement {
    /// The port that the sender listens on for peers.
    pub port: u16,
    /// Its torrents, at most [`HASHES_MAX`].
    pub hashes: Vec<InfoHash>,
    /// By which a sender knows its own messages.
    pub cookie: Option<String>,
}

impl Announcement {
    /// Reads a datagram. Headers that mean nothing here are ignored, and so are hashes beyond
    /// [`HASHES_MAX`].
    ///
    /// # Errors
    /// When it is no such message, or lacks a port or a hash.
    pub fn decode(datagram: &[u8]) -> Result<Self, DecodeError> {
        let invalid = |reason| DecodeError::invalid(WHAT, reason);
        if datagram.len() > MESSAGE_LEN_MAX {
            return Err(invalid("longer than 1,400 bytes"));
        }
        let text = std::str::from_utf8(datagram).map_err(|_| invalid("not a text"))?;
        let mut lines = text.split("\r\n");
        if lines.next() != Some(FIRST_LINE) {
            return Err(invalid("no BT-SEARCH"));
        }
        let (mut port, mut hashes, mut cookie) = (None, Vec::new(), None);
        for line in lines.take_while(|line| !line.is_empty()) {
            let Some((name, value)) = line.split_once(':') else {
                return Err(invalid("a header without a colon"));
            };
            let value = value.trim();
            if name.eq_ignore_ascii_case("port") {
                port = value.parse().ok().filter(|port| *port != 0);
            } else if name.eq_ignore_ascii_case("infohash") {
                let hash =
                    value.parse().map_err(|_| invalid("an info hash of other than 40 digits"))?;
                if hashes.len() < HASHES_MAX {
                    hashes.push(hash);
                }
            } else if name.eq_ignore_ascii_case("cookie") {
                cookie = Some(value.chars().take(COOKIE_LEN_MAX).collect());
            }
        }
        let port = port.ok_or_else(|| invalid("no port"))?;
        if hashes.is_empty() {
            return Err(invalid("no info hash"));
        }
        Ok(Self { port, hashes, cookie })
    }

    /// The datagram to send to one of the groups.
    #[must_use]
    pub fn encode(&self, group: IpAddr) -> Vec<u8> {
        let host = SocketAddr::new(group, PORT);
        let mut text = format!("{FIRST_LINE}\r\nHost: {host}\r\nPort: {}\r\n", self.port);
        for hash in self.hashes.iter().take(HASHES_MAX) {
            // Writing to a string cannot fail.
            let _ = write!(text, "Infohash: {hash}\r\n");
        }
        if let Some(cookie) = &self.cookie {
            let _ = write!(text, "cookie: {cookie}\r\n");
        }
        text.push_str("\r\n\r\n");
        text.into_bytes()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn announcement(hashes: usize) -> Announcement {
        let hashes = (0..hashes).map(|number| InfoHash([number as u8; 20])).collect();
        Announcement { port: 6881, hashes, cookie: Some("me".to_owned()) }
    }

    #[test]
    fn the_message_is_as_bep_14_says() {
        let expected = "BT-SEARCH * HTTP/1.1\r\nHost: 239.192.152.143:6771\r\nPort: 6881\r\n\
            Infohash: 0000000000000000000000000000000000000000\r\ncookie: me\r\n\r\n\r\n";
        let encoded = announcement(1).encode(GROUP_V4.into());
        assert_eq!(String::from_utf8(encoded).unwrap(), expected);
        let v6 = announcement(1).encode(GROUP_V6.into());
        assert!(String::from_utf8(v6).unwrap().contains("\r\nHost: [ff15::efc0:988f]:6771\r\n"));
    }

    #[test]
    fn a_full_message_is_short_enough() {
        let full = announcement(HASHES_MAX);
        let encoded = full.encode(GROUP_V6.into());
        assert!(encoded.len() <= MESSAGE_LEN_MAX, "{}", encoded.len());
        assert_eq!(Announcement::decode(&encoded), Ok(full));
    }

    #[test]
    fn others_write_it_in_other_ways() {
        let text = "BT-SEARCH * HTTP/1.1\r\nhost:239.192.152.143:6771\r\nINFOHASH:\
            AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\r\nX: y\r\nport:51413\r\n\r\n";
        let read = Announcement::decode(text.as_bytes()).unwrap();
        let expected =
            Announcement { port: 51413, hashes: vec![InfoHash([0xaa; 20])], cookie: None };
        assert_eq!(read, expected);
    }

    #[test]
    fn what_is_not_one_is_refused() {
        let hash = "Infohash: aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\r\n";
        for (text, reason) in [
            (String::new(), "no BT-SEARCH"),
            ("M-SEARCH * HTTP/1.1\r\n\r\n".to_owned(), "no BT-SEARCH"),
            (format!("{FIRST_LINE}\r\n{hash}\r\n"), "no port"),
            (format!("{FIRST_LINE}\r\nPort: 0\r\n{hash}\r\n"), "no port"),
            (format!("{FIRST_LINE}\r\nPort: 1\r\n\r\n{hash}"), "no info hash"),
            (format!("{FIRST_LINE}\r\nPort: 1\r\nInfohash: 12\r\n"), "other than 40 digits"),
            (format!("{FIRST_LINE}\r\nPort\r\n"), "without a colon"),
            (format!("{FIRST_LINE}\r\nX: {}", "y".repeat(1_400)), "longer than"),
        ] {
            let error = Announcement::decode(text.as_bytes()).unwrap_err().to_string();
            assert!(error.contains(reason), "{text:?}: {error}");
        }
        assert!(Announcement::decode(b"\xff").is_err());
    }

    proptest! {
        #[test]
        fn any_bytes_decode_or_fail(
            start in prop_oneof![Just(""), Just("BT-SEARCH * HTTP/1.1\r\nPort: 1\r\nInfohash: ")],
            rest in prop::collection::vec(any::<u8>(), 0..100),
        ) {
            let _ = Announcement::decode(&[start.as_bytes(), &rest].concat());
        }
    }
}
