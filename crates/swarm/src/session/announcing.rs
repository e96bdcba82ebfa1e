//! What we tell the peer about ourselves: handshake, pieces, choke, interest.
//!
//! Flags and pieces are kept as what is so and what was told, and the difference is written when
//! there is room: what changes twice in between is not told at all.

use std::collections::VecDeque;
use std::net::IpAddr;

use proto::peer::extension::local;
use proto::peer::{
    ExtensionHandshake, HolePunch, Message, PeerExchange, Place, RUN_LEN_MAX, allowed_fast,
};
use proto::{Bitfield, PieceIndex};

use super::Session;
use crate::Direction;
use crate::limits::session::{CONTROL_LEN, CONTROL_SOFT_LEN, FAST_GRANTED, REQQ};

/// What the peer was told, and what it should know.
#[derive(Debug)]
pub(super) struct Told {
    pub(super) choke: Flag,
    pub(super) interest: Flag,
    pub(super) upload_only: Flag,
    pub(super) place: QueuePlace,
    /// Our handshake named the length of the info dictionary.
    metadata_len: bool,
    /// Our handshake had the extension that peers hear of each other by.
    exchange: bool,
    /// The same of the one that brings peers together.
    punch: bool,
    /// A bitfield, have-all or have-none was sent.
    set: bool,
    /// The port of our DHT node was sent.
    dht_port: bool,
    /// The peer told us of its own.
    pub(super) dht_port_heard: bool,
    /// The pieces that it was told of.
    pieces: Bitfield,
    /// Pieces of which something may have to be told; each at most once.
    news: VecDeque<PieceIndex>,
    in_news: Bitfield,
}

/// The peer's place among those that wait for an upload slot; only the latest one matters.
#[derive(Debug, Default)]
pub(super) struct QueuePlace {
    pub(super) want: Option<Place>,
    told: Option<Place>,
}

/// A flag of which only the latest value matters.
#[derive(Debug, Clone, Copy)]
pub(super) struct Flag {
    pub(super) want: bool,
    pub(super) told: bool,
}

impl Flag {
    const fn new(value: bool) -> Self {
        Self { want: value, told: value }
    }

    /// The new value, if the peer must be told.
    fn update(&mut self) -> Option<bool> {
        (std::mem::replace(&mut self.told, self.want) != self.want).then_some(self.want)
    }
}

impl Told {
    pub(super) fn new(upload_only: bool) -> Self {
        Self {
            choke: Flag::new(true),
            interest: Flag::new(false),
            upload_only: Flag::new(upload_only),
            place: QueuePlace::default(),
            metadata_len: false,
            exchange: false,
            punch: false,
            set: false,
            dht_port: false,
            dht_port_heard: false,
            pieces: Bitfield::empty(0),
            news: VecDeque::new(),
            in_news: Bitfield::empty(0),
        }
    }

    pub(super) fn push_news(&mut self, piece: PieceIndex) {
        if self.in_news.insert(piece) {
            self.news.push_back(piece);
        }
    }
}

impl Session {
    /// The first words, before the torrent is given.
    pub(super) fn announce_start(&mut self) {
        let metadata_len = self.config.metadata_len;
        self.send_extension_handshake(metadata_len);
        if metadata_len.is_none() && self.config.connected.fast {
            self.outbox.push(&Message::HaveNone);
            self.told.set = true;
            self.send_dht_port();
        }
    }

    /// Behind what we have: BEP 3 wants a bitfield first.
    fn send_dht_port(&mut self) {
        let port = self.config.dht_port.filter(|_| self.config.connected.dht);
        if let Some(port) = port.filter(|_| !std::mem::replace(&mut self.told.dht_port, true)) {
            self.outbox.push(&Message::Port(port));
        }
    }

