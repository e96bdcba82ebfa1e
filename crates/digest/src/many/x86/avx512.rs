//! Sixteen lanes in the 512-bit registers of AVX-512 F and BW, whose rotation and three-input logic
//! instructions fit both functions well.

use std::arch::x86_64::*;

use super::{BLOCK, LANES_MAX, Runs, SHA256_CONSTANTS, States};

sha1_kernel!("avx512f,avx512bw");
sha256_kernel!("avx512f,avx512bw");

#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
fn add(a: __m512i, b: __m512i) -> __m512i {
    _mm512_add_epi32(a, b)
}

#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
fn xor(a: __m512i, b: __m512i) -> __m512i {
    _mm512_xor_si512(a, b)
}

#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
fn choose(x: __m512i, y: __m512i, z: __m512i) -> __m512i {
    _mm512_ternarylogic_epi32::<0b1100_1010>(x, y, z)
}

#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
fn majority(x: __m512i, y: __m512i, z: __m512i) -> __m512i {
    _mm512_ternarylogic_epi32::<0b1110_1000>(x, y, z)
}

#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
fn parity(x: __m512i, y: __m512i, z: __m512i) -> __m512i {
    _mm512_ternarylogic_epi32::<0b1001_0110>(x, y, z)
}

#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
fn rotate_left<const LEFT: i32, const RIGHT: i32>(x: __m512i) -> __m512i {
    const { assert!(LEFT + RIGHT == 32) };
    _mm512_rol_epi32::<LEFT>(x)
}

#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
fn shift_right<const BY: u32>(x: __m512i) -> __m512i {
    _mm512_srli_epi32::<BY>(x)
}

#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
fn splat(word: u32) -> __m512i {
    _mm512_set1_epi32(word as i32)
}

#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
fn load_states<const WORDS: usize>(states: &States<WORDS>) -> [__m512i; WORDS] {
    let mut vectors = [_mm512_setzero_si512(); WORDS];
    for (vector, lanes) in vectors.iter_mut().zip(&states.0) {
        // SAFETY: the sixteen words are the 64 bytes that are read.
        *vector = unsafe { _mm512_loadu_si512(lanes.as_ptr().cast()) };
    }
    vectors
}

#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
fn store_states<const WORDS: usize>(vectors: [__m512i; WORDS], states: &mut States<WORDS>) {
    for (vector, lanes) in vectors.iter().zip(&mut states.0) {
        // SAFETY: the sixteen words are the 64 bytes that are written.
        unsafe { _mm512_storeu_si512(lanes.as_mut_ptr().cast(), *vector) };
    }
}

/// Block number `block` of every lane, turned so that vector `t` has word `t` of all of them.
///
/// # Safety
/// Every run must have more than `block` blocks.
#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
unsafe fn load_words(runs: &Runs<'_>, block: usize) -> [__m512i; 16] {
    let mut rows = [_mm512_setzero_si512(); LANES_MAX];
    for (row, run) in rows.iter_mut().zip(runs) {
        // SAFETY: the caller vouches that this block is there; it is the 64 bytes that are read.
        *row = unsafe { _mm512_loadu_si512(run.as_ptr().add(block).cast()) };
    }
    const { assert!(BLOCK == size_of::<__m512i>()) };
    let mut words = transpose(rows);
    // The words of a message are big endian.
    let order =
        _mm512_broadcast_i32x4(_mm_set_epi8(12, 13, 14, 15, 8, 9, 10, 11, 4, 5, 6, 7, 0, 1, 2, 3));
    // A closure given to `map` would not have the features, and each call would go through memory.
    for word in &mut words {
        *word = _mm512_shuffle_epi8(*word, order);
    }
    words
}

/// Makes the columns of a 16 by 16 matrix of words its rows, in four passes over pairs of rows: words,
/// pairs of words, and twice quarters of a register.
#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
fn transpose(rows: [__m512i; 16]) -> [__m512i; 16] {
    let mut words = rows;
    for i in 0..8 {
        words[2 * i] = _mm512_unpacklo_epi32(rows[2 * i], rows[2 * i + 1]);
        words[2 * i + 1] = _mm512_unpackhi_epi32(rows[2 * i], rows[2 * i + 1]);
    }
    // After this, vector 4q + j has column 4k + j of rows 4q to 4q + 3 in its quarter k.
    let mut pairs = words;
    for q in 0..4 {
        pairs[4 * q] = _mm512_unpacklo_epi64(words[4 * q], words[4 * q + 2]);
        pairs[4 * q + 1] = _mm512_unpackhi_epi64(words[4 * q], words[4 * q + 2]);
        pairs[4 * q + 2] = _mm512_unpacklo_epi64(words[4 * q + 1], words[4 * q + 3]);
        pairs[4 * q + 3] = _mm512_unpackhi_epi64(words[4 * q + 1], words[4 * q + 3]);
    }
    let mut columns = pairs;
    for j in 0..4 {
        let (low, high) = (
            _mm512_shuffle_i32x4::<0x88>(pairs[j], pairs[4 + j]),
            _mm512_shuffle_i32x4::<0x88>(pairs[8 + j], pairs[12 + j]),
        );
        columns[j] = _mm512_shuffle_i32x4::<0x88>(low, high);
        columns[8 + j] = _mm512_shuffle_i32x4::<0xdd>(low, high);
        let (low, high) = (
            _mm512_shuffle_i32x4::<0xdd>(pairs[j], pairs[4 + j]),
            _mm512_shuffle_i32x4::<0xdd>(pairs[8 + j], pairs[12 + j]),
        );
        columns[4 + j] = _mm512_shuffle_i32x4::<0x88>(low, high);
        columns[12 + j] = _mm512_shuffle_i32x4::<0xdd>(low, high);
    }
    columns
}
