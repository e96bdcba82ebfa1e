//! One connection: requests in, one line out for each, and the bytes of a part behind it.

use std::io;
use std::net::IpAddr;
use std::sync::Arc;

use proto::tracker::json::{ChunkRequest, Framed, Framer, JsonError, Reply, UploadState};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::mpsc::UnboundedSender;
use tokio::sync::oneshot;
use tokio::time::{Instant, timeout, timeout_at};

use super::desk::{Asked, NoFile, Ticket};
use super::part::NamedFile;
use super::{IDLE_TIMEOUT, LINGER, LINGER_LEN_MAX, QUEUE_TIMEOUT, WRITE_TIMEOUT};
use crate::node::Inner;
use crate::torrent::Input;

/// Serves a client whose first bytes are `begun`, until it ends, or the node does.
pub(crate) async fn serve(node: Arc<Inner>, stream: TcpStream, ip: IpAddr, begun: &[u8]) {
    let ip = ip.to_canonical();
    let closing = node.closing().clone();
    let Some(_door) = node.doors.enter(ip) else {
        tracing::debug!(%ip, "too many clients that are no peers");
        return;
    };
    let (framer, buffer) = (Framer::new(ChunkRequest::LEN_MAX), begun.to_vec());
    let connection = Connection { node, stream, ip, framer, buffer, run: Vec::new() };
    tokio::select! {
        ended = connection.run() => if let Err(error) = ended {
            tracing::debug!(%ip, %error, "a client that is no peer");
        },
        () = closing.cancelled() => {}
    }
}

struct Connection {
    node: Arc<Inner>,
    stream: TcpStream,
    ip: IpAddr,
    framer: Framer,
    /// What came and was not read yet.
    buffer: Vec<u8>,
    /// Bytes of a file on their way out.
    run: Vec<u8>,
}

impl Connection {
    async fn run(mut self) -> io::Result<()> {
        loop {
            let Some((request, goes_on)) = self.next_request().await? else { return Ok(()) };
            let broken = request.as_ref().is_err_and(JsonError::ends_stream);
            match request {
                Ok(ChunkRequest::Get { file_name, index }) => self.send(&file_name, index).await?,
                Ok(ChunkRequest::GetCount { file_name }) => {
                    let reply = match self.find(&file_name).await {
                        Ok((file, _)) => {
                            let (parts, part_len) = (file.parts(), file.part_len());
                            Reply::chunk_count(file_name, parts, Some(part_len), Some(file.len))
                        }
                        Err(reply) => reply,
                    };
                    self.answer(&reply).await?;
                }
                Ok(ChunkRequest::State) => {
                    let reply = self.state().await;
                    self.answer(&reply).await?;
                }
                Err(error) => self.answer(&Reply::error(error)).await?,
            }
            if broken || (!goes_on && self.buffer.trim_ascii().is_empty()) {
                return self.close().await;
            }
        }
    }

    /// The next request, and whether the client means to go on; `None` when it has ended.
    async fn next_request(
        &mut self,
    ) -> io::Result<Option<(Result<ChunkRequest, JsonError>, bool)>> {
        let deadline = Instant::now() + IDLE_TIMEOUT;
        loop {
            match self.framer.scan(&self.buffer) {
                Ok(Some(Framed { range, goes_on })) => {
                    let request = ChunkRequest::decode(&self.buffer[range.clone()]);
                    self.buffer.drain(..range.end);
                    return Ok(Some((request, goes_on)));
                }
                Ok(None) => {}
                Err(error) => return Ok(Some((Err(error), false))),
            }
            self.buffer.reserve(READ_LEN);
            let read = self.stream.read_buf(&mut self.buffer);
            if timeout_at(deadline, read).await?? == 0 {
                return Ok(None);
            }
        }
    }

