//! The glue between sessions, swarms and the simulated world: what `node` does with sockets and
//! threads, as `swarm`'s contract wants it.

use std::net::SocketAddr;
use std::time::Duration;

use swarm::{
    Action, Connected, Direction, Notice, PeerCommand, PeerEvent, PeerFault, PeerKey, Session,
    SessionConfig, UploadRun,
};

use crate::link::{Connection, End, airtime};
use crate::node::PORT;
use crate::oracle;
use crate::plan::Behaviour;
use crate::world::{Event, World};

impl World {
    /// Goes on until no session and no swarm has anything left to say.
    pub(crate) fn settle(&mut self) {
        let mut nodes = std::collections::BTreeSet::new();
        loop {
            if let Some((connection, side)) = self.stirred.pop_first() {
                self.stir(connection, side);
            } else if let Some(node) = self.touched.pop_first() {
                self.act(node);
                nodes.insert(node);
            } else {
                break;
            }
        }
        for node in nodes {
            if let Err(what) = oracle::on_node(&self.nodes[node], &self.content) {
                self.violated(format!("peer {node}: {what}"));
            }
            self.wake_swarm(node);
        }
    }

    /// Takes events out of a session, gives it data to upload, and puts its bytes on the wire.
    fn stir(&mut self, connection: usize, side: usize) {
        let now = self.instant();
        let end = &mut self.connections[connection].0[side];
        let (Some(session), Some(key)) = (&mut end.session, end.key) else { return };
        let (node, mut events) = (end.node, Vec::new());
        session.poll_events(&mut events);
        if let Err(what) = oracle::on_events(end, &events) {
            self.violated(format!("peer {node}: {what}"));
        }
        if !events.is_empty() {
            self.note_events(node, &events);
            self.nodes[node].swarm.handle_peer(now, key, &mut events);
            self.touched.insert(node);
        }
        self.serve(connection, side);
        self.send(connection, side);
        self.wake_session(connection, side);
    }

    fn note_events(&mut self, node: usize, events: &[PeerEvent]) {
        for event in events {
            self.trace.note(self.now, node, "event", event);
            if let PeerEvent::Block(_, data) = event {
                self.trace.bytes(data.as_slice());
                self.nodes[node].buffers_held += 1;
            } else if let PeerEvent::Sent(bytes) = event {
                self.nodes[node].sent += bytes;
            }
        }
    }

    /// Starts reads for what the peer asked for.
    fn serve(&mut self, connection: usize, side: usize) {
        let end = &mut self.connections[connection].0[side];
        let node = &self.nodes[end.node];
        if let Behaviour::Staller(after) = node.spec.behaviour
            && node.sent >= after
        {
            return;
        }
        let Some(session) = &mut end.session else { return };
        let mut runs = Vec::new();
        while let Some(run) = session.poll_upload(RUN_LEN) {
            runs.push(run);
        }
        for run in runs {
            self.at(self.now + READ_TIME, Event::Read(connection, side, run));
        }
    }

    /// Puts an end's bytes on the wire while there is room.
    fn send(&mut self, connection: usize, side: usize) {
        let instant = self.instant();
        let mut progress = false;
        loop {
            let end = &mut self.connections[connection].0[side];
            let from = end.node;
            let Some(bytes) = end.take_bytes(instant) else { break };
            progress = true;
            let to = self.connections[connection].0[1 - side].node;
            let latency = self.latency(from, to);
            let up = &mut self.nodes[from].access;
            let departs = up.up_free_at.max(self.now) + airtime(bytes.len(), up.up);
            up.up_free_at = departs;
            self.connections[connection].0[side].last_departure = departs;
            self.at(departs, Event::Departed(connection, side, bytes.len()));
            self.at(departs + latency, Event::Arrive(connection, 1 - side, bytes));
        }
        if progress {
            // What was sent is news for the swarm.
            self.stirred.insert((connection, side));
        }
    }

