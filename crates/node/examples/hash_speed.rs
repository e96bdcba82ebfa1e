//! Makes a torrent in memory, prints how long that took and the info hashes.
//!
//! `cargo run --release -p teem-node --example hash_speed -- PATH [v1|v2|hybrid] [PIECE_LENGTH]`
#![allow(clippy::print_stdout)]

use std::path::Path;
use std::time::Instant;

use node::hashing::Control;
use node::hashing::create::{Recipe, create};
use proto::metainfo::{Details, Format};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let path = args.first().ok_or("PATH is missing")?;
    let format = match args.get(1).map(String::as_str) {
        None | Some("hybrid") => Format::Hybrid,
        Some("v1") => Format::V1,
        Some("v2") => Format::V2,
        Some(other) => return Err(format!("no such format: {other}").into()),
    };
    let piece_len = args.get(2).map(|len| len.parse()).transpose()?;
    let name = Path::new(path).file_name().and_then(|name| name.to_str()).unwrap_or("speed");
    let recipe = Recipe { name: name.into(), format, piece_len, details: Details::default() };
    let control = Control::default();
    let start = Instant::now();
    let created = create(Path::new(path), recipe, &control)?;
    let seconds = start.elapsed().as_secs_f64();
    let cpu = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    let cpu = cpu.tv_sec as f64 + cpu.tv_nsec as f64 / 1e9;
    let info = &created.metainfo.info;
    println!(
        "{:?} {seconds:.3} s, CPU {cpu:.3} s, {:.2} GB/s, {} pieces of {}",
        format,
        control.hashed() as f64 / seconds / 1e9,
        info.geometry().piece_count(),
        info.piece_len()
    );
    info.hashes().v1().inspect(|hash| println!("v1 {hash}"));
    info.hashes().v2().inspect(|hash| println!("v2 {hash}"));
    Ok(())
}
