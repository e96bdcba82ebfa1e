//! Files that are replaced whole: whatever happens, the old one or all of the new one is there.

use std::fs::{self, File};
use std::io::{self, BufWriter};
use std::path::Path;

/// Mode of a file that only its owner may read.
pub const OWNER: u32 = 0o600;
/// Mode of a file that everybody may read.
pub(crate) const EVERYBODY: u32 = 0o644;
/// Mode of a file of which the process's mask alone decides.
pub const BY_MASK: u32 = 0o666;

/// Writes a file, never readable by more than `mode` and the process's mask say. The old one, if there
/// is one, gives way when the new one is on the disk.
///
/// # Errors
/// Those of the system and of `fill`; then nothing has changed.
pub fn write_whole(
    path: &Path,
    mode: u32,
    fill: impl FnOnce(&mut BufWriter<File>) -> io::Result<()>,
) -> io::Result<()> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let draft = path.with_file_name(format!(".{name}.{}.tmp", std::process::id()));
    let written = (|| {
        let mut file = BufWriter::new(make(&draft, mode)?);
        fill(&mut file)?;
        file.into_inner().map_err(io::IntoInnerError::into_error)?.sync_all()?;
        fs::rename(&draft, path)?;
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
        File::open(folder.unwrap_or_else(|| Path::new(".")))?.sync_all()
    })();
    if written.is_err() {
        // It may never have been made.
        _ = fs::remove_file(&draft);
    }
    written
}

/// A new file: one that a dead process of the same number left may be readable by others.
fn make(draft: &Path, mode: u32) -> io::Result<File> {
    match fs::remove_file(draft) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut options = File::options();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, mode);
    #[cfg(not(unix))]
    let _ = mode;
    options.open(draft)
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    #[test]
    fn a_failure_leaves_the_old_file_and_no_draft() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        write_whole(&path, BY_MASK, |file| file.write_all(b"old")).unwrap();
        let failed = write_whole(&path, BY_MASK, |file| {
            file.write_all(b"new")?;
            Err(io::Error::other("no more"))
        });
        assert_eq!(failed.unwrap_err().to_string(), "no more");
        assert_eq!(fs::read(&path).unwrap(), b"old");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[cfg(unix)]
    #[test]
    fn a_draft_that_was_left_open_to_all_does_not_stay_so() {
        use std::os::unix::fs::PermissionsExt as _;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key");
        let draft = folder.path().join(format!(".key.{}.tmp", std::process::id()));
        fs::write(&draft, "left").unwrap();
        fs::set_permissions(&draft, fs::Permissions::from_mode(0o666)).unwrap();
        write_whole(&path, OWNER, |file| file.write_all(b"secret")).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::read(&path).unwrap(), b"secret");
    }
}
