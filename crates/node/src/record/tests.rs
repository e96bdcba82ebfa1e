use super::*;

fn identity(ino: u64) -> FileIdentity {
    FileIdentity { dev: u64::MAX, ino, size: 1 << 40, mtime_ns: -5, ctime_ns: 7 }
}

fn torrent(key: u8, path: &str) -> TorrentRecord {
    TorrentRecord {
        key: InfoHash([key; 20]),
        source: SavedSource::Metainfo(vec![b'd', b'e']),
        content: SavedContent::Fetch(path.into()),
        trackers: vec![vec!["udp://a:1".into(), "http://b/".into()], vec!["http://c/".into()]],
        finished: false,
    }
}

#[test]
fn torrents_come_back_as_they_were_saved() {
    let dir = tempfile::tempdir().unwrap();
    let first = torrent(9, "/a b/c");
    let second = TorrentRecord {
        source: SavedSource::Magnet("magnet:?xt=x".into()),
        content: SavedContent::Share("/d".into()),
        trackers: vec![],
        ..torrent(1, "")
    };
    {
        let records = Records::open(dir.path()).unwrap();
        records.save(&torrent(9, "/old")).unwrap();
        records.save(&second).unwrap();
        records.save(&first).unwrap();
    }
    let records = Records::open(dir.path()).unwrap();
    assert_eq!(records.load_all().unwrap(), [first, second.clone()]);
    records.remove(InfoHash([9; 20])).unwrap();
    assert_eq!(records.load_all().unwrap(), [second]);
}

#[test]
fn progress_is_replaced_and_files_are_merged() {
    let dir = tempfile::tempdir().unwrap();
    let records = Records::open(dir.path()).unwrap();
    let key = InfoHash([3; 20]);
    let record = |ino, whole| Some(FileRecord { identity: identity(ino), whole, made: whole });
    let mut have = Bitfield::empty(9);
    have.insert(proto::PieceIndex(8));
    let files = [(FileIndex(0), record(10, false)), (FileIndex(1), record(11, true))];
    records.checkpoint(key, &have, &files, Standing::default()).unwrap();
    have.insert(proto::PieceIndex(0));
    let files = [(FileIndex(0), record(12, true)), (FileIndex(1), None)];
    let standing = Standing { clean: true, finished: false };
    records.checkpoint(key, &have, &files, standing).unwrap();

    let progress = records.progress(key, 9).unwrap().unwrap();
    assert_eq!(progress.have, have);
    assert!(progress.clean && !progress.finished);
    let expected = FileRecord { identity: identity(12), whole: true, made: true };
    assert_eq!(progress.files, BTreeMap::from([(FileIndex(0), expected)]));
    assert_eq!(records.progress(key, 800).unwrap(), None, "another torrent's size");
    assert_eq!(records.progress(InfoHash([4; 20]), 9).unwrap(), None);
}

#[test]
fn a_second_opener_is_refused_until_the_first_is_gone() {
    let dir = tempfile::tempdir().unwrap();
    let first = Records::open(dir.path()).unwrap();
    assert!(matches!(Records::open(dir.path()), Err(RecordError::Locked(_))));
    drop(first);
    Records::open(dir.path()).unwrap();
}

#[test]
fn a_damaged_database_is_kept_aside_and_named() {
    let dir = tempfile::tempdir().unwrap();
    let garbage = vec![0x5a; 8192];
    std::fs::write(dir.path().join("node.db"), &garbage).unwrap();
    let Err(RecordError::Damaged { kept, .. }) = Records::open(dir.path()) else {
        panic!("garbage was taken for a database");
    };
    assert_eq!(std::fs::read(kept).unwrap(), garbage);
    assert_eq!(Records::open(dir.path()).unwrap().load_all().unwrap(), []);
}

#[test]
fn a_newer_format_is_refused_untouched() {
    let dir = tempfile::tempdir().unwrap();
    drop(Records::open(dir.path()).unwrap());
    let path = dir.path().join("node.db");
    rusqlite::Connection::open(&path).unwrap().pragma_update(None, "user_version", 99).unwrap();
    assert!(matches!(Records::open(dir.path()), Err(RecordError::Newer { found: 99, .. })));
    assert!(path.exists());
}
