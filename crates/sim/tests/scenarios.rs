//! Every scenario with a few fixed seeds.

use sim::{Report, SCENARIOS, Scenario};

fn play(name: &str, seed: u64) -> Report {
    let scenario = Scenario::named(name).expect("the scenario exists");
    match sim::run(scenario, seed) {
        Ok(report) => report,
        Err(violation) => panic!("{name}, seed {seed}: {violation}"),
    }
}

#[test]
fn every_scenario_ends_as_it_should() {
    let large = ["crowd", "room", "squatters"];
    for scenario in SCENARIOS.iter().filter(|scenario| !large.contains(&scenario.name)) {
        for seed in [1, 2, 3] {
            play(scenario.name, seed);
        }
    }
}

/// Pieces that both had were never told, so who lost one did not know whom to ask.
#[test]
fn a_lost_piece_comes_back_from_who_had_it_before() {
    for seed in [102, 105, 111] {
        play("lost-piece", seed);
    }
}

#[test]
fn fifty_leechers_feed_each_other() {
    let report = play("crowd", 1);
    assert!(report.nodes.iter().all(|node| node.complete));
    let by_seeder = report.nodes[0].uploaded as f64 / report.content_len as f64;
    assert!(by_seeder < 25.0, "the seeder sent {by_seeder:.1} copies for 50");
}

/// Two hundred addresses of four networks against 17 honest peers that have room for 12 connections each.
#[test]
fn who_only_takes_connections_holds_up_nobody() {
    let [alone, beside] = ["room", "squatters"].map(|name| {
        let report = play(name, 1);
        let honest = report.nodes.iter().take(17);
        assert!(honest.clone().all(|node| node.complete), "{name}");
        // They come after half a minute.
        let last = honest.filter_map(|node| node.finished_at).max().expect("leechers");
        last.as_secs_f64() - 30.0
    });
    assert!(beside <= 1.3 * alone, "{beside:.1} s beside them, {alone:.1} s alone");
}

#[test]
fn same_seed_same_trace_and_another_seed_another() {
    for name in ["leaving", "poisoner-v2", "cuts"] {
        let (first, second, other) = (play(name, 7), play(name, 7), play(name, 8));
        assert_eq!(first.trace, second.trace, "{name}");
        assert_eq!((first.steps, first.ended_at), (second.steps, second.ended_at), "{name}");
        assert_ne!(first.trace, other.trace, "{name}");
    }
}
