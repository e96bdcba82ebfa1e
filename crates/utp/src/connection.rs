//! One connection: what a packet, a timer or its owner does to it. What it sends is in `transmit`.

use std::io::{IoSlice, IoSliceMut};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use proto::utp::{Kind, Packet, Seq};

use crate::ack::Acks;
use crate::delay::DelayHistory;
use crate::incoming::{Incoming, Received};
use crate::ledbat::Ledbat;
use crate::limits::{
    KEEP_ALIVE, LATE_MAX, LINGER, PACKET_LEN_MAX_V4, PACKET_LEN_MIN, SEND_LEN_MAX, SEND_LEN_MIN,
    SILENCE, SYN_TRIES, TIME_WAIT, TIMEOUTS_MAX, TRIM_EVERY,
};
use crate::mtu::PacketLen;
use crate::outgoing::{Outcome, Outgoing};
use crate::pace::Pacer;
use crate::rtt::Rtt;
use crate::slowdown::Slowdown;

/// Why a stream ended before its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Ended {
    /// Nobody answers there, or not to us.
    #[error("connection refused")]
    Refused,
    /// The peer broke it off.
    #[error("connection reset by the peer")]
    Reset,
    /// The peer says nothing any more.
    #[error("connection timed out")]
    TimedOut,
    /// Its owner closed it, or it never was.
    #[error("no such stream")]
    Closed,
}

/// How far a connection is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum State {
    /// Asked for; the SYN goes out, again, at `due`.
    SynSent {
        tries: u32,
        due: Instant,
    },
    Connected,
    /// It failed; its owner may not know yet.
    Ended(Ended),
    /// Both directions are done; a repeated FIN is acknowledged until then.
    TimeWait(Instant),
    /// Nothing is left to do.
    Gone,
}

/// One connection.
#[derive(Debug)]
pub(crate) struct Connection {
    pub(crate) peer: SocketAddr,
    /// The id that the peer's packets bear.
    pub(crate) receive_id: u16,
    /// The id that ours bear.
    pub(crate) send_id: u16,
    pub(crate) state: State,
    pub(crate) outgoing: Outgoing,
    pub(crate) incoming: Incoming,
    pub(crate) congestion: Ledbat,
    /// Of what we send, and of what the peer does.
    slowdown: Slowdown,
    their_slowdown: Slowdown,
    pub(crate) rtt: Rtt,
    pub(crate) pacer: Pacer,
    pub(crate) packet_len: PacketLen,
    /// Delays of our packets, as the peer measures them.
    our_delays: DelayHistory,
    /// Delays of the peer's packets.
    their_delays: DelayHistory,
    /// The last of those, for the peer's information.
    pub(crate) reply_delay: u32,
    pub(crate) acks: Acks,
    pub(crate) peer_window: usize,
    /// The room that we told of last.
    pub(crate) advertised: usize,
    /// When something we sent last arrived, or the first packet after a silence left.
    pub(crate) progress_at: Instant,
    pub(crate) data_sent_at: Instant,
    pub(crate) sent_at: Instant,
    heard_at: Instant,
    timeouts: u32,
    /// The last packet was sent once more; a second time would not help.
    tail_tried: bool,
    /// One packet may leave although the window is full.
    pub(crate) permit: bool,
    /// When a packet may probe a window that the peer closed.
    pub(crate) probe_window_at: Option<Instant>,
    /// The last packet that did.
    pub(crate) window_probe: Option<Seq>,
    /// When the pacer opens.
    pub(crate) paced_until: Option<Instant>,
    /// The owner waits for something to read, or for room to write.
    wants_read: bool,
    wants_write: bool,
    /// When unused memory is given back.
    trim_at: Instant,
    /// The owner has left; until when the rest may take.
    closed: Option<Instant>,
}

impl Connection {
    /// We ask for it.
    pub(crate) fn outgoing(now: Instant, peer: SocketAddr, receive_id: u16, syn: Seq) -> Self {
        let state = State::SynSent { tries: 0, due: now };
        let (send_id, first) = (receive_id.wrapping_add(1), syn.plus(1));
        Self::new(now, peer, (receive_id, send_id), state, first, Seq(0))
    }

    /// The peer asked for it and has shown that it is where it says.
    pub(crate) fn incoming(
        now: Instant,
        peer: SocketAddr,
        receive_id: u16,
        first: Seq,
        syn: Seq,
    ) -> Self {
        let ids = (receive_id, receive_id.wrapping_sub(1));
        Self::new(now, peer, ids, State::Connected, first, syn)
    }

