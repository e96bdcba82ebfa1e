//! Who gets in: whoever knows the token. It stands, with the address, in files of the state folder that only
//! their owner may read; there the command line finds both.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use serde::{Deserialize, Serialize};
use tracker::Secret;
use tracker::whole_file::{OWNER, write_whole};

/// Where a daemon listens, and what it wants to hear.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Door {
    /// Its address.
    pub(crate) addr: SocketAddr,
    token: String,
}

impl Door {
    /// The door of a daemon that listens there, with a new token: whoever took the port while no daemon ran
    /// may have been told the old one.
    pub(crate) fn make(state: &Path, addr: SocketAddr) -> anyhow::Result<Self> {
        let path = path_in(state);
        let secret = Secret::new(rand::random());
        let door = Self { addr, token: secret.reveal().to_owned() };
        let text = serde_json::to_string(&door).context("the address and the token")?;
        let write = |file: &mut std::io::BufWriter<std::fs::File>| {
            std::io::Write::write_all(file, format!("{text}\n").as_bytes())
        };
        write_whole(&path, OWNER, write).with_context(|| format!("write {}", path.display()))?;
        Ok(door)
    }

    /// The door of the daemon with that state folder, if one runs.
    pub(crate) fn find(state: &Path) -> Option<Self> {
        Self::read(&path_in(state)).ok()
    }

    /// No daemon listens any more: nobody is to tell the token to whoever takes its port.
    pub(crate) fn close(state: &Path) {
        match std::fs::remove_file(path_in(state)) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                tracing::warn!(%error, "the address and the token of a daemon that has ended stay");
            }
            Ok(()) | Err(_) => {}
        }
    }

    /// The secret behind the token.
    pub(crate) fn secret(&self) -> Option<Secret> {
        Secret::parse(&self.token)
    }

    fn read(path: &Path) -> anyhow::Result<Self> {
        Ok(serde_json::from_slice(&std::fs::read(path)?)?)
    }
}

fn path_in(state: &Path) -> PathBuf {
    state.join("api.json")
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn the_token_is_each_runs_own_and_its_owners_alone() {
        let state = tempfile::tempdir().expect("a folder");
        assert!(Door::find(state.path()).is_none());
        let first = Door::make(state.path(), SocketAddr::from(([127, 0, 0, 1], 1))).expect("made");
        let next = Door::make(state.path(), SocketAddr::from(([127, 0, 0, 1], 2))).expect("made");
        assert_ne!(first.token, next.token);
        assert_eq!(Door::find(state.path()).map(|door| door.addr), Some(next.addr));
        let mode = std::fs::metadata(path_in(state.path())).expect("a file").permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        Door::close(state.path());
        assert!(Door::find(state.path()).is_none());
    }
}
