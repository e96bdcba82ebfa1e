//! A stream of which something was read already, and is read once more.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, ReadBuf};

/// The stream.
#[derive(Debug)]
pub(super) struct Rewound<S> {
    first: Vec<u8>,
    /// Bytes of `first` that were read again.
    read: usize,
    inner: S,
}

impl<S> Rewound<S> {
    /// `first` comes before what `inner` has.
    pub(super) const fn new(first: Vec<u8>, inner: S) -> Self {
        Self { first, read: 0, inner }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Rewound<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let left = &self.first[self.read..];
        if left.is_empty() {
            return Pin::new(&mut self.inner).poll_read(context, buffer);
        }
        let len = left.len().min(buffer.remaining());
        buffer.put_slice(&left[..len]);
        self.read += len;
        if self.read == self.first.len() {
            (self.first, self.read) = (Vec::new(), 0);
        }
        Poll::Ready(Ok(()))
    }
}

crate::inner::writes_to_inner!(Rewound);

#[cfg(test)]
mod tests {
    use tokio::io::AsyncReadExt as _;

    use super::*;

    #[tokio::test]
    async fn what_was_read_comes_again_before_the_rest() {
        let mut stream = Rewound::new(b"abc".to_vec(), &b"def"[..]);
        let mut start = [0; 2];
        stream.read_exact(&mut start).await.unwrap();
        let mut rest = String::new();
        stream.read_to_string(&mut rest).await.unwrap();
        assert_eq!((&start, rest.as_str()), (b"ab", "cdef"));
    }
}
