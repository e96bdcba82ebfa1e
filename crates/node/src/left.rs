//! What earlier runs left: what people want of torrents, moves and removals that were not ended.
//!
//! All of it is read once, when the node starts: thousands of torrents that are added ask nobody.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use parking_lot::Mutex;
use proto::InfoHash;

use crate::api::{NodeError, Totals};
use crate::disk::relocate::{self, Place};
use crate::ledger::Ledger;
use crate::node::{Inner, Node};
use crate::orders::{Data, Force, OrderError, Rest};
use crate::record::{RecordError, Records, SavedContent, Wishes};

/// What was left.
#[derive(Debug, Default)]
pub(crate) struct Left {
    /// Other hashes by which torrents were added, and those that the record knows them by.
    aliases: BTreeMap<InfoHash, InfoHash>,
    wishes: Mutex<BTreeMap<InfoHash, Wishes>>,
    /// Whose content was being moved.
    moves: BTreeSet<InfoHash>,
    /// Whose content was all there.
    finished: BTreeSet<InfoHash>,
}

/// What an earlier run left of a torrent, for who decides what becomes of it.
#[derive(Debug, Clone, Default)]
pub struct LeftOf {
    /// It rests, and why.
    pub rest: Option<Rest>,
    /// It runs in any case.
    pub force: Force,
    /// Its place in a queue, if it was given one.
    pub place: Option<i64>,
    /// What it received and sent, and how long it was seeded.
    pub totals: Totals,
    /// All that was wanted was there.
    pub finished: bool,
}

impl Left {
    /// Reads it, and the totals. Blocks.
    pub(crate) fn load(records: &Arc<Records>) -> Result<(Self, Arc<Ledger>), NodeError> {
        let aliases = records.unite()?;
        let wishes = Mutex::new(records.load_wishes()?);
        let moves = records.moves()?.into_iter().collect();
        let finished = records.finished()?.into_iter().collect();
        Ok((Self { aliases, wishes, moves, finished }, Ledger::open(records.clone())?))
    }

    /// By what the record knows a torrent that is added with that hash.
    pub(crate) fn known_as(&self, key: InfoHash) -> InfoHash {
        self.aliases.get(&key).copied().unwrap_or(key)
    }

    pub(crate) fn wishes(&self, key: InfoHash) -> Wishes {
        self.wishes.lock().get(&key).cloned().unwrap_or_default()
    }
}

impl Inner {
    /// A move of the torrent's content was not ended.
    pub(crate) fn is_left(&self, key: InfoHash) -> bool {
        self.left.moves.contains(&key)
    }

    pub(crate) fn revise_wishes(&self, key: InfoHash, change: impl FnOnce(&mut Wishes)) {
        change(self.left.wishes.lock().entry(key).or_default());
    }

    /// Blocks.
    pub(crate) fn save_rest(
        &self,
        key: InfoHash,
        rest: Option<Rest>,
        force: Force,
    ) -> Result<(), RecordError> {
        let forced = force == Force::Yes;
        self.revise_wishes(key, |wishes| (wishes.rest, wishes.forced) = (rest, forced));
        self.records.save_rest(key, rest, forced)?;
        if rest.is_some() {
            // Why it rests must be known as long as that it does.
            self.ledger.write();
        }
        Ok(())
    }

    pub(crate) fn forget_wishes(&self, key: InfoHash) {
        self.left.wishes.lock().remove(&key);
    }
}

impl Node {
    /// By what the record knows a torrent that is added with that hash: a magnet link may not have the one
    /// that counts. It stays the same within a run.
    #[must_use]
    pub fn known_as(&self, key: InfoHash) -> InfoHash {
        self.inner().left.known_as(key)
    }

    /// What an earlier run left of a torrent.
    #[must_use]
    pub fn left_of(&self, key: InfoHash) -> LeftOf {
        let (inner, key) = (self.inner(), self.known_as(key));
        let Wishes { rest, forced, place, .. } = inner.left.wishes(key);
        LeftOf {
            rest,
            force: if forced { Force::Yes } else { Force::No },
            place,
            totals: inner.ledger.account(key).totals(),
            finished: inner.left.finished.contains(&key),
        }
    }

    /// Gives torrents places in a queue, for the next run to find.
    pub async fn save_places(&self, mut places: Vec<(InfoHash, i64)>) -> Result<(), OrderError> {
        let inner = self.inner().clone();
        let save = move || {
            for (key, place) in &mut places {
                *key = inner.left.known_as(*key);
                inner.revise_wishes(*key, |wishes| wishes.place = Some(*place));
            }
            inner.records.save_places(places)
        };
        Ok(tokio::task::spawn_blocking(save).await.map_err(|_| OrderError::Ended)??)
    }

    /// The torrent is to be removed: should this run end before [`Torrent::remove`](crate::Torrent::remove)
    /// has done it, the next one does ([`Node::finish_removals`]).
    pub async fn condemn(&self, key: InfoHash, data: Data) -> Result<(), OrderError> {
        let (records, key) = (self.records(), self.known_as(key));
        let condemn = move || records.condemn(key, data == Data::Delete);
        Ok(tokio::task::spawn_blocking(condemn).await.map_err(|_| OrderError::Ended)??)
    }

    /// Takes back a [`Node::condemn`].
    pub async fn pardon(&self, key: InfoHash) -> Result<(), OrderError> {
        let (records, key) = (self.records(), self.known_as(key));
        let pardon = move || records.pardon(key);
        Ok(tokio::task::spawn_blocking(pardon).await.map_err(|_| OrderError::Ended)??)
    }

    /// Torrents whose removal was begun and not ended, as the record knows them: they are not to be added, and
    /// [`Node::finish_removals`] ends it.
    pub async fn condemned(&self) -> Result<Vec<InfoHash>, OrderError> {
        let records = self.records();
        let ask = move || records.condemned();
        let condemned = tokio::task::spawn_blocking(ask).await.map_err(|_| OrderError::Ended)??;
        Ok(condemned.into_iter().map(|(key, _)| key).collect())
    }

    /// Ends the removals that an earlier run began, but for those of `but`; returns those that fail, which
    /// stay begun.
    pub fn finish_removals(
        &self,
        but: BTreeSet<InfoHash>,
    ) -> impl Future<Output = Result<Vec<(InfoHash, OrderError)>, OrderError>> + use<> {
        let records = self.records();
        let finish = move || -> Result<_, OrderError> {
            let condemned = records.condemned()?.into_iter();
            let due = condemned.filter(|(key, _)| !but.contains(key));
            let failed = due.filter_map(|(key, with_content)| {
                let error = finish_removal(&records, key, with_content).err()?;
                Some((key, error))
            });
            Ok(failed.collect())
        };
        let finished = self.inner().work(finish);
        async { finished.await.map_err(|_| OrderError::Ended)? }
    }
}

fn finish_removal(records: &Records, key: InfoHash, with_content: bool) -> Result<(), OrderError> {
    let renames = records.load_wishes()?.remove(&key).unwrap_or_default().renames;
    let data = if with_content { Data::Delete } else { Data::Keep };
    match records.saved(key)? {
        Some((metainfo, SavedContent::Fetch(folder))) => {
            let fetched = Some((&metainfo.info, Place { folder, renames }));
            relocate::remove(records, key, fetched, data)?;
        }
        Some((_, SavedContent::Share(_))) | None => {
            drop(relocate::remove(records, key, None, data)?)
        }
    }
    Ok(())
}
