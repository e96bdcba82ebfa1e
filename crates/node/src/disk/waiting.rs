//! Reads that wait for a disk, on the threads that all disks share: each disk has some of them at most.

use std::sync::Arc;

use proto::Block;
use tokio::task::JoinHandle;

use super::ReadError;
use super::storage::Storage;

/// A buffer, and whether the bytes of a run are in it.
pub(crate) type Read = (Vec<u8>, Result<(), ReadError>);

impl Storage {
    /// As [`Storage::read`], on another thread, in turn; `buffer` has the run's length.
    pub(crate) fn read_later(
        self: &Arc<Self>,
        run: Block,
        mut buffer: Vec<u8>,
    ) -> JoinHandle<Read> {
        let storage = self.clone();
        let read = move || {
            let result = storage.read(run, &mut buffer);
            (buffer, result)
        };
        match self.lane.reads.clone().try_acquire_owned() {
            Ok(turn) => tokio::task::spawn_blocking(move || {
                let _turn = turn;
                read()
            }),
            Err(_) => {
                let turns = self.lane.reads.clone();
                tokio::spawn(async move {
                    // It is never closed.
                    let _turn = turns.acquire_owned().await;
                    let read = tokio::task::spawn_blocking(read).await;
                    // A read that panicked has taken the buffer with it.
                    read.unwrap_or_else(|_| (Vec::new(), Err(ReadError::Absent)))
                })
            }
        }
    }
}
