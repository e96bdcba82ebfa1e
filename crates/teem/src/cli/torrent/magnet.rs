//! `teem torrent magnet`: the magnet link of a torrent file.

use std::path::PathBuf;

use proto::FileIndex;
use proto::choice::{Choice, Numbers, Pattern};
use proto::metainfo::Metainfo;
use serde::Serialize;

use super::Context;
use crate::exit::Failure;
use crate::torrent_file;

/// Print the magnet link of a torrent file
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  teem get \"$(teem torrent magnet big.torrent)\"
  teem torrent magnet series.torrent --only 'season 1/'")]
pub(in crate::cli) struct Args {
    /// The torrent file
    file: PathBuf,
    /// Have the link select these files only (BEP 53): numbers or patterns, as `teem get --only` takes them
    #[arg(long, env = "TEEM_ONLY", value_name = "FILES", value_delimiter = '\n')]
    only: Vec<Pattern>,
}

pub(super) fn run(args: &Args, context: &Context) -> anyhow::Result<()> {
    let metainfo = torrent_file::read(&args.file)?;
    let mut magnet = crate::magnets::of(&metainfo, &[]);
    if !args.only.is_empty() {
        magnet.select = Some(numbers(&metainfo, &args.only)?);
    }
    let magnet = magnet.to_string();
    context.output.result(&magnet);
    context.output.object("magnet", &Report { magnet });
    Ok(())
}

fn numbers(metainfo: &Metainfo, only: &[Pattern]) -> anyhow::Result<Numbers> {
    let wanted = Choice::Matching(only.to_vec()).of(&metainfo.info);
    let wanted = wanted.map_err(|error| Failure::no_such_file(error.to_string()))?;
    let files = (0..).map(FileIndex).zip(wanted).filter(|(_, wanted)| *wanted);
    Numbers::of(files.map(|(file, _)| metainfo.info.link_number(file)))
        .ok_or_else(|| anyhow::anyhow!("these are too many ranges of files for a magnet link"))
}

#[derive(Debug, Serialize)]
struct Report {
    magnet: String,
}
