//! A torrent's content goes elsewhere, or gets other names.
//!
//! Invariant: as long as a move is begun and not ended, nothing but its end touches the files, since they
//! are at two places.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use proto::metainfo::Metainfo;

use super::{Keeper, Resting, Waiting, has_failed};
use crate::api::{Content, Snapshot, State};
use crate::clock;
use crate::disk::relocate::{self, Job, MoveError, Place};
use crate::orders::{Change, OrderError};

impl Keeper {
    pub(super) async fn change(
        &mut self,
        change: Change,
        waiting: &mut Waiting,
    ) -> Result<(), OrderError> {
        let metainfo = self.metainfo.clone().ok_or(OrderError::Unknown)?;
        self.end_move(waiting).await?;
        let path = self.opening.path(&metainfo.info);
        let from = self.place().ok_or(OrderError::NotOurs(path))?;
        let mut to = from.clone();
        match change {
            Change::Folder(folder) => to.folder = folder,
            Change::Top(name) => to.renames.rename_top(&metainfo.info, &name)?,
            Change::File(file, path) => to.renames.rename_file(&metainfo.info, file, &path)?,
        }
        let target = to.clone();
        self.moving = true;
        let work = move |job: &Job<'_>| relocate::relocate(job, &from, &target);
        self.on_files(metainfo, waiting, work).await?;
        self.moving = false;
        self.settle_in(to);
        Ok(())
    }

    /// Ends a move that was begun and not ended. While that fails the torrent rests, and tells why.
    pub(super) async fn end_move(&mut self, waiting: &mut Waiting) -> Result<(), OrderError> {
        if !self.moving {
            return Ok(());
        }
        let ended = self.try_end_move(waiting).await;
        match &ended {
            Ok(()) => {
                self.moving = false;
                self.wiring.publisher.revise(clock::now(), |now| match has_failed(&now) {
                    true => Snapshot { state: State::Queued, ..now },
                    false => now,
                });
            }
            Err(error) => {
                if !matches!(error, OrderError::Move(MoveError::Cancelled) | OrderError::Closing) {
                    self.fail(error);
                }
                self.resting.get_or_insert(Resting::Queued);
            }
        }
        ended
    }

    async fn try_end_move(&mut self, waiting: &mut Waiting) -> Result<(), OrderError> {
        let Some(place) = self.place() else { return Ok(()) };
        let metainfo = match self.metainfo.clone() {
            Some(metainfo) => metainfo,
            None => {
                let (node, key) = (self.node.clone(), self.key());
                let saved = tokio::task::spawn_blocking(move || node.records.saved(key));
                match saved.await.map_err(|_| OrderError::Ended)?? {
                    Some((metainfo, _)) => Arc::new(metainfo),
                    None => return Ok(()),
                }
            }
        };
        let from = place.clone();
        let work = move |job: &Job<'_>| relocate::finish(job, from);
        let ended = self.on_files(metainfo, waiting, work).await?;
        if ended != place {
            self.settle_in(ended);
        }
        Ok(())
    }

    /// Works on all files, and shows how far it is, until the torrent is stopped.
    async fn on_files<T: Send + 'static>(
        &mut self,
        metainfo: Arc<Metainfo>,
        waiting: &mut Waiting,
        work: impl FnOnce(&Job<'_>) -> Result<T, MoveError> + Send + 'static,
    ) -> Result<T, OrderError> {
        let (moved, stop) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
        let (node, bytes, stopped) = (self.node.clone(), moved.clone(), stop.clone());
        let working = move || {
            let job = Job {
                records: &node.records,
                info: &metainfo.info,
                progress: &|copied| bytes.store(copied, Ordering::Relaxed),
                cancelled: &|| stopped.load(Ordering::Relaxed) || node.closing().is_cancelled(),
                #[cfg(test)]
                by_copy: false,
            };
            work(&job)
        };
        let cancel = || stop.store(true, Ordering::Relaxed);
        Ok(self.at_work(working, (State::Moving, &moved), waiting, cancel).await??)
    }

    /// The content is there from now on, also for who adds the torrent once more.
    fn settle_in(&mut self, place: Place) {
        self.node.revise_wishes(self.key(), |wishes| {
            (wishes.folder, wishes.renames) = (Some(place.folder.clone()), place.renames.clone());
        });
        self.opening.content = Content::Fetch { folder: place.folder };
        self.opening.renames = place.renames;
        let path = self.metainfo.as_ref().map(|known| self.opening.path(&known.info));
        self.wiring.publisher.revise(clock::now(), |snapshot| Snapshot { path, ..snapshot });
    }
}