    fn new(
        now: Instant,
        peer: SocketAddr,
        (receive_id, send_id): (u16, u16),
        state: State,
        first: Seq,
        last: Seq,
    ) -> Self {
        let incoming = Incoming::after(last);
        Self {
            peer,
            receive_id,
            send_id,
            state,
            outgoing: Outgoing::starting_with(first),
            congestion: Ledbat::new(PACKET_LEN_MIN),
            slowdown: Slowdown::new(now),
            their_slowdown: Slowdown::new(now),
            rtt: Rtt::new(),
            pacer: Pacer::new(now),
            packet_len: PacketLen::new(peer),
            our_delays: DelayHistory::new(),
            their_delays: DelayHistory::new(),
            reply_delay: 0,
            acks: Acks::new(),
            peer_window: PACKET_LEN_MIN,
            advertised: incoming.capacity(),
            incoming,
            progress_at: now,
            data_sent_at: now,
            sent_at: now,
            heard_at: now,
            timeouts: 0,
            tail_tried: false,
            permit: false,
            probe_window_at: None,
            window_probe: None,
            paced_until: None,
            wants_read: false,
            wants_write: false,
            trim_at: now + TRIM_EVERY,
            closed: None,
        }
    }

    /// Takes a packet with our id from the peer's address. Without `may_hold` early ones are dropped.
    pub(crate) fn handle_packet(
        &mut self,
        now: Instant,
        micros: u32,
        packet: &Packet<'_>,
        may_hold: bool,
    ) {
        match self.state {
            State::SynSent { tries, .. } => {
                if packet.header.ack != self.outgoing.next_seq().minus(1) {
                    return;
                }
                // Its bytes may have overtaken its answer: what they are the first of is not known then.
                if packet.header.kind != Kind::State {
                    return;
                }
                // A packet without payload bears the number of the next one.
                self.incoming = Incoming::after(packet.header.seq.minus(1));
                self.state = State::Connected;
                if tries == 1 {
                    self.rtt.sample(now.saturating_duration_since(self.sent_at));
                }
                // The peer is told at once that its answer arrived: it waits for that.
                self.acks.hurry();
            }
            State::Connected | State::TimeWait(_) => {}
            State::Ended(_) | State::Gone => return,
        }
        if !self.is_plausible(packet) {
            return;
        }
        self.heard_at = now;
        self.measure(now, micros, packet);
        let was_closed = self.is_window_closed();
        // An older packet, which was overtaken, tells of an older window.
        if !self.outgoing.is_late(packet.header.ack) {
            self.peer_window = packet.header.window as usize;
            if self.peer_window > 0 {
                self.probe_window_at = None;
            }
        }
        self.on_acknowledgement(now, micros, packet);
        if was_closed && !self.is_window_closed() {
            self.on_room(now);
        }
        self.on_payload(now, packet, may_hold);
        self.advance_close(now);
    }

    /// Whoever does not see our packets cannot know which numbers are possible.
    fn is_plausible(&self, packet: &Packet<'_>) -> bool {
        let ahead = packet.header.seq.since(self.incoming.last());
        self.outgoing.is_plausible(packet.header.ack)
            && (-LATE_MAX..=crate::limits::EARLY_PACKETS_MAX as i32 + 1).contains(&ahead)
    }

    /// The peer says that it knows nothing of us: `false` if it cannot be the peer that says so.
    pub(crate) fn handle_reset(&mut self, acknowledged: Seq) -> bool {
        if !self.outgoing.is_outstanding(acknowledged) {
            return false;
        }
        let why = match self.state {
            State::SynSent { .. } => Ended::Refused,
            State::Connected => Ended::Reset,
            State::TimeWait(_) => {
                self.state = State::Gone;
                return true;
            }
            State::Ended(_) | State::Gone => return true,
        };
        self.end(why);
        true
    }

    fn end(&mut self, why: Ended) {
        self.state = if self.closed.is_some() { State::Gone } else { State::Ended(why) };
    }

