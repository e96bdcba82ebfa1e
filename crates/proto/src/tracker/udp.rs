//! The UDP tracker protocol (BEP 15), both directions, and its URL option (BEP 41).
//!
//! A reply does not say of which family its peers are: that is the family of the socket.

use std::borrow::Cow;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use super::{
    Announce, AnnounceEvent, Announced, ClaimedAddrs, Refusal, Scraped, SwarmCounts, TrackedPeer,
};
use crate::compact;
use crate::reader::Reader;
use crate::{DecodeError, InfoHash, PeerId};

/// Stands in a connect request where others have the connection id.
const MAGIC: u64 = 0x0417_2710_1980;

/// Most swarms in one scrape: as many as fit a packet of 1500 bytes.
pub const SCRAPE_MAX: usize = 74;

/// Most bytes of a path that [`Request::decode`] puts together from URL options.
const URL_DATA_MAX: usize = 1024;

/// Bytes of a reply to an announce before its peers.
pub const ANNOUNCED_HEAD_LEN: usize = 20;

/// What proves that a client receives what is sent to its address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ConnectionId(pub u64);

/// Chosen by the client, repeated by the tracker, so that a reply finds its request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct TransactionId(pub u32);

/// The family of a socket, which is that of the peers in a reply.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Family {
    /// IPv4: six bytes a peer.
    V4,
    /// IPv6: eighteen bytes a peer.
    V6,
}

impl Family {
    /// The family of `addr`; IPv4-mapped addresses are to be IPv4 before they get here.
    #[must_use]
    pub const fn of(addr: &SocketAddr) -> Self {
        match addr {
            SocketAddr::V4(_) => Self::V4,
            SocketAddr::V6(_) => Self::V6,
        }
    }

    /// Bytes that a peer takes in a reply.
    #[must_use]
    pub const fn peer_len(self) -> usize {
        match self {
            Self::V4 => 6,
            Self::V6 => 18,
        }
    }
}

/// The info hash that a packet asks about, the first one of a scrape: where it stands in both, whether the
/// rest of the packet can be read or not.
#[must_use]
pub fn peek_info_hash(packet: &[u8]) -> Option<InfoHash> {
    let asks = matches!(packet.get(8..12)?, [0, 0, 0, 1 | 2]);
    packet.get(16..)?.first_chunk().filter(|_| asks).map(|hash| InfoHash(*hash))
}

/// What a client sends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Request {
    /// Asks for a connection id.
    Connect {
        /// To be repeated.
        transaction: TransactionId,
    },
    /// Reports to a swarm.
    Announce {
        /// From an earlier reply.
        connection: ConnectionId,
        /// To be repeated.
        transaction: TransactionId,
        /// The report.
        announce: Announce,
        /// Path and query of the tracker's URL (BEP 41); empty when not given.
        url_data: String,
    },
    /// Asks for the counts of swarms.
    Scrape {
        /// From an earlier reply.
        connection: ConnectionId,
        /// To be repeated.
        transaction: TransactionId,
        /// The swarms, at most [`SCRAPE_MAX`].
        info_hashes: Vec<InfoHash>,
    },
}

impl Request {
    /// Reads a packet.
    pub fn decode(packet: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new("UDP tracker request", packet);
        let first = reader.u64()?;
        let action = reader.u32()?;
        let transaction = TransactionId(reader.u32()?);
        let connection = ConnectionId(first);
        match action {
            0 if first == MAGIC => Ok(Self::Connect { transaction }),
            0 => Err(invalid("a connect request without its magic number")),
            1 => {
                let announce = decode_announce(&mut reader)?;
                let url_data = decode_options(&mut reader)?;
                Ok(Self::Announce { connection, transaction, announce, url_data })
            }
            2 => {
                let (hashes, rest) = reader.rest().as_chunks::<{ InfoHash::LEN }>();
                if hashes.is_empty() || !rest.is_empty() {
                    return Err(invalid("a scrape needs whole info hashes"));
                }
                if hashes.len() > SCRAPE_MAX {
                    let what = "UDP tracker scrape";
                    return Err(DecodeError::TooLong { what, limit: SCRAPE_MAX as u64 });
                }
                let info_hashes = hashes.iter().map(|hash| InfoHash(*hash)).collect();
                Ok(Self::Scrape { connection, transaction, info_hashes })
            }
            _ => Err(invalid("an unknown action")),
        }
    }

