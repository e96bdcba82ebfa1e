//! Prints how fast each back end hashes on this machine, by the number of messages at hand.
//!
//! `cargo run --release -p teem-digest --example speed`. The fewest messages for which a wide kernel
//! is used (`lanes_min` in `many/backend.rs`) come from this table.
#![allow(clippy::print_stdout)]

use std::hint::black_box;
use std::time::Instant;

use digest::{Backend, Part};

const COUNTS: [usize; 13] = [1, 2, 3, 4, 5, 6, 7, 8, 10, 12, 14, 16, 32];
const BLOCK: usize = 16 * 1024;

fn main() {
    let bytes: Vec<u8> = (0..32 * BLOCK).map(|i| ((i * 37) >> 4) as u8).collect();
    let blocks: Vec<&[u8]> = bytes.chunks(BLOCK).collect();
    let parts: Vec<[Part<'_>; 1]> = blocks.iter().map(|block| [Part::Bytes(block)]).collect();
    let pieces: Vec<&[Part<'_>]> = parts.iter().map(<[_; 1]>::as_slice).collect();
    let nodes = bytes.as_chunks().0;

    row("GB/s by messages of 16 KiB", COUNTS.map(|count| count.to_string()));
    for backend in Backend::available() {
        let name = backend.name();
        row(
            &format!("SHA-1, {name}"),
            COUNTS.map(|count| {
                let mut out = vec![[0; 20]; count];
                rate(count * BLOCK, || backend.sha1_many(black_box(&pieces[..count]), &mut out))
            }),
        );
        row(
            &format!("SHA-256, {name}"),
            COUNTS.map(|count| {
                let mut out = vec![[0; 32]; count];
                rate(count * BLOCK, || backend.sha256_many(black_box(&blocks[..count]), &mut out))
            }),
        );
        row(
            &format!("SHA-256 pairs, {name}"),
            COUNTS.map(|count| {
                let mut out = vec![[0; 32]; count];
                let nodes = &nodes[..2 * count];
                rate(count * 64, || backend.sha256_pairs(black_box(nodes), &mut out))
            }),
        );
    }
}

fn row(name: &str, cells: [String; COUNTS.len()]) {
    print!("{name:<36}");
    for cell in cells {
        print!("{cell:>6}");
    }
    println!();
}

/// GB/s of the best of several runs of some milliseconds.
fn rate(bytes: usize, mut hash: impl FnMut()) -> String {
    let times = (16 << 20) / bytes;
    let best = (0..5)
        .map(|_| {
            let start = Instant::now();
            for _ in 0..times {
                hash();
            }
            start.elapsed()
        })
        .min()
        .unwrap_or_default();
    format!("{:.2}", (times * bytes) as f64 / best.as_secs_f64() / 1e9)
}
