//! What a person orders of a running daemon: `teem transfers`, `hold`, `resume`, `recheck`, `move`, `rename`,
//! `queue`, `remove`.

use std::path::PathBuf;

use clap::builder::FalseyValueParser;
use serde::Serialize;

use super::Context;
use crate::daemon_api::{Client, dto};
use crate::slots::{Peer, Peers, Standing};
use crate::state::StateArgs;
use crate::table::Table;
use crate::units;

/// List the torrents of the running daemon, or the peers of one; --help has what can be done with them
///
/// `teem hold NAME` stops one, `teem resume NAME` lets it go on, `teem recheck NAME` reads all of it again, `teem move
/// NAME FOLDER` and `teem rename NAME NEWNAME` put its content elsewhere, `teem queue NAME PLACE` changes
/// when it is its turn, and `teem remove NAME` forgets it. Each has a --help of its own.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  teem transfers\n  teem transfers --json | jq -r 'select(.state == \"failed\") | .name'\n  teem transfers big.iso"
)]
pub(super) struct ListArgs {
    /// Show the peers of this one instead: who gives, who waits for an upload slot and in which place
    name: Option<String>,
    #[command(flatten)]
    state: StateArgs,
}

/// Which torrent, of which daemon.
#[derive(Debug, clap::Args)]
pub(super) struct Target {
    /// Its name, its info hash, or the beginning of that
    name: String,
    #[command(flatten)]
    state: StateArgs,
}

/// Stop a torrent of the running daemon; it stays so, also after a restart
#[derive(Debug, clap::Args)]
pub(super) struct HoldArgs {
    #[command(flatten)]
    target: Target,
}

/// Let a torrent of the running daemon go on
#[derive(Debug, clap::Args)]
pub(super) struct ResumeArgs {
    #[command(flatten)]
    target: Target,
    /// Now, whatever the queue and the limits of seeding say
    #[arg(long, env = "TEEM_FORCE", value_parser = FalseyValueParser::new())]
    force: bool,
}

/// Read all of a torrent's content again; what is wrong is fetched again
///
/// A file that somebody changed is kept beside the right one, as "NAME (changed 1)".
#[derive(Debug, clap::Args)]
pub(super) struct RecheckArgs {
    #[command(flatten)]
    target: Target,
}

/// Move a torrent's content to another folder, also of another disk
#[derive(Debug, clap::Args)]
pub(super) struct MoveArgs {
    #[command(flatten)]
    target: Target,
    /// Where to; made if missing
    folder: PathBuf,
}

/// Call a torrent's content something else on this machine
#[derive(Debug, clap::Args)]
pub(super) struct RenameArgs {
    #[command(flatten)]
    target: Target,
    /// The new name; with --file a path below the torrent's folder
    new_name: String,
    /// Rename this file, by its number in `teem torrent show`
    #[arg(long, env = "TEEM_FILE", value_name = "N")]
    file: Option<u32>,
}

/// Give a torrent another place in the queue
#[derive(Debug, clap::Args)]
pub(super) struct QueueArgs {
    #[command(flatten)]
    target: Target,
    /// Its place, 1 the first
    place: usize,
}

/// Forget a torrent; its content stays
#[derive(Debug, clap::Args)]
pub(super) struct RemoveArgs {
    #[command(flatten)]
    target: Target,
    /// Delete its content, too: files that were fetched and that nobody has changed
    #[arg(long, env = "TEEM_WITH_DATA", value_parser = FalseyValueParser::new())]
    with_data: bool,
}

/// A thing that was done.
#[derive(Debug, Serialize)]
struct Told<'a> {
    name: &'a str,
    id: &'a str,
    /// Files that stay although they were to go.
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    left: &'a [String],
    /// Bytes that a check found to be wrong.
    #[serde(skip_serializing_if = "is_nothing")]
    wrong: u64,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde gives references")]
const fn is_nothing(bytes: &u64) -> bool {
    *bytes == 0
}

impl Target {
    async fn find(&self) -> anyhow::Result<(Client, dto::Transfer)> {
        let client = Client::new(self.state.open()?.path())?;
        let found = client.find(&self.name).await?;
        Ok((client, found))
    }

