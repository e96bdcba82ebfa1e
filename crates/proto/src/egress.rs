//! Where somebody's word may lead us: a tracker, a peer or a redirect of the internet must not have us
//! knock at the doors of our own network, nor the network at those of this machine (SSRF).
//!
//! Every outgoing connection is judged here, by the address that it goes to, however that was written or
//! looked up.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// How near to us an address is; also how far we trust whoever stands there to name others.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Nearness {
    /// Anywhere.
    Internet,
    /// What the customers of a provider, or the members of an overlay, share (RFC 6598): the internet does
    /// not route to it, but those in it are strangers to each other.
    Shared,
    /// A network that the internet does not route to: private (RFC 1918), unique local (RFC 4193), for
    /// benchmarks (RFC 2544) or protocols (RFC 6890).
    Network,
    /// One cable (link-local): in clouds it is where a machine's secrets are told.
    Link,
    /// This machine, and whatever its person says.
    Machine,
}

/// Why nothing is sent to an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// No host has it: unspecified, multicast, broadcast, reserved, or port 0.
    #[error("{0} is the address of no host")]
    NoHost(SocketAddr),
    /// It is nearer to us than who named it.
    #[error("{addr} is an address of {near}, named by {source_}")]
    TooNear {
        /// The address.
        addr: SocketAddr,
        /// What it belongs to.
        near: Nearness,
        /// Where it comes from.
        source_: Nearness,
    },
}

impl Nearness {
    /// That of an address; an IPv6 address that stands for an IPv4 one is as near as that.
    #[must_use]
    pub fn of(ip: IpAddr) -> Self {
        match meant(ip) {
            IpAddr::V4(ip) if ip.is_loopback() => Self::Machine,
            IpAddr::V4(ip) if ip.is_link_local() => Self::Link,
            IpAddr::V4(ip) if is_shared(ip) => Self::Shared,
            IpAddr::V4(ip) if is_unrouted(ip) => Self::Network,
            IpAddr::V6(ip) if ip.is_loopback() => Self::Machine,
            IpAddr::V6(ip) if ip.is_unicast_link_local() => Self::Link,
            IpAddr::V6(ip) if is_unrouted_v6(ip) => Self::Network,
            IpAddr::V4(_) | IpAddr::V6(_) => Self::Internet,
        }
    }

    /// Whether we may be led to an address by who is this near.
    ///
    /// # Errors
    /// When it is no host's address, or nearer.
    pub fn may_name(self, addr: SocketAddr) -> Result<(), Refused> {
        if addr.port() == 0 || !is_host(addr.ip()) {
            return Err(Refused::NoHost(addr));
        }
        let near = Self::of(addr.ip());
        if near <= self { Ok(()) } else { Err(Refused::TooNear { addr, near, source_: self }) }
    }
}

impl fmt::Display for Nearness {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Internet => "the internet",
            Self::Shared => "a shared network",
            Self::Network => "a local network",
            Self::Link => "a local link",
            Self::Machine => "this machine",
        })
    }
}

/// One host could have it.
fn is_host(ip: IpAddr) -> bool {
    match meant(ip) {
        IpAddr::V4(ip) => (1..240).contains(&ip.octets()[0]) && !ip.is_multicast(),
        IpAddr::V6(ip) => !ip.is_unspecified() && !ip.is_multicast(),
    }
}

const fn is_shared(ip: Ipv4Addr) -> bool {
    let [a, b, ..] = ip.octets();
    a == 100 && b & 0xc0 == 64
}

fn is_unrouted(ip: Ipv4Addr) -> bool {
    let [a, b, c, _] = ip.octets();
    ip.is_private() || (a == 198 && b & 0xfe == 18) || (a, b, c) == (192, 0, 0)
}

fn is_unrouted_v6(ip: Ipv6Addr) -> bool {
    // fec0::/10 was for sites once (RFC 3879), and some still route it.
    let is_site = ip.segments()[0] & 0xffc0 == 0xfec0;
    ip.is_unique_local() || is_site
}

