//! Which tracker is told what, and when (BEP 3, 12, 15, 31).
//!
//! Tiers in order; within a tier, in an order drawn once, the one that answered last first. The first
//! that answers is kept. Each info hash of a hybrid is announced for itself (BEP 52).

use std::net::IpAddr;
use std::time::{Duration, Instant};

use proto::InfoHash;

use crate::AnnounceEvent;
use chance::Chance;

/// A tracker's answer, as the swarm needs it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TrackerAnswer {
    /// Seconds to wait before the next regular announce.
    pub interval: Duration,
    /// Never announce sooner than that.
    pub min_interval: Option<Duration>,
    /// Complete peers, when the tracker tells.
    pub seeders: Option<u32>,
    /// Incomplete peers, when the tracker tells.
    pub leechers: Option<u32>,
    /// Where it sees us (BEP 24).
    pub our_ip: Option<IpAddr>,
}

/// One tracker.
#[derive(Debug, Clone)]
pub(crate) struct Tracker {
    pub(crate) url: String,
    pub(crate) working: bool,
    pub(crate) error: Option<String>,
}

/// One info hash's announces.
#[derive(Debug)]
struct Line {
    info_hash: InfoHash,
    next_at: Instant,
    in_flight: bool,
    /// Where in the list of trackers the current try is.
    at: usize,
    started: bool,
    completed_due: bool,
    /// The tracker that knows us.
    registered: Option<String>,
    failed_rounds: u32,
    lonely: u32,
}

/// All announces of one torrent.
#[derive(Debug)]
pub(crate) struct Announcer {
    /// In the order in which they are tried, tier after tier.
    trackers: Vec<Tracker>,
    tiers: Vec<usize>,
    lines: Vec<Line>,
    chance: Chance,
    stopping: bool,
    pub(crate) counts: Option<(u32, u32)>,
}

impl Announcer {
    pub(crate) fn new(
        now: Instant,
        tiers: &[Vec<String>],
        hashes: impl Iterator<Item = InfoHash>,
        chance: &mut Chance,
    ) -> Self {
        let mut trackers: Vec<Tracker> = Vec::new();
        let mut sizes = Vec::new();
        for tier in tiers {
            let mut urls: Vec<_> = tier.clone();
            chance.shuffle(&mut urls);
            let before = trackers.len();
            for url in urls {
                if trackers.len() < TRACKERS_MAX && trackers.iter().all(|known| known.url != url) {
                    trackers.push(Tracker { url, working: false, error: None });
                }
            }
            sizes.push(trackers.len() - before);
        }
        let mut announcer = Self {
            trackers,
            tiers: sizes,
            lines: Vec::new(),
            chance: Chance::new(chance.number()),
            stopping: false,
            counts: None,
        };
        hashes.for_each(|hash| announcer.add_hash(now, hash));
        announcer
    }

    /// Announces under one more hash: a magnet link's metadata may bring it.
    pub(crate) fn add_hash(&mut self, now: Instant, info_hash: InfoHash) {
        if self.lines.iter().any(|line| line.info_hash == info_hash) {
            return;
        }
        self.lines.push(Line {
            info_hash,
            next_at: now,
            in_flight: false,
            at: 0,
            started: false,
            completed_due: false,
            registered: None,
            failed_rounds: 0,
            lonely: 0,
        });
    }

    pub(crate) fn trackers(&self) -> &[Tracker] {
        &self.trackers
    }

    /// Some tracker has acknowledged us.
    pub(crate) fn is_registered(&self) -> bool {
        self.lines.iter().any(|line| line.registered.is_some())
    }

    pub(crate) fn next_at(&self) -> Option<Instant> {
        if self.trackers.is_empty() || self.stopping {
            return None;
        }
        self.lines.iter().filter(|line| !line.in_flight).map(|line| line.next_at).min()
    }

