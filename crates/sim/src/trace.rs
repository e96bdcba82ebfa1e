//! A fingerprint of everything that happened, in order.

use std::fmt::{Debug, Write as _};
use std::time::Duration;

use digest::Sha256;

/// SHA-256 over every event and action with its time and place.
#[derive(Debug)]
pub(crate) struct Trace {
    hash: Sha256,
    line: String,
    lines: u64,
    /// Lines are printed too.
    loud: bool,
}

impl Trace {
    pub(crate) fn new(loud: bool) -> Self {
        Self { hash: Sha256::new(), line: String::new(), lines: 0, loud }
    }

    #[expect(clippy::print_stderr, reason = "a trace that was asked for")]
    pub(crate) fn note(&mut self, at: Duration, node: usize, what: &str, detail: &dyn Debug) {
        self.line.clear();
        // Writing to a string does not fail.
        let _ = writeln!(self.line, "{:.6} {node} {what} {detail:?}", at.as_secs_f64());
        self.hash.update(self.line.as_bytes());
        self.lines += 1;
        if self.loud {
            eprint!("{}", self.line);
        }
    }

    /// Bytes that a line cannot show.
    pub(crate) fn bytes(&mut self, bytes: &[u8]) {
        self.hash.update(bytes);
    }

    pub(crate) const fn lines(&self) -> u64 {
        self.lines
    }

    pub(crate) fn finish(self) -> [u8; 32] {
        self.hash.finish()
    }
}
