//! Searches: wait for their turn, run in each network as a lookup, announce, and report.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::SocketAddr;

use proto::InfoHash;
use proto::dht::{Method, NodeId, Reply, Want};

use crate::limits::{
    ACQUAINTANCES_MAX, K, OTHERS_AN_ANSWER_MAX, PEERS_AN_ANSWER_MAX, PEERS_FOUND_MAX, SEARCHES_MAX,
    SEARCHES_WAITING_MAX,
};
use crate::lookup::Ask;
use crate::network::{Goal, Running};
use crate::requests::Purpose;
use crate::space::{Family, canonical, may_name};
use crate::{Dht, Event};

/// A search under way.
#[derive(Debug, Default)]
struct Active {
    /// It announces, too.
    announces: bool,
    /// Lookups of it that have not ended.
    lookups: usize,
    found: BTreeSet<SocketAddr>,
    announced: usize,
}

/// All searches that people wait for.
#[derive(Debug, Default)]
pub(crate) struct Searches {
    order: VecDeque<InfoHash>,
    /// Those in `order`, and where they announce.
    waiting: BTreeMap<InfoHash, Option<u16>>,
    active: BTreeMap<InfoHash, Active>,
}

impl Searches {
    /// Lets a search wait; false when there is no room.
    pub(crate) fn push(&mut self, info_hash: InfoHash, announce: Option<u16>) -> bool {
        // One that announces nothing is no substitute for one that does.
        let active = self.active.get(&info_hash);
        let runs = active.is_some_and(|active| active.announces || announce.is_none());
        if runs {
            return true;
        }
        if let Some(known) = self.waiting.get_mut(&info_hash) {
            *known = announce.or(*known);
            return true;
        }
        if self.waiting.len() >= SEARCHES_WAITING_MAX {
            return false;
        }
        self.waiting.insert(info_hash, announce);
        self.order.push_back(info_hash);
        true
    }

    pub(crate) fn forget(&mut self, info_hash: InfoHash) {
        if self.waiting.remove(&info_hash).is_some() {
            self.order.retain(|other| *other != info_hash);
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.waiting.len() + self.active.len()
    }

    fn start(&mut self) -> Option<(InfoHash, Option<u16>)> {
        if self.active.len() >= SEARCHES_MAX {
            return None;
        }
        let at = self.order.iter().position(|hash| !self.active.contains_key(hash))?;
        let info_hash = self.order.remove(at)?;
        let announce = self.waiting.remove(&info_hash).flatten();
        let announces = announce.is_some();
        self.active.insert(info_hash, Active { announces, ..Active::default() });
        Some((info_hash, announce))
    }
}

impl Dht {
    pub(crate) fn start_searches(&mut self) {
        while let Some((info_hash, announce)) = self.searches.start() {
            if let Some(active) = self.searches.active.get_mut(&info_hash) {
                active.lookups = self.networks.len();
            }
            self.report_own(info_hash);
            let goal = Goal::Peers { info_hash, announce };
            for at in 0..self.networks.len() {
                self.look(at, NodeId(info_hash.0), goal);
            }
            if self.networks.is_empty() {
                self.end_search(info_hash);
            }
        }
    }

    /// Starts a lookup.
    pub(crate) fn look(&mut self, at: usize, target: NodeId, goal: Goal) {
        let network = &mut self.networks[at];
        let lookup = network.lookup(target);
        self.next_lookup += 1;
        let key = self.next_lookup;
        network.running.insert(key, Running { goal, lookup, announcing: None });
        self.advance(at, key);
    }

