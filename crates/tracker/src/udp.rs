//! UDP announces and scrapes (BEP 15).
//!
//! Plain threads, each with sockets of its own that share an address (SO_REUSEPORT spreads askers
//! over them). A thread takes a batch of packets, answers each from the registry and sends a batch of
//! answers. Whoever has no good connection id hears nothing: an answer could go to a forged address.
//! Connects and announces take no memory; a scrape takes some for its list of hashes.

use std::io;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Instant;

use proto::InfoHash;
use proto::tracker::udp::{
    ConnectionId, Family, Request, encode_announced, encode_connected, encode_refused,
    encode_scraped, peek_info_hash,
};
use proto::tracker::{Announce, Announced, Refusal, SwarmCounts};
use registry::{Families, Place, Secs};
use socket2::{Domain, Protocol, Socket, Type};
use sys::datagrams::{self, Batch};

use crate::access::{Access, Denied, Passkey};
use crate::connection_id::ConnectionIds;
use crate::latency::Latencies;
use crate::limits::{
    UDP_BATCH, UDP_PEERS_V4_MAX, UDP_PEERS_V6_MAX, UDP_RECEIVE_BUFFER, UDP_THREADS_MAX, UDP_WAIT,
};
use crate::lists::Lists;
use crate::quota::Quotas;
use crate::sample::Sample;
use crate::server::Shared;
use crate::swarms::{Asker, Swarms};

/// What the UDP threads have done.
#[derive(Debug, Default)]
pub struct UdpCounters {
    /// Packets that came.
    pub received: AtomicU64,
    /// Connection ids handed out.
    pub connects: AtomicU64,
    /// Announces answered.
    pub announces: AtomicU64,
    /// Scrapes answered.
    pub scrapes: AtomicU64,
    /// Announces and scrapes refused.
    pub refused: AtomicU64,
    /// Announces and scrapes answered with nothing, since their network asks too often.
    pub limited: AtomicU64,
    /// Announces and scrapes answered with nothing, since a list does not let them in.
    pub denied: AtomicU64,
    /// Requests with a connection id that is not good: not answered.
    pub bad_ids: AtomicU64,
    /// Packets that are no request: not answered.
    pub malformed: AtomicU64,
    /// Answers that the system did not take.
    pub unsent: AtomicU64,
}

/// What one thread did in one batch. Threads meet at the counters once a batch, not once a packet.
#[derive(Debug, Default)]
struct Tally {
    connects: u64,
    announces: u64,
    scrapes: u64,
    refused: u64,
    limited: u64,
    denied: u64,
    bad_ids: u64,
    malformed: u64,
}

impl Tally {
    /// Adds it to the counters and begins anew.
    fn flush(&mut self, counters: &UdpCounters) {
        let Self { connects, announces, scrapes, refused, limited, denied, bad_ids, malformed } =
            std::mem::take(self);
        for (counter, more) in [
            (&counters.connects, connects),
            (&counters.announces, announces),
            (&counters.scrapes, scrapes),
            (&counters.refused, refused),
            (&counters.limited, limited),
            (&counters.denied, denied),
            (&counters.bad_ids, bad_ids),
            (&counters.malformed, malformed),
        ] {
            if more > 0 {
                counter.fetch_add(more, Ordering::Relaxed);
            }
        }
    }
}

impl Tally {
    /// Says now and then what was not served as it was asked. Without addresses: they may be forged.
    fn log(&self, now: Secs) {
        static SAMPLES: [Sample; 5] = [const { Sample::new() }; 5];
        if !tracing::enabled!(tracing::Level::DEBUG) {
            return;
        }
        let kinds = [
            ("refused", self.refused),
            ("over the quota of its network", self.limited),
            ("not let in by the lists", self.denied),
            ("without a good connection id", self.bad_ids),
            ("malformed", self.malformed),
        ];
        for ((why, count), sample) in kinds.into_iter().zip(&SAMPLES) {
            if count > 0
                && let Some(left_out) = sample.take(now, count)
            {
                tracing::debug!(why, left_out, "UDP request not served");
            }
        }
    }
}

