//! JSON over TCP: connections in, one line out for each object (`proto::tracker::json`).
//!
//! A client that ends its object with a newline may send another one; all others get their answer and
//! the end of the connection. The number of connections, the time for a request and the memory of
//! long requests are bounded.

mod answer;
mod console;

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use proto::tracker::json::{Framed, Framer, JsonError, Reply, Request};
use registry::Files;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout, timeout_at};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::accept::{ConnectionCounters, Gate, Seat, Turn, Turns};
use crate::limits::{
    JSON_IDLE_TIMEOUT, JSON_LINGER, JSON_LINGER_LEN_MAX, JSON_LONG_REQUESTS_MAX,
    JSON_SHORT_LEN_MAX, JSON_TRIES_AT_ONCE, JSON_TRY_TIMEOUT, JSON_WRITE_TIMEOUT,
};
use crate::sample::Sample;
use crate::server::Shared;
use crate::tls::Begun;

/// What the JSON port has done.
#[derive(Debug, Default)]
pub struct JsonCounters {
    /// Connections.
    pub connections: ConnectionCounters,
    /// Requests answered.
    pub requests: AtomicU64,
    /// Of these, with an error.
    pub refused: AtomicU64,
    /// Answered as if there was no such file, since a list does not let it in.
    pub denied: AtomicU64,
    /// Answered with nothing, since their network asks too often.
    pub limited: AtomicU64,
}

/// What all connections share.
#[derive(Debug)]
pub(crate) struct JsonShared {
    /// Who has which file by name.
    files: Arc<Mutex<Files>>,
    shared: Arc<Shared>,
    gate: Gate,
    long_requests: Turns,
    pub(crate) tasks: TaskTracker,
}

impl JsonShared {
    pub(crate) fn new(shared: Arc<Shared>, stop: CancellationToken) -> Arc<Self> {
        Arc::new(Self {
            files: Arc::clone(&shared.files),
            gate: Gate::new(shared.connections_max, stop),
            shared,
            long_requests: Turns::new(JSON_LONG_REQUESTS_MAX),
            tasks: TaskTracker::new(),
        })
    }

    fn counters(&self) -> &JsonCounters {
        &self.shared.json
    }
}

/// Serves at all these addresses until the tracker stops; does nothing where there is none.
pub(crate) fn start(listeners: impl Iterator<Item = TcpListener>, json: &Arc<JsonShared>) {
    for listener in listeners {
        json.tasks.spawn(serve(listener, Arc::clone(json)));
    }
    if !json.tasks.is_empty() {
        json.tasks.spawn(sweep(Arc::clone(json)));
    }
}

/// Accepts connections until the tracker stops.
async fn serve(listener: TcpListener, json: Arc<JsonShared>) {
    let handle = |stream, remote: SocketAddr, seat: Seat| {
        let stop = json.gate.stop().clone();
        let seat = Arc::new(seat);
        let connection =
            handle_connection(stream, remote.ip(), Arc::clone(&seat), Arc::clone(&json));
        let connection = Box::pin(connection);
        json.tasks.spawn(async move {
            tokio::select! {
                ended = seat.hold(connection) => if let Some(Err(error)) = ended {
                    tracing::trace!(%error, "JSON connection");
                },
                () = stop.cancelled() => {}
            }
        });
    };
    json.gate.accept(listener, &json.counters().connections, handle).await;
}

/// Forgets the silent, after one try to reach them.
async fn sweep(json: Arc<JsonShared>) {
    let mut rounds = tokio::time::interval(Duration::from_secs(1));
    let tries = Arc::new(Semaphore::new(JSON_TRIES_AT_ONCE));
    loop {
        tokio::select! {
            _ = rounds.tick() => {}
            () = json.gate.stop().cancelled() => return,
        }
        let now = json.shared.swarms.now();
        let (to_try, forgotten) = {
            let mut files = json.files.lock();
            let (before, _) = files.totals();
            let to_try = files.sweep(now);
            (to_try, before.saturating_sub(files.totals().0))
        };
        console::forgotten(forgotten);
        for (name, addr) in to_try {
            // Too many at once: this one is forgotten untried, and registers again if it lives.
            let Ok(permit) = Arc::clone(&tries).try_acquire_owned() else { break };
            let json = Arc::clone(&json);
            json.tasks.clone().spawn(async move {
                if matches!(timeout(JSON_TRY_TIMEOUT, TcpStream::connect(addr)).await, Ok(Ok(_))) {
                    let now = json.shared.swarms.now();
                    json.files.lock().answered(now, &name);
                }
                drop(permit);
            });
        }
    }
}

async fn handle_connection(
    stream: TcpStream,
    ip: IpAddr,
    seat: Arc<Seat>,
    json: Arc<JsonShared>,
) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let Some(tls) = json.shared.tls.clone() else {
        return Connection::new(stream, ip, seat, json).run().await;
    };
    match tls.begin(stream, JSON_IDLE_TIMEOUT).await? {
        Begun::Plain(stream) => Connection::new(stream, ip, seat, json).run().await,
        Begun::Tls(stream) => Connection::new(stream, ip, seat, json).run().await,
        Begun::PlainRefused(stream) => {
            let mut connection = Connection::new(stream, ip, seat, json);
            connection.answer(&Reply::error("TLS only: connect with TLS")).await?;
            connection.close().await
        }
    }
}

