//! The daemon's HTTP server.

use std::future::pending;
use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::Context as _;
use hyper_util::service::TowerToHyperService;
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio_util::task::AbortOnDropHandle;

use super::events::Followers;
use super::table::{self, Shared};
use crate::daemon::Asked;
use crate::exit::{Failure, Status};
use crate::local_server;

/// A server that listens.
pub(crate) struct Server {
    listener: TcpListener,
    addr: SocketAddr,
}

/// Ends the server when it is dropped.
pub(crate) struct Serving {
    _task: AbortOnDropHandle<()>,
}

impl Server {
    /// Listens there; loopback only, since whoever reads along on a network would learn the token.
    pub(crate) async fn bind(addr: SocketAddr) -> anyhow::Result<Self> {
        if !addr.ip().is_loopback() {
            let message = format!("--api {addr} is not on loopback");
            return Err(Failure::new(Status::Usage, message)
                .hint("the API is for this machine; `ssh -L` leads to it from another one")
                .into());
        }
        let listener = TcpListener::bind(addr).await.with_context(|| {
            format!("cannot listen on {addr} for orders; `ss -lntp` shows who holds the port")
        })?;
        let addr = listener.local_addr().context("the address for orders")?;
        Ok(Self { listener, addr })
    }

    /// Where it listens.
    pub(crate) const fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Answers who knows the token, with what the daemon says.
    pub(crate) fn serve(self, token: [u8; 32], daemon: mpsc::Sender<Asked>) -> Serving {
        let router =
            table::router(Arc::new(Shared { daemon, token, followers: Followers::default() }));
        let service = TowerToHyperService::new(router);
        let task = tokio::spawn(local_server::serve(self.listener, service, pending()));
        Serving { _task: AbortOnDropHandle::new(task) }
    }
}
