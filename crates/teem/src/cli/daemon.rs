//! `teem daemon`: a node with many torrents, those of a watched folder.

use std::path::PathBuf;

use super::Context;
use super::dht::Origin;
use super::get::writable;
use super::peer::PeerArgs;
use super::share::whole_path;
use crate::daemon::{Daemon, Rules};
use crate::locate::TrackerArgs;
use crate::seed_limits::SeedLimits;
use crate::state::StateArgs;

/// Fetch and seed all torrents of a folder, until Ctrl-C
///
/// Files that end in .torrent, and magnet links in files that end in .magnet, are added when they are dropped
/// into the folder, also while it runs; a torrent whose file is taken out ends, and its content stays.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  teem daemon --torrents ~/torrents -o ~/Downloads
  teem daemon --torrents /srv/torrents -o /srv/content --seed-ratio 2 --max-up 5M")]
pub(super) struct Args {
    /// Watch this folder for torrent files
    #[arg(long, env = "TEEM_TORRENTS", value_name = "DIR")]
    torrents: PathBuf,
    /// Write into this folder; what is there already is used and never overwritten
    #[arg(short, long, env = "TEEM_OUTPUT", value_name = "DIR", default_value = ".")]
    output: PathBuf,
    #[command(flatten)]
    seeded: SeedLimits,
    #[command(flatten)]
    tracker: TrackerArgs,
    #[command(flatten)]
    state: StateArgs,
    #[command(flatten)]
    peer: PeerArgs,
}

pub(super) async fn run(args: Args, context: &Context) -> anyhow::Result<()> {
    let folder = whole_path(&args.torrents)?;
    let output = writable(&args.output)?;
    let state = args.state.open()?;
    let trackers = args.tracker.named(&state, &context.output)?;
    let purpose = format!("daemon {}", folder.display());
    let (from, into) = ((Origin::Open, &args.tracker), (&state, purpose.as_str()));
    let node = args.peer.start(from, trackers.known.trust(), into).await?;
    let rules = Rules { output, trackers: trackers.tiers(), seeded: args.seeded };
    let ended = Daemon::new(node.node(), folder, rules, context).run().await;
    node.shutdown().await;
    ended
}
