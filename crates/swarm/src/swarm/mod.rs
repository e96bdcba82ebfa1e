//! One torrent: which pieces are fetched from whom, who is served, who is banned, who is told.
//!
//! This file takes each input to the part that owns it. The parts: [`rarity`] and [`open`] choose
//! blocks, [`window`] how many at once, [`choker`] and [`guests`] who is served, [`slots`] how that looks, [`blame`] who lied, [`addresses`]
//! whom to dial, [`room`] who stays when there are too many, [`announce`] which tracker is told, [`seek`] when strangers are asked, [`super_seed`] who is told of which piece, [`exchange`] which peers hear of each other, [`punch`] how they meet through NATs, [`metadata`] and [`hashes`] what a magnet link
//! lacks, [`web_seeds`] when servers are asked, [`wishes`] which files are fetched, [`readers`] what somebody waits for.

mod addresses;
mod announce;
mod blame;
mod choker;
mod copies;
mod exchange;
mod fetch;
mod guests;
mod hashes;
mod metadata;
mod open;
mod peer;
mod peers;
mod punch;
mod rarity;
mod rate;
mod readers;
mod room;
mod seek;
mod serve;
mod slots;
mod super_seed;
#[cfg(test)]
mod tests;
mod view;
mod web_seeds;
mod window;
mod wishes;

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, Instant};

use chance::Chance;
use proto::egress::Nearness;
use proto::metainfo::{Expected, Info, OpenHash, PieceLayers};
use proto::{Bitfield, FileIndex, Geometry, InfoHash, InfoHashes, PeerId, PieceIndex};

pub use self::addresses::canonical;
pub use self::announce::TrackerAnswer;
pub use self::guests::GuestView;
pub use self::readers::ReaderKey;
pub use self::slots::{Slots, Standing, UploadState};
pub use self::view::{PeerStats, Stats, TrackerStats};
pub use self::wishes::Priority;
use self::{
    addresses::Addresses, announce::Announcer, blame::Suspicions, choker::Choker, copies::Copies,
    exchange::Exchange, guests::Guests, hashes::HashFetch, hashes::Roots, metadata::MetadataFetch,
    open::OpenPieces, peer::Peer, punch::Punching, rarity::Rarity, rate::Rate, readers::Readers,
    seek::Need, seek::Seeker, super_seed::SuperSeed, web_seeds::WebSeeds, wishes::Wishes,
};
use crate::{
    Action, AnnounceEvent, AnnounceTo, DiskEvent, Found, Notice, PeerCommand, PeerEvent, PeerKey,
};

/// Which piece is fetched next.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum PieceOrder {
    /// The one that fewest peers have: what is best for all.
    #[default]
    RarestFirst,
    /// The first one, for who reads while it comes. Peers that all do so have little to give each other.
    Sequential,
}

/// How a swarm behaves.
#[derive(Debug, Clone)]
pub struct Config {
    /// Where chance comes from.
    pub seed: u64,
    /// Our name for ourselves.
    pub peer_id: PeerId,
    /// Which torrent.
    pub info_hashes: InfoHashes,
    /// Tracker URLs in tiers.
    pub trackers: Vec<Vec<String>>,
    /// Connections at most.
    pub max_peers: usize,
    /// Peers served at once beyond local ones; by upload rate when `None`.
    pub upload_slots: Option<usize>,
    /// Bytes of open pieces at most; two pieces are open whatever it is.
    pub piece_budget: u64,
    /// Missing pieces are fetched. If not, we only serve what is there.
    pub fetch: bool,
    /// If all of it is there from the start, each piece is sent once as far as peers pass it on (BEP 16).
    pub super_seed: bool,
    /// In which order.
    pub order: PieceOrder,
    /// The info dictionary is known, though the torrent may not be open yet: no peer is asked for it.
    pub metadata_known: bool,
    /// Peers may be told of each other (BEP 11), as far as the torrent allows it.
    pub exchange: bool,
    /// They may be brought together (BEP 55), as far as the torrent allows it: there is uTP.
    pub punch: bool,
    /// Strangers may be asked for peers ([`Action::Search`]), as far as the torrent allows it.
    pub dht: bool,
}

