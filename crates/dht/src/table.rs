//! The routing table: nodes that answered, many near our id and few far from it (BEP 5).
//!
//! Bucket `i` holds nodes that share `i` bits with our id, the last one all that share more; it splits
//! when it is full. Against somebody with many ids: one node an address, one of a source (/24, /48) in
//! a bucket, and a node whose id belongs to its address (BEP 42) takes the place of one whose does not.
//!
//! Nodes that stop answering stay until another takes their place: when our own line is down nobody
//! answers, and the table must outlast that.

use std::net::{IpAddr, SocketAddr};
use std::time::Instant;

use proto::address::is_local;
use proto::dht::{Contact, NodeId, is_secure};

use crate::limits::{FAILURES_BAD, FRESH, K, REFRESH_FIRST, SPARES_MAX};
use crate::space::{Distance, source_of};

/// A node that answered, or that an earlier run knew.
#[derive(Debug, Clone)]
struct Node {
    contact: Contact,
    secure: bool,
    replied_at: Option<Instant>,
    asked_us_at: Option<Instant>,
    failures: u8,
}

impl Node {
    fn new(now: Option<Instant>, contact: Contact) -> Self {
        let secure = is_secure(contact.id, contact.addr.ip());
        Self { contact, secure, replied_at: now, asked_us_at: None, failures: 0 }
    }

    const fn is_bad(&self) -> bool {
        self.failures >= FAILURES_BAD
    }

    /// Of one network, `newcomer` is the better one.
    const fn gives_way(&self, newcomer: &Self) -> bool {
        self.is_bad() || (newcomer.secure && !self.secure)
    }

    fn heard_at(&self) -> Option<Instant> {
        // What it asks counts once it has answered (BEP 5).
        self.replied_at.map(|replied| self.asked_us_at.map_or(replied, |asked| asked.max(replied)))
    }

    fn is_good(&self, now: Instant) -> bool {
        !self.is_bad() && self.heard_at().is_some_and(|at| now.duration_since(at) < FRESH)
    }
}

#[derive(Debug)]
struct Bucket {
    nodes: Vec<Node>,
    /// Answered, but found no place; the latest last.
    spares: Vec<Node>,
    changed_at: Instant,
    refreshed_at: Instant,
    refreshes: u32,
}

impl Bucket {
    const fn new(now: Instant) -> Self {
        Self {
            nodes: Vec::new(),
            spares: Vec::new(),
            changed_at: now,
            refreshed_at: now,
            refreshes: 0,
        }
    }

    fn refresh_at(&self) -> Instant {
        let pace = if self.nodes.len() < K / 2 {
            (REFRESH_FIRST * (1 << self.refreshes.min(4))).min(FRESH)
        } else {
            FRESH
        };
        self.changed_at.max(self.refreshed_at) + pace
    }

    /// The node that another one may push out, if there is one.
    fn replaceable(&self, newcomer: &Node) -> Option<usize> {
        let bad = self.nodes.iter().position(Node::is_bad);
        let insecure = || self.nodes.iter().rposition(|node| newcomer.secure && !node.secure);
        bad.or_else(insecure)
    }
}

/// The nodes of one network, seen from our id.
#[derive(Debug)]
pub(crate) struct Table {
    own: NodeId,
    buckets: Vec<Bucket>,
}

impl Table {
    pub(crate) fn new(now: Instant, own: NodeId) -> Self {
        Self { own, buckets: vec![Bucket::new(now)] }
    }

    pub(crate) const fn own(&self) -> NodeId {
        self.own
    }

    /// The same nodes seen from another id.
    pub(crate) fn move_to(&mut self, now: Instant, own: NodeId) {
        let buckets = std::mem::take(&mut self.buckets);
        *self = Self::new(now, own);
        for node in buckets.into_iter().flat_map(|bucket| bucket.nodes) {
            self.place(now, node);
        }
    }

    /// A node that an earlier run knew; it has to answer before others are told of it.
    pub(crate) fn restore(&mut self, now: Instant, contact: Contact) {
        if contact.id != self.own && self.find(contact).is_none() {
            self.place(now, Node::new(None, contact));
        }
    }

