//! Eight lanes in the 256-bit registers of AVX2.

use std::arch::x86_64::*;

use super::{BLOCK, Runs, SHA256_CONSTANTS, States};

sha1_kernel!("avx2");
sha256_kernel!("avx2");

#[inline]
#[target_feature(enable = "avx2")]
fn add(a: __m256i, b: __m256i) -> __m256i {
    _mm256_add_epi32(a, b)
}

#[inline]
#[target_feature(enable = "avx2")]
fn xor(a: __m256i, b: __m256i) -> __m256i {
    _mm256_xor_si256(a, b)
}

#[inline]
#[target_feature(enable = "avx2")]
fn choose(x: __m256i, y: __m256i, z: __m256i) -> __m256i {
    xor(z, _mm256_and_si256(x, xor(y, z)))
}

#[inline]
#[target_feature(enable = "avx2")]
fn majority(x: __m256i, y: __m256i, z: __m256i) -> __m256i {
    _mm256_or_si256(_mm256_and_si256(x, y), _mm256_and_si256(z, _mm256_or_si256(x, y)))
}

#[inline]
#[target_feature(enable = "avx2")]
fn parity(x: __m256i, y: __m256i, z: __m256i) -> __m256i {
    xor(x, xor(y, z))
}

#[inline]
#[target_feature(enable = "avx2")]
fn rotate_left<const LEFT: i32, const RIGHT: i32>(x: __m256i) -> __m256i {
    const { assert!(LEFT + RIGHT == 32) };
    _mm256_or_si256(_mm256_slli_epi32::<LEFT>(x), _mm256_srli_epi32::<RIGHT>(x))
}

#[inline]
#[target_feature(enable = "avx2")]
fn shift_right<const BY: i32>(x: __m256i) -> __m256i {
    _mm256_srli_epi32::<BY>(x)
}

#[inline]
#[target_feature(enable = "avx2")]
fn splat(word: u32) -> __m256i {
    _mm256_set1_epi32(word as i32)
}

#[inline]
#[target_feature(enable = "avx2")]
fn load_states<const WORDS: usize>(states: &States<WORDS>) -> [__m256i; WORDS] {
    let mut vectors = [_mm256_setzero_si256(); WORDS];
    for (vector, lanes) in vectors.iter_mut().zip(&states.0) {
        // SAFETY: the first eight of the sixteen words are the 32 bytes that are read.
        *vector = unsafe { _mm256_loadu_si256(lanes.as_ptr().cast()) };
    }
    vectors
}

#[inline]
#[target_feature(enable = "avx2")]
fn store_states<const WORDS: usize>(vectors: [__m256i; WORDS], states: &mut States<WORDS>) {
    for (vector, lanes) in vectors.iter().zip(&mut states.0) {
        // SAFETY: the first eight of the sixteen words are the 32 bytes that are written.
        unsafe { _mm256_storeu_si256(lanes.as_mut_ptr().cast(), *vector) };
    }
}

/// Block number `block` of every lane, turned so that vector `t` has word `t` of all of them.
///
/// # Safety
/// Every run must have more than `block` blocks.
#[inline]
#[target_feature(enable = "avx2")]
unsafe fn load_words(runs: &Runs<'_>, block: usize) -> [__m256i; 16] {
    let mut halves = [[_mm256_setzero_si256(); LANES]; 2];
    for lane in 0..LANES {
        // SAFETY: the caller vouches that this block is there; its 64 bytes are two vectors.
        unsafe {
            let row: *const __m256i = runs[lane].as_ptr().add(block).cast();
            halves[0][lane] = _mm256_loadu_si256(row);
            halves[1][lane] = _mm256_loadu_si256(row.add(1));
        }
    }
    const { assert!(BLOCK == 2 * size_of::<__m256i>()) };
    // The words of a message are big endian.
    let order = _mm_set_epi8(12, 13, 14, 15, 8, 9, 10, 11, 4, 5, 6, 7, 0, 1, 2, 3);
    let order = _mm256_broadcastsi128_si256(order);
    let mut words = [_mm256_setzero_si256(); 16];
    let (low, high) = (transpose(halves[0]), transpose(halves[1]));
    for lane in 0..LANES {
        words[lane] = _mm256_shuffle_epi8(low[lane], order);
        words[LANES + lane] = _mm256_shuffle_epi8(high[lane], order);
    }
    words
}

/// Makes the columns of an 8 by 8 matrix of words its rows, in three passes over pairs of rows: words,
/// pairs of words, halves of a register.
#[inline]
#[target_feature(enable = "avx2")]
fn transpose(rows: [__m256i; LANES]) -> [__m256i; LANES] {
    let mut words = rows;
    for i in 0..4 {
        words[2 * i] = _mm256_unpacklo_epi32(rows[2 * i], rows[2 * i + 1]);
        words[2 * i + 1] = _mm256_unpackhi_epi32(rows[2 * i], rows[2 * i + 1]);
    }
    // After this, vector 4q + j has column 4k + j of rows 4q to 4q + 3 in its half k.
    let mut pairs = words;
    for q in 0..2 {
        pairs[4 * q] = _mm256_unpacklo_epi64(words[4 * q], words[4 * q + 2]);
        pairs[4 * q + 1] = _mm256_unpackhi_epi64(words[4 * q], words[4 * q + 2]);
        pairs[4 * q + 2] = _mm256_unpacklo_epi64(words[4 * q + 1], words[4 * q + 3]);
        pairs[4 * q + 3] = _mm256_unpackhi_epi64(words[4 * q + 1], words[4 * q + 3]);
    }
    let mut columns = pairs;
    for j in 0..4 {
        columns[j] = _mm256_permute2x128_si256::<0x20>(pairs[j], pairs[4 + j]);
        columns[4 + j] = _mm256_permute2x128_si256::<0x31>(pairs[j], pairs[4 + j]);
    }
    columns
}

/// Words in a register.
const LANES: usize = 8;
