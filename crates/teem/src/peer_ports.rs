//! The peers' port, opened on the router while a node runs.

use std::net::IpAddr;
use std::num::NonZeroU16;

use node::{ExternalPort, Node};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::listen;
use crate::mapping::{Mapping, Port};

/// A node that others outside may reach. [`Reachable::shutdown`] ends both.
#[derive(Debug)]
pub(crate) struct Reachable {
    node: Node,
    opening: Option<Opening>,
}

#[derive(Debug)]
struct Opening {
    ends: CancellationToken,
    task: JoinHandle<()>,
}

impl Reachable {
    /// Asks the router in the background, if that is `wanted` and could be of use: a node is ready without.
    pub(crate) fn new(node: Node, wanted: bool) -> Self {
        let opening = port_of(&node).filter(|_| wanted).map(|port| {
            let ends = CancellationToken::new();
            let task = tokio::spawn(keep_open(node.external_port(), port, ends.clone()));
            Opening { ends, task }
        });
        Self { node, opening }
    }

    /// The node.
    pub(crate) fn node(&self) -> &Node {
        &self.node
    }

    /// Leaves in good order, and closes the port.
    pub(crate) async fn shutdown(self) {
        self.node.shutdown().await;
        if let Some(Opening { ends, task }) = self.opening {
            ends.cancel();
            // It ends by itself; what it had to say was logged.
            let _ = task.await;
        }
    }
}

async fn keep_open(external: ExternalPort, port: NonZeroU16, ends: CancellationToken) {
    // TCP, and uTP with the DHT.
    let ports = [Port::Tcp(port), Port::Udp(port)];
    let opened = tokio::select! {
        opened = Mapping::open(&ports) => opened,
        () = ends.cancelled() => return,
    };
    match opened {
        Ok(mapping) => {
            tracing::info!(external = ?mapping.external(), "the router opened the peers' port");
            if let Some(addr) = mapping.external().first() {
                external.note(addr.port());
            }
            ends.cancelled().await;
            mapping.stop().await;
        }
        // Many have no router, or one that opens nothing: they dial others.
        Err(reason) => tracing::info!(reason, "the router does not open the peers' port"),
    }
}

/// The port that a router could lead others to.
fn port_of(node: &Node) -> Option<NonZeroU16> {
    let route = listen::default_route();
    let is_there = |ip: IpAddr| ip.is_ipv4() && (ip.is_unspecified() || Some(ip) == route);
    let there = node.listening().iter().find(|addr| is_there(addr.ip()));
    there.and_then(|addr| NonZeroU16::new(addr.port()))
}