    fn measure(&mut self, now: Instant, micros: u32, packet: &Packet<'_>) {
        let before = self.their_delays.base();
        self.reply_delay = micros.wrapping_sub(packet.header.sent_micros);
        let queued = self.their_delays.sample(now, self.reply_delay);
        if packet.header.kind == Kind::Data {
            let was_on = self.their_slowdown.is_on(now);
            // Whoever sends nothing measures no round trip, and goes by the least length.
            let round_trip = self.rtt.smoothed().unwrap_or(queued);
            let least = self.rtt.least().unwrap_or(Duration::ZERO);
            self.their_slowdown.on_delay(now, micros, queued.min(round_trip), (round_trip, least));
            if was_on && !self.their_slowdown.is_on(now) {
                self.acks.hurry();
            }
        }
        if let (Some(before), Some(after)) = (before, self.their_delays.base()) {
            // Their clock gains on ours: what they measure of our packets grows by as much.
            let gained = before.wrapping_sub(after);
            if (1..=DRIFT_MAX).contains(&gained) {
                self.our_delays.shift(gained);
            }
        }
    }

    fn on_acknowledgement(&mut self, now: Instant, micros: u32, packet: &Packet<'_>) {
        let flying = self.outgoing.flying();
        let early = packet.sack.into_iter().flat_map(|sack| sack.received());
        // A peer without room repeats itself, too.
        let repeats = packet.header.kind == Kind::State && !self.is_window_closed();
        let least = self.rtt.least().unwrap_or(Duration::ZERO);
        let reordering = self.rtt.reordering();
        let ack = packet.header.ack;
        let outcome = self.outgoing.on_ack(now, ack, early, repeats, least, reordering);
        if let Some(rtt) = outcome.rtt {
            self.rtt.sample(rtt);
        }
        let delay = packet.header.delay_micros;
        if outcome.acked > 0 && delay != 0 {
            let queued = self.our_delays.sample(now, delay);
            // Whatever the clocks say: no packet takes longer one way than there and back.
            let round_trip = self.rtt.smoothed().unwrap_or(queued);
            let queued = queued.min(round_trip);
            self.slowdown.on_delay(now, micros, queued, (round_trip, least));
            let used = if self.congestion.is_slow_start() { 2 } else { 1 };
            let slack = 2 * self.packet_len.get();
            if (flying + slack) * used >= self.congestion.window() {
                self.congestion.on_ack(outcome.acked, queued, self.packet_len.get());
            }
        }
        if outcome.acked > 0 {
            self.progress_at = now;
            self.timeouts = 0;
            self.tail_tried = false;
            self.rtt.on_progress();
            if self.closed.is_some() {
                self.closed = Some(now + LINGER);
            }
        }
        self.on_outcome(&outcome);
    }

    /// Bytes that may be in flight now.
    pub(crate) fn window(&self, now: Instant) -> usize {
        let window = self.congestion.window();
        if self.slowdown.is_on(now) { window.min(self.packet_len.get()) } else { window }
    }

    /// Bytes that we tell the peer there is room for now.
    pub(crate) fn offered(&self, now: Instant) -> usize {
        let room = self.incoming.room();
        if self.their_slowdown.is_on(now) { room.min(OFFERED_SLOW) } else { room }
    }

    /// The peer has no room for what comes next: that it does not arrive says nothing about the path.
    fn is_window_closed(&self) -> bool {
        self.outgoing.first_len().is_some_and(|len| self.peer_window < len)
    }

    /// The peer has room again: neither what it refused nor the waits between questions are waited for.
    fn on_room(&mut self, now: Instant) {
        if let Some(refused) = self.window_probe.take() {
            self.outgoing.on_room(refused);
        }
        self.rtt.on_progress();
        self.timeouts = 0;
        self.progress_at = now;
    }

    fn on_outcome(&mut self, outcome: &Outcome) {
        if let Some(len) = outcome.probe_passed {
            self.packet_len.on_probe_passed(len);
        }
        if let Some(len) = outcome.probe_lost {
            self.packet_len.on_probe_lost(len);
        }
        if outcome.congested {
            self.congestion.on_loss(self.packet_len.get());
        }
    }

