//! `teem torrent magnet`: the magnet link of a torrent file.

use std::path::PathBuf;

use serde::Serialize;

use super::Context;

/// Print the magnet link of a torrent file
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  teem get \"$(teem torrent magnet big.torrent)\"")]
pub(in crate::cli) struct Args {
    /// The torrent file
    file: PathBuf,
}

pub(super) fn run(args: &Args, context: &Context) -> anyhow::Result<()> {
    let metainfo = super::read(&args.file)?;
    let magnet = crate::magnets::of(&metainfo, &[]).to_string();
    context.output.result(&magnet);
    context.output.object("magnet", &Report { magnet });
    Ok(())
}

#[derive(Debug, Serialize)]
struct Report {
    magnet: String,
}
