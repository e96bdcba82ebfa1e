//! The UDP sockets: one beside each TCP listener, at the same address and port, owned by one task each.
//!
//! What comes is told apart by its first byte: a bencoded dictionary is the DHT's, all else may be uTP's
//! (whose first byte holds a version that no letter has). Whoever takes datagrams gives a bounded
//! channel; what finds it full is lost, as any datagram may be. What is sent waits in a bounded queue
//! for its family's socket.

use std::io;
use std::net::{SocketAddr, UdpSocket as StdSocket};
use std::sync::Arc;

use tokio::net::UdpSocket;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

/// A datagram, and who sent it or shall have it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Datagram {
    /// The other side, IPv4-mapped addresses as IPv4.
    pub(crate) peer: SocketAddr,
    /// The payload.
    pub(crate) bytes: Vec<u8>,
}

/// Who takes which datagrams.
#[derive(Debug, Clone, Default)]
pub(crate) struct Routes {
    /// Messages of the DHT.
    pub(crate) dht: Option<mpsc::Sender<Datagram>>,
    /// All others.
    pub(crate) other: Option<mpsc::Sender<Datagram>>,
}

/// The way out, for everybody who sends.
#[derive(Debug, Clone, Default)]
pub(crate) struct Outgoing {
    v4: Option<mpsc::Sender<Datagram>>,
    v6: Option<mpsc::Sender<Datagram>>,
}

/// One socket, not running yet, and what waits for it.
#[derive(Debug)]
pub(crate) struct Bound {
    socket: StdSocket,
    queue: mpsc::Receiver<Datagram>,
}

impl Outgoing {
    /// Takes over bound sockets. Of each family the first one sends; all receive.
    pub(crate) fn over(sockets: Vec<StdSocket>) -> (Self, Vec<Bound>) {
        let mut outgoing = Self::default();
        let mut bound = Vec::new();
        for socket in sockets {
            let (sender, queue) = mpsc::channel(WAITING_MAX);
            match socket.local_addr() {
                Ok(SocketAddr::V4(_)) => _ = outgoing.v4.get_or_insert(sender),
                Ok(SocketAddr::V6(_)) => _ = outgoing.v6.get_or_insert(sender),
                Err(_) => {}
            }
            bound.push(Bound { socket, queue });
        }
        (outgoing, bound)
    }

    /// Sends a datagram, or loses it: when too many wait, or no socket has its family.
    pub(crate) fn send(&self, peer: SocketAddr, bytes: Vec<u8>) -> bool {
        let queue = if peer.is_ipv4() { &self.v4 } else { &self.v6 };
        queue.as_ref().is_some_and(|queue| queue.try_send(Datagram { peer, bytes }).is_ok())
    }

    /// There is a socket for IPv4.
    pub(crate) const fn has_v4(&self) -> bool {
        self.v4.is_some()
    }

    /// There is a socket for IPv6.
    pub(crate) const fn has_v6(&self) -> bool {
        self.v6.is_some()
    }
}

impl Routes {
    /// Hands a datagram to whom it is for.
    fn dispatch(&self, datagram: Datagram) {
        let route = if is_dictionary(&datagram.bytes) { &self.dht } else { &self.other };
        if let Some(route) = route {
            // Full, or closing: lost.
            let _ = route.try_send(datagram);
        }
    }
}

/// Carries datagrams until the node closes.
pub(crate) async fn run(bound: Bound, routes: Routes, closing: CancellationToken) {
    let Bound { socket, mut queue } = bound;
    let socket = match UdpSocket::from_std(socket) {
        Ok(socket) => Arc::new(socket),
        Err(error) => return tracing::error!(%error, "cannot receive datagrams"),
    };
    let mut buffer = vec![0; DATAGRAM_LEN_MAX];
    let mut waiting: Option<Datagram> = None;
    // Without senders it only receives.
    let mut sending = true;
    loop {
        tokio::select! {
            () = closing.cancelled() => return,
            next = queue.recv(), if sending && waiting.is_none() => match next {
                Some(datagram) => waiting = unsent(&socket, datagram),
                None => sending = false,
            },
            ready = socket.writable(), if waiting.is_some() => {
                if ready.is_ok() && let Some(datagram) = waiting.take() {
                    waiting = unsent(&socket, datagram);
                }
            }
            ready = socket.readable() => {
                if ready.is_ok() {
                    receive(&socket, &routes, &mut buffer);
                }
            }
        }
    }
}

