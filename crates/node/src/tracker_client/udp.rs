//! UDP trackers: a connection id first, then the request; each packet again after 0.5, 1, 2, 4 and
//! 8 s.
//!
//! A connection id is good for a minute and for all torrents, so it is kept. A tracker that was
//! started anew does not know it and may stay silent about that: an old id is given up early.

use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use proto::InfoHash;
use proto::egress::Nearness;
use proto::tracker::udp::{ConnectionId, Family, Request, Response, SCRAPE_MAX, TransactionId};
use proto::tracker::{Announce, Announced, Scraped};
use tokio::net::UdpSocket;
use tokio::time::{Instant as Deadline, timeout_at};
use url::Url;

use super::TrackerError;
use crate::clock::now;
use crate::egress::Gate;

/// Connection ids of trackers.
#[derive(Debug, Clone, Default)]
pub(super) struct Connections(Arc<Mutex<HashMap<SocketAddr, (ConnectionId, Instant)>>>);

impl Connections {
    pub(super) async fn announce(
        &self,
        url: &Url,
        addr: SocketAddr,
        announce: &Announce,
        gate: &Gate,
    ) -> Result<Announced, TrackerError> {
        let (announce, url_data) = (*announce, url_data(url));
        let build = |connection, transaction| Request::Announce {
            connection,
            transaction,
            announce,
            url_data: url_data.clone(),
        };
        let response = self.ask(addr, gate, build).await?;
        match response {
            Response::Announced { announced, .. } => Ok(announced),
            Response::Connected { .. } | Response::Scraped { .. } | Response::Refused { .. } => {
                Err(TrackerError::Silent(addr))
            }
        }
    }

    pub(super) async fn scrape(
        &self,
        addr: SocketAddr,
        info_hashes: &[InfoHash],
        gate: &Gate,
    ) -> Result<Scraped, TrackerError> {
        let mut swarms = Vec::with_capacity(info_hashes.len());
        for part in info_hashes.chunks(SCRAPE_MAX) {
            let build = |connection, transaction| Request::Scrape {
                connection,
                transaction,
                info_hashes: part.to_vec(),
            };
            let Response::Scraped { scraped, .. } = self.ask(addr, gate, build).await? else {
                return Err(TrackerError::Silent(addr));
            };
            let end = swarms.len() + part.len();
            swarms.extend(scraped.swarms);
            swarms.resize_with(end, Default::default);
        }
        Ok(Scraped { swarms })
    }

    /// Sends the request under a connection id, a kept one if there is one.
    async fn ask(
        &self,
        addr: SocketAddr,
        gate: &Gate,
        build: impl Fn(ConnectionId, TransactionId) -> Request,
    ) -> Result<Response, TrackerError> {
        let wire = Wire::open(addr, gate)?;
        let key = addr;
        if let Some(connection) = self.kept(key) {
            let asked = wire.ask(|transaction| build(connection, transaction), &WAITS[..2]).await;
            match asked {
                Err(TrackerError::Silent(_) | TrackerError::Refused(_)) => self.forget(key),
                other => return other,
            }
        }
        let connect = |transaction| Request::Connect { transaction };
        let Response::Connected { connection, .. } = wire.ask(connect, &WAITS).await? else {
            return Err(TrackerError::Silent(addr));
        };
        self.keep(key, connection);
        let answer = wire.ask(|transaction| build(connection, transaction), &WAITS).await;
        if answer.is_err() {
            self.forget(key);
        }
        answer
    }

    fn kept(&self, key: SocketAddr) -> Option<ConnectionId> {
        let kept = self.0.lock().get(&key).copied();
        kept.filter(|(_, since)| now() < *since + CONNECTION_AGE_MAX).map(|(id, _)| id)
    }

    fn keep(&self, key: SocketAddr, connection: ConnectionId) {
        let now = now();
        let mut kept = self.0.lock();
        if kept.len() >= CONNECTIONS_MAX {
            kept.retain(|_, (_, since)| now < *since + CONNECTION_AGE_MAX);
        }
        if kept.len() < CONNECTIONS_MAX {
            kept.insert(key, (connection, now));
        }
    }

    fn forget(&self, key: SocketAddr) {
        self.0.lock().remove(&key);
    }
}

/// A socket for one tracker.
#[derive(Debug)]
struct Wire {
    socket: UdpSocket,
    addr: SocketAddr,
}

impl Wire {
    fn open(addr: SocketAddr, gate: &Gate) -> Result<Self, TrackerError> {
        let unreachable = |source| TrackerError::Unreachable { addr, source };
        // Whoever adds a torrent says that its trackers may be asked.
        let socket = gate.udp(addr, Nearness::Machine).map_err(unreachable)?;
        Ok(Self { socket, addr })
    }

    /// Sends a request, again after each of `waits`, until its answer comes.
    async fn ask(
        &self,
        build: impl Fn(TransactionId) -> Request,
        waits: &[Duration],
    ) -> Result<Response, TrackerError> {
        let transaction = TransactionId(rand::random());
        let mut packet = Vec::new();
        build(transaction).encode(&mut packet);
        for wait in waits {
            let unreachable = |source| TrackerError::Unreachable { addr: self.addr, source };
            self.socket.send(&packet).await.map_err(unreachable)?;
            let answer = timeout_at(Deadline::now() + *wait, self.answer(transaction)).await;
            match answer {
                Ok(Ok(Response::Refused { refusal, .. })) => {
                    return Err(TrackerError::Refused(refusal));
                }
                Ok(Ok(response)) => return Ok(response),
                Ok(Err(source)) => return Err(unreachable(source)),
                Err(_) => {}
            }
        }
        Err(TrackerError::Silent(self.addr))
    }

    /// The answer of that transaction; whatever else comes is thrown away.
    async fn answer(&self, transaction: TransactionId) -> io::Result<Response> {
        let mut packet = vec![0; PACKET_LEN_MAX];
        loop {
            let len = self.socket.recv(&mut packet).await?;
            match Response::decode(&packet[..len], Family::of(&self.addr)) {
                Ok(response) if response.transaction() == transaction => return Ok(response),
                Ok(_) | Err(_) => {}
            }
        }
    }
}

/// Path and query that the tracker should know (BEP 41); the usual path says nothing.
fn url_data(url: &Url) -> String {
    let data = &url[url::Position::BeforePath..url::Position::AfterQuery];
    if matches!(data, "" | "/" | "/announce") { String::new() } else { data.to_owned() }
}

/// How long each sending of a packet waits for the answer.
const WAITS: [Duration; 5] = [
    Duration::from_millis(500),
    Duration::from_secs(1),
    Duration::from_secs(2),
    Duration::from_secs(4),
    Duration::from_secs(8),
];

/// BEP 15 lets a client use an id for a minute.
const CONNECTION_AGE_MAX: Duration = Duration::from_secs(60);

/// More trackers than anybody has.
const CONNECTIONS_MAX: usize = 1024;

/// Longer than any answer: 200 IPv6 peers.
const PACKET_LEN_MAX: usize = 4096;
