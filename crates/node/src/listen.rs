//! The ports that peers dial: bound, accepted from, and handed to their torrents; clients that are no
//! peers are told apart here.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener as StdListener, UdpSocket as StdUdp};
use std::sync::Arc;
use std::time::Duration;

use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::TcpListener;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::api::{NodeConfig, NodeError, UtpMode};
use crate::carrier::Carrier;
use crate::chunks;
use crate::egress::Gate;
use crate::handshake::{self, Caller};
use crate::node::Inner;
use crate::torrent::Input;
use crate::utp::Host;

/// What peers can reach: a TCP listener and, where datagrams are wanted, a UDP socket an address.
#[derive(Debug, Default)]
pub(crate) struct Bound {
    pub(crate) tcp: Vec<StdListener>,
    pub(crate) udp: Vec<StdUdp>,
}

/// Binds every address of the configuration, all with one port number where they ask for the same.
pub(crate) fn bind(config: &NodeConfig) -> Result<Bound, NodeError> {
    let Some(first) = config.listen.first() else { return Ok(Bound::default()) };
    let udp = config.dht.is_some() || config.utp != UtpMode::Off;
    // A free TCP port may be somebody's UDP port: then another one is drawn.
    let tries = match first.port() {
        0 if udp => PORTS_DRAWN,
        port if config.next_free_port && port != 0 => PORTS_TRIED,
        _ => 1,
    };
    let mut last = None;
    for step in 0..tries {
        match bind_all(config, step, udp) {
            Ok(listeners) => return Ok(listeners),
            Err((addr, source)) => {
                let taken = source.kind() == io::ErrorKind::AddrInUse;
                last = Some(NodeError::Listen { addr, source });
                if !taken {
                    break;
                }
            }
        }
    }
    Err(last.unwrap_or(NodeError::Closed))
}

fn bind_all(config: &NodeConfig, step: u16, udp: bool) -> Result<Bound, (SocketAddr, io::Error)> {
    let gate = config.gate();
    let mut bound = Bound::default();
    let mut chosen = None;
    for addr in &config.listen {
        // Port 0 is drawn once: both families listen on the same number.
        let port = match (addr.port(), chosen) {
            (0, Some(port)) => port,
            (0, None) => 0,
            (port, _) => port.saturating_add(step),
        };
        let addr = SocketAddr::new(addr.ip(), port);
        match bind_one(addr, &gate) {
            Ok(listener) => {
                let local = listener.local_addr().unwrap_or(addr);
                chosen = Some(local.port());
                bound.tcp.push(listener);
                if udp {
                    bound.udp.push(bind_udp(local, &gate).map_err(|error| (local, error))?);
                }
            }
            // A machine without IPv6 listens on IPv4 alone.
            Err(error) if addr.is_ipv6() && !bound.tcp.is_empty() && no_ipv6(&error) => {}
            Err(error) => return Err((addr, error)),
        }
    }
    Ok(bound)
}

fn no_ipv6(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::AddrNotAvailable | io::ErrorKind::Unsupported)
        || error.raw_os_error() == Some(EAFNOSUPPORT)
}

fn bind_one(addr: SocketAddr, gate: &Gate) -> io::Result<StdListener> {
    let socket = Socket::new(Domain::for_address(addr), Type::STREAM, Some(Protocol::TCP))?;
    gate.hold_to_interface(&socket)?;
    if addr.is_ipv6() {
        // One socket a family: IPv4 peers never show up in IPv6 clothing.
        socket.set_only_v6(true)?;
    }
    socket.set_reuse_address(true)?;
    socket.bind(&addr.into())?;
    socket.listen(BACKLOG)?;
    socket.set_nonblocking(true)?;
    Ok(socket.into())
}

fn bind_udp(addr: SocketAddr, gate: &Gate) -> io::Result<StdUdp> {
    let socket = Socket::new(Domain::for_address(addr), Type::DGRAM, Some(Protocol::UDP))?;
    gate.hold_to_interface(&socket)?;
    if addr.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    // As much as the system allows: what does not fit is lost, and slows its sender down.
    let _ = socket.set_recv_buffer_size(UDP_BUFFER_LEN);
    let _ = socket.set_send_buffer_size(UDP_BUFFER_LEN);
    socket.bind(&addr.into())?;
    socket.set_nonblocking(true)?;
    Ok(socket.into())
}

