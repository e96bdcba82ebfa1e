//! A peer's name: its address and port, in the compact form of the wire (BEP 23, 7).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// Address and port. IPv4 addresses inside IPv6 ones are IPv4 addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum PeerKey {
    /// Four bytes of address, two of port.
    V4([u8; 6]),
    /// Sixteen bytes of address, two of port.
    V6([u8; 18]),
}

/// Which address families an answer may hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Families {
    /// IPv4 only.
    V4,
    /// IPv6 only.
    V6,
    /// Both.
    Both,
}

impl Families {
    pub(crate) const fn has_v4(self) -> bool {
        matches!(self, Self::V4 | Self::Both)
    }

    pub(crate) const fn has_v6(self) -> bool {
        matches!(self, Self::V6 | Self::Both)
    }
}

impl PeerKey {
    pub(crate) fn new(addr: SocketAddr) -> Self {
        match addr.ip().to_canonical() {
            IpAddr::V4(ip) => {
                let mut key = [0; 6];
                key[..4].copy_from_slice(&ip.octets());
                key[4..].copy_from_slice(&addr.port().to_be_bytes());
                Self::V4(key)
            }
            IpAddr::V6(ip) => {
                let mut key = [0; 18];
                key[..16].copy_from_slice(&ip.octets());
                key[16..].copy_from_slice(&addr.port().to_be_bytes());
                Self::V6(key)
            }
        }
    }
}

/// The address that a compact form of 6 or 18 bytes stands for.
pub(crate) fn addr_of<const N: usize>(key: &[u8; N]) -> SocketAddr {
    let (ip, port) = key.split_at(N - 2);
    let ip = match <[u8; 16]>::try_from(ip) {
        Ok(octets) => Ipv6Addr::from(octets).into(),
        Err(_) => {
            let mut octets = [0; 4];
            octets.copy_from_slice(&ip[..4]);
            Ipv4Addr::from(octets).into()
        }
    };
    SocketAddr::new(ip, u16::from_be_bytes([port[0], port[1]]))
}

impl From<PeerKey> for SocketAddr {
    fn from(key: PeerKey) -> Self {
        match key {
            PeerKey::V4(key) => addr_of(&key),
            PeerKey::V6(key) => addr_of(&key),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mapped_addresses_are_ipv4() {
        let round = |addr: &str| SocketAddr::from(PeerKey::new(addr.parse().unwrap())).to_string();
        assert_eq!(round("[::ffff:10.1.2.3]:80"), "10.1.2.3:80");
        assert_eq!(round("10.1.2.3:6881"), "10.1.2.3:6881");
        assert_eq!(round("[2001:db8::1]:65535"), "[2001:db8::1]:65535");
    }
}
