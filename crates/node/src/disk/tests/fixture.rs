//! Torrents made by hand, and a disk that can crash.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use proto::metainfo::{Info, PieceLayers};
use proto::{BLOCK_LEN, Block, PieceIndex};
use swarm::{BlockBuf, DiskEvent, DiskJob};
use tempfile::TempDir;
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

use crate::api::Content;
use crate::disk::{
    BlockPool, Disk, DiskConfig, OpenArgs, OpenError, Opened, Renames, Storage, StorageEvent,
};
use crate::record::Records;

pub(super) const PIECE: u32 = 2 * BLOCK_LEN;

/// One file of a torrent that is made by hand.
#[derive(Clone)]
pub(in crate::disk) struct Entry {
    pub(super) path: &'static str,
    pub(super) content: Vec<u8>,
    /// BEP 47 `attr`; `p` is a pad.
    pub(super) attr: &'static str,
    pub(super) symlink: &'static str,
}

pub(in crate::disk) fn file(path: &'static str, len: usize) -> Entry {
    let seed = path.bytes().fold(7_u64, |seed, byte| seed * 31 + u64::from(byte));
    let content = (0..len as u64).map(|at| ((at * 2654435761 + seed) >> 7) as u8 | 1).collect();
    Entry { path, content, attr: "", symlink: "" }
}

pub(super) fn pad(len: usize) -> Entry {
    Entry { path: ".pad/x", content: vec![0; len], attr: "p", symlink: "" }
}

/// A v1 torrent and its content.
#[derive(Clone)]
pub(in crate::disk) struct Torrent {
    pub(in crate::disk) info: Arc<Info>,
    pub(super) space: Vec<u8>,
    pub(super) files: Vec<Entry>,
}

impl Torrent {
    /// A folder named `t`.
    pub(in crate::disk) fn folder(files: Vec<Entry>) -> Self {
        let mut list = Vec::new();
        for file in &files {
            list.extend(b"d");
            if !file.attr.is_empty() {
                list.extend(format!("4:attr{}", string(file.attr)).bytes());
            }
            list.extend(
                format!("6:lengthi{}e4:path{}", file.content.len(), path(file.path)).bytes(),
            );
            if !file.symlink.is_empty() {
                list.extend(format!("12:symlink path{}", path(file.symlink)).bytes());
            }
            list.extend(b"e");
        }
        let mut head = b"d5:filesl".to_vec();
        head.extend(list);
        head.extend(b"e4:name1:t");
        Self::with(head, files)
    }

    /// One file.
    pub(super) fn single(file: Entry) -> Self {
        let head = format!("d6:lengthi{}e4:name{}", file.content.len(), string(file.path));
        Self::with(head.into_bytes(), vec![file])
    }

    fn with(mut raw: Vec<u8>, files: Vec<Entry>) -> Self {
        let space: Vec<u8> = files.iter().flat_map(|file| file.content.clone()).collect();
        let hashes: Vec<u8> = space.chunks(PIECE as usize).flat_map(digest::sha1).collect();
        raw.extend(format!("12:piece lengthi{PIECE}e6:pieces{}:", hashes.len()).bytes());
        raw.extend(hashes);
        raw.push(b'e');
        let info = Arc::new(Info::decode(&raw).expect("the fixture is a valid torrent"));
        Self { info, space, files }
    }

    pub(super) fn pieces(&self) -> u32 {
        self.space.len().div_ceil(PIECE as usize) as u32
    }

    pub(super) fn piece(&self, index: u32) -> &[u8] {
        self.space.chunks(PIECE as usize).nth(index as usize).unwrap()
    }

    pub(super) fn job(&self, index: u32) -> DiskJob {
        let geometry = self.info.geometry();
        let piece = PieceIndex(index);
        let blocks = self.piece(index).chunks(BLOCK_LEN as usize).zip(0..);
        let blocks = blocks.map(|(bytes, number)| {
            let content = geometry.has_content(geometry.block(piece, number));
            content.then(|| BlockBuf::copy_of(bytes))
        });
        DiskJob::Store {
            piece,
            blocks: blocks.collect(),
            expected: self.info.expected(piece, &PieceLayers::default()).unwrap(),
            want_digests: false,
        }
    }

