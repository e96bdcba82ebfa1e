//! `teem daemon`: a node with many torrents, those of watched folders.

use std::net::SocketAddr;
use std::path::PathBuf;

use node::Node;
use tokio::sync::mpsc;

use super::Context;
use super::dht::Origin;
use super::get::writable;
use super::peer::PeerArgs;
use super::share::whole_path;
use crate::daemon::{Asked, Daemon, Ears, Limits, Rules, ShareTold, Shares};
use crate::daemon_api::{Door, Server};
use crate::hashing::{FormatArg, Recipe};
use crate::locate::{TrackerArgs, Trackers};
use crate::seed_limits::SeedLimits;
use crate::state::StateArgs;

/// Fetch and seed all torrents of a folder, and share what lies in another, until Ctrl-C
///
/// Files that end in .torrent, and magnet links in files that end in .magnet, are added when they are dropped
/// into the folder, also while it runs; a torrent whose file is taken out ends, and its content stays.
/// `teem transfers`, `hold`, `resume`, `recheck`, `move`, `rename`, `queue` and `remove` speak to it.
#[derive(Debug, clap::Args)]
#[command(group = clap::ArgGroup::new("folders").required(true).multiple(true))]
#[command(after_help = "Examples:
  teem daemon --torrents ~/torrents -o ~/Downloads
  teem daemon --torrents /srv/torrents -o /srv/content --seed-ratio 2 --max-downloads 3
  teem daemon --files /srv/public --tracker nas:6969")]
pub(super) struct Args {
    /// Watch this folder for torrent files
    #[arg(long, env = "TEEM_TORRENTS", value_name = "DIR", group = "folders")]
    torrents: Option<PathBuf>,
    /// Share each file and folder in this folder: published under its name on the trackers named, and
    /// again when it changes
    #[arg(long, env = "TEEM_FILES", value_name = "DIR", group = "folders")]
    files: Option<PathBuf>,
    /// Write into this folder; what is there already is used and never overwritten
    #[arg(short, long, env = "TEEM_OUTPUT", value_name = "DIR", default_value = ".")]
    output: PathBuf,
    /// Fetch so many torrents at once; one that finds no sources does not count
    #[arg(
        long, env = "TEEM_MAX_DOWNLOADS", value_name = "N",
        value_parser = clap::value_parser!(u32).range(1..)
    )]
    max_downloads: Option<u32>,
    /// Seed so many torrents at once; one that nobody fetches does not count
    #[arg(
        long, env = "TEEM_MAX_SEEDS", value_name = "N",
        value_parser = clap::value_parser!(u32).range(1..)
    )]
    max_seeds: Option<u32>,
    /// Take orders at this address of this machine, or not at all (off); port 0 for any free one
    #[arg(long, env = "TEEM_API", value_name = "ADDR|off", default_value = "127.0.0.1:6880")]
    api: Api,
    #[command(flatten)]
    seeded: SeedLimits,
    #[command(flatten)]
    tracker: TrackerArgs,
    #[command(flatten)]
    state: StateArgs,
    #[command(flatten)]
    peer: PeerArgs,
}

/// Where orders are taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Api {
    At(SocketAddr),
    Off,
}

impl std::str::FromStr for Api {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "off" => Ok(Self::Off),
            addr => addr.parse().map(Self::At).map_err(|_| {
                "it is an address with a port, such as 127.0.0.1:6880, or off".to_owned()
            }),
        }
    }
}

pub(super) async fn run(args: Args, context: &Context) -> anyhow::Result<()> {
    let torrents = args.torrents.as_deref().map(whole_path).transpose()?;
    let files = args.files.as_deref().map(whole_path).transpose()?;
    let output = writable(&args.output)?;
    let state = args.state.open()?;
    let mut trackers = args.tracker.named(&state, &context.output)?;
    if files.is_some() && !trackers.catalogues.is_empty() {
        trackers.credentials = args.tracker.token.or_key(&state)?;
    }
    let api = match args.api {
        Api::At(addr) => Some(Server::bind(addr).await?),
        Api::Off => None,
    };
    let folders =
        [&torrents, &files].map(|folder| folder.as_ref().map(|path| path.display().to_string()));
    let purpose = format!("daemon {}", folders.into_iter().flatten().collect::<Vec<_>>().join(" "));
    let (from, into) = ((Origin::Open, &args.tracker), (&state, purpose.as_str()));
    let node = args.peer.start(from, trackers.known.trust(), into).await?;
    let limits = Limits {
        downloads: args.max_downloads.map(|limit| limit as usize),
        seeds: args.max_seeds.map(|limit| limit as usize),
    };
    let rules = Rules { output, trackers: trackers.tiers(), seeded: args.seeded, limits };
    let (asks, asked) = mpsc::channel::<Asked>(ORDERS_WAITING);
    let mut serving = None;
    let api = match api {
        Some(api) => {
            let door = Door::make(state.path(), api.addr())?;
            let addr = api.addr().to_string();
            serving = door.secret().map(|secret| api.serve(secret.digest(), asks));
            Some(addr)
        }
        None => {
            Door::close(state.path());
            None
        }
    };
    let secluded = !args.peer.uses_dht(Origin::Told);
    let (tell, shares) = mpsc::channel(1);
    let watched = watch(files, (trackers, secluded), node.node(), (tell, context));
    let ears = Ears { asked, shares, api };
    let daemon = Daemon::new(node.node(), torrents, rules, ears, context).run();
    let ended = tokio::select! {
        ended = daemon => ended,
        Err(error) = watched => Err(error),
    };
    if serving.take().is_some() {
        Door::close(state.path());
    }
    node.shutdown().await;
    ended
}

/// Watches the folder for content to share, if there is one; then it never ends but with an error.
async fn watch(
    files: Option<PathBuf>,
    (trackers, secluded): (Trackers, bool),
    node: &Node,
    (tell, context): (mpsc::Sender<ShareTold>, &Context),
) -> anyhow::Result<()> {
    let Some(folder) = files else {
        let _ = tell.send(ShareTold::AllSeen).await;
        return Ok(());
    };
    let private = match trackers.catalogues.is_empty() {
        true => false,
        false => context.interrupt.or(trackers.ask_to_publish(&context.output)).await?,
    };
    let (name, piece_length) = (String::new(), None);
    let recipe = Recipe { name, format: FormatArg::Hybrid, piece_length, private };
    let context = context.clone();
    Shares { folder, recipe, trackers, secluded, context }.watch(node, tell).await
}

/// Orders that wait for the daemon's task, which takes each in a moment.
const ORDERS_WAITING: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn orders_are_taken_at_an_address_or_not_at_all() {
        assert_eq!("off".parse(), Ok(Api::Off));
        assert_eq!("[::1]:0".parse(), Ok(Api::At(([0, 0, 0, 0, 0, 0, 0, 1], 0).into())));
        assert!("6880".parse::<Api>().is_err());
    }
}
