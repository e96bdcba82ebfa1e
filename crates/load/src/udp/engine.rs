//! The loop: sends what is due, takes in what came, and knows what is under way.
//!
//! A request under way has a slot; its transaction id is the slot and how often the slot was used, so
//! that a late answer is told from one that counts.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use chance::Chance;
use proto::tracker::udp::{ConnectionId, Request, TransactionId};
use serde::Serialize;
use sys::volley::{Inbox, SEGMENTS_MAX, Volley};

use super::{Kind, Mix};
use crate::crowd::Crowd;
use crate::histogram::{Histogram, Percentiles};

/// Messages given to the system, and packets taken from it, with one call.
const BATCH: usize = 64;
/// What was not answered for so long is lost.
const LOST_AFTER: Duration = Duration::from_secs(1);
/// How often lost requests are looked for.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// Connection ids are renewed once in this time: trackers keep them for a minute at least.
const RENEW_EVERY: Duration = Duration::from_secs(20);
/// Hashes in one scrape.
const SCRAPE_HASHES: usize = 5;
/// The transaction id of forged requests: no slot has it.
const FORGED: u32 = u32::MAX;
/// Transaction ids have 16 bits for the slot.
const WINDOW_MAX: usize = 1 << 15;

/// What is asked.
#[derive(Debug)]
pub(super) enum Work {
    /// By chance, at a rate or as fast as answers come.
    Mix {
        /// The shares.
        mix: Mix,
        /// Requests a second.
        rate: Option<f64>,
    },
    /// Each peer announces once.
    EachOnce {
        /// The next peer.
        next: u64,
    },
}

/// What was sent and what came.
#[derive(Debug, Clone, Copy, Default, Serialize)]
pub(super) struct Tally {
    pub(super) sent: u64,
    pub(super) connects: u64,
    pub(super) announces: u64,
    pub(super) scrapes: u64,
    /// Answers that are errors.
    pub(super) refused: u64,
    /// Peers in all answers.
    pub(super) peers: u64,
    /// Not answered in time, or not even sent for want of a slot.
    pub(super) lost: u64,
    pub(super) forged_sent: u64,
    /// A tracker should not answer these.
    pub(super) forged_answered: u64,
}

#[derive(Debug, Clone, Copy)]
struct Slot {
    used: u16,
    kind: Kind,
    /// `None` when free.
    since: Option<u64>,
    source: u64,
    peer: u64,
}

pub(super) struct Engine {
    crowd: Crowd,
    to: SocketAddr,
    socket: UdpSocket,
    volley: Volley,
    inbox: Inbox,
    burst: usize,
    work: Work,
    ids: Vec<Option<ConnectionId>>,
    slots: Vec<Slot>,
    free: Vec<u16>,
    /// Peers whose announce was lost.
    again: Vec<u64>,
    dice: Chance,
    tally: Tally,
    histogram: Histogram,
    start: Instant,
    forged_rate: f64,
    path: String,
    renewed: (Duration, u64),
    looked: Duration,
}

impl Engine {
    pub(super) fn new(
        crowd: Crowd,
        to: SocketAddr,
        (window, burst): (usize, usize),
        work: Work,
    ) -> anyhow::Result<Self> {
        ensure!((1..=WINDOW_MAX).contains(&window), "a window of 1 to {WINDOW_MAX}");
        ensure!((1..=SEGMENTS_MAX.min(window)).contains(&burst), "a burst of 1 to {SEGMENTS_MAX}");
        let any: IpAddr =
            if to.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
        let socket = UdpSocket::bind((any, 0)).context("open a socket")?;
        socket2::SockRef::from(&socket).set_recv_buffer_size(8 << 20)?;
        socket2::SockRef::from(&socket).set_send_buffer_size(8 << 20)?;
        let slot = Slot { used: 0, kind: Kind::Connect, since: None, source: 0, peer: 0 };
        Ok(Self {
            ids: vec![None; crowd.sources() as usize],
            crowd,
            to,
            socket,
            volley: Volley::new(BATCH),
            inbox: Inbox::new(BATCH),
            burst,
            work,
            slots: vec![slot; window],
            free: (0..window as u16).collect(),
            again: Vec::new(),
            dice: Chance::new(7),
            tally: Tally::default(),
            histogram: Histogram::new(),
            start: Instant::now(),
            forged_rate: 0.0,
            path: String::new(),
            renewed: (Duration::ZERO, 0),
            looked: Duration::ZERO,
        })
    }

