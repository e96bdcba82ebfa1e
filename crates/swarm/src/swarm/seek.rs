//! When strangers are asked for peers (BEP 5), and told that we are one.
//!
//! Only an [`OpenHash`] can be asked about, so a private torrent (BEP 27) never is. A magnet link's
//! torrent may turn out to be one: until its info dictionary is known it is looked for, not announced.

use std::time::{Duration, Instant};

use proto::InfoHash;
use proto::metainfo::OpenHash;

/// One hash's searches.
#[derive(Debug)]
struct Line {
    hash: OpenHash,
    next_at: Instant,
    in_flight: bool,
    /// Searches in a row after which we still had nobody.
    lonely: u32,
}

/// What the swarm has, as far as it says how soon to ask again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Need {
    /// Something is missing and there is nobody to have it from, or nobody knows of us.
    Lonely,
    /// Something is missing.
    Peers,
    /// Others should find us.
    Nothing,
}

/// All searches of one torrent.
#[derive(Debug, Default)]
pub(crate) struct Seeker {
    lines: Vec<Line>,
    enabled: bool,
}

impl Seeker {
    /// Asks about these from now on; with `enabled` off about nothing, ever.
    pub(crate) fn new(now: Instant, enabled: bool, hashes: Vec<OpenHash>) -> Self {
        let mut seeker = Self { lines: Vec::new(), enabled };
        seeker.set(now, hashes);
        seeker
    }

    /// What may be asked about is known better.
    pub(crate) fn set(&mut self, now: Instant, hashes: Vec<OpenHash>) {
        if self.enabled {
            let line = |hash| Line { hash, next_at: now, in_flight: false, lonely: 0 };
            self.lines = hashes.into_iter().map(line).collect();
        }
    }

    /// Nothing is asked any more.
    pub(crate) fn stop(&mut self) {
        (self.lines, self.enabled) = (Vec::new(), false);
    }

    pub(crate) fn next_at(&self) -> Option<Instant> {
        self.lines.iter().filter(|line| !line.in_flight).map(|line| line.next_at).min()
    }

    /// The searches that are due.
    pub(crate) fn due(&mut self, now: Instant) -> Vec<OpenHash> {
        let due = self.lines.iter_mut().filter(|line| !line.in_flight && line.next_at <= now);
        due.map(|line| {
            line.in_flight = true;
            line.hash
        })
        .collect()
    }

    /// A search has ended.
    pub(crate) fn on_ended(&mut self, now: Instant, info_hash: InfoHash, need: Need) {
        let fits = |line: &&mut Line| line.hash.info_hash() == info_hash;
        let Some(line) = self.lines.iter_mut().find(fits) else { return };
        line.in_flight = false;
        let pause = match need {
            Need::Lonely => {
                line.lonely += 1;
                (PAUSE_FIRST * (1 << (line.lonely - 1).min(9))).min(PAUSE)
            }
            Need::Peers => PAUSE,
            Need::Nothing => REFRESH,
        };
        if need != Need::Lonely {
            line.lonely = 0;
        }
        line.next_at = now + pause;
    }

    /// The last peer is gone, or all came in: asked and told again soon.
    pub(crate) fn hurry(&mut self, now: Instant) {
        for line in &mut self.lines {
            line.next_at = line.next_at.min(now + PAUSE_FIRST);
        }
    }
}

/// After a search that brought nobody, as at the start when no node is known yet; then twice as long …
const PAUSE_FIRST: Duration = Duration::from_secs(1);
/// … up to this, which is also the pace while peers are wanted and there are some.
const PAUSE: Duration = Duration::from_secs(5 * 60);
/// Nodes forget an announce after half an hour, some after a quarter.
const REFRESH: Duration = Duration::from_secs(14 * 60);

#[cfg(test)]
mod tests {
    use proto::{InfoHashV1, InfoHashes};

    use super::*;

    fn hashes() -> Vec<OpenHash> {
        OpenHash::of_unknown(InfoHashes::new(Some(InfoHashV1([1; 20])), None).expect("a hash"))
    }

    #[test]
    fn it_asks_at_once_and_then_ever_more_rarely_while_it_is_alone() {
        let mut now = crate::test_now();
        let mut seeker = Seeker::new(now, true, hashes());
        let mut waits = Vec::new();
        for _ in 0..10 {
            let due = seeker.due(now);
            assert_eq!(due, hashes());
            assert!(seeker.due(now).is_empty() && seeker.next_at().is_none(), "one at a time");
            seeker.on_ended(now, due[0].info_hash(), Need::Lonely);
            let next = seeker.next_at().expect("a next time");
            waits.push((next - now).as_secs());
            now = next;
        }
        assert_eq!(waits, [1, 2, 4, 8, 16, 32, 64, 128, 256, 300]);
        let due = seeker.due(now);
        seeker.on_ended(now, due[0].info_hash(), Need::Nothing);
        assert_eq!(seeker.next_at(), Some(now + REFRESH));
        seeker.hurry(now);
        assert_eq!(seeker.next_at(), Some(now + PAUSE_FIRST));
    }

    #[test]
    fn what_is_switched_off_or_private_is_never_asked_about() {
        let now = crate::test_now();
        let mut off = Seeker::new(now, false, hashes());
        off.set(now, hashes());
        assert!(off.due(now).is_empty() && off.next_at().is_none());
        let mut seeker = Seeker::new(now, true, hashes());
        seeker.set(now, Vec::new());
        assert!(seeker.due(now).is_empty() && seeker.next_at().is_none());
        let mut stopped = Seeker::new(now, true, hashes());
        stopped.stop();
        stopped.set(now, hashes());
        assert!(stopped.due(now).is_empty());
    }
}
