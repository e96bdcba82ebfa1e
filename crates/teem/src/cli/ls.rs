//! `teem ls`: the names that the tracker has.

use std::time::{SystemTime, UNIX_EPOCH};

use super::Context;
use crate::locate::{self, Answer, TrackerArgs, Trackers};
use crate::state::StateArgs;
use crate::tracker_api::dto::{Entry, Page};
use crate::units;

/// List the names that the tracker has
///
/// With a pattern, only names that contain it, or fit it whole when it has `*` or `?`.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  teem ls\n  teem ls debian --tracker nas:6969\n  teem ls --json | jq -r .name"
)]
pub(super) struct Args {
    /// Show names that contain this, or fit it when it has * or ?
    #[arg(default_value = "")]
    pattern: String,
    #[command(flatten)]
    tracker: TrackerArgs,
    #[command(flatten)]
    state: StateArgs,
}

pub(super) async fn run(args: Args, context: &Context) -> anyhow::Result<()> {
    let state = args.state.open()?;
    let trackers = args.tracker.find(&state, &context.output, &context.interrupt).await?;
    context.interrupt.or(list(&args.pattern, &trackers, context)).await
}

async fn list(pattern: &str, trackers: &Trackers, context: &Context) -> anyhow::Result<()> {
    let mut table = Table::default();
    let mut after: Option<String> = None;
    loop {
        let ask = async |client: crate::client::Client| {
            client.page(pattern, after.as_deref()).await.map(Some)
        };
        let answer = locate::ask_each(&trackers.catalogues, &trackers.known, &context.output, ask);
        let answer = answer.await?;
        let Answer::Found(page, _) = answer else { break };
        let Page { entries, next } = page;
        for entry in entries {
            context.output.object("entry", &entry);
            table.push(&entry);
        }
        // A tracker that hands out the same page for ever would keep us here for ever.
        let advances =
            next.as_ref().is_some_and(|next| after.as_ref().is_none_or(|last| next > last));
        if !advances {
            break;
        }
        after = next;
    }
    if table.rows.is_empty() {
        let about = if pattern.is_empty() {
            "no names yet; `teem share PATH` adds one"
        } else {
            "no name contains that"
        };
        context.output.note(about);
    } else {
        table.print(context);
    }
    Ok(())
}

#[derive(Debug, Default)]
struct Table {
    rows: Vec<[String; COLUMNS]>,
}

impl Table {
    fn push(&mut self, entry: &Entry) {
        self.rows.push([
            printable(&entry.name),
            units::size(entry.size),
            entry.files.to_string(),
            entry.seeders.to_string(),
            entry.leechers.to_string(),
            age(entry.published),
        ]);
    }

    fn print(&self, context: &Context) {
        let header = ["NAME", "SIZE", "FILES", "SEEDERS", "LEECHERS", "AGE"].map(str::to_owned);
        let mut widths = [0; COLUMNS];
        for row in std::iter::once(&header).chain(&self.rows) {
            for (width, cell) in widths.iter_mut().zip(row) {
                *width = (*width).max(cell.chars().count());
            }
        }
        let line = |row: &[String; COLUMNS]| {
            let mut cells = row.iter().zip(widths);
            let first = cells.next().map(|(name, width)| format!("{name:<width$}"));
            let rest = cells.map(|(cell, width)| format!("  {cell:>width$}"));
            first.into_iter().chain(rest).collect::<String>()
        };
        let bold = context.output.colors_results();
        let header = line(&header);
        context.output.result(&if bold { format!("\x1b[1m{header}\x1b[0m") } else { header });
        for row in &self.rows {
            context.output.result(&line(row));
        }
    }
}

/// A name as a terminal may see it: nothing in it moves the cursor or changes colours.
fn printable(name: &str) -> String {
    name.chars().map(|char| if char.is_control() { '\u{fffd}' } else { char }).collect()
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

const COLUMNS: usize = 6;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_cannot_steer_the_terminal() {
        assert_eq!(printable("a\x1b[2Jb\r"), "a\u{fffd}[2Jb\u{fffd}");
    }
}
