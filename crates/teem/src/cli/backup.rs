//! `teem tracker backup`: a copy of what a tracker must not lose.

use std::path::PathBuf;

use anyhow::Context as _;
use serde::Serialize;
use tracker::BackupError;

use super::Context;
use crate::exit::{Failure, Status};
use crate::hosting::NAME_FILE;
use crate::state::StateArgs;

/// Copy a tracker's catalogue, tokens and own certificate to a new folder, while it runs
///
/// To go back to the copy, start a tracker on it: `teem tracker --data TO`. It holds secrets, as the data
/// folder does.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The folder to make
    to: PathBuf,
    #[command(flatten)]
    state: StateArgs,
}

/// What was made, as it is printed.
#[derive(Debug, Serialize)]
struct Made<'a> {
    path: &'a str,
    bytes: u64,
}

pub(super) async fn run(args: Args, context: &Context) -> anyhow::Result<()> {
    // A folder that was named wrongly is not made.
    let folder = match args.state.data {
        Some(folder) => folder,
        None => args.state.open()?.path().to_owned(),
    };
    let to = args.to.clone();
    let made = tokio::task::spawn_blocking(move || tracker::backup(&folder, &to, &[NAME_FILE]));
    let bytes = made.await.context("copy the tracker's state")?.map_err(failure)?;
    let path = args.to.display().to_string();
    context.output.object("backup", &Made { path: &path, bytes });
    context.output.result(&format!("{bytes} bytes copied to {path}"));
    Ok(())
}

fn failure(error: BackupError) -> anyhow::Error {
    let (status, hint) = match &error {
        BackupError::NoState(_) => {
            (Status::Failed, Some("say which folder the tracker uses with --data DIR"))
        }
        BackupError::Exists(_) => (Status::Failed, Some("name a folder that is not there yet")),
        BackupError::Busy => (Status::Failed, Some("try again later")),
        BackupError::Check(_) | BackupError::Database(_) | BackupError::Disk { .. } => {
            (Status::Disk, None)
        }
    };
    let failure = Failure::new(status, error.to_string());
    match hint {
        Some(hint) => failure.hint(hint).into(),
        None => failure.into(),
    }
}
