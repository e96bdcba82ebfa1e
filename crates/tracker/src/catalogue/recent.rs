//! What was looked up of late: most requests over JSON ask for the same few names, again and again.
//!
//! Any change of the catalogue empties it. Two halves bound it: a full one takes the place of the other,
//! whose names are forgotten unless they were asked for meanwhile.

use std::collections::HashMap;
use std::mem;
use std::sync::Arc;

use parking_lot::Mutex;

use super::NamedFile;
use crate::limits::RECENT_NAMES_LEN_MAX;

/// A name's file, or that there is none.
type Known = Option<Arc<NamedFile>>;

/// Names and what they mean.
#[derive(Debug, Default)]
pub(super) struct Recent(Mutex<Halves>);

/// Which state of the catalogue somebody reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Epoch(u64);

#[derive(Debug, Default)]
struct Halves {
    epoch: Epoch,
    young: HashMap<String, Known>,
    old: HashMap<String, Known>,
    /// Bytes that the young half takes, about.
    young_len: usize,
}

impl Recent {
    /// What all of these names mean; else, the state that has to be read.
    pub(super) fn find(&self, names: &[String]) -> Result<Vec<Known>, Epoch> {
        let mut halves = self.0.lock();
        let found: Option<Vec<_>> = names.iter().map(|name| halves.find(name)).collect();
        found.ok_or(halves.epoch)
    }

    /// Keeps what was read in that state, unless it is past.
    pub(super) fn note(&self, epoch: Epoch, names: Vec<String>, known: &[Known]) {
        let mut halves = self.0.lock();
        if halves.epoch == epoch {
            names.into_iter().zip(known).for_each(|(name, known)| halves.keep(name, known.clone()));
        }
    }

    /// Forgets everything: the catalogue has changed.
    pub(super) fn forget(&self) {
        let mut halves = self.0.lock();
        *halves = Halves { epoch: Epoch(halves.epoch.0 + 1), ..Halves::default() };
    }
}

impl Halves {
    fn find(&mut self, name: &str) -> Option<Known> {
        if let Some(known) = self.young.get(name) {
            return Some(known.clone());
        }
        let (name, known) = self.old.remove_entry(name)?;
        self.keep(name, known.clone());
        Some(known)
    }

    fn keep(&mut self, name: String, known: Known) {
        let len = len_of(&name, &known);
        if self.young_len + len > RECENT_NAMES_LEN_MAX / 2 {
            self.old = mem::take(&mut self.young);
            self.young_len = 0;
        }
        self.young_len += len;
        self.young.insert(name, known);
    }
}

/// Bytes that a name takes, about.
fn len_of(name: &str, known: &Known) -> usize {
    let entry = known.as_ref().map_or(0, |file| {
        let tags = file.entry.tags.iter().map(|tag| tag.len() + size_of::<String>());
        size_of::<NamedFile>()
            + file.entry.name.len()
            + file.entry.description.len()
            + tags.sum::<usize>()
    });
    SLOT_LEN + name.len() + entry
}

/// What a table takes for a name beside it.
const SLOT_LEN: usize = 2 * size_of::<(String, Known)>();

#[cfg(test)]
mod tests {
    use super::*;

    fn names(names: &[&str]) -> Vec<String> {
        names.iter().map(|&name| name.to_owned()).collect()
    }

    fn learn(recent: &Recent, name: &str) {
        let epoch = recent.find(&names(&[name])).unwrap_err();
        recent.note(epoch, names(&[name]), &[None]);
    }

    #[test]
    fn all_names_are_known_or_none_is_told() {
        let recent = Recent::default();
        learn(&recent, "a");
        learn(&recent, "b");
        assert_eq!(recent.find(&names(&["b", "a"])), Ok(vec![None, None]));
        assert!(recent.find(&names(&["a", "c"])).is_err());
    }

    #[test]
    fn what_was_read_before_a_change_is_not_kept_after_it() {
        let recent = Recent::default();
        learn(&recent, "a");
        let before = recent.find(&names(&["b"])).unwrap_err();
        recent.forget();
        recent.note(before, names(&["b"]), &[None]);
        assert!(recent.find(&names(&["a"])).is_err());
        assert!(recent.find(&names(&["b"])).is_err());
    }

    #[test]
    fn names_in_use_outlive_a_flood_of_others() {
        let recent = Recent::default();
        learn(&recent, "in use");
        let long = "n".repeat(1_000);
        let flood = 2 * RECENT_NAMES_LEN_MAX / long.len();
        for number in 0..flood {
            learn(&recent, &format!("{long}{number}"));
            assert!(recent.find(&names(&["in use"])).is_ok());
        }
        assert!(recent.find(&names(&[&format!("{long}0")])).is_err());
        let halves = recent.0.lock();
        assert!((halves.young.len() + halves.old.len()) * long.len() < RECENT_NAMES_LEN_MAX);
    }
}
