//! One node shares, others fetch.

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use node::{Add, Choice, Content, Node, NodeConfig, Source, State, Torrent};
use proto::metainfo::{Format, Metainfo};
use tempfile::TempDir;

use crate::content::{folder, noise};

pub(crate) async fn start(data_dir: &Path) -> Node {
    start_with(data_dir, NodeConfig::default()).await
}

pub(crate) async fn start_with(data_dir: &Path, config: NodeConfig) -> Node {
    let listen = vec![SocketAddr::from(([127, 0, 0, 1], 0))];
    let data_dir = data_dir.to_path_buf();
    Node::start(NodeConfig { data_dir, listen, ..config }).await.unwrap()
}

pub(crate) async fn share(node: &Node, metainfo: &Metainfo, path: &Path) -> Torrent {
    let content = Content::Share { path: path.to_path_buf(), fresh: None };
    let source = Source::Metainfo(Box::new(metainfo.clone()));
    let torrent = node.add(Add::new(source, content)).await.unwrap();
    wait(&torrent, |state, _| *state == State::Seeding).await;
    torrent
}

pub(crate) async fn fetch(
    node: &Node,
    source: Source,
    into: &Path,
    peers: Vec<SocketAddr>,
) -> Torrent {
    fetch_some(node, source, into, peers, Choice::All).await
}

/// The same for some of the files.
pub(crate) async fn fetch_some(
    node: &Node,
    source: Source,
    into: &Path,
    peers: Vec<SocketAddr>,
    choice: Choice,
) -> Torrent {
    let content = Content::Fetch { folder: into.to_path_buf() };
    node.add(Add { peers, choice, ..Add::new(source, content) }).await.unwrap()
}

/// Waits until the torrent is where it should be; a torrent that failed never gets there.
pub(crate) async fn wait(torrent: &Torrent, done: impl Fn(&State, bool) -> bool) {
    let mut snapshot = torrent.snapshot();
    let there = snapshot.wait_for(|now| {
        assert!(!matches!(now.state, State::Failed { .. }), "{:?}", now.state);
        done(&now.state, now.finished)
    });
    let outcome = tokio::time::timeout(Duration::from_secs(60), there).await.map(|_| ());
    assert!(outcome.is_ok(), "still not there: {:?}", torrent.snapshot().borrow());
}

pub(crate) fn tree() -> Vec<(&'static str, Vec<u8>)> {
    vec![
        ("big", noise(3_000_000, 1)),
        ("empty", vec![]),
        ("nested/deep/small", noise(10, 2)),
        ("nested/ünïcode ☃", noise(70_000, 3)),
    ]
}

pub(crate) fn assert_same(files: &[(&str, Vec<u8>)], root: &Path) {
    for (path, bytes) in files {
        assert!(std::fs::read(root.join(path)).unwrap() == *bytes, "{path} differs");
    }
}

async fn transfers(format: Format, magnet: bool) {
    transfers_between([NodeConfig::default(), NodeConfig::default()], format, magnet).await;
}

/// A seeder and a leecher that are set up so.
pub(crate) async fn transfers_between(configs: [NodeConfig; 2], format: Format, magnet: bool) {
    let [seeding, leeching] = configs;
    let (here, there) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    let files = tree();
    let metainfo = folder(here.path(), "tree", &files, 64 * 1024, format);
    let seeder = start_with(&here.path().join("state"), seeding).await;
    share(&seeder, &metainfo, &here.path().join("tree")).await;
    let leecher = start_with(&there.path().join("state"), leeching).await;
    let source = match magnet {
        true => Source::Magnet(metainfo.magnet()),
        false => Source::Metainfo(Box::new(metainfo)),
    };
    let torrent = fetch(&leecher, source, there.path(), seeder.listening().to_vec()).await;
    wait(&torrent, |state, finished| *state == State::Seeding && finished).await;
    assert_same(&files, &there.path().join("tree"));
    leecher.shutdown().await;
    seeder.shutdown().await;
}

#[tokio::test]
async fn a_v1_folder_is_fetched() {
    transfers(Format::V1, false).await;
}

#[tokio::test]
async fn a_v2_folder_is_fetched() {
    transfers(Format::V2, false).await;
}

#[tokio::test]
async fn a_hybrid_folder_is_fetched() {
    transfers(Format::Hybrid, false).await;
}

#[tokio::test]
async fn a_v1_magnet_link_is_enough() {
    transfers(Format::V1, true).await;
}

#[tokio::test]
async fn a_v2_magnet_link_is_enough() {
    transfers(Format::V2, true).await;
}

#[tokio::test]
async fn a_hybrid_magnet_link_is_enough() {
    transfers(Format::Hybrid, true).await;
}
