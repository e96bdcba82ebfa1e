//! What may be a name in the catalogue.

use crate::limits::NAME_LEN_MAX;

/// A name that fits the rules.
///
/// 1 to 255 bytes of UTF-8 without control characters and without space around it. Slashes make
/// folders of names (`team/model`), so no part between them is empty, `.` or `..`. None of them ends in
/// `@` and digits or in `@latest`, which name a version. It looks like nothing else that can be
/// fetched: no info hash in hex, no magnet link, no URL.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Name(String);

/// Why something is no name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// Nothing, or only white space.
    #[error("a name cannot be empty")]
    Empty,
    /// Too long.
    #[error("a name has at most {NAME_LEN_MAX} bytes")]
    TooLong,
    /// Control characters.
    #[error("a name cannot have control characters")]
    Control,
    /// White space at an end.
    #[error("a name cannot begin or end with white space")]
    Space,
    /// A part between slashes.
    #[error("the parts of a name between slashes cannot be empty, \".\" or \"..\"")]
    Part,
    /// A version.
    #[error(
        "a name, or a part of it between slashes, cannot end in @ and a number or in @latest: these name a version"
    )]
    Version,
    /// An info hash.
    #[error("a name cannot look like an info hash (40 or 64 hex digits)")]
    InfoHash,
    /// A link.
    #[error("a name cannot look like a URL or a magnet link")]
    Link,
}

impl Name {
    /// Checks a name.
    ///
    /// # Errors
    /// Says which rule it breaks.
    pub fn new(name: &str) -> Result<Self, NameError> {
        if name.trim().is_empty() {
            return Err(NameError::Empty);
        }
        if name.len() > NAME_LEN_MAX {
            return Err(NameError::TooLong);
        }
        if name.chars().any(char::is_control) {
            return Err(NameError::Control);
        }
        if name.trim() != name {
            return Err(NameError::Space);
        }
        if name.split('/').any(|part| matches!(part, "" | "." | "..")) && !name.contains("://") {
            return Err(NameError::Part);
        }
        if name.split('/').any(|part| Versioned::parse(part).is_some()) {
            return Err(NameError::Version);
        }
        if matches!(name.len(), 40 | 64) && name.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err(NameError::InfoHash);
        }
        let starts_magnet = name.get(..7).is_some_and(|s| s.eq_ignore_ascii_case("magnet:"));
        if starts_magnet || name.contains("://") {
            return Err(NameError::Link);
        }
        Ok(Self(name.to_owned()))
    }

    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// What names a version of an entry, wherever something is read or taken back: `NAME@3` or
/// `NAME@latest`. What ends in neither has no version.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Versioned<'a> {
    pub(super) name: &'a str,
    /// `None` for the latest one.
    pub(super) number: Option<u32>,
}

impl<'a> Versioned<'a> {
    pub(super) fn parse(text: &'a str) -> Option<Self> {
        let (name, version) = text.rsplit_once('@').filter(|(_, version)| is_version(version))?;
        // A number too large for any version has no entry, as 0.
        let number = (version != LATEST).then(|| version.parse().unwrap_or(0));
        Some(Self { name, number })
    }
}

fn is_version(text: &str) -> bool {
    text == LATEST || (!text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()))
}

const LATEST: &str = "latest";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_follow_the_rules() {
        let check = |name: &str, expected: Result<(), NameError>| {
            assert_eq!(Name::new(name).map(|_| ()), expected, "{name:?}");
        };
        check("big.iso", Ok(()));
        check("team/model v2 (größer) 数据", Ok(()));
        check(&"n".repeat(255), Ok(()));
        check(&"a".repeat(41), Ok(()));
        check("", Err(NameError::Empty));
        check("  ", Err(NameError::Empty));
        check(&"n".repeat(256), Err(NameError::TooLong));
        check("a\nb", Err(NameError::Control));
        check("a\u{85}b", Err(NameError::Control));
        check(" a", Err(NameError::Space));
        check("/a", Err(NameError::Part));
        check("a//b", Err(NameError::Part));
        check("a/../b", Err(NameError::Part));
        check("model@v2", Ok(()));
        check("me@home", Ok(()));
        check("model@2", Err(NameError::Version));
        check("model@latest", Err(NameError::Version));
        check("model@2/data", Err(NameError::Version));
        check(&"aB".repeat(20), Err(NameError::InfoHash));
        check(&"01".repeat(32), Err(NameError::InfoHash));
        check("MAGNET:?xt=urn", Err(NameError::Link));
        check("http://x/y", Err(NameError::Link));
    }

    #[test]
    fn versions_stand_behind_the_last_at_sign() {
        let check = |text: &str, expected: Option<(&str, Option<u32>)>| {
            let parsed = Versioned::parse(text).map(|versioned| (versioned.name, versioned.number));
            assert_eq!(parsed, expected, "{text}");
        };
        check("model@3", Some(("model", Some(3))));
        check("team/model@latest", Some(("team/model", None)));
        check("a@b@10", Some(("a@b", Some(10))));
        check("model@99999999999", Some(("model", Some(0))));
        for none in ["model", "model@", "model@3a", "model@v3", "model@2/path", "model@Latest"] {
            check(none, None);
        }
    }
}
