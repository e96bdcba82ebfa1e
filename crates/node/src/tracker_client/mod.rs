//! Announces to trackers and scrapes, over UDP (BEP 15), HTTP (BEP 3) and HTTPS.
//!
//! A tracker whose name has an IPv4 and an IPv6 address is told over both, since it learns a peer's
//! address from where the announce comes (BEP 7). The first answer counts; the other one adds its
//! peers if it comes soon after.

mod http;
mod turns;
mod udp;

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use proto::egress::Nearness;
use proto::tracker::{Announce, Announced, ClaimedAddrs, Refusal, Scraped};
use proto::{DecodeError, InfoHash, PeerId};
use swarm::AnnounceTo;
use tokio::time::timeout;
use url::{Host, Url};

use crate::egress::Gate;
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
    /// A torrent names something near us that is no tracker by its path.
    #[error("{url} is at an address of {near}, and its path does not end in announce")]
    NoTracker {
        /// The URL.
        url: String,
        /// Whose address it is.
        near: Nearness,
    },
    /// It is asked over UDP.
    #[error("a tracker over UDP cannot be reached through a proxy")]
    NoDatagrams,
    /// It has no place for scrapes.
    #[error("this tracker cannot be scraped")]
    NoScrape,
}

/// Talks to trackers. Cheap to clone; clones share the connection ids of UDP trackers, and take turns.
#[derive(Debug, Clone, Default)]
pub struct TrackerClient {
    connections: udp::Connections,
    turns: turns::Turns,
    trust: Trust,
    gate: Gate,
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
    pub fn new(trust: Trust, gate: Gate) -> Self {
        Self { trust, gate, ..Self::default() }
    }

    /// Tells a tracker and brings back its answer, and how near the tracker is: no peer of the answer is
    /// nearer.
    pub async fn announce(
        &self,
        told: &AnnounceTo,
        me: &Identity,
    ) -> Result<(Announced, Nearness), TrackerError> {
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
        // Boxed: thousands of torrents wait for their turns, with nothing in hand yet.
        let ask = |addr| Box::pin(self.announce_at(&url, scheme, addr, &announce));
        let _turn = self.turns.take(&url).await;
        if self.gate.proxy.is_some() {
            return ask(None).await;
        }
        let addrs = one_a_family(&resolve(&url, 80, self.gate.bind).await?);
        match addrs {
            (first, None) => ask(Some(first)).await,
            (first, second) => both(ask(Some(first)), ask(second)).await,
        }
    }

    /// Asks a tracker for the counts of swarms, in the order given.
    pub async fn scrape(
        &self,
        url: &str,
        info_hashes: &[InfoHash],
    ) -> Result<Scraped, TrackerError> {
        let (url, scheme) = parse(url)?;
        let _turn = self.turns.take(&url).await;
        match scheme {
            Scheme::Http => http::scrape(&url, info_hashes, self.limits()).await,
            Scheme::Udp if self.gate.proxy.is_some() => Err(TrackerError::NoDatagrams),
            Scheme::Udp => {
                let (addr, _) = one_a_family(&resolve(&url, 80, self.gate.bind).await?);
                self.connections.scrape(addr, info_hashes, &self.gate).await
            }
        }
    }

    /// Announces at that address. Without one the proxy looks the tracker's name up, and nobody here learns
    /// where it is.
    async fn announce_at(
        &self,
        url: &Url,
        scheme: Scheme,
        addr: Option<SocketAddr>,
        announce: &Announce,
    ) -> Result<(Announced, Nearness), TrackerError> {
        let near = addr
            .map(|addr| addr.ip())
            .or_else(|| literal(url))
            .map_or(Nearness::Internet, Nearness::of);
        let mut announced = match (scheme, addr) {
            (Scheme::Udp, Some(addr)) => {
                self.connections.announce(url, addr, announce, &self.gate).await?
            }
            (Scheme::Udp, None) => return Err(TrackerError::NoDatagrams),
            (Scheme::Http, Some(_)) if near > Nearness::Internet && !is_announce(url) => {
                return Err(TrackerError::NoTracker { url: url.to_string(), near });
            }
            (Scheme::Http, addr) => http::announce(url, addr, announce, self.limits()).await?,
        };
        announced.peers.retain(|peer| near.may_name(peer.addr).is_ok());
        Ok((announced, near))
    }

    fn limits(&self) -> Limits {
        Limits::through(self.gate.clone(), self.trust.clone())
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

/// The address that a URL has for a host.
fn literal(url: &Url) -> Option<IpAddr> {
    match url.host()? {
        Host::Ipv4(ip) => Some(ip.into()),
        Host::Ipv6(ip) => Some(ip.into()),
        Host::Domain(_) => None,
    }
}

/// Whoever makes a torrent names its trackers, and should not have us send other requests into our own
/// network than announces.
fn is_announce(url: &Url) -> bool {
    let last = url.path_segments().and_then(|mut segments| segments.next_back());
    last.is_some_and(|last| last.starts_with("announce"))
}

/// The first address, and the first one of the other family.
fn one_a_family(addrs: &[SocketAddr]) -> (SocketAddr, Option<SocketAddr>) {
    let first = addrs[0];
    let other = addrs.iter().find(|addr| addr.is_ipv4() != first.is_ipv4());
    (first, other.copied())
}

/// The first answer, with the peers of the other one if that comes soon after.
async fn both(
    first: impl Future<Output = Result<(Announced, Nearness), TrackerError>>,
    second: impl Future<Output = Result<(Announced, Nearness), TrackerError>>,
) -> Result<(Announced, Nearness), TrackerError> {
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
    let Ok(Ok((late, late_near))) = late else { return Ok(early) };
    let (early, near) = early;
    Ok((merge(early, late), near.max(late_near)))
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
