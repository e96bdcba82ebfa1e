use std::fs;
use std::os::unix::fs::symlink;

use proto::metainfo::{Details, Format, Metainfo};

use super::super::create::{Recipe, create};
use super::*;

const FORMATS: [Format; 3] = [Format::V1, Format::V2, Format::Hybrid];
const PIECE_LEN: u32 = 32_768;

fn share(root: &Path, format: Format) -> Metainfo {
    let (name, details) = ("share".to_owned(), Details::default());
    let recipe = Recipe { name, format, piece_len: Some(PIECE_LEN), details };
    create(root, recipe, &Control::default()).unwrap().metainfo
}

/// A folder with files of 100,000, 50 and 40,000 bytes and a link.
fn folder() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("a"), [1; 100_000]).unwrap();
    fs::write(dir.path().join("b"), [2; 50]).unwrap();
    fs::write(dir.path().join("c"), [3; 40_000]).unwrap();
    symlink("a", dir.path().join("link")).unwrap();
    dir
}

fn problems(metainfo: &Metainfo, root: &Path) -> (u32, Vec<String>) {
    let checked = check(&metainfo.info, &metainfo.layers, root, &Control::default()).unwrap();
    let text = |difference: &Difference| format!("{}: {}", difference.file.0, difference.problem);
    (checked.good.count(), checked.different.iter().map(text).collect())
}

#[test]
fn what_was_just_shared_is_all_there() {
    let dir = folder();
    for format in FORMATS {
        let metainfo = share(dir.path(), format);
        let all = metainfo.info.geometry().piece_count();
        assert_eq!(problems(&metainfo, dir.path()), (all, vec![]));
    }
}

#[test]
fn each_kind_of_damage_is_named() {
    for format in FORMATS {
        let dir = folder();
        let metainfo = share(dir.path(), format);
        let mut content = fs::read(dir.path().join("a")).unwrap();
        content[PIECE_LEN as usize] ^= 1;
        fs::write(dir.path().join("a"), content).unwrap();
        fs::write(dir.path().join("b"), "short").unwrap();
        fs::remove_file(dir.path().join("link")).unwrap();
        symlink("b", dir.path().join("link")).unwrap();
        let (count, named) = problems(&metainfo, dir.path());
        let all = metainfo.info.geometry().piece_count();
        assert_eq!(all - count, 2, "{format:?}");
        let expected = [
            "0: 1 of 4 pieces differ",
            "1: 5 bytes long instead of 50",
            "3: the link is missing or points elsewhere",
        ];
        assert_eq!(named, expected);
    }
}

#[test]
fn a_missing_file_is_not_blamed_on_its_neighbours() {
    for format in FORMATS {
        let dir = folder();
        let metainfo = share(dir.path(), format);
        fs::remove_file(dir.path().join("b")).unwrap();
        let (_, named) = problems(&metainfo, dir.path());
        assert_eq!(named, ["1: missing"]);
        fs::create_dir(dir.path().join("b")).unwrap();
        assert_eq!(problems(&metainfo, dir.path()).1, ["1: not a regular file"]);
    }
}

#[test]
fn single_files_and_nothing_at_all() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("file");
    fs::write(&path, [7; 70_000]).unwrap();
    let metainfo = share(&path, Format::Hybrid);
    assert_eq!(problems(&metainfo, &path), (3, vec![]));
    symlink(&path, dir.path().join("link")).unwrap();
    assert_eq!(problems(&metainfo, &dir.path().join("link")), (3, vec![]));
    assert_eq!(problems(&metainfo, &dir.path().join("none")), (0, vec!["0: missing".to_owned()]));
}