    fn on_payload(&mut self, now: Instant, packet: &Packet<'_>, may_hold: bool) {
        let is_end = match packet.header.kind {
            Kind::Data => false,
            Kind::Fin => true,
            Kind::State | Kind::Reset | Kind::Syn => return,
        };
        let received = self.incoming.receive(packet.header.seq, packet.payload, is_end, may_hold);
        match received {
            Received::InOrder => {
                self.acks.on_packet(now);
                if self.incoming.has_gap() || self.incoming.is_ended() {
                    self.acks.hurry();
                }
            }
            Received::Early | Received::Repeated | Received::NoRoom => self.acks.hurry(),
            Received::Forged => {}
        }
        let is_new = matches!(received, Received::InOrder | Received::Early | Received::NoRoom);
        if self.closed.is_some()
            && is_new
            && !is_end
            && self.outgoing.is_done()
            && !self.incoming.is_ended()
        {
            // The peer has all that it will get from us, and more to say that nobody reads: it is told so.
            self.state = State::Gone;
        }
    }

    /// A closed connection whose two directions are done has only repeated packets to answer.
    fn advance_close(&mut self, now: Instant) {
        if self.closed.is_some()
            && self.state == State::Connected
            && self.outgoing.is_done()
            && self.incoming.is_ended()
        {
            self.state = State::TimeWait(now + TIME_WAIT);
        }
    }

    /// Does what is due.
    pub(crate) fn handle_timeout(&mut self, now: Instant) {
        match self.state {
            State::SynSent { tries, due } => {
                if due <= now && tries >= SYN_TRIES {
                    self.end(Ended::TimedOut);
                }
            }
            State::Connected => self.handle_connected_timeout(now),
            State::TimeWait(until) => {
                if until <= now {
                    self.state = State::Gone;
                }
            }
            State::Ended(_) | State::Gone => {}
        }
    }

    fn handle_connected_timeout(&mut self, now: Instant) {
        if self.closed.is_some_and(|until| until <= now) {
            self.state = State::Gone;
            return;
        }
        let outcome = self.outgoing.on_overdue(now, self.rtt.reordering());
        self.on_outcome(&outcome);
        if self.rto_at().is_some_and(|at| at <= now) {
            self.on_rto(now);
        } else if self.tail_at().is_some_and(|at| at <= now) {
            self.tail_tried = true;
            self.permit = true;
            let outcome = self.outgoing.lose_last();
            self.on_outcome(&outcome);
        }
        self.slowdown.on_time(now);
        if self.their_slowdown.on_time(now) {
            self.acks.hurry();
        }
        if self.keep_alive_at() <= now {
            self.acks.hurry();
        }
        // Timers of other kinds fire often enough for that, and on a silent stream the keep-alive's.
        if self.trim_at <= now {
            self.trim_at = now + TRIM_EVERY;
            self.outgoing.trim();
            self.incoming.trim();
        }
    }

    fn on_rto(&mut self, now: Instant) {
        if self.heard_at > self.progress_at {
            // It is there, and has no room for more.
            self.timeouts = 0;
        }
        self.timeouts += 1;
        let silent = now.saturating_duration_since(self.heard_at);
        if self.timeouts > TIMEOUTS_MAX && silent > SILENCE {
            return self.end(Ended::TimedOut);
        }
        self.rtt.on_timeout();
        self.progress_at = now;
        let outcome = self.outgoing.on_timeout();
        if let Some(len) = outcome.probe_lost {
            self.packet_len.on_probe_lost(len);
        }
        if self.timeouts == BLACK_HOLE {
            self.packet_len.on_black_hole();
        }
        if !self.is_window_closed() {
            self.congestion.on_timeout(self.packet_len.get(), !outcome.congested);
        }
    }

    /// When all that is in flight counts as lost.
    fn rto_at(&self) -> Option<Instant> {
        (self.outgoing.flying() > 0 || self.outgoing.is_waiting())
            .then(|| self.progress_at + self.rtt.timeout())
    }

    /// When the last packet is sent once more.
    fn tail_at(&self) -> Option<Instant> {
        if self.tail_tried || self.outgoing.flying() == 0 {
            return None;
        }
        Some(self.data_sent_at.max(self.progress_at) + self.rtt.tail()?)
    }

    fn keep_alive_at(&self) -> Instant {
        self.sent_at + KEEP_ALIVE
    }

