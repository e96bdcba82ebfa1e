//! What people order while the daemon runs, and what they are shown. Who asks waits until it is done; the
//! daemon does not.

use std::fmt;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use node::{Data, Force, OrderError, Outcome, Rest, Snapshot, State, Torrent};
use proto::{FileIndex, InfoHash};
use tokio::sync::oneshot;

use super::files::put_away;
use super::queue::Will;
use super::{Daemon, Held, Inside};

/// What somebody wants, and who waits for it.
#[derive(Debug)]
pub(crate) struct Asked {
    pub(crate) wish: Wish,
    pub(crate) answer: oneshot::Sender<Result<Answer, DeskError>>,
}

/// What somebody wants. Torrents are meant by their info hash.
#[derive(Debug)]
pub(crate) enum Wish {
    /// How all stand.
    List,
    /// How one stands.
    Show(InfoHash),
    /// To this place in the queue, 1 the first.
    Place(InfoHash, usize),
    /// Something of a torrent that may take its time.
    Do(InfoHash, Deed),
}

/// What a torrent is to do.
#[derive(Debug)]
pub(crate) enum Deed {
    Hold,
    Resume(Force),
    Recheck,
    Move(PathBuf),
    /// One of its files, or all of it.
    Rename(Option<FileIndex>, String),
    Remove(Data),
}

/// What comes back.
#[derive(Debug)]
pub(crate) enum Answer {
    Transfers(Vec<Transfer>),
    /// It is done.
    Done(Outcome),
}

/// How a torrent stands.
#[derive(Debug, Clone)]
pub(crate) struct Transfer {
    pub(crate) key: InfoHash,
    /// The file that it is known by, without its end.
    pub(crate) name: String,
    pub(crate) snapshot: Arc<Snapshot>,
    /// It rests since it was seeded enough.
    pub(crate) seeded: bool,
    pub(crate) forced: bool,
    /// Its place among those that wait.
    pub(crate) place: Option<usize>,
    /// How long it was seeded in all.
    pub(crate) seeded_for: Duration,
}

/// Why somebody does not get what they want.
#[derive(Debug)]
pub(crate) enum DeskError {
    /// There is no such torrent.
    NotFound,
    /// A watched folder has it.
    Watched(PathBuf),
    /// Its file cannot be taken out of the folder.
    Stays(PathBuf, io::Error),
    /// It is to go, and has not gone yet.
    Leaving,
    /// The torrent says no.
    Order(OrderError),
    /// The daemon ends.
    Closed,
}

impl From<OrderError> for DeskError {
    fn from(error: OrderError) -> Self {
        Self::Order(error)
    }
}

impl fmt::Display for DeskError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotFound => f.write_str("there is no such torrent"),
            Self::Watched(path) => write!(
                f,
                "it is shared because {} is in the watched folder; take it out of there",
                path.display()
            ),
            Self::Stays(path, error) => {
                write!(f, "{} cannot be renamed: {error}", path.display())
            }
            Self::Leaving => f.write_str(
                "its removal was begun and has not ended; `teem remove` tries once more",
            ),
            Self::Order(error) => error.fmt(f),
            Self::Closed => f.write_str("the daemon is ending"),
        }
    }
}