    /// Sends so many requests with a forged id a second beside the others.
    pub(super) const fn forge(&mut self, rate: f64) {
        self.forged_rate = rate;
    }

    /// Names a path in announces (BEP 41).
    pub(super) fn set_path(&mut self, path: &str) -> anyhow::Result<()> {
        ensure!(path.len() < 256, "a path of at most 255 bytes");
        path.clone_into(&mut self.path);
        Ok(())
    }

    /// Gets a connection id for each address.
    pub(super) fn connect(&mut self) -> anyhow::Result<()> {
        let deadline = self.start + Duration::from_secs(30);
        let mut next = 0;
        while self.ids.iter().any(Option::is_none) {
            ensure!(Instant::now() < deadline, "{} does not answer", self.to);
            let now = self.start.elapsed();
            self.receive(now)?;
            self.collect_lost(now);
            for _ in 0..self.ids.len().min(BATCH) {
                next = (next + 1) % self.ids.len();
                let is_due = self.ids[next].is_none()
                    && !self.slots.iter().any(|s| s.since.is_some() && s.source == next as u64);
                if is_due {
                    self.push(Kind::Connect, next as u64, &[now.as_nanos() as u64]);
                }
            }
            self.volley.send(&self.socket, self.to);
        }
        Ok(())
    }

    /// Works for that long, or until there is nothing left; tells how long it was.
    pub(super) fn run(&mut self, limit: Duration) -> anyhow::Result<Duration> {
        let begin = self.start.elapsed();
        let (mut issued, mut forged) = (0, 0);
        loop {
            let now = self.start.elapsed();
            let spent = now - begin;
            if spent >= limit || self.is_done() {
                return Ok(spent);
            }
            self.receive(now)?;
            self.collect_lost(now);
            self.renew(now);
            match self.work {
                Work::Mix { mix, rate: Some(rate) } => {
                    let due = (spent.as_secs_f64() * rate) as u64;
                    self.send_due(mix, (begin, rate), (&mut issued, due));
                }
                Work::Mix { mix, rate: None } => self.send_mix(mix, now),
                Work::EachOnce { .. } => self.send_each(now),
            }
            self.send_forged(&mut forged, (spent.as_secs_f64() * self.forged_rate) as u64);
            self.volley.send(&self.socket, self.to);
        }
    }

    /// Counts anew from here on.
    pub(super) fn reset(&mut self) {
        self.tally = Tally::default();
        self.histogram.clear();
    }

    /// Waits for what is under way and tells what there was.
    pub(super) fn finish(&mut self) -> anyhow::Result<Tally> {
        while self.free.len() < self.slots.len() {
            let now = self.start.elapsed();
            self.receive(now)?;
            self.collect_lost(now);
        }
        Ok(self.tally)
    }

    pub(super) fn latency(&self) -> Percentiles {
        self.histogram.percentiles()
    }

    fn is_done(&self) -> bool {
        match self.work {
            Work::Mix { .. } => false,
            Work::EachOnce { next } => {
                next >= self.crowd.peers()
                    && self.again.is_empty()
                    && self.free.len() == self.slots.len()
            }
        }
    }

    fn send_mix(&mut self, mix: Mix, now: Duration) {
        let times = [now.as_nanos() as u64; SEGMENTS_MAX];
        while self.free.len() >= self.burst && !self.volley.is_full() {
            let source = self.dice.below(self.crowd.sources());
            let kind = mix.pick(self.dice.number());
            self.push(kind, source, &times[..self.burst]);
        }
    }

