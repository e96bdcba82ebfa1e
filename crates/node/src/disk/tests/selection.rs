//! Some files are wanted: where the others' bytes go, and what becomes of them.

use std::sync::Arc;

use proto::{BLOCK_LEN, FileIndex};
use swarm::DiskEvent;

use super::fixture::{Entry, PIECE, Place, Rig, Torrent, file, tree};
use crate::disk::{Storage, StorageEvent};

const HALF: usize = BLOCK_LEN as usize;

/// Pieces 1 and 3 are shared; `tiny` lies in piece 3 alone, between its neighbours.
fn four_files() -> Torrent {
    Torrent::folder(vec![
        file("a", 3 * HALF),
        file("sub/b", 3 * HALF + HALF / 2),
        file("sub/tiny", HALF / 4),
        file("c", 2 * HALF),
    ])
}

const A_AND_C: [bool; 4] = [true, false, false, true];

fn names(place: &Place) -> Vec<String> {
    let root = place.target.path();
    let relative =
        |path: std::path::PathBuf| path.strip_prefix(root).unwrap().display().to_string();
    let mut names: Vec<_> = tree(root).into_iter().map(relative).collect();
    names.sort();
    names
}

fn kept_aside(place: &Place) -> usize {
    std::fs::read_dir(place.state.path().join("parts")).map_or(0, Iterator::count)
}

fn wish(storage: &Arc<Storage>, wanted: [bool; 4]) {
    storage.set_wanted((0..).map(FileIndex).zip(wanted));
}

fn fetch_a_and_c(torrent: &Torrent, place: &Place, rig: &Rig) {
    let mut open = rig.open_some(torrent, &place.fetch(), &A_AND_C);
    rig.store(&mut open, torrent, [0, 1, 3, 4]);
    open.storage.finish();
    open.wait_finished();
    open.storage.close();
}

#[test]
fn bytes_of_unwanted_files_show_up_nowhere_and_are_served() {
    let (torrent, place) = (four_files(), Place::new());
    let rig = place.lazy();
    let mut open = rig.open_some(&torrent, &place.fetch(), &A_AND_C);
    rig.store(&mut open, &torrent, [0, 1, 3, 4]);
    for index in [0, 1, 3, 4] {
        assert!(open.read_piece(index) == torrent.piece(index), "piece {index}");
    }
    open.storage.finish();
    open.wait_finished();
    assert_eq!(names(&place), ["t/a", "t/c"]);
    assert_eq!(kept_aside(&place), 1);
    for index in [1, 3] {
        assert!(open.read_piece(index) == torrent.piece(index), "piece {index}, when all is named");
    }
}

#[test]
fn a_restart_believes_what_was_kept_aside() {
    let (torrent, place) = (four_files(), Place::new());
    fetch_a_and_c(&torrent, &place, &place.lazy());
    let rig = place.lazy();
    let open = rig.open_some(&torrent, &place.fetch(), &A_AND_C);
    assert_eq!(
        (open.have.as_slice(), open.read, open.finished),
        ([0, 1, 3, 4].as_slice(), 0, true)
    );
    assert!(open.read_piece(1) == torrent.piece(1));
}

#[test]
fn after_a_crash_it_is_read_as_far_as_it_was_not_recorded() {
    let (torrent, place) = (four_files(), Place::new());
    let rig = place.lazy();
    let mut open = rig.open_some(&torrent, &place.fetch(), &A_AND_C);
    rig.store(&mut open, &torrent, [1]);
    open.storage.finish();
    open.wait(|event| matches!(event, StorageEvent::Durable(_)));
    rig.store(&mut open, &torrent, [3]);
    drop(open);
    rig.crash();

    let rig = place.lazy();
    let open = rig.open_some(&torrent, &place.fetch(), &A_AND_C);
    // Piece 3, and the rest of `c`, which piece 3 began.
    let unknown = u64::from(PIECE) + torrent.piece(4).len() as u64;
    assert_eq!((open.have.as_slice(), open.read), ([1, 3].as_slice(), unknown));
    assert!(open.read_piece(3) == torrent.piece(3));
}

#[test]
fn what_was_kept_aside_is_hashed_again_when_it_is_not_as_it_was() {
    let (torrent, place) = (four_files(), Place::new());
    fetch_a_and_c(&torrent, &place, &place.lazy());
    let parts = tree(&place.state.path().join("parts")).pop().unwrap();
    let mut bytes = std::fs::read(&parts).unwrap();
    bytes[HALF + 7] ^= 1;
    std::fs::write(parts, bytes).unwrap();
    let rig = place.lazy();
    let open = rig.open_some(&torrent, &place.fetch(), &A_AND_C);
    assert_eq!(open.have, [0, 3, 4]);
}

#[test]
fn the_rest_can_be_fetched_later_and_nothing_twice() {
    let (torrent, place) = (four_files(), Place::new());
    fetch_a_and_c(&torrent, &place, &place.lazy());
    let rig = place.lazy();
    let mut open = rig.open(&torrent, &place.fetch());
    assert_eq!(
        (open.have.as_slice(), open.read, open.finished),
        ([0, 1, 3, 4].as_slice(), 0, false)
    );
    rig.store(&mut open, &torrent, [2]);
    for index in 0..torrent.pieces() {
        assert!(open.read_piece(index) == torrent.piece(index), "piece {index}");
    }
    open.storage.finish();
    open.wait_finished();
    torrent.assert_tree(place.target.path());
    assert_eq!(kept_aside(&place), 0);
    open.storage.close();
    drop((open, rig));
    let rig = place.lazy();
    let open = rig.open(&torrent, &place.fetch());
    assert_eq!((open.have.len(), open.read, open.finished), (5, 0, true));
}

