//! Work on the files of a torrent that rests: a check of everything, and taking it away.
//!
//! Invariant: whoever waits for a disk hears those who want the torrent to end, and waits for none when the
//! node ends.

use std::path::PathBuf;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use proto::{Geometry, PieceIndex};
use tokio::sync::mpsc;

use super::{Keeper, Waiting};
use crate::api::{Snapshot, State};
use crate::clock;
use crate::disk::relocate;
use crate::disk::{OpenError, Storage};
use crate::orders::{Data, OrderError};

impl Keeper {
    /// Opens the files once and believes nothing, to know what is right; returns the bytes that were taken for
    /// it and are not. If it runs, it goes on with what is.
    pub(super) async fn check(&mut self, waiting: &mut Waiting) -> Result<u64, OrderError> {
        let metainfo = self.metainfo.clone().ok_or(OrderError::Unknown)?;
        self.end_move(waiting).await?;
        let (events, told) = mpsc::unbounded_channel();
        let opening = self.opening.clone().again().with_events(events).distrusting();
        let cancelled = opening.clone();
        let (node, checked) = (self.node.clone(), Arc::new(AtomicU64::new(0)));
        let bytes = checked.clone();
        let check = move || -> Result<_, OpenError> {
            let (key, geometry) = (metainfo.info.hashes().primary(), metainfo.info.geometry());
            let before = node.records.progress(key, geometry.piece_count())?;
            let wanted = opening.choice.of(&metainfo.info).ok();
            let opened = opening.open(&node, &metainfo, wanted, &bytes)?;
            opened.storage.close();
            let lost = before.iter().flat_map(|before| before.have.iter());
            let lost = lost.filter(|piece| !opened.have.has(*piece));
            let wrong = content_of(&geometry, lost);
            Ok((Storage::durable(&opened.storage), opened.storage.is_finished(), wrong))
        };
        let done = self.at_work(check, (State::Checking, &checked), waiting, || cancelled.cancel());
        let done = done.await;
        drop(told);
        let (durable, finished, wrong) = done??;
        self.wiring.publisher.revise(clock::now(), |snapshot| Snapshot {
            verified: durable,
            durable,
            wanted_verified: durable.min(snapshot.wanted_len),
            finished,
            ..snapshot
        });
        if wrong > 0 {
            let torrent = self.key();
            tracing::warn!(%torrent, bytes = wrong, "content was wrong, and is fetched again");
        }
        Ok(wrong)
    }

    pub(super) async fn remove(
        &mut self,
        data: Data,
        waiting: &mut Waiting,
    ) -> Result<Vec<PathBuf>, OrderError> {
        let (known, place) = (self.metainfo.clone(), self.place());
        if let (Data::Delete, Some(known), None) = (data, &known, &place) {
            return Err(OrderError::NotOurs(self.opening.path(&known.info)));
        }
        let (records, key) = (self.node.records.clone(), self.hashes().primary());
        let own = self.key();
        let removing = move || -> Result<_, OrderError> {
            let known = match known {
                Some(known) => Some(known),
                // Earlier runs may have known it.
                None => records.saved(own)?.map(|(known, _)| Arc::new(known)),
            };
            let key = known.as_ref().map_or(key, |known| known.info.hashes().primary());
            records.condemn(key, data == Data::Delete)?;
            let fetched = known.as_ref().zip(place).map(|(known, place)| (&known.info, place));
            let left = relocate::remove(&records, key, fetched, data)?;
            if own != key {
                records.remove(own)?;
            }
            Ok(left)
        };
        let nothing = AtomicU64::new(0);
        self.at_work(removing, (State::Moving, &nothing), waiting, || ()).await?
    }

    /// Works on another thread, and shows how far it is. Whoever stops or removes the torrent calls it off; when
    /// the node ends, nobody waits for a disk that does not answer.
    pub(super) async fn at_work<T: Send + 'static>(
        &mut self,
        work: impl FnOnce() -> T + Send + 'static,
        (state, bytes): (State, &AtomicU64),
        waiting: &mut Waiting,
        cancel: impl Fn(),
    ) -> Result<T, OrderError> {
        let node = self.node.clone();
        if node.closing().is_cancelled() {
            return Err(OrderError::Closing);
        }
        let mut work = node.work(work);
        let mut given_up = pin!(async {
            node.closing().cancelled().await;
            tokio::time::sleep(PATIENCE).await;
        });
        let mut tick = tokio::time::interval(SHOWN_EVERY);
        if waiting.has_end() {
            cancel();
        }
        loop {
            tokio::select! {
                done = &mut work => return done.map_err(|_| OrderError::Ended),
                () = &mut given_up => return Err(OrderError::Closing),
                _ = tick.tick() => self.show_work(state.clone(), bytes),
                Some(input) = self.wiring.inputs.recv() => {
                    waiting.take(input);
                    if waiting.has_end() {
                        cancel();
                    }
                }
            }
        }
    }

    fn show_work(&mut self, state: State, bytes: &AtomicU64) {
        let (peers, checked) = (Vec::new(), bytes.load(Ordering::Relaxed));
        let (down_rate, up_rate, eta) = (0, 0, None);
        let show = |now| Snapshot { state, checked, peers, down_rate, up_rate, eta, ..now };
        self.wiring.publisher.revise(clock::now(), show);
    }
}

/// Bytes of content in pieces.
pub(super) fn content_of(geometry: &Geometry, pieces: impl Iterator<Item = PieceIndex>) -> u64 {
    let spans = pieces.flat_map(|piece| geometry.spans(geometry.whole(piece)));
    spans.map(|span| u64::from(span.len)).sum()
}

/// As often as people see something new.
const SHOWN_EVERY: Duration = Duration::from_millis(200);
/// What is told to stop has stopped by then, unless a disk does not answer.
const PATIENCE: Duration = Duration::from_secs(2);
