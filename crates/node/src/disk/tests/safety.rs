//! Planted links, names that are taken, and disks that refuse.

use std::os::unix::fs::symlink;
use std::path::Path;

use super::fixture::{PIECE, Place, Torrent, file, tree};
use crate::disk::root::{Folders, Found, Root};
use crate::disk::{DiskConfig, OpenError, StorageEvent};

#[test]
fn planted_links_are_not_followed() {
    let torrent = Torrent::folder(vec![file("sub/a", 2 * PIECE as usize)]);
    let outside = tempfile::tempdir().unwrap();
    // The torrent's folder, a folder inside, the file, and its incomplete name.
    let plants: [&dyn Fn(&Path); 3] = [
        &|target| symlink(outside.path(), target.join("t")).unwrap(),
        &|target| {
            std::fs::create_dir(target.join("t")).unwrap();
            symlink(outside.path(), target.join("t/sub")).unwrap();
        },
        &|target| {
            std::fs::create_dir_all(target.join("t/sub")).unwrap();
            symlink(outside.path().join("x"), target.join("t/sub/a")).unwrap();
        },
    ];
    for plant in plants {
        let place = Place::new();
        plant(place.target.path());
        let rig = place.lazy();
        let error = rig.try_open(&torrent, &place.fetch()).err();
        assert!(
            matches!(error, Some(OpenError::Conflict { .. } | OpenError::Io { .. })),
            "{error:?}"
        );
        assert_eq!(tree(outside.path()), Vec::<std::path::PathBuf>::new());
    }
}

#[test]
fn a_link_planted_during_the_download_is_not_followed() {
    let torrent =
        Torrent::folder(vec![file("sub/a", PIECE as usize), file("sub/b", PIECE as usize)]);
    let outside = tempfile::tempdir().unwrap();
    let place = Place::new();
    let rig = place.lazy();
    let mut open = rig.open(&torrent, &place.fetch());
    rig.store(&mut open, &torrent, [0]);
    let sub = place.target.path().join("t/sub");
    std::fs::rename(&sub, place.target.path().join("moved")).unwrap();
    symlink(outside.path(), &sub).unwrap();
    rig.disk.submit(&open.storage, torrent.job(1));
    let event = open.next_disk_event_or_failure();
    assert!(event.contains("write"), "{event}");
    assert_eq!(tree(outside.path()), Vec::<std::path::PathBuf>::new());
    drop(open);
    rig.crash();
}

#[test]
fn paths_leave_the_root_in_no_way() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("secret"), b"x").unwrap();
    std::fs::create_dir(dir.path().join("root")).unwrap();
    symlink("../secret", dir.path().join("root/link")).unwrap();
    let root = Root::open(&dir.path().join("root")).unwrap();
    for path in ["../secret", "link", "/etc/passwd"] {
        assert!(root.open_read(Path::new(path)).is_err(), "{path}");
        assert!(root.create(Path::new(path), 1).is_err(), "{path}");
    }
    assert_eq!(root.find(Path::new("link")).unwrap(), Some(Found::Link));
}

#[test]
fn naming_replaces_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let root = Root::open(dir.path()).unwrap();
    std::fs::write(dir.path().join("from"), b"new").unwrap();
    std::fs::write(dir.path().join("to"), b"old").unwrap();
    let error = root.rename_new(Path::new("from"), Path::new("to")).unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::AlreadyExists);
    assert_eq!(std::fs::read(dir.path().join("to")).unwrap(), b"old");
    assert_eq!(std::fs::read(dir.path().join("from")).unwrap(), b"new");
}

