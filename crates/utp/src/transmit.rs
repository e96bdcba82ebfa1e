//! What a connection sends: its SYN, trains of data packets of one length, or an acknowledgement alone.

use std::net::SocketAddr;
use std::time::Instant;

use proto::utp::{HEADER_LEN, Header, Kind, Seq};

use crate::connection::{Connection, State};
use crate::limits::{RTO_INITIAL, TRAIN_MAX};
use crate::outgoing::Piece;

/// Datagrams for one address, back to back in the buffer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Transmit {
    /// Where they go.
    pub to: SocketAddr,
    /// Bytes of each; the last may be shorter.
    pub segment_len: usize,
    /// Bytes of all, at the end of the buffer that was given.
    pub len: usize,
    /// It must not be fragmented on its way: it tries out a length.
    pub probe: bool,
}

/// Datagrams of one length, being written.
struct Train<'a> {
    out: &'a mut Vec<u8>,
    begin: usize,
    segment_len: usize,
    count: usize,
    probe: bool,
}

impl Train<'_> {
    /// Another datagram of that length may follow.
    const fn takes(&self, len: usize) -> bool {
        self.count == 0
            || (len <= self.segment_len
                && self.count < TRAIN_MAX
                && !self.probe
                && (self.out.len() - self.begin).is_multiple_of(self.segment_len))
    }

    const fn push(&mut self, len: usize) {
        if self.count == 0 {
            self.segment_len = len;
        }
        self.count += 1;
    }
}

impl Connection {
    /// Appends datagrams to `out`, as many as may leave now and are of one length; `None` when there is
    /// nothing to send.
    pub(crate) fn poll_transmit(
        &mut self,
        now: Instant,
        micros: u32,
        mask: &mut Vec<u8>,
        out: &mut Vec<u8>,
    ) -> Option<Transmit> {
        let begin = out.len();
        let mut train = Train { out, begin, segment_len: 0, count: 0, probe: false };
        match self.state {
            State::SynSent { tries, due } if due <= now => {
                self.push_syn(now, micros, tries, &mut train)
            }
            State::Connected => self.push_data(now, micros, &mut train),
            State::SynSent { .. } | State::TimeWait(_) | State::Ended(_) | State::Gone => {}
        }
        let may_acknowledge = matches!(self.state, State::Connected | State::TimeWait(_));
        if train.count == 0 && may_acknowledge && self.acks.is_due(now) {
            self.push_acknowledgement(now, micros, mask, &mut train);
        }
        if train.count == 0 {
            return None;
        }
        self.sent_at = now;
        let (segment_len, probe) = (train.segment_len, train.probe);
        Some(Transmit { to: self.peer, segment_len, len: out.len() - begin, probe })
    }

    fn push_syn(&mut self, now: Instant, micros: u32, tries: u32, train: &mut Train<'_>) {
        let header = Header {
            connection_id: self.receive_id,
            ack: Seq(0),
            ..self.header(now, micros, Kind::Syn, self.outgoing.next_seq().minus(1))
        };
        header.encode(&[], train.out);
        train.push(HEADER_LEN);
        let due = now + RTO_INITIAL * (1 << tries.min(4));
        self.state = State::SynSent { tries: tries + 1, due };
    }

    fn push_data(&mut self, now: Instant, micros: u32, train: &mut Train<'_>) {
        self.paced_until = None;
        if !self.outgoing.has_something() {
            self.probe_window_at = None;
            return;
        }
        let rate = self.rate();
        if let Some(rate) = rate {
            self.pacer.refill(now, rate, self.packet_len.get());
        }
        while let Some((piece, probe)) = self.next_piece(now) {
            let len = HEADER_LEN + piece.len;
            if !train.takes(len) || (probe && train.count > 0) {
                break;
            }
            if !self.permit {
                if !self.window_admits(now, piece) {
                    break;
                }
                if let Some(rate) = rate.filter(|_| !self.pacer.is_open()) {
                    self.paced_until = Some(self.pacer.opens_at(rate));
                    break;
                }
            }
            self.permit = false;
            self.pacer.spend(len);
            self.push_piece(now, micros, piece, probe, train);
        }
    }

