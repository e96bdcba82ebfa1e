//! Strangers that sent a SYN. They become connections when they show that our answer reached them, so a
//! forged address costs one answer as long as the question, and a place here for a moment.

use std::collections::{HashMap, VecDeque};
use std::net::{IpAddr, SocketAddr};
use std::time::Instant;

use proto::utp::Seq;

use crate::limits::{HALF_OPEN_FOR, HALF_OPEN_MAX, HALF_OPEN_PER_SOURCE};

/// The address and the id of the packets that belong to it.
pub(crate) type Id = (SocketAddr, u16);

/// One stranger.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Stranger {
    /// The number of its SYN.
    pub(crate) syn: Seq,
    /// Our first number.
    pub(crate) ours: Seq,
}

/// All of them.
#[derive(Debug, Default)]
pub(crate) struct HalfOpen {
    strangers: HashMap<Id, (Stranger, Instant)>,
    /// Oldest first; entries of those that are gone stay until their time.
    order: VecDeque<(Instant, Id)>,
    per_source: HashMap<IpAddr, usize>,
}

impl HalfOpen {
    /// Takes a SYN; `ours` is the number that we would begin with. `None` when its source has too many.
    pub(crate) fn knock(&mut self, now: Instant, id: Id, syn: Seq, ours: Seq) -> Option<Stranger> {
        self.expire(now);
        if let Some((known, _)) = self.strangers.get(&id)
            && known.syn == syn
        {
            return Some(*known);
        }
        self.remove(id);
        if self.per_source.get(&id.0.ip()).is_some_and(|&count| count >= HALF_OPEN_PER_SOURCE) {
            return None;
        }
        while self.order.len() >= HALF_OPEN_MAX {
            self.drop_oldest();
        }
        let stranger = Stranger { syn, ours };
        self.strangers.insert(id, (stranger, now));
        self.order.push_back((now, id));
        *self.per_source.entry(id.0.ip()).or_default() += 1;
        Some(stranger)
    }

    pub(crate) fn find(&self, id: Id) -> Option<Stranger> {
        self.strangers.get(&id).map(|(stranger, _)| *stranger)
    }

    pub(crate) fn remove(&mut self, id: Id) {
        if self.strangers.remove(&id).is_none() {
            return;
        }
        if let Some(count) = self.per_source.get_mut(&id.0.ip()) {
            *count -= 1;
            if *count == 0 {
                self.per_source.remove(&id.0.ip());
            }
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.strangers.len()
    }

    fn expire(&mut self, now: Instant) {
        while self.order.front().is_some_and(|(since, _)| *since + HALF_OPEN_FOR <= now) {
            self.drop_oldest();
        }
    }

    fn drop_oldest(&mut self) {
        let Some((since, id)) = self.order.pop_front() else { return };
        // It may have left and come again since.
        if self.strangers.get(&id).is_some_and(|(_, known)| *known == since) {
            self.remove(id);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_now;

    fn id(host: u16, id: u16) -> Id {
        let [high, low] = host.to_be_bytes();
        (([10, 0, high, low], 6881).into(), id)
    }

    #[test]
    fn repeated_syn_gets_the_same_answer() {
        let (mut half_open, now) = (HalfOpen::default(), test_now());
        let first = half_open.knock(now, id(1, 1), Seq(7), Seq(100));
        assert_eq!(half_open.knock(now, id(1, 1), Seq(7), Seq(200)), first);
        assert_eq!(half_open.len(), 1);
    }

    #[test]
    fn one_source_cannot_take_all_places() {
        let (mut half_open, now) = (HalfOpen::default(), test_now());
        for number in 0..1_000 {
            half_open.knock(now, id(1, number), Seq(1), Seq(1));
        }
        assert_eq!(half_open.len(), HALF_OPEN_PER_SOURCE);
        for host in 0..5_000 {
            assert!(half_open.knock(now, id(host + 2, 1), Seq(1), Seq(1)).is_some());
            assert!(half_open.order.len() <= HALF_OPEN_MAX);
        }
        assert_eq!(half_open.len(), HALF_OPEN_MAX);
    }

    #[test]
    fn strangers_are_forgotten() {
        let (mut half_open, now) = (HalfOpen::default(), test_now());
        for number in 0..5 {
            half_open.knock(now, id(1, number), Seq(1), Seq(1));
        }
        half_open.knock(now + HALF_OPEN_FOR, id(9, 9), Seq(1), Seq(1));
        assert_eq!((half_open.len(), half_open.per_source.len()), (1, 1));
    }
}
