//! Blocks' memory, used again and again: the network takes buffers, the workers give them back.

use parking_lot::Mutex;
use swarm::BlockBuf;

/// Buffers that nobody uses at the moment, at most as many as the memory budget allows.
///
/// Both ends take and give many at once, so the lock is held once a batch.
#[derive(Debug)]
pub struct BlockPool {
    free: Mutex<Vec<BlockBuf>>,
    max: usize,
}

impl BlockPool {
    /// A pool that keeps no more than `max` idle buffers; further ones are freed.
    #[must_use]
    pub const fn new(max: usize) -> Self {
        Self { free: Mutex::new(Vec::new()), max }
    }

    /// Appends `count` buffers to `out`: used ones first, then fresh ones. Their content is whatever
    /// it was. How many are out at once is bounded by those who take them.
    pub fn take(&self, count: usize, out: &mut Vec<BlockBuf>) {
        let mut free = self.free.lock();
        let used = count.min(free.len());
        let from = free.len() - used;
        out.extend(free.drain(from..));
        drop(free);
        out.extend((used..count).map(|_| BlockBuf::new()));
    }

    /// Takes buffers back.
    pub fn give(&self, buffers: impl IntoIterator<Item = BlockBuf>) {
        let mut free = self.free.lock();
        let room = self.max.saturating_sub(free.len());
        let mut buffers = buffers.into_iter();
        free.extend(buffers.by_ref().take(room));
        drop(free);
        // The rest is freed here, outside the lock.
        buffers.for_each(drop);
    }

    /// Buffers that nobody uses.
    #[must_use]
    pub fn idle(&self) -> usize {
        self.free.lock().len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buffers_are_used_again_and_bounded() {
        let pool = BlockPool::new(3);
        let mut out = Vec::new();
        pool.take(5, &mut out);
        assert_eq!(out.len(), 5);
        out[0].space()[7] = 42;
        pool.give(out.drain(..));
        assert_eq!(pool.idle(), 3);
        pool.take(4, &mut out);
        assert_eq!((out.len(), pool.idle()), (4, 0));
        assert!(out.iter().any(|buffer| buffer.as_slice().is_empty()));
    }
}
