//! Distances between ids, and which addresses make sense.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use proto::address::{is_local, network_of};
use proto::dht::NodeId;
use proto::egress::Nearness;

/// Which of the two networks (BEP 32).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Family {
    V4,
    V6,
}

impl Family {
    pub(crate) const fn of(addr: SocketAddr) -> Self {
        if addr.is_ipv4() { Self::V4 } else { Self::V6 }
    }
}

/// How far two ids are apart (BEP 5): smaller is nearer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Distance([u8; 20]);

impl Distance {
    pub(crate) fn between(one: NodeId, other: NodeId) -> Self {
        Self(std::array::from_fn(|at| one.0[at] ^ other.0[at]))
    }

    /// Bits that both ids have in common at their start.
    pub(crate) fn shared_bits(self) -> usize {
        let first = self.0.iter().position(|byte| *byte != 0);
        first.map_or(160, |at| 8 * at + self.0[at].leading_zeros() as usize)
    }
}

/// An id that shares exactly `bits` bits with `own`; `random` fills the rest.
pub(crate) fn id_sharing(own: NodeId, bits: usize, random: [u8; 20]) -> NodeId {
    let mut id = random;
    for bit in 0..=bits.min(159) {
        let (byte, mask) = (bit / 8, 0x80_u8 >> (bit % 8));
        let wanted = if bit == bits { !own.0[byte] } else { own.0[byte] };
        id[byte] = id[byte] & !mask | wanted & mask;
    }
    NodeId(id)
}

/// IPv4 in IPv6 clothing is the same address.
pub(crate) fn canonical(addr: SocketAddr) -> SocketAddr {
    SocketAddr::new(addr.ip().to_canonical(), addr.port())
}

/// Somebody could be there, by an address of its own family.
pub(crate) fn is_sendable(addr: SocketAddr) -> bool {
    canonical(addr) == addr && Nearness::Machine.may_name(addr).is_ok()
}

/// Whether `named` may be believed when somebody at `source` names it.
pub(crate) fn may_name(source: IpAddr, named: SocketAddr) -> bool {
    is_sendable(named) && Nearness::of(source).may_name(named).is_ok()
}

/// What counts as one source wherever places and votes are: the /24 of an IPv4 address, the /48 of an
/// IPv6 one, since a site often has that many. Whoever has one address of it has, or easily gets, the
/// others. On a local network each host stands for itself: all of them share one.
pub(crate) fn source_of(ip: IpAddr) -> IpAddr {
    match ip.to_canonical() {
        ip if is_local(ip) => ip,
        IpAddr::V4(ip) => network_of(ip.into()),
        IpAddr::V6(ip) => Ipv6Addr::from_bits(ip.to_bits() & !(u128::MAX >> 48)).into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addr(text: &str) -> SocketAddr {
        text.parse().expect("an address")
    }

    #[test]
    fn strangers_cannot_lead_us_into_our_own_network() {
        let table = [
            ("8.8.8.8", "9.9.9.9:1", true),
            ("8.8.8.8", "192.168.1.1:80", false),
            ("8.8.8.8", "127.0.0.1:80", false),
            ("8.8.8.8", "169.254.169.254:80", false),
            ("192.168.1.2", "192.168.1.1:80", true),
            ("192.168.1.2", "127.0.0.1:80", false),
            ("127.0.0.1", "127.0.0.2:80", true),
            ("127.0.0.1", "9.9.9.9:1", true),
            ("8.8.8.8", "100.64.0.1:80", false),
            ("8.8.8.8", "100.127.255.254:80", false),
            ("8.8.8.8", "100.128.0.1:80", true),
            ("100.64.0.1", "100.64.7.7:80", true),
            ("100.64.0.1", "192.168.1.1:80", false),
            ("192.168.1.2", "100.64.7.7:80", true),
            ("2001:db8::1", "[fe80::1]:1", false),
            ("2001:db8::1", "[::1]:1", false),
            ("2001:db8::1", "[2001:db8::2]:1", true),
            ("127.0.0.1", "224.0.0.1:1", false),
            ("127.0.0.1", "255.255.255.255:1", false),
            ("127.0.0.1", "0.0.0.0:1", false),
            ("127.0.0.1", "1.2.3.4:0", false),
            ("::1", "[ff02::1]:1", false),
            ("::1", "[::ffff:127.0.0.1]:1", false),
            ("::1", "[::]:1", false),
        ];
        for (source, named, expected) in table {
            let source = source.parse().expect("an address");
            assert_eq!(may_name(source, addr(named)), expected, "{named} by {source}");
        }
    }

    #[test]
    fn a_site_is_one_source_and_a_host_of_a_local_network_another() {
        let table = [
            ("192.0.2.77", "192.0.2.0"),
            ("::ffff:192.0.2.77", "192.0.2.0"),
            ("2001:db8:1:2:3:4:5:6", "2001:db8:1::"),
            ("192.168.1.2", "192.168.1.2"),
            ("fd00::1:2", "fd00::1:2"),
        ];
        for (ip, source) in table {
            let [ip, source] = [ip, source].map(|ip| ip.parse().expect("an address"));
            assert_eq!(source_of(ip), source);
        }
    }

    #[test]
    fn ids_share_as_many_bits_as_asked_for() {
        let own = NodeId([0x5a; 20]);
        for bits in 0..160 {
            let id = id_sharing(own, bits, [0x33; 20]);
            assert_eq!(Distance::between(own, id).shared_bits(), bits);
        }
        assert_eq!(Distance::between(own, own).shared_bits(), 160);
    }
}
