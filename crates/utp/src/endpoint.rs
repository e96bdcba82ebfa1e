//! All connections of one UDP port: finds the one that a datagram belongs to, answers strangers, and tells
//! the shell what to send, when to come back, and whom to wake.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::io::{IoSlice, IoSliceMut};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use proto::utp::{Header, Kind, Packet, Seq};
use slab::Slab;

use crate::connection::{Connection, Ended, State};
use crate::half_open::{HalfOpen, Id};
use crate::limits::{
    ACCEPT_MAX, CONNECTIONS_MAX, EARLY_LEN_TOTAL, EARLY_PACKETS_MAX, RECEIVE_LEN_MIN, REPLIES_MAX,
    REPLIES_PER_SECOND,
};
use crate::transmit::Transmit;
use chance::Secrets;

/// How an endpoint behaves.
#[derive(Debug, Clone, Copy)]
pub struct Config {
    /// Where chance comes from: connection ids and first numbers. Strangers must not know it.
    pub seed: [u8; 16],
    /// Whether others may connect to us.
    pub accepts: bool,
}

/// Names a stream of an [`Endpoint`], also after it has gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Key {
    index: usize,
    generation: u64,
}

/// Why no connection can be opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ConnectError {
    /// There are as many as there may be.
    #[error("too many uTP connections")]
    TooMany,
}

/// What an endpoint holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stats {
    /// Connections, those that are leaving included.
    pub connections: usize,
    /// Strangers that have sent a SYN.
    pub half_open: usize,
    /// Bytes of packets that came before one that is missing, and of their places.
    pub early_len: usize,
}

/// A connection and its places in the endpoint's queues.
struct Entry {
    connection: Connection,
    generation: u64,
    /// It stands in `sending`.
    queued: bool,
    /// It stands in `ready`.
    told: bool,
    /// Its place in `timers`: at its deadline or before.
    timer: Option<Instant>,
}

/// All connections of one port.
pub struct Endpoint {
    config: Config,
    chance: Secrets,
    /// What the clock of our packets counts from.
    epoch: Instant,
    entries: Slab<Entry>,
    by_id: HashMap<Id, usize>,
    generation: u64,
    half_open: HalfOpen,
    accepting: VecDeque<Key>,
    /// Connections that may have something to send, in turn.
    sending: VecDeque<usize>,
    ready: VecDeque<Key>,
    timers: BTreeSet<(Instant, usize)>,
    replies: VecDeque<(SocketAddr, Header)>,
    replies_left: u32,
    replies_until: Instant,
    early_len: usize,
    mask: Vec<u8>,
}

impl std::fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Endpoint").field("stats", &self.stats()).finish_non_exhaustive()
    }
}

impl Endpoint {
    /// An endpoint without connections.
    #[must_use]
    pub fn new(now: Instant, config: Config) -> Self {
        Self {
            config,
            chance: Secrets::new(config.seed),
            epoch: now,
            entries: Slab::new(),
            by_id: HashMap::new(),
            generation: 0,
            half_open: HalfOpen::default(),
            accepting: VecDeque::new(),
            sending: VecDeque::new(),
            ready: VecDeque::new(),
            timers: BTreeSet::new(),
            replies: VecDeque::new(),
            replies_left: REPLIES_PER_SECOND,
            replies_until: now + Duration::from_secs(1),
            early_len: 0,
            mask: Vec::new(),
        }
    }

    /// Opens a connection. [`Endpoint::poll_writable`] tells when it stands.
    pub fn connect(&mut self, now: Instant, to: SocketAddr) -> Result<Key, ConnectError> {
        if self.entries.len() >= CONNECTIONS_MAX {
            return Err(ConnectError::TooMany);
        }
        // Few of 65,536 are taken by one peer.
        let mut receive_id = self.chance.number() as u16;
        while self.by_id.contains_key(&(to, receive_id)) {
            receive_id = self.chance.number() as u16;
        }
        let syn = Seq(self.chance.number() as u16);
        Ok(self.insert(now, Connection::outgoing(now, to, receive_id, syn)))
    }