#[test]
fn a_failed_sync_takes_the_pieces_back() {
    let torrent = Torrent::single(file("f", 3 * PIECE as usize));
    let place = Place::new();
    let rig = place.lazy();
    let mut open = rig.open(&torrent, &place.fetch());
    rig.store(&mut open, &torrent, [0]);
    open.storage.finish();
    open.wait(|event| matches!(event, StorageEvent::Durable(_)));
    rig.store(&mut open, &torrent, [1]);
    // What an eviction does that could not sync.
    open.storage.debt.set_failed();
    open.storage.finish();
    let lost = open.next_disk_event();
    assert!(
        matches!(&lost, swarm::DiskEvent::Lost(pieces) if pieces.len() == 1 && pieces[0].0 == 1),
        "{lost:?}"
    );
    let failed = open.next();
    assert!(matches!(failed, StorageEvent::Failed { .. }), "{failed:?}");
    rig.disk.submit(&open.storage, torrent.job(2));
    assert!(matches!(open.next_disk_event(), swarm::DiskEvent::Failed { .. }));
    drop(open);
    rig.crash();

    let rig = place.lazy();
    assert_eq!(rig.open(&torrent, &place.fetch()).have, [0]);
}

#[test]
fn a_folder_that_refuses_is_named() {
    let torrent = Torrent::single(file("f", 3));
    let place = Place::new();
    let rig = place.start(DiskConfig::default());
    let blocked = place.target.path().join("file");
    std::fs::write(&blocked, b"").unwrap();
    let content = crate::api::Content::Fetch { folder: blocked.join("below") };
    let error = rig.try_open(&torrent, &content).err().unwrap();
    assert!(error.to_string().contains("below"), "{error}");
    assert_eq!(error.fault(), crate::api::Fault::Disk);
}

#[test]
fn a_conflict_does_not_lose_what_else_was_written() {
    let torrent = Torrent::folder(vec![file("a", PIECE as usize), file("b", 2 * PIECE as usize)]);
    let place = Place::new();
    let rig = place.lazy();
    let mut open = rig.open(&torrent, &place.fetch());
    rig.store(&mut open, &torrent, [0]);
    std::fs::write(place.target.path().join("t/a"), b"taken").unwrap();
    open.storage.finish();
    loop {
        if let StorageEvent::Failed { fault, .. } = open.next() {
            assert_eq!(fault, crate::api::Fault::Conflict);
            break;
        }
    }
    open.storage.close();
    assert_eq!(std::fs::read(place.target.path().join("t/a")).unwrap(), b"taken");
    drop((open, rig));
    std::fs::remove_file(place.target.path().join("t/a")).unwrap();
    let rig = place.lazy();
    let open = rig.open(&torrent, &place.fetch());
    assert_eq!((open.have.as_slice(), open.read), ([0].as_slice(), 0));
}

#[test]
fn a_cancelled_check_ends_at_once() {
    let torrent = Torrent::single(file("f", 3 * PIECE as usize));
    let place = Place::new();
    let path = torrent.write_out(place.target.path());
    let rig = place.lazy();
    let (events, _inbox) = tokio::sync::mpsc::unbounded_channel();
    let args = crate::disk::OpenArgs {
        info: torrent.info,
        layers: proto::metainfo::PieceLayers::default(),
        content: &place.share(&path),
        adopt: &[],
        wanted: None,
        renames: &crate::disk::Renames::default(),
        distrust: false,
        events,
    };
    let cancelled = std::sync::atomic::AtomicBool::new(true);
    let opened = rig.disk.open(args, &|_| (), &cancelled);
    assert!(matches!(opened, Err(OpenError::Cancelled)));
}

#[test]
fn torrents_of_one_folder_share_its_descriptor_and_none_that_has_another_by_now() {
    let dir = tempfile::tempdir().unwrap();
    let (path, aside) = (dir.path().join("root"), dir.path().join("aside"));
    std::fs::create_dir(&path).unwrap();
    let open_files = || {
        std::fs::read_dir("/proc/self/fd").unwrap().filter_map(|entry| {
            std::fs::read_link(entry.unwrap().path()).ok().filter(|at| at.starts_with(dir.path()))
        })
    };
    let folders = Folders::default();
    let roots: Vec<_> = (0..100).map(|_| folders.open(&path).unwrap()).collect();
    assert_eq!(open_files().count(), 1);
    std::fs::rename(&path, &aside).unwrap();
    std::fs::create_dir(&path).unwrap();
    let other = folders.open(&path).unwrap();
    other.create(Path::new("new"), 0).unwrap();
    roots[0].create(Path::new("old"), 0).unwrap();
    assert!(path.join("new").exists() && aside.join("old").exists());
    drop((roots, other));
    assert_eq!(open_files().count(), 0);
}
