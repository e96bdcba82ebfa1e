//! `teem torrent`: torrent files by themselves, without any network.

mod create;
mod magnet;
mod show;
mod verify;

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
