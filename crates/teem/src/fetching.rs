//! Follows a torrent that is being fetched: shows how far it is, and decides when the command ends.

use std::sync::Arc;
use std::time::{Duration, Instant};

use node::{Snapshot, State, Torrent};
use serde::Serialize;

use crate::cli::Context;
use crate::exit::{Failure, Status};
use crate::output::Output;
use crate::progress::{Progress, Serving};
use crate::seed_limits::SeedLimits;
use crate::slots::{Slots, Sources, Teller};
use crate::units;

/// When the command ends.
#[derive(Debug, Clone)]
pub(crate) struct Until {
    /// When the command began, for the time it took.
    pub(crate) begun: Instant,
    /// As soon as all is there and safe on disk.
    pub(crate) exit: bool,
    /// After seeding enough.
    pub(crate) seeded: SeedLimits,
    /// With an error, after so long without any source.
    pub(crate) timeout: Option<Duration>,
    /// What to say.
    pub(crate) telling: Telling,
}

/// What of a fetch is said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Telling {
    /// How far it is, and its end.
    All,
    /// How far it is: the end is told by the caller.
    Progress,
}

/// Follows until the command is done, a signal comes, or it cannot go on; returns how it stands then.
pub(crate) async fn follow(
    torrent: &Torrent,
    until: &Until,
    context: &Context,
) -> anyhow::Result<Arc<Snapshot>> {
    let mut snapshots = torrent.snapshot();
    let mut view = View::new(context, until);
    // Wakes for time-outs while nothing changes.
    let mut tick = tokio::time::interval(TICK);
    loop {
        let snapshot = Arc::clone(&snapshots.borrow_and_update());
        if view.update(&snapshot)? == Next::End {
            return Ok(snapshot);
        }
        tokio::select! {
            biased;
            () = context.interrupt.wait() => {
                view.interrupted(&snapshot);
                return Err(context.interrupt.failure().into());
            }
            changed = snapshots.changed() => {
                if changed.is_err() {
                    return Err(Failure::new(Status::Failed, "the torrent ended early").into());
                }
            }
            _ = tick.tick() => {}
        }
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Next {
    GoOn,
    End,
}

struct View<'a> {
    context: &'a Context,
    until: &'a Until,
    progress: Option<Progress>,
    serving: Option<Serving>,
    /// The last moment with a source.
    source_seen: Instant,
    downloaded: u64,
    paused: Option<String>,
    verified: bool,
    finished: Option<Instant>,
    reported: Instant,
    teller: Teller,
}

impl<'a> View<'a> {
    fn new(context: &'a Context, until: &'a Until) -> Self {
        let now = Instant::now();
        Self {
            context,
            until,
            progress: None,
            serving: None,
            source_seen: now,
            downloaded: 0,
            paused: None,
            verified: false,
            finished: None,
            reported: now,
            teller: Teller::default(),
        }
    }

    fn update(&mut self, snapshot: &Snapshot) -> Result<Next, Failure> {
        self.tell_pause(snapshot)?;
        self.teller.tell(snapshot, &self.context.output);
        match &snapshot.state {
            State::Metadata
            | State::Checking
            | State::Downloading
            | State::Queued
            | State::Held
            | State::Moving => {
                self.show_progress(snapshot);
                self.require_source(snapshot)?;
            }
            State::Paused { .. } => self.source_seen = Instant::now(),
            State::Seeding => self.all_verified(snapshot),
            State::Failed { reason, fault } => return Err(Failure::of_torrent(*fault, reason)),
            State::Stopped => {
                return Err(Failure::new(Status::Failed, "the torrent was stopped"));
            }
        }
        if snapshot.finished && self.finished.is_none() {
            self.all_verified(snapshot);
            self.finish(snapshot);
        }
        Ok(if self.is_over(snapshot) { Next::End } else { Next::GoOn })
    }

    fn show_progress(&mut self, snapshot: &Snapshot) {
        let label = snapshot.name.as_deref().unwrap_or("torrent");
        if snapshot.wanted_len > 0 && self.progress.is_none() {
            let progress = Progress::new(&self.context.output, label, snapshot.wanted_len);
            self.progress = Some(progress);
        }
        if let Some(progress) = &self.progress {
            progress.set_snapshot(snapshot);
        }
        if self.reported.elapsed() >= REPORT_EVERY {
            self.reported = Instant::now();
            self.context.output.object("progress", &Report::new(snapshot));
        }
    }

    /// Gives up when nobody who has what is missing was there for too long.
    fn require_source(&mut self, snapshot: &Snapshot) -> Result<(), Failure> {
        let unknown = snapshot.state == State::Metadata;
        let is_source = |peer: &node::PeerView| unknown || peer.wanted > 0;
        let progressed = snapshot.downloaded > self.downloaded;
        if progressed || snapshot.state == State::Checking || snapshot.peers.iter().any(is_source) {
            self.downloaded = snapshot.downloaded;
            self.source_seen = Instant::now();
        }
        let Some(timeout) = self.until.timeout else { return Ok(()) };
        if self.source_seen.elapsed() < timeout {
            return Ok(());
        }
        let name = snapshot.name.as_deref().unwrap_or("it");
        let waited = units::duration(timeout);
        let message = format!("no source of {name} for {waited}{}", tracker_trouble(snapshot));
        Err(Failure::new(Status::NoPeers, message)
            .hint("is anybody seeding it? what is here is kept; --timeout TIME waits longer"))
    }

    fn tell_pause(&mut self, snapshot: &Snapshot) -> Result<(), Failure> {
        let State::Paused { reason } = &snapshot.state else {
            if self.paused.take().is_some() {
                self.context.output.note("going on");
            }
            return Ok(());
        };
        if self.until.exit {
            return Err(Failure::disk(reason));
        }
        if self.paused.as_ref() != Some(reason) {
            self.context.output.warn(&format!("paused: {reason}; it goes on when there is room"));
            self.paused = Some(reason.clone());
        }
        Ok(())
    }

    fn all_verified(&mut self, snapshot: &Snapshot) {
        if !std::mem::replace(&mut self.verified, true) {
            self.progress = None;
            if self.until.telling == Telling::Progress {
                return;
            }
            self.context.output.object("verified", &Done::new(snapshot, self.until.begun));
        }
        if let Some(serving) = &self.serving {
            serving.set(snapshot);
        }
    }

    fn finish(&mut self, snapshot: &Snapshot) {
        self.finished = Some(Instant::now());
        if self.until.telling == Telling::Progress {
            return;
        }
        Done::new(snapshot, self.until.begun).tell(&self.context.output);
        if !self.until.exit {
            let end = if self.until.seeded.are_set() {
                "seeding for a while"
            } else {
                "seeding until Ctrl-C; --exit ends at once"
            };
            self.context.output.note(end);
            self.serving = Some(Serving::new(&self.context.output));
        }
    }

    fn is_over(&self, snapshot: &Snapshot) -> bool {
        if self.finished.is_none() {
            return false;
        }
        self.until.exit || self.until.seeded.are_met(&snapshot.totals, snapshot.wanted_len)
    }

    fn interrupted(&mut self, snapshot: &Snapshot) {
        self.progress = None;
        self.serving = None;
        if self.finished.is_none() && snapshot.wanted_len > 0 {
            let here = units::size(snapshot.wanted_verified);
            let all = units::size(snapshot.wanted_len);
            self.context.output.note(&format!(
                "{here} of {all} are here and kept; the same command goes on from there"
            ));
        }
    }
}

/// The last error of the trackers, when none of them works.
fn tracker_trouble(snapshot: &Snapshot) -> String {
    if snapshot.trackers.iter().any(|tracker| tracker.working) {
        return String::new();
    }
    let failed = snapshot.trackers.iter().find_map(|tracker| {
        tracker.error.as_ref().map(|error| format!(" (tracker {}: {error})", tracker.url))
    });
    failed.unwrap_or_default()
}

#[derive(Debug, Serialize)]
struct Report<'a> {
    name: Option<&'a str>,
    bytes: u64,
    verified: u64,
    rate: u64,
    eta: Option<u64>,
    peers: usize,
    sources: Sources,
    slots: Slots,
}

