//! What a command shows to a tracker, to be known there.
//!
//! A token, if the person gives one: in a file or in the environment, never among the arguments, which
//! everybody on the machine can read. Whoever publishes without one shows a key that is made once and
//! kept in the state folder: an open tracker lets its holder alone change what was published with it.
//! Commands that only read show a given token and never the key.

use std::io::{ErrorKind, Write as _};
use std::path::{Path, PathBuf};

use tracker::{Passkey, Secret};

use crate::exit::{Failure, Status};
use crate::state::StateDir;

/// The flag that says which token.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct TokenArgs {
    /// Show the tracker the token in this file; TEEM_TOKEN may hold a token itself
    #[arg(long, env = "TEEM_TOKEN_FILE", value_name = "FILE")]
    token_file: Option<PathBuf>,
}

/// Shown to trackers.
#[derive(Debug, Clone, Default)]
pub(crate) struct Credentials {
    secret: Option<Secret>,
    is_token: bool,
}

impl TokenArgs {
    /// The token that was given, if one was.
    pub(crate) fn given(&self) -> Result<Credentials, Failure> {
        let (text, place) = match &self.token_file {
            Some(path) => (read(path)?, path.display().to_string()),
            None => match std::env::var(VARIABLE) {
                Ok(text) if !text.trim().is_empty() => (text, VARIABLE.to_owned()),
                Ok(_) | Err(std::env::VarError::NotPresent) => return Ok(Credentials::default()),
                Err(std::env::VarError::NotUnicode(_)) => (String::new(), VARIABLE.to_owned()),
            },
        };
        let secret = Secret::parse(text.trim()).ok_or_else(|| {
            Failure::new(Status::Usage, format!("{place} holds no token"))
                .hint("a token is one word of 16 to 200 characters")
        })?;
        Ok(Credentials { secret: Some(secret), is_token: true })
    }

    /// The token that was given, or else the key of this state folder.
    pub(crate) fn or_key(&self, state: &StateDir) -> Result<Credentials, Failure> {
        let given = self.given()?;
        if given.secret.is_some() {
            return Ok(given);
        }
        Ok(Credentials { secret: Some(kept_key(state.path())?), is_token: false })
    }
}

impl Credentials {
    /// The secret to send.
    pub(crate) const fn secret(&self) -> Option<&Secret> {
        self.secret.as_ref()
    }

    /// What announces carry in place of a token. A key of one's own is nothing to announce with.
    pub(crate) fn passkey(&self) -> Option<Passkey> {
        self.secret.as_ref().filter(|_| self.is_token).map(Secret::passkey)
    }
}

fn read(path: &Path) -> Result<String, Failure> {
    std::fs::read_to_string(path).map_err(|error| {
        Failure::new(Status::Usage, format!("cannot read the token in {}: {error}", path.display()))
    })
}

/// The key in a state folder; made if there is none.
fn kept_key(folder: &Path) -> Result<Secret, Failure> {
    let path = folder.join(KEY_FILE);
    let failed = |error: std::io::Error| {
        Failure::disk(format!("cannot keep a key in {}: {error}", path.display()))
    };
    loop {
        match std::fs::read_to_string(&path) {
            Ok(text) => {
                return Secret::parse(text.trim()).ok_or_else(|| {
                    let message = format!("{} is damaged: it holds no key", path.display());
                    Failure::new(Status::Failed, message).hint(
                        "put a copy back, or remove it: what was published with it can then be \
                         changed by nobody",
                    )
                });
            }
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => return Err(failed(error)),
        }
        // Another command may make one at this moment: the first one stays.
        match make(folder, &path, &Secret::new(rand::random())) {
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
            made => made.map_err(failed)?,
        }
    }
}

/// Writes a key, whole or not at all, for its owner only, unless there is one.
fn make(folder: &Path, path: &Path, secret: &Secret) -> std::io::Result<()> {
    let draft = folder.join(format!(".{KEY_FILE}.{}.tmp", std::process::id()));
    let mut options = std::fs::File::options();
    options.write(true).create(true).truncate(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let written = (|| {
        let mut file = options.open(&draft)?;
        file.write_all(secret.reveal().as_bytes())?;
        file.write_all(b"\n")?;
        file.sync_all()?;
        match std::fs::hard_link(&draft, path) {
            // Not every file system has links.
            Err(error) if error.kind() == ErrorKind::Unsupported => std::fs::rename(&draft, path)?,
            linked => linked?,
        }
        std::fs::File::open(folder)?.sync_all()
    })();
    let _ = std::fs::remove_file(&draft);
    written
}

/// Holds a token itself.
const VARIABLE: &str = "TEEM_TOKEN";
const KEY_FILE: &str = "publisher.key";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_made_once_and_for_its_owner_only() {
        let folder = tempfile::TempDir::new().unwrap();
        let key = kept_key(folder.path()).unwrap();
        assert_eq!(kept_key(folder.path()).unwrap(), key);
        let path = folder.path().join(KEY_FILE);
        let other = make(folder.path(), &path, &Secret::new([1; 32])).unwrap_err();
        assert_eq!(other.kind(), ErrorKind::AlreadyExists);
        assert_eq!(kept_key(folder.path()).unwrap(), key);
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt as _;
            assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        }
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1, "no draft stays");
        std::fs::write(&path, "x").unwrap();
        assert!(kept_key(folder.path()).is_err());
    }

    #[test]
    fn a_token_comes_from_a_file_and_only_tokens_have_a_passkey() {
        let folder = tempfile::TempDir::new().unwrap();
        let file = folder.path().join("token");
        let args = TokenArgs { token_file: Some(file.clone()) };
        assert!(args.given().is_err(), "not there");
        std::fs::write(&file, "short\n").unwrap();
        assert!(args.given().is_err(), "no token");
        let secret = Secret::new([7; 32]);
        std::fs::write(&file, format!("{}\n", secret.reveal())).unwrap();
        let given = args.given().unwrap();
        assert_eq!((given.secret(), given.passkey()), (Some(&secret), Some(secret.passkey())));
        let key = Credentials { is_token: false, ..given };
        assert_eq!(key.passkey(), None);
    }
}
