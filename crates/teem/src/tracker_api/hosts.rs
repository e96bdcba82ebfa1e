//! The tracker's own URLs, as the client that asks can reach it.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use axum::http::HeaderMap;
use axum::http::header::HOST;
use proto::metainfo::Metainfo;
use tracker::{Connection, Passkey, forwarded_host};

/// The announce URLs of this tracker: HTTP as the client asked, on the host and port that it used, UDP
/// on the same host and the same port (or, where the client named none or a proxy's, the one that its
/// connection came in on). Clients of a private tracker find their passkey in them.
pub(super) fn announce_urls(
    headers: &HeaderMap,
    connection: &Connection,
    passkey: Option<&Passkey>,
) -> [String; 2] {
    let through_proxy = || forwarded_host(headers).filter(|_| connection.proxied);
    let direct = || headers.get(HOST).and_then(|host| host.to_str().ok());
    let named = through_proxy().or_else(direct).and_then(parse_host);
    let (host, port) = named.unwrap_or_else(|| {
        (shown(connection.local.ip().to_canonical()), Some(connection.local.port()))
    });
    let path = announce_path(passkey);
    let udp_port = port.filter(|_| !connection.proxied).unwrap_or_else(|| connection.local.port());
    let scheme = if connection.secure { "https" } else { "http" };
    let http = match port {
        Some(port) => format!("{scheme}://{host}:{port}{path}"),
        None => format!("{scheme}://{host}{path}"),
    };
    [http, format!("udp://{host}:{udp_port}{path}")]
}

/// Where announces go on a tracker.
pub(crate) fn announce_path(passkey: Option<&Passkey>) -> String {
    passkey.map_or_else(|| "/announce".to_owned(), |key| format!("/{}/announce", key.reveal()))
}

/// Puts the tracker's URLs in front, in a tier of their own.
pub(super) fn put_first(metainfo: &mut Metainfo, urls: &[String]) {
    let tiers = std::mem::take(&mut metainfo.trackers);
    let others = tiers.into_iter().map(|tier| {
        let is_other = |url: &String| !urls.contains(url) && !is_loopback(url);
        tier.into_iter().filter(is_other).collect::<Vec<_>>()
    });
    metainfo.trackers =
        std::iter::once(urls.to_vec()).chain(others.filter(|tier| !tier.is_empty())).collect();
}

/// Splits a `Host` header; `None` if it is anything but a name or an address with or without a port.
fn parse_host(header: &str) -> Option<(String, Option<u16>)> {
    if let Ok(addr) = header.parse::<SocketAddr>() {
        return Some((shown(addr.ip()), Some(addr.port())));
    }
    if let Some(ip) = header.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
        return Some((shown(ip.parse::<Ipv6Addr>().ok()?.into()), None));
    }
    let (host, port) = match header.split_once(':') {
        Some((host, port)) => (host, Some(port.parse().ok()?)),
        None => (header, None),
    };
    let is_fine = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_');
    let is_name = (1..=253).contains(&host.len()) && host.bytes().all(is_fine);
    is_name.then(|| (host.to_owned(), port))
}

fn shown(ip: IpAddr) -> String {
    match ip {
        IpAddr::V4(ip) => ip.to_string(),
        IpAddr::V6(ip) => format!("[{ip}]"),
    }
}

fn is_loopback(url: &str) -> bool {
    let parsed = url::Url::parse(url).ok();
    let Some(host) = parsed.as_ref().and_then(url::Url::host_str) else { return false };
    let ip = host.trim_matches(['[', ']']).parse::<IpAddr>();
    host == "localhost" || ip.is_ok_and(|ip| ip.to_canonical().is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(host: Option<&'static str>, expected: [&str; 2]) {
        let connection = Connection {
            remote: "192.0.2.9:1234".parse().unwrap(),
            local: "192.0.2.1:6969".parse().unwrap(),
            secure: false,
            proxied: false,
        };
        let mut headers = HeaderMap::new();
        if let Some(host) = host {
            headers.insert(HOST, host.parse().unwrap());
        }
        assert_eq!(announce_urls(&headers, &connection, None), expected, "{host:?}");
    }

    #[test]
    fn urls_name_the_host_that_the_client_used() {
        let own = ["http://192.0.2.1:6969/announce", "udp://192.0.2.1:6969/announce"];
        check(Some("nas:7000"), ["http://nas:7000/announce", "udp://nas:7000/announce"]);
        check(Some("nas.lan"), ["http://nas.lan/announce", "udp://nas.lan:6969/announce"]);
        check(Some("[::1]:70"), ["http://[::1]:70/announce", "udp://[::1]:70/announce"]);
        check(Some("[::1]"), ["http://[::1]/announce", "udp://[::1]:6969/announce"]);
        check(None, own);
        for bad in ["", "a b", "nas:7000/x", "nas:x", "user@nas", "<b>", "nas:99999", "[::1"] {
            check(Some(bad), own);
        }
    }

    #[test]
    fn urls_are_those_that_the_client_asked_its_proxy_by() {
        let direct = Connection {
            remote: "192.0.2.9:0".parse().unwrap(),
            local: "10.0.0.2:6969".parse().unwrap(),
            secure: true,
            proxied: false,
        };
        let mut headers = HeaderMap::new();
        headers.insert(HOST, "backend:6969".parse().unwrap());
        headers.insert("x-forwarded-host", "t.example".parse().unwrap());
        let backend = ["https://backend:6969/announce", "udp://backend:6969/announce"];
        assert_eq!(announce_urls(&headers, &direct, None), backend, "nobody to believe");
        let proxied = Connection { proxied: true, ..direct };
        let public = ["https://t.example/announce", "udp://t.example:6969/announce"];
        assert_eq!(announce_urls(&headers, &proxied, None), public);
        headers.insert("x-forwarded-host", "t.example:8443".parse().unwrap());
        let public = ["https://t.example:8443/announce", "udp://t.example:6969/announce"];
        assert_eq!(announce_urls(&headers, &proxied, None), public);
    }

    #[test]
    fn loopback_urls_are_known() {
        for url in ["http://127.0.0.1:1/announce", "udp://[::1]:6969", "http://localhost/a"] {
            assert!(is_loopback(url), "{url}");
        }
        assert!(!is_loopback("udp://192.0.2.1:6969/announce"));
    }
}
