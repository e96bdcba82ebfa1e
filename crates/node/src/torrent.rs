//! One task a torrent: owns its [`Swarm`], carries out its actions, publishes how it stands.
//!
//! Invariant: this task never waits for a connection, a disk or a tracker; they all answer through
//! channels. Connections wait for it: that is what holds fast peers back.

mod layers;
mod readers;
mod sources;
mod standing;
mod wishes;

use std::cell::OnceCell;
use std::collections::HashMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::{Duration, Instant};

use proto::egress::Nearness;
use proto::metainfo::{Info, Metainfo, OpenHash, PieceLayers};
use proto::{FileIndex, InfoHash, InfoHashes, MerkleHash, PeerId, PieceIndex};
use swarm::{
    Action, AnnounceTo, Command, Connected, Direction, DiskEvent, DiskJob, Found, Goodbye, Notice,
    PeerCommand, PeerKey, Priority, Session, SessionConfig, Swarm, TrackerAnswer,
};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;

use self::readers::Readers;
use self::wishes::Wishes;
use crate::api::{Fault, State};
use crate::chunks::{Asked, Desk};
use crate::clock;
use crate::connection::{Connection, FromPeer, Shared};
use crate::directory::Facts;
use crate::disk::{Allowance, StorageEvent};
use crate::handshake::{self, HandshakeError, Offer};
use crate::keeper::{Ended, Wiring};
use crate::limiter::Limits;
use crate::neighbours::Presence;
use crate::node::Inner;
use crate::opening::{self, Opening};
use crate::orders::Ordered;
use crate::reading::Reading;
use crate::stream::{Detached, Stream};
use crate::tracker_client;
use crate::web_seed;

/// What reaches a torrent from outside its own connections and files. Small: each torrent has two channels of it,
/// with room for 32 at least.
pub(crate) enum Input {
    /// A peer dialled us; handshakes are done.
    Incoming(Box<(Detached, Connected)>),
    /// A dial ended.
    Dialled(SocketAddr, Box<Result<(Stream, Connected), HandshakeError>>),
    /// A tracker answered.
    Announced(Box<(AnnounceTo, Announcement)>),
    /// The DHT knows of possible peers.
    Found(Found),
    /// A search of the DHT has ended; so many nodes know of us now.
    Searched(InfoHash, usize),
    /// The files are open, or cannot be.
    Opened(Box<Result<opening::Opened, crate::disk::OpenError>>),
    /// The leaf hashes of a piece of ours, if it could be read.
    Leaves(PieceIndex, Option<Vec<MerkleHash>>),
    /// A client that is no peer asks for something.
    Asked(Asked),
    /// A person or program asks for something.
    Command(Command),
    /// Files are wanted that much.
    Prioritize(Vec<(FileIndex, Priority)>),
    /// Somebody wants to read files; answered once they are open.
    Read(oneshot::Sender<Reading>),
    /// A person wants something done with the torrent as a whole.
    Order(Box<Ordered>),
    /// End in good order, then say so.
    Stop(oneshot::Sender<()>),
}

/// What a tracker answered, and whom it named; or why not.
type Announcement = Result<(TrackerAnswer, Found), String>;

