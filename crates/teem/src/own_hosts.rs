//! Under which names a server for people of this machine answers.
//!
//! A web page that somebody opens here can send requests to loopback, and with a DNS name that changes its
//! address it could read the answers (DNS rebinding). Such a request carries a foreign name in its `Host`
//! header, or its page's origin in `Origin`. Addresses lead to themselves.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use hyper::header::{HOST, HeaderMap, ORIGIN};

/// Names of this machine; addresses and `localhost` always are.
#[derive(Debug, Clone)]
pub(crate) struct OwnHosts(Arc<[String]>);

impl OwnHosts {
    /// Those names beside, in any case of letters.
    pub(crate) fn new(names: impl Iterator<Item = String>) -> Self {
        Self(names.map(|name| name.to_ascii_lowercase()).collect())
    }

    /// The request was meant for this machine.
    pub(crate) fn are_meant(&self, headers: &HeaderMap) -> bool {
        meant(headers).is_some_and(|host| self.knows(host))
    }

    /// It was, and comes from no page of another.
    pub(crate) fn accept(&self, headers: &HeaderMap) -> bool {
        let Some(host) = meant(headers) else { return false };
        // A page's origin is its scheme, then what its own requests have as `Host`.
        let is_own = headers.get_all(ORIGIN).iter().all(|origin| {
            let origin = origin.to_str().unwrap_or_default();
            origin.split_once("://").is_some_and(|(_, origin)| origin == host)
        });
        self.knows(host) && is_own
    }

    fn knows(&self, host: &str) -> bool {
        if let Some(rest) = host.strip_prefix('[') {
            return rest.split_once(']').is_some_and(|(ip, _)| ip.parse::<Ipv6Addr>().is_ok());
        }
        let name = host.split_once(':').map_or(host, |(name, _)| name);
        let name = name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase();
        name == "localhost" || name.parse::<Ipv4Addr>().is_ok() || self.0.contains(&name)
    }
}

/// Which host a request names, if it names just one.
fn meant(headers: &HeaderMap) -> Option<&str> {
    let mut hosts = headers.get_all(HOST).iter();
    let (Some(host), None) = (hosts.next(), hosts.next()) else { return None };
    host.to_str().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn accepts(host: &'static str, origin: Option<&'static str>) -> bool {
        let mut headers = HeaderMap::new();
        headers.insert(HOST, host.parse().expect("a header's value"));
        if let Some(origin) = origin {
            headers.insert(ORIGIN, origin.parse().expect("a header's value"));
        }
        OwnHosts::new(["NAS".to_owned()].into_iter()).accept(&headers)
    }

    #[test]
    fn only_this_machines_names_are_answered() {
        for host in
            ["127.0.0.1:6968", "[::1]:6968", "[::1]", "10.0.0.7", "localhost:1", "nas:6968", "Nas."]
        {
            assert!(accepts(host, None), "{host}");
        }
        for host in [
            "",
            "evil.example",
            "evil.example:6968",
            "127.0.0.1.evil.example",
            "nas.evil",
            "[nas]",
            "::1",
        ] {
            assert!(!accepts(host, None), "{host}");
        }
        assert!(!OwnHosts::new(std::iter::empty()).accept(&HeaderMap::new()));
    }

    #[test]
    fn pages_of_other_origins_are_not_answered() {
        assert!(accepts("127.0.0.1:6968", Some("http://127.0.0.1:6968")));
        for origin in ["http://evil.example", "http://127.0.0.1:80", "null", ""] {
            assert!(!accepts("127.0.0.1:6968", Some(origin)), "{origin}");
        }
    }
}
