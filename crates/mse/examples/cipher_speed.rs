//! How fast is the cipher? Prints MB/s on one core.
//!
//! `cargo run --release -p teem-mse --example cipher_speed`

#![expect(clippy::print_stdout, reason = "printing is its purpose")]
#![expect(clippy::disallowed_methods, reason = "it measures time")]

use std::time::Instant;

use mse::Cipher;

fn main() {
    let mut cipher = Cipher::new(&[7; 20]);
    let mut bytes = vec![0; 1 << 20];
    for _ in 0..5 {
        let start = Instant::now();
        (0..64).for_each(|_| cipher.apply(&mut bytes));
        println!("{:.0} MB/s", 64.0 * bytes.len() as f64 / 1e6 / start.elapsed().as_secs_f64());
    }
}
