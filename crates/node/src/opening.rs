//! What is needed to open a torrent's files: kept from the add until the metadata is known.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use proto::choice::Choice;
use proto::metainfo::{Info, Metainfo};
use proto::{Bitfield, InfoHash};
use tokio::sync::mpsc;

use crate::api::Content;
use crate::disk::{OpenArgs, OpenError, Renames, Storage, StorageEvent};
use crate::node::Inner;
use crate::record::{SavedContent, SavedSource, TorrentRecord, Wishes};

/// How and where to open.
#[derive(Debug, Clone)]
pub(crate) struct Opening {
    /// By what it was added.
    key: InfoHash,
    pub(crate) content: Content,
    pub(crate) trackers: Vec<Vec<String>>,
    pub(crate) web_seeds: WebSeeds,
    /// Folders with copies of the content.
    pub(crate) adopt: Arc<[PathBuf]>,
    pub(crate) choice: Choice,
    /// A magnet link's suggestion.
    pub(crate) name: Option<String>,
    /// Names that a person gave to the content.
    pub(crate) renames: Renames,
    /// All that is there is to be read again.
    distrust: bool,
    events: Option<mpsc::UnboundedSender<StorageEvent>>,
    cancelled: Arc<AtomicBool>,
}

/// The URLs of web seeds (BEP 19) that do not stand in the torrent's metainfo.
#[derive(Debug, Clone, Default)]
pub(crate) struct WebSeeds {
    /// Those that the person names.
    pub(crate) named: Vec<String>,
    /// Those of a magnet link, which its torrent file gets.
    pub(crate) of_link: Vec<String>,
}

/// Open files.
#[derive(Debug)]
pub(crate) struct Opened {
    pub(crate) storage: Arc<Storage>,
    pub(crate) have: Bitfield,
    pub(crate) finished: bool,
}

impl Opening {
    pub(crate) fn new(
        key: InfoHash,
        content: Content,
        trackers: Vec<Vec<String>>,
        name: Option<String>,
    ) -> Self {
        let (web_seeds, choice) = (WebSeeds::default(), Choice::All);
        let (adopt, cancelled) = (Arc::default(), Arc::default());
        let (renames, distrust, events) = (Renames::default(), false, None);
        Self {
            key,
            content,
            trackers,
            web_seeds,
            adopt,
            choice,
            name,
            renames,
            distrust,
            events,
            cancelled,
        }
    }

    pub(crate) fn choosing(self, choice: Choice) -> Self {
        Self { choice, ..self }
    }

    pub(crate) fn with_copies_in(mut self, adopt: Vec<PathBuf>) -> Self {
        self.adopt = adopt.into();
        self
    }

    /// Takes what is in the named folders once the piece layers of a magnet link have come. Blocks.
    pub(crate) fn reuse(&self, storage: &Arc<Storage>) {
        if !self.adopt.is_empty() {
            storage.reuse_beside(&self.adopt, &self.cancelled);
        }
    }

    pub(crate) fn with_web_seeds(mut self, web_seeds: WebSeeds) -> Self {
        self.web_seeds = web_seeds;
        self
    }

    pub(crate) fn with_events(mut self, events: mpsc::UnboundedSender<StorageEvent>) -> Self {
        self.events = Some(events);
        self
    }

    /// Where the content is or will be.
    pub(crate) fn path(&self, info: &Info) -> PathBuf {
        match &self.content {
            Content::Fetch { folder } => folder.join(self.renames.top(info)),
            Content::Share { path, .. } => path.clone(),
        }
    }

    /// Where a person moved the content, and what they called it.
    pub(crate) fn left_so(mut self, wishes: &Wishes) -> Self {
        if let (Content::Fetch { folder }, Some(moved)) = (&mut self.content, &wishes.folder) {
            folder.clone_from(moved);
            self.renames.clone_from(&wishes.renames);
        }
        self
    }

    /// Nothing that is known of the files is believed: all that is there is read.
    pub(crate) fn distrusting(self) -> Self {
        Self { distrust: true, ..self }
    }

    /// The same once more, for another start.
    pub(crate) fn again(self) -> Self {
        Self { events: None, cancelled: Arc::default(), ..self }
    }

    /// Stops a check that is under way.
    pub(crate) fn cancel(&self) {
        self.cancelled.store(true, Ordering::Relaxed);
    }

    /// Opens and, where needed, checks the files; `wanted` says of each whether it is, if not all are.
    /// Blocks.
    pub(crate) fn open(
        &self,
        node: &Inner,
        metainfo: &Metainfo,
        wanted: Option<Vec<bool>>,
        checked: &AtomicU64,
    ) -> Result<Opened, OpenError> {
        self.save(node, metainfo);
        let events = self.events.clone().expect("set when the torrent's task was made");
        let args = OpenArgs {
            info: Arc::new(metainfo.info.clone()),
            layers: metainfo.layers.clone(),
            content: &self.content,
            adopt: &self.adopt,
            wanted,
            renames: &self.renames,
            distrust: self.distrust,
            events,
        };
        let progress = |bytes: u64| checked.store(bytes, Ordering::Relaxed);
        let opened = node.disk.open(args, &progress, &self.cancelled)?;
        let layers = opened.storage.layers();
        if layers != metainfo.layers {
            // Copies of the files told them.
            self.save(node, &Metainfo { layers, ..metainfo.clone() });
        }
        Ok(Opened { storage: opened.storage, have: opened.have, finished: opened.finished })
    }

    /// Remembers the torrent for the next start.
    pub(crate) fn save(&self, node: &Inner, metainfo: &Metainfo) {
        let content = match &self.content {
            Content::Fetch { folder } => SavedContent::Fetch(folder.clone()),
            Content::Share { path, .. } => SavedContent::Share(path.clone()),
        };
        let record = TorrentRecord {
            key: metainfo.info.hashes().primary(),
            source: SavedSource::Metainfo(metainfo.encode()),
            content,
            trackers: self.trackers.clone(),
            finished: false,
        };
        let saved = node.records.save(&record).and_then(|()| match record.key == self.key {
            true => Ok(()),
            // The next start finds what is wanted of it by either.
            false => node.records.save_alias(self.key, record.key),
        });
        if let Err(error) = saved {
            // The transfer itself needs no record; only a restart will have to check again.
            tracing::error!(%error, "cannot remember the torrent");
        }
    }
}
