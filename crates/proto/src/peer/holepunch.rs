//! Hole punching, `ut_holepunch` (BEP 55): two peers behind NATs meet by the word of a third one that both
//! are connected to.

use std::net::{IpAddr, SocketAddr};

use crate::DecodeError;
use crate::reader::Reader;

/// A message of `ut_holepunch`. Addresses are where a peer is reached over uTP.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HolePunch {
    /// To a third peer: have the peer at that address connect to us while we connect to it.
    Rendezvous(SocketAddr),
    /// From the third peer, to both: connect to that address at once.
    Connect(SocketAddr),
    /// From the third peer: a rendezvous with that address does not come about.
    Failed(SocketAddr, PunchError),
    /// A kind that BEP 55 does not name, to be ignored.
    Unknown,
}

/// Why a rendezvous does not come about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PunchError {
    /// It is the address of no peer.
    #[error("no such peer")]
    NoSuchPeer,
    /// The third peer is not connected to it.
    #[error("not connected to that peer")]
    NotConnected,
    /// The peer there does not have the extension.
    #[error("that peer does not have the extension")]
    NoSupport,
    /// It is the address of who asked, or of who was asked.
    #[error("that is one of us")]
    NoSelf,
    /// A number that BEP 55 does not name.
    #[error("error {0}")]
    Other(u32),
}

impl HolePunch {
    /// Reads a payload. Whoever has no error to tell may leave its number out, as libtorrent does, and what
    /// comes behind it is for later versions.
    ///
    /// # Errors
    /// When it is cut, or the address is of an unknown family.
    pub fn decode(payload: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(WHAT, payload);
        let kind = reader.u8()?;
        let ip = match reader.u8()? {
            V4 => IpAddr::from(reader.array::<4>()?),
            V6 => IpAddr::from(reader.array::<16>()?),
            _ => return Err(DecodeError::invalid(WHAT, "an unknown family of addresses")),
        };
        let addr = SocketAddr::new(ip, reader.u16()?);
        Ok(match kind {
            RENDEZVOUS => Self::Rendezvous(addr),
            CONNECT => Self::Connect(addr),
            FAILED => Self::Failed(addr, PunchError::from_number(reader.u32()?)),
            _ => Self::Unknown,
        })
    }

    /// Appends the payload to send.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let (kind, addr, error) = match *self {
            Self::Rendezvous(addr) => (RENDEZVOUS, addr, 0),
            Self::Connect(addr) => (CONNECT, addr, 0),
            Self::Failed(addr, error) => (FAILED, addr, error.number()),
            Self::Unknown => return,
        };
        out.extend_from_slice(&[kind, if addr.is_ipv4() { V4 } else { V6 }]);
        crate::compact::push(out, addr);
        out.extend_from_slice(&error.to_be_bytes());
    }
}

impl PunchError {
    const fn from_number(number: u32) -> Self {
        match number {
            1 => Self::NoSuchPeer,
            2 => Self::NotConnected,
            3 => Self::NoSupport,
            4 => Self::NoSelf,
            other => Self::Other(other),
        }
    }

    const fn number(self) -> u32 {
        match self {
            Self::NoSuchPeer => 1,
            Self::NotConnected => 2,
            Self::NoSupport => 3,
            Self::NoSelf => 4,
            Self::Other(other) => other,
        }
    }
}

const WHAT: &str = "hole punch message";
const RENDEZVOUS: u8 = 0;
const CONNECT: u8 = 1;
const FAILED: u8 = 2;
const V4: u8 = 0;
const V6: u8 = 1;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn encoded(message: HolePunch) -> Vec<u8> {
        let mut out = Vec::new();
        message.encode(&mut out);
        out
    }

    fn addr(text: &str) -> SocketAddr {
        text.parse().expect("an address")
    }

    #[test]
    fn messages_are_as_bep_55_says() {
        let v4 = addr("97.98.99.100:25958");
        assert_eq!(encoded(HolePunch::Rendezvous(v4)), b"\0\0abcdef\0\0\0\0");
        assert_eq!(encoded(HolePunch::Connect(v4)), b"\x01\0abcdef\0\0\0\0");
        let failed = HolePunch::Failed(v4, PunchError::NoSupport);
        assert_eq!(encoded(failed), b"\x02\0abcdef\0\0\0\x03");
        let v6 = addr("[6162:6364:6566:6768:696a:6b6c:6d6e:6f70]:29042");
        assert_eq!(encoded(HolePunch::Connect(v6)), b"\x01\x01abcdefghijklmnopqr\0\0\0\0");
    }

    #[test]
    fn only_an_error_needs_its_number() {
        let at = addr("97.98.99.100:25958");
        assert_eq!(HolePunch::decode(b"\0\0abcdef"), Ok(HolePunch::Rendezvous(at)));
        assert_eq!(HolePunch::decode(b"\x01\0abcdef"), Ok(HolePunch::Connect(at)));
        assert!(HolePunch::decode(b"\x02\0abcdef").is_err());
        assert!(HolePunch::decode(b"\x02\0abcdef\0\0\0").is_err());
    }

    #[test]
    fn what_is_cut_or_of_no_family_is_refused_and_unknown_kinds_are_not() {
        for len in 0..8 {
            assert!(HolePunch::decode(&b"\0\0abcdef"[..len]).is_err(), "{len}");
        }
        assert!(HolePunch::decode(b"\0\x01abcdefghijklmnopq").is_err());
        assert!(HolePunch::decode(b"\0\x02abcdefghijklmnopqr").is_err());
        assert_eq!(HolePunch::decode(b"\x03\0abcdef\0\0\0\0"), Ok(HolePunch::Unknown));
        let longer = HolePunch::decode(b"\x01\0abcdef\0\0\0\0more");
        assert_eq!(longer, Ok(HolePunch::Connect(addr("97.98.99.100:25958"))));
    }

    proptest! {
        #[test]
        fn messages_round_trip(kind in 0..3_u8, v4: [u8; 4], v6: [u8; 16], is_v4: bool, port: u16, error: u32) {
            let ip = if is_v4 { IpAddr::from(v4) } else { IpAddr::from(v6) };
            let addr = SocketAddr::new(ip, port);
            for error in [error, error % 6] {
                let message = match kind {
                    0 => HolePunch::Rendezvous(addr),
                    1 => HolePunch::Connect(addr),
                    _ => HolePunch::Failed(addr, PunchError::from_number(error)),
                };
                prop_assert_eq!(HolePunch::decode(&encoded(message)), Ok(message));
            }
        }

        #[test]
        fn any_bytes_decode_or_fail(bytes in prop::collection::vec(any::<u8>(), 0..40)) {
            let _ = HolePunch::decode(&bytes);
        }
    }
}
