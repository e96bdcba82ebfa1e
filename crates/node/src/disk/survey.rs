//! A look at every path of a torrent before anything is read or written.

use std::path::{Path, PathBuf};

use proto::FileIndex;
use proto::metainfo;
use proto::metainfo::Info;

use super::names::{FOREIGN_SUFFIXES, Names, link_text};
use super::root::{Found, Root};
use super::storage::SlotState;
use super::{FileIdentity, OpenError};
use crate::record::{FileRecord, Progress};

/// Why a file's bytes are believed without reading.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Claim {
    /// They are not.
    None,
    /// The record knows it: the pieces that the record has are there.
    Recorded,
    /// It was hashed just now: all its pieces are there.
    Fresh,
}

/// What was found of one file.
#[derive(Debug)]
pub(super) struct Surveyed {
    /// What we can serve from and write to.
    pub(super) state: SlotState,
    pub(super) claim: Claim,
    /// A file that we did not make and that may hold some of the content.
    pub(super) foreign: Option<(PathBuf, FileIdentity)>,
    /// Where [`SlotState::Part`] or [`SlotState::Whole`] is.
    place: PathBuf,
    /// Bytes that it takes up already.
    pub(super) allocated: u64,
    /// It has no content and is not there.
    pub(super) missing: bool,
    /// We made it.
    pub(super) made: bool,
}

impl Surveyed {
    const fn absent() -> Self {
        Self {
            state: SlotState::Absent,
            claim: Claim::None,
            foreign: None,
            place: PathBuf::new(),
            allocated: 0,
            missing: false,
            made: false,
        }
    }

    /// The file to read from in a check.
    pub(super) fn source(&self) -> Option<&Path> {
        match (&self.foreign, self.state) {
            (Some((path, _)), _) => Some(path),
            (None, SlotState::Part(_) | SlotState::Whole(_)) => Some(&self.place),
            (None, SlotState::Absent | SlotState::Changed) => None,
        }
    }

    /// The foreign file is as good as ours, though nothing will be written to it. `made`: it was ours.
    pub(super) fn adopt(&mut self, state: SlotState, made: bool) {
        if let Some((path, _)) = self.foreign.take() {
            self.place = path;
        }
        (self.state, self.made) = (state, made);
    }

    /// The file that was taken for foreign is one of ours that is not right, and incomplete from now on.
    pub(super) fn mend(&mut self, identity: FileIdentity, part: PathBuf) {
        (self.foreign, self.allocated) = (None, identity.size);
        (self.state, self.claim, self.place) = (SlotState::Part(identity), Claim::None, part);
    }
}

/// What the look needs to know.
pub(super) struct Survey<'a> {
    pub(super) info: &'a Info,
    pub(super) root: &'a Root,
    pub(super) names: &'a [Names],
    pub(super) known: Option<&'a Progress>,
    /// The same, whether it is believed or not.
    pub(super) made: Option<&'a Progress>,
    pub(super) fresh: Option<&'a [Option<FileIdentity>]>,
    pub(super) writable: bool,
    /// For each file, whether it is wanted; all are when there is no list.
    pub(super) wanted: Option<&'a [bool]>,
}

