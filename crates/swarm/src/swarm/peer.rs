//! What the swarm knows of one connection.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use proto::address::is_local;
use proto::peer::Place;
use proto::{Bitfield, InfoHash, PeerId, PieceIndex};

use super::choker;
use super::rate::Rate;
use super::window::Window;
use crate::{Connected, Direction, PeerInfo, PeerKey};

/// One connection, from the swarm's side.
#[derive(Debug)]
pub(crate) struct Peer {
    pub(crate) connected: Connected,
    /// It is a server with the content as plain files, and its address says nothing.
    pub(crate) web_seed: bool,
    /// Its connection is about to end by our will: it takes up no room.
    pub(crate) leaving: bool,
    /// The piece that it is asked for next, if that is missing: neighbours make long requests.
    pub(crate) next_piece: Option<PieceIndex>,
    pub(crate) info: PeerInfo,
    pub(crate) connected_at: Instant,
    /// Its pieces, once we know how many there are.
    pub(crate) has: Option<Bitfield>,
    /// It lost a piece when it had all of them. From then on it is counted piece by piece whatever it has, or
    /// each time that it changes its mind would be a walk over all pieces.
    pub(crate) lost_some: bool,
    /// Pieces that it has and we lack.
    pub(crate) wanted: u32,
    pub(crate) allowed_fast: Vec<PieceIndex>,
    pub(crate) chokes_us: bool,
    pub(crate) interested_in_us: bool,
    pub(crate) interested_at: Instant,
    pub(crate) we_choke: bool,
    pub(crate) we_are_interested: bool,
    pub(crate) choke_changed_at: Instant,
    pub(crate) served: u64,
    /// Our place among those that wait for its slots, as it says.
    pub(crate) place: Option<Place>,
    /// What it was told of its own among those that wait for ours, in which of the choker's rounds.
    pub(crate) place_told: (Option<Place>, Option<u64>),
    pub(crate) window: Window,
    pub(crate) outstanding: usize,
    /// It could be asked for more, but there was nothing to ask for.
    pub(crate) starved: bool,
    pub(crate) down: Rate,
    pub(crate) up: Rate,
    /// When the first of the requests now under way was sent.
    pub(crate) asked_at: Instant,
    pub(crate) last_block_at: Instant,
    pub(crate) round_trip: Duration,
}

impl Peer {
    pub(crate) fn new(now: Instant, connected: Connected) -> Self {
        Self {
            connected,
            web_seed: false,
            leaving: false,
            next_piece: None,
            info: PeerInfo::default(),
            connected_at: now,
            has: None,
            lost_some: false,
            wanted: 0,
            allowed_fast: Vec::new(),
            chokes_us: true,
            interested_in_us: false,
            interested_at: now,
            we_choke: true,
            we_are_interested: false,
            choke_changed_at: now,
            served: 0,
            place: None,
            place_told: (None, None),
            window: Window::new(),
            outstanding: 0,
            starved: false,
            down: Rate::new(now),
            up: Rate::new(now),
            asked_at: now,
            last_block_at: now,
            round_trip: ROUND_TRIP_ASSUMED,
        }
    }

    /// A web seed (BEP 19): it never dials us and cannot be dialled, and knows nothing of BitTorrent.
    pub(crate) fn of_web_seed(now: Instant, info_hash: InfoHash) -> Self {
        let connected = Connected {
            addr: NOWHERE,
            direction: Direction::Outgoing,
            peer_id: PeerId([0; 20]),
            info_hash,
            v2: false,
            fast: false,
            extended: false,
            dht: false,
            utp: false,
        };
        Self { web_seed: true, window: Window::of_web_seed(), ..Self::new(now, connected) }
    }

    pub(crate) fn is_seeder(&self) -> bool {
        self.has.as_ref().is_some_and(Bitfield::is_full)
    }

    /// What it has, if that is counted piece by piece: seeders are not.
    pub(crate) fn counted(&self) -> Option<&Bitfield> {
        self.has.as_ref().filter(|has| self.lost_some || !has.is_full())
    }

    /// Blocks that one message may ask for.
    pub(crate) const fn run_blocks(&self) -> usize {
        self.info.run_blocks as usize
    }

    /// Blocks of `piece` may be asked for now.
    pub(crate) fn gives(&self, piece: PieceIndex) -> bool {
        self.has.as_ref().is_some_and(|has| has.has(piece))
            && (!self.chokes_us || self.allowed_fast.contains(&piece))
    }

    /// The first blocks after a pause tell the round trip.
    pub(crate) fn on_block(&mut self, now: Instant, len: u32) {
        if self.last_block_at < self.asked_at {
            let sample = now.duration_since(self.asked_at);
            self.round_trip = (self.round_trip * 3 + sample) / 4;
        }
        self.last_block_at = now;
        self.down.add(u64::from(len));
        self.window.on_block();
    }

    /// Blocks are owed and none came for too long.
    pub(crate) fn owes_since(&self) -> Option<Instant> {
        (self.outstanding > 0).then(|| self.last_block_at.max(self.asked_at))
    }

    /// Where it can be dialled: what we dialled, or the port it says it listens on.
    pub(crate) fn listen_addr(&self) -> Option<SocketAddr> {
        match self.connected.direction {
            Direction::Outgoing if self.web_seed => None,
            Direction::Outgoing => Some(self.connected.addr),
            Direction::Incoming => {
                let port = self.info.listen_port.filter(|port| *port != 0)?;
                Some(SocketAddr::new(self.connected.addr.ip(), port))
            }
        }
    }

    /// It is there: it can be dialled there, or the connection comes from there.
    pub(crate) fn is_at(&self, addr: SocketAddr) -> bool {
        self.connected.addr == addr || self.listen_addr() == Some(addr)
    }

    /// Where uTP reaches it: where it comes from by uTP, or else where it can be dialled, since the ports of
    /// both transports have one number.
    pub(crate) fn utp_addr(&self) -> Option<SocketAddr> {
        if self.connected.utp { Some(self.connected.addr) } else { self.listen_addr() }
    }

    /// Who says that it wants something, takes that back, and says it again, waits from then on.
    fn waits_since(&self) -> Instant {
        self.choke_changed_at.max(self.interested_at)
    }

    pub(crate) fn choker_view(&self, key: PeerKey) -> choker::PeerView {
        choker::PeerView {
            key,
            interested: self.interested_in_us,
            // Needs no upload slot.
            local: is_local(self.connected.addr.ip()),
            unchoked: !self.we_choke,
            down_rate: self.down.per_second(),
            served: self.served,
            since: if self.we_choke { self.waits_since() } else { self.choke_changed_at },
            connected_at: self.connected_at,
        }
    }

    /// Which of two connections between the same two peers stays. Both sides come to the same answer:
    /// the one that the peer with the greater id dialled.
    pub(crate) fn outranks(&self, other: &Self, our_id: PeerId) -> bool {
        let ours = our_id > self.connected.peer_id;
        let preferred = if ours { Direction::Outgoing } else { Direction::Incoming };
        self.connected.direction == preferred && other.connected.direction != preferred
    }
}

const NOWHERE: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), 0);
const ROUND_TRIP_ASSUMED: Duration = Duration::from_millis(50);
