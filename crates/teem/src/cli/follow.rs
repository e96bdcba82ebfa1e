//! `teem follow`: get each new version of a name as it is published.

use std::path::PathBuf;
use std::time::Duration;

use clap::builder::FalseyValueParser;

use super::Context;
use super::dht::Origin;
use super::get::writable;
use super::peer::PeerArgs;
use crate::exit::{Failure, Status};
use crate::following::Following;
use crate::locate::TrackerArgs;
use crate::state::StateArgs;
use crate::units::parse_duration;

/// Get a name, and each new version of it as it is published, until Ctrl-C
///
/// The folder holds one whole version at any time. A new one is made beside it, from the files that are
/// there as far as they are the same, and takes its place when it is whole; so there must be room for
/// both. What you put there yourself stays; what you changed is never replaced.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  teem follow nightly -o /srv
  teem follow models/base --tracker nas:6969 --interval 1m
  teem follow nightly --exit            (the version of this moment, from a timer)")]
pub(super) struct Args {
    /// The name in the catalogue
    name: String,
    /// Keep it in this folder
    #[arg(short, long, env = "TEEM_OUTPUT", value_name = "DIR", default_value = ".")]
    output: PathBuf,
    /// Ask the tracker for a new version this often
    #[arg(
        long, env = "TEEM_INTERVAL", value_name = "TIME", default_value = "10",
        value_parser = parse_duration
    )]
    interval: Duration,
    /// Get the version of this moment and end
    #[arg(
        short, long, visible_alias = "once", env = "TEEM_EXIT",
        value_parser = FalseyValueParser::new()
    )]
    exit: bool,
    /// With --exit, give up after this long without any source; 0 to wait for ever
    #[arg(
        long, env = "TEEM_TIMEOUT", value_name = "TIME", default_value = "60",
        value_parser = parse_duration
    )]
    timeout: Duration,
    #[command(flatten)]
    tracker: TrackerArgs,
    #[command(flatten)]
    state: StateArgs,
    #[command(flatten)]
    peer: PeerArgs,
}

pub(super) async fn run(args: Args, context: &Context) -> anyhow::Result<()> {
    if args.name.contains('@') {
        let message = "what is followed is a name, not one version of it";
        return Err(Failure::new(Status::Usage, message)
            .hint("`teem get NAME@VERSION` fetches that version")
            .into());
    }
    let folder = writable(&args.output)?;
    let state = args.state.open()?;
    let trackers = args.tracker.find(&state, &context.output, &context.interrupt).await?;
    context.interrupt.or(async { Ok(trackers.meet().await?) }).await?;
    let purpose = format!("follow {} {}", args.name, folder.display());
    let (from, into) = ((Origin::Told, &args.tracker), (&state, purpose.as_str()));
    let node = args.peer.start(from, trackers.known.trust(), into).await?;
    let following = Following {
        node: node.node(),
        name: args.name,
        folder,
        trackers,
        interval: args.interval.max(INTERVAL_MIN),
        timeout: Some(args.timeout).filter(|timeout| args.exit && !timeout.is_zero()),
        context,
    };
    let ended = match args.exit {
        true => following.once().await.map(drop),
        false => following.run().await,
    };
    node.shutdown().await;
    ended
}

/// Nobody publishes more often, and a tracker has others to answer.
const INTERVAL_MIN: Duration = Duration::from_secs(1);