impl<'a> Report<'a> {
    fn new(snapshot: &'a Snapshot) -> Self {
        Self {
            name: snapshot.name.as_deref(),
            bytes: snapshot.wanted_len,
            verified: snapshot.wanted_verified,
            rate: snapshot.down_rate,
            eta: snapshot.eta.map(|eta| eta.as_secs()),
            peers: snapshot.peers.len(),
            sources: Sources::of(snapshot),
            slots: snapshot.slots.into(),
        }
    }
}

/// A torrent that is there.
#[derive(Debug, Serialize)]
pub(crate) struct Done {
    name: String,
    pub(crate) path: String,
    pub(crate) bytes: u64,
    /// Bytes that peers and web seeds sent.
    pub(crate) fetched: u64,
    /// Bytes that were taken from copies on this machine.
    reused: u64,
    seconds: f64,
    info_hash_v1: Option<String>,
    info_hash_v2: Option<String>,
}

impl Done {
    pub(crate) fn new(snapshot: &Snapshot, begun: Instant) -> Self {
        Self {
            name: snapshot.name.clone().unwrap_or_default(),
            path: snapshot.path.as_ref().map(|path| path.display().to_string()).unwrap_or_default(),
            bytes: snapshot.wanted_len,
            fetched: snapshot.downloaded,
            reused: snapshot.reused,
            seconds: (begun.elapsed().as_secs_f64() * 1e3).round() / 1e3,
            info_hash_v1: snapshot.info_hashes.v1().map(|hash| hash.to_string()),
            info_hash_v2: snapshot.info_hashes.v2().map(|hash| hash.to_string()),
        }
    }

    /// The same under the name that the person knows it by.
    pub(crate) fn under(self, name: &str) -> Self {
        Self { name: name.to_owned(), ..self }
    }

    /// As people and scripts want to hear it.
    pub(crate) fn tell(&self, output: &Output) {
        let checked = match (&self.info_hash_v1, &self.info_hash_v2) {
            (_, Some(_)) => "SHA-256 ok",
            (_, None) => "SHA-1 ok (a v1 torrent has no SHA-256)",
        };
        let took = units::duration(Duration::from_secs_f64(self.seconds));
        let (path, size) = (&self.path, units::size(self.bytes));
        output.result(&format!("{path}  {size}  {took}  {checked}"));
        if self.reused > 0 {
            let reused = units::size(self.reused);
            output.note(&format!("{reused} of it were taken from copies on this machine"));
        }
        output.object("done", self);
    }
}

const TICK: Duration = Duration::from_millis(250);
const REPORT_EVERY: Duration = Duration::from_secs(1);
