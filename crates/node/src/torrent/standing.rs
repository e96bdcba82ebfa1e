//! How a torrent stands, for people; and what they order of it as a whole.

use std::sync::atomic::Ordering;

use proto::metainfo::Info;

use super::{Input, TorrentTask};
use crate::api::{PeerView, Snapshot, State, TrackerView};
use crate::clock;
use crate::disk::Storage;
use crate::orders::{Order, OrderError, Ordered, Outcome};

impl TorrentTask {
    /// Ends the run, unless what is ordered leaves it as it is.
    pub(super) fn on_order(&mut self, ordered: Ordered) {
        let Ordered { order, answer } = ordered;
        let runs = self.stopping.is_none();
        match order {
            // It runs.
            Order::Run if runs => {
                // Whoever asked may have gone, here and below.
                let _ = answer.send(Ok(Outcome::default()));
            }
            Order::Resume(force) if runs => {
                let (node, key) = (self.node.clone(), self.wiring.key);
                tokio::task::spawn_blocking(move || {
                    let saved = node.save_rest(key, None, force);
                    let _ =
                        answer.send(saved.map(|()| Outcome::default()).map_err(OrderError::from));
                });
            }
            Order::Run
            | Order::Resume(_)
            | Order::Hold(_)
            | Order::Wait
            | Order::Recheck
            | Order::Change(_)
            | Order::Remove(_) => {
                if self.orders.is_empty() {
                    self.left_behind = self.swarm.dialable().collect();
                }
                self.orders.push(Ordered { order, answer });
                self.stop(None);
            }
        }
    }

    /// Nothing of this run touches a file once it has ended.
    pub(super) async fn close_what_opens(&mut self) {
        let Some(opening) = self.opening_files.take() else { return };
        // A failure of it was told.
        let _ = opening.await;
        while let Ok(input) = self.own.try_recv() {
            let Input::Opened(opened) = input else { continue };
            let Ok(opened) = *opened else { continue };
            if self.shared.storage.get().is_none() {
                // Closed with the others.
                let _ = self.shared.storage.set(opened.storage);
            }
        }
    }

    pub(super) fn publish(&mut self) {
        let stats = self.swarm.stats();
        let info = self.metainfo.as_ref().map(|metainfo| &metainfo.info);
        let seeding = self.finished && self.stopping.is_none();
        let totals = self.wiring.account.update(stats.downloaded, stats.uploaded, seeding);
        let (unavailable, unavailable_count) = self.swarm.unavailable();
        let snapshot = Snapshot {
            state: self.state.clone(),
            name: info.map(|info| info.name().to_owned()).or_else(|| self.opening.name.clone()),
            info_hashes: self.hashes,
            path: self.path.clone(),
            content_len: info.map_or(0, Info::content_len),
            wanted_len: if self.is_open() { stats.wanted_len } else { self.wishes.len },
            wanted_verified: stats.wanted_verified,
            verified: stats.verified,
            durable: self.shared.storage.get().map_or(0, |storage| Storage::durable(storage)),
            checked: self.checked.load(Ordering::Relaxed),
            downloaded: stats.downloaded,
            uploaded: stats.uploaded,
            totals,
            wasted: stats.wasted,
            reused: self.shared.storage.get().map_or(0, |storage| Storage::reused(storage)),
            down_rate: stats.down_rate,
            up_rate: stats.up_rate,
            eta: stats.eta,
            peers: self.swarm.peers().map(PeerView::from).collect(),
            slots: self.swarm.slots(),
            unavailable,
            unavailable_count,
            copies: stats.copies,
            swarm_counts: stats.counts,
            trackers: self.swarm.trackers().map(TrackerView::from).collect(),
            finished: self.finished,
        };
        self.wiring.publisher.publish(clock::now(), snapshot);
        if self.state == State::Checking {
            // Its progress comes without a word.
            self.wiring.publisher.note();
        }
    }
}

impl From<swarm::PeerStats> for PeerView {
    fn from(peer: swarm::PeerStats) -> Self {
        Self {
            addr: peer.addr,
            client: peer.client,
            pieces: peer.pieces,
            wanted: peer.wanted,
            seeder: peer.seeder,
            downloaded: peer.downloaded,
            uploaded: peer.uploaded,
            down_rate: peer.down_rate,
            up_rate: peer.up_rate,
            web_seed: peer.web_seed,
            gives: peer.gives,
            gets: peer.gets,
        }
    }
}

impl From<swarm::TrackerStats> for TrackerView {
    fn from(tracker: swarm::TrackerStats) -> Self {
        Self { url: tracker.url, working: tracker.working, error: tracker.error }
    }
}