    /// Sends what is due by the rate. Its time begins when it was due, not when it was sent.
    fn send_due(
        &mut self,
        mix: Mix,
        (begin, rate): (Duration, f64),
        (issued, due): (&mut u64, u64),
    ) {
        while *issued < due && !self.volley.is_full() {
            let count = (due - *issued).min(self.burst as u64) as usize;
            let mut times = [0; SEGMENTS_MAX];
            for (number, time) in times[..count].iter_mut().enumerate() {
                let after = (*issued + number as u64) as f64 / rate;
                *time = (begin + Duration::from_secs_f64(after)).as_nanos() as u64;
            }
            *issued += count as u64;
            if self.free.len() < count {
                self.tally.sent += count as u64;
                self.tally.lost += count as u64;
                continue;
            }
            let source = self.dice.below(self.crowd.sources());
            let kind = mix.pick(self.dice.number());
            self.push(kind, source, &times[..count]);
        }
    }

    fn send_each(&mut self, now: Duration) {
        let time = now.as_nanos() as u64;
        while self.free.len() >= self.burst && !self.volley.is_full() {
            if let Some(peer) = self.again.pop() {
                self.push_announces(&[(peer, time)]);
                continue;
            }
            let Work::EachOnce { next } = &mut self.work else { return };
            let first = *next;
            let source = self.crowd.source_of(first);
            let count = (0..self.burst as u64)
                .take_while(|n| first + n < self.crowd.peers())
                .take_while(|n| self.crowd.source_of(first + n) == source)
                .count() as u64;
            *next += count;
            if count == 0 {
                return;
            }
            let peers: Vec<_> = (first..first + count).map(|peer| (peer, time)).collect();
            self.push_announces(&peers);
        }
    }

    fn send_forged(&mut self, sent: &mut u64, due: u64) {
        while *sent < due && !self.volley.is_full() {
            let count = (due - *sent).min(self.burst as u64);
            let peer = self.dice.below(self.crowd.peers());
            let source = self.crowd.source(self.crowd.source_of(peer));
            let (crowd, dice) = (&self.crowd, &mut self.dice);
            self.volley.push(source, announce_len(&self.path), |out| {
                for _ in 0..count {
                    let connection = ConnectionId(dice.number());
                    announce((crowd, &self.path), connection, FORGED, peer, out);
                }
            });
            *sent += count;
            self.tally.forged_sent += count;
        }
    }

    /// Asks for a new connection id for one address after the other.
    fn renew(&mut self, now: Duration) {
        let every = RENEW_EVERY / self.ids.len() as u32;
        if now - self.renewed.0 >= every && !self.volley.is_full() && !self.free.is_empty() {
            self.renewed = (now, (self.renewed.1 + 1) % self.crowd.sources());
            self.push(Kind::Connect, self.renewed.1, &[now.as_nanos() as u64]);
        }
    }

    /// Adds a message with as many requests as there are times, each of which began then.
    fn push(&mut self, kind: Kind, source: u64, times: &[u64]) {
        if kind == Kind::Announce {
            let mut peers = [(0, 0); SEGMENTS_MAX];
            for (peer, time) in peers.iter_mut().zip(times) {
                *peer = (self.crowd.peer_of(source, &mut self.dice), *time);
            }
            return self.push_announces(&peers[..times.len()]);
        }
        let mut transactions = [0; SEGMENTS_MAX];
        for (transaction, &time) in transactions.iter_mut().zip(times) {
            *transaction = self.take_slot(kind, source, (0, time));
        }
        let connection = self.ids[source as usize].unwrap_or(ConnectionId(0));
        let (crowd, dice) = (&self.crowd, &mut self.dice);
        let len = if kind == Kind::Connect { 16 } else { 16 + 20 * SCRAPE_HASHES };
        self.volley.push(crowd.source(source), len, |out| {
            for transaction in transactions[..times.len()].iter().copied().map(TransactionId) {
                let request = if kind == Kind::Connect {
                    Request::Connect { transaction }
                } else {
                    let info_hashes = (0..SCRAPE_HASHES).map(|_| crowd.torrent(dice)).collect();
                    Request::Scrape { connection, transaction, info_hashes }
                };
                request.encode(out);
            }
        });
    }