    /// Appends the packet.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let mut head = |first: u64, action: u32, transaction: TransactionId| {
            out.extend_from_slice(&first.to_be_bytes());
            out.extend_from_slice(&action.to_be_bytes());
            out.extend_from_slice(&transaction.0.to_be_bytes());
        };
        match self {
            Self::Connect { transaction } => head(MAGIC, 0, *transaction),
            Self::Announce { connection, transaction, announce, url_data } => {
                head(connection.0, 1, *transaction);
                encode_announce(announce, out);
                encode_options(url_data, out);
            }
            Self::Scrape { connection, transaction, info_hashes } => {
                head(connection.0, 2, *transaction);
                info_hashes.iter().for_each(|hash| out.extend_from_slice(hash.as_bytes()));
            }
        }
    }
}

/// What a tracker sends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Response {
    /// A connection id.
    Connected {
        /// As in the request.
        transaction: TransactionId,
        /// To be used for a minute.
        connection: ConnectionId,
    },
    /// The answer to an announce.
    Announced {
        /// As in the request.
        transaction: TransactionId,
        /// The answer.
        announced: Announced,
    },
    /// The answer to a scrape.
    Scraped {
        /// As in the request.
        transaction: TransactionId,
        /// The answer.
        scraped: Scraped,
    },
    /// A refusal.
    Refused {
        /// As in the request.
        transaction: TransactionId,
        /// Why.
        refusal: Refusal,
    },
}

impl Response {
    /// Reads a packet that came from a tracker over a socket of `family`.
    pub fn decode(packet: &[u8], family: Family) -> Result<Self, DecodeError> {
        let mut reader = Reader::new("UDP tracker reply", packet);
        let action = reader.u32()?;
        let transaction = TransactionId(reader.u32()?);
        Ok(match action {
            0 => Self::Connected { transaction, connection: ConnectionId(reader.u64()?) },
            1 => {
                let announced = decode_announced(&mut reader, family)?;
                Self::Announced { transaction, announced }
            }
            2 => {
                let (swarms, _) = reader.rest().as_chunks::<12>();
                let scraped = Scraped { swarms: swarms.iter().map(decode_counts).collect() };
                Self::Scraped { transaction, scraped }
            }
            3 => {
                let reason = String::from_utf8_lossy(reader.rest());
                let reason = reason.chars().filter(|c| !c.is_control()).take(256).collect();
                let refusal = Refusal { reason: Cow::Owned(reason), retry: None };
                Self::Refused { transaction, refusal }
            }
            _ => return Err(DecodeError::invalid("UDP tracker reply", "an unknown action")),
        })
    }

    /// What the request carried.
    #[must_use]
    pub const fn transaction(&self) -> TransactionId {
        match self {
            Self::Connected { transaction, .. }
            | Self::Announced { transaction, .. }
            | Self::Scraped { transaction, .. }
            | Self::Refused { transaction, .. } => *transaction,
        }
    }
}

/// Appends the reply to a connect request.
pub fn encode_connected(out: &mut Vec<u8>, transaction: TransactionId, connection: ConnectionId) {
    reply_head(out, 0, transaction);
    out.extend_from_slice(&connection.0.to_be_bytes());
}

/// Appends the reply to an announce: the peers of the socket's family, others are left out.
pub fn encode_announced(
    out: &mut Vec<u8>,
    transaction: TransactionId,
    announced: &Announced,
    family: Family,
) {
    reply_head(out, 1, transaction);
    for number in [announced.interval, announced.leechers, announced.seeders] {
        out.extend_from_slice(&number.to_be_bytes());
    }
    for peer in &announced.peers {
        if Family::of(&peer.addr) == family {
            compact::push(out, peer.addr);
        }
    }
}

/// Appends the reply to a scrape.
pub fn encode_scraped(out: &mut Vec<u8>, transaction: TransactionId, swarms: &[SwarmCounts]) {
    reply_head(out, 2, transaction);
    for counts in swarms {
        for number in [counts.seeders, counts.completed, counts.leechers] {
            out.extend_from_slice(&number.to_be_bytes());
        }
    }
}

/// Appends a refusal.
pub fn encode_refused(out: &mut Vec<u8>, transaction: TransactionId, reason: &str) {
    reply_head(out, 3, transaction);
    out.extend_from_slice(reason.as_bytes());
}

const fn invalid(reason: &'static str) -> DecodeError {
    DecodeError::invalid("UDP tracker request", reason)
}

fn reply_head(out: &mut Vec<u8>, action: u32, transaction: TransactionId) {
    out.extend_from_slice(&action.to_be_bytes());
    out.extend_from_slice(&transaction.0.to_be_bytes());
}

