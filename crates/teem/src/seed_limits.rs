//! When a torrent that is there has been seeded enough, in all runs together.

use std::time::{Duration, Instant};

use node::Totals;

use crate::units::{parse_duration, parse_ratio};

/// The flags; without them a torrent is seeded for ever. The first limit that is met counts.
#[derive(Debug, Clone, Copy, Default, clap::Args)]
pub(crate) struct SeedLimits {
    /// When all is there, seed for this long (90s, 10m, 2h, 1d) and end
    #[arg(long, env = "TEEM_SEED_FOR", value_name = "TIME", value_parser = parse_duration)]
    seed_for: Option<Duration>,
    /// When all is there, seed until this many times its size is sent and end
    #[arg(long, env = "TEEM_SEED_RATIO", value_name = "R", value_parser = parse_ratio)]
    seed_ratio: Option<f64>,
}

impl SeedLimits {
    /// There is a limit.
    pub(crate) const fn are_set(self) -> bool {
        self.seed_for.is_some() || self.seed_ratio.is_some()
    }

    /// Enough for a torrent of which so many bytes are wanted.
    pub(crate) fn are_met(self, totals: &Totals, wanted_len: u64) -> bool {
        let enough = |ratio: f64| totals.uploaded as f64 >= ratio * wanted_len as f64;
        self.seed_for.is_some_and(|time| totals.seeded(Instant::now()) >= time)
            || self.seed_ratio.is_some_and(enough)
    }

    /// When a torrent that is being seeded will have been seeded for long enough.
    pub(crate) fn end(self, totals: &Totals) -> Option<Instant> {
        totals.seeded_at(self.seed_for?)
    }
}
