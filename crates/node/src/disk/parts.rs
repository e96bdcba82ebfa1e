//! Bytes of files that nobody wants, where a piece shares them with a file that is wanted.
//!
//! A v1 piece may reach over the end of a file. It is checked as a whole, so it is kept as a whole:
//! else it could not be served, nor believed at the next start. What of it belongs to files that are not
//! wanted goes into one file a torrent in the state folder, where no name of the person's shows up.
//! There each piece that files share has its place; the torrent alone decides where.
//!
//! Invariant: while a file is absent, its bytes of the pieces that we have are here. When it is made they
//! are copied into it, under the lock of its slot. So a file's state alone says where its bytes are.

use std::fs::File;
use std::io::{self, IoSlice};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::Mutex;
use proto::metainfo::Info;
use proto::{FileIndex, InfoHash, PieceIndex, Span};

use super::FileIdentity;
use super::read::read_blocking;
use super::storage::{SlotState, Storage};
use super::write::write_all_at;
use crate::record::{FileRecord, Progress};

/// The number under which the record knows the file; no torrent has as many files.
pub(super) const RECORDED_AS: FileIndex = FileIndex(u32::MAX);

/// Where the pieces that files share are kept.
#[derive(Debug)]
pub(super) struct Parts {
    path: PathBuf,
    piece_len: u32,
    /// In rising order: each has its place by its position here.
    shared: Vec<PieceIndex>,
    /// The file exists.
    there: AtomicBool,
    open: Mutex<Option<Arc<File>>>,
    dirty: AtomicBool,
    /// Its name is not synced yet.
    made: AtomicBool,
}

impl Parts {
    pub(super) fn new(data_dir: &Path, key: InfoHash, info: &Info) -> Self {
        let path = path(data_dir, key);
        let there = std::fs::symlink_metadata(&path).is_ok_and(|found| found.is_file());
        Self {
            path,
            piece_len: info.piece_len(),
            shared: shared_pieces(info),
            there: AtomicBool::new(there),
            open: Mutex::default(),
            dirty: AtomicBool::new(false),
            made: AtomicBool::new(false),
        }
    }

    /// There is such a file.
    pub(super) fn is_there(&self) -> bool {
        self.there.load(Ordering::Acquire)
    }

    /// Whether bytes of that piece can be kept here.
    pub(super) fn takes(&self, piece: PieceIndex) -> bool {
        self.place(piece).is_some()
    }

    /// Whether bytes of that piece may be here.
    pub(super) fn may_have(&self, piece: PieceIndex) -> bool {
        self.is_there() && self.takes(piece)
    }

    fn place(&self, piece: PieceIndex) -> Option<u64> {
        let position = self.shared.binary_search(&piece).ok()?;
        Some(position as u64 * u64::from(self.piece_len))
    }

    /// Which file it is at the moment.
    pub(super) fn record(&self) -> Option<FileRecord> {
        let found =
            std::fs::symlink_metadata(&self.path).ok().filter(std::fs::Metadata::is_file)?;
        Some(FileRecord { identity: FileIdentity::of(&found), whole: false, made: true })
    }

    /// It is as the last run left it.
    pub(super) fn is_recorded(&self, known: Option<&Progress>) -> bool {
        let (Some(known), Some(found)) = (known, self.record()) else { return false };
        let recorded = known.files.get(&RECORDED_AS);
        recorded.is_some_and(|recorded| found.identity.recorded_as(&recorded.identity, known.clean))
    }

    /// Keeps a part of a piece, which begins there in it.
    pub(super) fn write(
        &self,
        piece: PieceIndex,
        begin: u32,
        slices: Vec<IoSlice<'_>>,
    ) -> io::Result<()> {
        let place = self.place(piece).ok_or(io::ErrorKind::InvalidInput)?;
        let file = self.file_to_write()?;
        write_all_at(&file, slices, place + u64::from(begin))?;
        self.dirty.store(true, Ordering::Release);
        Ok(())
    }

    /// The file and where in it the piece begins, if it may be here.
    pub(super) fn locate(&self, piece: PieceIndex) -> io::Result<Option<(Arc<File>, u64)>> {
        let Some(place) = self.place(piece).filter(|_| self.is_there()) else { return Ok(None) };
        Ok(Some((self.file()?, place)))
    }

    /// Makes what was written survive a power cut; true if there was anything.
    pub(super) fn sync(&self) -> io::Result<bool> {
        if !self.dirty.swap(false, Ordering::AcqRel) {
            return Ok(false);
        }
        self.file()?.sync_data()?;
        if self.made.swap(false, Ordering::AcqRel) {
            let folder = self.path.parent();
            for folder in folder.into_iter().chain(folder.and_then(Path::parent)) {
                File::open(folder)?.sync_all()?;
            }
        }
        Ok(true)
    }

    /// It was found and not believed: what proves to be right in it counts as written just now.
    pub(super) fn mark_dirty(&self) {
        self.dirty.store(true, Ordering::Release);
    }

