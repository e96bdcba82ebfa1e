//! A flow such as TCP Reno's, as the other user of a path: doubles, then adds a packet a round trip, halves
//! when a packet is dropped.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use crate::link::Link;

const PACKET: usize = 1_448;

/// The flow, both of its ends.
#[derive(Debug)]
pub(crate) struct Reno {
    window: f64,
    threshold: f64,
    /// When the fate of each packet is known, and whether it arrived.
    flying: VecDeque<(Instant, bool)>,
    back: Duration,
    /// Packets left of the round trip in which one was lost.
    recovering: usize,
    pub(crate) delivered: u64,
    paused: bool,
}

impl Reno {
    pub(crate) const fn new(back: Duration) -> Self {
        Self {
            window: 10.0,
            threshold: f64::INFINITY,
            flying: VecDeque::new(),
            back,
            recovering: 0,
            delivered: 0,
            paused: false,
        }
    }

    /// Sends no more.
    pub(crate) const fn pause(&mut self) {
        self.paused = true;
    }

    /// Takes what is known by now, sends what the window admits; tells when to come again.
    pub(crate) fn act(&mut self, now: Instant, link: &mut Link) -> Instant {
        while let Some(&(known_at, arrived)) = self.flying.front()
            && known_at <= now
        {
            self.flying.pop_front();
            self.recovering = self.recovering.saturating_sub(1);
            if arrived {
                self.delivered += PACKET as u64;
                self.window += if self.window < self.threshold { 1.0 } else { 1.0 / self.window };
            } else if self.recovering == 0 {
                self.window = (self.window / 2.0).max(2.0);
                self.threshold = self.window;
                self.recovering = self.flying.len();
            }
        }
        while !self.paused && (self.flying.len() as f64) < self.window {
            let arrivals = link.send(now, PACKET, false);
            let last = self.flying.back().map_or(now, |(known_at, _)| *known_at);
            let known_at = arrivals.first().map_or(last, |at| *at + self.back);
            self.flying.push_back((known_at.max(last), !arrivals.is_empty()));
        }
        let next = self.flying.front().map_or(now + self.back, |(known_at, _)| *known_at);
        next.max(now + Duration::from_micros(100))
    }
}
