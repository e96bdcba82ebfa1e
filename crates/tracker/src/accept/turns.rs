//! Turns at what takes much memory, of which few may be at work at once.

use std::net::IpAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

use super::room::{Room, Seat};

/// Who finds no turn waits. When that has taken [`PATIENCE`], the network that has most turns loses one,
/// that which it has had longest: those that begin and do not go on keep nobody out.
#[derive(Debug)]
pub(crate) struct Turns {
    permits: Arc<Semaphore>,
    room: Arc<Room>,
}

/// A turn, until it is dropped. What is done in it runs by [`Seat::hold`], and ends when it is lost.
#[derive(Debug)]
pub(crate) struct Turn {
    pub(crate) seat: Seat,
    _permit: OwnedSemaphorePermit,
}

impl Turns {
    /// So many at once.
    pub(crate) fn new(turns_max: usize) -> Self {
        let permits = Arc::new(Semaphore::new(turns_max));
        // The permits bound it.
        Self { permits, room: Room::new(usize::MAX) }
    }

    /// Waits for a turn.
    pub(crate) async fn take(&self, ip: IpAddr) -> Turn {
        let mut acquired = pin!(Arc::clone(&self.permits).acquire_owned());
        let permit = loop {
            match timeout(PATIENCE, acquired.as_mut()).await {
                Ok(permit) => break permit.expect("nobody closes the semaphore"),
                Err(_) => self.room.evict(),
            };
        };
        let entered = self.room.enter(ip, &Arc::default());
        let (seat, _) = entered.expect("a room without end is never full");
        Turn { seat, _permit: permit }
    }
}

/// Whoever means it is done by then.
const PATIENCE: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_does_not_go_on_loses_its_turn_to_who_waits() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        runtime.block_on(async {
            let turns = Turns::new(2);
            let (slow, good) = ([10, 0, 0, 1].into(), [10, 0, 1, 1].into());
            let stuck = turns.take(slow).await;
            let mine = turns.take(good).await;
            let slow_too = turns.take(slow);
            let ended = async {
                let lost = stuck.seat.hold(Box::pin(std::future::pending::<()>())).await.is_none();
                drop(stuck);
                lost
            };
            let (_next, lost) = tokio::join!(slow_too, ended);
            assert!(lost);
            assert_eq!(mine.seat.hold(Box::pin(async { 7 })).await, Some(7));
        });
    }
}