struct Connection<S> {
    stream: S,
    ip: IpAddr,
    seat: Arc<Seat>,
    json: Arc<JsonShared>,
    framer: Framer,
    buffer: Vec<u8>,
    /// Held while the buffer is long.
    long: Option<Turn>,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Connection<S> {
    fn new(stream: S, ip: IpAddr, seat: Arc<Seat>, json: Arc<JsonShared>) -> Self {
        Self { stream, ip, seat, json, framer: Framer::default(), buffer: Vec::new(), long: None }
    }

    async fn run(mut self) -> io::Result<()> {
        loop {
            let Some((object, goes_on)) = self.next_object().await? else { return Ok(()) };
            let (reply, broken) = match object {
                Ok(request) => {
                    let start = std::time::Instant::now();
                    let reply = answer::answer(&self.json, self.ip, request).await;
                    self.json.shared.latencies.json_request.since(start);
                    (reply, false)
                }
                Err(error) => (Reply::error(&error), error.ends_stream()),
            };
            self.answer(&reply).await?;
            if broken || (!goes_on && self.buffer.trim_ascii().is_empty()) {
                return self.close().await;
            }
        }
    }

    async fn answer(&mut self, reply: &Reply) -> io::Result<()> {
        let counters = self.json.counters();
        counters.requests.fetch_add(1, Ordering::Relaxed);
        if matches!(reply, Reply::Error { .. }) {
            counters.refused.fetch_add(1, Ordering::Relaxed);
            log_refused(reply);
        }
        let mut line = Vec::new();
        reply.encode(&mut line);
        let written = async {
            self.stream.write_all(&line).await?;
            // What is written may wait in a TLS connection's own buffer.
            self.stream.flush().await
        };
        timeout(JSON_WRITE_TIMEOUT, written).await??;
        self.seat.on_completed();
        Ok(())
    }

    /// The next request, and whether the client means to go on; `None` when it has ended.
    async fn next_object(&mut self) -> io::Result<Option<(Result<Request, JsonError>, bool)>> {
        let deadline = Instant::now() + JSON_IDLE_TIMEOUT;
        loop {
            match self.framer.scan(&self.buffer) {
                Ok(Some(Framed { range, goes_on })) => {
                    let request = Request::decode(&self.buffer[range.clone()]);
                    self.buffer.drain(..range.end);
                    if self.buffer.is_empty() {
                        // A long request leaves no long buffer behind.
                        (self.buffer, self.long) = (Vec::new(), None);
                    }
                    return Ok(Some((request, goes_on)));
                }
                Ok(None) => {}
                Err(error) => return Ok(Some((Err(error), false))),
            }
            if self.buffer.len() >= JSON_SHORT_LEN_MAX && self.long.is_none() {
                let turn = self.json.long_requests.take(self.ip);
                self.long = Some(timeout_at(deadline, turn).await?);
            }
            self.buffer.reserve(READ_LEN);
            let read = timeout_at(deadline, self.stream.read_buf(&mut self.buffer));
            let read = match &self.long {
                Some(turn) => turn.seat.hold(Box::pin(read)).await,
                None => Some(read.await),
            };
            let Some(read) = read else {
                return Err(io::Error::other("too slow for a long request"));
            };
            if read?? == 0 {
                return Ok(None);
            }
        }
    }

    /// Ends our half, and lets the client read its answer before the other half ends.
    async fn close(mut self) -> io::Result<()> {
        let deadline = Instant::now() + JSON_LINGER;
        timeout_at(deadline, self.stream.shutdown()).await??;
        let (mut rest, mut left) = ([0; 512], JSON_LINGER_LEN_MAX);
        while left > 0 {
            match timeout_at(deadline, self.stream.read(&mut rest)).await?? {
                0 => break,
                len => left = left.saturating_sub(len),
            }
        }
        Ok(())
    }
}

/// Says now and then what clients are refused.
fn log_refused(reply: &Reply) {
    static SAMPLE: Sample = Sample::new();
    if tracing::enabled!(tracing::Level::DEBUG)
        && let Some(left_out) = SAMPLE.take_one()
    {
        tracing::debug!(?reply, left_out, "JSON request refused");
    }
}

const READ_LEN: usize = 4 << 10;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_wait_in_little_memory() {
        fn len<F: Future>(_: impl FnOnce(TcpStream, Arc<Seat>, Arc<JsonShared>) -> F) -> usize {
            size_of::<F>()
        }
        let handled = |stream, seat, json| handle_connection(stream, [0; 4].into(), seat, json);
        assert!(len(handled) <= 4 << 10, "{} bytes without its buffer", len(handled));
    }
}
