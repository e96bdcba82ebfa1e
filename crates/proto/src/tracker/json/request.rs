//! What clients ask for.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::JsonError;
use super::limits::{FILES_MAX, NAME_LEN_MAX, PARTS_MAX};

/// A request. All but `AUTH` carry a [`Session`].
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(tag = "type", rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Request {
    /// Asks for a token.
    Auth {
        /// The client's name for itself.
        peer_id: String,
        /// What a private tracker wants to see.
        secret: Option<String>,
    },
    /// Says which files the client has; replaces what it said before.
    Register {
        /// Who asks.
        #[serde(flatten)]
        session: Session,
        /// Where it serves them.
        port: u16,
        /// Parts of each file, by name.
        files: BTreeMap<String, u32>,
    },
    /// Asks who has a file.
    #[serde(alias = "REQUEST")]
    PeerList {
        /// Who asks.
        #[serde(flatten)]
        session: Session,
        /// The file.
        file_name: String,
    },
    /// Is still there.
    Keepalive {
        /// Who asks.
        #[serde(flatten)]
        session: Session,
    },
    /// Has some files no more; none at all when they are not named.
    Unregister {
        /// Who asks.
        #[serde(flatten)]
        session: Session,
        /// Their names.
        files: Option<Vec<String>>,
    },
    /// Has one more file.
    BecomeSeeder {
        /// Who asks.
        #[serde(flatten)]
        session: Session,
        /// The file.
        file_name: String,
        /// How many parts it has.
        parts: u32,
    },
    /// Asks which files there are.
    FileList {
        /// Who asks.
        #[serde(flatten)]
        session: Session,
        /// Which ones.
        #[serde(flatten)]
        page: FilePage,
    },
    /// Asks how many parts a file has.
    GetCount {
        /// Who asks.
        #[serde(flatten)]
        session: Session,
        /// The file.
        file_name: String,
    },
    /// Asks for the hashes of a file's parts.
    ChunkHashes {
        /// Who asks.
        #[serde(flatten)]
        session: Session,
        /// The file.
        file_name: String,
        /// The first part, from 0.
        #[serde(default)]
        from: u32,
        /// How many.
        count: Option<u32>,
    },
    /// Asks for totals.
    Stats {
        /// Who asks.
        #[serde(flatten)]
        session: Session,
    },
}

/// Who asks.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Session {
    /// The client's name for itself.
    pub peer_id: String,
    /// What `AUTH` gave it. Without one it is a wrong one.
    #[serde(default)]
    pub token: String,
}

/// Which files a `FILE_LIST` wants to see.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
pub struct FilePage {
    /// Part of the names; all when `None`.
    pub pattern: Option<String>,
    /// Names behind this one only.
    pub after: Option<String>,
    /// Files at most.
    pub limit: Option<usize>,
}

impl Request {
    /// Reads one object, as [`super::Framer`] found it.
    pub fn decode(object: &[u8]) -> Result<Self, JsonError> {
        let request: Self = decode(object)?;
        request.check()?;
        Ok(request)
    }

    /// Who asks; nobody is known yet in `AUTH`.
    #[must_use]
    pub const fn session(&self) -> Option<&Session> {
        match self {
            Self::Auth { .. } => None,
            Self::Register { session, .. }
            | Self::PeerList { session, .. }
            | Self::Keepalive { session }
            | Self::Unregister { session, .. }
            | Self::BecomeSeeder { session, .. }
            | Self::FileList { session, .. }
            | Self::GetCount { session, .. }
            | Self::ChunkHashes { session, .. }
            | Self::Stats { session } => Some(session),
        }
    }

    fn check(&self) -> Result<(), JsonError> {
        if let Some(session) = self.session() {
            check_name("peer_id", &session.peer_id)?;
        }
        match self {
            Self::Auth { peer_id, .. } => check_name("peer_id", peer_id),
            Self::Register { port, files, .. } => {
                if *port == 0 {
                    return Err(JsonError::Invalid("port must be 1 to 65535".to_owned()));
                }
                if files.len() > FILES_MAX {
                    return Err(JsonError::Invalid(format!(
                        "files has more than {FILES_MAX} names"
                    )));
                }
                files.iter().try_for_each(|(name, parts)| check_file(name, *parts))
            }
            Self::BecomeSeeder { file_name, parts, .. } => check_file(file_name, *parts),
            Self::PeerList { file_name, .. }
            | Self::GetCount { file_name, .. }
            | Self::ChunkHashes { file_name, .. } => check_name("file_name", file_name),
            Self::Keepalive { .. }
            | Self::Unregister { .. }
            | Self::FileList { .. }
            | Self::Stats { .. } => Ok(()),
        }
    }
}

fn check_file(name: &str, parts: u32) -> Result<(), JsonError> {
    check_name("file name", name)?;
    match parts {
        1..=PARTS_MAX => Ok(()),
        _ => Err(JsonError::Invalid(format!("{name:?} must have 1 to {PARTS_MAX} parts"))),
    }
}

pub(super) fn check_name(what: &str, name: &str) -> Result<(), JsonError> {
    if name.is_empty() {
        return Err(JsonError::Invalid(format!("{what} is empty")));
    }
    if name.len() > NAME_LEN_MAX {
        return Err(JsonError::Invalid(format!("{what} is longer than {NAME_LEN_MAX} bytes")));
    }
    if name.contains(char::is_control) {
        return Err(JsonError::Invalid(format!("{what} has control characters")));
    }
    Ok(())
}

/// Reads an object. The library's words are told without its line and column: they count from the
/// object, not from the stream.
pub(super) fn decode<T: DeserializeOwned>(object: &[u8]) -> Result<T, JsonError> {
    serde_json::from_slice(object).map_err(|error| {
        let text = error.to_string();
        let words = text.rsplit_once(" at line ").map_or(text.as_str(), |(words, _)| words);
        JsonError::Invalid(words.to_owned())
    })
}
