//! One iterative lookup: from the nodes that we know to those nearest to an id, step by step.
//!
//! It has two frontiers. One goes to the nearest nodes of all, the other to the nearest whose id belongs
//! to their address (BEP 42): somebody who puts nodes with ids of their choice around a target fills the
//! first and is not seen by the second. In a network without such ids the second is empty, in one of
//! nothing else both are the same; so it costs nothing where it is of no use. What is found and where we
//! announce is the union of both.
//!
//! What others name is a claim until it has answered: names push out names, and never a node that did; and
//! each source that names some has its share of the room for them.
//!
//! Nodes of one source (/24, /48) take turns: of those only one may be asked, unless it does not answer.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};

use proto::address::is_local;
use proto::dht::{Contact, NodeId, is_secure};

use crate::limits::{ALPHA, CANDIDATES_MAX, K, LOOKUP_ASKED_MAX, LOOKUP_IN_FLIGHT_MAX};
use crate::space::{Distance, source_of};

#[derive(Debug, Clone, PartialEq, Eq)]
enum State {
    /// Not asked yet.
    New,
    /// Asked, and it may still answer.
    Asked,
    /// It answered; its token, if it gave one.
    Replied(Option<Vec<u8>>),
}

#[derive(Debug)]
struct Candidate {
    id: NodeId,
    secure: bool,
    state: State,
    /// The source that named it first; `None` for our table.
    namer: Option<IpAddr>,
}

/// Where a candidate stands: nearest first.
type Place = (Distance, SocketAddr);

/// Whom to ask next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Ask {
    pub(crate) to: SocketAddr,
    /// `None` for an address that we were given to start from.
    pub(crate) id: Option<NodeId>,
}

/// A lookup under way.
#[derive(Debug)]
pub(crate) struct Lookup {
    target: NodeId,
    own: NodeId,
    candidates: BTreeMap<Place, Candidate>,
    /// Addresses without ids, asked when too few nodes answer.
    roots: Vec<SocketAddr>,
    roots_asked: BTreeSet<SocketAddr>,
    /// Who was asked under which id: nobody is twice. At most [`LOOKUP_ASKED_MAX`].
    asked: BTreeSet<Place>,
    questions: u32,
    in_flight: usize,
    slow: BTreeSet<SocketAddr>,
    /// The frontier that had its turn last.
    secure_last: bool,
}

impl Lookup {
    /// Starts from those nodes; when fewer than [`K`] answer, from the roots, too.
    pub(crate) fn new(
        target: NodeId,
        own: NodeId,
        seeds: Vec<Contact>,
        roots: Vec<SocketAddr>,
    ) -> Self {
        let mut lookup = Self {
            target,
            own,
            roots,
            candidates: BTreeMap::new(),
            roots_asked: BTreeSet::new(),
            asked: BTreeSet::new(),
            questions: 0,
            in_flight: 0,
            slow: BTreeSet::new(),
            secure_last: true,
        };
        seeds.into_iter().for_each(|seed| lookup.add(seed, None));
        lookup
    }

    pub(crate) const fn target(&self) -> NodeId {
        self.target
    }

    /// Somebody there named a node.
    pub(crate) fn add(&mut self, contact: Contact, by: Option<IpAddr>) {
        let place = (Distance::between(self.target, contact.id), contact.addr);
        let known = self.candidates.contains_key(&place) || self.asked.contains(&place);
        if contact.id == self.own || known {
            return;
        }
        let secure = is_secure(contact.id, contact.addr.ip());
        let namer = by.map(source_of);
        let candidate = Candidate { id: contact.id, secure, state: State::New, namer };
        self.candidates.insert(place, candidate);
        self.make_room(secure);
    }

    /// With too many names, of the source that has most among them the farthest goes: a share of the room
    /// is everybody's, however near others claim to be.
    fn make_room(&mut self, secure: bool) {
        let names = self.candidates.iter().filter(|(_, other)| other.state == State::New);
        let alike: Vec<_> = names.filter(|(_, other)| other.secure == secure).collect();
        if alike.len() <= CANDIDATES_MAX {
            return;
        }
        let mut shares = BTreeMap::<_, usize>::new();
        alike.iter().for_each(|(_, name)| *shares.entry(name.namer).or_default() += 1);
        let share = |name: &Candidate| shares.get(&name.namer).copied();
        let least = alike.into_iter().max_by_key(|(place, name)| (share(name), **place));
        if let Some(place) = least.map(|(place, _)| *place) {
            self.candidates.remove(&place);
        }
    }

