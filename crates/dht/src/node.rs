//! The node: takes datagrams and time to the part that they concern, and holds what both networks share.

use std::collections::{BTreeSet, VecDeque};
use std::net::SocketAddr;
use std::time::Instant;

use proto::InfoHash;
use proto::dht::{Body, Contact, Message, Method, Query, Reply};

use crate::budget::Budget;
use crate::limits::{ACQUAINT_EVERY, ACQUAINTANCES_MAX, EVENTS_MAX, K, TICK, TRANSMITS_MAX};
use crate::network::Network;
use crate::proven::Proven;
use crate::requests::{Late, Purpose, Request, Requests};
use crate::searches::Searches;
use crate::space::{Family, canonical, is_sendable, may_name};
use crate::state::Saved;
use crate::tokens::Tokens;
use crate::{Config, Event, Stats, Transmit};
use chance::Secrets;

/// A node of the distributed hash table. See the crate's contract for how it is driven.
#[derive(Debug)]
pub struct Dht {
    pub(crate) version: [u8; 4],
    pub(crate) read_only: bool,
    pub(crate) now: Instant,
    pub(crate) chance: Secrets,
    pub(crate) networks: Vec<Network>,
    pub(crate) requests: Requests,
    pub(crate) searches: Searches,
    pub(crate) tokens: Tokens,
    pub(crate) proven: Proven,
    pub(crate) budget: Budget,
    /// Nodes that might find a place in the table, once they have answered.
    pub(crate) acquaintances: VecDeque<SocketAddr>,
    pub(crate) acquaint_at: Instant,
    pub(crate) tick_at: Instant,
    pub(crate) expire_at: Instant,
    pub(crate) next_lookup: u64,
    transmits: VecDeque<Transmit>,
    pub(crate) events: VecDeque<Event>,
    pub(crate) malformed: u64,
    pub(crate) refused: u64,
}

impl Dht {
    /// A node that starts from what an earlier run knew and from the roots.
    #[must_use]
    pub fn new(now: Instant, config: Config) -> Self {
        let mut chance = Secrets::new(config.seed);
        let saved = Saved::decode(&config.saved).unwrap_or_default();
        let families = [(config.v4, Family::V4), (config.v6, Family::V6)];
        let mut networks = Vec::new();
        for (_, family) in families.into_iter().filter(|(wanted, _)| *wanted) {
            let (id, nodes) = saved.of(family);
            let own = id.unwrap_or_else(|| proto::dht::NodeId(chance.bytes()));
            let mut network = Network::new(now, family, own);
            nodes.for_each(|contact| network.table.restore(now, contact));
            networks.push(network);
        }
        let mut dht = Self {
            version: config.version,
            read_only: config.read_only,
            now,
            tokens: Tokens::new(now, &mut chance),
            proven: Proven::new(chance.bytes()),
            budget: Budget::new(now, chance.bytes()),
            chance,
            networks,
            requests: Requests::default(),
            searches: Searches::default(),
            acquaintances: VecDeque::new(),
            acquaint_at: now,
            tick_at: now,
            expire_at: now,
            next_lookup: 0,
            transmits: VecDeque::new(),
            events: VecDeque::new(),
            malformed: 0,
            refused: 0,
        };
        dht.add_roots(now, &config.roots);
        dht
    }

    /// More addresses to start from, as host names are resolved.
    pub fn add_roots(&mut self, now: Instant, roots: &[SocketAddr]) {
        self.now = now;
        for root in roots.iter().copied().map(canonical).filter(|root| is_sendable(*root)) {
            if let Some(network) = self.network_mut(Family::of(root)) {
                network.add_root(now, root);
                self.tick_at = now;
            }
        }
    }

    /// Somebody who should know says that there is a node (the PORT message of BEP 5).
    pub fn add_node(&mut self, now: Instant, addr: SocketAddr) {
        self.now = now;
        let addr = canonical(addr);
        if is_sendable(addr) {
            self.acquaint(addr);
        }
    }

