//! UDP load: closed loop for the top rate, open loop for latency, and filling.

mod engine;

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::ensure;
use serde::Serialize;

use crate::crowd::{Crowd, CrowdArgs};
use crate::histogram::Percentiles;
use crate::process::{Usage, usage};
use engine::{Engine, Tally, Work};

/// Requests over UDP
#[derive(Debug, clap::Args)]
pub(crate) struct UdpArgs {
    #[command(flatten)]
    target: Target,
    #[command(flatten)]
    crowd: CrowdArgs,
    /// Requests a second, whatever comes back [default: as many as are answered]
    #[arg(long)]
    rate: Option<f64>,
    /// Seconds that are measured
    #[arg(long, default_value_t = 5.0)]
    secs: f64,
    /// Seconds before that
    #[arg(long, default_value_t = 1.0)]
    warm: f64,
    /// Shares of connects, announces and scrapes
    #[arg(long, default_value = "0:100:1", value_parser = parse_mix)]
    mix: Mix,
    /// Announces with a forged connection id a second, beside the load
    #[arg(long, default_value_t = 0.0)]
    forged: f64,
}

/// Announces each peer once
#[derive(Debug, clap::Args)]
pub(crate) struct FillArgs {
    #[command(flatten)]
    target: Target,
    #[command(flatten)]
    crowd: CrowdArgs,
}

/// Who is asked, and how.
#[derive(Debug, Clone, clap::Args)]
struct Target {
    /// The tracker
    #[arg(long)]
    to: SocketAddr,
    /// Its process: tells CPU time and memory
    #[arg(long)]
    pid: Option<u32>,
    /// Requests that wait for an answer, without a rate
    #[arg(long, default_value_t = 256)]
    window: usize,
    /// Requests from one address that the system is given as one
    #[arg(long, default_value_t = 8)]
    burst: usize,
    /// A path that announces carry, such as /PASSKEY/announce (BEP 41)
    #[arg(long, default_value = "")]
    path: String,
}

/// How many of each request.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Mix {
    connects: u64,
    announces: u64,
    scrapes: u64,
}

fn parse_mix(text: &str) -> Result<Mix, String> {
    let parts: Result<Vec<u64>, _> = text.split(':').map(str::parse).collect();
    match parts.as_deref() {
        Ok(&[connects, announces, scrapes]) if connects + announces + scrapes > 0 => {
            Ok(Mix { connects, announces, scrapes })
        }
        _ => Err("three numbers with colons, such as 50:50:1".to_owned()),
    }
}

/// What a run found.
#[derive(Debug, Serialize)]
pub(crate) struct UdpReport {
    secs: f64,
    sent_per_sec: f64,
    answers_per_sec: f64,
    #[serde(flatten)]
    tally: Tally,
    /// Of the requests sent, those without an answer within a second.
    lost_share: f64,
    peers_per_announce: f64,
    #[serde(flatten)]
    latency: Percentiles,
    cpu_us_per_answer: Option<f64>,
    /// Share of one core that the tracker used.
    cpu_share: Option<f64>,
    anonymous: Option<u64>,
    resident: Option<u64>,
}

/// What filling took.
#[derive(Debug, Serialize)]
pub(crate) struct FillReport {
    peers: u64,
    torrents: u64,
    secs: f64,
    again: u64,
    before: Option<Usage>,
    after: Option<Usage>,
    /// Growth of the memory that is no file, by the number of peers.
    bytes_per_peer: Option<f64>,
}

pub(crate) fn run(args: &UdpArgs) -> anyhow::Result<UdpReport> {
    let crowd = Crowd::new(&args.crowd, args.target.to)?;
    let window = if args.rate.is_some() { 1 << 15 } else { args.target.window };
    let work = Work::Mix { mix: args.mix, rate: args.rate };
    let mut engine = Engine::new(crowd, args.target.to, (window, args.target.burst), work)?;
    engine.forge(args.forged);
    engine.set_path(&args.target.path)?;
    engine.connect()?;
    engine.run(Duration::from_secs_f64(args.warm))?;
    engine.reset();
    let usage_of = || args.target.pid.map(usage).transpose();
    let before = usage_of()?;
    let secs = engine.run(Duration::from_secs_f64(args.secs))?.as_secs_f64();
    let after = usage_of()?;
    let tally = engine.finish()?;
    let answers = tally.connects + tally.announces + tally.scrapes;
    let cpu = before.zip(after).map(|(before, after)| after.cpu_secs - before.cpu_secs);
    Ok(UdpReport {
        secs,
        sent_per_sec: tally.sent as f64 / secs,
        answers_per_sec: answers as f64 / secs,
        lost_share: tally.lost as f64 / (tally.sent.max(1)) as f64,
        peers_per_announce: tally.peers as f64 / tally.announces.max(1) as f64,
        latency: engine.latency(),
        cpu_us_per_answer: cpu.map(|cpu| cpu * 1e6 / answers.max(1) as f64),
        cpu_share: cpu.map(|cpu| cpu / secs),
        anonymous: after.map(|after| after.anonymous),
        resident: after.map(|after| after.resident),
        tally,
    })
}

pub(crate) fn fill(args: &FillArgs) -> anyhow::Result<FillReport> {
    let crowd = Crowd::new(&args.crowd, args.target.to)?;
    let peers = crowd.peers();
    let usage_of = || args.target.pid.map(usage).transpose();
    let before = usage_of()?;
    let sizes = (args.target.window, args.target.burst);
    let mut engine = Engine::new(crowd, args.target.to, sizes, Work::EachOnce { next: 0 })?;
    engine.set_path(&args.target.path)?;
    engine.connect()?;
    let spent = engine.run(Duration::from_secs(3_600))?;
    let tally = engine.finish()?;
    ensure!(tally.announces >= peers, "only {} of {peers} were answered", tally.announces);
    ensure!(tally.refused == 0, "{} announces were refused", tally.refused);
    let after = usage_of()?;
    let grown = before.zip(after).map(|(before, after)| after.anonymous - before.anonymous);
    Ok(FillReport {
        peers,
        torrents: args.crowd.torrents,
        secs: spent.as_secs_f64(),
        again: tally.lost,
        before,
        after,
        bytes_per_peer: grown.map(|grown| grown as f64 / peers as f64),
    })
}

impl Mix {
    /// What to send, by a random number.
    const fn pick(self, random: u64) -> Kind {
        let at = random % (self.connects + self.announces + self.scrapes);
        if at < self.connects {
            Kind::Connect
        } else if at < self.connects + self.announces {
            Kind::Announce
        } else {
            Kind::Scrape
        }
    }
}

/// A request's kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Connect,
    Announce,
    Scrape,
}