/// What people ask of a torrent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    /// These addresses may be peers.
    AddPeers(Vec<SocketAddr>),
    /// These files are wanted that much from now on. Others stay as they are: normal, if nobody said
    /// anything of them.
    Prioritize(Vec<(FileIndex, Priority)>),
    /// Somebody reads these bytes of the torrent's space, from the first to the last: what it needs is
    /// fetched first. Said again as it goes on, or jumps.
    Read(ReaderKey, Range<u64>),
    /// It reads no more.
    ReadEnded(ReaderKey),
    /// Tell the trackers, end all connections; nothing is fetched or dialled any more.
    Stop,
}

/// The torrent, once its info dictionary is known and its files are open.
#[derive(Debug)]
struct Torrent {
    info: Arc<Info>,
    geometry: Arc<Geometry>,
    layers: PieceLayers,
    roots: Roots,
    have: Bitfield,
    wishes: Wishes,
    rarity: Rarity,
    open: OpenPieces,
    /// Pieces that the workers check and write, and who sent each block.
    verifying: BTreeMap<PieceIndex, Vec<Option<PeerKey>>>,
    /// Pieces that wait although their blocks are all here.
    held: Vec<PieceIndex>,
    verified: u64,
    /// All that is wanted is there.
    complete: bool,
}

/// One torrent's swarm. See the crate's contract for how it is driven.
#[derive(Debug)]
pub struct Swarm {
    config: Config,
    now: Instant,
    chance: Chance,
    torrent: Option<Torrent>,
    metadata: Option<MetadataFetch>,
    hashes: HashFetch,
    peers: BTreeMap<PeerKey, Peer>,
    next_key: u64,
    /// Where peers were, also after they left: blame may come late.
    last_seen_at: BTreeMap<PeerKey, SocketAddr>,
    copies: Copies,
    addresses: Addresses,
    /// Where others see us, as far as we were told.
    our_ip: IpAddr,
    announcer: Announcer,
    seeker: Seeker,
    exchange: Option<Exchange>,
    punching: Option<Punching>,
    web_seeds: WebSeeds,
    super_seed: Option<SuperSeed>,
    choker: Choker,
    guests: Guests,
    suspicions: Suspicions,
    /// What was said of files before it is known which there are.
    early_wishes: BTreeMap<FileIndex, Priority>,
    readers: Readers,
    /// Seeders that we parted from though we do not have everything; [`wishes::PARTED_MAX`] at most.
    parted: Vec<SocketAddr>,
    /// Someone gave blocks back or room was made: starved peers can be asked again.
    refill: bool,
    /// The disk refuses: nothing is asked for until then.
    paused_until: Option<Instant>,
    /// It refused the last piece that it was given.
    disk_refused: bool,
    stopping: bool,
    tick_at: Instant,
    down: Rate,
    up: Rate,
    wasted: u64,
    actions: Vec<Action>,
}

impl Swarm {
    /// A torrent of which only the hashes are known; [`Swarm::handle_opened`] tells the rest, when it
    /// is known from the start or after [`Notice::MetadataKnown`].
    #[must_use]
    pub fn new(now: Instant, config: Config) -> Self {
        let mut chance = Chance::new(config.seed);
        let our_ip = room::some_ip(&mut chance);
        let hashes = config.info_hashes.wire();
        let announcer = Announcer::new(now, &config.trackers, hashes, &mut chance);
        // With the info dictionary known, what it says about privacy comes with the open files.
        let unknown = (!config.metadata_known).then(|| OpenHash::of_unknown(config.info_hashes));
        let seeker = Seeker::new(now, config.dht, unknown.unwrap_or_default());
        Self {
            chance,
            now,
            torrent: None,
            metadata: (!config.metadata_known).then(|| MetadataFetch::new(config.info_hashes)),
            hashes: HashFetch::default(),
            peers: BTreeMap::new(),
            next_key: 1,
            last_seen_at: BTreeMap::new(),
            copies: Copies::default(),
            addresses: Addresses::new(),
            our_ip,
            announcer,
            seeker,
            exchange: None,
            punching: None,
            web_seeds: WebSeeds::default(),
            super_seed: None,
            choker: Choker::new(now, config.upload_slots),
            guests: Guests::default(),
            suspicions: Suspicions::default(),
            early_wishes: BTreeMap::new(),
            readers: Readers::default(),
            parted: Vec::new(),
            refill: false,
            paused_until: None,
            disk_refused: false,
            stopping: false,
            tick_at: now,
            down: Rate::new(now),
            up: Rate::new(now),
            wasted: 0,
            actions: Vec::new(),
            config,
        }
    }

