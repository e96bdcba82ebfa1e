//! The catalogue: torrents by name, kept in SQLite.
//!
//! Whole operations only (`publish`, `find`, `list`), so that another store can stand behind the same
//! calls. A publication is on the disk before it is acknowledged. Operations run on blocking threads,
//! a bounded number at once.

mod files;
mod name;
mod schema;
mod store;

use std::path::Path;
use std::sync::Arc;

use proto::metainfo::{Metainfo, MetainfoError};
use proto::{InfoHash, InfoHashes};
use tokio::sync::Semaphore;

pub use files::{NamedFile, PieceHashes};
pub use name::{Name, NameError};

use crate::limits::{CATALOGUE_OPERATIONS_MAX, ENTRIES_MAX, METAINFO_LEN_MAX};
use store::Store;
pub(crate) use store::open_database;

/// What is known of a name without its torrent file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The name.
    pub name: String,
    /// The torrent's info hashes.
    pub hashes: InfoHashes,
    /// Bytes of all files together.
    pub size: u64,
    /// How many files.
    pub files: u64,
    /// Bytes in a piece.
    pub piece_len: u32,
    /// When it was published first, in seconds since 1970.
    pub published: i64,
}

/// An entry and its torrent file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// The entry.
    pub entry: Entry,
    /// The torrent file as it was published.
    pub metainfo: Vec<u8>,
}

/// What came of a publication.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Published {
    /// The name is new.
    Created(Entry),
    /// The name had this content already.
    Same(Entry),
}

impl Published {
    /// The entry as it stands.
    #[must_use]
    pub const fn entry(&self) -> &Entry {
        match self {
            Self::Created(entry) | Self::Same(entry) => entry,
        }
    }
}

/// Which name, or which torrent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Which {
    /// The entry of that name.
    Name(String),
    /// The first published entry that has this hash: v1, or v2 cut to 20 bytes.
    Hash(InfoHash),
}

/// The catalogue refuses, or cannot.
#[derive(Debug, thiserror::Error)]
pub enum CatalogueError {
    /// The name breaks a rule.
    #[error(transparent)]
    Name(#[from] NameError),
    /// The torrent file is not valid.
    #[error("not a valid torrent file: {0}")]
    Metainfo(#[from] MetainfoError),
    /// The torrent file is too long.
    #[error("the torrent file is longer than {} MiB", METAINFO_LEN_MAX >> 20)]
    TooLong,
    /// The name has other content.
    #[error(transparent)]
    NameTaken(Box<NameTaken>),
    /// There are as many entries as there may be.
    #[error("the catalogue is full: it has {ENTRIES_MAX} names")]
    Full,
    /// Another process has the data folder.
    #[error("{0} is in use by another tracker; give this one its own --data folder")]
    Locked(String),
    /// The file is something else, or newer than this program.
    #[error("{path}: {reason}")]
    Unusable {
        /// The database.
        path: String,
        /// Why, and what to do.
        reason: String,
    },
    /// The database or its disk fails.
    #[error("catalogue: {0}")]
    Database(#[from] rusqlite::Error),
    /// The file system fails.
    #[error("{what}: {source}")]
    Disk {
        /// What was tried, on what.
        what: String,
        /// The system's answer.
        source: std::io::Error,
    },
    /// The tracker is stopping.
    #[error("the tracker is stopping")]
    Closed,
}

impl CatalogueError {
    /// The database's disk is full.
    #[must_use]
    pub fn is_disk_full(&self) -> bool {
        let Self::Database(error) = self else { return false };
        error.sqlite_error_code() == Some(rusqlite::ErrorCode::DiskFull)
    }
}

/// A name has other content than the one offered.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "the name \"{name}\" has other content already: {}; this is {}; choose another name",
    shown(existing),
    shown(offered)
)]
pub struct NameTaken {
    /// The name.
    pub name: String,
    /// What has the name.
    pub existing: InfoHashes,
    /// What should have got it.
    pub offered: InfoHashes,
}

/// The hashes in words.
fn shown(hashes: &InfoHashes) -> String {
    let v1 = hashes.v1().map(|hash| format!("v1 info hash {hash}"));
    let v2 = hashes.v2().map(|hash| format!("v2 info hash {hash}"));
    v1.into_iter().chain(v2).collect::<Vec<_>>().join(" and ")
}

/// Torrents by name. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Catalogue {
    store: Arc<Store>,
    permits: Arc<Semaphore>,
}

