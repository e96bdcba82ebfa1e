//! All torrents of one process: the threads that carry them, the ports that peers dial.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};

use parking_lot::Mutex;
use proto::choice::Choice;
use proto::metainfo::Metainfo;
use proto::{FileIndex, InfoHash, InfoHashes, PeerId};
use swarm::{PieceOrder, Priority};
use tokio::sync::{Semaphore, mpsc, oneshot, watch};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::LocalPoolHandle;

use crate::api::{Add, Begin, Content, NodeConfig, NodeError, Snapshot, Source, State, Totals};
use crate::chunks;
use crate::datagram::{self, Outgoing, Routes};
use crate::directory::{Directory, Facts};
use crate::disk::{BlockPool, Disk, DiskConfig};
use crate::finder::{self, Finder};
use crate::handshake::Offer;
use crate::hashing;
use crate::hashing::create::{Created, Recipe};
use crate::keeper::{Keeper, Resting, Wiring};
use crate::ledger::Ledger;
use crate::left::Left;
use crate::limiter::Limiter;
use crate::listen;
use crate::neighbours::{self, Neighbours};
use crate::opening::{Opening, WebSeeds};
use crate::openings::Openings;
use crate::publisher::Publisher;
use crate::reading::Reading;
use crate::record::Records;
use crate::roads::Roads;
use crate::torrent::{self, Input};
use crate::tracker_client::TrackerClient;

/// A running node. Dropping it leaves its torrents running until the runtime ends: call
/// [`Node::shutdown`].
#[derive(Debug)]
pub struct Node {
    inner: Arc<Inner>,
}

/// A torrent of a running node.
#[derive(Debug, Clone)]
pub struct Torrent {
    inputs: mpsc::UnboundedSender<Input>,
    snapshot: watch::Receiver<Arc<Snapshot>>,
    metainfo: watch::Receiver<Option<Arc<Metainfo>>>,
}

/// What the router made of a node's port; 0 while it made nothing of it.
#[derive(Debug, Clone, Default)]
pub struct ExternalPort(Arc<AtomicU16>);

impl ExternalPort {
    /// Others reach the port under this number from outside: peers are told of it instead.
    pub fn note(&self, port: u16) {
        self.0.store(port, Ordering::Relaxed);
    }
}

/// What the parts of a node share.
pub(crate) struct Inner {
    pub(crate) config: NodeConfig,
    pub(crate) peer_id: PeerId,
    /// Lets trackers know us again when our address changes.
    pub(crate) announce_key: u32,
    pub(crate) disk: Disk,
    pub(crate) records: Arc<Records>,
    pub(crate) left: Left,
    pub(crate) ledger: Arc<Ledger>,
    pub(crate) trackers: TrackerClient,
    pub(crate) openings: Openings,
    /// One permit a connection, of all torrents together.
    pub(crate) connections: Arc<Semaphore>,
    /// Those of clients that are no peers.
    pub(crate) doors: chunks::Doors,
    pub(crate) names: chunks::Names,
    /// The way to the DHT, if the node takes part in it.
    pub(crate) finder: Option<Finder>,
    /// The way to the local network, if it may hear of us.
    pub(crate) neighbours: Option<Neighbours>,
    /// What all connections together keep to.
    pub(crate) limiter: Limiter,
    /// How peers are dialled.
    pub(crate) roads: Roads,
    /// The torrents that peers may ask for.
    pub(crate) directory: Directory,
    listening: Vec<SocketAddr>,
    external_port: ExternalPort,
    threads: LocalPoolHandle,
    handles: Mutex<Vec<Torrent>>,
    /// The DHT's task, which keeps what it knows before it ends.
    finding: Mutex<Option<JoinHandle<()>>>,
    closing: CancellationToken,
    /// Whoever works on files, beside the disk's own threads, has one.
    working: Arc<()>,
}

impl std::fmt::Debug for Inner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Node").field("listening", &self.listening).finish_non_exhaustive()
    }
}

