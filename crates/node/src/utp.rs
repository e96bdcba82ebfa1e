//! uTP's endpoint over one UDP socket, and its streams.
//!
//! The endpoint is pure (`utp`); here it gets a clock and the socket. Whoever touches it sends at once what there
//! is to send, so that no task stands between a write and the wire. The socket's task (`datagram`) brings
//! what comes, keeps the timer, and waits when the kernel takes no more. Whoever sends gives the endpoint's
//! lock to those who wait for it every few trains; it is never held across an await, nor when tasks are woken.

use std::collections::HashMap;
use std::io::{self, IoSlice, IoSliceMut};
use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll, Waker};
use std::time::Instant;

use parking_lot::{Mutex, MutexGuard};
use sys::trains;
use tokio::net::UdpSocket;
use tokio::sync::Notify;
use utp::{Config, Ended, Endpoint, Key, Transmit};

use crate::clock;

/// The endpoints, for those who dial: one a family.
#[derive(Debug, Clone, Default)]
pub(crate) struct Hosts {
    v4: Option<Arc<Host>>,
    v6: Option<Arc<Host>>,
}

/// An endpoint and its socket.
pub(crate) struct Host {
    held: Mutex<Held>,
    /// The socket's own address.
    local: SocketAddr,
    /// Set once the socket's task runs.
    socket: OnceLock<Arc<UdpSocket>>,
    /// The timer must be set anew, or the kernel takes no more.
    changed: Notify,
    /// Somebody connected to us.
    arrived: Notify,
}

/// What the lock guards.
struct Held {
    endpoint: Endpoint,
    wakers: HashMap<Key, Wakers>,
    buffer: Vec<u8>,
    /// Datagrams that the kernel did not take yet: at the end of the buffer.
    unsent: Option<Transmit>,
    /// When the socket's task looks by itself.
    looks_at: Option<Instant>,
    /// The socket's task knows that there is something unsent.
    blocked: bool,
}

#[derive(Default)]
struct Wakers {
    read: Option<Waker>,
    write: Option<Waker>,
}

impl std::fmt::Debug for Host {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Host").field("endpoint", &self.held.lock().endpoint).finish_non_exhaustive()
    }
}

impl Hosts {
    /// An endpoint for a socket; of each family the first one dials.
    pub(crate) fn add(&mut self, local: SocketAddr) -> Arc<Host> {
        let config = Config { seed: rand::random(), accepts: true };
        let held = Held {
            endpoint: Endpoint::new(clock::now(), config),
            wakers: HashMap::new(),
            buffer: Vec::new(),
            unsent: None,
            looks_at: None,
            blocked: false,
        };
        let host = Arc::new(Host {
            held: Mutex::new(held),
            local,
            socket: OnceLock::new(),
            changed: Notify::new(),
            arrived: Notify::new(),
        });
        let place = if local.is_ipv4() { &mut self.v4 } else { &mut self.v6 };
        place.get_or_insert_with(|| host.clone());
        host
    }

    /// There is no uTP.
    pub(crate) const fn is_empty(&self) -> bool {
        self.v4.is_none() && self.v6.is_none()
    }

    /// The endpoint that reaches that address.
    pub(crate) const fn of(&self, addr: SocketAddr) -> Option<&Arc<Host>> {
        if addr.is_ipv4() { self.v4.as_ref() } else { self.v6.as_ref() }
    }
}

impl Host {
    /// Takes over its socket.
    pub(crate) fn attach(&self, socket: Arc<UdpSocket>) {
        if let Err(error) = trains::forbid_fragments(&socket, self.local, false) {
            tracing::debug!(%error, "packets may not be fragmented on their way");
        }
        // There is one task a socket, and it starts once.
        let _ = self.socket.set(socket);
    }

