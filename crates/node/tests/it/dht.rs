//! Peers found through the DHT alone, and what it is never told.

use std::net::{SocketAddr, UdpSocket};
use std::path::Path;
use std::time::{Duration, Instant};

use node::{DhtConfig, Node, NodeConfig, Source, State};
use proto::dht::{Body, Message, Method, NodeId, Query, Reply};
use proto::metainfo::{Format, Metainfo};
use tempfile::TempDir;

use crate::content::folder;
use crate::two_nodes::{assert_same, fetch, share, tree, wait};

async fn start(data_dir: &Path, bootstrap: &[SocketAddr]) -> Node {
    start_at(&[[127, 0, 0, 1]], data_dir, bootstrap).await
}

async fn start_at(hosts: &[[u8; 4]], data_dir: &Path, bootstrap: &[SocketAddr]) -> Node {
    let bootstrap = bootstrap.iter().map(ToString::to_string).collect();
    let config = NodeConfig {
        data_dir: data_dir.to_path_buf(),
        listen: hosts.iter().map(|host| SocketAddr::from((*host, 0))).collect(),
        dht: Some(DhtConfig { bootstrap, read_only: false }),
        ..NodeConfig::default()
    };
    Node::start(config).await.unwrap()
}

#[tokio::test]
async fn a_magnet_link_is_fetched_through_the_dht_alone() {
    let folders: Vec<_> = (0..3).map(|_| TempDir::new().unwrap()).collect();
    let files = tree();
    let metainfo = folder(folders[1].path(), "tree", &files, 64 * 1024, Format::Hybrid);
    let hub = start(folders[0].path(), &[]).await;
    let seeder = start(&folders[1].path().join("state"), hub.listening()).await;
    share(&seeder, &metainfo, &folders[1].path().join("tree")).await;
    let leecher = start(&folders[2].path().join("state"), hub.listening()).await;
    let source = Source::Magnet(metainfo.magnet());
    let torrent = fetch(&leecher, source, folders[2].path(), vec![]).await;
    wait(&torrent, |state, finished| *state == State::Seeding && finished).await;
    assert_same(&files, &folders[2].path().join("tree"));
    for node in [leecher, seeder, hub] {
        node.shutdown().await;
    }
    let kept = folders[2].path().join("state/dht.state");
    assert!(kept.exists(), "what it knows is kept for the next start");
}

#[tokio::test]
async fn two_nodes_that_know_only_each_other_are_enough() {
    let (here, there) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    let files = tree();
    let metainfo = folder(here.path(), "tree", &files, 64 * 1024, Format::V1);
    let seeder = start(&here.path().join("state"), &[]).await;
    share(&seeder, &metainfo, &here.path().join("tree")).await;
    let leecher = start(&there.path().join("state"), seeder.listening()).await;
    let source = Source::Magnet(metainfo.magnet());
    let torrent = fetch(&leecher, source, there.path(), vec![]).await;
    wait(&torrent, |state, finished| *state == State::Seeding && finished).await;
    leecher.shutdown().await;
    seeder.shutdown().await;
}

/// A node that answers and remembers all that it is sent.
struct Ear {
    socket: UdpSocket,
    heard: Vec<Vec<u8>>,
}

impl Ear {
    fn new() -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.set_nonblocking(true).unwrap();
        Self { socket, heard: Vec::new() }
    }

    fn addr(&self) -> SocketAddr {
        self.socket.local_addr().unwrap()
    }

    /// Answers what is there.
    fn listen(&mut self) {
        let mut buffer = [0; 2048];
        while let Ok((len, from)) = self.socket.recv_from(&mut buffer) {
            let message = Message::decode(&buffer[..len]).unwrap();
            if matches!(message.body, Body::Query(_)) {
                let id = NodeId([9; 20]);
                let reply = Reply { id, token: Some(b"t"), ..Reply::default() };
                let transaction = message.transaction;
                let body = Body::Reply(reply);
                let answer = Message { transaction, version: None, observed: None, body };
                self.socket.send_to(&answer.encode(), from).unwrap();
            }
            self.heard.push(buffer[..len].to_vec());
        }
    }

    fn heard_of(&self, metainfo: &Metainfo) -> bool {
        metainfo.info.hashes().wire().any(|hash| {
            self.heard.iter().any(|bytes| bytes.windows(20).any(|part| part == hash.as_bytes()))
        })
    }

    async fn listen_until(&mut self, what: &str, done: impl Fn(&Self) -> bool) {
        let begun = Instant::now();
        while !done(self) {
            assert!(begun.elapsed() < Duration::from_secs(60), "nothing about {what}");
            tokio::time::sleep(Duration::from_millis(10)).await;
            self.listen();
        }
    }
}

#[tokio::test]
async fn answers_come_from_the_address_that_was_asked() {
    let here = TempDir::new().unwrap();
    let hosts = [[127, 0, 0, 1], [127, 0, 0, 2], [127, 0, 0, 3]];
    let node = start_at(&hosts, &here.path().join("state"), &[]).await;
    for addr in node.listening().to_vec() {
        let method = Method::Ping;
        let body = Body::Query(Query { id: NodeId([9; 20]), read_only: true, method });
        let ping = Message { transaction: b"aa", version: None, observed: None, body }.encode();
        let socket = UdpSocket::bind("127.0.0.9:0").unwrap();
        socket.set_nonblocking(true).unwrap();
        let socket = tokio::net::UdpSocket::from_std(socket).unwrap();
        socket.send_to(&ping, addr).await.unwrap();
        let mut buffer = [0; 2048];
        assert_eq!(socket.recv_from(&mut buffer).await.unwrap().1, addr);
    }
    node.shutdown().await;
}

/// The same torrent, private.
fn made_private(metainfo: &Metainfo) -> Metainfo {
    let raw = metainfo.info.raw();
    let raw = [&raw[..raw.len() - 1], b"7:privatei1ee"].concat();
    let file = [&b"d4:info"[..], &raw, b"e"].concat();
    Metainfo::decode(&file).unwrap()
}

/// An open torrent is announced after a private one was shared by the same node: all that the node says
/// about the first came first.
#[tokio::test]
async fn no_datagram_tells_of_a_private_torrent() {
    let here = TempDir::new().unwrap();
    let mut ear = Ear::new();
    let node = start(&here.path().join("state"), &[ear.addr()]).await;
    let files = tree();
    let closed = made_private(&folder(here.path(), "closed", &files, 64 * 1024, Format::V1));
    assert!(closed.info.is_private());
    let torrent = share(&node, &closed, &here.path().join("closed")).await;
    let open = folder(here.path(), "open", &files, 64 * 1024, Format::V1);
    share(&node, &open, &here.path().join("open")).await;
    let announced = |ear: &Ear| {
        ear.heard.iter().any(|bytes| bytes.windows(13).any(|part| part == b"announce_peer"))
    };
    ear.listen_until("the open torrent", |ear| announced(ear) && ear.heard_of(&open)).await;
    // Its peers learn nothing either: a private torrent's handshake knows no DHT.
    torrent.stop().await;
    node.shutdown().await;
    ear.listen();
    assert!(!ear.heard_of(&closed), "a private torrent's hash left the node");
}
