//! Addresses that were shown not to be forged.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv6Addr};

use crate::Secs;
use crate::limits::{PROOF_SECS, PROOFS_MAX};

/// Whoever holds one address of it can show any other one: an IPv4 address, or an IPv6 network of 64
/// bits. Forging within it hurts nobody else.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Holder(IpAddr);

impl Holder {
    /// Who holds an address.
    #[must_use]
    pub fn of(ip: IpAddr) -> Self {
        match ip.to_canonical() {
            v4 @ IpAddr::V4(_) => Self(v4),
            IpAddr::V6(v6) => Self(Ipv6Addr::from_bits(v6.to_bits() >> 64 << 64).into()),
        }
    }
}

/// Who completed a TCP connection lately. Datagrams from others may be forged.
#[derive(Debug, Default)]
pub struct Proofs {
    until: BTreeMap<Holder, Secs>,
}

impl Proofs {
    /// An address completed a connection. When there is no room, it has to come again later: those
    /// that are known already are never pushed out.
    pub fn note(&mut self, now: Secs, ip: IpAddr) {
        let holder = Holder::of(ip);
        if self.until.len() < PROOFS_MAX || self.until.contains_key(&holder) {
            self.until.insert(holder, now.plus(PROOF_SECS));
        }
    }

    /// Whether an address completed a connection within the last ten minutes.
    #[must_use]
    pub fn holds(&self, now: Secs, ip: IpAddr) -> bool {
        self.until.get(&Holder::of(ip)).is_some_and(|until| now < *until)
    }

    /// Forgets what is too old.
    pub fn sweep(&mut self, now: Secs) {
        self.until.retain(|_, until| now < *until);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_proof_lasts_ten_minutes_and_counts_for_its_holder() {
        let mut proofs = Proofs::default();
        let (v4, v6) = ([192, 0, 2, 1].into(), "2001:db8:0:1::1".parse().unwrap());
        proofs.note(Secs(0), v4);
        proofs.note(Secs(100), v6);
        assert!(proofs.holds(Secs(599), v4) && !proofs.holds(Secs(600), v4));
        assert!(!proofs.holds(Secs(0), [192, 0, 2, 2].into()));
        assert!(proofs.holds(Secs(600), "2001:db8:0:1::77".parse().unwrap()), "the same network");
        assert!(!proofs.holds(Secs(600), "2001:db8:0:2::1".parse().unwrap()));
        assert!(proofs.holds(Secs(0), "::ffff:192.0.2.1".parse().unwrap()));
        proofs.sweep(Secs(650));
        assert_eq!(proofs.until.len(), 1);
    }

    #[test]
    fn a_crowd_pushes_nobody_out() {
        let mut proofs = Proofs::default();
        let first = IpAddr::from([10, 0, 0, 1]);
        proofs.note(Secs(0), first);
        (0..PROOFS_MAX as u32 + 100)
            .for_each(|n| proofs.note(Secs(1), (n | 1 << 31).to_be_bytes().into()));
        assert_eq!(proofs.until.len(), PROOFS_MAX);
        assert!(proofs.holds(Secs(1), first));
        proofs.note(Secs(2), first);
        assert!(proofs.holds(Secs(601), first), "who is known is renewed");
    }
}
