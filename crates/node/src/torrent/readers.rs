//! Who reads files while they come: let in once the files are open, told when something arrives.

use tokio::sync::{oneshot, watch};

use super::TorrentTask;
use crate::reading::Reading;

/// The torrent's side of its readers.
#[derive(Debug, Default)]
pub(super) struct Readers {
    arrived: watch::Sender<()>,
    /// They came before the files were open; bounded by who asks, of whom the program has a few.
    waiting: Vec<oneshot::Sender<Reading>>,
}

impl Readers {
    /// Pieces came, or went.
    pub(super) fn on_arrived(&self) {
        if self.arrived.receiver_count() > 0 {
            self.arrived.send_replace(());
        }
    }
}

impl TorrentTask {
    pub(super) fn on_read(&mut self, answer: oneshot::Sender<Reading>) {
        self.readers.waiting.retain(|waiting| !waiting.is_closed());
        self.readers.waiting.push(answer);
        self.let_readers_in();
    }

    pub(super) fn let_readers_in(&mut self) {
        let Some(storage) = self.shared.storage.get() else { return };
        for answer in std::mem::take(&mut self.readers.waiting) {
            let arrived = self.readers.arrived.subscribe();
            // Whoever asked may have gone.
            let _ = answer.send(Reading::new(storage.clone(), self.to_self.clone(), arrived));
        }
    }
}
