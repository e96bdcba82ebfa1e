//! Endpoints on both sides of a path, what their owners do, and the order of events.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{IoSlice, IoSliceMut};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use proto::utp::{Header, Packet};
use utp::{Config, Ended, Endpoint, Key};

use crate::link::{Link, Path};
use crate::reno::Reno;

/// The byte at a place of the stream that `who` sends.
pub(crate) const fn byte(who: usize, at: u64) -> u8 {
    (at.wrapping_mul(0x9e37_79b9) >> 11) as u8 ^ who as u8
}

/// The owner of one stream: sends so many bytes, checks all that come.
#[derive(Debug)]
pub(crate) struct Owner {
    pub(crate) key: Key,
    me: usize,
    peer: usize,
    pub(crate) to_send: u64,
    pub(crate) sent: u64,
    pub(crate) received: u64,
    /// It read the peer's end.
    pub(crate) ended: bool,
    pub(crate) failed: Option<Ended>,
    /// Leaves when all is sent and the peer's end was read.
    pub(crate) leaves: bool,
    pub(crate) left: bool,
    /// Reads nothing for now.
    pub(crate) lazy: bool,
}

/// One side.
pub(crate) struct Node {
    pub(crate) endpoint: Endpoint,
    pub(crate) owners: Vec<Owner>,
    /// How much whoever connects to us gets.
    pub(crate) gives: u64,
    clock: Clock,
    /// When it is woken next, by everybody's time.
    wakes: Option<Instant>,
    /// What its last datagram said.
    pub(crate) said: Option<Header>,
}

/// What a node takes for the time: it is ahead by so much, and gains on everybody's time by millionths.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Clock {
    pub(crate) ahead: Duration,
    pub(crate) gains: i64,
}

impl Clock {
    /// What it shows when so much of everybody's time has passed.
    fn shows(self, passed: Duration) -> Duration {
        let nanos = passed.as_nanos() * self.rate() / MILLION;
        self.ahead + Duration::from_nanos(nanos as u64)
    }

    /// How much of everybody's time has passed when it shows that at last.
    fn passed(self, shown: Duration) -> Duration {
        let nanos = (shown.saturating_sub(self.ahead).as_nanos() * MILLION).div_ceil(self.rate());
        Duration::from_nanos(nanos as u64)
    }

    const fn rate(self) -> u128 {
        (MILLION as i64 + self.gains) as u128
    }
}

const MILLION: u128 = 1_000_000;

enum Event {
    Arrive { to: usize, from: usize, datagram: Vec<u8> },
    Wake(usize),
    Reno,
}

/// Everything.
pub(crate) struct World {
    pub(crate) start: Instant,
    pub(crate) now: Instant,
    pub(crate) nodes: Vec<Node>,
    /// From nodes with even numbers to those with odd ones, and back.
    pub(crate) links: [Link; 2],
    pub(crate) reno: Option<Reno>,
    /// With NATs: who has sent something to whom, and so lets in what comes from there, and nothing else.
    pub(crate) opened: Option<BTreeSet<(usize, usize)>>,
    events: BTreeMap<(Instant, u64), Event>,
    count: u64,
    /// Datagrams of all nodes.
    pub(crate) sent_datagrams: u64,
    buffer: Vec<u8>,
}

#[expect(clippy::disallowed_methods, reason = "tests need one instant to count from")]
fn start() -> Instant {
    Instant::now()
}

pub(crate) fn addr(node: usize) -> SocketAddr {
    ([10, 0, 0, node as u8 + 1], 6881).into()
}

impl World {
    pub(crate) fn new(seed: u64, nodes: usize, there: Path, back: Path) -> Self {
        let start = start();
        let node = |number: usize| Node {
            endpoint: Endpoint::new(
                start,
                Config {
                    seed: (u128::from(seed) | (number as u128) << 64).to_le_bytes(),
                    accepts: true,
                },
            ),
            owners: Vec::new(),
            gives: 0,
            clock: Clock::default(),
            wakes: None,
            said: None,
        };
        Self {
            start,
            now: start,
            nodes: (0..nodes).map(node).collect(),
            links: [Link::new(there, seed), Link::new(back, !seed)],
            reno: None,
            opened: None,
            events: BTreeMap::new(),
            count: 0,
            sent_datagrams: 0,
            buffer: Vec::new(),
        }
    }

