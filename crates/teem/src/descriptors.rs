//! File descriptors: as many as the system lets us have.
//!
//! Each connection and each open file needs one. Systems give programs 1,024 to begin with, for the sake
//! of those that still use `select`, and allow many more to who asks.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Asks for as many as are allowed. When that fails there are fewer, and connections are turned away.
pub(crate) fn raise() {
    let limit = getrlimit(Resource::Nofile);
    let wanted = limit.maximum.map_or(WANTED, |most| most.min(WANTED));
    if limit.current.is_some_and(|current| current < wanted) {
        let _ = setrlimit(Resource::Nofile, Rlimit { current: Some(wanted), ..limit });
    }
}

/// Two protocols with all their connections, peers and files fit three times.
const WANTED: u64 = 1 << 16;
