//! A node with many torrents: those whose files people drop into a folder, and content that they drop into
//! another one to share. The folders are the list: what is put in is added, what is taken out ends, and
//! its content stays. What people order beside that (`desk`) outlives the run in the node's record.

mod comings;
mod desk;
mod files;
mod folder;
mod life;
mod queue;
mod sharing;

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant, SystemTime};

use anyhow::Context as _;
use node::{Node, OrderError, Rest, Torrent};
use proto::InfoHash;
use serde::Serialize;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::MissedTickBehavior;

use crate::cli::Context;
use crate::seed_limits::SeedLimits;
use comings::{Leaving, Newcomer};
use files::{Read, is_torrent};
use folder::Folder;
use life::{Activity, Event};
use queue::{Lane, Queue, Turn, Will};

pub(crate) use desk::{Answer, Asked, Deed, DeskError, Transfer, Wish};
pub(crate) use queue::Limits;
pub(crate) use sharing::{Shares, Told as ShareTold};

/// What all torrents of a daemon have in common.
#[derive(Debug)]
pub(crate) struct Rules {
    /// Where their content goes, or is already.
    pub(crate) output: PathBuf,
    /// Announced to beside their own trackers, in tiers.
    pub(crate) trackers: Vec<Vec<String>>,
    /// How long each is seeded.
    pub(crate) seeded: SeedLimits,
    /// How many run at once.
    pub(crate) limits: Limits,
}

/// The torrents of folders, and the node that has them.
pub(crate) struct Daemon<'a> {
    node: &'a Node,
    rules: Rules,
    context: &'a Context,
    folder: Option<Folder>,
    torrents: BTreeMap<PathBuf, Held>,
    files: BTreeMap<InfoHash, PathBuf>,
    queue: Queue,
    leaving: Leaving,
    /// Torrents whose removal an earlier run did not end.
    condemned: BTreeSet<InfoHash>,
    /// Those of them whose files cannot be taken out of the folder.
    stuck: BTreeSet<InfoHash>,
    /// Those removals were ended, as far as they can be.
    removals_ended: bool,
    /// What its own tasks tell. Few wait at once: each is heard in a moment.
    told: mpsc::Receiver<Inside>,
    to_self: mpsc::Sender<Inside>,
    /// What people want.
    asked: mpsc::Receiver<Asked>,
    /// What becomes of the content that is to be shared.
    shares: mpsc::Receiver<ShareTold>,
    /// Torrents whose files are not open yet; not counted once everybody was told that the daemon is ready.
    opening: Option<usize>,
    /// The folder has not been looked at yet.
    unseen: bool,
    /// Shares that were there from the start are to be told of yet.
    sharing: bool,
    away: bool,
    api: Option<String>,
}

/// A torrent of a folder.
struct Held {
    name: String,
    key: InfoHash,
    /// It is shared from where it lies.
    shared: bool,
    torrent: Torrent,
    activity: Arc<Activity>,
    /// It was counted among those whose files are open.
    open: bool,
    following: JoinHandle<()>,
}

/// What the daemon's own tasks tell it.
#[derive(Debug)]
enum Inside {
    /// Something has happened to the torrent of that file.
    Torrent(PathBuf, Event),
    /// A torrent has ended for good, and nothing of it runs any more.
    Left { file: PathBuf, key: InfoHash, name: String },
    /// What an earlier run was to remove is gone, but for these.
    Removed(Result<Vec<(InfoHash, OrderError)>, OrderError>),
}

/// The daemon runs.
#[derive(Debug, Serialize)]
struct Ready<'a> {
    /// Where peers connect to.
    listening: Vec<String>,
    /// The folder that is watched for torrents.
    torrents: Option<&'a Path>,
    /// Where it takes orders.
    api: Option<&'a str>,
    /// Torrents that it has.
    count: usize,
}

/// A torrent came, went, or cannot go on.
#[derive(Debug, Serialize)]
struct Told<'a> {
    name: &'a str,
    file: &'a Path,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'a str>,
}

/// Who speaks to a daemon.
pub(crate) struct Ears {
    /// What people want.
    pub(crate) asked: mpsc::Receiver<Asked>,
    /// What becomes of shares; ends at once when there are none.
    pub(crate) shares: mpsc::Receiver<ShareTold>,
    /// Where people are listened to.
    pub(crate) api: Option<String>,
}