/// A torrent's task.
pub(crate) struct TorrentTask {
    node: Arc<Inner>,
    swarm: Swarm,
    hashes: InfoHashes,
    opening: Opening,
    shared: Rc<Shared>,
    commands: HashMap<PeerKey, mpsc::UnboundedSender<PeerCommand>>,
    addrs: HashMap<PeerKey, SocketAddr>,
    /// The URLs of those that are no peers.
    web_seeds: HashMap<PeerKey, String>,
    desk: Desk,
    wiring: Wiring,
    /// What this run started ends here: nothing of it reaches the next one.
    own: mpsc::UnboundedReceiver<Input>,
    to_self: mpsc::UnboundedSender<Input>,
    peers: mpsc::Receiver<FromPeer>,
    to_peers: mpsc::Sender<FromPeer>,
    disk: mpsc::UnboundedReceiver<StorageEvent>,
    actions: Vec<Action>,
    jobs: Vec<DiskJob>,
    metainfo: Option<Arc<Metainfo>>,
    state: State,
    path: Option<PathBuf>,
    checked: Arc<AtomicU64>,
    finished: bool,
    wishes: Wishes,
    readers: Readers,
    /// Strangers do not hear of it.
    secluded: bool,
    /// Others near here may find the torrent.
    presence: Option<Presence>,
    /// Memory for pieces, once the files are open.
    allowance: Option<Allowance>,
    announcing: usize,
    /// The piece layers of a magnet link are being written down.
    saving: Option<JoinHandle<()>>,
    stopping: Option<(Vec<oneshot::Sender<()>>, Instant)>,
    /// What is to be done once this run has ended.
    orders: Vec<Ordered>,
    /// Peers that there were then.
    left_behind: Vec<SocketAddr>,
    opening_files: Option<JoinHandle<()>>,
}

impl TorrentTask {
    pub(crate) fn new(
        node: Arc<Inner>,
        config: swarm::Config,
        opening: Opening,
        metainfo: Option<Arc<Metainfo>>,
        wiring: Wiring,
    ) -> Self {
        let (hashes, secluded) = (config.info_hashes, !config.dht);
        let (to_peers, peers) = mpsc::channel(BATCHES_WAITING);
        let (disk_events, disk) = mpsc::unbounded_channel();
        let (to_self, own) = mpsc::unbounded_channel();
        let shared = Rc::new(Shared { storage: OnceCell::new(), pool: node.disk.pool().clone() });
        Self {
            swarm: Swarm::new(clock::now(), config),
            hashes,
            opening: opening.with_events(disk_events),
            shared,
            commands: HashMap::new(),
            addrs: HashMap::new(),
            web_seeds: HashMap::new(),
            desk: Desk::default(),
            wiring,
            own,
            to_self,
            peers,
            to_peers,
            disk,
            actions: Vec::new(),
            jobs: Vec::new(),
            metainfo,
            state: State::Metadata,
            path: None,
            checked: Arc::default(),
            finished: false,
            wishes: Wishes::default(),
            readers: Readers::default(),
            secluded,
            presence: None,
            allowance: None,
            announcing: 0,
            saving: None,
            stopping: None,
            orders: Vec::new(),
            left_behind: Vec::new(),
            opening_files: None,
            node,
        }
    }

    /// Runs until it is told to stop, or to do what cannot be done while it runs.
    pub(crate) async fn run(mut self: Box<Self>) -> Ended {
        match self.metainfo.clone() {
            Some(metainfo) => self.open_files(metainfo),
            None => self.be_present(OpenHash::of_unknown(self.hashes)),
        }
        loop {
            self.act();
            if self.may_end() {
                break;
            }
            let now = clock::now();
            if self.wiring.publisher.due(now).is_some_and(|due| due <= now) {
                self.publish();
            }
            self.step().await;
        }
        self.close().await
    }

