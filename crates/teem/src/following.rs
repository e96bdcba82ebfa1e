//! Keeps a folder at the newest version of a name.
//!
//! The first version is fetched as `teem get` fetches. Each one after it is made beside the present one,
//! from that one's files as far as they are the same, and takes its place when it is whole.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use node::disk::switch::{SwitchError, stage_of, stages_of};
use node::{Add, Content, Node, Snapshot, Source, State, Torrent};
use proto::InfoHashes;
use proto::metainfo::Metainfo;
use serde::Serialize;

use crate::cli::Context;
use crate::client::{Client, ClientError};
use crate::exit::{Failure, Status};
use crate::fetching::{self, Done, Telling, Until};
use crate::locate::{self, Answer, Trackers};
use crate::seed_limits::SeedLimits;
use crate::units;

/// What is followed, and how.
pub(crate) struct Following<'a> {
    pub(crate) node: &'a Node,
    /// In the catalogue.
    pub(crate) name: String,
    /// Where it is kept, absolute.
    pub(crate) folder: PathBuf,
    pub(crate) trackers: Trackers,
    /// How often to ask for a new version.
    pub(crate) interval: Duration,
    /// Give up after so long without any source.
    pub(crate) timeout: Option<Duration>,
    pub(crate) context: &'a Context,
}

/// A version in the catalogue.
struct Version {
    number: u32,
    metainfo: Box<Metainfo>,
    peers: Vec<SocketAddr>,
}

impl Version {
    const fn hashes(&self) -> InfoHashes {
        self.metainfo.info.hashes()
    }
}

/// The version that is in the folder.
pub(crate) struct Held {
    torrent: Torrent,
    hashes: InfoHashes,
}

/// How fetching a version ended.
enum Fetched {
    /// It is in the folder.
    Whole(Held),
    /// There is a newer one already.
    Overtaken(Version),
}

