use std::panic::{AssertUnwindSafe, catch_unwind};

use super::super::tests::fixture::{Place as Bench, Rig, Torrent, file, tree};
use super::*;
use crate::api::Content;
use crate::orders::Data;

/// A folder of the torrent is fetched: one file whole, one begun.
struct Moving {
    torrent: Torrent,
    bench: Bench,
}

const WHOLE: u32 = 3;

impl Moving {
    fn new() -> Self {
        let files = vec![file("a", 2 * 32768), file("b/c", 32768), file("d", 3 * 32768)];
        Self { torrent: Torrent::folder(files), bench: Bench::new() }
    }

    /// Pieces of the first two files, and one of the third.
    fn fetch(&self, rig: &Rig) {
        let mut open = rig.open(&self.torrent, &self.bench.fetch());
        rig.store(&mut open, &self.torrent, 0..=WHOLE);
        open.storage.close();
    }

    fn from(&self) -> Place {
        Place { folder: self.bench.target.path().join("from"), renames: Renames::default() }
    }

    fn there(&self) -> Place {
        let mut renames = Renames::default();
        renames.rename_top(&self.torrent.info, "other").unwrap();
        renames.rename_file(&self.torrent.info, FileIndex(1), "b/x/y").unwrap();
        Place { folder: self.bench.target.path().join("to"), renames }
    }

    fn key(&self) -> InfoHash {
        self.torrent.info.hashes().primary()
    }

    fn relocate(&self, rig: &Rig, by_copy: bool) -> Result<(), MoveError> {
        self.relocate_until(rig, by_copy, &|_| ())
    }

    fn relocate_until(
        &self,
        rig: &Rig,
        by_copy: bool,
        progress: &dyn Fn(u64),
    ) -> Result<(), MoveError> {
        let job = Job { progress, by_copy, ..self.job(rig) };
        relocate(&job, &self.from(), &self.there())
    }

    fn finish(&self, rig: &Rig) -> Place {
        finish(&self.job(rig), self.from()).unwrap()
    }

    /// Within one file system, watched by nobody.
    fn job<'a>(&'a self, rig: &'a Rig) -> Job<'a> {
        Job {
            records: rig.disk.records(),
            info: &self.torrent.info,
            progress: &|_| (),
            cancelled: &|| false,
            by_copy: false,
        }
    }

    fn remove(&self, rig: &Rig, place: &Place, data: Data) -> Result<Vec<PathBuf>, RemoveError> {
        let fetched = Some((&*self.torrent.info, place.clone()));
        remove(rig.disk.records(), self.key(), fetched, data)
    }

    /// Begins a move by copies, or by renames, and dies when it has come so far.
    fn dies_at(&self, rig: &Rig, stage: Stage) {
        let job = Job {
            records: rig.disk.records(),
            info: &self.torrent.info,
            progress: &|_| (),
            cancelled: &|| false,
            by_copy: true,
        };
        let half = |bytes: u64| assert!(bytes < 70_000, "killed");
        std::fs::create_dir_all(self.there().folder).unwrap();
        let ends = Ends::open(&job, &self.from(), &self.there()).unwrap();
        match stage {
            Stage::Renaming => {
                job.records.save_move(self.key(), ends.record.clone()).unwrap();
                assert!(ends.rename_one(&ends.travels[1]).unwrap());
            }
            Stage::Copying => {
                let died = catch_unwind(AssertUnwindSafe(|| self.relocate_until(rig, true, &half)));
                assert!(died.is_err());
            }
            Stage::Placing => {
                assert_eq!(Copying::new(&job, &ends).copies_for_test().len(), 3);
                let first = &ends.travels[0];
                ends.to.move_new(&first.draft, &ends.to, &first.to).unwrap();
            }
            Stage::Clearing => {
                self.relocate(rig, true).unwrap();
                let path = self.from().folder.join("t/a");
                std::fs::create_dir_all(path.parent().unwrap()).unwrap();
                std::fs::copy(self.there().folder.join("other/a"), &path).unwrap();
                let identity = FileIdentity::of(&std::fs::metadata(&path).unwrap());
                let moved = vec![Arrival { file: FileIndex(0), identity, path }];
                let record = MoveRecord { stage, moved, ..ends.record };
                job.records.save_move(self.key(), record).unwrap();
            }
        }
        assert_eq!(job.records.load_move(self.key()).unwrap().unwrap().stage, stage);
    }

