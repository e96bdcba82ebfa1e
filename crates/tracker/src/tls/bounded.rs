//! A stream of which no more than so many bytes are read, until somebody lifts the bound.
//!
//! A client decides how long its part of a handshake is, and all of it stays in memory until it is
//! whole: the TLS library takes 64 KiB, which thousands of strangers should not have.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, ReadBuf};

/// The stream.
#[derive(Debug)]
pub(crate) struct Bounded<S> {
    inner: S,
    /// Bytes that may still be read; any number when `None`.
    left: Option<usize>,
}

impl<S> Bounded<S> {
    /// Of which `len_max` bytes are read at most.
    pub(super) const fn new(inner: S, len_max: usize) -> Self {
        Self { inner, left: Some(len_max) }
    }

    /// Takes the bound away.
    pub(super) const fn lift(&mut self) {
        self.left = None;
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Bounded<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.inner).poll_read(context, buffer))?;
        if let Some(left) = self.left {
            let read = buffer.filled().len() - before;
            let Some(left) = left.checked_sub(read) else {
                // An error means that nothing was read.
                buffer.set_filled(before);
                return Poll::Ready(Err(io::ErrorKind::InvalidData.into()));
            };
            self.left = Some(left);
        }
        Poll::Ready(Ok(()))
    }
}

crate::inner::writes_to_inner!(Bounded);

#[cfg(test)]
mod tests {
    use tokio::io::AsyncReadExt as _;

    use super::*;

    #[tokio::test]
    async fn what_is_beyond_the_bound_is_an_error_until_it_is_lifted() {
        let mut read = Vec::new();
        let whole = Bounded::new(&b"12345"[..], 5).read_to_end(&mut read).await;
        assert_eq!((whole.unwrap(), read.as_slice()), (5, &b"12345"[..]));
        let beyond = Bounded::new(&b"12345"[..], 4).read_to_end(&mut read).await;
        assert_eq!(beyond.unwrap_err().kind(), io::ErrorKind::InvalidData);
        let mut lifted = Bounded::new(&b"12345"[..], 0);
        lifted.lift();
        assert_eq!(lifted.read_to_end(&mut read).await.unwrap(), 5);
    }
}
