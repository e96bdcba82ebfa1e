//! Nodes that reach each other over uTP.

use std::net::{SocketAddr, TcpListener};

use node::{NodeConfig, UtpMode};
use proto::metainfo::Format;
use tempfile::TempDir;

use crate::two_nodes::{start_with, transfers_between};

fn config(utp: UtpMode) -> NodeConfig {
    NodeConfig { utp, ..NodeConfig::default() }
}

#[tokio::test]
async fn folder_is_fetched_over_utp_alone() {
    transfers_between([UtpMode::On, UtpMode::Only].map(config), Format::Hybrid, false).await;
}

#[tokio::test]
async fn node_without_utp_is_fetched_from_over_tcp() {
    transfers_between([UtpMode::Off, UtpMode::On].map(config), Format::Hybrid, false).await;
}

#[tokio::test]
async fn node_without_utp_has_no_udp_port_for_it() {
    let folder = TempDir::new().unwrap();
    for (mode, taken) in [(UtpMode::On, true), (UtpMode::Off, false)] {
        let node = start_with(&folder.path().join(format!("{mode:?}")), config(mode)).await;
        let addr: SocketAddr = node.listening()[0];
        assert!(TcpListener::bind(addr).is_err());
        assert_eq!(std::net::UdpSocket::bind(addr).is_err(), taken);
        node.shutdown().await;
    }
}
