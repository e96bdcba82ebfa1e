//! A copy of all that a tracker must not lose, made while it runs.
//!
//! The copy is a data folder like the one that it was made of: to go back to it, start a tracker on it.
//! It is made beside its place and checked before it gets its name, so a copy that is there is whole.

use std::fs::{self, DirBuilder, File};
use std::io;
use std::path::{Path, PathBuf};

use rusqlite::backup::{Backup, StepResult};
use rusqlite::{Connection, OpenFlags};

use crate::catalogue::DATABASE_FILE;
use crate::limits::{BACKUP_BUSY_PAUSE, BACKUP_BUSY_TRIES};
use crate::tls::OWN_FILES;

/// The copy could not be made. What was begun of it is gone again.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// No tracker keeps its state there.
    #[error("{} has no tracker's state in it", .0.display())]
    NoState(PathBuf),
    /// Something has that name already.
    #[error("{} is there already; a backup replaces nothing", .0.display())]
    Exists(PathBuf),
    /// The copy is no good.
    #[error("the copy failed its check: {0}")]
    Check(String),
    /// Somebody holds the database for long.
    #[error("the database is busy")]
    Busy,
    /// The database fails.
    #[error("copy the database: {0}")]
    Database(#[from] rusqlite::Error),
    /// The file system fails.
    #[error("{what}: {error}")]
    Disk {
        /// What was tried, on what.
        what: String,
        /// The system's answer.
        error: io::Error,
    },
}

/// Copies the database of a tracker's data folder, its self-signed certificate, and the files called
/// `also` if they are there, to a new folder. Blocks; the tracker goes on meanwhile. Returns the bytes of
/// all files.
///
/// # Errors
/// When the new folder is there already, or the copy cannot be made.
pub fn backup(folder: &Path, to: &Path, also: &[&str]) -> Result<u64, BackupError> {
    if !folder.join(DATABASE_FILE).is_file() {
        return Err(BackupError::NoState(folder.to_owned()));
    }
    if fs::symlink_metadata(to).is_ok() {
        return Err(BackupError::Exists(to.to_owned()));
    }
    let Some(name) = to.file_name() else { return Err(BackupError::Exists(to.to_owned())) };
    let name = format!(".{}.{}.tmp", name.to_string_lossy(), std::process::id());
    let draft = to.with_file_name(name);
    let written = write(folder, &draft, also).and_then(|bytes| {
        // Whatever has come there meanwhile stays, but for an empty folder.
        fs::rename(&draft, to).map_err(disk("name the copy", to))?;
        let parent = to.parent().filter(|parent| !parent.as_os_str().is_empty());
        sync(parent.unwrap_or_else(|| Path::new(".")))?;
        Ok(bytes)
    });
    if written.is_err() {
        // It may never have been made.
        _ = fs::remove_dir_all(&draft);
    }
    written
}

fn write(folder: &Path, draft: &Path, also: &[&str]) -> Result<u64, BackupError> {
    let mut builder = DirBuilder::new();
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(draft).map_err(disk("make", draft))?;
    let database = draft.join(DATABASE_FILE);
    copy_database(&folder.join(DATABASE_FILE), &database)?;
    sync(&database)?;
    let mut bytes = fs::metadata(&database).map_err(disk("look at", &database))?.len();
    for name in OWN_FILES.iter().chain(also) {
        let (from, to) = (folder.join(name), draft.join(name));
        match fs::copy(&from, &to) {
            Ok(len) => bytes += len,
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => return Err(disk("copy", &from)(error)),
        }
        sync(&to)?;
    }
    sync(draft)?;
    Ok(bytes)
}

/// One read of the database from end to end: writers go on beside it and are not in it.
fn copy_database(from: &Path, to: &Path) -> Result<(), BackupError> {
    let source = Connection::open_with_flags(from, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
    let mut copy = Connection::open(to)?;
    let mut tries = 0;
    let backup = Backup::new(&source, &mut copy)?;
    while backup.step(ALL_PAGES)? != StepResult::Done {
        tries += 1;
        if tries > BACKUP_BUSY_TRIES {
            return Err(BackupError::Busy);
        }
        std::thread::sleep(BACKUP_BUSY_PAUSE);
    }
    drop(backup);
    let verdict: String = copy.query_row("PRAGMA integrity_check(1)", [], |row| row.get(0))?;
    if verdict != "ok" {
        return Err(BackupError::Check(verdict));
    }
    copy.close().map_err(|(_, error)| error.into())
}

fn sync(path: &Path) -> Result<(), BackupError> {
    File::open(path).and_then(|file| file.sync_all()).map_err(disk("sync", path))
}

fn disk(what: &str, path: &Path) -> impl FnOnce(io::Error) -> BackupError {
    let what = format!("{what} {}", path.display());
    move |error| BackupError::Disk { what, error }
}

/// In one step, so that what is written meanwhile does not make the copy begin anew.
const ALL_PAGES: i32 = -1;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::access::{NewToken, Scope, TokenStore};

    fn add_token(store: &TokenStore, name: &str) {
        let (name, note) = (name.to_owned(), String::new());
        let new = NewToken { name, note, scope: Scope::Read, life_secs: None };
        store.create(&new, 1).expect("it is made");
    }

    fn names(folder: &Path) -> Vec<String> {
        let store = TokenStore::open(folder).expect("it opens");
        store.list().expect("they are read").into_iter().map(|token| token.name).collect()
    }

    #[test]
    fn a_copy_is_a_data_folder_and_replaces_nothing() {
        let place = tempfile::TempDir::new().expect("a folder");
        let (folder, to) = (place.path().join("state"), place.path().join("copy"));
        assert!(matches!(backup(&folder, &to, &[]), Err(BackupError::NoState(_))));
        fs::create_dir(&folder).expect("it is made");
        let store = TokenStore::open(&folder).expect("it opens");
        add_token(&store, "anna");
        fs::write(folder.join("own-name"), "nas").expect("it is written");
        let bytes = backup(&folder, &to, &["own-name", "not-there"]).expect("it is made");
        add_token(&store, "berta");
        assert_eq!((names(&folder).len(), names(&to)), (2, vec!["anna".to_owned()]));
        assert_eq!(fs::read_to_string(to.join("own-name")).ok().as_deref(), Some("nas"));
        assert!(bytes > 3);
        assert!(matches!(backup(&folder, &to, &[]), Err(BackupError::Exists(_))));
        assert_eq!(names(&to), ["anna"]);
        #[cfg(unix)]
        {
            let mode =
                std::os::unix::fs::MetadataExt::mode(&fs::metadata(&to).expect("it is there"));
            assert_eq!(mode & 0o777, 0o700, "there are secrets in it");
        }
    }

    #[test]
    fn a_failed_copy_leaves_nothing_behind() {
        let place = tempfile::TempDir::new().expect("a folder");
        fs::write(place.path().join(DATABASE_FILE), vec![7; 9_000]).expect("it is written");
        let to = place.path().join("copy");
        backup(place.path(), &to, &[]).expect_err("that is no database");
        assert_eq!(fs::read_dir(place.path()).expect("a folder").count(), 1);
    }
}
