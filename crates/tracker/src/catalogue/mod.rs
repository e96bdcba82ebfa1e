//! The catalogue: torrents by name, kept in SQLite.
//!
//! A name has versions, numbered from 1; the same content is one version however often it is
//! published. Whoever published a name first owns it: other content from its owner is the next version,
//! from anybody else it is refused. At most [`VERSIONS_PER_NAME_MAX`] versions are kept: the next one
//! takes the place of the oldest, whose peers may go on among themselves. Numbers are not given twice as
//! long as any version is left; a name that is taken back as a whole is free for anybody.
//!
//! Whole operations only (`publish`, `find`, `search`), so that another store can stand behind the same
//! calls. A publication is on the disk before it is acknowledged. Operations run on blocking threads,
//! a bounded number at once.
//!
//! [`VERSIONS_PER_NAME_MAX`]: crate::limits::VERSIONS_PER_NAME_MAX

mod about;
mod admitted;
mod chunks;
mod error;
mod files;
mod index;
mod name;
mod publish;
mod query;
mod recent;
mod schema;
mod store;
mod usage;

use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use proto::metainfo::Metainfo;
use proto::{InfoHash, InfoHashes};
use tokio::sync::Semaphore;

pub use about::{About, AboutError};
pub use chunks::ChunkHashes;
pub(crate) use chunks::V2_HEX_LEN;
pub use error::{CatalogueError, NameTaken};
pub use files::{NamedFile, PieceHashes};
pub use name::{Name, NameError};
pub(crate) use query::fitting;
pub use usage::{CatalogueLimits, Full};

use crate::access::{Caller, Owner, Scope};
use crate::latency::Latencies;
use crate::limits::{CATALOGUE_READERS, CATALOGUE_WRITERS, METAINFO_LEN_MAX};
use crate::lists::Lists;
use publish::Draft;
use query::Query;
use recent::Recent;
use store::Store;
pub(crate) use store::{DATABASE_FILE, open_database};

/// What is known of a version of a name without its torrent file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The name.
    pub name: String,
    /// Which version of it, from 1.
    pub version: u32,
    /// How many versions the name has.
    pub versions: u32,
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
    /// What its owner says about the name.
    pub description: String,
    /// Words that its owner files the name under, in lower case and in order.
    pub tags: Vec<String>,
    /// Who may publish the next version; nobody but an administrator if `None`.
    pub owner: Option<Owner>,
}

/// An entry and its torrent file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// The entry.
    pub entry: Entry,
    /// The torrent file as it was published.
    pub metainfo: Vec<u8>,
}

/// What a search found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hit {
    /// The latest version of the name.
    pub entry: Entry,
    /// Something that was looked for is only in the paths inside the torrent.
    pub in_paths: bool,
    /// The first such path; left out after a page of very long lists of paths.
    pub path: Option<String>,
}

/// What is to be published.
#[derive(Debug, Clone)]
pub struct Publication {
    /// The name.
    pub name: String,
    /// The torrent file.
    pub metainfo: Vec<u8>,
    /// What to say about it.
    pub about: About,
    /// Who does it.
    pub publisher: Publisher,
}

/// Who publishes, or takes back.
#[derive(Debug, Clone)]
pub struct Publisher {
    owner: Option<Owner>,
    is_admin: bool,
    /// The network that a stranger's names count for; empty for others.
    source: String,
    /// As it is written beside each version.
    by: String,
}

impl Publisher {
    /// A caller who came from this address.
    #[must_use]
    pub fn new(caller: &Caller, from: IpAddr) -> Self {
        let owner = caller.owner.clone();
        let by = owner.as_ref().map_or_else(|| from.to_string(), |owner| owner.as_str().to_owned());
        let source = usage::source(owner.as_ref(), from);
        Self { owner, is_admin: caller.scope >= Scope::Admin, source, by }
    }

    fn owns(&self, owner: Option<&Owner>) -> bool {
        self.is_admin || (owner.is_some() && owner == self.owner.as_ref())
    }
}

/// What came of a publication.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Published {
    /// The name is new.
    Created(Entry),
    /// The name has a new version.
    Updated(Entry),
    /// The name had this content already.
    Same(Entry),
}