    /// Adds a message with the announces of peers of one address.
    fn push_announces(&mut self, peers: &[(u64, u64)]) {
        let Some(&(first, _)) = peers.first() else { return };
        let source = self.crowd.source_of(first);
        let mut transactions = [0; SEGMENTS_MAX];
        for (transaction, &peer) in transactions.iter_mut().zip(peers) {
            *transaction = self.take_slot(Kind::Announce, source, peer);
        }
        let connection = self.ids[source as usize].unwrap_or(ConnectionId(0));
        let crowd = &self.crowd;
        self.volley.push(crowd.source(source), announce_len(&self.path), |out| {
            for (transaction, (peer, _)) in transactions.iter().zip(peers) {
                announce((crowd, &self.path), connection, *transaction, *peer, out);
            }
        });
    }

    /// There is a free slot: whoever sends has looked.
    fn take_slot(&mut self, kind: Kind, source: u64, (peer, since): (u64, u64)) -> u32 {
        self.tally.sent += 1;
        let Some(at) = self.free.pop() else { return FORGED };
        let slot = &mut self.slots[usize::from(at)];
        let used = slot.used.wrapping_add(1);
        *slot = Slot { used, kind, since: Some(since), source, peer };
        u32::from(used) << 16 | u32::from(at)
    }

    fn receive(&mut self, now: Duration) -> anyhow::Result<()> {
        self.inbox.receive(&self.socket).context("receive packets")?;
        let now = now.as_nanos() as u64;
        let inbox = std::mem::replace(&mut self.inbox, Inbox::empty());
        for packet in inbox.packets() {
            self.handle(packet, now);
        }
        self.inbox = inbox;
        Ok(())
    }

    fn handle(&mut self, packet: &[u8], now: u64) {
        let word =
            |at: usize| packet.get(at..)?.first_chunk().map(|word| u32::from_be_bytes(*word));
        let (Some(action), Some(transaction)) = (word(0), word(4)) else { return };
        if transaction == FORGED {
            self.tally.forged_answered += 1;
            return;
        }
        let at = transaction as u16;
        let Some(slot) = self.slots.get_mut(usize::from(at)) else { return };
        let Some(since) = slot.since.filter(|_| u32::from(slot.used) == transaction >> 16) else {
            return;
        };
        slot.since = None;
        self.free.push(at);
        self.histogram.record(now.saturating_sub(since));
        match action {
            0 => {
                self.tally.connects += 1;
                let id = packet.get(8..).and_then(|rest| rest.first_chunk());
                let id = id.map(|id| ConnectionId(u64::from_be_bytes(*id)));
                self.ids[slot.source as usize] = id;
            }
            1 => {
                let peer_len = if self.to.is_ipv4() { 6 } else { 18 };
                self.tally.announces += 1;
                self.tally.peers += (packet.len().saturating_sub(20) / peer_len) as u64;
            }
            2 => self.tally.scrapes += 1,
            _ => self.tally.refused += 1,
        }
    }

    fn collect_lost(&mut self, now: Duration) {
        if now - self.looked < LOOK_EVERY {
            return;
        }
        self.looked = now;
        let Some(limit) = now.checked_sub(LOST_AFTER).map(|limit| limit.as_nanos() as u64) else {
            return;
        };
        for (at, slot) in self.slots.iter_mut().enumerate() {
            if slot.since.is_some_and(|since| since < limit) {
                slot.since = None;
                self.free.push(at as u16);
                self.tally.lost += 1;
                if matches!(self.work, Work::EachOnce { .. }) && slot.kind == Kind::Announce {
                    self.again.push(slot.peer);
                }
            }
        }
    }
}

fn announce(
    (crowd, path): (&Crowd, &str),
    connection: ConnectionId,
    transaction: u32,
    peer: u64,
    out: &mut Vec<u8>,
) {
    let transaction = TransactionId(transaction);
    let announce = crowd.announce(peer);
    let url_data = path.to_owned();
    Request::Announce { connection, transaction, announce, url_data }.encode(out);
}

/// Bytes of an announce.
const fn announce_len(path: &str) -> usize {
    98 + if path.is_empty() { 0 } else { 2 + path.len() }
}