    /// The torrent is known and its files are open; `have` is what is there and right.
    pub fn handle_opened(
        &mut self,
        now: Instant,
        info: Arc<Info>,
        layers: PieceLayers,
        have: Bitfield,
    ) {
        self.now = now;
        self.metadata = None;
        info.hashes().wire().for_each(|hash| self.announcer.add_hash(now, hash));
        let open = OpenHash::of(&info);
        self.exchange = Exchange::new(&open).filter(|_| self.config.exchange);
        self.punching = Punching::new(&open).filter(|_| self.config.punch);
        self.seeker.set(now, open);
        let geometry = Arc::new(info.geometry());
        let count = geometry.piece_count();
        let verified = have.iter().map(|piece| view::content_in(&geometry, piece)).sum();
        let early = std::mem::take(&mut self.early_wishes);
        let wishes = Wishes::new(&geometry, &have, info.files().len(), &early);
        let complete = wishes.lacking == 0;
        let alone = self.config.super_seed && have.is_full();
        self.super_seed = alone.then(|| SuperSeed::new(count));
        let mut rarity = Rarity::new(count);
        let ranked = if wishes.are_plain() { 0 } else { count };
        for piece in (0..ranked).map(PieceIndex) {
            rarity.set_rank(piece, wishes::rank(wishes.of(piece)));
        }
        self.torrent = Some(Torrent {
            rarity,
            wishes,
            open: OpenPieces::default(),
            verifying: BTreeMap::new(),
            held: Vec::new(),
            roots: Roots::new(&info, &layers),
            info,
            geometry,
            layers,
            have,
            verified,
            complete,
        });
        self.offer_missing();
        let keys: Vec<_> = self.peers.keys().copied().collect();
        keys.into_iter().for_each(|key| self.introduce(key));
        if complete {
            self.actions.push(Action::Notice(Notice::Complete));
        }
        self.after();
    }

    /// What happened on one connection since the last call, in order.
    pub fn handle_peer(&mut self, now: Instant, key: PeerKey, events: &mut Vec<PeerEvent>) {
        self.now = now;
        for event in events.drain(..) {
            self.on_peer_event(key, event);
        }
        self.fill(key);
        self.after();
    }

    /// A job of [`Action::Disk`] or [`Action::ReadLeaves`] ended, or the disk has news.
    pub fn handle_disk(&mut self, now: Instant, event: DiskEvent) {
        self.now = now;
        self.on_disk_event(event);
        self.after();
    }

    /// A tracker answered [`Action::Announce`]: with peers, or with what went wrong.
    pub fn handle_announced(
        &mut self,
        now: Instant,
        told: &AnnounceTo,
        answer: Result<(TrackerAnswer, Found), String>,
    ) {
        self.now = now;
        match answer {
            Ok((answer, found)) => {
                self.know(found);
                self.note_our_ip(answer.our_ip);
                let lonely = self.wants_peers() && self.is_alone();
                let (url, hash) = (told.url.as_str(), told.info_hash);
                self.announcer.on_answer(now, url, hash, told.event, &answer, lonely);
            }
            Err(error) => self.announcer.on_failure(now, &told.url, told.info_hash, error),
        }
        self.dial_and_announce();
        self.after();
    }

    /// A search of [`Action::Search`] found these; more may follow.
    pub fn handle_found(&mut self, now: Instant, found: Found) {
        self.now = now;
        self.meet(found);
        self.after();
    }

    /// A search of [`Action::Search`] has ended; so many nodes took our announce.
    pub fn handle_searched(&mut self, now: Instant, info_hash: InfoHash, announced: usize) {
        self.now = now;
        let need = match (self.wants_peers(), self.is_alone()) {
            (true, true) => Need::Lonely,
            (true, false) => Need::Peers,
            (false, _) if announced == 0 => Need::Lonely,
            (false, _) => Need::Nothing,
        };
        self.seeker.on_ended(now, info_hash, need);
        self.after();
    }

