//! Runs: several blocks in one message, between peers that agreed on them.

use proto::peer::{ExtensionHandshake, RUN_LEN_MAX};

use super::*;
use crate::test_now;

/// The first `count` blocks of the torrent's first piece, as one.
fn run(count: u32) -> Block {
    Block { len: count * BLOCK_LEN, ..block(0) }
}

/// The peer takes runs of that length.
fn agree(now: Instant, session: &mut Session, run_len: u32) {
    let mut payload = Vec::new();
    ExtensionHandshake { run_len: Some(run_len), ..Default::default() }.encode(&mut payload);
    hear(now, session, Message::Extended(0, &payload)).unwrap();
}

fn leecher(now: Instant, kind: Kind, run_len: u32) -> Session {
    let mut session = opened(now, kind, Bitfield::empty(PIECES));
    agree(now, &mut session, run_len);
    hear(now, &mut session, Message::Unchoke).unwrap();
    session
}

fn seeder(now: Instant, run_len: u32) -> Session {
    let mut session = opened(now, Kind::Fast, Bitfield::full(PIECES));
    session.handle_command(now, PeerCommand::Choke(false));
    said(now, &mut session);
    agree(now, &mut session, run_len);
    session
}

fn asked(now: Instant, session: &mut Session) -> Vec<Block> {
    let bytes = written(now, session);
    let (mut rest, mut requests) = (&bytes[..], Vec::new());
    while !rest.is_empty() {
        let (message, len) = Message::decode_prefix(rest, 100).unwrap().unwrap();
        rest = &rest[len..];
        let Message::Request(run) = message else { continue };
        requests.push(run);
    }
    requests
}

#[test]
fn neighbours_are_asked_for_together_as_far_as_was_agreed() {
    let now = test_now();
    let request = |session: &mut Session, numbers: &[u32]| {
        let blocks = numbers.iter().map(|number| block(*number)).collect();
        session.handle_command(now, PeerCommand::Request(blocks));
        asked(now, session)
    };
    let mut session = leecher(now, Kind::Fast, RUN_LEN_MAX);
    assert_eq!(
        request(&mut session, &[0, 1, 2, 3, 4]),
        [run(4), block(4)],
        "a run is of one piece"
    );
    assert_eq!(request(&mut session, &[9, 8]), [block(9), block(8)]);
    let mut modest = leecher(now, Kind::Fast, 2 * BLOCK_LEN + 1);
    assert_eq!(request(&mut modest, &[0, 1, 2]), [run(2), block(2)]);
    let mut stock = opened(now, Kind::Fast, Bitfield::empty(PIECES));
    hear(now, &mut stock, Message::Unchoke).unwrap();
    assert_eq!(request(&mut stock, &[0, 1]), [block(0), block(1)]);
}

#[test]
fn a_run_is_answered_by_one_message_and_each_block_of_it_counts() {
    let now = test_now();
    let (mut leecher, mut seeder) =
        (leecher(now, Kind::Fast, RUN_LEN_MAX), seeder(now, RUN_LEN_MAX));
    leecher.handle_command(now, PeerCommand::Request((0..3).map(block).collect()));
    seeder.handle_bytes(now, &written(now, &mut leecher)).unwrap();
    assert!(serve(&mut seeder, u32::MAX));
    let answer = written(now, &mut seeder);
    assert_eq!(answer.len(), 13 + 3 * BLOCK_LEN as usize);
    // Cut anywhere, it lands where it belongs.
    for part in answer.chunks(10_000) {
        let mut rest = part;
        while !rest.is_empty() {
            rest = &rest[land(now, &mut leecher, rest).unwrap()..];
        }
    }
    assert_eq!(events(&mut leecher), ["Block(0)", "Block(1)", "Block(2)"]);
    assert_eq!(leecher.outstanding(), 0);
}