    /// Gives a node a clock of its own, before anything happens.
    pub(crate) fn set_clock(&mut self, node: usize, clock: Clock) {
        assert!(self.now == self.start && self.count == 0, "a clock does not jump");
        self.nodes[node].clock = clock;
    }

    /// The time by a node's clock.
    fn local(&self, node: usize) -> Instant {
        self.start + self.nodes[node].clock.shows(self.now - self.start)
    }

    /// `from` connects to `to` and sends so many bytes.
    pub(crate) fn connect(&mut self, from: usize, to: usize, bytes: u64) -> Key {
        let now = self.local(from);
        let node = &mut self.nodes[from];
        let key = node.endpoint.connect(now, addr(to)).expect("there is room");
        node.owners.push(Owner::new(key, from, to, bytes));
        self.attend(from);
        key
    }

    fn schedule(&mut self, at: Instant, event: Event) {
        self.count += 1;
        self.events.insert((at, self.count), event);
    }

    /// Lets owners act, then sends what there is to send.
    pub(crate) fn attend(&mut self, number: usize) {
        let now = self.local(number);
        let node = &mut self.nodes[number];
        while let Some((key, from)) = node.endpoint.poll_accept() {
            let SocketAddr::V4(from) = from else { panic!("all are IPv4") };
            let peer = usize::from(from.ip().octets()[3]) - 1;
            let owner = Owner::new(key, number, peer, node.gives);
            node.owners.push(owner);
        }
        while node.endpoint.poll_ready().is_some() {}
        for owner in &mut node.owners {
            owner.act(now, &mut node.endpoint);
        }
        loop {
            self.buffer.clear();
            let node = &mut self.nodes[number];
            let Some(transmit) = node.endpoint.poll_transmit(now, &mut self.buffer) else { break };
            assert_eq!(self.buffer.len(), transmit.len);
            let SocketAddr::V4(to) = transmit.to else { panic!("all are IPv4") };
            let to = usize::from(to.ip().octets()[3]) - 1;
            let datagrams: Vec<Vec<u8>> =
                self.buffer.chunks(transmit.segment_len).map(<[u8]>::to_vec).collect();
            for datagram in datagrams {
                self.post(number, to, datagram, transmit.probe);
            }
        }
        let node = &mut self.nodes[number];
        let Some(due) = node.endpoint.poll_timeout() else { return };
        let at = self.start + node.clock.passed(due - self.start);
        if node.wakes.is_none_or(|wakes| wakes <= self.now || at < wakes) {
            node.wakes = Some(at);
            self.schedule(at, Event::Wake(number));
        }
    }

    fn post(&mut self, from: usize, to: usize, datagram: Vec<u8>, probe: bool) {
        self.sent_datagrams += 1;
        self.opened.as_mut().map(|opened| opened.insert((from, to)));
        self.nodes[from].said = Packet::decode(&datagram).ok().map(|packet| packet.header);
        for at in self.links[from % 2].send(self.now, datagram.len(), probe) {
            self.schedule(at, Event::Arrive { to, from, datagram: datagram.clone() });
        }
    }

    /// One event; false when nothing is going to happen.
    fn step(&mut self, until: Instant) -> bool {
        let Some((&(at, count), _)) = self.events.first_key_value() else { return false };
        if at > until {
            self.now = until;
            return false;
        }
        let event = self.events.remove(&(at, count)).expect("it was there");
        self.now = at;
        match event {
            Event::Arrive { to, from, datagram } => {
                if self.opened.as_ref().is_some_and(|opened| !opened.contains(&(to, from))) {
                    return true;
                }
                let now = self.local(to);
                self.nodes[to].endpoint.handle_datagram(now, addr(from), &datagram);
                self.attend(to);
            }
            Event::Wake(number) => {
                let now = self.local(number);
                self.nodes[number].endpoint.handle_timeout(now);
                self.attend(number);
            }
            Event::Reno => {
                let mut reno = self.reno.take().expect("it was started");
                let next = reno.act(at, &mut self.links[0]);
                self.reno = Some(reno);
                self.schedule(next, Event::Reno);
            }
        }
        true
    }

