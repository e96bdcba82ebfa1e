//! Chunk lists: Python literals of lists of strings and integers, one deep.
//!
//! The grammar is what Python's `repr` writes and people write by hand: quotes of both kinds, the usual
//! escapes, integers in decimal digits, a comma behind the last item. What it accepts, Python's
//! `ast.literal_eval` accepts with the same meaning; of what Python accepts beyond that, nothing.

use std::sync::Arc;

use super::limits::{CHUNK_LIST_LEN_MAX, DIGITS_MAX};
use crate::DecodeError;

/// Finds the end of a list in bytes as they come. It keeps none of them, so a list that goes on and on
/// costs nothing but the time until its length is enough.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scanner {
    state: State,
    len: usize,
    end: Option<usize>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Nothing came yet.
    Start,
    /// An item or the end may come.
    Item,
    /// A comma or the end may come.
    Behind,
    Text(Quote),
    Escape(Quote),
    /// So many hex digits are still to come.
    Hex(Quote, u8, u32),
    Sign,
    Number(Number),
    /// The list has ended; white space may follow.
    Done,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Quote(u8);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Number {
    digits: usize,
    /// It begins with 0: nothing but zeros may follow.
    zero: bool,
}

impl Default for Scanner {
    fn default() -> Self {
        Self { state: State::Start, len: 0, end: None }
    }
}

impl Scanner {
    /// Looks at the bytes that came next.
    ///
    /// # Errors
    /// When they do not go on with a list of strings and integers, or it becomes too long. Nothing can
    /// follow then.
    pub fn feed(&mut self, bytes: &[u8]) -> Result<(), DecodeError> {
        for &byte in bytes {
            if self.len == CHUNK_LIST_LEN_MAX {
                return Err(DecodeError::TooLong { what: WHAT, limit: CHUNK_LIST_LEN_MAX as u64 });
            }
            self.len += 1;
            self.state = self.step(byte)?;
            if self.state == State::Done && self.end.is_none() {
                self.end = Some(self.len);
            }
        }
        Ok(())
    }

    /// Bytes up to and with the closing bracket, once it came. Only white space came since.
    #[must_use]
    pub const fn end(&self) -> Option<usize> {
        self.end
    }

    fn step(&self, byte: u8) -> Result<State, DecodeError> {
        let space = matches!(byte, b' ' | b'\t' | b'\r' | b'\n');
        let next = match (self.state, byte) {
            (State::Start, b'[') => State::Item,
            (State::Start, _) => return Err(invalid("it does not begin with [")),
            (State::Item | State::Behind | State::Done, _) if space => self.state,
            (State::Item | State::Behind, b']') => State::Done,
            (State::Item, b'\'' | b'"') => State::Text(Quote(byte)),
            (State::Item, b'-' | b'+') => State::Sign,
            (State::Item | State::Sign, b'0'..=b'9') => {
                State::Number(Number { digits: 1, zero: byte == b'0' })
            }
            (State::Item, b'[' | b'(' | b'{') => return Err(invalid("it is nested")),
            (State::Item | State::Sign, _) => {
                return Err(invalid("an item is no string or integer"));
            }
            (State::Behind, b',') => State::Item,
            (State::Behind, _) => return Err(invalid("a comma is missing")),
            (State::Done, _) => return Err(invalid("something follows its end")),
            (State::Text(quote), _) => text(quote, byte)?,
            (State::Escape(quote), _) => escape(quote, byte)?,
            (State::Hex(quote, left, value), _) => hex(quote, left, value, byte)?,
            (State::Number(number), b'0'..=b'9') => State::Number(number.longer(byte)?),
            (State::Number(_), b',') => State::Item,
            (State::Number(_), b']') => State::Done,
            (State::Number(_), _) if space => State::Behind,
            (State::Number(_), _) => return Err(invalid("an integer has more than digits")),
        };
        Ok(next)
    }
}

impl Number {
    fn longer(self, byte: u8) -> Result<Self, DecodeError> {
        if self.zero && byte != b'0' {
            return Err(invalid("an integer begins with 0"));
        }
        if self.digits == DIGITS_MAX {
            return Err(DecodeError::TooLong { what: "integer", limit: DIGITS_MAX as u64 });
        }
        Ok(Self { digits: self.digits + 1, zero: self.zero })
    }
}

fn text(quote: Quote, byte: u8) -> Result<State, DecodeError> {
    match byte {
        _ if byte == quote.0 => Ok(State::Behind),
        b'\\' => Ok(State::Escape(quote)),
        // Whether the rest is UTF-8 is asked once, of the whole list.
        b' '..=b'~' | 0x80.. => Ok(State::Text(quote)),
        _ => Err(invalid("a string has control characters")),
    }
}

fn escape(quote: Quote, byte: u8) -> Result<State, DecodeError> {
    match byte {
        b'x' => Ok(State::Hex(quote, 2, 0)),
        b'u' => Ok(State::Hex(quote, 4, 0)),
        b'U' => Ok(State::Hex(quote, 8, 0)),
        _ if simple_escape(byte).is_some() => Ok(State::Text(quote)),
        _ => Err(invalid("a string has an escape that is not known")),
    }
}

fn hex(quote: Quote, left: u8, value: u32, byte: u8) -> Result<State, DecodeError> {
    let digit = char::from(byte).to_digit(16).ok_or_else(|| invalid("an escape is cut"))?;
    // Eight digits at most, so nothing is lost.
    let value = value << 4 | digit;
    match left {
        1 if char::from_u32(value).is_some() => Ok(State::Text(quote)),
        1 => Err(invalid("an escape is no character")),
        _ => Ok(State::Hex(quote, left - 1, value)),
    }
}

