//! How a swarm stands, for people.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use proto::{Geometry, PieceIndex};

use super::{Standing, Swarm};

/// Totals of one torrent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stats {
    /// Content bytes verified and written.
    pub verified: u64,
    /// Content bytes of the files that are wanted.
    pub wanted_len: u64,
    /// Of those, the ones that are verified and written.
    pub wanted_verified: u64,
    /// Every piece that is wanted is there.
    pub complete: bool,
    /// Payload bytes received.
    pub downloaded: u64,
    /// Payload bytes sent.
    pub uploaded: u64,
    /// Payload bytes received and thrown away.
    pub wasted: u64,
    /// Bytes a second.
    pub down_rate: u64,
    /// Bytes a second.
    pub up_rate: u64,
    /// Time left at this rate.
    pub eta: Option<Duration>,
    /// Seeders and leechers, as the tracker says.
    pub counts: Option<(u32, u32)>,
    /// Peers that were seen with all of it; 10,000 at most.
    pub copies: usize,
    /// A tracker has acknowledged us.
    pub registered: bool,
}

/// One connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PeerStats {
    /// Its address.
    pub addr: SocketAddr,
    /// Its client.
    pub client: Option<String>,
    /// Pieces it has.
    pub pieces: u32,
    /// It is a web seed (BEP 19), and its address says nothing.
    pub web_seed: bool,
    /// Pieces it has that we want and lack. None of a web seed: what it promises is worth what comes from it.
    pub wanted: u32,
    /// It has all.
    pub seeder: bool,
    /// Payload bytes received from it.
    pub downloaded: u64,
    /// Payload bytes sent to it.
    pub uploaded: u64,
    /// Bytes a second.
    pub down_rate: u64,
    /// Bytes a second.
    pub up_rate: u64,
    /// What it is to us; `None` while it has nothing that we want.
    pub gives: Option<Standing>,
    /// What we are to it; `None` while it wants nothing.
    pub gets: Option<Standing>,
}

/// One tracker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TrackerStats {
    /// Its URL.
    pub url: String,
    /// It answered last time.
    pub working: bool,
    /// What went wrong last time.
    pub error: Option<String>,
}

impl Swarm {
    /// Totals.
    #[must_use]
    pub fn stats(&self) -> Stats {
        let torrent = self.torrent.as_ref();
        let verified = torrent.map_or(0, |torrent| torrent.verified);
        let (wanted_len, wanted_verified) =
            torrent.map_or((0, 0), |torrent| (torrent.wishes.len, torrent.wishes.verified));
        let left = wanted_len - wanted_verified;
        let rate = self.down.per_second();
        let eta = (rate > 0 && left > 0).then(|| Duration::from_secs(left / rate));
        Stats {
            verified,
            wanted_len,
            wanted_verified,
            complete: self.is_complete(),
            downloaded: self.down.total(),
            uploaded: self.up.total(),
            wasted: self.wasted,
            down_rate: rate,
            up_rate: self.up.per_second(),
            eta,
            counts: self.announcer.counts,
            copies: self.copies.count(),
            registered: self.announcer.is_registered(),
        }
    }

    /// Each connection.
    pub fn peers(&self) -> impl Iterator<Item = PeerStats> {
        let places: BTreeMap<_, _> =
            self.queue().into_iter().enumerate().map(|(place, key)| (key, place)).collect();
        self.peers.iter().map(move |(key, peer)| PeerStats {
            addr: peer.connected.addr,
            client: peer.info.client.clone(),
            pieces: peer.has.as_ref().map_or(0, proto::Bitfield::count),
            web_seed: peer.web_seed,
            wanted: if peer.web_seed { 0 } else { peer.wanted },
            seeder: peer.is_seeder(),
            downloaded: peer.down.total(),
            uploaded: peer.up.total(),
            down_rate: peer.down.per_second(),
            up_rate: peer.up.per_second(),
            gives: peer.gives_us(),
            gets: peer.gets_from_us(places.get(key).copied()),
        })
    }

    /// Addresses of peers that cannot be reached, refused us or are banned: some of them, and how many there are.
    #[must_use]
    pub fn unavailable(&self) -> (Vec<SocketAddr>, usize) {
        self.addresses.unavailable()
    }

    /// Where peers can be dialled, of those that are connected.
    pub fn dialable(&self) -> impl Iterator<Item = SocketAddr> {
        self.peers.values().filter_map(super::peer::Peer::listen_addr)
    }

    /// Each tracker.
    pub fn trackers(&self) -> impl Iterator<Item = TrackerStats> {
        self.announcer.trackers().iter().map(|tracker| TrackerStats {
            url: tracker.url.clone(),
            working: tracker.working,
            error: tracker.error.clone(),
        })
    }
}

/// Bytes of real files in a piece.
pub(super) fn content_in(geometry: &Geometry, piece: PieceIndex) -> u64 {
    geometry.spans(geometry.whole(piece)).map(|span| u64::from(span.len)).sum()
}
