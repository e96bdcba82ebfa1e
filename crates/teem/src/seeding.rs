//! Puts content under a name in the catalogue and seeds it until the person ends it.

use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use hyper::body::Bytes;
use node::{Add, Content, Node, NodeConfig, Snapshot, Source, State, Torrent};
use proto::metainfo::Metainfo;
use serde::Serialize;
use tracker::About;

use crate::cli::Context;
use crate::client::ClientError;
use crate::exit::Failure;
use crate::hashing::Made;
use crate::locate::{self, Answer, Endpoint, Trackers};
use crate::progress::{Progress, Serving};
use crate::slots::Teller;
use crate::state::StateDir;
use crate::{magnets, units};

/// What is shared.
#[derive(Debug)]
pub(crate) struct Offer {
    /// The name in the catalogue.
    pub(crate) name: String,
    /// The file or folder, absolute.
    pub(crate) path: PathBuf,
    /// Its torrent.
    pub(crate) made: Made,
    /// What to say about it.
    pub(crate) about: About,
    /// Where it is published and announced.
    pub(crate) trackers: Trackers,
    /// Nobody else has it yet: each piece is sent once as far as peers pass it on (BEP 16).
    pub(crate) super_seed: bool,
}

/// What others need to know.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Ready {
    pub(crate) name: String,
    /// Which version of the name it is, says the first tracker that took it.
    pub(crate) version: u32,
    pub(crate) path: String,
    pub(crate) bytes: u64,
    pub(crate) piece_length: u32,
    pub(crate) info_hash_v1: Option<String>,
    pub(crate) info_hash_v2: Option<String>,
    pub(crate) magnet: String,
    /// Where peers connect to.
    pub(crate) listening: Vec<String>,
    /// The announce URLs.
    pub(crate) trackers: Vec<String>,
}

/// The part of a catalogue name that can be a file name.
pub(crate) fn file_name(name: &str) -> &str {
    name.rsplit('/').next().unwrap_or(name)
}

/// Publishes the offer on every tracker with a catalogue; says which version of its name it is on the
/// first one. One that is away is an error only when no other has taken it.
pub(crate) async fn publish(offer: &Offer, context: &Context) -> anyhow::Result<u32> {
    let bytes = Bytes::from(offer.made.metainfo.encode());
    let mut published = None;
    let mut away = None;
    for endpoint in &offer.trackers.catalogues {
        let ask = async |client: crate::client::Client| {
            client.publish(&offer.name, bytes.clone(), &offer.about).await.map(Some)
        };
        let each = std::slice::from_ref(endpoint);
        let answer = locate::ask_each(each, offer.trackers.asker(), &context.output, ask);
        match context.interrupt.or(answer).await {
            Ok(Answer::Found(reply, _)) => {
                let version = reply.entry.version;
                let what = if reply.created { "published" } else { "was published before:" };
                let name = shell_quoted(&format!("{}@{version}", offer.name));
                context.output.note(&format!("{what} {name} on tracker {endpoint}"));
                published.get_or_insert(version);
            }
            Ok(Answer::Unknown) => {
                let reason = ClientError::Foreign("it has no catalogue".to_owned());
                away = Some(reason.at(endpoint).into());
            }
            Err(error) if locate::is_away(&error) => {
                context.output.warn(&format!("{error:#}"));
                away = Some(error);
            }
            Err(error) => return Err(error),
        }
    }
    match (published, away) {
        (Some(version), _) => Ok(version),
        (None, Some(error)) => Err(error),
        (None, None) => {
            let message = "no tracker with a catalogue was named";
            Err(Failure::new(crate::exit::Status::Usage, message).into())
        }
    }
}

/// The same as soon as a tracker is there: waits for those that are away.
pub(crate) async fn publish_when_there(offer: &Offer, context: &Context) -> anyhow::Result<u32> {
    loop {
        match publish(offer, context).await {
            Err(error) if locate::is_away(&error) => {
                let again = async {
                    tokio::time::sleep(PUBLISH_AGAIN).await;
                    Ok(())
                };
                context.interrupt.or(again).await?;
            }
            published => return published,
        }
    }
}

