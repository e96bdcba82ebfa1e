//! The event queue: what happens next, in virtual time.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use proto::metainfo::Info;
use proto::{Bitfield, PieceIndex};
use swarm::{AnnounceTo, Command, DiskEvent, DiskJob, UploadRun};

use crate::content::Content;
use crate::link::Connection;
use crate::node::Node;
use crate::oracle::{self, Violation};
use crate::plan::{Fault, Plan, Start};
use crate::report::Report;
use crate::trace::Trace;
use crate::tracker::Tracker;
use chance::Chance;

/// Something that will happen. Ends of connections are named by connection and side.
#[derive(Debug)]
pub(crate) enum Event {
    /// A peer comes.
    Join(usize),
    /// A swarm asked to be woken.
    SwarmTimer(usize),
    /// A session asked to be woken.
    SessionTimer(usize, usize),
    /// A dial reaches the address.
    DialArrives(usize, SocketAddr),
    /// The dialler learns that it is connected.
    Dialled(usize),
    /// The dialler learns that nobody is there; useless if it is itself.
    DialFailed(usize, SocketAddr, bool),
    /// Bytes reach the downlink of an end's node; none when the other end closed.
    Arrive(usize, usize, Vec<u8>),
    /// Bytes reach an end.
    Deliver(usize, usize, Vec<u8>),
    /// Bytes have left an end's uplink.
    Departed(usize, usize, usize),
    /// An end is to close.
    Closed(usize, usize),
    /// A session's read is done.
    Read(usize, usize, UploadRun),
    /// A disk job is done.
    Disk(usize, DiskJob),
    /// Leaves are read.
    Leaves(usize, PieceIndex),
    /// Files of a magnet link are open.
    Opened(usize, Arc<Info>),
    /// The tracker's answer arrives.
    Announced(usize, AnnounceTo),
    /// Something goes wrong.
    Fault(Fault),
}

/// A whole simulation, running.
#[derive(Debug)]
pub struct World {
    pub(crate) base: Instant,
    pub(crate) now: Duration,
    queue: BTreeMap<(Duration, u64), Event>,
    sequence: u64,
    pub(crate) chance: Chance,
    pub(crate) content: Arc<Content>,
    pub(crate) nodes: Vec<Node>,
    pub(crate) connections: Vec<Connection>,
    pub(crate) tracker: Tracker,
    pub(crate) trace: Trace,
    pub(crate) by_addr: BTreeMap<SocketAddr, usize>,
    /// Ends whose session has news.
    pub(crate) stirred: BTreeSet<(usize, usize)>,
    /// Peers whose swarm has news.
    pub(crate) touched: BTreeSet<usize>,
    pub(crate) broken: Option<String>,
    /// How often each piece is there outside the first peer.
    outside: Vec<u32>,
    one_copy: Option<(Duration, u64)>,
    plan: Plan,
}

impl World {
    /// Sets a plan up.
    #[must_use]
    #[expect(clippy::disallowed_methods, reason = "one instant to count virtual time from")]
    pub fn new(seed: u64, plan: Plan) -> Self {
        let base = Instant::now();
        let content = Arc::new(Content::new(seed, &plan.content));
        let mut chance = Chance::new(seed);
        let specs = plan.nodes.iter().cloned().enumerate();
        let nodes: Vec<_> = specs
            .map(|(number, spec)| Node::new(number, base, spec, &content, &mut chance))
            .collect();
        let by_addr = nodes.iter().enumerate().map(|(number, node)| (node.addr, number)).collect();
        let mut world = Self {
            base,
            now: Duration::ZERO,
            queue: BTreeMap::new(),
            sequence: 0,
            chance,
            outside: vec![0; content.geometry.piece_count() as usize],
            content,
            nodes,
            connections: Vec::new(),
            tracker: Tracker::default(),
            trace: Trace::new(std::env::var_os("TEEM_SIM_TRACE").is_some()),
            by_addr,
            stirred: BTreeSet::new(),
            touched: BTreeSet::new(),
            broken: None,
            one_copy: None,
            plan,
        };
        for number in 0..world.nodes.len() {
            let joins_at = world.nodes[number].spec.joins_at;
            world.at(joins_at, Event::Join(number));
        }
        for (at, fault) in world.plan.faults.clone() {
            world.at(at, Event::Fault(fault));
        }
        world
    }