    fn insert(&mut self, now: Instant, connection: Connection) -> Key {
        self.generation += 1;
        let generation = self.generation;
        let id = (connection.peer, connection.receive_id);
        let entry = Entry { connection, generation, queued: false, told: false, timer: None };
        let index = self.entries.insert(entry);
        self.by_id.insert(id, index);
        self.settle(now, index);
        Key { index, generation }
    }

    /// Takes a datagram. What is not uTP is ignored.
    pub fn handle_datagram(&mut self, now: Instant, from: SocketAddr, datagram: &[u8]) {
        let Ok(packet) = Packet::decode(datagram) else { return };
        match packet.header.kind {
            Kind::Syn => self.on_syn(now, from, &packet.header),
            Kind::Reset => self.on_reset(now, from, &packet.header),
            Kind::Data | Kind::Fin | Kind::State => self.on_packet(now, from, &packet),
        }
    }

    fn on_packet(&mut self, now: Instant, from: SocketAddr, packet: &Packet<'_>) {
        let id = (from, packet.header.connection_id);
        let index = match self.by_id.get(&id) {
            Some(&index) => index,
            None => match self.welcome(now, id, &packet.header) {
                Some(index) => index,
                None => return,
            },
        };
        let micros = self.micros(now);
        let connection = &mut self.entries[index].connection;
        let before = connection.incoming.early_cost();
        let may_hold = self.early_len < EARLY_LEN_TOTAL;
        connection.handle_packet(now, micros, packet, may_hold);
        self.early_len = self.early_len - before + connection.incoming.early_cost();
        self.take_leave(now, index);
        self.settle(now, index);
    }

    /// Tells the peer of a connection that has just been given up, while the peer may be there.
    fn take_leave(&mut self, now: Instant, index: usize) {
        let connection = &self.entries[index].connection;
        if connection.owes_reset() {
            let (to, id) = (connection.peer, connection.send_id);
            let (seq, ack) = (connection.outgoing.next_seq(), connection.incoming.last());
            let header = self.reset(now, id, seq, ack);
            self.reply(now, to, header);
        }
    }

    /// A packet that belongs to no connection: a stranger that got our answer, or one to be told that we know
    /// nothing of it.
    fn welcome(&mut self, now: Instant, id: Id, header: &Header) -> Option<usize> {
        let Some(stranger) = self.half_open.find(id) else {
            self.refuse(now, id.0, header);
            return None;
        };
        // It has our number, or, as some read the specification, counts our answer as a packet.
        let first = header.ack.plus(1);
        let got_answer = first == stranger.ours || header.ack == stranger.ours;
        let ahead = header.seq.since(stranger.syn);
        if !got_answer || !(1..=EARLY_PACKETS_MAX as i32).contains(&ahead) {
            return None;
        }
        if self.accepting.len() >= ACCEPT_MAX || self.entries.len() >= CONNECTIONS_MAX {
            return None;
        }
        self.half_open.remove(id);
        let connection = Connection::incoming(now, id.0, id.1, first, stranger.syn);
        let key = self.insert(now, connection);
        self.accepting.push_back(key);
        Some(key.index)
    }

    fn on_syn(&mut self, now: Instant, from: SocketAddr, header: &Header) {
        let id = (from, header.connection_id.wrapping_add(1));
        if let Some(&index) = self.by_id.get(&id) {
            // Our answer was late, or this is a repeated one that took a detour.
            self.entries[index].connection.acks.hurry();
            return self.settle(now, index);
        }
        if !self.config.accepts {
            return self.refuse(now, from, header);
        }
        let ours = Seq(self.chance.number() as u16);
        let Some(stranger) = self.half_open.knock(now, id, header.seq, ours) else { return };
        let sent_micros = self.micros(now);
        let answer = Header {
            kind: Kind::State,
            connection_id: header.connection_id,
            sent_micros,
            delay_micros: sent_micros.wrapping_sub(header.sent_micros),
            window: RECEIVE_LEN_MIN as u32,
            seq: stranger.ours,
            ack: header.seq,
        };
        self.reply(now, from, answer);
    }