/// The running threads.
#[derive(Debug)]
pub(crate) struct UdpServer {
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

/// What all threads share.
#[derive(Debug)]
pub(crate) struct UdpShared {
    pub(crate) swarms: Arc<Swarms>,
    pub(crate) access: Arc<Access>,
    pub(crate) lists: Arc<Lists>,
    pub(crate) quotas: Arc<Quotas>,
    pub(crate) ids: ConnectionIds,
    pub(crate) counters: Arc<UdpCounters>,
    pub(crate) latencies: Arc<Latencies>,
}

impl UdpShared {
    pub(crate) fn new(shared: &Shared, ids: ConnectionIds) -> Self {
        Self {
            swarms: Arc::clone(&shared.swarms),
            access: Arc::clone(&shared.access),
            lists: Arc::clone(&shared.lists),
            quotas: Arc::clone(&shared.quotas),
            ids,
            counters: Arc::clone(&shared.udp),
            latencies: Arc::clone(&shared.latencies),
        }
    }
}

/// Opens a socket for each thread, all at one address of one family. The address must be free: it is
/// tried without sharing first.
pub(crate) fn bind(addr: SocketAddr) -> io::Result<Vec<UdpSocket>> {
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let probe = open(addr, Sharing::Alone)?;
    let addr = probe.local_addr()?;
    drop(probe);
    (0..threads.clamp(1, UDP_THREADS_MAX)).map(|_| open(addr, Sharing::Threads)).collect()
}

/// Opens the only socket at an address.
pub(crate) fn bind_one(addr: SocketAddr) -> io::Result<UdpSocket> {
    open(addr, Sharing::Alone)
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Sharing {
    Alone,
    Threads,
}

fn open(addr: SocketAddr, sharing: Sharing) -> io::Result<UdpSocket> {
    let socket = Socket::new(Domain::for_address(addr), Type::DGRAM, Some(Protocol::UDP))?;
    if addr.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    #[cfg(unix)]
    if sharing == Sharing::Threads {
        socket.set_reuse_port(true)?;
    }
    // The system may allow less; it still works then.
    if socket.set_recv_buffer_size(UDP_RECEIVE_BUFFER).is_err() {
        tracing::debug!("the system keeps its own size of UDP receive buffer");
    }
    socket.bind(&addr.into())?;
    let socket = UdpSocket::from(socket);
    socket.set_read_timeout(Some(UDP_WAIT))?;
    datagrams::prepare(&socket)?;
    Ok(socket)
}

impl UdpServer {
    pub(crate) fn start(sockets: Vec<UdpSocket>, shared: &Arc<UdpShared>) -> io::Result<Self> {
        let stop = Arc::new(AtomicBool::new(false));
        let mut threads = Vec::with_capacity(sockets.len());
        for (number, socket) in sockets.into_iter().enumerate() {
            let mut worker = Worker::new(Arc::clone(shared), &socket)?;
            let ended = Arc::clone(&stop);
            let thread = std::thread::Builder::new().name(format!("udp-{number}"));
            threads.push(thread.spawn(move || worker.run(&socket, &ended))?);
        }
        Ok(Self { stop, threads })
    }

    /// Ends the threads and waits for them: a fraction of a second. Blocks.
    pub(crate) fn stop(mut self) {
        self.stop.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            if thread.join().is_err() {
                tracing::error!("a UDP thread had panicked");
            }
        }
    }
}

impl Drop for UdpServer {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

/// One thread's state: all memory that answering takes.
struct Worker {
    shared: Arc<UdpShared>,
    family: Family,
    reply: Announced,
    counts: Vec<SwarmCounts>,
    packet: Vec<u8>,
    /// Of a batch: which questions may be looked at, and where the hashes belong that they ask about.
    welcome: Vec<bool>,
    places: Vec<Place>,
    tally: Tally,
}

impl Worker {
    fn new(shared: Arc<UdpShared>, socket: &UdpSocket) -> io::Result<Self> {
        let family = Family::of(&socket.local_addr()?);
        let (reply, counts, packet, welcome, places, tally) = Default::default();
        Ok(Self { shared, family, reply, counts, packet, welcome, places, tally })
    }

