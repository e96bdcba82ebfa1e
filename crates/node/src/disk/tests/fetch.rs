//! From nothing to whole files.

use std::os::unix::fs::PermissionsExt;

use proto::metainfo::Expected;
use proto::{BLOCK_LEN, Block, MerkleHash, PieceIndex};
use swarm::{DiskEvent, DiskJob};

use super::fixture::{Entry, PIECE, Place, Torrent, file, pad, tree};
use crate::disk::{DiskConfig, ReadError, StorageEvent};

#[test]
fn files_of_every_kind_come_out_right() {
    let link = Entry { symlink: "a/one", attr: "l", ..file("c/link", 0) };
    let script = Entry { attr: "x", ..file("run", 10) };
    let files =
        vec![file("a/one", 100_000), file("a/b/empty", 0), script, link, file("ünï", 70_000)];
    let torrent = Torrent::folder(files);
    let place = Place::new();
    let rig = place.start(DiskConfig::default());
    let mut open = rig.open(&torrent, &place.fetch());
    assert_eq!((open.have.len(), open.finished, open.read), (0, false, 0));
    rig.store(&mut open, &torrent, (0..torrent.pieces()).rev());
    open.storage.finish();
    open.wait_finished();

    torrent.assert_tree(place.target.path());
    assert_eq!(open.storage.durable(), torrent.space.len() as u64);
    let base = place.target.path().join("t");
    assert_eq!(std::fs::read_link(base.join("c/link")).unwrap().to_str(), Some("../a/one"));
    let mode = |path| std::fs::metadata(base.join(path)).unwrap().permissions().mode();
    assert_eq!(mode("run") & 0o100, 0o100);
    assert_eq!(mode("ünï") & 0o111, 0);
    for index in 0..torrent.pieces() {
        assert!(open.read_piece(index) == torrent.piece(index));
    }
}

#[test]
fn a_file_has_its_name_only_when_it_is_whole() {
    let torrent = Torrent::folder(vec![file("a", PIECE as usize), file("b", PIECE as usize + 1)]);
    let place = Place::new();
    let rig = place.start(DiskConfig::default());
    let mut open = rig.open(&torrent, &place.fetch());
    rig.store(&mut open, &torrent, [0, 1]);
    open.storage.finish();
    open.wait(|event| matches!(event, StorageEvent::FileDone(file) if file.0 == 0));
    let mut names: Vec<_> = tree(place.target.path())
        .iter()
        .map(|path| path.file_name().unwrap().to_str().unwrap().to_owned())
        .collect();
    names.sort();
    assert_eq!(names[0], "a");
    assert!(names[1].starts_with("b.") && names[1].ends_with(".part"), "{names:?}");
    rig.store(&mut open, &torrent, [2]);
    open.wait_finished();
    torrent.assert_tree(place.target.path());
}

#[test]
fn wrong_pieces_are_not_written_and_tell_their_blocks() {
    let torrent = Torrent::single(file("f", 2 * PIECE as usize));
    let place = Place::new();
    let rig = place.lazy();
    let mut open = rig.open(&torrent, &place.fetch());
    let DiskJob::Store { blocks, expected, .. } = torrent.job(0);
    rig.disk.submit(
        &open.storage,
        DiskJob::Store {
            piece: PieceIndex(1),
            blocks,
            expected: wrong(expected),
            want_digests: false,
        },
    );
    let DiskEvent::Bad { piece, digests, inconsistent } = open.next_disk_event() else {
        panic!("a wrong piece was kept");
    };
    assert_eq!((piece, inconsistent), (PieceIndex(1), false));
    let right = torrent.piece(0).chunks(BLOCK_LEN as usize);
    let right: Vec<_> = right.map(|block| Some(MerkleHash(digest::sha256(block)))).collect();
    assert_eq!(digests, right);
    assert_eq!(tree(place.target.path()), Vec::<std::path::PathBuf>::new());
    let run = Block { piece: PieceIndex(1), begin: 0, len: 1 };
    assert!(matches!(open.read_run(run), Err(ReadError::Absent)));
    assert!(rig.disk.pool().idle() >= 2, "buffers go back to the pool");
}

fn wrong(expected: Expected) -> Expected {
    Expected {
        v1: expected.v1.map(|mut hash| {
            hash.0[0] ^= 1;
            hash
        }),
        ..expected
    }
}

#[test]
fn pads_are_served_as_zeros_and_never_stored() {
    let first = 20_000;
    let padding = 2 * PIECE as usize - first;
    let torrent = Torrent::folder(vec![file("a", first), pad(padding), file("b", 9)]);
    let place = Place::new();
    let rig = place.start(DiskConfig::default());
    let mut open = rig.open(&torrent, &place.fetch());
    assert_eq!(open.have, [1], "a piece that is all pad need not be fetched");
    rig.store(&mut open, &torrent, [0, 2]);
    open.wait_finished();
    for index in 0..3 {
        assert!(open.read_piece(index) == torrent.piece(index));
    }
    let straddling = Block { piece: PieceIndex(0), begin: 19_999, len: 3 };
    assert_eq!(open.read_run(straddling).unwrap(), [torrent.space[19_999], 0, 0]);
    torrent.assert_tree(place.target.path());
}

#[test]
fn what_was_just_written_is_read_without_waiting() {
    let torrent = Torrent::single(file("f", PIECE as usize));
    let place = Place::new();
    let rig = place.lazy();
    let mut open = rig.open(&torrent, &place.fetch());
    rig.store(&mut open, &torrent, [0]);
    let run = open.storage.geometry().whole(PieceIndex(0));
    let mut out = vec![0; run.len as usize];
    assert!(open.storage.read_cached(run, &mut out).unwrap());
    assert!(out == torrent.piece(0));
    drop(open);
    rig.crash();
}

#[test]
fn five_thousand_files_keep_within_the_descriptors() {
    let names: Vec<&'static str> = (0..5_000)
        .map(|number| {
            &*Box::leak(format!("d{}/e{}/f{number}", number % 10, number % 70).into_boxed_str())
        })
        .collect();
    let torrent = Torrent::folder(names.into_iter().map(|name| file(name, 1_500)).collect());
    let place = Place::in_memory();
    let rig = place.start(DiskConfig { open_files: Some(64), ..DiskConfig::default() });
    let mut open = rig.open(&torrent, &place.fetch());
    rig.store(&mut open, &torrent, 0..torrent.pieces());
    open.wait_finished();
    assert!(open.storage.lane.descriptors.len() <= 64);
    torrent.assert_tree(place.target.path());
    drop((open, rig));

    let rig = place.lazy();
    let open = rig.open(&torrent, &place.fetch());
    assert_eq!((open.have.len() as u32, open.finished, open.read), (torrent.pieces(), true, 0));
}

#[test]
fn empty_files_come_with_the_last_piece() {
    let torrent = Torrent::folder(vec![file("a", 1), file("x/empty", 0)]);
    let place = Place::new();
    let rig = place.start(DiskConfig::default());
    let mut open = rig.open(&torrent, &place.fetch());
    assert!(!place.target.path().join("t/x/empty").exists());
    rig.store(&mut open, &torrent, [0]);
    open.wait_finished();
    torrent.assert_tree(place.target.path());
    assert!(open.storage.is_finished());
}
