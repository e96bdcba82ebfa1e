//! Which torrents and clients the operator lets in, as lists in files.
//!
//! What is not let in hears no error: an announce is answered as if there was nobody else, and told to
//! come back late. Neither client nor spy learns which list it is on, and no client tries again at once.
//! Files are read at the start and whenever the operator says so. A file that cannot be read, or has a
//! line that means nothing, changes nothing.

mod rules;

use std::io;
use std::path::{Path, PathBuf};

use parking_lot::RwLock;
use proto::{InfoHash, InfoHashes, PeerId};

use crate::swarms::Swarms;
use rules::{Clients, Hashes, Line, Rules};

/// The files, each with one entry a line; `#` begins a comment.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ListFiles {
    /// Only these torrents: info hashes in hex.
    pub allow: Option<PathBuf>,
    /// None of these.
    pub deny: Option<PathBuf>,
    /// Only clients whose peer id begins with one of these.
    pub allow_clients: Option<PathBuf>,
    /// None of these.
    pub deny_clients: Option<PathBuf>,
}

/// A list cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ListError {
    /// The file cannot be read.
    #[error("read the list {}: {error}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The system's answer.
        error: io::Error,
    },
    /// A line of it means nothing.
    #[error("{}:{line}: {reason}", path.display())]
    Line {
        /// The file.
        path: PathBuf,
        /// Counted from 1.
        line: usize,
        /// What is wrong.
        reason: String,
    },
}

/// Entries of the lists in use.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ListSizes {
    /// Info hashes, allowed and denied.
    pub hashes: u64,
    /// Beginnings of peer ids, allowed and denied.
    pub clients: u64,
}

/// The lists in use.
#[derive(Debug, Default)]
pub struct Lists {
    files: ListFiles,
    /// There are files. Without any nothing is looked up, not even the lock touched.
    are_any: bool,
    rules: RwLock<Rules>,
}

impl Lists {
    /// Reads the lists. Blocks.
    ///
    /// # Errors
    /// When one of them cannot be used.
    pub fn open(files: ListFiles) -> Result<Self, ListError> {
        let rules = RwLock::new(files.read()?);
        let are_any = files != ListFiles::default();
        Ok(Self { files, are_any, rules })
    }

    /// Reads the lists again. Blocks.
    ///
    /// # Errors
    /// When one of them cannot be used; then all stay as they were.
    pub fn reload(&self) -> Result<ListSizes, ListError> {
        let rules = self.files.read()?;
        let sizes = rules.sizes();
        *self.rules.write() = rules;
        Ok(sizes)
    }

    /// How many entries are in use.
    #[must_use]
    pub fn sizes(&self) -> ListSizes {
        self.rules.read().sizes()
    }

    /// Whether a torrent is let in: neither of its hashes is denied, and one is allowed.
    #[must_use]
    pub fn admits(&self, hashes: &InfoHashes) -> bool {
        if !self.are_any() {
            return true;
        }
        let mut wire = hashes.wire();
        let Some(first) = wire.next() else { return true };
        self.rules.read().admits(&first, || wire.next())
    }

    /// Whether a file is let in that the catalogue knows by these hashes, or by none: what has no info
    /// hash cannot be on a list of those that are allowed.
    #[must_use]
    pub fn admits_named(&self, hashes: Option<&InfoHashes>) -> bool {
        hashes.map_or_else(|| self.files.allow.is_none(), |hashes| self.admits(hashes))
    }

    /// Whether the swarm of a hash is let in; a hybrid under either of its hashes.
    pub(crate) fn admits_hash(&self, swarms: &Swarms, hash: &InfoHash) -> bool {
        !self.are_any() || self.rules.read().admits(hash, || swarms.other_hash(hash))
    }

    /// Whether an announce is let in.
    pub(crate) fn admits_announce(
        &self,
        swarms: &Swarms,
        hash: &InfoHash,
        client: &PeerId,
    ) -> bool {
        !self.are_any() || {
            let rules = self.rules.read();
            rules.admits_client(client) && rules.admits(hash, || swarms.other_hash(hash))
        }
    }

    /// There are lists.
    #[must_use]
    pub const fn are_any(&self) -> bool {
        self.are_any
    }
}

