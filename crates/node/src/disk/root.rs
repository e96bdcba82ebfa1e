//! The folder that a torrent's paths start from. No path leaves it and none goes through a symbolic
//! link, even one that appears between two calls: the kernel walks the path (`openat2` with
//! `RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS`), or, where it cannot, each component is opened by itself
//! with `O_NOFOLLOW`.

use std::collections::HashMap;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Component, Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};

use parking_lot::Mutex;
use rustix::fs::{AtFlags, Mode, OFlags};
use rustix::io::Errno;

use super::{FileIdentity, NoRoom};

/// The folder of one torrent. Those that have the same one share its descriptor.
#[derive(Debug)]
pub(super) struct Root {
    folder: Arc<Folder>,
    /// Of the folder's faults, those that this torrent knows of.
    seen: AtomicU64,
}

/// An open folder.
#[derive(Debug)]
pub(super) struct Folder {
    dir: OwnedFd,
    path: PathBuf,
    /// Device and inode.
    identity: (u64, u64),
    preallocates: bool,
    in_memory: bool,
    shares_room: bool,
    /// Held while the file system is synced: its errors are reported to one call only.
    syncing: Mutex<()>,
    /// Syncs of the file system that failed.
    faults: AtomicU64,
}

/// What stands at a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Found {
    /// A regular file.
    File {
        /// Which one.
        identity: FileIdentity,
        /// Bytes that it takes up.
        allocated: u64,
        /// It has one name and belongs to us, so nobody else is harmed by writing to it.
        ours: bool,
    },
    /// A symbolic link.
    Link,
    /// A folder or something stranger.
    Other,
}

