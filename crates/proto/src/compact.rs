//! Addresses in their compact form (BEP 5, 7, 11, 15, 23): 4 or 16 bytes of the address, two of the port.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// Bytes of an IPv4 address and its port.
pub(crate) const V4_LEN: usize = 6;
/// Bytes of an IPv6 address and its port.
pub(crate) const V6_LEN: usize = 18;

/// Appends an address.
pub(crate) fn push(out: &mut Vec<u8>, addr: SocketAddr) {
    match addr.ip() {
        IpAddr::V4(ip) => out.extend_from_slice(&ip.octets()),
        IpAddr::V6(ip) => out.extend_from_slice(&ip.octets()),
    }
    out.extend_from_slice(&addr.port().to_be_bytes());
}

/// An address of exactly so many bytes as either family takes.
pub(crate) fn address(bytes: &[u8]) -> Option<SocketAddr> {
    let v4 = <&[u8; V4_LEN]>::try_from(bytes).map(address_v4);
    v4.or_else(|_| <&[u8; V6_LEN]>::try_from(bytes).map(address_v6)).ok()
}

/// Reads a list of IPv4 addresses. Bytes that make no whole one are ignored.
pub(crate) fn list_v4(bytes: &[u8]) -> impl Iterator<Item = SocketAddr> {
    bytes.as_chunks().0.iter().map(address_v4)
}

/// Reads a list of IPv6 addresses. Bytes that make no whole one are ignored.
pub(crate) fn list_v6(bytes: &[u8]) -> impl Iterator<Item = SocketAddr> {
    bytes.as_chunks().0.iter().map(address_v6)
}

fn address_v4([a, b, c, d, port @ ..]: &[u8; V4_LEN]) -> SocketAddr {
    SocketAddr::from((Ipv4Addr::new(*a, *b, *c, *d), u16::from_be_bytes(*port)))
}

fn address_v6(bytes: &[u8; V6_LEN]) -> SocketAddr {
    let (ip, port) = bytes.split_at(V6_LEN - 2);
    let ip = ip.iter().fold(0, |bits, byte| bits << 8 | u128::from(*byte));
    SocketAddr::from((Ipv6Addr::from_bits(ip), u16::from_be_bytes([port[0], port[1]])))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_families_round_trip_and_parts_are_no_address() {
        for text in ["192.0.2.1:6881", "[2001:db8::1:2]:65535"] {
            let addr: SocketAddr = text.parse().expect("an address");
            let mut bytes = Vec::new();
            push(&mut bytes, addr);
            assert_eq!(address(&bytes), Some(addr));
            assert_eq!(address(&bytes[1..]), None);
            let two = bytes.repeat(2);
            let part = &two[..two.len() - 1];
            let list: Vec<_> = match addr {
                SocketAddr::V4(_) => list_v4(part).collect(),
                SocketAddr::V6(_) => list_v6(part).collect(),
            };
            assert_eq!(list, [addr]);
        }
    }
}
