//! What the servers and the router share.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::{Duration, Instant};

use parking_lot::{Mutex, RwLock};
use registry::{Files, Lives};

use super::Listener;
use crate::access::Access;
use crate::admin::AdminCounters;
use crate::catalogue::{
    Catalogue, CatalogueError, Changes, Publication, Published, Publisher, Withdrawn,
};
use crate::http::HttpCounters;
use crate::json::JsonCounters;
use crate::latency::Latencies;
use crate::lists::Lists;
use crate::quota::Quotas;
use crate::swarms::Swarms;
use crate::text::TextCounters;
use crate::tls::Tls;
use crate::udp::UdpCounters;

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
    pub(super) started: Instant,
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
