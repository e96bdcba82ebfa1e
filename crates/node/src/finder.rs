//! One task: owns the node of the DHT, gives it datagrams and time, takes what it finds to the torrents.
//!
//! Torrents reach it through a [`Finder`], which takes an [`OpenHash`]: a private torrent has none, so
//! nothing about it can get here. What the node knows is kept in `dht.state` beside the record.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use dht::{Dht, Event, Stats, Transmit};
use proto::InfoHash;
use proto::egress::Nearness;
use proto::metainfo::OpenHash;
use swarm::Found;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use crate::api::DhtConfig;
use crate::clock;
use crate::datagram::{Datagram, Outgoing};
use crate::node::Inner;
use crate::torrent::Input;

/// What torrents want of the DHT.
#[derive(Debug)]
enum Request {
    /// Peers, and to be known as one where the hash allows that.
    Search(OpenHash),
    /// The torrent has ended, or is private after all.
    Forget(InfoHash),
    /// A peer says that there is a node.
    Node(SocketAddr),
    /// A host to start from was resolved.
    Roots(Vec<SocketAddr>),
}

/// The way to the task. Its queue needs no bound: a torrent has one search a hash under way, a
/// connection names one node.
#[derive(Debug, Clone)]
pub(crate) struct Finder {
    requests: mpsc::UnboundedSender<Request>,
}

impl Finder {
    /// Asks for peers; answered by [`Input::Found`] and [`Input::Searched`] to whoever has the torrent.
    pub(crate) fn search(&self, hash: OpenHash) {
        // When the task has ended the node is closing.
        let _ = self.requests.send(Request::Search(hash));
    }

    /// A search that has not started is of no use any more.
    pub(crate) fn forget(&self, info_hash: InfoHash) {
        let _ = self.requests.send(Request::Forget(info_hash));
    }

    /// A peer says that there is a node.
    pub(crate) fn add_node(&self, addr: SocketAddr) {
        let _ = self.requests.send(Request::Node(addr));
    }
}

/// The ends of the task's channels.
pub(crate) struct Ends {
    requests: mpsc::UnboundedReceiver<Request>,
    to_self: Finder,
    datagrams: mpsc::Receiver<Datagram>,
    outgoing: Outgoing,
}

/// The way to a task that does not run yet, where datagrams for it go, and its own ends.
pub(crate) fn wire(outgoing: Outgoing) -> (Finder, mpsc::Sender<Datagram>, Ends) {
    let (sender, requests) = mpsc::unbounded_channel();
    let finder = Finder { requests: sender };
    let (to_dht, datagrams) = mpsc::channel(DATAGRAMS_WAITING);
    let ends = Ends { requests, to_self: finder.clone(), datagrams, outgoing };
    (finder, to_dht, ends)
}

/// The task.
struct Task {
    node: Arc<Inner>,
    config: DhtConfig,
    dht: Dht,
    ends: Ends,
    path: PathBuf,
    saved: Vec<u8>,
    save_at: Instant,
    resolve_at: Instant,
    resolves: u32,
}

/// Runs until the node closes.
pub(crate) async fn run(node: Arc<Inner>, config: DhtConfig, ends: Ends) {
    let path = node.records.dir().join(STATE_FILE);
    let saved = load(path.clone()).await;
    let now = clock::now();
    let dht = Dht::new(
        now,
        dht::Config {
            seed: rand::random(),
            v4: ends.outgoing.has_v4(),
            v6: ends.outgoing.has_v6(),
            read_only: config.read_only,
            version: VERSION,
            roots: Vec::new(),
            saved: saved.clone(),
        },
    );
    let save_at = now + SAVE_FIRST;
    let task = Task { node, config, dht, ends, path, saved, save_at, resolve_at: now, resolves: 0 };
    task.run().await;
}

impl Task {
    async fn run(mut self) {
        let closing = self.node.closing().clone();
        // By which socket the latest datagram came in.
        let mut socket = None;
        loop {
            self.drain(socket);
            let due = self.dht.next_timeout().min(self.save_at).min(self.resolve_at);
            tokio::select! {
                () = closing.cancelled() => break,
                Some(request) = self.ends.requests.recv() => self.on_request(request),
                Some(datagram) = self.ends.datagrams.recv() => {
                    socket = Some(datagram.socket);
                    self.dht.handle_packet(clock::now(), datagram.peer, &datagram.bytes);
                }
                () = tokio::time::sleep_until(due.into()) => self.on_time().await,
            }
        }
        self.save().await;
    }

    async fn on_time(&mut self) {
        let now = clock::now();
        if self.dht.next_timeout() <= now {
            self.dht.handle_timeout(now);
        }
        if now >= self.resolve_at {
            self.resolve(now);
        }
        if now >= self.save_at {
            self.save_at = now + SAVE_EVERY;
            self.save().await;
        }
    }

    fn on_request(&mut self, request: Request) {
        let now = clock::now();
        match request {
            Request::Search(hash) => {
                let announce = self.node.announced_port().filter(|_| hash.may_announce());
                self.dht.search(now, hash.info_hash(), announce);
            }
            Request::Forget(info_hash) => self.dht.forget(info_hash),
            Request::Node(addr) => self.dht.add_node(now, addr),
            Request::Roots(roots) => self.dht.add_roots(now, &roots),
        }
    }

