//! A connection's bytes, whatever carries them, in plain or as noise (MSE).

use std::io::{self, IoSlice, IoSliceMut};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use mse::{Ciphers, Settled};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::carrier::{self, Carrier};

/// A stream on the thread that uses it.
#[derive(Debug)]
pub(crate) struct Stream {
    carrier: Carrier,
    /// Taken away as soon as it changes nothing.
    veil: Option<Box<Veil>>,
}

/// A stream on its way to another thread.
#[derive(Debug)]
pub(crate) struct Detached {
    carrier: carrier::Detached,
    veil: Option<Box<Veil>>,
}

/// What stands between a carrier and who uses it.
#[derive(Debug, Default)]
struct Veil {
    ciphers: Option<Ciphers>,
    /// Came with the handshake, in plain bytes, and is read first.
    early: Vec<u8>,
    /// Bytes of `early` that were read.
    read: usize,
    /// Noise that the carrier had no room for.
    unsent: Vec<u8>,
    /// Bytes of `unsent` that were sent.
    sent: usize,
}

impl From<Carrier> for Stream {
    fn from(carrier: Carrier) -> Self {
        Self { carrier, veil: None }
    }
}

impl Stream {
    /// A stream of which something was read already, and is read once more.
    pub(crate) fn rewound(carrier: Carrier, early: Vec<u8>) -> Self {
        Self { carrier, veil: Some(Box::new(Veil { early, ..Veil::default() })) }
    }

    /// Goes on as was settled.
    pub(crate) fn veiled(carrier: Carrier, settled: Settled) -> Self {
        let Settled { ciphers, received: early } = settled;
        Self { carrier, veil: Some(Box::new(Veil { ciphers, early, ..Veil::default() })) }
    }

    /// Takes over a stream that another thread began.
    pub(crate) fn attach(detached: Detached) -> io::Result<Self> {
        Ok(Self { carrier: Carrier::attach(detached.carrier)?, veil: detached.veil })
    }

    /// What carried a stream that was plain.
    pub(crate) fn into_carrier(self) -> Carrier {
        self.carrier
    }

    /// Gives it to another thread.
    pub(crate) fn detach(self) -> io::Result<Detached> {
        Ok(Detached { carrier: self.carrier.detach()?, veil: self.veil })
    }

    pub(crate) async fn readable(&self) -> io::Result<()> {
        if self.veil.as_ref().is_some_and(|veil| veil.has_early()) {
            return Ok(());
        }
        std::future::poll_fn(|cx| self.carrier.poll_readable(cx)).await
    }

    pub(crate) async fn writable(&self) -> io::Result<()> {
        std::future::poll_fn(|cx| self.carrier.poll_writable(cx)).await
    }

    pub(crate) fn try_read_vectored(&mut self, slices: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
        let Some(veil) = &mut self.veil else { return self.carrier.try_read_vectored(slices) };
        if veil.has_early() {
            let count = veil.read_early(slices);
            if !veil.has_early() && veil.ciphers.is_none() {
                self.veil = None;
            }
            return Ok(count);
        }
        let count = self.carrier.try_read_vectored(slices)?;
        veil.reveal(slices, count);
        Ok(count)
    }

    /// What was taken counts as written, though some of it may still wait for [`Stream::try_flush`].
    pub(crate) fn try_write_vectored(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        let ciphers = self.veil.as_mut().and_then(|veil| veil.ciphers.as_mut());
        if ciphers.is_none() {
            return self.carrier.try_write_vectored(slices);
        }
        self.try_flush()?;
        let count = self.veil.as_mut().map_or(0, |veil| veil.conceal(slices));
        match self.try_flush() {
            Err(error) if error.kind() != io::ErrorKind::WouldBlock => Err(error),
            Ok(()) | Err(_) => Ok(count),
        }
    }

    /// Sends what was taken and is not sent yet.
    pub(crate) fn try_flush(&mut self) -> io::Result<()> {
        let Some(veil) = &mut self.veil else { return Ok(()) };
        while veil.sent < veil.unsent.len() {
            let rest = &veil.unsent[veil.sent..];
            match self.carrier.try_write_vectored(&[IoSlice::new(rest)])? {
                0 => return Err(io::ErrorKind::WriteZero.into()),
                count => veil.sent += count,
            }
        }
        veil.unsent.clear();
        veil.sent = 0;
        Ok(())
    }
}

impl Veil {
    const fn has_early(&self) -> bool {
        self.read < self.early.len()
    }

