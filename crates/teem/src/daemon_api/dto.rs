//! What goes over the wire.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use node::{Snapshot, State};

use crate::daemon;
use crate::slots::Slots;

/// All torrents of the daemon, in the order of the queue.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub(crate) struct Transfers {
    pub(crate) transfers: Vec<Transfer>,
}

/// What differs in the list.
#[derive(Debug, Clone, Default, Serialize, Deserialize, ToSchema)]
pub(crate) struct Change {
    /// Torrents that are new, or differ.
    pub(crate) changed: Vec<Transfer>,
    /// The ids of those that are gone.
    pub(crate) gone: Vec<String>,
}

/// How one torrent stands.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub(crate) struct Transfer {
    /// What it is known by here: an info hash in hex.
    pub(crate) id: String,
    /// Its name; while nobody knows that, what its file is called.
    pub(crate) name: String,
    pub(crate) state: TransferState,
    /// Why it does not go on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) reason: Option<String>,
    /// Its place among those that wait for their turn, 1 the first.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) place: Option<usize>,
    /// It minds neither queue nor limits of seeding.
    pub(crate) forced: bool,
    /// Where its content is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) path: Option<String>,
    /// Bytes of the files that are wanted; 0 while unknown.
    pub(crate) size: u64,
    /// Of these, the ones that are there.
    pub(crate) verified: u64,
    /// While checking or moving: bytes done.
    pub(crate) checked: u64,
    /// Bytes a second.
    pub(crate) down_rate: u64,
    /// Bytes a second.
    pub(crate) up_rate: u64,
    /// Seconds left at this rate.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) eta: Option<u64>,
    /// Connections.
    pub(crate) peers: usize,
    /// Its upload slots.
    pub(crate) slots: Slots,
    /// Bytes received in all runs.
    pub(crate) downloaded: u64,
    /// Bytes sent in all runs.
    pub(crate) uploaded: u64,
    /// Bytes sent, in sizes of the content.
    pub(crate) ratio: f64,
    /// Seconds for which it was seeded, in all runs.
    pub(crate) seeded: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) info_hash_v1: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) info_hash_v2: Option<String>,
}

/// What a torrent does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum TransferState {
    /// Waits for its description from a peer.
    Metadata,
    Checking,
    Downloading,
    Seeding,
    /// Waits for its turn.
    Queued,
    /// Somebody holds it.
    Held,
    /// It was seeded enough.
    Seeded,
    /// Its content is being moved.
    Moving,
    /// The disk is full or refuses; it goes on by itself.
    Paused,
    /// Cannot go on.
    Failed,
    Stopped,
    /// A state that this version does not know.
    #[serde(other)]
    Other,
}

/// How to go on.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Resume {
    /// Whatever queue and limits of seeding say.
    #[serde(default)]
    pub(crate) force: bool,
}

/// Where to.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Move {
    /// An absolute path.
    pub(crate) folder: String,
}

/// What to be called.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Rename {
    /// A name; with `file` a path below the torrent's folder.
    pub(crate) name: String,
    /// The number of a file, 1 the first; without it the torrent's file or folder is meant.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) file: Option<u32>,
}

/// When it is its turn.
#[derive(Debug, Clone, Copy, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Place {
    /// Its place in the queue, 1 the first.
    pub(crate) place: usize,
}

/// It is done.
#[derive(Debug, Clone, Default, Serialize, Deserialize, ToSchema)]
pub(crate) struct Done {
    /// Files that were to go and stay, since we did not make them or somebody changed them.
    pub(crate) left: Vec<String>,
    /// Bytes that a check found to be wrong: of whole pieces, which are to be fetched again.
    #[serde(default)]
    pub(crate) wrong: u64,
}

/// Why a request was refused.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub(crate) struct Refusal {
    /// What is wrong, in words.
    pub(crate) error: String,
    pub(crate) code: RefusalCode,
}

/// What is wrong, for programs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum RefusalCode {
    /// 400
    BadRequest,
    /// 401: the token is missing or wrong.
    Unauthorised,
    /// 403: the request came by a name or from a page of somebody else's.
    Forbidden,
    /// 404
    NotFound,
    /// 405
    BadMethod,
    /// 409: it cannot be done as things are.
    Conflict,
    /// 503: too many ask for the same.
    Busy,
    /// 507: the disk is full.
    Full,
    /// 500
    Internal,
    /// A code that this version does not know.
    #[serde(other)]
    Other,
}

impl From<daemon::Transfer> for Transfer {
    fn from(transfer: daemon::Transfer) -> Self {
        let snapshot: &Snapshot = &transfer.snapshot;
        let (state, reason) = state_of(&snapshot.state, transfer.seeded);
        let hashes = snapshot.info_hashes;
        let ratio = snapshot.totals.uploaded as f64 / snapshot.wanted_len.max(1) as f64;
        Self {
            id: transfer.key.to_string(),
            name: snapshot.name.clone().unwrap_or(transfer.name),
            state,
            reason,
            place: transfer.place,
            forced: transfer.forced,
            path: snapshot.path.as_ref().map(|path| path.display().to_string()),
            size: snapshot.wanted_len,
            verified: snapshot.wanted_verified,
            checked: snapshot.checked,
            down_rate: snapshot.down_rate,
            up_rate: snapshot.up_rate,
            eta: snapshot.eta.map(|eta| eta.as_secs()),
            peers: snapshot.peers.len(),
            slots: snapshot.slots.into(),
            downloaded: snapshot.totals.downloaded,
            uploaded: snapshot.totals.uploaded,
            ratio: (ratio * 1000.0).round() / 1000.0,
            seeded: transfer.seeded_for.as_secs(),
            info_hash_v1: hashes.v1().map(|hash| hash.to_string()),
            info_hash_v2: hashes.v2().map(|hash| hash.to_string()),
        }
    }
}

fn state_of(state: &State, seeded: bool) -> (TransferState, Option<String>) {
    let state = match state {
        State::Metadata => TransferState::Metadata,
        State::Checking => TransferState::Checking,
        State::Downloading => TransferState::Downloading,
        State::Seeding => TransferState::Seeding,
        State::Queued => TransferState::Queued,
        State::Held if seeded => TransferState::Seeded,
        State::Held => TransferState::Held,
        State::Moving => TransferState::Moving,
        State::Paused { reason } => return (TransferState::Paused, Some(reason.clone())),
        State::Failed { reason, .. } => return (TransferState::Failed, Some(reason.clone())),
        State::Stopped => TransferState::Stopped,
    };
    (state, None)
}
