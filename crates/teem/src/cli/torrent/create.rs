//! `teem torrent create`: a torrent file of a file or folder.

use std::path::PathBuf;

use anyhow::Context as _;
use clap::builder::FalseyValueParser;
use serde::Serialize;

use super::Context;
use crate::exit::{Failure, Status};
use crate::hashing::{self, FormatArg, Recipe};
use crate::locate::TrackerRef;
use crate::state::write_whole;
use crate::units::{self, parse_piece_length, parse_web_seed};

/// Make a torrent file of a file or folder
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  teem torrent create big.iso
  teem torrent create ./tree -o tree.torrent --tracker nas:6969 --piece-length 1M")]
pub(in crate::cli) struct Args {
    /// The file or folder
    path: PathBuf,
    /// Write the torrent file here [default: NAME.torrent]
    #[arg(short, long, env = "TEEM_OUTPUT", value_name = "FILE")]
    output: Option<PathBuf>,
    /// Which hashes: both, or one kind only
    #[arg(long, env = "TEEM_FORMAT", value_name = "FORMAT", default_value = "hybrid")]
    format: FormatArg,
    /// Length of a piece, a power of two [default: 512K, by size and number of files]
    #[arg(long, env = "TEEM_PIECE_LENGTH", value_name = "SIZE", value_parser = parse_piece_length)]
    piece_length: Option<u32>,
    /// A tracker, as HOST:PORT or announce URL; repeat for more
    #[arg(long, env = "TEEM_TRACKER", value_name = "HOST:PORT|URL", value_delimiter = ',')]
    tracker: Vec<TrackerRef>,
    /// A web server that has the content as plain files (BEP 19); repeat for more
    #[arg(
        long, env = "TEEM_WEB_SEED", value_name = "URL", value_delimiter = ' ',
        value_parser = parse_web_seed
    )]
    web_seed: Vec<String>,
    /// The name of the file or folder for those who fetch it [default: its own]
    #[arg(long, env = "TEEM_NAME", value_name = "NAME")]
    name: Option<String>,
    /// Let peers come from the trackers only (BEP 27); another torrent than without
    #[arg(long, env = "TEEM_PRIVATE", value_parser = FalseyValueParser::new())]
    private: bool,
}

pub(super) async fn run(args: Args, context: &Context) -> anyhow::Result<()> {
    let name = hashing::name_of(&args.path, args.name.as_deref())?;
    let file = args.output.unwrap_or_else(|| PathBuf::from(format!("{name}.torrent")));
    let trackers = args.tracker.iter().flat_map(|tracker| match tracker {
        TrackerRef::Teem(endpoint) => endpoint.tiers(None).into(),
        TrackerRef::Announce(url) => vec![vec![url.clone()]],
    });
    let recipe = Recipe {
        name,
        format: args.format,
        piece_length: args.piece_length,
        private: args.private,
    };
    let made = hashing::create(&args.path, recipe, context).await?;
    let mut metainfo = made.metainfo;
    metainfo.trackers = trackers.collect();
    metainfo.web_seeds = args.web_seed;
    metainfo.created_by = Some(concat!("Teem ", env!("CARGO_PKG_VERSION")).to_owned());
    write_whole(&file, &metainfo.encode())
        .with_context(|| format!("write {}", file.display()))
        .map_err(|error| {
            Failure::new(Status::Disk, format!("{error:#}"))
                .hint("choose another place for it with --output FILE")
        })?;
    let info = &metainfo.info;
    let report = Report {
        file: file.display().to_string(),
        name: info.name().to_owned(),
        bytes: info.content_len(),
        piece_length: info.piece_len(),
        info_hash_v1: info.hashes().v1().map(|hash| hash.to_string()),
        info_hash_v2: info.hashes().v2().map(|hash| hash.to_string()),
        magnet: crate::magnets::of(&metainfo, &[]).to_string(),
    };
    context.output.object("created", &report);
    let (pieces, size) = (info.geometry().piece_count(), units::size(report.bytes));
    let piece_size = units::size(report.piece_length.into());
    context.output.result(&format!("{}  {size} in {pieces} pieces of {piece_size}", report.file));
    Ok(())
}

#[derive(Debug, Serialize)]
struct Report {
    file: String,
    name: String,
    bytes: u64,
    piece_length: u32,
    info_hash_v1: Option<String>,
    info_hash_v2: Option<String>,
    magnet: String,
}
