//! Web seeds (BEP 19): one task for each, which stands where a peer's connection stands.
//!
//! It takes the commands of its torrent, asks an HTTP server for what is wanted, and tells of blocks as a
//! [`swarm::Session`] does. A server in trouble is a peer that chokes us until it is worth another try;
//! one that lacks a file is a peer that lacks its pieces; one that is of no use ends.
//!
//! Invariant: each block that was asked for comes, is dropped, or the task ends; and each wait has an end.

mod fetcher;
mod orders;
mod range;
mod run;
#[cfg(test)]
mod tests;

use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use http_body_util::BodyExt as _;
use hyper::body::{Body as _, Bytes, Frame};
use proto::egress::Nearness;
use proto::metainfo::Info;
use proto::{Bitfield, Block, FileIndex, Geometry, PieceIndex, Span};
use swarm::{PeerCommand, PeerEvent, PeerInfo, PeerKey};
use tokio::sync::{Semaphore, mpsc};
use tokio::time::{error::Elapsed, sleep, sleep_until, timeout};
use url::Url;

use self::fetcher::{Fetcher, Reply};
use self::orders::{Orders, Over};
use self::range::{Fault, Part};
use self::run::Run;
use crate::clock;
use crate::connection::{FromPeer, Shared};
use crate::http;
use crate::limiter::{self, Limits};

/// A web seed's task.
pub(crate) struct WebSeed {
    key: PeerKey,
    /// As it was named.
    base: String,
    info: Arc<Info>,
    geometry: Arc<Geometry>,
    /// The pieces that it has, as far as is known.
    has: Bitfield,
    fetcher: Fetcher,
    rates: Limits,
    limit_lan: bool,
    orders: Orders,
    shared: Rc<Shared>,
    torrent: mpsc::Sender<FromPeer>,
    events: Vec<PeerEvent>,
    /// Tries without success since the last one with.
    failures: u32,
}

/// How a web seed is reached.
pub(crate) struct Way {
    /// How near who named it is, and what a request may cost.
    pub(crate) limits: http::Limits,
    /// Bounds the connections of all torrents together.
    pub(crate) connections: Arc<Semaphore>,
    /// How fast it may send.
    pub(crate) rates: Limits,
    /// That counts on the local network, too.
    pub(crate) limit_lan: bool,
}

/// The ends of the channels between a torrent and one of its web seeds.
pub(crate) struct Wires {
    pub(crate) commands: mpsc::UnboundedReceiver<PeerCommand>,
    pub(crate) torrent: mpsc::Sender<FromPeer>,
}

/// Why the task ends.
enum End {
    /// The torrent needs it no more.
    Over,
    Useless(String),
}

/// Why a run of blocks did not come.
enum Failed {
    Over,
    Fault(FileIndex, Fault),
}

impl From<Over> for End {
    fn from(_: Over) -> Self {
        Self::Over
    }
}

impl From<Over> for Failed {
    fn from(_: Over) -> Self {
        Self::Over
    }
}

impl WebSeed {
    /// It is named by a URL, and to the swarm by a key.
    pub(crate) fn new(
        (key, base): (PeerKey, String),
        info: Arc<Info>,
        way: Way,
        shared: Rc<Shared>,
        wires: Wires,
    ) -> Self {
        let geometry = Arc::new(info.geometry());
        Self {
            key,
            base,
            info,
            has: Bitfield::full(geometry.piece_count()),
            orders: Orders::new(geometry.clone(), wires.commands),
            geometry,
            fetcher: Fetcher::new(way.limits, way.connections),
            rates: way.rates,
            limit_lan: way.limit_lan,
            shared,
            torrent: wires.torrent,
            events: Vec::new(),
            failures: 0,
        }
    }

    /// Runs until it is of no use. The torrent drops its end of the commands to end it.
    pub(crate) async fn run(mut self) {
        if let Err(End::Useless(why)) = self.serve().await {
            tracing::warn!(url = shown(&self.base), why, "a web seed is of no use");
        }
        // If the torrent is gone there is nobody to tell.
        let _ = self.torrent.send(FromPeer::Ended(self.key, None)).await;
    }

    async fn serve(&mut self) -> Result<(), End> {
        let client = Some(format!("web seed {}", shown(&self.base)));
        let reqq = Some(REQUESTS_MAX);
        let info = PeerInfo { client, reqq, upload_only: true, ..PeerInfo::default() };
        let has = PeerEvent::Has(self.has.clone());
        self.events.extend([PeerEvent::Extended(info), has, PeerEvent::Unchoked]);
        loop {
            self.report().await?;
            self.orders.take_all()?;
            let Some(mut run) = self.orders.wanted.take_run() else {
                self.orders.take_one().await?;
                continue;
            };
            let fetched = self.fetch(&mut run).await;
            let left = run.give_up(&self.shared.pool);
            match fetched {
                Ok(()) => self.failures = 0,
                Err(Failed::Over) => return Err(End::Over),
                Err(Failed::Fault(file, fault)) => self.on_fault(file, fault, left).await?,
            }
        }
    }

    async fn fetch(&mut self, run: &mut Run) -> Result<(), Failed> {
        let geometry = self.geometry.clone();
        for span in geometry.spans(run.whole) {
            run.pad_to(span.begin, &self.shared.pool, &mut self.events);
            let Some(file) = self.info.files().get(span.file.0 as usize) else { continue };
            let part =
                Part { start: span.file_offset, len: u64::from(span.len), file_len: file.len };
            let url = self.info.url_at_web_seed(&self.base, file);
            let fault = |fault| Failed::Fault(span.file, fault);
            let url = Url::parse(&url)
                .map_err(|error| fault(Fault::Useless(format!("{url} is no URL: {error}"))))?;
            let get = self.fetcher.get((span.file, &url), &part);
            let reply = self.orders.beside(get).await?.map_err(fault)?;
            self.read(reply, span, run).await?;
        }
        run.pad_to(run.whole.begin + run.whole.len, &self.shared.pool, &mut self.events);
        Ok(())
    }

