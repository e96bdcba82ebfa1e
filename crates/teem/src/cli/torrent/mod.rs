//! `teem torrent`: torrent files by themselves, without any network.

mod create;
mod magnet;
mod show;
mod verify;

use std::path::Path;

use anyhow::Context as _;
use proto::metainfo::Metainfo;

use super::Context;

/// Make, show and check torrent files
#[derive(Debug, clap::Subcommand)]
pub(super) enum Command {
    Create(create::Args),
    Show(show::Args),
    Verify(verify::Args),
    Magnet(magnet::Args),
}

pub(super) async fn run(command: Command, context: &Context) -> anyhow::Result<()> {
    match command {
        Command::Create(args) => create::run(args, context).await,
        Command::Show(args) => show::run(&args, context),
        Command::Verify(args) => verify::run(args, context).await,
        Command::Magnet(args) => magnet::run(&args, context),
    }
}

/// A torrent file from disk, checked.
pub(super) fn read(path: &Path) -> anyhow::Result<Metainfo> {
    let shown = path.display();
    let length = std::fs::metadata(path).with_context(|| format!("read {shown}"))?.len();
    anyhow::ensure!(length <= LEN_MAX, "{shown} is too large for a torrent file");
    let bytes = std::fs::read(path).with_context(|| format!("read {shown}"))?;
    Metainfo::decode(&bytes).with_context(|| format!("{shown} is not a torrent that can be used"))
}

const LEN_MAX: u64 = proto::metainfo::limits::FILE_LEN_MAX as u64;
