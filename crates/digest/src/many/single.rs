//! One lane, by the block functions of the `sha1` and `sha2` crates. Works everywhere.

use super::{Runs, States};

pub(super) fn sha1(states: &mut States<5>, runs: &Runs<'_>, blocks: usize) {
    let mut state = states.lane(0);
    sha1::block_api::compress(&mut state, &runs[0][..blocks]);
    states.set_lane(0, state);
}

pub(super) fn sha256(states: &mut States<8>, runs: &Runs<'_>, blocks: usize) {
    let mut state = states.lane(0);
    sha2::block_api::compress256(&mut state, &runs[0][..blocks]);
    states.set_lane(0, state);
}
