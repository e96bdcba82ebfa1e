//! Round trips and the timeout that follows from them (BEP 29, RFC 6298).

use std::time::Duration;

use crate::limits::{ACK_DELAY, RTO_INITIAL, RTO_MAX, RTO_MIN};

/// What is known of a connection's round trip.
#[derive(Debug)]
pub(crate) struct Rtt {
    smoothed: Option<Duration>,
    variance: Duration,
    least: Duration,
    latest: Duration,
    backoff: u32,
}

impl Rtt {
    pub(crate) const fn new() -> Self {
        Self {
            smoothed: None,
            variance: Duration::ZERO,
            least: Duration::MAX,
            latest: Duration::ZERO,
            backoff: 0,
        }
    }

    /// Takes the time between a packet that was sent once and its acknowledgement.
    pub(crate) fn sample(&mut self, rtt: Duration) {
        self.latest = rtt;
        self.least = self.least.min(rtt);
        self.backoff = 0;
        match &mut self.smoothed {
            Some(smoothed) => {
                self.variance = (self.variance * 3 + smoothed.abs_diff(rtt)) / 4;
                *smoothed = (*smoothed * 7 + rtt) / 8;
            }
            None => {
                self.smoothed = Some(rtt);
                self.variance = rtt / 2;
            }
        }
    }

    /// The peer makes progress: the next timeout is not stretched.
    pub(crate) const fn on_progress(&mut self) {
        self.backoff = 0;
    }

    pub(crate) const fn on_timeout(&mut self) {
        self.backoff += 1;
    }

    pub(crate) const fn smoothed(&self) -> Option<Duration> {
        self.smoothed
    }

    /// The shortest round trip so far, if there was one.
    pub(crate) fn least(&self) -> Option<Duration> {
        self.smoothed.map(|_| self.least)
    }

    /// How long to wait for news of what is in flight before all of it counts as lost.
    pub(crate) fn timeout(&self) -> Duration {
        let once = match self.smoothed {
            Some(smoothed) => (smoothed + self.variance * 4).max(RTO_MIN),
            None => RTO_INITIAL,
        };
        once.saturating_mul(1 << self.backoff.min(8)).min(RTO_MAX)
    }

    /// How long to wait before the last packet is sent once more, in case that it was lost and nothing
    /// behind it tells.
    pub(crate) fn tail(&self) -> Option<Duration> {
        Some(self.smoothed? * 3 / 2 + (self.variance * 4).max(Duration::from_millis(2)) + ACK_DELAY)
    }

    /// How much later than a packet sent after it a packet may arrive without being lost.
    pub(crate) fn reordering(&self) -> Duration {
        let rtt = self.smoothed.unwrap_or(RTO_INITIAL).max(self.latest);
        rtt * 9 / 8 + Duration::from_millis(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timeout_is_the_round_trip_and_four_variances() {
        let mut rtt = Rtt::new();
        assert_eq!(rtt.timeout(), RTO_INITIAL);
        rtt.sample(Duration::from_secs(1));
        assert_eq!(rtt.timeout(), Duration::from_secs(3));
        for _ in 0..100 {
            rtt.sample(Duration::from_millis(20));
        }
        assert_eq!(rtt.timeout(), RTO_MIN);
        assert_eq!(rtt.least(), Some(Duration::from_millis(20)));
    }

    #[test]
    fn timeouts_in_a_row_double_until_progress() {
        let mut rtt = Rtt::new();
        rtt.sample(Duration::from_millis(20));
        rtt.on_timeout();
        rtt.on_timeout();
        assert_eq!(rtt.timeout(), RTO_MIN * 4);
        for _ in 0..100 {
            rtt.on_timeout();
        }
        assert_eq!(rtt.timeout(), RTO_MAX);
        rtt.on_progress();
        assert_eq!(rtt.timeout(), RTO_MIN);
    }
}
