//! Room that two files share: on copy-on-write file systems a copy needs none of its own.

use std::fs::File;

use proto::Span;

/// Gives `to` the bytes that `from` has at the same place; false when they cannot share them. What is
/// there afterwards must be compared: somebody else may write to `from` at any time.
pub(super) fn share_room(from: &File, to: &File, span: Span) -> bool {
    let (mut read, mut written) = (span.file_offset, span.file_offset);
    let end = span.file_offset + u64::from(span.len);
    while written < end {
        let left = (end - written) as usize;
        match platform::copy(from, &mut read, to, &mut written, left) {
            Ok(0) => return false,
            Ok(_) => {}
            Err(rustix::io::Errno::INTR) => {}
            Err(_) => return false,
        }
    }
    true
}

pub(super) use platform::shares_room;

#[cfg(target_os = "linux")]
mod platform {
    use std::fs::File;
    use std::os::fd::AsFd;

    use rustix::io::Errno;

    /// The file system of this folder lets files share room: Btrfs, XFS and bcachefs do.
    pub(in super::super) fn shares_room(dir: impl AsFd) -> bool {
        const BTRFS: u64 = 0x9123_683e;
        const XFS: u64 = 0x5846_5342;
        const BCACHEFS: u64 = 0xca45_1a4e;
        rustix::fs::fstatfs(dir)
            .is_ok_and(|stat| matches!(stat.f_type as u64, BTRFS | XFS | BCACHEFS))
    }

    pub(super) fn copy(
        from: &File,
        read: &mut u64,
        to: &File,
        written: &mut u64,
        len: usize,
    ) -> Result<usize, Errno> {
        rustix::fs::copy_file_range(from, Some(read), to, Some(written), len)
    }
}

#[cfg(not(target_os = "linux"))]
mod platform {
    use std::fs::File;
    use std::os::fd::AsFd;

    use rustix::io::Errno;

    pub(in super::super) fn shares_room(_: impl AsFd) -> bool {
        false
    }

    pub(super) fn copy(
        _: &File,
        _: &mut u64,
        _: &File,
        _: &mut u64,
        _: usize,
    ) -> Result<usize, Errno> {
        Err(Errno::NOSYS)
    }
}

#[cfg(test)]
mod tests {
    use proto::FileIndex;

    use super::*;

    #[test]
    fn a_span_is_copied_to_its_own_place_and_no_further() {
        let folder = tempfile::tempdir().unwrap();
        let (from, to) = (folder.path().join("from"), folder.path().join("to"));
        std::fs::write(&from, [7; 100]).unwrap();
        std::fs::write(&to, [1; 100]).unwrap();
        let open = |path| File::options().read(true).write(true).open(path).unwrap();
        let span = Span { file: FileIndex(0), file_offset: 10, begin: 0, len: 20 };
        assert!(share_room(&open(&from), &open(&to), span));
        let copied = std::fs::read(&to).unwrap();
        let expected: Vec<u8> = [vec![1; 10], vec![7; 20], vec![1; 70]].concat();
        assert_eq!(copied, expected);
        let beyond = Span { file: FileIndex(0), file_offset: 90, begin: 0, len: 20 };
        assert!(!share_room(&open(&from), &open(&to), beyond), "the file ends before");
    }
}