    /// When [`Connection::handle_timeout`] or another attempt to send has something to do.
    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        match self.state {
            State::SynSent { due, .. } => Some(due),
            State::Connected => [
                self.rto_at(),
                self.tail_at(),
                self.outgoing.poll_timeout(),
                self.acks.poll_timeout(),
                self.paced_until,
                self.probe_window_at,
                self.slowdown.poll_timeout(),
                self.their_slowdown.poll_timeout(),
                self.closed,
                Some(self.keep_alive_at()),
            ]
            .into_iter()
            .flatten()
            .min(),
            State::TimeWait(until) => Some(until),
            State::Ended(_) | State::Gone => None,
        }
    }

    /// Reads what is there: `None` when nothing is, 0 at the end, or when there is no room to read into.
    pub(crate) fn read(&mut self, slices: &mut [IoSliceMut<'_>]) -> Result<Option<usize>, Ended> {
        if slices.iter().all(|slice| slice.is_empty()) {
            // Whoever would be told to wait would be told at once that there is something.
            return Ok(Some(0));
        }
        let count = self.incoming.read(slices);
        if count > 0 {
            let (room, capacity) = (self.incoming.room(), self.incoming.capacity());
            if self.advertised < capacity / 4 && room >= capacity / 2 {
                self.acks.hurry();
            }
            return Ok(Some(count));
        }
        if self.incoming.is_ended() {
            return Ok(Some(0));
        }
        if let State::Ended(why) = self.state {
            return Err(why);
        }
        self.wants_read = true;
        Ok(None)
    }

    /// Takes bytes to send: `None` when there is no room, or no connection yet.
    pub(crate) fn write(&mut self, slices: &[IoSlice<'_>]) -> Result<Option<usize>, Ended> {
        if let State::Ended(why) = self.state {
            return Err(why);
        }
        if self.outgoing.is_closing() {
            return Err(Ended::Closed);
        }
        let room = self.send_len().saturating_sub(self.outgoing.len());
        if room == 0 || matches!(self.state, State::SynSent { .. }) {
            self.wants_write = true;
            return Ok(None);
        }
        Ok(Some(self.outgoing.write(slices, room)))
    }

    /// Bytes that may wait for acknowledgement: twice the window, so that it never runs dry.
    fn send_len(&self) -> usize {
        (2 * self.congestion.window()).clamp(SEND_LEN_MIN, SEND_LEN_MAX)
    }

    /// Whether [`Connection::read`] would not wait; if it would, [`Connection::is_ready`] will tell.
    pub(crate) fn poll_readable(&mut self) -> bool {
        let readable = self.incoming.is_readable() || matches!(self.state, State::Ended(_));
        self.wants_read |= !readable;
        readable
    }

    /// The same for [`Connection::write`].
    pub(crate) fn poll_writable(&mut self) -> bool {
        let writable = self.is_writable();
        self.wants_write |= !writable;
        writable
    }

    fn is_writable(&self) -> bool {
        match self.state {
            State::SynSent { .. } => false,
            State::Connected => self.outgoing.len() <= self.send_len() * 3 / 4,
            State::Ended(_) | State::TimeWait(_) | State::Gone => true,
        }
    }

    /// The owner waited for something that is there now. Told once.
    pub(crate) fn is_ready(&mut self) -> bool {
        let ended = matches!(self.state, State::Ended(_));
        let read = self.wants_read && (self.incoming.is_readable() || ended);
        let write = self.wants_write && self.is_writable();
        self.wants_read &= !read;
        self.wants_write &= !write;
        read || write
    }

    /// No more will be written; what was is sent, then the end.
    pub(crate) const fn finish(&mut self) {
        self.outgoing.close();
    }

    /// The owner leaves: what it wrote is still sent, what comes is dropped.
    pub(crate) fn close(&mut self, now: Instant) {
        match self.state {
            State::SynSent { .. } | State::Ended(_) | State::Gone => self.state = State::Gone,
            State::Connected | State::TimeWait(_) => {
                self.outgoing.close();
                self.incoming.discard();
                self.closed = Some(now + LINGER);
                self.advance_close(now);
            }
        }
    }

    /// The connection is given up; the peer would wait for us, or go on sending, if it were not told.
    pub(crate) fn owes_reset(&self) -> bool {
        self.state == State::Gone && !(self.outgoing.is_done() && self.incoming.is_ended())
    }
}

/// A base delay that drops by more than this, in microseconds, has another cause than drifting clocks.
const DRIFT_MAX: u32 = 10_000;
/// Room for two packets of any length, while the peer shall be slow: one is always on its way, and brings back
/// word of more room should that get lost.
const OFFERED_SLOW: usize = 2 * PACKET_LEN_MAX_V4;
/// Timeouts in a row after which long packets are suspected.
const BLACK_HOLE: u32 = 2;

#[cfg(test)]
mod tests;
