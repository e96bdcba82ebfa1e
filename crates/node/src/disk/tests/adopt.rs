//! Files that were there before us.

use std::path::PathBuf;

use super::fixture::{PIECE, Place, Torrent, file, tree};
use crate::disk::{DiskConfig, FileIdentity, OpenError};

#[test]
fn a_complete_tree_is_adopted_untouched() {
    let torrent = Torrent::folder(vec![file("a", 50_000), file("b/c", 90_000), file("e", 0)]);
    let place = Place::new();
    torrent.write_out(place.target.path());
    let identities = || -> Vec<_> {
        let paths = tree(place.target.path()).into_iter();
        paths.map(|path| FileIdentity::of(&std::fs::metadata(path).unwrap())).collect()
    };
    let before = identities();
    let rig = place.start(DiskConfig::default());
    let mut open = rig.open(&torrent, &place.fetch());
    assert_eq!(open.have.len() as u32, torrent.pieces());
    open.wait_finished();
    assert_eq!(identities(), before);
    torrent.assert_tree(place.target.path());
}

#[test]
fn a_wrong_file_is_in_the_way_and_its_good_part_is_kept() {
    let torrent = Torrent::single(file("f", 4 * PIECE as usize));
    let place = Place::new();
    let own = torrent.write_out(place.target.path());
    let mut content = torrent.space.clone();
    content[PIECE as usize] ^= 1;
    std::fs::write(&own, &content).unwrap();
    let rig = place.start(DiskConfig::default());
    let Err(OpenError::Conflict { path, kept, .. }) = rig.try_open(&torrent, &place.fetch()) else {
        panic!("a foreign file was taken");
    };
    assert_eq!((&path, kept), (&own, 3 * u64::from(PIECE)));
    assert!(std::fs::read(&own).unwrap() == content);

    std::fs::rename(&own, place.state.path().join("away")).unwrap();
    let mut open = rig.open(&torrent, &place.fetch());
    assert_eq!((open.have.as_slice(), open.read), ([0, 2, 3].as_slice(), 0));
    rig.store(&mut open, &torrent, [1]);
    open.wait_finished();
    torrent.assert_tree(place.target.path());
}

#[test]
fn a_cut_file_of_another_program_is_copied_beside() {
    let torrent = Torrent::single(file("f", 4 * PIECE as usize));
    let place = Place::new();
    let foreign = place.target.path().join("f.part");
    std::fs::write(&foreign, &torrent.space[..2 * PIECE as usize + 5]).unwrap();
    let rig = place.start(DiskConfig::default());
    let mut open = rig.open(&torrent, &place.fetch());
    rig.store(&mut open, &torrent, [2, 3]);
    open.wait_finished();
    assert_eq!(open.storage.have().count(), 4, "two were copied, two fetched");
    assert_eq!(std::fs::read(&foreign).unwrap().len(), 2 * PIECE as usize + 5);
    assert!(std::fs::read(place.target.path().join("f")).unwrap() == torrent.space);
}

#[test]
fn a_part_without_a_record_is_checked_and_used() {
    let torrent = Torrent::single(file("f", 4 * PIECE as usize));
    let place = Place::new();
    let rig = place.lazy();
    let mut open = rig.open(&torrent, &place.fetch());
    rig.store(&mut open, &torrent, [1, 3]);
    open.storage.close();
    drop((open, rig));
    let elsewhere = Place { state: tempfile::tempdir().unwrap(), ..place };
    let rig = elsewhere.lazy();
    let mut open = rig.open(&torrent, &elsewhere.fetch());
    assert_eq!(open.have, [1, 3]);
    rig.store(&mut open, &torrent, [0, 2]);
    open.wait_finished();
    torrent.assert_tree(elsewhere.target.path());
}