    /// Runs to the end.
    ///
    /// # Errors
    /// The first rule that was broken.
    pub fn run(mut self) -> Result<Report, Violation> {
        let mut finish_by = self.plan.deadline;
        let mut lingering = false;
        while let Some(((at, _), event)) = self.queue.pop_first() {
            if at > finish_by {
                break;
            }
            assert!(at >= self.now, "virtual time goes on");
            self.now = at;
            self.on_event(event);
            self.settle();
            self.check_stuck();
            if let Some(what) = self.broken.take() {
                return Err(Violation { at: self.now, what });
            }
            if !lingering && self.all_finished() {
                lingering = true;
                finish_by = self.now + self.plan.linger;
            }
        }
        for (number, node) in self.nodes.iter().enumerate() {
            oracle::at_end(node, &self.content).map_err(|what| Violation {
                at: self.now,
                what: format!("peer {number}: {what}"),
            })?;
        }
        Ok(self.report())
    }

    fn on_event(&mut self, event: Event) {
        match event {
            Event::Join(node) => self.on_join(node),
            Event::SwarmTimer(node) => self.on_swarm_timer(node),
            Event::SessionTimer(connection, side) => self.on_session_timer(connection, side),
            Event::DialArrives(from, addr) => self.on_dial_arrives(from, addr),
            Event::Dialled(connection) => self.connect(connection, 0),
            Event::DialFailed(node, addr, useless) => {
                let now = self.instant();
                self.nodes[node].swarm.handle_dial_failed(now, addr, useless);
                self.touched.insert(node);
            }
            Event::Arrive(connection, side, bytes) => self.on_arrive(connection, side, bytes),
            Event::Deliver(connection, side, bytes) => self.on_deliver(connection, side, &bytes),
            Event::Departed(connection, side, len) => {
                self.connections[connection].0[side].in_flight -= len;
                self.stirred.insert((connection, side));
            }
            Event::Closed(connection, side) => self.end(connection, side, None),
            Event::Read(connection, side, run) => self.on_read(connection, side, run),
            Event::Disk(node, job) => self.on_disk_job(node, job),
            Event::Leaves(node, piece) => {
                let event = self.nodes[node].disk.leaves(&self.content.geometry, piece);
                self.on_disk(node, event);
            }
            Event::Opened(node, info) => {
                let have = Bitfield::empty(self.content.geometry.piece_count());
                let (now, layers) = (self.instant(), Default::default());
                self.nodes[node].knows_info = true;
                self.nodes[node].swarm.handle_opened(now, info, layers, have);
                self.touched.insert(node);
            }
            Event::Announced(node, told) => self.on_announced(node, &told),
            Event::Fault(fault) => self.on_fault(fault),
        }
    }

    fn on_join(&mut self, number: usize) {
        let (now, content) = (self.instant(), self.content.clone());
        let node = &mut self.nodes[number];
        node.alive = true;
        if node.spec.start == Start::Torrent {
            let info = Arc::new(content.metainfo.info.clone());
            let (layers, have) = (content.metainfo.layers.clone(), node.disk.have().clone());
            node.swarm.handle_opened(now, info, layers, have);
        }
        let knows = node.spec.knows.clone();
        let known = knows.into_iter().map(|other| self.nodes[other].addr).collect();
        self.nodes[number].swarm.handle_command(now, Command::AddPeers(known));
        self.touched.insert(number);
    }

    fn on_swarm_timer(&mut self, node: usize) {
        self.nodes[node].timer_at = None;
        let now = self.instant();
        let due = self.nodes[node].swarm.poll_timeout().is_some_and(|due| due <= now);
        if self.nodes[node].alive && due {
            self.trace.note(self.now, node, "timer", &());
            self.nodes[node].swarm.handle_timeout(now);
        }
        self.touched.insert(node);
    }

    fn on_announced(&mut self, node: usize, told: &AnnounceTo) {
        let (now, addr) = (self.instant(), self.nodes[node].addr);
        let answer = self.tracker.announce(self.now, addr, told, &mut self.chance);
        self.trace.note(self.now, node, "announced", &answer);
        if self.nodes[node].alive {
            self.nodes[node].swarm.handle_announced(now, told, answer);
            self.touched.insert(node);
        }
    }

