//! Torrents come to a daemon and go again. Whatever takes its time is waited for by tasks, which tell the daemon
//! when it has ended: a copy to another disk, say, that a torrent is in the middle of.
//!
//! Invariant: who takes the place of a torrent that goes, or is the same one again, comes when that has ended.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use node::{Add, Begin, Content, Force, LeftOf, Rest, Source};
use proto::InfoHash;

use super::files::put_away;
use super::life::{self, Activity, Event};
use super::queue::{Lane, Will};
use super::{Daemon, Held, Inside};

/// A torrent that comes.
pub(super) struct Newcomer {
    /// Its torrent file, or its content where that is shared.
    pub(super) file: PathBuf,
    pub(super) name: String,
    /// It is shared from where it lies.
    pub(super) shared: bool,
    pub(super) add: Box<Add>,
}

/// Those that go, and those that wait for that.
#[derive(Default)]
pub(super) struct Leaving {
    keys: BTreeSet<InfoHash>,
    files: BTreeSet<PathBuf>,
    /// By their files, so there are as many as the folders have.
    waiting: BTreeMap<PathBuf, Newcomer>,
}

impl Leaving {
    pub(super) fn begin(&mut self, file: &Path, key: InfoHash) {
        self.keys.insert(key);
        self.files.insert(file.to_owned());
    }

    /// Nobody is to begin anything with it any more.
    pub(super) fn has(&self, file: &Path) -> bool {
        self.files.contains(file)
    }

    /// It has gone: those who may have waited for it.
    fn end(&mut self, file: &Path, key: InfoHash) -> Vec<Newcomer> {
        self.keys.remove(&key);
        self.files.remove(file);
        let due = |newcomer: &Newcomer| newcomer.file == file || newcomer.key() == key;
        self.waiting.extract_if(.., |_, newcomer| due(newcomer)).map(|(_, each)| each).collect()
    }

    /// Who need not wait.
    fn pass(&mut self, newcomer: Newcomer) -> Option<Newcomer> {
        // What came under that name before has been overtaken.
        self.waiting.remove(&newcomer.file);
        if self.keys.contains(&newcomer.key()) || self.files.contains(&newcomer.file) {
            self.waiting.insert(newcomer.file.clone(), newcomer);
            return None;
        }
        Some(newcomer)
    }

    /// It will not come after all.
    fn call_off(&mut self, file: &Path) {
        self.waiting.remove(file);
    }
}

impl Newcomer {
    fn key(&self) -> InfoHash {
        key_of(&self.add.source)
    }
}

impl Daemon<'_> {
    /// Takes what a file of the watched folder says.
    pub(super) async fn add(&mut self, file: PathBuf, source: anyhow::Result<Source>) {
        let name = file.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let source = match source {
            Ok(source) => source,
            Err(error) => return self.refuse(&name, &file, &error),
        };
        let key = self.node.known_as(key_of(&source));
        if self.condemned.contains(&key) {
            if let Err(error) = put_away(&file).await {
                self.context.output.warn(&format!("{} stays: {error}", file.display()));
                // It would come back as a new one.
                self.stuck.insert(key);
            }
            return;
        }
        let content = Content::Fetch { folder: self.rules.output.clone() };
        let trackers = self.rules.trackers.clone();
        let add = Box::new(Add { trackers, ..Add::new(source, content) });
        self.admit(Newcomer { file, name, shared: false, add }).await;
    }

    /// Lets it in, as soon as those whose place it takes have gone.
    pub(super) async fn admit(&mut self, newcomer: Newcomer) {
        let Some(Newcomer { file, name, shared, add }) = self.leaving.pass(newcomer) else {
            return;
        };
        match self.start(&file, *add).await {
            Ok((key, torrent)) => {
                self.tell(if shared { "shared" } else { "added" }, &name, &file, None);
                self.opening = self.opening.map(|count| count + 1);
                self.hold_on(file, (name, key, shared), torrent);
            }
            Err(error) if shared => self.refuse_share(&name, &file, &format!("{error:#}")),
            Err(error) => self.refuse(&name, &file, &error),
        }
    }

    fn refuse(&self, name: &str, file: &Path, error: &anyhow::Error) {
        let reason = format!("{error:#}");
        self.context.output.warn(&format!("{} is not taken: {reason}", file.display()));
        self.tell("refused", name, file, Some(&reason));
    }

    /// Adds a torrent as an earlier run left it, in its place in the queue.
    async fn start(&mut self, file: &Path, add: Add) -> anyhow::Result<(InfoHash, node::Torrent)> {
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
            let to = life::Teller::new(file.to_owned(), self.to_self.clone());
            // A move of an earlier run may have to be ended first.
            tokio::spawn(async move {
                if let Err(error) = resumed.await {
                    to.tell(Event::Failed(format!("it is not seeded again: {error}"))).await;
                }
            });
        }
        Ok((key, torrent))
    }

    fn hold_on(
        &mut self,
        file: PathBuf,
        (name, key, shared): (String, InfoHash, bool),
        torrent: node::Torrent,
    ) {
        let to = life::Teller::new(file.clone(), self.to_self.clone());
        let activity = Arc::<Activity>::default();
        let forced = self.queue.will(key) == Some(Will::Force);
        activity.forced.store(forced, Ordering::Relaxed);
        let seeded = self.rules.seeded;
        let following = life::follow(torrent.clone(), seeded, activity.clone(), to);
        let following = tokio::spawn(following);
        self.files.insert(key, file.clone());
        let open = false;
        self.torrents.insert(file, Held { name, key, shared, torrent, activity, open, following });
    }

    /// Its file is not there any more: it ends, and its content stays.
    pub(super) fn remove(&mut self, file: &Path) {
        self.leaving.call_off(file);
        if self.leaving.has(file) {
            return;
        }
        let Some(Held { name, key, torrent, .. }) = self.forget(file) else { return };
        self.leaving.begin(file, key);
        let (to_self, file) = (self.to_self.clone(), file.to_owned());
        tokio::spawn(async move {
            torrent.stop().await;
            // A daemon that has ended wants to know nothing.
            let _ = to_self.send(Inside::Left { file, key, name }).await;
        });
    }

    /// A torrent has gone: others may be waiting for that.
    pub(super) async fn on_left(&mut self, file: &Path, key: InfoHash, name: &str) {
        // One that was removed with its content was shown until now.
        self.forget(file);
        self.tell("removed", name, file, None);
        for newcomer in self.leaving.end(file, key) {
            self.admit(newcomer).await;
        }
        self.sort_queue();
    }

    fn forget(&mut self, file: &Path) -> Option<Held> {
        let held = self.torrents.remove(file)?;
        held.following.abort();
        self.files.remove(&held.key);
        self.queue.remove(held.key);
        if !held.open {
            self.opening = self.opening.map(|count| count.saturating_sub(1));
        }
        Some(held)
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