impl Following<'_> {
    /// Gets the version of this moment.
    pub(crate) async fn once(&self) -> anyhow::Result<Held> {
        let mut version = self.newest().await?;
        loop {
            match self.get(version, &mut None).await? {
                Fetched::Whole(held) => return Ok(held),
                Fetched::Overtaken(newer) => version = newer,
            }
        }
    }

    /// Gets each version as it comes, until a signal comes or it cannot go on.
    pub(crate) async fn run(&self) -> anyhow::Result<()> {
        let mut held = Some(self.once().await?);
        let mut next = None;
        loop {
            let version = match next.take() {
                Some(version) => version,
                None => self.wait_for_next(held.as_ref()).await?,
            };
            match self.get(version, &mut held).await? {
                Fetched::Whole(newer) => held = Some(newer),
                Fetched::Overtaken(newer) => next = Some(newer),
            }
        }
    }

    /// The newest version; an error when there is none, or nobody to ask.
    async fn newest(&self) -> anyhow::Result<Version> {
        let ask = async |client: Client| latest(&client, &self.name, None).await;
        let catalogues = &self.trackers.catalogues;
        let answer = locate::ask_each(catalogues, self.trackers.asker(), &self.context.output, ask);
        match self.context.interrupt.or(answer).await? {
            Answer::Found(Latest::New(version), _) => Ok(*version),
            Answer::Found(Latest::Same, _) | Answer::Unknown => {
                Err(crate::cli::unknown(&self.name, &self.trackers, self.context).await.into())
            }
        }
    }

    /// Waits for a version that is not `than`. A tracker that is away is waited for, too.
    async fn newer(&self, than: InfoHashes) -> Version {
        let mut told = false;
        loop {
            tokio::time::sleep(self.interval).await;
            for endpoint in &self.trackers.catalogues {
                let client = Client::new(endpoint.clone(), &self.trackers.known)
                    .credentials(self.trackers.credentials.clone());
                match latest(&client, &self.name, Some(than)).await {
                    Ok(Some(Latest::New(version))) => return *version,
                    Ok(Some(Latest::Same)) => told = false,
                    Ok(None) if !told => {
                        let name = &self.name;
                        self.context
                            .output
                            .warn(&format!("tracker {endpoint} has no {name} any more"));
                        told = true;
                    }
                    Err(error) if !told => {
                        let error = error.at(endpoint);
                        self.context.output.warn(&format!("{error}; asking again and again"));
                        told = true;
                    }
                    Ok(None) | Err(_) => {}
                }
            }
        }
    }

    /// Seeds what is there until there is something newer.
    async fn wait_for_next(&self, held: Option<&Held>) -> anyhow::Result<Version> {
        let Some(held) = held else { return self.newest().await };
        let newer = async { Ok(self.newer(held.hashes).await) };
        let failure = async { Err(failure_of(&held.torrent).await.into()) };
        self.context
            .interrupt
            .or(async {
                tokio::select! {
                    failed = failure => failed,
                    version = newer => version,
                }
            })
            .await
    }

    /// Fetches a version, from the one that is there as far as they are the same, and puts it in place.
    async fn get(&self, version: Version, held: &mut Option<Held>) -> anyhow::Result<Fetched> {
        let begun = Instant::now();
        let name = version.metainfo.info.name().to_owned();
        let left = self.node.finish_replacing(&self.folder, &name).await;
        self.tell_left(&left.map_err(failure)?);
        let present = self.node.present(&self.folder, &name).await.map_err(failure)?;
        let present = present.filter(|here| here.metainfo.info.hashes() != version.hashes());
        let Some(present) = present else {
            let torrent = self.add(&version, &self.folder, Vec::new()).await?;
            let snapshot = match self.fetch(&torrent, &version, begun).await? {
                Ok(snapshot) => snapshot,
                Err(newer) => return Ok(Fetched::Overtaken(newer)),
            };
            self.report(&version, &snapshot, begun);
            let hashes = version.hashes();
            return Ok(Fetched::Whole(Held { torrent, hashes }));
        };
        if let Some(path) = present.changed.first() {
            let message = format!("{} was changed by somebody", path.display());
            return Err(Failure::new(Status::Failed, message)
                .hint("a new version would replace it: move it away, or follow into another folder")
                .into());
        }
        self.fetch_beside(version, present.metainfo, held, begun).await
    }

    async fn fetch_beside(
        &self,
        version: Version,
        present: Metainfo,
        held: &mut Option<Held>,
        begun: Instant,
    ) -> anyhow::Result<Fetched> {
        let name = version.metainfo.info.name().to_owned();
        let stage = stage_of(&self.folder, &name, version.hashes().primary());
        std::fs::create_dir_all(&stage)
            .map_err(|error| Failure::disk(format!("cannot make {}: {error}", stage.display())))?;
        // What was begun of other versions is as good.
        let begun_before = std::fs::read_dir(stages_of(&self.folder, &name)).into_iter().flatten();
        let begun_before = begun_before.flatten().map(|entry| entry.path().join(&name));
        let mut adopt = vec![self.folder.join(&name)];
        adopt.extend(begun_before.filter(|path| !path.starts_with(&stage)));
        let torrent = self.add(&version, &stage, adopt).await?;
        let snapshot = match self.fetch(&torrent, &version, begun).await? {
            Ok(snapshot) => snapshot,
            Err(newer) => {
                torrent.stop().await;
                return Ok(Fetched::Overtaken(newer));
            }
        };
        torrent.stop().await;
        if let Some(held) = held.take() {
            held.torrent.stop().await;
        }
        let new = (*version.metainfo).clone();
        let left = self.node.replace(&self.folder, present, new).await.map_err(failure)?;
        self.tell_left(&left);
        self.node.discard_begun(&self.folder, &name).await.map_err(failure)?;
        let torrent = self.add(&version, &self.folder, Vec::new()).await?;
        let report = Snapshot { path: Some(self.folder.join(&name)), ..(*snapshot).clone() };
        self.report(&version, &report, begun);
        Ok(Fetched::Whole(Held { torrent, hashes: version.hashes() }))
    }

    async fn add(
        &self,
        version: &Version,
        folder: &Path,
        adopt: Vec<PathBuf>,
    ) -> anyhow::Result<Torrent> {
        let source = Source::Metainfo(version.metainfo.clone());
        let add = Add {
            trackers: self.trackers.tiers_beside(&source),
            peers: version.peers.clone(),
            adopt,
            name: Some(self.name.clone()),
            ..Add::new(source, Content::Fetch { folder: folder.to_owned() })
        };
        self.context.interrupt.or(async { Ok(self.node.add(add).await?) }).await
    }

    /// Waits until all of it is there and safe on disk, or something newer is published.
    async fn fetch(
        &self,
        torrent: &Torrent,
        version: &Version,
        begun: Instant,
    ) -> anyhow::Result<Result<Arc<Snapshot>, Version>> {
        let until = Until {
            begun,
            exit: true,
            seeded: SeedLimits::default(),
            timeout: self.timeout,
            telling: Telling::Progress,
        };
        tokio::select! {
            fetched = fetching::follow(torrent, &until, self.context) => fetched.map(Ok),
            newer = self.newer(version.hashes()) => Ok(Err(newer)),
        }
    }

    fn report(&self, version: &Version, snapshot: &Snapshot, begun: Instant) {
        let done = Done::new(snapshot, begun).under(&self.name);
        let report = Report { version: version.number, done };
        self.context.output.object("version", &report);
        let Report { version: number, done } = &report;
        let (path, size, fetched) =
            (&done.path, units::size(done.bytes), units::size(done.fetched));
        let name = &self.name;
        self.context.output.result(&format!("{path}  {name}@{number}  {size}  {fetched} fetched"));
    }

    /// Files for which there was no room are not lost, and their owner should know where they are.
    fn tell_left(&self, left: &[PathBuf]) {
        for path in left {
            self.context.output.warn(&format!("a file of yours is now {}", path.display()));
        }
    }
}