impl Published {
    /// The entry of this content, as it stands.
    #[must_use]
    pub const fn entry(&self) -> &Entry {
        match self {
            Self::Created(entry) | Self::Updated(entry) | Self::Same(entry) => entry,
        }
    }
}

/// What was taken back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Withdrawn {
    /// The name.
    pub name: String,
    /// Which versions of it, in order.
    pub versions: Vec<u32>,
}

/// What the swarms have to know of a change.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Changes {
    /// The torrent that has a name now.
    pub added: Option<InfoHashes>,
    /// Torrents that no name leads to any more.
    pub gone: Vec<InfoHashes>,
}

/// How much there is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Stored {
    /// Names.
    pub names: u64,
    /// Versions of all names.
    pub versions: u64,
    /// Bytes of their torrent files and of the index, about.
    pub bytes: u64,
}

/// Which name, or which torrent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Which {
    /// The entry of that name: the latest version, or, with `@` and its number behind the name, another.
    Name(String),
    /// The first published entry that has this hash: v1, or v2 cut to 20 bytes.
    Hash(InfoHash),
}

/// Torrents by name. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Catalogue {
    store: Arc<Store>,
    /// Who waits for the disk to write holds up nobody who reads.
    readers: Arc<Semaphore>,
    writers: Arc<Semaphore>,
    recent: Arc<Recent>,
    latencies: Arc<Latencies>,
    /// What they do not let in is not there, for whoever asks.
    lists: Arc<Lists>,
}

impl Catalogue {
    /// Opens or makes the catalogue in a folder, which is made too. Blocks.
    ///
    /// # Errors
    /// When another tracker has the folder, or the database cannot be used.
    pub fn open(folder: &Path, limits: CatalogueLimits) -> Result<Self, CatalogueError> {
        let store = Arc::new(Store::open(folder, limits)?);
        let permits = |count| Arc::new(Semaphore::new(count));
        Ok(Self {
            store,
            readers: permits(CATALOGUE_READERS),
            writers: permits(CATALOGUE_WRITERS),
            recent: Arc::default(),
            latencies: Arc::default(),
            lists: Arc::default(),
        })
    }

    /// Notes there how long operations take.
    #[must_use]
    pub fn measured(mut self, latencies: Arc<Latencies>) -> Self {
        self.latencies = latencies;
        self
    }

    /// Takes and shows only what these lists let in.
    #[must_use]
    pub fn behind(mut self, lists: Arc<Lists>) -> Self {
        self.lists = lists;
        self
    }

    /// Gives a torrent file a name, or a name the next version. Durable when it returns. The same name
    /// with the same info hashes is fine any number of times; what was published first stays. `tell` is
    /// called before anything else can change, even if nobody waits for the answer any more.
    ///
    /// # Errors
    /// When a rule is broken, the name is somebody else's, there is no room, or the disk fails.
    pub async fn publish(
        &self,
        publication: Publication,
        tell: impl FnOnce(&Changes) + Send + 'static,
    ) -> Result<Published, CatalogueError> {
        let Publication { name, metainfo, about, publisher } = publication;
        let name = Name::new(&name)?;
        if metainfo.len() > METAINFO_LEN_MAX {
            return Err(CatalogueError::TooLong);
        }
        let (lists, recent) = (Arc::clone(&self.lists), Arc::clone(&self.recent));
        self.write(move |store| {
            let decoded = Metainfo::decode(&metainfo)?;
            let info = &decoded.info;
            if !lists.admits(&info.hashes()) {
                return Err(CatalogueError::NotAdmitted);
            }
            let entry = Entry {
                name: name.as_str().to_owned(),
                version: 0,
                versions: 0,
                hashes: info.hashes(),
                size: info.content_len(),
                files: info.files().len() as u64,
                piece_len: info.piece_len(),
                published: unix_now(),
                description: String::new(),
                tags: Vec::new(),
                owner: None,
            };
            let (paths, about, publisher) = (index::paths(info), &about, &publisher);
            drop(decoded);
            let draft = Draft { entry, metainfo: &metainfo, paths, about, publisher };
            store.publish(draft, |changes| {
                recent.forget();
                tell(changes);
            })
        })
        .await
    }