    /// The downlink is taken when bytes get there, not when they set out: what travels far holds up
    /// nothing that is near.
    pub(crate) fn on_arrive(&mut self, connection: usize, side: usize, bytes: Vec<u8>) {
        let node = self.connections[connection].0[side].node;
        let down = &mut self.nodes[node].access;
        let arrives = down.down_free_at.max(self.now) + airtime(bytes.len(), down.down);
        down.down_free_at = arrives;
        self.at(arrives, Event::Deliver(connection, side, bytes));
    }

    /// Bytes came; none means that the other end closed.
    pub(crate) fn on_deliver(&mut self, connection: usize, side: usize, bytes: &[u8]) {
        if bytes.is_empty() {
            return self.end(connection, side, None);
        }
        let now = self.instant();
        let Some(session) = &mut self.connections[connection].0[side].session else { return };
        match receive(session, now, bytes) {
            Ok(()) => drop(self.stirred.insert((connection, side))),
            Err(fault) => self.end(connection, side, Some(fault)),
        }
    }

    pub(crate) fn on_session_timer(&mut self, connection: usize, side: usize) {
        let now = self.instant();
        let end = &mut self.connections[connection].0[side];
        end.timer_at = None;
        let Some(session) = &mut end.session else { return };
        if session.poll_timeout().is_some_and(|due| due <= now)
            && let Err(fault) = session.handle_timeout(now)
        {
            return self.end(connection, side, Some(fault));
        }
        self.stirred.insert((connection, side));
    }

    pub(crate) fn on_read(&mut self, connection: usize, side: usize, run: UploadRun) {
        let node = self.connections[connection].0[side].node;
        let data = self.nodes[node].disk.read(run.span());
        let end = &mut self.connections[connection].0[side];
        let Some(session) = &mut end.session else { return };
        match data {
            Some(mut data) => {
                if let Behaviour::Poisoner(percent) = self.nodes[node].spec.behaviour {
                    for block in data.chunks_mut(proto::BLOCK_LEN as usize) {
                        if self.chance.below(100) < percent {
                            block[0] ^= 0x55;
                        }
                    }
                }
                session.upload_ready(run, data);
            }
            None => session.upload_failed(run),
        }
        self.stirred.insert((connection, side));
    }

    /// Does what a swarm wants done.
    fn act(&mut self, node: usize) {
        let mut actions = Vec::new();
        self.nodes[node].swarm.poll_actions(&mut actions);
        for action in actions {
            if let Action::Peer(key, PeerCommand::Torrent { .. }) = &action {
                self.trace.note(self.now, node, "torrent", key);
            } else {
                self.trace.note(self.now, node, "action", &action);
            }
            self.apply(node, action);
            self.touched.insert(node);
        }
    }

    fn apply(&mut self, node: usize, action: Action) {
        let now = self.now;
        match action {
            Action::Peer(key, command) => self.command(node, key, command),
            Action::Dial(addr, _) | Action::Punch(addr, _) => {
                let latency = self.nodes[node].access.latency;
                self.at(now + latency * 2, Event::DialArrives(node, addr));
            }
            Action::Disconnect(key, _) => {
                if let Some((connection, side)) = self.nodes[node].ends.get(&key).copied() {
                    self.at(now, Event::Closed(connection, side));
                }
            }
            Action::Disk(job) => {
                let swarm::DiskJob::Store { blocks, .. } = &job;
                let blocks = blocks.iter().flatten().count() as u64;
                let node_state = &mut self.nodes[node];
                node_state.buffers_held -= blocks;
                let done = node_state.disk.free_at.max(now) + STORE_TIME;
                node_state.disk.free_at = done;
                self.at(done, Event::Disk(node, job));
            }
            Action::ReadLeaves(piece) => self.at(now + STORE_TIME, Event::Leaves(node, piece)),
            Action::Recycle(_) => self.nodes[node].buffers_held -= 1,
            Action::Announce(told) => {
                let trip = self.nodes[node].access.latency * 2;
                self.at(now + trip, Event::Announced(node, told));
            }
            // Nobody comes who is not a peer, and nobody has a DHT.
            Action::Admit(_) | Action::Search(_) | Action::DhtNode(_) => {}
            Action::Notice(notice) => self.on_notice(node, notice),
        }
    }

