//! The port of chunk lists: whoever connects hands one in, asks for one by name, or waits for the only
//! one.

use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak};

use bytes::BufMut as _;
use proto::InfoHash;
use proto::tracker::text::{ChunkList, ListWriter};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{Instant, timeout_at};

use super::{TextShared, delivery, page};
use crate::accept::Seat;
use crate::catalogue::{CatalogueError, ChunkHashes, Which};
use crate::limits::{
    TEXT_HANDOUT_TIMEOUT, TEXT_LINGER, TEXT_LINGER_LEN_MAX, TEXT_QUESTION_LEN_MAX,
    TEXT_QUESTION_TIMEOUT, TEXT_SHORT_LEN_MAX, TEXT_SILENCE,
};

/// Accepts connections until the tracker stops.
pub(super) async fn serve(listener: TcpListener, text: Arc<TextShared>) {
    let handle = |stream, remote: SocketAddr, seat: Seat| {
        // Only who has that address can complete a connection from it.
        text.proofs.lock().note(text.now(), remote.ip());
        let stop = text.gate.stop().clone();
        let connection = Connection { stream, ip: remote.ip(), text: Arc::clone(&text) };
        text.tasks.spawn(async move {
            tokio::select! {
                ended = seat.hold(Box::pin(connection.run(&seat))) => if let Some(Err(error)) = ended {
                    tracing::trace!(%error, "connection for chunk lists");
                },
                () = stop.cancelled() => {}
            }
        });
    };
    text.gate.accept(listener, &text.counters().connections, handle).await;
}

struct Connection {
    stream: TcpStream,
    ip: IpAddr,
    text: Arc<TextShared>,
}

/// A list to hand out.
enum Handout {
    /// As its seeder wrote it.
    Delivered(ChunkList),
    /// Of the catalogue.
    Hashes(Arc<SharedHashes>),
}

/// Hashes that any number of clients are reading: slow readers of one list cost no more than one.
#[derive(Debug)]
pub(super) struct SharedHashes {
    hashes: ChunkHashes,
    /// Held by a long list.
    _permit: Option<OwnedSemaphorePermit>,
}

/// The long lists that are being handed out.
pub(super) type LongLists = BTreeMap<InfoHash, Weak<SharedHashes>>;

impl Connection {
    async fn run(mut self, seat: &Seat) -> io::Result<()> {
        self.stream.set_nodelay(true)?;
        let (said, silent) = self.listen().await?;
        seat.on_completed();
        // A crowd that fell silent at once is answered in turn, not before those who spoke.
        let turn = if silent {
            Some(self.text.permits.silent.clone().acquire_owned().await)
        } else {
            None
        };
        if said.starts_with(b"[") {
            delivery::receive(&self.text, &mut self.stream, self.ip, said).await?;
            return self.close().await;
        }
        let line = said.split(|byte| *byte == b'\n').next().unwrap_or_default();
        let found = match std::str::from_utf8(line.trim_ascii()) {
            Ok("") => self.only().await,
            Ok(name) => self.named(name).await,
            Err(_) => None,
        };
        drop(turn);
        let counters = self.text.counters();
        let Some(list) = found else {
            counters.unanswered.fetch_add(1, Ordering::Relaxed);
            return Ok(());
        };
        let deadline = Instant::now() + TEXT_HANDOUT_TIMEOUT;
        timeout_at(deadline, list.write(&mut self.stream)).await??;
        self.text.counters().handed_out.fetch_add(1, Ordering::Relaxed);
        self.close().await
    }

    /// What the client says first: a line, the beginning of a list, or what came before it fell
    /// silent for a second or ended its half; and whether it fell silent.
    async fn listen(&mut self) -> io::Result<(Vec<u8>, bool)> {
        let mut said: Vec<u8> = Vec::new();
        let deadline = Instant::now() + TEXT_QUESTION_TIMEOUT;
        loop {
            let room = TEXT_QUESTION_LEN_MAX - said.len();
            if room == 0 {
                return Err(io::Error::other("a name that never ends"));
            }
            said.reserve(READ_LEN);
            let until = deadline.min(Instant::now() + TEXT_SILENCE);
            let mut space = (&mut said).limit(room);
            let read = timeout_at(until, self.stream.read_buf(&mut space)).await;
            // Silence is like the end of its half.
            let silent = read.is_err();
            let has_ended = read.unwrap_or(Ok(0))? == 0;
            if has_ended || said.starts_with(b"[") || said.contains(&b'\n') {
                return Ok((said, silent));
            }
        }
    }