#[test]
fn a_wish_that_changes_on_the_way_takes_what_is_there() {
    let (torrent, place) = (four_files(), Place::new());
    let rig = place.lazy();
    let mut open = rig.open_some(&torrent, &place.fetch(), &A_AND_C);
    rig.store(&mut open, &torrent, [0, 1, 3, 4]);
    open.storage.finish();
    open.wait_finished();
    // All of it is there already, among the bytes of others.
    wish(&open.storage, [true, false, true, true]);
    open.wait_finished();
    assert_eq!(names(&place), ["t/a", "t/c", "t/sub/tiny"]);
    wish(&open.storage, [true; 4]);
    rig.store(&mut open, &torrent, [2]);
    open.storage.finish();
    open.wait_finished();
    torrent.assert_tree(place.target.path());
}

#[test]
fn a_file_that_is_not_wanted_any_more_keeps_what_it_has() {
    let (torrent, place) = (four_files(), Place::new());
    let rig = place.lazy();
    let mut open = rig.open(&torrent, &place.fetch());
    rig.store(&mut open, &torrent, [1]);
    wish(&open.storage, [true, false, false, false]);
    rig.store(&mut open, &torrent, [0, 3]);
    open.storage.finish();
    open.wait_finished();
    assert!(open.read_piece(1) == torrent.piece(1) && open.read_piece(3) == torrent.piece(3));
    assert!(std::fs::read(place.target.path().join("t/a")).unwrap() == torrent.files[0].content);
    open.storage.close();
    drop((open, rig));
    let rig = place.lazy();
    let open = rig.open_some(&torrent, &place.fetch(), &[true, false, false, false]);
    assert_eq!((open.have.as_slice(), open.read), ([0, 1, 3].as_slice(), 0));
}

#[test]
fn a_file_that_was_taken_away_is_not_believed_to_be_kept_aside() {
    let (torrent, place) = (four_files(), Place::new());
    let rig = place.lazy();
    let mut open = rig.open_some(&torrent, &place.fetch(), &A_AND_C);
    rig.store(&mut open, &torrent, [3]);
    wish(&open.storage, [true; 4]);
    // From here on its bytes go to the file itself.
    rig.store(&mut open, &torrent, [1, 2]);
    open.storage.finish();
    open.wait(|event| matches!(event, StorageEvent::Durable(_)));
    let part = tree(place.target.path())
        .into_iter()
        .find(|path| path.ends_with("b") || path.to_string_lossy().contains("/b."));
    std::fs::remove_file(part.unwrap()).unwrap();
    drop(open);
    rig.crash();
    let rig = place.lazy();
    let open = rig.open_some(&torrent, &place.fetch(), &A_AND_C);
    assert_eq!(open.have, [3], "only that one was kept aside");
}

#[test]
fn what_stands_where_an_unwanted_file_would_go_is_in_nobodys_way() {
    let (torrent, place) = (four_files(), Place::new());
    std::fs::create_dir_all(place.target.path().join("t/sub/b")).unwrap();
    std::fs::write(place.target.path().join("t/sub/tiny"), "mine").unwrap();
    let rig = place.lazy();
    fetch_a_and_c(&torrent, &place, &rig);
    assert_eq!(std::fs::read(place.target.path().join("t/sub/tiny")).unwrap(), b"mine");
}

#[test]
fn empty_files_are_made_when_they_are_wanted() {
    let torrent = Torrent::folder(vec![file("a", 10), file("none", 0), file("x/none", 0)]);
    let place = Place::new();
    let rig = place.lazy();
    let mut open = rig.open_some(&torrent, &place.fetch(), &[true, true, false]);
    rig.store(&mut open, &torrent, [0]);
    open.storage.finish();
    open.wait_finished();
    assert_eq!(names(&place), ["t/a", "t/none"]);
    open.storage.set_wanted([(FileIndex(2), true)]);
    open.wait_finished();
    assert_eq!(names(&place), ["t/a", "t/none", "t/x/none"]);
}

#[test]
fn a_torrent_whose_pieces_keep_to_their_files_keeps_nothing_aside() {
    let padded: Vec<Entry> = vec![file("a", HALF), super::fixture::pad(HALF), file("b", 3 * HALF)];
    let (torrent, place) = (Torrent::folder(padded), Place::new());
    let rig = place.lazy();
    let mut open = rig.open_some(&torrent, &place.fetch(), &[true, false]);
    rig.store(&mut open, &torrent, [0]);
    open.storage.finish();
    open.wait_finished();
    assert_eq!((names(&place), kept_aside(&place)), (vec!["t/a".to_owned()], 0));
}

#[test]
fn only_wanted_files_need_room() {
    let lens = [HALF, 3 * HALF];
    let torrent = Torrent::folder(vec![file("a", lens[0]), file("b", lens[1])]);
    let place = Place::new();
    let rig = place.lazy();
    let mut open = rig.open_some(&torrent, &place.fetch(), &[true, false]);
    rig.disk.submit(&open.storage, torrent.job(0));
    assert!(matches!(open.next_disk_event(), DiskEvent::Stored { .. }));
    let allocated: u64 =
        tree(place.target.path()).iter().map(|path| path.metadata().unwrap().len()).sum();
    assert_eq!(allocated, lens[0] as u64);
}