    /// Sends one part, as soon as there is a slot.
    async fn send(&mut self, file_name: &str, index: u32) -> io::Result<()> {
        let (file, torrent) = match self.find(file_name).await {
            Ok(found) => found,
            Err(reply) => return self.answer(&reply).await,
        };
        let Some(part) = file.part(index) else {
            let last = file.parts() - 1;
            let reply = format!("{file_name:?} has no chunk {index}: the last one is {last}");
            return self.answer(&Reply::error(reply)).await;
        };
        if !part.is_here() {
            return self.answer(&absent(file_name, index)).await;
        }
        let (mut ticket, turn) = Ticket::draw(torrent, self.ip);
        if !matches!(timeout(QUEUE_TIMEOUT, turn).await, Ok(Ok(()))) {
            drop(ticket);
            let queue = self.view().await.queue;
            return self.answer(&Reply::state(UploadState::Unavailable, queue)).await;
        }
        let mut run = std::mem::take(&mut self.run);
        let sent = self.send_runs(part, (file_name, index), &mut run, &mut ticket.sent).await;
        self.run = run;
        sent
    }

    /// Sends the line and the bytes. Once the line has left, what goes wrong ends the connection.
    async fn send_runs(
        &mut self,
        mut part: super::part::Part,
        (file_name, index): (&str, u32),
        run: &mut Vec<u8>,
        sent: &mut u64,
    ) -> io::Result<()> {
        let len = part.left();
        let mut more = match part.read(run).await {
            Ok(more) => more,
            Err(error) => {
                tracing::debug!(file_name, index, %error, "cannot serve");
                return self.answer(&absent(file_name, index)).await;
            }
        };
        self.answer(&Reply::chunk_data(index, len)).await?;
        while more {
            timeout(WRITE_TIMEOUT, self.stream.write_all(run)).await??;
            *sent += run.len() as u64;
            more = part.read(run).await.map_err(io::Error::other)?;
        }
        Ok(())
    }

    /// The file of a name, and its torrent; else what the client is told.
    async fn find(&self, file_name: &str) -> Result<(NamedFile, UnboundedSender<Input>), Reply> {
        let mut said = NoFile::Unknown;
        for (torrent, path) in self.node.names.candidates(file_name) {
            let (answer, answered) = oneshot::channel();
            let _ = torrent.send(Input::Asked(Asked::File(path, answer)));
            match answered.await {
                Ok(Ok(file)) => return Ok((file, torrent)),
                Ok(Err(NoFile::Unknown)) | Err(_) => {}
                Ok(Err(other @ (NoFile::Folder | NoFile::NotYet))) => said = other,
            }
        }
        Err(Reply::error(match said {
            NoFile::Unknown => format!("no file of the name {file_name:?} is shared here"),
            NoFile::Folder => {
                format!("{file_name:?} is a folder: ask for {file_name:?}/PATH of a file in it")
            }
            NoFile::NotYet => format!("{file_name:?} is not ready yet; try again later"),
        }))
    }

    async fn state(&self) -> Reply {
        let View { room, served, queue } = self.view().await;
        let state = match (served, room) {
            (true, _) => UploadState::Connected,
            (false, true) => UploadState::Available,
            (false, false) => UploadState::Unavailable,
        };
        Reply::state(state, queue)
    }

    /// How the slots of all torrents stand.
    async fn view(&self) -> View {
        let mut all = View::default();
        for torrent in self.node.names.all() {
            let (answer, answered) = oneshot::channel();
            let _ = torrent.send(Input::Asked(Asked::View(self.ip, answer)));
            let Ok(view) = answered.await else { continue };
            all.room |= view.room;
            all.served |= view.served;
            all.queue += view.waiting;
        }
        all
    }

    async fn answer(&mut self, reply: &Reply) -> io::Result<()> {
        let mut line = Vec::new();
        reply.encode(&mut line);
        timeout(WRITE_TIMEOUT, self.stream.write_all(&line)).await?
    }

    /// Ends our half, and lets the client read its answer before the other half ends.
    async fn close(mut self) -> io::Result<()> {
        self.stream.shutdown().await?;
        let deadline = Instant::now() + LINGER;
        let (mut rest, mut left) = ([0; 4096], LINGER_LEN_MAX);
        while left > 0 {
            match timeout_at(deadline, self.stream.read(&mut rest)).await?? {
                0 => break,
                len => left = left.saturating_sub(len),
            }
        }
        Ok(())
    }
}

/// How the slots stand.
#[derive(Debug, Default)]
struct View {
    room: bool,
    served: bool,
    queue: usize,
}

fn absent(file_name: &str, index: u32) -> Reply {
    Reply::error(format!("chunk {index} of {file_name:?} is not here; ask another peer"))
}

const READ_LEN: usize = 4 << 10;
