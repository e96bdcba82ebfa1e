//! Canonical bencode out. Containers are built inside out, so there is nothing to leave unclosed.

use std::collections::BTreeMap;

/// Appends a string.
pub fn encode_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    out.extend_from_slice(bytes.len().to_string().as_bytes());
    out.push(b':');
    out.extend_from_slice(bytes);
}

/// Appends a number.
pub fn encode_int(out: &mut Vec<u8>, value: i64) {
    out.push(b'i');
    out.extend_from_slice(value.to_string().as_bytes());
    out.push(b'e');
}

/// Collects a dictionary's entries and writes them sorted. A key given twice keeps its last value.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DictEncoder {
    entries: BTreeMap<Vec<u8>, Vec<u8>>,
}

impl DictEncoder {
    /// An empty dictionary.
    #[must_use]
    pub const fn new() -> Self {
        Self { entries: BTreeMap::new() }
    }

    /// Adds a number.
    pub fn int(&mut self, key: &[u8], value: i64) -> &mut Self {
        let mut out = Vec::new();
        encode_int(&mut out, value);
        self.raw(key, out)
    }

    /// Adds a string.
    pub fn bytes(&mut self, key: &[u8], value: &[u8]) -> &mut Self {
        let mut out = Vec::with_capacity(value.len() + 12);
        encode_bytes(&mut out, value);
        self.raw(key, out)
    }

    /// Adds a list.
    pub fn list(&mut self, key: &[u8], value: ListEncoder) -> &mut Self {
        self.raw(key, value.finish())
    }

    /// Adds a dictionary.
    pub fn dict(&mut self, key: &[u8], value: &Self) -> &mut Self {
        self.raw(key, value.finish())
    }

    /// Adds a value that is bencode already.
    pub fn raw(&mut self, key: &[u8], value: Vec<u8>) -> &mut Self {
        self.entries.insert(key.to_vec(), value);
        self
    }

    /// Whether nothing was added.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// The dictionary as bencode.
    #[must_use]
    pub fn finish(&self) -> Vec<u8> {
        let len: usize = self.entries.iter().map(|(key, value)| key.len() + value.len() + 12).sum();
        let mut out = Vec::with_capacity(len + 2);
        out.push(b'd');
        for (key, value) in &self.entries {
            encode_bytes(&mut out, key);
            out.extend_from_slice(value);
        }
        out.push(b'e');
        out
    }
}

/// Writes a list's items one after another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListEncoder {
    out: Vec<u8>,
}

impl Default for ListEncoder {
    fn default() -> Self {
        Self::new()
    }
}

impl ListEncoder {
    /// An empty list.
    #[must_use]
    pub fn new() -> Self {
        Self { out: vec![b'l'] }
    }

    /// Appends a number.
    pub fn int(&mut self, value: i64) -> &mut Self {
        encode_int(&mut self.out, value);
        self
    }

    /// Appends a string.
    pub fn bytes(&mut self, value: &[u8]) -> &mut Self {
        encode_bytes(&mut self.out, value);
        self
    }

    /// Appends a value that is bencode already.
    pub fn raw(&mut self, value: &[u8]) -> &mut Self {
        self.out.extend_from_slice(value);
        self
    }

    /// The list as bencode.
    #[must_use]
    pub fn finish(mut self) -> Vec<u8> {
        self.out.push(b'e');
        self.out
    }
}
