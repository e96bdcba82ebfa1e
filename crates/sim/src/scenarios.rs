//! What is played through.

use std::time::Duration;

use proto::metainfo::Format;
use swarm::Notice;

use crate::content::ContentSpec;
use crate::plan::{Behaviour, Fault, NodeSpec, Plan, Start};
use crate::report::Report;

/// A named plan.
#[derive(Debug)]
pub struct Scenario {
    /// For the command line.
    pub name: &'static str,
    /// What it shows, in a line.
    pub about: &'static str,
    make: fn(u64) -> Plan,
}

impl Scenario {
    /// The plan; the seed may vary what is not the point of it.
    #[must_use]
    pub fn plan(&self, seed: u64) -> Plan {
        (self.make)(seed)
    }

    /// The scenario of that name.
    #[must_use]
    pub fn named(name: &str) -> Option<&'static Self> {
        SCENARIOS.iter().find(|scenario| scenario.name == name)
    }
}

const fn scenario(name: &'static str, about: &'static str, make: fn(u64) -> Plan) -> Scenario {
    Scenario { name, about, make }
}

/// All of them.
pub const SCENARIOS: &[Scenario] = &[
    scenario("pair", "one seeder and one leecher", pair),
    scenario("crowd", "one seeder and 50 leechers", crowd),
    scenario("super-seed", "one copy out costs little more than one", super_seed),
    scenario("super-seed-v1", "the same in v1, without the fast extension", super_seed_plain),
    scenario("super-seed-pair", "a super-seeder and one leecher that has nobody else", |_| Plan {
        deadline: Duration::from_secs(20),
        ..plan(small(), super_seeded(1))
    }),
    scenario("room", "more peers than each has connections", |_| room(0)),
    scenario("squatters", "the same beside 200 addresses that only take connections", |_| {
        room(200)
    }),
    scenario("leaving", "the seeder leaves when one copy is out", leaving),
    scenario("poisoner-v1", "one poisoner among ten, v1", |_| poisoned(Format::V1, 100)),
    scenario("poisoner-v2", "one poisoner among ten, v2", |_| poisoned(Format::V2, 100)),
    scenario("poisoner-sly", "one of ten spoils a block in five, v2", |_| poisoned(Format::V2, 20)),
    scenario("poisoner-sly-v1", "one of ten spoils a block in five, v1", |_| {
        poisoned(Format::V1, 20)
    }),
    scenario("magnet-v1", "info hash alone, v1", |_| magnet(Format::V1)),
    scenario("magnet-v2", "info hash alone, v2: metadata and piece layers", |_| magnet(Format::V2)),
    scenario("magnet-hybrid", "info hashes alone, hybrid folder", |_| magnet(Format::Hybrid)),
    scenario("both-dial", "two peers dial each other at once", both_dial),
    scenario("disk-full", "a disk is full for a while", disk_full),
    scenario("slots", "more leechers than slots", slots),
    scenario("stalled", "a peer takes requests and sends nothing", stalled),
    scenario("cuts", "connections are reset and peers fall silent", cuts),
    scenario("lost-piece", "a seeder loses a piece that another has", lost_piece),
    scenario("budget", "three seeders and room for eight pieces", budget),
    scenario("plain", "peers without the fast extension, choking", plain),
];

fn one_file(format: Format, piece_len: u32, pieces: u32) -> ContentSpec {
    // The last piece and its last block are short.
    let len = u64::from(piece_len) * u64::from(pieces) - 5_000;
    ContentSpec { format, piece_len, files: vec![len] }
}

fn plan(content: ContentSpec, nodes: Vec<NodeSpec>) -> Plan {
    Plan {
        content,
        nodes,
        faults: Vec::new(),
        leaves_after_one_copy: None,
        deadline: Duration::from_secs(600),
        linger: Duration::from_secs(30),
        expect: |_| Ok(()),
    }
}

fn small() -> ContentSpec {
    one_file(Format::Hybrid, 32 * 1024, 64)
}

fn with_leechers(seeders: usize, leechers: usize) -> Vec<NodeSpec> {
    let mut nodes = vec![NodeSpec::seeder(); seeders];
    nodes.resize(seeders + leechers, NodeSpec::default());
    nodes
}

fn ensure(is: bool, what: impl FnOnce() -> String) -> Result<(), String> {
    if is { Ok(()) } else { Err(what()) }
}

