//! The extension protocol: its handshake (BEP 10), metadata exchange (BEP 9), upload-only (BEP 21)
//! and `lt_donthave` (BEP 54).
//!
//! Each side chooses the numbers under which it wants to receive an extension's messages; ours are
//! fixed ([`local`]).

use std::net::IpAddr;

use crate::bencode::{self, DictEncoder, Limits, Value};
use crate::reader::Reader;
use crate::{DecodeError, PieceIndex};

/// The numbers under which we receive extension messages.
pub mod local {
    /// The handshake, which may come again.
    pub const HANDSHAKE: u8 = 0;
    /// `ut_metadata`.
    pub const METADATA: u8 = 1;
    /// `lt_donthave`.
    pub const DONT_HAVE: u8 = 2;
    /// `upload_only`.
    pub const UPLOAD_ONLY: u8 = 3;
    /// `ut_pex`.
    pub const EXCHANGE: u8 = 4;
    /// `ut_holepunch`.
    pub const HOLE_PUNCH: u8 = 5;
    /// `teem_slots` (`docs/protocols/slots.md`).
    pub const SLOTS: u8 = 6;
}

/// Bytes in a part of the info dictionary; the last part may be short (BEP 9).
pub const METADATA_PART_LEN: u32 = 16 * 1024;

/// The longest info dictionary that is fetched or served, in bytes. A hybrid of 100,000 small files has 20
/// MiB and more; libtorrent fetches as much.
pub const METADATA_LEN_MAX: u32 = 32 * 1024 * 1024;

/// The longest client name that is kept, in characters.
const CLIENT_LEN_MAX: usize = 64;

/// What a side says about itself, when a connection starts and when something changes. What is not
/// there is as it was before.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ExtensionHandshake {
    /// The number for `ut_metadata` messages; 0 turns it off.
    pub ut_metadata: Option<u8>,
    /// The number for `lt_donthave` messages; 0 turns it off.
    pub lt_donthave: Option<u8>,
    /// The number for `upload_only` messages; 0 turns it off.
    pub upload_only_id: Option<u8>,
    /// The number for `ut_pex` messages; 0 turns it off.
    pub ut_pex: Option<u8>,
    /// The number for `ut_holepunch` messages; 0 turns it off.
    pub ut_holepunch: Option<u8>,
    /// The number for `teem_slots` messages; 0 turns it off.
    pub teem_slots: Option<u8>,
    /// Length of the info dictionary in bytes. 0 and what does not fit count as not known.
    pub metadata_len: Option<u32>,
    /// The port that the sender listens on.
    pub listen_port: Option<u16>,
    /// Outstanding requests that the sender accepts.
    pub reqq: Option<u32>,
    /// The longest run of neighbouring blocks, in bytes, that the sender takes in one message and gives in
    /// one (`docs/protocols/runs.md`).
    pub run_len: Option<u32>,
    /// The sender wants nothing more.
    pub upload_only: Option<bool>,
    /// Name and version of the sender, at most 64 characters, none of them control characters.
    pub client: Option<String>,
    /// The receiver's address, as the sender sees it.
    pub your_ip: Option<IpAddr>,
}

impl ExtensionHandshake {
    /// Reads the payload of a handshake. Entries of a wrong type are as good as missing: peers write
    /// all kinds of things here.
    pub fn decode(payload: &[u8]) -> Result<Self, DecodeError> {
        let document = bencode::decode(payload, &Limits::MESSAGE)?;
        let root = document.root();
        if root.dict().is_none() {
            return Err(DecodeError::invalid("extension handshake", "not a dictionary"));
        }
        let ids = root.get(b"m");
        let id = |name: &[u8]| ids.and_then(|ids| number(ids, name));
        Ok(Self {
            ut_metadata: id(b"ut_metadata"),
            lt_donthave: id(b"lt_donthave"),
            upload_only_id: id(b"upload_only"),
            ut_pex: id(b"ut_pex"),
            ut_holepunch: id(b"ut_holepunch"),
            teem_slots: id(b"teem_slots"),
            metadata_len: number(root, b"metadata_size").filter(|len| *len > 0),
            listen_port: number(root, b"p").filter(|port| *port > 0),
            reqq: number(root, b"reqq"),
            run_len: number(root, b"teem_run"),
            upload_only: number::<i64>(root, b"upload_only").map(|flag| flag != 0),
            client: bytes(root, b"v").map(client_name).filter(|name| !name.is_empty()),
            your_ip: bytes(root, b"yourip").and_then(address),
        })
    }

