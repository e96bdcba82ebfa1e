//! The folder that keeps state from one run to the next.
//!
//! `--data DIR`, else the system's folder for data (XDG). A node locks its folder. So that a `get`
//! beside a running `share` needs no flag, a command that was not told which folder to use takes one
//! of its own below the common one when that is taken, named after what it does: the same command,
//! run again, finds its record there.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use etcetera::BaseStrategy as _;
use node::{Node, NodeConfig, NodeError};

/// The flag that says which folder.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct StateArgs {
    /// Keep state here [default: the system's data folder]
    #[arg(long, env = "TEEM_DATA", value_name = "DIR")]
    pub(crate) data: Option<PathBuf>,
}

/// The folder of state.
#[derive(Debug, Clone)]
pub(crate) struct StateDir {
    path: PathBuf,
    /// Named by the person: no other will do.
    given: bool,
}

impl StateArgs {
    /// The folder; made, with its parents, readable by its owner only.
    pub(crate) fn open(&self) -> anyhow::Result<StateDir> {
        let (path, given) = match &self.data {
            Some(path) => (path.clone(), true),
            None => (default_path()?, false),
        };
        make_private(&path)?;
        Ok(StateDir { path, given })
    }
}

impl StateDir {
    /// Where it is.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Starts a node in the folder, or in one for `purpose` below it when another process uses it and
    /// nobody insisted on this one.
    pub(crate) async fn start_node(
        &self,
        config: NodeConfig,
        purpose: &str,
    ) -> Result<Node, NodeError> {
        let own = self.path.join("more").join(file_name(purpose));
        let in_folder =
            |data_dir: &Path| NodeConfig { data_dir: data_dir.into(), ..config.clone() };
        if self.given {
            return Node::start(in_folder(&self.path)).await;
        }
        // An earlier run of this very command was there: its record saves a recheck.
        if own.is_dir() {
            return Node::start(in_folder(&own)).await;
        }
        match Node::start(in_folder(&self.path)).await {
            Err(NodeError::Locked(_)) => Node::start(in_folder(&own)).await,
            started => started,
        }
    }
}

/// Writes a small file so that it has either its old content or all of the new.
pub(crate) fn write_whole(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    tracker::whole_file::write_whole(path, tracker::whole_file::BY_MASK, |file| {
        std::io::Write::write_all(file, bytes)
    })
}

/// Makes a folder for its owner only, unless it is there.
fn make_private(path: &Path) -> anyhow::Result<()> {
    let mut builder = std::fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    let made = builder.create(path).with_context(|| format!("make {}", path.display()));
    made.map_err(|error| {
        crate::exit::Failure::new(crate::exit::Status::Disk, format!("{error:#}"))
            .hint("choose another folder for state with --data DIR")
            .into()
    })
}

/// A short name for any text, in hex digits.
pub(crate) fn tag(text: &str) -> String {
    file_name(text)
}

/// A file name for any text: the same for the same text, and only by chance for another.
fn file_name(text: &str) -> String {
    // FNV-1a: nothing hostile chooses these texts, and the name must not change between versions.
    let hash = text.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    });
    format!("{hash:016x}")
}

fn default_path() -> anyhow::Result<PathBuf> {
    let strategy = etcetera::choose_base_strategy()
        .context("find the data folder; name one with --data DIR")?;
    Ok(strategy.data_dir().join("teem"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_purpose_always_has_the_same_folder() {
        assert_eq!(file_name("get a"), file_name("get a"));
        assert_ne!(file_name("get a"), file_name("get b"));
        assert_eq!(file_name("").len(), 16);
    }
}
