//! Reverse proxies: whose word about a client's address, scheme and host is believed.
//!
//! `X-Forwarded-For` and `Forwarded` (RFC 7239) are what anybody can write, so they count only on a
//! connection that comes from a network which the operator has listed for that listener. From there
//! they are read from the right, where the nearest proxy wrote, up to the first address that is no
//! proxy's. A request without them, or with nonsense, counts by the last address that is known.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;

use hyper::HeaderMap;
use hyper::header::{FORWARDED, HeaderName};

use crate::limits::FORWARDED_HOPS_MAX;

/// A network of addresses, such as `10.0.0.0/8`, or one address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Network {
    ip: IpAddr,
    prefix: u8,
}

/// A network of proxies, as `--trusted-proxy` names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TrustedProxy {
    /// Believed at this listener of HTTP only; at all of them when `None`.
    pub listener: Option<SocketAddr>,
    /// Where the proxies are.
    pub network: Network,
}

/// The proxies that one listener believes.
#[derive(Debug, Clone, Default)]
pub(crate) struct Proxies(Vec<Network>);

impl Network {
    /// Whether an address, in any form, is of the network.
    #[must_use]
    pub fn contains(&self, ip: IpAddr) -> bool {
        match (self.ip, ip.to_canonical()) {
            (IpAddr::V4(own), IpAddr::V4(ip)) => {
                let mask = u32::MAX.checked_shl(32 - u32::from(self.prefix)).unwrap_or(0);
                own.to_bits() & mask == ip.to_bits() & mask
            }
            (IpAddr::V6(own), IpAddr::V6(ip)) => {
                let mask = u128::MAX.checked_shl(128 - u32::from(self.prefix)).unwrap_or(0);
                own.to_bits() & mask == ip.to_bits() & mask
            }
            (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => false,
        }
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.ip, self.prefix)
    }
}

impl FromStr for Network {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let refused =
            || format!("{text:?} is no network, such as 10.0.0.0/8, fd00::/8 or 10.0.0.1");
        let (ip, prefix) = text.split_once('/').map_or((text, None), |(ip, len)| (ip, Some(len)));
        let ip: IpAddr = ip.parse().map_err(|_| refused())?;
        let longest = if ip.is_ipv4() { 32 } else { 128 };
        let prefix = match prefix {
            Some(len) => len.parse().ok().filter(|len| *len <= longest).ok_or_else(refused)?,
            None => longest,
        };
        Ok(Self { ip, prefix })
    }
}

impl FromStr for TrustedProxy {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let Some((listener, network)) = text.split_once('=') else {
            return Ok(Self { listener: None, network: text.parse()? });
        };
        let listener = listener.parse().map_err(|_| format!("{listener:?} is no ADDR:PORT"))?;
        Ok(Self { listener: Some(listener), network: network.parse()? })
    }
}

impl Proxies {
    /// Those of `all` that are for the listener at `addr`.
    pub(crate) fn of(addr: SocketAddr, all: &[TrustedProxy]) -> Self {
        let fits = |proxy: &&TrustedProxy| proxy.listener.is_none_or(|listener| listener == addr);
        Self(all.iter().filter(fits).map(|proxy| proxy.network).collect())
    }

    /// Whether what a connection from `ip` says about others is believed.
    pub(crate) fn trust(&self, ip: IpAddr) -> bool {
        self.0.iter().any(|network| network.contains(ip))
    }

    /// The client's address behind a connection from `nearest`, which is trusted.
    pub(crate) fn client(&self, nearest: IpAddr, headers: &HeaderMap) -> IpAddr {
        let older = self.walk(nearest, headers, &X_FORWARDED_FOR, plain_address);
        let newer =
            self.walk(nearest, headers, &FORWARDED, |element| address(parameter(element, "for")?));
        match (older, newer) {
            (Some(ip), None) | (None, Some(ip)) => ip,
            // A proxy that writes one of them passes on what the client wrote into the other.
            (Some(older), Some(newer)) if older == newer => older,
            (Some(_), Some(_)) | (None, None) => nearest,
        }
    }

    /// Goes from hop to hop, from the right; `None` without such a header.
    fn walk(
        &self,
        nearest: IpAddr,
        headers: &HeaderMap,
        name: &HeaderName,
        read: impl Fn(&str) -> Option<IpAddr>,
    ) -> Option<IpAddr> {
        let mut values = headers.get_all(name).iter().rev().peekable();
        values.peek()?;
        let hops = values.flat_map(|value| value.to_str().unwrap_or_default().rsplit(','));
        let mut known = nearest;
        for hop in hops.take(FORWARDED_HOPS_MAX) {
            let Some(ip) = read(hop.trim()) else { break };
            known = ip.to_canonical();
            if !self.trust(known) {
                break;
            }
        }
        Some(known)
    }
}

