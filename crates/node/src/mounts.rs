//! On which file system a path is, without asking that file system: it may not answer.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt as _;
use std::path::{Path, PathBuf};

/// Where the file system of `path` is mounted; the path itself where the system does not say. Links on the way are
/// not followed. Does not block.
pub(crate) fn mount_of(path: &Path) -> PathBuf {
    let mounts = std::fs::read("/proc/self/mountinfo").unwrap_or_default();
    let path = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    innermost(&mounts, &path).unwrap_or(path)
}

/// Of the mount points in a table of proc_pid_mountinfo(5) the one that is nearest to `path`.
fn innermost(mounts: &[u8], path: &Path) -> Option<PathBuf> {
    let lines = mounts.split(|byte| *byte == b'\n');
    let points = lines.filter_map(|line| line.split(|byte| *byte == b' ').nth(MOUNT_POINT));
    let around = points.map(unescaped).filter(|point| path.starts_with(point));
    around.max_by_key(|point| point.as_os_str().len())
}

/// The table writes what would part its fields as a backslash and three octal digits.
fn unescaped(field: &[u8]) -> PathBuf {
    let mut name = Vec::with_capacity(field.len());
    let mut rest = field;
    while let [first, more @ ..] = rest {
        let digits = more.get(..3).and_then(|digits| std::str::from_utf8(digits).ok());
        let byte = digits.and_then(|digits| u8::from_str_radix(digits, 8).ok());
        match (first, byte) {
            (b'\\', Some(byte)) => {
                name.push(byte);
                rest = &more[3..];
            }
            _ => {
                name.push(*first);
                rest = more;
            }
        }
    }
    PathBuf::from(OsString::from_vec(name))
}

/// Which field of a line.
const MOUNT_POINT: usize = 4;

#[cfg(test)]
mod tests {
    use std::ffi::OsStr;

    use super::*;

    const TABLE: &[u8] = b"22 1 8:1 / / rw - ext4 /dev/sda1 rw\n\
        30 22 0:5 / /mnt/a\\040disk rw shared:1 - nfs server:/ rw\n\
        31 30 0:6 / /mnt/a\\040disk/stick rw - vfat /dev/sdb rw\n\nbroken\n";

    #[test]
    fn innermost_mount_point_is_found_by_whole_names() {
        let find = |path: &str| innermost(TABLE, Path::new(path)).unwrap();
        assert_eq!(find("/home/me"), Path::new("/"));
        assert_eq!(find("/mnt/a disk/films/x"), Path::new("/mnt/a disk"));
        assert_eq!(find("/mnt/a disk/stick"), Path::new("/mnt/a disk/stick"));
        assert_eq!(find("/mnt/a diskette"), Path::new("/"));
        assert_eq!(innermost(b"", Path::new("/x")), None);
    }

    #[test]
    fn names_of_bytes_are_kept() {
        assert_eq!(unescaped(b"/\\134x\\9\\").as_os_str(), OsStr::new("/\\x\\9\\"));
    }

    #[test]
    fn this_machine_has_a_root() {
        assert!(mount_of(Path::new("relative")).is_absolute());
    }
}
