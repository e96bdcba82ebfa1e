//! A whole tracker: sockets, threads, tasks, the catalogue and the swarms, started and stopped.

use std::io;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::{Duration, Instant};

use parking_lot::{Mutex, RwLock};
use proto::InfoHashes;
use registry::{Caps, Files, Intervals, Lives};
use socket2::{Domain, Protocol as SocketProtocol, Socket, Type};
use tokio::net::TcpListener;
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::access::{self, Access, Secret, TokenStore, TokenStoreError};
use crate::admin::{self, AdminCounters, AdminShared};
use crate::catalogue::{
    Catalogue, CatalogueError, CatalogueLimits, Changes, Publication, Published, Publisher,
    Withdrawn,
};
use crate::completed::Completed;
use crate::connection_id::ConnectionIds;
use crate::export::{self, Export};
use crate::http::{self, HttpCounters, HttpShared};
use crate::json::{self, JsonCounters, JsonShared};
use crate::keep;
use crate::latency::Latencies;
use crate::limits::SWEEP_EVERY;
use crate::lists::{ListError, ListFiles, Lists};
use crate::proxy::{Proxies, TrustedProxy};
use crate::quota::{QuotaRates, Quotas};
use crate::swarms::Swarms;
use crate::text::{self, TextConfig, TextCounters, TextServer, TextSockets};
use crate::tls::{self, CertificateError, Tls, TlsConfig};
use crate::udp::{self, UdpCounters, UdpServer, UdpShared};

/// Port 0 is tried so often, since UDP and TCP need the same free number.
pub(crate) const FREE_PORT_TRIES: usize = 32;

/// After so many ports that are taken any free one will do for the operator.
const ADMIN_PORTS_TRIED: u16 = 16;

/// Connections that may wait to be accepted.
const BACKLOG: i32 = 1_024;

/// How a tracker is to be.
#[derive(Debug, Clone)]
pub struct TrackerConfig {
    /// What it calls itself in its status.
    pub name: String,
    /// Where it answers, UDP and HTTP on one number. Port 0 picks a free one, the same for all.
    pub listen: Vec<SocketAddr>,
    /// Holds the catalogue; made if missing.
    pub data_dir: PathBuf,
    /// How large the catalogue may become.
    pub catalogue: CatalogueLimits,
    /// How often peers announce.
    pub intervals: Intervals,
    /// How long peers of the JSON and the text protocol are known without a word.
    pub lives: Lives,
    /// Where JSON is spoken.
    pub json: Extra,
    /// Only who has a token may do anything.
    pub private: bool,
    /// Where and how text is spoken.
    pub text: TextConfig,
    /// Where it is administered. When this is not required and a port is taken, another one is used.
    pub admin: Extra,
    /// Swarms and peers that are kept.
    pub caps: Caps,
    /// Connections of HTTP, and as many of JSON, at once.
    pub connections_max: usize,
    /// How often a network may ask.
    pub quotas: QuotaRates,
    /// How TLS is spoken beside the plain protocols; not at all when `None`.
    pub tls: Option<TlsConfig>,
    /// Whose word about a client's address is believed.
    pub proxies: Vec<TrustedProxy>,
    /// Which torrents and clients are let in.
    pub lists: ListFiles,
    /// Peers outlive a restart.
    pub keep_peers: bool,
    /// Where the counts of all torrents go.
    pub export: Option<Export>,
}

/// What answers everything over HTTP but announces, scrapes and `/health`.
#[derive(Debug, Default)]
pub struct Routers {
    /// At the addresses that everybody may reach.
    pub public: axum::Router,
    /// At those of the operator.
    pub admin: axum::Router,
}

/// Where a protocol beside UDP and HTTP is spoken.
#[derive(Debug, Clone, Default)]
pub struct Extra {
    /// The addresses; none switches it off.
    pub listen: Vec<SocketAddr>,
    /// Without it the tracker does not start. Else it is left out when an address cannot be used.
    pub required: bool,
}

