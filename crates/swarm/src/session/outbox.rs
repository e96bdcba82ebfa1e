//! What waits to be written: control messages in one buffer, and runs of blocks.
//!
//! Control messages go first wherever a message ends. Blocks are never copied: their headers are laid
//! between slices of the buffer that was read from the disk.

use std::collections::VecDeque;
use std::io::IoSlice;

use proto::peer::{BLOCK_HEADER_LEN, Message, block_header};
use proto::{BLOCK_LEN, Block, PieceIndex};

use crate::limits::session::{CONTROL_SOFT_LEN, UPLOAD_RUNS};

#[derive(Debug, Default)]
pub(super) struct Outbox {
    control: Vec<u8>,
    /// Bytes of `control` that are written.
    control_done: usize,
    runs: VecDeque<SendingRun>,
    spent: Vec<Vec<u8>>,
    payload_sent: u64,
}

/// Neighbouring parts of one piece, a message each, being written.
#[derive(Debug)]
struct SendingRun {
    messages: Vec<(Block, [u8; BLOCK_HEADER_LEN])>,
    data: Vec<u8>,
    /// Where `data` starts in the piece.
    begin: u32,
    /// The message being written.
    next: usize,
    /// Bytes of its message that are written.
    done: usize,
}

impl SendingRun {
    fn message_len(&self, index: usize) -> usize {
        BLOCK_HEADER_LEN + self.messages[index].0.len as usize
    }

    /// What is left of a message when `done` bytes of it are written.
    fn slices(&self, index: usize, done: usize) -> [&[u8]; 2] {
        let (block, header) = &self.messages[index];
        let start = (block.begin - self.begin) as usize;
        let data = &self.data[start..start + block.len as usize];
        [&header[done.min(BLOCK_HEADER_LEN)..], &data[done.saturating_sub(BLOCK_HEADER_LEN)..]]
    }

    /// Takes note of up to `len` written bytes of the message under way; returns those, and how many of
    /// them are payload.
    fn advance(&mut self, len: usize) -> (usize, usize) {
        let taken = len.min(self.message_len(self.next) - self.done);
        let before = self.done.saturating_sub(BLOCK_HEADER_LEN);
        self.done += taken;
        let payload = self.done.saturating_sub(BLOCK_HEADER_LEN) - before;
        if self.done == self.message_len(self.next) {
            self.next += 1;
            self.done = 0;
        }
        (taken, payload)
    }

    /// Messages that are written or have begun to be.
    fn begun(&self) -> usize {
        self.next + usize::from(self.done > 0)
    }

    fn is_done(&self) -> bool {
        self.next == self.messages.len()
    }
}

impl Outbox {
    /// Control bytes that wait.
    pub(super) fn control_len(&self) -> usize {
        self.control.len() - self.control_done
    }

    pub(super) fn is_empty(&self) -> bool {
        self.control_len() == 0 && self.runs.is_empty()
    }

    pub(super) fn push(&mut self, message: &Message<'_>) {
        message.encode(&mut self.control);
    }

    /// Runs that are being written or wait for it.
    pub(super) fn runs(&self) -> usize {
        self.runs.len()
    }

    /// Adds neighbouring requests whose bytes are `data`.
    pub(super) fn push_run(&mut self, requests: &[Block], data: Vec<u8>) {
        let begin = requests.first().map_or(0, |first| first.begin);
        let messages = requests.iter().map(|request| (*request, block_header(*request))).collect();
        self.runs.push_back(SendingRun { messages, data, begin, next: 0, done: 0 });
    }

    /// Takes a block out of a message that is not begun; false when it is not there (any more).
    pub(super) fn cancel(&mut self, block: Block) -> bool {
        for run in &mut self.runs {
            let begun = run.begun();
            let waiting = run.messages[begun..].iter().map(|(request, _)| request.around(block));
            let found = waiting.enumerate().find_map(|(at, around)| Some((at + begun, around?)));
            if let Some((at, around)) = found {
                let parts = around.into_iter().filter(|part| part.len > 0);
                run.messages.splice(at..=at, parts.map(|part| (part, block_header(part))));
                self.drop_empty();
                return true;
            }
        }
        false
    }

    /// Takes out the requests that are not begun and whose piece is not to be kept.
    pub(super) fn remove(&mut self, mut keep: impl FnMut(PieceIndex) -> bool) -> Vec<Block> {
        let mut removed = Vec::new();
        for run in &mut self.runs {
            let begun = run.begun();
            let mut index = 0;
            run.messages.retain(|(request, _)| {
                index += 1;
                let stays = index <= begun || keep(request.piece);
                if !stays {
                    removed.push(*request);
                }
                stays
            });
        }
        self.drop_empty();
        removed
    }

    fn drop_empty(&mut self) {
        while let Some(at) = self.runs.iter().position(SendingRun::is_done) {
            if let Some(run) = self.runs.remove(at) {
                self.put_spent(run.data);
            }
        }
    }

    /// A buffer of a run that is written.
    pub(super) fn take_spent(&mut self) -> Option<Vec<u8>> {
        self.spent.pop()
    }

    /// Gives back a buffer that is not needed.
    pub(super) fn put_spent(&mut self, data: Vec<u8>) {
        if self.spent.len() < UPLOAD_RUNS {
            self.spent.push(data);
        }
    }

    /// Payload bytes written since the last call.
    pub(super) fn take_payload_sent(&mut self) -> u64 {
        std::mem::take(&mut self.payload_sent)
    }

    /// What is to be written next, in order.
    pub(super) fn transmit<'a>(&'a self, slices: &mut impl Extend<IoSlice<'a>>) {
        let under_way = self.runs.front().filter(|run| run.done > 0);
        let rest = under_way.map(|run| run.slices(run.next, run.done));
        let control = &self.control[self.control_done..];
        let begun = usize::from(under_way.is_some());
        let whole = self.runs.iter().enumerate().flat_map(move |(number, run)| {
            let from = run.next + if number == 0 { begun } else { 0 };
            (from..run.messages.len()).flat_map(move |index| run.slices(index, 0))
        });
        let all = rest.into_iter().flatten().chain([control]).chain(whole);
        // In slices of a block at most, since whoever keeps to a limit takes whole ones.
        let slices_of = |slice: &'a [u8]| slice.chunks(BLOCK_LEN as usize).map(IoSlice::new);
        slices.extend(all.flat_map(slices_of));
    }

    /// Takes note of `len` bytes written, in the order of [`Outbox::transmit`].
    ///
    /// # Panics
    /// If that is more than there was.
    pub(super) fn transmitted(&mut self, mut len: usize) {
        if self.runs.front().is_some_and(|run| run.done > 0) {
            len -= self.advance_run(len);
        }
        let control = len.min(self.control_len());
        self.control_done += control;
        len -= control;
        if self.control_done == self.control.len() {
            self.control.clear();
            self.control.shrink_to(CONTROL_SOFT_LEN);
            self.control_done = 0;
        }
        while len > 0 {
            assert!(!self.runs.is_empty(), "more was written than there was");
            len -= self.advance_run(len);
        }
    }

    fn advance_run(&mut self, len: usize) -> usize {
        let Some(run) = self.runs.front_mut() else { return 0 };
        let (taken, payload) = run.advance(len);
        self.payload_sent += payload as u64;
        if run.is_done()
            && let Some(run) = self.runs.pop_front()
        {
            self.put_spent(run.data);
        }
        taken
    }
}
