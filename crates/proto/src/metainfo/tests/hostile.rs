//! Torrents that must be refused, each with the exact reason.

use proptest::prelude::*;

use super::*;

fn check(case: &str, torrent: &[u8], expected: &str) {
    match Metainfo::decode(torrent) {
        Ok(_) => panic!("{case}: accepted, expected: {expected}"),
        Err(error) => assert_eq!(error.to_string(), expected, "{case}"),
    }
}

fn check_all(cases: &[(&str, Bent, &str)]) {
    for (case, info, expected) in cases {
        check(case, &info.torrent(), expected);
        let alone = Info::decode(&info.raw()).map(drop).map_err(|error| error.to_string());
        assert_eq!(alone, Err((*expected).to_owned()), "{case}, from a peer");
    }
}

#[test]
fn files_that_are_no_torrents() {
    let cases: &[(&str, &[u8], &str)] = &[
        ("nothing", b"", "torrent file: the data ends too early"),
        ("a web page", b"<html>", "torrent file: not bencode"),
        ("a list", b"le", "`torrent file` is not a dictionary"),
        ("no info", b"de", "`info` is missing"),
        ("info is a number", b"d4:infoi1ee", "`info` is not a dictionary"),
        ("two infos", b"d4:infode4:infodee", "`info` is there twice"),
        ("cut", b"d4:infod6:lengthi1e", "torrent file: the data ends too early"),
        (
            "a number over 64 bits",
            b"d4:infod6:lengthi99999999999999999999eee",
            "torrent file: a number does not fit into 64 bits",
        ),
        ("tail", b"de0:", "torrent file: unexpected data after the end"),
    ];
    for &(case, bytes, expected) in cases {
        check(case, bytes, expected);
    }
    let deep = [b"d4:info".as_slice(), &vec![b'l'; 100_000]].concat();
    check("deep", &deep, "torrent file: nested too deeply");
    let deep = [b"d1:x".as_slice(), &vec![b'l'; 100_000], &vec![b'e'; 100_001]].concat();
    check("deep in an unknown key", &deep, "torrent file: nested too deeply");
    let many = [b"d1:xl".as_slice(), &b"0:".repeat(5_000_000), b"ee"].concat();
    check("many values", &many, "torrent file: too many values");
    let long = vec![b'l'; limits::FILE_LEN_MAX + 1];
    check("long", &long, "torrent file: more than the limit of 67108864");
}

#[test]
fn info_dictionaries_with_two_spellings() {
    let cases: &[(&str, &str, &str)] = &[
        ("unsorted", "d1:bi0e1:ai0ee", "info dictionary: dictionary keys are not sorted"),
        ("twice", "d1:ai0e1:ai0ee", "info dictionary: a dictionary key repeats"),
        ("zeros", "d1:ai00ee", "info dictionary: a number has leading zeros"),
        ("minus zero", "d1:ai-0ee", "info dictionary: a number is minus zero"),
        ("long length", "d01:ai0ee", "info dictionary: a number has leading zeros"),
        ("inside", "d1:ad1:bi0e1:ai0eee", "info dictionary: dictionary keys are not sorted"),
    ];
    for &(case, info, expected) in cases {
        check(case, &Bent::new().with("info", info).raw(), expected);
    }
}