impl Node {
    /// Opens the state folder, starts the threads and listens.
    pub async fn start(config: NodeConfig) -> Result<Self, NodeError> {
        let config = config.held_to_its_proxy();
        let (records, left, ledger) = open_records(config.data_dir.clone()).await?;
        let idle_buffers = (config.piece_budget / u64::from(proto::BLOCK_LEN)) as usize;
        let pool = Arc::new(BlockPool::new(idle_buffers));
        let disk_config = DiskConfig { workers: config.workers, ..DiskConfig::default() };
        let disk = Disk::new(disk_config, records.clone(), pool);
        let listen::Bound { tcp, udp } = listen::bind(&config)?;
        let listening: Vec<SocketAddr> =
            tcp.iter().filter_map(|listener| listener.local_addr().ok()).collect();
        let mut roads = Roads::new(&config);
        let hosts = roads.hosts_over(&udp);
        let (outgoing, sockets) = Outgoing::over(udp);
        let (finder, to_dht, ends) = finder::wire(outgoing);
        let dht = config.dht.clone();
        let (neighbours, changes) = Neighbours::wire();
        let near = config.local_discovery && can_be_reached(&listening);
        let inner = Arc::new(Inner {
            peer_id: torrent::new_peer_id(),
            announce_key: rand::random(),
            disk,
            records,
            left,
            ledger,
            trackers: TrackerClient::new(config.trust.clone(), config.gate()),
            openings: Openings::default(),
            connections: Arc::new(Semaphore::new(config.max_peers)),
            doors: chunks::Doors::default(),
            names: chunks::Names::default(),
            finder: dht.is_some().then_some(finder),
            neighbours: Some(neighbours).filter(|_| near),
            limiter: Limiter::new(config.rates),
            roads,
            listening,
            external_port: ExternalPort::default(),
            threads: LocalPoolHandle::new(config.network_threads.max(1)),
            directory: Directory::default(),
            handles: Mutex::default(),
            finding: Mutex::default(),
            closing: CancellationToken::new(),
            working: Arc::default(),
            config,
        });
        inner.keep_ledger();
        for listener in tcp {
            let inner = inner.clone();
            inner.threads.clone().spawn_pinned(move || listen::accept(inner, listener));
        }
        for (socket, host) in sockets.into_iter().zip(hosts) {
            let to_dht = dht.is_some().then(|| to_dht.clone());
            let routes = Routes { dht: to_dht, utp: host.clone() };
            let closing = inner.closing.clone();
            inner.threads.spawn_pinned(move || datagram::run(socket, routes, closing));
            if let Some(host) = host {
                let node = inner.clone();
                inner.threads.spawn_pinned(move || listen::accept_utp(node, host));
            }
        }
        if near {
            let node = inner.clone();
            inner.threads.spawn_pinned(move || neighbours::run(node, changes));
        }
        if let Some(dht) = dht {
            let node = inner.clone();
            let task = inner.threads.spawn_pinned(move || finder::run(node, dht, ends));
            *inner.finding.lock() = Some(task);
        }
        Ok(Self { inner })
    }

    pub(crate) const fn inner(&self) -> &Arc<Inner> {
        &self.inner
    }

    pub(crate) fn records(&self) -> Arc<Records> {
        self.inner.records.clone()
    }

    /// The limits of all torrents together, LAN peers left out unless [`NodeConfig::limit_lan`] says otherwise.
    #[must_use]
    pub fn limiter(&self) -> Limiter {
        self.inner.limiter.clone()
    }

    /// Where to note that the router has opened our port.
    #[must_use]
    pub fn external_port(&self) -> ExternalPort {
        self.inner.external_port.clone()
    }

    /// The addresses that peers can dial.
    #[must_use]
    pub fn listening(&self) -> &[SocketAddr] {
        &self.inner.listening
    }

    /// The torrent of what is at `path`, if it was shared by an earlier run, under the same recipe, and
    /// nothing has changed since: it need not be hashed again.
    pub async fn recall(&self, path: PathBuf, recipe: Recipe) -> Option<Created> {
        let records = self.inner.records.clone();
        let recall = move || hashing::recall(&records, &path, &recipe);
        // Whatever is wrong with the content is said by those who hash it.
        tokio::task::spawn_blocking(recall).await.ok()?.ok()?
    }

