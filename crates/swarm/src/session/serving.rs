//! Answering the peer's requests: with blocks, with rejections (BEP 6), or not at all (BEP 3).

use std::collections::VecDeque;

use proto::peer::Message;
use proto::{BLOCK_LEN, Block, PieceIndex};

use super::{PeerFault, Session, UploadRun};
use crate::limits::session::{FAST_GRANTED, REJECTS, UPLOAD_RUN_LEN, UPLOAD_RUNS};

/// Rejections that wait to be written.
#[derive(Debug, Default)]
pub(super) struct Rejects(VecDeque<Block>);

impl Session {
    /// The next blocks to read for the peer, at most `len_max` bytes; to be answered by
    /// [`Session::upload_ready`] or [`Session::upload_failed`]. `None` while nothing is asked for or
    /// enough is under way.
    pub fn poll_upload(&mut self, len_max: u32) -> Option<UploadRun> {
        let busy = self.uploads.runs() + self.outbox.runs() >= UPLOAD_RUNS;
        let changing = self.told.choke.want && !self.told.choke.told;
        if busy || changing { None } else { self.uploads.next_run(len_max.min(UPLOAD_RUN_LEN)) }
    }

    /// The bytes of a run are there: `data` is exactly its [`UploadRun::span`].
    ///
    /// # Panics
    /// If `data` has another length.
    pub fn upload_ready(&mut self, run: UploadRun, data: Vec<u8>) {
        assert_eq!(data.len(), run.span().len as usize, "the data of a run is its span");
        if self.uploads.finish(&run) {
            self.outbox.push_run(&run.requests, data);
        } else {
            self.outbox.put_spent(data);
            run.requests.into_iter().for_each(|request| self.refuse(request));
        }
    }

    /// The bytes of a run could not be read.
    pub fn upload_failed(&mut self, run: UploadRun) {
        self.uploads.finish(&run);
        run.requests.into_iter().for_each(|request| self.refuse(request));
    }

    /// The buffer of a run that was sent, for the next one. It keeps its length and its old bytes, so
    /// that the next read of the same length finds nothing to clear.
    pub fn take_spent_buffer(&mut self) -> Option<Vec<u8>> {
        self.outbox.take_spent()
    }

    pub(super) fn on_request(&mut self, run: Block) -> Result<(), PeerFault> {
        let Some(torrent) = &self.torrent else { return self.refuse_checked(run) };
        if run.len > self.remote.run_len || !torrent.geometry.contains(run) {
            return Err(PeerFault::BadRequest);
        }
        if !torrent.have.has(run.piece) {
            return self.refuse_checked(run);
        }
        if self.told.choke.told {
            let pieces = self.remote.has.as_ref().map_or(0, proto::Bitfield::count);
            if !self.uploads.is_granted(run.piece) || pieces as usize > FAST_GRANTED {
                return self.refuse_checked(run);
            }
            self.uploads.use_grant(run.block_count());
        }
        if self.uploads.push(run) { Ok(()) } else { self.refuse_checked(run) }
    }

    pub(super) fn on_cancel(&mut self, run: Block) {
        // What is being read, or has begun to be written, comes all the same; BEP 6 wants one answer,
        // not which. Whoever may ask for single blocks only may take back as much in one message.
        for block in run.blocks().take((self.remote.run_len / BLOCK_LEN) as usize) {
            if self.uploads.cancel(block) || self.outbox.cancel(block) {
                self.refuse(block);
            }
        }
    }

    /// The peer was told that it is choked: what it asked for is over, but for granted pieces.
    pub(super) fn on_choke_told(&mut self) {
        self.uploads.start_epoch();
        let uploads = &mut self.uploads;
        let mut removed = self.outbox.remove(|piece| uploads.is_granted(piece));
        removed.extend(uploads.remove_ungranted());
        removed.into_iter().for_each(|block| self.refuse(block));
    }

    /// Refuses what waits in the queue, but for the pieces that are to be kept.
    pub(super) fn refuse_queued(&mut self, keep: impl FnMut(PieceIndex) -> bool) {
        let removed = self.uploads.remove(keep);
        removed.into_iter().for_each(|block| self.refuse(block));
    }

    /// Writes the next rejection; false when none waits.
    pub(super) fn write_reject(&mut self) -> bool {
        let next = self.rejects.0.pop_front();
        next.inspect(|block| self.outbox.push(&Message::Reject(*block))).is_some()
    }

    /// With the fast extension the peer is told of each refusal; without it, refusals are silent.
    fn refuse(&mut self, block: Block) {
        if self.config.connected.fast {
            self.rejects.0.push_back(block);
        }
    }

    fn refuse_checked(&mut self, block: Block) -> Result<(), PeerFault> {
        if self.rejects.0.len() >= REJECTS {
            return Err(PeerFault::Flood);
        }
        self.refuse(block);
        Ok(())
    }
}
