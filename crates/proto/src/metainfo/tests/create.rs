//! New torrents: their info hashes are those that libtorrent 2.1.1 gives the same content
//! (`tests/infohash.py` compares more, at random).

use proptest::prelude::*;

use super::*;
use crate::merkle::TreeShape;

fn content(len: u64) -> Vec<u8> {
    (0..len).map(|i| (i % 251) as u8).collect()
}

fn file(path: &str, len: u64) -> NewFile {
    let path = path.split('/').map(str::to_owned).collect();
    NewFile { path, len, ..NewFile::default() }
}

fn file_hashes(shape: TreeShape, data: &[u8]) -> FileHashes {
    let leaves = merkle::leaves(data);
    if !shape.has_layer() {
        let root = merkle::file_root(&shape, &leaves).unwrap();
        return FileHashes { root, layer: Arc::default() };
    }
    let width = 1 << shape.piece_layer();
    let layer: Arc<[_]> = leaves.chunks(width).map(|l| merkle::root(l, width as u64)).collect();
    FileHashes { root: merkle::file_root(&shape, &layer).unwrap(), layer }
}

/// Hashes every file as if its content were [`content`] of its length.
fn hashed(layout: &Layout) -> ContentHashes {
    let geometry = layout.geometry();
    let piece = |number| {
        let whole = geometry.whole(PieceIndex(number));
        let mut piece = vec![0; whole.len as usize];
        for span in geometry.spans(whole) {
            let (begin, len) = (span.begin as usize, span.len as usize);
            let data = content(span.file_offset + u64::from(span.len));
            piece[begin..begin + len].copy_from_slice(&data[span.file_offset as usize..]);
        }
        PieceHash(digest::sha1(&piece))
    };
    let files = layout.files().iter();
    ContentHashes {
        v1_pieces: if layout.format().has_v1() {
            (0..geometry.piece_count()).map(piece).collect()
        } else {
            Vec::new()
        },
        files: files
            .map(|file| Some(file_hashes(layout.tree(file)?, &content(file.len))))
            .collect(),
    }
}

fn made(shape: Shape, files: Vec<NewFile>, piece_len: u32, format: Format) -> Metainfo {
    let layout = Layout::plan("content", shape, files, piece_len, format).unwrap();
    let hashes = hashed(&layout);
    let metainfo = layout.clone().build(hashes, Details::default()).unwrap();
    assert_eq!(metainfo.info.geometry(), layout.geometry(), "plan and torrent agree");
    assert_eq!(Metainfo::decode(&metainfo.encode()).as_ref(), Ok(&metainfo));
    metainfo
}

fn check(shape: Shape, files: &[NewFile], format: Format, v1: Option<&str>, v2: Option<&str>) {
    let hashes = made(shape, files.to_vec(), 32_768, format).info.hashes();
    let found = (hashes.v1().map(|h| h.to_string()), hashes.v2().map(|h| h.to_string()));
    assert_eq!(found, (v1.map(str::to_owned), v2.map(str::to_owned)), "{shape:?} {format:?}");
}

fn folder() -> Vec<NewFile> {
    let link = ["sub".to_owned(), "größe".to_owned()].into();
    vec![
        file("z", 40_000),
        NewFile { executable: true, ..file("a", 10) },
        file("empty", 0),
        file("sub/größe", 100_000),
        file("sub/deep/32k", 32_768),
        NewFile { symlink: Some(link), ..file("link", 0) },
    ]
}

#[test]
fn info_hashes_of_a_file_are_libtorrents() {
    let files = [file("ignored", 100_000)];
    check(Shape::File, &files, Format::V1, Some("64af66bfcaf87b6d8971ae15a11a58f454937bdc"), None);
    check(
        Shape::File,
        &files,
        Format::V2,
        None,
        Some("a2ff94b4ad1aede77374f36d93268d0feff2719a94080381a4664d0de7cd5482"),
    );
    check(
        Shape::File,
        &files,
        Format::Hybrid,
        Some("0bbe98652103045650e5baec24f0089980c7c614"),
        Some("0b958645860ec0a415556c6673a5be789498d345ddd448d00a26e8d04a84e7f2"),
    );
}

