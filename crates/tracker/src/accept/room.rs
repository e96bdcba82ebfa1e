//! Who has a place, and who loses it when a place is needed.
//!
//! Sockets that send nothing, or a byte now and then, cost nothing to hold. So places are no property:
//! when all are taken, the network (/24, /64) that holds most of them gives one up, the one of its
//! connections that has gone longest without a complete request. One source cannot hold every place
//! while others come, and who asks and reads its answers is the last to go.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::{IpAddr, Ipv4Addr};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use parking_lot::Mutex;
use proto::address::network_of;
use tokio_util::sync::CancellationToken;

/// The places.
#[derive(Debug)]
pub(super) struct Room {
    places_max: usize,
    since: Instant,
    inside: Mutex<Inside>,
}

/// Some 300 bytes a place.
#[derive(Debug, Default)]
struct Inside {
    next_id: u64,
    places: HashMap<u64, Place>,
    networks: BTreeMap<IpAddr, BTreeSet<Rank>>,
    /// Networks by how many places they hold.
    sizes: BTreeSet<(usize, IpAddr)>,
    /// Connections that lost their place and have not ended yet.
    leaving: usize,
}

/// When a connection was last known to complete a request, in milliseconds, and its number.
type Rank = (u64, u64);

#[derive(Debug)]
struct Place {
    network: IpAddr,
    rank: Rank,
    last: Arc<AtomicU64>,
    evicted: CancellationToken,
}

/// A connection's place, until it is dropped.
#[derive(Debug)]
pub(crate) struct Seat {
    room: Arc<Room>,
    id: u64,
    last: Arc<AtomicU64>,
    evicted: CancellationToken,
    /// Counts those that are open.
    open: Arc<AtomicU64>,
}

impl Room {
    pub(super) fn new(places_max: usize) -> Arc<Self> {
        Arc::new(Self { places_max, since: Instant::now(), inside: Mutex::default() })
    }

    /// A place for a connection from `ip`, counted in `open`, and whether another one lost its own for
    /// it. `None` when those that lost theirs are slow to end.
    pub(super) fn enter(
        self: &Arc<Self>,
        ip: IpAddr,
        open: &Arc<AtomicU64>,
    ) -> Option<(Seat, bool)> {
        let (network, now) = (network_of(ip), self.now());
        let mut inside = self.inside.lock();
        let is_full = inside.places.len() >= self.places_max;
        if is_full && (inside.leaving >= LEAVING_MAX || !inside.evict()) {
            return None;
        }
        let id = inside.next_id;
        inside.next_id += 1;
        let (last, evicted) = (Arc::new(AtomicU64::new(now)), CancellationToken::new());
        let place =
            Place { network, rank: (now, id), last: Arc::clone(&last), evicted: evicted.clone() };
        inside.insert(id, place);
        open.fetch_add(1, Ordering::Relaxed);
        let (room, open) = (Arc::clone(self), Arc::clone(open));
        Some((Seat { room, id, last, evicted, open }, is_full))
    }

    /// Takes somebody's place: something else than places ran out. False when nobody has one.
    pub(super) fn evict(&self) -> bool {
        self.inside.lock().evict()
    }

    fn now(&self) -> u64 {
        u64::try_from(self.since.elapsed().as_millis()).unwrap_or(u64::MAX)
    }
}

impl Inside {
    fn insert(&mut self, id: u64, place: Place) {
        let ranks = self.networks.entry(place.network).or_default();
        self.sizes.remove(&(ranks.len(), place.network));
        ranks.insert(place.rank);
        self.sizes.insert((ranks.len(), place.network));
        self.places.insert(id, place);
    }

    fn remove(&mut self, id: u64) -> Option<Place> {
        let place = self.places.remove(&id)?;
        if let Some(ranks) = self.networks.get_mut(&place.network) {
            self.sizes.remove(&(ranks.len(), place.network));
            ranks.remove(&place.rank);
            if ranks.is_empty() {
                self.networks.remove(&place.network);
            } else {
                self.sizes.insert((ranks.len(), place.network));
            }
        }
        Some(place)
    }

    /// Ends the connection that has gone longest without a complete request, of those that the largest
    /// network has.
    fn evict(&mut self) -> bool {
        let Some(network) = self.victims() else { return false };
        // Ranks are of the past: who completed requests since then gets its true one first. Each
        // completed request moves a connection once at most.
        while let Some(&(known, id)) = self.networks.get(&network).and_then(BTreeSet::first) {
            let Some(place) = self.places.get(&id) else { return false };
            let last = place.last.load(Ordering::Relaxed);
            if last <= known {
                if let Some(place) = self.remove(id) {
                    place.evicted.cancel();
                    self.leaving += 1;
                }
                return true;
            }
            if let (Some(ranks), Some(place)) =
                (self.networks.get_mut(&network), self.places.get_mut(&id))
            {
                ranks.remove(&place.rank);
                place.rank = (last, id);
                ranks.insert(place.rank);
            }
        }
        false
    }

