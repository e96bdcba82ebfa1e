//! `teem share`: put a file or folder under a name and seed it.

use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};

use clap::builder::FalseyValueParser;
use node::{Node, NodeConfig};
use tracker::About;

use super::Context;
use super::dht::Origin;
use super::peer::PeerArgs;
use crate::exit::{Failure, Status};
use crate::hashing::{self, FormatArg, Recipe};
use crate::locate::{TrackerArgs, Trackers};
use crate::seeding::{self, Offer, Ready};
use crate::state::StateArgs;
use crate::units::{parse_piece_length, parse_web_seed};
use crate::watching::{Fingerprint, Watching};

/// Put a file or folder under a name and seed it until Ctrl-C
///
/// Other content under a name of yours is its next version: `teem get NAME` fetches the latest one,
/// `teem get NAME@1` the first.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  teem share big.iso
  teem share ./build --name nightly --tracker nas:6969
  teem share model.bin --description 'Fine-tuned on June' --tag model --tag june")]
pub(super) struct Args {
    /// The file or folder
    path: PathBuf,
    #[command(flatten)]
    recipe: RecipeArgs,
    #[command(flatten)]
    about: AboutArgs,
    /// Tell those who fetch that this web server has the content as plain files (BEP 19). Repeat for
    /// more
    #[arg(
        long, env = "TEEM_WEB_SEED", value_name = "URL", value_delimiter = ' ',
        value_parser = parse_web_seed
    )]
    web_seed: Vec<String>,
    #[command(flatten)]
    tracker: TrackerArgs,
    #[command(flatten)]
    state: StateArgs,
    #[command(flatten)]
    peer: PeerArgs,
    /// End when this many peers have all of it
    #[arg(long, env = "TEEM_UNTIL", value_name = "N")]
    until: Option<NonZeroUsize>,
    /// Publish a new version whenever the content has changed and nobody writes to it any more
    #[arg(
        long, env = "TEEM_WATCH", value_parser = FalseyValueParser::new(), conflicts_with = "until"
    )]
    watch: bool,
    /// Send each piece once, as far as peers pass it on (BEP 16): for who is the first to have it, on a
    /// slow line. It ends by itself when others have all of it, too
    #[arg(long, env = "TEEM_SUPER_SEED", value_parser = FalseyValueParser::new())]
    super_seed: bool,
}

/// When a share ends, and whether it changes before.
enum Span {
    /// When so many peers have all of it, or with a signal.
    Until(Option<NonZeroUsize>),
    /// With a signal; until then each change is a new version.
    Watch,
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

/// What to say about it.
#[derive(Debug, clap::Args)]
pub(super) struct AboutArgs {
    /// What it is, in a few words that can be searched [default: as it was]
    #[arg(long, env = "TEEM_DESCRIPTION", value_name = "TEXT")]
    description: Option<String>,
    /// A word to file it under; repeat for more, one empty one for none [default: as they were]
    #[arg(long, env = "TEEM_TAG", value_name = "WORD", value_delimiter = ',')]
    tag: Vec<String>,
}

impl AboutArgs {
    /// What to say, if it can be said.
    pub(super) fn about(&self) -> Result<About, Failure> {
        let tags = (!self.tag.is_empty()).then(|| self.tag.clone());
        About::new(self.description.clone(), tags)
            .map_err(|error| Failure::new(Status::Usage, error.to_string()))
    }
}

impl RecipeArgs {
    /// The catalogue name of `path` and the recipe for its torrent.
    pub(super) fn recipe(&self, path: &Path) -> anyhow::Result<(String, Recipe)> {
        let name = hashing::name_of(path, self.name.as_deref())?;
        let recipe = Recipe {
            name: seeding::file_name(&name).to_owned(),
            format: self.format,
            piece_length: self.piece_length,
            private: false,
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
    let (name, mut recipe) = args.recipe.recipe(&args.path)?;
    let about = args.about.about()?;
    let state = args.state.open()?;
    // Before the hashing: what is missing or taken is better known at once.
    let mut trackers = args.tracker.find(&state, &context.output, &context.interrupt).await?;
    trackers.credentials = args.tracker.token.or_key(&state)?;
    let private = trackers.ask_to_publish(&context.output);
    recipe.private = context.interrupt.or(private).await?;
    let config = NodeConfig {
        trust: trackers.known.trust(),
        ..args.peer.config(Origin::Told, &args.tracker)
    };
    let node = seeding::start_node(&path, config, &state, context).await?;
    let node = args.peer.open_to_peers(node, &args.tracker);
    let what = (name, path, recipe, args.web_seed);
    let span = if args.watch { Span::Watch } else { Span::Until(args.until) };
    let ended = share(node.node(), what, (about, span, args.super_seed), trackers, context).await;
    node.shutdown().await;
    ended
}

async fn share(
    node: &Node,
    (name, path, recipe, web_seeds): (String, PathBuf, Recipe, Vec<String>),
    (about, span, super_seed): (About, Span, bool),
    trackers: Trackers,
    context: &Context,
) -> anyhow::Result<()> {
    // Before the hashing: what changes meanwhile is seen.
    let seen = match span {
        Span::Watch => Fingerprint::look(&path).await?,
        Span::Until(_) => Fingerprint::default(),
    };
    let mut made = hashing::recall_or_create(node, &path, recipe.clone(), context).await?;
    made.metainfo.web_seeds = web_seeds;
    let offer = Offer { name, path, made, about, trackers, super_seed };
    let version = seeding::publish(&offer, context).await?;
    let catalogue = offer.trackers.catalogues.first().cloned();
    let ready = |ready: &Ready| {
        context.output.object("ready", ready);
        for line in catalogue.iter().flat_map(|catalogue| ready.lines(catalogue)) {
            context.output.result(&line);
        }
        context.output.note(&match span {
            Span::Until(Some(until)) => {
                format!("seeding until {until} peers have all of it, or Ctrl-C")
            }
            Span::Until(None) => "seeding until Ctrl-C".to_owned(),
            Span::Watch => "seeding until Ctrl-C; a change is a new version".to_owned(),
        });
    };
    match (&span, seen) {
        (Span::Until(until), _) => {
            seeding::seed(node, (offer, version), *until, context, ready).await
        }
        (Span::Watch, seen) => {
            Watching { node, offer, recipe, seen, context }.run(version, ready).await
        }
    }
}
