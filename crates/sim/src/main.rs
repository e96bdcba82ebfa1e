//! Runs scenarios from the command line.

use std::panic;
use std::process::ExitCode;

use sim::{SCENARIOS, Scenario};

fn main() -> ExitCode {
    let options = match Options::parse(std::env::args().skip(1)) {
        Ok(options) => options,
        Err(reason) => return usage(&reason),
    };
    let chosen: Vec<_> = SCENARIOS
        .iter()
        .filter(|scenario| options.scenario.as_deref().is_none_or(|name| name == scenario.name))
        .collect();
    if chosen.is_empty() {
        return usage("there is no such scenario");
    }
    let mut failed = 0;
    for seed in options.seed..options.seed.saturating_add(options.count) {
        failed += chosen.iter().filter(|scenario| !run(scenario, seed)).count();
    }
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

struct Options {
    seed: u64,
    count: u64,
    scenario: Option<String>,
}

impl Options {
    fn parse(mut args: impl Iterator<Item = String>) -> Result<Self, String> {
        let mut options = Self { seed: 1, count: 1, scenario: None };
        while let Some(flag) = args.next() {
            let value = args.next().ok_or_else(|| format!("{flag} needs a value"))?;
            let number = || value.parse().map_err(|_| format!("{value} is no number"));
            match flag.as_str() {
                "--seed" => options.seed = number()?,
                "--count" => options.count = number()?,
                "--scenario" => options.scenario = Some(value),
                _ => return Err(format!("{flag} is not known")),
            }
        }
        Ok(options)
    }
}

#[expect(clippy::print_stdout, clippy::print_stderr, reason = "a program for the terminal")]
fn run(scenario: &Scenario, seed: u64) -> bool {
    // The swarm panics where an invariant breaks; the seed must be told then too.
    let outcome = panic::catch_unwind(|| sim::run(scenario, seed));
    let what = match outcome {
        Ok(Ok(report)) => {
            println!("{} (seed {seed}): {}\n{report}\n", scenario.name, scenario.about);
            return true;
        }
        Ok(Err(violation)) => violation.to_string(),
        Err(_) => "panicked".to_owned(),
    };
    eprintln!(
        "FAILED {what}\n  again: cargo run -p teem-sim -- --scenario {} --seed {seed}",
        scenario.name
    );
    false
}

#[expect(clippy::print_stderr, reason = "a program for the terminal")]
fn usage(reason: &str) -> ExitCode {
    eprintln!("{reason}\nusage: teem-sim [--seed N] [--count SEEDS] [--scenario NAME]\nscenarios:");
    for scenario in SCENARIOS {
        eprintln!("  {:<20} {}", scenario.name, scenario.about);
    }
    ExitCode::from(2)
}