/// Sends; gives the datagram back when the kernel takes no more for now.
fn unsent(socket: &UdpSocket, datagram: Datagram) -> Option<Datagram> {
    match socket.try_send_to(&datagram.bytes, datagram.peer) {
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Some(datagram),
        Err(error) => {
            // No route, or a filter: the other side does not answer, and that is all.
            tracing::trace!(peer = %datagram.peer, %error, "a datagram was not sent");
            None
        }
        Ok(_) => None,
    }
}

/// Takes what is there, so much that sending has its turn.
fn receive(socket: &UdpSocket, routes: &Routes, buffer: &mut [u8]) {
    for _ in 0..BATCH {
        match socket.try_recv_from(buffer) {
            Ok((len, peer)) => {
                let bytes = buffer[..len].to_vec();
                routes.dispatch(Datagram { peer: swarm::canonical(peer), bytes });
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
            // What an earlier datagram of ours met; the socket itself is well.
            Err(error) => return tracing::trace!(%error, "a datagram was not received"),
        }
    }
}

/// All messages of the DHT are bencoded dictionaries.
fn is_dictionary(bytes: &[u8]) -> bool {
    bytes.first() == Some(&b'd')
}

/// Datagrams that wait for a socket: a few searches' questions. The DHT asks again, uTP sends again.
const WAITING_MAX: usize = 1_024;
/// Longer than any path carries.
const DATAGRAM_LEN_MAX: usize = 64 * 1024;
/// Datagrams received in a row.
const BATCH: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn datagrams_reach_who_they_are_for() {
        let local = || StdSocket::bind("127.0.0.1:0").unwrap();
        let (one, other) = (local(), local());
        let addr = one.local_addr().unwrap();
        one.set_nonblocking(true).unwrap();
        let (outgoing, mut bound) = Outgoing::over(vec![one]);
        assert!(outgoing.has_v4() && !outgoing.has_v6());
        assert!(!outgoing.send("[::1]:9".parse().unwrap(), vec![1]), "no socket for IPv6");
        let (to_dht, mut dht) = mpsc::channel(4);
        let (to_other, mut rest) = mpsc::channel(4);
        let routes = Routes { dht: Some(to_dht), other: Some(to_other) };
        let closing = CancellationToken::new();
        let task = tokio::spawn(run(bound.remove(0), routes, closing.clone()));
        for bytes in [&b"d1:xe"[..], b"\x41\x00", b"de", b""] {
            other.send_to(bytes, addr).unwrap();
        }
        let peer = other.local_addr().unwrap();
        for expected in [b"d1:xe".to_vec(), b"de".to_vec()] {
            assert_eq!(dht.recv().await, Some(Datagram { peer, bytes: expected }));
        }
        for expected in [b"\x41\x00".to_vec(), Vec::new()] {
            assert_eq!(rest.recv().await, Some(Datagram { peer, bytes: expected }));
        }
        assert!(outgoing.send(peer, b"hello".to_vec()));
        let mut buffer = [0; 16];
        let (len, from) = tokio::task::spawn_blocking(move || other.recv_from(&mut buffer))
            .await
            .unwrap()
            .unwrap();
        assert_eq!((len, from), (5, addr));
        closing.cancel();
        task.await.unwrap();
    }

    #[tokio::test]
    async fn a_full_queue_loses_and_never_waits() {
        let socket = StdSocket::bind("127.0.0.1:0").unwrap();
        let peer = socket.local_addr().unwrap();
        let (outgoing, bound) = Outgoing::over(vec![socket]);
        let sent = (0..2 * WAITING_MAX).filter(|_| outgoing.send(peer, vec![1])).count();
        assert_eq!(sent, WAITING_MAX);
        let (sender, receiver) = mpsc::channel(1);
        let routes = Routes { dht: None, other: Some(sender) };
        for _ in 0..3 {
            routes.dispatch(Datagram { peer, bytes: vec![1] });
            routes.dispatch(Datagram { peer, bytes: b"d".to_vec() });
        }
        assert_eq!(receiver.len(), 1);
        drop(bound);
    }
}