    /// The announces that are due: tracker, hash, event.
    pub(crate) fn due(&mut self, now: Instant) -> Vec<(String, InfoHash, AnnounceEvent)> {
        if self.stopping {
            return self.goodbyes();
        }
        if self.trackers.is_empty() {
            return Vec::new();
        }
        let trackers = &self.trackers;
        let due = self.lines.iter_mut().filter(|line| !line.in_flight && line.next_at <= now);
        due.map(|line| {
            line.in_flight = true;
            let url = trackers[line.at % trackers.len()].url.clone();
            let event = match (line.started, line.completed_due) {
                (false, _) => AnnounceEvent::Started,
                (true, true) => AnnounceEvent::Completed,
                (true, false) => AnnounceEvent::None,
            };
            (url, line.info_hash, event)
        })
        .collect()
    }

    /// A tracker answered.
    pub(crate) fn on_answer(
        &mut self,
        now: Instant,
        url: &str,
        info_hash: InfoHash,
        event: AnnounceEvent,
        answer: &TrackerAnswer,
        lonely: bool,
    ) {
        if let (Some(seeders), Some(leechers)) = (answer.seeders, answer.leechers) {
            self.counts = Some((seeders, leechers));
        }
        self.promote(url);
        let Some(line) = self.lines.iter_mut().find(|line| line.info_hash == info_hash) else {
            return;
        };
        line.in_flight = false;
        let first = !line.started;
        (line.at, line.failed_rounds, line.started) = (0, 0, true);
        line.registered = (event != AnnounceEvent::Stopped).then(|| url.to_owned());
        if event == AnnounceEvent::Completed {
            line.completed_due = false;
        }
        // Nobody to fetch from: ask again after 1, 2, 4, 8 s … up to what the tracker wants.
        let regular = answer.interval.clamp(INTERVAL_MIN, INTERVAL_MAX);
        let wait = if lonely {
            let soon = Duration::from_secs(1 << line.lonely.min(6));
            line.lonely += 1;
            soon.min(regular).max(answer.min_interval.unwrap_or_default().min(INTERVAL_MIN))
        } else {
            line.lonely = 0;
            // Torrents that start together are not to come back together, ever again.
            let drawn = self.chance.index(SPREAD) as f64 / SPREAD as f64;
            let spread = regular.mul_f64(drawn * if first { FIRST_SPREAD } else { LATER_SPREAD });
            match answer.min_interval {
                Some(least) => (regular - spread).max(least.min(regular)),
                // Who is too early for such a tracker is not told so: some count it, and ban for it.
                None => regular + spread / 4,
            }
        };
        line.next_at = if line.completed_due { now } else { now + wait };
    }

    /// A tracker failed: the next one of the list is tried, and after all of them a pause.
    pub(crate) fn on_failure(
        &mut self,
        now: Instant,
        url: &str,
        info_hash: InfoHash,
        error: String,
    ) {
        if let Some(tracker) = self.trackers.iter_mut().find(|tracker| tracker.url == url) {
            tracker.working = false;
            tracker.error = Some(error);
        }
        let count = self.trackers.len();
        let Some(line) = self.lines.iter_mut().find(|line| line.info_hash == info_hash) else {
            return;
        };
        line.in_flight = false;
        line.at += 1;
        line.next_at = now;
        if line.at >= count {
            line.at = 0;
            line.next_at = now + Duration::from_secs(1 << line.failed_rounds.min(8));
            line.failed_rounds += 1;
        }
    }

    /// All content came in: told at once.
    pub(crate) fn completed(&mut self, now: Instant) {
        for line in &mut self.lines {
            // Who is told that we start hears with it that we are complete, but for what is on its way.
            if line.started || line.in_flight {
                line.completed_due = true;
                line.next_at = now;
            }
        }
    }

    /// Wants peers now, not at the next interval: the last one is gone.
    pub(crate) fn hurry(&mut self, now: Instant) {
        for line in &mut self.lines {
            line.next_at = line.next_at.min(now + Duration::from_secs(1));
        }
    }