impl Survey<'_> {
    /// Looks at every file. Fails when something stands in the way that cannot be content.
    pub(super) fn run(&self) -> Result<Vec<Surveyed>, OpenError> {
        // A folder that is not there holds nothing: thousands of looks are saved.
        let nothing =
            self.writable && !self.info.is_single_file() && self.find(&self.top())?.is_none();
        let files = (0..).map(FileIndex).zip(self.info.files()).zip(self.names);
        files
            .map(|((index, file), names)| match (nothing, self.writable) {
                (true, _) => {
                    let contentless = file.len == 0 || file.symlink.is_some();
                    let missing = contentless && self.is_wanted(index);
                    Ok(Surveyed { missing, ..Surveyed::absent() })
                }
                (false, true) if !self.is_wanted(index) => self.unwanted(index, file, names),
                (false, true) if file.len == 0 || file.symlink.is_some() => {
                    self.contentless(file, &names.own)
                }
                (false, true) => self.fetched(index, file, names),
                (false, false) => self.shared(index, file, &names.own),
            })
            .collect()
    }

    /// The torrent's folder.
    fn top(&self) -> PathBuf {
        let first = self.names.first().and_then(|names| names.own.components().next());
        first.map_or_else(|| self.info.name().into(), |name| name.as_os_str().into())
    }

    fn is_wanted(&self, file: FileIndex) -> bool {
        let wanted = self.wanted.and_then(|wanted| wanted.get(file.0 as usize));
        self.wanted.is_none() || wanted.copied().unwrap_or(false)
    }

    /// A file that is not to be fetched: what we made of it earlier counts, and whatever else has its name
    /// is in nobody's way.
    fn unwanted(
        &self,
        index: FileIndex,
        file: &metainfo::File,
        names: &Names,
    ) -> Result<Surveyed, OpenError> {
        if file.len == 0 || file.symlink.is_some() {
            return Ok(Surveyed::absent());
        }
        if let Some(Found::File { identity, .. }) = self.find(&names.own)? {
            if self.is_recorded(index, file, &identity) {
                return Ok(self.whole(index, identity, names));
            }
            let made = self.made.and_then(|known| known.files.get(&index));
            if self.known.is_none() && made.is_some_and(|made| made.identity.ino == identity.ino) {
                return self.fetched(index, file, names);
            }
        }
        match self.find(&names.part)? {
            Some(Found::File { ours: true, .. }) => self.part(index, file, names),
            Some(Found::File { ours: false, .. } | Found::Link | Found::Other) | None => {
                Ok(Surveyed::absent())
            }
        }
    }

    /// A file as we left it.
    fn whole(&self, index: FileIndex, identity: FileIdentity, names: &Names) -> Surveyed {
        let recorded = self.known.and_then(|known| known.files.get(&index));
        let made = recorded.is_some_and(|recorded| recorded.made);
        let (state, place) = (SlotState::Whole(identity), names.own.clone());
        Surveyed { state, claim: Claim::Recorded, place, made, ..Surveyed::absent() }
    }

    fn find(&self, path: &Path) -> Result<Option<Found>, OpenError> {
        self.root.find(path).map_err(|source| OpenError::Io {
            what: format!("look at {}", self.root.path().join(path).display()),
            source,
        })
    }

    fn conflict(&self, path: &Path, reason: &'static str) -> OpenError {
        OpenError::Conflict { path: self.root.path().join(path), reason, kept: 0 }
    }

    /// An empty file or a link.
    fn contentless(&self, file: &metainfo::File, path: &Path) -> Result<Surveyed, OpenError> {
        let link = file.symlink.as_ref().map(|target| link_text(file, target));
        match (self.find(path)?, link) {
            (None, _) => Ok(Surveyed { missing: true, ..Surveyed::absent() }),
            (Some(Found::File { identity, .. }), None) if identity.size == 0 => {
                Ok(Surveyed::absent())
            }
            (Some(Found::Link), Some(text)) => match self.root.read_link(path) {
                Ok(there) if there == text => Ok(Surveyed::absent()),
                Ok(_) => Err(self.conflict(path, "it points elsewhere")),
                Err(source) => {
                    let what = format!("look at {}", self.root.path().join(path).display());
                    Err(OpenError::Io { what, source })
                }
            },
            (Some(_), _) => Err(self.conflict(path, "it has other content")),
        }
    }

    fn fetched(
        &self,
        index: FileIndex,
        file: &metainfo::File,
        names: &Names,
    ) -> Result<Surveyed, OpenError> {
        let own = match self.find(&names.own)? {
            None => None,
            Some(Found::File { identity, .. }) => Some(identity),
            Some(Found::Link) => return Err(self.conflict(&names.own, "it is a symbolic link")),
            Some(Found::Other) => return Err(self.conflict(&names.own, "it is not a file")),
        };
        if let Some(identity) = own
            && self.is_recorded(index, file, &identity)
        {
            return Ok(self.whole(index, identity, names));
        }
        let mut surveyed = self.part(index, file, names)?;
        if let Some(identity) = own {
            if surveyed.claim == Claim::Recorded {
                let reason = "it appeared while the same file was being fetched";
                return Err(self.conflict(&names.own, reason));
            }
            // Judged first: if it is right, the other one is not needed.
            surveyed.foreign = Some((names.own.clone(), identity));
        } else if surveyed.state == SlotState::Absent {
            surveyed.foreign = self.foreign_partial(&names.own)?;
        }
        Ok(surveyed)
    }

    /// The incomplete file that an earlier run of ours left.
    fn part(
        &self,
        index: FileIndex,
        file: &metainfo::File,
        names: &Names,
    ) -> Result<Surveyed, OpenError> {
        let (identity, allocated) = match self.find(&names.part)? {
            None => return Ok(Surveyed::absent()),
            Some(Found::File { identity, allocated, ours: true }) => (identity, allocated),
            Some(Found::File { ours: false, .. }) => {
                return Err(self.conflict(&names.part, "it has another owner or a second name"));
            }
            Some(Found::Link | Found::Other) => {
                return Err(self.conflict(&names.part, "it is not a file"));
            }
        };
        let known = self.is_recorded(index, file, &identity);
        if identity.size != file.len {
            // Its name says that it is ours; somebody cut or stretched it.
            let sized = self.root.open_write(&names.part).and_then(|part| part.set_len(file.len));
            sized.map_err(|source| OpenError::Io {
                what: format!("open {}", self.root.path().join(&names.part).display()),
                source,
            })?;
        }
        Ok(Surveyed {
            state: SlotState::Part(identity),
            claim: if known { Claim::Recorded } else { Claim::None },
            place: names.part.clone(),
            allocated,
            ..Surveyed::absent()
        })
    }

    /// An incomplete file of another program.
    fn foreign_partial(&self, own: &Path) -> Result<Option<(PathBuf, FileIdentity)>, OpenError> {
        for suffix in FOREIGN_SUFFIXES {
            let mut name = own.as_os_str().to_owned();
            name.push(suffix);
            let path = PathBuf::from(name);
            // A name that is too long is no reason to stop.
            if let Ok(Some(Found::File { identity, .. })) = self.root.find(&path) {
                return Ok(Some((path, identity)));
            }
        }
        Ok(None)
    }

    fn shared(
        &self,
        index: FileIndex,
        file: &metainfo::File,
        path: &Path,
    ) -> Result<Surveyed, OpenError> {
        let Some(Found::File { identity, .. }) = self.find(path)? else {
            return Ok(Surveyed::absent());
        };
        if file.len == 0 || identity.size != file.len {
            return Ok(Surveyed::absent());
        }
        let fresh = self.fresh.and_then(|fresh| *fresh.get(index.0 as usize)?);
        let claim = match fresh {
            Some(fresh) if fresh == identity => Claim::Fresh,
            _ if self.is_recorded(index, file, &identity) => Claim::Recorded,
            _ => Claim::None,
        };
        let (state, place) = (SlotState::Whole(identity), path.to_owned());
        Ok(Surveyed { state, claim, place, ..Surveyed::absent() })
    }

    fn is_recorded(
        &self,
        index: FileIndex,
        file: &metainfo::File,
        identity: &FileIdentity,
    ) -> bool {
        let Some(known) = self.known else { return false };
        known.files.get(&index).is_some_and(|FileRecord { identity: recorded, whole, .. }| {
            identity.size == file.len && identity.recorded_as(recorded, *whole || known.clean)
        })
    }
}
