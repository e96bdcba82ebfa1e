//! What the peer told us about itself.

use proto::peer::{ExtensionHandshake, Place, RUN_LEN_MAX};
use proto::{BLOCK_LEN, Bitfield, PieceIndex};

use super::requests::AllowedFast;
use crate::PeerInfo;
use crate::limits::session::EARLY_HAVES;

#[derive(Debug)]
pub(super) struct Remote {
    /// It does not answer requests.
    pub(super) choking: bool,
    pub(super) interested: bool,
    /// Its pieces, once the torrent is known.
    pub(super) has: Option<Bitfield>,
    /// A bitfield, have-all or have-none came.
    pub(super) has_told: bool,
    /// What it has, until the torrent is known.
    pub(super) early: Early,
    pub(super) allowed_fast: AllowedFast,
    /// The numbers under which it takes extension messages.
    pub(super) ids: ExtensionIds,
    /// The longest run that it may be asked for in one message, in bytes.
    pub(super) run_len: u32,
    /// Our place among those that wait for its slots, as it told us since its choke state changed.
    pub(super) place: Option<Place>,
    pub(super) info: PeerInfo,
}

/// What a peer said about its pieces before we know how many there are.
#[derive(Debug, Default)]
pub(super) struct Early {
    pub(super) set: Option<EarlySet>,
    /// In order: had or lost.
    pub(super) changes: Vec<(PieceIndex, bool)>,
}

/// A bitfield, have-all or have-none that cannot be checked yet.
#[derive(Debug)]
pub(super) enum EarlySet {
    Bits(Vec<u8>),
    All,
    None,
}

/// The numbers that a peer gave to extensions; `None` is one that it does not have.
#[derive(Debug, Default)]
pub(super) struct ExtensionIds {
    pub(super) metadata: Option<u8>,
    pub(super) dont_have: Option<u8>,
    pub(super) upload_only: Option<u8>,
    pub(super) exchange: Option<u8>,
    pub(super) hole_punch: Option<u8>,
    pub(super) slots: Option<u8>,
}

impl Remote {
    pub(super) fn new() -> Self {
        Self {
            choking: true,
            interested: false,
            has: None,
            has_told: false,
            early: Early::default(),
            allowed_fast: AllowedFast::default(),
            ids: ExtensionIds::default(),
            run_len: BLOCK_LEN,
            place: None,
            info: PeerInfo::default(),
        }
    }

    /// Takes over what a handshake says; what it leaves out stays as it was.
    pub(super) fn merge(&mut self, handshake: ExtensionHandshake) {
        let update = |id: &mut Option<u8>, new: Option<u8>| {
            if let Some(new) = new {
                *id = (new != 0).then_some(new);
            }
        };
        update(&mut self.ids.metadata, handshake.ut_metadata);
        update(&mut self.ids.dont_have, handshake.lt_donthave);
        update(&mut self.ids.upload_only, handshake.upload_only_id);
        update(&mut self.ids.exchange, handshake.ut_pex);
        update(&mut self.ids.hole_punch, handshake.ut_holepunch);
        update(&mut self.ids.slots, handshake.teem_slots);
        self.run_len =
            handshake.run_len.map_or(self.run_len, |len| len.clamp(BLOCK_LEN, RUN_LEN_MAX));
        let info = &mut self.info;
        info.client = handshake.client.or_else(|| info.client.take());
        info.reqq = handshake.reqq.or(info.reqq);
        info.metadata_len = handshake.metadata_len.or(info.metadata_len);
        info.upload_only = handshake.upload_only.unwrap_or(info.upload_only);
        info.listen_port = handshake.listen_port.or(info.listen_port);
        info.run_blocks = self.run_len / BLOCK_LEN;
        info.exchanges = self.ids.exchange.is_some();
        info.punches = self.ids.hole_punch.is_some();
    }
}

impl Early {
    /// Forgets what was said before.
    pub(super) fn replace(&mut self, set: EarlySet) {
        *self = Self { set: Some(set), changes: Vec::new() };
    }

    /// Keeps a change for later, as far as there is room.
    pub(super) fn push(&mut self, piece: PieceIndex, had: bool) {
        if self.changes.len() < EARLY_HAVES {
            self.changes.push((piece, had));
        }
    }
}
