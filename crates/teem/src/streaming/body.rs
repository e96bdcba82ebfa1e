//! The body of an answer: a part of a file, run by run, as fast as the client takes it.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use hyper::body::{Body, Bytes, Frame, SizeHint};
use node::Reader;
use tokio::sync::{OwnedSemaphorePermit, mpsc};

/// Runs of a file on their way out. One is being read while another waits to be taken.
#[derive(Debug)]
pub(super) struct FileBody {
    runs: mpsc::Receiver<io::Result<Bytes>>,
    left: u64,
}

impl FileBody {
    /// Begins to read at once. `place` is given back when the reader is gone.
    pub(super) fn new(reader: Reader, place: OwnedSemaphorePermit) -> Self {
        let (runs, taken) = mpsc::channel(1);
        let left = reader.left();
        tokio::spawn(async move {
            read(reader, runs).await;
            drop(place);
        });
        Self { runs: taken, left }
    }
}

/// Ends when all is read, or the client has gone or takes nothing for too long.
async fn read(mut reader: Reader, runs: mpsc::Sender<io::Result<Bytes>>) {
    loop {
        let mut buffer = Vec::new();
        let read = tokio::select! {
            read = reader.read(&mut buffer) => read,
            () = runs.closed() => return,
        };
        let run = match read {
            Ok(true) => Ok(Bytes::from(buffer)),
            Ok(false) => return,
            Err(error) => Err(io::Error::other(error)),
        };
        let failed = run.is_err();
        let taken = tokio::time::timeout(STALL_TIME, runs.send(run)).await;
        if failed || !matches!(taken, Ok(Ok(()))) {
            return;
        }
    }
}

impl Body for FileBody {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        if self.left == 0 {
            return Poll::Ready(None);
        }
        match self.runs.poll_recv(context) {
            Poll::Pending => Poll::Pending,
            Poll::Ready(Some(Ok(run))) => {
                self.left = self.left.saturating_sub(run.len() as u64);
                Poll::Ready(Some(Ok(Frame::data(run))))
            }
            Poll::Ready(Some(Err(error))) => Poll::Ready(Some(Err(error))),
            // Less than was promised: the connection must not go on.
            Poll::Ready(None) => Poll::Ready(Some(Err(io::ErrorKind::UnexpectedEof.into()))),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.left == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }
}

/// A player that is paused for longer comes back with a new request.
pub(super) const STALL_TIME: Duration = Duration::from_secs(600);
