//! The receiving half of a stream: puts packets in order, holds bytes until they are read.

use std::collections::VecDeque;
use std::io::IoSliceMut;

use proto::utp::Seq;

use crate::limits::{
    EARLY_PACKETS_MAX, EARLY_SLOT_LEN, LATE_MAX, RECEIVE_LEN_MAX, RECEIVE_LEN_MIN, SACK_LEN,
};
use crate::peak::Peak;

/// What became of a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Received {
    /// It was the next one.
    InOrder,
    /// One before it is missing.
    Early,
    /// It came before.
    Repeated,
    /// There is no room for it.
    NoRoom,
    /// Its number is none that the peer could have sent.
    Forged,
}

/// Bytes that came in.
#[derive(Debug)]
pub(crate) struct Incoming {
    ready: VecDeque<u8>,
    ready_peak: Peak,
    /// The number of the next packet.
    next: Seq,
    /// Packets after the next one, which is missing: the first is the next but one, the last is there.
    early: VecDeque<Option<Vec<u8>>>,
    /// Bytes of their payloads.
    early_len: usize,
    /// The number of the last packet of all, once it is known.
    end: Option<Seq>,
    /// Bytes that may wait here.
    capacity: usize,
    /// Bytes until the capacity grows.
    until_growth: usize,
    /// Nobody will read: only the numbers of packets are kept.
    discarding: bool,
}

impl Incoming {
    /// Nothing came after `last`.
    pub(crate) const fn after(last: Seq) -> Self {
        Self {
            ready: VecDeque::new(),
            ready_peak: Peak::new(),
            next: last.plus(1),
            early: VecDeque::new(),
            early_len: 0,
            end: None,
            capacity: RECEIVE_LEN_MIN,
            until_growth: 2 * RECEIVE_LEN_MIN,
            discarding: false,
        }
    }

    /// The last packet that came with all before it.
    pub(crate) const fn last(&self) -> Seq {
        self.next.minus(1)
    }

    /// Takes a packet. Without `may_hold` only the next one is taken.
    pub(crate) fn receive(
        &mut self,
        seq: Seq,
        payload: &[u8],
        is_end: bool,
        may_hold: bool,
    ) -> Received {
        let ahead = seq.since(self.next);
        if ahead < 0 {
            return if ahead >= -LATE_MAX { Received::Repeated } else { Received::Forged };
        }
        if self.end.is_some_and(|end| seq.since(end) > 0 || (is_end && seq != end)) {
            return Received::Forged;
        }
        if ahead as usize > EARLY_PACKETS_MAX {
            return Received::Forged;
        }
        // What fills the gap lets all behind it be read: early packets must not keep it out, or nothing ever
        // moves. So what waits comes to twice the capacity at most.
        let taken = if ahead == 0 { self.ready.len() } else { self.ready.len() + self.early_len };
        if payload.len() > self.capacity.saturating_sub(taken) {
            return Received::NoRoom;
        }
        if is_end {
            self.set_end(seq);
        }
        if ahead == 0 {
            self.push(payload);
            self.advance();
            return Received::InOrder;
        }
        if !may_hold || (payload.is_empty() && !is_end) {
            // Nobody sends packets without bytes, except to have us keep their places.
            return Received::NoRoom;
        }
        let at = ahead as usize - 1;
        if self.early.len() <= at {
            self.early.resize(at + 1, None);
        }
        if self.early[at].is_some() {
            return Received::Repeated;
        }
        let kept = if self.discarding { &[] } else { payload };
        self.early_len += kept.len();
        self.early[at] = Some(kept.to_vec());
        Received::Early
    }

    /// Packets beyond the end, which a confused peer may have sent, are not.
    fn set_end(&mut self, end: Seq) {
        self.end = Some(end);
        let kept = end.since(self.next).max(0) as usize;
        for dropped in self.early.drain(kept.min(self.early.len())..).flatten() {
            self.early_len -= dropped.len();
        }
        while let Some(None) = self.early.back() {
            self.early.pop_back();
        }
        self.release();
    }