    /// Writes the content as somebody else would: a folder or file below `folder`.
    pub(in crate::disk) fn write_out(&self, folder: &Path) -> PathBuf {
        let base = folder.join(self.info.name());
        for entry in self.files.iter().filter(|entry| entry.attr != "p") {
            let path = self.path_of(folder, entry);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, &entry.content).unwrap();
        }
        base
    }

    pub(super) fn path_of(&self, folder: &Path, entry: &Entry) -> PathBuf {
        match self.info.is_single_file() {
            true => folder.join(entry.path),
            false => folder.join("t").join(entry.path),
        }
    }

    /// The tree below `folder` is exactly the content.
    pub(super) fn assert_tree(&self, folder: &Path) {
        let mut expected: Vec<PathBuf> = Vec::new();
        for entry in self.files.iter().filter(|entry| entry.attr != "p") {
            let path = self.path_of(folder, entry);
            if entry.symlink.is_empty() {
                assert!(
                    std::fs::read(&path).unwrap() == entry.content,
                    "{} differs",
                    path.display()
                );
            }
            expected.push(path);
        }
        expected.sort();
        let mut found = tree(folder);
        found.sort();
        assert_eq!(found, expected);
    }
}

/// Every file and link below a folder.
pub(in crate::disk) fn tree(folder: &Path) -> Vec<PathBuf> {
    let entries = walkdir::WalkDir::new(folder).into_iter().map(Result::unwrap);
    entries.filter(|entry| !entry.file_type().is_dir()).map(|entry| entry.into_path()).collect()
}

fn string(text: &str) -> String {
    format!("{}:{text}", text.len())
}

fn path(text: &str) -> String {
    format!("l{}e", text.split('/').map(string).collect::<String>())
}

/// State folder and target folder, which outlive the disk.
pub(in crate::disk) struct Place {
    pub(super) state: TempDir,
    pub(in crate::disk) target: TempDir,
    /// The content goes into this folder of the target.
    pub(in crate::disk) below: Option<String>,
}

impl Place {
    pub(in crate::disk) fn new() -> Self {
        let (state, target) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        Self { state, target, below: None }
    }

    /// In memory where there is such a folder: real disks take long to remove thousands of files.
    pub(super) fn in_memory() -> Self {
        let folder = || tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap();
        Self { state: folder(), target: folder(), below: None }
    }

    pub(in crate::disk) fn fetch(&self) -> Content {
        let mut folder = self.target.path().to_owned();
        folder.extend(&self.below);
        Content::Fetch { folder }
    }

    pub(super) fn share(&self, path: &Path) -> Content {
        let _ = self;
        Content::Share { path: path.to_owned(), fresh: None }
    }

    /// A disk that syncs only when it is told to.
    pub(in crate::disk) fn lazy(&self) -> Rig {
        self.start(DiskConfig {
            sync_bytes: u64::MAX,
            sync_interval: Duration::from_secs(3600),
            ..DiskConfig::default()
        })
    }

    pub(super) fn start(&self, config: DiskConfig) -> Rig {
        let records = Arc::new(Records::open(self.state.path()).unwrap());
        let disk = Disk::new(config, records, Arc::new(BlockPool::new(64)));
        Rig { disk, renames: Renames::default(), distrust: false }
    }
}

/// A running disk.
pub(in crate::disk) struct Rig {
    pub(in crate::disk) disk: Disk,
    /// What is opened is called so.
    pub(in crate::disk) renames: Renames,
    /// All of it is read.
    pub(in crate::disk) distrust: bool,
}

impl Rig {
    /// Opens and counts the bytes that were read to check.
    pub(super) fn try_open(&self, torrent: &Torrent, content: &Content) -> Result<Open, OpenError> {
        self.try_open_info((&torrent.info, PieceLayers::default()), content, &[])
    }

    /// The same when only some files are wanted.
    pub(super) fn open_some(&self, torrent: &Torrent, content: &Content, wanted: &[bool]) -> Open {
        let torrent = (&torrent.info, PieceLayers::default());
        self.try_open_some(torrent, content, &[], Some(wanted.to_vec())).unwrap()
    }

