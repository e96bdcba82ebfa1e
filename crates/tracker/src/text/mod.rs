//! Text over UDP, chunk lists over TCP on the next port (`proto::tracker::text`).
//!
//! Datagrams can be forged and `list_seeder` is shorter than its answer, so only those get one who sit
//! near or have shown by a TCP connection that their address is their own. Seeders that share by
//! BitTorrent are listed beside those that register here. Nobody is ever told what was wrong.

mod address;
mod bind;
mod delivery;
mod handout;
mod page;
mod udp;

#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use parking_lot::Mutex;
use proto::address::is_local;
use registry::{Proofs, Secs, Seeders};
use tokio::net::TcpStream;
use tokio::runtime::Handle;
use tokio::sync::{Notify, Semaphore};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::accept::{ConnectionCounters, Gate, Turns};
use crate::limits::{
    TEXT_CATALOGUE_LOOKUPS_MAX, TEXT_CONNECTIONS_MAX, TEXT_FETCHES_MAX, TEXT_LONG_HANDOUTS_MAX,
    TEXT_LONG_LISTS_MAX, TEXT_PUBLIC_REPLIES_A_SECOND, TEXT_SILENT_AT_ONCE, TEXT_TRIES_AT_ONCE,
    TEXT_TRY_TIMEOUT,
};
use crate::server::Shared;
pub(crate) use bind::{TextSockets, bind};
use handout::LongLists;
use page::{Page, PageReader};

/// How the text protocol is spoken.
#[derive(Debug, Clone, Default)]
pub struct TextConfig {
    /// UDP addresses; chunk lists have the TCP port behind each. None switches it off. Port 0 picks two
    /// free numbers, the same for all.
    pub listen: Vec<SocketAddr>,
    /// Answers `list_seeder` in full to addresses that may be forged too, a bounded number a second.
    pub public: bool,
    /// The tracker's own addresses as the world sees them; none leaves it to the router
    /// (`Shared::note_external`). A seeder near the tracker that claims one of them is listed under it.
    pub external: Vec<IpAddr>,
}

/// What the text protocol's ports have done.
#[derive(Debug, Default)]
pub struct TextCounters {
    /// Datagrams that came.
    pub received: AtomicU64,
    /// Seeders that registered, or did so again.
    pub registers: AtomicU64,
    /// Registers not taken: another one's name, or no room.
    pub refused: AtomicU64,
    /// `list_seeder` answered.
    pub lists: AtomicU64,
    /// `list_seeder` answered with `[]`, since its source may be forged.
    pub unproven: AtomicU64,
    /// Datagrams that are no request: not answered.
    pub malformed: AtomicU64,
    /// Answers that the system did not take.
    pub unsent: AtomicU64,
    /// Connections to the port of chunk lists.
    pub connections: ConnectionCounters,
    /// Connections that the tracker made to seeders for their chunk lists.
    pub fetches: AtomicU64,
    /// Chunk lists that came.
    pub delivered: AtomicU64,
    /// What should have been a chunk list, and was not, or not expected.
    pub not_delivered: AtomicU64,
    /// Chunk lists handed out.
    pub handed_out: AtomicU64,
    /// Connections closed without an answer: unknown names, and silence.
    pub unanswered: AtomicU64,
    /// Seeders known now that registered here.
    pub seeders: AtomicU64,
    /// Bytes in their chunk lists.
    pub lists_len: AtomicU64,
    /// Seeders of the catalogue's names listed beside them now.
    pub catalogue_seeders: AtomicU64,
}

/// What the threads and tasks share.
#[derive(Debug)]
pub(crate) struct TextShared {
    shared: Arc<Shared>,
    public: bool,
    external: Vec<IpAddr>,
    /// The port of chunk lists, the same everywhere.
    lists_port: u16,
    seeders: Mutex<Seeders>,
    proofs: Mutex<Proofs>,
    page: Mutex<Arc<Page>>,
    /// Full answers to the unproven, in which second.
    public_replies: Mutex<(Secs, u32)>,
    /// A register was taken: a chunk list may have waited for it.
    registered: Notify,
    /// Addresses from which a chunk list is being fetched.
    fetching: Mutex<BTreeSet<IpAddr>>,
    /// Lists of the catalogue that are being handed out, the long ones.
    long_lists: Mutex<LongLists>,
    permits: Permits,
    /// At taking long lists in.
    turns: Turns,
    gate: Gate,
    runtime: Handle,
    tasks: TaskTracker,
}

/// How many may do the same at once.
#[derive(Debug)]
struct Permits {
    fetches: Arc<Semaphore>,
    tries: Arc<Semaphore>,
    long_handouts: Arc<Semaphore>,
    lookups: Arc<Semaphore>,
    silent: Arc<Semaphore>,
}

impl Permits {
    fn new() -> Self {
        let permits = |count| Arc::new(Semaphore::new(count));
        Self {
            fetches: permits(TEXT_FETCHES_MAX),
            tries: permits(TEXT_TRIES_AT_ONCE),
            long_handouts: permits(TEXT_LONG_HANDOUTS_MAX),
            lookups: permits(TEXT_CATALOGUE_LOOKUPS_MAX),
            silent: permits(TEXT_SILENT_AT_ONCE),
        }
    }
}

