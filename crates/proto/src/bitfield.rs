//! Which pieces a peer has: one bit each, in wire order (BEP 3).

use crate::{DecodeError, PieceIndex};

/// A set of pieces of a torrent with a known number of pieces.
///
/// Bits are kept as they travel, the first piece in the highest bit of the first byte; spare bits at
/// the end are zero, always.
#[derive(Clone, PartialEq, Eq)]
pub struct Bitfield {
    bytes: Box<[u8]>,
    len: u32,
    ones: u32,
}

impl Bitfield {
    /// No piece of `len`.
    #[must_use]
    pub fn empty(len: u32) -> Self {
        Self { bytes: vec![0; len.div_ceil(8) as usize].into(), len, ones: 0 }
    }

    /// Every piece of `len`.
    #[must_use]
    pub fn full(len: u32) -> Self {
        let mut bytes = vec![0xff; len.div_ceil(8) as usize].into_boxed_slice();
        if let Some(last) = bytes.last_mut() {
            *last = 0xff << (len.next_multiple_of(8) - len);
        }
        Self { bytes, len, ones: len }
    }

    /// Reads the payload of a bitfield message; refuses a wrong length and set spare bits.
    pub fn decode(bytes: &[u8], len: u32) -> Result<Self, DecodeError> {
        if bytes.len() != len.div_ceil(8) as usize {
            return Err(DecodeError::invalid("bitfield", "wrong length"));
        }
        let spare = len.next_multiple_of(8) - len;
        if bytes.last().is_some_and(|last| last.trailing_zeros() < spare && *last != 0) {
            return Err(DecodeError::invalid("bitfield", "spare bits are set"));
        }
        let ones = bytes.iter().map(|byte| byte.count_ones()).sum();
        Ok(Self { bytes: bytes.into(), len, ones })
    }

    /// The payload of a bitfield message.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The number of pieces there are.
    #[must_use]
    #[expect(clippy::len_without_is_empty, reason = "a torrent has at least one piece")]
    pub const fn len(&self) -> u32 {
        self.len
    }

    /// The number of pieces in the set.
    #[must_use]
    pub const fn count(&self) -> u32 {
        self.ones
    }

    /// Every piece is in the set.
    #[must_use]
    pub const fn is_full(&self) -> bool {
        self.ones == self.len
    }

    /// Whether `piece` is in the set; false when there is no such piece.
    #[must_use]
    pub fn has(&self, piece: PieceIndex) -> bool {
        let (byte, bit) = (piece.0 / 8, 0x80 >> (piece.0 % 8));
        self.bytes.get(byte as usize).is_some_and(|byte| byte & bit != 0)
    }

    /// Adds `piece`; false when it was there already or does not exist.
    pub fn insert(&mut self, piece: PieceIndex) -> bool {
        if piece.0 >= self.len || self.has(piece) {
            return false;
        }
        self.bytes[piece.0 as usize / 8] |= 0x80 >> (piece.0 % 8);
        self.ones += 1;
        true
    }

    /// Takes `piece` out; false when it was not there.
    pub fn remove(&mut self, piece: PieceIndex) -> bool {
        if !self.has(piece) {
            return false;
        }
        self.bytes[piece.0 as usize / 8] &= !(0x80 >> (piece.0 % 8));
        self.ones -= 1;
        true
    }

    /// The pieces in the set, in order.
    pub fn iter(&self) -> impl Iterator<Item = PieceIndex> {
        (0..self.len).map(PieceIndex).filter(|piece| self.has(*piece))
    }
}

impl std::fmt::Debug for Bitfield {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Bitfield({}/{})", self.ones, self.len)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spare_bits_are_refused() {
        assert!(Bitfield::decode(&[0xff, 0x80], 9).is_ok());
        assert!(Bitfield::decode(&[0xff, 0xc0], 9).is_err());
        assert!(Bitfield::decode(&[0xff, 0x40], 9).is_err());
        assert!(Bitfield::decode(&[0xff], 9).is_err());
        assert!(Bitfield::decode(&[0xff], 8).is_ok());
    }

    #[test]
    fn count_follows_changes() {
        for len in [1, 7, 8, 9, 64] {
            let mut set = Bitfield::full(len);
            assert!(set.is_full());
            assert_eq!(Bitfield::decode(set.as_bytes(), len), Ok(set.clone()));
            assert!(set.remove(PieceIndex(len - 1)));
            assert!(!set.remove(PieceIndex(len - 1)));
            assert!(!set.insert(PieceIndex(len)));
            assert_eq!(set.count(), len - 1);
            assert_eq!(set.iter().count() as u32, len - 1);
        }
    }
}
