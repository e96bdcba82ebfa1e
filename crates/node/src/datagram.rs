//! The UDP sockets: one beside each TCP listener, at the same address and port, owned by one task each.
//!
//! What comes is told apart by its first byte: a bencoded dictionary is the DHT's, all else may be uTP's
//! (whose first byte holds a version that no letter has). The DHT gives a bounded channel; what finds it
//! full is lost, as any datagram may be. What it sends waits in a bounded queue for a socket: an answer for
//! the one that was asked, a question for one of its family, and such that leads into the world if there is.
//! uTP's endpoint is called right here, and sends by itself: it moves much.

use std::io;
use std::net::{SocketAddr, UdpSocket as StdSocket};
use std::sync::Arc;

use proto::dht::MESSAGE_LEN_MAX;
use sys::trains::{self, Received};
use tokio::net::UdpSocket;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::utp::Host;

/// A datagram, and who sent it or shall have it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Datagram {
    /// The number of the socket that it came in by or leaves by.
    pub(crate) socket: usize,
    /// The other side, IPv4-mapped addresses as IPv4.
    pub(crate) peer: SocketAddr,
    /// The payload.
    pub(crate) bytes: Vec<u8>,
}

/// Who takes which datagrams of a socket.
#[derive(Debug, Clone, Default)]
pub(crate) struct Routes {
    /// Messages of the DHT.
    pub(crate) dht: Option<mpsc::Sender<Datagram>>,
    /// All others.
    pub(crate) utp: Option<Arc<Host>>,
}

/// The way out, for everybody who sends.
#[derive(Debug, Clone, Default)]
pub(crate) struct Outgoing {
    /// Of each socket, by its number.
    ways: Vec<Way>,
}

/// The way to one socket.
#[derive(Debug, Clone)]
struct Way {
    /// Where it is bound; without that nothing is sent by it.
    local: Option<SocketAddr>,
    queue: mpsc::Sender<Datagram>,
}

/// One socket, not running yet, and what waits for it.
#[derive(Debug)]
pub(crate) struct Bound {
    number: usize,
    socket: StdSocket,
    queue: mpsc::Receiver<Datagram>,
}

impl Outgoing {
    /// Takes over bound sockets.
    pub(crate) fn over(sockets: Vec<StdSocket>) -> (Self, Vec<Bound>) {
        let mut outgoing = Self::default();
        let mut bound = Vec::new();
        for (number, socket) in sockets.into_iter().enumerate() {
            let (sender, queue) = mpsc::channel(WAITING_MAX);
            outgoing.ways.push(Way { local: socket.local_addr().ok(), queue: sender });
            bound.push(Bound { number, socket, queue });
        }
        (outgoing, bound)
    }

    /// Sends a datagram by that socket, or by the best one. Loses it when too many wait, or no socket has
    /// its family.
    pub(crate) fn send(&self, socket: Option<usize>, peer: SocketAddr, bytes: Vec<u8>) -> bool {
        let ways = self.ways.iter().enumerate().filter(|(_, way)| way.carries(peer.is_ipv4()));
        // That one, else the first from which datagrams leave the machine, else the first.
        let best = ways.min_by_key(|(number, way)| (Some(*number) != socket, way.is_loopback()));
        best.is_some_and(|(socket, way)| {
            way.queue.try_send(Datagram { socket, peer, bytes }).is_ok()
        })
    }

    /// There is a socket for IPv4.
    pub(crate) fn has_v4(&self) -> bool {
        self.ways.iter().any(|way| way.carries(true))
    }

    /// There is a socket for IPv6.
    pub(crate) fn has_v6(&self) -> bool {
        self.ways.iter().any(|way| way.carries(false))
    }
}

impl Way {
    fn carries(&self, ipv4: bool) -> bool {
        self.local.is_some_and(|local| local.is_ipv4() == ipv4)
    }

    fn is_loopback(&self) -> bool {
        self.local.is_some_and(|local| local.ip().is_loopback())
    }
}

impl Routes {
    /// Hands datagrams of one sender, which came in by one socket, to whom they are for.
    fn dispatch(&self, socket: usize, peer: SocketAddr, train: &[u8], segment_len: usize) {
        if !train.chunks(segment_len).any(is_dictionary) {
            if let Some(utp) = &self.utp {
                utp.handle(peer, train, segment_len);
            }
            return;
        }
        for datagram in train.chunks(segment_len) {
            if !is_dictionary(datagram) {
                self.dispatch(socket, peer, datagram, datagram.len().max(1));
            } else if let Some(dht) = &self.dht
                && datagram.len() <= MESSAGE_LEN_MAX
            {
                // Full, or closing: lost.
                let _ = dht.try_send(Datagram { socket, peer, bytes: datagram.to_vec() });
            }
        }
    }

    /// Keeps uTP's timers.
    async fn keep(&self, socket: &UdpSocket) {
        match &self.utp {
            Some(utp) => utp.keep(socket).await,
            None => std::future::pending().await,
        }
    }

    /// Lets uTP answer what came.
    fn flush(&self) {
        if let Some(utp) = &self.utp {
            utp.flush();
        }
    }
}