/// The tracker could not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// An address cannot be listened on.
    #[error("cannot listen on {protocol} {addr}: {source}{}", listen_hint(source, *protocol))]
    Listen {
        /// For what.
        protocol: Protocol,
        /// The address.
        addr: SocketAddr,
        /// The system's answer.
        source: io::Error,
    },
    /// Text tells everybody everything.
    #[error("a private tracker cannot speak text: the protocol has no place for a token")]
    TextPrivate,
    /// There is no port behind the last one.
    #[error("text at {0} needs the port behind it for chunk lists: choose one below 65535")]
    NoNextPort(SocketAddr),
    /// No address to listen on.
    #[error("no address to listen on was given")]
    NoAddress,
    /// The catalogue cannot be used.
    #[error(transparent)]
    Catalogue(#[from] CatalogueError),
    /// The tokens cannot be used.
    #[error(transparent)]
    Tokens(#[from] TokenStoreError),
    /// A list cannot be used.
    #[error(transparent)]
    List(#[from] ListError),
    /// TLS cannot be spoken.
    #[error("TLS: {0}")]
    Tls(#[from] CertificateError),
    /// A trusted proxy is for a listener that there is not.
    #[error("a trusted proxy is for {0}, where no HTTP is answered")]
    Proxy(SocketAddr),
    /// A thread cannot be started.
    #[error("start a thread: {0}")]
    Thread(io::Error),
}

impl StartError {
    /// The address is in use by somebody else.
    #[must_use]
    pub fn is_port_taken(&self) -> bool {
        matches!(self, Self::Listen { source, .. } if source.kind() == io::ErrorKind::AddrInUse)
    }
}

fn listen_hint(error: &io::Error, protocol: Protocol) -> &'static str {
    match (error.kind(), protocol) {
        (
            io::ErrorKind::AddrInUse,
            Protocol::Http | Protocol::Json | Protocol::Admin | Protocol::TextLists,
        ) => "; `ss -ltnp` shows who holds the port",
        (io::ErrorKind::AddrInUse, Protocol::Udp | Protocol::Text) => {
            "; `ss -lunp` shows who holds the port"
        }
        _ => "",
    }
}

/// What is spoken at an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    /// BEP 15.
    Udp,
    /// BEP 3 and the API.
    Http,
    /// JSON over TCP, for clients of twenty lines.
    Json,
    /// Administration, metrics and statistics over HTTP.
    Admin,
    /// Text over UDP.
    Text,
    /// The chunk lists of text, over TCP on the port behind it.
    TextLists,
}

impl Protocol {
    /// Its word in the API.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Udp => "udp",
            Self::Http => "http",
            Self::Json => "json",
            Self::Admin => "admin",
            Self::Text => "text",
            Self::TextLists => "text-lists",
        }
    }
}

impl std::fmt::Display for Protocol {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

/// An address in use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Listener {
    /// What is spoken there.
    pub protocol: Protocol,
    /// The address, its port never 0.
    pub addr: SocketAddr,
}

/// What the servers and the router share.
#[derive(Debug)]
pub struct Shared {
    /// What the tracker calls itself.
    pub name: String,
    /// Who may do what.
    pub access: Arc<Access>,
    /// Which torrents and clients are let in.
    pub lists: Arc<Lists>,
    /// The tracker's addresses as the world sees them, as its router told.
    pub(crate) external: RwLock<Vec<IpAddr>>,
    /// Reloads that failed, since the last that did not.
    pub(crate) reloads_failed: AtomicU64,
    /// Every swarm.
    pub swarms: Arc<Swarms>,
    /// How often each network may ask.
    pub(crate) quotas: Arc<Quotas>,
    /// Connections of HTTP, and as many of JSON, at once.
    pub(crate) connections_max: usize,
    /// How long peers of the JSON and the text protocol are known without a word.
    pub(crate) lives: Lives,
    /// Every name. Publish with [`Shared::publish`] and take back with [`Shared::withdraw`], so that the
    /// swarms hear of it.
    pub catalogue: Catalogue,
    /// TLS, where it is spoken.
    pub tls: Option<Arc<Tls>>,
    /// Every address in use.
    pub listeners: Vec<Listener>,
    /// What the UDP threads have done.
    pub udp: Arc<UdpCounters>,
    /// What the HTTP port has done.
    pub http: Arc<HttpCounters>,
    /// What the JSON port has done.
    pub json: JsonCounters,
    /// Who registered which file over JSON.
    pub(crate) files: Arc<Mutex<Files>>,
    /// What the port of the operator has done.
    pub admin: AdminCounters,
    /// How long things take.
    pub latencies: Arc<Latencies>,
    /// What the text protocol's ports have done.
    pub text: TextCounters,
    started: Instant,
}