fn pair(_: u64) -> Plan {
    let expect = |report: &Report| {
        // 2 MiB at 1 MiB/s; anything above four seconds means that the link was idle.
        let last = report.last_finish().unwrap_or(Duration::MAX);
        ensure(last < Duration::from_secs(4), || format!("took {last:?}"))?;
        ensure(report.wasted() == 0, || format!("{} bytes wasted", report.wasted()))?;
        ensure(report.connections <= 2, || format!("{} connections", report.connections))
    };
    Plan { expect, ..plan(small(), with_leechers(1, 1)) }
}

fn crowd(_: u64) -> Plan {
    let expect = |report: &Report| {
        let copies = report.copies_by_seeder().unwrap_or(f64::MAX);
        ensure(copies < 2.6, || format!("the seeder sent {copies:.2} copies to get one out"))?;
        let waste = report.wasted() as f64 / (report.content_len as f64 * 50.0);
        ensure(waste < 0.1, || format!("{:.1} % wasted", waste * 100.0))
    };
    Plan { expect, ..plan(one_file(Format::Hybrid, 128 * 1024, 64), with_leechers(1, 50)) }
}

fn super_seeded(leechers: usize) -> Vec<NodeSpec> {
    let mut nodes = with_leechers(1, leechers);
    nodes[0].super_seed = true;
    nodes
}

fn super_seed(_: u64) -> Plan {
    let expect = |report: &Report| {
        let copies = report.copies_by_seeder().unwrap_or(f64::MAX);
        ensure(copies < 1.1, || format!("the seeder sent {copies:.3} copies to get one out"))
    };
    Plan { expect, ..plan(one_file(Format::Hybrid, 64 * 1024, 64), super_seeded(12)) }
}

fn super_seed_plain(seed: u64) -> Plan {
    let mut plan = super_seed(seed);
    plan.content = one_file(Format::V1, 64 * 1024, 64);
    plan.nodes.iter_mut().for_each(|node| node.fast = false);
    plan
}

fn room(squatters: usize) -> Plan {
    let mut nodes = with_leechers(1, HONEST - 1);
    nodes.iter_mut().for_each(|node| node.max_peers = 12);
    // Those who squat have the seeder to themselves before anybody else comes.
    nodes.iter_mut().skip(1).for_each(|node| node.joins_at = JOIN);
    nodes.extend((0..squatters).map(|number| NodeSpec {
        behaviour: Behaviour::Squatter((number / 50) as u8),
        knows: (0..HONEST).collect(),
        ..NodeSpec::default()
    }));
    let deadline = 3 * JOIN;
    let content = one_file(Format::V2, 128 * 1024, 48);
    Plan { linger: Duration::ZERO, deadline, ..plan(content, nodes) }
}

fn leaving(_: u64) -> Plan {
    Plan { leaves_after_one_copy: Some(0), ..plan(small(), with_leechers(1, 10)) }
}

fn poisoned(format: Format, percent: u64) -> Plan {
    let mut nodes = with_leechers(2, 8);
    nodes[1].behaviour = Behaviour::Poisoner(percent);
    let expect = if format == Format::V2 { liar_named } else { liar_banned_soon };
    Plan { expect, ..plan(one_file(format, 128 * 1024, 32), nodes) }
}

fn liar_banned(report: &Report) -> Result<(), String> {
    let liar = report.nodes[1].addr.ip();
    for (number, node) in report.nodes.iter().enumerate() {
        let bad =
            node.notices.iter().filter(|notice| matches!(notice, Notice::BadPiece(_))).count();
        let banned = node
            .notices
            .iter()
            .any(|notice| matches!(notice, Notice::Banned(addr, _) if addr.ip() == liar));
        ensure(bad == 0 || banned, || {
            format!("peer {number} met {bad} bad pieces and banned nobody")
        })?;
    }
    ensure(report.bad_pieces() > 0, || "the poisoner was never asked".into())
}

fn liar_banned_soon(report: &Report) -> Result<(), String> {
    liar_banned(report)?;
    for (number, node) in report.nodes.iter().enumerate() {
        let bad =
            node.notices.iter().filter(|notice| matches!(notice, Notice::BadPiece(_))).count();
        ensure(bad <= 2, || format!("peer {number} met {bad} bad pieces"))?;
    }
    Ok(())
}

fn liar_named(report: &Report) -> Result<(), String> {
    liar_banned(report)?;
    let named = report.count(|notice| matches!(notice, Notice::BadBlock(..)));
    ensure(named > 0, || "no wrong block was named".into())
}