    /// A person or program asks for something.
    pub fn handle_command(&mut self, now: Instant, command: Command) {
        self.now = now;
        match command {
            Command::AddPeers(peers) => self.meet(Found { by: Nearness::Machine, peers }),
            Command::Prioritize(changes) => self.prioritize(changes),
            Command::Read(key, rest) => self.on_reader(key, rest),
            Command::ReadEnded(key) => self.on_reader_left(key),
            Command::Stop => self.stop(),
        }
        self.after();
    }

    /// Open pieces may take so many bytes from now on; those that take more stay.
    pub fn handle_budget(&mut self, now: Instant, bytes: u64) {
        self.now = now;
        let before = std::mem::replace(&mut self.config.piece_budget, bytes);
        if bytes > before {
            self.refill = true;
            self.after();
        }
    }

    /// Bytes of the pieces that are open, or being checked and written.
    #[must_use]
    pub fn bytes_under_way(&self) -> u64 {
        self.torrent.as_ref().map_or(0, |torrent| {
            let pieces = torrent.open.len() + torrent.verifying.len();
            pieces as u64 * u64::from(torrent.geometry.nominal_piece_len())
        })
    }

    /// The instant of [`Swarm::poll_timeout`] has come.
    pub fn handle_timeout(&mut self, now: Instant) {
        self.now = now;
        if now >= self.tick_at {
            self.tick_at = now + TICK;
            self.tick();
        }
        if now >= self.choker.next_round() {
            self.choke_round();
        }
        self.check_readers();
        self.dial_and_announce();
        self.after();
    }

    /// What must be done, in order.
    pub fn poll_actions(&mut self, out: &mut Vec<Action>) {
        out.append(&mut self.actions);
    }