    /// Looks for peers; with a port announces us as one of them, too. Answered by [`Event::Peers`] and
    /// one [`Event::Searched`]. Asking again while it waits changes only the port; while it runs nothing,
    /// unless it did not announce and should.
    pub fn search(&mut self, now: Instant, info_hash: InfoHash, announce: Option<u16>) {
        self.now = now;
        if !self.searches.push(info_hash, announce) {
            return self.tell(Event::Searched { info_hash, peers: 0, announced: 0 });
        }
        self.start_searches();
    }

    /// A search that did not start is of no interest any more.
    pub fn forget(&mut self, info_hash: InfoHash) {
        self.searches.forget(info_hash);
    }

    /// A datagram came.
    pub fn handle_packet(&mut self, now: Instant, from: SocketAddr, bytes: &[u8]) {
        self.now = now;
        let from = canonical(from);
        let Some(at) = self.position(Family::of(from)).filter(|_| is_sendable(from)) else {
            return;
        };
        let Ok(message) = Message::decode(bytes) else {
            self.malformed += 1;
            return;
        };
        match &message.body {
            Body::Query(_) | Body::Malformed(_) => self.on_query(at, from, bytes.len(), &message),
            Body::Reply(reply) => {
                if let Some(request) = self.requests.finish(now, from, message.transaction) {
                    self.on_reply(at, request, reply, message.observed);
                }
            }
            Body::Error { .. } => {
                if let Some(request) = self.requests.finish(now, from, message.transaction) {
                    self.proven.insert(now, from.ip());
                    match request.purpose {
                        // Who refuses even that is of no more use than who is silent.
                        Purpose::Ping => self.on_dead(request),
                        Purpose::Lookup(_) | Purpose::Announce(_) => self.on_refused(at, request),
                    }
                }
            }
        }
        self.start_searches();
    }

    /// The instant of [`Dht::next_timeout`] has come.
    pub fn handle_timeout(&mut self, now: Instant) {
        self.now = now;
        for late in self.requests.late(now) {
            match late {
                Late::Slow(request) => self.on_slow(request),
                Late::Dead(request) => self.on_dead(request),
            }
        }
        if now >= self.acquaint_at {
            self.ask_acquaintance();
        }
        if now >= self.tick_at {
            self.tick_at = now + TICK;
            self.tick();
        }
        self.start_searches();
    }

    /// What is to be sent next.
    pub fn poll_transmit(&mut self) -> Option<Transmit> {
        self.transmits.pop_front()
    }

    /// What the caller wants to know.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// When to call [`Dht::handle_timeout`].
    #[must_use]
    pub fn next_timeout(&self) -> Instant {
        let acquaint = (!self.acquaintances.is_empty()).then_some(self.acquaint_at);
        [self.requests.next_at(), acquaint].into_iter().flatten().fold(self.tick_at, Instant::min)
    }

    /// What is worth keeping over a restart.
    #[must_use]
    pub fn save(&self) -> Vec<u8> {
        Saved::of_networks(&self.networks).encode()
    }

    /// How it stands.
    #[must_use]
    pub fn stats(&self) -> Stats {
        let nodes = |family| {
            let network = self.networks.iter().find(|network| network.family == family);
            network.map_or(0, |network| network.table.good_len(self.now))
        };
        Stats {
            nodes_v4: nodes(Family::V4),
            nodes_v6: nodes(Family::V6),
            stored: self.networks.iter().map(|network| network.store.len()).sum(),
            searches: self.searches.len(),
            malformed: self.malformed,
            refused: self.refused,
        }
    }

    /// A question that belongs to that request.
    pub(crate) fn ask(
        &mut self,
        to: SocketAddr,
        id: Option<proto::dht::NodeId>,
        purpose: Purpose,
        method: Method<'_>,
    ) -> bool {
        let Some(network) = self.networks.iter().find(|network| network.family == Family::of(to))
        else {
            return false;
        };
        let own = network.own();
        let number = self.requests.start(self.now, to, id, purpose, &mut self.chance);
        let Some(number) = number else { return false };
        let query = Query { id: own, read_only: self.read_only, method };
        let message = Message {
            transaction: &number.to_be_bytes(),
            version: Some(self.version),
            observed: None,
            body: Body::Query(query),
        };
        self.send(Transmit { to, bytes: message.encode(), is_answer: false });
        true
    }

