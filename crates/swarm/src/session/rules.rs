//! What each message of the peer means, and which are faults.

use std::sync::Arc;

use proto::metainfo::Info;
use proto::peer::extension::{decode_dont_have, decode_upload_only, local};
use proto::peer::{
    ExtensionHandshake, HolePunch, Message, MetadataMessage, PeerExchange, Place, RUN_LEN_MAX,
};
use proto::{Bitfield, Block, Geometry, PieceIndex};

use super::remote::EarlySet;
use super::{PeerFault, Session, Torrent};
use crate::PeerEvent;
use crate::limits::session::FAST_RECEIVED;

impl Session {
    pub(super) fn on_message(&mut self, message: Message<'_>) -> Result<(), PeerFault> {
        match message {
            Message::KeepAlive | Message::Unknown(_) => Ok(()),
            Message::Port(port) => {
                self.on_dht_port(port);
                Ok(())
            }
            // Blocks are handled as they arrive.
            Message::Block(..) => Ok(()),
            Message::Choke => {
                self.on_choke();
                Ok(())
            }
            Message::Unchoke => {
                if std::mem::take(&mut self.remote.choking) {
                    self.remote.place = None;
                    self.events.push(PeerEvent::Unchoked);
                }
                Ok(())
            }
            Message::Interested => self.on_interest(true),
            Message::NotInterested => self.on_interest(false),
            Message::Have(piece) => self.on_have(piece),
            Message::Bitfield(bits) => self.on_set(EarlySet::Bits(bits.to_vec())),
            Message::Request(block) => self.on_request(block),
            Message::Cancel(block) => {
                self.on_cancel(block);
                Ok(())
            }
            Message::Suggest(piece) => self.need_fast().and_then(|()| self.check_piece(piece)),
            Message::HaveAll => self.need_fast().and_then(|()| self.on_set(EarlySet::All)),
            Message::HaveNone => self.need_fast().and_then(|()| self.on_set(EarlySet::None)),
            Message::Reject(block) => self.need_fast().and_then(|()| self.on_reject(block)),
            Message::AllowedFast(piece) => self.on_allowed_fast(piece),
            Message::Extended(id, payload) => self.on_extended(id, payload),
            Message::HashRequest(range) => self.on_hash_request(range),
            Message::Hashes(range, hashes) => self.on_hashes(range, hashes),
            Message::HashReject(range) => self.on_hash_reject(range),
        }
    }

    /// The first one counts: a node does not move about.
    fn on_dht_port(&mut self, port: u16) {
        let agreed = self.config.connected.dht && port != 0;
        if agreed && !std::mem::replace(&mut self.told.dht_port_heard, true) {
            self.events.push(PeerEvent::DhtPort(port));
        }
    }

    const fn need_fast(&self) -> Result<(), PeerFault> {
        if self.config.connected.fast { Ok(()) } else { Err(PeerFault::NotFast) }
    }

    /// Refuses a piece that does not exist, once that can be told.
    fn check_piece(&self, piece: PieceIndex) -> Result<(), PeerFault> {
        match &self.torrent {
            Some(torrent) if piece.0 >= torrent.geometry.piece_count() => {
                Err(PeerFault::NoSuchPiece(piece.0))
            }
            Some(_) | None => Ok(()),
        }
    }

    fn on_choke(&mut self) {
        if std::mem::replace(&mut self.remote.choking, true) {
            return;
        }
        self.remote.place = None;
        // With the fast extension each request is rejected one by one.
        if !self.config.connected.fast {
            self.events.extend(self.requests.drain().map(PeerEvent::Dropped));
        }
        self.events.push(PeerEvent::Choked);
    }

    fn on_interest(&mut self, interested: bool) -> Result<(), PeerFault> {
        if std::mem::replace(&mut self.remote.interested, interested) != interested {
            self.events.push(match interested {
                true => PeerEvent::Interested,
                false => PeerEvent::NotInterested,
            });
        }
        Ok(())
    }

    fn on_reject(&mut self, run: Block) -> Result<(), PeerFault> {
        if run.len == 0 || run.len > RUN_LEN_MAX {
            return Err(PeerFault::UnsolicitedReject);
        }
        for block in run.blocks() {
            if !self.requests.take(block) {
                return Err(PeerFault::UnsolicitedReject);
            }
            self.events.push(PeerEvent::Rejected(block));
        }
        Ok(())
    }

    fn on_allowed_fast(&mut self, piece: PieceIndex) -> Result<(), PeerFault> {
        self.need_fast()?;
        self.check_piece(piece)?;
        if self.remote.allowed_fast.insert(piece, FAST_RECEIVED) && self.torrent.is_some() {
            self.events.push(PeerEvent::AllowedFast(piece));
        }
        Ok(())
    }

