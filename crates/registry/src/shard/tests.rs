//! The shard against a model of ordered maps, and its rules one by one.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use proto::PeerId;
use proto::tracker::ClaimedAddrs;

use super::*;
use crate::limits::FEED_MAX;

fn hash(number: u8) -> InfoHash {
    InfoHash([number; 20])
}

fn addr(number: u16) -> SocketAddr {
    if number.is_multiple_of(3) {
        SocketAddr::from(([0x2001, 0xdb8, 0, 0, 0, 0, 0, number / 4], 1_000 + number))
    } else {
        // Neighbours share an IP address.
        SocketAddr::from(([10, 0, 0, (number / 4) as u8], 1_000 + number))
    }
}

fn announce(info_hash: InfoHash, left: u64, event: AnnounceEvent) -> Announce {
    Announce {
        info_hash,
        peer_id: PeerId(*b"-TE0100-000000000000"),
        port: 1,
        uploaded: 0,
        downloaded: 0,
        left,
        event,
        num_want: Some(30),
        key: None,
        claimed: ClaimedAddrs::default(),
    }
}

fn shard() -> Shard {
    Shard::new(HashKey::new([3; 16]), Intervals::default(), Caps::default())
}

/// Announces by way of the route, as a server does.
fn send(
    shard: &mut Shard,
    now: u32,
    peer: SocketAddr,
    announce: &Announce,
    chance: u64,
) -> Announced {
    let visit = Visit {
        route: shard.route(&announce.info_hash),
        peer,
        families: Families::Both,
        peers_max: 200,
        chance,
    };
    let mut reply = Announced::default();
    shard.announce(Secs(now), announce, &visit, &mut reply);
    reply
}

fn join(shard: &mut Shard, now: u32, peer: u16, left: u64) -> Announced {
    send(shard, now, addr(peer), &announce(hash(1), left, AnnounceEvent::Started), 9)
}

fn addrs(reply: &Announced) -> BTreeSet<SocketAddr> {
    let addrs: BTreeSet<_> = reply.peers.iter().map(|peer| peer.addr).collect();
    assert_eq!(addrs.len(), reply.peers.len(), "nobody twice");
    addrs
}

#[test]
fn peers_of_one_address_differ_by_port() {
    let mut shard = shard();
    let peers: Vec<SocketAddr> = (1..=3).map(|port| ([127, 0, 0, 1], port).into()).collect();
    for &peer in &peers {
        send(&mut shard, 0, peer, &announce(hash(1), 0, AnnounceEvent::Started), 1);
    }
    let reply = join(&mut shard, 0, 1, 5);
    assert_eq!(addrs(&reply), peers.into_iter().collect());
    assert_eq!((reply.seeders, reply.leechers, reply.interval), (3, 1, 60));
}

#[test]
fn seeders_are_not_given_to_seeders_nor_anyone_to_itself() {
    let mut shard = shard();
    let again = |shard: &mut Shard, peer, left| {
        let announce = announce(hash(1), left, AnnounceEvent::None);
        addrs(&send(shard, 0, addr(peer), &announce, 9))
    };
    assert_eq!(again(&mut shard, 1, 0), [].into());
    assert_eq!(again(&mut shard, 2, 7), [addr(1)].into());
    again(&mut shard, 4, 0);
    assert_eq!(again(&mut shard, 4, 0), [addr(2)].into());
    assert_eq!(again(&mut shard, 2, 7), [addr(1), addr(4)].into());
    assert_eq!(again(&mut shard, 2, 0), [].into(), "it became a seeder");
}

#[test]
fn a_client_that_starts_without_knowing_its_size_gets_seeders() {
    let mut shard = shard();
    join(&mut shard, 0, 1, 0);
    assert_eq!(addrs(&join(&mut shard, 0, 2, 0)), [addr(1)].into());
    let quiet = announce(hash(1), 0, AnnounceEvent::None);
    assert_eq!(addrs(&send(&mut shard, 0, addr(3), &quiet, 9)), [addr(1), addr(2)].into());
    assert_eq!(addrs(&send(&mut shard, 9, addr(3), &quiet, 9)), [].into(), "by now it would know");
}