impl Root {
    /// Opens a folder for one torrent alone; its own path may lead through links, as the user gave it.
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        Ok(Self::over(Arc::new(Folder::open(path)?)))
    }

    /// The same over a folder that is open.
    pub(super) fn over(folder: Arc<Folder>) -> Self {
        let seen = AtomicU64::new(folder.faults.load(Ordering::Acquire));
        Self { folder, seen }
    }

    /// The folder's path.
    pub(super) fn path(&self) -> &Path {
        &self.folder.path
    }

    /// The file system has no disk to wait for.
    pub(super) fn is_in_memory(&self) -> bool {
        self.folder.in_memory
    }

    /// Copies can share their room with what they were copied from.
    pub(super) fn shares_room(&self) -> bool {
        self.folder.shares_room
    }

    /// Opens a file below the folder to read.
    pub(super) fn open_read(&self, path: &Path) -> io::Result<File> {
        // A planted FIFO must not hang us: NONBLOCK means nothing to regular files.
        self.open_at(path, OFlags::RDONLY | OFlags::NONBLOCK, Mode::empty()).map(File::from)
    }

    /// Opens a file below the folder to read and write.
    pub(super) fn open_write(&self, path: &Path) -> io::Result<File> {
        self.open_at(path, OFlags::RDWR | OFlags::NONBLOCK, Mode::empty()).map(File::from)
    }

    /// Makes a file of `len` bytes that was not there before. Room is set aside at once where that is
    /// cheap; a full disk leaves nothing behind.
    pub(super) fn create(&self, path: &Path, len: u64) -> io::Result<File> {
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL;
        let file = File::from(self.open_at(path, flags, Mode::from_raw_mode(0o666))?);
        let sized = if self.folder.preallocates && len >= PREALLOCATE_MIN {
            platform::preallocate(&file, len)
        } else {
            Ok(())
        };
        if let Err(error) = sized.and_then(|()| file.set_len(len)) {
            self.remove(path)?;
            return Err(error);
        }
        Ok(file)
    }

    /// What stands at a path; `None` when nothing does.
    pub(super) fn find(&self, path: &Path) -> io::Result<Option<Found>> {
        let (parent, name) = match self.parent(path) {
            Ok(found) => found,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        let stat = match rustix::fs::statat(
            parent_fd(&parent, &self.folder.dir),
            name,
            AtFlags::SYMLINK_NOFOLLOW,
        ) {
            Ok(stat) => stat,
            Err(Errno::NOENT) => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        Ok(Some(match rustix::fs::FileType::from_raw_mode(stat.st_mode) {
            rustix::fs::FileType::RegularFile => Found::File {
                identity: identity_of(&stat),
                allocated: stat.st_blocks as u64 * 512,
                ours: stat.st_nlink == 1 && stat.st_uid == rustix::process::geteuid().as_raw(),
            },
            rustix::fs::FileType::Symlink => Found::Link,
            rustix::fs::FileType::Directory
            | rustix::fs::FileType::Fifo
            | rustix::fs::FileType::Socket
            | rustix::fs::FileType::CharacterDevice
            | rustix::fs::FileType::BlockDevice
            | rustix::fs::FileType::Unknown => Found::Other,
        }))
    }

    /// The device that `path` is on, or will be: it may be where another file system is mounted.
    pub(super) fn device_of(&self, path: &Path) -> u64 {
        let stat = self.parent(path).and_then(|(parent, name)| {
            let parent = parent_fd(&parent, &self.folder.dir);
            Ok(rustix::fs::statat(parent, name, AtFlags::SYMLINK_NOFOLLOW)?)
        });
        stat.map_or(self.folder.identity.0, |stat| stat.st_dev)
    }

    /// Makes the folders of `path` that are missing; true when any was.
    pub(super) fn make_dirs(&self, path: &Path) -> io::Result<bool> {
        let mut made = false;
        let mut prefix = PathBuf::new();
        for component in path.components() {
            let (parent, name) = {
                prefix.push(component);
                self.parent(&prefix)?
            };
            match rustix::fs::mkdirat(
                parent_fd(&parent, &self.folder.dir),
                name,
                Mode::from_raw_mode(0o777),
            ) {
                Ok(()) => made = true,
                Err(Errno::EXIST) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(made)
    }

    /// Gives a file its final name in the same folder. What has that name already is never replaced:
    /// the error is then [`io::ErrorKind::AlreadyExists`].
    pub(super) fn rename_new(&self, from: &Path, to: &Path) -> io::Result<()> {
        let (parent, new) = self.parent(to)?;
        let old = from.file_name().ok_or(Errno::INVAL)?;
        let dir = parent_fd(&parent, &self.folder.dir);
        match platform::rename_exclusive(dir, old, new) {
            Err(Errno::INVAL | Errno::NOSYS | Errno::NOTSUP) => {}
            other => return Ok(other?),
        }
        // A hard link does not replace anything either.
        match rustix::fs::linkat(dir, old, dir, new, AtFlags::empty()) {
            Ok(()) => return Ok(rustix::fs::unlinkat(dir, old, AtFlags::empty())?),
            Err(Errno::PERM | Errno::NOTSUP | Errno::NOSYS | Errno::MLINK) => {}
            Err(error) => return Err(error.into()),
        }
        // Some file systems (FAT) can do neither: looking first is all that is left.
        match self.find(to)? {
            Some(_) => Err(Errno::EXIST.into()),
            None => Ok(rustix::fs::renameat(dir, old, dir, new)?),
        }
    }

    /// Has two things of the same name change places in one step, one here and one in `other`.
    pub(super) fn exchange(&self, name: &Path, other: &Self) -> io::Result<()> {
        match platform::exchange(&self.folder.dir, &other.folder.dir, name) {
            Err(Errno::INVAL | Errno::NOSYS | Errno::NOTSUP) => {}
            done => return Ok(done?),
        }
        // Not in one step: for a moment nothing has the name here, and what a crash leaves is in the
        // other folder.
        let aside = Path::new("before");
        rustix::fs::renameat(&self.folder.dir, name, &other.folder.dir, aside)?;
        rustix::fs::renameat(&other.folder.dir, name, &self.folder.dir, name)?;
        Ok(rustix::fs::renameat(&other.folder.dir, aside, &other.folder.dir, name)?)
    }

    /// Moves a file or link to a place in `other` where nothing is.
    pub(super) fn move_new(&self, from: &Path, other: &Self, to: &Path) -> io::Result<()> {
        let ((from_dir, old), (to_dir, new)) = (self.parent(from)?, other.parent(to)?);
        let (from_dir, to_dir) =
            (parent_fd(&from_dir, &self.folder.dir), parent_fd(&to_dir, &other.folder.dir));
        match platform::move_exclusive((from_dir, old), (to_dir, new)) {
            Err(Errno::INVAL | Errno::NOSYS | Errno::NOTSUP) => {}
            done => return Ok(done?),
        }
        match other.find(to)? {
            Some(_) => Err(Errno::EXIST.into()),
            None => Ok(rustix::fs::renameat(from_dir, old, to_dir, new)?),
        }
    }

    /// Makes a symbolic link where nothing is.
    pub(super) fn symlink(&self, target: &Path, path: &Path) -> io::Result<()> {
        let (parent, name) = self.parent(path)?;
        Ok(rustix::fs::symlinkat(target, parent_fd(&parent, &self.folder.dir), name)?)
    }

    /// Where a symbolic link points.
    pub(super) fn read_link(&self, path: &Path) -> io::Result<PathBuf> {
        use std::os::unix::ffi::OsStringExt;
        let (parent, name) = self.parent(path)?;
        let target =
            rustix::fs::readlinkat(parent_fd(&parent, &self.folder.dir), name, Vec::new())?;
        Ok(PathBuf::from(std::ffi::OsString::from_vec(target.into_bytes())))
    }

    /// Removes a file's name.
    pub(super) fn remove(&self, path: &Path) -> io::Result<()> {
        let (parent, name) = self.parent(path)?;
        Ok(rustix::fs::unlinkat(parent_fd(&parent, &self.folder.dir), name, AtFlags::empty())?)
    }

    /// Removes an empty folder.
    pub(super) fn remove_dir(&self, path: &Path) -> io::Result<()> {
        let (parent, name) = self.parent(path)?;
        Ok(rustix::fs::unlinkat(parent_fd(&parent, &self.folder.dir), name, AtFlags::REMOVEDIR)?)
    }

    /// The file system that it is on.
    pub(super) fn device(&self) -> u64 {
        self.folder.identity.0
    }

    /// Makes the names in a folder survive a power cut.
    pub(super) fn sync_dir(&self, path: &Path) -> io::Result<()> {
        if path.as_os_str().is_empty() {
            return Ok(rustix::fs::fsync(&self.folder.dir)?);
        }
        let dir = self.open_at(path, OFlags::RDONLY | OFlags::DIRECTORY, Mode::empty())?;
        Ok(rustix::fs::fsync(dir)?)
    }

    /// The device that [`Root::sync_all`] makes durable; `None` where the system has no such call, or
    /// one that does not report what it could not write.
    pub(super) fn sync_covers(&self) -> Option<u64> {
        platform::syncs_report_errors().then_some(self.folder.identity.0)
    }

    /// Makes the whole file system survive a power cut. Reports every write error since the folder
    /// was opened or this was called last, also of files that were closed meanwhile; and once what was
    /// reported to another torrent of the folder, since it may concern this one's files.
    pub(super) fn sync_all(&self) -> io::Result<()> {
        let Folder { dir, syncing, faults, .. } = &*self.folder;
        let _only_one = syncing.lock();
        let known = faults.load(Ordering::Acquire);
        if self.seen.swap(known, Ordering::AcqRel) != known {
            return Err(io::Error::other("an earlier sync of the same file system failed"));
        }
        platform::sync_file_system(dir).inspect_err(|_| {
            faults.store(known + 1, Ordering::Release);
            self.seen.store(known + 1, Ordering::Release);
        })
    }

    /// Why `needed` more bytes cannot be written.
    pub(super) fn lacks_room(&self, needed: u64) -> io::Result<Option<NoRoom>> {
        let stat = rustix::fs::fstatvfs(&self.folder.dir)?;
        let available = stat.f_bavail.saturating_mul(stat.f_frsize);
        let folder = self.path().to_owned();
        Ok((needed > available).then_some(NoRoom { folder, needed, available }))
    }

    /// The folder that holds `path`, `None` for the root itself, and the last name.
    fn parent<'a>(&self, path: &'a Path) -> io::Result<(Option<OwnedFd>, &'a std::ffi::OsStr)> {
        let name = path.file_name().ok_or(Errno::INVAL)?;
        let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
        let open = |parent| self.open_at(parent, platform::WALK, Mode::empty());
        Ok((parent.map(open).transpose()?, name))
    }

    fn open_at(&self, path: &Path, flags: OFlags, mode: Mode) -> io::Result<OwnedFd> {
        let flags = flags | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        match platform::open_beneath(&self.folder.dir, path, flags, mode) {
            Err(Errno::NOSYS | Errno::PERM) => Ok(self.open_by_steps(path, flags, mode)?),
            other => Ok(other?),
        }
    }

    /// For kernels and sandboxes without `openat2`.
    fn open_by_steps(&self, path: &Path, flags: OFlags, mode: Mode) -> Result<OwnedFd, Errno> {
        let mut at: Option<OwnedFd> = None;
        let mut components = path.components().peekable();
        while let Some(component) = components.next() {
            let Component::Normal(name) = component else { return Err(Errno::XDEV) };
            let dir = parent_fd(&at, &self.folder.dir);
            if components.peek().is_none() {
                return rustix::fs::openat(dir, name, flags, mode);
            }
            let walk = platform::WALK | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            at = Some(rustix::fs::openat(dir, name, walk, Mode::empty())?);
        }
        Err(Errno::INVAL)
    }
}

impl Folder {
    fn open(path: &Path) -> io::Result<Self> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let dir = rustix::fs::open(path, flags, Mode::empty())?;
        let stat = rustix::fs::fstat(&dir)?;
        Ok(Self {
            path: path.to_owned(),
            identity: (stat.st_dev, stat.st_ino),
            preallocates: platform::preallocates(&dir),
            in_memory: platform::is_in_memory(&dir),
            shares_room: super::clone::shares_room(&dir),
            dir,
            syncing: Mutex::default(),
            faults: AtomicU64::new(0),
        })
    }
}

/// The folders of all torrents: thousands may have the same one.
#[derive(Debug, Default)]
pub(super) struct Folders(Mutex<Known>);

#[derive(Debug, Default)]
struct Known {
    /// By the path that they were opened by.
    folders: HashMap<PathBuf, Weak<Folder>>,
    /// With so many entries, those that nobody has any more are taken out.
    clean_at: usize,
}

impl Folders {
    /// Opens a folder for a torrent: anew, unless it is the one that another has open by the same path.
    pub(super) fn open(&self, path: &Path) -> io::Result<Root> {
        let opened = Folder::open(path)?;
        let mut known = self.0.lock();
        let before = known.folders.get(path).and_then(Weak::upgrade);
        if let Some(same) = before.filter(|before| before.identity == opened.identity) {
            return Ok(Root::over(same));
        }
        if known.folders.len() >= known.clean_at {
            known.folders.retain(|_, folder| folder.strong_count() > 0);
            known.clean_at = 2 * known.folders.len() + CLEAN_MIN;
        }
        let opened = Arc::new(opened);
        known.folders.insert(path.to_owned(), Arc::downgrade(&opened));
        Ok(Root::over(opened))
    }
}

fn parent_fd<'a>(parent: &'a Option<OwnedFd>, root: &'a OwnedFd) -> std::os::fd::BorrowedFd<'a> {
    parent.as_ref().unwrap_or(root).as_fd()
}

fn identity_of(stat: &rustix::fs::Stat) -> FileIdentity {
    let nanos = |secs: i64, nanos: i64| secs.saturating_mul(1_000_000_000).saturating_add(nanos);
    FileIdentity {
        dev: stat.st_dev,
        ino: stat.st_ino,
        size: stat.st_size as u64,
        mtime_ns: nanos(stat.st_mtime, stat.st_mtime_nsec as i64),
        ctime_ns: nanos(stat.st_ctime, stat.st_ctime_nsec as i64),
    }
}

/// Fewer entries are not worth looking at.
const CLEAN_MIN: usize = 64;
/// Smaller files are written at once, so the system lays them out well by itself.
const PREALLOCATE_MIN: u64 = 4 << 20;

#[cfg(target_os = "linux")]
mod platform {
    use std::ffi::OsStr;
    use std::fs::File;
    use std::io;
    use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
    use std::path::Path;
    use std::sync::OnceLock;

    use rustix::fs::{FallocateFlags, Mode, OFlags, RenameFlags, ResolveFlags};
    use rustix::io::Errno;

    /// How a folder is opened on the way to what is in it.
    pub(super) const WALK: OFlags = OFlags::PATH.union(OFlags::DIRECTORY);

    pub(super) fn open_beneath(
        dir: impl AsFd,
        path: &Path,
        flags: OFlags,
        mode: Mode,
    ) -> Result<OwnedFd, Errno> {
        let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS;
        loop {
            match rustix::fs::openat2(&dir, path, flags, mode, resolve) {
                // The tree changed during the walk, or a signal came.
                Err(Errno::AGAIN | Errno::INTR) => {}
                other => return other,
            }
        }
    }

    pub(super) fn rename_exclusive(
        dir: BorrowedFd<'_>,
        old: &OsStr,
        new: &OsStr,
    ) -> Result<(), Errno> {
        rustix::fs::renameat_with(dir, old, dir, new, RenameFlags::NOREPLACE)
    }

    pub(super) fn exchange(one: impl AsFd, other: impl AsFd, name: &Path) -> Result<(), Errno> {
        rustix::fs::renameat_with(one, name, other, name, RenameFlags::EXCHANGE)
    }

    pub(super) fn move_exclusive(
        (from, old): (BorrowedFd<'_>, &OsStr),
        (to, new): (BorrowedFd<'_>, &OsStr),
    ) -> Result<(), Errno> {
        rustix::fs::renameat_with(from, old, to, new, RenameFlags::NOREPLACE)
    }

    pub(super) fn sync_file_system(dir: impl AsFd) -> io::Result<()> {
        Ok(rustix::fs::syncfs(dir)?)
    }

    /// Since Linux 5.8.
    pub(super) fn syncs_report_errors() -> bool {
        static KNOWN: OnceLock<bool> = OnceLock::new();
        *KNOWN.get_or_init(|| {
            let release = rustix::system::uname();
            let release = release.release().to_string_lossy().into_owned();
            let mut numbers = release.split(['.', '-']).map(|number| number.parse().unwrap_or(0));
            (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0)) >= (5_u32, 8_u32)
        })
    }

    /// Only where setting room aside helps: ext4 (and its elders) and XFS. Memory file systems would
    /// take the pages at once, and copy-on-write ones gain nothing.
    pub(super) fn preallocates(dir: impl AsFd) -> bool {
        const EXT: u64 = 0xef53;
        const XFS: u64 = 0x5846_5342;
        rustix::fs::fstatfs(dir).is_ok_and(|stat| matches!(stat.f_type as u64, EXT | XFS))
    }

    pub(super) fn is_in_memory(dir: impl AsFd) -> bool {
        const TMPFS: u64 = 0x0102_1994;
        const RAMFS: u64 = 0x8584_58f6;
        rustix::fs::fstatfs(dir).is_ok_and(|stat| matches!(stat.f_type as u64, TMPFS | RAMFS))
    }

    pub(super) fn preallocate(file: &File, len: u64) -> io::Result<()> {
        loop {
            match rustix::fs::fallocate(file, FallocateFlags::empty(), 0, len) {
                Err(Errno::INTR) => {}
                Ok(()) | Err(Errno::NOTSUP | Errno::NOSYS | Errno::INVAL) => return Ok(()),
                Err(error) => return Err(error.into()),
            }
        }
    }
}

#[cfg(not(target_os = "linux"))]
mod platform {
    use std::ffi::OsStr;
    use std::fs::File;
    use std::io;
    use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
    use std::path::Path;

    use rustix::fs::{Mode, OFlags};
    use rustix::io::Errno;

    pub(super) const WALK: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY);

    pub(super) fn open_beneath(
        _: impl AsFd,
        _: &Path,
        _: OFlags,
        _: Mode,
    ) -> Result<OwnedFd, Errno> {
        Err(Errno::NOSYS)
    }

    pub(super) fn rename_exclusive(_: BorrowedFd<'_>, _: &OsStr, _: &OsStr) -> Result<(), Errno> {
        Err(Errno::NOSYS)
    }

    pub(super) fn exchange(_: impl AsFd, _: impl AsFd, _: &Path) -> Result<(), Errno> {
        Err(Errno::NOSYS)
    }

    pub(super) fn move_exclusive(
        _: (BorrowedFd<'_>, &OsStr),
        _: (BorrowedFd<'_>, &OsStr),
    ) -> Result<(), Errno> {
        Err(Errno::NOSYS)
    }

    pub(super) fn sync_file_system(_: impl AsFd) -> io::Result<()> {
        Err(Errno::NOSYS.into())
    }

    pub(super) fn syncs_report_errors() -> bool {
        false
    }

    pub(super) fn preallocates(_: impl AsFd) -> bool {
        false
    }

    pub(super) fn is_in_memory(_: impl AsFd) -> bool {
        false
    }

    pub(super) fn preallocate(_: &File, _: u64) -> io::Result<()> {
        Ok(())
    }
}
