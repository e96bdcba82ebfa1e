//! Where others see us: one vote a network, and only of those whom we asked (BEP 42).

use std::collections::VecDeque;
use std::net::IpAddr;

use proto::egress::Nearness;

use crate::limits::{VOTES_MAX, VOTES_NEEDED};
use crate::space::source_of;

/// The latest votes.
#[derive(Debug, Default)]
pub(crate) struct External {
    /// Who voted (a network), and for which address; the latest last.
    votes: VecDeque<(IpAddr, IpAddr)>,
    known: Option<IpAddr>,
}

impl External {
    /// Somebody at `voter`, whom we asked, sees us at `ip`. Returns an address that is new.
    pub(crate) fn vote(&mut self, voter: IpAddr, ip: IpAddr) -> Option<IpAddr> {
        // A local network's view of us, or a provider's, says nothing about the rest of the world.
        let inside = |ip| Nearness::of(ip) > Nearness::Internet;
        if inside(ip) || inside(voter) || ip.is_unspecified() || ip.is_multicast() {
            return None;
        }
        if voter.is_ipv4() != ip.is_ipv4() {
            return None;
        }
        let network = source_of(voter);
        self.votes.retain(|(known, _)| *known != network);
        if self.votes.len() >= VOTES_MAX {
            self.votes.pop_front();
        }
        self.votes.push_back((network, ip));
        let agree = self.votes.iter().filter(|(_, other)| *other == ip).count();
        let elected = agree >= VOTES_NEEDED && 2 * agree > self.votes.len();
        (elected && self.known.replace(ip) != Some(ip)).then_some(ip)
    }

    pub(crate) const fn known(&self) -> Option<IpAddr> {
        self.known
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn voter(network: u8, host: u8) -> IpAddr {
        [80, 1, network, host].into()
    }

    #[test]
    fn it_takes_several_networks_and_most_of_them() {
        let mut external = External::default();
        let (ours, wrong): (IpAddr, IpAddr) = ([5, 6, 7, 8].into(), [6, 6, 6, 6].into());
        for host in 0..50 {
            assert_eq!(external.vote(voter(9, host), wrong), None, "one network, one vote");
        }
        let told = (0..5).map(|network| external.vote(voter(network, 1), ours));
        let told: Vec<_> = told.collect();
        assert_eq!(told, [None, None, None, Some(ours), None], "told once");
        assert_eq!(external.known(), Some(ours));
        for network in 100..103 {
            assert_eq!(external.vote(voter(network, 1), wrong), None, "not yet most of them");
        }
        for network in 103..110 {
            let _ = external.vote(voter(network, 1), wrong);
        }
        assert_eq!(external.known(), Some(wrong), "an address that changed is learnt");
    }

    #[test]
    fn one_ipv6_site_has_one_vote() {
        let mut external = External::default();
        let ours = IpAddr::from([0x2001, 0xdb8, 9, 0, 0, 0, 0, 1]);
        for net in 0..50 {
            let voter = IpAddr::from([0x2001, 0xdb8, 1, net, 0, 0, 0, 1]);
            assert_eq!(external.vote(voter, ours), None);
        }
        let told = (2..5).map(|site| [0x2001, 0xdb8, site, 0, 0, 0, 0, 1].into());
        let told: Vec<_> = told.map(|voter| external.vote(voter, ours)).collect();
        assert_eq!(told, [None, None, Some(ours)]);
    }

    #[test]
    fn local_views_do_not_count() {
        let mut external = External::default();
        for network in 0..10 {
            assert_eq!(external.vote(voter(network, 1), [192, 168, 1, 2].into()), None);
            assert_eq!(external.vote([10, 0, network, 1].into(), [5, 6, 7, 8].into()), None);
            assert_eq!(external.vote([100, 64, network, 1].into(), [5, 6, 7, 8].into()), None);
            assert_eq!(external.vote(voter(network, 1), [100, 64, 1, 2].into()), None);
        }
        assert_eq!(external.known(), None);
    }
}