    /// Waits for one thing to happen, then takes whatever else is there.
    async fn step(&mut self) {
        let timeout = self.next_timeout();
        let timeout = async {
            match timeout {
                Some(timeout) => tokio::time::sleep_until(timeout.into()).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            Some(input) = self.wiring.inputs.recv() => self.on_input(input),
            Some(input) = self.own.recv() => self.on_input(input),
            Some(event) = self.disk.recv() => self.on_storage(event),
            Some(from) = self.peers.recv() => self.on_peer(from),
            () = timeout => {
                let now = clock::now();
                if self.swarm_timeout().is_none_or(|due| due > now) {
                    return;
                }
                self.swarm.handle_timeout(now);
            }
        }
        self.wiring.publisher.note();
        for _ in 0..BATCHES_WAITING {
            self.act();
            if let Ok(event) = self.disk.try_recv() {
                self.on_storage(event);
            } else if let Ok(from) = self.peers.try_recv() {
                self.on_peer(from);
            } else {
                break;
            }
        }
    }

    fn next_timeout(&self) -> Option<Instant> {
        let stop = self.stopping.as_ref().map(|(_, deadline)| *deadline);
        [self.swarm_timeout(), stop, self.wiring.publisher.due(clock::now())]
            .into_iter()
            .flatten()
            .min()
    }

    /// While the files are being opened nobody knows what to tell others.
    fn swarm_timeout(&self) -> Option<Instant> {
        let awake = self.is_open() || self.state == State::Metadata;
        awake.then(|| self.swarm.poll_timeout()).flatten()
    }

    fn is_open(&self) -> bool {
        self.shared.storage.get().is_some()
    }

    fn on_input(&mut self, input: Input) {
        let now = clock::now();
        match input {
            Input::Incoming(arrived) => match Stream::attach(arrived.0) {
                Ok(stream) => self.on_connected(stream, arrived.1),
                Err(error) => tracing::debug!(%error, "cannot take over a connection"),
            },
            Input::Dialled(addr, outcome) => match *outcome {
                Ok((stream, connected)) => {
                    debug_assert_eq!(swarm::canonical(addr), connected.addr);
                    self.on_connected(stream, connected);
                }
                Err(error) => {
                    tracing::debug!(%addr, %error, "cannot connect");
                    self.swarm.handle_dial_failed(now, addr, error.is_final());
                }
            },
            Input::Announced(announced) => {
                let (told, answer) = *announced;
                self.announcing -= 1;
                if let Err(error) = &answer {
                    tracing::info!(tracker = told.url, %error, "announce failed");
                }
                self.swarm.handle_announced(now, &told, answer);
                self.wiring.publisher.hurry();
            }
            Input::Found(found) => self.swarm.handle_found(now, found),
            Input::Searched(info_hash, announced) => {
                self.swarm.handle_searched(now, info_hash, announced);
            }
            Input::Opened(opened) => self.on_opened(*opened),
            Input::Leaves(piece, leaves) => {
                self.swarm.handle_disk(now, DiskEvent::Leaves { piece, leaves });
            }
            Input::Asked(asked) => {
                self.desk.on_asked(&mut self.swarm, self.shared.storage.get(), asked);
            }
            Input::Command(command) => self.swarm.handle_command(now, command),
            Input::Prioritize(changes) => self.prioritize(changes),
            Input::Read(answer) => self.on_read(answer),
            Input::Order(ordered) => self.on_order(*ordered),
            Input::Stop(done) => self.stop(Some(done)),
        }
    }

    fn on_peer(&mut self, from: FromPeer) {
        let now = clock::now();
        match from {
            FromPeer::Events(key, mut events) => self.swarm.handle_peer(now, key, &mut events),
            FromPeer::Ended(key, fault) => {
                self.commands.remove(&key);
                let addr = self.addrs.remove(&key);
                self.web_seeds.remove(&key);
                if let (Some(fault), Some(addr)) = (&fault, addr) {
                    tracing::debug!(%addr, %fault, "peer broke a rule");
                }
                let hostile = fault.filter(swarm::PeerFault::is_hostile);
                self.swarm.handle_disconnected(now, key, hostile.map(|fault| fault.to_string()));
            }
        }
    }

    fn on_connected(&mut self, stream: Stream, connected: Connected) {
        let now = clock::now();
        let Ok(permit) = self.node.connections.clone().try_acquire_owned() else {
            tracing::debug!("the process has as many connections as it may");
            if connected.direction == Direction::Outgoing {
                self.swarm.handle_dial_failed(now, connected.addr, false);
            }
            return;
        };
        let key = self.swarm.handle_connected(now, connected);
        let config = SessionConfig {
            connected,
            listen_port: self.node.announced_port(),
            client: crate::CLIENT.to_owned(),
            metadata_len: self.storage_info().map(|info| info.raw().len() as u32),
            upload_only: self.finished && !self.swarm.is_super_seeding(),
            dht_port: self.node.listen_port().filter(|_| self.uses_dht()),
            exchange: self.swarm.exchanges(),
            punch: self.swarm.punches(),
        };
        let session = Session::new(now, config);
        let (commands, from_torrent) = mpsc::unbounded_channel();
        self.commands.insert(key, commands);
        self.addrs.insert(key, connected.addr);
        let (shared, to_torrent) = (self.shared.clone(), self.to_peers.clone());
        let connection = Connection::new(
            key,
            stream,
            session,
            shared,
            from_torrent,
            to_torrent,
            self.limits(connected.addr),
        );
        tokio::task::spawn_local(async move {
            connection.run().await;
            drop(permit);
        });
    }

    /// What a connection to that peer keeps to.
    fn limits(&self, peer: SocketAddr) -> Limits {
        if proto::address::is_local(peer.ip()) && !self.node.config.limit_lan {
            return Limits::default();
        }
        self.limits_everywhere()
    }

    fn limits_everywhere(&self) -> Limits {
        Limits::new(vec![self.node.limiter.clone(), self.wiring.limiter.clone()])
    }

    /// The local network may hear of the torrent, as far as these say.
    fn be_present(&mut self, hashes: Vec<OpenHash>) {
        // What was known before ends first.
        self.presence = None;
        self.presence = self.node.neighbours.as_ref().map(|near| near.present(hashes));
    }

    /// Strangers may hear of the torrent, as far as is known, and there is a way to reach them.
    fn uses_dht(&self) -> bool {
        let private = self.metainfo.as_ref().is_some_and(|metainfo| metainfo.info.is_private());
        self.node.finder.is_some() && !private && !self.secluded
    }

    fn leave_dht(&self) {
        if let Some(finder) = &self.node.finder {
            self.hashes.wire().for_each(|hash| finder.forget(hash));
        }
    }

    /// The torrent, if its files are open.
    fn storage_info(&self) -> Option<&Info> {
        self.shared.storage.get().map(|storage| &**storage.info())
    }

    fn on_storage(&mut self, event: StorageEvent) {
        let now = clock::now();
        match event {
            StorageEvent::Disk(event) => {
                if let DiskEvent::Stored { .. } = event
                    && matches!(self.state, State::Paused { .. })
                {
                    self.set_state(State::Downloading);
                }
                self.swarm.handle_disk(now, event);
                self.readers.on_arrived();
            }
            StorageEvent::Durable(_) | StorageEvent::FileDone(_) => {}
            StorageEvent::Finished => {
                self.finished = true;
                self.wiring.publisher.hurry();
            }
            StorageEvent::Rechecked { good, .. } => {
                for piece in good {
                    self.swarm.handle_disk(now, DiskEvent::Stored { piece, digests: None });
                }
                self.readers.on_arrived();
            }
            StorageEvent::Failed { reason, fault, full } => {
                tracing::error!(reason, "disk");
                self.set_state(if full {
                    State::Paused { reason }
                } else {
                    State::Failed { reason, fault }
                });
            }
        }
    }

    /// Does what the swarm wants done.
    fn act(&mut self) {
        let mut actions = std::mem::take(&mut self.actions);
        loop {
            self.swarm.poll_actions(&mut actions);
            if actions.is_empty() {
                break;
            }
            actions.drain(..).for_each(|action| self.apply(action));
            if let Some(allowance) = &mut self.allowance {
                let room = allowance.adjust(self.swarm.bytes_under_way());
                self.swarm.handle_budget(clock::now(), room);
            }
        }
        self.actions = actions;
        if let (Some(storage), false) = (self.shared.storage.get(), self.jobs.is_empty()) {
            self.node.disk.submit_all(storage, self.jobs.drain(..));
        }
    }

    fn apply(&mut self, action: Action) {
        match action {
            Action::Peer(key, command) => {
                if let Some(commands) = self.commands.get(&key) {
                    // A connection that just ended has told us, or will.
                    let _ = commands.send(command);
                }
            }
            Action::Dial(addr, by) => self.dial(addr, by, false),
            Action::Punch(addr, by) => self.dial(addr, by, true),
            Action::Admit(guest) => self.desk.admit(guest),
            Action::Disconnect(key, goodbye) => self.disconnect(key, goodbye),
            Action::Disk(job) => self.jobs.push(job),
            Action::ReadLeaves(piece) => self.read_leaves(piece),
            Action::Recycle(buffer) => self.shared.pool.give([buffer]),
            Action::Announce(told) => self.announce(told),
            Action::Search(hash) => {
                if let Some(finder) = &self.node.finder {
                    finder.search(hash);
                }
            }
            Action::DhtNode(addr) => {
                if let Some(finder) = self.node.finder.as_ref().filter(|_| self.uses_dht()) {
                    finder.add_node(addr);
                }
            }
            Action::Notice(notice) => self.on_notice(notice),
        }
    }

    fn read_leaves(&self, piece: PieceIndex) {
        let Some(storage) = self.shared.storage.get().cloned() else { return };
        let to_self = self.to_self.clone();
        tokio::task::spawn_blocking(move || {
            let whole = storage.geometry().whole(piece);
            // A file's last piece ends with the file: pads have no leaves.
            let data_len = storage.geometry().spans(whole).map(|span| span.len as usize).sum();
            let mut data = vec![0; whole.len as usize];
            let read = storage.read(whole, &mut data);
            let leaves = read.is_ok().then(|| proto::merkle::leaves(&data[..data_len]));
            let _ = to_self.send(Input::Leaves(piece, leaves));
        });
    }

    /// `punch`: the peer is dialling us at the same time.
    fn dial(&self, addr: SocketAddr, by: Nearness, punch: bool) {
        let (to_self, roads) = (self.to_self.clone(), self.node.roads.clone());
        let dht = self.uses_dht();
        let offer = Offer { hashes: self.hashes, peer_id: self.node.peer_id, dht };
        tokio::task::spawn_local(async move {
            let outcome = if punch {
                tracing::debug!(%addr, "punching a hole");
                handshake::punch((addr, by), &roads, offer).await
            } else {
                handshake::dial((addr, by), &roads, offer).await
            };
            // Nobody to tell when the torrent has ended meanwhile.
            let _ = to_self.send(Input::Dialled(addr, Box::new(outcome)));
        });
    }

    fn disconnect(&mut self, key: PeerKey, goodbye: Goodbye) {
        if let Some(addr) = self.addrs.get(&key) {
            tracing::debug!(%addr, %goodbye, "closing a connection");
        }
        // The connection ends when its commands do, and then says so.
        self.commands.remove(&key);
    }

    fn announce(&mut self, told: AnnounceTo) {
        self.announcing += 1;
        let to_self = self.to_self.clone();
        let identity = tracker_client::Identity {
            peer_id: self.node.peer_id,
            port: self.node.announced_port().unwrap_or(NO_PORT),
            key: self.node.announce_key,
        };
        let client = self.node.trackers.clone();
        tokio::task::spawn_local(async move {
            let answer = client.announce(&told, &identity).await;
            let answer = answer.map_err(|error| error.to_string()).map(|(announced, by)| {
                let peers = announced.peers.iter().map(|peer| peer.addr).collect();
                let answer = TrackerAnswer {
                    interval: Duration::from_secs(announced.interval.into()),
                    min_interval: announced.min_interval.map(|s| Duration::from_secs(s.into())),
                    seeders: Some(announced.seeders),
                    leechers: Some(announced.leechers),
                    our_ip: announced.external_ip,
                };
                (answer, Found { by, peers })
            });
            let _ = to_self.send(Input::Announced(Box::new((told, answer))));
        });
    }

    fn on_notice(&mut self, notice: Notice) {
        match notice {
            Notice::MetadataKnown(info) => self.on_metadata(&info),
            Notice::LayersKnown(layers) => self.on_layers(layers),
            Notice::Complete => {
                self.set_state(State::Seeding);
                if let Some(storage) = self.shared.storage.get() {
                    storage.finish();
                }
            }
            Notice::Incomplete => {
                self.finished = false;
                self.set_state(State::Downloading);
                self.start_web_seeds();
            }
            Notice::Paused(reason) => {
                tracing::warn!(reason, "paused");
                self.set_state(State::Paused { reason });
            }
            Notice::BadPiece(piece) => tracing::warn!(piece = piece.0, "a piece is wrong"),
            Notice::BadBlock(block, addr) => tracing::warn!(
                piece = block.piece.0, block = block.number(), begin = block.begin, peer = %addr,
                "a peer sent a wrong block"
            ),
            Notice::Banned(addr, reason) => tracing::warn!(peer = %addr, reason, "banned a peer"),
            Notice::BannedWebSeed(key, reason) => {
                if let Some(url) = self.web_seeds.remove(&key) {
                    tracing::warn!(url = web_seed::shown(&url), reason, "banned a web seed");
                }
            }
            Notice::Unusable(reason) => {
                let reason = format!("the torrent's info dictionary is not valid: {reason}");
                self.set_state(State::Failed { reason, fault: Fault::Verification });
            }
            Notice::Inconsistent(piece) => {
                let reason = format!(
                    "piece {} matches one of the torrent's two hashes and not the other: \
                     the torrent contradicts itself",
                    piece.0
                );
                self.set_state(State::Failed { reason, fault: Fault::Verification });
            }
        }
    }

    /// A magnet link's info dictionary came.
    fn on_metadata(&mut self, info: &Arc<Info>) {
        self.hashes = info.hashes();
        self.node.directory.insert(
            Facts { hashes: info.hashes(), private: info.is_private() },
            &self.wiring.outside,
        );
        if info.is_private() {
            self.leave_dht();
        }
        let metainfo = Metainfo {
            info: (**info).clone(),
            layers: PieceLayers::default(),
            trackers: self.opening.trackers.clone(),
            web_seeds: self.opening.web_seeds.of_link.clone(),
            comment: None,
            created_by: None,
            creation_date: None,
        };
        self.open_files(Arc::new(metainfo));
    }

    fn open_files(&mut self, metainfo: Arc<Metainfo>) {
        self.path = Some(self.opening.path(&metainfo.info));
        self.metainfo = Some(metainfo.clone());
        let wanted = match self.wishes.begin(&self.opening.choice, &metainfo.info) {
            Ok(wanted) => wanted,
            Err(error) => {
                let (reason, fault) = (error.to_string(), Fault::NoSuchFile);
                return self.set_state(State::Failed { reason, fault });
            }
        };
        self.set_state(State::Checking);
        let node = self.node.clone();
        let opening = self.opening.clone();
        let (to_self, checked) = (self.to_self.clone(), self.checked.clone());
        let opening_files = tokio::task::spawn_local(async move {
            let turn = node.openings.turn(&opening.content).await;
            let opening = tokio::task::spawn_blocking(move || {
                let opened = opening.open(&node, &metainfo, wanted, &checked);
                drop(turn);
                // Nobody to tell when the torrent has ended meanwhile.
                let _ = to_self.send(Input::Opened(Box::new(opened)));
            });
            if opening.await.is_err() {
                tracing::error!("opening a torrent's files failed");
            }
        });
        self.opening_files = Some(opening_files);
    }

    fn on_opened(&mut self, opened: Result<opening::Opened, crate::disk::OpenError>) {
        let (Some(metainfo), None) = (self.metainfo.clone(), &self.stopping) else { return };
        match opened {
            Ok(opened) => {
                let metainfo = self.with_layers_of(&opened.storage, metainfo);
                let info = Arc::new(metainfo.info.clone());
                self.finished = opened.finished;
                self.allowance = Some(opened.storage.allowance(self.node.config.piece_budget));
                // Set once: files are opened once.
                let _ = self.shared.storage.set(opened.storage);
                let layers_known = metainfo.info.files().iter().all(|file| {
                    file.root.is_none()
                        || file.len <= u64::from(metainfo.info.piece_len())
                        || file.root.is_some_and(|root| metainfo.layers.layer(&root).is_some())
                });
                if layers_known {
                    self.wiring.tell_metainfo.send_replace(Some(metainfo.clone()));
                }
                let layers = metainfo.layers.clone();
                self.be_present(OpenHash::of(&info));
                self.prioritize(Vec::new());
                self.swarm.handle_opened(clock::now(), info, layers, opened.have);
                // Last, or people would see a torrent of which nothing is known.
                self.set_state(State::Downloading);
                self.start_web_seeds();
                self.let_readers_in();
            }
            Err(error) => {
                let fault = error.fault();
                self.set_state(State::Failed { reason: error.to_string(), fault });
            }
        }
    }

    fn set_state(&mut self, state: State) {
        let failed = matches!(self.state, State::Failed { .. });
        if !failed && self.state != state {
            self.state = state;
            self.publish();
        }
    }

    fn stop(&mut self, done: Option<oneshot::Sender<()>>) {
        let now = clock::now();
        if let Some((waiting, _)) = &mut self.stopping {
            waiting.extend(done);
            return;
        }
        self.opening.cancel();
        self.swarm.handle_command(now, Command::Stop);
        self.presence = None;
        self.stopping = Some((done.into_iter().collect(), now + GOODBYE));
    }

    /// Connections are closed and trackers told, or it takes too long.
    fn may_end(&self) -> bool {
        self.stopping.as_ref().is_some_and(|(_, deadline)| {
            (self.commands.is_empty() && self.addrs.is_empty() && self.announcing == 0)
                || clock::now() >= *deadline
        })
    }

    async fn close(mut self: Box<Self>) -> Ended {
        self.node.directory.rest(self.hashes);
        self.leave_dht();
        self.node.names.remove(&self.wiring.outside);
        self.close_what_opens().await;
        if let Some(saving) = self.saving.take()
            && saving.await.is_err()
        {
            tracing::error!("writing piece layers down failed");
        }
        if let Some(storage) = self.shared.storage.get().cloned()
            && tokio::task::spawn_blocking(move || storage.close()).await.is_err()
        {
            tracing::error!("the last checkpoint failed");
        }
        let stops = self.stopping.take().map(|(waiting, _)| waiting).unwrap_or_default();
        if !stops.is_empty() {
            // It ends for good.
            self.orders.clear();
        }
        if self.orders.is_empty() && !matches!(self.state, State::Failed { .. }) {
            self.state = State::Stopped;
        }
        self.publish();
        self.wiring.account.pause();
        for done in stops {
            // Whoever asked may have gone.
            let _ = done.send(());
        }
        let Self { wiring, opening, metainfo, orders, left_behind, wishes, .. } = *self;
        let priorities = wishes.all.into_iter().collect();
        Ended { wiring, opening, metainfo, orders, peers: left_behind, priorities }
    }
}

/// Our name for ourselves: the client's mark (BEP 20), then chance.
pub(crate) fn new_peer_id() -> PeerId {
    let mut id = [0; 20];
    id[..8].copy_from_slice(b"-TE0100-");
    rand::fill(&mut id[8..]);
    PeerId(id)
}

/// Batches of events that may wait for the torrent; then connections wait.
const BATCHES_WAITING: usize = 64;
/// How long leaving may take: trackers that do not answer are not waited for.
const GOODBYE: Duration = Duration::from_secs(2);
/// Announced when nobody can dial us: trackers refuse 0.
const NO_PORT: u16 = 1;
