//! What a crash or a clean stop leaves, and what the next start reads.

use std::fs::OpenOptions;
use std::io::{Seek, SeekFrom, Write};

use super::fixture::{PIECE, Place, Torrent, file, tree};
use crate::disk::StorageEvent;

fn six_pieces() -> Torrent {
    Torrent::single(file("f", 6 * PIECE as usize))
}

#[test]
fn after_a_crash_only_what_was_not_recorded_is_read() {
    let (torrent, place) = (six_pieces(), Place::new());
    let rig = place.lazy();
    let mut open = rig.open(&torrent, &place.fetch());
    rig.store(&mut open, &torrent, [0, 3]);
    open.storage.finish();
    open.wait(
        |event| matches!(event, StorageEvent::Durable(bytes) if *bytes == 2 * u64::from(PIECE)),
    );
    rig.store(&mut open, &torrent, [1, 5]);
    drop(open);
    rig.crash();

    let rig = place.lazy();
    let open = rig.open(&torrent, &place.fetch());
    assert_eq!(open.have, [0, 1, 3, 5]);
    assert_eq!(open.read, 2 * u64::from(PIECE), "only the two of the journal");
    for index in [0, 1, 3, 5] {
        assert!(open.read_piece(index) == torrent.piece(index));
    }
}

#[test]
fn a_torn_write_is_found_out() {
    let (torrent, place) = (six_pieces(), Place::new());
    let rig = place.lazy();
    let mut open = rig.open(&torrent, &place.fetch());
    rig.store(&mut open, &torrent, [1, 2]);
    drop(open);
    rig.crash();
    overwrite(&place, u64::from(2 * PIECE), b"torn");

    let rig = place.lazy();
    let open = rig.open(&torrent, &place.fetch());
    assert_eq!(open.have, [1]);
}

#[test]
fn after_a_clean_stop_nothing_is_read_unless_the_file_changed() {
    let (torrent, place) = (six_pieces(), Place::new());
    let rig = place.lazy();
    let mut open = rig.open(&torrent, &place.fetch());
    rig.store(&mut open, &torrent, [0, 1, 2]);
    open.storage.close();
    drop((open, rig));

    let rig = place.lazy();
    let open = rig.open(&torrent, &place.fetch());
    assert_eq!((open.have.as_slice(), open.read), ([0, 1, 2].as_slice(), 0));
    open.storage.close();
    drop((open, rig));

    overwrite(&place, u64::from(PIECE), b"changed");
    let rig = place.lazy();
    let open = rig.open(&torrent, &place.fetch());
    assert_eq!(open.have, [0, 2]);
    assert_eq!(open.read, 6 * u64::from(PIECE));
}

#[test]
fn after_a_crash_times_do_not_count() {
    let (torrent, place) = (six_pieces(), Place::new());
    let rig = place.lazy();
    let mut open = rig.open(&torrent, &place.fetch());
    rig.store(&mut open, &torrent, [0, 1]);
    open.storage.finish();
    open.wait(|event| matches!(event, StorageEvent::Durable(_)));
    rig.store(&mut open, &torrent, [4]);
    drop(open);
    rig.crash();
    let rig = place.lazy();
    let open = rig.open(&torrent, &place.fetch());
    assert_eq!((open.have.len(), open.read), (3, u64::from(PIECE)));
}

#[test]
fn another_file_under_the_same_name_is_not_believed() {
    let (torrent, place) = (six_pieces(), Place::new());
    let rig = place.lazy();
    let mut open = rig.open(&torrent, &place.fetch());
    rig.store(&mut open, &torrent, [0, 1]);
    open.storage.close();
    drop((open, rig));
    let part = tree(place.target.path()).pop().unwrap();
    let other = part.with_extension("other");
    std::fs::write(&other, vec![7; torrent.space.len()]).unwrap();
    std::fs::rename(other, part).unwrap();

    let rig = place.lazy();
    assert!(rig.open(&torrent, &place.fetch()).have.is_empty());
}

#[test]
fn a_crash_between_naming_and_recording_costs_nothing() {
    let torrent = Torrent::folder(vec![file("a", 2 * PIECE as usize), file("b", PIECE as usize)]);
    let place = Place::new();
    let rig = place.lazy();
    let mut open = rig.open(&torrent, &place.fetch());
    rig.store(&mut open, &torrent, [0, 1]);
    open.storage.finish();
    open.wait(|event| matches!(event, StorageEvent::FileDone(_)));
    // As if the last rename of the next checkpoint came before the power cut.
    rig.store(&mut open, &torrent, [2]);
    open.wait_finished();
    drop(open);
    rig.crash();
    let rig = place.lazy();
    let open = rig.open(&torrent, &place.fetch());
    assert_eq!((open.have.len(), open.read, open.finished), (3, 0, true));
}

#[test]
fn a_complete_part_gets_its_name_at_the_next_start() {
    let (torrent, place) = (six_pieces(), Place::new());
    let rig = place.lazy();
    let mut open = rig.open(&torrent, &place.fetch());
    rig.store(&mut open, &torrent, 0..5);
    let own = place.target.path().join("f");
    std::fs::write(&own, b"somebody else's").unwrap();
    rig.disk.submit(&open.storage, torrent.job(5));
    loop {
        match open.next() {
            StorageEvent::Failed { fault, reason, .. } => {
                assert_eq!(fault, crate::api::Fault::Conflict);
                assert!(reason.contains("not replaced"), "{reason}");
                break;
            }
            StorageEvent::Finished => panic!("finished over a foreign file"),
            StorageEvent::Disk(_)
            | StorageEvent::Durable(_)
            | StorageEvent::FileDone(_)
            | StorageEvent::Rechecked { .. } => {}
        }
    }
    assert_eq!(std::fs::read(&own).unwrap(), b"somebody else's");
    open.storage.close();
    drop((open, rig));

    std::fs::remove_file(&own).unwrap();
    let rig = place.lazy();
    let mut open = rig.open(&torrent, &place.fetch());
    assert_eq!((open.have.len(), open.read), (6, 0));
    open.wait_finished();
    torrent.assert_tree(place.target.path());
}

fn overwrite(place: &Place, at: u64, bytes: &[u8]) {
    let part = tree(place.target.path()).pop().unwrap();
    let mut file = OpenOptions::new().write(true).open(part).unwrap();
    file.seek(SeekFrom::Start(at)).unwrap();
    file.write_all(bytes).unwrap();
}