    /// The next packet is here; so may be some after it.
    fn advance(&mut self) {
        self.next = self.next.plus(1);
        while let Some(Some(payload)) = self.early.pop_front() {
            self.early_len -= payload.len();
            self.push(&payload);
            self.next = self.next.plus(1);
        }
        self.release();
    }

    /// Places of many early packets are not kept for the next time.
    fn release(&mut self) {
        if self.early.is_empty() && self.early.capacity() > EARLY_KEPT {
            self.early = VecDeque::new();
        }
    }

    fn push(&mut self, payload: &[u8]) {
        if self.discarding {
            return;
        }
        self.ready.extend(payload);
        self.ready_peak.note(self.ready.len());
        self.until_growth = self.until_growth.saturating_sub(payload.len());
    }

    /// Reads what is there; how many bytes it was.
    pub(crate) fn read(&mut self, slices: &mut [IoSliceMut<'_>]) -> usize {
        let (front, back) = self.ready.as_slices();
        let mut count = 0;
        for slice in slices {
            let rest = &front[count.min(front.len())..];
            let first = rest.len().min(slice.len());
            slice[..first].copy_from_slice(&rest[..first]);
            count += first;
            if first == slice.len() {
                continue;
            }
            let rest = &back[count - front.len()..];
            let second = rest.len().min(slice.len() - first);
            slice[first..first + second].copy_from_slice(&rest[..second]);
            count += second;
            if first + second < slice.len() {
                break;
            }
        }
        self.ready.drain(..count);
        if self.ready.is_empty() {
            // The next bytes go to the front, which the cache knows, not to ever new memory.
            self.ready.clear();
        }
        if self.until_growth == 0 && self.ready.is_empty() && self.capacity < RECEIVE_LEN_MAX {
            self.capacity = (self.capacity * 2).min(RECEIVE_LEN_MAX);
            self.until_growth = 2 * self.capacity;
        }
        count
    }

    /// Forgets what nobody will read, now and from now on. That packets came early is not taken back: the peer
    /// was told, and would not send them again.
    pub(crate) fn discard(&mut self) {
        self.discarding = true;
        self.ready = VecDeque::new();
        for payload in self.early.iter_mut().flatten() {
            *payload = Vec::new();
        }
        self.early_len = 0;
    }

    /// Gives back memory that was not used since the last call.
    pub(crate) fn trim(&mut self) {
        self.ready_peak.trim(&mut self.ready);
    }

    #[cfg(test)]
    pub(crate) fn allocated(&self) -> usize {
        self.ready.capacity()
    }

    pub(crate) fn is_readable(&self) -> bool {
        !self.ready.is_empty() || self.is_ended()
    }

    /// All bytes of the stream came; some may still wait to be read.
    pub(crate) fn is_ended(&self) -> bool {
        self.end.is_some_and(|end| self.next.since(end) > 0)
    }

    /// Bytes that there is room for.
    pub(crate) fn room(&self) -> usize {
        self.capacity.saturating_sub(self.ready.len() + self.early_len)
    }

    pub(crate) const fn capacity(&self) -> usize {
        self.capacity
    }

    /// Something came that one before it is missing for.
    pub(crate) fn has_gap(&self) -> bool {
        !self.early.is_empty()
    }

    /// Bytes that packets cost that came too early: theirs, and those of their places.
    pub(crate) fn early_cost(&self) -> usize {
        self.early_len + self.early.len() * EARLY_SLOT_LEN
    }

    /// Writes the mask of a selective acknowledgement: whole words, empty when nothing came early.
    pub(crate) fn mask(&self, mask: &mut Vec<u8>) {
        mask.clear();
        if self.early.is_empty() {
            return;
        }
        let bits = self.early.len().min(SACK_LEN * 8);
        mask.resize(bits.div_ceil(32) * 4, 0);
        for (at, _) in self.early.iter().take(bits).enumerate().filter(|(_, early)| early.is_some())
        {
            mask[at / 8] |= 1 << (at % 8);
        }
    }
}

/// Places for early packets that are kept when there are none.
const EARLY_KEPT: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    fn incoming() -> Incoming {
        Incoming::after(Seq(65_534))
    }