    /// Every file has its own bytes: it is of no use any more.
    pub(super) fn remove(&self) {
        *self.open.lock() = None;
        self.there.store(false, Ordering::Release);
        self.dirty.store(false, Ordering::Release);
        // If it stays, nothing will be believed that it says.
        let _ = std::fs::remove_file(&self.path);
    }

    /// The torrent is gone, and so is what was kept of it.
    pub(super) fn forget(data_dir: &Path, key: InfoHash) {
        // Nobody looks for it any more; most torrents have none.
        let _ = std::fs::remove_file(path(data_dir, key));
    }

    /// Closes it; it is opened again when it is needed.
    pub(super) fn close(&self) {
        *self.open.lock() = None;
    }

    fn file(&self) -> io::Result<Arc<File>> {
        let mut open = self.open.lock();
        if let Some(file) = &*open {
            return Ok(file.clone());
        }
        let file = Arc::new(options().open(&self.path)?);
        *open = Some(file.clone());
        Ok(file)
    }

    fn file_to_write(&self) -> io::Result<Arc<File>> {
        if self.is_there() {
            return self.file();
        }
        let mut open = self.open.lock();
        if let Some(file) = &*open {
            return Ok(file.clone());
        }
        if let Some(folder) = self.path.parent() {
            std::fs::create_dir_all(folder)?;
        }
        let file = options().create(true).truncate(true).mode(0o600).open(&self.path)?;
        // Its size stays as it is, so the record knows it by that, too. What is not written takes no room.
        file.set_len(self.shared.len() as u64 * u64::from(self.piece_len))?;
        let file = Arc::new(file);
        *open = Some(file.clone());
        self.made.store(true, Ordering::Release);
        self.there.store(true, Ordering::Release);
        Ok(file)
    }
}

fn path(data_dir: &Path, key: InfoHash) -> PathBuf {
    data_dir.join("parts").join(key.to_string())
}

fn options() -> std::fs::OpenOptions {
    let mut options = File::options();
    let no_links = rustix::fs::OFlags::NOFOLLOW | rustix::fs::OFlags::NONBLOCK;
    options.read(true).write(true).custom_flags(no_links.bits().cast_signed());
    options
}

/// Pieces that hold bytes of several files.
fn shared_pieces(info: &Info) -> Vec<PieceIndex> {
    let piece_len = u64::from(info.piece_len());
    let files: Vec<_> = info.files().iter().filter(|file| file.len > 0).collect();
    let borders = files.windows(2).filter_map(|pair| {
        let last = (pair[0].offset + pair[0].len - 1) / piece_len;
        (last == pair[1].offset / piece_len).then_some(PieceIndex(last as u32))
    });
    let mut shared: Vec<_> = borders.collect();
    shared.dedup();
    shared
}

impl Storage {
    /// Writes a part of a piece here if it belongs to a file that is not wanted and not there.
    pub(super) fn keep_aside(
        &self,
        piece: PieceIndex,
        span: Span,
        slices: &[IoSlice<'_>],
    ) -> io::Result<bool> {
        let slot = self.slot(span.file);
        if slot.is_wanted() || !self.parts.takes(piece) {
            return Ok(false);
        }
        // Held while writing: who makes the file copies what is here.
        let state = slot.state.lock();
        if *state != SlotState::Absent {
            return Ok(false);
        }
        self.parts.write(piece, span.begin, slices.to_vec())?;
        Ok(true)
    }

    /// Reads a part of a piece from here if it belongs to a file that is not there; `None` if not.
    pub(super) fn read_aside(
        &self,
        piece: PieceIndex,
        span: Span,
        out: &mut [u8],
    ) -> io::Result<Option<bool>> {
        if !self.parts.may_have(piece) || *self.slot(span.file).state.lock() != SlotState::Absent {
            return Ok(None);
        }
        match self.parts.locate(piece)? {
            Some((file, place)) => {
                read_blocking(&file, out, place + u64::from(span.begin)).map(Some)
            }
            None => Ok(None),
        }
    }

    /// Copies into a file that was made just now what is here of it. Its slot is locked.
    pub(super) fn bring_in(&self, index: FileIndex, made: &File) -> io::Result<()> {
        let pieces = self.geometry.pieces_of(index);
        let last = pieces.end.checked_sub(1).filter(|last| *last != pieces.start);
        for piece in [Some(pieces.start), last].into_iter().flatten().map(PieceIndex) {
            let Some((file, place)) = self.parts.locate(piece)? else { continue };
            let whole = self.geometry.whole(piece);
            let Some(span) = self.geometry.spans(whole).find(|span| span.file == index) else {
                continue;
            };
            let mut buffer = vec![0; COPY_LEN.min(span.len as usize)];
            let mut done = 0;
            while done < span.len {
                let part = &mut buffer[..COPY_LEN.min((span.len - done) as usize)];
                file.read_exact_at(part, place + u64::from(span.begin + done))?;
                made.write_all_at(part, span.file_offset + u64::from(done))?;
                done += part.len() as u32;
            }
        }
        Ok(())
    }
}

/// Bytes that are copied at once.
const COPY_LEN: usize = 256 << 10;
