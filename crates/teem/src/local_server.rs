//! An HTTP server for people of this machine and their programs: a task a connection, and bounds for all of it.

use std::error::Error;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use hyper::body::{Body, Incoming};
use hyper::server::conn::http1;
use hyper::service::Service;
use hyper::{Request, Response};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinSet;

/// Answers connections until `ending` comes; then takes no more, and gives those that are open what they asked for.
///
/// Dropped, it ends them all.
pub(crate) async fn serve<S, B>(listener: TcpListener, service: S, ending: impl Future<Output = ()>)
where
    S: Service<Request<Incoming>, Response = Response<B>> + Clone + Send + 'static,
    S::Future: Send,
    S::Error: Into<Box<dyn Error + Send + Sync>>,
    B: Body + Send + 'static,
    B::Data: Send,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let mut running = JoinSet::new();
    let graceful = GracefulShutdown::new();
    let mut ending = pin!(ending);
    loop {
        while running.try_join_next().is_some() {}
        let (stream, place) = tokio::select! {
            () = &mut ending => break,
            next = accept(&listener, &places) => next,
        };
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEADER_TIME)
            .max_buf_size(HEADERS_LEN_MAX)
            .serve_connection(TokioIo::new(stream), service.clone());
        let connection = graceful.watch(connection);
        running.spawn(async move {
            if let Err(error) = connection.await {
                // A player that jumps closes its connection in the middle.
                tracing::debug!(%error, "a connection ended");
            }
            drop(place);
        });
    }
    drop(listener);
    graceful.shutdown().await;
}

/// The next connection, and its place.
async fn accept(
    listener: &TcpListener,
    places: &Arc<Semaphore>,
) -> (TcpStream, OwnedSemaphorePermit) {
    // Whoever comes when all places are taken waits in the kernel's queue.
    let place = places.clone().acquire_owned().await.expect("nobody closes it");
    loop {
        match listener.accept().await {
            Ok((stream, _)) => return (stream, place),
            Err(error) => {
                tracing::warn!(%error, "cannot accept a connection");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

/// Those between two requests too.
const CONNECTIONS_MAX: usize = 64;
/// How long a connection may take for its next request's headers.
const HEADER_TIME: Duration = Duration::from_secs(30);
const HEADERS_LEN_MAX: usize = 16 << 10;
/// When no descriptor is free, waiting helps.
const ACCEPT_PAUSE: Duration = Duration::from_millis(200);