    /// Adds a torrent and starts it.
    #[expect(clippy::unused_async, reason = "adding may come to wait for the disk")]
    pub async fn add(&self, add: Add) -> Result<Torrent, NodeError> {
        let mut choice = add.choice;
        let (hashes, metainfo, name, mut trackers, of_link) = match add.source {
            Source::Metainfo(metainfo) => {
                let trackers = metainfo.trackers.clone();
                (metainfo.info.hashes(), Some(Arc::new(*metainfo)), None, trackers, Vec::new())
            }
            Source::Magnet(magnet) => {
                if let (Choice::All, Some(select)) = (&choice, magnet.select) {
                    choice = Choice::Linked(select);
                }
                let trackers = magnet.trackers.iter().map(|url| vec![url.clone()]).collect();
                (magnet.hashes, None, magnet.name, trackers, magnet.web_seeds)
            }
        };
        trackers.splice(0..0, add.trackers);
        let (inputs, from_outside) = mpsc::unbounded_channel();
        let private = metainfo.as_ref().is_some_and(|metainfo| metainfo.info.is_private());
        if !self.inner.directory.insert_new(Facts { hashes, private }, &inputs) {
            return Err(NodeError::Duplicate(hashes.primary().to_string()));
        }
        let fetch = matches!(add.content, Content::Fetch { .. });
        let config = self.inner.swarm_config(
            hashes,
            trackers.clone(),
            (fetch, add.super_seed, add.order),
            metainfo.is_some(),
        );
        let (publish, snapshot) = watch::channel(Arc::new(Snapshot::empty(hashes)));
        let (tell_metainfo, known) = watch::channel(None);
        let config = swarm::Config { dht: config.dht && !add.secluded, ..config };
        let key = self.inner.left.known_as(hashes.primary());
        let wiring = Wiring {
            limiter: add.limiter,
            inputs: from_outside,
            outside: inputs.clone(),
            publisher: Publisher::new(publish),
            tell_metainfo,
            account: self.inner.ledger.account(key),
            key,
        };
        let mut opening = Opening::new(key, add.content, trackers, name)
            .with_web_seeds(WebSeeds { named: add.web_seeds, of_link })
            .with_copies_in(add.adopt)
            .choosing(choice);
        let (moving, mut resting) = (add.begin != Begin::Anew, None);
        if moving {
            let wishes = self.inner.left.wishes(key);
            opening = opening.left_so(&wishes);
            let waits = add.begin == Begin::Waiting;
            resting = wishes.rest.map(Resting::Held).or_else(|| waits.then_some(Resting::Queued));
        }
        if resting.is_some() {
            self.inner.directory.rest(hashes);
        }
        let (node, name) = (self.inner.clone(), add.name);
        self.inner.threads.spawn_pinned(move || {
            Keeper { node, config, opening, metainfo, name, resting, moving, wiring }.run()
        });
        if !add.peers.is_empty() {
            let _ = inputs.send(Input::Command(swarm::Command::AddPeers(add.peers)));
        }
        let torrent = Torrent { inputs, snapshot, metainfo: known };
        self.inner.remember(torrent.clone());
        Ok(torrent)
    }

    /// Stops every torrent in good order: trackers are told, what is written is synced and recorded.
    /// Then another process may have the state folder.
    pub async fn shutdown(self) {
        self.inner.closing.cancel();
        let torrents = std::mem::take(&mut *self.inner.handles.lock());
        let stops: Vec<_> = torrents
            .into_iter()
            .map(|torrent| tokio::spawn(async move { torrent.stop().await }))
            .collect();
        for stop in stops {
            // A torrent whose task failed has nothing left to save.
            let _ = stop.await;
        }
        let finding = self.inner.finding.lock().take();
        if let Some(finding) = finding {
            // A task that failed has nothing left to keep.
            let _ = finding.await;
        }
        let inner = self.inner;
        let release = move || {
            inner.ledger.write();
            inner.disk.stop();
            // What could not be called off has the folder until the process ends.
            if Arc::strong_count(&inner.working) == 1 {
                inner.records.release();
            }
        };
        if tokio::task::spawn_blocking(release).await.is_err() {
            tracing::error!("the disk threads did not end well");
        }
    }
}

impl Torrent {
    /// How the torrent stands, renewed a few times a second.
    #[must_use]
    pub fn snapshot(&self) -> watch::Receiver<Arc<Snapshot>> {
        self.snapshot.clone()
    }

    /// The torrent file, once all of it is known.
    #[must_use]
    pub fn metainfo(&self) -> Option<Metainfo> {
        self.metainfo.borrow().as_deref().cloned()
    }

    /// Tells the torrent of possible peers.
    pub fn add_peers(&self, peers: Vec<SocketAddr>) {
        // A stopped torrent needs none.
        let _ = self.inputs.send(Input::Command(swarm::Command::AddPeers(peers)));
    }

    /// From now on these files are wanted that much; others stay as they are. What is fetched of a file
    /// that is skipped stays where it is. Files that the torrent does not have are left out.
    pub fn prioritize(&self, changes: Vec<(FileIndex, Priority)>) {
        // A stopped torrent fetches nothing.
        let _ = self.inputs.send(Input::Prioritize(changes));
    }

    /// Its files, to read while they come; waits until they are open. `None` when the torrent has ended.
    pub async fn reading(&self) -> Option<Reading> {
        let (answer, reading) = oneshot::channel();
        self.inputs.send(Input::Read(answer)).ok()?;
        reading.await.ok()
    }