#[test]
fn stopped_peer_is_gone_at_once() {
    let mut shard = shard();
    join(&mut shard, 0, 1, 0);
    join(&mut shard, 0, 2, 7);
    send(&mut shard, 1, addr(1), &announce(hash(1), 0, AnnounceEvent::Stopped), 1);
    let reply = join(&mut shard, 1, 2, 7);
    assert_eq!((reply.seeders, reply.leechers, reply.peers.len()), (0, 1, 0));
    send(&mut shard, 1, addr(2), &announce(hash(1), 7, AnnounceEvent::Stopped), 1);
    assert_eq!(shard.scrape(Secs(1), &hash(1)), None);
    assert_eq!(shard.totals(), Totals::default());
}

#[test]
fn silent_peer_is_gone_after_two_and_a_half_intervals() {
    let mut shard = shard();
    join(&mut shard, 1_000, 1, 0);
    assert_eq!(join(&mut shard, 1_146, 2, 5).peers.len(), 1);
    assert_eq!(join(&mut shard, 1_153, 2, 5).peers.len(), 0);
}

#[test]
fn sweep_empties_large_swarms_in_pieces() {
    let mut shard = shard();
    for peer in 0..500 {
        join(&mut shard, 0, peer, 5);
    }
    let mut calls = 0;
    while !shard.sweep(Secs(153), 50) {
        calls += 1;
        assert!(calls < 50, "the sweep ends");
    }
    assert!(calls >= 10, "in pieces");
    assert_eq!(shard.totals(), Totals::default());
    assert_eq!(shard.scrape(Secs(153), &hash(1)), None);
}

#[test]
fn completed_counts_a_download_once() {
    let mut shard = shard();
    join(&mut shard, 0, 1, 9);
    for _ in 0..2 {
        send(&mut shard, 1, addr(1), &announce(hash(1), 0, AnnounceEvent::Completed), 1);
    }
    assert_eq!(
        shard.scrape(Secs(1), &hash(1)),
        Some(SwarmCounts { seeders: 1, completed: 1, leechers: 0 })
    );
}

#[test]
fn slow_client_lives_longer() {
    let mut shard = shard();
    let mut slow = announce(hash(1), 0, AnnounceEvent::Started);
    slow.peer_id = PeerId(*b"-qB5000-000000000000");
    send(&mut shard, 0, addr(1), &slow, 1);
    assert_eq!(join(&mut shard, 310, 2, 5).peers.len(), 1, "it announces every five minutes only");
    assert_eq!(join(&mut shard, 755, 2, 5).peers.len(), 0);
}

fn link(shard: &mut Shard, now: u32, first: InfoHash, second: InfoHash) {
    let displaced = shard.redirect(second, first);
    shard.adopt(Secs(now), first, second, displaced);
}

#[test]
fn torrent_that_is_no_longer_named_is_two_swarms_again() {
    let mut shard = shard();
    let (first, second) = (hash(1), hash(2));
    link(&mut shard, 0, first, second);
    let seed = |hash| announce(hash, 0, AnnounceEvent::Started);
    for (peer, hash) in [(1, first), (2, second), (4, first), (4, second)] {
        send(&mut shard, 0, addr(peer), &seed(hash), 1);
    }
    let unname = |shard: &mut Shard| {
        shard.unredirect(&second);
        let departed = shard.unpin(Secs(0), &first);
        shard.settle(Secs(0), second, departed);
    };
    unname(&mut shard);
    for (hash, expected) in [(first, [addr(1), addr(4)]), (second, [addr(2), addr(4)])] {
        let reply = send(&mut shard, 0, addr(5), &announce(hash, 9, AnnounceEvent::None), 1);
        assert_eq!(addrs(&reply), expected.into());
        assert_eq!((reply.seeders, reply.leechers), (2, 1));
    }
    assert_eq!((shard.totals().swarms, shard.totals().peers), (2, 6));
    // Without peers nothing of it is kept.
    while !shard.sweep(Secs(100_000), 100) {}
    assert_eq!(shard.scrape(Secs(100_000), &first), None);
    assert_eq!(shard.scrape(Secs(100_000), &second), None);
    link(&mut shard, 100_000, first, second);
    assert!(shard.scrape(Secs(100_000), &first).is_some());
    unname(&mut shard);
    assert_eq!((shard.scrape(Secs(100_000), &first), shard.totals().peers), (None, 0));
}