    /// Appends the payload to send.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let mut ids = DictEncoder::new();
        insert(&mut ids, b"ut_metadata", self.ut_metadata);
        insert(&mut ids, b"ut_pex", self.ut_pex);
        insert(&mut ids, b"ut_holepunch", self.ut_holepunch);
        insert(&mut ids, b"lt_donthave", self.lt_donthave);
        insert(&mut ids, b"upload_only", self.upload_only_id);
        insert(&mut ids, b"teem_slots", self.teem_slots);
        let mut root = DictEncoder::new();
        root.dict(b"m", &ids);
        insert(&mut root, b"metadata_size", self.metadata_len);
        insert(&mut root, b"p", self.listen_port);
        insert(&mut root, b"reqq", self.reqq);
        insert(&mut root, b"teem_run", self.run_len);
        insert(&mut root, b"upload_only", self.upload_only);
        if let Some(client) = &self.client {
            root.bytes(b"v", client.as_bytes());
        }
        match self.your_ip {
            Some(IpAddr::V4(ip)) => _ = root.bytes(b"yourip", &ip.octets()),
            Some(IpAddr::V6(ip)) => _ = root.bytes(b"yourip", &ip.octets()),
            None => {}
        }
        out.extend_from_slice(&root.finish());
    }
}

/// A message of `ut_metadata` (BEP 9).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MetadataMessage<'a> {
    /// Asks for a part of the info dictionary.
    Request(u32),
    /// A part of it.
    Data {
        /// Which part.
        part: u32,
        /// Length of the whole info dictionary, where the sender says it.
        total_len: Option<u32>,
        /// The part's bytes.
        data: &'a [u8],
    },
    /// The sender does not give that part.
    Reject(u32),
    /// A kind that BEP 9 does not name, to be ignored.
    Unknown,
}

impl<'a> MetadataMessage<'a> {
    /// Reads a payload: a dictionary, then, for [`MetadataMessage::Data`], the bytes.
    pub fn decode(payload: &'a [u8]) -> Result<Self, DecodeError> {
        let what = "metadata message";
        let (document, data) = bencode::decode_prefix(payload, &Limits::MESSAGE)?;
        let root = document.root();
        let (Some(kind), Some(part)) = (number::<i64>(root, b"msg_type"), number(root, b"piece"))
        else {
            return Err(DecodeError::invalid(what, "kind or part is missing"));
        };
        if kind != 1 && !data.is_empty() {
            return Err(DecodeError::Trailing { what });
        }
        Ok(match kind {
            0 => Self::Request(part),
            1 => Self::Data { part, total_len: number(root, b"total_size"), data },
            2 => Self::Reject(part),
            _ => Self::Unknown,
        })
    }

    /// Appends the payload to send.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let (kind, part, total_len, data) = match *self {
            Self::Request(part) => (0, part, None, &[] as &[u8]),
            Self::Data { part, total_len, data } => (1, part, total_len, data),
            Self::Reject(part) => (2, part, None, &[] as &[u8]),
            Self::Unknown => return,
        };
        let mut root = DictEncoder::new();
        root.int(b"msg_type", kind);
        root.int(b"piece", i64::from(part));
        insert(&mut root, b"total_size", total_len);
        out.extend_from_slice(&root.finish());
        out.extend_from_slice(data);
    }
}

/// Reads the payload of `lt_donthave`.
pub fn decode_dont_have(payload: &[u8]) -> Result<PieceIndex, DecodeError> {
    let mut reader = Reader::new("lt_donthave message", payload);
    let piece = PieceIndex(reader.u32()?);
    reader.finish()?;
    Ok(piece)
}

/// Reads the payload of `upload_only`.
pub fn decode_upload_only(payload: &[u8]) -> Result<bool, DecodeError> {
    let mut reader = Reader::new("upload_only message", payload);
    let flag = reader.u8()?;
    reader.finish()?;
    Ok(flag != 0)
}

fn bytes<'a>(dict: Value<'a, '_>, key: &[u8]) -> Option<&'a [u8]> {
    dict.get(key)?.bytes()
}

fn number<N: TryFrom<i64>>(dict: Value<'_, '_>, key: &[u8]) -> Option<N> {
    dict.get(key)?.int().and_then(|number| N::try_from(number).ok())
}

fn client_name(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    text.chars().filter(|c| !c.is_control()).take(CLIENT_LEN_MAX).collect()
}

fn address(bytes: &[u8]) -> Option<IpAddr> {
    let v4 = <[u8; 4]>::try_from(bytes).map(IpAddr::from);
    v4.or_else(|_| <[u8; 16]>::try_from(bytes).map(IpAddr::from)).ok()
}

