//! A network of nodes: datagrams take their time, some get lost, some nodes are dead or behind a NAT.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::{Duration, Instant};

use chance::Chance;
use dht::{Config, Dht, Event, Transmit};
use proto::InfoHash;
use proto::dht::{Body, Contact, Message, NodeId, Reply};

/// What a place in the network is.
pub(crate) enum Host {
    /// The shipped node.
    Node(Box<Dht>),
    /// Answers nothing.
    Dead,
    /// Answers every question with those others, and with a token.
    Liar { id: NodeId, friends: Vec<Contact> },
}

/// Something that will happen.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
enum Happening {
    Arrive { to: SocketAddr, from: SocketAddr, bytes: Vec<u8> },
    Wake { at: SocketAddr },
}

pub(crate) struct World {
    pub(crate) now: Instant,
    start: Instant,
    chance: Chance,
    sequence: u64,
    queue: BinaryHeap<Reverse<(Instant, u64, Happening)>>,
    pub(crate) hosts: BTreeMap<SocketAddr, Host>,
    /// Behind a NAT: whom they wrote to, who alone can reach them.
    pub(crate) natted: BTreeMap<SocketAddr, BTreeSet<SocketAddr>>,
    wakes: BTreeMap<SocketAddr, Instant>,
    /// Of a thousand datagrams.
    pub(crate) lost: u64,
    pub(crate) sent: u64,
    pub(crate) events: BTreeMap<SocketAddr, Vec<Event>>,
}

impl World {
    #[expect(clippy::disallowed_methods, reason = "tests need one instant to count from")]
    pub(crate) fn new(seed: u64) -> Self {
        let now = Instant::now();
        Self {
            now,
            start: now,
            chance: Chance::new(seed),
            sequence: 0,
            queue: BinaryHeap::new(),
            hosts: BTreeMap::new(),
            natted: BTreeMap::new(),
            wakes: BTreeMap::new(),
            lost: 0,
            sent: 0,
            events: BTreeMap::new(),
        }
    }

    pub(crate) fn random(&mut self) -> u64 {
        self.chance.number()
    }

    pub(crate) fn random_id(&mut self) -> [u8; 20] {
        std::array::from_fn(|_| self.random() as u8)
    }

    /// An address that nobody has, of the open internet.
    pub(crate) fn free_addr(&mut self) -> SocketAddr {
        loop {
            let ip = Ipv4Addr::from(self.random() as u32);
            let first = ip.octets()[0];
            let port = 1024 + (self.random() % 60_000) as u16;
            let addr = SocketAddr::new(IpAddr::V4(ip), port);
            let open = (11..120).contains(&first) && first != 100;
            if open && !self.hosts.contains_key(&addr) {
                return addr;
            }
        }
    }

    /// The same of IPv6.
    pub(crate) fn free_addr_v6(&mut self) -> SocketAddr {
        let high = 0x2600_0000_0000_0000 | self.random() >> 8;
        let ip = Ipv6Addr::from(u128::from(high) << 64 | u128::from(self.random()));
        SocketAddr::new(IpAddr::V6(ip), 6881)
    }

    /// A node as people run it.
    pub(crate) fn add_node(&mut self, addr: SocketAddr, roots: &[SocketAddr], read_only: bool) {
        let seed = self.random_id()[..16].try_into().expect("16 of 20");
        let config = Config {
            seed,
            v4: addr.is_ipv4(),
            v6: addr.is_ipv6(),
            read_only,
            version: *b"TE01",
            roots: roots.to_vec(),
            saved: Vec::new(),
        };
        self.hosts.insert(addr, Host::Node(Box::new(Dht::new(self.now, config))));
        self.wake(addr, self.now);
    }

    pub(crate) fn node(&mut self, addr: SocketAddr) -> &mut Dht {
        match self.hosts.get_mut(&addr) {
            Some(Host::Node(dht)) => dht,
            Some(Host::Dead | Host::Liar { .. }) | None => panic!("no node at {addr}"),
        }
    }

    /// Starts a search at a node.
    pub(crate) fn search(&mut self, addr: SocketAddr, hash: InfoHash, announce: Option<u16>) {
        let now = self.now;
        self.node(addr).search(now, hash, announce);
        self.drain(addr);
    }

    /// Peers that a node has found since the last call, and whether its search has ended.
    pub(crate) fn found(
        &mut self,
        addr: SocketAddr,
        hash: InfoHash,
    ) -> (Vec<SocketAddr>, Option<usize>) {
        let (mut found, mut ended) = (Vec::new(), None);
        for event in self.events.remove(&addr).unwrap_or_default() {
            match event {
                Event::Peers { info_hash, peers } if info_hash == hash => found.extend(peers),
                Event::Searched { info_hash, announced, .. } if info_hash == hash => {
                    ended = Some(announced);
                }
                Event::Peers { .. } | Event::Searched { .. } | Event::External(_) => {}
            }
        }
        (found, ended)
    }

    /// Lets time pass.
    pub(crate) fn run(&mut self, time: Duration) {
        let end = self.now + time;
        while self.queue.peek().is_some_and(|Reverse((at, ..))| *at <= end) {
            let Some(Reverse((at, _, happening))) = self.queue.pop() else { break };
            self.now = at;
            match happening {
                Happening::Arrive { to, from, bytes } => self.arrive(to, from, &bytes),
                Happening::Wake { at } => {
                    if self.wakes.get(&at).is_some_and(|due| *due <= self.now) {
                        self.wakes.remove(&at);
                        let now = self.now;
                        if let Some(Host::Node(dht)) = self.hosts.get_mut(&at) {
                            dht.handle_timeout(now);
                            self.drain(at);
                        }
                    }
                }
            }
        }
        self.now = end;
    }