    fn on_have(&mut self, piece: PieceIndex) -> Result<(), PeerFault> {
        self.check_piece(piece)?;
        match &mut self.remote.has {
            Some(has) => {
                if has.insert(piece) {
                    self.events.push(PeerEvent::Have(piece));
                }
            }
            None => self.remote.early.push(piece, true),
        }
        Ok(())
    }

    fn on_dont_have(&mut self, piece: PieceIndex) -> Result<(), PeerFault> {
        self.check_piece(piece)?;
        match &mut self.remote.has {
            Some(has) => {
                if has.remove(piece) {
                    self.events.push(PeerEvent::DontHave(piece));
                }
            }
            None => self.remote.early.push(piece, false),
        }
        Ok(())
    }

    /// All that the peer has, at once.
    ///
    /// BEP 3 has the bitfield as the first message only, but aria2 sends it again where many haves
    /// would be longer; it pays for our work by its length. Have-all and have-none are five bytes,
    /// so they come once (BEP 6).
    fn on_set(&mut self, set: EarlySet) -> Result<(), PeerFault> {
        let again = std::mem::replace(&mut self.remote.has_told, true);
        if again && !matches!(set, EarlySet::Bits(_)) {
            return Err(PeerFault::RepeatedSet);
        }
        let Some(torrent) = &self.torrent else {
            self.remote.early.replace(set);
            return Ok(());
        };
        let has = decode_set(set, torrent.geometry.piece_count())?;
        let before = self.remote.has.replace(has.clone());
        for lost in before.iter().flat_map(Bitfield::iter).filter(|piece| !has.has(*piece)) {
            // As after a word that it lost the piece: it was not told that we have it.
            self.told.push_news(lost);
        }
        self.events.push(PeerEvent::Has(has));
        Ok(())
    }

    fn on_extended(&mut self, id: u8, payload: &[u8]) -> Result<(), PeerFault> {
        if !self.config.connected.extended {
            return Err(PeerFault::NotExtended);
        }
        match id {
            local::HANDSHAKE => {
                self.remote.merge(ExtensionHandshake::decode(payload)?);
                self.events.push(PeerEvent::Extended(self.remote.info.clone()));
                Ok(())
            }
            local::METADATA => self.on_metadata(MetadataMessage::decode(payload)?),
            local::DONT_HAVE => self.on_dont_have(decode_dont_have(payload)?),
            local::UPLOAD_ONLY => {
                let flag = decode_upload_only(payload)?;
                if std::mem::replace(&mut self.remote.info.upload_only, flag) != flag {
                    self.events.push(PeerEvent::Extended(self.remote.info.clone()));
                }
                Ok(())
            }
            local::EXCHANGE if self.config.exchange => {
                self.events.push(PeerEvent::Exchanged(PeerExchange::decode(payload)?));
                Ok(())
            }
            local::HOLE_PUNCH if self.config.punch => {
                self.events.push(PeerEvent::HolePunch(HolePunch::decode(payload)?));
                Ok(())
            }
            local::SLOTS => {
                let place = Place::decode(payload)?;
                if std::mem::replace(&mut self.remote.place, place) != place {
                    self.events.push(PeerEvent::Place(place));
                }
                Ok(())
            }
            // An extension that we did not offer.
            _ => Ok(()),
        }
    }

    /// The torrent is known, or known anew after a check: what was said before can be judged now.
    pub(super) fn open(&mut self, geometry: Arc<Geometry>, info: Arc<Info>, have: Bitfield) {
        let pieces = geometry.piece_count();
        let first = self.torrent.is_none();
        self.torrent = Some(Torrent { geometry, info, have });
        self.announce_torrent();
        if !first {
            return;
        }
        let early = std::mem::take(&mut self.remote.early);
        let told = early.set.is_some();
        // A set that does not fit the torrent is a fault, which a command cannot report: the peer
        // counts as one that has nothing, and is of no use to anybody.
        let set =
            early.set.map_or_else(|| Ok(Bitfield::empty(pieces)), |set| decode_set(set, pieces));
        let mut has = set.unwrap_or_else(|_| Bitfield::empty(pieces));
        let mut changed = told;
        for (piece, had) in early.changes {
            changed |= if had { has.insert(piece) } else { has.remove(piece) };
        }
        if changed {
            self.events.push(PeerEvent::Has(has.clone()));
        }
        self.remote.has = Some(has);
        for piece in (0..pieces).map(PieceIndex) {
            if self.remote.allowed_fast.contains(piece) {
                self.events.push(PeerEvent::AllowedFast(piece));
            }
        }
    }
}

fn decode_set(set: EarlySet, pieces: u32) -> Result<Bitfield, PeerFault> {
    Ok(match set {
        EarlySet::Bits(bits) => Bitfield::decode(&bits, pieces)?,
        EarlySet::All => Bitfield::full(pieces),
        EarlySet::None => Bitfield::empty(pieces),
    })
}
