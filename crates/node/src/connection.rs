//! One task a peer: owns its socket and its [`Session`], moves bytes between them, and reads what is
//! uploaded. Decisions are the session's and the swarm's.

use std::cell::OnceCell;
use std::io::{self, IoSlice, IoSliceMut};
use std::ops::Deref;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use swarm::{PeerCommand, PeerEvent, PeerFault, PeerKey, Session, UploadRun};
use tokio::sync::mpsc::{self, error::TryRecvError};
use tokio::task::JoinHandle;

use crate::clock;
use crate::disk::{BlockPool, Read, ReadError, Storage};
use crate::limiter::{Limits, Way};
use crate::stream::Stream;

/// What a connection shares with its torrent's other connections, all on one thread.
#[derive(Debug)]
pub(crate) struct Shared {
    /// Set once the files are open.
    pub(crate) storage: OnceCell<Arc<Storage>>,
    pub(crate) pool: Arc<BlockPool>,
}

/// What a connection tells its torrent.
#[derive(Debug)]
pub(crate) enum FromPeer {
    /// Events, in order.
    Events(PeerKey, Vec<PeerEvent>),
    /// It ended, and whether the peer broke a rule.
    Ended(PeerKey, Option<PeerFault>),
}

/// Why a connection ends.
enum End {
    Fault(PeerFault),
    Closed,
}

impl From<PeerFault> for End {
    fn from(fault: PeerFault) -> Self {
        Self::Fault(fault)
    }
}

impl From<io::Error> for End {
    fn from(_: io::Error) -> Self {
        Self::Closed
    }
}

/// A read that has to wait for the disk.
struct Reading {
    run: UploadRun,
    read: JoinHandle<Read>,
}

/// One connection.
pub(crate) struct Connection {
    key: PeerKey,
    stream: Stream,
    session: Session,
    shared: Rc<Shared>,
    commands: mpsc::UnboundedReceiver<PeerCommand>,
    torrent: mpsc::Sender<FromPeer>,
    events: Vec<PeerEvent>,
    /// A read that has to wait for the disk.
    reading: Option<Reading>,
    buffers: Vec<Vec<u8>>,
    taken: Vec<swarm::BlockBuf>,
    /// The kernel takes no more for now.
    blocked: bool,
    limits: Limits,
    /// Not before then, to keep the limits.
    read_at: Option<Instant>,
    write_at: Option<Instant>,
}

impl Connection {
    pub(crate) fn new(
        key: PeerKey,
        stream: Stream,
        session: Session,
        shared: Rc<Shared>,
        commands: mpsc::UnboundedReceiver<PeerCommand>,
        torrent: mpsc::Sender<FromPeer>,
        limits: Limits,
    ) -> Self {
        let (events, buffers, taken) = (Vec::new(), Vec::new(), Vec::new());
        let (reading, blocked) = (None, false);
        let (read_at, write_at) = (None, None);
        Self {
            key,
            stream,
            session,
            shared,
            commands,
            torrent,
            events,
            reading,
            buffers,
            taken,
            blocked,
            limits,
            read_at,
            write_at,
        }
    }

    /// Runs until either side ends it. The torrent drops its end of the commands to end it.
    pub(crate) async fn run(mut self) {
        let fault = match self.drive().await {
            Ok(()) | Err(End::Closed) => None,
            Err(End::Fault(fault)) => Some(fault),
        };
        self.shared.pool.give(self.session.reclaim());
        // If the torrent is gone there is nobody to tell.
        let _ = self.torrent.send(FromPeer::Ended(self.key, fault)).await;
    }

    async fn drive(&mut self) -> Result<(), End> {
        loop {
            if !self.obey() {
                // What was said last, such as that we have the last piece, is for others to hear.
                return self.write();
            }
            self.report().await?;
            self.serve();
            self.write()?;
            let timeouts = [self.session.poll_timeout(), self.read_at, self.write_at];
            let timeout = timeouts.into_iter().flatten().min();
            let timeout = timeout.unwrap_or_else(|| clock::now() + clock::LONG);
            tokio::select! {
                biased;
                command = self.commands.recv() => match command {
                    Some(command) => self.session.handle_command(clock::now(), command),
                    None => return Ok(()),
                },
                ready = self.stream.writable(), if self.blocked => {
                    ready?;
                    self.blocked = false;
                }
                read = finished(&mut self.reading) => self.on_read(read),
                ready = self.stream.readable(), if self.read_at.is_none() => {
                    ready?;
                    self.read()?;
                }
                () = tokio::time::sleep_until(timeout.into()) => self.on_timeout()?,
            }
        }
    }

    fn on_timeout(&mut self) -> Result<(), End> {
        let now = clock::now();
        for at in [&mut self.read_at, &mut self.write_at] {
            *at = at.filter(|at| *at > now);
        }
        Ok(self.session.handle_timeout(now)?)
    }

    /// Takes all commands that are there, so that their messages leave in one write. False when the
    /// torrent has ended the connection.
    fn obey(&mut self) -> bool {
        loop {
            match self.commands.try_recv() {
                Ok(command) => self.session.handle_command(clock::now(), command),
                Err(TryRecvError::Empty) => return true,
                Err(TryRecvError::Disconnected) => return false,
            }
        }
    }

