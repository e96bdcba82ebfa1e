//! The memory that a block travels in, from the socket to the file.

use std::fmt;

use proto::BLOCK_LEN;

/// One block's bytes, at most 16 KiB, in memory of that size that is used again and again: the
/// network fills it, workers hash and write it, then it goes back to the pool it came from.
pub struct BlockBuf {
    bytes: Box<[u8]>,
    len: u32,
}

impl BlockBuf {
    /// A fresh buffer, zeroed and empty.
    #[must_use]
    pub fn new() -> Self {
        Self { bytes: vec![0; BLOCK_LEN as usize].into(), len: 0 }
    }

    /// A buffer that holds `bytes`.
    ///
    /// # Panics
    /// If there are more than 16 KiB.
    #[must_use]
    pub fn copy_of(bytes: &[u8]) -> Self {
        let mut buffer = Self::new();
        buffer.bytes[..bytes.len()].copy_from_slice(bytes);
        buffer.set_len(bytes.len() as u32);
        buffer
    }

    /// All of the memory, to be filled.
    pub fn space(&mut self) -> &mut [u8] {
        &mut self.bytes
    }

    /// Says how much of the memory is the block.
    ///
    /// # Panics
    /// If that is more than 16 KiB.
    pub fn set_len(&mut self, len: u32) {
        assert!(len <= BLOCK_LEN, "a block has at most 16 KiB");
        self.len = len;
    }

    /// The block.
    #[must_use]
    pub fn as_slice(&self) -> &[u8] {
        &self.bytes[..self.len as usize]
    }
}

impl Default for BlockBuf {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for BlockBuf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "BlockBuf({} bytes)", self.len)
    }
}
