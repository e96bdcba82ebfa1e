//! Moves and removals that an earlier run began, and that cannot all be ended.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

use node::record::{MoveRecord, Records, Stage};
use node::{
    Add, Begin, Content, Data, Force, MoveError, Node, OrderError, Rest, Source, State, Torrent,
};
use proto::InfoHash;
use proto::metainfo::{Format, Metainfo};
use tempfile::TempDir;

use crate::content::folder;
use crate::two_nodes::{assert_same, fetch, share, start, tree, wait};

async fn add(node: &Node, metainfo: &Metainfo, into: &Path, begin: Begin) -> Torrent {
    let content = Content::Fetch { folder: into.to_path_buf() };
    let source = Source::Metainfo(Box::new(metainfo.clone()));
    node.add(Add { begin, ..Add::new(source, content) }).await.unwrap()
}

async fn wait_failed(torrent: &Torrent) {
    let mut snapshot = torrent.snapshot();
    let failed = snapshot.wait_for(|now| matches!(now.state, State::Failed { .. }));
    let failed = tokio::time::timeout(Duration::from_secs(60), failed).await.map(|_| ());
    assert!(failed.is_ok(), "it does not fail: {:?}", torrent.snapshot().borrow());
}

#[tokio::test]
async fn nothing_runs_while_a_move_is_not_ended() {
    let (here, there) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    let files = tree();
    let metainfo = folder(here.path(), "tree", &files, 64 * 1024, Format::V1);
    let seeder = start(&here.path().join("state")).await;
    share(&seeder, &metainfo, &here.path().join("tree")).await;
    let (state, old) = (there.path().join("state"), there.path().join("old"));
    std::fs::create_dir(&old).unwrap();
    let first = start(&state).await;
    let source = Source::Metainfo(Box::new(metainfo.clone()));
    let torrent = fetch(&first, source, &old, seeder.listening().to_vec()).await;
    wait(&torrent, |state, finished| *state == State::Seeding && finished).await;
    first.shutdown().await;

    // Killed when one file had its place; now there is no way to the folder.
    let (blocker, key) = (there.path().join("disk"), metainfo.info.hashes().primary());
    let new = blocker.join("new");
    let moving = MoveRecord {
        origin: old.clone(),
        folder: new.clone(),
        renames: Default::default(),
        stage: Stage::Renaming,
        moved: Vec::new(),
    };
    let records = Records::open(&state).unwrap();
    records.save_move(key, moving).unwrap();
    drop(records);
    std::fs::rename(old.join("tree/big"), there.path().join("big")).unwrap();
    std::fs::write(&blocker, b"").unwrap();

    let second = start(&state).await;
    let torrent = add(&second, &metainfo, &old, Begin::AsLeft).await;
    wait_failed(&torrent).await;
    torrent.run().await.unwrap();
    let refused = torrent.resume(Force::No).await;
    assert!(matches!(refused, Err(OrderError::Move(MoveError::Io { .. }))), "{refused:?}");
    assert!(torrent.recheck().await.is_err());
    assert!(torrent.move_to(there.path().join("third")).await.is_err());
    wait_failed(&torrent).await;
    let names = |path: &Path| std::fs::read_dir(path).unwrap().count();
    assert_eq!(names(&old.join("tree")), 2, "nobody opened the files");

    // There is a way again.
    std::fs::remove_file(&blocker).unwrap();
    std::fs::create_dir_all(new.join("tree")).unwrap();
    std::fs::rename(there.path().join("big"), new.join("tree/big")).unwrap();
    torrent.resume(Force::No).await.unwrap();
    wait(&torrent, |state, finished| *state == State::Seeding && finished).await;
    assert_same(&files, &new.join("tree"));
    assert!(!old.join("tree").exists());

    // Who adds it once more finds it there.
    torrent.hold(Rest::Held).await.unwrap();
    torrent.stop().await;
    let torrent = add(&second, &metainfo, &old, Begin::AsLeft).await;
    wait(&torrent, |state, finished| *state == State::Held && finished).await;
    assert_eq!(torrent.snapshot().borrow().path, Some(new.join("tree")));
    second.shutdown().await;
    seeder.shutdown().await;
}

#[tokio::test]
async fn a_removal_is_ended_unless_it_was_taken_back_or_has_to_wait() {
    let state = TempDir::new().unwrap();
    let [ended, waits, pardoned] = [1, 2, 3].map(|number| InfoHash([number; 20]));
    let node = start(state.path()).await;
    for key in [ended, waits, pardoned] {
        node.condemn(key, Data::Delete).await.unwrap();
    }
    node.pardon(pardoned).await.unwrap();
    assert_eq!(node.condemned().await.unwrap(), [ended, waits]);
    assert!(node.finish_removals(BTreeSet::from([waits])).await.unwrap().is_empty());
    assert_eq!(node.condemned().await.unwrap(), [waits]);
    node.shutdown().await;
}