/// Starts a node that will seed `path`.
pub(crate) async fn start_node(
    path: &Path,
    config: NodeConfig,
    state: &StateDir,
    context: &Context,
) -> anyhow::Result<Node> {
    let purpose = format!("share {}", path.display());
    context.interrupt.or(async { Ok(state.start_node(config, &purpose).await?) }).await
}

/// Seeds until a signal comes or it cannot go on. `ready` is told when a tracker has acknowledged the
/// announce, so that whoever asks finds this seeder.
pub(crate) async fn seed(
    node: &Node,
    (offer, version): (Offer, u32),
    until: Option<NonZeroUsize>,
    context: &Context,
    ready: impl FnOnce(&Ready),
) -> anyhow::Result<()> {
    let (torrent, told) = start(node, (&offer, version), context).await?;
    ready(&told);
    context.interrupt.or(serve(&torrent, until, context)).await
}

/// Starts to seed; returns when a tracker has acknowledged the announce.
pub(crate) async fn start(
    node: &Node,
    (offer, version): (&Offer, u32),
    context: &Context,
) -> anyhow::Result<(Torrent, Ready)> {
    let Offer { name, path, made, trackers, .. } = offer;
    let public = trackers.public_tiers();
    let told = Ready { version, ..Ready::new(name, path, &made.metainfo, &public, node) };
    let source = Source::Metainfo(Box::new(made.metainfo.clone()));
    let content = Content::Share { path: path.clone(), fresh: Some(made.fresh.clone()) };
    let (trackers, name) = (trackers.tiers(), Some(name.clone()));
    let super_seed = offer.super_seed;
    let add = Add { trackers, name, super_seed, ..Add::new(source, content) };
    let torrent = context.interrupt.or(async { Ok(node.add(add).await?) }).await?;
    context.interrupt.or(acknowledged(&torrent, context)).await?;
    Ok((torrent, told))
}

impl Ready {
    fn new(
        name: &str,
        path: &Path,
        metainfo: &Metainfo,
        tiers: &[Vec<String>],
        node: &Node,
    ) -> Self {
        let hashes = metainfo.info.hashes();
        Self {
            name: name.to_owned(),
            version: 1,
            path: path.display().to_string(),
            bytes: metainfo.info.content_len(),
            piece_length: metainfo.info.piece_len(),
            info_hash_v1: hashes.v1().map(|hash| hash.to_string()),
            info_hash_v2: hashes.v2().map(|hash| hash.to_string()),
            magnet: magnets::of(metainfo, tiers).to_string(),
            listening: node.listening().iter().map(ToString::to_string).collect(),
            trackers: tiers.concat(),
        }
    }

    /// As people read it. `tracker` is where another machine finds the name.
    pub(crate) fn lines(&self, tracker: &Endpoint) -> Vec<String> {
        vec![
            format!("{}  {}", self.name, units::size(self.bytes)),
            self.magnet.clone(),
            format!("teem get {} --tracker {tracker}", shell_quoted(&self.name)),
        ]
    }
}

