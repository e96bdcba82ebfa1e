//! Whatever the network does: all bytes arrive, once, in order.

use std::time::Duration;

use proptest::prelude::*;

use crate::link::Path;
use crate::world::{Clock, World};

const MINUTES: Duration = Duration::from_secs(600);

fn everybody_left(world: &World) -> bool {
    world.nodes.iter().all(|node| node.owners.iter().all(|owner| owner.left))
}

/// Both sides send so much at the same time, and leave.
fn exchange(seed: u64, there: Path, back: Path, bytes: (u64, u64)) -> World {
    let mut world = World::new(seed, 2, there, back);
    world.nodes[1].gives = bytes.1;
    world.connect(0, 1, bytes.0);
    world.run_until(MINUTES, |world| {
        everybody_left(world)
            && world.nodes.iter().all(|node| node.endpoint.stats().connections == 0)
    });
    assert_eq!((world.received(1), world.received(0)), bytes);
    for node in &world.nodes {
        let stats = node.endpoint.stats();
        assert_eq!((stats.half_open, stats.early_len), (0, 0));
    }
    world
}

#[test]
fn bytes_cross_a_clean_path() {
    let world = exchange(1, Path::clean(20), Path::clean(20), (1_000_000, 300_000));
    // Packets of the longest kind, acknowledged in pairs, and little else.
    assert!(world.sent_datagrams < 1_700, "{}", world.sent_datagrams);
}

#[test]
fn bytes_cross_a_path_that_loses_much() {
    let path = Path { loss: 100, ..Path::clean(10) };
    exchange(2, path, path, (300_000, 300_000));
}

#[test]
fn bytes_cross_a_path_that_reorders_and_repeats() {
    let path =
        Path { late: 300, repeats: 100, late_by: Duration::from_millis(30), ..Path::clean(10) };
    exchange(3, path, path, (500_000, 500_000));
}

#[test]
fn bytes_cross_a_path_with_everything() {
    let path = Path {
        loss: 50,
        late: 100,
        repeats: 50,
        late_by: Duration::from_millis(80),
        mtu: 1_300,
        ..Path::clean(40).with_rate(1_000_000, 30_000)
    };
    exchange(4, path, path, (500_000, 100_000));
}

#[test]
fn acknowledgements_that_get_lost_stop_nothing() {
    let back = Path { loss: 500, ..Path::clean(10) };
    exchange(5, Path::clean(10), back, (500_000, 0));
}

#[test]
fn packets_grow_to_what_the_path_takes() {
    for (mtu, longest) in [(1_472, 1_472), (1_400, 1_400), (1_250, 1_250)] {
        let path = Path { mtu, ..Path::clean(5) };
        let world = exchange(6, path, path, (1_000_000, 0));
        let fewest = 1_000_000 / (longest - 20);
        let datagrams = world.links[0].passed;
        assert!(datagrams >= fewest && datagrams < fewest + fewest / 5, "{mtu}: {datagrams}");
    }
}

#[test]
fn path_that_comes_back_is_used_again() {
    let path = Path::clean(20).with_rate(1_000_000, 1_000_000);
    let mut world = World::new(7, 2, path, Path::clean(20));
    world.connect(0, 1, 2_000_000);
    world.run_for(Duration::from_millis(400));
    let before = world.received(1);
    assert!(before > 0 && before < 2_000_000, "{before}");
    world.links[0].path.loss = 1_000;
    world.run_for(Duration::from_secs(8));
    world.links[0].path.loss = 0;
    world.run_until(Duration::from_secs(60), |world| world.received(1) == 2_000_000);
}

#[test]
fn lazy_reader_holds_the_sender_back() {
    let mut world = World::new(8, 2, Path::clean(5), Path::clean(5));
    world.connect(0, 1, 3_000_000);
    world.run_until(MINUTES, |world| world.received(1) > 100_000);
    world.nodes[1].owners[0].lazy = true;
    world.run_for(Duration::from_secs(120));
    assert!(world.received(1) < 1_000_000);
    assert!(world.nodes[0].owners[0].failed.is_none());
    let sent = world.sent_datagrams;
    world.run_for(Duration::from_secs(60));
    assert!(world.sent_datagrams - sent < 60, "a closed window is asked about now and then");
    world.nodes[1].owners[0].lazy = false;
    world.attend(1);
    world.run_until(MINUTES, |world| world.received(1) == 3_000_000);
}

#[test]
fn reader_that_stalled_is_served_as_before_within_round_trips() {
    let path = Path::clean(50).with_rate(2_000_000, 2_000_000);
    let mut world = World::new(9, 2, path, Path::clean(50));
    world.connect(0, 1, 1 << 40);
    world.run_for(Duration::from_secs(20));
    let before = world.received(1);
    world.run_for(Duration::from_secs(1));
    let rate = world.received(1) - before;
    world.nodes[1].owners[0].lazy = true;
    world.run_for(Duration::from_secs(10));
    world.nodes[1].owners[0].lazy = false;
    world.attend(1);
    // What it was told of travels for one round trip; then it is as it was.
    world.run_for(Duration::from_millis(200));
    let before = world.received(1);
    world.run_for(Duration::from_secs(1));
    let after = world.received(1) - before;
    assert!(after * 10 > rate * 8, "{after} bytes a second after {rate}");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn bytes_arrive_whatever_the_network_does(
        seed in any::<u64>(),
        loss in 0_u64..200,
        late in 0_u64..500,
        repeats in 0_u64..200,
        late_by in 0_u64..200,
        delay in 0_u64..100,
        rate in prop_oneof![Just(0), 50_000_u64..5_000_000],
        mtu in 1_200_usize..1_600,
        bytes in (0_u64..120_000, 0_u64..120_000),
        clocks in [(0_u64..10_000, -900_i64..900), (0_u64..10_000, -900_i64..900)],
    ) {
        let queue = if rate == 0 { usize::MAX } else { 20_000 };
        let path = Path {
            late,
            repeats,
            late_by: Duration::from_millis(late_by),
            mtu,
            ..Path::clean(delay).with_rate(rate, queue)
        };
        let mut world = World::new(seed, 2, path, path);
        for (node, (ahead, gains)) in clocks.into_iter().enumerate() {
            world.set_clock(node, Clock { ahead: Duration::from_secs(ahead), gains });
        }
        world.nodes[1].gives = bytes.1;
        world.connect(0, 1, bytes.0.max(1));
        // A few tries to connect may all be lost; what was accepted arrives.
        world.run_until(MINUTES, |world| world.nodes[0].endpoint.stats().connections == 1 && !world.nodes[1].owners.is_empty());
        world.links.iter_mut().for_each(|link| link.path.loss = loss);
        world.run_until(MINUTES, everybody_left);
        prop_assert_eq!((world.received(1), world.received(0)), (bytes.0.max(1), bytes.1));
    }
}
