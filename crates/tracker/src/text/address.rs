//! Which addresses are our own.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};

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
    fn our_own_listener_is_known_again() {
        assert!(is_ourselves(ip("127.0.0.2"), ip("127.0.0.2")));
        assert!(!is_ourselves(ip("127.0.0.2"), ip("127.0.0.3")));
        assert!(is_ourselves(ip("0.0.0.0"), ip("127.0.0.3")), "it listens on all of them");
        assert!(is_ourselves(ip("::"), ip("::1")));
        assert!(!is_ourselves(ip("0.0.0.0"), ip("192.0.2.1")), "an address of documentation");
    }
}
