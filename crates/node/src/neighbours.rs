//! One task: tells the local network which torrents are here, and hears which are elsewhere (BEP 14).
//!
//! Torrents reach it with [`OpenHash`]es: a private torrent (BEP 27) has none, so nothing about it can get here,
//! and what others say of it is not looked at. Nothing is sent beyond the own network: a datagram lives for
//! one hop, and only who is near is believed.

use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use if_addrs::{IfAddr, Interface};
use proto::InfoHash;
use proto::address::{is_local, network_of};
use proto::egress::Nearness;
use proto::lsd::{Announcement, GROUP_V4, GROUP_V6, HASHES_MAX, MESSAGE_LEN_MAX, PORT};
use proto::metainfo::OpenHash;
use socket2::{Domain, Protocol, SockRef, Socket, Type};
use swarm::Found;
use tokio::net::UdpSocket;
use tokio::sync::mpsc;

use crate::clock;
use crate::node::Inner;
use crate::torrent::Input;

/// The way to the task. Its queue needs no bound: each torrent says twice that it comes, once that it goes.
#[derive(Debug, Clone)]
pub(crate) struct Neighbours(mpsc::UnboundedSender<Change>);

/// A torrent that others near here may find, until this is dropped.
#[derive(Debug)]
pub(crate) struct Presence {
    hashes: Vec<OpenHash>,
    changes: mpsc::UnboundedSender<Change>,
}

#[derive(Debug)]
pub(crate) enum Change {
    Here(OpenHash),
    Gone(InfoHash),
}

impl Neighbours {
    /// The way to a task that does not run yet, and its end of it.
    pub(crate) fn wire() -> (Self, mpsc::UnboundedReceiver<Change>) {
        let (sender, changes) = mpsc::unbounded_channel();
        (Self(sender), changes)
    }

    /// A torrent is here, as far as others may know.
    pub(crate) fn present(&self, hashes: Vec<OpenHash>) -> Presence {
        for hash in &hashes {
            // When the task has ended the node is closing.
            let _ = self.0.send(Change::Here(*hash));
        }
        Presence { hashes, changes: self.0.clone() }
    }
}

impl Drop for Presence {
    fn drop(&mut self) {
        for hash in &self.hashes {
            let _ = self.changes.send(Change::Gone(hash.info_hash()));
        }
    }
}

/// Runs until the node closes.
pub(crate) async fn run(node: Arc<Inner>, mut changes: mpsc::UnboundedReceiver<Change>) {
    let Some(port) = node.listen_port() else { return };
    let mut task = Task {
        v4: open(Family::V4),
        v6: open(Family::V6),
        schedule: Schedule::default(),
        cookie: format!("teem-{:016x}", rand::random::<u64>()),
        port,
        interfaces: Vec::new(),
        node,
    };
    task.join();
    let closing = task.node.closing().clone();
    let (mut buffer4, mut buffer6) = ([0; MESSAGE_LEN_MAX + 1], [0; MESSAGE_LEN_MAX + 1]);
    loop {
        let due = task.schedule.next_at().unwrap_or_else(|| clock::now() + clock::LONG);
        tokio::select! {
            () = closing.cancelled() => return,
            Some(change) = changes.recv() => task.schedule.change(clock::now(), change),
            () = tokio::time::sleep_until(due.into()) => task.announce().await,
            (from, len) = receive(task.v4.as_ref(), &mut buffer4) => task.hear(from, &buffer4[..len]),
            (from, len) = receive(task.v6.as_ref(), &mut buffer6) => task.hear(from, &buffer6[..len]),
        }
    }
}

struct Task {
    node: Arc<Inner>,
    v4: Option<UdpSocket>,
    v6: Option<UdpSocket>,
    schedule: Schedule,
    cookie: String,
    /// Where our peers can be dialled.
    port: u16,
    interfaces: Vec<Interface>,
}