#[test]
fn swarm_that_is_no_longer_named_goes_with_its_last_peer() {
    let mut shard = shard();
    assert!(shard.pin(Secs(0), hash(1)));
    join(&mut shard, 0, 1, 0);
    shard.unpin(Secs(0), &hash(1));
    assert_eq!(shard.scrape(Secs(1), &hash(1)).map(|counts| counts.seeders), Some(1));
    send(&mut shard, 1, addr(1), &announce(hash(1), 0, AnnounceEvent::Stopped), 1);
    assert_eq!(shard.scrape(Secs(1), &hash(1)), None);
    shard.unpin(Secs(1), &hash(1));
}

#[test]
fn changed_counts_of_named_swarms_are_told_once() {
    let mut shard = shard();
    let completed = |hash| announce(hash, 0, AnnounceEvent::Completed);
    shard.pin(Secs(0), hash(1));
    shard.restore_completed(&hash(1), 7);
    shard.restore_completed(&hash(1), 5);
    assert_eq!(shard.totals().completed, 7);
    let drained = |shard: &mut Shard| {
        let mut out = Vec::new();
        shard.drain_completed(&mut out);
        out
    };
    assert_eq!(drained(&mut shard), []);
    for named in [1, 2] {
        send(&mut shard, 0, addr(1), &completed(hash(named)), 1);
    }
    assert_eq!(drained(&mut shard), [(hash(1), 8)], "the other one has no name");
    assert_eq!(drained(&mut shard), []);
    // What came before the name counts from then on.
    link(&mut shard, 0, hash(3), hash(2));
    assert_eq!(drained(&mut shard), [(hash(3), 1)]);
}

#[test]
fn hybrid_shares_counts_but_not_addresses() {
    let mut shard = shard();
    let (first, second) = (hash(1), hash(2));
    let seed = |hash| announce(hash, 0, AnnounceEvent::Started);
    let leech = |hash| announce(hash, 9, AnnounceEvent::Started);
    send(&mut shard, 0, addr(1), &seed(first), 1);
    send(&mut shard, 0, addr(2), &seed(second), 1);
    link(&mut shard, 0, first, second);
    send(&mut shard, 0, addr(4), &seed(first), 1);
    send(&mut shard, 0, addr(4), &seed(second), 1);
    let reply = send(&mut shard, 0, addr(5), &leech(first), 1);
    assert_eq!(addrs(&reply), [addr(1), addr(4)].into());
    let reply = send(&mut shard, 0, addr(7), &leech(second), 1);
    assert_eq!(addrs(&reply), [addr(2), addr(4)].into());
    assert_eq!((reply.seeders, reply.leechers), (3, 2));
    let stop = announce(first, 0, AnnounceEvent::Stopped);
    send(&mut shard, 0, addr(4), &stop, 1);
    let reply = send(&mut shard, 0, addr(5), &leech(first), 1);
    assert_eq!(addrs(&reply), [addr(1)].into());
    let reply = send(&mut shard, 0, addr(7), &leech(second), 1);
    assert_eq!(addrs(&reply), [addr(2), addr(4)].into(), "the other name stays");
    let names = |shard: &mut Shard| shard.peers(Secs(0), &first, Names::BOTH, (50, 1)).len();
    assert_eq!(names(&mut shard), 5);
    assert_eq!(shard.route(&second), Route { swarm: first, names: Names::SECOND });
}

#[test]
fn pinned_swarm_keeps_its_completed_count() {
    let mut shard = shard();
    assert!(shard.pin(Secs(0), hash(1)));
    send(&mut shard, 1, addr(1), &announce(hash(1), 0, AnnounceEvent::Completed), 1);
    send(&mut shard, 1, addr(1), &announce(hash(1), 0, AnnounceEvent::Stopped), 1);
    let counts = SwarmCounts { seeders: 0, completed: 1, leechers: 0 };
    assert_eq!(shard.scrape(Secs(1_000), &hash(1)), Some(counts));
    assert_eq!(shard.totals().swarms, 0);
}

