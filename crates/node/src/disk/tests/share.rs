//! Serving what belongs to somebody else.

use proto::{Block, PieceIndex};

use super::fixture::{PIECE, Place, Torrent, file};
use crate::api::{Content, Fresh};
use crate::disk::{DiskConfig, FileIdentity, ReadError, StorageEvent};

fn two_files() -> Torrent {
    Torrent::folder(vec![file("a", 2 * PIECE as usize), file("b", PIECE as usize)])
}

#[test]
fn a_share_is_read_once() {
    let (torrent, place) = (two_files(), Place::new());
    let path = torrent.write_out(place.target.path());
    let rig = place.start(DiskConfig::default());
    let open = rig.open(&torrent, &place.share(&path));
    assert_eq!((open.have.len(), open.finished, open.read), (3, true, 3 * u64::from(PIECE)));
    drop((open, rig));

    let rig = place.start(DiskConfig::default());
    let open = rig.open(&torrent, &place.share(&path));
    assert_eq!((open.have.len(), open.finished, open.read), (3, true, 0));
    drop((open, rig));

    std::fs::write(path.join("b"), &torrent.files[1].content).unwrap();
    let rig = place.start(DiskConfig::default());
    let open = rig.open(&torrent, &place.share(&path));
    assert_eq!((open.have.len(), open.read), (3, u64::from(PIECE)), "only the changed one");
}

#[test]
fn what_was_hashed_just_now_is_not_read_again() {
    let (torrent, place) = (two_files(), Place::new());
    let path = torrent.write_out(place.target.path());
    let identity = |name| Some(FileIdentity::of(&std::fs::metadata(path.join(name)).unwrap()));
    let fresh = Some(Fresh(vec![identity("a"), identity("b")]));
    std::fs::write(path.join("b"), b"other").unwrap();
    let rig = place.lazy();
    let open = rig.open(&torrent, &Content::Share { path: path.clone(), fresh });
    assert_eq!((open.have.as_slice(), open.read), ([0, 1].as_slice(), 0));
    assert!(!open.finished);
    for index in 0..2 {
        assert!(open.read_piece(index) == torrent.piece(index));
    }
}

#[test]
fn a_single_file_may_have_another_name() {
    let torrent = Torrent::single(file("f", 100));
    let place = Place::new();
    let path = place.target.path().join("renamed");
    std::fs::write(&path, &torrent.space).unwrap();
    let rig = place.lazy();
    let open = rig.open(&torrent, &place.share(&path));
    assert_eq!(open.read_piece(0), torrent.space);
    assert_eq!(open.storage.path(), path.canonicalize().unwrap());
}

#[test]
fn a_file_that_changes_underneath_is_not_served_but_checked_again() {
    let (torrent, place) = (two_files(), Place::new());
    let path = torrent.write_out(place.target.path());
    let rig = place.start(DiskConfig::default());
    let mut open = rig.open(&torrent, &place.share(&path));
    let mut content = torrent.files[0].content.clone();
    content[0] ^= 1;
    std::fs::write(path.join("a"), &content).unwrap();

    let run = Block { piece: PieceIndex(1), begin: 0, len: 10 };
    assert!(matches!(open.read_run(run), Err(ReadError::Changed { .. })));
    let StorageEvent::Disk(swarm::DiskEvent::Lost(lost)) = open.next() else { panic!("not lost") };
    assert_eq!(lost, [PieceIndex(0), PieceIndex(1)]);
    let event = open.wait(|event| matches!(event, StorageEvent::Rechecked { .. }));
    let StorageEvent::Rechecked { good, .. } = event else { unreachable!() };
    assert_eq!(good, [PieceIndex(1)]);
    assert!(open.read_piece(1) == torrent.piece(1));
    assert!(open.read_piece(2) == torrent.piece(2));
    let run = Block { piece: PieceIndex(0), begin: 0, len: 10 };
    assert!(matches!(open.read_run(run), Err(ReadError::Absent)));
    drop((open, rig));

    let rig = place.start(DiskConfig::default());
    let open = rig.open(&torrent, &place.share(&path));
    assert_eq!(open.have, [1, 2]);
}

#[test]
fn a_shrunken_file_is_noticed() {
    let (torrent, place) = (two_files(), Place::new());
    let path = torrent.write_out(place.target.path());
    let rig = place.start(DiskConfig::default());
    let mut open = rig.open(&torrent, &place.share(&path));
    assert!(open.read_piece(2) == torrent.piece(2));
    std::fs::OpenOptions::new().write(true).open(path.join("b")).unwrap().set_len(3).unwrap();
    let run = open.storage.geometry().whole(PieceIndex(2));
    assert!(matches!(open.read_run(run), Err(ReadError::Changed { .. })));
    let event = open.wait(|event| matches!(event, StorageEvent::Rechecked { .. }));
    assert!(matches!(event, StorageEvent::Rechecked { good, .. } if good.is_empty()));
}

#[test]
fn a_share_is_never_written_to() {
    let (torrent, place) = (two_files(), Place::new());
    let path = torrent.write_out(place.target.path());
    std::fs::write(path.join("b"), b"wrong").unwrap();
    let rig = place.start(DiskConfig::default());
    let mut open = rig.open(&torrent, &place.share(&path));
    assert_eq!(open.have, [0, 1]);
    rig.disk.submit(&open.storage, torrent.job(2));
    assert!(matches!(open.next_disk_event(), swarm::DiskEvent::Failed { .. }));
    assert_eq!(std::fs::read(path.join("b")).unwrap(), b"wrong");
}