    /// Whom to ask now; `None` while enough are asked, and when nobody is left.
    pub(crate) fn next(&mut self) -> Option<Ask> {
        let fast = self.in_flight - self.slow.len();
        let spent = self.questions >= LOOKUP_ASKED_MAX;
        if fast >= ALPHA || self.in_flight >= LOOKUP_IN_FLIGHT_MAX || spent {
            return None;
        }
        let turns = [!self.secure_last, self.secure_last];
        let found = turns.into_iter().find_map(|secure| Some((secure, self.frontier(secure).0?)));
        let ask = if let Some((secure, place)) = found {
            self.secure_last = secure;
            let candidate = self.candidates.get_mut(&place)?;
            candidate.state = State::Asked;
            self.asked.insert(place);
            Ask { to: place.1, id: Some(candidate.id) }
        } else {
            let enough = self.answered() >= K;
            let to = self.roots.pop_if(|_| !enough)?;
            self.roots_asked.insert(to);
            Ask { to, id: None }
        };
        self.questions += 1;
        self.in_flight += 1;
        Some(ask)
    }

    /// Nobody who is left to ask, or who may still answer, is nearer than those who answered.
    pub(crate) fn is_done(&self) -> bool {
        if self.questions >= LOOKUP_ASKED_MAX {
            return self.in_flight == 0;
        }
        let settled =
            [false, true].into_iter().all(|secure| self.frontier(secure) == (None, false));
        let rooted = self.roots.is_empty() && self.roots_asked.is_empty();
        settled && (rooted || self.answered() >= K)
    }

    /// A node answered, and under which id. True when it is the one that was asked.
    pub(crate) fn on_reply(&mut self, from: SocketAddr, id: NodeId, token: Option<&[u8]>) -> bool {
        self.landed(from);
        let place = (Distance::between(self.target, id), from);
        let rooted = self.roots_asked.remove(&from);
        if !rooted && !self.candidates.get(&place).is_some_and(|c| c.state == State::Asked) {
            self.fail(from);
            return false;
        }
        let secure = is_secure(id, from.ip());
        let state = State::Replied(token.map(<[u8]>::to_vec));
        self.candidates.insert(place, Candidate { id, secure, state, namer: None });
        true
    }

    /// A node takes its time.
    pub(crate) fn on_slow(&mut self, to: SocketAddr) {
        self.slow.insert(to);
    }

    /// A node will not answer.
    pub(crate) fn on_dead(&mut self, to: SocketAddr) {
        self.landed(to);
        self.roots_asked.remove(&to);
        self.fail(to);
    }

    /// Who answered with a token, nearest to the target: of all and of those whose id belongs to their
    /// address, [`K`] each.
    pub(crate) fn holders(&self) -> Vec<(Contact, Vec<u8>)> {
        let (mut any, mut secure) = (0, 0);
        let mut holders = Vec::new();
        for ((_, addr), candidate) in &self.candidates {
            let State::Replied(Some(token)) = &candidate.state else { continue };
            let chosen = any < K || (candidate.secure && secure < K);
            any += 1;
            secure += usize::from(candidate.secure);
            if chosen {
                holders.push((Contact { id: candidate.id, addr: *addr }, token.clone()));
            }
        }
        holders
    }

    #[cfg(test)]
    pub(crate) const fn questions(&self) -> u32 {
        self.questions
    }

    fn answered(&self) -> usize {
        self.candidates.values().filter(|c| matches!(c.state, State::Replied(_))).count()
    }

    fn landed(&mut self, from: SocketAddr) {
        self.in_flight = self.in_flight.saturating_sub(1);
        self.slow.remove(&from);
    }

    fn fail(&mut self, to: SocketAddr) {
        let asked = |candidate: &Candidate| candidate.state == State::Asked;
        self.candidates.retain(|(_, addr), candidate| *addr != to || !asked(candidate));
    }

    /// The nearest [`K`] of a frontier: one that is not asked yet, and whether any
    /// of them may still answer.
    fn frontier(&self, secure_only: bool) -> (Option<Place>, bool) {
        let mut networks: BTreeSet<IpAddr> = self
            .candidates
            .iter()
            .filter(|(_, c)| matches!(c.state, State::Asked | State::Replied(_)))
            .filter(|((_, addr), _)| !is_local(addr.ip()))
            .map(|((_, addr), _)| source_of(addr.ip()))
            .collect();
        let (mut next, mut waiting, mut alive) = (None, false, 0);
        let fitting = self.candidates.iter().filter(|(_, c)| c.secure || !secure_only);
        for (place, candidate) in fitting {
            match candidate.state {
                State::New => {
                    let ip = place.1.ip();
                    if !is_local(ip) && !networks.insert(source_of(ip)) {
                        continue;
                    }
                    next = next.or(Some(*place));
                }
                State::Asked => waiting = true,
                State::Replied(_) => {}
            }
            alive += 1;
            if alive == K {
                break;
            }
        }
        (next, waiting)
    }
}