    /// All that was there is there, and known without reading.
    fn assert_at(&self, rig: &mut Rig, place: &Place) {
        assert_eq!(rig.disk.records().load_move(self.key()).unwrap(), None);
        rig.renames = place.renames.clone();
        let content = Content::Fetch { folder: place.folder.clone() };
        let open = rig.open(&self.torrent, &content);
        assert_eq!((open.have, open.read), (vec![0, 1, 2, 3], 0));
        open.storage.close();
        let other = if *place == self.from() { self.there() } else { self.from() };
        assert_eq!(tree(&self.bench.target.path().join(&place.folder)).len(), 3);
        assert!(!other.folder.exists() || tree(&other.folder).is_empty(), "something is left");
        assert!(!other.folder.join("t").exists() && !other.folder.join("other").exists());
    }

    fn started() -> (Self, Rig) {
        let mut moving = Self::new();
        moving.bench.below = Some("from".into());
        let rig = moving.bench.lazy();
        moving.fetch(&rig);
        (moving, rig)
    }
}

#[test]
fn content_is_elsewhere_under_other_names_and_known_without_reading() {
    for by_copy in [false, true] {
        let (moving, mut rig) = Moving::started();
        moving.relocate(&rig, by_copy).unwrap();
        moving.assert_at(&mut rig, &moving.there());
        assert!(moving.there().folder.join("other/b/x/y").exists());
    }
}

#[test]
fn a_move_that_dies_anywhere_is_ended_later() {
    // Killed while a file is copied.
    let (moving, mut rig) = Moving::started();
    let dies = |bytes: u64| assert!(bytes < 70_000, "killed");
    let died = catch_unwind(AssertUnwindSafe(|| moving.relocate_until(&rig, true, &dies)));
    assert!(died.is_err());
    let place = moving.finish(&rig);
    assert_eq!(place, moving.there());
    moving.assert_at(&mut rig, &place);

    // Killed when one file was renamed.
    let (moving, mut rig) = Moving::started();
    let job = moving.job(&rig);
    std::fs::create_dir_all(moving.there().folder).unwrap();
    let ends = Ends::open(&job, &moving.from(), &moving.there()).unwrap();
    job.records.save_move(moving.key(), ends.record.clone()).unwrap();
    assert!(ends.rename_one(&ends.travels[1]).unwrap());
    let place = moving.finish(&rig);
    assert_eq!(place, moving.there());
    moving.assert_at(&mut rig, &place);

    // Killed when one of the copies had its name.
    let (moving, mut rig) = Moving::started();
    let taken = moving.there().folder.join("other/d.part");
    let job = Job { by_copy: true, ..moving.job(&rig) };
    std::fs::create_dir_all(moving.there().folder).unwrap();
    let ends = Ends::open(&job, &moving.from(), &moving.there()).unwrap();
    let copies = Copying::new(&job, &ends).copies_for_test();
    let first = &ends.travels[0];
    ends.to.move_new(&first.draft, &ends.to, &first.to).unwrap();
    assert_eq!(copies.len(), 3);
    assert!(!taken.exists());
    let place = moving.finish(&rig);
    assert_eq!(place, moving.there());
    moving.assert_at(&mut rig, &place);

    // Killed when the record had switched and the old files were not removed.
    let (moving, mut rig) = Moving::started();
    let old = moving.from().folder.join("t/a");
    let kept = std::fs::read(&old).unwrap();
    moving.relocate(&rig, true).unwrap();
    std::fs::create_dir_all(old.parent().unwrap()).unwrap();
    std::fs::write(&old, &kept).unwrap();
    let identity = FileIdentity::of(&std::fs::metadata(&old).unwrap());
    let left = Arrival { file: FileIndex(0), identity, path: old.clone() };
    let stranger = old.with_file_name("mine");
    std::fs::write(&stranger, b"mine").unwrap();
    let (file, path) = (FileIndex(1), stranger.clone());
    let not_ours = Arrival { file, identity, path };
    let record = MoveRecord {
        origin: moving.from().folder,
        folder: moving.there().folder,
        renames: moving.there().renames,
        stage: Stage::Clearing,
        moved: vec![left, not_ours],
    };
    rig.disk.records().save_move(moving.key(), record).unwrap();
    let job = moving.job(&rig);
    assert_eq!(finish(&job, moving.there()).unwrap(), moving.there());
    assert!(!old.exists() && stranger.exists());
    std::fs::remove_file(stranger).unwrap();
    std::fs::remove_dir(old.parent().unwrap()).unwrap();
    moving.assert_at(&mut rig, &moving.there());
}