impl Catalogue {
    /// Opens or makes the catalogue in a folder, which is made too. Blocks.
    ///
    /// # Errors
    /// When another tracker has the folder, or the database cannot be used.
    pub fn open(folder: &Path) -> Result<Self, CatalogueError> {
        let store = Arc::new(Store::open(folder)?);
        Ok(Self { store, permits: Arc::new(Semaphore::new(CATALOGUE_OPERATIONS_MAX)) })
    }

    /// Gives a torrent file a name. Durable when it returns. The same name with the same info hashes
    /// is fine any number of times; what was published first stays.
    ///
    /// # Errors
    /// When a rule is broken, the name has other content, or the disk fails.
    pub async fn publish(
        &self,
        name: &str,
        metainfo: Vec<u8>,
        by: &str,
    ) -> Result<Published, CatalogueError> {
        let name = Name::new(name)?;
        if metainfo.len() > METAINFO_LEN_MAX {
            return Err(CatalogueError::TooLong);
        }
        let by = by.to_owned();
        self.run(move |store| {
            let decoded = Metainfo::decode(&metainfo)?;
            let info = &decoded.info;
            let entry = Entry {
                name: name.as_str().to_owned(),
                hashes: info.hashes(),
                size: info.content_len(),
                files: info.files().len() as u64,
                piece_len: info.piece_len(),
                published: unix_now(),
            };
            store.publish(entry, &metainfo, &by)
        })
        .await
    }

    /// The entry of a name or hash.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn find(&self, which: Which) -> Result<Option<Entry>, CatalogueError> {
        self.run(move |store| store.find(&which)).await
    }

    /// The entry and torrent file of a name or hash.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn fetch(&self, which: Which) -> Result<Option<Found>, CatalogueError> {
        self.run(move |store| store.fetch(&which)).await
    }

    /// Up to `limit` entries whose name fits `pattern`, in the order of the names' bytes, from the
    /// first one behind `after`. A pattern with `*` or `?` fits whole names, any other one parts of
    /// them; case does not matter. True means that there are more.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn list(
        &self,
        pattern: &str,
        after: Option<String>,
        limit: usize,
    ) -> Result<(Vec<Entry>, bool), CatalogueError> {
        let pattern = name::Pattern::new(pattern);
        self.run(move |store| store.list(&pattern, after.as_deref().unwrap_or(""), limit)).await
    }

    /// How many names there are.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn count(&self) -> Result<u64, CatalogueError> {
        self.run(Store::count).await
    }

    /// The info hashes of all entries. Blocks.
    ///
    /// # Errors
    /// When the database fails.
    pub fn all_hashes(&self) -> Result<Vec<InfoHashes>, CatalogueError> {
        self.store.all_hashes()
    }

    async fn run<T: Send + 'static>(
        &self,
        operation: impl FnOnce(&Store) -> Result<T, CatalogueError> + Send + 'static,
    ) -> Result<T, CatalogueError> {
        let permit = Arc::clone(&self.permits).acquire_owned().await;
        let permit = permit.map_err(|_| CatalogueError::Closed)?;
        let store = Arc::clone(&self.store);
        let task = tokio::task::spawn_blocking(move || {
            let result = operation(&store);
            drop(permit);
            result
        });
        match task.await {
            Ok(result) => result,
            Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
            Err(_) => Err(CatalogueError::Closed),
        }
    }
}

fn unix_now() -> i64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    since.map_or(0, |since| i64::try_from(since.as_secs()).unwrap_or(i64::MAX))
}

#[cfg(test)]
mod tests;