impl ListFiles {
    fn read(&self) -> Result<Rules, ListError> {
        Ok(Rules {
            allow: read::<Hashes>(self.allow.as_deref())?,
            deny: read::<Hashes>(self.deny.as_deref())?,
            allow_clients: read::<Clients>(self.allow_clients.as_deref())?,
            deny_clients: read::<Clients>(self.deny_clients.as_deref())?,
        })
    }
}

fn read<L: rules::List>(path: Option<&Path>) -> Result<Option<L>, ListError> {
    let Some(path) = path else { return Ok(None) };
    let unread = |error| ListError::Read { path: path.to_owned(), error };
    let file = std::fs::File::open(path).map_err(unread)?;
    match rules::read(io::BufReader::new(file)) {
        Ok(list) => Ok(Some(list)),
        Err(Line::Unread(error)) => Err(unread(error)),
        Err(Line::Bad(line, reason)) => {
            Err(ListError::Line { path: path.to_owned(), line, reason })
        }
    }
}

#[cfg(test)]
mod tests {
    use proto::{InfoHashV1, InfoHashV2};
    use registry::{Caps, Intervals};

    use super::*;

    const CLIENT: PeerId = PeerId(*b"-TE0100-000000000000");

    fn hybrid() -> InfoHashes {
        InfoHashes::new(Some(InfoHashV1([1; 20])), Some(InfoHashV2([2; 32])))
            .expect("both are there")
    }

    fn lists(folder: &Path, allow: Option<&str>, deny: Option<&str>) -> Lists {
        let file = |name: &str, text: Option<&str>| {
            let path = folder.join(name);
            text.map(|text| std::fs::write(&path, text).expect("it is written")).map(|()| path)
        };
        let files = ListFiles {
            allow: file("allow", allow),
            deny: file("deny", deny),
            ..ListFiles::default()
        };
        Lists::open(files).expect("the lists are good")
    }

    #[test]
    fn a_hybrid_is_denied_under_both_hashes_and_allowed_by_either() {
        let folder = tempfile::TempDir::new().expect("a folder");
        let swarms = Swarms::new(Intervals::default(), Caps::default());
        swarms.register(&hybrid());
        let wire: Vec<InfoHash> = hybrid().wire().collect();
        let (v1, v2) = ("01".repeat(20), "02".repeat(32));
        for listed in [&v1, &v2, &v2[..40].to_owned()] {
            let denying = lists(folder.path(), None, Some(listed));
            let allowing = lists(folder.path(), Some(listed), None);
            assert!(!denying.admits(&hybrid()) && allowing.admits(&hybrid()), "{listed}");
            for hash in &wire {
                assert!(!denying.admits_announce(&swarms, hash, &CLIENT), "{listed}");
                assert!(allowing.admits_announce(&swarms, hash, &CLIENT), "{listed}");
            }
            assert!(denying.admits_hash(&swarms, &InfoHash([9; 20])));
            assert!(!allowing.admits_hash(&swarms, &InfoHash([9; 20])));
        }
        let both = lists(folder.path(), Some(&v1), Some(&v2));
        assert!(!both.admits(&hybrid()), "what is denied is denied");
    }

    #[test]
    fn a_bad_list_is_named_with_its_line_and_the_old_one_stays() {
        let folder = tempfile::TempDir::new().expect("a folder");
        let lists = lists(folder.path(), None, Some(&"01".repeat(20)));
        let path = folder.path().join("deny");
        std::fs::write(&path, format!("# two\n{}\nnonsense\n", "03".repeat(20)))
            .expect("it is written");
        let error = lists.reload().expect_err("it is bad").to_string();
        assert_eq!(error, format!("{}:3: an info hash has 40 or 64 hex digits", path.display()));
        assert!(!lists.admits(&hybrid()));
        std::fs::remove_file(&path).expect("it is there");
        assert!(matches!(lists.reload(), Err(ListError::Read { .. })));
        assert!(!lists.admits(&hybrid()));
        std::fs::write(&path, "").expect("it is written");
        assert_eq!(lists.reload().ok(), Some(ListSizes::default()));
        assert!(lists.admits(&hybrid()));
    }
}