    fn command(&mut self, node: usize, key: PeerKey, command: PeerCommand) {
        let now = self.instant();
        let Some((connection, side)) = self.nodes[node].ends.get(&key).copied() else { return };
        if let PeerCommand::Have(piece) = &command
            && !self.nodes[node].disk.have().has(*piece)
        {
            self.violated(format!("peer {node} tells of piece {} it lacks", piece.0));
        }
        let end = &mut self.connections[connection].0[side];
        if let PeerCommand::Request(blocks) = &command {
            end.owed.extend(blocks);
        }
        if let Some(session) = &mut end.session {
            session.handle_command(now, command);
            self.stirred.insert((connection, side));
        }
    }

    fn on_notice(&mut self, node: usize, notice: Notice) {
        match &notice {
            Notice::Complete if !self.nodes[node].spec.seeder => {
                self.nodes[node].finished_at.get_or_insert(self.now);
            }
            Notice::MetadataKnown(info) => {
                self.at(self.now + STORE_TIME, Event::Opened(node, info.clone()));
            }
            Notice::Banned(addr, reason) => {
                let ip = addr.ip();
                let banned = self.nodes.iter().find(|node| node.addr.ip() == ip);
                if banned.is_some_and(|node| node.spec.behaviour == Behaviour::Honest) {
                    self.violated(format!("peer {node} bans honest {addr}: {reason}"));
                }
            }
            Notice::Inconsistent(_) | Notice::Unusable(_) => {
                self.violated(format!("peer {node}: {notice:?}"));
            }
            Notice::Complete
            | Notice::Incomplete
            | Notice::LayersKnown(_)
            | Notice::Paused(_)
            | Notice::BadPiece(_)
            | Notice::BadBlock(..)
            | Notice::BannedWebSeed(..) => {}
        }
        self.nodes[node].notices.push(notice);
    }

    /// Somebody knocks.
    pub(crate) fn on_dial_arrives(&mut self, from: usize, addr: SocketAddr) {
        let to = self.by_addr.get(&addr).copied();
        let trip = self.nodes[from].access.latency * 2;
        let open = to.filter(|to| self.nodes[*to].alive && *to != from);
        let Some(to) = open else {
            let useless = to == Some(from);
            return self.at(self.now + trip, Event::DialFailed(from, addr, useless));
        };
        let number = self.connections.len();
        let port = 20_000 + (number % 40_000) as u16;
        let seen_at = SocketAddr::new(self.nodes[from].addr.ip(), port);
        let ours = self.connected(to, from, seen_at, Direction::Incoming);
        let theirs = self.connected(from, to, addr, Direction::Outgoing);
        self.connections.push(Connection([End::new(from, theirs), End::new(to, ours)]));
        self.at(self.now + self.latency(from, to), Event::Dialled(number));
        self.connect(number, 1);
    }

    /// What the handshakes tell `node` of `other`.
    fn connected(
        &self,
        node: usize,
        other: usize,
        addr: SocketAddr,
        direction: Direction,
    ) -> Connected {
        let [one, two] = [&self.nodes[node], &self.nodes[other]];
        let v2 = one.hashes.v2().is_some() && two.hashes.v2().is_some();
        let hashes = if one.spec.v2 { two.hashes } else { one.hashes };
        let info_hash = match hashes.v2() {
            Some(hash) if v2 => hash.truncated(),
            _ => hashes.primary(),
        };
        let fast = one.spec.fast && two.spec.fast;
        let (peer_id, extended, dht) = (two.peer_id, true, false);
        Connected { addr, direction, peer_id, info_hash, v2, fast, extended, dht, utp: false }
    }

