//! A tracker of this process: its servers, its API, and its entry on the local network.

use std::net::{IpAddr, SocketAddr};
use std::num::NonZeroU16;

use anyhow::Context as _;
use serde::Serialize;
use tracker::{Plain, Secret, Tls, Tracker, TrackerConfig};

use crate::cli::Context;
use crate::known::Known;
use crate::lan::{Advertisement, Lan};
use crate::listen;
use crate::locate::Endpoint;
use crate::mapping::{Mapping, Port};
use crate::output::Output;
use crate::own_hosts::OwnHosts;
use crate::reloader::Reloader;
use crate::signal::Hangup;
use crate::state::{StateDir, write_whole};
use crate::tracker_api;

/// A running tracker.
pub(crate) struct Hosted {
    tracker: Tracker,
    name: String,
    listeners: Vec<Listener>,
    advertisement: Option<Advertisement>,
    reloader: Reloader,
    mapping: Option<Mapping>,
}

/// A tracker and its place on the network.
#[derive(Debug)]
pub(crate) struct Serve {
    /// The tracker.
    pub(crate) config: TrackerConfig,
    /// Further names that browsers and scripts may call the operator's port by.
    pub(crate) admin_hosts: Vec<String>,
    /// Whether others find it by themselves.
    pub(crate) lan: Lan,
    /// The router opens the ports that everybody may reach.
    pub(crate) map_ports: bool,
}

/// What others need to know.
#[derive(Debug, Serialize)]
pub(crate) struct Ready {
    /// The tracker's own name.
    pub(crate) name: String,
    /// Where others reach it, the default route's address first: HOST:PORT of UDP and HTTP.
    pub(crate) addresses: Vec<String>,
    /// Where the router lets others in.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) external: Vec<SocketAddr>,
    /// Every socket.
    pub(crate) listeners: Vec<Listener>,
    /// TLS, where it is spoken.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) tls: Option<TlsReady>,
}

/// What others need to know of TLS.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct TlsReady {
    /// SHA-256 of the certificate, in hex.
    pub(crate) fingerprint: String,
    /// Plain HTTP and JSON are refused.
    pub(crate) only: bool,
}

/// One socket.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Listener {
    pub(crate) protocol: &'static str,
    pub(crate) addr: SocketAddr,
}

impl Hosted {
    /// Starts a tracker with its API, and advertises it unless only this machine can reach it.
    pub(crate) async fn start(
        serve: Serve,
        state: &StateDir,
        context: &Context,
    ) -> anyhow::Result<Self> {
        let name = own_name(state)?;
        let text = &serve.config.text;
        let (speaks_text, external) = (!text.listen.is_empty(), text.external.clone());
        let hosts = OwnHosts::new(own_host_names().chain(serve.admin_hosts));
        let routers = |shared| tracker_api::routers(shared, hosts);
        // From here on SIGHUP does not end the program: who sends it early gets what was asked for.
        let hangup = Hangup::watch().context("listen for SIGHUP")?;
        let home = (name.clone(), state.path().to_owned());
        let tracker = Tracker::start(home, serve.config, routers).await?;
        let reloader = Reloader::start(hangup, tracker.shared(), &context.output);
        warn_of_open_administration(&tracker, context);
        for error in tracker.left_out() {
            context.output.warn(&format!("{error}; going on without it"));
        }
        let listeners = tracker
            .listeners()
            .iter()
            .map(|listener| Listener { protocol: listener.protocol.name(), addr: listener.addr });
        let listeners: Vec<Listener> = listeners.collect();
        let addrs = http_addrs(&listeners);
        let advertisement = match serve.lan {
            Lan::On if !listen::only_loopback(&addrs) => advertise(&name, &addrs, context),
            Lan::On | Lan::Off => None,
        };
        let mapping = if serve.map_ports {
            let opened = Mapping::open(&open_to_all(&listeners)).await;
            let told = |reason: &String| {
                context.output.warn(&format!("the router opens no ports: {reason}"));
            };
            opened.inspect_err(told).ok()
        } else {
            None
        };
        let mapped = mapping.iter().flat_map(|open| open.external().iter().map(SocketAddr::ip));
        let mapped: Vec<IpAddr> = mapped.collect();
        tracker.shared().note_external(mapped.iter().copied());
        if speaks_text {
            tell_external(if external.is_empty() { mapped } else { external }, context);
        }
        Ok(Self { tracker, name, listeners, advertisement, reloader, mapping })
    }

