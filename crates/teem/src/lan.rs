//! Trackers on the local network, by DNS-SD (RFC 6763) over multicast DNS (RFC 6762).
//!
//! A tracker that is not on loopback only advertises `_teem._tcp` under its own name, which its data
//! folder keeps. A client that finds one names it and remembers the name; from then on another one is
//! offered but never taken in its place, so that a stranger's laptop cannot become the tracker of
//! everybody. (Who can forge multicast answers on the network can still claim the name; content is
//! checked against its hashes either way.)

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::time::Duration;

use anyhow::Context as _;
use clap::ValueEnum;
use mdns_sd::{ResolvedService, ServiceDaemon, ServiceEvent, ServiceInfo};
use serde::{Deserialize, Serialize};

use crate::exit::{Failure, Status};
use crate::known::Known;
use crate::locate::{self, Endpoint};
use crate::output::Output;
use crate::state::StateDir;

/// Whether the local network is used to find trackers and be found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Lan {
    /// Find and be found
    On,
    /// Send nothing, look for nothing
    Off,
}

/// A tracker's entry on the network. It is taken back when this is dropped.
pub(crate) struct Advertisement {
    daemon: ServiceDaemon,
    fullname: String,
}

impl Advertisement {
    /// Advertises the tracker `name` on `port`, at the addresses given or, without any, at all of
    /// this machine as they come and go.
    pub(crate) fn start(name: &str, port: u16, ips: &[IpAddr]) -> anyhow::Result<Self> {
        let properties = [("v", "1"), ("path", "/api/v1")];
        let host = format!("{}.local.", name.replace('.', "-"));
        let info = ServiceInfo::new(SERVICE, name, &host, ips, port, &properties[..])?;
        let info = if ips.is_empty() { info.enable_addr_auto() } else { info };
        let fullname = info.get_fullname().to_owned();
        let daemon = ServiceDaemon::new().context("open the multicast DNS socket")?;
        daemon.register(info)?;
        Ok(Self { daemon, fullname })
    }
}

impl Drop for Advertisement {
    fn drop(&mut self) {
        if let Ok(gone) = self.daemon.unregister(&self.fullname) {
            let _ = gone.recv_timeout(GOODBYE_TIMEOUT);
        }
        let _ = self.daemon.shutdown();
    }
}

/// Looks for trackers for two seconds, less when the one that was used before is there. `None` when
/// there is none.
pub(crate) async fn find(
    state: &StateDir,
    known: &Known,
    output: &Output,
) -> anyhow::Result<Option<Endpoint>> {
    let file = state.path().join(REMEMBERED);
    let remembered = read_remembered(&file);
    let wanted = remembered.as_ref().map(|tracker| tracker.name.as_str());
    let found = match browse(wanted).await {
        Ok(found) => found,
        Err(error) => {
            output.warn(&format!("cannot look on the local network: {error:#}"));
            return Ok(None);
        }
    };
    let mut answering = BTreeMap::new();
    for (name, addrs) in found {
        if let Some(endpoint) = first_that_answers(&name, &addrs, known).await {
            answering.insert(name, endpoint);
        }
    }
    match choose(&answering, wanted, &file)? {
        Some((name, endpoint)) => {
            output.note(&format!("using tracker {name} at {endpoint}, found on the local network"));
            let tracker = Remembered { v: 1, name: name.clone(), endpoint: endpoint.to_string() };
            if remembered.as_ref() != Some(&tracker) {
                remember(&file, &tracker, output);
            }
            Ok(Some(endpoint.clone()))
        }
        None => Ok(None),
    }
}

/// The tracker to use among those that answer: the remembered one, or the only one.
fn choose<'a>(
    answering: &'a BTreeMap<String, Endpoint>,
    wanted: Option<&str>,
    file: &Path,
) -> Result<Option<(&'a String, &'a Endpoint)>, Failure> {
    let list = || {
        let each = answering.iter().map(|(name, endpoint)| format!("{name} at {endpoint}"));
        each.collect::<Vec<_>>().join(", ")
    };
    match wanted {
        Some(wanted) => match answering.get_key_value(wanted) {
            None if !answering.is_empty() => Err(Failure::new(
                Status::NoPeers,
                format!("the tracker used before, {wanted}, does not answer; here is {}", list()),
            )
            .hint(format!(
                "to use another, name it with --tracker HOST:PORT; to forget the old one, delete {}",
                file.display()
            ))),
            found => Ok(found),
        },
        None if answering.len() > 1 => Err(Failure::new(
            Status::Failed,
            format!("there are several trackers on the network: {}", list()),
        )
        .hint("choose one with --tracker HOST:PORT")),
        None => Ok(answering.first_key_value()),
    }
}