    fn take(incoming: &mut Incoming, seq: u16, payload: &[u8]) -> Received {
        incoming.receive(Seq(seq), payload, false, true)
    }

    fn all(incoming: &mut Incoming) -> Vec<u8> {
        let mut bytes = vec![0; 100];
        // Slices of odd lengths, which no packet fits.
        let (one, rest) = bytes.split_at_mut(3);
        let (two, three) = rest.split_at_mut(1);
        let mut slices = [one, two, three].map(IoSliceMut::new);
        let count = incoming.read(&mut slices);
        bytes.truncate(count);
        bytes
    }

    #[test]
    fn packets_are_put_in_order_across_the_wrap() {
        let mut incoming = incoming();
        assert_eq!(take(&mut incoming, 1, b"ef"), Received::Early);
        assert_eq!(take(&mut incoming, 0, b"d"), Received::Early);
        assert_eq!(take(&mut incoming, 1, b"ef"), Received::Repeated);
        assert_eq!(all(&mut incoming), b"");
        assert_eq!(take(&mut incoming, 65_535, b"abc"), Received::InOrder);
        assert_eq!(take(&mut incoming, 65_535, b"abc"), Received::Repeated);
        assert_eq!(incoming.last(), Seq(1));
        assert_eq!(all(&mut incoming), b"abcdef");
        assert_eq!(incoming.early_cost(), 0);
    }

    #[test]
    fn bytes_are_read_in_order_from_a_buffer_that_wrapped() {
        let mut incoming = Incoming::after(Seq(0));
        let (mut seq, mut written, mut read) = (1, 0_u8, 0_u8);
        for round in 0..500_usize {
            let payload: Vec<u8> =
                (0..round % 37).map(|at| written.wrapping_add(at as u8)).collect();
            written = written.wrapping_add(payload.len() as u8);
            assert_eq!(take(&mut incoming, seq, &payload), Received::InOrder);
            seq += 1;
            let (mut one, mut two) = (vec![0; round % 11], vec![0; round % 13]);
            let count = incoming.read(&mut [&mut one[..], &mut two[..]].map(IoSliceMut::new));
            for &byte in one.iter().chain(&two).take(count) {
                assert_eq!(byte, read);
                read = read.wrapping_add(1);
            }
        }
    }

    #[test]
    fn mask_tells_what_came_early() {
        let (mut incoming, mut mask) = (incoming(), vec![9]);
        incoming.mask(&mut mask);
        assert!(mask.is_empty());
        take(&mut incoming, 0, b"x");
        take(&mut incoming, 35, b"x");
        incoming.mask(&mut mask);
        assert_eq!(mask, [1, 0, 0, 0, 0b1000, 0, 0, 0]);
    }

    #[test]
    fn end_is_told_after_the_last_byte() {
        let mut incoming = incoming();
        assert_eq!(incoming.receive(Seq(0), b"", true, true), Received::Early);
        assert!(!incoming.is_ended());
        assert_eq!(take(&mut incoming, 1, b"beyond"), Received::Forged);
        take(&mut incoming, 65_535, b"last");
        assert!(incoming.is_ended() && incoming.is_readable());
        assert_eq!(all(&mut incoming), b"last");
        assert_eq!(take(&mut incoming, 1, b"beyond"), Received::Forged);
    }

