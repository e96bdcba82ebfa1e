//! Two behind NATs that connect to each other at the same time (BEP 55): nobody else lets their packets in.

use std::time::Duration;

use utp::Ended;

use crate::link::Path;
use crate::world::World;

const BYTES: u64 = 10_000;
const DELAY: u64 = 50;

fn behind_nats(seed: u64, path: Path) -> World {
    let mut world = World::new(seed, 2, path, path);
    world.opened = Some(Default::default());
    world.nodes.iter_mut().for_each(|node| node.gives = BYTES);
    world
}

/// Bytes came both ways over one connection at least.
fn talks(world: &World) -> bool {
    world.received(0) >= BYTES && world.received(1) >= BYTES
}

#[test]
fn one_alone_does_not_get_through() {
    let mut world = behind_nats(1, Path::clean(DELAY));
    world.connect(0, 1, BYTES);
    world.run_for(Duration::from_secs(60));
    assert_eq!(world.nodes[0].owners[0].failed, Some(Ended::TimedOut));
    assert_eq!((world.received(1), world.nodes[1].endpoint.stats().half_open), (0, 0));
}

#[test]
fn the_later_of_two_first_packets_finds_the_way_open() {
    // At once, crossing, just after the first came in vain, and after some of its tries.
    for later in [0, 1, 20, DELAY - 1, DELAY + 1, 400, 990, 1_010, 3_500] {
        let mut world = behind_nats(later, Path::clean(DELAY));
        world.connect(0, 1, BYTES);
        world.run_for(Duration::from_millis(later));
        world.connect(1, 0, BYTES);
        // Its SYN, the answer, and a few flights of data: sooner than anything is tried again.
        let took = world.run_until(Duration::from_millis(8 * DELAY), talks);
        assert!(took >= Duration::from_millis(3 * DELAY), "{later}: {took:?}");
    }
}

#[test]
fn two_connections_that_cross_stand_both_and_each_carries_its_own() {
    let mut world = behind_nats(3, Path::clean(DELAY));
    world.connect(0, 1, BYTES);
    world.run_for(Duration::from_millis(10));
    world.connect(1, 0, BYTES);
    let all = |world: &World| {
        let mut owners = world.nodes.iter().flat_map(|node| &node.owners);
        world.nodes.iter().all(|node| node.owners.len() == 2) && owners.all(|owner| owner.left)
    };
    world.run_until(Duration::from_secs(3), all);
    assert_eq!((world.received(0), world.received(1)), (2 * BYTES, 2 * BYTES));
}

#[test]
fn packets_are_tried_often_enough_where_many_are_lost() {
    for seed in 0..50 {
        let mut world = behind_nats(seed, Path { loss: 200, ..Path::clean(DELAY) });
        world.connect(0, 1, BYTES);
        world.run_for(Duration::from_millis(30));
        world.connect(1, 0, BYTES);
        // No longer than the handshakes that follow are given.
        world.run_until(Duration::from_secs(9), talks);
    }
}
