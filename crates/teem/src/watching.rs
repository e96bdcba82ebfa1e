//! Publishes what is shared again whenever it has changed.
//!
//! Changes are found by looking: sizes, times and inodes of all files, once a second, and less often
//! when a look takes long. That works on every file system, network ones too, and needs no watch for
//! each folder. What is new is hashed when two looks in a row were equal, so nothing is hashed in the
//! middle of being written; the hashing itself notices what changes under it.

use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash as _, Hasher as _};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::{Duration, Instant};

use node::{Node, State, Torrent};
use walkdir::WalkDir;

use crate::cli::Context;
use crate::hashing::{self, Made, Recipe};
use crate::seeding::{self, Offer, Ready, shell_quoted};

/// Content that is published again when it changes.
pub(crate) struct Watching<'a> {
    pub(crate) node: &'a Node,
    /// What is shared now.
    pub(crate) offer: Offer,
    pub(crate) recipe: Recipe,
    /// How the content was before it was hashed for `offer`.
    pub(crate) seen: Fingerprint,
    pub(crate) context: &'a Context,
}

/// How the files below a path are: equal when nobody wrote to any.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Fingerprint(u64);

impl Fingerprint {
    /// Looks at every file below `path`. What cannot be looked at counts as not there. Blocks.
    pub(crate) fn of(path: &Path) -> Self {
        // Keys that never change: equal content must look equal in the next run of the loop only.
        let mut hasher = DefaultHasher::new();
        for entry in
            WalkDir::new(path).follow_root_links(true).sort_by_file_name().into_iter().flatten()
        {
            entry.path().hash(&mut hasher);
            let Ok(metadata) = entry.metadata() else { continue };
            metadata.mode().hash(&mut hasher);
            if !metadata.is_dir() {
                let times = (
                    metadata.mtime(),
                    metadata.mtime_nsec(),
                    metadata.ctime(),
                    metadata.ctime_nsec(),
                );
                (metadata.ino(), metadata.size(), times).hash(&mut hasher);
            }
        }
        Self(hasher.finish())
    }

    /// The same on a thread that may block.
    pub(crate) async fn look(path: &Path) -> anyhow::Result<Self> {
        let path = path.to_owned();
        Ok(tokio::task::spawn_blocking(move || Self::of(&path)).await?)
    }
}

/// A version that was replaced and is still served, and since when.
struct Replaced(Torrent, Instant);

impl Watching<'_> {
    /// Seeds, and publishes each new version, until a signal comes or it cannot go on. `ready` is told
    /// of the first version.
    pub(crate) async fn run(
        mut self,
        version: u32,
        ready: impl FnOnce(&Ready),
    ) -> anyhow::Result<()> {
        let (mut torrent, told) =
            seeding::start(self.node, (&self.offer, version), self.context).await?;
        ready(&told);
        let mut replaced: Vec<Replaced> = Vec::new();
        loop {
            let made = tokio::select! {
                ended = self.context.interrupt.or(seeding::serve(&torrent, None, self.context)) => return ended,
                made = next_version(&self.offer, &self.recipe, &mut self.seen, &mut replaced, self.context) => made?,
            };
            self.offer.made = made;
            let version = seeding::publish_when_there(&self.offer, self.context).await?;
            let next = seeding::start(self.node, (&self.offer, version), self.context).await?;
            replaced.push(Replaced(std::mem::replace(&mut torrent, next.0), Instant::now()));
            self.tell(&next.1);
        }
    }

    fn tell(&self, ready: &Ready) {
        let output = &self.context.output;
        output.object("version", ready);
        let name = shell_quoted(&format!("{}@{}", ready.name, ready.version));
        output.result(&format!("{name}  {}", crate::units::size(ready.bytes)));
    }
}

/// Waits until the content has changed and is quiet again, and hashes what is new of it.
async fn next_version(
    offer: &Offer,
    recipe: &Recipe,
    seen: &mut Fingerprint,
    replaced: &mut Vec<Replaced>,
    context: &Context,
) -> anyhow::Result<Made> {
    let mut before = *seen;
    let mut pause = LOOK_EVERY;
    loop {
        tokio::time::sleep(pause).await;
        retire(replaced).await;
        let begun = Instant::now();
        let now = Fingerprint::look(&offer.path).await?;
        // A look at many files must not become a load of its own.
        pause = LOOK_EVERY.max(begun.elapsed() * REST);
        let quiet = now == before;
        before = now;
        if now == *seen || !quiet {
            continue;
        }
        match hashing::create_after(&offer.path, recipe.clone(), &offer.made, context).await {
            Ok(made) => {
                *seen = now;
                if made.metainfo.info.hashes() != offer.made.metainfo.info.hashes() {
                    return Ok(made);
                }
            }
            Err(error) if hashing::is_changing(&error) => {}
            Err(error) if context.interrupt.has_come() => return Err(error),
            Err(error) => {
                // Somebody is in the middle of something, or made a mistake: the next change may mend it.
                *seen = now;
                context.output.warn(&format!("{error:#}; the version before stays"));
            }
        }
    }
}

/// Ends versions that nobody fetches any more. Their files go as they are replaced, so what others
/// lack of them may not be there.
async fn retire(replaced: &mut Vec<Replaced>) {
    let mut kept = Vec::new();
    for (number, Replaced(torrent, since)) in std::mem::take(replaced).into_iter().rev().enumerate()
    {
        let snapshot = torrent.snapshot().borrow().clone();
        let wanted = snapshot.peers.iter().any(|peer| !peer.seeder);
        let lives = !matches!(snapshot.state, State::Failed { .. } | State::Stopped);
        if number < REPLACED_MAX && lives && (wanted || since.elapsed() < SERVED_FOR) {
            kept.push(Replaced(torrent, since));
        } else {
            torrent.stop().await;
        }
    }
    kept.reverse();
    *replaced = kept;
}

/// Between looks.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// A look is followed by so many times its own length of rest.
const REST: u32 = 20;
/// A version that was replaced is served for so long in any case: peers may be on their way.
const SERVED_FOR: Duration = Duration::from_secs(60);
/// Versions before the newest that are served at once.
const REPLACED_MAX: usize = 4;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fingerprint_changes_with_every_kind_of_change_and_with_nothing_else() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = |name: &str| folder.path().join(name);
        let check = |change: &dyn Fn() -> std::io::Result<()>| {
            let before = Fingerprint::of(folder.path());
            assert_eq!(before, Fingerprint::of(folder.path()));
            change().expect("a change");
            assert_ne!(before, Fingerprint::of(folder.path()));
        };
        check(&|| std::fs::write(path("a"), "one"));
        check(&|| std::fs::write(path("a"), "three"));
        check(&|| std::fs::rename(path("a"), path("b")));
        check(&|| std::fs::create_dir(path("sub")));
        check(&|| std::os::unix::fs::symlink("b", path("sub/link")));
        check(&|| std::fs::remove_file(path("b")));
    }
}
