//! What a search looks for.
//!
//! Words of three characters and more are looked up in the index, which knows where each three
//! characters stand together. Shorter ones narrow nothing beside them. Only short words, and patterns
//! with `*` and `?`, are compared with names and tags one by one. Case does not matter anywhere: both sides are folded by [`fold`].

/// A search.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Query {
    index: Option<String>,
    words: Vec<String>,
    rest: Rest,
}

/// What the index cannot tell.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Rest {
    /// These words are parts of the name or of tags.
    Words(Vec<String>),
    /// The whole name fits.
    Pattern(Pattern),
}

impl Query {
    /// All words of `text`, each anywhere in the name, the description, the tags or a path; or, with `*`
    /// (any characters) or `?` (any one), names that fit it as a whole.
    pub(super) fn anywhere(text: &str) -> Self {
        let folded = fold(text);
        if is_pattern(&folded) {
            return Self::fitting(&folded);
        }
        let words = folded.split_whitespace().map(str::to_owned);
        let (long, short): (Vec<String>, Vec<String>) = words.partition(|word| is_long(word));
        if long.is_empty() {
            return Self { index: None, words: Vec::new(), rest: Rest::Words(short) };
        }
        let index: Vec<String> = long.iter().map(|word| quoted(word)).collect();
        Self { index: Some(index.join(" AND ")), words: long, rest: Rest::Words(Vec::new()) }
    }

    /// Names that contain `text` as it is, or, with `*` or `?`, fit it as a whole.
    pub(super) fn names(text: &str) -> Self {
        let folded = fold(text);
        match (is_pattern(&folded), folded.is_empty()) {
            (_, true) => Self { index: None, words: Vec::new(), rest: Rest::Words(Vec::new()) },
            (true, _) => Self::fitting(&folded),
            (false, _) => Self::fitting(&format!("*{folded}*")),
        }
    }

    fn fitting(folded: &str) -> Self {
        let literals = folded.split(['*', '?']).filter(|literal| is_long(literal));
        let literals: Vec<String> = literals.map(quoted).collect();
        let index = (!literals.is_empty()).then(|| format!("name : ({})", literals.join(" AND ")));
        Self { index, words: Vec::new(), rest: Rest::Pattern(Pattern::new(folded)) }
    }

    /// What to ask the index first, if anything.
    pub(super) fn index(&self) -> Option<&str> {
        self.index.as_deref()
    }

    /// Whether a folded name and, behind a line feed, its tags pass what the index cannot tell.
    pub(super) fn fits(&self, folded: &str) -> bool {
        match &self.rest {
            Rest::Words(words) => words.iter().all(|word| folded.contains(word.as_str())),
            Rest::Pattern(pattern) => {
                let name = folded.split_once('\n').map_or(folded, |(name, _)| name);
                pattern.matches(name)
            }
        }
    }

    /// The words that `text` does not have: these are elsewhere.
    pub(super) fn missing_in(&self, text: &str) -> Vec<&str> {
        let folded = fold(text);
        let missing = self.words.iter().filter(|word| !folded.contains(word.as_str()));
        missing.map(String::as_str).collect()
    }
}

/// Which names contain `pattern`, or, with `*` or `?`, fit it as a whole.
pub(crate) fn fitting(pattern: &str) -> impl Fn(&str) -> bool {
    let query = Query::names(pattern);
    move |name| query.fits(&fold(name))
}

/// Lower case, character by character, so that parts of a text fold to parts of the folded text.
pub(super) fn fold(text: &str) -> String {
    text.chars().flat_map(char::to_lowercase).collect()
}

fn is_pattern(text: &str) -> bool {
    text.contains(['*', '?'])
}

/// The index knows it.
fn is_long(word: &str) -> bool {
    word.chars().nth(2).is_some()
}

/// A string of the index's query language.
fn quoted(word: &str) -> String {
    format!("\"{}\"", word.replace('"', "\"\""))
}

/// `*` stands for any characters and `?` for any one.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Pattern(Vec<char>);

impl Pattern {
    fn new(folded: &str) -> Self {
        let mut chars: Vec<char> = folded.chars().collect();
        chars.dedup_by(|a, b| *a == '*' && *b == '*');
        Self(chars)
    }

    /// Steps at most name times pattern: after a mismatch only the last star moves on.
    fn matches(&self, name: &str) -> bool {
        let mut rest = name.chars();
        let mut at = 0;
        // What follows the last star, and what it has not taken yet.
        let mut star: Option<(usize, std::str::Chars<'_>)> = None;
        loop {
            let before = rest.clone();
            let Some(next) = rest.next() else { break };
            match self.0.get(at) {
                Some('*') => {
                    at += 1;
                    rest = before;
                    star = Some((at, rest.clone()));
                }
                Some(&char) if char == '?' || char == next => at += 1,
                Some(_) | None => {
                    let Some((behind, untaken)) = &mut star else { return false };
                    untaken.next();
                    (at, rest) = (*behind, untaken.clone());
                }
            }
        }
        self.0[at..].iter().all(|&char| char == '*')
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_find_parts_or_all_of_a_name() {
        let check = |pattern: &str, name: &str, expected: bool| {
            assert_eq!(Query::names(pattern).fits(&fold(name)), expected, "{pattern} {name}");
        };
        check("", "anything", true);
        check("ISO", "big.iso.zip", true);
        check("*.iso", "big.iso.zip", false);
        check("*.iso", "BIG.ISO", true);
        check("*.iso", "BIG.ISO\ntag", true);
        check("*tag", "BIG.ISO\ntag", false);
        check("b?g*", "big.iso", true);
        check("b?g", "big.iso", false);
        check("größe", "DIE GRÖßE", true);
        check("g?ö*", "GrÖße", true);
        check("?ö*", "GrÖße", false);
        check("gr?ße", "GrÖße", true);
        check("x", "big", false);
        check("*a*b", "aabab", true);
        check(&"*a".repeat(50), &"a".repeat(255), true);
        check(&format!("{}b", "*a".repeat(50)), &"a".repeat(255), false);
    }

    #[test]
    fn words_go_to_the_index_when_they_are_long_enough() {
        let check = |text: &str, index: Option<&str>, folded: &str, fits: bool| {
            let query = Query::anywhere(text);
            assert_eq!((query.index(), query.fits(folded)), (index, fits), "{text}");
        };
        check("", None, "x", true);
        check("Big ISO", Some("\"big\" AND \"iso\""), "x", true);
        check("big is", Some("\"big\""), "that\n", true);
        check("i s", None, "this\n", true);
        check("i s", None, "that\n", false);
        check("数据", None, "数据\n", true);
        check("a\"bc", Some("\"a\"\"bc\""), "x", true);
        check("*.iso b?", Some("name : (\".iso b\")"), "x", false);
        check("name:x OR y*", Some("name : (\"name:x or y\")"), "name:x or yes", true);
    }
}