    /// A node answered from its address under that id.
    pub(crate) fn on_reply(&mut self, now: Instant, contact: Contact) {
        if contact.id == self.own {
            return;
        }
        if let Some((bucket, at)) = self.find(contact) {
            let bucket = &mut self.buckets[bucket];
            let node = &mut bucket.nodes[at];
            (node.replied_at, node.failures) = (Some(now), 0);
            bucket.changed_at = now;
            return;
        }
        if self.makes_way(contact) {
            self.place(now, Node::new(Some(now), contact));
        }
    }

    /// A node asked us something. True when it is worth asking back: there might be a place for it.
    pub(crate) fn on_query(&mut self, now: Instant, contact: Contact) -> bool {
        if contact.id == self.own {
            return false;
        }
        if let Some((bucket, at)) = self.find(contact) {
            let node = &mut self.buckets[bucket].nodes[at];
            node.asked_us_at = Some(now);
            return node.is_bad();
        }
        if let Some((bucket, at)) = self.rival(contact) {
            let rival = &self.buckets[bucket].nodes[at];
            if rival.contact.addr == contact.addr {
                return true;
            }
            if !rival.is_bad() {
                return false;
            }
        }
        let index = self.index(contact.id);
        let bucket = &self.buckets[index];
        let node = Node::new(None, contact);
        if let Some(at) = neighbour(&bucket.nodes, contact.addr.ip()) {
            return bucket.nodes[at].gives_way(&node);
        }
        let room = bucket.nodes.len() < K || index + 1 == self.buckets.len();
        room || bucket.replaceable(&node).is_some() || bucket.spares.len() < SPARES_MAX / 2
    }

    /// A node did not answer.
    pub(crate) fn on_failure(&mut self, now: Instant, contact: Contact) {
        let Some((index, at)) = self.find(contact) else { return };
        let bucket = &mut self.buckets[index];
        let node = &mut bucket.nodes[at];
        node.failures = node.failures.saturating_add(1);
        if node.is_bad() {
            let bad = bucket.nodes.remove(at);
            let node = self.take_spare(now, index).unwrap_or(bad);
            self.buckets[index].nodes.insert(at, node);
        }
    }

    /// The good nodes nearest to `target`: what others are told.
    pub(crate) fn good(&self, now: Instant, target: NodeId) -> Vec<Contact> {
        self.nearest(target, |node| node.is_good(now))
    }

    /// The nodes nearest to `target` to start a lookup from: all that are not bad, or all there are.
    pub(crate) fn seeds(&self, target: NodeId) -> Vec<Contact> {
        let seeds = self.nearest(target, |node| !node.is_bad());
        if seeds.is_empty() { self.nearest(target, |_| true) } else { seeds }
    }

    pub(crate) fn good_len(&self, now: Instant) -> usize {
        self.nodes().filter(|node| node.is_good(now)).count()
    }

    /// Nodes to keep over a restart, those that answered first.
    pub(crate) fn saved(&self) -> impl Iterator<Item = Contact> {
        let mut nodes: Vec<_> = self.nodes().filter(|node| !node.is_bad()).collect();
        nodes.sort_by_key(|node| node.replied_at.is_none());
        nodes.into_iter().map(|node| node.contact)
    }

    /// The node that is most in need of being asked whether it is still there.
    pub(crate) fn stalest(&self, now: Instant) -> Option<Contact> {
        let doubtful = self.nodes().filter(|node| !node.is_bad() && !node.is_good(now));
        doubtful.min_by_key(|node| node.heard_at()).map(|node| node.contact)
    }

    /// A bucket that should be looked at again: the bits that its ids share with ours.
    pub(crate) fn due_refresh(&mut self, now: Instant) -> Option<usize> {
        let due = |bucket: &Bucket| bucket.refresh_at() <= now;
        let index = self.buckets.iter().position(due)?;
        let bucket = &mut self.buckets[index];
        bucket.refreshed_at = now;
        bucket.refreshes += 1;
        Some(index)
    }

    fn nodes(&self) -> impl Iterator<Item = &Node> {
        self.buckets.iter().flat_map(|bucket| &bucket.nodes)
    }

    fn nearest(&self, target: NodeId, fits: impl Fn(&Node) -> bool) -> Vec<Contact> {
        let fitting = self.nodes().filter(|node| fits(node));
        let mut near: Vec<_> = fitting
            .map(|node| (Distance::between(target, node.contact.id), node.contact))
            .collect();
        if near.len() > 2 * K {
            near.select_nth_unstable(2 * K);
            near.truncate(2 * K);
        }
        near.sort_unstable();
        near.into_iter().map(|(_, contact)| contact).collect()
    }

