//! Memory of rings: a busy time makes them grow, and a quiet one that follows needs little of it.

use std::collections::VecDeque;

/// The longest that a ring was since the last look.
#[derive(Debug)]
pub(crate) struct Peak(usize);

impl Peak {
    pub(crate) const fn new() -> Self {
        Self(0)
    }

    /// The ring is that long.
    pub(crate) fn note(&mut self, len: usize) {
        self.0 = self.0.max(len);
    }

    /// Gives back what is far more than was used since the last look.
    pub(crate) fn trim<T>(&mut self, ring: &mut VecDeque<T>) {
        let little = (LITTLE / size_of::<T>()).max(1);
        if ring.capacity() > FAR * self.0.max(little) {
            ring.shrink_to(self.0);
        }
        self.0 = ring.len();
    }
}

/// How much more is far more: rings double, and the next burst may be a bit longer.
const FAR: usize = 4;
/// Bytes that are not worth the trouble of asking for them again.
const LITTLE: usize = 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ring_is_trimmed_to_what_was_used_of_late() {
        let (mut ring, mut peak) = (VecDeque::<u8>::new(), Peak::new());
        ring.extend(vec![1; 1_000_000]);
        peak.note(ring.len());
        ring.clear();
        peak.trim(&mut ring);
        assert!(ring.capacity() >= 1_000_000, "it was just used");
        ring.extend(vec![1; 10_000]);
        peak.note(ring.len());
        ring.truncate(9);
        peak.trim(&mut ring);
        assert!((10_000..20_000).contains(&ring.capacity()), "{}", ring.capacity());
        peak.trim(&mut ring);
        assert_eq!((ring.len(), ring.capacity() < 100), (9, true));
        ring.clear();
        ring.extend(vec![1; 3_000]);
        ring.clear();
        let mut quiet = Peak::new();
        quiet.trim(&mut ring);
        assert!(ring.capacity() >= 3_000, "that is little");
    }
}