    #[test]
    fn what_came_beyond_the_end_is_forgotten() {
        let mut incoming = incoming();
        take(&mut incoming, 2, b"beyond");
        assert_eq!(incoming.receive(Seq(0), b"", true, true), Received::Early);
        assert_eq!(incoming.early_len, 0);
        take(&mut incoming, 65_535, b"last");
        assert!(incoming.is_ended());
        assert_eq!(all(&mut incoming), b"last");
    }

    #[test]
    fn no_more_is_held_than_was_offered() {
        let mut incoming = incoming();
        let payload = vec![0; 60_000];
        let mut seq = 0;
        while incoming.room() >= payload.len() {
            assert_eq!(take(&mut incoming, seq, &payload), Received::Early);
            seq += 1;
        }
        assert_eq!(take(&mut incoming, seq, &payload), Received::NoRoom);
        assert!(incoming.early_len <= RECEIVE_LEN_MIN);
        assert_eq!(take(&mut incoming, EARLY_PACKETS_MAX as u16, b"far"), Received::Forged);
        assert_eq!(take(&mut incoming, 40_000, b"very late"), Received::Forged);
    }

    #[test]
    fn packet_that_fills_the_gap_is_taken_when_early_ones_fill_the_room() {
        let mut incoming = incoming();
        let (payload, mut seq) = (vec![0; 60_000], 0);
        while take(&mut incoming, seq, &payload) == Received::Early {
            seq += 1;
        }
        assert!(incoming.room() < payload.len());
        assert_eq!(take(&mut incoming, 65_535, &payload), Received::InOrder);
        assert_eq!((incoming.last(), incoming.early_cost()), (Seq(seq - 1), 0));
        assert!(incoming.ready.len() <= 2 * RECEIVE_LEN_MIN);
        assert_eq!(take(&mut incoming, seq, &payload), Received::NoRoom, "nobody reads");
    }

    #[test]
    fn places_of_early_packets_cost_something_until_they_are_gone() {
        let mut incoming = incoming();
        let far = EARLY_PACKETS_MAX as u16 - 1;
        assert_eq!(take(&mut incoming, far, b""), Received::NoRoom);
        assert!(!incoming.has_gap());
        assert_eq!(take(&mut incoming, far, b"x"), Received::Early);
        let places = incoming.early.capacity() * size_of::<Option<Vec<u8>>>();
        assert!(incoming.early_cost() >= places, "{places}");
        // The peer ends its stream before that packet.
        assert_eq!(incoming.receive(Seq(5), b"", true, true), Received::Early);
        assert_eq!(incoming.early_cost(), 6 * EARLY_SLOT_LEN);
        for seq in [65_535, 0, 1, 2, 3, 4] {
            take(&mut incoming, seq, b"x");
        }
        assert!(incoming.is_ended() && !incoming.has_gap());
        assert!(incoming.early.capacity() <= EARLY_KEPT);
    }

    #[test]
    fn what_nobody_will_read_is_not_kept_but_counts_as_come() {
        let (mut incoming, mut mask) = (incoming(), Vec::new());
        take(&mut incoming, 0, &[1; 1_000]);
        incoming.discard();
        take(&mut incoming, 1, &[1; 1_000]);
        assert_eq!(incoming.early_cost(), 2 * EARLY_SLOT_LEN);
        incoming.mask(&mut mask);
        assert_eq!(mask, [3, 0, 0, 0]);
        take(&mut incoming, 65_535, &[1; 1_000]);
        assert_eq!((incoming.last(), incoming.ready.capacity()), (Seq(1), 0));
    }

    #[test]
    fn room_grows_with_what_is_read() {
        let mut incoming = Incoming::after(Seq(0));
        let payload = vec![0; 50_000];
        let mut room = vec![0; 50_000];
        for seq in 1..=2_000 {
            assert_eq!(take(&mut incoming, seq, &payload), Received::InOrder);
            assert_eq!(incoming.read(&mut [IoSliceMut::new(&mut room)]), payload.len());
        }
        assert_eq!(incoming.capacity(), RECEIVE_LEN_MAX);
    }
}
