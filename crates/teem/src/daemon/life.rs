//! The life of one torrent of a daemon, followed by a task that sleeps while nothing happens.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use node::{Snapshot, State, Torrent};
use tokio::sync::mpsc;

use super::Inside;
use crate::fetching::Done;
use crate::seed_limits::SeedLimits;

/// What a daemon wants to know.
#[derive(Debug)]
pub(super) enum Event {
    /// Its files are open, or it waits for peers to describe them.
    Open,
    /// All is there and safe on disk; not told of what was there from the start.
    Done(Box<Done>),
    /// It cannot go on.
    Failed(String),
    /// It waits for the disk.
    Paused(String),
    /// It was seeded as long as it should be.
    Seeded,
}

/// The way back to the daemon.
#[derive(Debug)]
pub(super) struct Teller {
    file: PathBuf,
    daemon: mpsc::Sender<Inside>,
}

impl Teller {
    pub(super) const fn new(file: PathBuf, daemon: mpsc::Sender<Inside>) -> Self {
        Self { file, daemon }
    }

    pub(super) async fn tell(&self, event: Event) {
        // A daemon that has ended wants to know nothing.
        let _ = self.daemon.send(Inside::Torrent(self.file.clone(), event)).await;
    }
}

/// What the daemon looks at without asking the torrent.
#[derive(Debug, Default)]
pub(super) struct Activity {
    /// All that is wanted is there.
    pub(super) finished: AtomicBool,
    /// It runs whatever limits of seeding say.
    pub(super) forced: AtomicBool,
    moved_at: Mutex<Option<Instant>>,
}

impl Activity {
    /// When payload came or went last.
    pub(super) fn moved_at(&self) -> Option<Instant> {
        *self.moved_at.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn note(&self, snapshot: &Snapshot, before: u64) -> u64 {
        // While nothing is open, what was known holds.
        if matches!(snapshot.state, State::Metadata | State::Downloading | State::Seeding) {
            self.finished.store(snapshot.finished, Ordering::Relaxed);
        }
        let moved = snapshot.totals.downloaded + snapshot.totals.uploaded;
        if moved != before || snapshot.state == State::Checking {
            *self.moved_at.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
        }
        moved
    }
}

/// Follows until the torrent ends.
pub(super) async fn follow(
    torrent: Torrent,
    seeded: SeedLimits,
    activity: Arc<Activity>,
    to: Teller,
) {
    let begun = Instant::now();
    let mut snapshots = torrent.snapshot();
    let mut stage = Stage::default();
    // The first one says nothing yet.
    if snapshots.changed().await.is_err() {
        return;
    }
    let totals = snapshots.borrow().totals;
    let mut moved = totals.downloaded + totals.uploaded;
    loop {
        let snapshot = Arc::clone(&snapshots.borrow_and_update());
        moved = activity.note(&snapshot, moved);
        for event in stage.events(&snapshot, begun) {
            to.tell(event).await;
        }
        let minds = snapshot.state == State::Seeding
            && snapshot.finished
            && !activity.forced.load(Ordering::Relaxed);
        if minds && seeded.are_met(&snapshot.totals, snapshot.wanted_len) {
            // The daemon has it rest; until then there is nothing to say.
            to.tell(Event::Seeded).await;
            if snapshots.wait_for(|now| now.state != State::Seeding).await.is_err() {
                return;
            }
            continue;
        }
        let end = async {
            match seeded.end(&snapshot.totals).filter(|_| minds) {
                Some(end) => tokio::time::sleep_until(end.into()).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            changed = snapshots.changed() => if changed.is_err() { return },
            () = end => {}
        }
    }
}

/// What was told already.
#[derive(Debug, Default)]
struct Stage {
    open: bool,
    finished: bool,
    failed: bool,
    paused: Option<String>,
}

impl Stage {
    fn events(&mut self, snapshot: &Snapshot, begun: Instant) -> Vec<Event> {
        let mut events = Vec::new();
        if !self.open && snapshot.state != State::Checking {
            self.open = true;
            events.push(Event::Open);
        }
        match &snapshot.state {
            State::Failed { reason, .. } if !std::mem::replace(&mut self.failed, true) => {
                events.push(Event::Failed(reason.clone()));
            }
            State::Paused { reason } if self.paused.as_ref() != Some(reason) => {
                self.paused = Some(reason.clone());
                events.push(Event::Paused(reason.clone()));
            }
            State::Metadata
            | State::Checking
            | State::Downloading
            | State::Seeding
            | State::Paused { .. }
            | State::Queued
            | State::Held
            | State::Moving
            | State::Failed { .. }
            | State::Stopped => {}
        }
        let was_finished = std::mem::replace(&mut self.finished, snapshot.finished);
        if snapshot.finished && !was_finished && snapshot.downloaded > 0 {
            events.push(Event::Done(Box::new(Done::new(snapshot, begun))));
        }
        events
    }
}
