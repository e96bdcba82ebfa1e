//! From bytes to the table of spans, in one pass with a bounded stack of open containers.

use super::value::{Document, Token};
use super::{Form, Limits};
use crate::DecodeError;

/// Decodes a document that takes up all of `bytes`.
pub fn decode<'a>(bytes: &'a [u8], limits: &Limits) -> Result<Document<'a>, DecodeError> {
    if bytes.len() > limits.len_max {
        return Err(too_long(limits));
    }
    let (document, rest) = decode_prefix(bytes, limits)?;
    if rest.is_empty() { Ok(document) } else { Err(DecodeError::Trailing { what: limits.what }) }
}

/// Decodes the document at the start of `bytes` and returns what follows it: metadata messages
/// (BEP 9) carry their data behind the dictionary.
pub fn decode_prefix<'a>(
    bytes: &'a [u8],
    limits: &Limits,
) -> Result<(Document<'a>, &'a [u8]), DecodeError> {
    let window = &bytes[..bytes.len().min(limits.len_max).min(u32::MAX as usize)];
    let cut = window.len() < bytes.len();
    let decoder = Decoder { bytes: window, at: 0, tokens: Vec::new(), open: Vec::new(), limits };
    let (end, tokens) = match decoder.run() {
        Err(DecodeError::Truncated { .. }) if cut => return Err(too_long(limits)),
        result => result?,
    };
    Ok((Document::new(&bytes[..end], tokens), &bytes[end..]))
}

const fn too_long(limits: &Limits) -> DecodeError {
    DecodeError::TooLong { what: limits.what, limit: limits.len_max as u64 }
}

/// A list or dictionary whose end has not come yet.
struct Open {
    token: usize,
    expects: Expects,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Expects {
    /// A list: a value or the end.
    Item,
    /// A dictionary: a key or the end. Holds the span of the last key's text.
    Key { last: Option<(usize, usize)> },
    /// A dictionary: the value that belongs to the key with this text.
    Value { key: (usize, usize) },
}

struct Decoder<'a, 'l> {
    bytes: &'a [u8],
    at: usize,
    tokens: Vec<Token>,
    open: Vec<Open>,
    limits: &'l Limits,
}

impl Decoder<'_, '_> {
    fn run(mut self) -> Result<(usize, Vec<Token>), DecodeError> {
        loop {
            let byte = self.peek()?;
            match self.open.last().map(|open| open.expects) {
                Some(Expects::Item | Expects::Key { .. }) if byte == b'e' => self.close(),
                Some(Expects::Key { last }) => {
                    self.key(byte, last)?;
                    continue;
                }
                Some(Expects::Value { key }) => {
                    self.expect(Expects::Key { last: Some(key) });
                    self.value(byte)?;
                }
                Some(Expects::Item) | None => self.value(byte)?,
            }
            if self.open.is_empty() {
                return Ok((self.at, self.tokens));
            }
        }
    }

    fn key(&mut self, byte: u8, last: Option<(usize, usize)>) -> Result<(), DecodeError> {
        if !byte.is_ascii_digit() {
            return Err(self.invalid("a dictionary key is not a string"));
        }
        let key = self.string()?;
        if let (Form::Canonical, Some(last)) = (self.limits.form, last) {
            match self.bytes[last.0..last.1].cmp(&self.bytes[key.0..key.1]) {
                std::cmp::Ordering::Less => {}
                std::cmp::Ordering::Equal => return Err(self.invalid("a dictionary key repeats")),
                std::cmp::Ordering::Greater => {
                    return Err(self.invalid("dictionary keys are not sorted"));
                }
            }
        }
        self.expect(Expects::Value { key });
        Ok(())
    }

    /// Reads a number or string whole, or opens a list or dictionary.
    fn value(&mut self, byte: u8) -> Result<(), DecodeError> {
        match byte {
            b'0'..=b'9' => self.string().map(drop),
            b'i' => self.int(),
            b'l' => self.open(Expects::Item),
            b'd' => self.open(Expects::Key { last: None }),
            b'e' => Err(self.invalid("a dictionary key has no value")),
            _ => Err(self.invalid("not bencode")),
        }
    }