/// Trackers by name, each with the addresses it says it has.
async fn browse(wanted: Option<&str>) -> anyhow::Result<BTreeMap<String, BTreeSet<SocketAddr>>> {
    let daemon = ServiceDaemon::new().context("open the multicast DNS socket")?;
    let events = daemon.browse(SERVICE)?;
    let mut found = BTreeMap::<String, BTreeSet<SocketAddr>>::new();
    let collect = async {
        while let Ok(event) = events.recv_async().await {
            let ServiceEvent::ServiceResolved(service) = event else { continue };
            let Some((name, addrs)) = describe(&service) else { continue };
            let wanted = wanted == Some(name.as_str());
            if found.len() < TRACKERS_MAX || found.contains_key(&name) {
                found.entry(name).or_default().extend(addrs);
            }
            if wanted {
                break;
            }
        }
    };
    let _ = tokio::time::timeout(BROWSE_TIME, collect).await;
    let _ = daemon.shutdown();
    Ok(found)
}

/// Name and addresses of an advertised tracker of our version.
fn describe(service: &ResolvedService) -> Option<(String, Vec<SocketAddr>)> {
    if service.get_property_val_str("v") != Some("1") {
        return None;
    }
    let name = service.fullname.strip_suffix(SERVICE)?.strip_suffix('.')?.to_owned();
    let usable = |ip: &IpAddr| match ip {
        IpAddr::V4(ip) => !ip.is_loopback() && !ip.is_unspecified() && !ip.is_multicast(),
        // A link-local address needs a zone, which no tracker URL can carry.
        IpAddr::V6(ip) => !ip.is_loopback() && !ip.is_unspecified() && !ip.is_unicast_link_local(),
    };
    let ips = service.addresses.iter().map(mdns_sd::ScopedIp::to_ip_addr).filter(usable);
    let addrs = ips.take(ADDRS_MAX).map(|ip| SocketAddr::new(ip, service.port)).collect();
    Some((name, addrs))
}

/// The address at which a tracker with that name answers; IPv4 is asked first.
async fn first_that_answers(
    name: &str,
    addrs: &BTreeSet<SocketAddr>,
    known: &Known,
) -> Option<Endpoint> {
    for addr in addrs {
        let endpoint = Endpoint::new(addr.ip(), addr.port());
        if let Ok((endpoint, status)) = locate::greet(endpoint, known, CONNECT_TIMEOUT).await
            && status.name == name
        {
            return Some(endpoint);
        }
    }
    None
}

#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Remembered {
    v: u8,
    name: String,
    /// For people who read the file; the name decides.
    endpoint: String,
}

fn read_remembered(file: &Path) -> Option<Remembered> {
    serde_json::from_slice(&std::fs::read(file).ok()?).ok()
}

fn remember(file: &Path, tracker: &Remembered, output: &Output) {
    let written = serde_json::to_vec(tracker)
        .map_err(std::io::Error::from)
        .and_then(|json| crate::state::write_whole(file, &json));
    if let Err(error) = written {
        output.warn(&format!("cannot remember the tracker in {}: {error}", file.display()));
    }
}

const SERVICE: &str = "_teem._tcp.local.";
const REMEMBERED: &str = "lan-tracker.json";
const BROWSE_TIME: Duration = Duration::from_secs(2);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);
const GOODBYE_TIMEOUT: Duration = Duration::from_millis(500);
/// Anybody on the network can advertise any number.
const TRACKERS_MAX: usize = 16;
const ADDRS_MAX: usize = 8;

#[cfg(test)]
mod tests {
    use super::*;

    fn trackers(names: &[&str]) -> BTreeMap<String, Endpoint> {
        let endpoint = |last| Endpoint::new(IpAddr::from([192, 0, 2, last]), 6969);
        names.iter().zip(1..).map(|(name, last)| ((*name).to_owned(), endpoint(last))).collect()
    }

    #[test]
    fn the_only_tracker_is_taken_and_the_remembered_one_preferred() {
        let file = Path::new("f");
        let name = |found: Result<Option<(&String, &Endpoint)>, Failure>| {
            found.map(|found| found.map(|(name, _)| name.clone())).ok()
        };
        assert_eq!(name(choose(&trackers(&[]), None, file)), Some(None));
        assert_eq!(name(choose(&trackers(&[]), Some("a"), file)), Some(None));
        assert_eq!(name(choose(&trackers(&["a"]), None, file)), Some(Some("a".to_owned())));
        let both = trackers(&["a", "b"]);
        assert_eq!(name(choose(&both, Some("b"), file)), Some(Some("b".to_owned())));
    }

    #[test]
    fn another_tracker_never_takes_the_place_of_the_remembered_one() {
        let other = trackers(&["b"]);
        let refused = choose(&other, Some("a"), Path::new("f"));
        assert!(refused.is_err_and(|failure| failure.to_string().contains("b at 192.0.2.1:6969")));
        assert!(choose(&trackers(&["a", "b"]), None, Path::new("f")).is_err());
    }
}