    fn on_disk_job(&mut self, number: usize, job: DiskJob) {
        let node = &mut self.nodes[number];
        let before = node.disk.have().count();
        let event = node.disk.run(self.now, &self.content.geometry, job);
        if let DiskEvent::Stored { piece, .. } = event {
            let truth = self.content.read(self.content.geometry.whole(piece));
            if node.disk.piece(piece) != Some(truth) {
                self.broken = Some(format!("peer {number} stored a wrong piece {}", piece.0));
            }
            let new = node.disk.have().count() > before;
            if new && number != 0 && node.must_finish() {
                self.outside[piece.as_usize()] += 1;
            }
        }
        if self.nodes[number].alive {
            self.on_disk(number, event);
        }
        self.check_one_copy();
    }

    pub(crate) fn on_disk(&mut self, node: usize, event: DiskEvent) {
        self.trace.note(self.now, node, "disk", &event);
        let now = self.instant();
        self.nodes[node].swarm.handle_disk(now, event);
        self.touched.insert(node);
    }

    fn check_one_copy(&mut self) {
        if self.one_copy.is_some() || self.outside.contains(&0) {
            return;
        }
        self.one_copy = Some((self.now, self.nodes[0].sent));
        if let Some(leaver) = self.plan.leaves_after_one_copy {
            let now = self.instant();
            self.nodes[leaver].swarm.handle_command(now, Command::Stop);
            self.touched.insert(leaver);
            self.settle();
            self.nodes[leaver].alive = false;
        }
    }

    fn on_fault(&mut self, fault: Fault) {
        self.trace.note(self.now, usize::MAX, "fault", &fault);
        let now = self.now;
        match fault {
            Fault::Reset(node) | Fault::Kill(node) => {
                if let Fault::Kill(_) = fault {
                    self.nodes[node].alive = false;
                }
                let ends: Vec<_> = self.nodes[node].ends.values().copied().collect();
                ends.into_iter().for_each(|(connection, side)| self.end(connection, side, None));
            }
            Fault::Silence(node, length) => {
                let access = &mut self.nodes[node].access;
                access.up_free_at = access.up_free_at.max(now + length);
                access.down_free_at = access.down_free_at.max(now + length);
            }
            Fault::Full(node, length) => self.nodes[node].disk.full_until = now + length,
            Fault::Lose(node, piece) => {
                let piece = PieceIndex(piece);
                if self.nodes[node].disk.have().has(piece) {
                    self.nodes[node].disk.lose(piece);
                    self.on_disk(node, DiskEvent::Lost(vec![piece]));
                }
            }
            Fault::TrackerAway(length) => self.tracker.away_until = now + length,
        }
    }

    /// Virtual time must go on: a swarm that wakes itself at one instant for ever would stop it.
    fn check_stuck(&mut self) {
        if self.trace.lines() > STEPS_MAX {
            self.broken = Some("too many steps: something goes round in a circle".to_owned());
        }
    }

    fn all_finished(&self) -> bool {
        self.nodes.iter().filter(|node| node.must_finish()).all(|node| node.finished_at.is_some())
    }

    fn report(self) -> Report {
        Report {
            ended_at: self.now,
            content_len: self.content.len(),
            nodes: self.nodes.iter().map(Node::report).collect(),
            seeder_bytes_at_one_copy: self.one_copy.map(|(_, bytes)| bytes),
            one_copy_at: self.one_copy.map(|(at, _)| at),
            connections: self.connections.len() as u64,
            announces: self.tracker.announces,
            steps: self.trace.lines(),
            trace: self.trace.finish(),
        }
    }

    /// A rule is broken; the first one counts.
    pub(crate) fn violated(&mut self, what: String) {
        if self.broken.is_none() {
            self.broken = Some(what);
        }
    }

    /// Now, as sessions and swarms see it.
    pub(crate) fn instant(&self) -> Instant {
        self.base + self.now
    }

    pub(crate) fn at(&mut self, at: Duration, event: Event) {
        self.sequence += 1;
        self.queue.insert((at, self.sequence), event);
    }
}

/// Far more than any scenario takes.
const STEPS_MAX: u64 = 20_000_000;