    fn open(&mut self, expects: Expects) -> Result<(), DecodeError> {
        if self.open.len() >= self.limits.depth_max {
            return Err(self.invalid("nested too deeply"));
        }
        let token = self.push(self.at, self.at)?;
        self.open.push(Open { token, expects });
        self.at += 1;
        Ok(())
    }

    fn close(&mut self) {
        self.at += 1;
        let next = self.tokens.len() as u32;
        if let Some(open) = self.open.pop() {
            let token = &mut self.tokens[open.token];
            token.end = self.at as u32;
            token.next = next;
        }
    }

    fn int(&mut self) -> Result<(), DecodeError> {
        let start = self.at;
        self.at += 1;
        let negative = self.peek()? == b'-';
        self.at += usize::from(negative);
        let digits = self.at;
        let mut value: i64 = 0;
        loop {
            let byte = self.peek()?;
            self.at += 1;
            if byte == b'e' {
                break;
            }
            if !byte.is_ascii_digit() {
                return Err(self.invalid("a number has something else than digits"));
            }
            let digit = i64::from(byte - b'0');
            let grown = value
                .checked_mul(10)
                .and_then(|v| if negative { v.checked_sub(digit) } else { v.checked_add(digit) });
            let Some(grown) = grown else {
                return Err(self.invalid("a number does not fit into 64 bits"));
            };
            value = grown;
        }
        let count = self.at - 1 - digits;
        if count == 0 {
            return Err(self.invalid("a number has no digits"));
        }
        if self.limits.form == Form::Canonical {
            self.refuse_leading_zero(digits, count)?;
            if negative && value == 0 {
                return Err(self.invalid("a number is minus zero"));
            }
        }
        self.push(start, self.at).map(drop)
    }

    /// Reads a string and returns the span of its text.
    fn string(&mut self) -> Result<(usize, usize), DecodeError> {
        let start = self.at;
        let mut len: usize = 0;
        loop {
            let byte = self.peek()?;
            self.at += 1;
            if byte == b':' {
                break;
            }
            if !byte.is_ascii_digit() {
                return Err(self.invalid("a string's length has something else than digits"));
            }
            // Saturating is enough: no input is that long, so it ends as truncated.
            len = len.saturating_mul(10).saturating_add(usize::from(byte - b'0'));
        }
        if self.limits.form == Form::Canonical {
            self.refuse_leading_zero(start, self.at - 1 - start)?;
        }
        let text = self.at;
        if len > self.bytes.len() - text {
            return Err(DecodeError::Truncated { what: self.limits.what });
        }
        self.at = text + len;
        self.push(start, self.at)?;
        Ok((text, self.at))
    }

    fn refuse_leading_zero(&self, digits: usize, count: usize) -> Result<(), DecodeError> {
        if count > 1 && self.bytes[digits] == b'0' {
            return Err(self.invalid("a number has leading zeros"));
        }
        Ok(())
    }

    fn push(&mut self, start: usize, end: usize) -> Result<usize, DecodeError> {
        let index = self.tokens.len();
        if index >= self.limits.values_max {
            return Err(self.invalid("too many values"));
        }
        let next = index as u32 + 1;
        self.tokens.push(Token { start: start as u32, end: end as u32, next });
        Ok(index)
    }

    fn expect(&mut self, expects: Expects) {
        if let Some(open) = self.open.last_mut() {
            open.expects = expects;
        }
    }

    fn peek(&self) -> Result<u8, DecodeError> {
        let byte = self.bytes.get(self.at).copied();
        byte.ok_or(DecodeError::Truncated { what: self.limits.what })
    }

    const fn invalid(&self, reason: &'static str) -> DecodeError {
        DecodeError::invalid(self.limits.what, reason)
    }
}