impl Shared {
    /// How long the tracker has been running.
    #[must_use]
    pub fn uptime(&self) -> Duration {
        self.started.elapsed()
    }

    /// Takes note of the tracker's own addresses as the world sees them. What the operator said at the
    /// start counts for more.
    pub fn note_external(&self, ips: impl Iterator<Item = IpAddr>) {
        *self.external.write() = ips.map(|ip| ip.to_canonical()).collect();
    }

    /// Peers that registered a file of this name over JSON, and are in no swarm therefore.
    #[must_use]
    pub fn simple_peers(&self, name: &str) -> usize {
        self.files.lock().holders_of(name)
    }

    /// Peers known by JSON, and their files.
    #[must_use]
    pub fn simple_totals(&self) -> (usize, usize) {
        self.files.lock().totals()
    }

    /// Publishes a torrent file under a name, and joins its hashes in the swarms.
    ///
    /// # Errors
    /// As [`Catalogue::publish`].
    pub async fn publish(&self, publication: Publication) -> Result<Published, CatalogueError> {
        let swarms = Arc::clone(&self.swarms);
        self.catalogue.publish(publication, move |changes| apply(&swarms, changes)).await
    }

    /// Takes a name back, or one version of it.
    ///
    /// # Errors
    /// As [`Catalogue::withdraw`].
    pub async fn withdraw(
        &self,
        name: String,
        publisher: Publisher,
    ) -> Result<Option<Withdrawn>, CatalogueError> {
        let swarms = Arc::clone(&self.swarms);
        self.catalogue.withdraw(name, publisher, move |changes| apply(&swarms, changes)).await
    }
}

fn apply(swarms: &Swarms, changes: &Changes) {
    changes.gone.iter().for_each(|hashes| swarms.unregister(hashes));
    changes.added.iter().for_each(|hashes| swarms.register(hashes));
}

/// A running tracker. Dropping it ends it too, without waiting for requests.
#[derive(Debug)]
pub struct Tracker {
    shared: Arc<Shared>,
    udp: UdpServer,
    http: Arc<HttpShared>,
    json: Arc<JsonShared>,
    admin: Arc<AdminShared>,
    completed: Arc<Completed>,
    pub(crate) text: TextServer,
    left_out: Vec<StartError>,
    first_admin: Option<Secret>,
    /// Where the peers are kept for the next start.
    kept: Option<PathBuf>,
    stop: DropGuard,
}

