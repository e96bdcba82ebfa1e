//! A load tester for trackers: any that speak UDP, and Teem's JSON over TCP.
//!
//! One thread, batched calls, many clients' addresses on one socket. Each command prints one line of
//! JSON. `scripts/bench --only trackers` runs it against Teem, aquatic and opentracker.
#![forbid(unsafe_code)]

#[cfg(not(target_os = "linux"))]
compile_error!("the load tester uses system calls of Linux; leave it out with --exclude teem-load");

mod crowd;
mod echo;
mod hashes;
mod histogram;
mod json;
mod process;
mod udp;

use std::io::Write as _;

use clap::{Parser, Subcommand};

/// Load for trackers
#[derive(Debug, Parser)]
struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Requests over UDP: as fast as the tracker answers, or at a rate
    Udp(udp::UdpArgs),
    /// Announces each peer of a crowd once, and tells what memory the tracker took for each
    Fill(udp::FillArgs),
    /// Answers each request with as many bytes as a tracker would, and does nothing else
    Echo(echo::EchoArgs),
    /// Asks for peers over JSON, on connections that stay open
    Json(json::JsonArgs),
    /// One row of a table of peers and files: each request on a connection of its own
    JsonRow(json::RowArgs),
    /// Prints info hashes, for trackers that serve only those on a list
    Hashes(hashes::HashesArgs),
}

fn main() -> anyhow::Result<()> {
    let report = match Args::parse().command {
        Command::Udp(args) => serde_json::to_value(udp::run(&args)?)?,
        Command::Fill(args) => serde_json::to_value(udp::fill(&args)?)?,
        Command::Echo(args) => return echo::run(&args),
        Command::Json(args) => serde_json::to_value(json::run(&args)?)?,
        Command::JsonRow(args) => serde_json::to_value(json::row(&args)?)?,
        Command::Hashes(args) => return hashes::run(&args),
    };
    Ok(writeln!(std::io::stdout(), "{report}")?)
}
