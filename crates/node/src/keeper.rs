//! One task a torrent, for as long as the node knows it: lets the torrent run or rest, and does what
//! concerns it as a whole while it rests.
//!
//! A torrent that rests has no swarm, no connection and no open file; peers do not find it. What people
//! order ends the run that is under way in good order, is carried out, and then the torrent runs again.
//! So nobody moves files that somebody writes to.

mod moving;
mod work;

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Arc;

use proto::InfoHash;
use proto::metainfo::Metainfo;
use swarm::{Command, Priority};
use tokio::sync::{mpsc, oneshot, watch};

use self::work::content_of;
use crate::api::{Content, Snapshot, State};
use crate::clock;
use crate::directory::Facts;
use crate::disk::relocate::Place;
use crate::ledger::Account;
use crate::limiter::Limiter;
use crate::node::Inner;
use crate::opening::Opening;
use crate::orders::{Force, Order, OrderError, Ordered, Outcome, Rest};
use crate::publisher::Publisher;
use crate::torrent::{Input, TorrentTask};

/// The ends of a torrent's channels, and what outlives a run.
pub(crate) struct Wiring {
    pub(crate) inputs: mpsc::UnboundedReceiver<Input>,
    /// For who should find the torrent.
    pub(crate) outside: mpsc::UnboundedSender<Input>,
    pub(crate) publisher: Publisher,
    pub(crate) tell_metainfo: watch::Sender<Option<Arc<Metainfo>>>,
    pub(crate) limiter: Limiter,
    pub(crate) account: Account,
    /// By what the record knows the torrent.
    pub(crate) key: InfoHash,
}

/// A run that has ended.
pub(crate) struct Ended {
    pub(crate) wiring: Wiring,
    pub(crate) opening: Opening,
    pub(crate) metainfo: Option<Arc<Metainfo>>,
    /// Why; without any it ends for good.
    pub(crate) orders: Vec<Ordered>,
    /// Peers that it had, as far as they can be dialled.
    pub(crate) peers: Vec<SocketAddr>,
    /// What was said of single files.
    pub(crate) priorities: Vec<(proto::FileIndex, Priority)>,
}

/// Why a torrent rests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Resting {
    /// Somebody said so.
    Held(Rest),
    /// Its turn has not come.
    Queued,
}

/// What a keeper begins with.
pub(crate) struct Keeper {
    pub(crate) node: Arc<Inner>,
    pub(crate) config: swarm::Config,
    pub(crate) opening: Opening,
    pub(crate) metainfo: Option<Arc<Metainfo>>,
    /// Its name in the catalogue.
    pub(crate) name: Option<String>,
    pub(crate) resting: Option<Resting>,
    /// A move may have been begun and not ended: at first, when what an earlier run knew of it counts.
    pub(crate) moving: bool,
    pub(crate) wiring: Wiring,
}

/// What waits while a torrent rests.
#[derive(Default)]
struct Waiting {
    orders: VecDeque<Ordered>,
    stops: Vec<oneshot::Sender<()>>,
    peers: Vec<SocketAddr>,
    priorities: Vec<(proto::FileIndex, Priority)>,
    /// Who wants to read; a few that ask at the beginning.
    reads: Vec<Input>,
}

impl Keeper {
    /// Keeps the torrent until it is stopped or taken away.
    pub(crate) async fn run(mut self) {
        let mut waiting = Waiting::default();
        if let Err(error) = self.begin().await {
            self.fail(&error);
            self.resting.get_or_insert(Resting::Queued);
        } else {
            // It has told why it fails, and rests.
            let _ = self.end_move(&mut waiting).await;
        }
        loop {
            while let Ok(input) = self.wiring.inputs.try_recv() {
                waiting.take(input);
            }
            if let Some(ordered) = waiting.orders.pop_front() {
                match self.carry_out(ordered, &mut waiting).await {
                    Some(kept) => self = kept,
                    None => return,
                }
            } else if !waiting.stops.is_empty() {
                return self.stop(waiting.stops);
            } else if self.resting.is_some() {
                self.show_rest();
                match self.wiring.inputs.recv().await {
                    Some(input) => waiting.take(input),
                    None => return self.stop(Vec::new()),
                }
            } else if self.end_move(&mut waiting).await.is_ok() {
                self = match self.live(&mut waiting).await {
                    Some(kept) => kept,
                    None => return,
                };
            }
        }
    }

