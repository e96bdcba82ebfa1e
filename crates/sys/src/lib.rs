//! The system calls that Teem makes itself: the only crate, beside the digests, with unsafe code.
//!
//! | module | what |
//! |---|---|
//! | [`datagrams`] | many UDP packets with one call, answered from the address that was asked |
//! | [`prefetch`] | memory that will be read soon |
//! | [`tcp`] | connections that are over soon |
//! | [`trains`] | UDP packets of one length to or from one address, many with one call |
//! | `volley` | many UDP packets with one call, from many addresses: for the load tester, Linux only |

#[cfg(target_os = "linux")]
mod address;
pub mod datagrams;
#[cfg(target_os = "linux")]
mod option;
mod prefetch;
pub mod tcp;
pub mod trains;
#[cfg(target_os = "linux")]
pub mod volley;

pub use prefetch::prefetch;