fn decode_announce(reader: &mut Reader<'_>) -> Result<Announce, DecodeError> {
    let info_hash = InfoHash(reader.array()?);
    let peer_id = PeerId(reader.array()?);
    let [downloaded, left, uploaded] = [reader.u64()?, reader.u64()?, reader.u64()?];
    let event = match reader.u32()? {
        1 => AnnounceEvent::Completed,
        2 => AnnounceEvent::Started,
        3 => AnnounceEvent::Stopped,
        // What the field may get in future is a regular announce to us.
        _ => AnnounceEvent::None,
    };
    let ip = Ipv4Addr::from(reader.array::<4>()?);
    let ip = (!ip.is_unspecified()).then_some(IpAddr::V4(ip));
    let key = Some(reader.u32()?);
    // Negative asks for the default.
    let num_want = Some(reader.u32()?).filter(|count| *count <= i32::MAX as u32);
    let port = reader.u16()?;
    let claimed = ClaimedAddrs { ip, v4: None, v6: None };
    Ok(Announce {
        info_hash,
        peer_id,
        port,
        uploaded,
        downloaded,
        left,
        event,
        num_want,
        key,
        claimed,
    })
}

fn encode_announce(announce: &Announce, out: &mut Vec<u8>) {
    out.extend_from_slice(announce.info_hash.as_bytes());
    out.extend_from_slice(announce.peer_id.as_bytes());
    // Many trackers read signed numbers.
    let left = announce.left.min(i64::MAX as u64);
    for number in [announce.downloaded, left, announce.uploaded] {
        out.extend_from_slice(&number.to_be_bytes());
    }
    let event: u32 = match announce.event {
        AnnounceEvent::None => 0,
        AnnounceEvent::Completed => 1,
        AnnounceEvent::Started => 2,
        AnnounceEvent::Stopped => 3,
    };
    let ip = match announce.claimed.ip {
        Some(IpAddr::V4(ip)) => ip.to_bits(),
        Some(IpAddr::V6(_)) | None => 0,
    };
    for number in [event, ip, announce.key.unwrap_or(0), announce.num_want.unwrap_or(u32::MAX)] {
        out.extend_from_slice(&number.to_be_bytes());
    }
    out.extend_from_slice(&announce.port.to_be_bytes());
}

/// Reads the options behind an announce (BEP 41): the parts of the URL put together. What is broken
/// ends the list, since older clients leave odd bytes there.
fn decode_options(reader: &mut Reader<'_>) -> Result<String, DecodeError> {
    let mut url_data = Vec::new();
    loop {
        match reader.u8() {
            Ok(1) => {}
            Ok(0) | Err(_) => break,
            Ok(kind) => {
                let Ok(part) = reader.u8().and_then(|len| reader.take(usize::from(len))) else {
                    break;
                };
                if kind == 2 {
                    url_data.extend_from_slice(part);
                }
            }
        }
        if url_data.len() > URL_DATA_MAX {
            let limit = URL_DATA_MAX as u64;
            return Err(DecodeError::TooLong { what: "UDP tracker URL data", limit });
        }
    }
    Ok(String::from_utf8(url_data).unwrap_or_default())
}

fn encode_options(url_data: &str, out: &mut Vec<u8>) {
    for part in url_data.as_bytes().chunks(255) {
        out.extend_from_slice(&[2, part.len() as u8]);
        out.extend_from_slice(part);
    }
}

fn decode_announced(reader: &mut Reader<'_>, family: Family) -> Result<Announced, DecodeError> {
    let (interval, leechers, seeders) = (reader.u32()?, reader.u32()?, reader.u32()?);
    let peers = match family {
        Family::V4 => compact::list_v4(reader.rest()).map(TrackedPeer::from).collect(),
        Family::V6 => compact::list_v6(reader.rest()).map(TrackedPeer::from).collect(),
    };
    Ok(Announced { interval, seeders, leechers, peers, ..Announced::default() })
}