    /// Ends it in good order.
    pub(crate) async fn stop(self) {
        drop(self.reloader);
        // Nobody should find what is about to go.
        let advertisement = self.advertisement;
        let _ = tokio::task::spawn_blocking(move || drop(advertisement)).await;
        if let Some(mapping) = self.mapping {
            mapping.stop().await;
        }
        self.tracker.stop().await;
    }

    /// Where others reach it best.
    pub(crate) fn endpoint(&self) -> Endpoint {
        let best = self.reachable().into_iter().next();
        let any = || self.listeners.first().map(|listener| listener.addr);
        let addr = best.or_else(any).unwrap_or_else(|| ([127, 0, 0, 1], 0).into());
        let endpoint = Endpoint::new(addr.ip(), addr.port());
        if self.tls().is_some() { endpoint.secured() } else { endpoint }
    }

    /// What is known of its certificate.
    pub(crate) fn known(&self, output: &Output) -> Known {
        match self.tls() {
            Some(tls) => Known::own(&self.endpoint().authority(), tls.fingerprint(), output),
            None => Known::nothing(output),
        }
    }

    /// Others find it by themselves.
    pub(crate) const fn is_advertised(&self) -> bool {
        self.advertisement.is_some()
    }

    /// The administrator's token of a private tracker that never had one. It is told once.
    pub(crate) fn first_admin(&self) -> Option<&Secret> {
        self.tracker.first_admin()
    }

    /// What others need to know.
    pub(crate) fn ready(&self) -> Ready {
        Ready {
            name: self.name.clone(),
            addresses: self.reachable().iter().map(SocketAddr::to_string).collect(),
            external: self.mapping.as_ref().map_or_else(Vec::new, |open| open.external().to_vec()),
            listeners: self.listeners.clone(),
            tls: self.tls().map(|tls| TlsReady {
                fingerprint: tls.fingerprint().to_string(),
                only: tls.plain() == Plain::Refused,
            }),
        }
    }

    fn tls(&self) -> Option<&Tls> {
        self.tracker.shared().tls.as_deref()
    }

    fn reachable(&self) -> Vec<SocketAddr> {
        listen::reachable(&http_addrs(&self.listeners))
    }
}

impl Ready {
    /// Tells people where the router lets others in.
    pub(crate) fn tell_external(&self, output: &Output) {
        let external: Vec<_> = self.external.iter().map(SocketAddr::to_string).collect();
        if !external.is_empty() {
            output.result(&format!("from outside at {}", external.join(", ")));
        }
    }

    /// Tells people what a client will see.
    pub(crate) fn tell_certificate(&self, output: &Output) {
        if let Some(tls) = &self.tls {
            output.result(&format!("TLS certificate SHA-256 {}", tls.fingerprint));
        }
    }
}

/// Which addresses seeders of the text protocol may have that are on this machine.
fn tell_external(mut known: Vec<IpAddr>, context: &Context) {
    known.sort_unstable();
    known.dedup();
    let known: Vec<String> = known.iter().map(ToString::to_string).collect();
    let listed = if known.is_empty() {
        "no public address is known (--external-ip, --map-ports): text seeders of this machine are \
         listed on loopback"
            .to_owned()
    } else {
        format!("text seeders beside this tracker may be listed at {}", known.join(", "))
    };
    context.output.note(&listed);
}

