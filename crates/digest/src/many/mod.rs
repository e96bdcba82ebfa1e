//! Many messages at once, each in a lane of its own.
//!
//! A kernel hashes some blocks of several messages side by side. The scheduler here keeps its lanes
//! full: a lane whose message ends takes the next one at once. When too few are left for a wide kernel
//! to pay, the narrower ones finish them from the state they are in.

mod backend;
mod lane;
mod single;
#[cfg(target_arch = "x86_64")]
mod x86;

pub use backend::Backend;
pub use lane::Part;

use lane::{Lane, ZEROS};

/// Bytes that one application of either compression function takes.
const BLOCK: usize = 64;

/// Blocks that a kernel gets at once, at most: 16 KiB, so that lanes without a message can be given
/// zeros.
const STEP_BLOCKS_MAX: usize = 256;

/// The widest kernel's lanes.
const LANES_MAX: usize = 16;

/// The chaining values of all lanes: word `w` of lane `l` is `0[w][l]`.
#[repr(C, align(64))]
struct States<const WORDS: usize>([[u32; LANES_MAX]; WORDS]);

impl<const WORDS: usize> States<WORDS> {
    const fn lane(&self, lane: usize) -> [u32; WORDS] {
        let mut state = [0; WORDS];
        let mut word = 0;
        while word < WORDS {
            state[word] = self.0[word][lane];
            word += 1;
        }
        state
    }

    fn set_lane(&mut self, lane: usize, state: [u32; WORDS]) {
        for (words, word) in self.0.iter_mut().zip(state) {
            words[lane] = word;
        }
    }
}

/// What each lane reads next. Each slice is at least as long as the blocks that are asked for.
type Runs<'a> = [&'a [[u8; BLOCK]]; LANES_MAX];

/// A compression function for several lanes.
#[derive(Clone, Copy)]
struct Kernel<const WORDS: usize> {
    /// It hashes the lanes below this and leaves the others' states alone.
    lanes: usize,
    /// With fewer messages than this a narrower kernel is faster.
    lanes_min: usize,
    /// Hashes so many blocks of each lane.
    ///
    /// # Safety
    /// The processor must have the features that the function is compiled for.
    compress: unsafe fn(&mut States<WORDS>, &Runs<'_>, usize),
}

impl<const WORDS: usize> Kernel<WORDS> {
    fn compress(&self, states: &mut States<WORDS>, runs: &Runs<'_>, blocks: usize) {
        // SAFETY: `Backend` makes kernels only of functions whose features it has detected.
        unsafe { (self.compress)(states, runs, blocks) }
    }
}

/// Hashes every message from `initial` on and hands its number and final state to `done`. `kernels`
/// go from wide to narrow; the last has `lanes_min` 1.
fn hash_all<'a, const WORDS: usize>(
    kernels: &[Kernel<WORDS>],
    initial: [u32; WORDS],
    mut messages: impl Iterator<Item = Lane<'a>>,
    mut done: impl FnMut(usize, [u32; WORDS]),
) {
    let width = kernels.iter().map(|kernel| kernel.lanes).max().unwrap_or(1);
    let mut lanes: Vec<Lane<'a>> = Vec::with_capacity(width);
    let mut states = States([[0; LANES_MAX]; WORDS]);
    loop {
        while lanes.len() < width
            && let Some(lane) = messages.next()
        {
            states.set_lane(lanes.len(), initial);
            lanes.push(lane);
        }
        let Some(kernel) = kernels.iter().find(|kernel| lanes.len() >= kernel.lanes_min) else {
            return;
        };
        let at_work = kernel.lanes.min(lanes.len());
        let blocks = step(kernel, &mut states, &lanes[..at_work]);
        for lane in &mut lanes[..at_work] {
            lane.advance(blocks);
        }
        for index in (0..at_work).rev() {
            if lanes[index].is_finished() {
                done(lanes[index].message(), states.lane(index));
                lanes.swap_remove(index);
                states.set_lane(index, states.lane(lanes.len()));
            }
        }
    }
}

/// Hashes as many blocks as every lane has in a row, and says how many that were.
fn step<const WORDS: usize>(
    kernel: &Kernel<WORDS>,
    states: &mut States<WORDS>,
    lanes: &[Lane<'_>],
) -> usize {
    let mut runs: Runs<'_> = [&ZEROS; LANES_MAX];
    let mut blocks = STEP_BLOCKS_MAX;
    for (run, lane) in runs.iter_mut().zip(lanes) {
        *run = lane.run();
        blocks = blocks.min(run.len());
    }
    kernel.compress(states, &runs, blocks);
    blocks
}

/// The SHA-1 of each message, given in parts. `out` takes them in the same order.
///
/// # Panics
/// If `out` is not as long as `messages`.
pub fn sha1_many(messages: &[&[Part<'_>]], out: &mut [[u8; 20]]) {
    Backend::best().sha1_many(messages, out);
}

/// The SHA-256 of each message. `out` takes them in the same order.
///
/// # Panics
/// If `out` is not as long as `messages`.
pub fn sha256_many(messages: &[&[u8]], out: &mut [[u8; 32]]) {
    Backend::best().sha256_many(messages, out);
}

/// The SHA-256 of each neighbouring pair of `nodes`, as one level of a merkle tree becomes the next.
///
/// # Panics
/// If `out` is not half as long as `nodes`.
pub fn sha256_pairs(nodes: &[[u8; 32]], out: &mut [[u8; 32]]) {
    Backend::best().sha256_pairs(nodes, out);
}

#[cfg(test)]
mod tests;