    fn read_early(&mut self, slices: &mut [IoSliceMut<'_>]) -> usize {
        let before = self.read;
        for slice in slices {
            let rest = &self.early[self.read..];
            let len = rest.len().min(slice.len());
            slice[..len].copy_from_slice(&rest[..len]);
            self.read += len;
        }
        self.read - before
    }

    /// Turns the first `count` bytes, which just came, into what they stand for.
    fn reveal(&mut self, slices: &mut [IoSliceMut<'_>], mut count: usize) {
        let Some(ciphers) = &mut self.ciphers else { return };
        for slice in slices {
            let len = slice.len().min(count);
            ciphers.theirs.apply(&mut slice[..len]);
            count -= len;
        }
    }

    /// Takes some of the bytes, as noise, to be sent; how many.
    fn conceal(&mut self, slices: &[IoSlice<'_>]) -> usize {
        for slice in slices {
            let room = UNSENT_LEN_MAX - self.unsent.len();
            self.unsent.extend_from_slice(&slice[..slice.len().min(room)]);
        }
        if let Some(ciphers) = &mut self.ciphers {
            ciphers.ours.apply(&mut self.unsent);
        }
        self.unsent.len()
    }
}

impl AsyncRead for Stream {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let stream = self.get_mut();
        loop {
            let into = buffer.initialize_unfilled();
            match stream.try_read_vectored(&mut [IoSliceMut::new(into)]) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    ready!(stream.carrier.poll_readable(cx))?;
                }
                outcome => return Poll::Ready(outcome.map(|count| buffer.advance(count))),
            }
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let stream = self.get_mut();
        loop {
            match stream.try_write_vectored(&[IoSlice::new(bytes)]) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    ready!(stream.carrier.poll_writable(cx))?;
                }
                outcome => return Poll::Ready(outcome),
            }
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let stream = self.get_mut();
        loop {
            match stream.try_flush() {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    ready!(stream.carrier.poll_writable(cx))?;
                }
                outcome => return Poll::Ready(outcome),
            }
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.as_mut().poll_flush(cx))?;
        self.carrier.poll_shutdown(cx)
    }
}

/// Bytes that are turned into noise at once; so much memory has a connection whose peer takes nothing.
const UNSENT_LEN_MAX: usize = 128 << 10;

#[cfg(test)]
mod tests {
    use mse::Methods;
    use proto::InfoHash;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;

    use super::*;
    use crate::directory::{Directory, Facts};
    use crate::encryption;

    const TORRENT: InfoHash = InfoHash([7; 20]);

    async fn pair() -> (Carrier, Carrier) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let stream = tokio::net::TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        (Carrier::Tcp(stream), Carrier::Tcp(listener.accept().await.unwrap().0))
    }

    /// Both ends after a handshake that brought `beginning` along.
    async fn settled(methods: Methods, beginning: &[u8]) -> (Stream, Stream) {
        let (one, other) = pair().await;
        let directory = Directory::default();
        let hashes = proto::InfoHashes::new(Some(proto::InfoHashV1(TORRENT.0)), None).unwrap();
        let (inputs, _) = tokio::sync::mpsc::unbounded_channel();
        directory.insert(Facts { hashes, private: false }, &inputs);
        let (called, answered) = tokio::join!(
            encryption::call(one, TORRENT, methods, beginning),
            encryption::answer(other, b"", Methods::Any, &directory),
        );
        let (answered, torrent) = answered.unwrap();
        assert_eq!(torrent, TORRENT);
        (called.unwrap(), answered)
    }

    #[tokio::test]
    async fn bytes_are_the_same_behind_a_veil_however_they_are_cut() {
        for methods in [Methods::Any, Methods::Rc4] {
            let (mut one, mut other) = settled(methods, b"hello, ").await;
            assert_eq!(
                one.veil.as_ref().is_some_and(|veil| veil.ciphers.is_some()),
                methods == Methods::Rc4
            );
            let sent: Vec<u8> =
                (0..3_000_000_u32).map(|at| (at.wrapping_mul(at) >> 7) as u8).collect();
            let expected = sent.clone();
            let sending = tokio::spawn(async move {
                one.write_all(b"world").await.unwrap();
                for part in sent.chunks(300_001) {
                    one.write_all(part).await.unwrap();
                }
                one.shutdown().await.unwrap();
                one
            });
            let mut beginning = [0; 12];
            // Cut inside what came with the handshake.
            other.read_exact(&mut beginning[..3]).await.unwrap();
            other.read_exact(&mut beginning[3..]).await.unwrap();
            assert_eq!(&beginning, b"hello, world");
            let mut received = Vec::new();
            other.read_to_end(&mut received).await.unwrap();
            assert!(received == expected);
            sending.await.unwrap();
        }
    }

    #[tokio::test]
    async fn what_was_read_comes_again_and_wakes_its_reader() {
        let (one, _other) = pair().await;
        let mut stream = Stream::rewound(one, b"abc".to_vec());
        stream.readable().await.unwrap();
        let (mut first, mut second) = ([0; 2], [0; 2]);
        let mut slices = [IoSliceMut::new(&mut first), IoSliceMut::new(&mut second)];
        assert_eq!(stream.try_read_vectored(&mut slices).unwrap(), 3);
        assert_eq!((&first, second[0]), (b"ab", b'c'));
        assert!(stream.veil.is_none());
    }

    #[tokio::test]
    async fn who_takes_nothing_holds_no_more_than_one_buffer_of_noise() {
        let (mut one, _other) = settled(Methods::Rc4, b"").await;
        let bytes = vec![0; 1 << 20];
        while one.try_write_vectored(&[IoSlice::new(&bytes)]).is_ok() {}
        assert_eq!(one.try_flush().unwrap_err().kind(), io::ErrorKind::WouldBlock);
        assert!(one.veil.unwrap().unsent.len() <= UNSENT_LEN_MAX);
    }
}