    pub(crate) fn send(&mut self, transmit: Transmit) {
        // Lost, as any datagram may be.
        if self.transmits.len() < TRANSMITS_MAX {
            self.transmits.push_back(transmit);
        }
    }

    pub(crate) fn tell(&mut self, event: Event) {
        if self.events.len() < EVENTS_MAX {
            self.events.push_back(event);
        }
    }

    pub(crate) fn position(&self, family: Family) -> Option<usize> {
        self.networks.iter().position(|network| network.family == family)
    }

    fn network_mut(&mut self, family: Family) -> Option<&mut Network> {
        self.networks.iter_mut().find(|network| network.family == family)
    }

    /// Will be asked whether it is there.
    pub(crate) fn acquaint(&mut self, addr: SocketAddr) {
        let known = self.acquaintances.contains(&addr) || self.requests.is_asked(addr);
        if self.acquaintances.len() < ACQUAINTANCES_MAX && !known {
            if self.acquaintances.is_empty() {
                self.acquaint_at = self.acquaint_at.max(self.now);
            }
            self.acquaintances.push_back(addr);
        }
    }

    fn ask_acquaintance(&mut self) {
        if let Some(addr) = self.acquaintances.pop_front() {
            self.ask(addr, None, Purpose::Ping, Method::Ping);
        }
        self.acquaint_at = self.now + ACQUAINT_EVERY;
    }

    /// Somebody answered from the address that we asked.
    fn on_reply(
        &mut self,
        at: usize,
        request: Request,
        reply: &Reply<'_>,
        observed: Option<SocketAddr>,
    ) {
        let from = request.to;
        if request.id.is_some_and(|id| id != reply.id) || reply.id == self.networks[at].own() {
            return self.on_dead(request);
        }
        self.proven.insert(self.now, from.ip());
        let network = &mut self.networks[at];
        network.table.on_reply(self.now, Contact { id: reply.id, addr: from });
        if let Some(observed) = observed.map(canonical)
            && let Some(ip) = network.external.vote(from.ip(), observed.ip())
        {
            network.settle(self.now, &mut self.chance);
            self.tell(Event::External(ip));
        }
        match request.purpose {
            Purpose::Ping => {}
            Purpose::Lookup(key) => self.on_step(at, key, from, reply),
            Purpose::Announce(key) => self.on_announced(at, key, true),
        }
    }

    /// Somebody could not answer, but is there.
    fn on_refused(&mut self, at: usize, request: Request) {
        match request.purpose {
            Purpose::Ping => {}
            Purpose::Lookup(key) => self.on_lost_step(at, key, request.to),
            Purpose::Announce(key) => self.on_announced(at, key, false),
        }
    }

    fn on_slow(&mut self, request: Request) {
        let Some(at) = self.position(Family::of(request.to)) else { return };
        if let Purpose::Lookup(key) = request.purpose
            && let Some(running) = self.networks[at].running.get_mut(&key)
        {
            running.lookup.on_slow(request.to);
            self.advance(at, key);
        }
    }

    fn on_dead(&mut self, request: Request) {
        let Some(at) = self.position(Family::of(request.to)) else { return };
        if let Some(id) = request.id {
            let contact = Contact { id, addr: request.to };
            self.networks[at].table.on_failure(self.now, contact);
        }
        self.on_refused(at, request);
    }

    /// The nodes of a family that an answer names, as far as its sender may name them: [`K`], which BEP 5 asks
    /// for. Whoever names more has no better ones, and takes others' places.
    pub(crate) fn named(
        &self,
        family: Family,
        from: SocketAddr,
        reply: &Reply<'_>,
    ) -> Vec<Contact> {
        let nodes = match family {
            Family::V4 => &reply.nodes,
            Family::V6 => &reply.nodes6,
        };
        let mut seen = BTreeSet::new();
        let named = nodes
            .iter()
            .flatten()
            .filter(|contact| may_name(from.ip(), contact.addr) && seen.insert(contact.addr));
        named.take(K).copied().collect()
    }
}
