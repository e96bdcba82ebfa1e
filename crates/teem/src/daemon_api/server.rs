//! The daemon's HTTP server: a task a connection, and bounds for all of it.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, mpsc};
use tokio::task::{JoinHandle, JoinSet};

use super::table::{self, Shared};
use crate::daemon::Asked;
use crate::exit::{Failure, Status};

/// A server that listens.
pub(crate) struct Server {
    listener: TcpListener,
    addr: SocketAddr,
}

/// Ends the server when it is dropped.
pub(crate) struct Serving(JoinHandle<()>);

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
        let router = table::router(Arc::new(Shared { daemon, token }));
        let service = TowerToHyperService::new(router);
        Serving(tokio::spawn(async move {
            let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
            let mut running = JoinSet::new();
            loop {
                while running.try_join_next().is_some() {}
                // Whoever comes when all places are taken waits in the kernel's queue.
                let Ok(place) = places.clone().acquire_owned().await else { return };
                let stream = match self.listener.accept().await {
                    Ok((stream, _)) => stream,
                    Err(error) => {
                        tracing::warn!(%error, "cannot accept a connection");
                        tokio::time::sleep(ACCEPT_PAUSE).await;
                        continue;
                    }
                };
                let mut server = http1::Builder::new();
                server
                    .timer(TokioTimer::new())
                    .header_read_timeout(HEADER_TIME)
                    .max_buf_size(HEADERS_LEN_MAX);
                let connection = server.serve_connection(TokioIo::new(stream), service.clone());
                running.spawn(async move {
                    if let Err(error) = connection.await {
                        tracing::debug!(%error, "a connection for orders ended");
                    }
                    drop(place);
                });
            }
        }))
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Those between two requests too.
const CONNECTIONS_MAX: usize = 64;
/// How long a connection may take for its next request's headers.
const HEADER_TIME: Duration = Duration::from_secs(30);
const HEADERS_LEN_MAX: usize = 32 << 10;
/// When no descriptor is free, waiting helps.
const ACCEPT_PAUSE: Duration = Duration::from_millis(200);
