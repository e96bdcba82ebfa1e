//! A worker takes several pieces at once, so that their hashes run side by side, checks them in
//! memory, and writes those that are right.

use std::sync::Arc;

use proto::MerkleHash;
use swarm::{BlockBuf, DiskEvent, DiskJob};

use super::StorageEvent;
use super::shared::{Job, JobQueue, Shared};
use super::storage::Storage;
use crate::hashing::verify::{Piece, Verdict, verify_all};

/// Pieces that one worker checks at once: the widest hash function has sixteen lanes.
const JOBS_AT_ONCE: usize = 16;

/// A piece to store.
struct Store {
    storage: Arc<Storage>,
    job: DiskJob,
}

/// Works until the queue is stopped and empty.
pub(super) fn run(shared: &Shared, queue: &JobQueue) {
    let mut jobs = Vec::with_capacity(JOBS_AT_ONCE);
    loop {
        queue.take(JOBS_AT_ONCE, &mut jobs);
        if jobs.is_empty() {
            return;
        }
        let mut stores = Vec::with_capacity(jobs.len());
        let mut rechecks = Vec::new();
        for job in jobs.drain(..) {
            match job {
                Job::Store(storage, job) => stores.push(Store { storage, job }),
                Job::Recheck(storage, file) => rechecks.push((storage, file)),
            }
        }
        handle_stores(shared, stores);
        for (storage, file) in rechecks {
            storage.recheck_file(file);
        }
    }
}

fn handle_stores(shared: &Shared, stores: Vec<Store>) {
    let verdicts = verify_all(&stores.iter().map(piece_of).collect::<Vec<_>>());
    for (Store { storage, job }, verdict) in stores.into_iter().zip(verdicts) {
        let DiskJob::Store { piece, blocks, want_digests, .. } = job;
        let event = match verdict {
            Verdict::Good { leaves } => match storage.write_piece(piece, &blocks) {
                Ok(()) => {
                    let digests = want_digests.then(|| block_digests(&blocks, leaves));
                    let stored = StorageEvent::Disk(DiskEvent::Stored { piece, digests });
                    storage.on_written(&[piece], Some(stored));
                    None
                }
                Err(failure) => {
                    Some(DiskEvent::Failed { piece, reason: failure.reason, full: failure.full })
                }
            },
            Verdict::Bad { leaves } => {
                let digests = block_digests(&blocks, leaves);
                Some(DiskEvent::Bad { piece, digests, inconsistent: false })
            }
            Verdict::Inconsistent { leaves } => {
                let digests = block_digests(&blocks, leaves);
                Some(DiskEvent::Bad { piece, digests, inconsistent: true })
            }
        };
        shared.pool.give(blocks.into_iter().flatten());
        if let Some(event) = event {
            storage.emit(StorageEvent::Disk(event));
        }
    }
}

fn piece_of(store: &Store) -> Piece<'_> {
    let DiskJob::Store { piece, blocks, expected, .. } = &store.job;
    Piece { geometry: &store.storage.geometry, index: *piece, blocks, expected: *expected }
}

/// SHA-256 of each block: the leaves where the torrent has them, else taken now.
fn block_digests(blocks: &[Option<BlockBuf>], leaves: Vec<MerkleHash>) -> Vec<Option<MerkleHash>> {
    if !leaves.is_empty() {
        // Blocks after the last leaf are all pad.
        let mut digests: Vec<_> = leaves.into_iter().map(Some).collect();
        digests.resize(blocks.len(), None);
        return digests;
    }
    let present: Vec<&[u8]> = blocks.iter().flatten().map(BlockBuf::as_slice).collect();
    let mut hashes = vec![[0; MerkleHash::LEN]; present.len()];
    digest::sha256_many(&present, &mut hashes);
    let mut hashes = hashes.into_iter().map(MerkleHash);
    blocks.iter().map(|block| block.as_ref().and_then(|_| hashes.next())).collect()
}
