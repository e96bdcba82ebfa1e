//! `teem up`: everything on one machine, now.

use std::path::PathBuf;

use node::{Node, NodeConfig};
use tracker::About;

use super::Context;
use super::dht::Origin;
use super::peer::{self, LimitArgs};
use super::share::{AboutArgs, RecipeArgs, whole_path};
use super::tracker::ServerArgs;
use crate::credentials::TokenArgs;
use crate::hashing::{self, Recipe};
use crate::hosting::{Hosted, Ready as Hosting};
use crate::locate::Trackers;
use crate::output::Output;
use crate::peer_ports::Reachable;
use crate::seeding::{self, Offer, Ready, shell_quoted};
use crate::state::StateArgs;

/// Run a tracker and share a file or folder, all in one
///
/// Prints the line that another machine must type. Without a folder it is the tracker alone, ready
/// for `teem share`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  teem up ./folder
  teem up ./build --name nightly --port 7000")]
pub(super) struct Args {
    /// The file or folder to share
    #[arg(value_name = "DIR")]
    path: Option<PathBuf>,
    #[command(flatten)]
    recipe: RecipeArgs,
    #[command(flatten)]
    about: AboutArgs,
    #[command(flatten)]
    server: ServerArgs,
    #[command(flatten)]
    limits: LimitArgs,
    #[command(flatten)]
    token: TokenArgs,
    #[command(flatten)]
    state: StateArgs,
}

pub(super) async fn run(args: Args, context: &Context) -> anyhow::Result<()> {
    // A folder that is not there is better known before anything runs.
    let path = args.path.as_deref().map(whole_path).transpose()?;
    let about = args.about.about()?;
    let state = args.state.open()?;
    let hosted = Hosted::start(args.server.serve(false), &state, context).await?;
    let ended = match path {
        Some(path) => share(args, (path, about), &hosted, &state, context).await,
        None => {
            let ready = hosted.ready();
            context.output.object("ready", &ready);
            tell_addresses(&ready, &context.output);
            context.output.note("nothing shared yet; `teem share PATH` adds a name");
            context.interrupt.wait().await;
            Err(context.interrupt.failure().into())
        }
    };
    hosted.stop().await;
    ended
}

async fn share(
    args: Args,
    (path, about): (PathBuf, About),
    hosted: &Hosted,
    state: &crate::state::StateDir,
    context: &Context,
) -> anyhow::Result<()> {
    let given = args.path.as_deref().unwrap_or(&path);
    let (name, recipe) = args.recipe.recipe(given)?;
    // Announced from the address that others can reach, not from loopback: the tracker hands out the
    // address that an announce comes from.
    let known = hosted.known(&context.output);
    let listen = args.server.listen().on_port(peer::DEFAULT_PORT);
    let config = NodeConfig {
        trust: known.trust(),
        ..args.limits.config(listen, Origin::Told, args.server.lan())
    };
    let credentials = args.token.or_key(state)?;
    let trackers =
        Trackers { catalogues: vec![hosted.endpoint()], announce: Vec::new(), known, credentials };
    let node = seeding::start_node(&path, config, state, context).await?;
    args.limits.follow_clock(&node);
    let node = Reachable::new(node, args.server.maps_ports());
    let ended = seed(node.node(), (name, path, recipe), (about, trackers), hosted, context).await;
    node.shutdown().await;
    ended
}

async fn seed(
    node: &Node,
    (name, path, recipe): (String, PathBuf, Recipe),
    (about, trackers): (About, Trackers),
    hosted: &Hosted,
    context: &Context,
) -> anyhow::Result<()> {
    let made = hashing::recall_or_create(node, &path, recipe, context).await?;
    let offer = Offer { name, path, made, about, trackers, super_seed: false };
    let version = seeding::publish(&offer, context).await?;
    let (endpoint, found_alone) = (hosted.endpoint(), hosted.is_advertised());
    seeding::seed(node, (offer, version), None, context, |ready| {
        let hosting = hosted.ready();
        context.output.object("ready", &Both { ready, addresses: &hosting.addresses });
        tell_addresses(&hosting, &context.output);
        for line in ready.lines(&endpoint) {
            context.output.result(&line);
        }
        if found_alone {
            let name = shell_quoted(&ready.name);
            context.output.note(&format!("on this network `teem get {name}` is enough"));
        }
        context.output.note("running until Ctrl-C");
    })
    .await
}

#[derive(Debug, serde::Serialize)]
struct Both<'a> {
    #[serde(flatten)]
    ready: &'a Ready,
    /// Where the tracker answers.
    addresses: &'a [String],
}

fn tell_addresses(hosting: &Hosting, output: &Output) {
    let mut addresses = hosting.addresses.iter();
    if let Some(first) = addresses.next() {
        output.result(&format!("tracker {} at {first}", hosting.name));
    }
    for other in addresses {
        output.note(&format!("also at {other}"));
    }
    hosting.tell_external(output);
    hosting.tell_certificate(output);
}