#[test]
fn values_missing_or_of_the_wrong_kind() {
    let folder = || v1_folder(&[entry(&["a"], 1)], 1);
    let bent = |bent: Bent| v1_folder(&[bent], 1);
    check_all(&[
        ("no name", v1_file().without("name"), "`name` is missing"),
        ("name is a number", v1_file().with("name", "i1e"), "`name` is not a string"),
        ("no piece length", v1_file().without("piece length"), "`piece length` is missing"),
        (
            "text for a number",
            v1_file().with("piece length", "1:1"),
            "`piece length` is not a number",
        ),
        ("no pieces", v1_file().without("pieces"), "`pieces` is missing"),
        ("pieces is a list", v1_file().with("pieces", "le"), "`pieces` is not a string"),
        ("neither length nor files", v1_file().without("length"), "`length` is missing"),
        ("length and files", folder().with("length", "i1e"), "`files` stands beside `length`"),
        ("length is text", v1_file().with("length", "1:1"), "`length` is not a number"),
        ("files is a dictionary", folder().with("files", "de"), "`files` is not a list"),
        ("no files", v1_folder(&[], 0), "`files` has no files"),
        ("pads only", v1_folder(&[pad(5)], 1), "`files` has no files"),
        (
            "files has text",
            folder().with("files", "l1:ae"),
            "`files` has an entry that is no dictionary",
        ),
        ("entry without path", bent(entry(&["a"], 1).without("path")), "`path` is missing"),
        ("entry without length", bent(entry(&["a"], 1).without("length")), "`length` is missing"),
        ("path is text", bent(entry(&["a"], 1).with("path", "1:a")), "`path` is not a list"),
        (
            "path has a number",
            bent(entry(&[], 1).with("path", "li1ee")),
            "`path` has no string inside",
        ),
        ("version 3", v1_file().with("meta version", "i3e"), "`meta version` is neither 1 nor 2"),
        (
            "version is text",
            v1_file().with("meta version", "1:2"),
            "`meta version` is neither 1 nor 2",
        ),
        ("v2 without tree", v2(&Bent::new()).without("file tree"), "`file tree` is missing"),
        (
            "tree is a list",
            v2(&Bent::new()).with("file tree", "le"),
            "`file tree` is not a dictionary",
        ),
        ("empty tree", v2(&Bent::new()), "`file tree` has no files"),
        (
            "tree has text",
            v2(&Bent::new().with("a", "0:")),
            "`file tree` has an entry that is no dictionary",
        ),
        (
            "file without properties",
            v2(&Bent::new().with("a", "d0:lee")),
            "`file tree` has a file without properties",
        ),
    ]);
}

#[test]
fn sizes_out_of_bounds() {
    let one = |len: i64| v1_file().with("length", format!("i{len}e"));
    let piece = |len: i64| v1_file().with("piece length", format!("i{len}e"));
    let v2_piece = |len: i64| hybrid().with("piece length", format!("i{len}e"));
    let huge = 1_i64 << 53;
    let hashes = "`pieces` does not have one hash for each piece";
    let power = "`piece length` is not a power of two of at least 16 KiB";
    let bytes = "bytes in all: more than the limit of 9007199254740992";
    check_all(&[
        ("negative", one(-1), "`length` is negative"),
        ("most negative", one(i64::MIN), "`length` is negative"),
        ("too many pieces", one(huge), "pieces: more than the limit of 2097152"),
        ("over 2^53", one(huge + 1), bytes),
        ("2^63 - 1", one(i64::MAX), bytes),
        ("sum", v1_folder(&[entry(&["a"], huge), entry(&["b"], 1)], 1), bytes),
        ("pads count", v1_folder(&[entry(&["a"], 1), pad(huge)], 1), bytes),
        ("negative pad", v1_folder(&[entry(&["a"], 9), pad(-9)], 1), "`length` is negative"),
        ("piece of zero", piece(0), "`piece length` is below 1 KiB"),
        ("piece of one", piece(1), "`piece length` is below 1 KiB"),
        ("negative piece", piece(-16_384), "`piece length` is negative"),
        ("piece over 512 MiB", piece((512 << 20) + 1), "`piece length` is above 512 MiB"),
        ("piece of 2^32", piece(1 << 32), "`piece length` is above 512 MiB"),
        ("piece of 2^63 - 1", piece(i64::MAX), "`piece length` is above 512 MiB"),
        ("v2 piece of 8 KiB", v2_piece(8192), power),
        ("v2 piece no power of two", v2_piece(49_152), power),
        ("a hash too few", v1_file().with("pieces", text([7; 20])), hashes),
        ("a hash too many", v1_file().with("pieces", text([7; 60])), hashes),
        ("half a hash", v1_file().with("pieces", text([7; 41])), hashes),
        ("no hash", v1_file().with("pieces", "0:"), hashes),
        ("v2 too long", v2(&Bent::new().with("a", leaf(huge + 1, [1; 32]).raw())), bytes),
        (
            "v2 negative",
            v2(&Bent::new().with("a", leaf(-1, [1; 32]).raw())),
            "`length` is negative",
        ),
    ]);
}

