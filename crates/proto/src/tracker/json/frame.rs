//! Where a JSON object ends in a stream of bytes.

use std::ops::Range;

use super::JsonError;
use super::limits::{DEPTH_MAX, OBJECT_LEN_MAX};

/// Finds one object after another. It looks at each byte once, however the bytes come.
#[derive(Debug)]
pub struct Framer {
    /// Bytes that an object may have.
    len_max: usize,
    /// Bytes of the buffer that were looked at.
    scanned: usize,
    /// Where the object begins.
    start: usize,
    depth: u32,
    in_string: bool,
    escaped: bool,
}

/// A whole object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Framed {
    /// Its bytes in the buffer. Everything up to its end is to be taken out of the buffer.
    pub range: Range<usize>,
    /// A newline stands right behind it: the client means to go on.
    pub goes_on: bool,
}

impl Default for Framer {
    fn default() -> Self {
        Self::new(OBJECT_LEN_MAX)
    }
}

impl Framer {
    /// Finds objects of up to `len_max` bytes.
    #[must_use]
    pub const fn new(len_max: usize) -> Self {
        Self { len_max, scanned: 0, start: 0, depth: 0, in_string: false, escaped: false }
    }

    /// Looks on in `buffer`, which holds all that came since the end of the last object; `None` when
    /// more must come.
    pub fn scan(&mut self, buffer: &[u8]) -> Result<Option<Framed>, JsonError> {
        while let Some(&byte) = buffer.get(self.scanned) {
            let at = self.scanned;
            self.scanned += 1;
            if self.depth == 0 {
                match byte {
                    b' ' | b'\t' | b'\r' | b'\n' => self.start = self.scanned,
                    b'{' => self.depth = 1,
                    _ => return Err(JsonError::NotAnObject),
                }
            } else if self.step(byte)? {
                let range = self.start..at + 1;
                let rest = &buffer[range.end..];
                let goes_on = rest.starts_with(b"\n") || rest.starts_with(b"\r\n");
                *self = Self::new(self.len_max);
                return Ok(Some(Framed { range, goes_on }));
            }
            if self.scanned - self.start > self.len_max || self.scanned > 2 * self.len_max {
                return Err(JsonError::TooLong(self.len_max));
            }
        }
        Ok(None)
    }

    /// Takes a byte inside the object; true when it is the last one.
    fn step(&mut self, byte: u8) -> Result<bool, JsonError> {
        if self.in_string {
            match byte {
                _ if self.escaped => self.escaped = false,
                b'\\' => self.escaped = true,
                b'"' => self.in_string = false,
                _ => {}
            }
            return Ok(false);
        }
        match byte {
            b'"' => self.in_string = true,
            b'{' | b'[' if self.depth == DEPTH_MAX => return Err(JsonError::TooDeep),
            b'{' | b'[' => self.depth += 1,
            b'}' | b']' => self.depth -= 1,
            _ => {}
        }
        Ok(self.depth == 0)
    }
}
