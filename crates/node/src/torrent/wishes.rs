//! Which files are wanted: kept until the files are open, then told to them and to the swarm.

use std::collections::BTreeMap;

use proto::FileIndex;
use proto::choice::{Choice, NoSuchFile};
use proto::metainfo::Info;
use swarm::{Command, Priority};

use super::TorrentTask;
use crate::clock;

/// Which files are wanted, until the swarm and the files know it.
#[derive(Debug, Default)]
pub(super) struct Wishes {
    /// Not told to the swarm yet; no more than there are files, once they are known.
    pub(super) said: BTreeMap<FileIndex, Priority>,
    /// All that was said, for another run.
    pub(super) all: BTreeMap<FileIndex, Priority>,
    /// Bytes of what is wanted, once the files are known.
    pub(super) len: u64,
}

impl Wishes {
    /// The files are known: which of them are wanted; `None` if all are. What was said of single files
    /// counts more than the choice.
    pub(super) fn begin(
        &mut self,
        choice: &Choice,
        info: &Info,
    ) -> Result<Option<Vec<bool>>, NoSuchFile> {
        self.said.retain(|file, _| (file.0 as usize) < info.files().len());
        self.len = info.content_len();
        if *choice == Choice::All && self.said.values().all(|wish| *wish != Priority::Skip) {
            return Ok(None);
        }
        let mut wanted = choice.of(info)?;
        for (file, wanted) in (0..).map(FileIndex).zip(&mut wanted) {
            let chosen = if *wanted { Priority::Normal } else { Priority::Skip };
            let wish = *self.said.entry(file).or_insert(chosen);
            *wanted = wish != Priority::Skip;
        }
        let files = info.files().iter().zip(&wanted).filter(|(_, wanted)| **wanted);
        self.len = files.map(|(file, _)| file.len).sum();
        Ok(Some(wanted))
    }
}

impl TorrentTask {
    /// What is wanted changed; or the files are open, and what was said before counts.
    pub(super) fn prioritize(&mut self, changes: Vec<(FileIndex, Priority)>) {
        self.wishes.all.extend(changes.iter().copied());
        self.wishes.said.extend(changes);
        let Some(storage) = self.shared.storage.get() else { return };
        let changes: Vec<_> = std::mem::take(&mut self.wishes.said).into_iter().collect();
        storage.set_wanted(changes.iter().map(|(file, wish)| (*file, *wish != Priority::Skip)));
        self.swarm.handle_command(clock::now(), Command::Prioritize(changes));
    }
}