    pub(crate) fn start_reno(&mut self, back: Duration) {
        self.reno = Some(Reno::new(back));
        self.schedule(self.now, Event::Reno);
    }

    /// Lets time pass.
    pub(crate) fn run_for(&mut self, span: Duration) {
        let until = self.now + span;
        while self.step(until) {}
        self.now = until;
    }

    /// Lets time pass until something holds; fails after `span`.
    pub(crate) fn run_until(&mut self, span: Duration, holds: impl Fn(&Self) -> bool) -> Duration {
        let begun = self.now;
        while !holds(self) {
            assert!(self.step(begun + span), "not within {span:?}: {self:?}");
        }
        self.now - begun
    }

    pub(crate) fn received(&self, node: usize) -> u64 {
        self.nodes[node].owners.iter().map(|owner| owner.received).sum()
    }

    /// A datagram from somebody who claims to be `from`.
    pub(crate) fn inject(&mut self, to: usize, from: SocketAddr, datagram: &[u8]) {
        let now = self.local(to);
        self.nodes[to].endpoint.handle_datagram(now, from, datagram);
        self.attend(to);
    }
}

impl std::fmt::Debug for World {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let owners: Vec<_> = self.nodes.iter().map(|node| &node.owners).collect();
        f.debug_struct("World")
            .field("at", &(self.now - self.start))
            .field("owners", &owners)
            .field("links", &self.links)
            .finish_non_exhaustive()
    }
}

impl Owner {
    const fn new(key: Key, me: usize, peer: usize, to_send: u64) -> Self {
        Self {
            key,
            me,
            peer,
            to_send,
            sent: 0,
            received: 0,
            ended: false,
            failed: None,
            leaves: true,
            left: false,
            lazy: false,
        }
    }

    fn act(&mut self, now: Instant, endpoint: &mut Endpoint) {
        if self.left || self.failed.is_some() {
            return;
        }
        self.write(now, endpoint);
        self.read(now, endpoint);
        if self.failed.is_none() && self.leaves && self.ended && self.sent == self.to_send {
            self.left = true;
            endpoint.close(now, self.key);
        }
    }

    fn write(&mut self, now: Instant, endpoint: &mut Endpoint) {
        let mut bytes = [0; 5_000];
        while self.sent < self.to_send {
            let len = bytes.len().min((self.to_send - self.sent) as usize);
            for (at, into) in bytes[..len].iter_mut().enumerate() {
                *into = byte(self.me, self.sent + at as u64);
            }
            let (one, two) = bytes[..len].split_at(len / 3);
            let slices = [IoSlice::new(one), IoSlice::new(two)];
            match endpoint.write(now, self.key, &slices) {
                Ok(Some(count)) => self.sent += count as u64,
                Ok(None) => return,
                Err(ended) => {
                    self.failed = Some(ended);
                    return;
                }
            }
            if self.sent == self.to_send {
                endpoint.finish(now, self.key);
            }
        }
        if self.to_send == 0 && self.sent == 0 && self.ended {
            endpoint.finish(now, self.key);
        }
    }

    fn read(&mut self, now: Instant, endpoint: &mut Endpoint) {
        let (mut one, mut two) = ([0; 1_000], [0; 3_000]);
        while !self.lazy && !self.ended {
            let mut slices = [IoSliceMut::new(&mut one), IoSliceMut::new(&mut two)];
            match endpoint.read(now, self.key, &mut slices) {
                Ok(Some(0)) => self.ended = true,
                Ok(Some(count)) => {
                    for &got in one.iter().chain(&two).take(count) {
                        let expected = byte(self.peer, self.received);
                        assert_eq!(got, expected, "byte {} of {}", self.received, self.peer);
                        self.received += 1;
                    }
                }
                Ok(None) => return,
                Err(ended) => {
                    self.failed = Some(ended);
                    return;
                }
            }
        }
    }
}
