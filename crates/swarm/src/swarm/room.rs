//! Who may stay when there are more peers than connections (BEP 40).
//!
//! Whoever has a thousand addresses has few networks: the network (/24, /64) that has most of the connections
//! gives one up first. Among equals both sides come to the same number, which nobody chooses
//! ([`proto::peer::priority`]), so that honest peers get a share that is theirs, however many others come. Who
//! gives or takes something stays, and so does the local network, to which none of this applies.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use chance::Chance;
use proto::address::{is_local, network_of};
use proto::peer::priority;

use super::Swarm;
use super::peer::Peer;
use crate::{Action, Direction, Goodbye, PeerKey};

/// Connections by network, local ones apart.
#[derive(Debug, Default)]
pub(super) struct Crowd(BTreeMap<IpAddr, usize>);

/// What a connection is worth: of a network with few others first, then by priority.
type Worth = (Reverse<usize>, u32);

impl Crowd {
    pub(super) fn of<'a>(peers: impl Iterator<Item = &'a Peer>) -> Self {
        let mut crowd = Self::default();
        for peer in peers.filter(|peer| !peer.web_seed) {
            crowd.add(peer.connected.addr.ip());
        }
        crowd
    }

    /// One more at that address; returns how many its network had. A local one has none.
    pub(super) fn add(&mut self, ip: IpAddr) -> usize {
        if is_local(ip) {
            return 0;
        }
        let others = self.0.entry(network_of(ip)).or_default();
        *others += 1;
        *others - 1
    }

    fn at(&self, ip: IpAddr) -> usize {
        if is_local(ip) { 0 } else { self.0.get(&network_of(ip)).copied().unwrap_or(0) }
    }
}

impl Swarm {
    /// Where others see us, says a tracker.
    pub(super) const fn note_our_ip(&mut self, ip: Option<IpAddr>) {
        if let Some(ip) = ip
            && !is_local(ip)
        {
            self.our_ip = ip;
        }
    }

    /// Where others see us, for [`priority`]. Our port counts on our own host only, where nobody is short of
    /// connections.
    pub(super) const fn our_addr(&self) -> SocketAddr {
        SocketAddr::new(self.our_ip, 0)
    }

    /// Ends a connection. From now on it takes up no room.
    pub(super) fn part(&mut self, key: PeerKey, goodbye: Goodbye) {
        self.with(key, |peer| peer.leaving = true);
        self.actions.push(Action::Disconnect(key, goodbye));
    }

    /// Connections to peers that are not about to end.
    pub(super) fn staying(&self) -> usize {
        self.peers.values().filter(|peer| peer.stays()).count()
    }

    /// There is room for a peer, or another one makes room.
    pub(super) fn finds_room(&mut self, peer: &Peer) -> bool {
        let max = self.config.max_peers;
        let staying = || self.peers.values().filter(|other| other.stays());
        let all = staying().count();
        if is_local(peer.connected.addr.ip()) {
            return all < max || self.makes_room(peer, false);
        }
        // One connection to a host, unless there is plenty of room: people behind one router are several.
        let ip = peer.connected.addr.ip();
        if all > max / 2 && staying().any(|other| other.connected.addr.ip() == ip) {
            return false;
        }
        // While we look for pieces, those who dial us leave room for those whom we choose.
        let kept = if self.wants_peers() { max / KEPT_FOR_DIALLING } else { 0 };
        let incoming = staying().filter(|other| is_stranger(other)).count();
        let too_many = is_stranger(peer) && incoming + kept >= max;
        (all < max && !too_many) || self.makes_room(peer, too_many)
    }

    /// Has the connection go that is worth least, if that is less than the new one. `of_strangers`: one of those
    /// who dialled us.
    fn makes_room(&mut self, new: &Peer, of_strangers: bool) -> bool {
        let crowd = Crowd::of(self.peers.values().filter(|other| other.stays()));
        let ours = self.our_addr();
        let worth = |addr: SocketAddr, others: usize| (Reverse(others), priority(ours, addr));
        let worth_of = |peer: &Peer| -> Worth {
            let addr = peer.connected.addr;
            worth(addr, crowd.at(addr.ip()).saturating_sub(1))
        };
        let crowded = crowd.at(new.connected.addr.ip());
        let may_go = self.peers.iter().filter(|(_, peer)| {
            peer.stays()
                && !is_local(peer.connected.addr.ip())
                && (is_stranger(peer) || !of_strangers)
                && !moves(peer)
                // One more of many may go at once.
                && (self.had_its_time(peer) || worth_of(peer).0.0 > crowded)
        });
        let worst = may_go.min_by_key(|(_, peer)| worth_of(peer)).map(|(key, peer)| (*key, peer));
        let Some((key, worst)): Option<(PeerKey, &Peer)> = worst else { return false };
        let addr = new.connected.addr;
        if !is_local(addr.ip()) && worth(addr, crowded) <= worth_of(worst) {
            return false;
        }
        self.part(key, Goodbye::TooMany);
        true
    }

    /// While we look for pieces and have no room to dial, one that is of no use makes room for an address of a
    /// better network, or a dearer one. Those whom we dialled go first: room that strangers leave, others take.
    pub(super) fn turn_over(&mut self) {
        if self.stopping || !self.wants_peers() || self.staying() < self.config.max_peers {
            return;
        }
        let crowd = Crowd::of(self.peers.values().filter(|other| other.stays()));
        let ours = self.our_addr();
        let worth_of = |peer: &Peer| -> Worth {
            let addr = peer.connected.addr;
            (Reverse(crowd.at(addr.ip()).saturating_sub(1)), priority(ours, addr))
        };
        let useless = self.peers.iter().filter(|(_, peer)| {
            peer.stays()
                && !is_local(peer.connected.addr.ip())
                && !moves(peer)
                && peer.wanted == 0
                && self.had_its_time(peer)
        });
        let worst = useless.min_by_key(|(_, peer)| (is_stranger(peer), worth_of(peer)));
        let Some((key, worth)) = worst.map(|(key, peer)| (*key, worth_of(peer))) else { return };
        let better = self.addresses.ready(self.now).any(|addr| {
            let candidate = (Reverse(crowd.at(addr.ip())), priority(ours, addr));
            candidate > worth
        });
        if better {
            self.part(key, Goodbye::TooMany);
        }
    }

    fn had_its_time(&self, peer: &Peer) -> bool {
        let useless = peer.wanted == 0 && !peer.interested_in_us;
        let time = if useless { GRACE_USELESS } else { GRACE };
        self.now.duration_since(peer.connected_at) >= time
    }
}

impl Peer {
    fn stays(&self) -> bool {
        !self.web_seed && !self.leaving
    }
}

/// It gives or takes something.
fn moves(peer: &Peer) -> bool {
    peer.down.per_second() + peer.up.per_second() > 0
}

/// It dialled us from elsewhere than the local network.
fn is_stranger(peer: &Peer) -> bool {
    peer.connected.direction == Direction::Incoming && !is_local(peer.connected.addr.ip())
}

/// Until somebody says where they see us: some address, or others could reckon whom we like.
pub(super) fn some_ip(chance: &mut Chance) -> IpAddr {
    let mut bytes = [0; 4];
    chance.fill(&mut bytes);
    IpAddr::V4(Ipv4Addr::from(bytes))
}

/// One connection in so many is for peers that we dial.
const KEPT_FOR_DIALLING: usize = 4;
/// A new connection has so long to be of use before it makes room for another of no better network.
const GRACE: Duration = Duration::from_secs(20);
/// The same for one that says that it has nothing and wants nothing.
const GRACE_USELESS: Duration = Duration::from_secs(3);
