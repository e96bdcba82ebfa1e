//! How a tracker is to be.

use std::net::SocketAddr;

use registry::{Caps, Intervals, Lives};

use crate::catalogue::CatalogueLimits;
use crate::export::Export;
use crate::limits::CONNECTIONS_MAX;
use crate::lists::ListFiles;
use crate::proxy::TrustedProxy;
use crate::quota::QuotaRates;
use crate::text::TextConfig;
use crate::tls::TlsConfig;

/// How a tracker is to be. By default it is open, and answers nowhere.
#[derive(Debug, Clone)]
pub struct TrackerConfig {
    /// Where it answers, UDP and HTTP on one number. Port 0 picks a free one, the same for all.
    pub listen: Vec<SocketAddr>,
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

impl Default for TrackerConfig {
    fn default() -> Self {
        Self {
            listen: Vec::new(),
            catalogue: CatalogueLimits::default(),
            intervals: Intervals::default(),
            lives: Lives::default(),
            json: Extra::default(),
            private: false,
            text: TextConfig::default(),
            admin: Extra::default(),
            caps: Caps::default(),
            connections_max: CONNECTIONS_MAX,
            quotas: QuotaRates::default(),
            tls: None,
            proxies: Vec::new(),
            lists: ListFiles::default(),
            keep_peers: false,
            export: None,
        }
    }
}

/// Where a protocol beside UDP and HTTP is spoken.
#[derive(Debug, Clone, Default)]
pub struct Extra {
    /// The addresses; none switches it off.
    pub listen: Vec<SocketAddr>,
    /// Without it the tracker does not start. Else it is left out when an address cannot be used.
    pub required: bool,
}