    /// When to call [`Swarm::handle_timeout`].
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        if self.stopping {
            return None;
        }
        // Rates fall when everybody has gone, too.
        let moving = self.down.per_second() > 0 || self.up.per_second() > 0;
        let somebody = moving || !self.peers.is_empty() || !self.guests.is_empty();
        let tick = (somebody || self.paused_until.is_some()).then_some(self.tick_at);
        let round = somebody.then(|| self.choker.next_round());
        let dial = self.wants_dialling().then(|| self.addresses.next_at()).flatten();
        let asking = [self.announcer.next_at(), self.seeker.next_at(), self.readers.next_at()];
        [tick, round, dial].into_iter().chain(asking).flatten().min()
    }

    /// Once a second: rates, windows, peers that owe us, what stalls.
    fn tick(&mut self) {
        let now = self.now;
        self.down.tick(now);
        self.up.tick(now);
        self.readers.tick(now);
        let mut snubbed = Vec::new();
        for (key, peer) in &mut self.peers {
            peer.down.tick(now);
            peer.up.tick(now);
            peer.window.tick(peer.down.per_second(), peer.round_trip);
            let patience = if peer.window.is_snubbed() { SNUBBED_PATIENCE } else { PATIENCE };
            if peer.owes_since().is_some_and(|since| now.duration_since(since) >= patience) {
                snubbed.push(*key);
            }
        }
        for key in snubbed {
            self.snub(key);
        }
        if self.paused_until.is_some_and(|until| until <= now) {
            self.paused_until = None;
            self.refill = true;
        }
        if let Some(metadata) = &mut self.metadata {
            metadata.tick(now);
            self.ask_for_metadata();
        }
        self.fetch_hashes();
        self.exchange_peers();
        self.set_duty_of_web_seeds();
        self.super_seed_tick();
        self.tell_places();
        self.turn_over();
        // The end game waits for time to pass.
        self.refill = true;
    }

    /// Peers may be told of each other: for [`crate::SessionConfig`].
    #[must_use]
    pub const fn exchanges(&self) -> bool {
        self.exchange.is_some()
    }

    /// Peers may be brought together: for [`crate::SessionConfig`].
    #[must_use]
    pub const fn punches(&self) -> bool {
        self.punching.is_some()
    }

    fn stop(&mut self) {
        self.stopping = true;
        self.seeker.stop();
        self.announcer.stop();
        self.announce_due();
        let keys: Vec<_> = self.peers.keys().copied().collect();
        for key in keys {
            self.actions.push(Action::Disconnect(key, crate::Goodbye::Stopping));
        }
    }

    fn know(&mut self, found: Found) {
        found.peers.into_iter().for_each(|addr| self.addresses.add(self.now, addr, found.by));
    }

    fn meet(&mut self, found: Found) {
        self.know(found);
        self.dial_and_announce();
    }

    fn announce_due(&mut self) {
        for (url, info_hash, event) in self.announcer.due(self.now) {
            self.announce(url, info_hash, event);
        }
    }

    fn dial_and_announce(&mut self) {
        if self.stopping {
            return self.announce_due();
        }
        if self.wants_dialling() {
            let room = self.config.max_peers.saturating_sub(self.staying());
            let crowd = room::Crowd::of(self.peers.values());
            for (addr, by) in self.addresses.due(self.now, room, (crowd, self.our_addr())) {
                self.actions.push(Action::Dial(addr, by));
            }
        }
        self.announce_due();
        let searches = self.seeker.due(self.now);
        self.actions.extend(searches.into_iter().map(Action::Search));
    }

    fn announce(&mut self, url: String, info_hash: InfoHash, event: AnnounceEvent) {
        let left =
            self.torrent.as_ref().map_or(1, |torrent| torrent.wishes.len - torrent.wishes.verified);
        let whole = self.torrent.as_ref().is_some_and(|torrent| torrent.have.is_full());
        let wants = self.wants_peers() && event != AnnounceEvent::Stopped;
        self.actions.push(Action::Announce(AnnounceTo {
            url,
            info_hash,
            event,
            uploaded: self.up.total(),
            downloaded: self.down.total(),
            // Who leaves 0 counts as a seeder, whose word is that everything can be had: not so if some
            // was not wanted (BEP 21), and not if what is missing is empty files.
            left: if whole { 0 } else { left.max(1) },
            num_want: if wants { NUM_WANT } else { 0 },
        }));
    }

    /// Leaves nothing waiting that could go on.
    fn after(&mut self) {
        if std::mem::take(&mut self.refill) {
            let starved = self.peers.iter().filter(|(_, peer)| peer.starved);
            let mut starved: Vec<_> = starved.map(|(key, peer)| (peer.outstanding, *key)).collect();
            // When the piece budget is the bound, room goes to who has least under way: else the first
            // peers, with their windows wide open, would leave the others nothing to do.
            starved.sort_unstable();
            starved.into_iter().for_each(|(_, key)| self.fill(key));
        }
        self.admit_guests();
    }

    fn command(&mut self, key: PeerKey, command: PeerCommand) {
        self.actions.push(Action::Peer(key, command));
    }

    fn is_complete(&self) -> bool {
        self.torrent.as_ref().is_some_and(|torrent| torrent.complete)
    }

    fn wants_peers(&self) -> bool {
        self.config.fetch && !self.is_complete()
    }

    fn wants_dialling(&self) -> bool {
        !self.stopping && self.staying() < self.config.max_peers
    }
}

impl Torrent {
    /// What `piece` must hash to, as far as it is known now.
    fn expected(&self, piece: PieceIndex, v1_alone: bool) -> Option<Expected> {
        match self.info.expected(piece, &self.layers) {
            Some(expected) => Some(expected),
            None if v1_alone => {
                let v1 = *self.info.v1_pieces()?.get(piece.as_usize())?;
                Some(Expected { v1: Some(v1), v2: None })
            }
            None => None,
        }
    }
}

const TICK: Duration = Duration::from_secs(1);
/// A peer that owes blocks this long is snubbed: its blocks go to others.
const PATIENCE: Duration = Duration::from_secs(20);
/// How long a snubbed peer may take for its one block.
const SNUBBED_PATIENCE: Duration = Duration::from_secs(60);
/// Peers asked of a tracker.
const NUM_WANT: u32 = 50;

/// Pieces told to be missing, kept apart from hash tables so that order is the same every time.
type PieceSet = BTreeSet<PieceIndex>;
