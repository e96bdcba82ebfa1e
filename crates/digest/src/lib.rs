//! SHA-1 and SHA-256 (FIPS 180-4): one message, or many side by side in the lanes of wide registers.
//!
//! Content is checked in pieces and 16 KiB blocks, of which many are at hand at once. Sixteen of them
//! in AVX-512 registers take less than half the time of one after another with the SHA instructions.
//! What the processor can do is asked once, at run time.

mod many;
mod stream;

pub use many::{Backend, Part, sha1_many, sha256_many, sha256_pairs};
pub use stream::{Sha1, Sha256, sha1, sha256};