/// What a catalogue says of a name.
enum Latest {
    /// A version that is not the one that is here.
    New(Box<Version>),
    /// The one that is here.
    Same,
}

/// The newest version, unless it is `known`; `None` when the tracker has no such name.
async fn latest(
    client: &Client,
    name: &str,
    known: Option<InfoHashes>,
) -> Result<Option<Latest>, ClientError> {
    let Some(entry) = client.entry(name).await? else { return Ok(None) };
    let is_known = known.is_some_and(|known| {
        known.v1().map(|hash| hash.to_string()) == entry.entry.info_hash_v1
            && known.v2().map(|hash| hash.to_string()) == entry.entry.info_hash_v2
    });
    if is_known {
        return Ok(Some(Latest::Same));
    }
    let number = entry.entry.version;
    let Some(torrent) = client.torrent(&format!("{name}@{number}")).await? else { return Ok(None) };
    let metainfo = Metainfo::decode(&torrent.bytes)
        .context("it sent a torrent that cannot be used")
        .map_err(|error| ClientError::Foreign(format!("{error:#}")))?;
    if known == Some(metainfo.info.hashes()) {
        return Ok(Some(Latest::Same));
    }
    let version = Version { number, metainfo: Box::new(metainfo), peers: torrent.peers };
    Ok(Some(Latest::New(Box::new(version))))
}

/// Waits until a torrent cannot go on.
async fn failure_of(torrent: &Torrent) -> Failure {
    let mut snapshots = torrent.snapshot();
    loop {
        if let State::Failed { reason, fault } = &snapshots.borrow_and_update().state {
            return Failure::of_torrent(*fault, reason);
        }
        if snapshots.changed().await.is_err() {
            return Failure::new(Status::Failed, "the torrent ended early");
        }
    }
}

fn failure(error: SwitchError) -> Failure {
    Failure::of_torrent(error.fault(), &error.to_string())
}

/// A version that is in the folder.
#[derive(Debug, Serialize)]
struct Report {
    version: u32,
    #[serde(flatten)]
    done: Done,
}
