//! Announces to trackers and scrapes, over UDP (BEP 15), HTTP (BEP 3) and HTTPS.
//!
//! A tracker whose name has an IPv4 and an IPv6 address is told over both, since it learns a peer's
//! address from where the announce comes (BEP 7). The first answer counts; the other one adds its
//! peers if it comes soon after.

mod http;
mod udp;

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use proto::tracker::{Announce, Announced, ClaimedAddrs, Refusal, Scraped};
use proto::{DecodeError, InfoHash, PeerId};
use swarm::AnnounceTo;
use tokio::time::timeout;
use url::Url;

use crate::http::{HttpError, Limits, resolve};
use crate::tls::Trust;

/// Who announces.
#[derive(Debug, Clone)]
pub struct Identity {
    /// Our name for ourselves.
    pub peer_id: PeerId,
    /// The port that we listen on.
    pub port: u16,
    /// Stays the same when our address changes.
    pub key: u32,
    /// Local address to announce from; the system chooses when `None`.
    pub bind: Option<IpAddr>,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum TrackerError {
    /// The URL is none, or of another kind.
    #[error("{0} is not a udp, http or https tracker")]
    Url(String),
    /// The tracker says no.
    #[error("{0}")]
    Refused(Refusal),
    /// The answer cannot be read.
    #[error("the tracker's answer cannot be read: {0}")]
    Malformed(#[from] DecodeError),
    /// An HTTP status that is no success.
    #[error("the tracker answered with HTTP status {0}")]
    Status(u16),
    /// No answer over HTTP, or no such host.
    #[error(transparent)]
    Http(#[from] HttpError),
    /// No answer over UDP.
    #[error("the tracker at {addr} cannot be reached: {source}")]
    Unreachable {
        /// The tracker.
        addr: SocketAddr,
        /// The system's answer.
        source: std::io::Error,
    },
    /// Nothing came back.
    #[error("the tracker at {0} did not answer")]
    Silent(SocketAddr),
    /// It has no place for scrapes.
    #[error("this tracker cannot be scraped")]
    NoScrape,
}

/// Talks to trackers. Cheap to clone; clones share the connection ids of UDP trackers.
#[derive(Debug, Clone, Default)]
pub struct TrackerClient {
    connections: udp::Connections,
    trust: Trust,
}

/// How a tracker is spoken to.
#[derive(Debug, Clone, Copy)]
enum Scheme {
    Udp,
    /// With or without TLS.
    Http,
}

impl TrackerClient {
    /// A client that believes those over HTTPS.
    #[must_use]
    pub fn new(trust: Trust) -> Self {
        Self { connections: udp::Connections::default(), trust }
    }

    /// Tells a tracker and brings back its answer.
    pub async fn announce(
        &self,
        told: &AnnounceTo,
        me: &Identity,
    ) -> Result<Announced, TrackerError> {
        let (url, scheme) = parse(&told.url)?;
        let announce = Announce {
            info_hash: told.info_hash,
            peer_id: me.peer_id,
            port: me.port,
            uploaded: told.uploaded,
            downloaded: told.downloaded,
            left: told.left,
            event: told.event,
            num_want: Some(told.num_want),
            key: Some(me.key),
            claimed: ClaimedAddrs::default(),
        };
        let addrs = one_a_family(&resolve(&url, 80, me.bind).await?);
        let ask = |addr| self.announce_at(&url, scheme, addr, &announce, me.bind);
        match addrs {
            (first, None) => ask(first).await,
            (first, Some(second)) => both(ask(first), ask(second)).await,
        }
    }

    /// Asks a tracker for the counts of swarms, in the order given.
    pub async fn scrape(
        &self,
        url: &str,
        info_hashes: &[InfoHash],
        bind: Option<IpAddr>,
    ) -> Result<Scraped, TrackerError> {
        let (url, scheme) = parse(url)?;
        match scheme {
            Scheme::Http => http::scrape(&url, info_hashes, self.limits(bind)).await,
            Scheme::Udp => {
                let (addr, _) = one_a_family(&resolve(&url, 80, bind).await?);
                self.connections.scrape(addr, info_hashes, bind).await
            }
        }
    }

    async fn announce_at(
        &self,
        url: &Url,
        scheme: Scheme,
        addr: SocketAddr,
        announce: &Announce,
        bind: Option<IpAddr>,
    ) -> Result<Announced, TrackerError> {
        match scheme {
            Scheme::Udp => self.connections.announce(url, addr, announce, bind).await,
            Scheme::Http => http::announce(url, addr, announce, self.limits(bind)).await,
        }
    }

    fn limits(&self, bind: Option<IpAddr>) -> Limits {
        Limits { bind, trust: self.trust.clone(), ..Limits::default() }
    }
}

fn parse(url: &str) -> Result<(Url, Scheme), TrackerError> {
    let refused = || TrackerError::Url(url.to_owned());
    let parsed = Url::parse(url).map_err(|_| refused())?;
    match parsed.scheme() {
        "udp" if parsed.port().is_some() => Ok((parsed, Scheme::Udp)),
        "http" | "https" => Ok((parsed, Scheme::Http)),
        _ => Err(refused()),
    }
}

/// The first address, and the first one of the other family.
fn one_a_family(addrs: &[SocketAddr]) -> (SocketAddr, Option<SocketAddr>) {
    let first = addrs[0];
    let other = addrs.iter().find(|addr| addr.is_ipv4() != first.is_ipv4());
    (first, other.copied())
}

/// The first answer, with the peers of the other one if that comes soon after.
async fn both(
    first: impl Future<Output = Result<Announced, TrackerError>>,
    second: impl Future<Output = Result<Announced, TrackerError>>,
) -> Result<Announced, TrackerError> {
    let (mut first, mut second) = (std::pin::pin!(first), std::pin::pin!(second));
    let (early, late) = tokio::select! {
        early = &mut first => match early {
            Ok(early) => (early, timeout(GRACE, second).await),
            Err(error) => return second.await.map_err(|_| error),
        },
        early = &mut second => match early {
            Ok(early) => (early, timeout(GRACE, first).await),
            Err(_) => return first.await,
        },
    };
    let Ok(Ok(late)) = late else { return Ok(early) };
    Ok(merge(early, late))
}

fn merge(mut answer: Announced, other: Announced) -> Announced {
    for peer in other.peers {
        if !answer.peers.iter().any(|known| known.addr == peer.addr) {
            answer.peers.push(peer);
        }
    }
    answer.seeders = answer.seeders.max(other.seeders);
    answer.leechers = answer.leechers.max(other.leechers);
    answer
}

/// How long the second family may take once the first has answered.
const GRACE: Duration = Duration::from_millis(300);

#[cfg(test)]
mod tests;
