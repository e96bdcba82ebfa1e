//! How much of a path a background transfer takes, and from whom.

use std::time::Duration;

use crate::link::Path;
use crate::world::{Clock, World};

const SECOND: Duration = Duration::from_secs(1);
/// 4 Mbit/s.
const RATE: u64 = 500_000;
const FOREVER: u64 = 1 << 40;

/// A home's uplink with a second of queue.
fn uplink() -> Path {
    Path::clean(15).with_rate(RATE, RATE as usize)
}

#[test]
fn alone_a_flow_uses_the_path_and_its_queue_stays_short() {
    let mut world = World::new(1, 2, uplink(), Path::clean(15));
    world.connect(0, 1, FOREVER);
    world.run_for(SECOND * 10);
    assert!(world.links[0].waited_max < Duration::from_millis(150), "{world:?}");
    world.links[0].forget_waits();
    let before = world.received(1);
    world.run_for(SECOND * 30);
    let used = (world.received(1) - before) as f64 / (RATE * 30) as f64;
    assert!(used > 0.9, "{used}");
    let link = &world.links[0];
    assert!(link.waited_max < Duration::from_millis(120), "{link:?}");
    assert!((60..110).contains(&link.waited_mean().as_millis()), "{link:?}");
    assert_eq!(link.dropped, 0, "it never fills the queue");
}

#[test]
fn queue_stays_short_for_as_long_as_a_flow_lasts() {
    let path = Path::clean(15).with_rate(RATE / 2, RATE as usize);
    let mut world = World::new(8, 2, path, Path::clean(15));
    // Three streams of one endpoint, which only together can see the queue empty.
    for _ in 0..3 {
        world.connect(0, 1, FOREVER);
    }
    world.run_for(SECOND * 200);
    world.links[0].forget_waits();
    let before = world.received(1);
    world.run_for(SECOND * 40);
    let used = (world.received(1) - before) as f64 / (RATE / 2 * 40) as f64;
    let link = &world.links[0];
    let mean = link.waited_mean();
    assert!(mean < Duration::from_millis(100), "{mean:?} {link:?}");
    assert!(link.waited_max < Duration::from_millis(140), "{link:?}");
    assert!(used > 0.9, "{used}");
}

#[test]
fn queue_stays_short_although_many_who_know_nothing_of_each_other_send_to_one() {
    let path = Path::clean(15).with_rate(RATE / 2, RATE as usize);
    let mut world = World::new(9, 8, path, Path::clean(15));
    for (sender, ahead) in [(0, 100), (2, 107), (4, 113), (6, 122)] {
        world.set_clock(sender, Clock { ahead: SECOND * ahead, gains: 0 });
    }
    for sender in [0, 2, 4, 6] {
        world.connect(sender, 1, FOREVER);
    }
    world.run_for(SECOND * 290);
    world.links[0].forget_waits();
    let before = world.received(1);
    world.run_for(SECOND * 30);
    let used = (world.received(1) - before) as f64 / (RATE / 2 * 30) as f64;
    let link = &world.links[0];
    let mean = link.waited_mean();
    assert!(mean < Duration::from_millis(100), "{mean:?} {link:?}");
    assert!(link.waited_max < Duration::from_millis(150), "{link:?}");
    assert!(used > 0.9, "{used}");
}

#[test]
fn clock_of_the_peer_that_gains_is_no_queue() {
    let rate = RATE / 4;
    let path = Path::clean(15).with_rate(rate, rate as usize);
    let mut world = World::new(7, 2, path, Path::clean(15));
    // Six milliseconds in ten seconds: more than half the target within the memory of delays.
    world.set_clock(1, Clock { ahead: SECOND * 4_290, gains: 600 });
    world.connect(0, 1, FOREVER);
    world.run_for(SECOND * 80);
    world.links[0].forget_waits();
    let before = world.received(1);
    world.run_for(SECOND * 30);
    let used = (world.received(1) - before) as f64 / (rate * 30) as f64;
    let waited = world.links[0].waited_mean().as_millis();
    assert!(used > 0.9 && (75..90).contains(&waited), "{used} of the path, {waited} ms");
}

#[test]
fn two_flows_share_alike() {
    let mut world = World::new(2, 4, uplink(), Path::clean(15));
    world.connect(0, 1, FOREVER);
    world.connect(2, 3, FOREVER);
    world.run_for(SECOND * 20);
    let before = [1, 3].map(|node| world.received(node));
    world.run_for(SECOND * 40);
    let got = [1, 3].map(|node| world.received(node)).map(|bytes| bytes as f64);
    let got = [got[0] - before[0] as f64, got[1] - before[1] as f64];
    let share = got[0].min(got[1]) / got[0].max(got[1]);
    assert!(share > 0.6, "{got:?}");
    assert!(got[0] + got[1] > 0.9 * (RATE * 40) as f64, "{got:?}");
}

#[test]
fn beside_a_tcp_flow_it_yields() {
    let mut world = World::new(3, 2, uplink(), Path::clean(15));
    world.connect(0, 1, FOREVER);
    world.run_for(SECOND * 20);
    world.start_reno(Duration::from_millis(15));
    world.run_for(SECOND * 10);
    let before = world.received(1);
    let tcp_before = world.reno.as_ref().unwrap().delivered;
    world.run_for(SECOND * 40);
    let ours = (world.received(1) - before) as f64;
    let tcp = (world.reno.as_ref().unwrap().delivered - tcp_before) as f64;
    assert!(tcp > 0.85 * (RATE * 40) as f64, "tcp {tcp}, ours {ours}");
    assert!(ours < 0.12 * tcp, "tcp {tcp}, ours {ours}");
    assert!(world.nodes[0].owners[0].failed.is_none());
}

#[test]
fn path_is_taken_back_when_the_tcp_flow_ends() {
    let mut world = World::new(4, 2, uplink(), Path::clean(15));
    world.connect(0, 1, FOREVER);
    world.start_reno(Duration::from_millis(15));
    world.run_for(SECOND * 30);
    world.reno.as_mut().unwrap().pause();
    world.run_for(SECOND * 30);
    let before = world.received(1);
    world.run_for(SECOND * 10);
    let used = (world.received(1) - before) as f64 / (RATE * 10) as f64;
    assert!(used > 0.8, "{used}");
}

#[test]
fn lossy_long_path_is_used_as_well_as_by_tcp() {
    let path = Path { loss: 10, ..Path::clean(50).with_rate(12_500_000, 1_000_000) };
    let mut world = World::new(5, 2, path, Path::clean(50));
    world.connect(0, 1, FOREVER);
    world.run_for(SECOND * 120);
    let ours = world.received(1) as f64;
    let mut world = World::new(5, 2, path, Path::clean(50));
    world.start_reno(Duration::from_millis(50));
    world.run_for(SECOND * 120);
    let tcp = world.reno.as_ref().unwrap().delivered as f64;
    assert!(ours > 0.8 * tcp, "ours {ours}, tcp {tcp}");
}

#[test]
fn long_fat_path_is_filled() {
    let path = Path::clean(50).with_rate(4_000_000, 2_000_000);
    let mut world = World::new(6, 2, path, Path::clean(50));
    world.connect(0, 1, FOREVER);
    world.run_for(SECOND * 4);
    let before = world.received(1);
    world.run_for(SECOND * 4);
    let used = (world.received(1) - before) as f64 / 16_000_000.0;
    assert!(used > 0.8, "{used} {:?}", world.links);
}
