//! A node with many torrents: those whose files people drop into a folder. The folder is the list: what is
//! put in is added, what is taken out ends, and its content stays.

mod folder;
mod life;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use anyhow::Context as _;
use node::{Add, Content, Node, Source, Torrent};
use proto::magnet::Magnet;
use proto::metainfo::Metainfo;
use serde::Serialize;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::MissedTickBehavior;

use crate::cli::Context;
use crate::seed_limits::SeedLimits;
use folder::{Change, Folder};
use life::Event;

/// What all torrents of a daemon have in common.
#[derive(Debug)]
pub(crate) struct Rules {
    /// Where their content goes, or is already.
    pub(crate) output: PathBuf,
    /// Announced to beside their own trackers, in tiers.
    pub(crate) trackers: Vec<Vec<String>>,
    /// How long each is seeded.
    pub(crate) seeded: SeedLimits,
}

/// The torrents of a folder, and the node that has them.
pub(crate) struct Daemon<'a> {
    node: &'a Node,
    rules: Rules,
    context: &'a Context,
    folder: Option<Folder>,
    torrents: BTreeMap<PathBuf, Held>,
    /// What those who follow them tell. Few wait at once: each is heard in a moment.
    told: mpsc::Receiver<(PathBuf, Event)>,
    to_self: mpsc::Sender<(PathBuf, Event)>,
    /// Torrents whose files are not open yet; not counted once everybody was told that the daemon is ready.
    opening: Option<usize>,
    away: bool,
}

/// A torrent of the folder.
struct Held {
    name: String,
    torrent: Torrent,
    following: JoinHandle<()>,
}

/// The daemon runs.
#[derive(Debug, Serialize)]
struct Ready {
    /// Where peers connect to.
    listening: Vec<String>,
    /// The folder that is watched.
    torrents: PathBuf,
    /// Torrents in it that run.
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

impl<'a> Daemon<'a> {
    /// A daemon that takes the torrents of that folder.
    pub(crate) fn new(
        node: &'a Node,
        torrents: PathBuf,
        rules: Rules,
        context: &'a Context,
    ) -> Self {
        let (to_self, told) = mpsc::channel(EVENTS_WAITING);
        Self {
            node,
            rules,
            context,
            folder: Some(Folder::new(torrents, is_torrent)),
            torrents: BTreeMap::new(),
            told,
            to_self,
            opening: Some(0),
            away: false,
        }
    }

    /// Runs until a signal comes.
    pub(crate) async fn run(mut self) -> anyhow::Result<()> {
        let mut tick = tokio::time::interval(LOOK_EVERY);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                biased;
                () = self.context.interrupt.wait() => break,
                Some((file, event)) = self.told.recv() => self.on_event(&file, event),
                _ = tick.tick() => self.look().await?,
            }
        }
        for held in self.torrents.values() {
            held.following.abort();
        }
        Err(self.context.interrupt.failure().into())
    }

    /// Looks into the folder, and does what people did there.
    async fn look(&mut self) -> anyhow::Result<()> {
        let Some(mut folder) = self.folder.take() else { return Ok(()) };
        let looked = tokio::task::spawn_blocking(move || {
            // File times are by this clock.
            let changes = folder.look(SystemTime::now());
            let changes = changes.map(|changes| changes.into_iter().map(Read::of).collect());
            (folder, changes)
        });
        let (folder, changes): (Folder, std::io::Result<Vec<Read>>) =
            looked.await.context("look into the watched folder")?;
        let path = folder.path().to_owned();
        self.folder = Some(folder);
        match changes {
            Ok(changes) => {
                self.away = false;
                for change in changes {
                    self.on_change(change).await;
                }
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
        let added = match source {
            Ok(source) => {
                let content = Content::Fetch { folder: self.rules.output.clone() };
                let trackers = self.rules.trackers.clone();
                let add = Add { trackers, ..Add::new(source, content) };
                self.node.add(add).await.map_err(anyhow::Error::from)
            }
            Err(error) => Err(error),
        };
        let torrent = match added {
            Ok(torrent) => torrent,
            Err(error) => {
                let reason = format!("{error:#}");
                self.context.output.warn(&format!("{} is not taken: {reason}", file.display()));
                self.tell("refused", &name, &file, Some(&reason));
                return;
            }
        };
        self.opening = self.opening.map(|count| count + 1);
        self.tell("added", &name, &file, None);
        let to = life::Teller::new(file.clone(), self.to_self.clone());
        let following = tokio::spawn(life::follow(torrent.clone(), self.rules.seeded, to));
        self.torrents.insert(file, Held { name, torrent, following });
    }

    async fn remove(&mut self, file: &Path) {
        let Some(held) = self.torrents.remove(file) else { return };
        held.following.abort();
        held.torrent.stop().await;
        self.tell("removed", &held.name, file, None);
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
            Event::Seeded => self.tell("seeded", &held.name, file, None),
        }
    }

    /// Once, when all torrents that were there from the start are open.
    fn tell_ready(&mut self) {
        let (Some(0), Some(folder)) = (self.opening, &self.folder) else { return };
        if folder.is_settling() {
            return;
        }
        self.opening = None;
        let ready = Ready {
            listening: self.node.listening().iter().map(ToString::to_string).collect(),
            torrents: folder.path().to_owned(),
            count: self.torrents.len(),
        };
        let (count, folder) = (ready.count, folder.path().display());
        self.context.output.note(&format!("watching {folder}: {count} torrents; Ctrl-C ends"));
        self.context.output.object("ready", &ready);
    }

    fn tell(&self, kind: &'static str, name: &str, file: &Path, reason: Option<&str>) {
        self.context.output.object(kind, &Told { name, file, reason });
        if reason.is_none() {
            self.context.output.note(&format!("{kind} {name}"));
        }
    }
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
