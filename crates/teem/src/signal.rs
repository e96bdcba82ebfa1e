//! Ctrl-C and SIGTERM: the first one is answered at once and ends in good order, the second forces.
//! SIGHUP, where a command watches for it, asks it to read its files again.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use tokio_util::sync::CancellationToken;

use crate::exit::{Failure, Status};
use crate::output::Output;

/// A signal that asks the program to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Signal {
    /// Ctrl-C.
    Interrupt,
    /// What service managers send.
    Terminate,
}

impl Signal {
    /// The exit status of a process that this signal ended.
    pub(crate) const fn status(self) -> Status {
        match self {
            Self::Interrupt => Status::Interrupted,
            Self::Terminate => Status::Terminated,
        }
    }
}

/// Tells every part of a command that the person wants it to end.
#[derive(Debug, Clone)]
pub(crate) struct Interrupt {
    token: CancellationToken,
    /// The exit status; 0 until a signal came.
    status: Arc<AtomicU8>,
}

impl Interrupt {
    /// Begins to listen, on the current runtime, until the process ends.
    pub(crate) fn watch(output: Output) -> std::io::Result<Self> {
        let mut signals = Signals::new()?;
        let interrupt =
            Self { token: CancellationToken::new(), status: Arc::new(AtomicU8::new(0)) };
        let watcher = interrupt.clone();
        tokio::spawn(async move {
            let first = signals.next().await;
            watcher.status.store(first.status() as u8, Ordering::Release);
            watcher.token.cancel();
            let again = match first {
                Signal::Interrupt => "press Ctrl-C again to force",
                Signal::Terminate => "a second signal forces",
            };
            output.urgent(&format!("ending in good order; {again}"));
            let second = signals.next().await;
            std::process::exit(i32::from(second.status() as u8));
        });
        Ok(interrupt)
    }

    /// Resolves when a signal came.
    pub(crate) async fn wait(&self) {
        self.token.cancelled().await;
    }

    /// A signal came.
    pub(crate) fn has_come(&self) -> bool {
        self.token.is_cancelled()
    }

    /// How a command that a signal ended returns.
    pub(crate) fn failure(&self) -> Failure {
        let terminated = self.status.load(Ordering::Acquire) == Status::Terminated as u8;
        Failure::interrupted(if terminated { Signal::Terminate } else { Signal::Interrupt })
    }

    /// Runs `work` until it ends or a signal comes.
    pub(crate) async fn or<T>(
        &self,
        work: impl Future<Output = anyhow::Result<T>>,
    ) -> anyhow::Result<T> {
        tokio::select! {
            biased;
            () = self.wait() => Err(self.failure().into()),
            done = work => done,
        }
    }
}

/// SIGHUP: what daemons are told when their files have changed. Other systems have none.
#[derive(Debug)]
pub(crate) struct Hangup {
    #[cfg(unix)]
    signal: tokio::signal::unix::Signal,
}

impl Hangup {
    /// Begins to listen, on the current runtime; from now on it does not end the process.
    #[cfg(unix)]
    pub(crate) fn watch() -> std::io::Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};
        Ok(Self { signal: signal(SignalKind::hangup())? })
    }

    /// Waits for the next one. Several at once may be one.
    #[cfg(unix)]
    pub(crate) async fn next(&mut self) {
        if self.signal.recv().await.is_none() {
            std::future::pending::<()>().await;
        }
    }

    #[cfg(not(unix))]
    #[expect(clippy::unnecessary_wraps, reason = "the same shape as on Unix")]
    pub(crate) fn watch() -> std::io::Result<Self> {
        Ok(Self {})
    }

    #[cfg(not(unix))]
    pub(crate) async fn next(&mut self) {
        std::future::pending::<()>().await;
    }
}

#[cfg(unix)]
struct Signals {
    interrupt: tokio::signal::unix::Signal,
    terminate: tokio::signal::unix::Signal,
}

#[cfg(unix)]
impl Signals {
    fn new() -> std::io::Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
        })
    }

    async fn next(&mut self) -> Signal {
        tokio::select! {
            _ = self.interrupt.recv() => Signal::Interrupt,
            _ = self.terminate.recv() => Signal::Terminate,
        }
    }
}

#[cfg(not(unix))]
struct Signals;

#[cfg(not(unix))]
impl Signals {
    #[expect(clippy::unnecessary_wraps, reason = "the same shape as on Unix")]
    fn new() -> std::io::Result<Self> {
        Ok(Self)
    }

    async fn next(&mut self) -> Signal {
        if tokio::signal::ctrl_c().await.is_err() {
            std::future::pending::<()>().await;
        }
        Signal::Interrupt
    }
}