    /// The list, if there is only one.
    async fn only(&self) -> Option<Handout> {
        let page = Arc::clone(&self.text.page.lock());
        let delivered = {
            let seeders = self.text.seeders.lock();
            let (_, lists, _) = seeders.totals();
            match (lists, page.names.as_slice()) {
                (1, []) if page.is_whole => {
                    seeders.any_with_list().and_then(|one| one.list.clone())
                }
                (0, [_]) if page.is_whole => None,
                _ => return None,
            }
        };
        match delivered {
            Some(list) => Some(Handout::Delivered(list)),
            None => self.of_catalogue(page.names.first()?).await,
        }
    }

    /// The list of a seeder. The catalogue's names are the catalogue's; whatever number stands behind
    /// them, the content is the same.
    async fn named(&self, name: &str) -> Option<Handout> {
        for name in std::iter::once(name).chain(page::unnumbered(name)) {
            if let Some(hashes) = self.of_catalogue(name).await {
                return Some(hashes);
            }
        }
        let seeders = self.text.seeders.lock();
        seeders.find(name)?.list.clone().map(Handout::Delivered)
    }

    async fn of_catalogue(&self, name: &str) -> Option<Handout> {
        let found = self.hashes(name).await;
        let found = found.inspect_err(|error| tracing::error!(%error, "looking a chunk list up"));
        found.ok().flatten().map(Handout::Hashes)
    }

    /// `None` when nothing has that name, or too many other long lists are being read.
    async fn hashes(&self, name: &str) -> Result<Option<Arc<SharedHashes>>, CatalogueError> {
        let (text, catalogue) = (&self.text, &self.text.shared.catalogue);
        let entry = catalogue.find(Which::Name(name.to_owned())).await?;
        let Some(hash) = entry.map(|entry| entry.hashes.primary()) else { return Ok(None) };
        let lookup = text.permits.lookups.acquire().await;
        let _lookup = lookup.map_err(|_| CatalogueError::Closed)?;
        if let Some(shared) = text.long_lists.lock().get(&hash).and_then(Weak::upgrade) {
            return Ok(Some(shared));
        }
        let Some(hashes) = catalogue.chunk_hashes(name.to_owned()).await? else { return Ok(None) };
        if hashes.memory_len() <= TEXT_SHORT_LEN_MAX {
            return Ok(Some(Arc::new(SharedHashes { hashes, _permit: None })));
        }
        let permit = Arc::clone(&text.permits.long_handouts).try_acquire_owned();
        let Ok(permit) = permit else { return Ok(None) };
        let shared = Arc::new(SharedHashes { hashes, _permit: Some(permit) });
        let mut long_lists = text.long_lists.lock();
        long_lists.retain(|_, list| list.strong_count() > 0);
        long_lists.insert(hash, Arc::downgrade(&shared));
        Ok(Some(shared))
    }

    /// Ends our half, and lets the client read what came before the other half ends.
    async fn close(mut self) -> io::Result<()> {
        self.stream.shutdown().await?;
        let deadline = Instant::now() + TEXT_LINGER;
        let (mut rest, mut left) = ([0; 512], TEXT_LINGER_LEN_MAX);
        while left > 0 {
            match timeout_at(deadline, self.stream.read(&mut rest)).await?? {
                0 => break,
                len => left = left.saturating_sub(len),
            }
        }
        Ok(())
    }
}

impl Handout {
    async fn write(&self, stream: &mut TcpStream) -> io::Result<()> {
        match self {
            Self::Delivered(list) => stream.write_all(list.as_str().as_bytes()).await,
            Self::Hashes(shared) => {
                let hashes = &shared.hashes;
                let (mut list, mut part) = (ListWriter::default(), Vec::new());
                for from in (0..hashes.count().max(1)).step_by(HASHES_A_WRITE) {
                    part.clear();
                    hashes.write(&mut part, &mut list, from, HASHES_A_WRITE);
                    stream.write_all(&part).await?;
                }
                Ok(())
            }
        }
    }
}

/// A name fits.
const READ_LEN: usize = 256;
/// Some 64 KiB.
const HASHES_A_WRITE: usize = 1_000;
