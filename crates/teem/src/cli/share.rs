//! `teem share`: put a file or folder under a name and seed it.

use std::path::{Path, PathBuf};

use node::{Node, NodeConfig};

use super::Context;
use super::peer::PeerArgs;
use crate::exit::{Failure, Status};
use crate::hashing::{self, FormatArg, Recipe};
use crate::locate::{TrackerArgs, Trackers};
use crate::seeding::{self, Offer};
use crate::state::StateArgs;
use crate::units::parse_piece_length;

/// Put a file or folder under a name and seed it until Ctrl-C
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  teem share big.iso
  teem share ./build --name nightly --tracker nas:6969")]
pub(super) struct Args {
    /// The file or folder
    path: PathBuf,
    #[command(flatten)]
    recipe: RecipeArgs,
    #[command(flatten)]
    tracker: TrackerArgs,
    #[command(flatten)]
    state: StateArgs,
    #[command(flatten)]
    peer: PeerArgs,
}

/// How the content is named and hashed.
#[derive(Debug, clap::Args)]
pub(super) struct RecipeArgs {
    /// The name in the catalogue [default: the file's or folder's own]
    #[arg(long, env = "TEEM_NAME", value_name = "NAME")]
    name: Option<String>,
    /// Which hashes: both, or one kind only
    #[arg(long, env = "TEEM_FORMAT", value_name = "FORMAT", default_value = "hybrid")]
    format: FormatArg,
    /// Length of a piece, a power of two [default: 512K, by size and number of files]
    #[arg(long, env = "TEEM_PIECE_LENGTH", value_name = "SIZE", value_parser = parse_piece_length)]
    piece_length: Option<u32>,
}

impl RecipeArgs {
    /// The catalogue name of `path` and the recipe for its torrent.
    pub(super) fn recipe(&self, path: &Path) -> anyhow::Result<(String, Recipe)> {
        let name = hashing::name_of(path, self.name.as_deref())?;
        let recipe = Recipe {
            name: seeding::file_name(&name).to_owned(),
            format: self.format,
            piece_length: self.piece_length,
        };
        Ok((name, recipe))
    }
}

/// The file or folder to share, absolute.
pub(super) fn whole_path(path: &Path) -> Result<PathBuf, Failure> {
    std::fs::canonicalize(path).map_err(|error| {
        Failure::new(Status::Failed, format!("cannot read {}: {error}", path.display()))
    })
}

pub(super) async fn run(args: Args, context: &Context) -> anyhow::Result<()> {
    let path = whole_path(&args.path)?;
    let (name, recipe) = args.recipe.recipe(&args.path)?;
    let state = args.state.open()?;
    // Before the hashing: what is missing or taken is better known at once.
    let trackers = args.tracker.find(&state, &context.output, &context.interrupt).await?;
    let config = NodeConfig { trust: trackers.known.trust(), ..args.peer.config() };
    let node = seeding::start_node(&path, config, &state, context).await?;
    let ended = share(&node, path, name, recipe, trackers, context).await;
    node.shutdown().await;
    ended
}

async fn share(
    node: &Node,
    path: PathBuf,
    name: String,
    recipe: Recipe,
    trackers: Trackers,
    context: &Context,
) -> anyhow::Result<()> {
    let made = hashing::recall_or_create(node, &path, recipe, context).await?;
    let offer = Offer { name, path, made, trackers };
    seeding::publish(&offer, context).await?;
    let catalogue = offer.trackers.catalogues.first().cloned();
    seeding::seed(node, offer, context, |ready| {
        context.output.object("ready", ready);
        for line in catalogue.iter().flat_map(|catalogue| ready.lines(catalogue)) {
            context.output.result(&line);
        }
        context.output.note("seeding until Ctrl-C");
    })
    .await
}