    /// Whether an earlier run left a move to end, and what is known of a torrent that does not run at once.
    async fn begin(&mut self) -> Result<(), OrderError> {
        let knows_all = self.metainfo.is_some() && self.resting.is_none();
        if !self.moving || (knows_all && !self.node.is_left(self.key())) {
            self.moving = false;
            return Ok(());
        }
        let turn = self.node.openings.turn(&self.opening.content).await;
        let (node, key, known) = (self.node.clone(), self.key(), self.metainfo.clone());
        let resting = self.resting.is_some();
        let looked = tokio::task::spawn_blocking(move || look(&node, key, known, resting));
        let looked = looked.await.map_err(|_| OrderError::Ended)??;
        drop(turn);
        (self.metainfo, self.moving) = (looked.metainfo, looked.moving);
        if let Some(metainfo) = &self.metainfo {
            self.config.metadata_known = true;
            self.wiring.tell_metainfo.send_replace(Some(metainfo.clone()));
        }
        if let (Some(metainfo), Some(verified)) = (self.metainfo.clone(), looked.verified) {
            let info = &metainfo.info;
            let path = Some(self.opening.path(info));
            let len = info.content_len();
            self.wiring.publisher.revise(clock::now(), |snapshot| Snapshot {
                name: Some(info.name().to_owned()),
                path,
                content_len: len,
                wanted_len: len,
                wanted_verified: verified,
                verified,
                durable: verified,
                finished: verified == len,
                ..snapshot
            });
        }
        Ok(())
    }

    /// By what the record knows the torrent.
    const fn key(&self) -> InfoHash {
        self.wiring.key
    }

    /// Where the content is, if we may do anything to it.
    fn place(&self) -> Option<Place> {
        match &self.opening.content {
            Content::Fetch { folder } => {
                let renames = self.opening.renames.clone();
                Some(Place { folder: folder.clone(), renames })
            }
            Content::Share { .. } => None,
        }
    }

    fn hashes(&self) -> proto::InfoHashes {
        self.metainfo.as_ref().map_or(self.config.info_hashes, |known| known.info.hashes())
    }

    /// Lets it run until it is told otherwise; `None` when it was stopped.
    async fn live(self, waiting: &mut Waiting) -> Option<Self> {
        let Self { node, mut config, opening, metainfo, name, wiring, resting, moving } = self;
        config.seed = rand::random();
        if let Some(metainfo) = &metainfo {
            config.info_hashes = metainfo.info.hashes();
        }
        let private = metainfo.as_ref().is_some_and(|metainfo| metainfo.info.is_private());
        node.directory.insert(Facts { hashes: config.info_hashes, private }, &wiring.outside);
        if let Some(name) = &name {
            node.names.insert(name, wiring.outside.clone());
        }
        let peers = std::mem::take(&mut waiting.peers);
        if !peers.is_empty() {
            let _ = wiring.outside.send(Input::Command(Command::AddPeers(peers)));
        }
        let priorities = std::mem::take(&mut waiting.priorities);
        if !priorities.is_empty() {
            let _ = wiring.outside.send(Input::Prioritize(priorities));
        }
        for read in waiting.reads.drain(..) {
            let _ = wiring.outside.send(read);
        }
        let task = TorrentTask::new(node.clone(), config.clone(), opening, metainfo, wiring);
        let ended = Box::new(task).run().await;
        let metainfo = ended.metainfo;
        config.metadata_known = metainfo.is_some();
        let (opening, wiring) = (ended.opening.again(), ended.wiring);
        let kept = Self { node, config, opening, metainfo, name, wiring, resting, moving };
        waiting.orders.extend(ended.orders);
        waiting.peers = ended.peers;
        waiting.priorities = ended.priorities;
        if waiting.orders.is_empty() {
            kept.leave();
            return None;
        }
        Some(kept)
    }

    /// Does it, unless nothing of the torrent is left.
    async fn carry_out(mut self, ordered: Ordered, waiting: &mut Waiting) -> Option<Self> {
        let Ordered { order, answer } = ordered;
        let mut outcome = Outcome::default();
        let done = match order {
            Order::Resume(force) => {
                self.resting = None;
                match self.save_rest(None, force).await {
                    Ok(()) => self.end_move(waiting).await,
                    Err(error) => Err(error),
                }
            }
            Order::Run => {
                if self.resting == Some(Resting::Queued) {
                    self.resting = None;
                }
                Ok(())
            }
            Order::Hold(rest) => {
                self.resting = Some(Resting::Held(rest));
                self.save_rest(Some(rest), Force::No).await
            }
            Order::Wait => {
                self.resting.get_or_insert(Resting::Queued);
                Ok(())
            }
            Order::Recheck if self.metainfo.is_none() => Err(OrderError::Unknown),
            Order::Recheck => {
                let checked = self.check(waiting).await;
                checked.map(|wrong| outcome.wrong = wrong)
            }
            Order::Change(change) => self.change(change, waiting).await,
            Order::Remove(data) => match self.remove(data, waiting).await {
                Ok(left) => {
                    outcome.left = left;
                    self.node.forget_wishes(self.key());
                    self.wiring.account.forget();
                    self.end();
                    // Whoever asked may have gone, here and below.
                    let _ = answer.send(Ok(outcome));
                    return None;
                }
                Err(error) => {
                    if !matches!(error, OrderError::Closing | OrderError::NotOurs(_)) {
                        // It is to go: nothing of it runs any more, and people see why it is still here.
                        self.fail(&error);
                        self.resting.get_or_insert(Resting::Queued);
                    }
                    Err(error)
                }
            },
        };
        let _ = answer.send(done.map(|()| outcome));
        Some(self)
    }