/// Accepts until the node shuts down.
pub(crate) async fn accept(node: Arc<Inner>, listener: StdListener) {
    let listener = match TcpListener::from_std(listener) {
        Ok(listener) => listener,
        Err(error) => return tracing::error!(%error, "cannot accept connections"),
    };
    let half_open = Arc::new(Semaphore::new(HALF_OPEN_MAX));
    loop {
        let accepted = tokio::select! {
            () = node.closing().cancelled() => return,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((_, addr)) if node.config.blocked.has(addr.ip()) => {}
            Ok((stream, addr)) => {
                // Too many strangers in the door: this one may try again.
                let Ok(permit) = half_open.clone().try_acquire_owned() else { continue };
                let node = node.clone();
                tokio::task::spawn_local(welcome(node, Carrier::Tcp(stream), addr, permit));
            }
            // No descriptors left, or a connection that died in the queue: wait, do not spin.
            Err(error) => {
                tracing::debug!(%error, "accept failed");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

/// Accepts over uTP until the node shuts down.
pub(crate) async fn accept_utp(node: Arc<Inner>, host: Arc<Host>) {
    let half_open = Arc::new(Semaphore::new(HALF_OPEN_MAX));
    loop {
        let (stream, addr) = tokio::select! {
            () = node.closing().cancelled() => return,
            accepted = host.accept() => accepted,
        };
        if node.config.blocked.has(addr.ip()) {
            continue;
        }
        // As above; dropping the stream closes it.
        let Ok(permit) = half_open.clone().try_acquire_owned() else { continue };
        tokio::task::spawn_local(welcome(node.clone(), Carrier::Utp(stream), addr, permit));
    }
}

async fn welcome(
    node: Arc<Inner>,
    carrier: Carrier,
    addr: SocketAddr,
    half_open: OwnedSemaphorePermit,
) {
    let caller = handshake::answer(carrier, addr, &node).await;
    drop(half_open);
    match caller {
        Ok(Caller::Peer(stream, connected)) => {
            let (Some(inputs), Ok(stream)) =
                (node.directory.inputs(connected.info_hash), stream.detach())
            else {
                return;
            };
            // The torrent may have stopped in this moment; then the connection ends here.
            let _ = inputs.send(Input::Incoming(Box::new((stream, connected))));
        }
        Ok(Caller::Json(stream, begun)) => chunks::serve(node, stream, addr.ip(), &begun).await,
        Err(error) => tracing::debug!(%addr, %error, "refused a connection"),
    }
}

/// Default addresses: every one, both families.
pub(crate) fn everywhere(port: u16) -> Vec<SocketAddr> {
    vec![(Ipv4Addr::UNSPECIFIED, port).into(), (Ipv6Addr::UNSPECIFIED, port).into()]
}

/// Ports tried after the default one.
const PORTS_TRIED: u16 = 100;
/// Ports drawn until one is free for TCP and UDP.
const PORTS_DRAWN: u16 = 20;
const BACKLOG: i32 = 256;
/// Connections that have not said who they are.
const HALF_OPEN_MAX: usize = 256;
/// 50 ms at 80 MB/s.
const UDP_BUFFER_LEN: usize = 4 << 20;
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// Linux: the machine has no IPv6.
const EAFNOSUPPORT: i32 = 97;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::DhtConfig;

    fn config(port: u16, next_free_port: bool, dht: bool) -> NodeConfig {
        NodeConfig {
            listen: vec![(Ipv4Addr::LOCALHOST, port).into()],
            next_free_port,
            dht: dht.then(DhtConfig::default),
            utp: UtpMode::Off,
            ..NodeConfig::default()
        }
    }

    fn ports(bound: &Bound) -> (u16, Option<u16>) {
        let tcp = bound.tcp[0].local_addr().unwrap().port();
        (tcp, bound.udp.first().map(|socket| socket.local_addr().unwrap().port()))
    }

    #[test]
    fn tcp_and_udp_have_one_number_and_udp_is_bound_only_when_wanted() {
        let (tcp, udp) = ports(&bind(&config(0, false, true)).unwrap());
        assert_eq!(udp, Some(tcp));
        assert_eq!(ports(&bind(&config(0, false, false)).unwrap()).1, None);
        let over_utp = NodeConfig { utp: UtpMode::On, ..config(0, false, false) };
        let (tcp, udp) = ports(&bind(&over_utp).unwrap());
        assert_eq!(udp, Some(tcp));
    }

    #[test]
    fn a_number_that_somebody_has_for_udp_is_taken() {
        let other = StdUdp::bind("127.0.0.1:0").unwrap();
        let port = other.local_addr().unwrap().port();
        let (tcp, udp) = ports(&bind(&config(port, true, true)).unwrap());
        assert!(tcp != port && udp == Some(tcp));
        let refused = bind(&config(port, false, true));
        assert!(matches!(refused, Err(NodeError::Listen { addr, .. }) if addr.port() == port));
    }
}