    /// What the torrent is became known, or what we have of it changed as a whole.
    pub(super) fn announce_torrent(&mut self) {
        let Some(torrent) = &self.torrent else { return };
        let pieces = torrent.geometry.piece_count();
        let info_len = u32::try_from(torrent.info.raw().len()).ok();
        let (told, config) = (&self.told, &self.config);
        let has_news = told.exchange != config.exchange || told.punch != config.punch;
        if !told.metadata_len || has_news {
            self.send_extension_handshake(info_len);
        }
        if self.told.pieces.len() != pieces {
            self.told.pieces = Bitfield::empty(pieces);
            self.told.in_news = Bitfield::empty(pieces);
        }
        if !std::mem::replace(&mut self.told.set, true) {
            self.send_set();
            self.send_dht_port();
            self.grant_fast();
            return;
        }
        let Some(torrent) = &self.torrent else { return };
        for piece in (0..pieces).map(PieceIndex) {
            if torrent.have.has(piece) != self.told.pieces.has(piece) {
                self.told.push_news(piece);
            }
        }
    }

    /// We have one more piece.
    pub(super) fn set_have(&mut self, piece: PieceIndex) {
        if let Some(torrent) = &mut self.torrent
            && torrent.have.insert(piece)
        {
            self.told.push_news(piece);
        }
    }

    /// We have one piece less.
    pub(super) fn set_lost(&mut self, piece: PieceIndex) {
        if let Some(torrent) = &mut self.torrent
            && torrent.have.remove(piece)
        {
            self.told.push_news(piece);
            self.refuse_queued(|queued| queued != piece);
        }
    }

    /// Writes what waits, as far as there is room.
    pub(super) fn write_control(&mut self) {
        if self.outbox.control_len() >= CONTROL_SOFT_LEN {
            return;
        }
        self.write_flags();
        while self.outbox.control_len() < CONTROL_SOFT_LEN {
            let written = self.write_reject() || self.write_news() || self.write_metadata();
            if !written {
                self.write_upload_only();
                break;
            }
        }
    }

    fn write_flags(&mut self) {
        if let Some(interested) = self.told.interest.update() {
            self.outbox.push(match interested {
                true => &Message::Interested,
                false => &Message::NotInterested,
            });
        }
        if let Some(choke) = self.told.choke.update() {
            self.outbox.push(if choke { &Message::Choke } else { &Message::Unchoke });
            // Whoever has a slot is in no queue, and neither is whoever has just lost one.
            self.told.place.told = None;
            if choke {
                self.on_choke_told();
            }
        }
        self.write_place();
    }

    /// Tells a peer that waits for a slot how many come before it.
    fn write_place(&mut self) {
        let place = &mut self.told.place;
        let Some(id) = self.remote.ids.slots.filter(|_| place.want != place.told) else { return };
        place.told = place.want;
        // Its slot itself says that it waits no longer.
        if self.told.choke.told {
            let mut payload = Vec::new();
            Place::encode(place.want, &mut payload);
            self.outbox.push(&Message::Extended(id, &payload));
        }
    }

    /// Behind the pieces: who wants nothing either parts at that word, and should know of the last one.
    fn write_upload_only(&mut self) {
        // Kept as news until the peer has said under which number it takes them.
        if self.told.news.is_empty()
            && let Some(id) = self.remote.ids.upload_only
            && let Some(flag) = self.told.upload_only.update()
        {
            self.outbox.push(&Message::Extended(id, &[u8::from(flag)]));
        }
    }

    /// Tells of the next piece; false when there is nothing to tell.
    fn write_news(&mut self) -> bool {
        let Some(piece) = self.told.news.pop_front() else { return false };
        self.told.in_news.remove(piece);
        let Some(torrent) = &self.torrent else { return true };
        match (torrent.have.has(piece), self.told.pieces.has(piece)) {
            (true, false) => {
                // Those that have it too want to know how far we are.
                self.told.pieces.insert(piece);
                self.outbox.push(&Message::Have(piece));
            }
            (false, true) => {
                self.told.pieces.remove(piece);
                if let Some(id) = self.remote.ids.dont_have {
                    self.outbox.push(&Message::Extended(id, &piece.0.to_be_bytes()));
                }
            }
            (true, true) | (false, false) => {}
        }
        true
    }

