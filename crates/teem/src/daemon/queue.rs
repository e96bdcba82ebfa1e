//! Which torrents run and which wait for their turn. A plain struct: time comes in as an argument.
//!
//! Downloads and seeds each have a limit of their own. A torrent in which nothing has moved for a while holds
//! no slot of it, so that one without sources keeps nobody waiting, and goes on running; of those that
//! wait for something so many run beside, and then the one that has waited longest gives way. Who gave way
//! comes after those that never ran. A download gives way to one that stands before it in the queue; a seed that
//! somebody is fetching from to none.
//!
//! Invariant: what is held does not run, what is forced does, and only torrents that move something count.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use proto::InfoHash;

/// How many torrents may run; as many as there are when `None`.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Limits {
    pub(crate) downloads: Option<usize>,
    pub(crate) seeds: Option<usize>,
}

/// What a torrent does when it runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Lane {
    Download,
    Seed,
}

/// What a person wants of a torrent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Will {
    /// It takes its turn.
    #[default]
    Queue,
    /// It runs in any case.
    Force,
    /// It rests.
    Hold,
}

/// A torrent is to run, or to wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Turn {
    Run(InfoHash),
    Wait(InfoHash),
}

/// The torrents in their order.
#[derive(Debug)]
pub(crate) struct Queue {
    limits: Limits,
    order: Vec<InfoHash>,
    entries: BTreeMap<InfoHash, Entry>,
}

#[derive(Debug)]
struct Entry {
    lane: Lane,
    will: Will,
    running: bool,
    /// When something moved last, or it began to run.
    alive_at: Instant,
    gave_way_at: Option<Instant>,
}

impl Queue {
    pub(crate) const fn new(limits: Limits) -> Self {
        Self { limits, order: Vec::new(), entries: BTreeMap::new() }
    }

    /// Torrents may have to wait.
    pub(crate) const fn is_limited(&self) -> bool {
        self.limits.downloads.is_some() || self.limits.seeds.is_some()
    }

    /// Adds a torrent at the end. It waits.
    pub(crate) fn insert(&mut self, now: Instant, key: InfoHash, lane: Lane, will: Will) {
        let (running, gave_way_at) = (false, None);
        let entry = Entry { lane, will, running, alive_at: now, gave_way_at };
        if self.entries.insert(key, entry).is_none() {
            self.order.push(key);
        }
    }

    pub(crate) fn remove(&mut self, key: InfoHash) {
        if self.entries.remove(&key).is_some() {
            self.order.retain(|other| *other != key);
        }
    }

    /// How a torrent stands: what it does, and when something of it moved last.
    pub(crate) fn note(&mut self, key: InfoHash, lane: Lane, moved_at: Option<Instant>) {
        let Some(entry) = self.entries.get_mut(&key) else { return };
        entry.lane = lane;
        entry.alive_at = moved_at.map_or(entry.alive_at, |at| at.max(entry.alive_at));
    }

    pub(crate) fn set_will(&mut self, key: InfoHash, will: Will) {
        let Some(entry) = self.entries.get_mut(&key) else { return };
        entry.will = will;
        entry.gave_way_at = None;
        if will == Will::Hold {
            entry.running = false;
        }
    }

    pub(crate) fn will(&self, key: InfoHash) -> Option<Will> {
        self.entries.get(&key).map(|entry| entry.will)
    }

    /// A person lets it go on: what follows for others, and whether it runs.
    pub(crate) fn resume(&mut self, now: Instant, key: InfoHash, will: Will) -> (Vec<Turn>, bool) {
        self.set_will(key, will);
        if !self.is_limited() {
            return (Vec::new(), true);
        }
        let mut turns = self.decide(now);
        turns.retain(|turn| *turn != Turn::Run(key));
        (turns, self.entries.get(&key).is_some_and(|entry| entry.running))
    }

    /// Moves a torrent to a place in the order, 1 the first; it has not given way any more.
    pub(crate) fn place(&mut self, key: InfoHash, place: usize) {
        let Some(at) = self.order.iter().position(|other| *other == key) else { return };
        self.order.remove(at);
        let place = place.saturating_sub(1).min(self.order.len());
        self.order.insert(place, key);
        if let Some(entry) = self.entries.get_mut(&key) {
            entry.gave_way_at = None;
        }
    }

    /// Puts all in the order of these ranks; those without one stay behind, as they are.
    pub(crate) fn sort_by(&mut self, rank: impl Fn(InfoHash) -> Option<i64>) {
        self.order.sort_by_cached_key(|key| rank(*key).unwrap_or(i64::MAX));
    }

    /// The torrents in their order.
    pub(crate) fn order(&self) -> &[InfoHash] {
        &self.order
    }

