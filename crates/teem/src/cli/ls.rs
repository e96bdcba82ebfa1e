//! `teem ls`: the names that the tracker has.

use std::time::{SystemTime, UNIX_EPOCH};

use clap::builder::FalseyValueParser;

use super::Context;
use crate::locate::{self, Answer, TrackerArgs, Trackers};
use crate::state::StateArgs;
use crate::table::Table;
use crate::tracker_api::dto::{Entry, Page};
use crate::units;

/// List the names that the tracker has
///
/// With words, only what has all of them, each anywhere in its name, description, tags, or the paths
/// inside it. With `*` or `?`, names that fit as a whole. Case does not matter.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  teem ls\n  teem ls debian iso --tracker nas:6969\n  teem ls -l '*.iso'\n  teem ls --json | jq -r .name"
)]
pub(super) struct Args {
    /// Show what has these words, or fits when there is a * or ?
    #[arg(value_name = "WORD")]
    words: Vec<String>,
    /// Show versions, downloads, tags and descriptions too
    #[arg(short, long, env = "TEEM_LONG", value_parser = FalseyValueParser::new())]
    long: bool,
    #[command(flatten)]
    tracker: TrackerArgs,
    #[command(flatten)]
    state: StateArgs,
}

pub(super) async fn run(args: Args, context: &Context) -> anyhow::Result<()> {
    let state = args.state.open()?;
    let trackers = args.tracker.find(&state, &context.output, &context.interrupt).await?;
    context.interrupt.or(list(&args.words.join(" "), args.long, &trackers, context)).await
}

async fn list(
    words: &str,
    long: bool,
    trackers: &Trackers,
    context: &Context,
) -> anyhow::Result<()> {
    let mut entries: Vec<Entry> = Vec::new();
    let mut after: Option<String> = None;
    loop {
        let ask = async |client: crate::client::Client| {
            client.page(words, after.as_deref()).await.map(Some)
        };
        let answer = locate::ask_each(&trackers.catalogues, trackers.asker(), &context.output, ask);
        let answer = answer.await?;
        let Answer::Found(page, _) = answer else { break };
        let Page { entries: some, next } = page;
        some.iter().for_each(|entry| context.output.object("entry", entry));
        entries.extend(some);
        // A tracker that hands out the same page for ever would keep us here for ever.
        let advances =
            next.as_ref().is_some_and(|next| after.as_ref().is_none_or(|last| next > last));
        if !advances {
            break;
        }
        after = next;
    }
    if entries.is_empty() {
        let about = if words.is_empty() {
            "no names yet; `teem share PATH` adds one"
        } else {
            "nothing has that"
        };
        context.output.note(about);
    } else if long {
        let mut table = Table::new(LONG).with_text_last();
        entries.iter().for_each(|entry| table.push(long_row(entry)));
        table.print(&context.output);
    } else {
        let mut table = Table::new(SHORT);
        entries.iter().for_each(|entry| table.push(row(entry)));
        table.print(&context.output);
    }
    Ok(())
}

fn row(entry: &Entry) -> [String; SHORT.len()] {
    [
        named(entry),
        units::size(entry.size),
        entry.files.to_string(),
        entry.seeders.to_string(),
        entry.leechers.to_string(),
        age(entry.published),
    ]
}

fn long_row(entry: &Entry) -> [String; LONG.len()] {
    let tags = entry.tags.iter().map(|tag| format!("#{tag}"));
    let about: Vec<String> = tags.chain(entry.description.lines().map(str::to_owned)).collect();
    [
        named(entry),
        entry.version.to_string(),
        units::size(entry.size),
        entry.files.to_string(),
        entry.seeders.to_string(),
        entry.leechers.to_string(),
        entry.completed.to_string(),
        age(entry.published),
        about.join(" "),
    ]
}

/// The name, and the path that fits if it is not the name that does.
fn named(entry: &Entry) -> String {
    match &entry.path {
        Some(path) => format!("{} (has {path})", entry.name),
        None => entry.name.clone(),
    }
}

fn age(published: i64) -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let then = std::time::Duration::from_secs(u64::try_from(published).unwrap_or(0));
    let age = now.saturating_sub(then).as_secs();
    match age {
        0..60 => format!("{age} s"),
        60..3_600 => format!("{} min", age / 60),
        3_600..86_400 => format!("{} h", age / 3_600),
        86_400.. => format!("{} d", age / 86_400),
    }
}

const SHORT: [&str; 6] = ["NAME", "SIZE", "FILES", "SEEDERS", "LEECHERS", "AGE"];
const LONG: [&str; 9] =
    ["NAME", "VERSION", "SIZE", "FILES", "SEEDERS", "LEECHERS", "DONE", "AGE", "ABOUT"];