fn insert<N: Into<i64>>(dict: &mut DictEncoder, key: &[u8], number: Option<N>) {
    if let Some(number) = number {
        dict.int(key, number.into());
    }
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, Ipv6Addr};

    use proptest::prelude::*;

    use super::*;

    fn encoded(handshake: &ExtensionHandshake) -> Vec<u8> {
        let mut out = Vec::new();
        handshake.encode(&mut out);
        out
    }

    #[test]
    fn a_handshake_is_a_sorted_dictionary() {
        let handshake = ExtensionHandshake {
            ut_metadata: Some(local::METADATA),
            lt_donthave: Some(local::DONT_HAVE),
            upload_only_id: Some(local::UPLOAD_ONLY),
            ut_pex: Some(local::EXCHANGE),
            ut_holepunch: Some(local::HOLE_PUNCH),
            teem_slots: Some(local::SLOTS),
            metadata_len: Some(31_235),
            listen_port: Some(6881),
            reqq: Some(2000),
            run_len: Some(262_144),
            upload_only: Some(true),
            client: Some("Teem/1".to_owned()),
            your_ip: Some(Ipv4Addr::new(65, 66, 67, 68).into()),
        };
        let expected = b"d1:md11:lt_donthavei2e10:teem_slotsi6e11:upload_onlyi3e12:ut_holepunchi5e\
            11:ut_metadatai1e6:ut_pexi4ee\
            13:metadata_sizei31235e1:pi6881e4:reqqi2000e8:teem_runi262144e11:upload_onlyi1e1:v6:Teem/1\
            6:yourip4:ABCDe";
        assert_eq!(encoded(&handshake), expected);
    }

    #[test]
    fn entries_of_a_wrong_type_are_as_good_as_missing() {
        let odd = b"d1:m3:abc13:metadata_sizei-1e1:pi70000e4:reqq1:x1:vi3e6:yourip3:abce";
        assert_eq!(ExtensionHandshake::decode(odd), Ok(ExtensionHandshake::default()));
        assert!(ExtensionHandshake::decode(b"i3e").is_err());
        assert!(ExtensionHandshake::decode(b"").is_err());
    }

    #[test]
    fn client_names_lose_control_characters_and_excess() {
        let mut payload = b"d1:v100:\x1b[31m\n".to_vec();
        payload.resize(payload.len() + 94, b'a');
        payload.push(b'e');
        let client = ExtensionHandshake::decode(&payload).unwrap().client.unwrap();
        assert_eq!(client.len(), 64);
        assert!(client.starts_with("[31ma"));
    }

    #[test]
    fn metadata_messages_travel_as_bep_9_says() {
        let data = MetadataMessage::Data { part: 2, total_len: Some(34_256), data: b"xyz" };
        let mut out = Vec::new();
        data.encode(&mut out);
        assert_eq!(out, b"d8:msg_typei1e5:piecei2e10:total_sizei34256eexyz");
        assert!(MetadataMessage::decode(b"d8:msg_typei0e5:piecei2eex").is_err());
        assert!(MetadataMessage::decode(b"d8:msg_typei0ee").is_err());
        assert!(MetadataMessage::decode(b"d8:msg_typei0e5:piecei-1ee").is_err());
        let unknown = MetadataMessage::decode(b"d8:msg_typei9e5:piecei0ee");
        assert_eq!(unknown, Ok(MetadataMessage::Unknown));
    }

    #[test]
    fn single_value_messages_have_an_exact_length() {
        assert_eq!(decode_dont_have(&[0, 0, 1, 0]), Ok(PieceIndex(256)));
        assert!(decode_dont_have(&[0, 0, 1]).is_err());
        assert!(decode_dont_have(&[0, 0, 1, 0, 0]).is_err());
        assert_eq!(decode_upload_only(&[1]), Ok(true));
        assert!(decode_upload_only(&[]).is_err());
    }

    proptest! {
        #[test]
        fn handshakes_round_trip(
            ids: [Option<u8>; 6],
            numbers: (Option<u32>, Option<u16>, Option<u32>, Option<u32>),
            upload_only: Option<bool>,
            client in prop::option::of("[a-z/é]{1,20}"),
            ip: Option<u128>,
        ) {
            let handshake = ExtensionHandshake {
                ut_metadata: ids[0],
                lt_donthave: ids[1],
                upload_only_id: ids[2],
                ut_pex: ids[3],
                ut_holepunch: ids[4],
                teem_slots: ids[5],
                metadata_len: numbers.0.filter(|len| *len > 0),
                listen_port: numbers.1.filter(|port| *port > 0),
                reqq: numbers.2,
                run_len: numbers.3,
                upload_only,
                client,
                your_ip: ip.map(|bits| IpAddr::V6(Ipv6Addr::from_bits(bits))),
            };
            prop_assert_eq!(ExtensionHandshake::decode(&encoded(&handshake)), Ok(handshake));
        }

        #[test]
        fn metadata_messages_round_trip(
            kind in 0..3_u8,
            part: u32,
            total_len: Option<u32>,
            data in prop::collection::vec(any::<u8>(), 0..50),
        ) {
            let message = match kind {
                0 => MetadataMessage::Request(part),
                1 => MetadataMessage::Data { part, total_len, data: &data },
                _ => MetadataMessage::Reject(part),
            };
            let mut out = Vec::new();
            message.encode(&mut out);
            prop_assert_eq!(MetadataMessage::decode(&out), Ok(message));
        }

        #[test]
        fn any_bytes_decode_or_fail(bytes in prop::collection::vec(any::<u8>(), 0..100)) {
            let _ = ExtensionHandshake::decode(&bytes);
            let _ = MetadataMessage::decode(&bytes);
        }
    }
}
