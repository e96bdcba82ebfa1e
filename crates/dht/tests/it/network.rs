//! A thousand nodes: what is announced is found, also when many are dead, unreachable or lossy.

use std::time::Duration;

use crate::world::{Host, Town, World};

#[test]
fn in_a_thousand_nodes_what_is_announced_is_found_from_everywhere() {
    let mut town = Town::grow(1, 1000);
    eprintln!("{} datagrams in {:?}", town.world.sent, town.world.elapsed());
    let (hash, expected) = town.publish(5);
    // 1. Nodes of all kinds find all of them.
    town.assert_found(hash, &expected, 10);
    for from in town.closed.clone().into_iter().take(5) {
        assert_eq!(town.seek(from, hash), expected, "a node behind a NAT finds as well");
    }
    // 2. Ids belong to addresses after a few answers.
    let known = town.world.events.values().flatten();
    let told = known.filter(|event| matches!(event, dht::Event::External(_))).count();
    assert!(told > 900, "{told} nodes know their address");
    // 3. Every fifth dies, and one datagram in twenty gets lost.
    town.world.lost = 50;
    let mut dead = 0;
    for addr in town.open.clone().into_iter().step_by(5) {
        town.world.hosts.insert(addr, Host::Dead);
        town.open.retain(|other| *other != addr);
        dead += 1;
    }
    assert!(dead >= 180);
    let mut found = 0;
    for _ in 0..20 {
        let from = town.any_open();
        found += usize::from(town.seek(from, hash).is_superset(&expected));
    }
    assert!(found >= 19, "found by {found} of 20 although the network changed at once");
    let (hash, expected) = town.publish(5);
    for _ in 0..10 {
        let from = town.any_open();
        assert_eq!(town.seek(from, hash), expected, "announced anew among the dead");
    }
}

#[test]
fn the_ipv6_network_is_one_of_its_own() {
    let mut town = Town::grow_at(5, 150, World::free_addr_v6);
    let (hash, expected) = town.publish(4);
    assert!(expected.iter().all(std::net::SocketAddr::is_ipv6));
    for from in [town.any_open(), town.any_open(), town.closed[0]] {
        assert_eq!(town.seek(from, hash), expected);
    }
    let told = town.world.events.values().flatten();
    let told = told.filter(|event| matches!(event, dht::Event::External(_))).count();
    assert!(told > 130, "{told} nodes know their address, and have an id of it");
}

#[test]
fn the_same_seed_makes_the_same_network() {
    let run = |seed| {
        let mut town = Town::grow(seed, 60);
        town.world.lost = 50;
        let (hash, _) = town.publish(3);
        let from = town.any_open();
        (town.seek(from, hash), town.world.sent)
    };
    assert_eq!(run(7), run(7));
    assert_ne!(run(7).1, run(8).1);
}

#[test]
fn a_quiet_network_stays_whole_for_hours_at_little_cost() {
    let mut town = Town::grow(3, 40);
    let before = town.world.sent;
    town.world.run(Duration::from_secs(2 * 3600));
    let a_minute = (town.world.sent - before) / 40 / 120;
    assert!(a_minute < 30, "{a_minute} datagrams a node and minute while idle");
    let (hash, expected) = town.publish(2);
    town.assert_found(hash, &expected, 5);
    // Peers that do not announce again are forgotten.
    town.world.run(Duration::from_secs(32 * 60));
    let from = town.any_open();
    assert!(town.seek(from, hash).is_empty());
}
