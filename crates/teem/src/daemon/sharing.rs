//! A folder for content: what people drop into it is hashed, published under its name and seeded; what
//! changes is a new version, and what is taken out is not shared any more.
//!
//! Two looks that find the same say that nobody writes to a thing any more (`watching::Fingerprint`). One
//! thing is hashed at a time. A tracker that is away keeps nobody from seeding: the name follows.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use node::{Add, Content, Node, Source};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tracker::About;

use crate::cli::Context;
use crate::hashing::{self, Made, Recipe};
use crate::locate::Trackers;
use crate::seeding::{self, Offer};
use crate::watching::Fingerprint;

/// What becomes of content that is to be shared.
#[derive(Debug)]
pub(crate) enum Told {
    /// It is hashed, and takes the place of what was there before.
    Came { path: PathBuf, name: String, add: Box<Add> },
    /// It is gone.
    Went(PathBuf),
    /// It cannot be shared.
    Refused { path: PathBuf, name: String, reason: String },
    /// All that was there from the start has been told of.
    AllSeen,
}

/// The folder, and how its content is shared.
pub(crate) struct Shares {
    pub(crate) folder: PathBuf,
    /// Without the name.
    pub(crate) recipe: Recipe,
    pub(crate) trackers: Trackers,
    /// Strangers do not hear of it through the DHT.
    pub(crate) secluded: bool,
    pub(crate) context: Context,
}

/// Something that is shared.
struct Thing {
    made: Made,
    publishing: JoinHandle<()>,
}

impl Thing {
    fn is(&self, made: &Made) -> bool {
        self.made.metainfo.info.hashes() == made.metainfo.info.hashes()
    }
}

impl Drop for Thing {
    fn drop(&mut self) {
        self.publishing.abort();
    }
}

/// How each thing in the folder was at the last look.
#[derive(Debug, Default)]
struct Looks(BTreeMap<PathBuf, Seen>);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Seen {
    now: Fingerprint,
    /// How it was when it was told of.
    told: Option<Fingerprint>,
}

/// What a look finds.
#[derive(Debug, PartialEq, Eq)]
enum Change {
    /// It has come, or is another one.
    Settled(PathBuf),
    Went(PathBuf),
}

impl Shares {
    /// Watches until nobody listens.
    pub(crate) async fn watch(self, node: &Node, tell: mpsc::Sender<Told>) -> anyhow::Result<()> {
        let shares = Arc::new(self);
        let mut looks = Looks::default();
        let mut things = BTreeMap::new();
        let (mut away, mut all_seen) = (false, false);
        loop {
            let begun = Instant::now();
            let folder = shares.folder.clone();
            let looked = tokio::task::spawn_blocking(move || {
                let changes = looks.look(&folder);
                (looks, changes)
            });
            let (back, changes) = looked.await?;
            looks = back;
            // A look at many files must not become a load of its own.
            let pause = LOOK_EVERY.max(begun.elapsed() * REST);
            match &changes {
                Err(error) if !std::mem::replace(&mut away, true) => {
                    let folder = shares.folder.display();
                    shares.context.output.warn(&format!("cannot look into {folder}: {error}"));
                }
                Err(_) => {}
                Ok(_) => away = false,
            }
            for change in changes.unwrap_or_default() {
                let told = shares.clone().on_change(node, change, &mut things).await;
                let told = told.unwrap_or_else(|path| {
                    looks.forget(&path);
                    None
                });
                let Some(told) = told else { continue };
                if tell.send(told).await.is_err() {
                    return Ok(());
                }
            }
            if !looks.is_settling() && !std::mem::replace(&mut all_seen, true) {
                // Whoever does not listen any more needs nothing.
                let _ = tell.send(Told::AllSeen).await;
            }
            tokio::time::sleep(pause).await;
        }
    }

    /// What to tell of it.
    ///
    /// # Errors
    /// It has changed in the meantime, and is to be looked at again.
    async fn on_change(
        self: Arc<Self>,
        node: &Node,
        change: Change,
        things: &mut BTreeMap<PathBuf, Thing>,
    ) -> Result<Option<Told>, PathBuf> {
        let path = match change {
            Change::Went(path) => {
                things.remove(&path);
                return Ok(Some(Told::Went(path)));
            }
            Change::Settled(path) => path,
        };
        let before = things.remove(&path);
        match self.hash(node, &path, before.as_ref().map(|thing| &thing.made)).await {
            Ok((name, made)) => {
                let is_same = before.is_some_and(|before| before.is(&made));
                let add = Box::new(self.add(&path, &name, &made));
                let publish = self.publish(name.clone(), path.clone(), made.clone());
                let publishing = tokio::spawn(publish);
                things.insert(path.clone(), Thing { made, publishing });
                Ok((!is_same).then_some(Told::Came { path, name, add }))
            }
            Err(error) if hashing::is_changing(&error) => Err(path),
            Err(error) => {
                let name = name_of(&path).unwrap_or_default();
                Ok(Some(Told::Refused { path, name, reason: format!("{error:#}") }))
            }
        }
    }

