//! The sockets: which protocol is spoken at which address.

use std::io;
use std::net::{SocketAddr, UdpSocket};

use socket2::{Domain, Protocol as SocketProtocol, Socket, Type};
use tokio::net::TcpListener;

use super::{Extra, StartError, TrackerConfig};
use crate::proxy::TrustedProxy;
use crate::text::{self, TextConfig, TextSockets};
use crate::udp;

/// Port 0 is tried so often, since UDP and TCP need the same free number.
pub(crate) const FREE_PORT_TRIES: usize = 32;

/// After so many ports that are taken any free one will do for the operator.
const ADMIN_PORTS_TRIED: u16 = 16;

/// Connections that may wait to be accepted.
const BACKLOG: i32 = 1_024;

/// What is spoken at an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    /// BEP 15.
    Udp,
    /// BEP 3 and the API.
    Http,
    /// JSON over TCP, for clients of twenty lines.
    Json,
    /// Administration, metrics and statistics over HTTP.
    Admin,
    /// Text over UDP.
    Text,
    /// The chunk lists of text, over TCP on the port behind it.
    TextLists,
}

impl Protocol {
    /// Its word in the API.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Udp => "udp",
            Self::Http => "http",
            Self::Json => "json",
            Self::Admin => "admin",
            Self::Text => "text",
            Self::TextLists => "text-lists",
        }
    }
}

impl std::fmt::Display for Protocol {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

/// An address in use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Listener {
    /// What is spoken there.
    pub protocol: Protocol,
    /// The address, its port never 0.
    pub addr: SocketAddr,
}

/// Every socket, bound but not served yet.
pub(super) struct Sockets {
    pub(super) main: Vec<Bound>,
    pub(super) json: Vec<(TcpListener, Listener)>,
    pub(super) admin: Vec<(TcpListener, Listener)>,
    /// Those of HTTP believe these.
    pub(super) proxies: Vec<TrustedProxy>,
    pub(super) text: Vec<TextSockets>,
    pub(super) text_config: TextConfig,
}

impl Sockets {
    pub(super) fn bind(
        config: &TrackerConfig,
        left_out: &mut Vec<StartError>,
    ) -> Result<Self, StartError> {
        let sockets = Self {
            main: bind_all(&config.listen)?,
            json: bind_extra(&config.json, Protocol::Json, left_out)?,
            admin: bind_admin(&config.admin, left_out)?,
            proxies: config.proxies.clone(),
            text: text::bind(&config.text.listen, config.private)?,
            text_config: config.text.clone(),
        };
        let is_bound = |addr: &SocketAddr| sockets.main.iter().any(|bound| bound.addr == *addr);
        let mut meant = sockets.proxies.iter().filter_map(|proxy| proxy.listener);
        match meant.find(|addr| !is_bound(addr)) {
            Some(addr) => Err(StartError::Proxy(addr)),
            None => Ok(sockets),
        }
    }

    pub(super) fn listeners(&self) -> Vec<Listener> {
        let extra = self.json.iter().chain(&self.admin).map(|(_, listener)| *listener);
        let text = self.text.iter().flat_map(TextSockets::listeners);
        self.main.iter().flat_map(Bound::listeners).chain(extra).chain(text).collect()
    }
}

/// The sockets of one address.
pub(super) struct Bound {
    pub(super) tcp: TcpListener,
    pub(super) udp: Vec<UdpSocket>,
    pub(super) addr: SocketAddr,
}

impl Bound {
    fn listeners(&self) -> [Listener; 2] {
        [Protocol::Udp, Protocol::Http].map(|protocol| Listener { protocol, addr: self.addr })
    }
}

/// Binds all addresses of a protocol, or leaves it out.
fn bind_extra(
    extra: &Extra,
    protocol: Protocol,
    left_out: &mut Vec<StartError>,
) -> Result<Vec<(TcpListener, Listener)>, StartError> {
    let bound = extra.listen.iter().map(|&addr| {
        let failed = |source: io::Error| StartError::Listen { protocol, addr, source };
        let listener = bind_tcp(addr).map_err(failed)?;
        let addr = listener.local_addr().map_err(failed)?;
        Ok((listener, Listener { protocol, addr }))
    });
    match bound.collect() {
        Err(error) if !extra.required => {
            left_out.push(error);
            Ok(Vec::new())
        }
        bound => bound,
    }
}

/// Binds the addresses of the operator. A port that nobody asked for gives way to the next free one.
fn bind_admin(
    admin: &Extra,
    left_out: &mut Vec<StartError>,
) -> Result<Vec<(TcpListener, Listener)>, StartError> {
    let mut extra = admin.clone();
    // The ports above are the tracker's own, so it goes down.
    for _ in 0..ADMIN_PORTS_TRIED {
        let bound =
            bind_extra(&Extra { required: true, ..extra.clone() }, Protocol::Admin, left_out);
        match bound {
            Err(error) if error.is_port_taken() && !admin.required => {}
            bound => return bound,
        }
        extra.listen.iter_mut().for_each(|addr| addr.set_port(addr.port().saturating_sub(1)));
    }
    extra.listen.iter_mut().for_each(|addr| addr.set_port(0));
    bind_extra(&extra, Protocol::Admin, left_out)
}

fn bind_all(listen: &[SocketAddr]) -> Result<Vec<Bound>, StartError> {
    let may_retry = listen.iter().any(|addr| addr.port() == 0);
    let mut tries = 0;
    loop {
        tries += 1;
        match try_bind_all(listen) {
            Err(error) if error.is_port_taken() && may_retry && tries < FREE_PORT_TRIES => {}
            Ok(bound) if bound.is_empty() => return Err(StartError::NoAddress),
            result => return result,
        }
    }
}

fn try_bind_all(listen: &[SocketAddr]) -> Result<Vec<Bound>, StartError> {
    let mut bound: Vec<Bound> = Vec::new();
    for &asked in listen {
        let mut addr = asked;
        if let Some(first) = bound.first().filter(|_| addr.port() == 0) {
            addr.set_port(first.addr.port());
        }
        let failed =
            |protocol| move |source: io::Error| StartError::Listen { protocol, addr, source };
        let tcp = bind_tcp(addr).map_err(failed(Protocol::Http))?;
        let in_use = tcp.local_addr().map_err(failed(Protocol::Http))?;
        let udp = udp::bind(in_use).map_err(failed(Protocol::Udp))?;
        bound.push(Bound { tcp, udp, addr: in_use });
    }
    Ok(bound)
}

pub(crate) fn bind_tcp(addr: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(addr), Type::STREAM, Some(SocketProtocol::TCP))?;
    if addr.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    // A restart need not wait for connections of the run before. Elsewhere than on Unix the same
    // option would let two programs share the port.
    #[cfg(unix)]
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&addr.into())?;
    socket.listen(BACKLOG)?;
    TcpListener::from_std(socket.into())
}
