//! (crate docs follow)
pub mod hashing;
