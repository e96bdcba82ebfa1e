//! Sessions against scripted peers and against each other.

mod conservation;
mod exchange;
mod rules;
mod runs;
mod slots;

use std::io::{IoSlice, IoSliceMut};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use proto::metainfo::Info;
use proto::peer::Message;
use proto::{BLOCK_LEN, Bitfield, Block, Geometry, InfoHash, PeerId, PieceIndex};

use super::{PeerFault, Session, SessionConfig};
use crate::{BlockBuf, Connected, Direction, PeerCommand, PeerEvent};

pub(super) const PIECES: u32 = 8;
const BLOCKS_PER_PIECE: u32 = 4;

/// A torrent of eight pieces of four blocks.
pub(super) fn info() -> Arc<Info> {
    let len = u64::from(PIECES * BLOCKS_PER_PIECE * BLOCK_LEN);
    let mut raw = format!(
        "d6:lengthi{len}e4:name1:x12:piece lengthi{}e6:pieces{}:",
        BLOCKS_PER_PIECE * BLOCK_LEN,
        20 * PIECES
    )
    .into_bytes();
    raw.extend([7; 20 * PIECES as usize]);
    raw.push(b'e');
    Arc::new(Info::decode(&raw).unwrap())
}

pub(super) fn geometry() -> Arc<Geometry> {
    Arc::new(info().geometry())
}

/// The block with that number, counted through all pieces.
pub(super) fn block(number: u32) -> Block {
    let begin = number % BLOCKS_PER_PIECE * BLOCK_LEN;
    Block { piece: PieceIndex(number / BLOCKS_PER_PIECE), begin, len: BLOCK_LEN }
}

/// The bytes that a run of blocks has everywhere in these tests.
pub(super) fn content(run: Block) -> Vec<u8> {
    let at = |offset: u32| (run.piece.0 * 31 + offset / 7 + offset / BLOCK_LEN) as u8;
    (run.begin..run.begin + run.len).map(at).collect()
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Plain,
    Fast,
    FastV2,
}

pub(super) fn config(kind: Kind) -> SessionConfig {
    SessionConfig {
        connected: Connected {
            addr: SocketAddr::from(([10, 0, 0, 1], 6881)),
            direction: Direction::Outgoing,
            peer_id: PeerId([1; 20]),
            info_hash: InfoHash([2; 20]),
            v2: kind == Kind::FastV2,
            fast: kind != Kind::Plain,
            dht: false,
            utp: false,
            extended: true,
        },
        listen_port: Some(6881),
        client: "Teem/test".to_owned(),
        metadata_len: Some(info().raw().len() as u32),
        upload_only: false,
        dht_port: None,
        exchange: false,
        punch: false,
    }
}

/// A session that knows its torrent, with what it says at the start written already.
pub(super) fn opened(now: Instant, kind: Kind, have: Bitfield) -> Session {
    let mut session = Session::new(now, config(kind));
    session.handle_command(now, torrent(have));
    written(now, &mut session);
    session
}

pub(super) fn torrent(have: Bitfield) -> PeerCommand {
    PeerCommand::Torrent { geometry: geometry(), info: info(), have, exchange: false, punch: false }
}

/// All that the session writes now.
pub(super) fn written(now: Instant, session: &mut Session) -> Vec<u8> {
    let mut all = Vec::new();
    loop {
        let mut slices: Vec<IoSlice<'_>> = Vec::new();
        session.transmit(&mut slices);
        let start = all.len();
        slices.iter().for_each(|slice| all.extend_from_slice(slice));
        let len = all.len() - start;
        if len == 0 {
            return all;
        }
        session.transmitted(now, len);
    }
}

/// The messages that the session writes now, as text; the data of blocks and extensions left out.
#[expect(clippy::wildcard_enum_match_arm, reason = "all others print as they are")]
pub(super) fn said(now: Instant, session: &mut Session) -> Vec<String> {
    let bytes = written(now, session);
    let mut rest = bytes.as_slice();
    let mut messages = Vec::new();
    while !rest.is_empty() {
        let (message, len) = Message::decode_prefix(rest, 100).unwrap().unwrap();
        rest = &rest[len..];
        messages.push(match message {
            Message::Block(block, _) => format!("Block({})", name(block)),
            Message::Request(block) => format!("Request({})", name(block)),
            Message::Reject(block) => format!("Reject({})", name(block)),
            Message::Cancel(block) => format!("Cancel({})", name(block)),
            Message::Extended(id, _) => format!("Extended({id})"),
            other => format!("{other:?}"),
        });
    }
    messages
}

fn name(block: Block) -> u32 {
    block.piece.0 * BLOCKS_PER_PIECE + block.begin / BLOCK_LEN
}

/// What a message of the peer leads to, as text.
pub(super) fn hear(
    now: Instant,
    session: &mut Session,
    message: Message<'_>,
) -> Result<Vec<String>, PeerFault> {
    let mut bytes = Vec::new();
    message.encode(&mut bytes);
    session.handle_bytes(now, &bytes)?;
    Ok(events(session))
}

/// Events since the last call, as text.
pub(super) fn events(session: &mut Session) -> Vec<String> {
    let mut events = Vec::new();
    session.poll_events(&mut events);
    events.iter().map(describe).collect()
}

pub(super) fn describe(event: &PeerEvent) -> String {
    if let PeerEvent::Block(block, buffer) = event {
        assert_eq!(buffer.as_slice(), content(*block), "a block carries its own bytes");
        return format!("Block({})", name(*block));
    }
    if let PeerEvent::Rejected(block) = event {
        return format!("Rejected({})", name(*block));
    }
    if let PeerEvent::Dropped(block) = event {
        return format!("Dropped({})", name(*block));
    }
    format!("{event:?}")
}

/// Bytes arrive through one scatter read; returns how many it took.
pub(super) fn land(now: Instant, session: &mut Session, bytes: &[u8]) -> Result<usize, PeerFault> {
    for _ in 0..session.buffers_wanted() {
        session.supply(BlockBuf::new());
    }
    let mut slices: Vec<IoSliceMut<'_>> = Vec::new();
    session.landing(&mut slices);
    let mut rest = bytes;
    for slice in &mut slices {
        let (part, more) = rest.split_at(rest.len().min(slice.len()));
        slice[..part.len()].copy_from_slice(part);
        rest = more;
    }
    let taken = bytes.len() - rest.len();
    session.received(now, taken)?;
    Ok(taken)
}

/// Serves what the peer waits for.
pub(super) fn serve(session: &mut Session, len_max: u32) -> bool {
    let Some(run) = session.poll_upload(len_max) else { return false };
    let data = content(run.span());
    session.upload_ready(run, data);
    true
}
