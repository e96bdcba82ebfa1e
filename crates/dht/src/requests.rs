//! Questions under way: to whom, what for, and how long an answer may take.
//!
//! An answer counts when it comes from the address that was asked, under the number that the question
//! had. How long to wait follows from the answers that came: after the *patience* a question is slow
//! and its lookup asks another node beside it; after three times as long nobody waits any more.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use proto::dht::NodeId;

use crate::limits::{PATIENCE_FIRST, PATIENCE_MAX, PATIENCE_MIN, PATIENCES_DEAD, REQUESTS_MAX};
use chance::Secrets;

/// What a question is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// Is it there?
    Ping,
    /// A step of that lookup.
    Lookup(u64),
    /// The announce at the end of that lookup.
    Announce(u64),
}

/// A question under way.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Request {
    pub(crate) to: SocketAddr,
    /// The node that should answer, when it is known.
    pub(crate) id: Option<NodeId>,
    pub(crate) purpose: Purpose,
    sent_at: Instant,
    slow_at: Instant,
    dead_at: Instant,
    slow: bool,
}

/// What time does to a question.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Late {
    /// It takes longer than most.
    Slow(Request),
    /// It will not be answered.
    Dead(Request),
}

/// The questions under way.
#[derive(Debug, Default)]
pub(crate) struct Requests {
    pending: BTreeMap<u32, Request>,
    round_trip: RoundTrip,
}

impl Requests {
    /// Starts a question; the number that it carries. `None` when too many are under way.
    pub(crate) fn start(
        &mut self,
        now: Instant,
        to: SocketAddr,
        id: Option<NodeId>,
        purpose: Purpose,
        chance: &mut Secrets,
    ) -> Option<u32> {
        if self.pending.len() >= REQUESTS_MAX {
            return None;
        }
        let number = loop {
            let number = chance.number() as u32;
            if !self.pending.contains_key(&number) {
                break number;
            }
        };
        let patience = self.round_trip.patience();
        let (slow_at, dead_at) = (now + patience, now + patience * PATIENCES_DEAD);
        let request = Request { to, id, purpose, sent_at: now, slow_at, dead_at, slow: false };
        self.pending.insert(number, request);
        Some(number)
    }

    /// An answer came; the question, if it was asked there.
    pub(crate) fn finish(
        &mut self,
        now: Instant,
        from: SocketAddr,
        transaction: &[u8],
    ) -> Option<Request> {
        let number = u32::from_be_bytes(transaction.try_into().ok()?);
        if self.pending.get(&number)?.to != from {
            return None;
        }
        let request = self.pending.remove(&number)?;
        self.round_trip.on_sample(now.duration_since(request.sent_at));
        Some(request)
    }

    pub(crate) fn is_asked(&self, to: SocketAddr) -> bool {
        self.pending.values().any(|request| request.to == to)
    }

    /// The questions whose time has come.
    pub(crate) fn late(&mut self, now: Instant) -> Vec<Late> {
        let dead: Vec<_> = self
            .pending
            .iter()
            .filter(|(_, request)| request.dead_at <= now)
            .map(|(number, _)| *number)
            .collect();
        let mut late: Vec<_> = dead
            .into_iter()
            .filter_map(|number| self.pending.remove(&number))
            .map(Late::Dead)
            .collect();
        for request in self.pending.values_mut() {
            if !request.slow && request.slow_at <= now {
                request.slow = true;
                late.push(Late::Slow(*request));
            }
        }
        late
    }

    pub(crate) fn next_at(&self) -> Option<Instant> {
        let due = |request: &Request| if request.slow { request.dead_at } else { request.slow_at };
        self.pending.values().map(due).min()
    }
}

/// How long answers take, smoothed as TCP does (RFC 6298).
#[derive(Debug, Default)]
struct RoundTrip {
    mean: Option<Duration>,
    deviation: Duration,
}

impl RoundTrip {
    fn on_sample(&mut self, sample: Duration) {
        let Some(mean) = self.mean else {
            (self.mean, self.deviation) = (Some(sample), sample / 2);
            return;
        };
        self.deviation = (3 * self.deviation + mean.abs_diff(sample)) / 4;
        self.mean = Some((7 * mean + sample) / 8);
    }

    fn patience(&self) -> Duration {
        let learnt = self.mean.map(|mean| mean + 4 * self.deviation);
        learnt.unwrap_or(PATIENCE_FIRST).clamp(PATIENCE_MIN, PATIENCE_MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addr(last: u8) -> SocketAddr {
        SocketAddr::from(([1, 2, 3, last], 1))
    }

    #[test]
    fn an_answer_counts_from_where_it_was_asked_and_once() {
        let now = crate::test_now();
        let mut chance = Secrets::new([1; 16]);
        let mut requests = Requests::default();
        let number = requests.start(now, addr(1), None, Purpose::Ping, &mut chance).expect("room");
        let transaction = number.to_be_bytes();
        assert!(requests.finish(now, addr(2), &transaction).is_none(), "another address");
        assert!(requests.finish(now, addr(1), &transaction[1..]).is_none());
        assert!(requests.is_asked(addr(1)));
        assert!(requests.finish(now, addr(1), &transaction).is_some());
        assert!(requests.finish(now, addr(1), &transaction).is_none(), "a second time");
    }

    #[test]
    fn questions_become_slow_and_then_dead_at_the_pace_of_the_network() {
        let mut now = crate::test_now();
        let mut chance = Secrets::new([1; 16]);
        let mut requests = Requests::default();
        let mut ask = |requests: &mut Requests, now| {
            requests.start(now, addr(1), None, Purpose::Lookup(7), &mut chance).expect("room")
        };
        ask(&mut requests, now);
        assert_eq!(requests.next_at(), Some(now + PATIENCE_FIRST));
        let late = requests.late(now + PATIENCE_FIRST);
        assert!(matches!(late[..], [Late::Slow(_)]));
        assert_eq!(requests.next_at(), Some(now + PATIENCE_FIRST * PATIENCES_DEAD));
        let late = requests.late(now + PATIENCE_FIRST * PATIENCES_DEAD);
        assert!(matches!(late[..], [Late::Dead(_)]));
        assert_eq!(requests.next_at(), None);
        for _ in 0..30 {
            let number = ask(&mut requests, now);
            now += Duration::from_millis(100);
            let _ = requests.finish(now, addr(1), &number.to_be_bytes());
        }
        ask(&mut requests, now);
        assert_eq!(
            requests.next_at(),
            Some(now + PATIENCE_MIN),
            "a fast network is not waited for"
        );
    }

    #[test]
    fn questions_are_bounded() {
        let now = crate::test_now();
        let mut chance = Secrets::new([1; 16]);
        let mut requests = Requests::default();
        let asked = (0..2 * REQUESTS_MAX)
            .filter_map(|_| requests.start(now, addr(1), None, Purpose::Ping, &mut chance));
        assert_eq!(asked.count(), REQUESTS_MAX);
    }
}
