//! Patterns for paths inside a torrent, in the grammar that `.gitignore` made common.
//!
//! `*` and `?` stay within one name, `[a-z]` and `[!a-z]` are one character, `**` is any number of
//! folders, and a backslash takes the next character as it is. A pattern without a slash is looked for
//! at any depth, one with a slash from the top on; a slash at the end means a folder. Whoever matches a
//! folder has all that is in it. Case counts.
//!
//! Invariant: no pattern takes longer than its length times the path's.

/// A pattern for paths.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Glob {
    parts: Vec<Part>,
    folders_only: bool,
}

/// Why a pattern cannot be used; the rest of a sentence about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum GlobError {
    /// It has no name in it.
    #[error("is empty")]
    Empty,
    /// It is longer than any path.
    #[error("is longer than {PATTERN_LEN_MAX} bytes")]
    TooLong,
    /// A `[` without its `]`.
    #[error("has a `[` without its `]`")]
    OpenClass,
    /// A backslash with nothing behind it.
    #[error("ends with a backslash")]
    OpenEscape,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    /// Any number of folders, none included.
    Folders,
    /// One name.
    Name(Vec<Token>),
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Token {
    Is(char),
    One,
    Any,
    Class { negated: bool, ranges: Vec<(char, char)> },
}

impl Glob {
    /// Reads a pattern.
    pub fn parse(text: &str) -> Result<Self, GlobError> {
        if text.len() > PATTERN_LEN_MAX {
            return Err(GlobError::TooLong);
        }
        let inner = text.strip_prefix("./").unwrap_or(text);
        let (inner, folders_only) = match inner.strip_suffix('/') {
            Some(inner) => (inner, true),
            None => (inner, false),
        };
        let names: Vec<&str> = inner.split('/').filter(|name| !name.is_empty()).collect();
        if names.is_empty() {
            return Err(GlobError::Empty);
        }
        let from_top = inner.contains('/') || text.starts_with("./");
        let mut parts = Vec::with_capacity(names.len() + 1);
        if !from_top {
            parts.push(Part::Folders);
        }
        for name in names {
            parts.push(if name == "**" { Part::Folders } else { Part::Name(tokens(name)?) });
        }
        Ok(Self { parts, folders_only })
    }

    /// Whether it means the file at that path, or a folder that the file is in.
    pub fn matches<S: AsRef<str>>(&self, path: &[S]) -> bool {
        // Which numbers of leading names the parts so far may stand for.
        let mut reached = vec![false; path.len() + 1];
        reached[0] = true;
        for part in &self.parts {
            match part {
                Part::Folders => {
                    let first = reached.iter().position(|reached| *reached);
                    let first = first.unwrap_or(reached.len());
                    reached[first..].fill(true);
                }
                Part::Name(tokens) => {
                    for at in (0..path.len()).rev() {
                        reached[at + 1] = reached[at] && is_name(tokens, path[at].as_ref());
                    }
                    reached[0] = false;
                }
            }
        }
        let whole = reached.pop().unwrap_or(false) && !self.folders_only;
        whole || reached.iter().skip(1).any(|reached| *reached)
    }
}

fn tokens(name: &str) -> Result<Vec<Token>, GlobError> {
    let mut chars = name.chars();
    let mut tokens = Vec::new();
    while let Some(c) = chars.next() {
        tokens.push(match c {
            '*' => Token::Any,
            '?' => Token::One,
            '\\' => Token::Is(chars.next().ok_or(GlobError::OpenEscape)?),
            '[' => class(&mut chars)?,
            c => Token::Is(c),
        });
    }
    Ok(tokens)
}

/// What follows a `[`, its `]` included. A `]` that comes first stands for itself.
fn class(chars: &mut std::str::Chars<'_>) -> Result<Token, GlobError> {
    let rest = chars.as_str();
    let negated = rest.starts_with(['!', '^']);
    if negated {
        chars.next();
    }
    let mut ranges = Vec::new();
    loop {
        let low = match chars.next().ok_or(GlobError::OpenClass)? {
            ']' if !ranges.is_empty() => return Ok(Token::Class { negated, ranges }),
            '\\' => chars.next().ok_or(GlobError::OpenClass)?,
            c => c,
        };
        let mut ahead = chars.clone();
        let high = match (ahead.next(), ahead.next()) {
            (Some('-'), Some(high)) if high != ']' => {
                *chars = ahead;
                high
            }
            _ => low,
        };
        ranges.push((low, high));
    }
}

/// Goes back to the last `*` only: each earlier one took as little as it could, which leaves most.
fn is_name(tokens: &[Token], name: &str) -> bool {
    let (mut at, mut rest) = (0, name);
    let mut last_any: Option<(usize, &str)> = None;
    loop {
        let mut chars = rest.chars();
        let next = chars.next();
        let goes_on = match (tokens.get(at), next) {
            (None, None) => return true,
            (Some(Token::Any), _) => {
                last_any = Some((at, rest));
                at += 1;
                continue;
            }
            (Some(token), Some(c)) => token.takes(c),
            (None, Some(_)) | (Some(_), None) => false,
        };
        if goes_on {
            at += 1;
            rest = chars.as_str();
            continue;
        }
        let Some((any, from)) = last_any else { return false };
        let mut taken = from.chars();
        if taken.next().is_none() {
            return false;
        }
        last_any = Some((any, taken.as_str()));
        (at, rest) = (any + 1, taken.as_str());
    }
}