    fn run(&mut self, socket: &UdpSocket, stop: &AtomicBool) {
        let mut batch = Batch::new(UDP_BATCH);
        while !stop.load(Ordering::Relaxed) {
            let count = match batch.receive(socket) {
                Ok(count) => count,
                Err(error) if datagrams::is_transient(&error) => continue,
                Err(error) => {
                    tracing::error!(%error, "receiving UDP packets");
                    std::thread::sleep(UDP_WAIT);
                    continue;
                }
            };
            let start = Instant::now();
            let now = self.shared.swarms.tick();
            let mut answers = 0;
            self.look_ahead(now, &batch, count);
            for place in 0..count {
                batch.answer(place, |from, question, answer| {
                    self.packet.clear();
                    if self.welcome[place] {
                        self.answer(now, from, question);
                    }
                    let len = self.packet.len().min(answer.len());
                    answer[..len].copy_from_slice(&self.packet[..len]);
                    answers += u64::from(len > 0);
                    len
                });
            }
            // Before the answers go out, so that who has one finds itself counted.
            let counters = &self.shared.counters;
            self.tally.log(now);
            self.tally.flush(counters);
            counters.received.fetch_add(count as u64, Ordering::Relaxed);
            let sent = batch.send(socket).unwrap_or(0) as u64;
            self.shared.latencies.udp_batch.since(start);
            counters.unsent.fetch_add(answers.saturating_sub(sent), Ordering::Relaxed);
        }
    }

    /// Checks the connection ids of a batch, so that forged packets cost no more than that, and has the
    /// memory fetched that answering the others will read.
    fn look_ahead(&mut self, now: Secs, batch: &Batch, count: usize) {
        self.welcome.clear();
        self.places.clear();
        for place in 0..count {
            let Some((from, question)) = batch.question(place) else {
                self.welcome.push(false);
                continue;
            };
            let is_welcome = is_connect(question) || {
                let ip = from.ip().to_canonical();
                let id = question.first_chunk().map(|id| u64::from_be_bytes(*id));
                id.is_some_and(|id| self.shared.ids.is_good(now, ip, id))
            };
            self.tally.bad_ids += u64::from(!is_welcome);
            self.welcome.push(is_welcome);
            let hash = peek_info_hash(question).filter(|_| is_welcome);
            self.places.extend(hash.map(|hash| self.shared.swarms.place(&hash)));
        }
        if self.places.len() > 1 {
            self.shared.swarms.fetch_ahead(&self.places);
        }
    }

    /// Leaves the answer in `packet`; nothing there is silence. The connection id is good.
    fn answer(&mut self, now: Secs, from: SocketAddr, question: &[u8]) {
        let ip = from.ip().to_canonical();
        match Request::decode(question) {
            Ok(Request::Connect { transaction }) => {
                let id = ConnectionId(self.shared.ids.issue(now, ip));
                encode_connected(&mut self.packet, transaction, id);
                self.tally.connects += 1;
            }
            Ok(Request::Announce { transaction, announce, url_data, .. }) => {
                if let Err(refusal) = check(&self.shared.access, &announce, &url_data) {
                    encode_refused(&mut self.packet, transaction, &refusal.reason);
                    self.tally.refused += 1;
                    return;
                }
                self.announce(now, SocketAddr::new(ip, announce.port), &announce);
                encode_announced(&mut self.packet, transaction, &self.reply, self.family);
                self.tally.announces += 1;
            }
            Ok(Request::Scrape { transaction, .. }) if self.shared.access.is_private() => {
                // A scrape has no room for a passkey (BEP 41 extends announces only).
                let reason = "this tracker is private: scrape over HTTP, at /PASSKEY/scrape";
                encode_refused(&mut self.packet, transaction, reason);
                self.tally.refused += 1;
            }
            Ok(Request::Scrape { transaction, info_hashes, .. }) => {
                self.scrape(now, ip, &info_hashes);
                encode_scraped(&mut self.packet, transaction, &self.counts);
                self.tally.scrapes += 1;
            }
            Err(_) => self.tally.malformed += 1,
        }
    }

    /// Leaves what an announce gets in `reply`.
    fn announce(&mut self, now: Secs, peer: SocketAddr, announce: &Announce) {
        let (families, peers_max) = match self.family {
            Family::V4 => (Families::V4, UDP_PEERS_V4_MAX),
            Family::V6 => (Families::V6, UDP_PEERS_V6_MAX),
        };
        let UdpShared { swarms, lists, quotas, .. } = &*self.shared;
        if !quotas.allows(now, peer.ip()) {
            self.tally.limited += 1;
            swarms.put_off(&mut self.reply);
        } else if !lists.admits_announce(swarms, &announce.info_hash, &announce.peer_id) {
            self.tally.denied += 1;
            swarms.put_off(&mut self.reply);
        } else {
            let asker = Asker { peer, families, peers_max };
            swarms.announce_at(now, announce, &asker, &mut self.reply);
        }
    }

