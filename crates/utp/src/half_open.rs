//! Strangers that sent a SYN. They become connections when they show that our answer reached them, so a
//! forged address costs one answer as long as the question, and a place here for a moment.

use std::collections::{HashMap, VecDeque};
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
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
    strangers: HashMap<Id, Stranger>,
    /// Oldest first, each once.
    order: VecDeque<(Instant, Id)>,
    /// By network: see [`source`].
    per_source: HashMap<IpAddr, usize>,
}

impl HalfOpen {
    /// Takes a SYN; `ours` is the number that we would begin with. `None` when its source has too many.
    pub(crate) fn knock(&mut self, now: Instant, id: Id, syn: Seq, ours: Seq) -> Option<Stranger> {
        self.expire(now);
        if let Some(known) = self.strangers.get_mut(&id) {
            if known.syn != syn {
                // It begins anew, in the place that it has: a new one would cost another's.
                *known = Stranger { syn, ours };
            }
            return Some(*known);
        }
        if self.per_source.get(&source(id)).is_some_and(|&count| count >= HALF_OPEN_PER_SOURCE) {
            return None;
        }
        if self.order.len() >= HALF_OPEN_MAX {
            self.drop_oldest();
        }
        let stranger = Stranger { syn, ours };
        self.strangers.insert(id, stranger);
        self.order.push_back((now, id));
        *self.per_source.entry(source(id)).or_default() += 1;
        Some(stranger)
    }

    pub(crate) fn find(&self, id: Id) -> Option<Stranger> {
        self.strangers.get(&id).copied()
    }

    pub(crate) fn remove(&mut self, id: Id) {
        // Its place goes with it, or whoever comes and goes would push out those who wait.
        if let Some(at) = self.order.iter().position(|(_, other)| *other == id) {
            self.order.remove(at);
            self.forget(id);
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
        if let Some((_, id)) = self.order.pop_front() {
            self.forget(id);
        }
    }

    fn forget(&mut self, id: Id) {
        self.strangers.remove(&id);
        if let Some(count) = self.per_source.get_mut(&source(id)) {
            *count -= 1;
            if *count == 0 {
                self.per_source.remove(&source(id));
            }
        }
    }
}

/// What one host can have many of counts once: a network of IPv6 (/64), an address of IPv4.
fn source((addr, _): Id) -> IpAddr {
    match addr.ip() {
        IpAddr::V6(ip) => Ipv6Addr::from_bits(ip.to_bits() & !u128::from(u64::MAX)).into(),
        ip @ IpAddr::V4(_) => ip,
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
    fn stranger_that_begins_anew_takes_no_other_place() {
        let (mut half_open, now) = (HalfOpen::default(), test_now());
        half_open.knock(now, id(2, 1), Seq(1), Seq(1));
        half_open.knock(now, id(1, 1), Seq(1), Seq(1));
        half_open.knock(now, id(3, 1), Seq(1), Seq(1));
        let later = now + HALF_OPEN_FOR / 2;
        for number in 0..5_000 {
            let (syn, ours) = (Seq(number), Seq(number + 1));
            let got = half_open.knock(later, id(1, 1), syn, ours);
            assert_eq!((got, half_open.find(id(1, 1))), (Some(Stranger { syn, ours }), got));
        }
        assert_eq!((half_open.len(), half_open.order.len()), (3, 3));
        half_open.knock(now + HALF_OPEN_FOR, id(9, 9), Seq(1), Seq(1));
        assert_eq!(half_open.len(), 1, "its time began with its first SYN");
    }

    #[test]
    fn stranger_that_comes_and_goes_takes_no_other_place() {
        let (mut half_open, now) = (HalfOpen::default(), test_now());
        half_open.knock(now, id(2, 1), Seq(1), Seq(1));
        for _ in 0..5_000 {
            half_open.knock(now, id(1, 1), Seq(1), Seq(1));
            half_open.remove(id(1, 1));
        }
        assert_eq!((half_open.len(), half_open.order.len(), half_open.per_source.len()), (1, 1, 1));
    }

    #[test]
    fn network_of_ipv6_counts_as_one_source() {
        let (mut half_open, now) = (HalfOpen::default(), test_now());
        let host = |net: u16, host: u16| {
            let ip = Ipv6Addr::new(0x2001, 0xdb8, 0, net, host, 0, 0, host);
            (SocketAddr::from((ip, 6881)), 1)
        };
        for number in 0..1_000 {
            half_open.knock(now, host(1, number), Seq(1), Seq(1));
        }
        assert_eq!(half_open.len(), HALF_OPEN_PER_SOURCE);
        assert!(half_open.knock(now, host(2, 1), Seq(1), Seq(1)).is_some());
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
