//! Peers come, say what they have, and go.

use std::net::SocketAddr;

use proto::egress::Nearness;
use proto::peer::PeerExchange;
use proto::{Bitfield, PieceIndex};

use super::metadata::Progress;
use super::peer::Peer;
use super::wishes::PARTED_MAX;
use super::{Swarm, addresses};
use crate::{
    Action, Connected, Direction, Found, Goodbye, Notice, PeerCommand, PeerEvent, PeerInfo, PeerKey,
};

impl Swarm {
    /// A connection is up and both handshakes are done. The key names it from now on; the shell makes
    /// a session for it and then does the actions, of which one may be to end it at once.
    pub fn handle_connected(&mut self, now: std::time::Instant, connected: Connected) -> PeerKey {
        self.now = now;
        let key = PeerKey(self.next_key);
        self.next_key += 1;
        let connected = Connected { addr: addresses::canonical(connected.addr), ..connected };
        if connected.direction == Direction::Outgoing {
            self.addresses.on_connected(connected.addr);
            self.punching.as_mut().map(|punching| punching.ended(connected.addr));
        }
        let peer = Peer::new(now, connected);
        if let Some(goodbye) = self.refuses(&peer) {
            self.peers.insert(key, peer);
            self.part(key, goodbye);
            return key;
        }
        self.remember(key, connected.addr);
        self.peers.insert(key, peer);
        self.introduce(key);
        self.after();
        key
    }

    /// A connection of [`Action::Dial`] did not come about. `useless`: it led to ourselves or to
    /// another torrent, so it is not tried again.
    pub fn handle_dial_failed(&mut self, now: std::time::Instant, addr: SocketAddr, useless: bool) {
        self.now = now;
        let addr = addresses::canonical(addr);
        self.addresses.on_dial_failed(now, addr);
        let was_met = self.punching.as_mut().is_some_and(|punching| punching.ended(addr));
        if useless {
            self.addresses.forget(addr);
        } else if !was_met {
            self.seek_meeting(addr);
        }
        self.dial_and_announce();
    }

    /// A connection ended, for whatever reason. `fault` is what the peer did wrong, if that was
    /// hostile.
    pub fn handle_disconnected(
        &mut self,
        now: std::time::Instant,
        key: PeerKey,
        fault: Option<String>,
    ) {
        self.now = now;
        let Some(peer) = self.peers.remove(&key) else { return };
        self.web_seeds.count -= usize::from(peer.web_seed);
        self.super_seed_left(key, peer.has.as_ref());
        if let Some(torrent) = &mut self.torrent {
            torrent.open.give_back_all(key);
            let counted = peer.counted().into_iter().flat_map(Bitfield::iter);
            counted.for_each(|piece| torrent.rarity.fewer(piece));
            self.refill = true;
        }
        if let Some(metadata) = &mut self.metadata {
            metadata.on_refused(self.now, key);
            self.ask_for_metadata();
        }
        self.hashes.on_peer_gone(key);
        if let Some(exchange) = &mut self.exchange {
            exchange.forget(key);
        }
        if let Some(fault) = fault {
            self.addresses.ban(peer.connected.addr, peer.listen_addr());
            self.actions.push(Action::Notice(Notice::Banned(peer.connected.addr, fault)));
        } else if let Some(listening) = peer.listen_addr()
            && !self.peers.values().any(|other| other.listen_addr() == Some(listening))
        {
            let worked = peer.down.total() + peer.up.total() > 0;
            self.addresses.on_disconnected(now, listening, worked);
        }
        if self.is_alone() && self.wants_peers() && !self.stopping {
            self.announcer.hurry(now);
            self.seeker.hurry(now);
        }
        if peer.interested_in_us && !peer.we_choke {
            self.admit_who_waits();
        }
        self.dial_and_announce();
        self.after();
    }