    /// Reads a part out of the reply's body.
    async fn read(&mut self, reply: Reply, span: Span, run: &mut Run) -> Result<(), Failed> {
        let Reply { mut body, mut skip, near } = reply;
        let is_limited = near < Nearness::Network || self.limit_lan;
        let mut left = span.len as usize;
        while left > 0 {
            if is_limited {
                self.orders.beside(granted(&self.rates)).await?;
            }
            let frame = self.orders.beside(timeout(CHUNK_TIME, body.frame())).await?;
            let data = data(frame).map_err(|fault| Failed::Fault(span.file, fault))?;
            if is_limited {
                self.rates.passed(limiter::Way::Down, data.len());
            }
            let skipped = data.len().min(skip as usize);
            skip -= skipped as u64;
            let count = left.min(data.len() - skipped);
            left -= count;
            run.push(&data[skipped..skipped + count], &self.shared.pool, &mut self.events);
            self.report().await?;
        }
        if !body.is_end_stream() {
            self.fetcher.hang_up();
        }
        Ok(())
    }

    /// A file did not come; `left` are the blocks of the run that were not there yet.
    async fn on_fault(
        &mut self,
        file: FileIndex,
        fault: Fault,
        left: Vec<Block>,
    ) -> Result<(), End> {
        self.fetcher.hang_up();
        match fault {
            Fault::Useless(why) => return Err(End::Useless(why)),
            Fault::Later(why, after) => {
                self.drop_blocks(left);
                return self.pause(&why, after).await;
            }
            Fault::Missing(why) => {
                tracing::info!(
                    url = shown(&self.base),
                    file = file.0,
                    why,
                    "a web seed lacks a file"
                );
                // Before its blocks are dropped, or they would be asked for again.
                for piece in self.geometry.pieces_of(file).map(PieceIndex) {
                    if self.has.remove(piece) {
                        self.events.push(PeerEvent::DontHave(piece));
                    }
                }
                if self.has.count() == 0 {
                    return Err(End::Useless(why));
                }
                self.drop_blocks(left);
            }
        }
        Ok(())
    }

    /// It is left alone for a while, for longer each time.
    async fn pause(&mut self, why: &str, after: Option<Duration>) -> Result<(), End> {
        let wait =
            after.unwrap_or_else(|| WAIT_FIRST * (1 << self.failures.min(8))).max(WAIT_FIRST);
        self.failures += 1;
        let seconds = wait.as_secs();
        tracing::info!(
            url = shown(&self.base),
            why,
            seconds,
            "a web seed is left alone for a while"
        );
        self.events.push(PeerEvent::Choked);
        let mut pause = pin!(sleep(wait));
        loop {
            self.report().await?;
            tokio::select! {
                biased;
                taken = self.orders.take_one() => taken?,
                () = &mut pause => break,
            }
            // It was asked for before the torrent heard.
            self.drop_blocks(Vec::new());
        }
        self.events.push(PeerEvent::Unchoked);
        Ok(())
    }

    /// Gives back what will not come: these, and all that is wanted.
    fn drop_blocks(&mut self, blocks: Vec<Block>) {
        let blocks = blocks.into_iter().chain(self.orders.wanted.take_all());
        self.events.extend(blocks.map(PeerEvent::Dropped));
    }

    /// Hands events to the torrent; waiting here is what holds a fast server back.
    async fn report(&mut self) -> Result<(), Over> {
        self.events.extend(self.orders.cancelled.drain(..).map(PeerEvent::Dropped));
        if self.events.is_empty() {
            return Ok(());
        }
        let batch = FromPeer::Events(self.key, std::mem::take(&mut self.events));
        self.torrent.send(batch).await.map_err(|_| Over)
    }
}

/// Waits until more may come.
async fn granted(rates: &Limits) {
    while let Err(at) = rates.grant(clock::now(), limiter::Way::Down) {
        sleep_until(at.into()).await;
    }
}

fn data(frame: Result<Option<hyper::Result<Frame<Bytes>>>, Elapsed>) -> Result<Bytes, Fault> {
    let later = |why: &str| Err(Fault::Later(why.to_owned(), None));
    match frame {
        Ok(Some(Ok(frame))) => Ok(frame.into_data().unwrap_or_default()),
        Ok(Some(Err(error))) => later(&format!("its reply broke off: {error}")),
        Ok(None) => later("its reply is too short"),
        Err(_) => later("it sends no more"),
    }
}

/// A URL as logs have it: without names, passwords and keys.
pub(crate) fn shown(url: &str) -> String {
    let Ok(url) = Url::parse(url) else { return "no URL".to_owned() };
    let port = url.port().map_or_else(String::new, |port| format!(":{port}"));
    format!("{}://{}{port}{}", url.scheme(), url.host_str().unwrap_or_default(), url.path())
}

/// Blocks that may be wanted at once: 16 MiB.
const REQUESTS_MAX: u32 = 1024;
/// Connecting, redirects and the head of the reply together: less than the swarm waits for a block before
/// it asks others.
pub(crate) const HEAD_TIME: Duration = Duration::from_secs(15);
/// How long a server may be silent inside a body: less than the swarm's patience with a peer.
const CHUNK_TIME: Duration = Duration::from_secs(15);
/// Then 2, 4, 8 seconds, up to about four minutes.
const WAIT_FIRST: Duration = Duration::from_secs(1);