    async fn hash(
        &self,
        node: &Node,
        path: &Path,
        before: Option<&Made>,
    ) -> anyhow::Result<(String, Made)> {
        let name = name_of(path).ok_or_else(|| anyhow::anyhow!("others cannot read its name"))?;
        let recipe = Recipe { name: name.clone(), ..self.recipe.clone() };
        let made = match before {
            Some(before) => hashing::create_after(path, recipe, before, &self.context).await?,
            None => hashing::recall_or_create(node, path, recipe, &self.context).await?,
        };
        Ok((name, made))
    }

    fn add(&self, path: &Path, name: &str, made: &Made) -> Add {
        let source = Source::Metainfo(Box::new(made.metainfo.clone()));
        let content = Content::Share { path: path.to_owned(), fresh: Some(made.fresh.clone()) };
        let (trackers, name) = (self.trackers.tiers(), Some(name.to_owned()));
        Add { trackers, name, secluded: self.secluded, ..Add::new(source, content) }
    }

    /// Puts it into the catalogues, as soon as one is there.
    async fn publish(self: Arc<Self>, name: String, path: PathBuf, made: Made) {
        if self.trackers.catalogues.is_empty() {
            return;
        }
        let about = About::new(None, None).unwrap_or_default();
        let (trackers, super_seed) = (self.trackers.clone(), false);
        let offer = Offer { name, path, made, about, trackers, super_seed };
        match seeding::publish_when_there(&offer, &self.context).await {
            Err(error) if !self.context.interrupt.has_come() => {
                self.context.output.warn(&format!("{} is not published: {error:#}", offer.name));
            }
            Ok(_) | Err(_) => {}
        }
    }
}

/// The name of what lies there.
fn name_of(path: &Path) -> Option<String> {
    path.file_name()?.to_str().map(str::to_owned)
}

impl Looks {
    /// What has changed since the last look. Blocks.
    ///
    /// # Errors
    /// The folder cannot be read. Then nothing has gone.
    fn look(&mut self, folder: &Path) -> std::io::Result<Vec<Change>> {
        let mut there = BTreeMap::new();
        for entry in std::fs::read_dir(folder)? {
            let entry = entry?;
            // What begins with a dot is somebody's draft; what is a link is judged by what it leads to.
            if entry.file_name().as_encoded_bytes().starts_with(b".") || !entry.path().exists() {
                continue;
            }
            there.insert(entry.path(), Fingerprint::of(&entry.path()));
        }
        Ok(self.compare(there))
    }

    fn compare(&mut self, there: BTreeMap<PathBuf, Fingerprint>) -> Vec<Change> {
        let mut changes = Vec::new();
        self.0.retain(|path, seen| {
            let stays = there.contains_key(path);
            if !stays && seen.told.is_some() {
                changes.push(Change::Went(path.clone()));
            }
            stays
        });
        for (path, now) in there {
            let seen = self.0.entry(path.clone());
            let is_new = matches!(seen, std::collections::btree_map::Entry::Vacant(_));
            let seen = seen.or_insert(Seen { now, told: None });
            let quiet = !is_new && seen.now == now;
            seen.now = now;
            if quiet && seen.told != Some(now) {
                seen.told = Some(now);
                changes.push(Change::Settled(path));
            }
        }
        changes
    }

    /// Somebody may still be writing to something.
    fn is_settling(&self) -> bool {
        self.0.values().any(|seen| seen.told != Some(seen.now))
    }

    /// It is looked at as if it had just come.
    fn forget(&mut self, path: &Path) {
        if let Some(seen) = self.0.get_mut(path) {
            seen.told = None;
        }
    }
}

/// Between looks.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// A look is followed by so many times its own length of rest.
const REST: u32 = 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thing_is_told_of_once_it_rests_and_again_when_it_has_changed() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = |name: &str| folder.path().join(name);
        let write = |name: &str, text: &str| std::fs::write(path(name), text).expect("a file");
        let mut looks = Looks::default();
        let mut look = || (looks.look(folder.path()).expect("a look"), looks.is_settling());
        write(".hidden", "");
        assert_eq!(look(), (vec![], false));
        write("a", "1");
        std::fs::create_dir(path("b")).expect("a folder");
        write("b/c", "1");
        assert_eq!(look(), (vec![], true));
        write("a", "12");
        assert_eq!(look(), (vec![Change::Settled(path("b"))], true));
        assert_eq!(look(), (vec![Change::Settled(path("a"))], false));
        assert_eq!(look(), (vec![], false));
        write("b/c", "123");
        assert_eq!(look(), (vec![], true));
        assert_eq!(look(), (vec![Change::Settled(path("b"))], false));
        std::fs::remove_file(path("a")).expect("it goes");
        write("new", "1");
        std::fs::remove_file(path("new")).expect("it goes");
        assert_eq!(look(), (vec![Change::Went(path("a"))], false));
    }
}
