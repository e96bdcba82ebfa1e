//! Which way a peer is dialled: by TCP, uTP, or both at once.

use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use proto::egress::Nearness;

use crate::api::{Encryption, NodeConfig, UtpMode};
use crate::block_list::BlockList;
use crate::carrier::Carrier;
use crate::egress::{self, Gate};
use crate::utp::{Host, Hosts};

/// How peers are dialled.
#[derive(Debug, Clone, Default)]
pub(crate) struct Roads {
    pub(crate) gate: Gate,
    /// Nobody of these is dialled.
    pub(crate) blocked: Arc<BlockList>,
    pub(crate) mode: UtpMode,
    pub(crate) encryption: Encryption,
    pub(crate) hosts: Hosts,
}

impl Roads {
    /// As the configuration says; there is no uTP yet.
    pub(crate) fn new(config: &NodeConfig) -> Self {
        Self {
            gate: config.gate(),
            blocked: config.blocked.clone(),
            mode: config.utp,
            encryption: config.encryption,
            hosts: Hosts::default(),
        }
    }

    /// Takes an endpoint of uTP for each socket, if there shall be any.
    pub(crate) fn hosts_over(&mut self, sockets: &[UdpSocket]) -> Vec<Option<Arc<Host>>> {
        let wanted = self.mode != UtpMode::Off;
        let mut host = |socket: &UdpSocket| {
            let local = socket.local_addr().ok().filter(|_| wanted)?;
            Some(self.hosts.add(local))
        };
        sockets.iter().map(&mut host).collect()
    }

    /// Connects by whichever of the two answers first. TCP has a head start, and uTP begins at once when TCP
    /// fails. What is given up leaves nothing behind.
    pub(crate) async fn connect(&self, addr: SocketAddr, by: Nearness) -> io::Result<Carrier> {
        self.judge(addr, by)?;
        let host = match self.mode {
            UtpMode::Off => None,
            UtpMode::On | UtpMode::Only => self.hosts.of(addr),
        };
        let Some(host) = host else {
            return match self.mode {
                UtpMode::Only => Err(io::ErrorKind::AddrNotAvailable.into()),
                UtpMode::On | UtpMode::Off => self.connect_tcp(addr, by).await,
            };
        };
        let utp = async { host.connect(addr).await.map(Carrier::Utp) };
        if self.mode == UtpMode::Only {
            return utp.await;
        }
        let near = proto::address::is_local(addr.ip());
        let head_start = if near { HEAD_START_NEAR } else { HEAD_START };
        race(self.connect_tcp(addr, by), utp, head_start).await
    }

    /// Connects over uTP alone, where there is any.
    pub(crate) async fn connect_utp(
        &self,
        addr: SocketAddr,
        by: Nearness,
    ) -> Option<io::Result<Carrier>> {
        let host = self.hosts.of(addr)?;
        if let Err(error) = self.judge(addr, by) {
            return Some(Err(error));
        }
        Some(host.connect(addr).await.map(Carrier::Utp))
    }

    fn judge(&self, addr: SocketAddr, by: Nearness) -> io::Result<()> {
        if self.blocked.has(addr.ip()) {
            return Err(io::Error::new(io::ErrorKind::PermissionDenied, "on the block list"));
        }
        egress::judge(addr, by)
    }

    async fn connect_tcp(&self, addr: SocketAddr, by: Nearness) -> io::Result<Carrier> {
        self.gate.tcp(addr, by).await.map(Carrier::Tcp)
    }
}

/// The first of two that succeeds; the second one starts later, or when the first has failed, and then has
/// not long.
async fn race<T>(
    first: impl Future<Output = io::Result<T>>,
    second: impl Future<Output = io::Result<T>>,
    head_start: Duration,
) -> io::Result<T> {
    let (mut first, mut second) = (pin!(first), pin!(second));
    let failed = tokio::select! {
        biased;
        outcome = &mut first => match outcome {
            Ok(stream) => return Ok(stream),
            Err(error) => Some(error),
        },
        () = tokio::time::sleep(head_start) => None,
    };
    let error = match failed {
        Some(error) => error,
        None => tokio::select! {
            biased;
            outcome = &mut first => match outcome {
                Ok(stream) => return Ok(stream),
                Err(error) => error,
            },
            outcome = &mut second => return match outcome {
                Ok(stream) => Ok(stream),
                Err(_) => first.await,
            },
        },
    };
    match tokio::time::timeout(LAST_CHANCE, second).await {
        Ok(Ok(stream)) => Ok(stream),
        Ok(Err(_)) | Err(_) => Err(error),
    }
}

/// How much earlier TCP is tried than uTP: two round trips of a long way.
const HEAD_START: Duration = Duration::from_millis(300);
/// The same on a local network, where nothing has to be spared and TCP is faster.
const HEAD_START_NEAR: Duration = Duration::from_millis(1_500);
/// How long uTP may take when TCP has failed: three tries of its SYN.
const LAST_CHANCE: Duration = Duration::from_secs(4);

#[cfg(test)]
mod tests {
    use super::*;

    async fn after<T>(millis: u64, outcome: io::Result<T>) -> io::Result<T> {
        tokio::time::sleep(Duration::from_millis(millis)).await;
        outcome
    }

    fn refused<T>() -> io::Result<T> {
        Err(io::ErrorKind::ConnectionRefused.into())
    }

    async fn check(
        first: impl Future<Output = io::Result<u32>>,
        second: impl Future<Output = io::Result<u32>>,
        expected: Result<u32, io::ErrorKind>,
    ) -> Duration {
        let begun = tokio::time::Instant::now();
        let outcome = race(first, second, HEAD_START).await.map_err(|error| error.kind());
        assert_eq!(outcome, expected);
        begun.elapsed()
    }

    #[tokio::test(start_paused = true)]
    async fn first_road_is_preferred_and_the_second_one_fills_in() {
        const REFUSED: io::ErrorKind = io::ErrorKind::ConnectionRefused;
        let millis = Duration::from_millis;
        assert!(check(after(200, Ok(1)), after(0, Ok(2)), Ok(1)).await < millis(250));
        assert!(check(after(9_000, Ok(1)), after(50, Ok(2)), Ok(2)).await < millis(400));
        assert!(check(after(10, refused()), after(20, Ok(2)), Ok(2)).await < millis(50));
        assert!(check(after(400, Ok(1)), after(20, refused()), Ok(1)).await < millis(450));
        assert!(check(after(400, refused()), after(500, Ok(2)), Ok(2)).await < millis(850));
        let nobody = check(after(10, refused()), std::future::pending(), Err(REFUSED)).await;
        assert!(nobody < LAST_CHANCE + millis(50));
        check(after(10, refused()), after(10, refused()), Err(REFUSED)).await;
    }
}
