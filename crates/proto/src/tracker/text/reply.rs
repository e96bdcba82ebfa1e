//! The answer to `list_seeder`.

use std::net::SocketAddr;

use super::limits::REPLY_LEN_MAX;
use super::list::write_text;

/// A seeder in an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Listed<'a> {
    /// Its name.
    pub name: &'a str,
    /// Where it serves chunks.
    pub addr: SocketAddr,
    /// The port where the tracker hands out chunk lists.
    pub lists_port: u16,
    /// Bytes in its chunk list.
    pub size: u64,
}

/// Writes `[('alice', '1.2.3.4', 7000, 5556, 1340), …]`, a literal that Python's `ast.literal_eval`
/// reads: ASCII only, at most [`REPLY_LEN_MAX`] bytes.
#[derive(Debug)]
pub struct SeederList<'a> {
    out: &'a mut Vec<u8>,
    start: usize,
}

impl<'a> SeederList<'a> {
    /// Begins an answer at the end of `out`.
    pub fn new(out: &'a mut Vec<u8>) -> Self {
        let start = out.len();
        out.push(b'[');
        Self { out, start }
    }

    /// Adds a seeder; false when it does not fit any more, and nothing was written.
    pub fn push(&mut self, seeder: &Listed<'_>) -> bool {
        let before = self.out.len();
        if before > self.start + 1 {
            self.out.extend_from_slice(b", ");
        }
        self.out.push(b'(');
        write_text(self.out, seeder.name);
        let (ip, port) = (seeder.addr.ip(), seeder.addr.port());
        let rest = format!(", '{ip}', {port}, {}, {})", seeder.lists_port, seeder.size);
        self.out.extend_from_slice(rest.as_bytes());
        let fits = self.out.len() - self.start < REPLY_LEN_MAX;
        if !fits {
            self.out.truncate(before);
        }
        fits
    }

    /// Ends the answer.
    pub fn finish(self) {
        self.out.push(b']');
    }
}
