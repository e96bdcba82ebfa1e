//! What may be a name in the catalogue.

use crate::limits::NAME_LEN_MAX;

/// A name that fits the rules.
///
/// 1 to 255 bytes of UTF-8 without control characters and without space around it. Slashes make
/// folders of names (`team/model`), so no part between them is empty, `.` or `..`. It looks like
/// nothing else that can be fetched: no info hash in hex, no magnet link, no URL.
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

/// What a search looks for: part of a name, or, with `*` (any characters) and `?` (any one), all of
/// it. Case does not matter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Pattern {
    folded: Vec<char>,
}

impl Pattern {
    pub(crate) fn new(pattern: &str) -> Self {
        let mut folded: Vec<char> = pattern.chars().flat_map(char::to_lowercase).collect();
        if !folded.iter().any(|c| matches!(c, '*' | '?')) {
            folded.insert(0, '*');
            folded.push('*');
        }
        folded.dedup_by(|a, b| *a == '*' && *b == '*');
        Self { folded }
    }

    /// Steps at most name times pattern: after a mismatch only the last star moves on.
    pub(crate) fn matches(&self, name: &str) -> bool {
        let name: Vec<char> = name.chars().flat_map(char::to_lowercase).collect();
        let (mut at, mut in_pattern) = (0, 0);
        let mut star: Option<(usize, usize)> = None;
        while at < name.len() {
            match self.folded.get(in_pattern) {
                Some('*') => {
                    star = Some((in_pattern, at));
                    in_pattern += 1;
                }
                Some(&c) if c == '?' || c == name[at] => {
                    at += 1;
                    in_pattern += 1;
                }
                Some(_) | None => {
                    let Some((star_at, taken)) = &mut star else { return false };
                    *taken += 1;
                    at = *taken;
                    in_pattern = *star_at + 1;
                }
            }
        }
        self.folded[in_pattern..].iter().all(|&c| c == '*')
    }
}

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
        check(&"aB".repeat(20), Err(NameError::InfoHash));
        check(&"01".repeat(32), Err(NameError::InfoHash));
        check("MAGNET:?xt=urn", Err(NameError::Link));
        check("http://x/y", Err(NameError::Link));
    }

    #[test]
    fn patterns_find_parts_or_all_of_a_name() {
        let check = |pattern: &str, name: &str, expected: bool| {
            assert_eq!(Pattern::new(pattern).matches(name), expected, "{pattern} {name}");
        };
        check("", "anything", true);
        check("ISO", "big.iso.zip", true);
        check("*.iso", "big.iso.zip", false);
        check("*.iso", "BIG.ISO", true);
        check("b?g*", "big.iso", true);
        check("b?g", "big.iso", false);
        check("größe", "DIE GRÖßE", true);
        check("x", "big", false);
        check("*a*b", "aabab", true);
        check(&"*a".repeat(50), &"a".repeat(255), true);
        check(&format!("{}b", "*a".repeat(50)), &"a".repeat(255), false);
    }
}
