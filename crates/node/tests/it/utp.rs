//! Nodes that reach each other over uTP.

use std::net::{SocketAddr, TcpListener};

use node::{Source, State, UtpMode};
use proto::metainfo::Format;
use tempfile::TempDir;

use crate::content::folder;
use crate::two_nodes::{assert_same, fetch, share, start_with, tree, wait};

async fn transfers(seeder: UtpMode, leecher: UtpMode) {
    let (here, there) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    let files = tree();
    let metainfo = folder(here.path(), "tree", &files, 64 * 1024, Format::Hybrid);
    let seeder = start_with(&here.path().join("state"), seeder).await;
    share(&seeder, &metainfo, &here.path().join("tree")).await;
    let leecher = start_with(&there.path().join("state"), leecher).await;
    let source = Source::Metainfo(Box::new(metainfo));
    let torrent = fetch(&leecher, source, there.path(), seeder.listening().to_vec()).await;
    wait(&torrent, |state, finished| *state == State::Seeding && finished).await;
    assert_same(&files, &there.path().join("tree"));
    leecher.shutdown().await;
    seeder.shutdown().await;
}

#[tokio::test]
async fn folder_is_fetched_over_utp_alone() {
    transfers(UtpMode::On, UtpMode::Only).await;
}

#[tokio::test]
async fn node_without_utp_is_fetched_from_over_tcp() {
    transfers(UtpMode::Off, UtpMode::On).await;
}

#[tokio::test]
async fn node_without_utp_has_no_udp_port_for_it() {
    let folder = TempDir::new().unwrap();
    for (mode, taken) in [(UtpMode::On, true), (UtpMode::Off, false)] {
        let node = start_with(&folder.path().join(format!("{mode:?}")), mode).await;
        let addr: SocketAddr = node.listening()[0];
        assert!(TcpListener::bind(addr).is_err());
        assert_eq!(std::net::UdpSocket::bind(addr).is_err(), taken);
        node.shutdown().await;
    }
}