    /// Leaves what a scrape gets in `counts`.
    fn scrape(&mut self, now: Secs, ip: IpAddr, hashes: &[InfoHash]) {
        self.counts.clear();
        let UdpShared { swarms, lists, quotas, .. } = &*self.shared;
        let allowed = quotas.allows(now, ip);
        self.tally.limited += u64::from(!allowed);
        self.counts.extend(hashes.iter().map(|hash| {
            if !allowed {
                return SwarmCounts::default();
            }
            let admitted = lists.admits_hash(swarms, hash);
            self.tally.denied += u64::from(!admitted);
            swarms.scrape(hash).filter(|_| admitted).unwrap_or_default()
        }));
    }
}

/// Whether an announce is one to note. Its passkey stands in the URL that it carries (BEP 41), which
/// most clients leave out.
fn check(access: &Access, announce: &Announce, url_data: &str) -> Result<(), Refusal> {
    if announce.port == 0 {
        return Err(Refusal::new("port 0 cannot be connected to"));
    }
    if !access.is_private() {
        return Ok(());
    }
    access.announcer(Passkey::in_path(url_data).as_ref()).map_err(|denied| match denied {
        Denied::NoToken => Refusal::new(
            "this tracker is private: announce over HTTP with your passkey, as in /PASSKEY/announce",
        ),
        Denied::BadToken | Denied::Scope => denied.refusal(),
    })
}

/// Only a connect request has no connection id.
fn is_connect(question: &[u8]) -> bool {
    question.get(8..12) == Some(&[0; 4])
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proto::PeerId;
    use proto::tracker::udp::{Response, TransactionId};
    use proto::tracker::{AnnounceEvent, ClaimedAddrs};
    use registry::{Caps, Intervals};

    use super::*;
    use crate::quota::QuotaRates;

    const TRANSACTION: TransactionId = TransactionId(77);

    struct Server {
        server: Option<UdpServer>,
        shared: Arc<UdpShared>,
        addr: SocketAddr,
    }

    impl Drop for Server {
        fn drop(&mut self) {
            self.server.take().map(UdpServer::stop).expect("it stops once");
        }
    }

    fn server(addr: &str) -> Server {
        let sockets = bind(addr.parse().unwrap()).unwrap();
        let addr = sockets[0].local_addr().unwrap();
        let shared = Arc::new(UdpShared {
            swarms: Arc::new(Swarms::new(
                Intervals::default(),
                Caps { swarms: 1 << 20, peers: 1 << 20 },
            )),
            access: Arc::new(Access::open()),
            lists: Arc::default(),
            quotas: Arc::new(Quotas::new(QuotaRates::default(), [1; 16])),
            ids: ConnectionIds::new([9; 16]),
            counters: Arc::default(),
            latencies: Arc::default(),
        });
        let server = Some(UdpServer::start(sockets, &shared).unwrap());
        Server { server, shared, addr }
    }

    fn client(server: &Server, from: &str) -> UdpSocket {
        let socket = UdpSocket::bind((from, 0)).unwrap();
        socket.connect(server.addr).unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        socket
    }

    fn ask(socket: &UdpSocket, request: &Request) -> Response {
        let mut packet = Vec::new();
        request.encode(&mut packet);
        socket.send(&packet).unwrap();
        let mut answer = [0; 2_048];
        let len = socket.recv(&mut answer).unwrap();
        let family = Family::of(&socket.local_addr().unwrap());
        Response::decode(&answer[..len], family).unwrap()
    }

    fn connect(socket: &UdpSocket) -> ConnectionId {
        let response = ask(socket, &Request::Connect { transaction: TRANSACTION });
        let Response::Connected { transaction: TRANSACTION, connection } = response else {
            panic!("{response:?}");
        };
        connection
    }

    fn announce(connection: ConnectionId, port: u16, left: u64) -> Request {
        let announce = Announce {
            info_hash: InfoHash([1; 20]),
            peer_id: PeerId(*b"-TE0100-000000000000"),
            port,
            uploaded: 0,
            downloaded: 0,
            left,
            event: AnnounceEvent::None,
            num_want: None,
            key: None,
            claimed: ClaimedAddrs::default(),
        };
        let url_data = String::new();
        Request::Announce { connection, transaction: TRANSACTION, announce, url_data }
    }

    /// Sends a request that must not be answered, then one that is: its answer comes first.
    fn is_silent(socket: &UdpSocket, request: &Request) {
        let mut packet = Vec::new();
        request.encode(&mut packet);
        socket.send(&packet).unwrap();
        connect(socket);
    }

    fn peers_of(response: Response) -> Vec<SocketAddr> {
        let Response::Announced { announced, .. } = response else { panic!("{response:?}") };
        assert_eq!(announced.interval, 60);
        let mut peers: Vec<_> = announced.peers.into_iter().map(|peer| peer.addr).collect();
        peers.sort();
        peers
    }

    #[test]
    fn three_seeders_at_one_address_are_three_peers() {
        let server = server("127.0.0.1:0");
        let socket = client(&server, "127.0.0.1");
        let id = connect(&socket);
        for port in 1..=3 {
            let others = peers_of(ask(&socket, &announce(id, port, 0)));
            assert_eq!(others.len(), usize::from(port) - 1, "who is new hears of seeders, too");
        }
        let expected: Vec<_> = (1..=3).map(|port| ([127, 0, 0, 1], port).into()).collect();
        assert_eq!(peers_of(ask(&socket, &announce(id, 4, 9))), expected);
        let info_hashes = vec![InfoHash([1; 20]), InfoHash([2; 20])];
        let scrape = Request::Scrape { connection: id, transaction: TRANSACTION, info_hashes };
        let Response::Scraped { scraped, .. } = ask(&socket, &scrape) else { panic!("scraped") };
        let known = SwarmCounts { seeders: 3, completed: 0, leechers: 1 };
        assert_eq!(scraped.swarms, [known, SwarmCounts::default()]);
    }

    #[test]
    fn bad_connection_ids_hear_nothing() {
        let server = server("127.0.0.1:0");
        let socket = client(&server, "127.0.0.1");
        let ConnectionId(good) = connect(&socket);
        is_silent(&socket, &announce(ConnectionId(good ^ 1), 1, 0));
        is_silent(&socket, &announce(ConnectionId(0), 1, 0));
        let elsewhere = client(&server, "127.0.0.2");
        is_silent(&elsewhere, &announce(ConnectionId(good), 1, 0));
        let old = server.shared.ids.issue(Secs(u32::MAX - 120), socket.local_addr().unwrap().ip());
        is_silent(&socket, &announce(ConnectionId(old), 1, 0));
        let info_hashes = vec![InfoHash([1; 20])];
        let connection = ConnectionId(good ^ 1);
        let scrape = Request::Scrape { connection, transaction: TRANSACTION, info_hashes };
        is_silent(&socket, &scrape);
        assert_eq!(server.shared.counters.bad_ids.load(Ordering::Relaxed), 5);
        assert_eq!(server.shared.swarms.totals().peers, 0);
    }

    #[test]
    fn port_zero_and_noise_join_nothing() {
        let server = server("127.0.0.1:0");
        let socket = client(&server, "127.0.0.1");
        let id = connect(&socket);
        assert!(matches!(ask(&socket, &announce(id, 0, 0)), Response::Refused { .. }));
        for noise in [&b""[..], b"hello", &[0; 16], &[0xff; 98]] {
            socket.send(noise).unwrap();
        }
        connect(&socket);
        assert_eq!(server.shared.swarms.totals().peers, 0);
    }

    #[test]
    fn ipv6_peers_are_told_over_ipv6() {
        let Ok(socket) = UdpSocket::bind("[::1]:0") else { return };
        drop(socket);
        let server = server("[::1]:0");
        let socket = client(&server, "::1");
        let id = connect(&socket);
        ask(&socket, &announce(id, 5, 0));
        let expected: SocketAddr = "[::1]:5".parse().unwrap();
        assert_eq!(peers_of(ask(&socket, &announce(id, 6, 9))), [expected]);
    }

    #[test]
    fn taken_address_is_refused() {
        let server = server("127.0.0.1:0");
        assert_eq!(bind(server.addr).unwrap_err().kind(), io::ErrorKind::AddrInUse);
    }
}
