//! A whole tracker: sockets, threads, tasks, the catalogue and the swarms, started and stopped.

mod config;
mod error;
mod shared;
mod sockets;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Instant;

use parking_lot::{Mutex, RwLock};
use proto::InfoHashes;
use registry::Files;
use tokio_util::sync::{CancellationToken, DropGuard};

pub use config::{Extra, TrackerConfig};
pub use error::StartError;
pub use shared::Shared;
pub(crate) use sockets::{FREE_PORT_TRIES, bind_tcp};
pub use sockets::{Listener, Protocol};

use crate::access::{self, Access, Secret, TokenStore};
use crate::admin::{self, AdminCounters, AdminShared};
use crate::catalogue::{Catalogue, CatalogueError, CatalogueLimits};
use crate::completed::Completed;
use crate::connection_id::ConnectionIds;
use crate::export::{self, Export};
use crate::http::{self, HttpShared};
use crate::json::{self, JsonCounters, JsonShared};
use crate::keep;
use crate::latency::Latencies;
use crate::limits::SWEEP_EVERY;
use crate::lists::Lists;
use crate::proxy::Proxies;
use crate::quota::Quotas;
use crate::swarms::Swarms;
use crate::text::{TextCounters, TextServer};
use crate::tls::{self, Tls, TlsConfig};
use crate::udp::{UdpServer, UdpShared};
use sockets::{Bound, Sockets};

/// What answers everything over HTTP but announces, scrapes and `/health`.
#[derive(Debug, Default)]
pub struct Routers {
    /// At the addresses that everybody may reach.
    pub public: axum::Router,
    /// At those of the operator.
    pub admin: axum::Router,
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
    /// Starts a tracker on the current runtime. `name` is what it calls itself in its status; the folder
    /// holds what outlives it, and is made if missing; `routers` makes what answers over HTTP beside
    /// announces.
    ///
    /// # Errors
    /// When an address or the data folder cannot be used.
    pub async fn start(
        (name, folder): (String, PathBuf),
        config: TrackerConfig,
        routers: impl FnOnce(Arc<Shared>) -> Routers,
    ) -> Result<Self, StartError> {
        let mut left_out = Vec::new();
        let sockets = Sockets::bind(&config, &mut left_out)?;
        let swarms = Arc::new(Swarms::new(config.intervals, config.caps));
        let (private, limits) = (config.private, config.catalogue);
        let (tls, lists) = (config.tls, config.lists);
        let latencies = Arc::<Latencies>::default();
        let home = folder.clone();
        let opened = tokio::task::spawn_blocking(move || {
            let lists = Arc::new(Lists::open(lists)?);
            let state = open_state(&home, private, limits)?;
            Ok::<_, StartError>((state, open_tls(&home, tls.as_ref())?, lists))
        });
        let (State { catalogue, registered, access, first_admin }, tls, lists) =
            opened.await.map_err(|_| CatalogueError::Closed)??;
        for (hashes, completed) in &registered {
            swarms.register(hashes);
            swarms.restore_completed(hashes, *completed);
        }
        let kept = config.keep_peers.then_some(folder);
        if let Some(folder) = kept.clone() {
            let swarms = Arc::clone(&swarms);
            let loaded = tokio::task::spawn_blocking(move || keep::load(&folder, &swarms));
            loaded.await.map_err(|_| CatalogueError::Closed)?;
        }
        let shared = Arc::new(Shared {
            name,
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