    pub(crate) fn send(&self, input: Input) -> Result<(), ()> {
        self.inputs.send(input).map_err(drop)
    }

    /// Stops it in good order.
    pub async fn stop(&self) {
        let (done, stopped) = oneshot::channel();
        if self.inputs.send(Input::Stop(done)).is_ok() {
            // An error means that it has stopped already.
            let _ = stopped.await;
        }
    }
}

impl Inner {
    /// The TCP port that peers can dial.
    pub(crate) fn listen_port(&self) -> Option<u16> {
        self.listening.first().map(SocketAddr::port)
    }

    /// The TCP port that peers elsewhere can dial.
    pub(crate) fn announced_port(&self) -> Option<u16> {
        match self.external_port.0.load(Ordering::Relaxed) {
            0 => self.listen_port(),
            port => Some(port),
        }
    }

    /// What to answer a peer that asks for that torrent.
    pub(crate) fn offer(&self, info_hash: InfoHash) -> Option<Offer> {
        let Facts { hashes, private } = self.directory.facts(info_hash)?;
        let dht = self.finder.is_some() && !private;
        Some(Offer { hashes, peer_id: self.peer_id, dht })
    }

    /// To be stopped with the node.
    fn remember(&self, torrent: Torrent) {
        let mut handles = self.handles.lock();
        // Those that have ended need no stop any more. Whoever looked each time would look at all of them for each.
        if handles.len() == handles.capacity() {
            handles.retain(|torrent| !torrent.inputs.is_closed());
        }
        handles.push(torrent);
    }

    fn keep_ledger(&self) {
        let (ledger, closing) = (self.ledger.clone(), self.closing.clone());
        self.threads.spawn_pinned(move || ledger.keep(closing));
    }

    pub(crate) const fn closing(&self) -> &CancellationToken {
        &self.closing
    }

    /// Works on files for as long as it takes, on a thread of its own. A disk may not answer: when the node
    /// ends, nobody waits for it longer than a moment, and it ends with the process.
    pub(crate) fn work<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> JoinHandle<T> {
        let working = self.working.clone();
        tokio::task::spawn_blocking(move || {
            let done = work();
            drop(working);
            done
        })
    }

    fn swarm_config(
        &self,
        info_hashes: InfoHashes,
        trackers: Vec<Vec<String>>,
        (fetch, super_seed, order): (bool, bool, PieceOrder),
        metadata_known: bool,
    ) -> swarm::Config {
        swarm::Config {
            seed: rand::random(),
            peer_id: self.peer_id,
            info_hashes,
            trackers,
            max_peers: self.config.max_peers_per_torrent,
            upload_slots: self.config.upload_slots,
            piece_budget: self.config.piece_budget,
            fetch,
            metadata_known,
            super_seed,
            order,
            exchange: self.config.exchange,
            punch: !self.roads.hosts.is_empty(),
            dht: self.finder.is_some(),
        }
    }
}

/// Opens the state folder, and reads what earlier runs left in it.
async fn open_records(folder: PathBuf) -> Result<(Arc<Records>, Left, Arc<Ledger>), NodeError> {
    let open = move || -> Result<_, NodeError> {
        let records = Arc::new(Records::open(&folder)?);
        let (left, ledger) = Left::load(&records)?;
        Ok((records, left, ledger))
    };
    tokio::task::spawn_blocking(open).await.map_err(|_| NodeError::Closed)?
}

/// Other machines can dial one of these.
fn can_be_reached(listening: &[SocketAddr]) -> bool {
    listening.iter().any(|addr| !addr.ip().is_loopback())
}

impl Snapshot {
    /// A torrent of which nothing is known yet.
    #[must_use]
    pub fn empty(info_hashes: InfoHashes) -> Self {
        Self {
            state: State::Metadata,
            name: None,
            info_hashes,
            path: None,
            content_len: 0,
            wanted_len: 0,
            wanted_verified: 0,
            verified: 0,
            durable: 0,
            checked: 0,
            downloaded: 0,
            uploaded: 0,
            totals: Totals::default(),
            wasted: 0,
            reused: 0,
            down_rate: 0,
            up_rate: 0,
            eta: None,
            peers: Vec::new(),
            slots: swarm::Slots::default(),
            unavailable: Vec::new(),
            unavailable_count: 0,
            copies: 0,
            swarm_counts: None,
            trackers: Vec::new(),
            finished: false,
        }
    }
}