    pub(super) fn on_peer_event(&mut self, key: PeerKey, event: PeerEvent) {
        if !self.peers.contains_key(&key) {
            return;
        }
        match event {
            PeerEvent::Extended(info) => self.on_extended(key, info),
            PeerEvent::Has(has) => self.on_has(key, has),
            PeerEvent::Have(piece) => self.on_have(key, piece),
            PeerEvent::DontHave(piece) => self.on_dont_have(key, piece),
            PeerEvent::Choked => self.with(key, |peer| (peer.chokes_us, peer.place) = (true, None)),
            PeerEvent::Unchoked => {
                self.with(key, |peer| (peer.chokes_us, peer.place) = (false, None));
            }
            PeerEvent::Interested => self.on_interested(key),
            PeerEvent::NotInterested => self.on_not_interested(key),
            PeerEvent::AllowedFast(piece) => self.with(key, |peer| {
                if peer.allowed_fast.len() < ALLOWED_FAST_MAX {
                    peer.allowed_fast.push(piece);
                }
            }),
            PeerEvent::Block(block, data) => self.on_block(key, block, data),
            PeerEvent::Rejected(block) | PeerEvent::Dropped(block) => self.on_refused(key, block),
            PeerEvent::Metadata(index, data) => {
                if let Some(metadata) = &mut self.metadata {
                    let progress = metadata.on_part(self.now, key, index, data);
                    self.on_metadata(progress);
                }
            }
            PeerEvent::MetadataRejected(_) => {
                if let Some(metadata) = &mut self.metadata {
                    metadata.on_refused(self.now, key);
                    self.ask_for_metadata();
                }
            }
            PeerEvent::Hashes(range, hashes) => self.on_hashes(key, range, &hashes),
            PeerEvent::HashesRejected(range) => self.hashes.on_rejected(key, range),
            PeerEvent::HashesRequested(range) => self.on_hashes_requested(key, range),
            PeerEvent::Sent(bytes) => {
                self.up.add(bytes);
                self.with(key, |peer| {
                    peer.up.add(bytes);
                    peer.served += bytes;
                });
            }
            PeerEvent::Waiting(_) => {}
            PeerEvent::Exchanged(message) => self.on_exchanged(key, message),
            PeerEvent::HolePunch(message) => self.on_hole_punch(key, message),
            PeerEvent::Place(place) => self.on_place(key, place),
            PeerEvent::DhtPort(port) => self.on_dht_port(key, port),
        }
    }

    /// Tells peers of each other.
    pub(super) fn exchange_peers(&mut self) {
        let Some(exchange) = &mut self.exchange else { return };
        for (key, message) in exchange.due(self.now, &self.peers) {
            self.command(key, PeerCommand::Exchange(message));
        }
    }

    fn on_exchanged(&mut self, key: PeerKey, message: PeerExchange) {
        let Some(peer) = self.peers.get(&key) else { return };
        let Some(exchange) = &mut self.exchange else { return };
        let by = Nearness::of(peer.connected.addr.ip());
        let peers = exchange.heard(self.now, key, message);
        self.meet(Found { by, peers });
    }

    fn on_dht_port(&mut self, key: PeerKey, port: u16) {
        let Some(peer) = self.peers.get(&key).filter(|_| self.config.dht) else { return };
        let node = SocketAddr::new(peer.connected.addr.ip(), port);
        self.actions.push(Action::DhtNode(node));
    }

    /// Tells a session what the torrent is and what we have.
    pub(super) fn introduce(&mut self, key: PeerKey) {
        let Some(torrent) = &self.torrent else { return };
        let hidden = self.super_seed.is_some();
        let command = PeerCommand::Torrent {
            geometry: torrent.geometry.clone(),
            info: torrent.info.clone(),
            have: if hidden { Bitfield::empty(torrent.have.len()) } else { torrent.have.clone() },
            exchange: self.exchange.is_some(),
            punch: self.punching.is_some(),
        };
        let complete = torrent.complete;
        self.command(key, command);
        if hidden {
            self.super_seed_to(key);
        } else if complete {
            self.command(key, PeerCommand::UploadOnly(true));
        }
    }