/// Whether the client spoke to its proxy over TLS, if the proxy says.
pub(crate) fn is_secure(headers: &HeaderMap) -> Option<bool> {
    let said = leftmost(headers, &X_FORWARDED_PROTO)
        .or_else(|| parameter(leftmost(headers, &FORWARDED)?, "proto"))?;
    match said.to_ascii_lowercase().as_str() {
        "https" => Some(true),
        "http" => Some(false),
        _ => None,
    }
}

/// The host that the client named to its proxy, if the proxy says.
#[must_use]
pub fn forwarded_host(headers: &HeaderMap) -> Option<&str> {
    leftmost(headers, &X_FORWARDED_HOST)
        .or_else(|| parameter(leftmost(headers, &FORWARDED)?, "host"))
}

/// What the outermost proxy wrote. A client can have written it as well, and fools but itself.
fn leftmost<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    let first = headers.get(name)?.to_str().ok()?.split(',').next()?.trim();
    (!first.is_empty()).then_some(first)
}

/// A parameter of an element of `Forwarded`.
fn parameter<'a>(element: &'a str, name: &str) -> Option<&'a str> {
    let value = element.split(';').find_map(|pair| {
        let (key, value) = pair.trim().split_once('=')?;
        key.trim().eq_ignore_ascii_case(name).then_some(value.trim())
    })?;
    Some(value.strip_prefix('"').and_then(|value| value.strip_suffix('"')).unwrap_or(value))
}

/// An address of `X-Forwarded-For`: some proxies add a port, none quotes.
fn plain_address(text: &str) -> Option<IpAddr> {
    text.parse().ok().or_else(|| address(text))
}

