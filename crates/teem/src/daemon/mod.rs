//! A node with many torrents: those whose files people drop into a folder, and content that they drop into
//! another one to share. The folders are the list: what is put in is added, what is taken out ends, and
//! its content stays. What people order beside that (`desk`) outlives the run in the node's record.

mod desk;
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
use node::{Add, Begin, Content, Force, LeftOf, Node, Rest, Source, Torrent};
use proto::InfoHash;
use proto::magnet::Magnet;
use proto::metainfo::Metainfo;
use serde::Serialize;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::MissedTickBehavior;

use crate::cli::Context;
use crate::seed_limits::SeedLimits;
use folder::{Change, Folder};
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
    /// Torrents whose removal an earlier run did not end.
    condemned: BTreeSet<InfoHash>,
    /// Those of them whose files cannot be taken out of the folder.
    stuck: BTreeSet<InfoHash>,
    /// Those removals were ended, as far as they can be.
    removals_ended: bool,
    /// What those who follow them tell. Few wait at once: each is heard in a moment.
    told: mpsc::Receiver<(PathBuf, Event)>,
    to_self: mpsc::Sender<(PathBuf, Event)>,
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
    following: JoinHandle<()>,
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
                Some((file, event)) = self.told.recv() => self.on_event(&file, event),
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
                    let node = self.node;
                    self.queue.sort_by(|key| node.left_of(key).place);
                }
                self.end_removals().await;
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
    async fn end_removals(&mut self) {
        if std::mem::replace(&mut self.removals_ended, true) || self.condemned.is_empty() {
            return;
        }
        match self.node.finish_removals(self.stuck.clone()).await {
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
                self.remove(&file).await;
                self.add(file, source).await;
            }
            Read::Went(file) => self.remove(&file).await,
        }
    }

    async fn add(&mut self, file: PathBuf, source: anyhow::Result<Source>) {
        let name = file.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let key = source.as_ref().map(key_of).ok();
        if let Some(key) = key.filter(|key| self.condemned.contains(key)) {
            if let Err(error) = put_away(&file).await {
                self.context.output.warn(&format!("{} stays: {error}", file.display()));
                // It would come back as a new one.
                self.stuck.insert(key);
            }
            return;
        }
        let added = match source {
            Ok(source) => {
                let content = Content::Fetch { folder: self.rules.output.clone() };
                let trackers = self.rules.trackers.clone();
                self.start(Add { trackers, ..Add::new(source, content) }).await
            }
            Err(error) => Err(error),
        };
        let (key, torrent) = match added {
            Ok(added) => added,
            Err(error) => {
                let reason = format!("{error:#}");
                self.context.output.warn(&format!("{} is not taken: {reason}", file.display()));
                self.tell("refused", &name, &file, Some(&reason));
                return;
            }
        };
        self.opening = self.opening.map(|count| count + 1);
        self.tell("added", &name, &file, None);
        self.hold_on(file, (name, key, false), torrent);
    }

    /// Adds a torrent as an earlier run left it, in its place in the queue.
    async fn start(&mut self, add: Add) -> anyhow::Result<(InfoHash, Torrent)> {
        let (key, wanted_len) = (key_of(&add.source), len_of(&add.source));
        let left = self.node.left_of(key);
        let enough = |len| self.rules.seeded.are_met(&left.totals, len);
        // Seeded enough by the limits of then, not by those of now.
        let again = left.rest == Some(Rest::Seeded) && !wanted_len.is_some_and(enough);
        let will = if again { Will::Queue } else { will_of(&left) };
        let waits = self.queue.is_limited() && will == Will::Queue;
        let begin = if waits { Begin::Waiting } else { Begin::AsLeft };
        let torrent = self.node.add(Add { begin, ..add }).await?;
        let lane = if left.finished { Lane::Seed } else { Lane::Download };
        self.queue.insert(Instant::now(), key, lane, will);
        if again {
            let resumed = torrent.resume(Force::No);
            if waits {
                drop(tokio::spawn(torrent.wait()));
            }
            resumed.await.context("go on seeding")?;
        }
        Ok((key, torrent))
    }

    fn hold_on(
        &mut self,
        file: PathBuf,
        (name, key, shared): (String, InfoHash, bool),
        torrent: Torrent,
    ) {
        let to = life::Teller::new(file.clone(), self.to_self.clone());
        let activity = Arc::<Activity>::default();
        let forced = self.queue.will(key) == Some(Will::Force);
        activity.forced.store(forced, Ordering::Relaxed);
        let seeded = self.rules.seeded;
        let following = life::follow(torrent.clone(), seeded, activity.clone(), to);
        let following = tokio::spawn(following);
        self.files.insert(key, file.clone());
        self.torrents.insert(file, Held { name, key, shared, torrent, activity, following });
    }

    async fn remove(&mut self, file: &Path) {
        let Some(held) = self.forget(file) else { return };
        held.torrent.stop().await;
        self.tell("removed", &held.name, file, None);
    }

    fn forget(&mut self, file: &Path) -> Option<Held> {
        let held = self.torrents.remove(file)?;
        held.following.abort();
        self.files.remove(&held.key);
        self.queue.remove(held.key);
        Some(held)
    }

    /// Content came to be shared, or will not be any more.
    async fn on_share(&mut self, told: ShareTold) {
        match told {
            ShareTold::Came { path, name, add } => {
                self.remove(&path).await;
                match self.start(*add).await {
                    Ok((key, torrent)) => {
                        self.tell("shared", &name, &path, None);
                        self.hold_on(path, (name, key, true), torrent);
                    }
                    Err(error) => self.refuse_share(&name, &path, &format!("{error:#}")),
                }
            }
            ShareTold::Went(path) => self.remove(&path).await,
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

    fn on_event(&mut self, file: &Path, event: Event) {
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
        let settling = self.folder.as_ref().is_some_and(Folder::is_settling);
        if self.opening != Some(0) || settling || self.unseen || self.sharing {
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

/// By what the record knows the torrent.
fn key_of(source: &Source) -> InfoHash {
    match source {
        Source::Metainfo(metainfo) => metainfo.info.hashes().primary(),
        Source::Magnet(magnet) => magnet.hashes.primary(),
    }
}

fn len_of(source: &Source) -> Option<u64> {
    match source {
        Source::Metainfo(metainfo) => Some(metainfo.info.content_len()),
        Source::Magnet(_) => None,
    }
}

fn will_of(left: &LeftOf) -> Will {
    match (left.rest, left.force) {
        (Some(_), _) => Will::Hold,
        (None, Force::Yes) => Will::Force,
        (None, Force::No) => Will::Queue,
    }
}

/// The torrent is removed: its file stays, under a name that nobody takes for one.
async fn put_away(file: &Path) -> io::Result<()> {
    let file = file.to_owned();
    let renamed = tokio::task::spawn_blocking(move || rename_away(&file)).await;
    renamed.map_err(io::Error::other)?
}

/// On the disk when it returns; when it fails, the file is where it was.
fn rename_away(file: &Path) -> io::Result<()> {
    let mut number = 0;
    let away = loop {
        let mut away = file.as_os_str().to_owned();
        away.push(if number == 0 { ".removed".to_owned() } else { format!(".removed-{number}") });
        let away = PathBuf::from(away);
        if !away.exists() {
            break away;
        }
        number += 1;
    };
    std::fs::rename(file, &away)?;
    let folder = file.parent().unwrap_or_else(|| Path::new("/"));
    let synced = std::fs::File::open(folder).and_then(|folder| folder.sync_all());
    if synced.is_err() {
        std::fs::rename(&away, file)?;
    }
    synced
}

/// A change, with what the file says.
enum Read {
    Came(PathBuf, anyhow::Result<Source>),
    Changed(PathBuf, anyhow::Result<Source>),
    Went(PathBuf),
}

impl Read {
    fn of(change: Change) -> Self {
        match change {
            Change::Came(file) => {
                let source = read(&file);
                Self::Came(file, source)
            }
            Change::Changed(file) => {
                let source = read(&file);
                Self::Changed(file, source)
            }
            Change::Went(file) => Self::Went(file),
        }
    }
}

fn is_torrent(file: &Path) -> bool {
    let hidden = file.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"."));
    let end = file.extension().unwrap_or_default();
    !hidden && (end.eq_ignore_ascii_case("torrent") || end.eq_ignore_ascii_case("magnet"))
}

/// What a torrent file, or a file with a magnet link in it, says.
fn read(file: &Path) -> anyhow::Result<Source> {
    let bytes = crate::torrent_file::read_bytes(file)?;
    if file.extension().is_some_and(|end| end.eq_ignore_ascii_case("magnet")) {
        let link = std::str::from_utf8(&bytes).context("it is no text")?;
        let magnet: Magnet =
            link.trim().parse().context("it has no magnet link that can be used")?;
        return Ok(Source::Magnet(magnet));
    }
    let metainfo = Metainfo::decode(&bytes).context("it is not a torrent that can be used")?;
    Ok(Source::Metainfo(Box::new(metainfo)))
}

/// As long as a person waits for a sign that a file was seen.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// Whoever follows a torrent waits when so many have something to tell.
const EVENTS_WAITING: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_cannot_be_put_away_is_told_of() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("a.torrent");
        assert!(rename_away(&file).is_err(), "there is none");
        for away in ["a.torrent.removed", "a.torrent.removed-1"] {
            std::fs::write(&file, b"a").expect("written");
            rename_away(&file).expect("put away");
            assert!(!file.exists() && folder.path().join(away).exists(), "{away}");
        }
    }
}