impl Tracker {
    /// Starts a tracker on the current runtime. `routers` makes what answers over HTTP beside
    /// announces.
    ///
    /// # Errors
    /// When an address or the data folder cannot be used.
    pub async fn start(
        config: TrackerConfig,
        routers: impl FnOnce(Arc<Shared>) -> Routers,
    ) -> Result<Self, StartError> {
        let mut left_out = Vec::new();
        let sockets = Sockets::bind(&config, &mut left_out)?;
        let swarms = Arc::new(Swarms::new(config.intervals, config.caps));
        let (folder, limits) = (config.data_dir.clone(), config.catalogue);
        let (private, tls, lists) = (config.private, config.tls, config.lists);
        let latencies = Arc::<Latencies>::default();
        let opened = tokio::task::spawn_blocking(move || {
            let lists = Arc::new(Lists::open(lists)?);
            let state = open_state(&folder, private, limits)?;
            Ok::<_, StartError>((state, open_tls(&folder, tls.as_ref())?, lists))
        });
        let (State { catalogue, registered, access, first_admin }, tls, lists) =
            opened.await.map_err(|_| CatalogueError::Closed)??;
        for (hashes, completed) in &registered {
            swarms.register(hashes);
            swarms.restore_completed(hashes, *completed);
        }
        let kept = config.keep_peers.then_some(config.data_dir);
        if let Some(folder) = kept.clone() {
            let swarms = Arc::clone(&swarms);
            let loaded = tokio::task::spawn_blocking(move || keep::load(&folder, &swarms));
            loaded.await.map_err(|_| CatalogueError::Closed)?;
        }
        let shared = Arc::new(Shared {
            name: config.name,
            access: Arc::new(access),
            lists: Arc::clone(&lists),
            external: RwLock::default(),
            reloads_failed: AtomicU64::new(0),
            swarms,
            quotas: Arc::new(Quotas::new(config.quotas, rand::random())),
            connections_max: config.connections_max,
            lives: config.lives,
            catalogue: catalogue.measured(Arc::clone(&latencies)).behind(lists),
            tls,
            listeners: sockets.listeners(),
            udp: Arc::default(),
            http: Arc::default(),
            json: JsonCounters::default(),
            files: Arc::new(Mutex::new(Files::new(config.lives))),
            admin: AdminCounters::default(),
            latencies,
            text: TextCounters::default(),
            started: Instant::now(),
        });
        let routers = routers(Arc::clone(&shared));
        let running = Self::serve(shared, sockets, routers)?;
        running.write_now_and_then(kept.clone(), config.export);
        Ok(Self { left_out, first_admin, kept, ..running })
    }

    /// Starts writing the files that follow the swarms.
    fn write_now_and_then(&self, kept: Option<PathBuf>, export: Option<Export>) {
        let (tasks, stop) = (&self.http.tasks, self.http.gate.stop());
        if let Some(folder) = kept {
            tasks.spawn(keep::keep(folder, Arc::clone(&self.shared.swarms), stop.clone()));
        }
        if let Some(export) = export {
            tasks.spawn(export::keep(export, Arc::clone(&self.shared.swarms), stop.clone()));
        }
    }

    /// Starts every thread and task.
    fn serve(shared: Arc<Shared>, sockets: Sockets, routers: Routers) -> Result<Self, StartError> {
        let stop = CancellationToken::new();
        let http = HttpShared::new(&shared, routers.public, stop.clone());
        let with_proxies = |bound: Bound| {
            let proxies = Proxies::of(bound.addr, &sockets.proxies);
            ((bound.tcp, proxies), bound.udp)
        };
        let (listeners, udp): (Vec<_>, Vec<_>) = sockets.main.into_iter().map(with_proxies).unzip();
        let udp_shared = UdpShared::new(&shared, ConnectionIds::new(rand::random()));
        let udp = udp.into_iter().flatten().collect();
        let udp = UdpServer::start(udp, &Arc::new(udp_shared)).map_err(StartError::Thread)?;
        for (listener, proxies) in listeners {
            http.tasks.spawn(http::serve(listener, proxies, Arc::clone(&http)));
        }
        if let Some(tls) = &shared.tls {
            http.tasks.spawn(tls::watch(Arc::clone(tls), stop.clone()));
        }
        http.tasks.spawn(sweep(Arc::clone(&shared.swarms), stop.clone()));
        if shared.access.is_private() {
            http.tasks.spawn(access::watch(Arc::clone(&shared.access), stop.clone()));
        }
        let json = JsonShared::new(Arc::clone(&shared), stop.clone());
        json::start(sockets.json.into_iter().map(|(listener, _)| listener), &json);
        let admin = AdminShared::new(Arc::clone(&shared), routers.admin, stop.clone());
        for (listener, _) in sockets.admin {
            admin.tasks.spawn(admin::serve(listener, Arc::clone(&admin)));
        }
        let completed = Completed::start(&shared, &http.tasks, stop.clone());
        let text = TextServer::start(sockets.text, &sockets.text_config, &shared, stop.clone())
            .map_err(StartError::Thread)?;
        let (left_out, first_admin, kept, stop) = (Vec::new(), None, None, stop.drop_guard());
        Ok(Self {
            shared,
            udp,
            http,
            json,
            admin,
            completed,
            text,
            left_out,
            first_admin,
            kept,
            stop,
        })
    }

