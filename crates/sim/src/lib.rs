//! The shipped [`swarm::Session`] and [`swarm::Swarm`] over a simulated network, disk and tracker, in
//! virtual time, from a seed.
//!
//! A [`Scenario`] makes a [`Plan`]: the content, the peers, and what goes wrong when. A [`World`] runs
//! it. Chance comes from the seed alone, so a failure is its scenario's name and its seed. After every
//! step the rules that must always hold are checked; the first one broken ends the run as a
//! [`Violation`].
//!
//! What is real: sessions, swarms, torrents, hashes, every byte on the wire after the handshake. What
//! is simulated: sockets (latency, bandwidth, order kept), files (memory, may be full), the tracker (a
//! list of addresses), time.
#![forbid(unsafe_code)]

mod content;
mod disk;
mod link;
mod node;
mod oracle;
mod plan;
mod report;
mod scenarios;
mod shell;
mod trace;
mod tracker;
mod world;

pub use content::{Content, ContentSpec};
pub use oracle::Violation;
pub use plan::{Behaviour, Fault, NodeSpec, Plan, Start};
pub use report::{NodeReport, Report};
pub use scenarios::{SCENARIOS, Scenario};
pub use world::World;

/// Runs a scenario. A panic inside the swarm is a violation too, but is left to the caller.
///
/// # Errors
/// When a rule was broken, or the scenario did not end as it should.
pub fn run(scenario: &Scenario, seed: u64) -> Result<Report, Violation> {
    let plan = scenario.plan(seed);
    let expect = plan.expect;
    let report = World::new(seed, plan).run()?;
    match expect(&report) {
        Ok(()) => Ok(report),
        Err(what) => Err(Violation { at: report.ended_at, what }),
    }
}
