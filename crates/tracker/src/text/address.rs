//! Which addresses are near, and which are our own.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};

/// An address of this machine or of a network that the internet does not route to: nobody far away
/// can be hit there.
pub(super) const fn is_near(ip: IpAddr) -> bool {
    match ip.to_canonical() {
        IpAddr::V4(ip) => ip.is_loopback() || ip.is_private() || ip.is_link_local(),
        IpAddr::V6(ip) => ip.is_loopback() || ip.is_unicast_link_local() || ip.is_unique_local(),
    }
}

/// Who connects to `ip` meets the server that listens at `listening`. Nothing is sent.
pub(super) fn is_ourselves(listening: IpAddr, ip: IpAddr) -> bool {
    if !listening.is_unspecified() {
        return listening == ip;
    }
    if ip.is_loopback() {
        return true;
    }
    // The system sends to an address of its own from that very address.
    let any: IpAddr = match ip {
        IpAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        IpAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let from = || -> std::io::Result<IpAddr> {
        let socket = UdpSocket::bind((any, 0))?;
        socket.connect(SocketAddr::new(ip, 9))?;
        Ok(socket.local_addr()?.ip())
    };
    from().is_ok_and(|from| from == ip)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn only_what_the_internet_cannot_reach_is_near() {
        for near in ["127.0.0.1", "10.1.2.3", "192.168.1.1", "172.16.0.1", "169.254.1.1", "::1"] {
            assert!(is_near(ip(near)), "{near}");
        }
        assert!(is_near(ip("fe80::1")) && is_near(ip("fd00::1")) && is_near(ip("::ffff:10.0.0.1")));
        for far in
            ["8.8.8.8", "100.64.0.1", "172.32.0.1", "2001:db8::1", "::ffff:8.8.8.8", "0.0.0.0"]
        {
            assert!(!is_near(ip(far)), "{far}");
        }
    }

    #[test]
    fn our_own_listener_is_known_again() {
        assert!(is_ourselves(ip("127.0.0.2"), ip("127.0.0.2")));
        assert!(!is_ourselves(ip("127.0.0.2"), ip("127.0.0.3")));
        assert!(is_ourselves(ip("0.0.0.0"), ip("127.0.0.3")), "it listens on all of them");
        assert!(is_ourselves(ip("::"), ip("::1")));
        assert!(!is_ourselves(ip("0.0.0.0"), ip("192.0.2.1")), "an address of documentation");
    }
}