    /// What the servers share.
    #[must_use]
    pub const fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    /// Every address in use.
    #[must_use]
    pub fn listeners(&self) -> &[Listener] {
        &self.shared.listeners
    }

    /// Protocols that were left out, and why.
    #[must_use]
    pub fn left_out(&self) -> &[StartError] {
        &self.left_out
    }

    /// The administrator's token of a private tracker that never had one. It is told here only.
    #[must_use]
    pub const fn first_admin(&self) -> Option<&Secret> {
        self.first_admin.as_ref()
    }

    /// Takes no more requests, lets those at work end for a moment, then returns. What was published
    /// is on the disk already.
    pub async fn stop(self) {
        drop(self.stop);
        self.http.tasks.close();
        let udp = self.udp;
        if tokio::task::spawn_blocking(move || udp.stop()).await.is_err() {
            tracing::error!("stopping the UDP threads");
        }
        self.http.tasks.wait().await;
        self.json.tasks.close();
        self.json.tasks.wait().await;
        self.admin.tasks.close();
        self.admin.tasks.wait().await;
        self.text.stop().await;
        // Nobody announces any more.
        self.completed.flush(&self.shared).await;
        if let Some(folder) = self.kept {
            keep::save_apart(folder, Arc::clone(&self.shared.swarms)).await;
        }
    }
}

/// What a data folder holds.
struct State {
    catalogue: Catalogue,
    /// Torrents of the catalogue, and how many downloads of each had ended.
    registered: Vec<(InfoHashes, u32)>,
    access: Access,
    first_admin: Option<Secret>,
}

/// What outlives the tracker: the catalogue, the info hashes in it, and who may do what. Blocks.
fn open_state(folder: &Path, private: bool, limits: CatalogueLimits) -> Result<State, StartError> {
    let catalogue = Catalogue::open(folder, limits)?;
    let registered = catalogue.registered()?;
    let (access, first_admin) =
        if private { Access::private(TokenStore::open(folder)?)? } else { (Access::open(), None) };
    Ok(State { catalogue, registered, access, first_admin })
}

/// Blocks.
fn open_tls(folder: &Path, tls: Option<&TlsConfig>) -> Result<Option<Arc<Tls>>, StartError> {
    Ok(tls.map(|tls| Tls::open(tls, folder)).transpose()?.map(Arc::new))
}

async fn sweep(swarms: Arc<Swarms>, stop: CancellationToken) {
    let mut rounds = tokio::time::interval(SWEEP_EVERY);
    rounds.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = rounds.tick() => swarms.sweep(),
            () = stop.cancelled() => return,
        }
    }
}

/// Every socket, bound but not served yet.
struct Sockets {
    main: Vec<Bound>,
    json: Vec<(TcpListener, Listener)>,
    admin: Vec<(TcpListener, Listener)>,
    /// Those of HTTP believe these.
    proxies: Vec<TrustedProxy>,
    text: Vec<TextSockets>,
    text_config: TextConfig,
}

impl Sockets {
    fn bind(config: &TrackerConfig, left_out: &mut Vec<StartError>) -> Result<Self, StartError> {
        let sockets = Self {
            main: bind_all(&config.listen)?,
            json: bind_extra(&config.json, Protocol::Json, left_out)?,
            admin: bind_admin(&config.admin, left_out)?,
            proxies: config.proxies.clone(),
            text: text::bind(&config.text.listen, config.private)?,
            text_config: config.text.clone(),
        };
        let is_bound = |addr: &SocketAddr| sockets.main.iter().any(|bound| bound.addr == *addr);
        let mut meant = sockets.proxies.iter().filter_map(|proxy| proxy.listener);
        match meant.find(|addr| !is_bound(addr)) {
            Some(addr) => Err(StartError::Proxy(addr)),
            None => Ok(sockets),
        }
    }