    /// Sends what is to be sent and tells what was found.
    fn drain(&mut self, socket: Option<usize>) {
        while let Some(Transmit { to, bytes, is_answer }) = self.dht.poll_transmit() {
            self.ends.outgoing.send(socket.filter(|_| is_answer), to, bytes);
        }
        while let Some(event) = self.dht.poll_event() {
            let (info_hash, input) = match event {
                // Each was judged by the node that named it.
                Event::Peers { info_hash, peers } => {
                    (info_hash, Input::Found(Found { by: Nearness::Machine, peers }))
                }
                Event::Searched { info_hash, peers, announced } => {
                    tracing::debug!(%info_hash, peers, announced, "searched the DHT");
                    (info_hash, Input::Searched(info_hash, announced))
                }
                Event::External(ip) => {
                    tracing::debug!(%ip, "others see us at this address");
                    continue;
                }
            };
            if let Some(inputs) = self.node.directory.inputs(info_hash) {
                // A torrent that has just ended needs no peers.
                let _ = inputs.send(input);
            }
        }
    }

    /// Looks for the hosts to start from while nobody is known in a network.
    fn resolve(&mut self, now: Instant) {
        self.resolve_at = now + (RESOLVE_FIRST * (1 << self.resolves.min(6))).min(RESOLVE_MAX);
        self.resolves += 1;
        let families = [self.ends.outgoing.has_v4(), self.ends.outgoing.has_v6()];
        if self.resolves > 1 && !lacks_nodes(families, self.dht.stats()) {
            return;
        }
        for host in self.config.bootstrap.clone() {
            let to_self = self.ends.to_self.clone();
            tokio::task::spawn_local(async move {
                let addrs = tokio::time::timeout(RESOLVE_TIME, tokio::net::lookup_host(&host));
                match addrs.await {
                    Ok(Ok(addrs)) => {
                        let roots = addrs.take(ADDRS_A_HOST).collect();
                        // Nobody listens when the node is closing.
                        let _ = to_self.requests.send(Request::Roots(roots));
                    }
                    Ok(Err(error)) => tracing::debug!(host, %error, "cannot resolve"),
                    Err(_) => tracing::debug!(host, "no answer from the resolver"),
                }
            });
        }
    }

    /// Keeps what the node knows, if it is something new.
    async fn save(&mut self) {
        let state = self.dht.save();
        let stats = self.dht.stats();
        // With nobody answering, what an earlier run knew is worth more.
        if state == self.saved || stats.nodes_v4 + stats.nodes_v6 == 0 {
            return;
        }
        self.saved.clone_from(&state);
        let path = self.path.clone();
        let written = tokio::task::spawn_blocking(move || write(&path, &state)).await;
        if let Ok(Err(error)) = written {
            tracing::warn!(path = %self.path.display(), %error, "cannot keep the DHT's nodes");
        }
    }
}

/// One of the families that take part, IPv4 and IPv6, knows nobody.
const fn lacks_nodes([v4, v6]: [bool; 2], stats: Stats) -> bool {
    (v4 && stats.nodes_v4 == 0) || (v6 && stats.nodes_v6 == 0)
}

/// What an earlier run knew; nothing when it is not there or cannot be read.
async fn load(path: PathBuf) -> Vec<u8> {
    let read: JoinHandle<_> = tokio::task::spawn_blocking(move || {
        let len = std::fs::metadata(&path)?.len();
        if len > dht::limits::STATE_LEN_MAX as u64 {
            return Ok(Vec::new());
        }
        std::fs::read(&path)
    });
    read.await.map_or_else(|_| Vec::new(), |read: std::io::Result<_>| read.unwrap_or_default())
}

/// Replaces the file as a whole. It is not synced: after a power cut the old one, or none, will do.
fn write(path: &Path, state: &[u8]) -> std::io::Result<()> {
    let new = path.with_extension("new");
    std::fs::write(&new, state)?;
    std::fs::rename(&new, path)
}

const STATE_FILE: &str = "dht.state";
/// How others see us: Teem 0.1.
const VERSION: [u8; 4] = *b"TE\x00\x01";
/// Datagrams that wait for the task; who floods us loses some of them.
const DATAGRAMS_WAITING: usize = 512;
/// A short run keeps something, too …
const SAVE_FIRST: Duration = Duration::from_secs(60);
/// … and a long one writes a few kilobytes, rarely.
const SAVE_EVERY: Duration = Duration::from_secs(15 * 60);
/// Hosts are looked up again while nobody of a family answers.
const RESOLVE_FIRST: Duration = Duration::from_secs(30);
const RESOLVE_MAX: Duration = Duration::from_secs(1800);
const RESOLVE_TIME: Duration = Duration::from_secs(20);
const ADDRS_A_HOST: usize = 8;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_family_that_takes_part_needs_nodes() {
        let stats = |nodes_v4, nodes_v6| Stats { nodes_v4, nodes_v6, ..Stats::default() };
        assert!(lacks_nodes([true, true], stats(0, 0)));
        assert!(lacks_nodes([true, true], stats(9, 0)) && lacks_nodes([true, true], stats(0, 9)));
        assert!(!lacks_nodes([true, true], stats(1, 1)));
        assert!(
            !lacks_nodes([true, false], stats(1, 0)) && !lacks_nodes([false, true], stats(0, 1))
        );
        assert!(!lacks_nodes([false, false], stats(0, 0)));
    }
}
