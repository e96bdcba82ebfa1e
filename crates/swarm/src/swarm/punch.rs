//! Hole punching (BEP 55): peers behind NATs are brought together, and we are.
//!
//! There is one of these for a torrent that is known not to be private (BEP 27) when there is uTP, and none for
//! any other. A third peer's word leads no nearer than that peer is, and all that words cost is counted by
//! the minute: who asks, who is bothered, and whose network is dialled.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::{IpAddr, SocketAddr};
use std::time::Instant;

use proto::address::network_of;
use proto::egress::Nearness;
use proto::metainfo::OpenHash;
use proto::peer::{HolePunch, PunchError};

use super::exchange::may_tell;
use super::peer::Peer;
use super::{Swarm, addresses};
use crate::limits::punch::{
    ASKED_AGAIN, ASKED_MAX, ASKED_OF_ONE, ASKED_TIMES, ASKED_TOTAL, BEGUN_BY_ONE, BEGUN_TO_ONE,
    BEGUN_TOTAL, MINUTE, RELAYED_FOR_ONE, RELAYED_TO_ONE, RELAYED_TOTAL,
};
use crate::{Action, PeerCommand, PeerKey};

/// What was done for others and by the word of others.
#[derive(Debug, Default)]
pub(crate) struct Punching {
    /// Who asked us to bring them together, with whom if that was possible.
    relayed: Recent<(PeerKey, Option<PeerKey>)>,
    /// Whom we asked.
    asked_of: Recent<PeerKey>,
    asked: BTreeMap<SocketAddr, Asked>,
    /// By whose word we dialled into which network.
    begun: Recent<(PeerKey, IpAddr)>,
    dialling: BTreeSet<SocketAddr>,
}

/// An address that a third peer was asked about.
#[derive(Debug)]
struct Asked {
    of: PeerKey,
    times: u32,
    again_at: Instant,
}

/// What happened in the last minute.
#[derive(Debug)]
struct Recent<T>(VecDeque<(Instant, T)>);

impl<T> Default for Recent<T> {
    fn default() -> Self {
        Self(VecDeque::new())
    }
}

impl<T> Recent<T> {
    /// Forgets what is older.
    fn since(&mut self, now: Instant) -> &Self {
        while self.0.front().is_some_and(|(at, _)| now.duration_since(*at) >= MINUTE) {
            self.0.pop_front();
        }
        self
    }

    /// There are fewer than so many that are alike.
    fn has_room(&self, most: usize, alike: impl Fn(&T) -> bool) -> bool {
        self.0.iter().filter(|(_, one)| alike(one)).count() < most
    }

    fn push(&mut self, now: Instant, one: T) {
        self.0.push_back((now, one));
    }
}

impl Punching {
    /// `hashes` are the torrent's; without any that strangers may know there is none of this.
    pub(crate) fn new(hashes: &[OpenHash]) -> Option<Self> {
        hashes.iter().any(|hash| hash.may_announce()).then(Self::default)
    }

    /// `asker` wants to meet the peer at `wanted`: what is said to whom. Too many wishes get no answer.
    fn relay(
        &mut self,
        now: Instant,
        peers: &BTreeMap<PeerKey, Peer>,
        asker: PeerKey,
        wanted: SocketAddr,
    ) -> Vec<(PeerKey, HolePunch)> {
        let recent = self.relayed.since(now);
        if !recent.has_room(RELAYED_TOTAL, |_| true)
            || !recent.has_room(RELAYED_FOR_ONE, |(by, _)| *by == asker)
        {
            return Vec::new();
        }
        let meeting = meeting(peers, asker, wanted);
        let target = meeting.as_ref().ok().map(|meeting| meeting.target);
        let bothered = target
            .is_some_and(|target| !recent.has_room(RELAYED_TO_ONE, |(_, to)| *to == Some(target)));
        self.relayed.push(now, (asker, target.filter(|_| !bothered)));
        match meeting {
            Ok(_) if bothered => Vec::new(),
            Ok(Meeting { target, target_at, asker_at }) => {
                vec![(target, HolePunch::Connect(asker_at)), (asker, HolePunch::Connect(target_at))]
            }
            Err(error) => vec![(asker, HolePunch::Failed(wanted, error))],
        }
    }

    /// Whether that peer may be asked about an address now; if so, that counts.
    fn ask(&mut self, now: Instant, of: PeerKey, addr: SocketAddr) -> bool {
        let recent = self.asked_of.since(now);
        if !recent.has_room(ASKED_TOTAL, |_| true)
            || !recent.has_room(ASKED_OF_ONE, |one| *one == of)
        {
            return false;
        }
        let times = match self.asked.get(&addr) {
            Some(asked) if asked.times >= ASKED_TIMES || now < asked.again_at => return false,
            Some(asked) => asked.times,
            None => 0,
        };
        if times == 0 && self.asked.len() >= ASKED_MAX {
            let oldest = self.asked.iter().min_by_key(|(_, asked)| asked.again_at);
            let oldest = oldest.map(|(addr, _)| *addr);
            oldest.map(|addr| self.asked.remove(&addr));
        }
        let again_at = now + ASKED_AGAIN * (1 << times);
        self.asked.insert(addr, Asked { of, times: times + 1, again_at });
        self.asked_of.push(now, of);
        true
    }