#[test]
fn nothing_is_replaced_and_what_cannot_go_stays_where_it_was() {
    for by_copy in [false, true] {
        let (moving, mut rig) = Moving::started();
        let taken = moving.there().folder.join("other/b/x/y");
        std::fs::create_dir_all(taken.parent().unwrap()).unwrap();
        std::fs::write(&taken, b"mine").unwrap();
        let refused = moving.relocate(&rig, by_copy);
        assert!(matches!(refused, Err(MoveError::Taken(path)) if path == taken));
        assert_eq!(std::fs::read(&taken).unwrap(), b"mine");
        std::fs::remove_dir_all(moving.there().folder).unwrap();
        moving.assert_at(&mut rig, &moving.from());
    }
}

#[test]
fn a_file_that_somebody_changed_moves_and_is_not_believed() {
    for by_copy in [false, true] {
        let (moving, rig) = Moving::started();
        let path = moving.from().folder.join("t/a");
        let mut bytes = std::fs::read(&path).unwrap();
        bytes[40_000] ^= 1;
        let before = std::fs::metadata(&path).unwrap().modified().unwrap();
        std::fs::write(&path, &bytes).unwrap();
        let later = before + std::time::Duration::from_secs(1);
        std::fs::File::options().write(true).open(&path).unwrap().set_modified(later).unwrap();
        moving.relocate(&rig, by_copy).unwrap();
        let there = moving.there().folder.join("other/a");
        assert_eq!(std::fs::read(there).unwrap(), bytes);
        let known = rig.disk.records().progress(moving.key(), 6).unwrap().unwrap();
        assert!(!known.files.get(&FileIndex(0)).is_some_and(|file| file.whole && {
            let now = std::fs::metadata(moving.there().folder.join("other/a")).unwrap();
            FileIdentity::of(&now).recorded_as(&file.identity, true)
        }));
    }
}

#[test]
fn a_move_under_way_goes_where_it_was_to_go() {
    let (moving, mut rig) = Moving::started();
    let elsewhere = moving.bench.target.path().join("third");
    for stage in [Stage::Renaming, Stage::Copying, Stage::Placing] {
        let record = MoveRecord {
            origin: moving.from().folder,
            folder: elsewhere.clone(),
            renames: Renames::default(),
            stage,
            moved: Vec::new(),
        };
        rig.disk.records().save_move(moving.key(), record.clone()).unwrap();
        let refused = moving.relocate(&rig, false).unwrap_err();
        let MoveError::UnderWay { under_way, wanted } = refused else { panic!("{refused}") };
        assert_eq!((under_way, wanted), (elsewhere.clone(), moving.there().folder));
        assert_eq!(rig.disk.records().load_move(moving.key()).unwrap(), Some(record));
    }
    rig.disk.records().end_move(moving.key()).unwrap();
    moving.assert_at(&mut rig, &moving.from());
}

#[test]
fn a_move_that_cannot_be_ended_is_given_up_only_while_all_is_where_it_was() {
    let (moving, mut rig) = Moving::started();
    let target = moving.bench.target.path();
    std::fs::write(target.join("no folder"), b"").unwrap();
    for stage in [Stage::Renaming, Stage::Placing, Stage::Copying] {
        let record = MoveRecord {
            origin: moving.from().folder,
            folder: target.join("no folder/to"),
            renames: Renames::default(),
            stage,
            moved: Vec::new(),
        };
        let job = moving.job(&rig);
        job.records.save_move(moving.key(), record.clone()).unwrap();
        let finished = finish(&job, moving.from());
        if stage == Stage::Copying {
            assert_eq!(finished.unwrap(), moving.from());
        } else {
            assert!(finished.is_err());
            assert_eq!(job.records.load_move(moving.key()).unwrap(), Some(record));
        }
    }
    moving.assert_at(&mut rig, &moving.from());
}

#[test]
fn what_somebody_changed_after_it_was_copied_is_not_removed() {
    let (moving, rig) = Moving::started();
    let job = Job { by_copy: true, ..moving.job(&rig) };
    std::fs::create_dir_all(moving.there().folder).unwrap();
    let ends = Ends::open(&job, &moving.from(), &moving.there()).unwrap();
    assert_eq!(Copying::new(&job, &ends).copies_for_test().len(), 3);
    let folder = moving.from().folder.join("t");
    let changed = [0, 2].map(|file: usize| {
        let path = moving.from().folder.join(&ends.travels[file].from);
        let mut bytes = std::fs::read(&path).unwrap();
        bytes[30_000] ^= 1;
        let later = std::fs::metadata(&path).unwrap().modified().unwrap()
            + std::time::Duration::from_secs(3);
        std::fs::write(&path, &bytes).unwrap();
        std::fs::File::options().write(true).open(&path).unwrap().set_modified(later).unwrap();
        (path, bytes)
    });
    assert_eq!(moving.finish(&rig), moving.there());
    for (path, bytes) in changed {
        assert!(std::fs::read(&path).unwrap() == bytes, "{} is as it was left", path.display());
    }
    assert!(!folder.join("b/c").exists(), "what nobody changed has moved");
    let known = rig.disk.records().progress(moving.key(), 6).unwrap().unwrap();
    assert_eq!(known.files.keys().collect::<Vec<_>>(), [&FileIndex(1)], "no copy is believed");
}