    /// Bans whoever that connection was, also after it ended.
    pub(super) fn ban(&mut self, key: PeerKey, reason: String) {
        let peer = self.peers.get(&key);
        if peer.is_some_and(|peer| peer.web_seed) {
            self.actions.push(Action::Notice(Notice::BannedWebSeed(key, reason)));
        } else {
            let Some(addr) = self.last_seen_at.get(&key).copied() else { return };
            if self.addresses.is_banned(addr) {
                return;
            }
            self.addresses.ban(addr, peer.and_then(Peer::listen_addr));
            self.actions.push(Action::Notice(Notice::Banned(addr, reason)));
        }
        if let Some(torrent) = &mut self.torrent {
            for data in torrent.open.distrust(key, false) {
                self.wasted += data.as_slice().len() as u64;
                self.actions.push(Action::Recycle(data));
            }
            self.refill = true;
        }
        if self.peers.contains_key(&key) {
            self.part(key, Goodbye::Banned);
        }
    }

    /// Asks the next peer that has the info dictionary for it.
    pub(super) fn ask_for_metadata(&mut self) {
        let Some(metadata) = &mut self.metadata else { return };
        for (key, peer) in &self.peers {
            let Some(len) = peer.info.metadata_len else { continue };
            let progress = metadata.offer(self.now, *key, len);
            if matches!(progress, Progress::Ask(..)) {
                return self.on_metadata(progress);
            }
        }
    }

    /// We want something of the peer, or no longer do.
    pub(super) fn update_interest(&mut self, key: PeerKey) {
        let fetching = self.wants_peers();
        let Some(peer) = self.peers.get_mut(&key) else { return };
        let interested = fetching && peer.wanted > 0;
        if interested != peer.we_are_interested {
            peer.we_are_interested = interested;
            self.command(key, PeerCommand::Interest(interested));
        }
    }

    /// Two that both have all, or want nothing, part.
    pub(super) fn part_if_useless(&mut self, key: PeerKey) {
        let complete = self.is_complete();
        let Some(peer) = self.peers.get(&key) else { return };
        if complete && (peer.is_seeder() || (peer.info.upload_only && !peer.interested_in_us)) {
            if let Some(listening) = peer.listen_addr() {
                self.addresses.forget(listening);
                let whole = self.torrent.as_ref().is_some_and(|torrent| torrent.have.is_full());
                if !whole && self.parted.len() < PARTED_MAX && !self.parted.contains(&listening) {
                    self.parted.push(listening);
                }
            }
            self.part(key, Goodbye::Useless);
        }
    }

    fn on_metadata(&mut self, progress: Progress) {
        match progress {
            Progress::Wait => {}
            Progress::Ask(key, parts) => {
                for part in parts {
                    self.command(key, PeerCommand::RequestMetadata(part));
                }
            }
            Progress::Done(info) => {
                self.metadata = None;
                self.actions.push(Action::Notice(Notice::MetadataKnown((*info).into())));
            }
            Progress::Liar(key) => {
                self.ban(key, "sent a wrong info dictionary".into());
                self.ask_for_metadata();
            }
            Progress::Invalid(error) => {
                self.metadata = None;
                self.actions.push(Action::Notice(Notice::Unusable(error)));
            }
        }
    }

    fn on_extended(&mut self, key: PeerKey, info: PeerInfo) {
        self.with(key, |peer| {
            if let Some(reqq) = info.reqq {
                peer.window.set_peer_limit(reqq);
            }
            peer.info = info;
        });
        let peer =
            self.peers.get(&key).filter(|peer| peer.connected.direction == Direction::Incoming);
        if let Some(listening) = peer.and_then(Peer::listen_addr) {
            // It comes from another port each time that it dials, and listens at one.
            if self.addresses.is_banned(listening) {
                return self.part(key, Goodbye::Banned);
            }
            self.addresses.hold(self.now, listening);
        }
        self.ask_for_metadata();
        self.part_if_useless(key);
    }

