//! Bodies of the fuzz targets. `fuzz/run TARGET SECONDS` runs one; `crates/proto/tests/corpus.rs`
//! replays the committed corpora through the same bodies with every test run.
#![forbid(unsafe_code)]

pub mod targets;