/// The text protocol at work.
#[derive(Debug)]
pub(crate) struct TextServer {
    text: Arc<TextShared>,
    threads: Vec<JoinHandle<()>>,
}

impl TextServer {
    /// Starts threads and tasks on the current runtime; without sockets, nothing.
    pub(crate) fn start(
        sockets: Vec<TextSockets>,
        config: &TextConfig,
        shared: &Arc<Shared>,
        stop: CancellationToken,
    ) -> io::Result<Self> {
        let lists_port = sockets.first().map_or(0, TextSockets::lists_port);
        let text = TextShared::new(config, lists_port, Arc::clone(shared), stop);
        let mut threads = Vec::with_capacity(sockets.len());
        if !sockets.is_empty() {
            text.tasks.spawn(sweep(Arc::clone(&text)));
        }
        for TextSockets { udp, lists, addr } in sockets {
            text.tasks.spawn(handout::serve(lists, Arc::clone(&text)));
            let text = Arc::clone(&text);
            let thread = std::thread::Builder::new().name("text".to_owned());
            threads.push(thread.spawn(move || udp::run(&text, &udp, addr.ip()))?);
        }
        Ok(Self { text, threads })
    }

    /// Waits for the threads and tasks, which end when the tracker stops.
    pub(crate) async fn stop(self) {
        self.text.tasks.close();
        let threads = self.threads;
        let joined = tokio::task::spawn_blocking(move || {
            threads.into_iter().map(JoinHandle::join).filter(Result::is_err).count()
        });
        if joined.await.is_ok_and(|panicked| panicked > 0) {
            tracing::error!("a thread of the text protocol had panicked");
        }
        self.text.tasks.wait().await;
    }
}

impl TextShared {
    fn new(
        config: &TextConfig,
        lists_port: u16,
        shared: Arc<Shared>,
        stop: CancellationToken,
    ) -> Arc<Self> {
        Arc::new(Self {
            public: config.public,
            external: config.external.clone(),
            lists_port,
            seeders: Mutex::new(Seeders::new(shared.lives.peer_secs)),
            shared,
            proofs: Mutex::default(),
            page: Mutex::default(),
            public_replies: Mutex::default(),
            registered: Notify::new(),
            fetching: Mutex::default(),
            long_lists: Mutex::default(),
            permits: Permits::new(),
            turns: Turns::new(TEXT_LONG_LISTS_MAX),
            gate: Gate::new(TEXT_CONNECTIONS_MAX, stop),
            runtime: Handle::current(),
            tasks: TaskTracker::new(),
        })
    }

    fn counters(&self) -> &TextCounters {
        &self.shared.text
    }

    fn now(&self) -> Secs {
        self.shared.swarms.now()
    }

    /// The world sees this tracker there: the operator says so, or else its router.
    fn is_external(&self, ip: IpAddr) -> bool {
        if self.external.is_empty() {
            return self.shared.external.read().contains(&ip);
        }
        self.external.contains(&ip)
    }

    /// `list_seeder` from there may be answered in full.
    fn may_hear(&self, now: Secs, ip: IpAddr) -> bool {
        if is_local(ip) || self.proofs.lock().holds(now, ip) {
            return true;
        }
        if !self.public {
            return false;
        }
        let (second, count) = &mut *self.public_replies.lock();
        if *second != now {
            (*second, *count) = (now, 0);
        }
        *count += 1;
        *count <= TEXT_PUBLIC_REPLIES_A_SECOND
    }

    /// Forgets the silent, after one try to reach them.
    fn forget_silent(self: &Arc<Self>, now: Secs) {
        self.proofs.lock().sweep(now);
        let to_try = self.seeders.lock().sweep(now);
        for (name, addr) in to_try {
            // Too many at once: this one is forgotten untried, and registers again if it lives.
            let Ok(permit) = Arc::clone(&self.permits.tries).try_acquire_owned() else { break };
            let text = Arc::clone(self);
            self.tasks.spawn(async move {
                let tried = tokio::time::timeout(TEXT_TRY_TIMEOUT, TcpStream::connect(addr));
                if matches!(tried.await, Ok(Ok(_))) {
                    text.seeders.lock().answered(now, &name);
                } else {
                    tracing::debug!(%name, %addr, "seeder is gone");
                }
                drop(permit);
            });
        }
        let (seeders, _, lists_len) = self.seeders.lock().totals();
        let counters = self.counters();
        counters.seeders.store(seeders as u64, Ordering::Relaxed);
        counters.lists_len.store(lists_len as u64, Ordering::Relaxed);
    }
}

/// Once a second: the silent are forgotten, and the catalogue is looked at again.
async fn sweep(text: Arc<TextShared>) {
    let mut rounds = tokio::time::interval(ROUND);
    rounds.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut reader = PageReader::default();
    loop {
        tokio::select! {
            _ = rounds.tick() => {}
            () = text.gate.stop().cancelled() => return,
        }
        let now = text.now();
        text.forget_silent(now);
        if let Some(page) = reader.read(now, &text.shared).await {
            let listed = page.rows.len() as u64;
            text.counters().catalogue_seeders.store(listed, Ordering::Relaxed);
            *text.page.lock() = Arc::new(page);
        }
    }
}

const ROUND: Duration = Duration::from_secs(1);