    pub(crate) fn elapsed(&self) -> Duration {
        self.now - self.start
    }

    fn arrive(&mut self, to: SocketAddr, from: SocketAddr, bytes: &[u8]) {
        if self.natted.get(&to).is_some_and(|known| !known.contains(&from)) {
            return;
        }
        let now = self.now;
        match self.hosts.get_mut(&to) {
            Some(Host::Node(dht)) => {
                dht.handle_packet(now, from, bytes);
                self.drain(to);
            }
            Some(Host::Liar { id, friends }) => {
                if let Some(bytes) = lie(*id, friends, bytes) {
                    self.send(to, Transmit { to: from, bytes, is_answer: true });
                }
            }
            Some(Host::Dead) | None => {}
        }
    }

    pub(crate) fn drain(&mut self, addr: SocketAddr) {
        let Some(Host::Node(dht)) = self.hosts.get_mut(&addr) else { return };
        let transmits: Vec<_> = std::iter::from_fn(|| dht.poll_transmit()).collect();
        let events: Vec<_> = std::iter::from_fn(|| dht.poll_event()).collect();
        let due = dht.next_timeout();
        if !events.is_empty() {
            self.events.entry(addr).or_default().extend(events);
        }
        transmits.into_iter().for_each(|transmit| self.send(addr, transmit));
        self.wake(addr, due);
    }

    fn wake(&mut self, addr: SocketAddr, due: Instant) {
        if self.wakes.get(&addr).is_none_or(|known| *known > due) {
            self.wakes.insert(addr, due);
            self.push(due, Happening::Wake { at: addr });
        }
    }

    fn send(&mut self, from: SocketAddr, transmit: Transmit) {
        self.sent += 1;
        if let Some(known) = self.natted.get_mut(&from) {
            known.insert(transmit.to);
        }
        if self.random() % 1000 < self.lost {
            return;
        }
        let latency = Duration::from_millis(10 + self.random() % 120);
        let Transmit { to, bytes, .. } = transmit;
        self.push(self.now + latency, Happening::Arrive { to, from, bytes });
    }

    fn push(&mut self, at: Instant, happening: Happening) {
        self.sequence += 1;
        self.queue.push(Reverse((at, self.sequence, happening)));
    }
}

/// What a liar says.
fn lie(id: NodeId, friends: &[Contact], bytes: &[u8]) -> Option<Vec<u8>> {
    let message = Message::decode(bytes).ok()?;
    let Body::Query(_) = message.body else { return None };
    let nodes = Some(friends.to_vec());
    let body = Body::Reply(Reply { id, nodes, token: Some(b"lie"), ..Reply::default() });
    let answer = Message { body, version: None, observed: None, transaction: message.transaction };
    Some(answer.encode())
}

/// A network that has found itself.
pub(crate) struct Town {
    pub(crate) world: World,
    /// Those that answer.
    pub(crate) open: Vec<SocketAddr>,
    /// Those behind a NAT, which only ask.
    pub(crate) closed: Vec<SocketAddr>,
}

impl Town {
    /// `count` nodes that join one after another through the same few, a tenth of them read-only.
    pub(crate) fn grow(seed: u64, count: usize) -> Self {
        Self::grow_at(seed, count, World::free_addr)
    }

    /// The same at addresses of that kind.
    pub(crate) fn grow_at(
        seed: u64,
        count: usize,
        place: impl Fn(&mut World) -> SocketAddr,
    ) -> Self {
        let mut world = World::new(seed);
        let first: Vec<_> = (0..5).map(|_| place(&mut world)).collect();
        first.iter().for_each(|addr| world.add_node(*addr, &first, false));
        world.run(Duration::from_secs(10));
        let (mut open, mut closed) = (first, Vec::new());
        while open.len() + closed.len() < count {
            let addr = place(&mut world);
            let read_only = (open.len() + closed.len()) % 10 == 9;
            let at = world.random() as usize % open.len();
            let roots = [open[at], open[(at + 1) % open.len()]];
            if read_only {
                world.natted.insert(addr, BTreeSet::new());
                closed.push(addr);
            } else {
                open.push(addr);
            }
            world.add_node(addr, &roots, read_only);
            world.run(Duration::from_millis(50));
        }
        world.run(Duration::from_secs(20));
        Self { world, open, closed }
    }

    /// Some node that answers.
    pub(crate) fn any_open(&mut self) -> SocketAddr {
        self.open[self.world.random() as usize % self.open.len()]
    }

    /// Some nodes find exactly these peers, one after the other.
    pub(crate) fn assert_found(
        &mut self,
        hash: InfoHash,
        expected: &BTreeSet<SocketAddr>,
        times: usize,
    ) {
        for _ in 0..times {
            let from = self.any_open();
            assert_eq!(self.seek(from, hash), *expected);
        }
    }

    /// Announces a new hash from a few nodes; where its peers are.
    pub(crate) fn publish(&mut self, peers: usize) -> (InfoHash, BTreeSet<SocketAddr>) {
        let hash = InfoHash(self.world.random_id());
        let mut expected = BTreeSet::new();
        while expected.len() < peers {
            let addr = self.any_open();
            self.world.search(addr, hash, Some(7000));
            expected.insert(SocketAddr::new(addr.ip(), 7000));
        }
        self.world.run(Duration::from_secs(15));
        (hash, expected)
    }

    /// Which peers a node finds, and after the search has ended.
    pub(crate) fn seek(&mut self, from: SocketAddr, hash: InfoHash) -> BTreeSet<SocketAddr> {
        let _ = self.world.found(from, hash);
        self.world.search(from, hash, None);
        self.world.run(Duration::from_secs(15));
        let (found, ended) = self.world.found(from, hash);
        assert!(ended.is_some(), "a search ends");
        found.into_iter().collect()
    }
}
