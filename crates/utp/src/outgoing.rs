//! The sending half of a stream: bytes that wait, packets in flight, and which of them are lost.
//!
//! Bytes stay in one ring until they are acknowledged; a packet is a place in it, so neither sending nor
//! sending again takes memory. Each transmission has an order of its own (as QUIC numbers packets): what
//! was sent three transmissions before one that arrived is lost, also when it was sent again.

use std::collections::VecDeque;
use std::io::IoSlice;
use std::time::{Duration, Instant};

use proto::utp::Seq;

use crate::limits::{FLIGHT_PACKETS_MAX, LATE_MAX};
use crate::peak::Peak;

/// What an acknowledgement brought.
#[derive(Debug, Default)]
pub(crate) struct Outcome {
    /// Bytes that arrived and were not known to.
    pub(crate) acked: usize,
    /// How long the last of them took there and back, if it was sent once.
    pub(crate) rtt: Option<Duration>,
    /// Something of this round trip was lost.
    pub(crate) congested: bool,
    /// The length of a probe that arrived or was lost.
    pub(crate) probe_passed: Option<usize>,
    pub(crate) probe_lost: Option<usize>,
}

/// A packet that was sent.
#[derive(Debug, Clone, Copy)]
struct Sent {
    /// Where its bytes begin in the stream.
    offset: u64,
    len: usize,
    sent_at: Instant,
    order: u64,
    transmissions: u32,
    state: State,
    /// The length of the whole packet when it was a probe.
    probe: Option<usize>,
    is_end: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Flying,
    Lost,
    Arrived,
}

/// A packet to build.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Piece {
    pub(crate) seq: Seq,
    pub(crate) len: usize,
    pub(crate) is_end: bool,
    offset: u64,
}

/// Bytes that go out.
#[derive(Debug)]
pub(crate) struct Outgoing {
    bytes: VecDeque<u8>,
    /// The place of the first byte kept.
    kept_from: u64,
    /// The place of the first byte that is in no packet yet.
    packed_to: u64,
    /// Packets not acknowledged with all before them; the first has the number `first`.
    packets: VecDeque<Sent>,
    first: Seq,
    flying: usize,
    lost: usize,
    /// No packet before this place is lost.
    lost_from: usize,
    order: u64,
    /// The latest transmission that arrived.
    arrived: Option<u64>,
    /// The peer told of these, up to the last that came early: what is beyond may be there, too, since a
    /// mask has an end.
    told: usize,
    /// Losses of transmissions before this one belong to a round trip that is accounted for.
    recovery: u64,
    /// A timeout had the first packet sent again.
    timed_out: bool,
    duplicates: u32,
    /// What may merely be late counts as lost from then on.
    overdue_at: Option<Instant>,
    closing: bool,
    end_sent: bool,
    bytes_peak: Peak,
    packets_peak: Peak,
}

impl Outgoing {
    pub(crate) const fn starting_with(first: Seq) -> Self {
        Self {
            bytes: VecDeque::new(),
            kept_from: 0,
            packed_to: 0,
            packets: VecDeque::new(),
            first,
            flying: 0,
            lost: 0,
            lost_from: 0,
            order: 0,
            arrived: None,
            told: 0,
            recovery: 0,
            timed_out: false,
            duplicates: 0,
            overdue_at: None,
            closing: false,
            end_sent: false,
            bytes_peak: Peak::new(),
            packets_peak: Peak::new(),
        }
    }