    /// What should be sent next, and whether it tries out a length.
    fn next_piece(&mut self, now: Instant) -> Option<(Piece, bool)> {
        if let Some(piece) = self.outgoing.next_lost() {
            return Some((piece, false));
        }
        let payload = self.packet_len.get() - HEADER_LEN;
        if let Some(len) = self.packet_len.poll_probe() {
            // Only where it costs nothing: a probe that is lost holds up what follows it.
            let probe_payload = len - HEADER_LEN;
            if self.outgoing.unpacked() >= 4 * probe_payload
                && self.window(now).min(self.peer_window) >= self.outgoing.flying() + probe_payload
                && self.congestion.window() >= 8 * probe_payload
            {
                return Some((self.outgoing.next_new(probe_payload)?, true));
            }
        }
        Some((self.outgoing.next_new(payload)?, false))
    }

    /// Both windows have room for a packet. With nothing in flight, a congestion window smaller than the packet
    /// stops nothing, and a peer without room for it is asked from time to time.
    fn window_admits(&mut self, now: Instant, piece: Piece) -> bool {
        let (len, flying) = (piece.len, self.outgoing.flying());
        if flying + len <= self.window(now).min(self.peer_window) {
            return true;
        }
        if flying > 0 || self.peer_window >= len {
            self.probe_window_at = None;
            return flying == 0;
        }
        let timeout = self.rtt.timeout();
        let is_due = *self.probe_window_at.get_or_insert_with(|| now + timeout) <= now;
        if is_due {
            self.probe_window_at = None;
            self.window_probe = Some(piece.seq);
        }
        is_due
    }

    /// Bytes a second that the window comes to, and some more, so that it is the window that limits.
    fn rate(&self) -> Option<f64> {
        let rtt = self.rtt.smoothed()?.as_secs_f64().max(1e-5);
        let ahead = if self.congestion.is_slow_start() { 2.0 } else { 1.25 };
        Some(ahead * self.congestion.window() as f64 / rtt)
    }

    fn push_piece(
        &mut self,
        now: Instant,
        micros: u32,
        piece: Piece,
        probe: bool,
        train: &mut Train<'_>,
    ) {
        let kind = if piece.is_end { Kind::Fin } else { Kind::Data };
        self.header(now, micros, kind, piece.seq).encode(&[], train.out);
        self.outgoing.copy(piece, train.out);
        if !self.outgoing.is_waiting() {
            self.progress_at = now;
        }
        let len = HEADER_LEN + piece.len;
        self.outgoing.on_sent(now, piece, probe.then_some(len));
        if probe {
            self.packet_len.on_probe_sent();
            train.probe = true;
        }
        self.data_sent_at = now;
        self.advertised = self.incoming.room();
        if !self.incoming.has_gap() {
            // Data packets say how far we are, but not what came beyond a gap.
            self.acks.on_sent();
        }
        train.push(len);
    }

    fn push_acknowledgement(
        &mut self,
        now: Instant,
        micros: u32,
        mask: &mut Vec<u8>,
        train: &mut Train<'_>,
    ) {
        self.incoming.mask(mask);
        self.header(now, micros, Kind::State, self.outgoing.next_seq()).encode(mask, train.out);
        self.acks.on_sent();
        self.advertised = self.incoming.room();
        train.push(train.out.len() - train.begin);
    }

    fn header(&self, now: Instant, micros: u32, kind: Kind, seq: Seq) -> Header {
        Header {
            kind,
            connection_id: self.send_id,
            sent_micros: micros,
            delay_micros: self.reply_delay,
            window: self.offered(now) as u32,
            seq,
            ack: self.incoming.last(),
        }
    }
}