#[test]
fn paths_that_are_not_safe() {
    let at = |names: &[&str]| v1_folder(&[entry(names, 1)], 1);
    let name = |name: &str| v1_file().with("name", text(name));
    let tree = |name: &str| v2(&Bent::new().with(name, leaf(1, [1; 32]).raw()));
    let dots = "has a name of dots and spaces only";
    let refused = |path: &str, reason: &str| format!("the path \"{path}\" {reason}");
    let long = "x".repeat(256);
    let deep = vec!["d"; limits::DEPTH_MAX + 1];
    let deeper = (0..=limits::DEPTH_MAX)
        .fold(leaf(1, [1; 32]), |inside, _| Bent::new().with("d", inside.raw()));
    let raw =
        |bytes: &[u8]| v1_folder(&[entry(&[], 1).with("path", list(&[text("d"), text(bytes)]))], 1);
    let cases = [
        (at(&[]), refused("", "is empty")),
        (at(&[""]), refused("", "has an empty name")),
        (at(&["a", ""]), refused("a/", "has an empty name")),
        (at(&["..", "a"]), refused("../a", dots)),
        (at(&["a", ".."]), refused("a/..", dots)),
        (at(&["."]), refused(".", dots)),
        (at(&[".. "]), refused(".. ", dots)),
        (at(&["/etc", "passwd"]), refused("/etc/passwd", "has a separator inside a name")),
        (at(&["a/../../b"]), refused("a/../../b", "has a separator inside a name")),
        (at(&["..\\b"]), refused("..\\\\b", "has a separator inside a name")),
        (at(&["C:", "b"]), refused("C:/b", "has a drive letter")),
        (at(&["a\0b"]), refused("a\\0b", "has a control character")),
        (at(&["a\r\nBcc: x"]), refused("a\\r\\nBcc: x", "has a control character")),
        (at(&["\u{202e}gpj.exe"]), refused("\\u{202e}gpj.exe", "has a control character")),
        (at(&["NUL"]), refused("NUL", "has a name that is reserved for devices")),
        (at(&["d", "com1."]), refused("d/com1.", "has a name that is reserved for devices")),
        (
            at(&[&long]),
            refused(&format!("{}…", "x".repeat(80)), "has a name longer than 255 bytes"),
        ),
        (at(&deep), refused(&format!("{}…", "d/".repeat(40)), "is in too many folders")),
        (v2(&deeper), refused(&format!("{}…", "d/".repeat(40)), "is in too many folders")),
        (raw(b"\xff\xfe"), refused("d/\u{fffd}\u{fffd}", "is not valid UTF-8")),
        (tree(".."), refused("..", dots)),
        (tree("a/b"), refused("a/b", "has a separator inside a name")),
        (name(""), "`name` has an empty name".into()),
        (name(".."), "`name` has a name of dots and spaces only".into()),
        (name("../x"), "`name` has a separator inside a name".into()),
        (name("\u{1b}[2J"), "`name` has a control character".into()),
        (name("con"), "`name` has a name that is reserved for devices".into()),
        (v1_file().with("name", text(b"\xff")), refused("\u{fffd}", "is not valid UTF-8")),
    ];
    for (info, expected) in &cases {
        check(expected, &info.torrent(), expected);
    }
}

#[test]
fn files_in_each_others_place() {
    let two = |left: &[&str], right: &[&str]| v1_folder(&[entry(left, 1), entry(right, 1)], 1);
    let twice = "is there twice";
    let both = Bent(leaf(1, [1; 32]).0).with("b", leaf(1, [1; 32]).raw());
    check_all(&[
        ("equal", two(&["d", "a"], &["d", "a"]), &format!("the path \"d/a\" {twice}")),
        ("file as folder", two(&["a"], &["a", "b"]), "the path \"a/b\" is inside another file"),
        ("the other way", two(&["a", "b"], &["a"]), "the path \"a/b\" is inside another file"),
        (
            "v2 file and folder",
            v2(&Bent::new().with("a", both.raw())),
            "the path \"a\" is a file and a folder",
        ),
    ]);
    for (left, right) in [(&["a"][..], &["a b", "c"][..]), (&["Makefile"], &["makefile"])] {
        let info = Info::decode(&two(left, right).raw()).unwrap();
        assert_eq!(info.files().len(), 2, "{left:?} and {right:?} are two names");
    }
}