impl Token {
    fn takes(&self, c: char) -> bool {
        match self {
            Self::Is(other) => *other == c,
            Self::One => true,
            Self::Any => false,
            Self::Class { negated, ranges } => {
                ranges.iter().any(|(low, high)| (*low..=*high).contains(&c)) != *negated
            }
        }
    }
}

/// `PATH_MAX` of Linux: no path is longer.
pub const PATTERN_LEN_MAX: usize = 4096;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn check(pattern: &str, matching: &[&str], others: &[&str]) {
        let glob = Glob::parse(pattern).unwrap();
        let paths = matching.iter().map(|path| (path, true));
        for (path, expected) in paths.chain(others.iter().map(|path| (path, false))) {
            let names: Vec<&str> = path.split('/').collect();
            assert_eq!(glob.matches(&names), expected, "{pattern} and {path}");
        }
    }

    #[test]
    fn a_pattern_without_a_slash_is_looked_for_at_any_depth() {
        check("*.mkv", &["a.mkv", "s1/a.mkv", "x.mkv/b"], &["a.mkv2", "a.MKV"]);
        check("extras", &["extras/a", "s1/extras/b/c", "extras"], &["extras2/a"]);
        check("extras/", &["extras/a", "s1/extras/b"], &["extras", "s1/extras"]);
    }

    #[test]
    fn a_pattern_with_a_slash_counts_from_the_top() {
        check("s1/*.mkv", &["s1/a.mkv"], &["x/s1/a.mkv", "s1/b/a.mkv", "a.mkv"]);
        check("/read.me", &["read.me"], &["s1/read.me"]);
        check("./2024", &["2024"], &["s1/2024"]);
        check("s?/**/a", &["s1/a", "s2/b/c/a"], &["a", "s10/a"]);
        check("**/b/*", &["b/x", "a/b/x", "a/b/x/y"], &["b", "a/b"]);
        check("a/**", &["a/b", "a/b/c"], &["b/a"]);
    }

    #[test]
    fn classes_and_escapes_are_read() {
        check("[a-c]x", &["ax", "cx"], &["dx", "x"]);
        check("[!a-c]x", &["dx"], &["ax"]);
        check("[]-]", &["]", "-"], &["a"]);
        check("\\*", &["*"], &["a"]);
        check("a[\\]]", &["a]"], &["a\\"]);
        check("*☃*", &["ab☃", "☃"], &["ab"]);
    }

    #[test]
    fn what_is_no_pattern_is_refused() {
        let cases = [
            ("", GlobError::Empty),
            ("/", GlobError::Empty),
            ("./", GlobError::Empty),
            ("[a", GlobError::OpenClass),
            ("[]", GlobError::OpenClass),
            ("a\\", GlobError::OpenEscape),
        ];
        for (text, error) in cases {
            assert_eq!(Glob::parse(text), Err(error), "{text}");
        }
        assert_eq!(Glob::parse(&"a".repeat(5000)), Err(GlobError::TooLong));
    }

    #[test]
    fn many_stars_cost_no_more_than_length_times_length() {
        let glob = Glob::parse(&format!("{}b", "*a".repeat(1000))).unwrap();
        assert!(!glob.matches(&["a".repeat(4000)]));
        let glob = Glob::parse(&"**/".repeat(1000)).unwrap();
        assert!(glob.matches(&["a"; 100]));
    }

    /// As the grammar says it, step by step.
    fn plain(pattern: &[char], name: &[char]) -> bool {
        match (pattern, name) {
            ([], []) => true,
            (['*', rest @ ..], _) => {
                plain(rest, name) || (!name.is_empty() && plain(pattern, &name[1..]))
            }
            (['?', rest @ ..], [_, more @ ..]) => plain(rest, more),
            ([one, rest @ ..], [other, more @ ..]) => one == other && plain(rest, more),
            ([], _) | (_, []) => false,
        }
    }

    proptest! {
        #[test]
        fn names_match_as_in_a_plain_search(pattern in "[ab*?]{1,8}", name in "[ab]{1,8}") {
            prop_assume!(!pattern.contains("**"));
            let glob = Glob::parse(&pattern).unwrap();
            let chars = |text: &str| text.chars().collect::<Vec<_>>();
            prop_assert_eq!(glob.matches(&[&name]), plain(&chars(&pattern), &chars(&name)));
        }

        #[test]
        fn any_text_is_a_pattern_or_an_error(text in "\\PC{0,20}", path in "\\PC{1,20}") {
            if let Ok(glob) = Glob::parse(&text) {
                glob.matches(&path.split('/').collect::<Vec<_>>());
            }
        }
    }
}
