//! The ports: text by UDP on one number, chunk lists by TCP on the next.

use std::io;
use std::net::{SocketAddr, UdpSocket};

use tokio::net::TcpListener;

use crate::server::{FREE_PORT_TRIES, Listener, Protocol, StartError, bind_tcp};
use crate::udp;

/// The sockets of one address.
#[derive(Debug)]
pub(crate) struct TextSockets {
    pub(super) udp: UdpSocket,
    pub(super) lists: TcpListener,
    /// Of the UDP socket.
    pub(super) addr: SocketAddr,
}

impl TextSockets {
    /// What is spoken where.
    pub(crate) fn listeners(&self) -> [Listener; 2] {
        let lists = SocketAddr::new(self.addr.ip(), self.lists_port());
        [(Protocol::Text, self.addr), (Protocol::TextLists, lists)]
            .map(|(protocol, addr)| Listener { protocol, addr })
    }

    /// The port of chunk lists.
    pub(super) const fn lists_port(&self) -> u16 {
        self.addr.port().saturating_add(1)
    }
}

/// Binds both ports of every address. Port 0 picks two free ones, the same everywhere.
///
/// # Errors
/// When a port cannot be used; on a private tracker always, since nobody can show a token here.
pub(crate) fn bind(listen: &[SocketAddr], private: bool) -> Result<Vec<TextSockets>, StartError> {
    if private && !listen.is_empty() {
        return Err(StartError::TextPrivate);
    }
    let may_retry = listen.iter().all(|addr| addr.port() == 0);
    let mut tries = 0;
    loop {
        tries += 1;
        match try_bind(listen) {
            Err(error) if may_retry && tries < FREE_PORT_TRIES && is_bad_luck(&error) => {}
            result => return result,
        }
    }
}

fn is_bad_luck(error: &StartError) -> bool {
    error.is_port_taken() || matches!(error, StartError::NoNextPort(_))
}

fn try_bind(listen: &[SocketAddr]) -> Result<Vec<TextSockets>, StartError> {
    let mut bound: Vec<TextSockets> = Vec::new();
    for &asked in listen {
        let mut addr = asked;
        if let Some(first) = bound.first().filter(|_| addr.port() == 0) {
            addr.set_port(first.addr.port());
        }
        let failed =
            |protocol, addr| move |source: io::Error| StartError::Listen { protocol, addr, source };
        let udp = udp::bind_one(addr).map_err(failed(Protocol::Text, addr))?;
        let addr = udp.local_addr().map_err(failed(Protocol::Text, addr))?;
        let next = addr.port().checked_add(1).ok_or(StartError::NoNextPort(addr))?;
        let lists_addr = SocketAddr::new(addr.ip(), next);
        let lists = bind_tcp(lists_addr).map_err(failed(Protocol::TextLists, lists_addr))?;
        bound.push(TextSockets { udp, lists, addr });
    }
    Ok(bound)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Vec<SocketAddr> {
        vec![text.parse().unwrap()]
    }

    #[tokio::test]
    async fn two_ports_in_a_row_are_taken() {
        let bound = bind(&at("127.0.0.1:0"), false).unwrap().remove(0);
        let [udp, tcp] = bound.listeners();
        assert_eq!((udp.protocol, tcp.protocol), (Protocol::Text, Protocol::TextLists));
        assert_eq!(bound.lists.local_addr().unwrap(), tcp.addr);
        assert_eq!(udp.addr.port() + 1, tcp.addr.port());
        let error = bind(&[udp.addr], false).unwrap_err().to_string();
        assert!(error.contains(&format!("text {}", udp.addr)), "{error}");
    }

    #[tokio::test]
    async fn the_taken_port_is_named() {
        let bound = bind(&at("127.0.0.1:0"), false).unwrap().remove(0);
        let [udp, tcp] = bound.listeners();
        let TextSockets { udp: socket, lists: _held, .. } = bound;
        drop(socket);
        let error = bind(&[udp.addr], false).unwrap_err();
        assert!(error.is_port_taken());
        assert!(error.to_string().contains(&format!("text-lists {}", tcp.addr)), "{error}");
    }

    #[tokio::test]
    async fn a_private_tracker_does_not_speak_text() {
        let refused = bind(&at("127.0.0.1:0"), true).unwrap_err();
        assert!(matches!(refused, StartError::TextPrivate));
        assert!(bind(&[], true).unwrap().is_empty());
    }

    #[tokio::test]
    async fn behind_the_last_port_there_is_none() {
        let error = bind(&at("127.0.0.1:65535"), false).unwrap_err().to_string();
        assert!(error.contains("65535"), "{error}");
    }
}