/// The IPv4 address that an IPv6 one leads to, where that is so: mapped and compatible (RFC 4291), 6to4 (RFC
/// 3056), and translated (RFC 6052).
fn meant(ip: IpAddr) -> IpAddr {
    let IpAddr::V6(v6) = ip else { return ip };
    let [a, b, c, d, e, f, g, h] = v6.segments();
    let v4 = |high: u16, low: u16| Ipv4Addr::from_bits(u32::from(high) << 16 | u32::from(low));
    match (a, b, c, d, e, f) {
        (0, 0, 0, 0, 0, 0xffff) | (0x64, 0xff9b, 0, 0, 0, 0) => v4(g, h).into(),
        // :: and ::1 stand for themselves.
        (0, 0, 0, 0, 0, 0) if g != 0 || h > 1 => v4(g, h).into(),
        (0x2002, ..) => v4(b, c).into(),
        _ => ip,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NEVER: &[&str] = &[
        "0.0.0.0:80",
        "0.1.2.3:80",
        "224.0.0.1:80",
        "239.192.152.143:6771",
        "240.0.0.1:80",
        "255.255.255.255:80",
        "8.8.8.8:0",
        "[::]:80",
        "[ff02::1]:80",
        "[ff05::c]:1900",
        "[::ffff:0.0.0.0]:80",
        "[::ffff:224.0.0.1]:80",
        "[64:ff9b::ffff:ffff]:80",
        "[2002:e000:1::]:80",
        "[2001:4860:4860::8888]:0",
    ];
    const MACHINE: &[&str] = &[
        "127.0.0.1:22",
        "127.0.0.1:6379",
        "127.255.255.254:80",
        "[::1]:80",
        "[::ffff:127.0.0.1]:80",
        "[::127.0.0.1]:80",
        "[64:ff9b::7f00:1]:80",
        "[2002:7f00:1::]:80",
    ];
    const NETWORK: &[&str] = &[
        "10.0.0.1:80",
        "10.255.255.255:80",
        "172.16.0.1:80",
        "172.31.255.254:80",
        "192.168.0.1:80",
        "192.168.255.255:80",
        "198.18.0.1:80",
        "198.19.255.254:80",
        "192.0.0.8:80",
        "[fec0::1]:80",
        "[fc00::1]:80",
        "[fdff::1]:80",
        "[fd00:ec2::254]:80",
        "[::ffff:10.0.0.1]:80",
        "[::192.168.0.1]:80",
        "[64:ff9b::a00:1]:80",
        "[2002:c0a8:1::]:80",
        "[2002:a00:1::1]:80",
    ];
    const SHARED: &[&str] =
        &["100.64.0.1:80", "100.127.255.254:80", "[::ffff:100.64.0.1]:80", "[64:ff9b::6440:1]:80"];
    const LINK: &[&str] = &[
        "169.254.0.1:80",
        "169.254.169.254:80",
        "[fe80::1]:80",
        "[febf::1]:80",
        "[::ffff:169.254.169.254]:80",
        "[64:ff9b::a9fe:a9fe]:80",
        "[2002:a9fe:a9fe::]:80",
    ];
    const INTERNET: &[&str] = &[
        "8.8.8.8:1",
        "1.1.1.1:65535",
        "100.63.255.255:80",
        "100.128.0.1:80",
        "172.15.255.255:80",
        "172.32.0.1:80",
        "192.169.0.1:80",
        "198.17.0.1:80",
        "198.20.0.1:80",
        "[2001:4860:4860::8888]:80",
        "[::ffff:8.8.8.8]:80",
        "[64:ff9b::808:808]:80",
        "[2002:808:808::1]:80",
    ];

    #[test]
    fn nobody_leads_us_nearer_than_they_are() {
        use Nearness::{Internet, Link, Machine, Network, Shared};
        let sources = [Internet, Shared, Network, Link, Machine];
        let all = [
            (NEVER, None),
            (MACHINE, Some(Machine)),
            (LINK, Some(Link)),
            (NETWORK, Some(Network)),
            (SHARED, Some(Shared)),
            (INTERNET, Some(Internet)),
        ];
        let mut checked = 0;
        for (texts, near) in all {
            for text in texts {
                let addr: SocketAddr = text.parse().expect(text);
                for source in sources {
                    let expected = match near {
                        None => Err(Refused::NoHost(addr)),
                        Some(near) if near > source => {
                            Err(Refused::TooNear { addr, near, source_: source })
                        }
                        Some(_) => Ok(()),
                    };
                    assert_eq!(source.may_name(addr), expected, "{text} by {source}");
                    checked += 1;
                }
            }
        }
        assert!(checked > 240);
    }

    #[test]
    fn refusals_say_what_was_wrong() {
        let refused = |text: &str| {
            Nearness::Internet.may_name(text.parse().expect("an address")).unwrap_err().to_string()
        };
        assert_eq!(
            refused("192.168.1.1:80"),
            "192.168.1.1:80 is an address of a local network, named by the internet"
        );
        assert_eq!(refused("[::]:80"), "[::]:80 is the address of no host");
    }
}