    fn on_has(&mut self, key: PeerKey, has: Bitfield) {
        let (Some(torrent), Some(peer)) = (&mut self.torrent, self.peers.get_mut(&key)) else {
            return;
        };
        let counted = peer.counted().into_iter().flat_map(Bitfield::iter);
        counted.for_each(|piece| torrent.rarity.fewer(piece));
        let before = peer.has.take();
        peer.wanted = torrent.wanted_of(&has);
        if has.is_full() && !peer.web_seed {
            self.copies.note(peer.connected.peer_id);
        }
        peer.has = Some(has);
        let counted = peer.counted().into_iter().flat_map(Bitfield::iter);
        counted.for_each(|piece| torrent.rarity.more(piece));
        self.super_seed_has(key, before.as_ref());
        self.update_interest(key);
        self.part_if_useless(key);
        self.fetch_hashes();
    }

    fn on_have(&mut self, key: PeerKey, piece: PieceIndex) {
        let (Some(torrent), Some(peer)) = (&mut self.torrent, self.peers.get_mut(&key)) else {
            return;
        };
        let has = peer.has.get_or_insert_with(|| Bitfield::empty(torrent.geometry.piece_count()));
        if !has.insert(piece) {
            return;
        }
        torrent.rarity.more(piece);
        if has.is_full() {
            if !peer.lost_some {
                // It has all now: seeders are not counted piece by piece.
                has.iter().for_each(|piece| torrent.rarity.fewer(piece));
            }
            self.copies.note(peer.connected.peer_id);
        }
        if torrent.lacks(piece) {
            peer.wanted += 1;
        }
        self.super_seed_have(key, piece);
        self.update_interest(key);
        self.part_if_useless(key);
    }

    fn on_dont_have(&mut self, key: PeerKey, piece: PieceIndex) {
        let (Some(torrent), Some(peer)) = (&mut self.torrent, self.peers.get_mut(&key)) else {
            return;
        };
        let Some(has) = &mut peer.has else { return };
        if has.is_full() && !std::mem::replace(&mut peer.lost_some, true) {
            has.iter().for_each(|piece| torrent.rarity.more(piece));
        }
        if has.remove(piece) {
            torrent.rarity.fewer(piece);
            if torrent.lacks(piece) {
                peer.wanted -= 1;
            }
            self.super_seed_lost(key, piece);
        }
        self.update_interest(key);
    }

    /// Why a new connection is not kept. A worse connection to the same peer makes room for it.
    fn refuses(&mut self, peer: &Peer) -> Option<Goodbye> {
        if self.stopping {
            return Some(Goodbye::Stopping);
        }
        if self.addresses.is_banned(peer.connected.addr) {
            return Some(Goodbye::Banned);
        }
        if peer.connected.peer_id == self.config.peer_id {
            self.addresses.forget(peer.connected.addr);
            return Some(Goodbye::Duplicate);
        }
        let same = |other: &&Peer| other.connected.peer_id == peer.connected.peer_id;
        let twin = self.peers.iter().find(|(_, other)| same(other));
        if let Some((key, other)) = twin {
            if !peer.outranks(other, self.config.peer_id) {
                return Some(Goodbye::Duplicate);
            }
            let key = *key;
            self.part(key, Goodbye::Duplicate);
            return None;
        }
        (!self.finds_room(peer)).then_some(Goodbye::TooMany)
    }

    fn remember(&mut self, key: PeerKey, addr: SocketAddr) {
        if self.last_seen_at.len() >= LAST_SEEN_MAX {
            self.last_seen_at.pop_first();
        }
        self.last_seen_at.insert(key, addr);
    }

    pub(super) fn with(&mut self, key: PeerKey, change: impl FnOnce(&mut Peer)) {
        if let Some(peer) = self.peers.get_mut(&key) {
            change(peer);
        }
    }
}

/// Clients grant about ten pieces (BEP 6); more is somebody's fancy.
const ALLOWED_FAST_MAX: usize = 32;
/// Past peers whose address is remembered for blame that comes late.
const LAST_SEEN_MAX: usize = 2_000;