impl Task {
    /// Takes the interfaces as they are now, and listens on each.
    fn join(&mut self) {
        let bind = self.node.config.bind.map(|bind| bind.ip()).filter(|ip| !ip.is_unspecified());
        let mut interfaces = if_addrs::get_if_addrs().unwrap_or_default();
        let only = self.node.config.interface.as_deref();
        interfaces.retain(|one| only.is_none_or(|only| one.name == only));
        interfaces.retain(|one| match bind {
            Some(bind) => one.ip() == bind,
            None => !one.is_loopback(),
        });
        for interface in &interfaces {
            // An interface that was joined before says so with an error, and one without multicast too.
            let _ = match (&interface.addr, &self.v4, &self.v6) {
                (IfAddr::V4(addr), Some(v4), _) => v4.join_multicast_v4(GROUP_V4, addr.ip),
                (IfAddr::V6(_), _, Some(v6)) => {
                    v6.join_multicast_v6(&GROUP_V6, interface.index.unwrap_or(0))
                }
                (IfAddr::V4(_) | IfAddr::V6(_), _, _) => Ok(()),
            };
        }
        self.interfaces = interfaces;
    }

    /// Tells all networks of what is due.
    async fn announce(&mut self) {
        let hashes = self.schedule.due(clock::now());
        if hashes.is_empty() {
            return;
        }
        // They come and go.
        self.join();
        let announcement =
            Announcement { port: self.port, hashes, cookie: Some(self.cookie.clone()) };
        for interface in &self.interfaces {
            let (socket, group, chosen) = match (&interface.addr, &self.v4, &self.v6) {
                (IfAddr::V4(addr), Some(v4), _) => {
                    (v4, IpAddr::V4(GROUP_V4), SockRef::from(v4).set_multicast_if_v4(&addr.ip))
                }
                (IfAddr::V6(_), _, Some(v6)) => {
                    let index = interface.index.unwrap_or(0);
                    (v6, IpAddr::V6(GROUP_V6), SockRef::from(v6).set_multicast_if_v6(index))
                }
                (IfAddr::V4(_) | IfAddr::V6(_), _, _) => continue,
            };
            let datagram = announcement.encode(group);
            let sent = match chosen {
                Ok(()) => socket.send_to(&datagram, SocketAddr::new(group, PORT)).await.map(drop),
                Err(error) => Err(error),
            };
            if let Err(error) = sent {
                tracing::debug!(interface = interface.name, %error, "cannot tell the network");
            }
        }
    }

    /// Takes a neighbour to the torrents that it has, too.
    fn hear(&self, from: SocketAddr, datagram: &[u8]) {
        let Ok(heard) = Announcement::decode(datagram) else { return };
        let near = |ip| {
            let nets = self.interfaces.iter().map(|interface| network_of(interface.ip()));
            is_local(ip) || nets.into_iter().any(|net| net == network_of(ip))
        };
        if heard.cookie.as_ref() == Some(&self.cookie) || !near(from.ip()) {
            return;
        }
        let peer = SocketAddr::new(from.ip().to_canonical(), heard.port);
        for hash in heard.hashes.into_iter().filter(|hash| self.schedule.knows(*hash)) {
            if let Some(inputs) = self.node.directory.inputs(hash) {
                tracing::debug!(%peer, %hash, "a neighbour");
                // A torrent that has just ended needs no peers.
                let _ = inputs
                    .send(Input::Found(Found { by: Nearness::of(peer.ip()), peers: vec![peer] }));
            }
        }
    }
}

/// When which torrent is told of.
#[derive(Debug, Default)]
struct Schedule {
    /// `None` for one that may turn out to be private: it is listened for, and not told of.
    lines: BTreeMap<InfoHash, Option<Instant>>,
}

impl Schedule {
    fn change(&mut self, now: Instant, change: Change) {
        match change {
            Change::Here(hash) => {
                let due = hash.may_announce().then_some(now);
                self.lines.insert(hash.info_hash(), due);
            }
            Change::Gone(hash) => _ = self.lines.remove(&hash),
        }
    }

    fn knows(&self, hash: InfoHash) -> bool {
        self.lines.contains_key(&hash)
    }

    fn next_at(&self) -> Option<Instant> {
        self.lines.values().flatten().min().copied()
    }