    /// Takes bytes, up to `room`; how many it took.
    pub(crate) fn write(&mut self, slices: &[IoSlice<'_>], room: usize) -> usize {
        let mut count = 0;
        for slice in slices {
            let len = slice.len().min(room - count);
            self.bytes.extend(&slice[..len]);
            count += len;
        }
        self.bytes_peak.note(self.bytes.len());
        count
    }

    /// No more bytes come: the end is told after the last of them.
    pub(crate) const fn close(&mut self) {
        self.closing = true;
    }

    pub(crate) const fn is_closing(&self) -> bool {
        self.closing
    }

    /// Everything, and the end, has arrived.
    pub(crate) fn is_done(&self) -> bool {
        self.end_sent && self.packets.is_empty()
    }

    /// Bytes written and not acknowledged.
    pub(crate) fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Bytes of the first packet that is not acknowledged.
    pub(crate) fn first_len(&self) -> Option<usize> {
        self.packets.front().map(|packet| packet.len)
    }

    pub(crate) fn unpacked(&self) -> usize {
        self.bytes.len() - (self.packed_to - self.kept_from) as usize
    }

    pub(crate) const fn flying(&self) -> usize {
        self.flying
    }

    /// Packets were sent whose fate is not known.
    pub(crate) fn is_waiting(&self) -> bool {
        !self.packets.is_empty()
    }

    /// The number of the next new packet.
    pub(crate) fn next_seq(&self) -> Seq {
        self.first.plus(self.packets.len() as u16)
    }

    /// Something waits to be sent, or to be sent again.
    pub(crate) fn has_something(&self) -> bool {
        self.lost > 0 || self.has_new()
    }

    fn has_new(&self) -> bool {
        self.packets.len() < FLIGHT_PACKETS_MAX
            && (self.unpacked() > 0 || (self.closing && !self.end_sent))
    }

    /// An acknowledgement that the peer can have sent, perhaps a late one.
    pub(crate) fn is_plausible(&self, ack: Seq) -> bool {
        let count = ack.since(self.first) + 1;
        (-LATE_MAX..=self.packets.len() as i32).contains(&count)
    }

    /// A later acknowledgement came before this one.
    pub(crate) const fn is_late(&self, ack: Seq) -> bool {
        ack.since(self.first) < -1
    }

    /// Whether somebody who got one of our latest packets may name that number. What only acknowledges bears
    /// the number of the next one.
    pub(crate) fn is_outstanding(&self, seq: Seq) -> bool {
        (-1..=self.packets.len() as i32).contains(&seq.since(self.first))
    }

    /// The lost packet that should be sent first.
    pub(crate) fn next_lost(&mut self) -> Option<Piece> {
        if self.lost == 0 {
            return None;
        }
        while let Some(packet) = self.packets.get(self.lost_from) {
            if packet.state == State::Lost {
                return Some(self.piece(self.lost_from));
            }
            self.lost_from += 1;
        }
        None
    }

    /// A new packet with at most `len` bytes.
    pub(crate) fn next_new(&self, len: usize) -> Option<Piece> {
        if !self.has_new() {
            return None;
        }
        let len = self.unpacked().min(len);
        let is_end = len == 0;
        Some(Piece { seq: self.next_seq(), len, is_end, offset: self.packed_to })
    }

    fn piece(&self, at: usize) -> Piece {
        let packet = &self.packets[at];
        let seq = self.first.plus(at as u16);
        Piece { seq, len: packet.len, is_end: packet.is_end, offset: packet.offset }
    }

    /// Appends the bytes of a packet.
    pub(crate) fn copy(&self, piece: Piece, out: &mut Vec<u8>) {
        let begin = (piece.offset - self.kept_from) as usize;
        let (front, back) = self.bytes.as_slices();
        let end = begin + piece.len;
        let split = front.len();
        out.extend_from_slice(&front[begin.min(split)..end.min(split)]);
        out.extend_from_slice(&back[begin.max(split) - split..end.max(split) - split]);
    }

    /// A packet from [`Outgoing::next_lost`] or [`Outgoing::next_new`] was sent.
    pub(crate) fn on_sent(&mut self, now: Instant, piece: Piece, probe: Option<usize>) {
        let order = self.order;
        self.order += 1;
        self.flying += piece.len;
        let at = piece.seq.since(self.first) as usize;
        if let Some(packet) = self.packets.get_mut(at) {
            self.lost -= usize::from(packet.state == State::Lost);
            packet.state = State::Flying;
            (packet.sent_at, packet.order, packet.probe) = (now, order, None);
            packet.transmissions += 1;
            return;
        }
        self.packed_to += piece.len as u64;
        self.end_sent |= piece.is_end;
        self.packets.push_back(Sent {
            offset: piece.offset,
            len: piece.len,
            sent_at: now,
            order,
            transmissions: 1,
            state: State::Flying,
            probe,
            is_end: piece.is_end,
        });
        self.packets_peak.note(self.packets.len());
    }

    /// Takes an acknowledgement; `early` are numbers that arrived although one before them did not,
    /// `least_rtt` the shortest round trip and `reordering` how late a packet may be.
    pub(crate) fn on_ack(
        &mut self,
        now: Instant,
        ack: Seq,
        early: impl Iterator<Item = Seq>,
        repeats: bool,
        least_rtt: Duration,
        reordering: Duration,
    ) -> Outcome {
        let mut outcome = Outcome::default();
        let count = ack.since(self.first) + 1;
        if count < 0 || count as usize > self.packets.len() {
            return outcome;
        }
        let mut latest = None;
        for at in 0..count as usize {
            self.arrive(at, now, least_rtt, &mut latest, &mut outcome);
        }
        self.forget(count as usize);
        let mut last_early = None;
        for seq in early {
            let at = seq.since(self.first);
            if at > 0 && (at as usize) < self.packets.len() {
                self.arrive(at as usize, now, least_rtt, &mut latest, &mut outcome);
                last_early = last_early.max(Some(at as usize));
            }
        }
        self.told = self.told.max(last_early.map_or(0, |at| at + 1));
        outcome.rtt = latest.and_then(|(_, rtt)| rtt);
        self.count_duplicates(count, repeats && last_early.is_none(), &mut outcome);
        self.find_lost(now, reordering, &mut outcome);
        outcome
    }

    /// A packet arrived. `latest` is the last transmitted of those that this acknowledgement brought, and its
    /// round trip if that is certain.
    fn arrive(
        &mut self,
        at: usize,
        now: Instant,
        least_rtt: Duration,
        latest: &mut Option<(u64, Option<Duration>)>,
        outcome: &mut Outcome,
    ) {
        let packet = &mut self.packets[at];
        let before = std::mem::replace(&mut packet.state, State::Arrived);
        match before {
            State::Arrived => return,
            State::Flying => self.flying -= packet.len,
            State::Lost => self.lost -= 1,
        }
        outcome.acked += packet.len;
        if let Some(len) = packet.probe {
            outcome.probe_passed = Some(len);
        }
        let took = now.saturating_duration_since(packet.sent_at);
        // Of a packet that was sent twice, the first may be what arrived: too quick, so it is.
        let certain = packet.transmissions == 1 || took >= least_rtt;
        if certain {
            self.arrived = self.arrived.max(Some(packet.order));
            let rtt = (packet.transmissions == 1).then_some(took);
            if latest.is_none_or(|(order, _)| order < packet.order) {
                *latest = Some((packet.order, rtt));
            }
        }
    }

    /// The first packets arrived: their bytes are not needed any more.
    fn forget(&mut self, count: usize) {
        let len: usize = self.packets.drain(..count).map(|packet| packet.len).sum();
        self.bytes.drain(..len);
        if self.bytes.is_empty() {
            self.bytes.clear();
        }
        self.kept_from += len as u64;
        self.first = self.first.plus(count as u16);
        self.lost_from = self.lost_from.saturating_sub(count);
        self.told = self.told.saturating_sub(count);
        self.timed_out &= count == 0;
    }

    /// Peers without selective acknowledgements repeat the last one for each packet that comes early.
    fn count_duplicates(&mut self, count: i32, repeats: bool, outcome: &mut Outcome) {
        if count > 0 || !repeats || self.packets.is_empty() {
            self.duplicates = 0;
            return;
        }
        self.duplicates += 1;
        if self.duplicates == THRESHOLD as u32 && self.packets[0].state == State::Flying {
            self.lose(0, outcome);
        }
    }

    /// Finds what was sent long enough before something that arrived, of the packets that the peer told of: the
    /// first, since it is not acknowledged, and those before the last that came early (as RFC 6675 does).
    fn find_lost(&mut self, now: Instant, reordering: Duration, outcome: &mut Outcome) {
        self.overdue_at = None;
        let Some(arrived) = self.arrived else { return };
        let mut at = 0;
        while at < self.told.max(1)
            && let Some(packet) = self.packets.get(at)
        {
            if packet.order >= arrived && packet.transmissions == 1 {
                // Those after it were sent after it, or are sent again already.
                break;
            }
            if packet.state == State::Flying && packet.order < arrived {
                let overdue_at = packet.sent_at + reordering;
                if packet.order + THRESHOLD <= arrived || overdue_at <= now {
                    self.lose(at, outcome);
                } else {
                    self.overdue_at =
                        Some(self.overdue_at.map_or(overdue_at, |other| other.min(overdue_at)));
                }
            }
            at += 1;
        }
    }

    fn mark_lost(&mut self, at: usize) -> &Sent {
        let packet = &mut self.packets[at];
        packet.state = State::Lost;
        self.flying -= packet.len;
        self.lost += 1;
        self.lost_from = self.lost_from.min(at);
        packet
    }

    fn lose(&mut self, at: usize, outcome: &mut Outcome) {
        let packet = *self.mark_lost(at);
        if let Some(len) = packet.probe {
            // It was longer than the others: that says nothing about a queue.
            outcome.probe_lost = Some(len);
        } else if packet.order >= self.recovery {
            self.recovery = self.order;
            outcome.congested = true;
        }
    }

    /// Time has passed: what was late enough is lost.
    pub(crate) fn on_overdue(&mut self, now: Instant, reordering: Duration) -> Outcome {
        let mut outcome = Outcome::default();
        if self.overdue_at.is_some_and(|at| at <= now) {
            self.find_lost(now, reordering, &mut outcome);
        }
        outcome
    }

    pub(crate) const fn poll_timeout(&self) -> Option<Instant> {
        self.overdue_at
    }

    /// Nothing came back for too long: all of it counts as lost. It is no news of the path when the first packet
    /// was sent again for that reason before.
    pub(crate) fn on_timeout(&mut self) -> Outcome {
        let mut outcome = Outcome::default();
        for at in 0..self.packets.len() {
            if self.packets[at].state == State::Flying {
                self.lose(at, &mut outcome);
            }
        }
        outcome.congested = !std::mem::replace(&mut self.timed_out, true);
        self.recovery = self.order;
        self.overdue_at = None;
        outcome
    }

    /// The peer had no room for that packet, and has now: it is sent again, and nothing follows from it.
    pub(crate) fn on_room(&mut self, refused: Seq) {
        self.timed_out = false;
        let at = refused.since(self.first);
        if at >= 0 && self.packets.get(at as usize).is_some_and(|one| one.state == State::Flying) {
            self.mark_lost(at as usize);
        }
    }

    /// The last packet in flight is to be sent once more: if it was lost, nothing behind it tells. That is a
    /// question, not a loss; the answer may tell of one.
    pub(crate) fn lose_last(&mut self) -> Outcome {
        let mut outcome = Outcome::default();
        if let Some(at) = self.packets.iter().rposition(|packet| packet.state == State::Flying) {
            outcome.probe_lost = self.mark_lost(at).probe;
        }
        outcome
    }

    /// Gives back memory that was not used since the last call.
    pub(crate) fn trim(&mut self) {
        self.bytes_peak.trim(&mut self.bytes);
        self.packets_peak.trim(&mut self.packets);
    }

    #[cfg(test)]
    pub(crate) fn allocated(&self) -> usize {
        self.bytes.capacity() + self.packets.capacity() * size_of::<Sent>()
    }
}

/// Transmissions that may overtake one before it counts as lost (BEP 29: three).
const THRESHOLD: u64 = 3;

#[cfg(test)]
mod tests;
