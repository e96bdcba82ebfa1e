//! Addresses: which to listen on, and which others can reach this machine at.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::str::FromStr;

/// An address to listen on, as `--listen` names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ListenAddr {
    /// All addresses when `None`.
    ip: Option<IpAddr>,
    /// The default one when `None`.
    port: Option<u16>,
}

impl FromStr for ListenAddr {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if let Ok(addr) = text.parse::<SocketAddr>() {
            return Ok(Self { ip: Some(addr.ip()), port: Some(addr.port()) });
        }
        if let Ok(ip) = text.trim_matches(['[', ']']).parse::<IpAddr>() {
            return Ok(Self { ip: Some(ip), port: None });
        }
        let port = text.strip_prefix(':').and_then(|port| port.parse().ok());
        port.map(|port| Self { ip: None, port: Some(port) }).ok_or_else(|| {
            "expected an address of this machine, such as 127.0.0.1, 0.0.0.0:6969, [::1]:0 or :6969"
                .to_owned()
        })
    }
}

/// Where a protocol beside the usual ones is spoken, as `--json-listen` names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ExtraListen {
    /// Nowhere.
    Off,
    /// There.
    At(ListenAddr),
}

impl FromStr for ExtraListen {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text == "off" { Ok(Self::Off) } else { text.parse().map(Self::At) }
    }
}

/// What to listen on, and whether it was asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Listen {
    /// The addresses.
    pub(crate) addrs: Vec<SocketAddr>,
    /// A port was named: another one will not do.
    pub(crate) port_given: bool,
}

impl Listen {
    /// From `--listen` and `--port`; `--port` wins. Without an address: all, IPv4 and IPv6.
    pub(crate) fn new(asked: &[ListenAddr], port: Option<u16>, default_port: u16) -> Self {
        let all = [ListenAddr { ip: None, port: None }];
        let asked = if asked.is_empty() { &all } else { asked };
        let port_given = port.is_some() || asked.iter().any(|addr| addr.port.is_some());
        let mut addrs = Vec::new();
        for listen in asked {
            let port = port.or(listen.port).unwrap_or(default_port);
            match listen.ip {
                Some(ip) => addrs.push(SocketAddr::new(ip, port)),
                None => {
                    addrs.push(SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), port));
                    if has_ipv6() {
                        addrs.push(SocketAddr::new(Ipv6Addr::UNSPECIFIED.into(), port));
                    }
                }
            }
        }
        Self { addrs, port_given }
    }

    /// The same addresses at another port, which nobody asked for.
    #[must_use]
    pub(crate) fn on_port(mut self, port: u16) -> Self {
        self.addrs.iter_mut().for_each(|addr| addr.set_port(port));
        self.addrs.dedup();
        Self { addrs: self.addrs, port_given: false }
    }

    /// The address that outgoing connections should come from: the one listened on, if it is the only
    /// one and not all, since trackers tell others the address that an announce comes from.
    pub(crate) fn source(&self) -> Option<SocketAddr> {
        match self.addrs.as_slice() {
            [only] if !only.ip().is_unspecified() => Some(SocketAddr::new(only.ip(), 0)),
            _ => None,
        }
    }
}

/// Nobody on another machine can reach any of these.
pub(crate) fn only_loopback(addrs: &[SocketAddr]) -> bool {
    addrs.iter().all(|addr| addr.ip().is_loopback())
}

/// The address of this machine that the default route uses. Nothing is sent.
pub(crate) fn default_route() -> Option<IpAddr> {
    let probe = |from: IpAddr, to: IpAddr| {
        let socket = UdpSocket::bind((from, 0)).ok()?;
        socket.connect((to, 9)).ok()?;
        let ip = socket.local_addr().ok()?.ip();
        (!ip.is_unspecified() && !ip.is_loopback()).then_some(ip)
    };
    // Addresses of documentation: routed like any other, owned by nobody.
    probe(Ipv4Addr::UNSPECIFIED.into(), Ipv4Addr::new(192, 0, 2, 1).into()).or_else(|| {
        let far = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1);
        probe(Ipv6Addr::UNSPECIFIED.into(), far.into())
    })
}

/// Every address at which other machines may reach a server that listens on `listening`: the default
/// route's first, then the rest; loopback only if there is nothing else.
pub(crate) fn reachable(listening: &[SocketAddr]) -> Vec<SocketAddr> {
    let route = default_route();
    let mut found = Vec::new();
    for addr in listening {
        if addr.ip().is_unspecified() {
            let same_family = |ip: &IpAddr| ip.is_ipv4() == addr.is_ipv4();
            let ips = interface_addresses().into_iter().filter(same_family);
            found.extend(ips.map(|ip| SocketAddr::new(ip, addr.port())));
        } else {
            found.push(*addr);
        }
    }
    found.sort_by_key(|addr| (Some(addr.ip()) != route, addr.ip().is_loopback(), *addr));
    found.dedup();
    if found.first().is_some_and(|addr| !addr.ip().is_loopback()) {
        found.retain(|addr| !addr.ip().is_loopback());
    }
    found
}

/// The addresses of this machine that need no zone to be reached.
fn interface_addresses() -> Vec<IpAddr> {
    let interfaces = if_addrs::get_if_addrs().unwrap_or_default();
    let link_local = |ip: &IpAddr| match ip {
        IpAddr::V4(ip) => ip.is_link_local(),
        IpAddr::V6(ip) => ip.is_unicast_link_local(),
    };
    interfaces.iter().map(if_addrs::Interface::ip).filter(|ip| !link_local(ip)).collect()
}

fn has_ipv6() -> bool {
    UdpSocket::bind((Ipv6Addr::UNSPECIFIED, 0)).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_listen_address_may_lack_its_port_or_its_host() {
        let v4 = Ipv4Addr::new(127, 0, 0, 2).into();
        let v6 = Ipv6Addr::LOCALHOST.into();
        let cases = [
            ("127.0.0.2", Some(v4), None),
            ("127.0.0.2:0", Some(v4), Some(0)),
            ("::1", Some(v6), None),
            ("[::1]:7", Some(v6), Some(7)),
            (":7", None, Some(7)),
        ];
        for (text, ip, port) in cases {
            assert_eq!(text.parse(), Ok(ListenAddr { ip, port }), "{text}");
        }
        for text in ["", "nas", "1.2.3.4:x", ":", "6969"] {
            assert!(text.parse::<ListenAddr>().is_err(), "{text}");
        }
    }

    #[test]
    fn the_port_flag_wins_and_counts_as_asked_for() {
        let asked = ["127.0.0.1:1".parse().expect("an address")];
        let listen = Listen::new(&asked, Some(2), 3);
        assert_eq!(listen.addrs, ["127.0.0.1:2".parse().expect("an address")]);
        assert!(listen.port_given);
        assert_eq!(listen.source(), Some("127.0.0.1:0".parse().expect("an address")));

        let listen = Listen::new(&[], None, 3);
        assert!(listen.addrs.iter().all(|addr| addr.port() == 3 && addr.ip().is_unspecified()));
        assert!(!listen.port_given);
        assert_eq!(listen.source(), None);
    }

    #[test]
    fn loopback_is_reachable_only_when_alone() {
        let loopback: SocketAddr = "127.0.0.1:5".parse().expect("an address");
        let other: SocketAddr = "192.0.2.7:5".parse().expect("an address");
        assert_eq!(reachable(&[loopback]), [loopback]);
        assert_eq!(reachable(&[loopback, other]), [other]);
    }
}
