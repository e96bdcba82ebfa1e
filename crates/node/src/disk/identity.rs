//! Which file it was: what tells that a file is still the one that was hashed.

use std::os::unix::fs::MetadataExt;

/// Device, inode, size and times of a file at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FileIdentity {
    /// The device.
    pub dev: u64,
    /// The inode.
    pub ino: u64,
    /// Length in bytes.
    pub size: u64,
    /// When the content changed last, in nanoseconds since 1970.
    pub mtime_ns: i64,
    /// When anything about the file changed last; nobody can set this one back.
    pub ctime_ns: i64,
}

impl FileIdentity {
    /// The identity in a file's metadata. Take it before the file is hashed and again after: only if
    /// both are equal does the hash belong to it.
    #[must_use]
    pub fn of(metadata: &std::fs::Metadata) -> Self {
        Self {
            dev: metadata.dev(),
            ino: metadata.ino(),
            size: metadata.size(),
            mtime_ns: nanoseconds(metadata.mtime(), metadata.mtime_nsec()),
            ctime_ns: nanoseconds(metadata.ctime(), metadata.ctime_nsec()),
        }
    }

    /// The same inode of the same device, whatever was done to it.
    #[must_use]
    pub const fn same_file(&self, other: &Self) -> bool {
        self.dev == other.dev && self.ino == other.ino
    }

    /// The same file, with what it had: a rename changes only the last of its times.
    #[must_use]
    pub(crate) const fn same_content(&self, other: &Self) -> bool {
        self.ino == other.ino && self.size == other.size && self.mtime_ns == other.mtime_ns
    }

    /// A record of an earlier run means this file. The device's number is left out: it may differ
    /// from boot to boot. Times count only when nobody wrote after they were recorded.
    #[must_use]
    pub(crate) const fn recorded_as(&self, record: &Self, times_count: bool) -> bool {
        let times = self.mtime_ns == record.mtime_ns && self.ctime_ns == record.ctime_ns;
        self.ino == record.ino && self.size == record.size && (times || !times_count)
    }
}

fn nanoseconds(secs: i64, nanos: i64) -> i64 {
    secs.saturating_mul(1_000_000_000).saturating_add(nanos)
}