    /// A RESET bears the id of the packet that it answers, or that of the peer's own packets.
    fn on_reset(&mut self, now: Instant, from: SocketAddr, header: &Header) {
        let id = header.connection_id;
        let candidates = [id, id.wrapping_sub(1), id.wrapping_add(1)];
        for receive_id in candidates {
            let Some(&index) = self.by_id.get(&(from, receive_id)) else { continue };
            let connection = &mut self.entries[index].connection;
            if (connection.receive_id == id || connection.send_id == id)
                && connection.handle_reset(header.ack)
            {
                return self.settle(now, index);
            }
        }
    }

    fn refuse(&mut self, now: Instant, to: SocketAddr, about: &Header) {
        let seq = Seq(self.chance.number() as u16);
        let header = self.reset(now, about.connection_id, seq, about.seq);
        self.reply(now, to, header);
    }

    fn reset(&self, now: Instant, connection_id: u16, seq: Seq, ack: Seq) -> Header {
        let sent_micros = self.micros(now);
        let kind = Kind::Reset;
        Header { kind, connection_id, sent_micros, delay_micros: 0, window: 0, seq, ack }
    }

    fn reply(&mut self, now: Instant, to: SocketAddr, header: Header) {
        if now >= self.replies_until {
            self.replies_until = now + Duration::from_secs(1);
            self.replies_left = REPLIES_PER_SECOND;
        }
        if self.replies_left > 0 && self.replies.len() < REPLIES_MAX {
            self.replies_left -= 1;
            self.replies.push_back((to, header));
        }
    }