fn magnet(format: Format) -> Plan {
    let mut nodes = with_leechers(1, 3);
    nodes.iter_mut().skip(1).for_each(|node| node.start = Start::Magnet);
    let content = ContentSpec {
        format,
        piece_len: 32 * 1024,
        files: vec![600_000, 10, 0, 32 * 1024, 300_000, 20_000],
    };
    let expect: fn(&Report) -> Result<(), String> = match format {
        Format::V1 => |_| Ok(()),
        Format::V2 | Format::Hybrid => |report| {
            let known = report.count(|notice| matches!(notice, Notice::LayersKnown(_)));
            ensure(known == 3, || format!("{known} of 3 learnt the layers"))
        },
    };
    Plan { expect, ..plan(content, nodes) }
}

fn both_dial(_: u64) -> Plan {
    let mut nodes = with_leechers(1, 1);
    for (node, other) in [(0, 1), (1, 0)] {
        nodes[node].tracker = false;
        nodes[node].knows = vec![other];
        // Slow enough that the end comes long after the beginning.
        nodes[node].up = 100 << 10;
    }
    let expect = |report: &Report| {
        ensure(report.connections <= 4, || format!("{} connections", report.connections))
    };
    Plan { expect, linger: Duration::ZERO, ..plan(small(), nodes) }
}

fn disk_full(_: u64) -> Plan {
    let faults = vec![(Duration::from_millis(700), Fault::Full(1, Duration::from_secs(20)))];
    let expect = |report: &Report| {
        let node = &report.nodes[1];
        let paused = node.notices.iter().any(|notice| matches!(notice, Notice::Paused(_)));
        ensure(paused, || "it did not say that it paused".into())?;
        let again = node.downloaded as f64 / report.content_len as f64;
        ensure(again < 2.5, || format!("{again:.2} times the content was fetched"))
    };
    Plan { faults, expect, ..plan(small(), with_leechers(1, 1)) }
}

fn slots(_: u64) -> Plan {
    let mut nodes = with_leechers(1, 12);
    nodes.iter_mut().for_each(|node| node.upload_slots = Some(2));
    plan(small(), nodes)
}

fn stalled(_: u64) -> Plan {
    let mut nodes = with_leechers(3, 2);
    nodes[1].behaviour = Behaviour::Staller(100_000);
    nodes[2].up = 200 << 10;
    let expect = |report: &Report| {
        let last = report.last_finish().unwrap_or(Duration::MAX);
        ensure(last < Duration::from_secs(40), || format!("took {last:?}"))
    };
    Plan { expect, ..plan(small(), nodes) }
}

fn cuts(seed: u64) -> Plan {
    let seconds = Duration::from_secs;
    let leecher = 2 + (seed % 4) as usize;
    let faults = vec![
        (Duration::from_millis(400), Fault::Reset(0)),
        (Duration::from_millis(900), Fault::Silence(leecher, seconds(8))),
        (Duration::from_millis(1500), Fault::Reset(leecher)),
        (Duration::from_millis(2000), Fault::Silence(0, seconds(3))),
        (seconds(2), Fault::TrackerAway(seconds(30))),
        (seconds(5), Fault::Kill(1)),
    ];
    let mut nodes = with_leechers(2, 6);
    nodes.iter_mut().for_each(|node| node.up = 300 << 10);
    Plan { faults, ..plan(small(), nodes) }
}

fn lost_piece(_: u64) -> Plan {
    // The second seeder has the piece, so the first gets it back.
    let faults = vec![
        (Duration::from_millis(300), Fault::Lose(0, 5)),
        (Duration::from_millis(300), Fault::Lose(0, 63)),
    ];
    let expect = |report: &Report| {
        ensure(report.nodes[0].downloaded > 0, || "nothing was fetched again".into())
    };
    Plan { faults, expect, ..plan(small(), with_leechers(2, 2)) }
}

fn budget(_: u64) -> Plan {
    let mut nodes = with_leechers(3, 1);
    nodes[3].piece_budget = 8 * 128 * 1024;
    let expect = |report: &Report| {
        for (number, seeder) in report.nodes[..3].iter().enumerate() {
            let share = seeder.uploaded as f64 / report.content_len as f64;
            ensure(share > 0.2, || format!("seeder {number} sent {:.0} %", share * 100.0))?;
        }
        Ok(())
    };
    Plan { expect, ..plan(one_file(Format::Hybrid, 128 * 1024, 128), nodes) }
}

fn plain(_: u64) -> Plan {
    let mut nodes = with_leechers(1, 9);
    for node in &mut nodes {
        (node.fast, node.upload_slots) = (false, Some(2));
    }
    plan(small(), nodes)
}

/// The seeder and its leechers, where others only take connections.
const HONEST: usize = 17;
/// When those leechers come: later than a new connection is spared for.
const JOIN: Duration = Duration::from_secs(30);