#[test]
fn edges_shared_with_a_missing_neighbour_are_compared_when_they_come() {
    let torrent = Torrent::folder(vec![file("a", PIECE as usize + 100), file("b", PIECE as usize)]);
    for spoiled in [false, true] {
        let place = Place::new();
        torrent.write_out(place.target.path());
        std::fs::remove_file(place.target.path().join("t/b")).unwrap();
        let a = place.target.path().join("t/a");
        let mut content = torrent.files[0].content.clone();
        content[PIECE as usize + 50] ^= u8::from(spoiled);
        std::fs::write(&a, &content).unwrap();
        let rig = place.start(DiskConfig::default());
        let mut open = rig.open(&torrent, &place.fetch());
        assert_eq!(open.have, [0]);
        if !spoiled {
            rig.store(&mut open, &torrent, [1, 2]);
            open.wait_finished();
            torrent.assert_tree(place.target.path());
            continue;
        }
        rig.disk.submit(&open.storage, torrent.job(1));
        let event = open.next_disk_event_or_failure();
        assert!(event.contains("exists with other content"), "{event}");
        assert!(std::fs::read(&a).unwrap() == content, "never written to");
    }
}

#[test]
fn a_recheck_takes_a_missing_neighbour_for_no_fault_of_the_file_beside_it() {
    let torrent =
        Torrent::folder(vec![file("a", PIECE as usize + 100), file("b", 2 * PIECE as usize)]);
    for spoiled in [false, true] {
        let place = Place::new();
        torrent.write_out(place.target.path());
        let b = place.target.path().join("t/b");
        let mut content = torrent.files[1].content.clone();
        content[PIECE as usize] ^= u8::from(spoiled);
        std::fs::write(&b, &content).unwrap();
        if !spoiled {
            let rig = place.start(DiskConfig::default());
            rig.open(&torrent, &place.fetch()).wait_finished();
        }
        std::fs::remove_file(place.target.path().join("t/a")).unwrap();
        let mut rig = place.start(DiskConfig::default());
        rig.distrust = true;
        let mut open = rig.open(&torrent, &place.fetch());
        let aside = place.target.path().join("t/b (changed 1)");
        assert_eq!((b.exists(), aside.exists()), (!spoiled, spoiled));
        if spoiled {
            assert_eq!(open.have, [3]);
            assert!(std::fs::read(&aside).unwrap() == content);
            continue;
        }
        assert_eq!(open.have, [2, 3]);
        rig.store(&mut open, &torrent, [0, 1]);
        open.wait_finished();
        torrent.assert_tree(place.target.path());
    }
}

#[test]
fn too_little_room_is_said_before_anything_is_fetched() {
    let mut torrent = Torrent::single(file("f", 3));
    // A file of 2^52 bytes fits nowhere.
    let raw = format!("d6:lengthi{}e4:name1:f12:piece lengthi{}e6:pieces", 1_u64 << 50, 1 << 29);
    let count = (1_usize << 50) / (1 << 29);
    let mut raw = format!("{raw}{}:", 20 * count).into_bytes();
    raw.resize(raw.len() + 20 * count, 0);
    raw.push(b'e');
    let Ok(info) = proto::metainfo::Info::decode(&raw) else { return };
    torrent.info = std::sync::Arc::new(info);
    let place = Place::new();
    let rig = place.lazy();
    let error = rig.try_open(&torrent, &place.fetch()).err();
    assert!(
        matches!(&error, Some(OpenError::Full(lacking)) if lacking.needed == 1 << 50),
        "{error:?}"
    );
    assert_eq!(tree(place.target.path()), Vec::<PathBuf>::new());
}

#[test]
fn a_file_that_appears_beside_its_part_costs_nothing() {
    let torrent = Torrent::single(file("f", 3 * PIECE as usize));
    let place = Place::new();
    let rig = place.lazy();
    let mut open = rig.open(&torrent, &place.fetch());
    rig.store(&mut open, &torrent, [0, 2]);
    open.storage.close();
    drop((open, rig));
    let own = place.target.path().join("f");
    std::fs::write(&own, b"something").unwrap();
    let rig = place.lazy();
    let error = rig.try_open(&torrent, &place.fetch()).err();
    assert!(matches!(error, Some(OpenError::Conflict { .. })), "{error:?}");
    std::fs::remove_file(&own).unwrap();
    let open = rig.open(&torrent, &place.fetch());
    assert_eq!((open.have.as_slice(), open.read), ([0, 2].as_slice(), 0));
}