    /// Asks whoever is next; ends the lookup when nobody is.
    pub(crate) fn advance(&mut self, at: usize, key: u64) {
        loop {
            let Some(running) = self.networks[at].running.get_mut(&key) else { return };
            if running.announcing.is_some() {
                return;
            }
            let target = running.lookup.target();
            let Some(Ask { to, id }) = running.lookup.next() else { break };
            let goal = running.goal;
            let want = self.want(at);
            let method = match goal {
                Goal::Nodes => Method::FindNode { target, want },
                Goal::Peers { info_hash, .. } => Method::GetPeers { info_hash, want },
            };
            if !self.ask(to, id, Purpose::Lookup(key), method)
                && let Some(running) = self.networks[at].running.get_mut(&key)
            {
                running.lookup.on_dead(to);
            }
        }
        let done = self.networks[at].running.get(&key).is_some_and(|run| run.lookup.is_done());
        if done {
            self.announce(at, key);
        }
    }

    /// An answer to a step of a lookup.
    pub(crate) fn on_step(&mut self, at: usize, key: u64, from: SocketAddr, reply: &Reply<'_>) {
        self.learn_of_others(at, from, reply);
        let named = self.named(self.networks[at].family, from, reply);
        let Some(running) = self.networks[at].running.get_mut(&key) else { return };
        if running.lookup.on_reply(from, reply.id, reply.token) {
            named.into_iter().for_each(|named| running.lookup.add(named, Some(from.ip())));
            if let Goal::Peers { info_hash, .. } = running.goal {
                self.report(info_hash, from, &reply.peers);
            }
        }
        self.advance(at, key);
    }

    /// The other network, while it has too few nodes.
    fn in_need(&self, at: usize) -> Option<Family> {
        let others = self.networks.iter().enumerate().filter(|(other, _)| *other != at);
        let mut needy = others.filter(|(_, network)| network.table.good_len(self.now) < K);
        needy.next().map(|(_, network)| network.family)
    }

    /// Families of nodes to ask for in that network (BEP 32).
    fn want(&self, at: usize) -> Want {
        let both = self.in_need(at).is_some();
        Want { v4: both, v6: both }
    }

    /// Nodes of the other network are asked whether they are there. Half of the queue is left to those who
    /// ask us: without a way to that network its nodes would take all of it for ever.
    fn learn_of_others(&mut self, at: usize, from: SocketAddr, reply: &Reply<'_>) {
        let room = self.acquaintances.len() < ACQUAINTANCES_MAX / 2;
        if let Some(family) = self.in_need(at).filter(|_| room) {
            let named = self.named(family, from, reply).into_iter().take(OTHERS_AN_ANSWER_MAX);
            named.for_each(|contact| self.acquaint(contact.addr));
        }
    }

    /// A step of a lookup that leads nowhere.
    pub(crate) fn on_lost_step(&mut self, at: usize, key: u64, to: SocketAddr) {
        if let Some(running) = self.networks[at].running.get_mut(&key) {
            running.lookup.on_dead(to);
            self.advance(at, key);
        }
    }

    /// An announce was taken, or not.
    pub(crate) fn on_announced(&mut self, at: usize, key: u64, taken: bool) {
        let Some(running) = self.networks[at].running.get_mut(&key) else { return };
        let Goal::Peers { info_hash, .. } = running.goal else { return };
        let left = running.announcing.map_or(0, |left| left.saturating_sub(1));
        running.announcing = Some(left);
        if let Some(active) = self.searches.active.get_mut(&info_hash) {
            active.announced += usize::from(taken);
        }
        if left == 0 {
            self.end_lookup(at, key);
        }
    }

    /// The lookup knows who is nearest: tells them of us, if that was wanted.
    fn announce(&mut self, at: usize, key: u64) {
        let Some(running) = self.networks[at].running.get_mut(&key) else { return };
        running.announcing = Some(0);
        let Goal::Peers { info_hash, announce: Some(port) } = running.goal else {
            return self.end_lookup(at, key);
        };
        let holders = running.lookup.holders();
        let mut sent = 0;
        for (holder, token) in holders {
            let method = Method::AnnouncePeer { info_hash, port: Some(port), token: &token };
            let asked = self.ask(holder.addr, Some(holder.id), Purpose::Announce(key), method);
            sent += usize::from(asked);
        }
        if let Some(running) = self.networks[at].running.get_mut(&key) {
            running.announcing = Some(sent);
        }
        if sent == 0 {
            self.end_lookup(at, key);
        }
    }

