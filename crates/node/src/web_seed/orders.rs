//! What a torrent wants of a web seed.

use std::pin::pin;
use std::sync::Arc;

use proto::{Block, Geometry};
use swarm::PeerCommand;
use tokio::sync::mpsc::{UnboundedReceiver, error::TryRecvError};

use super::run::Wanted;

/// The torrent needs the web seed no more.
#[derive(Debug)]
pub(super) struct Over;

/// The commands of a torrent, and what came of them.
#[derive(Debug)]
pub(super) struct Orders {
    commands: UnboundedReceiver<PeerCommand>,
    geometry: Arc<Geometry>,
    pub(super) wanted: Wanted,
    /// Taken back before they were asked for.
    pub(super) cancelled: Vec<Block>,
}

impl Orders {
    pub(super) fn new(geometry: Arc<Geometry>, commands: UnboundedReceiver<PeerCommand>) -> Self {
        Self { commands, geometry, wanted: Wanted::default(), cancelled: Vec::new() }
    }

    /// Takes all that are there.
    pub(super) fn take_all(&mut self) -> Result<(), Over> {
        loop {
            match self.commands.try_recv() {
                Ok(command) => self.obey(command),
                Err(TryRecvError::Empty) => return Ok(()),
                Err(TryRecvError::Disconnected) => return Err(Over),
            }
        }
    }

    /// Waits for one.
    pub(super) async fn take_one(&mut self) -> Result<(), Over> {
        let command = self.commands.recv().await.ok_or(Over)?;
        self.obey(command);
        Ok(())
    }

    /// Does something else, and takes commands meanwhile.
    pub(super) async fn beside<T>(&mut self, work: impl Future<Output = T>) -> Result<T, Over> {
        let mut work = pin!(work);
        loop {
            tokio::select! {
                biased;
                taken = self.take_one() => taken?,
                done = &mut work => return Ok(done),
            }
        }
    }

    fn obey(&mut self, command: PeerCommand) {
        match command {
            PeerCommand::Request(blocks) => {
                blocks.into_iter().for_each(|block| self.wanted.add(&self.geometry, block));
            }
            // What is under way already comes all the same.
            PeerCommand::Cancel(block) => {
                if self.wanted.remove(&self.geometry, block) {
                    self.cancelled.push(block);
                }
            }
            // A server wants nothing, and needs to know nothing.
            PeerCommand::Torrent { .. }
            | PeerCommand::Choke(_)
            | PeerCommand::Interest(_)
            | PeerCommand::Have(_)
            | PeerCommand::Lost(_)
            | PeerCommand::UploadOnly(_)
            | PeerCommand::RequestMetadata(_)
            | PeerCommand::RequestHashes(_)
            | PeerCommand::Hashes(..)
            | PeerCommand::Exchange(_)
            | PeerCommand::HolePunch(_)
            | PeerCommand::Place(_) => {}
        }
    }
}