#[test]
fn info_hashes_of_a_folder_are_libtorrents() {
    check(
        Shape::Folder,
        &folder(),
        Format::V1,
        Some("9bbd6e51e63651ec1875972586a739e9cfac8f32"),
        None,
    );
    check(
        Shape::Folder,
        &folder(),
        Format::V2,
        None,
        Some("73ebf96559b5e0f1c5bbd75f55490b60bff696904056cbd77b4d1fcc25df4c41"),
    );
    check(
        Shape::Folder,
        &folder(),
        Format::Hybrid,
        Some("991b8ba39377087a68c78bcf36d58af9366db728"),
        Some("4b592252541de30ddd44df906ac03b512988e7f9fed1120a3db29bb7c81b3b07"),
    );
}

#[test]
fn pads_stand_behind_every_file_of_a_hybrid_folder_but_not_in_v1() {
    let pads = |files: Vec<NewFile>, format| {
        let metainfo = made(Shape::Folder, files, 32_768, format);
        let raw = String::from_utf8_lossy(metainfo.info.raw()).into_owned();
        raw.matches("4:attr1:p").count()
    };
    assert_eq!(pads(folder(), Format::Hybrid), 3, "not behind empty, aligned and linked ones");
    assert_eq!(pads(folder(), Format::V1), 0);
    assert_eq!(pads(vec![file("only", 5)], Format::Hybrid), 0);
    assert_eq!(pads(vec![file("a", 5), file("b", 0)], Format::Hybrid), 1);
}

#[test]
fn private_changes_the_hash_and_survives() {
    let layout =
        || Layout::plan("content", Shape::File, vec![file("", 5)], 16_384, Format::V1).unwrap();
    let details = Details {
        private: true,
        trackers: vec![vec!["http://a".into(), "udp://b".into()], vec!["http://c".into()]],
        comment: Some("c".into()),
        created_by: Some("teem".into()),
        creation_date: Some(1),
    };
    let private = layout().build(hashed(&layout()), details).unwrap();
    let public = layout().build(hashed(&layout()), Details::default()).unwrap();
    assert!(private.info.is_private() && !public.info.is_private());
    assert_ne!(private.info.hashes(), public.info.hashes());
    assert_eq!(Metainfo::decode(&private.encode()).as_ref(), Ok(&private));
    let magnet = private.magnet();
    assert_eq!((magnet.trackers.len(), magnet.name.as_deref()), (3, Some("content")));
    assert_eq!(magnet.to_string().parse(), Ok(magnet));
}

#[test]
fn plans_that_could_not_be_read_back_are_refused() {
    let plan = |files: Vec<NewFile>, piece_len, format| {
        let plan = Layout::plan("content", Shape::Folder, files, piece_len, format);
        plan.map(drop).map_err(|error| error.to_string())
    };
    let refused = |reason: &str| Err(reason.to_owned());
    let power = "`piece length` is not a power of two of at least 16 KiB";
    assert_eq!(plan(vec![], 16_384, Format::V1), refused("`files` has no files"));
    assert_eq!(plan(vec![file("a", 1)], 20_000, Format::Hybrid), refused(power));
    assert_eq!(plan(vec![file("a", 1)], 20_000, Format::V1), Ok(()));
    assert_eq!(
        plan(vec![file("a", 1 << 53), file("b", 1)], 16_384, Format::V1),
        refused("bytes in all: more than the limit of 9007199254740992")
    );
    assert_eq!(
        plan(vec![file("a", 1 << 40)], 16_384, Format::V1),
        refused("pieces: more than the limit of 2097152")
    );
    assert_eq!(
        plan(vec![file("a", 1), file("a", 1)], 16_384, Format::V1),
        refused("the path \"a\" is there twice")
    );
    assert_eq!(
        plan(vec![file("a/../b", 1)], 16_384, Format::V1),
        refused("the path \"a/../b\" has a name of dots and spaces only")
    );
    assert_eq!(
        plan(vec![file("content", 1)], 16_384, Format::V2),
        refused(
            "the file \"content\" is the only one and has the folder's name, which v2 alone cannot \
             express"
        )
    );
    assert_eq!(plan(vec![file("content", 1)], 16_384, Format::Hybrid), Ok(()));
}