    fn end_lookup(&mut self, at: usize, key: u64) {
        let Some(running) = self.networks[at].running.remove(&key) else { return };
        let Goal::Peers { info_hash, .. } = running.goal else { return };
        let Some(active) = self.searches.active.get_mut(&info_hash) else { return };
        active.lookups -= 1;
        if active.lookups == 0 {
            self.end_search(info_hash);
        }
    }

    fn end_search(&mut self, info_hash: InfoHash) {
        if let Some(active) = self.searches.active.remove(&info_hash) {
            let (peers, announced) = (active.found.len(), active.announced);
            self.tell(Event::Searched { info_hash, peers, announced });
        }
    }

    /// Peers that announced themselves to us: nobody else may know them in a small network.
    fn report_own(&mut self, info_hash: InfoHash) {
        let mut peers = Vec::new();
        for network in &self.networks {
            peers.extend(network.store.any(info_hash, PEERS_AN_ANSWER_MAX));
        }
        if let Some(active) = self.searches.active.get_mut(&info_hash)
            && !peers.is_empty()
        {
            active.found.extend(&peers);
            self.tell(Event::Peers { info_hash, peers });
        }
    }

    /// Peers that an answer names: those that its sender may name, and each once.
    fn report(&mut self, info_hash: InfoHash, from: SocketAddr, named: &[SocketAddr]) {
        let Some(active) = self.searches.active.get_mut(&info_hash) else { return };
        let mut peers = Vec::new();
        for peer in named.iter().take(PEERS_AN_ANSWER_MAX).copied().map(canonical) {
            let room = active.found.len() < PEERS_FOUND_MAX;
            if room && may_name(from.ip(), peer) && active.found.insert(peer) {
                peers.push(peer);
            }
        }
        if !peers.is_empty() {
            self.tell(Event::Peers { info_hash, peers });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn searches_wait_their_turn_and_each_only_once() {
        let mut searches = Searches::default();
        let hash = |number: u32| {
            let mut bytes = [0; 20];
            bytes[..4].copy_from_slice(&number.to_be_bytes());
            InfoHash(bytes)
        };
        for number in 0..SEARCHES_WAITING_MAX as u32 + 5 {
            let room = number < SEARCHES_WAITING_MAX as u32;
            assert_eq!(searches.push(hash(number), None), room);
            assert_eq!(searches.push(hash(number), Some(1)), room);
        }
        assert_eq!(searches.len(), SEARCHES_WAITING_MAX);
        let started: Vec<_> = std::iter::from_fn(|| searches.start()).collect();
        assert_eq!(started.len(), SEARCHES_MAX);
        assert_eq!(started[0], (hash(0), Some(1)), "the latest port counts");
        assert!(searches.push(hash(0), None), "it runs");
        searches.forget(hash(17));
        searches.forget(hash(0));
        assert_eq!(searches.len(), SEARCHES_WAITING_MAX - 1, "one runs, one is forgotten");
        assert_eq!(searches.order.len(), searches.waiting.len());
    }

    #[test]
    fn an_announce_follows_a_search_without_one() {
        let mut searches = Searches::default();
        let hash = InfoHash([1; 20]);
        assert!(searches.push(hash, None));
        assert_eq!(searches.start(), Some((hash, None)));
        assert!(searches.push(hash, None));
        assert_eq!(searches.len(), 1, "it runs");
        assert!(searches.push(hash, Some(1)));
        assert_eq!((searches.len(), searches.start()), (2, None), "one at a time");
        searches.active.clear();
        assert_eq!(searches.start(), Some((hash, Some(1))));
    }
}