    /// Takes datagrams of one length that came from one address.
    pub(crate) fn handle(&self, from: SocketAddr, train: &[u8], segment_len: usize) {
        let mut held = self.held.lock();
        let now = clock::now();
        for datagram in train.chunks(segment_len) {
            held.endpoint.handle_datagram(now, from, datagram);
        }
        let has_arrivals = held.endpoint.has_arrivals();
        drop(held);
        if has_arrivals {
            self.arrived.notify_one();
        }
    }

    /// Sends what there is to send, and wakes whom it concerns.
    pub(crate) fn flush(&self) {
        self.settle(self.held.lock());
    }

    /// The same, for who holds the lock.
    fn settle(&self, mut held: MutexGuard<'_, Held>) {
        let is_blocked = self.send(&mut held) && !std::mem::replace(&mut held.blocked, true);
        let woken = held.woken();
        let due = held.endpoint.poll_timeout();
        let is_sooner = due.is_some_and(|due| held.looks_at.is_none_or(|at| due < at));
        if is_sooner {
            held.looks_at = due;
        }
        drop(held);
        // Whoever is woken takes the lock first of all.
        woken.into_iter().for_each(Waker::wake);
        if is_blocked || is_sooner {
            self.changed.notify_one();
        }
    }

    /// Sends all that may leave now; true when the kernel takes no more.
    fn send(&self, held: &mut MutexGuard<'_, Held>) -> bool {
        let Some(socket) = self.socket.get() else { return false };
        let mut trains = 0;
        while held.unsent.is_some() || held.prepare() {
            if !held.send(socket, self.local) {
                return true;
            }
            trains += 1;
            if trains % TRAINS_A_TURN == 0 {
                MutexGuard::bump(held);
            }
        }
        false
    }

    /// Waits until there is something to do beside what comes, and does it.
    pub(crate) async fn keep(&self, socket: &UdpSocket) {
        let (due, blocked) = {
            let mut held = self.held.lock();
            held.looks_at = held.endpoint.poll_timeout();
            held.blocked = held.unsent.is_some();
            (held.looks_at.unwrap_or_else(|| clock::now() + clock::LONG), held.blocked)
        };
        tokio::select! {
            () = self.changed.notified() => {}
            // An error shows when something is sent.
            _ = socket.writable(), if blocked => {}
            () = tokio::time::sleep_until(due.into()) => {}
        }
        let mut held = self.held.lock();
        held.endpoint.handle_timeout(clock::now());
        self.settle(held);
    }

    /// The next connection that a peer opens.
    pub(crate) async fn accept(self: &Arc<Self>) -> (UtpStream, SocketAddr) {
        loop {
            let arrival = self.held.lock().endpoint.poll_accept();
            if let Some((key, addr)) = arrival {
                return (self.stream(key), addr);
            }
            self.arrived.notified().await;
        }
    }

    /// Connects; dropping the future gives it up.
    pub(crate) async fn connect(self: &Arc<Self>, to: SocketAddr) -> io::Result<UtpStream> {
        let key = self.held.lock().endpoint.connect(clock::now(), to).map_err(io::Error::other)?;
        let stream = self.stream(key);
        self.flush();
        stream.writable().await;
        let ended = self.held.lock().endpoint.ended(key);
        match ended {
            None => Ok(stream),
            Some(ended) => Err(error(ended)),
        }
    }

    fn stream(self: &Arc<Self>, key: Key) -> UtpStream {
        UtpStream { host: self.clone(), key }
    }
}

impl Held {
    /// Builds the next datagrams, if there are any.
    fn prepare(&mut self) -> bool {
        self.buffer.clear();
        self.unsent = self.endpoint.poll_transmit(clock::now(), &mut self.buffer);
        self.unsent.is_some()
    }

    /// Those who wait for something that is there now.
    fn woken(&mut self) -> Vec<Waker> {
        let mut woken = Vec::new();
        while let Some(key) = self.endpoint.poll_ready() {
            if let Some(wakers) = self.wakers.get_mut(&key) {
                woken.extend(wakers.read.take().into_iter().chain(wakers.write.take()));
            }
        }
        woken
    }