    /// The same for any torrent, with folders that hold copies.
    pub(super) fn try_open_info(
        &self,
        torrent: (&Arc<Info>, PieceLayers),
        content: &Content,
        adopt: &[PathBuf],
    ) -> Result<Open, OpenError> {
        self.try_open_some(torrent, content, adopt, None)
    }

    fn try_open_some(
        &self,
        (info, layers): (&Arc<Info>, PieceLayers),
        content: &Content,
        adopt: &[PathBuf],
        wanted: Option<Vec<bool>>,
    ) -> Result<Open, OpenError> {
        let (events, inbox) = unbounded_channel();
        let renames = &self.renames;
        let (info, distrust) = (info.clone(), self.distrust);
        let args = OpenArgs { info, layers, content, adopt, wanted, renames, distrust, events };
        let read = AtomicU64::new(0);
        let progress = |bytes| read.store(bytes, Ordering::Relaxed);
        let opened = self.disk.open(args, &progress, &AtomicBool::new(false))?;
        let Opened { storage, have, finished } = opened;
        let have = have.iter().map(|piece| piece.0).collect();
        Ok(Open { storage, have, finished, read: read.into_inner(), inbox })
    }

    pub(in crate::disk) fn open(&self, torrent: &Torrent, content: &Content) -> Open {
        self.try_open(torrent, content).unwrap()
    }

    /// Stores pieces and waits until each is written.
    pub(in crate::disk) fn store(
        &self,
        open: &mut Open,
        torrent: &Torrent,
        pieces: impl IntoIterator<Item = u32>,
    ) {
        let jobs: Vec<_> = pieces.into_iter().map(|piece| torrent.job(piece)).collect();
        let count = jobs.len();
        self.disk.submit_all(&open.storage, jobs);
        for _ in 0..count {
            let event = open.next_disk_event();
            assert!(matches!(event, DiskEvent::Stored { .. }), "{event:?}");
        }
    }

    /// Ends like `kill -9`: nothing is synced or recorded any more.
    pub(super) fn crash(self) {
        self.disk.shared.lanes.stop_workers();
        self.disk.shared.lanes.abandon();
        drop(self.disk);
    }
}

/// An open torrent.
pub(in crate::disk) struct Open {
    pub(in crate::disk) storage: Arc<Storage>,
    pub(in crate::disk) have: Vec<u32>,
    pub(super) finished: bool,
    /// Bytes read to check.
    pub(in crate::disk) read: u64,
    pub(super) inbox: UnboundedReceiver<StorageEvent>,
}

impl Open {
    pub(super) fn next_disk_event(&mut self) -> DiskEvent {
        loop {
            if let StorageEvent::Disk(event) = self.next() {
                return event;
            }
        }
    }

    pub(super) fn next(&mut self) -> StorageEvent {
        self.inbox.blocking_recv().expect("the storage is open")
    }

    /// Waits for an event; a failure is one.
    pub(super) fn wait(&mut self, wanted: impl Fn(&StorageEvent) -> bool) -> StorageEvent {
        loop {
            let event = self.next();
            if wanted(&event) {
                return event;
            }
            assert!(!matches!(event, StorageEvent::Failed { .. }), "{event:?}");
        }
    }

    pub(in crate::disk) fn wait_finished(&mut self) {
        self.wait(|event| matches!(event, StorageEvent::Finished));
    }

    pub(super) fn read_piece(&self, index: u32) -> Vec<u8> {
        let run = self.storage.geometry().whole(PieceIndex(index));
        self.read_run(run).unwrap()
    }

    pub(super) fn read_run(&self, run: Block) -> Result<Vec<u8>, crate::disk::ReadError> {
        let mut out = vec![0xaa; run.len as usize];
        self.storage.read(run, &mut out).map(|()| out)
    }
}

impl Open {
    /// The next event that ends a job, in words.
    pub(super) fn next_disk_event_or_failure(&mut self) -> String {
        format!("{:?}", self.next_disk_event())
    }
}
