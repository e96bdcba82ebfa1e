//! Two messages with the SHA instructions. One message waits for the result of each instruction before
//! it can issue the next; a second one fills the gaps, which nearly doubles the rate.

use std::arch::x86_64::*;

use super::{BLOCK, Runs, SHA256_CONSTANTS, States};

/// Messages side by side.
const LANES: usize = 2;

/// Runs a block with `$i` as each lane.
macro_rules! each_lane {
    ($i:ident, $body:block) => {
        for $i in 0..LANES $body
    };
}

/// SHA-1 of `blocks` blocks of lanes 0 and 1.
#[target_feature(enable = "sha,sse4.1,ssse3")]
pub(in crate::many) fn sha1(states: &mut States<5>, runs: &Runs<'_>, blocks: usize) {
    assert!(runs[..LANES].iter().all(|run| run.len() >= blocks), "a lane has too little to read");
    let order = _mm_set_epi8(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
    let (mut abcd, mut e) = ([_mm_setzero_si128(); LANES], [_mm_setzero_si128(); LANES]);
    each_lane!(i, {
        let [a, b, c, d, last] = states.lane(i).map(|word| word as i32);
        (abcd[i], e[i]) = (_mm_set_epi32(a, b, c, d), _mm_set_epi32(last, 0, 0, 0));
    });
    for block in 0..blocks {
        // SAFETY: both runs have more than `block` blocks, as asserted above.
        let mut w = unsafe { load_words(runs, block, order) };
        let (abcd_before, e_before) = (abcd, e);
        // The instruction that starts each four rounds but the first also rotates the fifth word,
        // which is the first one of four rounds ago.
        each_lane!(i, {
            let start = _mm_add_epi32(e[i], w[0][i]);
            e[i] = abcd[i];
            abcd[i] = _mm_sha1rnds4_epu32::<0>(abcd[i], start);
        });
        macro_rules! four_rounds {
            ($($group:literal)*) => {$(
                const { assert!($group > 0 && $group < 20) };
                each_lane!(i, {
                    if $group >= 4 {
                        let mixed = _mm_sha1msg1_epu32(w[$group % 4][i], w[($group + 1) % 4][i]);
                        let mixed = _mm_xor_si128(mixed, w[($group + 2) % 4][i]);
                        w[$group % 4][i] = _mm_sha1msg2_epu32(mixed, w[($group + 3) % 4][i]);
                    }
                    let start = _mm_sha1nexte_epu32(e[i], w[$group % 4][i]);
                    e[i] = abcd[i];
                    abcd[i] = _mm_sha1rnds4_epu32::<{ $group / 5 }>(abcd[i], start);
                });
            )*};
        }
        four_rounds!(1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19);
        each_lane!(i, {
            e[i] = _mm_sha1nexte_epu32(e[i], e_before[i]);
            abcd[i] = _mm_add_epi32(abcd[i], abcd_before[i]);
        });
    }
    each_lane!(i, {
        let [d, c, b, a] = words_of(abcd[i]);
        states.set_lane(i, [a, b, c, d, words_of(e[i])[3]]);
    });
}

/// SHA-256 of `blocks` blocks of lanes 0 and 1.
#[target_feature(enable = "sha,sse4.1,ssse3")]
pub(in crate::many) fn sha256(states: &mut States<8>, runs: &Runs<'_>, blocks: usize) {
    assert!(runs[..LANES].iter().all(|run| run.len() >= blocks), "a lane has too little to read");
    let order = _mm_set_epi8(12, 13, 14, 15, 8, 9, 10, 11, 4, 5, 6, 7, 0, 1, 2, 3);
    let (mut abef, mut cdgh) = ([_mm_setzero_si128(); LANES], [_mm_setzero_si128(); LANES]);
    each_lane!(i, {
        let [a, b, c, d, e, f, g, h] = states.lane(i).map(|word| word as i32);
        (abef[i], cdgh[i]) = (_mm_set_epi32(a, b, e, f), _mm_set_epi32(c, d, g, h));
    });
    for block in 0..blocks {
        // SAFETY: both runs have more than `block` blocks, as asserted above.
        let mut w = unsafe { load_words(runs, block, order) };
        let (abef_before, cdgh_before) = (abef, cdgh);
        macro_rules! four_rounds {
            ($($group:literal)*) => {$(
                // SAFETY: there are 64 constants and the group is below 16.
                let constants = unsafe {
                    const { assert!($group < 16) };
                    _mm_load_si128(SHA256_CONSTANTS.0.as_ptr().add(4 * $group).cast())
                };
                each_lane!(i, {
                    if $group >= 4 {
                        let (after, last) = (w[($group + 2) % 4][i], w[($group + 3) % 4][i]);
                        let mixed = _mm_sha256msg1_epu32(w[$group % 4][i], w[($group + 1) % 4][i]);
                        let mixed = _mm_add_epi32(mixed, _mm_alignr_epi8::<4>(last, after));
                        w[$group % 4][i] = _mm_sha256msg2_epu32(mixed, last);
                    }
                    let keyed = _mm_add_epi32(w[$group % 4][i], constants);
                    cdgh[i] = _mm_sha256rnds2_epu32(cdgh[i], abef[i], keyed);
                    let keyed = _mm_shuffle_epi32::<0x0e>(keyed);
                    abef[i] = _mm_sha256rnds2_epu32(abef[i], cdgh[i], keyed);
                });
            )*};
        }
        four_rounds!(0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15);
        each_lane!(i, {
            abef[i] = _mm_add_epi32(abef[i], abef_before[i]);
            cdgh[i] = _mm_add_epi32(cdgh[i], cdgh_before[i]);
        });
    }
    each_lane!(i, {
        let ([f, e, b, a], [h, g, d, c]) = (words_of(abef[i]), words_of(cdgh[i]));
        states.set_lane(i, [a, b, c, d, e, f, g, h]);
    });
}

/// The four words, the lowest first.
#[inline]
#[target_feature(enable = "sse2")]
fn words_of(vector: __m128i) -> [u32; 4] {
    let mut words = [0; 4];
    // SAFETY: the four words are the 16 bytes that are written.
    unsafe { _mm_storeu_si128(words.as_mut_ptr().cast(), vector) };
    words
}

/// Block number `block` of lanes 0 and 1, in the order of words that the instructions want.
///
/// # Safety
/// Both runs must have more than `block` blocks.
#[inline]
#[target_feature(enable = "sse4.1,ssse3")]
unsafe fn load_words(runs: &Runs<'_>, block: usize, order: __m128i) -> [[__m128i; LANES]; 4] {
    const { assert!(BLOCK == 4 * size_of::<__m128i>()) };
    let mut words = [[_mm_setzero_si128(); LANES]; 4];
    for (quarter, lanes) in words.iter_mut().enumerate() {
        for (lane, run) in lanes.iter_mut().zip(runs) {
            // SAFETY: the caller vouches that this block is there; its 64 bytes are four vectors.
            let bytes = unsafe {
                let row: *const __m128i = run.as_ptr().add(block).cast();
                _mm_loadu_si128(row.add(quarter))
            };
            *lane = _mm_shuffle_epi8(bytes, order);
        }
    }
    words
}