    /// The places of those that wait, 1 the first of its kind.
    pub(crate) fn places(&self) -> BTreeMap<InfoHash, usize> {
        let waiting = |lane| self.in_turn(lane).filter(|(_, entry)| !entry.running).zip(1..);
        let both = [Lane::Download, Lane::Seed].into_iter().flat_map(waiting);
        both.map(|((key, _), place)| (key, place)).collect()
    }

    /// Who is to run from now on, and who to wait. Each change is told once.
    pub(crate) fn decide(&mut self, now: Instant) -> Vec<Turn> {
        let mut turns = Vec::new();
        for lane in [Lane::Seed, Lane::Download] {
            self.decide_lane(now, lane, &mut turns);
        }
        // Room is made before it is taken.
        turns.sort_by_key(|turn| matches!(turn, Turn::Run(_)));
        turns
    }

    fn decide_lane(&mut self, now: Instant, lane: Lane, turns: &mut Vec<Turn>) {
        let limit = match lane {
            Lane::Download => self.limits.downloads,
            Lane::Seed => self.limits.seeds,
        };
        let run = match limit {
            Some(limit) => self.choose(now, lane, limit),
            None => self.in_turn(lane).map(|(key, _)| key).collect(),
        };
        let run: BTreeSet<InfoHash> = run.into_iter().collect();
        for (key, entry) in self.entries.iter_mut().filter(|(_, entry)| entry.lane == lane) {
            let runs = match entry.will {
                Will::Force => true,
                Will::Hold => continue,
                Will::Queue => run.contains(key),
            };
            match (entry.running, runs) {
                (false, true) => {
                    (entry.running, entry.alive_at) = (true, now);
                    turns.push(Turn::Run(*key));
                }
                (true, false) => {
                    entry.running = false;
                    entry.gave_way_at = is_idle(entry, now).then_some(now);
                    turns.push(Turn::Wait(*key));
                }
                (true, true) | (false, false) => {}
            }
        }
    }

    fn choose(&self, now: Instant, lane: Lane, limit: usize) -> Vec<InfoHash> {
        let is_idle = |entry: &Entry| entry.running && is_idle(entry, now);
        let mut run = Vec::new();
        let (mut held, mut idle) = (0, Vec::new());
        if lane == Lane::Seed {
            // Somebody is fetching from these.
            held = self.in_turn(lane).filter(|(_, entry)| entry.running && !is_idle(entry)).count();
        }
        let mut waits = false;
        for (key, entry) in self.in_turn(lane) {
            if is_idle(entry) {
                idle.push((entry.alive_at, key));
            } else if lane == Lane::Seed && entry.running {
                run.push(key);
            } else if held < limit {
                held += 1;
                run.push(key);
            } else {
                waits = true;
            }
        }
        // Those that something moved in last stay.
        idle.sort_unstable_by_key(|(alive_at, _)| std::cmp::Reverse(*alive_at));
        let beside =
            if waits || idle.len() > idle_max(limit) { idle_max(limit) } else { idle.len() };
        run.extend(idle.into_iter().take(beside).map(|(_, key)| key));
        run
    }

    /// Those that take turns, the first one first.
    fn in_turn(&self, lane: Lane) -> impl Iterator<Item = (InfoHash, &Entry)> {
        let mut all: Vec<_> = self
            .order
            .iter()
            .filter_map(|key| Some((*key, self.entries.get(key)?)))
            .filter(|(_, entry)| entry.lane == lane && entry.will == Will::Queue)
            .collect();
        all.sort_by_key(|(_, entry)| if entry.running { None } else { entry.gave_way_at });
        all.into_iter()
    }
}

fn is_idle(entry: &Entry, now: Instant) -> bool {
    now >= entry.alive_at + IDLE_AFTER
}

/// Torrents in which nothing moves that run beside those that do.
const fn idle_max(limit: usize) -> usize {
    let times = limit.saturating_mul(4);
    if times > IDLE_MIN { times } else { IDLE_MIN }
}

/// Sources that are slow to answer have done so by then.
const IDLE_AFTER: Duration = Duration::from_secs(60);
/// Their announces and connections cost next to nothing.
const IDLE_MIN: usize = 20;

#[cfg(test)]
mod tests {
    use super::*;

    fn key(number: u8) -> InfoHash {
        InfoHash([number; 20])
    }

    struct Play {
        queue: Queue,
        now: Instant,
    }

    impl Play {
        fn new(downloads: usize, seeds: usize) -> Self {
            let limits = Limits { downloads: Some(downloads), seeds: Some(seeds) };
            Self { queue: Queue::new(limits), now: Instant::now() }
        }

        fn downloads(numbers: impl IntoIterator<Item = u8>) -> Self {
            let mut play = Self::new(2, 2);
            numbers.into_iter().for_each(|number| play.add(number, Lane::Download));
            play
        }

        fn add(&mut self, number: u8, lane: Lane) {
            self.queue.insert(self.now, key(number), lane, Will::Queue);
        }