    /// One read of as much as is there, into the places where the blocks belong.
    fn read(&mut self) -> Result<(), End> {
        let room = match self.limits.grant(clock::now(), Way::Down) {
            Ok(room) => room,
            Err(at) => {
                self.read_at = Some(at);
                return Ok(());
            }
        };
        let wanted = self.session.buffers_wanted();
        if wanted > 0 {
            self.shared.pool.take(wanted, &mut self.taken);
            self.taken.drain(..).for_each(|buffer| self.session.supply(buffer));
        }
        let mut slices: Vec<IoSliceMut<'_>> = Vec::with_capacity(SLICES);
        self.session.landing(&mut Capped { slices: &mut slices, room });
        let count = match self.stream.try_read_vectored(&mut slices) {
            Ok(0) => return Err(End::Closed),
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
            Err(error) => return Err(error.into()),
        };
        drop(slices);
        self.limits.passed(Way::Down, count);
        Ok(self.session.received(clock::now(), count)?)
    }

    /// Writes until there is nothing left or the kernel takes no more.
    fn write(&mut self) -> Result<(), End> {
        while !self.blocked && self.write_at.is_none() {
            let mut slices: Vec<IoSlice<'_>> = Vec::with_capacity(SLICES);
            let grant = self.limits.grant(clock::now(), Way::Up);
            self.session.transmit(&mut Capped { slices: &mut slices, room: grant.unwrap_or(1) });
            let idle = slices.is_empty();
            if let (false, Err(at)) = (idle, grant) {
                self.write_at = Some(at);
                return Ok(());
            }
            let written = match idle {
                true => self.stream.try_flush().map(|()| 0),
                false => self.stream.try_write_vectored(&slices),
            };
            match written {
                Ok(_) if idle => return Ok(()),
                Ok(count) => {
                    drop(slices);
                    self.limits.passed(Way::Up, count);
                    self.session.transmitted(clock::now(), count);
                    self.reclaim();
                    self.serve();
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.blocked = true,
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    /// Reads what the peer asked for: at once what memory holds, else on another thread.
    fn serve(&mut self) {
        while self.reading.is_none() {
            let Some(storage) = self.shared.storage.get() else { return };
            let Some(run) = self.session.poll_upload(RUN_LEN) else { return };
            let mut buffer =
                self.buffers.pop().unwrap_or_else(|| Vec::with_capacity(RUN_LEN as usize));
            buffer.resize(run.span().len as usize, 0);
            match storage.read_cached(run.span(), &mut buffer) {
                Ok(true) => self.session.upload_ready(run, buffer),
                Ok(false) => {
                    let read = storage.read_later(run.span(), buffer);
                    self.reading = Some(Reading { run, read });
                }
                Err(error) => self.refuse(run, &error),
            }
        }
    }

    fn on_read(&mut self, read: Result<Read, tokio::task::JoinError>) {
        let Some(Reading { run, .. }) = self.reading.take() else { return };
        match read {
            Ok((buffer, Ok(()))) => self.session.upload_ready(run, buffer),
            Ok((_, Err(error))) => self.refuse(run, &error),
            Err(_) => self.session.upload_failed(run),
        }
    }

    fn refuse(&mut self, run: UploadRun, error: &ReadError) {
        tracing::debug!(piece = run.span().piece.0, %error, "cannot serve");
        self.session.upload_failed(run);
    }

    /// Buffers whose bytes are all sent are used again.
    fn reclaim(&mut self) {
        while let Some(buffer) = self.session.take_spent_buffer() {
            if self.buffers.len() < BUFFERS_KEPT {
                self.buffers.push(buffer);
            }
        }
    }

    /// Hands events to the torrent; waiting here is what holds a fast peer back.
    async fn report(&mut self) -> Result<(), End> {
        self.session.poll_events(&mut self.events);
        if self.events.is_empty() {
            return Ok(());
        }
        let batch = FromPeer::Events(self.key, std::mem::take(&mut self.events));
        self.torrent.send(batch).await.map_err(|_| End::Closed)
    }
}

/// Takes whole slices until there is enough, one at least.
struct Capped<'v, S> {
    slices: &'v mut Vec<S>,
    room: usize,
}

impl<S: Deref<Target = [u8]>> Extend<S> for Capped<'_, S> {
    fn extend<I: IntoIterator<Item = S>>(&mut self, slices: I) {
        for slice in slices {
            if self.room == 0 {
                return;
            }
            self.room = self.room.saturating_sub(slice.len());
            self.slices.push(slice);
        }
    }
}

/// The end of the read that is under way; never, when there is none.
async fn finished(reading: &mut Option<Reading>) -> Result<Read, tokio::task::JoinError> {
    match reading {
        Some(reading) => (&mut reading.read).await,
        None => std::future::pending().await,
    }
}

/// Bytes read from files and sent at once.
const RUN_LEN: u32 = 256 * 1024;
/// Headers and bodies of 16 blocks and some room.
const SLICES: usize = 40;
/// Read buffers kept by an idle connection.
const BUFFERS_KEPT: usize = 2;
