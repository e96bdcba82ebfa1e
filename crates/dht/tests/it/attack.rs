//! Somebody puts nodes around an info hash, to hide its peers.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use dht::limits::{CANDIDATES_MAX, K};
use proto::InfoHash;
use proto::dht::{Contact, NODES_MAX, NodeId, secure_id};

use crate::world::{Host, Town, World};

/// Nodes with ids that share their first 48 bits with the hash, at addresses that `place` chooses.
fn surround(
    world: &mut World,
    hash: InfoHash,
    count: usize,
    place: impl Fn(&mut World, usize) -> SocketAddr,
) -> Vec<SocketAddr> {
    let mut friends = Vec::new();
    for number in 0..count {
        let mut id = world.random_id();
        id[..6].copy_from_slice(&hash.0[..6]);
        let addr = place(world, number);
        friends.push(Contact { id: NodeId(id), addr });
    }
    for number in 0..count {
        // Each names others of them, in turn.
        let mut named = friends.clone();
        named.rotate_left(number);
        named.truncate(K);
        let Contact { id, addr } = friends[number];
        world.hosts.insert(addr, Host::Liar { id, friends: named });
    }
    friends.into_iter().map(|contact| contact.addr).collect()
}

/// They make themselves known: everybody is told of them, and they answer.
fn advertise(town: &mut Town, liars: &[SocketAddr]) {
    let now = town.world.now;
    for addr in town.open.clone() {
        for _ in 0..6 {
            let liar = liars[town.world.random() as usize % liars.len()];
            town.world.node(addr).add_node(now, liar);
        }
        town.world.drain(addr);
    }
    town.world.run(Duration::from_secs(10));
}

#[test]
fn nodes_with_ids_of_their_choice_do_not_hide_the_peers() {
    let mut town = Town::grow(11, 300);
    let (hash, expected) = town.publish(3);
    let liars = surround(&mut town.world, hash, 64, |world, _| world.free_addr());
    advertise(&mut town, &liars);
    // Peers that were announced before, and such that announce in the midst of the liars.
    town.assert_found(hash, &expected, 10);
    let newcomer = town.any_open();
    town.world.search(newcomer, hash, Some(9000));
    town.world.run(Duration::from_secs(15));
    let mut found = 0;
    for _ in 0..10 {
        let from = town.any_open();
        let peer = SocketAddr::new(newcomer.ip(), 9000);
        found += usize::from(town.seek(from, hash).contains(&peer));
    }
    assert_eq!(found, 10);
}

#[test]
fn one_network_full_of_nodes_is_one_node() {
    let mut town = Town::grow(12, 200);
    let (hash, expected) = town.publish(3);
    let liars = surround(&mut town.world, hash, 200, |_, number| {
        SocketAddr::new(IpAddr::from([99, 9, 9, number as u8]), 6881)
    });
    advertise(&mut town, &liars);
    for _ in 0..10 {
        let from = town.any_open();
        let before = town.world.sent;
        assert_eq!(town.seek(from, hash), expected);
        assert!(town.world.sent - before < 4_000, "nobody is led about");
    }
}

/// An address, and an id that belongs to it and shares its first 14 bits with the hash: nearer than any
/// node of a network of some hundreds.
fn secure_near(world: &mut World, hash: InfoHash) -> Contact {
    loop {
        let addr = world.free_addr();
        for last in 0..8 {
            let mut random = world.random_id();
            random[19] = last;
            let id = secure_id(addr.ip(), random);
            if id.0[0] == hash.0[0] && (id.0[1] ^ hash.0[1]) >> 2 == 0 {
                return Contact { id, addr };
            }
        }
    }
}

#[test]
fn nodes_that_are_named_and_do_not_exist_do_not_hide_the_peers() {
    let mut town = Town::grow(13, 300);
    let (hash, expected) = town.publish(3);
    let mut liars = Vec::new();
    for _ in 0..3 {
        let Contact { id, addr } = secure_near(&mut town.world, hash);
        // Nobody is there, but nobody can tell from the names: the ids belong to the addresses.
        let friends = (0..NODES_MAX).map(|_| secure_near(&mut town.world, hash)).collect();
        town.world.hosts.insert(addr, Host::Liar { id, friends });
        liars.push(addr);
    }
    advertise(&mut town, &liars);
    town.assert_found(hash, &expected, 10);
    let newcomer = town.any_open();
    town.world.search(newcomer, hash, Some(9000));
    town.world.run(Duration::from_secs(60));
    let (_, announced) = town.world.found(newcomer, hash);
    assert!(announced >= Some(K), "{announced:?} nodes took the announce");
    for _ in 0..5 {
        let from = town.any_open();
        assert!(town.seek(from, hash).contains(&SocketAddr::new(newcomer.ip(), 9000)));
    }
}

#[test]
fn many_liars_that_name_nobody_do_not_hide_the_peers() {
    let mut town = Town::grow(14, 300);
    let (hash, expected) = town.publish(3);
    let mut liars = Vec::new();
    // Twice as many names as there is room for, and nobody at any of them.
    for _ in 0..2 * CANDIDATES_MAX / K {
        let mut id = town.world.random_id();
        id[..6].copy_from_slice(&hash.0[..6]);
        let addr = town.world.free_addr();
        let friends = (0..K).map(|_| secure_near(&mut town.world, hash)).collect();
        town.world.hosts.insert(addr, Host::Liar { id: NodeId(id), friends });
        liars.push(addr);
    }
    advertise(&mut town, &liars);
    for _ in 0..10 {
        let from = town.any_open();
        town.world.search(from, hash, None);
        town.world.run(Duration::from_secs(60));
        let (found, ended) = town.world.found(from, hash);
        assert!(ended.is_some(), "a search ends");
        assert!(expected.iter().all(|peer| found.contains(peer)), "{found:?}");
    }
}