    fn index(&self, id: NodeId) -> usize {
        Distance::between(self.own, id).shared_bits().min(self.buckets.len() - 1)
    }

    fn find(&self, contact: Contact) -> Option<(usize, usize)> {
        let bucket = self.index(contact.id);
        let nodes = &self.buckets[bucket].nodes;
        nodes.iter().position(|node| node.contact == contact).map(|at| (bucket, at))
    }

    /// Another node with the same id, or at the same address; hosts of a local network may have several.
    fn rival(&self, contact: Contact) -> Option<(usize, usize)> {
        let clashes = |node: &Node| {
            node.contact.id == contact.id || same_place(node.contact.addr, contact.addr)
        };
        self.buckets
            .iter()
            .enumerate()
            .find_map(|(index, bucket)| bucket.nodes.iter().position(clashes).map(|at| (index, at)))
    }

    /// Removes what stands in the way of a node that just answered. False when it has to stay out.
    fn makes_way(&mut self, contact: Contact) -> bool {
        while let Some((index, at)) = self.rival(contact) {
            let bucket = &mut self.buckets[index];
            let rival = &bucket.nodes[at];
            // The same address under a new id is a node that was started anew.
            if !rival.is_bad() && rival.contact.addr != contact.addr {
                return false;
            }
            bucket.nodes.remove(at);
        }
        true
    }

    fn place(&mut self, now: Instant, node: Node) {
        loop {
            let index = self.index(node.contact.id);
            let splits = index + 1 == self.buckets.len() && index + 1 < BUCKETS_MAX;
            let bucket = &mut self.buckets[index];
            if let Some(at) = neighbour(&bucket.nodes, node.contact.addr.ip()) {
                // Its neighbour stays, unless it is gone or has an id that is not its own.
                if bucket.nodes[at].gives_way(&node) {
                    bucket.nodes[at] = node;
                    bucket.changed_at = now;
                }
                return;
            }
            if bucket.nodes.len() < K {
                bucket.nodes.push(node);
                bucket.changed_at = now;
                return;
            }
            if splits {
                self.split(now);
                continue;
            }
            if let Some(at) = bucket.replaceable(&node) {
                bucket.nodes[at] = node;
                bucket.changed_at = now;
            } else if node.replied_at.is_some() {
                keep_spare(&mut bucket.spares, node);
            }
            return;
        }
    }

    /// The latest spare that the table still has a place for; those without one are forgotten.
    fn take_spare(&mut self, now: Instant, index: usize) -> Option<Node> {
        loop {
            let bucket = &mut self.buckets[index];
            let spare = bucket.spares.pop()?;
            let crowded = neighbour(&bucket.nodes, spare.contact.addr.ip()).is_some();
            if !crowded && self.rival(spare.contact).is_none() {
                self.buckets[index].changed_at = now;
                return Some(spare);
            }
        }
    }

    /// The last bucket gives those that share one bit more to a new one.
    fn split(&mut self, now: Instant) {
        let index = self.buckets.len() - 1;
        let mut next = Bucket::new(now);
        let own = self.own;
        let nearer = |node: &Node| Distance::between(own, node.contact.id).shared_bits() > index;
        // It has no spares: who finds no place in a bucket that may split splits it.
        next.nodes = self.buckets[index].nodes.extract_if(.., |node| nearer(node)).collect();
        self.buckets.push(next);
    }
}

fn keep_spare(spares: &mut Vec<Node>, node: Node) {
    spares.retain(|spare| !same_place(spare.contact.addr, node.contact.addr));
    if spares.len() >= SPARES_MAX {
        spares.remove(0);
    }
    spares.push(node);
}

/// One node an address. Hosts of a local network are trusted to run several.
fn same_place(one: SocketAddr, other: SocketAddr) -> bool {
    if is_local(one.ip()) { one == other } else { one.ip() == other.ip() }
}

/// A node of the same source; all of a local network is one source, so it does not count there.
fn neighbour(nodes: &[Node], ip: IpAddr) -> Option<usize> {
    if is_local(ip) {
        return None;
    }
    nodes.iter().position(|node| source_of(node.contact.addr.ip()) == source_of(ip))
}