    async fn order(
        &self,
        (what, kind): (&str, &'static str),
        body: impl Serialize,
        context: &Context,
    ) -> anyhow::Result<()> {
        let ordered = async {
            let (client, found) = self.find().await?;
            let done = client.order(&found, what, &body).await?;
            tell(kind, &found, &done, context);
            Ok(())
        };
        context.interrupt.or(ordered).await
    }
}

fn tell(kind: &'static str, transfer: &dto::Transfer, done: &dto::Done, context: &Context) {
    let (name, id, left) = (transfer.name.as_str(), transfer.id.as_str(), done.left.as_slice());
    context.output.object(kind, &Told { name, id, left, wrong: done.wrong });
    context.output.note(&format!("{kind} {name}"));
    if done.wrong > 0 {
        let wrong = units::size(done.wrong);
        context.output.warn(&format!("{wrong} of it were wrong, and are fetched again"));
    }
    for path in left {
        context.output.warn(&format!("{path} stays: it is not as it was fetched"));
    }
}

pub(super) async fn hold(args: HoldArgs, context: &Context) -> anyhow::Result<()> {
    args.target.order(("hold", "held"), (), context).await
}

pub(super) async fn resume(args: ResumeArgs, context: &Context) -> anyhow::Result<()> {
    let body = dto::Resume { force: args.force };
    args.target.order(("resume", "resumed"), body, context).await
}

pub(super) async fn recheck(args: RecheckArgs, context: &Context) -> anyhow::Result<()> {
    args.target.order(("recheck", "rechecked"), (), context).await
}

pub(super) async fn relocate(args: MoveArgs, context: &Context) -> anyhow::Result<()> {
    let folder = std::path::absolute(&args.folder)?;
    let Some(folder) = folder.to_str().map(str::to_owned) else {
        anyhow::bail!("the name of {} cannot be sent", folder.display());
    };
    args.target.order(("move", "moved"), dto::Move { folder }, context).await
}

pub(super) async fn rename(args: RenameArgs, context: &Context) -> anyhow::Result<()> {
    let body = dto::Rename { name: args.new_name, file: args.file };
    args.target.order(("rename", "renamed"), body, context).await
}

pub(super) async fn queue(args: QueueArgs, context: &Context) -> anyhow::Result<()> {
    args.target.order(("place", "placed"), dto::Place { place: args.place }, context).await
}

pub(super) async fn remove(args: RemoveArgs, context: &Context) -> anyhow::Result<()> {
    let removed = async {
        let (client, found) = args.target.find().await?;
        let done = client.remove(&found, args.with_data).await?;
        tell("removed", &found, &done, context);
        Ok(())
    };
    context.interrupt.or(removed).await
}

pub(super) async fn list(args: ListArgs, context: &Context) -> anyhow::Result<()> {
    let client = Client::new(args.state.open()?.path())?;
    if let Some(name) = &args.name {
        return context.interrupt.or(list_peers(&client, name, context)).await;
    }
    let transfers = context.interrupt.or(client.transfers()).await?;
    let mut table = Table::new(HEADER);
    for transfer in &transfers {
        context.output.object("transfer", transfer);
        table.push(row(transfer));
    }
    match table.is_empty() {
        true => context.output.note("no torrents yet"),
        false => table.print(&context.output),
    }
    Ok(())
}

async fn list_peers(client: &Client, name: &str, context: &Context) -> anyhow::Result<()> {
    let found = client.find(name).await?;
    let Peers { slots, peers, unavailable } = client.peers(&found).await?;
    context.output.object("slots", &slots);
    let mut table = Table::new(PEERS_HEADER);
    for peer in &peers {
        context.output.object("peer", peer);
        table.push(peer_row(peer));
    }
    match table.is_empty() {
        true => context.output.note("no peers"),
        false => table.print(&context.output),
    }
    let shown = peers.iter().filter(|peer| !peer.connected).count();
    if shown < unavailable {
        context.output.note(&format!("{} more are unavailable", unavailable - shown));
    }
    context.output.note(&format!("upload slots: {}", slots.words()));
    Ok(())
}

fn peer_row(peer: &Peer) -> [String; PEERS_HEADER.len()] {
    let has = match (peer.connected, peer.seeder) {
        (false, _) => "-",
        (true, true) => "all",
        (true, false) => "some",
    };
    let words =
        |standing: Option<Standing>| standing.map_or_else(|| "-".to_owned(), Standing::words);
    [
        peer.addr.map_or_else(|| "web seed".to_owned(), |addr| addr.to_string()),
        peer.client.clone().unwrap_or_else(|| "-".to_owned()),
        has.to_owned(),
        words(peer.gives),
        words(peer.gets),
        units::rate(peer.down_rate),
        units::rate(peer.up_rate),
    ]
}

fn row(transfer: &dto::Transfer) -> [String; HEADER.len()] {
    let percent = match transfer.size {
        0 => "-".to_owned(),
        size => format!("{}%", transfer.verified.min(size) * 100 / size),
    };
    [
        transfer.name.clone(),
        transfer.id.chars().take(8).collect(),
        units::size(transfer.size),
        percent,
        state(transfer),
        units::rate(transfer.down_rate),
        units::rate(transfer.up_rate),
        transfer.peers.to_string(),
        format!("{:.2}", transfer.ratio),
    ]
}

/// The state as people read it.
fn state(transfer: &dto::Transfer) -> String {
    use dto::TransferState as S;
    let words = match transfer.state {
        S::Metadata => "waiting for its description",
        S::Checking => "checking",
        S::Downloading => "downloading",
        S::Seeding => "seeding",
        S::Queued => match transfer.place {
            Some(place) => return format!("waiting, place {place}"),
            None => "waiting",
        },
        S::Held => "held",
        S::Seeded => "seeded enough",
        S::Moving => "moving",
        S::Paused => "paused",
        S::Failed => "failed",
        S::Stopped | S::Other => "ending",
    };
    if transfer.forced { format!("{words} (forced)") } else { words.to_owned() }
}

const PEERS_HEADER: [&str; 7] = ["PEER", "CLIENT", "HAS", "GIVES", "GETS", "DOWN", "UP"];
const HEADER: [&str; 9] = ["NAME", "ID", "SIZE", "DONE", "STATE", "DOWN", "UP", "PEERS", "RATIO"];
