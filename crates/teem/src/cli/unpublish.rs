//! `teem unpublish`: take a name out of the catalogue.

use super::Context;
use crate::exit::{Failure, Status};
use crate::locate::{self, Answer, TrackerArgs, Trackers};
use crate::state::StateArgs;
use crate::table::printable;

/// Take a name of yours out of the tracker's catalogue
///
/// NAME with all its versions, or one of them, NAME@2. Peers that have the content go on among
/// themselves. Only who published the name first can do this, with the same state folder or token, or
/// an administrator.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  teem unpublish nightly --tracker nas:6969
  teem unpublish nightly@2")]
pub(super) struct Args {
    /// The name, or a version of it
    #[arg(value_name = "NAME[@N]")]
    name: String,
    #[command(flatten)]
    tracker: TrackerArgs,
    #[command(flatten)]
    state: StateArgs,
}

pub(super) async fn run(args: Args, context: &Context) -> anyhow::Result<()> {
    let state = args.state.open()?;
    let mut trackers = args.tracker.find(&state, &context.output, &context.interrupt).await?;
    trackers.credentials = args.tracker.token.or_key(&state)?;
    context.interrupt.or(unpublish(&args.name, &trackers, context)).await
}

async fn unpublish(name: &str, trackers: &Trackers, context: &Context) -> anyhow::Result<()> {
    let mut is_gone = false;
    for endpoint in &trackers.catalogues {
        let ask = async |client: crate::client::Client| client.unpublish(name).await;
        let each = std::slice::from_ref(endpoint);
        let answer = locate::ask_each(each, trackers.asker(), &context.output, ask).await?;
        if let Answer::Found(gone, endpoint) = answer {
            is_gone = true;
            context.output.object("unpublished", &gone);
            let versions: Vec<String> = gone.versions.iter().map(u32::to_string).collect();
            let (name, versions) = (printable(&gone.name), versions.join(", "));
            let line = format!("{name}: gone from tracker {endpoint}, version {versions}");
            context.output.result(&line);
        }
    }
    if is_gone {
        return Ok(());
    }
    let message = format!("the tracker knows no name {name:?}");
    Err(Failure::new(Status::NotFound, message)
        .hint("`teem ls` lists the names that it has")
        .into())
}
