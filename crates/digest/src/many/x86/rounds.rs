//! The rounds of both functions (FIPS 180-4 section 6), written once for vectors of any width.
//!
//! The module that expands these brings the vector operations: `add`, `choose`, `majority`, `parity`,
//! `rotate_left`, `shift_right`, `splat`, `load_states`, `store_states` and `load_words`. Everything
//! is unrolled, so that the message schedule stays in registers and each round's renaming of the
//! working variables costs nothing.

/// Sixteen copies of a block, in which `$t` is 0 to 15.
macro_rules! unroll16 {
    ($t:ident, $body:block) => {
        unroll16!(@ $t, $body, 0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15)
    };
    (@ $t:ident, $body:block, $($n:literal)*) => {
        $({
            const $t: usize = $n;
            $body
        })*
    };
}

/// SHA-1 of `blocks` blocks a lane.
macro_rules! sha1_kernel {
    ($features:literal) => {
        #[target_feature(enable = $features)]
        pub(in crate::many) fn sha1(states: &mut States<5>, runs: &Runs<'_>, blocks: usize) {
            const K: [u32; 4] = [0x5a82_7999, 0x6ed9_eba1, 0x8f1b_bcdc, 0xca62_c1d6];
            assert!(runs.iter().all(|run| run.len() >= blocks), "a lane has too little to read");
            let mut state = load_states(states);
            for block in 0..blocks {
                // SAFETY: every run has more than `block` blocks, as asserted above.
                let mut w = unsafe { load_words(runs, block) };
                let [mut a, mut b, mut c, mut d, mut e] = state;
                macro_rules! rounds {
                    ($from:literal) => {
                        unroll16!(T, {
                            if $from > 0 {
                                let mixed =
                                    parity(w[(T + 13) % 16], w[(T + 8) % 16], w[(T + 2) % 16]);
                                w[T] = rotate_left::<1, 31>(xor(mixed, w[T]));
                            }
                            let f = match ($from + T) / 20 {
                                0 => choose(b, c, d),
                                2 => majority(b, c, d),
                                _ => parity(b, c, d),
                            };
                            let fixed = add(add(e, splat(K[($from + T) / 20])), w[T]);
                            let next = add(add(fixed, f), rotate_left::<5, 27>(a));
                            (a, b, c, d, e) = (next, a, rotate_left::<30, 2>(b), c, d);
                        });
                    };
                }
                rounds!(0);
                rounds!(16);
                rounds!(32);
                rounds!(48);
                rounds!(64);
                for (sum, word) in state.iter_mut().zip([a, b, c, d, e]) {
                    *sum = add(*sum, word);
                }
            }
            store_states(state, states);
        }
    };
}

/// SHA-256 of `blocks` blocks a lane.
macro_rules! sha256_kernel {
    ($features:literal) => {
        #[target_feature(enable = $features)]
        pub(in crate::many) fn sha256(states: &mut States<8>, runs: &Runs<'_>, blocks: usize) {
            assert!(runs.iter().all(|run| run.len() >= blocks), "a lane has too little to read");
            let mut state = load_states(states);
            for block in 0..blocks {
                // SAFETY: every run has more than `block` blocks, as asserted above.
                let mut w = unsafe { load_words(runs, block) };
                let [mut a, mut b, mut c, mut d, mut e, mut f, mut g, mut h] = state;
                macro_rules! rounds {
                    ($from:literal) => {
                        unroll16!(T, {
                            if $from > 0 {
                                let (x, y) = (w[(T + 1) % 16], w[(T + 14) % 16]);
                                let low = parity(
                                    rotate_left::<25, 7>(x),
                                    rotate_left::<14, 18>(x),
                                    shift_right::<3>(x),
                                );
                                let high = parity(
                                    rotate_left::<15, 17>(y),
                                    rotate_left::<13, 19>(y),
                                    shift_right::<10>(y),
                                );
                                w[T] = add(add(w[T], w[(T + 9) % 16]), add(low, high));
                            }
                            let sum_e = parity(
                                rotate_left::<26, 6>(e),
                                rotate_left::<21, 11>(e),
                                rotate_left::<7, 25>(e),
                            );
                            let sum_a = parity(
                                rotate_left::<30, 2>(a),
                                rotate_left::<19, 13>(a),
                                rotate_left::<10, 22>(a),
                            );
                            let fixed = add(add(h, splat(SHA256_CONSTANTS.0[$from + T])), w[T]);
                            let first = add(add(fixed, choose(e, f, g)), sum_e);
                            let second = add(sum_a, majority(a, b, c));
                            (a, b, c, d, e, f, g, h) =
                                (add(first, second), a, b, c, add(d, first), e, f, g);
                        });
                    };
                }
                rounds!(0);
                rounds!(16);
                rounds!(32);
                rounds!(48);
                for (sum, word) in state.iter_mut().zip([a, b, c, d, e, f, g, h]) {
                    *sum = add(*sum, word);
                }
            }
            store_states(state, states);
        }
    };
}
