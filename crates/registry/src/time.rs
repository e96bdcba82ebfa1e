//! Coarse time and how long things last.

use crate::limits::INTAKE_LIFE_MAX_SECS;

/// Whole seconds since the tracker started. The servers read a clock now and then; the registry
/// never does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Secs(pub u32);

impl Secs {
    /// This time and `secs` more.
    #[must_use]
    pub const fn plus(self, secs: u32) -> Self {
        Self(self.0.saturating_add(secs))
    }

    /// Seconds from `earlier` to this; 0 if it is later.
    #[must_use]
    pub const fn since(self, earlier: Self) -> u32 {
        self.0.saturating_sub(earlier.0)
    }
}

/// How often peers are asked to announce.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Intervals {
    /// In small and in young swarms, in seconds: a new peer is known to all within it.
    pub short_secs: u32,
    /// In large swarms, in seconds: there, everybody knows enough peers already.
    pub long_secs: u32,
}

impl Default for Intervals {
    fn default() -> Self {
        Self { short_secs: 60, long_secs: 1_800 }
    }
}

/// Up to so many peers a swarm is small.
const SMALL_PEERS: u32 = 50;
/// From so many peers on a swarm is large, however young.
const LARGE_PEERS: u32 = 2_000;
/// So long a swarm is young, in seconds.
const YOUNG_SECS: u32 = 600;

impl Intervals {
    /// What to tell a peer of a swarm with that many peers and that age. Grows with the size, and is
    /// spread by an eighth so that peers that came together do not stay together.
    #[must_use]
    pub fn interval(&self, peers: u32, age_secs: u32, chance: u64) -> u32 {
        let long = self.long_secs.max(self.short_secs);
        let young = age_secs < YOUNG_SECS && peers < LARGE_PEERS;
        if young || peers <= SMALL_PEERS {
            return self.short_secs;
        }
        let share = u64::from(peers.min(LARGE_PEERS) - SMALL_PEERS);
        let range = u64::from(long - self.short_secs);
        let grown = self.short_secs + (range * share / u64::from(LARGE_PEERS - SMALL_PEERS)) as u32;
        let spread = grown / 8;
        grown - (chance % u64::from(spread + 1)) as u32
    }

    /// How long a peer is known without another announce: two and a half intervals, and never less
    /// than its client needs to announce again.
    #[must_use]
    pub fn life(interval_secs: u32, slowest_secs: u32) -> u32 {
        let basis = u64::from(interval_secs.max(slowest_secs));
        (basis * 5 / 2).min(u64::from(INTAKE_LIFE_MAX_SECS)) as u32
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn interval_grows_with_the_swarm() {
        let intervals = Intervals::default();
        assert_eq!(intervals.interval(3, 10_000, 7), 60);
        assert_eq!(intervals.interval(1_000, 10, 7), 60, "young");
        assert_eq!(intervals.interval(1_000_000, 10_000, 0), 1_800);
        assert!(intervals.interval(1_000_000, 10_000, 225) >= 1_575, "spread by an eighth at most");
        let middle = intervals.interval(1_000, 10_000, 0);
        assert!((600..1_200).contains(&middle), "{middle}");
    }

    #[test]
    fn life_is_two_and_a_half_intervals() {
        assert_eq!(Intervals::life(60, 0), 150);
        assert_eq!(Intervals::life(1_800, 0), 4_500);
        assert_eq!(Intervals::life(60, 300), 750, "a client that never asks more often");
        assert_eq!(Intervals::life(u32::MAX, 0), INTAKE_LIFE_MAX_SECS);
    }
}