/// Carries datagrams until the node closes.
pub(crate) async fn run(bound: Bound, routes: Routes, closing: CancellationToken) {
    let Bound { number, socket, mut queue } = bound;
    let socket = match UdpSocket::from_std(socket) {
        Ok(socket) => Arc::new(socket),
        Err(error) => return tracing::error!(%error, "cannot receive datagrams"),
    };
    if let Some(utp) = &routes.utp {
        // Without it packets come one by one.
        if let Err(error) = trains::prepare(&socket) {
            tracing::debug!(%error, "packets come one by one");
        }
        utp.attach(socket.clone());
    }
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
                    receive(&socket, number, &routes, &mut buffer);
                }
            }
            () = routes.keep(&socket) => {}
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
fn receive(socket: &UdpSocket, number: usize, routes: &Routes, buffer: &mut [u8]) {
    let mut unanswered = 0;
    for _ in 0..BATCH {
        match trains::receive(socket, buffer) {
            Ok(Received { from, len, segment_len }) => {
                routes.dispatch(number, swarm::canonical(from), &buffer[..len], segment_len);
                unanswered += len.div_ceil(segment_len);
                if unanswered >= ANSWER_EVERY {
                    unanswered = 0;
                    routes.flush();
                }
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
            // What an earlier datagram of ours met; the socket itself is well.
            Err(error) => {
                tracing::trace!(%error, "a datagram was not received");
                break;
            }
        }
    }
    routes.flush();
}

/// All messages of the DHT are bencoded dictionaries.
fn is_dictionary(bytes: &[u8]) -> bool {
    bytes.first() == Some(&b'd')
}

/// Datagrams that wait for a socket: a few searches' questions. The DHT asks again, uTP sends again.
const WAITING_MAX: usize = 1_024;
/// Longer than any path carries.
const DATAGRAM_LEN_MAX: usize = 64 * 1024;
/// Trains of datagrams received in a row.
const BATCH: usize = 64;
/// Datagrams after which uTP answers: its peers pace themselves by that.
const ANSWER_EVERY: usize = 32;

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
        assert!(!outgoing.send(None, "[::1]:9".parse().unwrap(), vec![1]), "no socket for IPv6");
        let (to_dht, mut dht) = mpsc::channel(4);
        let routes = Routes { dht: Some(to_dht), utp: None };
        let closing = CancellationToken::new();
        let task = tokio::spawn(run(bound.remove(0), routes, closing.clone()));
        for bytes in [&b"d1:xe"[..], b"\x41\x00", b"de", b""] {
            other.send_to(bytes, addr).unwrap();
        }
        let peer = other.local_addr().unwrap();
        for expected in [b"d1:xe".to_vec(), b"de".to_vec()] {
            assert_eq!(dht.recv().await, Some(Datagram { socket: 0, peer, bytes: expected }));
        }
        assert!(dht.is_empty(), "others are not for it");
        assert!(outgoing.send(Some(0), peer, b"hello".to_vec()));
        let mut buffer = [0; 16];
        let (len, from) = tokio::task::spawn_blocking(move || other.recv_from(&mut buffer))
            .await
            .unwrap()
            .unwrap();
        assert_eq!((len, from), (5, addr));
        closing.cancel();
        task.await.unwrap();
    }

    #[test]
    fn answers_leave_by_the_socket_that_was_asked_and_questions_into_the_world() {
        let sockets = ["127.0.0.1:0", "0.0.0.0:0", "127.0.0.2:0"].map(StdSocket::bind);
        let (outgoing, mut bound) = Outgoing::over(sockets.map(Result::unwrap).into());
        let peer = "127.0.0.9:9".parse().unwrap();
        for (socket, number) in [(None, 1), (Some(0), 0), (Some(1), 1), (Some(2), 2), (Some(3), 1)]
        {
            assert!(outgoing.send(socket, peer, vec![1]));
            for bound in &mut bound {
                let sent = bound.queue.try_recv().ok();
                let expected = Datagram { socket: number, peer, bytes: vec![1] };
                assert_eq!(sent, Some(expected).filter(|_| bound.number == number));
            }
        }
        let (only, _bound) = Outgoing::over(vec![StdSocket::bind("127.0.0.1:0").unwrap()]);
        assert!(only.send(None, peer, vec![1]), "better than none");
    }

    #[tokio::test]
    async fn a_full_queue_loses_and_never_waits() {
        let socket = StdSocket::bind("127.0.0.1:0").unwrap();
        let peer = socket.local_addr().unwrap();
        let (outgoing, bound) = Outgoing::over(vec![socket]);
        let sent = (0..2 * WAITING_MAX).filter(|_| outgoing.send(None, peer, vec![1])).count();
        assert_eq!(sent, WAITING_MAX);
        let (sender, receiver) = mpsc::channel(1);
        let routes = Routes { dht: Some(sender), utp: None };
        // Three of two bytes each, in one piece.
        routes.dispatch(0, peer, b"deZ?de", 2);
        assert_eq!(receiver.len(), 1);
        let (sender, receiver) = mpsc::channel(4);
        let routes = Routes { dht: Some(sender), utp: None };
        for len in [MESSAGE_LEN_MAX + 1, DATAGRAM_LEN_MAX, MESSAGE_LEN_MAX] {
            routes.dispatch(0, peer, &vec![b'd'; len], len);
        }
        assert_eq!(receiver.len(), 1, "what is too long for a message takes no memory");
        drop(bound);
    }
}
