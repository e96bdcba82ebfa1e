//! What changes in the list of torrents, for who follows it: all of it once, then what differs.
//!
//! Each change has a number. Who lost the connection names the last one that came, and gets what came after it, as
//! long as that is kept; else all of it again, as do those who are too slow.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use proto::InfoHash;

use super::dto::{Change, Transfer, Transfers};
use crate::daemon;

/// The list as it was when somebody looked last, and what changed lately.
#[derive(Debug)]
pub(super) struct Feed {
    /// Another one in each run: numbers begin anew.
    run: u32,
    number: u64,
    known: BTreeMap<InfoHash, daemon::Transfer>,
    order: Vec<InfoHash>,
    recent: VecDeque<(u64, Arc<Change>)>,
    /// Entries in `recent`.
    kept: usize,
}

/// The number of a change, and of the run that it was in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct EventId {
    run: u32,
    number: u64,
}

/// What somebody is to be told.
#[derive(Debug)]
pub(super) enum News {
    /// All of it.
    Snapshot(Transfers),
    /// What changed since, the oldest first.
    Changes(Vec<(EventId, Arc<Change>)>),
}

impl Feed {
    pub(super) const fn new(run: u32) -> Self {
        Self {
            run,
            number: 0,
            known: BTreeMap::new(),
            order: Vec::new(),
            recent: VecDeque::new(),
            kept: 0,
        }
    }

    /// The list as it is now.
    pub(super) fn note(&mut self, list: Vec<daemon::Transfer>) {
        let mut change = Change::default();
        let now: BTreeSet<_> = list.iter().map(|transfer| transfer.key).collect();
        self.known.retain(|key, _| {
            let stays = now.contains(key);
            if !stays {
                change.gone.push(key.to_string());
            }
            stays
        });
        self.order.clear();
        for transfer in list {
            self.order.push(transfer.key);
            if !self.known.get(&transfer.key).is_some_and(|known| is_same(known, &transfer)) {
                change.changed.push(transfer.clone().into());
                self.known.insert(transfer.key, transfer);
            }
        }
        let len = change.changed.len() + change.gone.len();
        if len == 0 {
            return;
        }
        self.number += 1;
        self.kept += len;
        self.recent.push_back((self.number, Arc::new(change)));
        // The newest one may be larger than what is kept: then it is told as a whole.
        while self.kept > KEPT_MAX
            && let Some((_, oldest)) = self.recent.pop_front()
        {
            self.kept -= oldest.changed.len() + oldest.gone.len();
        }
    }

    /// Where the list stands.
    pub(super) const fn at(&self) -> EventId {
        EventId { run: self.run, number: self.number }
    }

    /// What somebody is to be told who knows the list as it was then.
    pub(super) fn since(&self, known: Option<EventId>) -> News {
        let first = self.number - self.recent.len() as u64;
        let known =
            known.filter(|id| id.run == self.run && (first..=self.number).contains(&id.number));
        let Some(known) = known else { return News::Snapshot(self.all()) };
        let after = self.recent.iter().filter(|(number, _)| *number > known.number);
        let id = |number| EventId { run: self.run, number };
        News::Changes(after.map(|(number, change)| (id(*number), change.clone())).collect())
    }

    fn all(&self) -> Transfers {
        let known = self.order.iter().filter_map(|key| self.known.get(key));
        let transfers: Vec<Transfer> = known.map(|transfer| transfer.clone().into()).collect();
        Transfers { transfers }
    }
}

/// Nothing differs but what time alone changes.
fn is_same(one: &daemon::Transfer, other: &daemon::Transfer) -> bool {
    // A snapshot is made anew whenever something of it changes.
    Arc::ptr_eq(&one.snapshot, &other.snapshot)
        && (one.seeded, one.forced, one.place) == (other.seeded, other.forced, other.place)
}

impl fmt::Display for EventId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:08x}-{}", self.run, self.number)
    }
}

impl FromStr for EventId {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let (run, number) = text.split_once('-').ok_or(())?;
        let run = u32::from_str_radix(run, 16).map_err(drop)?;
        Ok(Self { run, number: number.parse().map_err(drop)? })
    }
}

/// So many torrents' changes are kept: some seconds of a thousand that are busy.
const KEPT_MAX: usize = 20_000;

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use node::Snapshot;
    use proto::{InfoHashV1, InfoHashes};

    use super::*;

    fn transfer(number: u8) -> daemon::Transfer {
        let hashes = InfoHashes::new(Some(InfoHashV1([number; 20])), None).expect("a hash");
        daemon::Transfer {
            key: hashes.primary(),
            name: number.to_string(),
            snapshot: Arc::new(Snapshot::empty(hashes)),
            seeded: false,
            forced: false,
            place: None,
            seeded_for: Duration::ZERO,
        }
    }

    /// The names in a change.
    fn changed(change: &Change) -> Vec<&str> {
        change.changed.iter().map(|transfer| transfer.name.as_str()).collect()
    }

    fn changes(news: News) -> Vec<Arc<Change>> {
        match news {
            News::Changes(changes) => changes.into_iter().map(|(_, change)| change).collect(),
            News::Snapshot(all) => panic!("all of it: {all:?}"),
        }
    }

    #[test]
    fn who_comes_gets_all_of_it_and_then_what_differs() {
        let (one, two) = (transfer(1), transfer(2));
        let mut feed = Feed::new(7);
        feed.note(vec![two.clone(), one.clone()]);
        let News::Snapshot(all) = feed.since(None) else { panic!("not all of it") };
        let names: Vec<_> = all.transfers.iter().map(|transfer| transfer.name.as_str()).collect();
        assert_eq!(names, ["2", "1"], "in the order of the queue");
        let at = feed.at();
        feed.note(vec![two.clone(), one]);
        assert_eq!(feed.at(), at, "nothing has changed");
        feed.note(vec![daemon::Transfer { place: Some(1), ..two }, transfer(3)]);
        let news = changes(feed.since(Some(at)));
        assert_eq!(news.len(), 1);
        assert_eq!(changed(&news[0]), ["2", "3"]);
        assert_eq!(news[0].gone, [transfer(1).key.to_string()]);
        assert!(changes(feed.since(Some(feed.at()))).is_empty());
    }

    #[test]
    fn who_was_away_gets_each_change_or_all_of_it() {
        let mut feed = Feed::new(7);
        feed.note(vec![transfer(1)]);
        let at = feed.at();
        (0..3).for_each(|_| feed.note(vec![transfer(1)]));
        assert_eq!(changes(feed.since(Some(at))).len(), 3);
        let other_run = EventId { run: 8, ..at };
        assert!(matches!(feed.since(Some(other_run)), News::Snapshot(_)));
        let future = EventId { number: 99, ..at };
        assert!(matches!(feed.since(Some(future)), News::Snapshot(_)));
        let many = || (0..=200).map(transfer).collect();
        (0..KEPT_MAX / 200).for_each(|_| feed.note(many()));
        assert!(matches!(feed.since(Some(at)), News::Snapshot(_)), "that long ago");
        assert!(feed.kept <= KEPT_MAX);
    }

    #[test]
    fn ids_are_read_as_they_are_written() {
        let id = EventId { run: 0xab, number: 12 };
        assert_eq!(id.to_string(), "000000ab-12");
        assert_eq!(id.to_string().parse(), Ok(id));
        for bad in ["", "1", "x-1", "1-", "1--1", "100000000-1"] {
            assert_eq!(bad.parse::<EventId>(), Err(()), "{bad}");
        }
    }
}
