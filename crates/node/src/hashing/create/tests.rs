use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};

use proto::metainfo::Info;

use super::*;

fn bytes(len: usize, seed: u8) -> Vec<u8> {
    (0..len).map(|i| (i as u32).wrapping_mul(2_654_435_761).to_be_bytes()[1] ^ seed).collect()
}

fn recipe(format: Format, piece_len: Option<u32>) -> Recipe {
    Recipe { name: "share".to_owned(), format, piece_len, details: Details::default() }
}

fn make(path: &Path, format: Format, piece_len: Option<u32>) -> Metainfo {
    create(path, recipe(format, piece_len), &Control::default()).unwrap().metainfo
}

/// Computes what a torrent must say in the plainest way, and compares.
fn check_hashes(info: &Info, metainfo: &Metainfo, contents: &[&[u8]]) {
    let geometry = info.geometry();
    for piece in (0..geometry.piece_count()).map(proto::PieceIndex) {
        let mut whole = vec![0; geometry.piece_len(piece) as usize];
        let mut data_len = 0;
        for span in geometry.spans(geometry.whole(piece)) {
            let (begin, from) = (span.begin as usize, span.file_offset as usize);
            data_len = begin + span.len as usize;
            whole[begin..data_len]
                .copy_from_slice(&contents[span.file.0 as usize][from..from + span.len as usize]);
        }
        let expected = info.expected(piece, &metainfo.layers).unwrap();
        if let Some(v1) = expected.v1 {
            assert_eq!(v1.0, digest::sha1(&whole), "{piece:?}");
        }
        if let Some(v2) = expected.v2 {
            let leaves = merkle::leaves(&whole[..data_len]);
            assert_eq!(v2.hash, merkle::root(&leaves, v2.leaf_count.into()), "{piece:?}");
        }
    }
    for (file, content) in info.files().iter().zip(contents) {
        if let Some(root) = file.root {
            let leaves = merkle::leaves(content);
            assert_eq!(root, merkle::root(&leaves, (leaves.len() as u64).next_power_of_two()));
        }
    }
}

#[test]
fn every_format_of_one_file_has_the_plain_hashes() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("file");
    for len in [0, 1, 16_384, 16_385, 65_536, 3_000_000, 18_000_001] {
        let content = bytes(len, 3);
        fs::write(&path, &content).unwrap();
        for format in [Format::V1, Format::V2, Format::Hybrid] {
            for piece_len in [None, Some(65_536)] {
                let control = Control::default();
                let made = create(&path, recipe(format, piece_len), &control);
                let metainfo = made.unwrap().metainfo;
                assert!(metainfo.info.is_single_file());
                assert_eq!(metainfo.info.content_len(), len as u64);
                assert_eq!((control.hashed(), control.total()), (len as u64, len as u64));
                check_hashes(&metainfo.info, &metainfo, &[&content]);
            }
        }
    }
}

#[test]
fn pieces_longer_than_a_batch_have_the_plain_hashes() {
    let dir = tempfile::tempdir().unwrap();
    let contents = [bytes(1_000, 5), bytes(36_000_000, 9)];
    fs::write(dir.path().join("a"), &contents[0]).unwrap();
    fs::write(dir.path().join("b"), &contents[1]).unwrap();
    for format in [Format::V1, Format::V2, Format::Hybrid] {
        let metainfo = make(dir.path(), format, Some(64 << 20));
        check_hashes(&metainfo.info, &metainfo, &[&contents[0], &contents[1]]);
    }
}

#[test]
fn trees_keep_their_shape() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path();
    let files: [(&str, usize); 7] = [
        ("B", 40_000),
        ("a.txt", 5),
        ("a/z", 100_000),
        ("a/é 日本.bin", 16_384),
        ("empty", 0),
        ("run.sh", 30),
        ("z/deep/er/x", 200_000),
    ];
    for (seed, (path, len)) in files.iter().enumerate() {
        let path = root.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes(*len, seed as u8)).unwrap();
    }
    fs::set_permissions(root.join("run.sh"), fs::Permissions::from_mode(0o755)).unwrap();
    symlink("../../B", root.join("z/deep/link")).unwrap();
    let mut expected: Vec<&str> = files.iter().map(|(path, _)| *path).collect();
    expected.push("z/deep/link");
    expected.sort_by_key(|path| path.split('/').collect::<Vec<_>>());
    for format in [Format::V1, Format::V2, Format::Hybrid] {
        let metainfo = make(root, format, Some(16_384));
        let info = &metainfo.info;
        let paths: Vec<_> = info.files().iter().map(|file| file.path.join("/")).collect();
        assert_eq!(paths, expected);
        let of = |path: &str| &info.files()[paths.iter().position(|p| p == path).unwrap()];
        assert!(of("run.sh").executable && !of("B").executable);
        assert_eq!(of("z/deep/link").symlink, Some(vec!["B".to_owned()]));
        let read = |path: &String| match path.as_str() {
            "z/deep/link" => Vec::new(),
            path => fs::read(root.join(path)).unwrap(),
        };
        let contents: Vec<_> = paths.iter().map(read).collect();
        let contents: Vec<_> = contents.iter().map(Vec::as_slice).collect();
        check_hashes(info, &metainfo, &contents);
    }
}

#[test]
fn what_cannot_be_shared_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("share");
    fs::create_dir(&root).unwrap();
    let refused = |path: &Path| {
        let made = create(path, recipe(Format::Hybrid, None), &Control::default());
        made.unwrap_err().to_string()
    };
    assert!(refused(&root).ends_with("has no files"));
    assert!(refused(&root.join("none")).starts_with("cannot find "));
    fs::write(dir.path().join("outside"), "x").unwrap();
    fs::write(root.join("inside"), "x").unwrap();
    symlink("../outside", root.join("link")).unwrap();
    assert!(refused(&root).contains("points to ../outside, which is not inside"));
    fs::remove_file(root.join("link")).unwrap();
    rustix::fs::mknodat(
        rustix::fs::CWD,
        root.join("pipe"),
        rustix::fs::FileType::Fifo,
        rustix::fs::Mode::RUSR,
        0,
    )
    .unwrap();
    let made = create(&root, recipe(Format::Hybrid, None), &Control::default()).unwrap();
    assert_eq!(made.skipped.len(), 1);
    assert_eq!(made.metainfo.info.files().len(), 1);
}

#[test]
fn cancelling_ends_it() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("a"), "x").unwrap();
    let control = Control::default();
    control.cancel();
    let made = create(dir.path(), recipe(Format::Hybrid, None), &control);
    assert!(matches!(made, Err(CreateError::Cancelled)));
}

/// A file that is not the one that was found must not be hashed in its place.
#[test]
fn a_file_that_changes_is_an_error() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a");
    fs::write(&path, "before").unwrap();
    let walked = walk(dir.path()).unwrap();
    let (files, identities) =
        walked.found.into_iter().map(|found| (found.file, found.identity)).unzip();
    let layout = Layout::plan("share", Shape::Folder, files, 16_384, Format::V1).unwrap();
    let content = Content {
        root: walked.root,
        shape: walked.shape,
        layout: &layout,
        identities,
        fault: Mutex::new(None),
    };
    let opened = content.open(FileIndex(0)).unwrap();
    assert!(content.close(FileIndex(0), &opened).is_ok());
    fs::write(&path, "changed").unwrap();
    assert!(matches!(content.close(FileIndex(0), &opened), Err(Fault::Changed)));
    fs::remove_file(&path).unwrap();
    fs::write(&path, "before").unwrap();
    assert!(matches!(content.open(FileIndex(0)), Err(Fault::Changed)));
}
