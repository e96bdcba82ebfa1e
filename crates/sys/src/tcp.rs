//! TCP connections that are over soon: taken ready for use, and ended together with their last bytes.

use std::io;
use std::net::{SocketAddr, TcpListener, TcpStream};

use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// Takes in connections that nobody watches yet: to watch one and to stop costs as much as to answer it.
#[derive(Debug)]
pub struct Listener(AsyncFd<TcpListener>);

impl Listener {
    /// On the current runtime.
    ///
    /// # Errors
    /// The system's.
    pub fn new(listener: TcpListener) -> io::Result<Self> {
        listener.set_nonblocking(true)?;
        // SAFETY: a listener has one open descriptor, the same one until it is dropped.
        Ok(Self(unsafe { AsyncFd::register_with_interest(listener, Interest::READABLE)? }))
    }

    /// Asks the system to hold connections back until they bring something, a second at most. What it
    /// hands out then is ready to be read.
    ///
    /// # Errors
    /// The system's.
    #[cfg(target_os = "linux")]
    pub fn wait_for_data(&self) -> io::Result<()> {
        // The system counts in repetitions of its answer to a connection: one, after a second.
        const SECONDS: libc::c_int = 1;
        crate::option::set(&self.0, libc::IPPROTO_TCP, libc::TCP_DEFER_ACCEPT, SECONDS)
    }

    /// Does nothing here.
    ///
    /// # Errors
    /// None.
    #[cfg(not(target_os = "linux"))]
    pub fn wait_for_data(&self) -> io::Result<()> {
        Ok(())
    }

    /// The next connection, which does not block.
    ///
    /// # Errors
    /// The system's.
    pub async fn accept(&self) -> io::Result<(TcpStream, SocketAddr)> {
        self.0.async_io(Interest::READABLE, accept).await
    }
}

#[cfg(target_os = "linux")]
fn accept(listener: &TcpListener) -> io::Result<(TcpStream, SocketAddr)> {
    use rustix::net::{SocketFlags, acceptfrom_with};
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let (stream, remote) = acceptfrom_with(listener, flags)?;
    let remote = remote.ok_or(io::ErrorKind::NotConnected)?;
    Ok((stream.into(), remote.try_into()?))
}

#[cfg(not(target_os = "linux"))]
fn accept(listener: &TcpListener) -> io::Result<(TcpStream, SocketAddr)> {
    let (stream, remote) = listener.accept()?;
    stream.set_nonblocking(true)?;
    Ok((stream, remote))
}

/// Sends bytes that the end of the stream follows at once, so that both can travel in one packet.
/// Tells how many were taken; of those left the caller must send the rest, or end the stream.
///
/// # Errors
/// The system's.
pub fn send_last(stream: &TcpStream, bytes: &[u8]) -> io::Result<usize> {
    #[cfg(target_os = "linux")]
    {
        use rustix::net::{SendFlags, send};
        Ok(send(stream, bytes, SendFlags::MORE | SendFlags::NOSIGNAL)?)
    }
    #[cfg(not(target_os = "linux"))]
    {
        use std::io::Write as _;
        (&*stream).write(bytes)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use super::*;

    #[test]
    fn a_connection_comes_without_blocking_and_ends_with_its_last_bytes() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build().unwrap();
        runtime.block_on(async {
            let listener = TcpListener::bind("[::1]:0").unwrap();
            let addr = listener.local_addr().unwrap();
            let listener = Listener::new(listener).unwrap();
            let client = tokio::task::spawn_blocking(move || {
                let mut client = TcpStream::connect(addr).unwrap();
                let mut said = Vec::new();
                client.read_to_end(&mut said).unwrap();
                (client.local_addr().unwrap(), said)
            });
            let (server, remote) = listener.accept().await.unwrap();
            let nothing_yet = (&server).read(&mut [0]).unwrap_err();
            assert_eq!(nothing_yet.kind(), io::ErrorKind::WouldBlock);
            assert_eq!(send_last(&server, b"good-bye").unwrap(), 8);
            drop(server);
            assert_eq!(client.await.unwrap(), (remote, b"good-bye".to_vec()));
        });
    }
}