fn simple_escape(byte: u8) -> Option<char> {
    SIMPLE.iter().find(|(letter, _)| *letter == byte).map(|(_, char)| *char)
}

const fn invalid(reason: &'static str) -> DecodeError {
    DecodeError::Invalid { what: WHAT, reason }
}

/// A whole chunk list, as its seeder wrote it: a Python literal of at most 1 MiB. Cheap to clone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChunkList(Arc<str>);

/// An item of a chunk list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Item<'a> {
    /// A string, its escapes resolved.
    Text(String),
    /// An integer of any length: its sign, if it has one, and its digits.
    Integer(&'a str),
}

impl ChunkList {
    /// Reads a list; white space may follow it.
    ///
    /// # Errors
    /// When it is something else, or too long.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut scanner = Scanner::default();
        scanner.feed(bytes)?;
        if scanner.end().is_none() {
            return Err(DecodeError::Truncated { what: WHAT });
        }
        let text = std::str::from_utf8(bytes).map_err(|_| invalid("it is not UTF-8"))?;
        Ok(Self(text.into()))
    }

    /// The list as it came.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Its items.
    pub fn items(&self) -> impl Iterator<Item = Item<'_>> {
        Items { rest: self.0.trim_ascii().strip_prefix('[').unwrap_or_default() }
    }
}

/// Walks over a list that was checked.
struct Items<'a> {
    rest: &'a str,
}

impl<'a> Iterator for Items<'a> {
    type Item = Item<'a>;

    fn next(&mut self) -> Option<Item<'a>> {
        let rest = self.rest.trim_start_matches(|c: char| c.is_ascii_whitespace() || c == ',');
        match rest.chars().next()? {
            ']' => None,
            quote @ ('\'' | '"') => {
                let (text, rest) = unescape(&rest[1..], quote);
                self.rest = rest;
                Some(Item::Text(text))
            }
            _ => {
                let end = rest.find(|c: char| c.is_ascii_whitespace() || matches!(c, ',' | ']'));
                let (digits, rest) = rest.split_at(end.unwrap_or(rest.len()));
                self.rest = rest;
                Some(Item::Integer(digits))
            }
        }
    }
}

/// The string up to its closing quote, and what follows that.
fn unescape(text: &str, quote: char) -> (String, &str) {
    let mut out = String::new();
    let mut chars = text.chars();
    while let Some(char) = chars.next() {
        match char {
            _ if char == quote => break,
            '\\' => {
                let len = match chars.next() {
                    Some('x') => 2,
                    Some('u') => 4,
                    Some('U') => 8,
                    other => {
                        let letter = other.and_then(|char| u8::try_from(char).ok());
                        out.extend(letter.and_then(simple_escape));
                        continue;
                    }
                };
                let (digits, rest) = chars.as_str().split_at_checked(len).unwrap_or_default();
                out.extend(u32::from_str_radix(digits, 16).ok().and_then(char::from_u32));
                chars = rest.chars();
            }
            _ => out.push(char),
        }
    }
    (out, chars.as_str())
}

/// Writes a list item by item, as Python's `repr` would space it.
#[derive(Debug, Clone, Copy, Default)]
pub struct ListWriter {
    items: bool,
}

impl ListWriter {
    /// Appends a string.
    pub fn text(&mut self, out: &mut Vec<u8>, text: &str) {
        self.separate(out);
        write_text(out, text);
    }

    /// Appends an integer, of decimal digits.
    pub fn integer(&mut self, out: &mut Vec<u8>, digits: &str) {
        self.separate(out);
        out.extend_from_slice(digits.as_bytes());
    }

    /// Ends the list.
    pub fn finish(self, out: &mut Vec<u8>) {
        if !self.items {
            out.push(b'[');
        }
        out.push(b']');
    }

    fn separate(&mut self, out: &mut Vec<u8>) {
        let mark: &[u8] = if self.items { b", " } else { b"[" };
        out.extend_from_slice(mark);
        self.items = true;
    }
}

/// Bytes of a list of `count` strings of `hex_len` hexadecimal digits each, as [`ListWriter`] writes it.
#[must_use]
pub const fn hex_list_len(count: u64, hex_len: u64) -> u64 {
    match count {
        0 => 2,
        _ => count.saturating_mul(hex_len + 4),
    }
}

/// Appends a Python string of ASCII: whatever encoding its reader believes in, it reads the same.
pub(super) fn write_text(out: &mut Vec<u8>, text: &str) {
    out.push(b'\'');
    for char in text.chars() {
        match char {
            '\'' | '\\' => out.extend_from_slice(&[b'\\', char as u8]),
            ' '..='~' => out.push(char as u8),
            _ => {
                let code = u32::from(char);
                let escaped = match code {
                    0..=0xff => format!("\\x{code:02x}"),
                    0x100..=0xffff => format!("\\u{code:04x}"),
                    _ => format!("\\U{code:08x}"),
                };
                out.extend_from_slice(escaped.as_bytes());
            }
        }
    }
    out.push(b'\'');
}

const WHAT: &str = "chunk list";
/// Escapes of one letter, and what they mean.
const SIMPLE: &[(u8, char)] = &[
    (b'\\', '\\'),
    (b'\'', '\''),
    (b'"', '"'),
    (b'a', '\x07'),
    (b'b', '\x08'),
    (b'f', '\x0c'),
    (b'n', '\n'),
    (b'r', '\r'),
    (b't', '\t'),
    (b'v', '\x0b'),
];
