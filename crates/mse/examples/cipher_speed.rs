//! How fast is the cipher? Prints MB/s on one core, beside a loop over bytes that does the same.
//!
//! `cargo run --release -p teem-mse --example cipher_speed`

#![expect(clippy::print_stdout, reason = "printing is its purpose")]
#![expect(clippy::disallowed_methods, reason = "it measures time")]

use std::hint::black_box;
use std::time::Instant;

use mse::Cipher;

/// Each pair in the same moment, so that what else the machine does hits both.
const ROUNDS: usize = 5;
const MIB: usize = 1 << 20;

fn main() {
    let mut cipher = Cipher::new(&[7; 20]);
    let mut plain = Plain::new(&[7; 20]);
    println!("  ours  plain  (MB/s)");
    for _ in 0..ROUNDS {
        let ours = speed(|bytes| cipher.apply(bytes));
        let plain = speed(|bytes| plain.apply(bytes));
        println!("{ours:>6.0} {plain:>6.0}");
    }
}

/// Bytes a microsecond.
fn speed(mut apply: impl FnMut(&mut [u8])) -> f64 {
    let mut bytes = vec![0; MIB];
    let start = Instant::now();
    (0..64).for_each(|_| apply(black_box(&mut bytes)));
    64.0 * MIB as f64 / 1e6 / start.elapsed().as_secs_f64()
}

/// RC4 as its description has it.
struct Plain {
    state: [u8; 256],
    at: u8,
    with: u8,
}

impl Plain {
    fn new(key: &[u8]) -> Self {
        let mut state = std::array::from_fn(|value| value as u8);
        let mut with = 0_u8;
        for at in 0..state.len() {
            with = with.wrapping_add(state[at]).wrapping_add(key[at % key.len()]);
            state.swap(at, usize::from(with));
        }
        Self { state, at: 0, with: 0 }
    }

    fn apply(&mut self, bytes: &mut [u8]) {
        for byte in bytes {
            self.at = self.at.wrapping_add(1);
            let first = self.state[usize::from(self.at)];
            self.with = self.with.wrapping_add(first);
            let second = self.state[usize::from(self.with)];
            self.state.swap(usize::from(self.at), usize::from(self.with));
            *byte ^= self.state[usize::from(first.wrapping_add(second))];
        }
    }
}