        fn moves(&mut self, number: u8, lane: Lane) {
            self.queue.note(key(number), lane, Some(self.now));
        }

        fn after(&mut self, secs: u64) {
            self.now += Duration::from_secs(secs);
        }

        /// Who runs once all is decided.
        fn running(&mut self) -> Vec<u8> {
            self.queue.decide(self.now);
            assert_eq!(self.queue.decide(self.now), [], "what was told is told once");
            let order = self.queue.order.iter();
            let running = order.filter(|key| self.queue.entries[*key].running);
            running.map(|key| key.0[0]).collect()
        }

        fn places(&self, numbers: impl IntoIterator<Item = u8>) -> Vec<Option<usize>> {
            let places = self.queue.places();
            numbers.into_iter().map(|number| places.get(&key(number)).copied()).collect()
        }
    }

    #[test]
    fn the_first_ones_run_and_the_others_know_their_place() {
        let mut play = Play::downloads(1..=4);
        assert_eq!(play.running(), [1, 2]);
        assert_eq!(play.places(1..=4), [None, None, Some(1), Some(2)]);
        play.queue.remove(key(1));
        assert_eq!(play.running(), [2, 3]);
        assert_eq!(play.places([4]), [Some(1)]);
    }

    #[test]
    fn what_has_all_makes_room_for_the_next_download() {
        let mut play = Play::downloads(1..=3);
        assert_eq!(play.running(), [1, 2]);
        play.moves(1, Lane::Seed);
        assert_eq!(play.running(), [1, 2, 3]);
    }

    #[test]
    fn a_torrent_in_which_nothing_moves_holds_no_slot_and_goes_on_running() {
        let mut play = Play::downloads(1..=4);
        assert_eq!(play.running(), [1, 2]);
        play.after(40);
        play.moves(2, Lane::Download);
        play.after(40);
        assert_eq!(play.running(), [1, 2, 3]);
        // Its source has come: it stands first, so the last one waits.
        play.moves(1, Lane::Download);
        assert_eq!(play.running(), [1, 2]);
        assert_eq!(play.places([3, 4]), [Some(1), Some(2)], "and keeps its place");
    }

    #[test]
    fn of_those_that_wait_for_sources_the_longest_gives_way() {
        let mut play = Play::downloads(0..IDLE_MIN as u8 + 5);
        for _ in 0..=IDLE_MIN / 2 {
            play.running();
            play.after(61);
        }
        let running = play.running();
        assert!(running.len() <= IDLE_MIN + 2, "{running:?}");
        assert!(running.contains(&(IDLE_MIN as u8 + 3)), "all have a turn: {running:?}");
    }

    #[test]
    fn a_seed_that_is_fetched_from_is_not_cut_off() {
        let mut play = Play::new(1, 1);
        (1..=3).for_each(|number| play.add(number, Lane::Seed));
        assert_eq!(play.running(), [1]);
        play.after(61);
        assert_eq!(play.running(), [1, 2]);
        play.moves(1, Lane::Seed);
        play.moves(2, Lane::Seed);
        assert_eq!(play.running(), [1, 2]);
        assert_eq!(play.places([3]), [Some(1)]);
    }

    #[test]
    fn what_a_person_wants_comes_first() {
        let mut play = Play::downloads(1..=4);
        play.queue.set_will(key(4), Will::Force);
        play.queue.set_will(key(1), Will::Hold);
        assert_eq!(play.running(), [2, 3, 4], "forced ones hold no slot");
        play.queue.set_will(key(1), Will::Queue);
        assert_eq!(play.running(), [1, 2, 4], "and what is let go takes its place again");
        play.queue.place(key(3), 1);
        assert_eq!(play.running(), [3, 1, 4]);
        assert_eq!(play.queue.order(), [3, 1, 2, 4].map(key));
        play.queue.sort_by(|key| (key.0[0] < 3).then_some(i64::from(key.0[0])));
        assert_eq!(play.queue.order(), [1, 2, 3, 4].map(key));
    }

    #[test]
    fn what_runs_already_goes_on_when_it_is_resumed() {
        let mut play = Play::downloads(1..=3);
        assert!(play.queue.resume(play.now, key(1), Will::Queue).1, "it runs from now on");
        assert_eq!(play.queue.resume(play.now, key(1), Will::Queue), (vec![], true));
        assert_eq!(play.running(), [1, 2]);
        assert_eq!(play.queue.resume(play.now, key(3), Will::Queue), (vec![], false), "it waits");
        play.queue.limits = Limits::default();
        assert!(play.queue.resume(play.now, key(3), Will::Queue).1);
    }

    #[test]
    fn without_limits_everything_runs() {
        let mut play = Play::downloads([]);
        play.queue.limits = Limits::default();
        (0..200).for_each(|number| play.add(number, Lane::Download));
        assert_eq!(play.running().len(), 200);
    }
}