#[test]
fn links_that_are_not_safe() {
    let link = |target: &[&str]| {
        entry(&["l"], 0).with("attr", text("l")).with("symlink path", path(target))
    };
    let one = |link: Bent| v1_folder(&[link, entry(&["a"], 1)], 1);
    let inside = v1_folder(&[link(&["a"]), entry(&["l", "b"], 1)], 1);
    check_all(&[
        ("out", one(link(&["..", "x"])), "the path \"../x\" has a name of dots and spaces only"),
        (
            "absolute",
            one(link(&["/etc/passwd"])),
            "the path \"/etc/passwd\" has a separator inside a name",
        ),
        ("nowhere", one(link(&[])), "the path \"\" is empty"),
        ("itself", one(link(&["l"])), "the path \"l\" is a link to itself"),
        ("no target", one(link(&["a"]).without("symlink path")), "`symlink path` is missing"),
        (
            "with bytes",
            one(link(&["a"]).with("length", "i5e")),
            "the path \"l\" is a link with a length",
        ),
        ("as a folder", inside, "the path \"l/b\" is inside another file"),
    ]);
}

#[test]
fn trees_that_lie() {
    let (layered, root, layer) = layered();
    let tree = |leaf: Bent| v2(&Bent::new().with("a", leaf.raw()));
    let short = Bent::new().with("length", "i1e").with("pieces root", text("short"));
    let rootless = Bent::new().with("length", "i1e");
    let padded = Bent::new().with("length", "i1e").with("attr", text("p"));
    let file = |properties: Bent| tree(Bent::new().with("", properties.raw()));
    check_all(&[
        ("no root", file(rootless), "the file \"a\" has no pieces root"),
        ("short root", file(short), "the file \"a\" has a pieces root that is no hash"),
        ("root of zeros", tree(leaf(1, [0; 32])), "the file \"a\" has a pieces root of zeros"),
        ("pad", file(padded), "the path \"a\" is a pad file, which v2 does not have"),
    ]);
    let mut wrong = layer.clone();
    wrong[1].0[0] ^= 1;
    let mut zero = layer.clone();
    zero[2] = merkle::MISSING;
    let short = "the file \"x\" has a piece layer of the wrong length";
    let unfolded = "the file \"x\" has a piece layer that does not fold to its root";
    let cases: &[(&str, Vec<u8>, &str)] = &[
        ("no layer", layered.torrent(), "the file \"x\" has no piece layer"),
        (
            "layer of another",
            with_layer(&layered, &[9; 32], &bytes(&layer)),
            "the file \"x\" has no piece layer",
        ),
        ("short layer", with_layer(&layered, &root.0, &bytes(&layer[..2])), short),
        ("odd layer", with_layer(&layered, &root.0, &bytes(&layer)[1..]), short),
        ("empty layer", with_layer(&layered, &root.0, b""), short),
        ("wrong layer", with_layer(&layered, &root.0, &bytes(&wrong)), unfolded),
        ("zero in a layer", with_layer(&layered, &root.0, &bytes(&zero)), unfolded),
        (
            "odd key",
            with_layer(&layered, b"key", b""),
            "`piece layers` has a key that is not a hash",
        ),
        (
            "layer for a small file",
            with_layer(&tree(leaf(1, [1; 32])), &[1; 32], &[1; 32]),
            "`piece layers` has a layer that belongs to no file",
        ),
        (
            "layers is a list",
            Bent::new().with("info", layered.raw()).with("piece layers", "le").raw(),
            "`piece layers` is not a dictionary",
        ),
    ];
    for (case, torrent, expected) in cases {
        check(case, torrent, expected);
    }
    let twice = bytes(&layer);
    let entry = [text(root.0), text(&twice)].concat();
    let layers = [b"d".as_slice(), &entry, &entry, b"e"].concat();
    let torrent = Bent::new().with("info", layered.raw()).with("piece layers", layers).raw();
    check("layer twice", &torrent, "`piece layers` has a layer twice");
}

