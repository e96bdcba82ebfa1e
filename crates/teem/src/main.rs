//! The `teem` program.
fn main() {}
