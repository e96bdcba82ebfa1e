//! One peer's connection after the handshakes: bytes to events, commands to bytes (BEP 3, 6, 9, 10,
//! 21, 52, 54).
//!
//! The caller owns the socket and the clock. It reads into [`Session::landing`] and tells
//! [`Session::received`] how much came (or hands bytes to [`Session::handle_bytes`]), drains
//! [`Session::poll_events`], gives each [`PeerCommand`] to [`Session::handle_command`], serves
//! [`Session::poll_upload`], and writes what [`Session::transmit`] offers. Nothing else may be called
//! between an offer and the word how much of it was used.
//!
//! Invariants: each request sent ends in exactly one [`PeerEvent::Block`], [`PeerEvent::Rejected`] or
//! [`PeerEvent::Dropped`]; a [`PeerFault`] is final.

mod announcing;
mod fault;
mod hashes;
mod inbox;
mod landing;
mod metadata;
mod outbox;
mod receiving;
mod remote;
mod requests;
mod rules;
mod serving;
#[cfg(test)]
mod tests;
mod uploads;

use std::io::IoSlice;
use std::sync::Arc;
use std::time::Instant;

use proto::metainfo::Info;
use proto::peer::Message;
use proto::{Bitfield, Block, Geometry};

pub use self::fault::PeerFault;
pub use self::uploads::UploadRun;
use self::{
    announcing::Told, hashes::HashExchange, inbox::Inbox, landing::Landing,
    metadata::MetadataExchange, outbox::Outbox, remote::Remote, requests::Requests,
    serving::Rejects, uploads::Uploads,
};
use crate::limits::session::{CONTROL_LEN, KEEP_ALIVE, OUTSTANDING_MAX, SILENCE};
use crate::{Connected, PeerCommand, PeerEvent};

/// What a session must know from its first byte on.
#[derive(Debug, Clone)]
pub struct SessionConfig {
    /// What the handshakes settled.
    pub connected: Connected,
    /// The port that we listen on, to be told to peers that we dialled.
    pub listen_port: Option<u16>,
    /// Our name and version, as other clients show it.
    pub client: String,
    /// Length of the info dictionary if we have it: then [`PeerCommand::Torrent`] follows before
    /// anything is written. Without it we start as a magnet link that has nothing.
    pub metadata_len: Option<u32>,
    /// We want nothing (BEP 21).
    pub upload_only: bool,
    /// The UDP port of our DHT node, to be told to peers that have one, too.
    pub dht_port: Option<u16>,
    /// Peers of the torrent may be told of each other: it is known not to be private (BEP 11, 27).
    /// [`PeerCommand::Torrent`] may say so later.
    pub exchange: bool,
    /// They may be brought together: that is known, too, and there is uTP (BEP 55).
    pub punch: bool,
}

/// What the torrent is, once known.
#[derive(Debug)]
struct Torrent {
    geometry: Arc<Geometry>,
    info: Arc<Info>,
    have: Bitfield,
}

/// One peer's connection after the handshakes.
#[derive(Debug)]
pub struct Session {
    config: SessionConfig,
    torrent: Option<Torrent>,
    remote: Remote,
    told: Told,
    inbox: Inbox,
    landing: Landing,
    requests: Requests,
    uploads: Uploads,
    rejects: Rejects,
    outbox: Outbox,
    metadata: MetadataExchange,
    hashes: HashExchange,
    events: Vec<PeerEvent>,
    /// What the last [`PeerEvent::Waiting`] said.
    told_waiting: bool,
    last_heard: Instant,
    last_sent: Instant,
    /// Since when there is something to write and nothing of it was taken.
    stalled_since: Option<Instant>,
}

impl Session {
    /// Starts on a connection whose handshakes are done.
    #[must_use]
    pub fn new(now: Instant, config: SessionConfig) -> Self {
        let mut session = Self {
            torrent: None,
            remote: Remote::new(),
            told: Told::new(config.upload_only),
            inbox: Inbox::default(),
            landing: Landing::default(),
            requests: Requests::default(),
            uploads: Uploads::default(),
            rejects: Rejects::default(),
            outbox: Outbox::default(),
            metadata: MetadataExchange::default(),
            hashes: HashExchange::default(),
            events: Vec::new(),
            told_waiting: false,
            last_heard: now,
            last_sent: now,
            stalled_since: None,
            config,
        };
        session.announce_start();
        session
    }

