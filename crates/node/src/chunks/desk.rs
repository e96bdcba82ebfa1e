//! The torrent's side: which file a path means, and who has an upload slot.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};

use proto::metainfo::Info;
use swarm::{GuestKey, GuestView, Swarm};
use tokio::sync::mpsc::UnboundedSender;
use tokio::sync::oneshot;

use super::part::NamedFile;
use crate::clock;
use crate::disk::Storage;
use crate::torrent::Input;

/// What a connection asks a torrent.
#[derive(Debug)]
pub(crate) enum Asked {
    /// Which file this is: the path inside the folder, or none for the whole torrent.
    File(Option<String>, oneshot::Sender<Result<NamedFile, NoFile>>),
    /// For an upload slot; the answer comes when there is one.
    Slot(GuestKey, IpAddr, oneshot::Sender<()>),
    /// It is done with its slot, or waits no longer; so many bytes were sent.
    Left(GuestKey, u64),
    /// How the slots stand, for who comes from there.
    View(IpAddr, oneshot::Sender<GuestView>),
}

/// Why a torrent has no such file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NoFile {
    /// It has no such path, or is not to be seen.
    Unknown,
    /// The name is that of a folder.
    Folder,
    /// Its files are not open yet.
    NotYet,
}

/// Who waits for a slot of a torrent.
#[derive(Debug, Default)]
pub(crate) struct Desk {
    waiting: HashMap<GuestKey, oneshot::Sender<()>>,
}

/// A slot, or a place in the queue for one; given back when it is dropped.
#[derive(Debug)]
pub(super) struct Ticket {
    torrent: UnboundedSender<Input>,
    key: GuestKey,
    /// Payload bytes sent.
    pub(super) sent: u64,
}

impl Desk {
    pub(crate) fn on_asked(
        &mut self,
        swarm: &mut Swarm,
        storage: Option<&std::sync::Arc<Storage>>,
        asked: Asked,
    ) {
        let now = clock::now();
        // Whoever asked may have gone.
        match asked {
            Asked::File(path, answer) => {
                let _ = answer.send(find(storage, path.as_deref()));
            }
            Asked::Slot(key, ip, answer) => {
                // Without room in the queue the answer is dropped, which says it.
                self.waiting.insert(key, answer);
                if !swarm.handle_guest(now, key, ip) {
                    self.waiting.remove(&key);
                }
            }
            Asked::Left(key, sent) => {
                self.waiting.remove(&key);
                swarm.handle_guest_left(now, key, sent);
            }
            Asked::View(ip, answer) => {
                let _ = answer.send(swarm.guest_view(ip));
            }
        }
    }

    pub(crate) fn admit(&mut self, key: GuestKey) {
        if let Some(answer) = self.waiting.remove(&key) {
            // If it has gone, its ticket says so.
            let _ = answer.send(());
        }
    }
}

fn find(
    storage: Option<&std::sync::Arc<Storage>>,
    path: Option<&str>,
) -> Result<NamedFile, NoFile> {
    let storage = storage.ok_or(NoFile::NotYet)?;
    let info: &Info = storage.info();
    if info.is_private() {
        return Err(NoFile::Unknown);
    }
    let file = match (path, info.is_single_file()) {
        (None, true) => info.files().first(),
        (None, false) => return Err(NoFile::Folder),
        (Some(_), true) => None,
        (Some(path), false) => info
            .files()
            .iter()
            .find(|file| file.path.iter().map(String::as_str).eq(path.split('/'))),
    };
    // A link has no bytes of its own.
    let file = file.filter(|file| file.symlink.is_none()).ok_or(NoFile::Unknown)?;
    Ok(NamedFile { storage: storage.clone(), offset: file.offset, len: file.len })
}

impl Ticket {
    /// Gets in line; the second half tells when it is our turn, or that there is no room even to wait.
    pub(super) fn draw(
        torrent: UnboundedSender<Input>,
        ip: IpAddr,
    ) -> (Self, oneshot::Receiver<()>) {
        let key = GuestKey(NEXT.fetch_add(1, Ordering::Relaxed));
        let (answer, turn) = oneshot::channel();
        // If the torrent has ended, the answer is dropped.
        let _ = torrent.send(Input::Asked(Asked::Slot(key, ip, answer)));
        (Self { torrent, key, sent: 0 }, turn)
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        // A torrent that has ended needs no slot back.
        let _ = self.torrent.send(Input::Asked(Asked::Left(self.key, self.sent)));
    }
}

static NEXT: AtomicU64 = AtomicU64::new(1);
