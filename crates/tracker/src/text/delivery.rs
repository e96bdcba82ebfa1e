//! Chunk lists in: handed in by a seeder, or fetched from it. The document can be read both ways.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::BufMut as _;
use proto::address::is_local;
use proto::tracker::text::{ChunkList, Scanner};
use tokio::io::AsyncReadExt as _;
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::{Instant, timeout_at};

use super::{TextShared, address};
use crate::accept::Turn;
use crate::limits::{TEXT_DELIVERY_TIMEOUT, TEXT_FETCH_TIMEOUT, TEXT_SHORT_LEN_MAX, TEXT_SILENCE};

/// Connects to a seeder that registered, and takes its chunk list. Not when that would be ourselves,
/// when it is being done already, or when too much of it is being done.
///
/// A register may be forged: somebody else's address then gets one attempt to connect, at a port that
/// the forger cannot choose. Only who is near or proven gets several, in case it listens a moment late.
pub(super) fn fetch(text: &Arc<TextShared>, listening: IpAddr, source: IpAddr, proven: bool) {
    let Ok(permit) = Arc::clone(&text.permits.fetches).try_acquire_owned() else { return };
    if address::is_ourselves(listening, source) || !text.fetching.lock().insert(source) {
        return;
    }
    let attempts = if proven || is_local(source) { ATTEMPTS } else { 1 };
    let text = Arc::clone(text);
    let (tasks, runtime) = (text.tasks.clone(), text.runtime.clone());
    tasks.spawn_on(
        async move {
            let fetched = fetch_all(&text, listening, source, attempts);
            let stopped = text.gate.stop().clone();
            tokio::select! {
                ended = fetched => if let Err(error) = ended {
                    tracing::debug!(%source, %error, "fetching a chunk list");
                },
                () = stopped.cancelled() => {}
            }
            text.fetching.lock().remove(&source);
            drop(permit);
        },
        &runtime,
    );
}

/// Several seeders of one address hand in their lists one after the other.
async fn fetch_all(
    text: &TextShared,
    listening: IpAddr,
    source: IpAddr,
    attempts: u32,
) -> io::Result<()> {
    for _ in 0..LISTS_A_FETCH {
        if !text.seeders.lock().lacks_list(source) {
            break;
        }
        let mut stream = connect(text, listening, source, attempts).await?;
        text.counters().fetches.fetch_add(1, Ordering::Relaxed);
        receive(text, &mut stream, source, Vec::new()).await?;
    }
    Ok(())
}

async fn connect(
    text: &TextShared,
    listening: IpAddr,
    source: IpAddr,
    attempts: u32,
) -> io::Result<TcpStream> {
    let deadline = Instant::now() + TEXT_FETCH_TIMEOUT;
    let mut left = attempts;
    loop {
        let socket = if source.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
        if !listening.is_unspecified() {
            socket.bind(SocketAddr::new(listening, 0))?;
        }
        let connected = socket.connect(SocketAddr::new(source, text.lists_port));
        left -= 1;
        match timeout_at(deadline, connected).await? {
            Err(error) if left == 0 => return Err(error),
            Err(_) => tokio::time::sleep(PAUSE).await,
            connected => return connected,
        }
    }
}

/// Reads the chunk list of a seeder at `source` from a connection on which `begun` came already.
///
/// # Errors
/// When it is no list, not one that was expected, or takes too long. Nobody is told.
pub(super) async fn receive(
    text: &TextShared,
    stream: &mut TcpStream,
    source: IpAddr,
    begun: Vec<u8>,
) -> io::Result<()> {
    let counters = text.counters();
    let received = Incoming::new(text, source, begun).read(stream).await;
    let delivered = received.and_then(|list| {
        let delivered = text.seeders.lock().deliver(text.now(), source, list);
        delivered.map_err(io::Error::other)
    });
    match delivered {
        Ok(name) => {
            tracing::debug!(%name, %source, "chunk list delivered");
            counters.delivered.fetch_add(1, Ordering::Relaxed);
            Ok(())
        }
        Err(error) => {
            counters.not_delivered.fetch_add(1, Ordering::Relaxed);
            Err(error)
        }
    }
}

/// A chunk list on its way.
struct Incoming<'a> {
    text: &'a TextShared,
    source: IpAddr,
    scanner: Scanner,
    buffer: Vec<u8>,
}

impl<'a> Incoming<'a> {
    fn new(text: &'a TextShared, source: IpAddr, buffer: Vec<u8>) -> Self {
        Self { text, source, scanner: Scanner::default(), buffer }
    }

    /// Reads no more than the longest list that is expected from there.
    async fn read(mut self, stream: &mut TcpStream) -> io::Result<ChunkList> {
        let deadline = Instant::now() + TEXT_DELIVERY_TIMEOUT;
        let mut patience = None;
        let mut turn: Option<Turn> = None;
        let mut ended = false;
        self.scanner.feed(&self.buffer).map_err(io::Error::other)?;
        loop {
            let mut registered = pin!(self.text.registered.notified());
            registered.as_mut().enable();
            if let Some(list) = self.whole()? {
                return Ok(list);
            }
            let longest = self.text.seeders.lock().longest_at(self.source).unwrap_or(0) as usize;
            let room = longest.saturating_sub(self.buffer.len());
            if room == 0 || ended {
                // The register may come a moment later than its list: they take different ways.
                let until = *patience.get_or_insert_with(|| Instant::now() + TEXT_SILENCE);
                timeout_at(until, registered).await?;
                continue;
            }
            if self.buffer.len() >= TEXT_SHORT_LEN_MAX && turn.is_none() {
                turn = Some(timeout_at(deadline, self.text.turns.take(self.source)).await?);
            }
            let before = self.buffer.len();
            let step = if turn.is_some() { LONG_READ_LEN } else { SHORT_READ_LEN };
            self.buffer.reserve(room.min(step));
            let mut space = (&mut self.buffer).limit(room);
            // Behind the end only white space may come, and it does so at once.
            let until = match self.scanner.end() {
                Some(_) => deadline.min(Instant::now() + TEXT_SILENCE),
                None => deadline,
            };
            let read = timeout_at(until, stream.read_buf(&mut space));
            let read = match &turn {
                Some(turn) => turn.seat.hold(Box::pin(read)).await,
                None => Some(read.await),
            };
            let Some(read) = read else { return Err(io::Error::other("too slow for a long list")) };
            ended = read.unwrap_or(Ok(0))? == 0;
            self.scanner.feed(&self.buffer[before..]).map_err(io::Error::other)?;
        }
    }

    /// The list, when it is whole and a seeder of this address said its length: white space behind
    /// it may be part of it.
    fn whole(&self) -> io::Result<Option<ChunkList>> {
        let Some(end) = self.scanner.end() else { return Ok(None) };
        let lens = end..=self.buffer.len();
        let Some(len) = self.text.seeders.lock().expected(self.source, lens) else {
            return Ok(None);
        };
        ChunkList::decode(&self.buffer[..len]).map(Some).map_err(io::Error::other)
    }
}

/// Chunk lists taken from one address, one connection each, before others have their turn.
const LISTS_A_FETCH: usize = 8;
/// Attempts to connect to a seeder that is no forgery, with a pause between them.
const ATTEMPTS: u32 = 6;
const PAUSE: Duration = Duration::from_millis(300);
const SHORT_READ_LEN: usize = 2 << 10;
const LONG_READ_LEN: usize = 64 << 10;
