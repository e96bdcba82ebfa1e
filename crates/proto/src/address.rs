//! What an IP address tells of who has it: whether it is near, and which others are likely theirs too.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// An address of this machine or of a network that the internet does not route to: loopback, private
/// (RFC 1918), link-local or unique local (RFC 4193).
#[must_use]
pub const fn is_local(ip: IpAddr) -> bool {
    match ip.to_canonical() {
        IpAddr::V4(ip) => ip.is_loopback() || ip.is_private() || ip.is_link_local(),
        IpAddr::V6(ip) => ip.is_loopback() || ip.is_unicast_link_local() || ip.is_unique_local(),
    }
}

/// What counts as one source: the /24 of an IPv4 address, the /64 of an IPv6 one. Whoever has one address
/// of it has, or easily gets, the others.
#[must_use]
pub const fn network_of(ip: IpAddr) -> IpAddr {
    match ip.to_canonical() {
        IpAddr::V4(ip) => IpAddr::V4(Ipv4Addr::from_bits(ip.to_bits() & !0xff)),
        IpAddr::V6(ip) => IpAddr::V6(Ipv6Addr::from_bits(ip.to_bits() & !(u64::MAX as u128))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().expect("an address")
    }

    #[test]
    fn only_what_the_internet_cannot_reach_is_local() {
        for near in ["127.0.0.1", "10.1.2.3", "192.168.1.1", "172.16.0.1", "169.254.1.1", "::1"] {
            assert!(is_local(ip(near)), "{near}");
        }
        assert!(
            is_local(ip("fe80::1")) && is_local(ip("fd00::1")) && is_local(ip("::ffff:10.0.0.1"))
        );
        for far in
            ["8.8.8.8", "100.64.0.1", "172.32.0.1", "2001:db8::1", "::ffff:8.8.8.8", "0.0.0.0"]
        {
            assert!(!is_local(ip(far)), "{far}");
        }
    }

    #[test]
    fn networks_are_24_and_64_bits_long() {
        assert_eq!(network_of(ip("192.0.2.77")), ip("192.0.2.0"));
        assert_eq!(network_of(ip("::ffff:192.0.2.77")), ip("192.0.2.0"));
        assert_eq!(network_of(ip("2001:db8:1:2:3:4:5:6")), ip("2001:db8:1:2::"));
    }
}
