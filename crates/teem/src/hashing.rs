//! Hashes content on threads of its own, with progress, until it is done or a signal comes.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use clap::ValueEnum;
use node::hashing::known::Known;
use node::hashing::{Control, check, create};
use node::{Fresh, Node};
use proto::metainfo::{Details, Format, Metainfo};
use serde::Serialize;

use crate::cli::Context;
use crate::exit::{Failure, Status};
use crate::progress::Progress;

/// Which hashes a new torrent has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum FormatArg {
    /// SHA-256 and SHA-1: every client can join
    Hybrid,
    /// SHA-1 only, for old clients
    V1,
    /// SHA-256 only
    V2,
}

impl From<FormatArg> for Format {
    fn from(format: FormatArg) -> Self {
        match format {
            FormatArg::Hybrid => Self::Hybrid,
            FormatArg::V1 => Self::V1,
            FormatArg::V2 => Self::V2,
        }
    }
}

/// What a new torrent should be like.
#[derive(Debug, Clone)]
pub(crate) struct Recipe {
    /// Its name: one path component.
    pub(crate) name: String,
    /// Its hashes.
    pub(crate) format: FormatArg,
    /// Chosen by size when `None`.
    pub(crate) piece_length: Option<u32>,
    /// Peers come from its trackers only (BEP 27).
    pub(crate) private: bool,
}

/// A new torrent.
#[derive(Debug, Clone)]
pub(crate) struct Made {
    /// The torrent, without trackers.
    pub(crate) metainfo: Metainfo,
    /// What its files were like when they were read.
    pub(crate) fresh: Fresh,
}

/// A file that is not what a torrent says.
#[derive(Debug, Serialize)]
pub(crate) struct Difference {
    /// Its path inside the torrent.
    pub(crate) path: String,
    /// What is wrong with it.
    pub(crate) reason: String,
}

/// The name of a torrent of `path`: the one asked for, else the file's or folder's own.
pub(crate) fn name_of(path: &Path, asked: Option<&str>) -> anyhow::Result<String> {
    if let Some(name) = asked {
        return Ok(name.to_owned());
    }
    let cannot = |error: std::io::Error| {
        Failure::new(Status::Failed, format!("cannot read {}: {error}", path.display()))
    };
    // `.` and `..` have no name of their own.
    let whole = std::fs::canonicalize(path).map_err(cannot)?;
    let name = path.file_name().or_else(|| whole.file_name()).and_then(|name| name.to_str());
    match name {
        Some(name) => Ok(name.to_owned()),
        None => Err(Failure::new(
            Status::Failed,
            format!("{} has no name that others can read", path.display()),
        )
        .hint("give it one with --name NAME")
        .into()),
    }
}

impl From<Recipe> for create::Recipe {
    fn from(recipe: Recipe) -> Self {
        Self {
            name: recipe.name,
            format: recipe.format.into(),
            piece_len: recipe.piece_length,
            details: Details { private: recipe.private, ..Details::default() },
        }
    }
}

/// The torrent of what is at `path`: as the node knows it from an earlier run if nothing has changed,
/// else hashed.
pub(crate) async fn recall_or_create(
    node: &Node,
    path: &Path,
    recipe: Recipe,
    context: &Context,
) -> anyhow::Result<Made> {
    let known = node.recall(path.to_owned(), recipe.clone().into());
    match context.interrupt.or(async { Ok(known.await) }).await? {
        Some(known) => {
            context.output.note(&format!("{} is as it was: not hashed again", recipe.name));
            Ok(Made::new(known, context))
        }
        None => create(path, recipe, context).await,
    }
}

/// Hashes what is at `path`.
pub(crate) async fn create(path: &Path, recipe: Recipe, context: &Context) -> anyhow::Result<Made> {
    let progress = format!("hashing {}", recipe.name);
    let path = path.to_owned();
    let job = move |control: &Control| create::create(&path, recipe.into(), control);
    Ok(Made::new(in_background(&progress, job, context).await??, context))
}

/// Hashes the next version of what is at `path`: what has not changed since is not read again, and web
/// seeds stay.
pub(crate) async fn create_after(
    path: &Path,
    recipe: Recipe,
    before: &Made,
    context: &Context,
) -> anyhow::Result<Made> {
    let progress = format!("hashing {}", recipe.name);
    let (path, before) = (path.to_owned(), before.clone());
    let web_seeds = before.metainfo.web_seeds.clone();
    let job = move |control: &Control| {
        let known = Known { metainfo: &before.metainfo, fresh: &before.fresh };
        create::create_after(&path, recipe.into(), Some(known), control)
    };
    let mut made = Made::new(in_background(&progress, job, context).await??, context);
    made.metainfo.web_seeds = web_seeds;
    Ok(made)
}

/// Somebody is writing to what was to be hashed.
pub(crate) fn is_changing(error: &anyhow::Error) -> bool {
    matches!(error.downcast_ref(), Some(create::CreateError::Changed { .. }))
}

impl Made {
    fn new(created: create::Created, context: &Context) -> Self {
        for left_out in &created.skipped {
            let path = left_out.display();
            context.output.warn(&format!("{path} is no file, folder or link and is left out"));
        }
        // What an earlier run said of web seeds was for that run.
        let metainfo = Metainfo { web_seeds: Vec::new(), ..created.metainfo };
        Self { metainfo, fresh: created.fresh }
    }
}

/// Compares what is at `path` with a torrent.
pub(crate) async fn check(
    metainfo: Metainfo,
    path: PathBuf,
    context: &Context,
) -> anyhow::Result<Vec<Difference>> {
    let metainfo = Arc::new(metainfo);
    let progress = format!("checking {}", metainfo.info.name());
    let job = {
        let metainfo = Arc::clone(&metainfo);
        move |control: &Control| check::check(&metainfo.info, &metainfo.layers, &path, control)
    };
    let checked = in_background(&progress, job, context).await??;
    let different = checked.different.iter().filter_map(|difference| {
        let file = metainfo.info.files().get(difference.file.0 as usize)?;
        Some(Difference { path: file.path.join("/"), reason: difference.problem.to_string() })
    });
    Ok(different.collect())
}

/// Runs a long job on a thread that may block, and shows how far it is.
async fn in_background<T: Send + 'static>(
    label: &str,
    job: impl FnOnce(&Control) -> T + Send + 'static,
    context: &Context,
) -> anyhow::Result<T> {
    let control = Arc::new(Control::default());
    let mut running = tokio::task::spawn_blocking({
        let control = Arc::clone(&control);
        move || job(&control)
    });
    let mut progress = None;
    loop {
        tokio::select! {
            biased;
            () = context.interrupt.wait() => {
                control.cancel();
                return Err(context.interrupt.failure().into());
            }
            ended = &mut running => return Ok(ended?),
            () = tokio::time::sleep(LOOK_EVERY) => {}
        }
        // What ends before the first look needs no bar.
        if control.total() > 0 {
            progress
                .get_or_insert_with(|| Progress::new(&context.output, label, control.total()))
                .set(control.hashed());
        }
    }
}

const LOOK_EVERY: Duration = Duration::from_millis(100);