#[test]
fn feed_tells_of_news_once_and_of_renewals_seldom() {
    let mut shard = shard();
    join(&mut shard, 0, 1, 5);
    shard.enable_feed();
    let kinds = |shard: &mut Shard| {
        let mut out = Vec::new();
        shard.drain_feed(usize::MAX, &mut out);
        out.into_iter()
            .flat_map(|swarm| swarm.changes)
            .map(|change| match change {
                Change::Joined(_) => 'j',
                Change::Renewed(_) => 'r',
                Change::Left { .. } => 'l',
            })
            .collect::<String>()
    };
    join(&mut shard, 1, 1, 5);
    join(&mut shard, 1, 2, 5);
    assert_eq!(kinds(&mut shard), "rj", "a peer from before, and a new one");
    join(&mut shard, 50, 2, 5);
    assert_eq!(kinds(&mut shard), "");
    join(&mut shard, 51, 2, 0);
    join(&mut shard, 52, 1, 5);
    assert_eq!(kinds(&mut shard), "j", "it became a seeder");
    for now in (100..1_600).step_by(100) {
        join(&mut shard, now, 2, 0);
    }
    assert_eq!(kinds(&mut shard), "lr", "one fell silent, one is due");
    send(&mut shard, 1_600, addr(2), &announce(hash(1), 0, AnnounceEvent::Stopped), 1);
    join(&mut shard, 1_600, 4, 5);
    send(&mut shard, 1_600, addr(4), &announce(hash(1), 0, AnnounceEvent::Stopped), 1);
    assert_eq!(kinds(&mut shard), "ll", "the last word on each");
}

#[test]
fn feed_is_bounded_and_makes_up_for_it() {
    let mut shard = shard();
    shard.enable_feed();
    let mut started = announce(hash(1), 5, AnnounceEvent::Started);
    started.num_want = Some(0);
    let peer = |number: u32| SocketAddr::from((number.to_be_bytes(), 80));
    let all = FEED_MAX as u32 + 10;
    for number in 0..all {
        send(&mut shard, 0, peer(number), &started, 1);
    }
    assert_eq!(shard.totals().feed_dropped, 10);
    let mut out = Vec::new();
    shard.drain_feed(usize::MAX, &mut out);
    send(&mut shard, 10, peer(all - 1), &started, 1);
    send(&mut shard, 10, peer(0), &started, 1);
    out.clear();
    shard.drain_feed(usize::MAX, &mut out);
    assert_eq!(out[0].changes.len(), 1, "only the one that was not told of");
}

#[test]
fn what_one_node_feeds_another_takes_in() {
    let (mut one, mut two) = (shard(), shard());
    one.enable_feed();
    two.enable_feed();
    join(&mut one, 0, 1, 0);
    let mut out = Vec::new();
    one.drain_feed(100, &mut out);
    let Some(Change::Joined(presence)) = out[0].changes.first().copied() else {
        panic!("it joined: {out:?}");
    };
    two.intake(Secs(77), out[0].info_hash, &presence);
    assert_eq!(addrs(&join(&mut two, 78, 2, 5)), [addr(1)].into());
    two.intake_left(&hash(1), addr(2));
    assert_eq!(two.totals().peers, 2, "another node cannot make our own peer leave");
    two.intake_left(&hash(1), addr(1));
    assert_eq!(two.totals().peers, 1);
    out.clear();
    two.drain_feed(100, &mut out);
    assert_eq!(out.len(), 1);
    assert_eq!(out[0].changes.len(), 1, "what came from others is not told to others");
}

