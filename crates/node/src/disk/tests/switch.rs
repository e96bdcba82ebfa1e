//! One version of a folder in the place of another, and crashes in between.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use proto::metainfo::{Details, Format, Metainfo};

use super::fixture::{PIECE, Place, Rig, file, tree};
use crate::api::Content;
use crate::disk::DiskConfig;
use crate::disk::root::Root;
use crate::disk::switch::{SwitchError, discard, finish, present, replace, stage_of};
use crate::hashing::{Control, create};
use crate::record::{Records, SavedContent, SavedSource, TorrentRecord};

/// Two versions of a folder `v`, and where they lie.
struct Versions {
    place: Place,
    sources: tempfile::TempDir,
    rig: Rig,
    old: Metainfo,
    new: Metainfo,
}

impl Versions {
    /// The old version is in its place, the new one whole in its stage.
    fn new() -> Self {
        let (place, sources) = (Place::new(), tempfile::tempdir().unwrap());
        let content = |seed| file(seed, 2 * PIECE as usize + 5).content;
        let write = |version: &str, files: &[(&str, &'static str)]| {
            for (path, seed) in files {
                let path = sources.path().join(version).join("v").join(path);
                std::fs::create_dir_all(path.parent().unwrap()).unwrap();
                std::fs::write(path, content(seed)).unwrap();
            }
            created(&sources.path().join(version).join("v"))
        };
        let old = write("old", &[("same", "1"), ("changed", "2"), ("gone/x", "3")]);
        let new = write("new", &[("same", "1"), ("changed", "4"), ("more/y", "5")]);
        std::fs::write(sources.path().join("old/v/empty"), "").unwrap();
        let rig = place.start(DiskConfig::default());
        let versions = Self { place, sources, rig, old, new };
        versions.fetch(&versions.old, versions.folder(), "old");
        versions.fetch(&versions.new, &versions.stage(), "new");
        versions
    }

    fn folder(&self) -> &Path {
        self.place.target.path()
    }

    fn stage(&self) -> PathBuf {
        stage_of(self.folder(), "v", self.new.info.hashes().primary())
    }

    fn records(&self) -> &Records {
        self.rig.disk.records()
    }

    fn fetch(&self, metainfo: &Metainfo, folder: &Path, from: &str) {
        let content = Content::Fetch { folder: folder.to_owned() };
        let torrent = TorrentRecord {
            key: metainfo.info.hashes().primary(),
            source: SavedSource::Metainfo(metainfo.encode()),
            content: SavedContent::Fetch(folder.to_owned()),
            trackers: Vec::new(),
            finished: false,
        };
        self.records().save(&torrent).unwrap();
        let what = (&Arc::new(metainfo.info.clone()), metainfo.layers.clone());
        let adopt = [self.sources.path().join(from)];
        let mut open = self.rig.try_open_info(what, &content, &adopt).unwrap();
        open.wait_finished();
        open.storage.close();
    }

    /// Which version is there, and how many files of it somebody changed.
    fn present(&self) -> Option<(bool, usize)> {
        let here = present(self.records(), self.folder(), "v").unwrap()?;
        Some((here.metainfo.info.hashes() == self.new.info.hashes(), here.changed.len()))
    }

    fn assert_new(&self, own: &[&str]) {
        let below = |top: &Path| {
            let mut files: Vec<PathBuf> = tree(top)
                .into_iter()
                .map(|path| path.strip_prefix(top).unwrap().to_owned())
                .collect();
            files.sort();
            files
        };
        let mut expected = below(&self.sources.path().join("new"));
        expected.extend(own.iter().map(PathBuf::from));
        expected.sort();
        assert_eq!(below(self.folder()), expected);
        assert_eq!(self.present(), Some((true, 0)));
    }
}

fn created(path: &Path) -> Metainfo {
    let recipe = create::Recipe {
        name: "v".to_owned(),
        format: Format::Hybrid,
        piece_len: Some(PIECE),
        details: Details::default(),
    };
    create::create(path, recipe, &Control::default()).unwrap().metainfo
}

#[test]
fn the_new_version_takes_the_place_and_own_files_stay() {
    let versions = Versions::new();
    std::fs::create_dir_all(versions.folder().join("v/gone")).unwrap();
    std::fs::write(versions.folder().join("v/gone/mine"), "my own").unwrap();
    assert_eq!(versions.present(), Some((false, 0)));
    let (old, new) = (&versions.old, &versions.new);
    let left = replace(versions.records(), versions.folder(), old, new).unwrap();
    assert!(left.is_empty(), "{left:?}");
    discard(versions.records(), versions.folder(), "v").unwrap();
    versions.assert_new(&["v/gone/mine"]);
}

#[test]
fn nothing_is_replaced_that_somebody_changed_or_put_in_the_way() {
    for path in ["v/changed", "v/more/y", "v/more"] {
        let versions = Versions::new();
        let own = versions.folder().join(path);
        std::fs::create_dir_all(own.parent().unwrap()).unwrap();
        std::fs::write(&own, "my own").unwrap();
        let before = tree(versions.folder());
        let (old, new) = (&versions.old, &versions.new);
        let refused = replace(versions.records(), versions.folder(), old, new);
        let Err(SwitchError::Conflict { path: named, .. }) = refused else {
            panic!("{refused:?}");
        };
        assert_eq!(named, own);
        assert_eq!(std::fs::read_to_string(own).unwrap(), "my own");
        assert_eq!(tree(versions.folder()), before);
    }
}

#[test]
fn a_power_cut_before_the_exchange_leaves_the_old_version() {
    let versions = Versions::new();
    let content = SavedContent::Fetch(versions.folder().to_owned());
    versions.records().move_to(versions.new.info.hashes().primary(), &content).unwrap();
    assert_eq!(versions.present(), Some((false, 0)));
    finish(versions.records(), versions.folder(), "v").unwrap();
    let (old, new) = (&versions.old, &versions.new);
    replace(versions.records(), versions.folder(), old, new).unwrap();
    discard(versions.records(), versions.folder(), "v").unwrap();
    versions.assert_new(&[]);
}

#[test]
fn a_power_cut_after_the_exchange_leaves_the_new_version_and_the_rest_is_done_later() {
    let versions = Versions::new();
    std::fs::write(versions.folder().join("v/mine"), "my own").unwrap();
    let content = SavedContent::Fetch(versions.folder().to_owned());
    versions.records().move_to(versions.new.info.hashes().primary(), &content).unwrap();
    let [root, staged] =
        [versions.folder(), &versions.stage()].map(|path| Root::open(path).unwrap());
    root.exchange(Path::new("v"), &staged).unwrap();
    // Changed in the last moment: it has no place under its own name any more.
    std::fs::write(versions.stage().join("v/changed"), "in the last moment").unwrap();
    assert_eq!(versions.present(), Some((true, 0)));
    let left = finish(versions.records(), versions.folder(), "v").unwrap();
    assert_eq!(left, [versions.folder().join("v (yours 1)/changed")]);
    discard(versions.records(), versions.folder(), "v").unwrap();
    versions.assert_new(&["v/mine", "v (yours 1)/changed"]);
}

#[test]
fn what_was_begun_is_thrown_away_and_nothing_else() {
    let versions = Versions::new();
    let own = versions.stage().join("mine");
    std::fs::write(&own, "my own").unwrap();
    discard(versions.records(), versions.folder(), "v").unwrap();
    assert_eq!(tree(&versions.stage()), std::slice::from_ref(&own));
    assert_eq!(versions.present(), Some((false, 0)));
    std::fs::remove_file(own).unwrap();
    discard(versions.records(), versions.folder(), "v").unwrap();
    assert!(!versions.stage().exists());
}
