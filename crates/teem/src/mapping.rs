//! Ports opened on the router (port mapping), so that who is at home can be reached from outside.
//!
//! The default route's router is asked by PCP (RFC 6887), else NAT-PMP (RFC 6886), else UPnP IGD. Mappings
//! last an hour, are renewed at half of that, and are taken back at the end; a crash leaves them to run
//! out.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::num::NonZeroU16;
use std::time::Duration;

use crab_nat::{InternetProtocol, PortMappingOptions, PortMappingType, TimeoutConfig, natpmp};
use igd_next::aio::Gateway;
use igd_next::aio::tokio::{Tokio, search_gateway};
use igd_next::{PortMappingProtocol, SearchOptions};
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::listen;

/// A port of this machine that others should reach.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Port {
    /// TCP.
    Tcp(NonZeroU16),
    /// UDP.
    Udp(NonZeroU16),
}

/// Ports that are open on the router. They are closed by [`Mapping::stop`].
#[derive(Debug)]
pub(crate) struct Mapping {
    external: Vec<SocketAddr>,
    stop: CancellationToken,
    renewing: JoinHandle<()>,
}

/// A router that has opened ports.
enum Router {
    /// By PCP or NAT-PMP: a mapping for each port.
    Pcp(Vec<crab_nat::PortMapping>),
    /// By UPnP.
    Upnp { gateway: Gateway<Tokio>, ports: Vec<Port>, local: IpAddr },
}

impl Mapping {
    /// Asks the router.
    ///
    /// # Errors
    /// Why it opens nothing.
    pub(crate) async fn open(ports: &[Port]) -> Result<Self, String> {
        let opened = timeout(START_TIMEOUT, open(ports)).await;
        let (router, external) = opened.unwrap_or_else(|_| Err(SILENT.into()))?;
        let stop = CancellationToken::new();
        let renewing = tokio::spawn(renew(router, stop.clone()));
        Ok(Self { external, stop, renewing })
    }

    /// Where others outside reach the ports, TCP first.
    pub(crate) fn external(&self) -> &[SocketAddr] {
        &self.external
    }

    /// Closes the ports.
    pub(crate) async fn stop(self) {
        self.stop.cancel();
        if timeout(STOP_TIMEOUT, self.renewing).await.is_err() {
            tracing::warn!("the router does not answer; it closes the ports within the hour");
        }
    }
}

impl Port {
    const fn number(self) -> NonZeroU16 {
        match self {
            Self::Tcp(number) | Self::Udp(number) => number,
        }
    }

    const fn pcp(self) -> InternetProtocol {
        match self {
            Self::Tcp(_) => InternetProtocol::Tcp,
            Self::Udp(_) => InternetProtocol::Udp,
        }
    }

    const fn upnp(self) -> PortMappingProtocol {
        match self {
            Self::Tcp(_) => PortMappingProtocol::TCP,
            Self::Udp(_) => PortMappingProtocol::UDP,
        }
    }
}

/// Opens all of the ports, by the first protocol that the router speaks.
async fn open(ports: &[Port]) -> Result<(Router, Vec<SocketAddr>), String> {
    let local = listen::default_route().filter(IpAddr::is_ipv4);
    let local = local.ok_or("there is no route to it over IPv4")?;
    let by_pcp = match default_gateway() {
        Some(gateway) => open_by_pcp(gateway, local, ports).await,
        None => Err("its address is not known".to_owned()),
    };
    match by_pcp {
        Ok(opened) => Ok(opened),
        Err(pcp) => open_by_upnp(local, ports).await.map_err(|upnp| format!("{pcp}; {upnp}")),
    }
}

async fn open_by_pcp(
    gateway: Ipv4Addr,
    local: IpAddr,
    ports: &[Port],
) -> Result<(Router, Vec<SocketAddr>), String> {
    let mut mapped = Vec::new();
    let mut external = Vec::new();
    for port in ports {
        let options = PortMappingOptions {
            external_port: Some(port.number()),
            lifetime_seconds: Some(LIFE_SECS),
            timeout_config: Some(PATIENCE),
        };
        let asked =
            crab_nat::PortMapping::new(gateway.into(), local, port.pcp(), port.number(), options);
        match asked.await {
            Ok(mapping) => {
                external.push((external_ip(&mapping).await, mapping.external_port().get()));
                mapped.push(mapping);
            }
            Err(error) => {
                Router::Pcp(mapped).close().await;
                return Err(error.to_string());
            }
        }
    }
    let known = external.into_iter().filter_map(|(ip, port)| Some(SocketAddr::new(ip?, port)));
    Ok((Router::Pcp(mapped), distinct(known)))
}

async fn external_ip(mapping: &crab_nat::PortMapping) -> Option<IpAddr> {
    match mapping.mapping_type() {
        PortMappingType::Pcp { external_ip, .. } => Some(external_ip),
        PortMappingType::NatPmp => {
            let asked = natpmp::external_address(mapping.gateway(), Some(PATIENCE)).await;
            asked.ok().map(IpAddr::V4)
        }
    }
}

