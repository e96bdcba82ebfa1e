//! The gate that every outgoing connection passes: it judges where to, and chooses where from and through
//! what. No other file opens a socket that is not for listening.

mod proxy;

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;

use proto::egress::Nearness;
use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::{TcpSocket, TcpStream, UdpSocket};

pub use proxy::Proxy;

/// The gate. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Gate {
    /// Local address of what leaves; the system chooses when `None`.
    pub bind: Option<IpAddr>,
    /// The only network interface that anything leaves by, if there is one.
    pub interface: Option<Arc<str>>,
    /// Carries all connections when there is one; then no datagram leaves.
    pub proxy: Option<Arc<Proxy>>,
}

impl Gate {
    /// Whether anything could leave at all.
    ///
    /// # Errors
    /// There is no such interface, or sockets cannot be held to it.
    pub fn check(&self) -> io::Result<()> {
        self.hold_to_interface(&Socket::new(Domain::IPV4, Type::DGRAM, Some(Protocol::UDP))?)
    }

    /// Connects to an address that somebody that near named.
    ///
    /// # Errors
    /// `PermissionDenied` when they may not lead us there; else the system's, or the proxy's.
    pub async fn tcp(&self, to: SocketAddr, by: Nearness) -> io::Result<TcpStream> {
        judge(to, by)?;
        match &self.proxy {
            Some(proxy) => self.through(proxy, &to.to_string()).await,
            None => self.open(to).await,
        }
    }

    /// Connects to a host that the proxy looks up, `HOST:PORT`.
    ///
    /// # Errors
    /// `Unsupported` when there is no proxy; else the system's, or the proxy's.
    pub(crate) async fn tcp_by_name(&self, to: &str) -> io::Result<TcpStream> {
        match &self.proxy {
            Some(proxy) => self.through(proxy, to).await,
            None => Err(io::ErrorKind::Unsupported.into()),
        }
    }

    /// A socket for datagrams to and from one address that somebody that near named.
    ///
    /// # Errors
    /// As for [`Gate::tcp`]; `Unsupported` where a proxy carries everything.
    pub fn udp(&self, to: SocketAddr, by: Nearness) -> io::Result<UdpSocket> {
        judge(to, by)?;
        if self.proxy.is_some() {
            let message = "datagrams do not go through a proxy";
            return Err(io::Error::new(io::ErrorKind::Unsupported, message));
        }
        let any = match to {
            SocketAddr::V4(_) => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
            SocketAddr::V6(_) => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
        };
        let socket = Socket::new(Domain::for_address(to), Type::DGRAM, Some(Protocol::UDP))?;
        self.hold_to_interface(&socket)?;
        socket.bind(&self.bind_to(to).unwrap_or_else(|| (any, 0).into()).into())?;
        // Packets from anywhere else are not even seen.
        socket.connect(&to.into())?;
        socket.set_nonblocking(true)?;
        UdpSocket::from_std(socket.into())
    }

    /// Whatever the socket sends leaves by the interface, and what comes by another is not seen.
    ///
    /// # Errors
    /// The system's: there is no such interface, or it cannot be done here.
    pub(crate) fn hold_to_interface(&self, socket: &Socket) -> io::Result<()> {
        let Some(interface) = &self.interface else { return Ok(()) };
        #[cfg(target_os = "linux")]
        return socket.bind_device(Some(interface.as_bytes())).map_err(|error| {
            io::Error::new(error.kind(), format!("the network interface {interface}: {error}"))
        });
        #[cfg(not(target_os = "linux"))]
        {
            let _ = (socket, interface);
            let message = "sockets cannot be held to an interface here";
            Err(io::Error::new(io::ErrorKind::Unsupported, message))
        }
    }

    async fn through(&self, proxy: &Proxy, to: &str) -> io::Result<TcpStream> {
        let mut last = io::Error::new(io::ErrorKind::NotFound, "the proxy's host was not found");
        for addr in tokio::net::lookup_host(proxy.place()).await? {
            match self.open(addr).await {
                Ok(stream) => return proxy.carry(stream, to).await,
                Err(error) => last = io::Error::new(error.kind(), format!("the proxy: {error}")),
            }
        }
        Err(last)
    }

    async fn open(&self, to: SocketAddr) -> io::Result<TcpStream> {
        let socket = Socket::new(Domain::for_address(to), Type::STREAM, Some(Protocol::TCP))?;
        self.hold_to_interface(&socket)?;
        socket.set_nonblocking(true)?;
        let socket = TcpSocket::from_std_stream(socket.into());
        if let Some(bind) = self.bind_to(to) {
            socket.bind(bind)?;
        }
        socket.connect(to).await
    }

    fn bind_to(&self, to: SocketAddr) -> Option<SocketAddr> {
        let bind = self.bind.filter(|bind| bind.is_ipv4() == to.is_ipv4())?;
        Some(SocketAddr::new(bind, 0))
    }
}

/// Whether somebody that near may lead us there.
///
/// # Errors
/// `PermissionDenied`, with the reason.
pub(crate) fn judge(to: SocketAddr, by: Nearness) -> io::Result<()> {
    let refused = |refused| io::Error::new(io::ErrorKind::PermissionDenied, refused);
    by.may_name(to).map_err(refused)
}
