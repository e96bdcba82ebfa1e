//! Wishes about files that change while they are fetched.

use node::{Choice, NodeConfig, Priority, Source, State, Torrent};
use proto::FileIndex;
use proto::metainfo::Format;
use tempfile::TempDir;

use crate::content::folder;
use crate::two_nodes::{assert_same, fetch_some, share, start, start_with, tree};

async fn wait(torrent: &Torrent, state: State, finished: bool) {
    crate::two_nodes::wait(torrent, |now, is| *now == state && is == finished).await;
}

/// Chooses by a magnet link, then wants less, then all.
async fn changes(format: Format) {
    let (here, there) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    let files = tree();
    let metainfo = folder(here.path(), "tree", &files, 64 * 1024, format);
    let seeder = start_with(&here.path().join("state"), NodeConfig::default()).await;
    share(&seeder, &metainfo, &here.path().join("tree")).await;
    let leecher = start(&there.path().join("state")).await;
    let by_path = |path: &str| {
        let mut files = metainfo.info.files().iter();
        FileIndex(files.position(|file| file.path.join("/") == path).unwrap() as u32)
    };
    let (empty, small) = (by_path("empty"), by_path("nested/deep/small"));
    let mut magnet = metainfo.magnet();
    magnet.select = proto::choice::Numbers::of([metainfo.info.link_number(small)]);
    let (root, peers) = (there.path().join("tree"), seeder.listening().to_vec());
    let source = Source::Magnet(magnet);
    let torrent = fetch_some(&leecher, source, there.path(), peers, Choice::All).await;
    torrent.prioritize(vec![(empty, Priority::High)]);
    wait(&torrent, State::Seeding, true).await;
    let some = files.iter().filter(|(path, _)| path.ends_with("small") || *path == "empty");
    for (path, bytes) in some {
        assert!(std::fs::read(root.join(path)).unwrap() == *bytes, "{path}");
    }
    assert!(!root.join("big").exists());
    let snapshot = torrent.snapshot().borrow().clone();
    assert_eq!((snapshot.wanted_len, snapshot.wanted_verified), (10, 10));
    let every = (0..files.len() as u32).map(FileIndex);
    torrent.prioritize(every.map(|file| (file, Priority::Normal)).collect());
    wait(&torrent, State::Seeding, true).await;
    crate::two_nodes::wait(&torrent, |_, _| root.join("big").exists()).await;
    wait(&torrent, State::Seeding, true).await;
    assert_same(&files, &root);
    leecher.shutdown().await;
    seeder.shutdown().await;
}

#[tokio::test]
async fn wishes_for_a_v1_torrent_change() {
    changes(Format::V1).await;
}

#[tokio::test]
async fn wishes_for_a_v2_torrent_change() {
    changes(Format::V2).await;
}

#[tokio::test]
async fn wishes_for_a_hybrid_torrent_change() {
    changes(Format::Hybrid).await;
}
