//! Bodies of the fuzz targets. `fuzz/run TARGET SECONDS` runs one; `crates/proto/tests/corpus.rs`
//! replays the committed corpora through the same bodies with every test run, and
//! `crates/registry/tests/corpus.rs` that of `registry_ops`.
#![forbid(unsafe_code)]

pub mod registry_ops;
pub mod targets;