impl Daemon<'_> {
    pub(super) async fn on_asked(&mut self, asked: Asked) {
        let Asked { wish, answer } = asked;
        let answered = match wish {
            Wish::List => Ok(self.transfers(None)),
            Wish::Show(key) => self.held(key).map(|_| self.transfers(Some(key))),
            Wish::Place(key, place) => self.place(key, place).await,
            Wish::Do(key, deed) => match self.prepare(key, deed).await {
                Ok((work, leaves)) => {
                    let to_self = self.to_self.clone();
                    // Moving takes as long as it takes.
                    tokio::spawn(async move {
                        let done = work.done().await;
                        if let (Ok(_), Some(left)) = (&done, leaves) {
                            // A daemon that has ended wants to know nothing.
                            let _ = to_self.send(left).await;
                        }
                        // Whoever asked may have gone, here and below.
                        let _ = answer.send(done);
                    });
                    return;
                }
                Err(error) => Err(error),
            },
        };
        let _ = answer.send(answered);
    }

    fn held(&self, key: InfoHash) -> Result<&Held, DeskError> {
        let file = self.files.get(&key).ok_or(DeskError::NotFound)?;
        self.torrents.get(file).ok_or(DeskError::NotFound)
    }

    fn transfers(&self, only: Option<InfoHash>) -> Answer {
        let places = if self.queue.is_limited() { self.queue.places() } else { Default::default() };
        let all = only.as_slice();
        let keys = if only.is_some() { all } else { self.queue.order() };
        let transfers = keys.iter().filter_map(|key| {
            let held = self.held(*key).ok()?;
            let snapshot = held.torrent.snapshot().borrow().clone();
            let resting = snapshot.state == State::Held;
            Some(Transfer {
                key: *key,
                name: held.name.clone(),
                seeded: resting && self.node.left_of(*key).rest == Some(Rest::Seeded),
                forced: self.queue.will(*key) == Some(Will::Force),
                place: places.get(key).copied().filter(|_| snapshot.state == State::Queued),
                seeded_for: snapshot.totals.seeded(Instant::now()),
                snapshot,
            })
        });
        Answer::Transfers(transfers.collect())
    }

    async fn place(&mut self, key: InfoHash, place: usize) -> Result<Answer, DeskError> {
        self.held(key)?;
        self.queue.place(key, place);
        let places = self.queue.order().iter().copied().zip(1..).collect();
        self.node.save_places(places).await?;
        self.take_turns();
        Ok(Answer::Done(Outcome::default()))
    }

    /// What it means for the queue and the folder comes first. With it comes what to tell when it is done.
    async fn prepare(
        &mut self,
        key: InfoHash,
        deed: Deed,
    ) -> Result<(Work, Option<Inside>), DeskError> {
        let held = self.held(key)?;
        let (torrent, mut waits, mut leaves) = (held.torrent.clone(), false, None);
        let leaving = self.files.get(&key).is_some_and(|file| self.leaving.has(file));
        let deed = match deed {
            Deed::Remove(data) => {
                leaves = Some(self.take_out(key, data).await?);
                deed
            }
            Deed::Hold | Deed::Resume(_) | Deed::Recheck | Deed::Move(_) | Deed::Rename(..)
                if leaving =>
            {
                return Err(DeskError::Leaving);
            }
            Deed::Hold => {
                self.queue.set_will(key, Will::Hold);
                deed
            }
            Deed::Resume(force) => {
                // What was seeded enough would rest again at once.
                let enough = self.node.left_of(key).rest == Some(Rest::Seeded);
                let force = if enough { Force::Yes } else { force };
                held.activity.forced.store(force == Force::Yes, Ordering::Relaxed);
                let will = if force == Force::Yes { Will::Force } else { Will::Queue };
                let (turns, runs) = self.queue.resume(Instant::now(), key, will);
                self.tell_turns(turns);
                waits = !runs;
                Deed::Resume(force)
            }
            Deed::Recheck | Deed::Move(_) | Deed::Rename(..) => deed,
        };
        Ok((Work { torrent, deed, waits }, leaves))
    }

    /// The torrent is to go, and this run or the next one sees to it. Until it is gone it is shown, and while
    /// that fails it can be asked for again.
    async fn take_out(&mut self, key: InfoHash, data: Data) -> Result<Inside, DeskError> {
        let file = self.files.get(&key).cloned().ok_or(DeskError::NotFound)?;
        let held = self.held(key)?;
        if held.shared {
            return Err(DeskError::Watched(file));
        }
        let name = held.name.clone();
        self.node.condemn(key, data).await?;
        if !self.leaving.has(&file) {
            // A person may have taken it out already.
            if let Err(source) = put_away(&file).await
                && source.kind() != io::ErrorKind::NotFound
            {
                // It would be added again: all stays as it is.
                self.node.pardon(key).await?;
                return Err(DeskError::Stays(file, source));
            }
            self.leaving.begin(&file, key);
        }
        Ok(Inside::Left { file, key, name })
    }
}

/// What a torrent is told to do.
struct Work {
    torrent: Torrent,
    deed: Deed,
    /// Its turn to run has not come.
    waits: bool,
}

impl Work {
    async fn done(self) -> Result<Answer, DeskError> {
        let Self { torrent, deed, waits } = self;
        let mut outcome = Outcome::default();
        match deed {
            Deed::Hold => torrent.hold(Rest::Held).await?,
            Deed::Resume(force) => {
                let resumed = torrent.resume(force);
                // Told before it can begin.
                let waited = waits.then(|| torrent.wait());
                resumed.await?;
                if let Some(waited) = waited {
                    waited.await?;
                }
            }
            Deed::Recheck => outcome.wrong = torrent.recheck().await?,
            Deed::Move(folder) => torrent.move_to(folder).await?,
            Deed::Rename(None, name) => torrent.rename(name).await?,
            Deed::Rename(Some(file), path) => torrent.rename_file(file, path).await?,
            Deed::Remove(data) => outcome.left = torrent.remove(data).await?,
        }
        Ok(Answer::Done(outcome))
    }
}