    /// That peer cannot help with an address: another one may be asked at once. False when it was not asked.
    fn is_refused(&mut self, now: Instant, by: PeerKey, addr: SocketAddr) -> bool {
        let asked = self.asked.get_mut(&addr).filter(|asked| asked.of == by);
        asked.map(|asked| asked.again_at = now).is_some()
    }

    /// Whether that peer's word may lead us to a host now.
    fn may_begin(&mut self, now: Instant, by: PeerKey, ip: IpAddr) -> bool {
        let (recent, network) = (self.begun.since(now), network_of(ip));
        recent.has_room(BEGUN_TOTAL, |_| true)
            && recent.has_room(BEGUN_BY_ONE, |(one, _)| *one == by)
            && recent.has_room(BEGUN_TO_ONE, |(_, to)| *to == network)
    }

    fn begin(&mut self, now: Instant, by: PeerKey, addr: SocketAddr) {
        self.begun.push(now, (by, network_of(addr.ip())));
        self.dialling.insert(addr);
    }

    /// A dial ended; true when it was by a third peer's word.
    pub(crate) fn ended(&mut self, addr: SocketAddr) -> bool {
        self.dialling.remove(&addr)
    }
}

/// Two that can be brought together.
struct Meeting {
    target: PeerKey,
    target_at: SocketAddr,
    asker_at: SocketAddr,
}

/// Whether these two can meet. Whom the asker may not hear of is not there for it.
fn meeting(
    peers: &BTreeMap<PeerKey, Peer>,
    asker: PeerKey,
    wanted: SocketAddr,
) -> Result<Meeting, PunchError> {
    let wanted = addresses::canonical(wanted);
    if Nearness::Machine.may_name(wanted).is_err() {
        return Err(PunchError::NoSuchPeer);
    }
    let own = peers.get(&asker).ok_or(PunchError::NotConnected)?;
    if own.is_at(wanted) {
        return Err(PunchError::NoSelf);
    }
    let target = peers.iter().find(|(_, peer)| peer.is_at(wanted));
    let (target, peer) = target.ok_or(PunchError::NotConnected)?;
    let (own_ip, ip) = (own.connected.addr.ip(), peer.connected.addr.ip());
    let target_at = peer.utp_addr().filter(|addr| may_tell(own_ip, *addr));
    let asker_at = own.utp_addr().filter(|addr| may_tell(ip, *addr));
    let (Some(target_at), Some(asker_at)) = (target_at, asker_at) else {
        return Err(PunchError::NotConnected);
    };
    if !peer.info.punches || target_at.is_ipv4() != asker_at.is_ipv4() {
        return Err(PunchError::NoSupport);
    }
    Ok(Meeting { target: *target, target_at, asker_at })
}

impl Swarm {
    /// A peer's message. One that does not say that it has the extension could not be answered.
    pub(super) fn on_hole_punch(&mut self, key: PeerKey, message: HolePunch) {
        if !self.peers.get(&key).is_some_and(|peer| peer.info.punches) {
            return;
        }
        match message {
            HolePunch::Rendezvous(addr) => self.bring_together(key, addr),
            HolePunch::Connect(addr) => self.punch(key, addresses::canonical(addr)),
            HolePunch::Failed(addr, _) => self.on_no_meeting(key, addresses::canonical(addr)),
            HolePunch::Unknown => {}
        }
    }

    fn bring_together(&mut self, asker: PeerKey, wanted: SocketAddr) {
        let Some(punching) = &mut self.punching else { return };
        for (key, message) in punching.relay(self.now, &self.peers, asker, wanted) {
            self.command(key, PeerCommand::HolePunch(message));
        }
    }

    /// Connects by a third peer's word.
    fn punch(&mut self, by: PeerKey, addr: SocketAddr) {
        let now = self.now;
        let (Some(punching), Some(peer)) = (&mut self.punching, self.peers.get(&by)) else {
            return;
        };
        let near = Nearness::of(peer.connected.addr.ip());
        let is_connected = self.peers.values().any(|peer| peer.is_at(addr));
        let has_room = !self.stopping && self.peers.len() < self.config.max_peers;
        // What is being dialled has its hole already: uTP is part of that.
        if is_connected
            || !has_room
            || !punching.may_begin(now, by, addr.ip())
            || !self.addresses.reserve(now, addr, near)
        {
            return;
        }
        punching.begin(now, by, addr);
        self.actions.push(Action::Punch(addr, near));
    }

    /// That address was dialled in vain: somebody who told us of it may bring us together.
    pub(super) fn seek_meeting(&mut self, addr: SocketAddr) {
        if !self.wants_dialling() || self.peers.values().any(|peer| peer.is_at(addr)) {
            return;
        }
        let (Some(punching), Some(exchange)) = (&mut self.punching, &self.exchange) else { return };
        let helps = |key: &PeerKey| self.peers.get(key).is_some_and(|peer| peer.info.punches);
        let helper = exchange.introducers(addr).find(helps);
        if let Some(key) = helper.filter(|key| punching.ask(self.now, *key, addr)) {
            self.command(key, PeerCommand::HolePunch(HolePunch::Rendezvous(addr)));
        }
    }

    fn on_no_meeting(&mut self, by: PeerKey, addr: SocketAddr) {
        let Some(punching) = &mut self.punching else { return };
        if !punching.is_refused(self.now, by, addr) {
            return;
        }
        if let Some(exchange) = &mut self.exchange {
            exchange.disown(by, addr);
        }
        self.seek_meeting(addr);
    }
}

#[cfg(test)]
mod tests;