#[test]
fn a_block_taken_back_leaves_a_hole_in_its_run() {
    let now = test_now();
    for reads_first in [false, true] {
        let mut seeder = seeder(now, RUN_LEN_MAX);
        hear(now, &mut seeder, Message::Request(run(4))).unwrap();
        if reads_first {
            assert!(serve(&mut seeder, u32::MAX));
        }
        hear(now, &mut seeder, Message::Cancel(block(1))).unwrap();
        while serve(&mut seeder, u32::MAX) {}
        let mut said = said(now, &mut seeder);
        said.sort_unstable();
        assert_eq!(said, ["Block(0)", "Block(2)", "Reject(1)"]);
        assert_eq!(seeder.uploads.waiting(), 0);
    }
}

#[test]
fn a_rejected_run_ends_each_of_its_requests() {
    let now = test_now();
    let mut session = leecher(now, Kind::Fast, RUN_LEN_MAX);
    session.handle_command(now, PeerCommand::Request((0..3).map(block).collect()));
    let heard = hear(now, &mut session, Message::Reject(run(2)));
    assert_eq!(heard.unwrap(), ["Rejected(0)", "Rejected(1)"]);
    assert_eq!(session.outstanding(), 1);
    let again = hear(now, &mut session, Message::Reject(run(2)));
    assert_eq!(again, Err(PeerFault::UnsolicitedReject));
}

#[test]
fn runs_that_were_not_agreed_on_or_not_asked_for_are_faults() {
    let now = test_now();
    let request = |session: &mut Session| hear(now, session, Message::Request(run(2)));
    assert!(request(&mut seeder(now, 2 * BLOCK_LEN)).is_ok());
    assert_eq!(request(&mut seeder(now, BLOCK_LEN)), Err(PeerFault::BadRequest));
    let mut session = leecher(now, Kind::Fast, RUN_LEN_MAX);
    session.handle_command(now, PeerCommand::Request(vec![block(0)]));
    let data = content(run(2));
    let unasked = hear(now, &mut session, Message::Block(run(2), &data));
    assert_eq!(unasked, Err(PeerFault::UnsolicitedBlock));
}

#[test]
fn what_nobody_asked_for_any_more_is_skipped_inside_a_run_too() {
    let now = test_now();
    let mut session = leecher(now, Kind::Plain, RUN_LEN_MAX);
    session.handle_command(now, PeerCommand::Request((0..3).map(block).collect()));
    session.handle_command(now, PeerCommand::Cancel(block(1)));
    let data = content(run(3));
    let heard = hear(now, &mut session, Message::Block(run(3), &data)).unwrap();
    assert_eq!(heard, ["Dropped(1)", "Block(0)", "Block(2)"]);
}

#[test]
fn only_blocks_can_be_taken_back_and_no_more_of_them_than_may_be_asked_for() {
    let now = test_now();
    let mut seeder = seeder(now, RUN_LEN_MAX);
    hear(now, &mut seeder, Message::Request(run(4))).unwrap();
    for (begin, len) in [(5, 1), (BLOCK_LEN, 1), (0, u32::MAX), (u32::MAX, u32::MAX)] {
        let _ = hear(now, &mut seeder, Message::Cancel(Block { begin, len, ..block(0) })).unwrap();
    }
    // Of the run without end, the blocks that it has with the request.
    assert_eq!(seeder.uploads.waiting(), 0);
    let mut stock = opened(now, Kind::Fast, Bitfield::full(PIECES));
    stock.handle_command(now, PeerCommand::Choke(false));
    said(now, &mut stock);
    (0..4).for_each(|number| drop(hear(now, &mut stock, Message::Request(block(number))).unwrap()));
    hear(now, &mut stock, Message::Cancel(run(4))).unwrap();
    assert_eq!(stock.uploads.waiting(), 3);
}

#[test]
fn what_is_written_is_offered_in_slices_of_a_block() {
    let now = test_now();
    let mut seeder = seeder(now, RUN_LEN_MAX);
    hear(now, &mut seeder, Message::Request(run(4))).unwrap();
    assert!(serve(&mut seeder, u32::MAX));
    let mut slices: Vec<IoSlice<'_>> = Vec::new();
    seeder.transmit(&mut slices);
    let lens: Vec<_> = slices.iter().map(|slice| slice.len()).collect();
    assert_eq!(lens, [&[13][..], &[BLOCK_LEN as usize; 4]].concat());
}
