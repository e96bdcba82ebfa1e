//! Memory for pieces on their way to the disks: how much of it each torrent may use.
//!
//! All torrents of a process share one budget; disks that are in use have equal parts of it, and so have the
//! torrents of one disk. Who has nothing under way holds nothing. A disk that stopped to answer keeps what it
//! has, and no more: others go on with theirs.
//!
//! Two pieces a torrent are not counted (the swarm opens as many whatever it may), so each gets on, and hears
//! of its own progress when it may have more.

use std::sync::Arc;

use parking_lot::Mutex;

/// What all disks share.
#[derive(Debug)]
pub(super) struct ProcessBudget {
    total: u64,
    /// Disks that pieces are on their way to.
    disks: Mutex<u64>,
}

/// What the torrents of one disk share.
#[derive(Debug)]
pub(super) struct LaneBudget {
    process: Arc<ProcessBudget>,
    state: Mutex<Held>,
}

#[derive(Debug, Default)]
struct Held {
    bytes: u64,
    torrents: u64,
}

/// What one torrent holds; given back when dropped.
#[derive(Debug)]
pub(crate) struct Allowance {
    lane: Arc<LaneBudget>,
    held: u64,
    most: u64,
}

impl ProcessBudget {
    pub(super) const fn new(total: u64) -> Self {
        Self { total, disks: Mutex::new(0) }
    }
}

impl LaneBudget {
    pub(super) fn new(process: Arc<ProcessBudget>) -> Self {
        Self { process, state: Mutex::default() }
    }

    fn enter(&self, held: &mut Held) {
        held.torrents += 1;
        if held.torrents == 1 {
            *self.process.disks.lock() += 1;
        }
    }

    fn leave(&self, held: &mut Held) {
        held.torrents -= 1;
        if held.torrents == 0 {
            *self.process.disks.lock() -= 1;
        }
    }

    /// The part of this disk.
    fn part(&self) -> u64 {
        self.process.total / (*self.process.disks.lock()).max(1)
    }
}

impl Allowance {
    /// For a torrent that uses `most` bytes at most.
    pub(super) const fn new(lane: Arc<LaneBudget>, most: u64) -> Self {
        Self { lane, held: 0, most }
    }

    /// The torrent has pieces of so many bytes open or on their way: how many it may have from now on. It
    /// may have twice as many as it uses, within its share, so one that waits for its peers holds little.
    pub(crate) fn adjust(&mut self, used: u64) -> u64 {
        let mut state = self.lane.state.lock();
        match (self.held > 0, used > 0) {
            (false, true) => self.lane.enter(&mut state),
            (true, false) => self.lane.leave(&mut state),
            (true, true) | (false, false) => {}
        }
        state.bytes -= self.held;
        self.held = 0;
        if used > 0 {
            let part = self.lane.part();
            let share = part / state.torrents;
            let wish = (2 * used).clamp(START, self.most.max(1)).min(share.max(1));
            // What is in use cannot be taken back; what is not may be somebody else's by now.
            let free = part.saturating_sub(state.bytes);
            self.held = wish.min(free).max(used);
            state.bytes += self.held;
        }
        self.held.max(START.min(self.most))
    }
}

impl Drop for Allowance {
    fn drop(&mut self) {
        self.adjust(0);
    }
}

/// What a torrent may begin with, uncounted: a few usual pieces.
const START: u64 = 2 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    fn lanes(total: u64, count: usize) -> Vec<Arc<LaneBudget>> {
        let process = Arc::new(ProcessBudget::new(total));
        (0..count).map(|_| Arc::new(LaneBudget::new(process.clone()))).collect()
    }

    /// Uses all that it may, until it may have no more.
    fn fill(allowance: &mut Allowance) -> u64 {
        (0..40).fold(1, |used, _| allowance.adjust(used).max(used))
    }

    #[test]
    fn one_torrent_may_have_all_that_it_can_use() {
        let lane = &lanes(256 * MIB, 1)[0];
        let mut alone = Allowance::new(lane.clone(), 64 * MIB);
        assert_eq!(alone.adjust(0), START);
        assert_eq!(fill(&mut alone), 64 * MIB);
        assert_eq!(alone.adjust(3 * MIB), 6 * MIB, "what it does not use is for others");
    }

    #[test]
    fn torrents_of_one_disk_have_equal_shares_and_together_no_more_than_there_is() {
        let lane = &lanes(64 * MIB, 1)[0];
        let mut all: Vec<_> = (0..8).map(|_| Allowance::new(lane.clone(), 64 * MIB)).collect();
        all.iter_mut().for_each(|one| _ = one.adjust(1));
        assert!(all.iter_mut().all(|one| fill(one) == 8 * MIB));
        assert_eq!(lane.state.lock().bytes, 64 * MIB);
        let last = all.pop().unwrap();
        drop(all);
        let mut last = last;
        assert_eq!(fill(&mut last), 64 * MIB, "those that have gone hold nothing");
        drop(last);
        assert_eq!((lane.state.lock().bytes, *lane.process.disks.lock()), (0, 0));
    }

    #[test]
    fn a_disk_that_stopped_leaves_another_its_part() {
        let lanes = lanes(64 * MIB, 2);
        let mut stuck = Allowance::new(lanes[0].clone(), 1024 * MIB);
        assert_eq!(fill(&mut stuck), 64 * MIB);
        let mut other = Allowance::new(lanes[1].clone(), 1024 * MIB);
        assert_eq!(fill(&mut other), 32 * MIB);
        assert_eq!(stuck.adjust(64 * MIB), 64 * MIB, "it keeps what it uses");
        assert_eq!(stuck.adjust(10 * MIB), 20 * MIB);
        assert_eq!(fill(&mut stuck), 32 * MIB, "and then has its part");
    }

    #[test]
    fn late_comers_wait_for_what_is_in_use_and_begin_all_the_same() {
        let lane = &lanes(64 * MIB, 1)[0];
        let mut first = Allowance::new(lane.clone(), 64 * MIB);
        assert_eq!(fill(&mut first), 64 * MIB);
        let mut second = Allowance::new(lane.clone(), 64 * MIB);
        assert_eq!(fill(&mut second), START);
        first.adjust(16 * MIB);
        assert_eq!(fill(&mut second), 32 * MIB);
    }
}
