//! How often one network may ask: announces and scrapes a second of each IPv4 /24 and IPv6 /64.
//!
//! Counted only once the source address is proven (a good connection id, a TCP connection), so nobody can
//! use up another one's share. Who is over it gets an empty list, not an error: clients come back at
//! their next interval, and who collects lists learns nothing.
//!
//! The table has a fixed size. Networks that share a place by a keyed hash share a quota; each has two
//! places of half a quota and is held back only when both are used up, so a neighbour by chance hardly matters.

use std::hash::Hasher as _;
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};

use proto::address::{is_local, network_of};
use registry::Secs;
use siphasher::sip::SipHasher13;

/// Quotas for all networks.
#[derive(Debug)]
pub(crate) struct Quotas {
    key: [u8; 16],
    /// A second: for everybody, and for loopback and private networks. None is without end.
    rates: QuotaRates,
    /// The time of the last request (upper half) and what is left (lower half).
    places: Box<[AtomicU64]>,
}

/// Requests a second that each network may make; none for any number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct QuotaRates {
    /// Networks of the internet.
    pub public: Option<u32>,
    /// Loopback, private (RFC 1918), link-local and unique local ones.
    pub local: Option<u32>,
}

impl Quotas {
    pub(crate) fn new(rates: QuotaRates, key: [u8; 16]) -> Self {
        let places = if rates == QuotaRates::default() { 0 } else { PLACES };
        let places = std::iter::repeat_with(|| AtomicU64::new(0)).take(places).collect();
        Self { key, rates, places }
    }

    /// Notes a request from a proven address in canonical form; false when its network is over its quota.
    pub(crate) fn allows(&self, now: Secs, ip: IpAddr) -> bool {
        let rate = if is_local(ip) { self.rates.local } else { self.rates.public };
        let Some(rate) = rate else { return true };
        let half = rate.div_ceil(2);
        let hash = self.hash(ip);
        let places = [hash as usize % PLACES, (hash >> 32) as usize % PLACES];
        places.into_iter().any(|place| self.takes(place, now, half))
    }

    /// Takes one request from a place's quota if any is left.
    fn takes(&self, place: usize, now: Secs, rate: u32) -> bool {
        let Some(place) = self.places.get(place) else { return true };
        let most = rate.saturating_mul(BURST_SECS);
        // Never 0: that is an untouched place's.
        let stamp = now.0.saturating_add(1);
        let step = |old: u64| {
            let (last, left) = ((old >> 32) as u32, old as u32);
            // An untouched place is as good as one of long ago.
            let since = if old == 0 { BURST_SECS } else { stamp.saturating_sub(last) };
            let left = left.saturating_add(rate.saturating_mul(since)).min(most);
            let left = left.checked_sub(1)?;
            Some(u64::from(stamp.max(last)) << 32 | u64::from(left))
        };
        place.fetch_update(Ordering::Relaxed, Ordering::Relaxed, step).is_ok()
    }

    fn hash(&self, ip: IpAddr) -> u64 {
        let mut hasher = SipHasher13::new_with_key(&self.key);
        match network_of(ip) {
            IpAddr::V4(network) => hasher.write(&network.octets()),
            IpAddr::V6(network) => hasher.write(&network.octets()),
        }
        hasher.finish()
    }
}

/// A power of two; half a megabyte. Enough that few of a hundred thousand busy networks share both places.
const PLACES: usize = 1 << 16;
/// A network that was silent may make up for so many seconds.
const BURST_SECS: u32 = 10;

#[cfg(test)]
mod tests {
    use super::*;

    fn quotas(public: Option<u32>, local: Option<u32>) -> Quotas {
        Quotas::new(QuotaRates { public, local }, [5; 16])
    }

    fn allowed(quotas: &Quotas, now: u32, ip: &str, tries: usize) -> usize {
        let ip = ip.parse().unwrap();
        (0..tries).filter(|_| quotas.allows(Secs(now), ip)).count()
    }

    #[test]
    fn a_network_shares_its_quota_and_no_other_one_does() {
        let quotas = quotas(Some(6), None);
        assert_eq!(allowed(&quotas, 100, "203.0.113.7", 1_000), 60, "ten seconds' worth");
        assert_eq!(allowed(&quotas, 100, "203.0.113.8", 10), 0);
        assert_eq!(allowed(&quotas, 100, "203.0.114.7", 50), 50);
        assert_eq!(allowed(&quotas, 101, "203.0.113.9", 50), 6, "a second later");
        assert_eq!(allowed(&quotas, 100, "2001:db8::1", 1_000), 60);
        assert_eq!(allowed(&quotas, 100, "2001:db8::ffff:1", 1), 0);
        assert_eq!(allowed(&quotas, 100, "2001:db8:0:1::1", 1), 1);
    }

    #[test]
    fn a_quota_used_up_in_the_first_second_is_used_up() {
        let quotas = quotas(Some(2), None);
        assert_eq!(allowed(&quotas, 0, "203.0.113.7", 100), 20);
        assert_eq!(allowed(&quotas, 0, "203.0.113.7", 100), 0);
    }

    #[test]
    fn local_networks_have_a_quota_of_their_own() {
        let open = quotas(Some(1), None);
        for ip in ["127.0.0.1", "10.1.2.3", "192.168.1.1", "fd00::1", "fe80::1", "::1"] {
            assert_eq!(allowed(&open, 1, ip, 500), 500, "{ip}");
        }
        assert_eq!(allowed(&quotas(None, Some(1)), 1, "127.0.0.1", 500), 20);
        assert_eq!(allowed(&quotas(None, None), 1, "203.0.113.7", 500), 500);
    }
}