    /// The network with most places; of several, the one with the connection that is silent longest, as
    /// far as a look at some of them tells.
    fn victims(&self) -> Option<IpAddr> {
        let most = self.sizes.last()?.0;
        let largest = self.sizes.range((most, IpAddr::V4(Ipv4Addr::UNSPECIFIED))..);
        let silent_since = |network: &IpAddr| {
            let &(known, id) = self.networks.get(network)?.first()?;
            let last = self.places.get(&id)?.last.load(Ordering::Relaxed);
            Some(known.max(last))
        };
        largest.map(|(_, network)| *network).take(NETWORKS_COMPARED).min_by_key(silent_since)
    }
}

impl Seat {
    /// The connection completed a request.
    pub(crate) fn on_completed(&self) {
        self.last.store(self.room.now(), Ordering::Relaxed);
    }

    /// Runs a connection until it ends or loses its place. Boxed, since each future that one is handed
    /// on through would have room for it twice.
    pub(crate) async fn hold<T>(&self, connection: Pin<Box<impl Future<Output = T>>>) -> Option<T> {
        tokio::select! {
            ended = connection => Some(ended),
            () = self.evicted.cancelled() => None,
        }
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.open.fetch_sub(1, Ordering::Relaxed);
        let mut inside = self.room.inside.lock();
        if inside.remove(self.id).is_none() {
            inside.leaving -= 1;
        }
    }
}

/// Connections that lost their place and are still ending. They end at once, unless the threads have
/// no time for it; then newcomers are turned away.
const LEAVING_MAX: usize = 1_024;
/// Networks of the same size that are compared.
const NETWORKS_COMPARED: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(network: u8, host: u8) -> IpAddr {
        [10, 0, network, host].into()
    }

    fn enter(room: &Arc<Room>, network: u8, host: u8) -> Seat {
        room.enter(ip(network, host), &Arc::default()).unwrap().0
    }

    /// As if a request were completed at that time.
    fn completed_at(seat: &Seat, at: u64) {
        seat.last.store(at, Ordering::Relaxed);
    }

    #[test]
    fn the_largest_network_makes_room() {
        let room = Room::new(5);
        let good = enter(&room, 1, 1);
        let slow: Vec<_> = (0..4).map(|host| enter(&room, 2, host)).collect();
        let (_newcomer, made_room) = room.enter(ip(3, 1), &Arc::default()).unwrap();
        assert!(made_room && !good.evicted.is_cancelled());
        assert_eq!(slow.iter().filter(|seat| seat.evicted.is_cancelled()).count(), 1);
    }

    #[test]
    fn who_completed_a_request_last_goes_last() {
        let room = Room::new(3);
        let seats: Vec<_> = (0..3).map(|host| enter(&room, 1, host)).collect();
        for (seat, at) in seats.iter().zip([1_000_003, 1_000_001, 1_000_002]) {
            completed_at(seat, at);
        }
        let mut order = Vec::new();
        while order.len() < 3 {
            assert!(room.evict());
            let next = (0..3).find(|at| seats[*at].evicted.is_cancelled() && !order.contains(at));
            order.extend(next);
        }
        assert_eq!(order, [1, 2, 0]);
        assert!(!room.evict(), "nobody is left");
    }

    #[test]
    fn of_equal_networks_the_most_silent_connection_goes() {
        let room = Room::new(3);
        let seats: Vec<_> = (1..=3).map(|network| enter(&room, network, 1)).collect();
        for (seat, at) in seats.iter().zip([1_000_003, 1_000_001, 1_000_002]) {
            completed_at(seat, at);
        }
        let (_newcomer, _) = room.enter(ip(4, 1), &Arc::default()).unwrap();
        let gone: Vec<_> = seats.iter().map(|seat| seat.evicted.is_cancelled()).collect();
        assert_eq!(gone, [false, true, false]);
    }

    #[test]
    fn places_come_back_and_are_bounded() {
        let room = Room::new(4);
        let (mut seats, open) = (Vec::new(), Arc::default());
        while let Some((seat, _)) = room.enter(ip(1, 1), &open) {
            seats.push(seat);
        }
        assert_eq!(open.load(Ordering::Relaxed), seats.len() as u64);
        assert_eq!(seats.len(), 4 + LEAVING_MAX, "those that lost their place must end first");
        seats.clear();
        assert_eq!(open.load(Ordering::Relaxed), 0);
        let inside = room.inside.lock();
        assert!(inside.places.is_empty() && inside.networks.is_empty() && inside.sizes.is_empty());
        assert_eq!(inside.leaving, 0);
    }

    #[test]
    fn a_connection_ends_when_its_place_is_gone() {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let room = Room::new(1);
            let seat = enter(&room, 1, 1);
            assert_eq!(seat.hold(Box::pin(async { 7 })).await, Some(7));
            let _other = enter(&room, 1, 2);
            assert_eq!(seat.hold(Box::pin(std::future::pending::<()>())).await, None);
        });
    }
}