    /// Sends what was built, from the address that is ours; false when the kernel takes no more for now.
    fn send(&mut self, socket: &UdpSocket, local: SocketAddr) -> bool {
        let Some(transmit) = &mut self.unsent else { return true };
        let train = &self.buffer[self.buffer.len() - transmit.len..];
        let sent = if transmit.probe {
            // What cannot be asked for is not found out: the packet arrives in fragments.
            let _ = trains::forbid_fragments(socket, local, true);
            let sent = trains::send(socket, transmit.to, train, transmit.segment_len);
            let _ = trains::forbid_fragments(socket, local, false);
            sent
        } else {
            trains::send(socket, transmit.to, train, transmit.segment_len)
        };
        match sent {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return false,
            Err(error) => {
                // No route, or a filter: as if the network had lost it.
                tracing::trace!(to = %transmit.to, %error, "packets were not sent");
                transmit.len = 0;
            }
            Ok(count) => transmit.len -= count.min(transmit.len),
        }
        if transmit.len > 0 {
            return false;
        }
        self.unsent = None;
        true
    }
}

/// One stream of uTP. Dropping it closes it: what was written is still delivered.
#[derive(Debug)]
pub(crate) struct UtpStream {
    host: Arc<Host>,
    key: Key,
}

impl UtpStream {
    pub(crate) fn try_read_vectored(&self, slices: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
        let mut held = self.host.held.lock();
        let read = held.endpoint.read(clock::now(), self.key, slices);
        self.host.settle(held);
        outcome(read)
    }

    pub(crate) fn try_write_vectored(&self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        let mut held = self.host.held.lock();
        let written = held.endpoint.write(clock::now(), self.key, slices);
        self.host.settle(held);
        outcome(written)
    }

    /// Waits until a write would not wait.
    pub(crate) async fn writable(&self) {
        std::future::poll_fn(|cx| self.poll_writable(cx)).await;
    }

    pub(crate) fn poll_readable(&self, cx: &Context<'_>) -> Poll<()> {
        let mut held = self.host.held.lock();
        if held.endpoint.poll_readable(self.key) {
            return Poll::Ready(());
        }
        held.wakers.entry(self.key).or_default().read = Some(cx.waker().clone());
        Poll::Pending
    }

    pub(crate) fn poll_writable(&self, cx: &Context<'_>) -> Poll<()> {
        let mut held = self.host.held.lock();
        if held.endpoint.poll_writable(self.key) {
            return Poll::Ready(());
        }
        held.wakers.entry(self.key).or_default().write = Some(cx.waker().clone());
        Poll::Pending
    }

    /// Ends the outgoing half.
    pub(crate) fn finish(&self) {
        let mut held = self.host.held.lock();
        held.endpoint.finish(clock::now(), self.key);
        self.host.settle(held);
    }
}

impl Drop for UtpStream {
    fn drop(&mut self) {
        let mut held = self.host.held.lock();
        held.wakers.remove(&self.key);
        held.endpoint.close(clock::now(), self.key);
        self.host.settle(held);
    }
}

fn outcome(result: Result<Option<usize>, Ended>) -> io::Result<usize> {
    match result {
        Ok(Some(count)) => Ok(count),
        Ok(None) => Err(io::ErrorKind::WouldBlock.into()),
        Err(ended) => Err(error(ended)),
    }
}

fn error(ended: Ended) -> io::Error {
    let kind = match ended {
        Ended::Refused => io::ErrorKind::ConnectionRefused,
        Ended::Reset => io::ErrorKind::ConnectionReset,
        Ended::TimedOut => io::ErrorKind::TimedOut,
        Ended::Closed => io::ErrorKind::NotConnected,
    };
    io::Error::new(kind, ended)
}

/// Trains that leave (some 60 KB each) before others have their turn with the endpoint: enough that the lock does
/// not change hands for each.
const TRAINS_A_TURN: u32 = 8;

#[cfg(test)]
mod tests;
