//! How long one connection is waited for.

use std::io;
use std::pin::{Pin, pin};

use tokio::time::{Instant, Sleep, sleep_until};

use super::general::Deadlines;
use crate::limits::{HTTP_HEAD_TIMEOUT, HTTP_STOP_TIMEOUT};

/// What a connection is waited for to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum WaitsTo {
    /// Receive the first bytes of another request.
    Begin,
    /// Receive more of a request.
    Receive,
    /// Send.
    Send,
}

/// How long a connection is waited for. Once the tracker stops or the connection's life is over, it may
/// end what it has begun.
pub(super) struct Patience<F> {
    deadlines: Deadlines,
    is_ending: bool,
    stopped: F,
    /// Rings at a deadline, or at an earlier one that was put off since.
    timer: Pin<Box<Sleep>>,
}

impl<F: Future<Output = ()> + Unpin> Patience<F> {
    /// Begins now; `stopped` when the tracker stops.
    pub(super) fn begin(stopped: F) -> Self {
        let deadlines = Deadlines::begin();
        let timer = Box::pin(sleep_until(deadlines.head));
        Self { deadlines, is_ending: false, stopped, timer }
    }

    /// When the connection ends unless it goes on.
    pub(super) const fn deadlines(&self) -> Deadlines {
        self.deadlines
    }

    /// Whether the next answer is the last.
    pub(super) const fn is_ending(&self) -> bool {
        self.is_ending
    }

    /// All that was asked so far is answered: the time of the next request begins.
    pub(super) fn on_answered(&mut self) {
        self.deadlines.head = Instant::now() + HTTP_HEAD_TIMEOUT;
    }

    /// Waits for `work` as long as it may take.
    pub(super) async fn bound<T>(
        &mut self,
        waits_to: WaitsTo,
        work: impl Future<Output = io::Result<T>>,
    ) -> io::Result<T> {
        let mut work = pin!(work);
        loop {
            let Deadlines { head, life } = self.deadlines;
            let until = if waits_to == WaitsTo::Send { life } else { life.min(head) };
            if until < self.timer.deadline() {
                self.timer.as_mut().reset(until);
            }
            tokio::select! {
                biased;
                done = &mut work => return done,
                () = &mut self.stopped, if !self.is_ending => self.end(),
                () = &mut self.timer => {
                    let now = Instant::now();
                    if now < until {
                        self.timer.as_mut().reset(until);
                    } else if now < life || self.is_ending {
                        return Err(io::ErrorKind::TimedOut.into());
                    } else {
                        self.end();
                    }
                }
            }
            if self.is_ending && waits_to == WaitsTo::Begin {
                return Err(io::ErrorKind::TimedOut.into());
            }
        }
    }

    fn end(&mut self) {
        self.is_ending = true;
        self.deadlines.life = Instant::now() + HTTP_STOP_TIMEOUT;
    }
}

#[cfg(test)]
mod tests {
    use std::future::{pending, ready};
    use std::time::Duration;

    use tokio::time::sleep;
    use tokio_util::sync::CancellationToken;

    use super::*;
    use crate::limits::HTTP_CONNECTION_LIFE_MAX;

    const SECOND: Duration = Duration::from_secs(1);

    /// How long it is waited in vain.
    async fn waited(
        patience: &mut Patience<impl Future<Output = ()> + Unpin>,
        waits_to: WaitsTo,
    ) -> Duration {
        let start = Instant::now();
        let error = patience.bound(waits_to, pending::<io::Result<()>>()).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        start.elapsed()
    }

    /// Work that takes so long.
    async fn after(duration: Duration) -> io::Result<()> {
        sleep(duration).await;
        Ok(())
    }

    /// Timers are a millisecond late.
    fn about(duration: Duration, expected: Duration) -> bool {
        (expected..expected + Duration::from_millis(10)).contains(&duration)
    }

    #[tokio::test(start_paused = true)]
    async fn a_head_has_its_time_from_the_answer_before() {
        let mut patience = Patience::begin(pending());
        sleep(SECOND).await;
        let rest = HTTP_HEAD_TIMEOUT - SECOND;
        assert!(about(waited(&mut patience, WaitsTo::Receive).await, rest));
        patience.on_answered();
        for _ in 0..3 {
            let work = after(HTTP_HEAD_TIMEOUT - SECOND);
            patience.bound(WaitsTo::Receive, work).await.unwrap();
            patience.on_answered();
        }
        assert!(about(waited(&mut patience, WaitsTo::Begin).await, HTTP_HEAD_TIMEOUT));
    }

    #[tokio::test(start_paused = true)]
    async fn who_does_not_read_its_answer_has_the_life_of_a_connection() {
        let mut patience = Patience::begin(pending());
        let most = HTTP_CONNECTION_LIFE_MAX + HTTP_STOP_TIMEOUT;
        assert!(about(waited(&mut patience, WaitsTo::Send).await, most));
        assert!(patience.is_ending());
    }

    #[tokio::test(start_paused = true)]
    async fn at_the_end_of_its_life_a_connection_may_end_what_it_has_begun() {
        let mut patience = Patience::begin(pending());
        sleep(HTTP_CONNECTION_LIFE_MAX - SECOND).await;
        patience.on_answered();
        let work = after(2 * SECOND);
        patience.bound(WaitsTo::Receive, work).await.unwrap();
        assert!(patience.is_ending());
        patience.on_answered();
        assert!(about(waited(&mut patience, WaitsTo::Send).await, SECOND));
    }

    #[tokio::test(start_paused = true)]
    async fn when_the_tracker_stops_the_idle_end_and_the_others_soon() {
        for (waits_to, expected) in [
            (WaitsTo::Begin, Duration::ZERO),
            (WaitsTo::Receive, HTTP_STOP_TIMEOUT),
            (WaitsTo::Send, HTTP_STOP_TIMEOUT),
        ] {
            let stop = CancellationToken::new();
            stop.cancel();
            let stopped = pin!(stop.cancelled());
            let mut patience = Patience::begin(stopped);
            assert!(about(waited(&mut patience, waits_to).await, expected), "{waits_to:?}");
            assert!(patience.is_ending());
            assert_eq!(patience.bound(waits_to, ready(Ok(7))).await.unwrap(), 7);
        }
    }
}
