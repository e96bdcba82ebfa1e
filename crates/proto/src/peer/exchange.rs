//! Peer exchange, `ut_pex` (BEP 11): peers tell each other whom else they are connected to.

use std::net::SocketAddr;

use crate::bencode::{self, DictEncoder, Limits};
use crate::{DecodeError, compact};

/// Addresses that one message may add, and as many that it may drop, both families together.
pub const EXCHANGED_MAX: usize = 50;

/// What changed among a peer's connections since its last message.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PeerExchange {
    /// Peers that it is connected to now.
    pub added: Vec<(SocketAddr, PeerFlags)>,
    /// Peers that it no longer is connected to.
    pub dropped: Vec<SocketAddr>,
}

/// What is known of a peer that is told of.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct PeerFlags {
    /// It prefers encrypted connections.
    pub encrypts: bool,
    /// It only uploads.
    pub seeds: bool,
    /// It speaks uTP (BEP 29).
    pub utp: bool,
    /// It helps others through their NATs (BEP 55).
    pub holepunch: bool,
    /// It was dialled, so it can be reached.
    pub reachable: bool,
}

impl PeerFlags {
    fn decode(byte: u8) -> Self {
        let has = |mask| byte & mask != 0;
        Self {
            encrypts: has(0x01),
            seeds: has(0x02),
            utp: has(0x04),
            holepunch: has(0x08),
            reachable: has(0x10),
        }
    }

    fn encode(self) -> u8 {
        let bit = |set: bool, mask: u8| if set { mask } else { 0 };
        bit(self.encrypts, 0x01)
            | bit(self.seeds, 0x02)
            | bit(self.utp, 0x04)
            | bit(self.holepunch, 0x08)
            | bit(self.reachable, 0x10)
    }
}

impl PeerExchange {
    /// Reads a payload. What is beyond [`EXCHANGED_MAX`] is left out, and so are addresses without a port;
    /// lists of a wrong type are as good as missing.
    pub fn decode(payload: &[u8]) -> Result<Self, DecodeError> {
        let document = bencode::decode(payload, &Limits::MESSAGE)?;
        let root = document.root();
        if root.dict().is_none() {
            return Err(DecodeError::invalid("peer exchange", "not a dictionary"));
        }
        let bytes = |key: &[u8]| root.get(key).and_then(|value| value.bytes()).unwrap_or_default();
        let flags = |key: &[u8]| bytes(key).iter().map(|byte| PeerFlags::decode(*byte));
        let padded = |key: &[u8]| flags(key).chain(std::iter::repeat(PeerFlags::default()));
        let v4 = compact::list_v4(bytes(b"added")).zip(padded(b"added.f"));
        let v6 = compact::list_v6(bytes(b"added6")).zip(padded(b"added6.f"));
        let added = v4.chain(v6).filter(|(addr, _)| addr.port() != 0);
        let dropped =
            compact::list_v4(bytes(b"dropped")).chain(compact::list_v6(bytes(b"dropped6")));
        Ok(Self {
            added: added.take(EXCHANGED_MAX).collect(),
            dropped: dropped.take(EXCHANGED_MAX).collect(),
        })
    }

    /// Appends the payload to send.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let mut root = DictEncoder::new();
        let (added, flags) = self.packed(SocketAddr::is_ipv4);
        let (added6, flags6) = self.packed(SocketAddr::is_ipv6);
        root.bytes(b"added", &added).bytes(b"added.f", &flags);
        root.bytes(b"added6", &added6).bytes(b"added6.f", &flags6);
        root.bytes(b"dropped", &self.packed_dropped(SocketAddr::is_ipv4));
        root.bytes(b"dropped6", &self.packed_dropped(SocketAddr::is_ipv6));
        out.extend_from_slice(&root.finish());
    }

    fn packed(&self, is_of_family: fn(&SocketAddr) -> bool) -> (Vec<u8>, Vec<u8>) {
        let (mut addrs, mut bits) = (Vec::new(), Vec::new());
        for (addr, flags) in self.added.iter().filter(|(addr, _)| is_of_family(addr)) {
            compact::push(&mut addrs, *addr);
            bits.push(flags.encode());
        }
        (addrs, bits)
    }

    fn packed_dropped(&self, is_of_family: fn(&SocketAddr) -> bool) -> Vec<u8> {
        let mut addrs = Vec::new();
        let some = self.dropped.iter().filter(|addr| is_of_family(addr));
        some.for_each(|addr| compact::push(&mut addrs, *addr));
        addrs
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use proptest::prelude::*;

    use super::*;

    fn address() -> impl Strategy<Value = SocketAddr> {
        let port = 1_u16..;
        let v4 = (any::<[u8; 4]>(), port.clone()).prop_map(SocketAddr::from);
        // A mapped address would come back as itself, but no peer has one on the wire.
        let v6 = (any::<[u8; 16]>(), port).prop_map(SocketAddr::from);
        prop_oneof![v4, v6]
    }

    #[test]
    fn the_message_is_as_bep_11_says() {
        let reachable = PeerFlags { seeds: true, reachable: true, ..PeerFlags::default() };
        let message = PeerExchange {
            added: vec![(SocketAddr::from((Ipv4Addr::new(65, 66, 67, 68), 0x4546)), reachable)],
            dropped: vec![SocketAddr::from((Ipv4Addr::new(97, 98, 99, 100), 0x6566))],
        };
        let mut out = Vec::new();
        message.encode(&mut out);
        let expected = b"d5:added6:ABCDEF7:added.f1:\x126:added60:8:added6.f0:\
            7:dropped6:abcdef8:dropped60:e";
        assert_eq!(out.escape_ascii().to_string(), expected.escape_ascii().to_string());
    }

    #[test]
    fn what_is_missing_odd_or_too_much_is_left_out() {
        let odd = PeerExchange::decode(b"d5:addedi3e7:droppedlee").expect("a dictionary");
        assert_eq!(odd, PeerExchange::default());
        let cut = PeerExchange::decode(b"d5:added13:ABCDEFABCDEFAe").expect("a dictionary");
        assert_eq!(cut.added.len(), 2, "without flags");
        assert_eq!(cut.added[0].1, PeerFlags::default());
        let no_port = PeerExchange::decode(b"d5:added6:ABCD\0\0e").expect("a dictionary");
        assert_eq!(no_port.added, []);
        let many = [b"d5:added600:".as_slice(), &b"ABCDEF".repeat(100), b"e"].concat();
        assert_eq!(PeerExchange::decode(&many).expect("a dictionary").added.len(), EXCHANGED_MAX);
        assert!(PeerExchange::decode(b"le").is_err());
        assert!(PeerExchange::decode(b"").is_err());
    }

    proptest! {
        #[test]
        fn messages_round_trip_family_by_family(
            added in prop::collection::vec((address(), 0_u8..32), 0..EXCHANGED_MAX),
            dropped in prop::collection::vec(address(), 0..EXCHANGED_MAX),
        ) {
            let added = added.into_iter().map(|(addr, byte)| (addr, PeerFlags::decode(byte)));
            let mut message = PeerExchange { added: added.collect(), dropped };
            let mut out = Vec::new();
            message.encode(&mut out);
            message.added.sort_by_key(|(addr, _)| addr.is_ipv6());
            message.dropped.sort_by_key(SocketAddr::is_ipv6);
            prop_assert_eq!(PeerExchange::decode(&out), Ok(message));
        }

        #[test]
        fn any_bytes_decode_or_fail(bytes in prop::collection::vec(any::<u8>(), 0..100)) {
            let _ = PeerExchange::decode(&bytes);
        }
    }
}
