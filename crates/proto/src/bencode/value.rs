//! Decoded documents and the cursors that walk them.

use std::fmt;

/// One value's place. Its kind is told by its first byte.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Token {
    pub(super) start: u32,
    pub(super) end: u32,
    /// The token after this value and all that is in it.
    pub(super) next: u32,
}

/// A decoded document. Borrows the input; [`Document::root`] is the way in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Document<'a> {
    bytes: &'a [u8],
    /// Never empty: the first is the root.
    tokens: Vec<Token>,
}

impl<'a> Document<'a> {
    pub(super) fn new(bytes: &'a [u8], tokens: Vec<Token>) -> Self {
        assert!(!tokens.is_empty(), "a document has a root");
        Self { bytes, tokens }
    }

    /// The outermost value.
    #[must_use]
    pub fn root(&self) -> Value<'a, '_> {
        Value { bytes: self.bytes, tokens: &self.tokens, index: 0 }
    }
}

/// A value inside a [`Document`] (`'d`); what it returns lives as long as the input (`'a`).
#[derive(Clone, Copy)]
pub struct Value<'a, 'd> {
    bytes: &'a [u8],
    tokens: &'d [Token],
    index: u32,
}

impl<'a, 'd> Value<'a, 'd> {
    /// The value's bytes as they came, delimiters included.
    #[must_use]
    pub fn raw(self) -> &'a [u8] {
        let token = self.token();
        &self.bytes[token.start as usize..token.end as usize]
    }

    /// The string, if it is one.
    #[must_use]
    pub fn bytes(self) -> Option<&'a [u8]> {
        let raw = self.raw();
        if !raw[0].is_ascii_digit() {
            return None;
        }
        let colon = raw.iter().position(|&byte| byte == b':')?;
        Some(&raw[colon + 1..])
    }

    /// The string as text, if it is a string and valid UTF-8.
    #[must_use]
    pub fn text(self) -> Option<&'a str> {
        std::str::from_utf8(self.bytes()?).ok()
    }

    /// The number, if it is one.
    #[must_use]
    pub fn int(self) -> Option<i64> {
        let digits = self.raw().strip_prefix(b"i")?.strip_suffix(b"e")?;
        std::str::from_utf8(digits).ok()?.parse().ok()
    }

    /// The list, if it is one.
    #[must_use]
    pub fn list(self) -> Option<List<'a, 'd>> {
        (self.raw()[0] == b'l').then_some(List(self))
    }

    /// The dictionary, if it is one.
    #[must_use]
    pub fn dict(self) -> Option<Dict<'a, 'd>> {
        (self.raw()[0] == b'd').then_some(Dict(self))
    }

    /// Shorthand for [`Value::dict`] and [`Dict::get`].
    #[must_use]
    pub fn get(self, key: &[u8]) -> Option<Self> {
        self.dict()?.get(key)
    }

    fn token(self) -> Token {
        self.tokens[self.index as usize]
    }

    fn children(self) -> Items<'a, 'd> {
        let (index, end) = (self.index + 1, self.token().next);
        Items { next: Self { index, ..self }, end }
    }
}

impl fmt::Debug for Value<'_, '_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Value({})", self.raw().escape_ascii())
    }
}

/// A list.
#[derive(Debug, Clone, Copy)]
pub struct List<'a, 'd>(Value<'a, 'd>);

impl<'a, 'd> List<'a, 'd> {
    /// The items in order.
    #[must_use]
    pub fn iter(self) -> Items<'a, 'd> {
        self.0.children()
    }
}

impl<'a, 'd> IntoIterator for List<'a, 'd> {
    type Item = Value<'a, 'd>;
    type IntoIter = Items<'a, 'd>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

/// A dictionary.
#[derive(Debug, Clone, Copy)]
pub struct Dict<'a, 'd>(Value<'a, 'd>);

impl<'a, 'd> Dict<'a, 'd> {
    /// The value of the first entry with that key. Looks at the entries one by one.
    #[must_use]
    pub fn get(self, key: &[u8]) -> Option<Value<'a, 'd>> {
        self.iter().find(|(name, _)| *name == key).map(|(_, value)| value)
    }

    /// The entries in the order of the document.
    #[must_use]
    pub fn iter(self) -> Entries<'a, 'd> {
        Entries(self.0.children())
    }

    /// The dictionary's bytes as they came.
    #[must_use]
    pub fn raw(self) -> &'a [u8] {
        self.0.raw()
    }
}

impl<'a, 'd> IntoIterator for Dict<'a, 'd> {
    type Item = (&'a [u8], Value<'a, 'd>);
    type IntoIter = Entries<'a, 'd>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

/// Walks a [`List`].
#[derive(Debug, Clone)]
pub struct Items<'a, 'd> {
    next: Value<'a, 'd>,
    end: u32,
}

impl<'a, 'd> Iterator for Items<'a, 'd> {
    type Item = Value<'a, 'd>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.next.index >= self.end {
            return None;
        }
        let value = self.next;
        self.next.index = value.token().next;
        Some(value)
    }
}

/// Walks a [`Dict`].
#[derive(Debug, Clone)]
pub struct Entries<'a, 'd>(Items<'a, 'd>);

impl<'a, 'd> Iterator for Entries<'a, 'd> {
    type Item = (&'a [u8], Value<'a, 'd>);

    fn next(&mut self) -> Option<Self::Item> {
        let key = self.0.next()?.bytes()?;
        Some((key, self.0.next()?))
    }
}
