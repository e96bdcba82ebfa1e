//! The gate that every outgoing connection passes: it judges where to, and chooses where from. No other
//! file opens a socket that is not for listening.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use proto::egress::Nearness;
use tokio::net::{TcpSocket, TcpStream, UdpSocket};

/// The gate. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Gate {
    /// Local address of what leaves; the system chooses when `None`.
    pub bind: Option<IpAddr>,
}

impl Gate {
    /// Connects to an address that somebody that near named.
    ///
    /// # Errors
    /// `PermissionDenied` when they may not lead us there; else the system's.
    pub async fn tcp(&self, to: SocketAddr, by: Nearness) -> io::Result<TcpStream> {
        judge(to, by)?;
        let socket = if to.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
        if let Some(bind) = self.bind_to(to) {
            socket.bind(bind)?;
        }
        socket.connect(to).await
    }

    /// A socket for datagrams to and from one address that somebody that near named.
    ///
    /// # Errors
    /// As for [`Gate::tcp`].
    pub async fn udp(&self, to: SocketAddr, by: Nearness) -> io::Result<UdpSocket> {
        judge(to, by)?;
        let any = match to {
            SocketAddr::V4(_) => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
            SocketAddr::V6(_) => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
        };
        let socket = UdpSocket::bind(self.bind_to(to).unwrap_or_else(|| (any, 0).into())).await?;
        // Packets from anywhere else are not even seen.
        socket.connect(to).await?;
        Ok(socket)
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
