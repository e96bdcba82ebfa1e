//! A proxy that carries TCP connections: SOCKS5 (RFC 1928, 1929) or HTTP CONNECT (RFC 9110, 9.3.6). Names
//! are looked up by the proxy, never here.

use std::io;
use std::str::FromStr;

use base64::Engine as _;
use hyper::Uri;
use hyper::header::HeaderValue;
use hyper_util::client::legacy::connect::proxy::{SocksV5, Tunnel};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tower::{ServiceExt as _, service_fn};
use url::Url;

/// A proxy.
#[derive(Clone, PartialEq, Eq)]
pub struct Proxy {
    kind: Kind,
    host: String,
    port: u16,
    login: Option<(String, String)>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Socks5,
    Http,
}

/// Without name and password.
impl std::fmt::Debug for Proxy {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { kind, host, port, .. } = self;
        write!(f, "Proxy({kind:?} {host}:{port})")
    }
}

impl FromStr for Proxy {
    type Err = &'static str;

    /// `socks5://` or `http://`, `[USER:PASSWORD@]HOST[:PORT]`; the port is 1080 or 8080 by default.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        const EXPECTED: &str = "expected socks5://HOST:PORT or http://HOST:PORT";
        let url = Url::parse(text).map_err(|_| EXPECTED)?;
        let (kind, default_port) = match url.scheme() {
            "socks5" | "socks5h" => (Kind::Socks5, 1080),
            "http" => (Kind::Http, 8080),
            _ => return Err(EXPECTED),
        };
        let host = url.host_str().filter(|host| !host.is_empty()).ok_or(EXPECTED)?;
        if !matches!(url.path(), "" | "/") || url.query().is_some() || url.fragment().is_some() {
            return Err(EXPECTED);
        }
        // A URL parser drops the port that it takes for the scheme's own.
        let port = match url.port() {
            Some(0) => return Err("a proxy has no port 0"),
            Some(port) => port,
            None if text.trim_end_matches('/').ends_with(":80") => 80,
            None => default_port,
        };
        let decode = |text| percent_encoding::percent_decode_str(text).decode_utf8();
        let login = match (url.username(), url.password()) {
            ("", None) => None,
            (user, password) => {
                let user = decode(user).map_err(|_| EXPECTED)?;
                let password = decode(password.unwrap_or("")).map_err(|_| EXPECTED)?;
                if user.len() > 255 || password.len() > 255 {
                    return Err("a proxy's user name and password have at most 255 bytes");
                }
                Some((user.into_owned(), password.into_owned()))
            }
        };
        Ok(Self { kind, host: host.to_owned(), port, login })
    }
}

impl Proxy {
    /// Where it is: a name or an address, without brackets, and a port.
    pub(super) fn place(&self) -> (&str, u16) {
        (self.host.trim_matches(['[', ']']), self.port)
    }

    /// Has a connection to the proxy carried on to `HOST:PORT`.
    pub(super) async fn carry(&self, stream: TcpStream, to: &str) -> io::Result<TcpStream> {
        let to = format!("tcp://{to}").parse::<Uri>().map_err(io::Error::other)?;
        let (host, port) = (&self.host, self.port);
        let proxy = format!("tcp://{host}:{port}").parse::<Uri>().map_err(io::Error::other)?;
        let mut stream = Some(stream);
        // It wants to connect by itself; the connection is there already.
        let connector = service_fn(move |_: Uri| {
            let stream = stream.take().ok_or(io::ErrorKind::NotConnected);
            std::future::ready(stream.map(TokioIo::new).map_err(io::Error::from))
        });
        let carried = match self.kind {
            Kind::Socks5 => {
                let mut socks = SocksV5::new(proxy, connector);
                if let Some((user, password)) = self.login.clone() {
                    socks = socks.with_auth(user, password);
                }
                socks.oneshot(to).await.map_err(|error| refused(&error))?
            }
            Kind::Http => {
                let mut tunnel = Tunnel::new(proxy, connector);
                if let Some((user, password)) = &self.login {
                    let login =
                        base64::prelude::BASE64_STANDARD.encode(format!("{user}:{password}"));
                    let login = HeaderValue::try_from(format!("Basic {login}"));
                    tunnel = tunnel.with_auth(login.map_err(io::Error::other)?);
                }
                tunnel.oneshot(to).await.map_err(|error| refused(&error))?
            }
        };
        Ok(carried.into_inner())
    }
}

fn refused(error: &impl std::fmt::Display) -> io::Error {
    io::Error::new(io::ErrorKind::ConnectionRefused, format!("the proxy: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn proxies_are_urls() {
        let place = |text: &str| {
            let proxy: Proxy = text.parse().unwrap();
            let (host, port) = proxy.place();
            (proxy.kind, host.to_owned(), port, proxy.login)
        };
        let login = |user: &str, password: &str| Some((user.to_owned(), password.to_owned()));
        let cases = [
            ("socks5://127.0.0.1:9050", Kind::Socks5, "127.0.0.1", 9050, None),
            ("socks5h://nas", Kind::Socks5, "nas", 1080, None),
            ("http://[::1]:3128/", Kind::Http, "::1", 3128, None),
            ("http://proxy:80", Kind::Http, "proxy", 80, None),
            ("http://proxy", Kind::Http, "proxy", 8080, None),
            ("socks5://a%40b:c%3Ad@h:1", Kind::Socks5, "h", 1, login("a@b", "c:d")),
            ("socks5://me@h:1", Kind::Socks5, "h", 1, login("me", "")),
        ];
        for (text, kind, host, port, login) in cases {
            assert_eq!(place(text), (kind, host.to_owned(), port, login), "{text}");
        }
        for text in
            ["", "h:1", "socks4://h:1", "https://h", "http://h/x", "http://h?x", "socks5://h:0"]
        {
            assert!(text.parse::<Proxy>().is_err(), "{text}");
        }
    }

    #[test]
    fn passwords_are_not_shown() {
        let proxy: Proxy = "socks5://me:secret@h:1".parse().unwrap();
        assert_eq!(format!("{proxy:?}"), "Proxy(Socks5 h:1)");
    }
}