    /// One message's worth. The next one is not due before a pause.
    fn due(&mut self, now: Instant) -> Vec<InfoHash> {
        let mut hashes = Vec::new();
        for (hash, due) in &mut self.lines {
            let Some(due) = due.as_mut().filter(|due| **due <= now) else { continue };
            if hashes.len() < HASHES_MAX {
                *due = now + INTERVAL;
                hashes.push(*hash);
            } else {
                *due = now + PAUSE;
            }
        }
        hashes
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Family {
    V4,
    V6,
}

/// A socket that hears what is sent to the group of its family. Without one there is less to hear.
fn open(family: Family) -> Option<UdpSocket> {
    let opened = bind(family).and_then(|socket| UdpSocket::from_std(socket.into()));
    opened.inspect_err(|error| tracing::debug!(?family, %error, "no local discovery")).ok()
}

fn bind(family: Family) -> io::Result<Socket> {
    let (domain, any): (_, SocketAddr) = match family {
        Family::V4 => (Domain::IPV4, (Ipv4Addr::UNSPECIFIED, PORT).into()),
        Family::V6 => (Domain::IPV6, (Ipv6Addr::UNSPECIFIED, PORT).into()),
    };
    let socket = Socket::new(domain, Type::DGRAM, Some(Protocol::UDP))?;
    // Every client of this machine hears at the same port.
    socket.set_reuse_address(true)?;
    #[cfg(all(unix, not(target_os = "linux")))]
    socket.set_reuse_port(true)?;
    match family {
        Family::V4 => socket.set_multicast_ttl_v4(1)?,
        Family::V6 => {
            socket.set_only_v6(true)?;
            socket.set_multicast_hops_v6(1)?;
        }
    }
    socket.set_nonblocking(true)?;
    socket.bind(&any.into())?;
    Ok(socket)
}

/// The next datagram; never, without a socket.
async fn receive(socket: Option<&UdpSocket>, buffer: &mut [u8]) -> (SocketAddr, usize) {
    let Some(socket) = socket else { return std::future::pending().await };
    loop {
        match socket.recv_from(buffer).await {
            Ok((len, from)) => return (from, len),
            Err(error) => {
                tracing::debug!(%error, "hearing the network");
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}

/// Between two messages about a torrent (BEP 14: five minutes).
const INTERVAL: Duration = Duration::from_secs(300);
/// Between two messages, when there is more to tell than fits one.
const PAUSE: Duration = Duration::from_millis(100);

#[cfg(test)]
mod tests {
    use proto::metainfo::OpenHash;
    use proto::{InfoHashV1, InfoHashes};

    use super::*;

    fn unknown(number: u8) -> OpenHash {
        let hashes = InfoHashes::new(Some(InfoHashV1([number; 20])), None).expect("a hash");
        OpenHash::of_unknown(hashes)[0]
    }

    fn due_now(schedule: &mut Schedule, now: Instant, count: u8) {
        (0..count).for_each(|n| _ = schedule.lines.insert(InfoHash([n; 20]), Some(now)));
    }

    #[test]
    fn what_may_be_private_is_listened_for_and_not_told_of() {
        let (mut schedule, now) = (Schedule::default(), clock::now());
        schedule.change(now, Change::Here(unknown(7)));
        assert!(schedule.knows(InfoHash([7; 20])));
        assert!(schedule.due(now).is_empty() && schedule.next_at().is_none());
        schedule.change(now, Change::Gone(InfoHash([7; 20])));
        assert!(!schedule.knows(InfoHash([7; 20])));
    }

    #[test]
    fn many_are_told_of_message_by_message_and_again_after_five_minutes() {
        let (mut schedule, now) = (Schedule::default(), clock::now());
        due_now(&mut schedule, now, 50);
        let mut told = Vec::new();
        let mut at = now;
        for expected in [HASHES_MAX, HASHES_MAX, 50 - 2 * HASHES_MAX] {
            let hashes = schedule.due(at);
            assert_eq!(hashes.len(), expected);
            assert!(schedule.due(at).is_empty(), "not before a pause");
            told.extend(hashes);
            at += PAUSE;
        }
        told.sort_unstable();
        assert!(told.into_iter().eq((0..50).map(|n| InfoHash([n; 20]))));
        assert_eq!(schedule.next_at(), Some(now + INTERVAL));
    }

    #[test]
    fn a_torrent_that_ends_is_gone() {
        let (neighbours, mut changes) = Neighbours::wire();
        drop(neighbours.present(vec![unknown(3)]));
        assert!(matches!(changes.try_recv(), Ok(Change::Here(_))));
        assert!(matches!(changes.try_recv(), Ok(Change::Gone(InfoHash([3, ..])))));
    }
}
