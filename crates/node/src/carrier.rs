//! What carries a connection's bytes: TCP or uTP.

use std::io::{self, IoSlice, IoSliceMut};
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::AsyncWrite as _;
use tokio::net::TcpStream;

use crate::utp::UtpStream;

/// A carrier on the thread that uses it.
#[derive(Debug)]
pub(crate) enum Carrier {
    Tcp(TcpStream),
    Utp(UtpStream),
}

/// A carrier on its way to another thread.
#[derive(Debug)]
pub(crate) enum Detached {
    Tcp(std::net::TcpStream),
    Utp(UtpStream),
}

impl Carrier {
    /// Takes over a carrier that another thread began.
    pub(crate) fn attach(detached: Detached) -> io::Result<Self> {
        Ok(match detached {
            Detached::Tcp(stream) => Self::Tcp(TcpStream::from_std(stream)?),
            Detached::Utp(stream) => Self::Utp(stream),
        })
    }

    /// Gives it to another thread.
    pub(crate) fn detach(self) -> io::Result<Detached> {
        Ok(match self {
            Self::Tcp(stream) => Detached::Tcp(stream.into_std()?),
            Self::Utp(stream) => Detached::Utp(stream),
        })
    }

    /// Small messages leave at once.
    pub(crate) fn set_nodelay(&self) -> io::Result<()> {
        match self {
            Self::Tcp(stream) => stream.set_nodelay(true),
            Self::Utp(_) => Ok(()),
        }
    }

    /// There is something to read.
    pub(crate) fn poll_readable(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Self::Tcp(stream) => stream.poll_read_ready(cx),
            Self::Utp(stream) => stream.poll_readable(cx).map(Ok),
        }
    }

    /// There is room for something to be written.
    pub(crate) fn poll_writable(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Self::Tcp(stream) => stream.poll_write_ready(cx),
            Self::Utp(stream) => stream.poll_writable(cx).map(Ok),
        }
    }

    pub(crate) fn try_read_vectored(&self, slices: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
        match self {
            Self::Tcp(stream) => stream.try_read_vectored(slices),
            Self::Utp(stream) => stream.try_read_vectored(slices),
        }
    }

    pub(crate) fn try_write_vectored(&self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        match self {
            Self::Tcp(stream) => stream.try_write_vectored(slices),
            Self::Utp(stream) => stream.try_write_vectored(slices),
        }
    }

    /// Reads what is there, after waiting for something; 0 never, unless there is no room.
    ///
    /// # Errors
    /// The carrier's, and that it was closed.
    pub(crate) async fn read(&self, into: &mut [u8]) -> io::Result<usize> {
        loop {
            std::future::poll_fn(|cx| self.poll_readable(cx)).await?;
            match self.try_read_vectored(&mut [IoSliceMut::new(into)]) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                outcome => return outcome,
            }
        }
    }

    /// Nothing more will be written.
    pub(crate) fn poll_shutdown(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Self::Tcp(stream) => Pin::new(stream).poll_shutdown(cx),
            Self::Utp(stream) => {
                stream.finish();
                Poll::Ready(Ok(()))
            }
        }
    }
}