    /// Does what the swarm says.
    pub fn handle_command(&mut self, now: Instant, command: PeerCommand) {
        match command {
            PeerCommand::Torrent { geometry, info, have, exchange, punch } => {
                (self.config.exchange, self.config.punch) = (exchange, punch);
                self.open(geometry, info, have);
            }
            PeerCommand::Choke(choke) => {
                self.told.choke.want = choke;
                self.told.place.want = None;
            }
            PeerCommand::Interest(interest) => self.told.interest.want = interest,
            PeerCommand::Request(blocks) => self.request(blocks),
            PeerCommand::Cancel(block) => self.cancel(block),
            PeerCommand::Have(piece) => self.set_have(piece),
            PeerCommand::Lost(piece) => self.set_lost(piece),
            PeerCommand::UploadOnly(flag) => self.told.upload_only.want = flag,
            PeerCommand::RequestMetadata(part) => self.request_metadata(part),
            PeerCommand::RequestHashes(range) => self.request_hashes(range),
            PeerCommand::Hashes(range, hashes) => self.answer_hashes(range, hashes),
            PeerCommand::Exchange(message) => self.send_exchange(&message),
            PeerCommand::HolePunch(message) => self.send_hole_punch(message),
            PeerCommand::Place(place) => self.told.place.want = place,
        }
        self.note_pending(now);
    }

    /// Moves what happened since the last call to the end of `events`.
    pub fn poll_events(&mut self, events: &mut Vec<PeerEvent>) {
        events.append(&mut self.events);
        let sent = self.outbox.take_payload_sent();
        if sent > 0 {
            events.push(PeerEvent::Sent(sent));
        }
        let waiting = self.uploads.waiting() > 0 || self.outbox.runs() > 0;
        if waiting != self.told_waiting {
            self.told_waiting = waiting;
            events.push(PeerEvent::Waiting(waiting));
        }
    }

    /// What is to be written next: control messages where a message ends, then blocks. To be followed
    /// by [`Session::transmitted`].
    pub fn transmit<'a>(&'a mut self, slices: &mut impl Extend<IoSlice<'a>>) {
        self.write_control();
        self.outbox.transmit(slices);
    }

    /// `len` bytes of what [`Session::transmit`] offered are written.
    ///
    /// # Panics
    /// If that is more than was offered.
    pub fn transmitted(&mut self, now: Instant, len: usize) {
        self.outbox.transmitted(len);
        if len > 0 {
            self.last_sent = now;
            self.stalled_since = None;
        }
        self.note_pending(now);
    }

    /// When [`Session::handle_timeout`] is due.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        let stalled = self.stalled_since.map(|since| since + SILENCE);
        let own = (self.last_sent + KEEP_ALIVE).min(self.last_heard + SILENCE);
        Some(stalled.map_or(own, |stalled| stalled.min(own)))
    }

    /// Time has passed.
    pub fn handle_timeout(&mut self, now: Instant) -> Result<(), PeerFault> {
        if now >= self.last_heard + SILENCE {
            return Err(PeerFault::Timeout);
        }
        if self.stalled_since.is_some_and(|since| now >= since + SILENCE) {
            return Err(PeerFault::NotReading);
        }
        if now >= self.last_sent + KEEP_ALIVE {
            self.last_sent = now;
            if self.outbox.is_empty() {
                self.outbox.push(&Message::KeepAlive);
            }
        }
        self.note_pending(now);
        Ok(())
    }

    /// Requests of ours that are not answered, the block that is arriving included.
    #[must_use]
    pub fn outstanding(&self) -> usize {
        let arriving = self.inbox.partial.as_ref().is_some_and(|partial| partial.buffer.is_some());
        self.requests.len() + usize::from(arriving)
    }

    fn note_pending(&mut self, now: Instant) {
        if self.outbox.is_empty() {
            self.stalled_since = None;
        } else {
            self.stalled_since.get_or_insert(now);
        }
    }

    /// Asks for blocks, neighbours in one message as far as the peer takes that.
    fn request(&mut self, blocks: Vec<Block>) {
        let mut blocks = blocks.into_iter().peekable();
        while let Some(mut run) = blocks.next() {
            while let Some(longer) = blocks.peek().and_then(|next| run.joined(*next))
                && longer.len <= self.remote.run_len
            {
                run = longer;
                blocks.next();
            }
            self.request_run(run);
        }
    }

    fn request_run(&mut self, run: Block) {
        let choked = self.remote.choking && !self.remote.allowed_fast.contains(run.piece);
        let full =
            self.requests.len() >= OUTSTANDING_MAX || self.outbox.control_len() > CONTROL_LEN;
        if choked || full {
            self.events.extend(run.blocks().map(PeerEvent::Dropped));
        } else {
            self.requests.push(run);
            self.outbox.push(&Message::Request(run));
        }
    }

    fn cancel(&mut self, block: Block) {
        // With the fast extension the peer still owes a block or a rejection. Without it nothing may
        // come, so the request ends here, and the data is ignored if it does come.
        let known = match self.config.connected.fast {
            true => self.requests.cancel(block),
            false => self.requests.take(block),
        };
        if !known {
            return;
        }
        if !self.config.connected.fast {
            self.events.push(PeerEvent::Dropped(block));
        }
        if self.outbox.control_len() <= CONTROL_LEN {
            self.outbox.push(&Message::Cancel(block));
        }
    }
}