fn decode_counts(bytes: &[u8; 12]) -> SwarmCounts {
    let word =
        |at: usize| u32::from_be_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]);
    SwarmCounts { seeders: word(0), completed: word(4), leechers: word(8) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn announce(numbers: [u64; 3], event: u8, port: u16) -> Announce {
        let event = match event % 4 {
            0 => AnnounceEvent::None,
            1 => AnnounceEvent::Started,
            2 => AnnounceEvent::Completed,
            _ => AnnounceEvent::Stopped,
        };
        Announce {
            info_hash: InfoHash([1; 20]),
            peer_id: PeerId([2; 20]),
            port,
            uploaded: numbers[0],
            downloaded: numbers[1],
            left: numbers[2],
            event,
            num_want: (port != 0).then_some(u32::from(port)),
            key: Some(u32::from(port) * 7),
            claimed: ClaimedAddrs::default(),
        }
    }

    proptest! {
        #[test]
        fn requests_round_trip(
            ids: (u64, u32),
            numbers: [u64; 3],
            event: u8,
            port: u16,
            url_data in "[a-z/?=]{0,600}",
            hashes in prop::collection::vec(any::<[u8; 20]>(), 1..SCRAPE_MAX),
        ) {
            let (connection, transaction) = (ConnectionId(ids.0), TransactionId(ids.1));
            let info_hashes = hashes.into_iter().map(InfoHash).collect();
            let announce = announce(numbers.map(|number| number >> 1), event, port);
            for request in [
                Request::Connect { transaction },
                Request::Announce { connection, transaction, announce, url_data },
                Request::Scrape { connection, transaction, info_hashes },
            ] {
                let mut packet = Vec::new();
                request.encode(&mut packet);
                prop_assert_eq!(Request::decode(&packet), Ok(request));
            }
        }

        #[test]
        fn replies_round_trip(numbers: [u32; 5], v4: [u32; 3], v6: [u128; 2], port: u16) {
            let transaction = TransactionId(numbers[0]);
            let ips = v4.map(|ip| IpAddr::from(ip.to_be_bytes())).into_iter();
            let ips = ips.chain(v6.map(|ip| IpAddr::from(ip.to_be_bytes())));
            let mut announced = Announced {
                interval: numbers[1],
                seeders: numbers[2],
                leechers: numbers[3],
                peers: ips.map(|ip| SocketAddr::from((ip, port)).into()).collect(),
                ..Announced::default()
            };
            let all = announced.peers.clone();
            for family in [Family::V4, Family::V6] {
                let mut packet = Vec::new();
                announced.peers = all.clone();
                encode_announced(&mut packet, transaction, &announced, family);
                announced.peers.retain(|peer| Family::of(&peer.addr) == family);
                let len = ANNOUNCED_HEAD_LEN + announced.peers.len() * family.peer_len();
                prop_assert_eq!(packet.len(), len);
                let announced = announced.clone();
                let expected = Response::Announced { transaction, announced };
                prop_assert_eq!(Response::decode(&packet, family), Ok(expected));
            }
            let swarms =
                vec![SwarmCounts { seeders: numbers[1], completed: numbers[2], leechers: 3 }; 2];
            let mut packet = Vec::new();
            encode_scraped(&mut packet, transaction, &swarms);
            let expected = Response::Scraped { transaction, scraped: Scraped { swarms } };
            prop_assert_eq!(Response::decode(&packet, Family::V4), Ok(expected));
        }

        #[test]
        fn any_bytes_decode_or_fail(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            let _ = Request::decode(&bytes);
            let _ = Response::decode(&bytes, Family::V4);
            let _ = Response::decode(&bytes, Family::V6);
        }
    }

    #[test]
    fn packets_have_the_lengths_of_bep_15() {
        let (connection, transaction) = (ConnectionId(1), TransactionId(2));
        let len = |request: Request| {
            let mut packet = Vec::new();
            request.encode(&mut packet);
            packet.len()
        };
        assert_eq!(len(Request::Connect { transaction }), 16);
        let (announce, url_data) = (announce([0; 3], 0, 6881), String::new());
        assert_eq!(len(Request::Announce { connection, transaction, announce, url_data }), 98);
        let info_hashes = vec![InfoHash([1; 20]); 2];
        assert_eq!(len(Request::Scrape { connection, transaction, info_hashes }), 56);
        let mut packet = Vec::new();
        encode_connected(&mut packet, transaction, connection);
        assert_eq!(packet, [0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 1]);
    }

    #[test]
    fn refusals_lose_control_characters() {
        let mut packet = Vec::new();
        encode_refused(&mut packet, TransactionId(1), "no\x1b[2J way");
        let response = Response::decode(&packet, Family::V4).unwrap();
        let Response::Refused { refusal, .. } = response else { panic!("{response:?}") };
        assert_eq!(refusal.reason, "no[2J way");
    }

    #[test]
    fn malformed_requests_are_refused() {
        let mut connect = Vec::new();
        Request::Connect { transaction: TransactionId(1) }.encode(&mut connect);
        connect[7] ^= 1;
        assert!(Request::decode(&connect).is_err());
        let mut scrape = Vec::new();
        let info_hashes = vec![InfoHash([0; 20]); SCRAPE_MAX + 1];
        let (connection, transaction) = (ConnectionId(1), TransactionId(1));
        Request::Scrape { connection, transaction, info_hashes }.encode(&mut scrape);
        assert!(Request::decode(&scrape).is_err());
        assert!(Request::decode(&scrape[..16]).is_err());
        assert!(Request::decode(&scrape[..17]).is_err());
    }
}
