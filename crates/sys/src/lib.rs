//! The system calls that Teem makes itself: the only crate, beside the digests, with unsafe code.
//!
//! | module | what |
//! |---|---|
//! | [`datagrams`] | many UDP packets with one call, answered from the address that was asked |

pub mod datagrams;
