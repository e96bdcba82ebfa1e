//! Whom to rather be connected to (BEP 40): both sides come to the same number, so swarms with more peers than
//! connections hang together well, and nobody chooses how much they are liked.

use std::net::{IpAddr, SocketAddr};

use crate::dht::crc32c;

/// How much two peers should like a connection between them: more is better.
#[must_use]
pub fn priority(one: SocketAddr, two: SocketAddr) -> u32 {
    let (one, two) = (canonical(one), canonical(two));
    if one.ip() == two.ip() {
        return of_pair(one.port().to_be_bytes(), two.port().to_be_bytes());
    }
    match (one.ip(), two.ip()) {
        (IpAddr::V4(one), IpAddr::V4(two)) => {
            of_pair(masked(one.octets(), two.octets(), 2), masked(two.octets(), one.octets(), 2))
        }
        (one, two) => {
            let (one, two) = (octets(one), octets(two));
            of_pair(masked(one, two, 6), masked(two, one, 6))
        }
    }
}

/// What of an address counts: the first bytes, and one more for each beyond that both have in common; every
/// second bit of the others.
fn masked<const N: usize>(mut bytes: [u8; N], other: [u8; N], first: usize) -> [u8; N] {
    let common = bytes.iter().zip(&other).take_while(|(byte, other)| byte == other).count();
    let whole = if common < first { first } else { common + 1 };
    bytes.iter_mut().skip(whole).for_each(|byte| *byte &= 0x55);
    bytes
}

fn of_pair<const N: usize>(one: [u8; N], two: [u8; N]) -> u32 {
    let (low, high) = if one < two { (one, two) } else { (two, one) };
    crc32c(&[low, high].concat())
}

fn canonical(addr: SocketAddr) -> SocketAddr {
    SocketAddr::new(addr.ip().to_canonical(), addr.port())
}

fn octets(ip: IpAddr) -> [u8; 16] {
    match ip {
        IpAddr::V4(ip) => ip.to_ipv6_mapped().octets(),
        IpAddr::V6(ip) => ip.octets(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(one: &str, two: &str) -> u32 {
        let addr = |ip: &str| SocketAddr::new(ip.parse().expect("an address"), 0);
        assert_eq!(priority(addr(one), addr(two)), priority(addr(two), addr(one)));
        priority(addr(one), addr(two))
    }

    #[test]
    fn numbers_are_those_of_the_specification() {
        assert_eq!(of("123.213.32.10", "98.76.54.32"), 0xec2d_7224);
        assert_eq!(of("123.213.32.10", "123.213.32.234"), 0x9956_8189);
        assert_eq!(of("::ffff:123.213.32.10", "98.76.54.32"), 0xec2d_7224);
    }

    #[test]
    fn of_far_addresses_only_some_bits_count_and_of_near_ones_more() {
        assert_eq!(of("1.2.2.4", "9.9.3.4"), of("1.2.0.4", "9.9.3.4"));
        assert_ne!(of("1.2.2.4", "1.2.3.4"), of("1.2.0.4", "1.2.3.4"));
        assert_eq!(
            of("2001:db8::a:0:0:8000", "2001:db9::1"),
            of("2001:db8::a:0:0:0", "2001:db9::1")
        );
        assert_ne!(
            of("2001:db8:0:200::1", "2001:db8:0:100::1"),
            of("2001:db8:0:0::1", "2001:db8:0:100::1")
        );
    }

    #[test]
    fn on_one_host_ports_count() {
        let at = |port| SocketAddr::from(([10, 0, 0, 1], port));
        assert_eq!(priority(at(1), at(2)), priority(at(2), at(1)));
        assert_ne!(priority(at(1), at(2)), priority(at(1), at(3)));
    }
}