#[test]
fn hybrids_whose_halves_differ() {
    let files = |entries: &[Bent]| {
        let entries: Vec<_> = entries.iter().map(Bent::raw).collect();
        hybrid().with("files", list(&entries))
    };
    let (a, b) = (|| entry(&["a"], 1), || entry(&["b"], 2));
    let says = |what: &str| format!("the v1 and v2 parts disagree about {what}");
    let (number, order) = (says("the number of files"), says("the names or the order of files"));
    let (length, start) = (says("the length of a file"), says("where a file starts"));
    let (link, end) = (says("a symbolic link"), says("where the content ends"));
    let linked =
        b().with("length", "i0e").with("attr", text("l")).with("symlink path", path(&["a"]));
    let empty = Bent::new().with("", Bent::new().with("length", "i0e").raw());
    let tree = Bent::new().with("a", leaf(1, [1; 32]).raw()).with("b", empty.raw());
    let unlinked = files(&[a(), pad(16_383), linked]).with("file tree", tree.raw());
    let single = hybrid().without("files").with("length", "i1e");
    check_all(&[
        ("one missing", files(&[a(), pad(16_383)]), &number),
        ("one more", files(&[a(), pad(16_383), b(), entry(&["c"], 0)]), &number),
        ("a single file", single, &number),
        ("other name", files(&[a(), pad(16_383), entry(&["c"], 2)]), &order),
        ("other order", files(&[b(), pad(16_382), a()]), &order),
        ("other length", files(&[a(), pad(16_383), entry(&["b"], 3)]), &length),
        ("no pad", files(&[a(), b()]), &start),
        ("short pad", files(&[a(), pad(16_382), b()]), &start),
        ("a pad too many", files(&[a(), pad(16_383), pad(16_384), b()]), &start),
        ("last pad short", files(&[a(), pad(16_383), b(), pad(1)]), &end),
        ("last pad long", files(&[a(), pad(16_383), b(), pad(16_382 + 16_384)]), &end),
        ("link in v1 only", unlinked, &link),
        (
            "pieces for less",
            hybrid().with("pieces", text([7; 20])),
            "`pieces` does not have one hash for each piece",
        ),
    ]);
}

/// To look at each pair of them would take minutes.
#[test]
fn a_hundred_thousand_equal_names_are_refused() {
    let entries = vec![entry(&["same"], 0); 100_000];
    let torrent = v1_folder(&entries, 0).torrent();
    check("equal names", &torrent, "the path \"same\" is there twice");
}

/// Valid torrents, to be broken at random places.
fn samples() -> Vec<Vec<u8>> {
    let (layered, root, layer) = layered();
    vec![
        v1_file().torrent(),
        v1_folder(&[entry(&["a", "b"], 1), pad(16_383), entry(&["c"], 5)], 2).torrent(),
        hybrid().torrent(),
        with_layer(&layered, &root.0, &bytes(&layer)),
    ]
}

proptest! {
    #[test]
    fn cut_torrents_are_refused(at in any::<proptest::sample::Index>()) {
        for sample in samples() {
            prop_assert!(Metainfo::decode(&sample).is_ok());
            prop_assert!(Metainfo::decode(&sample[..at.index(sample.len())]).is_err());
        }
    }

    #[test]
    fn whatever_is_accepted_is_safe_and_consistent(
        which in 0_usize..4,
        changes in proptest::collection::vec((any::<proptest::sample::Index>(), any::<u8>()), 1..4),
    ) {
        let mut torrent = samples().swap_remove(which);
        for (at, byte) in changes {
            let at = at.index(torrent.len());
            torrent[at] = byte;
        }
        let Ok(metainfo) = Metainfo::decode(&torrent) else { return Ok(()) };
        let geometry = metainfo.info.geometry();
        for piece in (0..geometry.piece_count().min(100)).map(PieceIndex) {
            let expected = metainfo.info.expected(piece, &metainfo.layers);
            prop_assert!(expected.is_some() || !geometry.has_content(geometry.whole(piece)));
        }
        for file in metainfo.info.files() {
            let safe = |name: &str| !matches!(name, "" | "." | "..") && !name.contains(['/', '\\', '\0']);
            prop_assert!(metainfo.info.target_path(file).all(safe));
        }
        prop_assert_eq!(Metainfo::decode(&metainfo.encode()), Ok(metainfo));
    }

    #[test]
    fn any_number_anywhere_is_an_error_or_fits(
        value in prop_oneof![any::<i64>(), -2_i64..70_000],
        key in 0_usize..3,
    ) {
        let number = format!("i{value}e");
        let torrents = match key {
            0 => [v1_file().with("piece length", number.clone()), hybrid().with("piece length", number)],
            1 => [v1_file().with("length", number), v2(&Bent::new().with("a", leaf(value, [1; 32]).raw()))],
            _ => [v1_folder(&[entry(&["a"], 1), pad(value)], 1), v1_folder(&[entry(&["a"], value)], 1)],
        };
        for torrent in torrents {
            if let Ok(info) = Info::decode(&torrent.raw()) {
                prop_assert!(info.content_len() <= limits::CONTENT_LEN_MAX);
            }
        }
    }
}