    async fn save_rest(&self, rest: Option<Rest>, force: Force) -> Result<(), OrderError> {
        let (node, key) = (self.node.clone(), self.key());
        let save = move || node.save_rest(key, rest, force);
        let saved = tokio::task::spawn_blocking(save).await.map_err(|_| OrderError::Ended)?;
        Ok(saved?)
    }

    fn show_rest(&mut self) {
        let state = match self.resting {
            Some(Resting::Held(_)) => State::Held,
            Some(Resting::Queued) | None => State::Queued,
        };
        let totals = self.wiring.account.totals();
        let (peers, trackers) = (Vec::new(), Vec::new());
        let (down_rate, up_rate, eta) = (0, 0, None);
        self.wiring.publisher.revise(clock::now(), |now| match has_failed(&now) {
            true => now,
            false => Snapshot { state, totals, peers, trackers, down_rate, up_rate, eta, ..now },
        });
    }

    fn fail(&mut self, error: &OrderError) {
        tracing::error!(torrent = %self.key(), %error, "a torrent cannot begin");
        let (reason, fault) = (error.to_string(), crate::api::Fault::Disk);
        let state = State::Failed { reason, fault };
        let show = |snapshot| Snapshot { state, ..snapshot };
        self.wiring.publisher.revise(clock::now(), show);
    }

    /// Nobody finds it any more.
    fn leave(&self) {
        self.node.directory.remove(self.hashes());
        self.node.directory.remove(self.config.info_hashes);
        self.node.names.remove(&self.wiring.outside);
    }

    fn end(&mut self) {
        self.leave();
        let show = |snapshot| match has_failed(&snapshot) {
            true => snapshot,
            false => Snapshot { state: State::Stopped, ..snapshot },
        };
        self.wiring.publisher.revise(clock::now(), show);
    }

    fn stop(mut self, stops: Vec<oneshot::Sender<()>>) {
        self.end();
        for done in stops {
            // Whoever asked may have gone.
            let _ = done.send(());
        }
    }
}

impl Waiting {
    /// Somebody wants the torrent to end: what takes long is of no use any more.
    fn has_end(&self) -> bool {
        let removes = |each: &Ordered| matches!(each.order, Order::Remove(_));
        !self.stops.is_empty() || self.orders.iter().any(removes)
    }

    /// While it rests, only what people want is kept.
    fn take(&mut self, input: Input) {
        match input {
            Input::Order(ordered) => self.orders.push_back(*ordered),
            Input::Stop(done) => self.stops.push(done),
            Input::Prioritize(changes) => self.priorities.extend(changes),
            Input::Read(answer) => {
                self.reads.retain(|read| matches!(read, Input::Read(waits) if !waits.is_closed()));
                self.reads.push(Input::Read(answer));
            }
            Input::Command(Command::AddPeers(peers)) => {
                self.peers.extend(peers);
                let surplus = self.peers.len().saturating_sub(PEERS_KEPT);
                self.peers.drain(..surplus);
            }
            Input::Incoming(..)
            | Input::Dialled(..)
            | Input::Announced(..)
            | Input::Found(_)
            | Input::Searched(..)
            | Input::Opened(_)
            | Input::Leaves(..)
            | Input::Asked(_)
            | Input::Command(_) => {}
        }
    }
}

const fn has_failed(snapshot: &Snapshot) -> bool {
    matches!(snapshot.state, State::Failed { .. })
}

/// What was found of a torrent before it begins.
struct Looked {
    metainfo: Option<Arc<Metainfo>>,
    /// A move was begun and not ended.
    moving: bool,
    /// Content bytes that the record says are there.
    verified: Option<u64>,
}

fn look(
    node: &Inner,
    key: InfoHash,
    metainfo: Option<Arc<Metainfo>>,
    resting: bool,
) -> Result<Looked, OrderError> {
    let metainfo = match metainfo {
        Some(metainfo) => Some(metainfo),
        None => node.records.saved(key)?.map(|(metainfo, _)| Arc::new(metainfo)),
    };
    let Some(known) = &metainfo else {
        return Ok(Looked { metainfo, moving: false, verified: None });
    };
    let moving = node.records.load_move(known.info.hashes().primary())?.is_some();
    let verified = match resting {
        true => Some(recorded(node, known)?),
        false => None,
    };
    Ok(Looked { metainfo, moving, verified })
}

fn recorded(node: &Inner, known: &Metainfo) -> Result<u64, OrderError> {
    let geometry = known.info.geometry();
    let progress = node.records.progress(known.info.hashes().primary(), geometry.piece_count())?;
    Ok(content_of(&geometry, progress.iter().flat_map(|progress| progress.have.iter())))
}

/// Peers that are kept for a torrent that rests: enough to begin with.
const PEERS_KEPT: usize = 200;
