//! Nodes that hide what they speak (MSE), or do not.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;

use node::{Encryption, NodeConfig, UtpMode};
use proto::metainfo::Format;
use proto::peer::{Capabilities, Handshake};
use proto::{InfoHash, PeerId};
use tempfile::TempDir;

use crate::two_nodes::{start_with, transfers_between};

fn config(encryption: Encryption) -> NodeConfig {
    NodeConfig { encryption, ..NodeConfig::default() }
}

async fn transfers(seeder: Encryption, leecher: Encryption) {
    for format in [Format::V1, Format::Hybrid] {
        transfers_between([config(seeder), config(leecher)], format, true).await;
    }
}

#[tokio::test]
async fn all_is_hidden_when_both_insist() {
    transfers(Encryption::Forced, Encryption::Forced).await;
}

#[tokio::test]
async fn who_insists_is_dialled_again_with_noise() {
    transfers(Encryption::Forced, Encryption::Allowed).await;
}

#[tokio::test]
async fn handshake_alone_is_hidden_when_nobody_insists() {
    transfers(Encryption::Allowed, Encryption::Preferred).await;
}

#[tokio::test]
async fn who_hides_nothing_is_dialled_again_in_plain_bytes() {
    transfers(Encryption::Off, Encryption::Preferred).await;
}

#[tokio::test]
async fn noise_travels_over_utp() {
    let over_utp = || NodeConfig { utp: UtpMode::Only, ..config(Encryption::Forced) };
    transfers_between([over_utp(), over_utp()], Format::Hybrid, false).await;
}

/// What a node says to a caller before it hangs up.
async fn answer_to(encryption: Encryption, call: &'static [u8]) -> Vec<u8> {
    let folder = TempDir::new().unwrap();
    let node = start_with(folder.path(), config(encryption)).await;
    let addr = node.listening()[0];
    let said = tokio::task::spawn_blocking(move || {
        let mut stream = TcpStream::connect(addr).unwrap();
        stream.write_all(call).unwrap();
        let mut said = Vec::new();
        // A reset is an end, too: not all that we said was read.
        let _ = stream.read_to_end(&mut said);
        said
    });
    let said = said.await.unwrap();
    node.shutdown().await;
    said
}

#[tokio::test]
async fn plain_callers_are_refused_without_a_word() {
    let handshake = Handshake {
        capabilities: Capabilities::default(),
        info_hash: InfoHash([7; 20]),
        peer_id: PeerId([7; 20]),
    };
    let call: &'static [u8] = Vec::leak(handshake.encode().to_vec());
    assert_eq!(answer_to(Encryption::Forced, call).await, b"");
    let json = b"{\"type\": \"STATE\"}\n";
    assert_eq!(answer_to(Encryption::Forced, json).await, b"");
}

#[tokio::test]
async fn noise_is_refused_when_encryption_is_off() {
    assert_eq!(answer_to(Encryption::Off, &[0xa5; 96]).await, b"");
}

#[tokio::test]
async fn useless_key_is_refused() {
    assert_eq!(answer_to(Encryption::Allowed, &[0; 96]).await, b"");
}