    /// We leave: from now on nothing is due but goodbyes.
    pub(crate) const fn stop(&mut self) {
        self.stopping = true;
    }

    /// To the trackers that know us. One that is being told something else hears that first: what arrives
    /// late would bring us back.
    fn goodbyes(&mut self) -> Vec<(String, InfoHash, AnnounceEvent)> {
        let idle = self.lines.iter_mut().filter(|line| !line.in_flight);
        let told = idle.filter_map(|line| {
            Some((line.registered.take()?, line.info_hash, AnnounceEvent::Stopped))
        });
        told.collect()
    }

    /// BEP 12: the tracker that answered moves to the front of its tier.
    fn promote(&mut self, url: &str) {
        let Some(place) = self.trackers.iter().position(|tracker| tracker.url == url) else {
            return;
        };
        let tracker = &mut self.trackers[place];
        (tracker.working, tracker.error) = (true, None);
        let mut start = 0;
        for size in &self.tiers {
            if place < start + size {
                self.trackers[start..=place].rotate_right(1);
                return;
            }
            start += size;
        }
    }
}

/// By so much of an interval an announce is early, at most, where the tracker names how early it may be, and
/// by a quarter of that late where it does not: the first time, and then.
const FIRST_SPREAD: f64 = 0.5;
const LATER_SPREAD: f64 = 0.1;
/// Moments in that time that chance picks from.
const SPREAD: usize = 1000;
/// More than any sane torrent names.
const TRACKERS_MAX: usize = 64;
/// Whatever a tracker says, it is not asked more often than this without need …
const INTERVAL_MIN: Duration = Duration::from_secs(30);
/// … nor forgotten for longer than this.
const INTERVAL_MAX: Duration = Duration::from_secs(3600);

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    const HASH: InfoHash = InfoHash([7; 20]);

    fn announcer(now: Instant, tiers: &[&[&str]]) -> Announcer {
        let tiers: Vec<Vec<String>> =
            tiers.iter().map(|tier| tier.iter().map(ToString::to_string).collect()).collect();
        Announcer::new(now, &tiers, [HASH].into_iter(), &mut Chance::new(1))
    }

    fn answer(seconds: u64) -> TrackerAnswer {
        let interval = Duration::from_secs(seconds);
        TrackerAnswer {
            interval,
            min_interval: None,
            seeders: Some(1),
            leechers: Some(2),
            our_ip: None,
        }
    }

    #[test]
    fn tiers_are_tried_in_order_and_the_first_that_answers_is_kept() {
        let now = crate::test_now();
        let mut announcer = announcer(now, &[&["a"], &["b"]]);
        assert_eq!(announcer.due(now), [("a".into(), HASH, AnnounceEvent::Started)]);
        assert!(announcer.due(now).is_empty(), "one at a time");
        announcer.on_failure(now, "a", HASH, "refused".into());
        assert_eq!(announcer.due(now), [("b".into(), HASH, AnnounceEvent::Started)]);
        announcer.on_answer(now, "b", HASH, AnnounceEvent::Started, &answer(60), false);
        assert!(announcer.next_at() <= Some(now + Duration::from_secs(68)));
        assert_eq!(announcer.counts, Some((1, 2)));
    }

    #[test]
    fn without_peers_it_asks_again_soon_and_then_less() {
        let mut now = crate::test_now();
        let mut announcer = announcer(now, &[&["a"]]);
        let mut waits = Vec::new();
        for _ in 0..5 {
            announcer.due(now);
            announcer.on_answer(now, "a", HASH, AnnounceEvent::None, &answer(60), true);
            let next = announcer.next_at().unwrap();
            waits.push((next - now).as_secs());
            now = next;
        }
        assert_eq!(waits, [1, 2, 4, 8, 16]);
    }

    #[test]
    fn completion_is_told_once_and_leaving_only_to_those_that_know_us() {
        let now = crate::test_now();
        let mut announcer = announcer(now, &[&["a"]]);
        announcer.stop();
        assert!(announcer.due(now).is_empty());
        announcer.stopping = false;
        announcer.due(now);
        announcer.on_answer(now, "a", HASH, AnnounceEvent::Started, &answer(60), false);
        announcer.completed(now);
        assert_eq!(announcer.due(now), [("a".into(), HASH, AnnounceEvent::Completed)]);
        announcer.on_answer(now, "a", HASH, AnnounceEvent::Completed, &answer(60), false);
        assert!(announcer.due(now).is_empty());
        announcer.stop();
        assert_eq!(announcer.due(now), [("a".into(), HASH, AnnounceEvent::Stopped)]);
        announcer.on_answer(now, "a", HASH, AnnounceEvent::Stopped, &answer(60), false);
        assert!(announcer.due(now).is_empty(), "told once");
    }

    #[test]
    fn completion_is_told_after_the_start_that_is_on_its_way() {
        let now = crate::test_now();
        let mut announcer = announcer(now, &[&["a"]]);
        announcer.due(now);
        announcer.completed(now);
        assert!(announcer.due(now).is_empty());
        announcer.on_answer(now, "a", HASH, AnnounceEvent::Started, &answer(60), false);
        assert_eq!(announcer.due(now), [("a".into(), HASH, AnnounceEvent::Completed)]);
    }

    #[test]
    fn goodbye_waits_for_what_is_on_its_way() {
        let now = crate::test_now();
        let goodbye = [("a".into(), HASH, AnnounceEvent::Stopped)];
        // Nobody knows us yet, and then somebody does.
        let mut joining = announcer(now, &[&["a"]]);
        joining.due(now);
        joining.stop();
        assert!(joining.due(now).is_empty());
        joining.on_answer(now, "a", HASH, AnnounceEvent::Started, &answer(60), false);
        assert_eq!(joining.due(now), goodbye);
        // Known, and the announce on its way is lost.
        let mut known = announcer(now, &[&["a"]]);
        known.due(now);
        known.on_answer(now, "a", HASH, AnnounceEvent::Started, &answer(60), false);
        known.completed(now);
        known.due(now);
        known.stop();
        assert!(known.due(now).is_empty());
        known.on_failure(now, "a", HASH, "no answer".into());
        assert_eq!(known.due(now), goodbye);
    }

    #[test]
    fn torrents_that_start_together_come_back_one_by_one_and_never_too_soon() {
        let start = crate::test_now();
        let mut seeds = 0..;
        let mut at = |min_interval| {
            let mut chance = Chance::new(seeds.next().unwrap());
            let tiers = [vec!["a".to_owned()]];
            let mut announcer = Announcer::new(start, &tiers, [HASH].into_iter(), &mut chance);
            let answer = TrackerAnswer { min_interval, ..answer(1000) };
            let mut now = start;
            let mut waits = [0; 3].map(|_| {
                announcer.due(now);
                let event = AnnounceEvent::None;
                announcer.on_answer(now, "a", HASH, event, &answer, false);
                let before = std::mem::replace(&mut now, announcer.next_at().unwrap());
                (now - before).as_secs()
            });
            waits.sort_unstable();
            waits
        };
        let all: Vec<_> = (0..500).map(|_| at(Some(Duration::ZERO))).collect();
        assert!(all.iter().flatten().all(|wait| (500..=1000).contains(wait)));
        for tenth in 0..5 {
            let (from, upto) = (500 + tenth * 100, 600 + tenth * 100);
            let first = all.iter().filter(|waits| (from..upto).contains(&waits[0])).count();
            assert!(first > 40, "{first} of 500 come back after {from} to {upto} s");
        }
        let polite = (0..100).flat_map(|_| at(Some(Duration::from_secs(950))));
        assert!(polite.into_iter().all(|wait| wait >= 950));
        let late: BTreeSet<_> = (0..100).flat_map(|_| at(None)).collect();
        assert!(late.iter().all(|wait| (1000..=1125).contains(wait)) && late.len() > 50);
    }
}
