//! What people may have done with a torrent as a whole: hold it, check it, move it, rename it, take it away.
//!
//! Each is carried out by the torrent's [`Keeper`](crate::keeper), while nothing of the torrent runs.

use std::path::PathBuf;

use proto::FileIndex;
use tokio::sync::oneshot;

use crate::disk::RenameError;
use crate::disk::relocate::{MoveError, RemoveError};
use crate::node::Torrent;
use crate::record::RecordError;
use crate::torrent::Input;

pub use crate::record::Rest;

/// What to do.
#[derive(Debug)]
pub(crate) enum Order {
    /// Run, from now on.
    Resume(Force),
    /// Run: its turn has come.
    Run,
    /// Rest until somebody says otherwise.
    Hold(Rest),
    /// Rest until its turn comes.
    Wait,
    /// Read everything again.
    Recheck,
    /// Be somewhere else, or be called something else.
    Change(Change),
    /// Be gone, with the content or without.
    Remove(Data),
}

/// Where a torrent's content goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Change {
    Folder(PathBuf),
    Top(String),
    File(FileIndex, String),
}

/// An order, and who waits for it.
#[derive(Debug)]
pub(crate) struct Ordered {
    pub(crate) order: Order,
    pub(crate) answer: oneshot::Sender<Result<Outcome, OrderError>>,
}

/// What came of an order.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Outcome {
    /// Files of a torrent that was to go with its content that stay, since they are not as we made them.
    pub left: Vec<PathBuf>,
    /// Content bytes that were taken for right and are not: of whole pieces, which are to be fetched again.
    pub wrong: u64,
}

/// Whether a torrent minds its queue and its limits of seeding.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Force {
    /// It does.
    #[default]
    No,
    /// It runs in any case.
    Yes,
}

/// What becomes of the content of a torrent that is taken away.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Data {
    /// It stays.
    Keep,
    /// Files go that we made and that nobody has changed since.
    Delete,
}

/// Why a torrent did not do what it should.
#[derive(Debug, thiserror::Error)]
pub enum OrderError {
    /// It is not known yet which files it has.
    #[error("its files are not known yet: nobody has sent their description")]
    Unknown,
    /// Its content is a person's own.
    #[error("it is shared from {0}, which is not ours to move, rename or delete")]
    NotOurs(PathBuf),
    /// The content cannot go there.
    #[error(transparent)]
    Move(#[from] MoveError),
    /// The content cannot be called that.
    #[error(transparent)]
    Rename(#[from] RenameError),
    /// It cannot be taken away.
    #[error(transparent)]
    Remove(#[from] RemoveError),
    /// Its files cannot be read.
    #[error(transparent)]
    Check(#[from] crate::disk::OpenError),
    /// The record cannot be written.
    #[error(transparent)]
    Record(#[from] RecordError),
    /// It has ended.
    #[error("the torrent has ended")]
    Ended,
    /// The node ends.
    #[error("stopped, since all of it ends; what was begun goes on with the next start")]
    Closing,
}

impl Torrent {
    /// Stops fetching and serving; it stays known, and goes on holding in the next run.
    pub async fn hold(&self, why: Rest) -> Result<(), OrderError> {
        self.order(Order::Hold(why)).await.map(drop)
    }

    /// Goes on after a [`Torrent::hold`] or [`Torrent::wait`].
    pub fn resume(&self, force: Force) -> impl Future<Output = Result<(), OrderError>> + use<> {
        let done = self.order(Order::Resume(force));
        async { done.await.map(drop) }
    }

    /// Rests until [`Torrent::run`]: announces nothing, and has no connection and no open file. It is told at
    /// once, and has done it when what is returned is ready. The next run knows nothing of it.
    pub fn wait(&self) -> impl Future<Output = Result<(), OrderError>> + use<> {
        let done = self.order(Order::Wait);
        async { done.await.map(drop) }
    }

    /// Ends a [`Torrent::wait`]. One that is held stays so.
    pub fn run(&self) -> impl Future<Output = Result<(), OrderError>> + use<> {
        let done = self.order(Order::Run);
        async { done.await.map(drop) }
    }

    /// Reads all of the content again, believing nothing. What is wrong is fetched again: in place where the
    /// file is as we made it, else beside it, and what somebody changed is kept as `NAME (changed 1)`. Returns
    /// the bytes of pieces that were taken for right and are not.
    pub async fn recheck(&self) -> Result<u64, OrderError> {
        self.order(Order::Recheck).await.map(|done| done.wrong)
    }

    /// Moves the content to another folder, made if missing; across file systems by a copy, after which the
    /// old files go. Nothing is replaced, and whatever interrupts it loses nothing: the next run ends it.
    pub async fn move_to(&self, folder: PathBuf) -> Result<(), OrderError> {
        self.order(Order::Change(Change::Folder(folder))).await.map(drop)
    }

    /// Gives its file or folder another name on this machine.
    pub async fn rename(&self, name: String) -> Result<(), OrderError> {
        self.order(Order::Change(Change::Top(name))).await.map(drop)
    }

    /// Gives one of its files another path below its folder, on this machine.
    pub async fn rename_file(&self, file: FileIndex, path: String) -> Result<(), OrderError> {
        self.order(Order::Change(Change::File(file, path))).await.map(drop)
    }

    /// Ends it and forgets it; returns files of it that stay although they should go, since they are not as
    /// we made them.
    pub async fn remove(&self, data: Data) -> Result<Vec<PathBuf>, OrderError> {
        self.order(Order::Remove(data)).await.map(|done| done.left)
    }

    /// It is on its way when this returns; what comes back tells when it is done.
    fn order(&self, order: Order) -> impl Future<Output = Result<Outcome, OrderError>> + use<> {
        let (answer, answered) = oneshot::channel();
        let sent = self.send(Input::Order(Box::new(Ordered { order, answer })));
        async move {
            sent.map_err(|()| OrderError::Ended)?;
            answered.await.map_err(|_| OrderError::Ended)?
        }
    }
}
