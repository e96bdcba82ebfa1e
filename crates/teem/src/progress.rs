//! How far something is: a bar on a terminal, else one line each ten per cent.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};
use node::Snapshot;

use crate::output::Output;
use crate::slots::{Slots, Sources};
use crate::units;

/// One thing that goes from nothing to all of its bytes. May be moved on from any thread.
#[derive(Debug)]
pub(crate) struct Progress {
    output: Output,
    label: String,
    bar: Option<ProgressBar>,
    begun: Instant,
    total: AtomicU64,
    /// Tens of per cent told so far.
    told: AtomicU64,
    /// What was there when the first snapshot of fetching came.
    base: OnceLock<(Instant, u64)>,
}

impl Progress {
    /// Begins at nothing; `total` may be 0 while it is not known.
    pub(crate) fn new(output: &Output, label: &str, total: u64) -> Self {
        let bar = output.has_bars().then(|| {
            let bar = output.bars().add(ProgressBar::new(total.max(1)));
            bar.set_style(style("{prefix} [{bar:20}] {wide_msg}"));
            bar.set_prefix(shorten(label));
            bar
        });
        if bar.is_none() {
            let size = if total > 0 { format!(" ({})", units::size(total)) } else { String::new() };
            output.note(&format!("{label}{size}"));
        }
        Self {
            output: output.clone(),
            label: label.to_owned(),
            bar,
            begun: Instant::now(),
            total: AtomicU64::new(total),
            told: AtomicU64::new(0),
            base: OnceLock::new(),
        }
    }

    /// So much it is in all.
    pub(crate) fn set_total(&self, total: u64) {
        self.total.store(total, Ordering::Relaxed);
    }

    /// `done` bytes are through, at the average rate since the beginning.
    pub(crate) fn set(&self, done: u64) {
        let seconds = self.begun.elapsed().as_secs_f64().max(0.001);
        let rate = (done as f64 / seconds) as u64;
        let total = self.total.load(Ordering::Relaxed);
        let left = total.saturating_sub(done).checked_div(rate).map(Duration::from_secs);
        self.show(done, total, &pace(rate, left));
    }

    /// Checking or fetching stands as `snapshot` says.
    pub(crate) fn set_snapshot(&self, snapshot: &Snapshot) {
        let checking = snapshot.state == node::State::Checking;
        let total = if checking { snapshot.content_len } else { snapshot.wanted_len };
        self.total.store(total, Ordering::Relaxed);
        match snapshot.state {
            node::State::Metadata => {
                self.wait(&format!("waiting for the description · {}", peers(snapshot)));
            }
            node::State::Checking => {
                self.set(snapshot.checked);
            }
            node::State::Downloading
            | node::State::Seeding
            | node::State::Paused { .. }
            | node::State::Failed { .. }
            | node::State::Queued
            | node::State::Held
            | node::State::Moving
            | node::State::Stopped => {
                let pace = self.pace_of(snapshot);
                self.show(
                    snapshot.wanted_verified,
                    total,
                    &format!("{pace} · {}", peers(snapshot)),
                );
            }
        }
    }

    /// The node's own figures; in the first moment, while it has none yet, the average so far.
    fn pace_of(&self, snapshot: &Snapshot) -> String {
        let (since, before) = *self.base.get_or_init(|| (Instant::now(), snapshot.wanted_verified));
        let seconds = since.elapsed().as_secs_f64();
        if snapshot.down_rate > 0 || seconds < 0.1 {
            return pace(snapshot.down_rate, snapshot.eta);
        }
        let rate = (snapshot.wanted_verified.saturating_sub(before) as f64 / seconds) as u64;
        let left = snapshot.wanted_len.saturating_sub(snapshot.wanted_verified);
        pace(rate, left.checked_div(rate).map(Duration::from_secs))
    }

    /// Ends: the bar goes, lines stay.
    pub(crate) fn finish(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
            self.output.bars().remove(bar);
        }
    }

    fn wait(&self, what: &str) {
        if let Some(bar) = &self.bar {
            bar.set_message(what.to_owned());
        }
    }

    fn show(&self, done: u64, total: u64, pace: &str) {
        let percent = (done.min(total) as u128 * 100).checked_div(total.into()).unwrap_or(0);
        if let Some(bar) = &self.bar {
            bar.set_length(total.max(1));
            bar.set_position(done.min(total));
            // The end of a line is cut on a narrow terminal: what matters most comes first.
            let (done, total) = (units::size(done), units::size(total));
            bar.set_message(format!("{percent:>3} % · {pace} · {done} of {total}"));
            return;
        }
        let tens = (percent / 10) as u64;
        // The end is told by the line of result.
        if tens < 10 && self.told.fetch_max(tens, Ordering::Relaxed) < tens {
            let total = units::size(total);
            self.output.note(&format!("{}: {} % of {total} · {pace}", self.label, tens * 10));
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.finish();
    }
}

/// A line on a terminal that says how serving goes; nothing elsewhere.
#[derive(Debug)]
pub(crate) struct Serving {
    output: Output,
    line: Option<ProgressBar>,
}

impl Serving {
    /// An empty line.
    pub(crate) fn new(output: &Output) -> Self {
        let line = output.has_bars().then(|| {
            let line = output.bars().add(ProgressBar::new_spinner());
            line.set_style(style("{spinner} {wide_msg}"));
            line.enable_steady_tick(Duration::from_millis(250));
            line
        });
        Self { output: output.clone(), line }
    }

    /// Serving stands as `snapshot` says.
    pub(crate) fn set(&self, snapshot: &Snapshot) {
        let Some(line) = &self.line else { return };
        let (rate, sent) = (units::rate(snapshot.up_rate), units::size(snapshot.uploaded));
        let name = shorten(snapshot.name.as_deref().unwrap_or("torrent"));
        let state = match &snapshot.state {
            node::State::Seeding => "seeding",
            node::State::Checking => "checking",
            node::State::Metadata
            | node::State::Downloading
            | node::State::Paused { .. }
            | node::State::Failed { .. }
            | node::State::Queued
            | node::State::Held
            | node::State::Moving
            | node::State::Stopped => "waiting",
        };
        let (peers, slots) = (peers(snapshot), Slots::from(snapshot.slots).words());
        line.set_message(format!(
            "{state} {name} · {peers} · {slots} · {rate} · {sent} sent · Ctrl-C ends"
        ));
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        if let Some(line) = &self.line {
            line.finish_and_clear();
            self.output.bars().remove(line);
        }
    }
}

fn style(template: &str) -> ProgressStyle {
    let style = ProgressStyle::with_template(template);
    style.unwrap_or_else(|_| ProgressStyle::default_bar()).progress_chars("=> ")
}

fn pace(rate: u64, left: Option<Duration>) -> String {
    let left = left.map_or_else(|| "-".to_owned(), units::duration);
    format!("{} · ETA {left}", units::rate(rate))
}

fn peers(snapshot: &Snapshot) -> String {
    let peers = match snapshot.peers.len() {
        1 => "1 peer".to_owned(),
        many => format!("{many} peers"),
    };
    match Sources::trouble(snapshot) {
        Some(trouble) => format!("{peers}, {trouble}"),
        None => peers,
    }
}

/// Long names would leave no room for the bar.
fn shorten(label: &str) -> String {
    if label.chars().count() <= LABEL_MAX {
        return label.to_owned();
    }
    let mut short: String = label.chars().take(LABEL_MAX - 1).collect();
    short.push('…');
    short
}

const LABEL_MAX: usize = 28;