#[test]
fn teems_own_peers_are_known_by_their_ids_as_long_as_they_are_there() {
    let mut shard = shard();
    let named = |shard: &mut Shard, now| {
        let mut named = shard.named_peers(Secs(now), &hash(1), (200, 7));
        named.sort_unstable();
        named
    };
    let mut own = announce(hash(1), 5, AnnounceEvent::Started);
    own.peer_id.0[19] = 7;
    send(&mut shard, 0, addr(1), &own, 1);
    let mut stock = announce(hash(1), 0, AnnounceEvent::Started);
    stock.peer_id = PeerId(*b"-TR4000-000000000000");
    send(&mut shard, 0, addr(2), &stock, 1);
    join(&mut shard, 100, 3, 0);
    let other = PeerId(*b"-TE0100-000000000000");
    assert_eq!(named(&mut shard, 100), [(own.peer_id, addr(1)), (other, addr(3))]);
    assert_eq!(shard.named_peers(Secs(100), &hash(1), (1, 7)).len(), 1);
    assert_eq!(shard.named_peers(Secs(100), &hash(2), (1, 7)), []);
    assert_eq!(named(&mut shard, 153), [(other, addr(3))], "it fell silent");
    send(&mut shard, 160, addr(3), &announce(hash(1), 0, AnnounceEvent::Stopped), 1);
    assert_eq!(named(&mut shard, 160), []);
}

#[test]
fn ids_follow_a_hybrid_to_its_swarm() {
    let mut shard = shard();
    let seed = |hash| announce(hash, 0, AnnounceEvent::Started);
    send(&mut shard, 0, addr(1), &seed(hash(1)), 1);
    send(&mut shard, 0, addr(2), &seed(hash(2)), 1);
    link(&mut shard, 0, hash(1), hash(2));
    send(&mut shard, 10, addr(2), &seed(hash(2)), 1);
    assert_eq!(shard.named_peers(Secs(10), &hash(1), (9, 1)).len(), 2, "with its next announce");
}

/// What the shard should know: peers by swarm and address.
#[derive(Default)]
struct Model {
    peers: BTreeMap<(u8, SocketAddr), ModelPeer>,
    linked: bool,
}

#[derive(Clone, Copy)]
struct ModelPeer {
    seeder: bool,
    names: Names,
    expiry: u32,
}

impl Model {
    fn route(&self, number: u8) -> (u8, Names) {
        if self.linked && number == 1 { (0, Names::SECOND) } else { (number, Names::FIRST) }
    }

    fn expire(&mut self, now: u32) {
        self.peers.retain(|_, peer| now / 4 < peer.expiry.div_ceil(4));
    }

    fn link(&mut self) {
        self.linked = true;
        let moved: Vec<_> = self.peers.keys().filter(|key| key.0 == 1).copied().collect();
        for key in moved {
            let mut peer = self.peers.remove(&key).expect("it is there");
            let old = self.peers.get(&(0, key.1));
            peer.names = old.map_or(Names::SECOND, |old| old.names.with(Names::SECOND));
            self.peers.insert((0, key.1), peer);
        }
    }
}

#[derive(Debug, Clone)]
enum Step {
    Announce { swarm: u8, peer: u16, seeder: bool, stopped: bool, chance: u64 },
    Wait(u32),
    Sweep(usize),
    Link,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        12 => (0..3_u8, 0..40_u16, any::<bool>(), 0..6_u8, any::<u64>()).prop_map(
            |(swarm, peer, seeder, stop, chance)| Step::Announce {
                swarm, peer, seeder, stopped: stop == 0, chance,
            }
        ),
        2 => (1..60_u32).prop_map(Step::Wait),
        1 => (1..50_usize).prop_map(Step::Sweep),
        1 => Just(Step::Link),
    ]
}

fn check_announce(shard: &mut Shard, model: &mut Model, now: u32, step: &Step) {
    let &Step::Announce { swarm, peer, seeder, stopped, chance } = step else { return };
    let (home, name) = model.route(swarm);
    let key = (home, addr(peer));
    model.expire(now);
    let known = model.peers.contains_key(&key);
    let candidates: BTreeSet<SocketAddr> = model
        .peers
        .iter()
        .filter(|(other, peer)| {
            other.0 == home
                && **other != key
                && peer.names.overlaps(name)
                && !(seeder && known && peer.seeder)
        })
        .map(|(other, _)| other.1)
        .collect();
    let event = if stopped { AnnounceEvent::Stopped } else { AnnounceEvent::None };
    let left = if seeder { 0 } else { 10 };
    let reply = send(shard, now, addr(peer), &announce(hash(swarm), left, event), chance);
    if stopped {
        if let Some(peer) = model.peers.get_mut(&key) {
            peer.names = peer.names.without(name);
            if peer.names.is_empty() {
                model.peers.remove(&key);
            }
        }
        assert!(reply.peers.is_empty());
    } else {
        let names = model.peers.get(&key).map_or(name, |old| old.names.with(name));
        model.peers.insert(key, ModelPeer { seeder, names, expiry: now + 150 });
        let given = addrs(&reply);
        assert!(given.is_subset(&candidates), "{given:?} of {candidates:?}");
        assert_eq!(given.len(), candidates.len().min(30));
    }
    let seeders = model.peers.iter().filter(|(k, p)| k.0 == home && p.seeder).count();
    let all = model.peers.iter().filter(|(k, _)| k.0 == home).count();
    assert_eq!((reply.seeders as usize, reply.leechers as usize), (seeders, all - seeders));
}