    fn listeners(&self) -> Vec<Listener> {
        let extra = self.json.iter().chain(&self.admin).map(|(_, listener)| *listener);
        let text = self.text.iter().flat_map(TextSockets::listeners);
        self.main.iter().flat_map(Bound::listeners).chain(extra).chain(text).collect()
    }
}

/// The sockets of one address.
struct Bound {
    tcp: TcpListener,
    udp: Vec<UdpSocket>,
    addr: SocketAddr,
}

impl Bound {
    fn listeners(&self) -> [Listener; 2] {
        [Protocol::Udp, Protocol::Http].map(|protocol| Listener { protocol, addr: self.addr })
    }
}

/// Binds all addresses of a protocol, or leaves it out.
fn bind_extra(
    extra: &Extra,
    protocol: Protocol,
    left_out: &mut Vec<StartError>,
) -> Result<Vec<(TcpListener, Listener)>, StartError> {
    let bound = extra.listen.iter().map(|&addr| {
        let failed = |source: io::Error| StartError::Listen { protocol, addr, source };
        let listener = bind_tcp(addr).map_err(failed)?;
        let addr = listener.local_addr().map_err(failed)?;
        Ok((listener, Listener { protocol, addr }))
    });
    match bound.collect() {
        Err(error) if !extra.required => {
            left_out.push(error);
            Ok(Vec::new())
        }
        bound => bound,
    }
}

/// Binds the addresses of the operator. A port that nobody asked for gives way to the next free one.
fn bind_admin(
    admin: &Extra,
    left_out: &mut Vec<StartError>,
) -> Result<Vec<(TcpListener, Listener)>, StartError> {
    let mut extra = admin.clone();
    // The ports above are the tracker's own, so it goes down.
    for _ in 0..ADMIN_PORTS_TRIED {
        let bound =
            bind_extra(&Extra { required: true, ..extra.clone() }, Protocol::Admin, left_out);
        match bound {
            Err(error) if error.is_port_taken() && !admin.required => {}
            bound => return bound,
        }
        extra.listen.iter_mut().for_each(|addr| addr.set_port(addr.port().saturating_sub(1)));
    }
    extra.listen.iter_mut().for_each(|addr| addr.set_port(0));
    bind_extra(&extra, Protocol::Admin, left_out)
}

fn bind_all(listen: &[SocketAddr]) -> Result<Vec<Bound>, StartError> {
    let may_retry = listen.iter().any(|addr| addr.port() == 0);
    let mut tries = 0;
    loop {
        tries += 1;
        match try_bind_all(listen) {
            Err(error) if error.is_port_taken() && may_retry && tries < FREE_PORT_TRIES => {}
            Ok(bound) if bound.is_empty() => return Err(StartError::NoAddress),
            result => return result,
        }
    }
}

fn try_bind_all(listen: &[SocketAddr]) -> Result<Vec<Bound>, StartError> {
    let mut bound: Vec<Bound> = Vec::new();
    for &asked in listen {
        let mut addr = asked;
        if let Some(first) = bound.first().filter(|_| addr.port() == 0) {
            addr.set_port(first.addr.port());
        }
        let failed =
            |protocol| move |source: io::Error| StartError::Listen { protocol, addr, source };
        let tcp = bind_tcp(addr).map_err(failed(Protocol::Http))?;
        let in_use = tcp.local_addr().map_err(failed(Protocol::Http))?;
        let udp = udp::bind(in_use).map_err(failed(Protocol::Udp))?;
        bound.push(Bound { tcp, udp, addr: in_use });
    }
    Ok(bound)
}

pub(crate) fn bind_tcp(addr: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(addr), Type::STREAM, Some(SocketProtocol::TCP))?;
    if addr.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    // A restart need not wait for connections of the run before. Elsewhere than on Unix the same
    // option would let two programs share the port.
    #[cfg(unix)]
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&addr.into())?;
    socket.listen(BACKLOG)?;
    TcpListener::from_std(socket.into())
}