/// The ports that everybody may reach, as far as a router can lead to them: over IPv4, at the address
/// of the default route.
fn open_to_all(listeners: &[Listener]) -> Vec<Port> {
    let route = listen::default_route();
    let is_there = |ip: IpAddr| ip.is_ipv4() && (ip.is_unspecified() || Some(ip) == route);
    let ports = listeners.iter().filter(|listener| is_there(listener.addr.ip())).filter_map(|at| {
        let number = NonZeroU16::new(at.addr.port())?;
        match at.protocol {
            "http" | "json" | "text-lists" => Some(Port::Tcp(number)),
            "udp" | "text" => Some(Port::Udp(number)),
            _ => None,
        }
    });
    let mut ports: Vec<Port> = ports.collect();
    ports.sort();
    ports.dedup();
    ports
}

/// An advertisement of the addresses that others can reach; a tracker without one is still a tracker.
fn advertise(name: &str, addrs: &[SocketAddr], context: &Context) -> Option<Advertisement> {
    let port = addrs.first()?.port();
    let everywhere = addrs.iter().any(|addr| addr.ip().is_unspecified());
    let ips = addrs.iter().map(SocketAddr::ip).filter(|ip| !ip.is_loopback());
    let ips: Vec<_> = if everywhere { Vec::new() } else { ips.collect() };
    match Advertisement::start(name, port, &ips) {
        Ok(advertisement) => Some(advertisement),
        Err(error) => {
            let what = "others on the network will not find this tracker by themselves";
            context.output.warn(&format!("{what}: {error:#}"));
            None
        }
    }
}

fn http_addrs(listeners: &[Listener]) -> Vec<SocketAddr> {
    let http = listeners.iter().filter(|listener| listener.protocol == "http");
    http.map(|listener| listener.addr).collect()
}

/// The tracker's name on the network: this machine's, and a part by chance that stays the same as
/// long as the data folder does. Clients know the tracker again by it.
fn own_name(state: &StateDir) -> anyhow::Result<String> {
    let file = state.path().join(NAME_FILE);
    if let Ok(name) = std::fs::read_to_string(&file) {
        let known = name.trim();
        if !known.is_empty() && known.len() <= NAME_LEN_MAX {
            return Ok(known.to_owned());
        }
    }
    let host = host_name();
    let name = format!("{host}-{:08x}", rand::random::<u32>());
    write_whole(&file, name.as_bytes()).with_context(|| format!("write {}", file.display()))?;
    Ok(name)
}

/// On an open tracker whoever reaches the operator's port is an operator.
fn warn_of_open_administration(tracker: &Tracker, context: &Context) {
    let admin = tracker.listeners().iter().filter(|at| at.protocol == tracker::Protocol::Admin);
    for listener in admin.filter(|listener| !listener.addr.ip().is_loopback()) {
        if tracker.shared().access.admin(None).is_ok() {
            context.output.warn(&format!(
                "whoever reaches {} administers this tracker; --admin-listen 127.0.0.1 keeps it to this machine",
                listener.addr
            ));
        }
    }
}

/// This machine's name, with and without its domain.
pub(crate) fn own_host_names() -> impl Iterator<Item = String> {
    let system = rustix::system::uname();
    let full = system.nodename().to_string_lossy().into_owned();
    let first = full.split('.').next().unwrap_or_default().to_owned();
    [full, first].into_iter().filter(|name| !name.is_empty())
}

/// This machine's name as a DNS label.
fn host_name() -> String {
    let system = rustix::system::uname();
    let host = system.nodename().to_string_lossy();
    let plain = host
        .chars()
        .take_while(|char| *char != '.')
        .map(|char| if char.is_ascii_alphanumeric() { char.to_ascii_lowercase() } else { '-' });
    let label: String = plain.take(HOST_LEN_MAX).collect();
    if label.is_empty() { "teem".to_owned() } else { label }
}

/// Keeps the tracker's name, in its data folder.
pub(crate) const NAME_FILE: &str = "tracker-name";
/// A DNS label has 63 bytes at most.
const NAME_LEN_MAX: usize = 63;
const HOST_LEN_MAX: usize = 48;