    fn send_set(&mut self) {
        let Some(torrent) = &self.torrent else { return };
        let have = &torrent.have;
        self.told.pieces = have.clone();
        if self.config.connected.fast && have.is_full() {
            self.outbox.push(&Message::HaveAll);
        } else if self.config.connected.fast && have.count() == 0 {
            self.outbox.push(&Message::HaveNone);
        } else if have.count() > 0 {
            self.outbox.push(&Message::Bitfield(have.as_bytes()));
        }
    }

    /// Lets the peer fetch a few pieces before it is unchoked (BEP 6), twice in case some get lost.
    ///
    /// It is a start for those who must give to be given. A seeder asks for nothing in return, and
    /// since peers of one network get the same few pieces, it would send those to everybody before it
    /// has sent the others to anybody.
    fn grant_fast(&mut self) {
        let (Some(torrent), IpAddr::V4(ip)) = (&self.torrent, self.config.connected.addr.ip())
        else {
            return;
        };
        if !self.config.connected.fast || torrent.have.count() == 0 || torrent.have.is_full() {
            return;
        }
        let pieces = torrent.geometry.piece_count();
        let mut granted = allowed_fast(ip, self.config.connected.info_hash, pieces, FAST_GRANTED);
        granted.retain(|piece| torrent.have.has(*piece));
        for piece in &granted {
            self.outbox.push(&Message::AllowedFast(*piece));
        }
        let blocks = granted.iter().map(|piece| torrent.geometry.block_count(*piece)).sum::<u32>();
        self.uploads.grant(granted, 2 * blocks);
    }

    /// Tells whom we are connected to. Once a minute, so it needs no place in a queue of its own.
    pub(super) fn send_exchange(&mut self, message: &PeerExchange) {
        let id = self.remote.ids.exchange.filter(|_| self.config.exchange);
        if let Some(id) = id.filter(|_| self.outbox.control_len() <= CONTROL_LEN) {
            let mut payload = Vec::new();
            message.encode(&mut payload);
            self.outbox.push(&Message::Extended(id, &payload));
        }
    }

    /// Brings peers together. The swarm counts how many a minute.
    pub(super) fn send_hole_punch(&mut self, message: HolePunch) {
        let id = self.remote.ids.hole_punch.filter(|_| self.config.punch);
        if let Some(id) = id.filter(|_| self.outbox.control_len() <= CONTROL_LEN) {
            let mut payload = Vec::new();
            message.encode(&mut payload);
            self.outbox.push(&Message::Extended(id, &payload));
        }
    }

    fn send_extension_handshake(&mut self, metadata_len: Option<u32>) {
        let connected = self.config.connected;
        if !connected.extended {
            return;
        }
        self.told.metadata_len = metadata_len.is_some();
        let ut_pex = offer(&mut self.told.exchange, self.config.exchange, local::EXCHANGE);
        let ut_holepunch = offer(&mut self.told.punch, self.config.punch, local::HOLE_PUNCH);
        self.told.upload_only.told = self.told.upload_only.want;
        let dialled = connected.direction == Direction::Outgoing;
        let handshake = ExtensionHandshake {
            ut_metadata: Some(local::METADATA),
            lt_donthave: Some(local::DONT_HAVE),
            upload_only_id: Some(local::UPLOAD_ONLY),
            ut_pex,
            ut_holepunch,
            teem_slots: Some(local::SLOTS),
            metadata_len,
            listen_port: self.config.listen_port.filter(|_| dialled),
            reqq: Some(REQQ),
            run_len: Some(RUN_LEN_MAX),
            upload_only: Some(self.told.upload_only.want),
            client: Some(self.config.client.clone()),
            your_ip: Some(connected.addr.ip()),
        };
        let mut payload = Vec::new();
        handshake.encode(&mut payload);
        self.outbox.push(&Message::Extended(local::HANDSHAKE, &payload));
    }
}

/// The number to tell of an extension that we have, or no longer have: 0 takes back an earlier one.
const fn offer(told: &mut bool, has: bool, id: u8) -> Option<u8> {
    match (std::mem::replace(told, has), has) {
        (_, true) => Some(id),
        (true, false) => Some(0),
        (false, false) => None,
    }
}