/// A word as a shell takes it, quoted only when it must be.
pub(crate) fn shell_quoted(word: &str) -> String {
    let plain = |char: char| char.is_alphanumeric() || "-._/+,@%".contains(char);
    if !word.is_empty() && !word.starts_with('-') && word.chars().all(plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', r"'\''"))
}

/// Waits until a tracker has acknowledged the announce; says once what keeps it from doing so.
async fn acknowledged(torrent: &Torrent, context: &Context) -> anyhow::Result<()> {
    let mut snapshots = torrent.snapshot();
    let mut checking = None;
    let begun = tokio::time::Instant::now();
    let mut complain = true;
    loop {
        let snapshot = Arc::clone(&snapshots.borrow_and_update());
        still_there(&snapshot)?;
        if snapshot.trackers.iter().any(|tracker| tracker.working) {
            return Ok(());
        }
        // What was hashed just now, or is known from before, is not read.
        if snapshot.state == State::Checking && snapshot.checked > 0 {
            let label = snapshot.name.as_deref().unwrap_or("content");
            let progress = checking.get_or_insert_with(|| {
                Progress::new(&context.output, &format!("checking {label}"), snapshot.content_len)
            });
            progress.set_snapshot(&snapshot);
        } else {
            checking = None;
        }
        if complain && begun.elapsed() >= PATIENCE {
            complain = false;
            let trouble = snapshot.trackers.iter().find_map(|tracker| tracker.error.as_deref());
            let trouble = trouble.unwrap_or("no reply yet");
            context
                .output
                .warn(&format!("no tracker has taken the announce: {trouble}; trying on"));
        }
        let changed = tokio::time::timeout(PATIENCE, snapshots.changed()).await;
        if matches!(changed, Ok(Err(_))) {
            return Err(Failure::new(crate::exit::Status::Failed, "the torrent ended early").into());
        }
    }
}

/// Shows how serving goes; returns when so many peers have all of it, or when it cannot go on.
pub(crate) async fn serve(
    torrent: &Torrent,
    until: Option<NonZeroUsize>,
    context: &Context,
) -> anyhow::Result<()> {
    let mut snapshots = torrent.snapshot();
    let serving = Serving::new(&context.output);
    let mut paused = None;
    let mut copies = Copies::default();
    let mut teller = Teller::default();
    loop {
        let snapshot = Arc::clone(&snapshots.borrow_and_update());
        still_there(&snapshot)?;
        match &snapshot.state {
            State::Paused { reason } if paused.as_ref() != Some(reason) => {
                context.output.warn(&format!("paused: {reason}"));
                paused = Some(reason.clone());
            }
            State::Paused { .. } => {}
            State::Metadata
            | State::Checking
            | State::Downloading
            | State::Seeding
            | State::Failed { .. }
            | State::Queued
            | State::Held
            | State::Moving
            | State::Stopped => paused = None,
        }
        serving.set(&snapshot);
        teller.tell(&snapshot, &context.output);
        if let Some(wanted) = until {
            copies.tell(&snapshot, wanted, context);
            if snapshot.copies >= wanted.get() {
                return Ok(());
            }
        }
        if snapshots.changed().await.is_err() {
            return Err(Failure::new(crate::exit::Status::Failed, "the torrent ended early").into());
        }
    }
}

/// How many peers have all of it, told when there are more.
#[derive(Default)]
struct Copies(usize);

impl Copies {
    fn tell(&mut self, snapshot: &Snapshot, wanted: NonZeroUsize, context: &Context) {
        if snapshot.copies > self.0 {
            self.0 = snapshot.copies;
            let name = snapshot.name.clone().unwrap_or_default();
            let copied = Copied { name, peers: self.0, wanted };
            context.output.object("copied", &copied);
            let Copied { name, peers, wanted } = copied;
            context.output.result(&format!("{peers} of {wanted} peers have all of {name}"));
        }
    }
}

/// So many peers have all.
#[derive(Serialize)]
struct Copied {
    name: String,
    peers: usize,
    wanted: NonZeroUsize,
}

fn still_there(snapshot: &Snapshot) -> Result<(), Failure> {
    match &snapshot.state {
        State::Failed { reason, fault } => Err(Failure::of_torrent(*fault, reason)),
        State::Stopped => Err(Failure::new(crate::exit::Status::Failed, "the torrent was stopped")),
        State::Metadata
        | State::Checking
        | State::Downloading
        | State::Seeding
        | State::Queued
        | State::Held
        | State::Moving
        | State::Paused { .. } => Ok(()),
    }
}

/// How long an announce may take before the person hears of it.
const PATIENCE: Duration = Duration::from_secs(5);
/// Between attempts to publish.
const PUBLISH_AGAIN: Duration = Duration::from_secs(5);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_quoted_only_when_a_shell_would_change_them() {
        let cases = [
            ("big.iso", "big.iso"),
            ("a b", "'a b'"),
            ("it's", r"'it'\''s'"),
            ("$(x)", "'$(x)'"),
            ("ü.bin", "ü.bin"),
            ("-e", "'-e'"),
            ("", "''"),
        ];
        for (name, expected) in cases {
            assert_eq!(shell_quoted(name), expected, "{name}");
        }
    }

    #[test]
    fn the_file_name_is_the_last_part_of_the_name() {
        assert_eq!(file_name("team/big.iso"), "big.iso");
        assert_eq!(file_name("big.iso"), "big.iso");
    }
}
