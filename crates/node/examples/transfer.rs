//! Times one transfer between two nodes in two processes: no tracker, no command line.
//!
//! `transfer seed TORRENT PATH STATE ADDR` and `transfer get TORRENT FOLDER STATE ADDR`.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Instant;

use node::{Add, Content, Node, NodeConfig, Source, State};
use proto::metainfo::Metainfo;

#[tokio::main(flavor = "current_thread")]
#[expect(clippy::print_stdout, clippy::unwrap_used, reason = "a tool for engineers")]
async fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [role, torrent, path, state, addr] = &args[..] else { panic!("see the source") };
    let metainfo = Metainfo::decode(&std::fs::read(torrent).unwrap()).unwrap();
    let addr: SocketAddr = addr.parse().unwrap();
    let seeding = role == "seed";
    let listen = if seeding { addr } else { SocketAddr::new(addr.ip(), 0) };
    let config = NodeConfig {
        data_dir: PathBuf::from(state),
        listen: vec![listen],
        next_free_port: false,
        ..NodeConfig::default()
    };
    let node = Node::start(config).await.unwrap();
    let path = PathBuf::from(path);
    let content = if seeding {
        Content::Share { path, fresh: None }
    } else {
        Content::Fetch { folder: path }
    };
    let source = Source::Metainfo(Box::new(metainfo));
    let peers = if seeding { vec![] } else { vec![addr] };
    let started = Instant::now();
    let torrent = node.add(Add { peers, ..Add::new(source, content) }).await.unwrap();
    let mut snapshot = torrent.snapshot();
    snapshot.wait_for(|now| now.state == State::Seeding).await.unwrap();
    println!("{role} verified after {:.3} s", started.elapsed().as_secs_f64());
    if seeding {
        tokio::signal::ctrl_c().await.unwrap();
    } else {
        snapshot.wait_for(|now| now.finished).await.unwrap();
        println!("{role} durable after {:.3} s", started.elapsed().as_secs_f64());
    }
    node.shutdown().await;
}