    /// An end learns that it is connected.
    pub(crate) fn connect(&mut self, connection: usize, side: usize) {
        let now = self.instant();
        let end = &mut self.connections[connection].0[side];
        let node = &mut self.nodes[end.node];
        if !node.alive {
            let arrives = self.now + node.access.latency * 2;
            return self.at(arrives, Event::Closed(connection, 1 - side));
        }
        let key = node.swarm.handle_connected(now, end.connected);
        let info_len = self.content.metainfo.info.raw().len() as u32;
        let config = SessionConfig {
            connected: end.connected,
            listen_port: Some(PORT),
            client: "sim".to_owned(),
            metadata_len: node.knows_info.then_some(info_len),
            upload_only: node.disk.have().is_full() && !node.swarm.is_super_seeding(),
            dht_port: None,
            exchange: node.swarm.exchanges(),
            punch: node.swarm.punches(),
        };
        node.ends.insert(key, (connection, side));
        end.key = Some(key);
        end.session = Some(Session::new(now, config));
        self.trace.note(self.now, end.node, "connected", &end.connected);
        self.touched.insert(end.node);
        // The swarm's first command must reach the session before anything is written.
        let node = end.node;
        self.act(node);
        self.stirred.insert((connection, side));
    }

    /// An end ends, and in due course the other one.
    pub(crate) fn end(&mut self, connection: usize, side: usize, fault: Option<PeerFault>) {
        let now = self.instant();
        let other = self.connections[connection].0[1 - side].node;
        let end = &mut self.connections[connection].0[side];
        let (Some(_), Some(key)) = (end.session.take(), end.key) else { return };
        let (node, last_departure) = (end.node, end.last_departure);
        end.owed.clear();
        self.nodes[node].ends.remove(&key);
        self.trace.note(self.now, node, "ended", &(key, &fault));
        if let Some(Err(what)) =
            fault.as_ref().map(|fault| oracle::on_fault(&self.nodes[other], fault))
        {
            self.violated(format!("peer {node} of peer {other}: {what}"));
        }
        if self.nodes[node].alive {
            let hostile = fault.filter(PeerFault::is_hostile).map(|fault| fault.to_string());
            self.nodes[node].swarm.handle_disconnected(now, key, hostile);
            self.touched.insert(node);
        }
        let learns = last_departure.max(self.now) + self.latency(node, other);
        self.at(learns, Event::Arrive(connection, 1 - side, Vec::new()));
    }

    fn latency(&self, one: usize, two: usize) -> Duration {
        self.nodes[one].access.latency + self.nodes[two].access.latency
    }

    fn wake_swarm(&mut self, number: usize) {
        let node = &mut self.nodes[number];
        let Some(due) = node.swarm.poll_timeout().filter(|_| node.alive) else { return };
        let due = due.saturating_duration_since(self.base).max(self.now);
        if node.timer_at.is_none_or(|at| due < at) {
            node.timer_at = Some(due);
            self.at(due, Event::SwarmTimer(number));
        }
    }

    fn wake_session(&mut self, connection: usize, side: usize) {
        let end = &mut self.connections[connection].0[side];
        let Some(due) = end.session.as_ref().and_then(Session::poll_timeout) else { return };
        let due = due.saturating_duration_since(self.base).max(self.now);
        if end.timer_at.is_none_or(|at| due < at) {
            end.timer_at = Some(due);
            self.at(due, Event::SessionTimer(connection, side));
        }
    }
}

/// As a socket does it: into the places that the session foretells.
fn receive(
    session: &mut Session,
    now: std::time::Instant,
    mut bytes: &[u8],
) -> Result<(), PeerFault> {
    while !bytes.is_empty() {
        for _ in 0..session.buffers_wanted() {
            session.supply(swarm::BlockBuf::new());
        }
        let mut slices = Vec::new();
        session.landing(&mut slices);
        let mut landed = 0;
        for slice in &mut slices {
            let taken = slice.len().min(bytes.len());
            slice[..taken].copy_from_slice(&bytes[..taken]);
            bytes = &bytes[taken..];
            landed += taken;
        }
        drop(slices);
        session.received(now, landed)?;
    }
    Ok(())
}

/// Bytes read at once for an upload.
const RUN_LEN: u32 = 256 * 1024;
/// How long a read takes.
const READ_TIME: Duration = Duration::from_micros(500);
/// How long checking and writing a piece takes.
const STORE_TIME: Duration = Duration::from_millis(2);
