//! Ends of streams: nothing that was written is lost, nobody waits for ever, nothing is kept.

use std::time::Duration;

use utp::Ended;

use crate::link::Path;
use crate::world::World;

const MINUTE: Duration = Duration::from_secs(60);

fn narrow() -> Path {
    Path::clean(10).with_rate(300_000, 300_000)
}

#[test]
fn owner_that_leaves_at_once_still_delivers() {
    for (seed, loss) in [(1, 0), (2, 100), (3, 200)] {
        let path = Path { loss, ..Path::clean(30) };
        let mut world = World::new(seed, 2, path, path);
        let key = world.connect(0, 1, 200_000);
        world.run_until(MINUTE, |world| world.nodes[0].owners[0].sent == 200_000);
        let now = world.now;
        world.nodes[0].endpoint.close(now, key);
        world.nodes[0].owners[0].left = true;
        world.attend(0);
        world.run_until(MINUTE * 3, |world| {
            world.nodes[1].owners.first().is_some_and(|one| one.left)
        });
        assert_eq!(world.received(1), 200_000);
        world.run_until(MINUTE, |world| world.nodes[0].endpoint.stats().connections == 0);
        world.run_until(MINUTE, |world| world.nodes[1].endpoint.stats().connections == 0);
    }
}

#[test]
fn half_that_is_finished_leaves_the_other_open() {
    let mut world = World::new(4, 2, Path::clean(30), Path::clean(30));
    world.nodes[1].gives = 2_000_000;
    world.connect(0, 1, 1);
    world.run_until(MINUTE, |world| world.nodes[1].owners.first().is_some_and(|one| one.ended));
    assert!(world.received(0) < 2_000_000, "the other half goes on");
    world.run_until(MINUTE, |world| world.received(0) == 2_000_000);
}

#[test]
fn nobody_there_is_told_in_time() {
    let gone = Path { loss: 1_000, ..Path::clean(10) };
    let mut world = World::new(5, 2, gone, Path::clean(10));
    world.connect(0, 1, 1);
    world.run_until(MINUTE, |world| world.nodes[0].owners[0].failed == Some(Ended::TimedOut));
}

#[test]
fn peer_that_vanishes_is_given_up() {
    let mut world = World::new(6, 2, narrow(), Path::clean(10));
    world.connect(0, 1, 1 << 40);
    world.run_for(Duration::from_secs(1));
    world.links[1].path.loss = 1_000;
    world.run_until(MINUTE * 3, |world| world.nodes[0].owners[0].failed == Some(Ended::TimedOut));
}

#[test]
fn peer_that_leaves_while_we_write_ends_the_stream() {
    let mut world = World::new(7, 2, narrow(), Path::clean(10));
    world.connect(0, 1, 1 << 40);
    world.run_for(Duration::from_secs(1));
    let (now, key) = (world.now, world.nodes[1].owners[0].key);
    world.nodes[1].endpoint.close(now, key);
    world.nodes[1].owners[0].left = true;
    world.attend(1);
    // Our end travels there and back, behind a queue; what comes after that is told to stop.
    let soon = Duration::from_secs(2);
    world.run_until(soon, |world| world.nodes[1].endpoint.stats().connections == 0);
    world.run_until(soon, |world| world.nodes[0].owners[0].failed == Some(Ended::Reset));
}

#[test]
fn idle_connection_stays_and_costs_little() {
    let mut world = World::new(8, 2, Path::clean(10), Path::clean(10));
    world.connect(0, 1, 1);
    world.nodes[0].owners[0].leaves = false;
    world.run_for(Duration::from_secs(5));
    world.nodes[1].owners[0].leaves = false;
    let before = world.sent_datagrams;
    world.run_for(Duration::from_secs(290));
    assert!(world.sent_datagrams - before <= 22, "{}", world.sent_datagrams - before);
}