#[test]
fn what_is_taken_away_is_ours_and_unchanged() {
    let (moving, rig) = Moving::started();
    let folder = moving.from().folder.join("t");
    std::fs::write(folder.join("b/mine"), b"mine").unwrap();
    std::fs::write(folder.join("a"), b"changed").unwrap();
    let place = moving.from();
    let left = moving.remove(&rig, &place, Data::Delete).unwrap();
    assert_eq!(left, [folder.join("a")]);
    let mut found = tree(&place.folder);
    found.sort();
    assert_eq!(found, [folder.join("a"), folder.join("b/mine")]);
    assert_eq!(rig.disk.records().progress(moving.key(), 6).unwrap(), None);
    assert!(rig.disk.records().load_all().unwrap().is_empty());
}

#[test]
fn a_torrent_that_goes_in_the_middle_of_a_move_leaves_no_half_copies() {
    for stage in [Stage::Renaming, Stage::Copying, Stage::Placing, Stage::Clearing] {
        for data in [Data::Keep, Data::Delete] {
            let (moving, rig) = Moving::started();
            moving.dies_at(&rig, stage);
            assert!(moving.remove(&rig, &moving.from(), data).unwrap().is_empty());
            let records = rig.disk.records();
            assert_eq!(records.load_move(moving.key()).unwrap(), None, "{stage:?}");
            assert!(records.moves().unwrap().is_empty());
            let ends = [moving.from(), moving.there()];
            let found = ends.each_ref().map(|end| match end.folder.exists() {
                true => tree(&end.folder).len(),
                false => 0,
            });
            let expected = match (data, stage) {
                (Data::Delete, _) => [0, 0],
                (Data::Keep, Stage::Copying) => [3, 0],
                (Data::Keep, Stage::Renaming | Stage::Placing | Stage::Clearing) => [0, 3],
            };
            assert_eq!(found, expected, "{stage:?} {data:?}");
        }
    }
}

#[test]
fn half_copies_that_cannot_be_reached_keep_the_torrent() {
    let (moving, rig) = Moving::started();
    moving.dies_at(&rig, Stage::Copying);
    let (there, aside) = (moving.there().folder, moving.bench.target.path().join("aside"));
    std::fs::rename(&there, &aside).unwrap();
    std::fs::write(&there, b"").unwrap();
    assert!(moving.remove(&rig, &moving.from(), Data::Keep).is_err());
    assert!(rig.disk.records().load_move(moving.key()).unwrap().is_some(), "it is known still");
    std::fs::remove_file(&there).unwrap();
    std::fs::rename(&aside, &there).unwrap();
    assert!(moving.remove(&rig, &moving.from(), Data::Keep).unwrap().is_empty());
    assert_eq!((tree(&there).len(), tree(&moving.from().folder).len()), (0, 3));
}

#[test]
fn what_was_there_before_is_not_taken_away() {
    let mut moving = Moving::new();
    moving.torrent = Torrent::folder(vec![file("a", 50_000), file("b", 0), file("c", 1)]);
    moving.bench.below = Some("from".into());
    std::fs::create_dir(moving.from().folder).unwrap();
    moving.torrent.write_out(&moving.from().folder);
    let rig = moving.bench.lazy();
    let mut open = rig.open(&moving.torrent, &moving.bench.fetch());
    open.wait_finished();
    open.storage.close();
    let place = moving.from();
    let left = moving.remove(&rig, &place, Data::Delete).unwrap();
    assert_eq!((left.len(), tree(&place.folder).len()), (3, 3));
}

#[test]
fn content_that_cannot_be_reached_is_not_taken_for_gone() {
    let (moving, rig) = Moving::started();
    let (place, aside) = (moving.from(), moving.bench.target.path().join("aside"));
    std::fs::rename(&place.folder, &aside).unwrap();
    std::fs::write(&place.folder, b"").unwrap();
    assert!(moving.remove(&rig, &place, Data::Delete).is_err());
    assert!(rig.disk.records().progress(moving.key(), 6).unwrap().is_some(), "it is known still");
    std::fs::remove_file(&place.folder).unwrap();
    assert!(moving.remove(&rig, &place, Data::Delete).unwrap().is_empty());
    assert_eq!(rig.disk.records().progress(moving.key(), 6).unwrap(), None);
}