impl<'a> Daemon<'a> {
    /// A daemon that takes the torrents of that folder, if there is one.
    pub(crate) fn new(
        node: &'a Node,
        torrents: Option<PathBuf>,
        rules: Rules,
        ears: Ears,
        context: &'a Context,
    ) -> Self {
        let (to_self, told) = mpsc::channel(EVENTS_WAITING);
        Self {
            node,
            queue: Queue::new(rules.limits),
            rules,
            context,
            folder: torrents.map(|torrents| Folder::new(torrents, is_torrent)),
            torrents: BTreeMap::new(),
            files: BTreeMap::new(),
            leaving: Leaving::default(),
            condemned: BTreeSet::new(),
            stuck: BTreeSet::new(),
            removals_ended: false,
            told,
            to_self,
            asked: ears.asked,
            unseen: true,
            sharing: true,
            shares: ears.shares,
            opening: Some(0),
            away: false,
            api: ears.api,
        }
    }

    /// Runs until a signal comes.
    pub(crate) async fn run(mut self) -> anyhow::Result<()> {
        self.condemned = self.node.condemned().await?.into_iter().collect();
        let mut tick = tokio::time::interval(LOOK_EVERY);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                biased;
                () = self.context.interrupt.wait() => break,
                Some(told) = self.told.recv() => self.on_told(told).await,
                Some(asked) = self.asked.recv() => self.on_asked(asked).await,
                Some(told) = self.shares.recv() => self.on_share(told).await,
                _ = tick.tick() => {
                    self.look().await?;
                    self.take_turns();
                }
            }
        }
        for held in self.torrents.values() {
            held.following.abort();
        }
        Err(self.context.interrupt.failure().into())
    }

    /// Looks into the folder, and does what people did there.
    async fn look(&mut self) -> anyhow::Result<()> {
        self.unseen = false;
        let Some(mut folder) = self.folder.take() else {
            self.end_removals();
            self.tell_ready();
            return Ok(());
        };
        let looked = tokio::task::spawn_blocking(move || {
            // File times are by this clock.
            let changes = folder.look(SystemTime::now());
            let changes = changes.map(|mut changes| {
                // Of those that come together the first by name is the first in the queue.
                changes.sort();
                changes.into_iter().map(Read::of).collect()
            });
            (folder, changes)
        });
        let (folder, changes): (Folder, io::Result<Vec<Read>>) =
            looked.await.context("look into the watched folder")?;
        let path = folder.path().to_owned();
        self.folder = Some(folder);
        match changes {
            Ok(changes) => {
                self.away = false;
                let some = !changes.is_empty();
                for change in changes {
                    self.on_change(change).await;
                }
                if some {
                    self.sort_queue();
                }
                self.end_removals();
            }
            Err(error) if self.opening.is_some() => {
                return Err(error).with_context(|| format!("watch {}", path.display()));
            }
            Err(error) if !std::mem::replace(&mut self.away, true) => {
                self.context.output.warn(&format!("cannot look into {}: {error}", path.display()));
            }
            Err(_) => {}
        }
        self.tell_ready();
        Ok(())
    }

    /// Once the files of torrents that were to be removed are out of the folder.
    fn end_removals(&mut self) {
        // One that is still being written may be such a file.
        if self.removals_ended || self.folder.as_ref().is_some_and(Folder::is_settling) {
            return;
        }
        self.removals_ended = true;
        if !self.condemned.is_empty() {
            let removed = self.node.finish_removals(self.stuck.clone());
            let to_self = self.to_self.clone();
            tokio::spawn(async move {
                // A daemon that has ended wants to know nothing.
                let _ = to_self.send(Inside::Removed(removed.await)).await;
            });
        }
    }

    fn on_removed(&mut self, removed: Result<Vec<(InfoHash, OrderError)>, OrderError>) {
        match removed {
            Ok(failed) => {
                for (key, error) in &failed {
                    self.context.output.warn(&format!("the removal of {key} did not end: {error}"));
                }
                // The next run tries again; until then they stay out.
                self.condemned = failed.into_iter().map(|(key, _)| key).collect();
                self.condemned.extend(&self.stuck);
            }
            Err(error) => self.context.output.warn(&format!("a removal did not end: {error}")),
        }
    }

    fn sort_queue(&mut self) {
        let node = self.node;
        self.queue.sort_by(|key| node.left_of(key).place);
    }

    /// Lets those run whose turn it is.
    fn take_turns(&mut self) {
        if !self.queue.is_limited() {
            return;
        }
        for held in self.torrents.values() {
            let finished = held.activity.finished.load(Ordering::Relaxed);
            let lane = if finished { Lane::Seed } else { Lane::Download };
            let moved_at = held.activity.moved_at();
            // What waits has told nothing yet; what is known of it from before holds.
            if moved_at.is_some() || finished {
                self.queue.note(held.key, lane, moved_at);
            }
        }
        let turns = self.queue.decide(Instant::now());
        self.tell_turns(turns);
    }

    fn tell_turns(&self, turns: impl IntoIterator<Item = Turn>) {
        for turn in turns {
            let (Turn::Run(key) | Turn::Wait(key)) = turn;
            let Some(held) = self.files.get(&key).and_then(|file| self.torrents.get(file)) else {
                continue;
            };
            // Told now; nobody waits until it is done. One that has ended needs no turn.
            match turn {
                Turn::Run(_) => drop(tokio::spawn(held.torrent.run())),
                Turn::Wait(_) => drop(tokio::spawn(held.torrent.wait())),
            }
        }
    }

    async fn on_change(&mut self, change: Read) {
        match change {
            Read::Came(file, source) => self.add(file, source).await,
            Read::Changed(file, source) => {
                self.remove(&file);
                self.add(file, source).await;
            }
            Read::Went(file) => self.remove(&file),
        }
    }

    /// Content came to be shared, or will not be any more.
    async fn on_share(&mut self, told: ShareTold) {
        match told {
            ShareTold::Came { path, name, add } => {
                self.remove(&path);
                self.admit(Newcomer { file: path, name, shared: true, add }).await;
            }
            ShareTold::Went(path) => self.remove(&path),
            ShareTold::Refused { path, name, reason } => self.refuse_share(&name, &path, &reason),
            ShareTold::AllSeen => {
                self.sharing = false;
                self.tell_ready();
            }
        }
    }

    fn refuse_share(&self, name: &str, path: &Path, reason: &str) {
        self.context.output.warn(&format!("{} is not shared: {reason}", path.display()));
        self.tell("refused", name, path, Some(reason));
    }

    async fn on_told(&mut self, told: Inside) {
        match told {
            Inside::Torrent(file, event) => self.on_event(&file, event),
            Inside::Left { file, key, name } => self.on_left(&file, key, &name).await,
            Inside::Removed(removed) => self.on_removed(removed),
        }
    }

    fn on_event(&mut self, file: &Path, event: Event) {
        if let (Event::Open, Some(held)) = (&event, self.torrents.get_mut(file)) {
            held.open = true;
        }
        let Some(held) = self.torrents.get(file) else { return };
        match event {
            Event::Open => {
                self.opening = self.opening.map(|count| count.saturating_sub(1));
                self.tell_ready();
            }
            Event::Done(done) => done.tell(&self.context.output),
            Event::Failed(reason) => {
                self.context.output.warn(&format!("{}: {reason}", held.name));
                self.tell("failed", &held.name, file, Some(&reason));
            }
            Event::Paused(reason) => {
                self.context.output.warn(&format!("{}: paused: {reason}", held.name));
            }
            Event::Seeded => {
                self.tell("seeded", &held.name, file, None);
                let torrent = held.torrent.clone();
                self.queue.set_will(held.key, Will::Hold);
                // One that has ended is not seeded either.
                drop(tokio::spawn(async move { torrent.hold(Rest::Seeded).await }));
            }
        }
    }

    /// Once, when all torrents that were there from the start are open.
    fn tell_ready(&mut self) {
        if self.opening != Some(0) || self.unseen || self.sharing {
            return;
        }
        // Last, since it looks at every file.
        if self.folder.as_ref().is_some_and(Folder::is_settling) {
            return;
        }
        self.opening = None;
        let ready = Ready {
            listening: self.node.listening().iter().map(ToString::to_string).collect(),
            torrents: self.folder.as_ref().map(Folder::path),
            api: self.api.as_deref(),
            count: self.torrents.len(),
        };
        let count = ready.count;
        self.context.output.note(&format!("{count} torrents; Ctrl-C ends"));
        if let Some(api) = ready.api {
            self.context.output.note(&format!("`teem transfers` shows them (API at {api})"));
        }
        self.context.output.object("ready", &ready);
    }

    fn tell(&self, kind: &'static str, name: &str, file: &Path, reason: Option<&str>) {
        self.context.output.object(kind, &Told { name, file, reason });
        if reason.is_none() {
            self.context.output.note(&format!("{kind} {name}"));
        }
    }
}

/// As long as a person waits for a sign that a file was seen.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// Whoever follows a torrent waits when so many have something to tell.
const EVENTS_WAITING: usize = 64;