/// One for each bit of an id.
const BUCKETS_MAX: usize = 160;

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proto::dht::secure_id;

    use super::*;
    use crate::space::id_sharing;
    use chance::Secrets;

    const OWN: NodeId = NodeId([0; 20]);

    /// A node that shares `bits` bits with us, at a network of its own.
    fn contact(bits: usize, number: u32) -> Contact {
        let [_, a, b, c] = number.to_be_bytes();
        let mut random = [0xaa; 20];
        random[16..].copy_from_slice(&number.to_be_bytes());
        let addr = SocketAddr::from(([20 + a, b, c, 1], 6881));
        Contact { id: id_sharing(OWN, bits, random), addr }
    }

    fn secure(ip: [u8; 4], random: u8) -> Contact {
        let addr = SocketAddr::from((ip, 6881));
        Contact { id: secure_id(addr.ip(), [random; 20]), addr }
    }

    #[test]
    fn buckets_hold_eight_and_the_one_around_us_splits() {
        let now = crate::test_now();
        let mut table = Table::new(now, OWN);
        for number in 0..20 {
            table.on_reply(now, contact(0, number));
        }
        for number in 20..30 {
            table.on_reply(now, contact(1, number));
        }
        table.on_reply(now, contact(9, 30));
        let sizes: Vec<_> = table.buckets.iter().map(|bucket| bucket.nodes.len()).collect();
        assert_eq!(sizes, [8, 8, 1]);
        assert_eq!(table.buckets[0].spares.len(), SPARES_MAX);
        assert_eq!(table.good(now, OWN)[0], contact(9, 30), "nearest first");
    }

    #[test]
    fn good_becomes_doubtful_and_then_bad_and_a_spare_takes_its_place() {
        let mut now = crate::test_now();
        let mut table = Table::new(now, OWN);
        (0..9).for_each(|number| table.on_reply(now, contact(0, number)));
        assert_eq!((table.good_len(now), table.stalest(now)), (8, None));
        now += FRESH;
        assert_eq!(table.good_len(now), 0);
        assert!(table.good(now, OWN).is_empty(), "others are told of good nodes only");
        assert_eq!(table.seeds(OWN).len(), 8);
        let stalest = table.stalest(now).expect("all are doubtful");
        table.on_failure(now, stalest);
        assert!(table.find(stalest).is_some(), "once is no proof");
        table.on_failure(now, stalest);
        assert!(table.find(stalest).is_none());
        assert!(table.find(contact(0, 8)).is_some());
        let known = contact(0, 8);
        assert!(!table.on_query(now, known));
        assert_eq!(table.good_len(now), 1, "it answered before, and asks now");
    }

    #[test]
    fn a_spare_follows_the_rules_that_newcomers_follow() {
        let now = crate::test_now();
        let mut table = Table::new(now, OWN);
        (0..12).for_each(|number| table.on_reply(now, contact(0, number)));
        // The latest spare has been started anew elsewhere, the one before has got a neighbour.
        let anew = Contact { id: contact(1, 11).id, ..contact(0, 11) };
        table.on_reply(now, anew);
        let mut near = (0..=255).map(|random| secure([20, 0, 10, 77], random));
        let near = near.find(|contact| contact.id.0[0] & 0x80 != 0).expect("one");
        table.on_reply(now, near);
        assert!(table.find(near).is_some() && table.find(anew).is_some());
        for _ in 0..2 {
            table.on_failure(now, contact(0, 1));
        }
        assert_eq!(table.buckets[0].nodes.len(), K);
        assert!(table.find(contact(0, 9)).is_some());
        // With no spare that may take its place a bad node stays.
        table.buckets[0].spares.clear();
        for _ in 0..2 {
            table.on_failure(now, contact(0, 2));
        }
        assert_eq!(table.buckets[0].nodes.len(), K);
    }

    #[test]
    fn an_outage_does_not_empty_the_table() {
        let now = crate::test_now();
        let mut table = Table::new(now, OWN);
        (0..4).for_each(|number| table.on_reply(now, contact(0, number)));
        for _ in 0..5 {
            (0..4).for_each(|number| table.on_failure(now, contact(0, number)));
        }
        assert_eq!((table.good_len(now), table.seeds(OWN).len()), (0, 4));
        table.on_reply(now, contact(0, 2));
        assert_eq!(table.good_len(now), 1);
    }

    #[test]
    fn an_address_has_one_node_and_a_network_one_in_a_bucket() {
        let now = crate::test_now();
        let mut table = Table::new(now, OWN);
        let first = contact(0, 1);
        table.on_reply(now, first);
        let port = Contact { id: contact(1, 2).id, addr: SocketAddr::new(first.addr.ip(), 7) };
        table.on_reply(now, port);
        let neighbour =
            Contact { id: contact(0, 3).id, addr: SocketAddr::from(([20, 0, 1, 77], 6881)) };
        assert!(!table.on_query(now, port));
        table.on_reply(now, neighbour);
        assert_eq!(table.good(now, OWN), [first]);
        let anew = Contact { id: contact(0, 9).id, ..first };
        table.on_reply(now, anew);
        assert_eq!(table.good(now, OWN), [anew], "the same place under a new id");
    }

    #[test]
    fn who_asks_is_asked_back_when_that_may_change_something() {
        let now = crate::test_now();
        let mut table = Table::new(now, OWN);
        let (known, anew) = (contact(0, 1), Contact { id: contact(0, 9).id, ..contact(0, 1) });
        table.on_reply(now, known);
        assert!(!table.on_query(now, known), "it is known");
        assert!(table.on_query(now, anew), "it may have been started anew");
        let neighbour =
            Contact { id: contact(0, 3).id, addr: SocketAddr::from(([20, 0, 1, 77], 6881)) };
        assert!(!table.on_query(now, neighbour), "there is room, but not for its network");
        let mut secure = (0..=255).map(|random| secure([20, 0, 1, 77], random));
        let secure = secure.find(|contact| contact.id.0[0] & 0x80 != 0).expect("one");
        assert!(table.on_query(now, secure), "it would take its neighbour's place");
        (0..2).for_each(|_| table.on_failure(now, known));
        assert!(table.on_query(now, known), "it was gone and is back");
    }

    #[test]
    fn hosts_of_a_local_network_may_run_several() {
        let now = crate::test_now();
        let mut table = Table::new(now, OWN);
        for number in 0..6 {
            let addr = SocketAddr::from(([127, 0, 0, 1], 1000 + number as u16));
            table.on_reply(now, Contact { addr, ..contact(0, number) });
        }
        assert_eq!(table.good_len(now), 6);
    }

    #[test]
    fn ids_that_belong_to_their_address_push_out_others() {
        let now = crate::test_now();
        let mut chance = Secrets::new([1; 16]);
        let mut table = Table::new(now, NodeId(chance.bytes()));
        // Ids drawn at random do not fit an address but once in two million times.
        for number in 0..2000_u32 {
            let addr = contact(0, number).addr;
            table.on_reply(now, Contact { id: NodeId(chance.bytes()), addr });
        }
        for number in 0..2000_u32 {
            let [_, _, a, b] = number.to_be_bytes();
            table.on_reply(now, secure([90, a, b, 1], number as u8));
        }
        let full = table.buckets.iter().take(3);
        assert!(full.flat_map(|bucket| &bucket.nodes).all(|node| node.secure));
    }

    #[test]
    fn sparse_buckets_are_refreshed_soon_and_ever_more_rarely() {
        let start = crate::test_now();
        let mut table = Table::new(start, OWN);
        table.on_reply(start, contact(0, 1));
        let (mut now, mut waits) = (start, Vec::new());
        let mut last = start;
        while waits.len() < 6 {
            now += Duration::from_secs(1);
            if table.due_refresh(now) == Some(0) {
                waits.push(now.duration_since(last).as_secs());
                last = now;
            }
        }
        assert_eq!(waits, [60, 120, 240, 480, 900, 900]);
    }

    #[test]
    fn another_id_keeps_the_nodes() {
        let now = crate::test_now();
        let mut table = Table::new(now, OWN);
        (0..8).for_each(|number| table.on_reply(now, contact(number as usize, number)));
        table.move_to(now, NodeId([0xff; 20]));
        assert_eq!((table.own(), table.good_len(now)), (NodeId([0xff; 20]), 8));
    }
}