#[cfg(test)]
mod tests {
    use proto::dht::secure_id;

    use super::*;
    use crate::space::id_sharing;

    const TARGET: NodeId = NodeId([0x77; 20]);
    const OWN: NodeId = NodeId([0; 20]);

    fn addr(network: u16) -> SocketAddr {
        let [a, b] = network.to_be_bytes();
        SocketAddr::from(([60, a, b, 1], 6881))
    }

    /// A node with an id of its choice, so near to the target.
    fn chosen(bits: usize, network: u16) -> Contact {
        let mut random = [0x55; 20];
        random[18..].copy_from_slice(&network.to_be_bytes());
        Contact { id: id_sharing(TARGET, bits, random), addr: addr(network) }
    }

    fn honest(network: u16) -> Contact {
        let addr = addr(network);
        Contact { id: secure_id(addr.ip(), [network as u8; 20]), addr }
    }

    /// Answers every question with a token; who was asked.
    fn run(lookup: &mut Lookup) -> Vec<SocketAddr> {
        let mut asked = Vec::new();
        while let Some(ask) = lookup.next() {
            asked.push(ask.to);
            assert!(lookup.on_reply(ask.to, ask.id.expect("a node"), Some(b"t")));
        }
        assert!(lookup.is_done());
        asked
    }

    #[test]
    fn nearest_first_and_only_as_many_as_needed() {
        let seeds = (0..20).map(|at| chosen(at, at as u16 + 1)).collect();
        let mut lookup = Lookup::new(TARGET, OWN, seeds, vec![]);
        let asked = run(&mut lookup);
        let expected: Vec<_> = (12..20).rev().map(|at| chosen(at, at as u16 + 1).addr).collect();
        assert_eq!(asked, expected);
        assert_eq!(lookup.holders().len(), K);
    }

    #[test]
    fn ids_of_somebodys_choice_do_not_hide_honest_nodes() {
        let sybils = (0..200).map(|at| chosen(40, 1000 + at));
        let seeds = sybils.chain((0..30).map(honest)).collect();
        let mut lookup = Lookup::new(TARGET, OWN, seeds, vec![]);
        let asked = run(&mut lookup);
        let mut nearest: Vec<_> = (0..30).map(honest).collect();
        nearest.sort_by_key(|contact| Distance::between(TARGET, contact.id));
        assert!(nearest[..K].iter().all(|honest| asked.contains(&honest.addr)));
        assert_eq!(lookup.questions() as usize, 2 * K, "and it costs no more than that");
        let holders = lookup.holders();
        assert!(nearest[..K].iter().all(|honest| holders.iter().any(|(at, _)| at == honest)));
    }

    #[test]
    fn one_network_is_asked_once_unless_it_is_silent() {
        let twin = |host, bits| Contact {
            id: chosen(bits, host).id,
            addr: SocketAddr::from(([60, 0, 1, host as u8], 6881)),
        };
        let seeds = vec![twin(1, 30), twin(2, 29), chosen(10, 500)];
        let mut lookup = Lookup::new(TARGET, OWN, seeds.clone(), vec![]);
        assert_eq!(run(&mut lookup), [seeds[0].addr, seeds[2].addr]);
        let mut lookup = Lookup::new(TARGET, OWN, seeds.clone(), vec![]);
        assert_eq!(lookup.next().map(|ask| ask.to), Some(seeds[0].addr));
        lookup.on_dead(seeds[0].addr);
        assert_eq!(run(&mut lookup), [seeds[1].addr, seeds[2].addr]);
    }

    #[test]
    fn one_site_is_one_source_of_ipv6_nodes() {
        let node = |site: u16, net: u16, bits| {
            let ip = IpAddr::from([0x2001, 0xdb8, site, net, 0, 0, 0, 1]);
            Contact { id: chosen(bits, net).id, addr: SocketAddr::new(ip, 6881) }
        };
        let seeds = vec![node(1, 1, 30), node(1, 2, 29), node(2, 1, 10)];
        let mut lookup = Lookup::new(TARGET, OWN, seeds.clone(), vec![]);
        assert_eq!(run(&mut lookup), [seeds[0].addr, seeds[2].addr]);
    }