    /// Takes a name back with all its versions, or only one of them, `NAME@N`. `None` when there is no
    /// such. `tell` as for [`Catalogue::publish`].
    ///
    /// # Errors
    /// When it is not the publisher's, or the disk fails.
    pub async fn withdraw(
        &self,
        name: String,
        publisher: Publisher,
        tell: impl FnOnce(&Changes) + Send + 'static,
    ) -> Result<Option<Withdrawn>, CatalogueError> {
        let recent = Arc::clone(&self.recent);
        let tell = move |changes: &Changes| {
            recent.forget();
            tell(changes);
        };
        self.write(move |store| store.withdraw(&name, &publisher, tell)).await
    }

    /// The entry of a name or hash.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn find(&self, which: Which) -> Result<Option<Entry>, CatalogueError> {
        let found = self.read(move |store| store.find(&which)).await?;
        Ok(found.filter(|entry| self.lists.admits(&entry.hashes)))
    }

    /// The entry and torrent file of a name or hash.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn fetch(&self, which: Which) -> Result<Option<Found>, CatalogueError> {
        let found = self.read(move |store| store.fetch(&which)).await?;
        Ok(found.filter(|found| self.lists.admits(&found.entry.hashes)))
    }

    /// Every version of a name, the latest first.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn versions(&self, name: String) -> Result<Vec<Entry>, CatalogueError> {
        let mut entries = self.read(move |store| store.versions(&name)).await?;
        entries.retain(|entry| self.lists.admits(&entry.hashes));
        Ok(entries)
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
        let (hits, more) = self.ask(Query::names(pattern), after, limit).await?;
        Ok((hits.into_iter().map(|hit| hit.entry).collect(), more))
    }

    /// The same for whatever has all words of `text`, each anywhere in its name, description, tags, or
    /// the paths of its latest version. Words of one or two characters narrow nothing beside longer ones;
    /// alone they are looked for in names and tags. A text with `*` or `?` is a pattern for whole names.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn search(
        &self,
        text: &str,
        after: Option<String>,
        limit: usize,
    ) -> Result<(Vec<Hit>, bool), CatalogueError> {
        self.ask(Query::anywhere(text), after, limit).await
    }

    async fn ask(
        &self,
        query: Query,
        after: Option<String>,
        limit: usize,
    ) -> Result<(Vec<Hit>, bool), CatalogueError> {
        let lists = Arc::clone(&self.lists);
        let after = after.unwrap_or_default();
        self.read(move |store| admitted::search(store, &lists, &query, (after, limit))).await
    }

    /// How many names there are.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn count(&self) -> Result<u64, CatalogueError> {
        Ok(self.stored().await?.names)
    }

    /// How much there is of everything.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn stored(&self) -> Result<Stored, CatalogueError> {
        self.read(Store::stored).await
    }

    /// The info hashes of all versions, and how many downloads of each had ended. Blocks.
    ///
    /// # Errors
    /// When the database fails.
    pub fn registered(&self) -> Result<Vec<(InfoHashes, u32)>, CatalogueError> {
        self.store.registered()
    }

    /// Notes how many downloads have ended, by the first hash of each torrent.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn note_completed(&self, counts: Vec<(InfoHash, u32)>) -> Result<(), CatalogueError> {
        self.write(move |store| store.note_completed(&counts)).await
    }

    async fn read<T: Send + 'static>(
        &self,
        operation: impl FnOnce(&Store) -> Result<T, CatalogueError> + Send + 'static,
    ) -> Result<T, CatalogueError> {
        self.run(&self.readers, operation).await
    }

    async fn write<T: Send + 'static>(
        &self,
        operation: impl FnOnce(&Store) -> Result<T, CatalogueError> + Send + 'static,
    ) -> Result<T, CatalogueError> {
        self.run(&self.writers, operation).await
    }

    async fn run<T: Send + 'static>(
        &self,
        permits: &Arc<Semaphore>,
        operation: impl FnOnce(&Store) -> Result<T, CatalogueError> + Send + 'static,
    ) -> Result<T, CatalogueError> {
        let start = Instant::now();
        let permit = Arc::clone(permits).acquire_owned().await;
        let permit = permit.map_err(|_| CatalogueError::Closed)?;
        let store = Arc::clone(&self.store);
        let task = tokio::task::spawn_blocking(move || {
            let result = operation(&store);
            drop(permit);
            result
        });
        let ended = task.await;
        self.latencies.catalogue.since(start);
        match ended {
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
