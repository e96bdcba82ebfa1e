//! Torrents for tests: a small valid one of each format, to be bent out of shape.

mod create;
mod hostile;

use std::collections::BTreeMap;
use std::sync::Arc;

use super::*;
use crate::bencode::{DictEncoder, encode_bytes};
use crate::merkle;

const PIECE_LEN: u32 = 16_384;

/// A dictionary under construction, its values bencode already.
#[derive(Debug, Clone)]
pub(super) struct Bent(BTreeMap<Vec<u8>, Vec<u8>>);

impl Bent {
    pub(super) fn new() -> Self {
        Self(BTreeMap::new())
    }

    pub(super) fn with(mut self, key: &str, raw: impl AsRef<[u8]>) -> Self {
        self.0.insert(key.as_bytes().to_vec(), raw.as_ref().to_vec());
        self
    }

    pub(super) fn without(mut self, key: &str) -> Self {
        self.0.remove(key.as_bytes());
        self
    }

    pub(super) fn raw(&self) -> Vec<u8> {
        let mut dict = DictEncoder::new();
        for (key, value) in &self.0 {
            dict.raw(key, value.clone());
        }
        dict.finish()
    }

    /// The torrent file with this as its info dictionary.
    pub(super) fn torrent(&self) -> Vec<u8> {
        Self::new().with("info", self.raw()).raw()
    }
}

pub(super) fn text(bytes: impl AsRef<[u8]>) -> Vec<u8> {
    let mut out = Vec::new();
    encode_bytes(&mut out, bytes.as_ref());
    out
}

pub(super) fn list(items: &[impl AsRef<[u8]>]) -> Vec<u8> {
    let items: Vec<u8> = items.iter().flat_map(|item| item.as_ref().to_vec()).collect();
    [b"l", items.as_slice(), b"e"].concat()
}

pub(super) fn path(names: &[&str]) -> Vec<u8> {
    list(&names.iter().map(text).collect::<Vec<_>>())
}

/// One file, v1: 20,000 bytes, so two pieces.
pub(super) fn v1_file() -> Bent {
    Bent::new()
        .with("name", text("x"))
        .with("length", "i20000e")
        .with("piece length", "i16384e")
        .with("pieces", text([7; 40]))
}

/// An entry of `files`.
pub(super) fn entry(names: &[&str], len: i64) -> Bent {
    Bent::new().with("length", format!("i{len}e")).with("path", path(names))
}

/// A folder, v1, of these entries, with the given number of pieces.
pub(super) fn v1_folder(entries: &[Bent], pieces: usize) -> Bent {
    let entries: Vec<_> = entries.iter().map(Bent::raw).collect();
    let pieces = text(vec![7; 20 * pieces]);
    v1_file().without("length").with("files", list(&entries)).with("pieces", pieces)
}

/// Properties of a file in a `file tree`.
pub(super) fn leaf(len: i64, root: [u8; 32]) -> Bent {
    let properties = Bent::new().with("length", format!("i{len}e")).with("pieces root", text(root));
    Bent::new().with("", properties.raw())
}

/// A v2 torrent's info with that tree.
pub(super) fn v2(tree: &Bent) -> Bent {
    Bent::new()
        .with("name", text("x"))
        .with("meta version", "i2e")
        .with("piece length", "i16384e")
        .with("file tree", tree.raw())
}

/// A hybrid folder of `a` (1 byte) and `b` (2 bytes), with the pads of newer creators.
pub(super) fn hybrid() -> Bent {
    let tree = Bent::new().with("a", leaf(1, [1; 32]).raw()).with("b", leaf(2, [2; 32]).raw());
    let entries = [entry(&["a"], 1), pad(16_383), entry(&["b"], 2), pad(16_382)];
    let entries: Vec<_> = entries.iter().map(Bent::raw).collect();
    v2(&tree).with("files", list(&entries)).with("pieces", text([7; 40]))
}

pub(super) fn pad(len: i64) -> Bent {
    entry(&[".pad", &len.to_string()], len).with("attr", text("p"))
}

/// A v2 file of three pieces: its info, its root and its layer.
pub(super) fn layered() -> (Bent, MerkleHash, Vec<MerkleHash>) {
    let layer: Vec<_> = (1..4).map(|byte| MerkleHash([byte; 32])).collect();
    let root = merkle::root_above(&layer, 0, 4);
    let info = v2(&Bent::new().with("x", leaf(40_000, root.0).raw()));
    (info, root, layer)
}

/// A torrent file with one entry in its `piece layers`.
pub(super) fn with_layer(info: &Bent, key: &[u8], layer: &[u8]) -> Vec<u8> {
    let layers = [b"d".as_slice(), &text(key), &text(layer), b"e"].concat();
    Bent::new().with("info", info.raw()).with("piece layers", layers).raw()
}

pub(super) fn bytes(layer: &[MerkleHash]) -> Vec<u8> {
    layer.iter().flat_map(|hash| hash.0).collect()
}

#[test]
fn the_info_hash_covers_the_bytes_as_they_came() {
    let raw = v1_file().with("unknown key", "li0ee").raw();
    let torrent = Bent::new().with("info", &raw).with("announce", text("udp://t:1")).raw();
    let metainfo = Metainfo::decode(&torrent).unwrap();
    assert_eq!(**metainfo.info.raw(), *raw);
    assert_eq!(metainfo.info.hashes().v1().unwrap().0, digest::sha1(&raw));
    assert_eq!(metainfo.info.hashes().v2(), None);
    assert_eq!(metainfo.encode(), torrent);
}