#[test]
fn hashes_that_do_not_fit_the_plan_are_refused() {
    let layout = || {
        let files = vec![file("a", 100_000), file("b", 1)];
        Layout::plan("content", Shape::Folder, files, 16_384, Format::Hybrid).unwrap()
    };
    let build = |hashes| layout().build(hashes, Details::default()).map_err(|e| e.to_string());
    let good = hashed(&layout());
    assert!(build(good.clone()).is_ok());
    let mut few = good.clone();
    few.v1_pieces.pop();
    let reason = "`pieces` does not have one hash for each piece";
    assert_eq!(build(few), Err(reason.to_owned()));
    let mut wrong = good.clone();
    wrong.files[0].as_mut().unwrap().root.0[0] ^= 1;
    let reason = "the file \"a\" has a piece layer that does not fold to its root";
    assert_eq!(build(wrong), Err(reason.to_owned()));
    let mut rootless = good;
    rootless.files[1] = None;
    assert_eq!(build(rootless), Err("the file \"b\" has no pieces root".to_owned()));
}

#[test]
fn piece_lengths_follow_the_content() {
    const MIB: u64 = 1 << 20;
    let small = vec![20_000; 5000];
    assert_eq!(piece_len_for(&[2048 * MIB], Format::Hybrid), 512 << 10);
    assert_eq!(piece_len_for(&[MIB], Format::Hybrid), 512 << 10);
    assert_eq!(piece_len_for(&[16_384 * MIB], Format::Hybrid), 1 << 20);
    assert_eq!(piece_len_for(&[1 << 50], Format::V2), 512 << 20);
    assert_eq!(piece_len_for(&[u64::MAX; 3], Format::V1), 512 << 20);
    assert_eq!(piece_len_for(&small, Format::Hybrid), 16 << 10);
    assert_eq!(piece_len_for(&small, Format::V1), 512 << 10);
    assert_eq!(piece_len_for(&[100 * MIB, 100_000, 100_000], Format::Hybrid), 512 << 10);
    assert_eq!(piece_len_for(&[], Format::Hybrid), 512 << 10);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]
    #[test]
    fn what_is_planned_is_what_is_read(
        files in proptest::collection::btree_map("[ab](/[ab]){0,3}/x[0-9]", 0_u64..70_000, 1..12),
        exponent in 14_u32..17,
    ) {
        let files: Vec<_> = files.iter().map(|(path, len)| file(path, *len)).collect();
        for format in [Format::V1, Format::V2, Format::Hybrid] {
            let metainfo = made(Shape::Folder, files.clone(), 1 << exponent, format);
            let geometry = metainfo.info.geometry();
            for piece in (0..geometry.piece_count()).map(PieceIndex) {
                let expected = metainfo.info.expected(piece, &metainfo.layers).unwrap();
                prop_assert_eq!(expected.v1.is_some(), format.has_v1());
                let Some(v2) = expected.v2 else { continue };
                let span = geometry.spans(geometry.whole(piece)).next().unwrap();
                prop_assert_eq!(span.len, v2.data_len);
                let end = span.file_offset + u64::from(span.len);
                let leaves = merkle::leaves(&content(end)[span.file_offset as usize..]);
                prop_assert_eq!(merkle::root(&leaves, u64::from(v2.leaf_count)), v2.hash);
            }
        }
    }
}

#[test]
fn magnet_links_number_files_as_libtorrent_does() {
    let files = || vec![file("a", 40_000), file("b", 0), file("c", 65_536), file("d", 5)];
    let numbers = |format| {
        let info = made(Shape::Folder, files(), 32_768, format).info;
        (0..4).map(|index| info.link_number(FileIndex(index))).collect::<Vec<_>>()
    };
    assert_eq!(numbers(Format::V1), [0, 1, 2, 3]);
    // Behind `a` there is a pad.
    assert_eq!(numbers(Format::V2), [0, 2, 3, 4]);
    assert_eq!(numbers(Format::Hybrid), [0, 2, 3, 4]);
}
