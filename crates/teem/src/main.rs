//! The `teem` program: see `teem --help`.
#![forbid(unsafe_code)]

mod cli;
mod client;
mod credentials;
mod daemon;
mod daemon_api;
mod descriptors;
mod downloading;
mod exit;
mod fetching;
mod following;
mod hashing;
mod hosting;
mod known;
mod lan;
mod listen;
mod local_server;
mod locate;
mod magnets;
mod mapping;
mod near;
mod openapi;
mod output;
mod own_hosts;
mod peer_ports;
mod progress;
mod reloader;
mod schedule;
mod seed_limits;
mod seeding;
mod signal;
mod slots;
mod state;
mod streaming;
mod table;
mod torrent_file;
mod tracker_api;
mod units;
mod watching;

fn main() -> std::process::ExitCode {
    descriptors::raise();
    cli::run()
}
