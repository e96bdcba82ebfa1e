//! `teem torrent verify`: is this content what the torrent file says?

use std::path::PathBuf;

use serde::Serialize;

use super::Context;
use crate::exit::{Failure, Status};
use crate::{hashing, torrent_file, units};

/// Check a file or folder against a torrent file
///
/// Ends with status 4 when anything is missing or different, and names it.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  teem torrent verify big.torrent ~/Downloads/big.iso")]
pub(in crate::cli) struct Args {
    /// The torrent file
    file: PathBuf,
    /// The file or folder itself
    path: PathBuf,
}

pub(super) async fn run(args: Args, context: &Context) -> anyhow::Result<()> {
    let metainfo = torrent_file::read(&args.file)?;
    let bytes = metainfo.info.content_len();
    let files = metainfo.info.files().len();
    let differences = hashing::check(metainfo, args.path.clone(), context).await?;
    for difference in &differences {
        context.output.object("different", difference);
        context.output.result(&format!("{}: {}", difference.path, difference.reason));
    }
    let ok = differences.is_empty();
    let different = differences.len();
    context.output.object("checked", &Report { ok, bytes, files, different });
    let path = args.path.display();
    if ok {
        context.output.result(&format!("{path}: all {} verified", units::size(bytes)));
        return Ok(());
    }
    let message = format!("{path} differs from the torrent in {different} of {files} files");
    Err(Failure::new(Status::Verification, message).into())
}

#[derive(Debug, Serialize)]
struct Report {
    ok: bool,
    bytes: u64,
    files: usize,
    different: usize,
}