#[test]
fn a_hybrid_loads_with_and_without_the_last_pad() {
    let padded = Info::decode(&hybrid().raw()).unwrap();
    assert!(padded.hashes().is_hybrid());
    assert_eq!(padded.geometry().piece_len(PieceIndex(1)), PIECE_LEN);
    let entries = [entry(&["a"], 1), pad(16_383), entry(&["b"], 2)].map(|entry| entry.raw());
    let info = Info::decode(&hybrid().with("files", list(&entries)).raw()).unwrap();
    assert_eq!(info.geometry().piece_len(PieceIndex(1)), 2);
    assert_eq!(info.files(), padded.files());
    assert_eq!(info.files()[1].offset, u64::from(PIECE_LEN));
    assert_eq!(info.content_len(), 3);
    let layers = PieceLayers::default();
    let expected = info.expected(PieceIndex(1), &layers).unwrap();
    assert_eq!(expected.v1, Some(PieceHash([7; 20])));
    let v2 = ExpectedV2 { hash: MerkleHash([2; 32]), data_len: 2, leaf_count: 1 };
    assert_eq!(expected.v2, Some(v2));
}

#[test]
fn pads_of_v1_are_gaps_wherever_they_are() {
    let entries = [pad(5), entry(&["a"], 3), pad(1), pad(1), entry(&["b"], 16_384)];
    let info = Info::decode(&v1_folder(&entries, 2).raw()).unwrap();
    let places: Vec<_> = info.files().iter().map(|file| (file.offset, file.len)).collect();
    assert_eq!(places, [(5, 3), (10, 16_384)]);
}

#[test]
fn attributes_and_links_are_read() {
    let link =
        entry(&["l"], 0).with("attr", text("xl")).with("symlink path", path(&["d", "target"]));
    let entries = [entry(&["d", "run"], 1).with("attr", text("hx")), link];
    let info = Info::decode(&v1_folder(&entries, 1).raw()).unwrap();
    let [run, link] = info.files() else { panic!("two files") };
    assert!(run.executable && run.hidden && run.symlink.is_none());
    assert_eq!(link.symlink.as_deref(), Some(["d".to_owned(), "target".to_owned()].as_slice()));
    assert_eq!(info.target_path(run).collect::<Vec<_>>(), ["x", "d", "run"]);
}

#[test]
fn names_in_utf_8_are_preferred() {
    let entries = [Bent(entry(&["bad"], 1).0).with("path.utf-8", path(&["gut"]))];
    let info = v1_folder(&entries, 1).with("name", text(b"\xff")).with("name.utf-8", text("ö"));
    let info = Info::decode(&info.raw()).unwrap();
    assert_eq!((info.name(), info.files()[0].path[0].as_str()), ("ö", "gut"));
}

#[test]
fn layers_are_checked_and_kept() {
    let (info, root, layer) = layered();
    let metainfo = Metainfo::decode(&with_layer(&info, &root.0, &bytes(&layer))).unwrap();
    assert_eq!(metainfo.layers.layer(&root).unwrap()[..], layer[..]);
    let expected = metainfo.info.expected(PieceIndex(2), &metainfo.layers).unwrap();
    let last = ExpectedV2 { hash: layer[2], data_len: 40_000 - 32_768, leaf_count: 1 };
    assert_eq!(expected, Expected { v1: None, v2: Some(last) });
    assert_eq!(metainfo.info.expected(PieceIndex(2), &PieceLayers::default()), None);
    assert_eq!(metainfo.info.expected(PieceIndex(3), &metainfo.layers), None);
    assert_eq!(Metainfo::decode(&metainfo.encode()), Ok(metainfo));
}

#[test]
fn trackers_come_in_tiers_or_alone() {
    let with = |key: &str, raw: Vec<u8>| {
        let root = Bent::new().with("info", v1_file().raw()).with("announce", text("udp://one"));
        Metainfo::decode(&root.with(key, raw).raw()).unwrap().trackers
    };
    let tiers = list(&[path(&["a", "b"]), b"le".to_vec(), path(&["c\u{7}", " d "])]);
    assert_eq!(with("announce-list", tiers), [vec!["a", "b"], vec!["d"]]);
    assert_eq!(with("announce-list", path(&["a", "b"])), [["a"], ["b"]]);
    assert_eq!(with("announce-list", b"i1e".to_vec()), [["udp://one"]]);
    assert_eq!(with("announce", b"i1e".to_vec()), [[""; 0]; 0]);
    let many: Vec<_> = (0..500).map(|number| path(&[&format!("t{number}")])).collect();
    assert_eq!(with("announce-list", list(&many)).len(), limits::TRACKER_COUNT_MAX);
}

#[test]
fn free_text_cannot_steer_a_terminal() {
    let root = Bent::new().with("info", v1_file().raw());
    let root =
        root.with("comment", text("a\r\nb\u{1b}[2J\u{202e}")).with("created by", text(b"\xff"));
    let metainfo = Metainfo::decode(&root.with("creation date", "i-5e").raw()).unwrap();
    assert_eq!(metainfo.comment.as_deref(), Some("a\nb\u{fffd}[2J\u{fffd}"));
    assert_eq!(metainfo.created_by.as_deref(), Some("\u{fffd}"));
    assert_eq!(metainfo.creation_date, Some(-5));
}

#[test]
fn empty_content_is_content() {
    let info = Info::decode(&v1_file().with("length", "i0e").with("pieces", "0:").raw()).unwrap();
    assert_eq!((info.content_len(), info.geometry().piece_count()), (0, 0));
    let empty = Bent::new().with("", Bent::new().with("length", "i0e").raw());
    let info = Info::decode(&v2(&Bent::new().with("e", empty.raw())).raw()).unwrap();
    assert_eq!(info.files()[0].root, None);
    let layers = Arc::new(PieceLayers::default());
    assert_eq!(info.expected(PieceIndex(0), &layers), None);
}