    #[test]
    fn slow_nodes_hold_nothing_up_and_may_still_answer() {
        let seeds: Vec<_> = (0..8).map(|at| chosen(at, at as u16 + 1)).collect();
        let mut lookup = Lookup::new(TARGET, OWN, seeds, vec![]);
        let first: Vec<_> = std::iter::from_fn(|| lookup.next()).collect();
        assert_eq!(first.len(), ALPHA);
        lookup.on_slow(first[0].to);
        let more = lookup.next().expect("room for one more");
        assert_eq!(lookup.next(), None);
        assert!(!lookup.is_done(), "it may still answer");
        for ask in [first[1], first[2], more, first[0]] {
            assert!(lookup.on_reply(ask.to, ask.id.expect("a node"), None));
        }
        run(&mut lookup);
    }

    #[test]
    fn who_answers_as_somebody_else_has_failed() {
        let seeds = vec![chosen(3, 1), chosen(2, 2)];
        let mut lookup = Lookup::new(TARGET, OWN, seeds, vec![]);
        let ask = lookup.next().expect("a node");
        assert!(!lookup.on_reply(ask.to, NodeId([9; 20]), Some(b"t")));
        assert_eq!(run(&mut lookup), [chosen(2, 2).addr]);
        assert_eq!(lookup.holders().len(), 1);
    }

    #[test]
    fn roots_are_asked_when_too_few_nodes_answer() {
        let mut lookup = Lookup::new(TARGET, OWN, vec![], vec![addr(1)]);
        assert!(!lookup.is_done());
        assert_eq!(lookup.next(), Some(Ask { to: addr(1), id: None }));
        assert_eq!(lookup.next(), None);
        assert!(!lookup.is_done());
        assert!(lookup.on_reply(addr(1), honest(1).id, Some(b"t")));
        assert!(lookup.is_done());
        assert_eq!(lookup.holders().len(), 1);
        let mut silent = Lookup::new(TARGET, OWN, vec![honest(2)], vec![addr(1)]);
        let asked: Vec<_> = std::iter::from_fn(|| silent.next()).map(|ask| ask.to).collect();
        assert_eq!(asked, [addr(2), addr(1)]);
        asked.into_iter().for_each(|to| silent.on_dead(to));
        assert!(silent.is_done());
        let seeds = (0..8).map(|at| chosen(at, at as u16 + 1)).collect();
        let mut known = Lookup::new(TARGET, OWN, seeds, vec![addr(99)]);
        assert!(!run(&mut known).contains(&addr(99)), "a network that answers needs no root");
    }

    #[test]
    fn somebody_who_leads_us_on_for_ever_is_left() {
        let mut lookup = Lookup::new(TARGET, OWN, vec![chosen(0, 0)], vec![]);
        let mut number = 0;
        while let Some(ask) = lookup.next() {
            assert!(lookup.on_reply(ask.to, ask.id.expect("a node"), None));
            for _ in 0..8 {
                number += 1;
                lookup.add(chosen(number as usize % 150, number), Some(ask.to.ip()));
            }
        }
        assert!(lookup.is_done());
        assert!(lookup.questions() <= LOOKUP_ASKED_MAX);
        assert!(lookup.candidates.len() <= 2 * CANDIDATES_MAX + LOOKUP_ASKED_MAX as usize);
    }

    #[test]
    fn names_push_out_no_node_that_answered() {
        let honest: Vec<_> = (1..=8).map(honest).collect();
        let mut lookup = Lookup::new(TARGET, OWN, honest.clone(), vec![]);
        run(&mut lookup);
        (0..1000).for_each(|number| lookup.add(chosen(100, 1000 + number), None));
        for network in 0..1000_u16 {
            let [a, b] = network.to_be_bytes();
            let ip = IpAddr::from([70, a, b, 1]);
            let id = secure_id(ip, TARGET.0);
            lookup.add(Contact { id, addr: SocketAddr::new(ip, 6881) }, None);
        }
        // Who is silent is named again, in vain.
        let mut asked = BTreeSet::new();
        while let Some(ask) = lookup.next() {
            assert!(asked.insert(ask.to), "asked twice");
            lookup.on_dead(ask.to);
            lookup.add(Contact { id: ask.id.expect("a node"), addr: ask.to }, None);
        }
        assert!(lookup.is_done());
        let holders = lookup.holders();
        assert!(honest.iter().all(|honest| holders.iter().any(|(at, _)| at == honest)));
    }
}