    /// When [`Endpoint::handle_timeout`] has something to do.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.timers.first().map(|(at, _)| *at)
    }

    /// Does what is due.
    pub fn handle_timeout(&mut self, now: Instant) {
        while let Some(&(at, index)) = self.timers.first()
            && at <= now
        {
            self.timers.pop_first();
            let entry = &mut self.entries[index];
            entry.timer = None;
            entry.connection.handle_timeout(now);
            self.take_leave(now, index);
            self.settle(now, index);
        }
    }

    /// Appends datagrams for one address to `out`; `None` when there is nothing to send. Those that have much
    /// to send take turns.
    pub fn poll_transmit(&mut self, now: Instant, out: &mut Vec<u8>) -> Option<Transmit> {
        if let Some((to, header)) = self.replies.pop_front() {
            let begin = out.len();
            header.encode(&[], out);
            let len = out.len() - begin;
            return Some(Transmit { to, segment_len: len, len, probe: false });
        }
        let micros = self.micros(now);
        while let Some(index) = self.sending.pop_front() {
            let Some(entry) = self.entries.get_mut(index) else { continue };
            if !entry.queued {
                continue;
            }
            let sent = entry.connection.poll_transmit(now, micros, &mut self.mask, out);
            if sent.is_some() {
                self.sending.push_back(index);
                return sent;
            }
            entry.queued = false;
            self.set_timer(now, index);
        }
        None
    }

    /// The next stream whose owner found nothing to read or no room to write, and for which there is now, or which
    /// has ended.
    pub fn poll_ready(&mut self) -> Option<Key> {
        while let Some(key) = self.ready.pop_front() {
            if let Some(entry) = self.entries.get_mut(key.index)
                && entry.generation == key.generation
            {
                entry.told = false;
                return Some(key);
            }
        }
        None
    }

    /// Whether [`Endpoint::poll_accept`] may have one.
    #[must_use]
    pub fn has_arrivals(&self) -> bool {
        !self.accepting.is_empty()
    }

    /// The next connection that a peer has opened.
    pub fn poll_accept(&mut self) -> Option<(Key, SocketAddr)> {
        while let Some(key) = self.accepting.pop_front() {
            if let Ok(connection) = self.connection(key) {
                return Some((key, connection.peer));
            }
        }
        None
    }

    /// Reads what is there: `None` when nothing is (then [`Endpoint::poll_ready`] will tell), 0 at the end, and when
    /// there is no room to read into.
    pub fn read(
        &mut self,
        now: Instant,
        key: Key,
        slices: &mut [IoSliceMut<'_>],
    ) -> Result<Option<usize>, Ended> {
        let result = self.connection(key)?.read(slices);
        self.settle(now, key.index);
        result
    }

    /// Takes bytes to send: `None` when there is no room, or no connection yet (then
    /// [`Endpoint::poll_ready`] will tell).
    pub fn write(
        &mut self,
        now: Instant,
        key: Key,
        slices: &[IoSlice<'_>],
    ) -> Result<Option<usize>, Ended> {
        let result = self.connection(key)?.write(slices);
        self.settle(now, key.index);
        result
    }

    /// Whether a read would not wait. If it would, [`Endpoint::poll_ready`] will tell when it would not.
    pub fn poll_readable(&mut self, key: Key) -> bool {
        self.connection(key).is_ok_and(Connection::poll_readable)
    }

    /// The same for writing; while a connection is being opened there is no room.
    pub fn poll_writable(&mut self, key: Key) -> bool {
        self.connection(key).is_ok_and(Connection::poll_writable)
    }

    /// Why the stream ended, if it did.
    pub fn ended(&mut self, key: Key) -> Option<Ended> {
        match self.connection(key) {
            Err(ended) => Some(ended),
            Ok(Connection { state: State::Ended(ended), .. }) => Some(*ended),
            Ok(_) => None,
        }
    }

    /// Ends the outgoing half: the peer reads what was written, then the end. Reading goes on.
    pub fn finish(&mut self, now: Instant, key: Key) {
        if let Ok(connection) = self.connection(key) {
            connection.finish();
            self.settle(now, key.index);
        }
    }

    /// The owner leaves: what it wrote is still delivered, what comes is dropped.
    pub fn close(&mut self, now: Instant, key: Key) {
        if let Ok(connection) = self.connection(key) {
            let before = connection.incoming.early_cost();
            connection.close(now);
            let after = connection.incoming.early_cost();
            self.early_len = self.early_len - before + after;
            self.settle(now, key.index);
        }
    }

    /// What the endpoint holds.
    #[must_use]
    pub fn stats(&self) -> Stats {
        Stats {
            connections: self.entries.len(),
            half_open: self.half_open.len(),
            early_len: self.early_len,
        }
    }

    fn connection(&mut self, key: Key) -> Result<&mut Connection, Ended> {
        match self.entries.get_mut(key.index) {
            Some(entry) if entry.generation == key.generation => Ok(&mut entry.connection),
            Some(_) | None => Err(Ended::Closed),
        }
    }

    /// Something happened to a connection: puts it where it belongs.
    fn settle(&mut self, now: Instant, index: usize) {
        let entry = &mut self.entries[index];
        if entry.connection.state == State::Gone {
            return self.remove(index);
        }
        if entry.connection.is_ready() && !entry.told {
            entry.told = true;
            self.ready.push_back(Key { index, generation: entry.generation });
        }
        if !entry.queued {
            entry.queued = true;
            self.sending.push_back(index);
        }
        self.set_timer(now, index);
    }

    /// A timer that fires too early costs less than one that is moved with each packet.
    fn set_timer(&mut self, now: Instant, index: usize) {
        let entry = &mut self.entries[index];
        // What is overdue and could not be done is tried again soon, not at once for ever.
        let due = entry.connection.poll_timeout().map(|due| due.max(now + TICK));
        let Some(due) = due else { return };
        match entry.timer {
            Some(timer) if timer <= due => return,
            Some(timer) => drop(self.timers.remove(&(timer, index))),
            None => {}
        }
        entry.timer = Some(due);
        self.timers.insert((due, index));
    }

    fn remove(&mut self, index: usize) {
        let entry = self.entries.remove(index);
        self.early_len -= entry.connection.incoming.early_cost();
        self.by_id.remove(&(entry.connection.peer, entry.connection.receive_id));
        if let Some(timer) = entry.timer {
            self.timers.remove(&(timer, index));
        }
    }

    /// Our clock in packets.
    fn micros(&self, now: Instant) -> u32 {
        now.saturating_duration_since(self.epoch).as_micros() as u32
    }
}

/// The shortest time until a timer fires.
const TICK: Duration = Duration::from_micros(100);
