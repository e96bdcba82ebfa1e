//! What came out of a simulation.

use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

use swarm::Notice;

/// One peer at the end.
#[derive(Debug, Clone)]
pub struct NodeReport {
    /// What it was.
    pub kind: &'static str,
    /// When it had everything; `None` if it never had, or had from the start.
    pub finished_at: Option<Duration>,
    /// It has everything.
    pub complete: bool,
    /// Payload bytes sent.
    pub uploaded: u64,
    /// Payload bytes received.
    pub downloaded: u64,
    /// Payload bytes received and thrown away.
    pub wasted: u64,
    /// What its swarm had to say.
    pub notices: Vec<Notice>,
    /// Its address.
    pub addr: SocketAddr,
    /// Connections that it has now.
    pub connections: usize,
    /// Pieces that its full disk refused.
    pub refused_by_disk: u32,
}

/// A whole simulation at the end.
#[derive(Debug, Clone)]
pub struct Report {
    /// Virtual time.
    pub ended_at: Duration,
    /// Bytes of the content.
    pub content_len: u64,
    /// The peers.
    pub nodes: Vec<NodeReport>,
    /// Bytes that the first peer had sent when every piece existed outside it.
    pub seeder_bytes_at_one_copy: Option<u64>,
    /// When that was.
    pub one_copy_at: Option<Duration>,
    /// Connections made in all.
    pub connections: u64,
    /// Announces in all.
    pub announces: u64,
    /// Events and actions in all.
    pub steps: u64,
    /// SHA-256 over all of them.
    pub trace: [u8; 32],
}

impl Report {
    /// Bytes sent by the first peer for one copy outside it, in copies.
    #[must_use]
    pub fn copies_by_seeder(&self) -> Option<f64> {
        Some(self.seeder_bytes_at_one_copy? as f64 / self.content_len as f64)
    }

    /// When the last one had everything.
    #[must_use]
    pub fn last_finish(&self) -> Option<Duration> {
        self.nodes.iter().filter_map(|node| node.finished_at).max()
    }

    /// Bytes thrown away by honest peers.
    #[must_use]
    pub fn wasted(&self) -> u64 {
        self.nodes.iter().map(|node| node.wasted).sum()
    }

    /// Pieces found to be wrong, by all peers together.
    #[must_use]
    pub fn bad_pieces(&self) -> usize {
        self.count(|notice| matches!(notice, Notice::BadPiece(_)))
    }

    /// Notices of a kind, of all peers together.
    pub fn count(&self, is: impl Fn(&Notice) -> bool) -> usize {
        self.nodes.iter().flat_map(|node| &node.notices).filter(|notice| is(notice)).count()
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = |at: Option<Duration>| {
            at.map_or_else(|| "-".into(), |at| format!("{:.2}", at.as_secs_f64()))
        };
        writeln!(
            f,
            "{:>4} {:<10} {:>9} {:>11} {:>11} {:>9}",
            "peer", "kind", "finished", "down", "up", "wasted"
        )?;
        for (number, node) in self.nodes.iter().enumerate() {
            writeln!(
                f,
                "{number:>4} {:<10} {:>9} {:>11} {:>11} {:>9}",
                node.kind,
                seconds(node.finished_at),
                node.downloaded,
                node.uploaded,
                node.wasted
            )?;
        }
        let copies =
            self.copies_by_seeder().map_or_else(|| "-".into(), |copies| format!("{copies:.2}"));
        writeln!(
            f,
            "content {} B; one copy out at {} s for {copies} copies; last finish {} s; wasted {} B; \
             bad pieces {}; {} connections, {} announces",
            self.content_len,
            seconds(self.one_copy_at),
            seconds(self.last_finish()),
            self.wasted(),
            self.bad_pieces(),
            self.connections,
            self.announces
        )?;
        write!(f, "{} steps, trace ", self.steps)?;
        self.trace.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}
