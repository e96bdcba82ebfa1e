//! How fast is a session without a kernel? Prints GB/s of payload on one core.
//!
//! `cargo run --release -p teem-swarm --example session_speed`
//!
//! The receiver's reads are stood in for by copies into what `landing` offers, as a kernel would do
//! it: the line "copy alone" is their share. The sender builds the same stream from 256 KiB runs.

#![expect(clippy::print_stdout, reason = "printing is its purpose")]
#![expect(clippy::disallowed_methods, reason = "it measures time")]

use std::io::{IoSlice, IoSliceMut};
use std::sync::Arc;
use std::time::{Duration, Instant};

use proto::metainfo::Info;
use proto::{BLOCK_LEN, Bitfield, Block, Geometry, InfoHash, PeerId, PieceIndex};
use swarm::{BlockBuf, Connected, Direction, PeerCommand, PeerEvent, Session, SessionConfig};

const PIECE_LEN: u32 = 512 * 1024;
const PIECES: u32 = 4096;
const WINDOW: usize = 256;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let info = Arc::new(info()?);
    let now = Instant::now();
    let mut pair = Pair::new(now, &info);
    let (mut sending, mut receiving) = (Duration::ZERO, Duration::ZERO);
    let total = u64::from(PIECES) * u64::from(PIECE_LEN);
    let mut done = 0;
    while done < total {
        let start = Instant::now();
        pair.send(now);
        let middle = Instant::now();
        done += pair.receive(now)?;
        sending += middle - start;
        receiving += middle.elapsed();
    }
    let rate = |time: Duration| total as f64 / 1e9 / time.as_secs_f64();
    println!("sending, with one copy to the stream     {:6.1} GB/s", rate(sending));
    println!("receiving, landing + received, one copy  {:6.1} GB/s", rate(receiving));
    let wire = vec![1; 256 * 1024];
    let mut place = vec![0; 256 * 1024];
    let start = Instant::now();
    for _ in 0..total / 262_144 {
        place.copy_from_slice(std::hint::black_box(&wire));
        std::hint::black_box(&mut place);
    }
    println!("copy alone, in the cache                 {:6.1} GB/s", rate(start.elapsed()));
    Ok(())
}

struct Pair {
    geometry: Arc<Geometry>,
    seeder: Session,
    leecher: Session,
    wire: Vec<u8>,
    pool: Vec<BlockBuf>,
    next: u32,
}

impl Pair {
    fn new(now: Instant, info: &Arc<Info>) -> Self {
        let geometry = Arc::new(info.geometry());
        let open = |have: Bitfield| {
            let mut session = Session::new(now, config(info));
            let (geometry, info) = (Arc::clone(&geometry), Arc::clone(info));
            session.handle_command(
                now,
                PeerCommand::Torrent { geometry, info, have, exchange: false, punch: false },
            );
            session
        };
        let mut seeder = open(Bitfield::full(PIECES));
        seeder.handle_command(now, PeerCommand::Choke(false));
        let leecher = open(Bitfield::empty(PIECES));
        Self { seeder, leecher, geometry, wire: Vec::new(), pool: Vec::new(), next: 0 }
    }

    /// The seeder serves what it was asked for.
    fn send(&mut self, now: Instant) {
        while let Some(run) = self.seeder.poll_upload(256 * 1024) {
            let mut data = self.seeder.take_spent_buffer().unwrap_or_default();
            data.resize(run.span().len as usize, 7);
            self.seeder.upload_ready(run, data);
            write(now, &mut self.seeder, &mut self.wire);
        }
        write(now, &mut self.seeder, &mut self.wire);
        let mut events = Vec::new();
        self.seeder.poll_events(&mut events);
    }

    /// The leecher reads all of it and asks for more; returns the payload bytes it got.
    fn receive(&mut self, now: Instant) -> Result<u64, swarm::PeerFault> {
        let wire = std::mem::take(&mut self.wire);
        let (mut rest, mut events, mut got) = (wire.as_slice(), Vec::new(), 0);
        while !rest.is_empty() {
            for _ in 0..self.leecher.buffers_wanted() {
                self.leecher.supply(self.pool.pop().unwrap_or_default());
            }
            let taken = read(&mut self.leecher, rest);
            self.leecher.received(now, taken)?;
            rest = &rest[taken..];
            self.leecher.poll_events(&mut events);
            for event in events.drain(..) {
                if let PeerEvent::Block(block, buffer) = event {
                    got += u64::from(block.len);
                    self.pool.push(buffer);
                }
            }
        }
        self.ask(now)?;
        self.wire = wire;
        self.wire.clear();
        Ok(got)
    }

    fn ask(&mut self, now: Instant) -> Result<(), swarm::PeerFault> {
        let blocks_per_piece = PIECE_LEN / BLOCK_LEN;
        let mut blocks = Vec::new();
        while self.leecher.outstanding() + blocks.len() < WINDOW {
            let piece = PieceIndex(self.next / blocks_per_piece % PIECES);
            let block: Block = self.geometry.block(piece, self.next % blocks_per_piece);
            blocks.push(block);
            self.next += 1;
        }
        self.leecher.handle_command(now, PeerCommand::Request(blocks));
        let mut requests = Vec::new();
        write(now, &mut self.leecher, &mut requests);
        self.seeder.handle_bytes(now, &requests)
    }
}

fn write(now: Instant, session: &mut Session, wire: &mut Vec<u8>) {
    let mut slices: Vec<IoSlice<'_>> = Vec::new();
    session.transmit(&mut slices);
    let start = wire.len();
    slices.iter().for_each(|slice| wire.extend_from_slice(slice));
    let len = wire.len() - start;
    session.transmitted(now, len);
}

/// What a scattering read of the kernel does.
fn read(session: &mut Session, bytes: &[u8]) -> usize {
    let mut slices: Vec<IoSliceMut<'_>> = Vec::new();
    session.landing(&mut slices);
    let mut rest = bytes;
    for slice in &mut slices {
        let (part, more) = rest.split_at(rest.len().min(slice.len()));
        slice[..part.len()].copy_from_slice(part);
        rest = more;
    }
    bytes.len() - rest.len()
}

fn info() -> Result<Info, proto::metainfo::MetainfoError> {
    let len = u64::from(PIECES) * u64::from(PIECE_LEN);
    let hashes = 20 * PIECES as usize;
    let head = format!("d6:lengthi{len}e4:name1:x12:piece lengthi{PIECE_LEN}e6:pieces{hashes}:");
    let mut raw = head.into_bytes();
    raw.resize(raw.len() + hashes, 7);
    raw.push(b'e');
    Info::decode(&raw)
}

fn config(info: &Info) -> SessionConfig {
    SessionConfig {
        connected: Connected {
            addr: ([127, 0, 0, 1], 6881).into(),
            direction: Direction::Outgoing,
            peer_id: PeerId([1; 20]),
            info_hash: InfoHash([2; 20]),
            v2: false,
            fast: true,
            extended: true,
            dht: false,
            utp: false,
        },
        listen_port: None,
        client: "Teem".to_owned(),
        metadata_len: u32::try_from(info.raw().len()).ok(),
        upload_only: false,
        dht_port: None,
        exchange: false,
        punch: false,
    }
}
