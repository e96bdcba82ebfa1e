//! Why a torrent is refused.

use crate::DecodeError;

/// A torrent that is not accepted. Texts from the torrent are escaped and cut.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MetainfoError {
    /// It is not bencode, or not the canonical form where that counts.
    #[error(transparent)]
    Bencode(#[from] DecodeError),
    /// A required key is not there.
    #[error("`{key}` is missing")]
    Missing {
        /// The key.
        key: &'static str,
    },
    /// A key is there, but its value is not allowed.
    #[error("`{key}` {reason}")]
    Invalid {
        /// The key.
        key: &'static str,
        /// Why, as the rest of a sentence.
        reason: &'static str,
    },
    /// A count or size is above its limit.
    #[error("{what}: more than the limit of {limit}")]
    TooLarge {
        /// What there is too much of.
        what: &'static str,
        /// The largest value accepted.
        limit: u64,
    },
    /// A file's path, or a part of it, cannot be used.
    #[error("the path \"{path}\" {reason}")]
    Path {
        /// The path, escaped.
        path: String,
        /// Why, as the rest of a sentence.
        reason: &'static str,
    },
    /// A file's place in the `file tree` of v2 cannot be used.
    #[error("the file \"{path}\" {reason}")]
    File {
        /// The path, escaped.
        path: String,
        /// Why, as the rest of a sentence.
        reason: &'static str,
    },
    /// The v1 half and the v2 half of a hybrid describe different content.
    #[error("the v1 and v2 parts disagree about {what}")]
    Disagree {
        /// On what they differ.
        what: &'static str,
    },
}

impl MetainfoError {
    pub(super) const fn invalid(key: &'static str, reason: &'static str) -> Self {
        Self::Invalid { key, reason }
    }

    pub(super) fn path<S: AsRef<str>>(components: &[S], reason: &'static str) -> Self {
        Self::Path { path: shown(components), reason }
    }

    pub(super) fn file<S: AsRef<str>>(components: &[S], reason: &'static str) -> Self {
        Self::File { path: shown(components), reason }
    }
}

/// A path fit for a message: escaped, and cut after some eighty characters.
fn shown<S: AsRef<str>>(components: &[S]) -> String {
    const LEN: usize = 80;
    let mut text = String::new();
    for (number, component) in components.iter().enumerate() {
        if number > 0 {
            text.push('/');
        }
        text.extend(component.as_ref().chars().take(LEN + 1).flat_map(char::escape_debug));
        if text.len() > LEN {
            text.truncate(text.floor_char_boundary(LEN));
            text.push('…');
            break;
        }
    }
    text
}