async fn open_by_upnp(local: IpAddr, ports: &[Port]) -> Result<(Router, Vec<SocketAddr>), String> {
    let mut search = SearchOptions::default();
    search.bind_addr = SocketAddr::new(local, 0);
    search.timeout = Some(SEARCH_TIMEOUT);
    let gateway = search_gateway(search).await.map_err(|error| format!("UPnP: {error}"))?;
    let ip = gateway.get_external_ip().await.map_err(|error| format!("UPnP: {error}"))?;
    let mut router = Router::Upnp { gateway, ports: ports.to_vec(), local };
    if let Err(reason) = router.renew().await {
        router.close().await;
        return Err(reason);
    }
    let external = ports.iter().map(|port| SocketAddr::new(ip, port.number().get()));
    Ok((router, distinct(external)))
}

impl Router {
    /// Asks for an hour more.
    async fn renew(&mut self) -> Result<(), String> {
        match self {
            Self::Pcp(mappings) => {
                for mapping in mappings {
                    mapping.renew().await.map_err(|error| error.to_string())?;
                }
            }
            Self::Upnp { gateway, ports, local } => {
                for port in ports {
                    let (number, upnp) = (port.number().get(), port.upnp());
                    let here = SocketAddr::new(*local, number);
                    let added = gateway.add_port(upnp, number, here, LIFE_SECS, DESCRIPTION).await;
                    added.map_err(|error| format!("UPnP: {error}"))?;
                }
            }
        }
        Ok(())
    }

    async fn close(self) {
        match self {
            Self::Pcp(mappings) => {
                for mapping in mappings {
                    if let Err((error, _)) = mapping.try_drop().await {
                        tracing::warn!(%error, "closing a port of the router");
                    }
                }
            }
            Self::Upnp { gateway, ports, .. } => {
                for port in ports {
                    if let Err(error) = gateway.remove_port(port.upnp(), port.number().get()).await
                    {
                        tracing::warn!(%error, "closing a port of the router");
                    }
                }
            }
        }
    }
}

/// Keeps the ports open until told to stop, then closes them.
async fn renew(mut router: Router, stop: CancellationToken) {
    let mut pause = RENEW_EVERY;
    loop {
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = stop.cancelled() => return router.close().await,
        }
        pause = match router.renew().await {
            Ok(()) => RENEW_EVERY,
            Err(reason) => {
                tracing::warn!(reason, "the router does not keep the ports open; trying again");
                RETRY_EVERY
            }
        };
    }
}

fn distinct(addrs: impl Iterator<Item = SocketAddr>) -> Vec<SocketAddr> {
    let mut found: Vec<SocketAddr> = addrs.collect();
    found.sort();
    found.dedup();
    found
}

/// The router of the default route over IPv4.
fn default_gateway() -> Option<Ipv4Addr> {
    gateway_in(&std::fs::read_to_string("/proc/net/route").ok()?)
}

/// Reads the kernel's table: the fields of a line are interface, destination, gateway, flags and more,
/// addresses in hex as they lie in memory.
fn gateway_in(table: &str) -> Option<Ipv4Addr> {
    table.lines().skip(1).find_map(|line| {
        let mut fields = line.split_whitespace().skip(1);
        let (destination, gateway) = (fields.next()?, fields.next()?);
        let gateway = u32::from_str_radix(gateway, 16).ok()?;
        (destination == "00000000" && gateway != 0).then(|| gateway.to_ne_bytes().into())
    })
}

const DESCRIPTION: &str = "Teem";
const SILENT: &str = "it does not answer";
const LIFE_SECS: u32 = 3_600;
const RENEW_EVERY: Duration = Duration::from_secs(LIFE_SECS as u64 / 2);
const RETRY_EVERY: Duration = Duration::from_secs(60);
const START_TIMEOUT: Duration = Duration::from_secs(15);
const SEARCH_TIMEOUT: Duration = Duration::from_secs(4);
const STOP_TIMEOUT: Duration = Duration::from_secs(3);
/// A router is next door: after 1.75 s without an answer there is none.
const PATIENCE: TimeoutConfig = TimeoutConfig {
    initial_timeout: Duration::from_millis(250),
    max_retries: 2,
    max_retry_timeout: None,
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_router_is_found_in_the_kernels_table() {
        let head = "Iface\tDestination\tGateway\tFlags\tRefCnt\tUse\tMetric\tMask\n";
        let gateway = u32::from_ne_bytes([10, 0, 0, 1]);
        let local = "eth0\t0000000A\t00000000\t0001\t0\t0\t0\t00FFFFFF\n";
        let route = format!("eth0\t00000000\t{gateway:08X}\t0003\t0\t0\t0\t00000000\n");
        assert_eq!(gateway_in(&format!("{head}{local}{route}")), Some(Ipv4Addr::new(10, 0, 0, 1)));
        let direct = "eth0\t00000000\t00000000\t0001\t0\t0\t0\t00000000\n";
        for table in [head, "", &format!("{head}{local}"), &format!("{head}{direct}"), "a\nb c d"] {
            assert_eq!(gateway_in(table), None, "{table}");
        }
    }
}
