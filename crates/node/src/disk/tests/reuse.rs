//! Content that is taken from copies elsewhere.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use proto::metainfo::{Details, Format, Metainfo, PieceLayers};

use super::fixture::{Open, PIECE, Place, Rig, Torrent, file};
use crate::disk::{DiskConfig, FileIdentity};
use crate::hashing::{Control, create};

fn copies() -> tempfile::TempDir {
    tempfile::tempdir().unwrap()
}

fn open_with(rig: &Rig, torrent: &Torrent, place: &Place, folder: &Path) -> Open {
    let what = (&torrent.info, PieceLayers::default());
    rig.try_open_info(what, &place.fetch(), &[folder.to_owned()]).unwrap()
}

fn identity(path: &Path) -> FileIdentity {
    FileIdentity::of(&std::fs::metadata(path).unwrap())
}

/// A torrent of what is at `path`.
fn created(path: &Path, format: Format) -> Metainfo {
    let name = path.file_name().unwrap().to_str().unwrap().to_owned();
    let recipe =
        create::Recipe { name, format, piece_len: Some(PIECE), details: Details::default() };
    create::create(path, recipe, &Control::default()).unwrap().metainfo
}

fn content(len: usize) -> Vec<u8> {
    file("content", len).content
}

#[test]
fn an_old_version_gives_the_pieces_that_are_still_right_and_stays_as_it_is() {
    let torrent = Torrent::folder(vec![file("a", 4 * PIECE as usize)]);
    let (place, folder) = (Place::new(), copies());
    torrent.write_out(folder.path());
    let old = folder.path().join("t/a");
    let mut content = torrent.space.clone();
    content[2 * PIECE as usize] ^= 1;
    content.extend([7; 1000]);
    std::fs::write(&old, &content).unwrap();
    let before = identity(&old);

    let rig = place.start(DiskConfig::default());
    let mut open = open_with(&rig, &torrent, &place, folder.path());
    assert_eq!(open.have, [0, 1, 3]);
    assert_eq!(open.storage.reused(), 3 * u64::from(PIECE));
    rig.store(&mut open, &torrent, [2]);
    open.wait_finished();
    torrent.assert_tree(place.target.path());
    assert_eq!(identity(&old), before);
    assert_eq!(std::fs::read(&old).unwrap(), content);
}

#[test]
fn a_copy_is_found_under_any_name_by_its_length() {
    let torrent = Torrent::single(file("f", 3 * PIECE as usize + 5));
    let (place, folder) = (Place::new(), copies());
    std::fs::create_dir(folder.path().join("deep")).unwrap();
    std::fs::write(folder.path().join("deep/other name"), &torrent.space).unwrap();
    std::fs::write(folder.path().join("another"), vec![9; torrent.space.len()]).unwrap();
    let rig = place.start(DiskConfig::default());
    let mut open = open_with(&rig, &torrent, &place, folder.path());
    assert_eq!(open.have.len() as u32, torrent.pieces());
    open.wait_finished();
    torrent.assert_tree(place.target.path());
}

#[test]
fn v1_pieces_across_files_are_put_together_from_the_copies_of_each() {
    let torrent = Torrent::folder(vec![file("a", 50_000), file("b", 10_000), file("c", 70_000)]);
    let (place, folder) = (Place::new(), copies());
    torrent.write_out(folder.path());
    let rig = place.start(DiskConfig::default());
    let mut open = open_with(&rig, &torrent, &place, &folder.path().join("t"));
    assert_eq!(open.have.len() as u32, torrent.pieces());
    open.wait_finished();
    torrent.assert_tree(place.target.path());
}

#[test]
fn links_in_a_folder_with_copies_are_not_followed() {
    let torrent = Torrent::single(file("f", 2 * PIECE as usize));
    let (place, folder, elsewhere) = (Place::new(), copies(), copies());
    let secret = elsewhere.path().join("secret");
    std::fs::write(&secret, &torrent.space).unwrap();
    std::os::unix::fs::symlink(&secret, folder.path().join("f")).unwrap();
    let rig = place.start(DiskConfig::default());
    let open = open_with(&rig, &torrent, &place, folder.path());
    assert_eq!(open.have, [0_u32; 0]);
}

fn fetch_elsewhere(rig: &Rig, metainfo: &Metainfo, place: &Place, adopt: &[PathBuf]) -> Open {
    let what = (&Arc::new(metainfo.info.clone()), metainfo.layers.clone());
    rig.try_open_info(what, &place.fetch(), adopt).unwrap()
}

#[test]
fn a_file_of_another_torrent_is_known_by_its_root() {
    let (place, folder) = (Place::new(), copies());
    let [one, two] = ["one", "two"].map(|name| folder.path().join(name));
    std::fs::create_dir(&one).unwrap();
    std::fs::create_dir(&two).unwrap();
    for (path, seed) in [(one.join("x"), 3), (one.join("more"), 1), (two.join("y"), 3)] {
        std::fs::write(path, content(seed * PIECE as usize + 5)).unwrap();
    }
    let rig = place.start(DiskConfig::default());
    let first = created(&one, Format::V2);
    let what = (&Arc::new(first.info), first.layers);
    rig.try_open_info(what, &place.share(&one), &[]).unwrap();
    let second = created(&two, Format::Hybrid);
    let mut open = fetch_elsewhere(&rig, &second, &place, &[]);
    assert_eq!(open.have, [0, 1, 2, 3]);
    open.wait_finished();
    let fetched = place.target.path().join("two/y");
    assert_eq!(std::fs::read(fetched).unwrap(), content(3 * PIECE as usize + 5));
}

#[test]
fn a_recorded_copy_that_changed_gives_nothing_wrong() {
    let (place, folder) = (Place::new(), copies());
    let path = folder.path().join("x");
    std::fs::write(&path, content(3 * PIECE as usize)).unwrap();
    let metainfo = created(&path, Format::Hybrid);
    let rig = place.start(DiskConfig::default());
    let records = rig.disk.records();
    records.note_copies(&path, &metainfo.info).unwrap();
    let root = metainfo.info.files()[0].root.unwrap();
    assert_eq!(records.copies_of(&root).unwrap(), std::slice::from_ref(&path));

    let mut changed = content(3 * PIECE as usize);
    changed[0] ^= 1;
    std::fs::write(&path, changed).unwrap();
    let open = fetch_elsewhere(&rig, &metainfo, &place, &[]);
    assert_eq!(open.have, [0_u32; 0], "its first piece is wrong, so it is another file");
    drop(open);
    std::fs::remove_file(&path).unwrap();
    fetch_elsewhere(&rig, &metainfo, &place, &[]);
    assert!(records.copies_of(&root).unwrap().is_empty(), "it is forgotten");
}

#[test]
fn a_whole_copy_tells_the_piece_layer_that_a_magnet_link_did_not_bring() {
    for format in [Format::V2, Format::Hybrid] {
        let (place, folder) = (Place::new(), copies());
        let path = folder.path().join("x");
        std::fs::write(&path, content(5 * PIECE as usize + 77)).unwrap();
        let metainfo = created(&path, format);
        let bare = Metainfo { layers: PieceLayers::default(), ..metainfo.clone() };
        let rig = place.start(DiskConfig::default());
        let other_name = folder.path().join("renamed");
        std::fs::rename(&path, other_name).unwrap();
        let mut open = fetch_elsewhere(&rig, &bare, &place, &[folder.path().to_owned()]);
        assert_eq!(open.have.len(), 6, "{format:?}");
        assert_eq!(open.storage.layers(), metainfo.layers);
        open.wait_finished();
    }
}