proptest! {
    #[test]
    fn shard_does_what_the_model_does(steps in prop::collection::vec(step(), 1..300)) {
        let mut shard = shard();
        let mut model = Model::default();
        let mut now = 0;
        for step in &steps {
            match step {
                Step::Announce { .. } => check_announce(&mut shard, &mut model, now, step),
                Step::Wait(secs) => now += secs,
                Step::Sweep(budget) => {
                    shard.sweep(Secs(now), *budget);
                }
                Step::Link => {
                    model.expire(now);
                    for number in 0..3 {
                        shard.scrape(Secs(now), &hash(number));
                    }
                    link(&mut shard, now, hash(0), hash(1));
                    model.link();
                }
            }
        }
        model.expire(now);
        // The first round may start in the middle.
        while !shard.sweep(Secs(now), 1_000) {}
        while !shard.sweep(Secs(now), 1_000) {}
        prop_assert_eq!(shard.totals().peers, model.peers.len());
        let seeders = model.peers.values().filter(|peer| peer.seeder).count();
        prop_assert_eq!(shard.totals().seeders, seeders);
    }
}

fn crowded(caps: Caps) -> Shard {
    Shard::new(HashKey::new([3; 16]), Intervals::default(), caps)
}

fn enter(shard: &mut Shard, now: u32, info_hash: InfoHash, number: u16) {
    send(shard, now, addr(number), &announce(info_hash, 1, AnnounceEvent::Started), 1);
}

#[test]
fn made_up_hashes_push_out_each_other_before_a_swarm_of_many() {
    let mut shard = crowded(Caps { swarms: 40, peers: 1_000 });
    shard.pin(Secs(0), hash(200));
    for number in 0..12 {
        enter(&mut shard, 0, hash(201), number);
    }
    for made_up in 0..20_000_u32 {
        let mut bytes = [9; 20];
        bytes[..4].copy_from_slice(&made_up.to_be_bytes());
        enter(&mut shard, 10, InfoHash(bytes), 50);
        assert!(shard.swarms.len() <= 40);
    }
    assert_eq!(shard.scrape(Secs(10), &hash(201)).map(|counts| counts.leechers), Some(12));
    assert!(shard.scrape(Secs(10), &hash(200)).is_some(), "the catalogue's swarms stay");
    assert!(shard.totals().evicted > 19_000);
}

#[test]
fn only_the_catalogue_can_fill_a_shard_for_good() {
    let mut shard = crowded(Caps { swarms: 3, peers: 1_000 });
    for number in 0..3 {
        assert!(shard.pin(Secs(0), hash(number)));
    }
    let reply = send(&mut shard, 0, addr(1), &announce(hash(9), 5, AnnounceEvent::Started), 1);
    assert!(reply.interval > 0, "it is answered all the same");
    assert_eq!((shard.totals().refused, shard.totals().peers), (1, 0));
}

#[test]
fn a_full_shard_takes_peers_from_its_large_swarms() {
    let mut shard = crowded(Caps { swarms: 1_000, peers: 100 });
    for number in 0..90 {
        enter(&mut shard, 0, hash(1), number);
    }
    for number in 0..60 {
        enter(&mut shard, 0, hash(2 + number as u8), 100 + number);
    }
    let totals = shard.totals();
    assert_eq!((totals.peers, totals.refused, totals.evicted), (100, 0, 50));
    while !shard.sweep(Secs(0), 1_000) {}
    assert_eq!(shard.swarms.len(), shard.totals().swarms, "emptied ones are swept");
}