/// An address with or without a port, IPv6 in brackets.
fn address(text: &str) -> Option<IpAddr> {
    if let Ok(addr) = text.parse::<SocketAddr>() {
        return Some(addr.ip());
    }
    let bare = text.strip_prefix('[').and_then(|text| text.strip_suffix(']'));
    match bare {
        Some(ip) => ip.parse().ok().map(IpAddr::V6),
        None => text.parse().ok().map(IpAddr::V4),
    }
}

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn proxies() -> Proxies {
        let networks = ["10.0.0.0/8", "fd00::/8", "127.0.0.1"];
        Proxies(networks.iter().map(|network| network.parse().unwrap()).collect())
    }

    fn headers(lines: &[(&'static str, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.append(*name, value.parse().unwrap());
        }
        headers
    }

    #[track_caller]
    fn check(lines: &[(&'static str, &str)], expected: &str) {
        let nearest = "10.0.0.1".parse().unwrap();
        let expected: IpAddr = expected.parse().unwrap();
        assert_eq!(proxies().client(nearest, &headers(lines)), expected, "{lines:?}");
    }

    #[test]
    fn the_rightmost_address_that_is_no_proxy_counts() {
        const XFF: &str = "x-forwarded-for";
        check(&[(XFF, "192.0.2.7")], "192.0.2.7");
        check(&[(XFF, "6.6.6.6, 192.0.2.7")], "192.0.2.7");
        check(&[(XFF, "6.6.6.6, 192.0.2.7, 10.1.1.1, fd00::2")], "192.0.2.7");
        check(&[(XFF, "6.6.6.6"), (XFF, "192.0.2.7"), (XFF, "10.1.1.1")], "192.0.2.7");
        check(&[(XFF, "10.9.9.9, 10.1.1.1")], "10.9.9.9");
        check(&[(XFF, "2001:db8::7")], "2001:db8::7");
        check(&[(XFF, "[2001:db8::7]:4711")], "2001:db8::7");
        check(&[(XFF, "192.0.2.7:4711")], "192.0.2.7");
        check(&[(XFF, "::ffff:192.0.2.7")], "192.0.2.7");
    }

    #[test]
    fn nonsense_counts_by_the_last_address_known() {
        const XFF: &str = "x-forwarded-for";
        check(&[], "10.0.0.1");
        check(&[(XFF, "")], "10.0.0.1");
        check(&[(XFF, "unknown")], "10.0.0.1");
        check(&[(XFF, "6.6.6.6, unknown, 10.1.1.1")], "10.1.1.1");
        check(&[(XFF, "6.6.6.6, , 10.1.1.1")], "10.1.1.1");
        check(&[("forwarded", "proto=https")], "10.0.0.1");
        check(&[("forwarded", "for=_hidden")], "10.0.0.1");
        let many = format!("192.0.2.7{}", ", 10.1.1.1".repeat(FORWARDED_HOPS_MAX));
        check(&[(XFF, &many)], "10.1.1.1");
    }

    #[test]
    fn the_standard_header_says_the_same() {
        check(&[("forwarded", "for=192.0.2.7;proto=https;by=10.0.0.1")], "192.0.2.7");
        check(&[("forwarded", "For=\"[2001:db8::7]:47\", for=10.1.1.1")], "2001:db8::7");
        check(&[("forwarded", "for=6.6.6.6, for=\"192.0.2.7:80\"")], "192.0.2.7");
    }

    #[test]
    fn a_header_that_the_client_added_to_the_proxys_is_not_believed() {
        let (xff, forwarded) = ("x-forwarded-for", "forwarded");
        check(&[(xff, "192.0.2.7"), (forwarded, "for=6.6.6.6")], "10.0.0.1");
        check(&[(xff, "192.0.2.7"), (forwarded, "for=192.0.2.7")], "192.0.2.7");
    }

    #[test]
    fn only_listed_networks_are_trusted_and_each_listener_has_its_own() {
        let at = |text: &str| text.parse::<SocketAddr>().unwrap();
        let all: Vec<TrustedProxy> = ["10.0.0.0/8", "127.0.0.1:7000=192.0.2.0/24"]
            .iter()
            .map(|proxy| proxy.parse().unwrap())
            .collect();
        let trusts =
            |listener, ip: &str| Proxies::of(at(listener), &all).trust(ip.parse().unwrap());
        assert!(trusts("127.0.0.1:6969", "10.255.0.1"));
        assert!(trusts("127.0.0.1:6969", "::ffff:10.0.0.1"));
        assert!(!trusts("127.0.0.1:6969", "192.0.2.1"));
        assert!(trusts("127.0.0.1:7000", "192.0.2.1"));
        assert!(trusts("127.0.0.1:7000", "10.0.0.1"));
        assert!(!trusts("127.0.0.1:7000", "2001:db8::1"));
        assert!(!Proxies::default().trust(at("127.0.0.1:1").ip()));
    }

    #[test]
    fn networks_are_read_strictly() {
        let within = |network: &str, ip: &str| {
            network.parse::<Network>().unwrap().contains(ip.parse().unwrap())
        };
        assert!(within("0.0.0.0/0", "255.0.0.1") && !within("0.0.0.0/0", "::1"));
        assert!(within("::/0", "ffff::1") && within("fe80::/10", "febf::1"));
        assert!(!within("10.0.0.0/31", "10.0.0.2") && within("10.0.0.1", "10.0.0.1"));
        for text in ["", "10.0.0.0/33", "10.0.0.0/-1", "nas", "10.0.0.0/", "::/129", "10.0.0/8"] {
            assert!(text.parse::<Network>().is_err(), "{text}");
        }
        for text in ["nas=10.0.0.0/8", "127.0.0.1=10.0.0.0/8", "127.0.0.1:1="] {
            assert!(text.parse::<TrustedProxy>().is_err(), "{text}");
        }
    }

    #[test]
    fn scheme_and_host_are_the_outermost_proxys() {
        let said = |lines| {
            let headers = headers(lines);
            (is_secure(&headers), forwarded_host(&headers).map(str::to_owned))
        };
        let host = |name: &str| Some(name.to_owned());
        let both = [("x-forwarded-proto", "https, http"), ("x-forwarded-host", "t.example:8443")];
        assert_eq!(said(&both), (Some(true), host("t.example:8443")));
        let standard = [("forwarded", "for=1.2.3.4;proto=HTTP;host=\"t.example\"")];
        assert_eq!(said(&standard), (Some(false), host("t.example")));
        assert_eq!(said(&[("x-forwarded-proto", "gopher")]), (None, None));
        assert_eq!(said(&[]), (None, None));
    }

    proptest! {
        #[test]
        fn whatever_is_forwarded_an_address_comes_out(
            value in "[ -~]{0,64}", standard in any::<bool>(),
        ) {
            let name = if standard { "forwarded" } else { "x-forwarded-for" };
            let headers = headers(&[(name, &value)]);
            proxies().client("10.0.0.1".parse().unwrap(), &headers);
            is_secure(&headers);
            _ = forwarded_host(&headers);
        }
    }
}
