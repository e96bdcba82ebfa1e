//! Each rule of the protocol that a single session keeps.

use proto::MerkleHash;
use proto::peer::{ExtensionHandshake, HashRange};

use super::*;
use crate::limits::session::{KEEP_ALIVE, REQQ, SILENCE};
use crate::test_now;

fn full() -> Bitfield {
    Bitfield::full(PIECES)
}

fn all_but_one() -> Bitfield {
    let mut have = full();
    have.remove(PieceIndex(PIECES - 1));
    have
}

fn empty() -> Bitfield {
    Bitfield::empty(PIECES)
}

fn request(session: &mut Session, numbers: &[u32]) {
    let blocks = numbers.iter().map(|number| block(*number)).collect();
    session.handle_command(test_now(), PeerCommand::Request(blocks));
}

/// A session whose peer has unchoked it.
fn unchoked(kind: Kind) -> Session {
    let mut session = opened(test_now(), kind, empty());
    hear(test_now(), &mut session, Message::Unchoke).unwrap();
    session
}

/// A session that has all and has unchoked its peer.
fn serving(kind: Kind) -> Session {
    let now = test_now();
    let mut session = opened(now, kind, full());
    session.handle_command(now, PeerCommand::Choke(false));
    assert_eq!(said(now, &mut session), ["Unchoke"]);
    session
}

#[test]
fn the_first_words_are_handshake_and_pieces() {
    let now = test_now();
    let start = |kind, have| {
        let mut session = Session::new(now, config(kind));
        session.handle_command(now, torrent(have));
        said(now, &mut session)
    };
    assert_eq!(start(Kind::Plain, empty()), ["Extended(0)"]);
    assert_eq!(start(Kind::Plain, full()), ["Extended(0)", "Bitfield([255])"]);
    assert_eq!(start(Kind::Fast, empty()), ["Extended(0)", "HaveNone"]);
    let some = start(Kind::Fast, all_but_one());
    assert_eq!(some[..2], ["Extended(0)", "Bitfield([254])"]);
    assert!((6..=7).contains(&some.len()), "five pieces, one of which may be missing here");
    assert!(some[2..].iter().all(|said| said.starts_with("AllowedFast")));
    let all = start(Kind::Fast, full());
    assert_eq!(all, ["Extended(0)", "HaveAll"], "a seeder wants nothing, so nobody needs a start");
}

#[test]
fn a_magnet_link_starts_with_nothing_and_tells_later() {
    let now = test_now();
    let mut session = Session::new(now, SessionConfig { metadata_len: None, ..config(Kind::Fast) });
    assert_eq!(said(now, &mut session), ["Extended(0)", "HaveNone"]);
    assert_eq!(hear(now, &mut session, Message::HaveAll), Ok(vec![]));
    assert_eq!(hear(now, &mut session, Message::AllowedFast(PieceIndex(3))), Ok(vec![]));
    let mut have = empty();
    have.insert(PieceIndex(2));
    session.handle_command(now, torrent(have));
    assert_eq!(said(now, &mut session), ["Extended(0)", "Have(PieceIndex(2))"]);
    assert_eq!(
        events(&mut session),
        ["Has(Bitfield(8/8))", "AllowedFast(PieceIndex(3))"].map(str::to_owned)
    );
}

#[test]
fn early_haves_count_once_the_torrent_is_known() {
    let now = test_now();
    let mut session =
        Session::new(now, SessionConfig { metadata_len: None, ..config(Kind::Plain) });
    hear(now, &mut session, Message::Bitfield(&[0x80])).unwrap();
    hear(now, &mut session, Message::Have(PieceIndex(1))).unwrap();
    hear(now, &mut session, Message::Have(PieceIndex(1000))).unwrap();
    session.handle_command(now, torrent(empty()));
    assert_eq!(events(&mut session), ["Has(Bitfield(2/8))"]);
}

#[test]
fn choke_without_fast_drops_every_request() {
    let mut session = unchoked(Kind::Plain);
    request(&mut session, &[0, 1]);
    let heard = hear(test_now(), &mut session, Message::Choke);
    assert_eq!(heard, Ok(vec!["Dropped(0)".into(), "Dropped(1)".into(), "Choked".into()]));
    request(&mut session, &[2]);
    assert_eq!(events(&mut session), ["Dropped(2)"]);
    assert_eq!(session.outstanding(), 0);
}

#[test]
fn choke_with_fast_waits_for_the_rejections() {
    let now = test_now();
    let mut session = unchoked(Kind::Fast);
    request(&mut session, &[0, 1]);
    assert_eq!(hear(now, &mut session, Message::Choke), Ok(vec!["Choked".into()]));
    assert_eq!(session.outstanding(), 2);
    let heard = hear(now, &mut session, Message::Reject(block(1)));
    assert_eq!(heard, Ok(vec!["Rejected(1)".into()]));
    let again = hear(now, &mut session, Message::Reject(block(1)));
    assert_eq!(again, Err(PeerFault::UnsolicitedReject));
}

#[test]
fn allowed_fast_pieces_are_asked_for_while_choked() {
    let now = test_now();
    let mut session = opened(now, Kind::Fast, empty());
    hear(now, &mut session, Message::AllowedFast(PieceIndex(1))).unwrap();
    request(&mut session, &[0, 4]);
    assert_eq!(events(&mut session), ["Dropped(0)"]);
    assert_eq!(said(now, &mut session), ["Request(4)"]);
}

#[test]
fn a_cancel_without_fast_ends_the_request_and_late_data_is_ignored() {
    let now = test_now();
    let mut session = unchoked(Kind::Plain);
    request(&mut session, &[0, 1]);
    session.handle_command(now, PeerCommand::Cancel(block(0)));
    session.handle_command(now, PeerCommand::Cancel(block(0)));
    assert_eq!(events(&mut session), ["Dropped(0)"]);
    assert_eq!(said(now, &mut session), ["Request(0)", "Request(1)", "Cancel(0)"]);
    let late = content(block(0));
    assert_eq!(hear(now, &mut session, Message::Block(block(0), &late)), Ok(vec![]));
    let wanted = content(block(1));
    let heard = hear(now, &mut session, Message::Block(block(1), &wanted));
    assert_eq!(heard, Ok(vec!["Block(1)".into()]));
}

#[test]
fn a_cancel_with_fast_leaves_the_request_until_it_is_answered() {
    let now = test_now();
    let mut session = unchoked(Kind::Fast);
    request(&mut session, &[0]);
    session.handle_command(now, PeerCommand::Cancel(block(0)));
    session.handle_command(now, PeerCommand::Cancel(block(0)));
    assert_eq!(said(now, &mut session), ["Request(0)", "Cancel(0)"]);
    assert_eq!(session.outstanding(), 1);
    let data = content(block(0));
    let heard = hear(now, &mut session, Message::Block(block(0), &data));
    assert_eq!(heard, Ok(vec!["Block(0)".into()]));
    let again = hear(now, &mut session, Message::Block(block(0), &data));
    assert_eq!(again, Err(PeerFault::UnsolicitedBlock));
}

#[test]
fn messages_of_extensions_that_were_not_agreed_on_are_faults() {
    let now = test_now();
    let mut plain = opened(now, Kind::Plain, empty());
    for message in [Message::HaveAll, Message::HaveNone, Message::Reject(block(0))] {
        assert_eq!(hear(now, &mut plain, message), Err(PeerFault::NotFast));
    }
    assert_eq!(hear(now, &mut plain, Message::HashReject(range())), Err(PeerFault::NotV2));
    let mut connected = config(Kind::Plain);
    connected.connected.extended = false;
    let mut bare = Session::new(now, connected);
    assert_eq!(said(now, &mut bare), [""; 0]);
    assert_eq!(hear(now, &mut bare, Message::Extended(0, b"de")), Err(PeerFault::NotExtended));
}

#[test]
fn the_pieces_are_told_once_and_exist() {
    let now = test_now();
    let mut session = opened(now, Kind::Fast, empty());
    assert_eq!(hear(now, &mut session, Message::HaveNone), Ok(vec!["Has(Bitfield(0/8))".into()]));
    assert_eq!(hear(now, &mut session, Message::HaveAll), Err(PeerFault::RepeatedSet));
    let have = Message::Have(PieceIndex(7));
    assert_eq!(hear(now, &mut session, have), Ok(vec!["Have(PieceIndex(7))".into()]));
    assert_eq!(hear(now, &mut session, have), Ok(vec![]), "it said so before");
    let none = hear(now, &mut session, Message::Have(PieceIndex(8)));
    assert_eq!(none, Err(PeerFault::NoSuchPiece(8)));
    let mut other = opened(now, Kind::Plain, empty());
    assert!(hear(now, &mut other, Message::Bitfield(&[1, 0])).is_err());
}

#[test]
fn a_later_bitfield_takes_the_place_of_the_first() {
    let now = test_now();
    for kind in [Kind::Plain, Kind::Fast] {
        let mut session = opened(now, kind, empty());
        for (bits, count) in [(0b1000_0001, 2), (0b1111_0000, 4)] {
            let heard = hear(now, &mut session, Message::Bitfield(&[bits]));
            assert_eq!(heard, Ok(vec![format!("Has(Bitfield({count}/8))")]));
        }
        let have = Message::Have(PieceIndex(7));
        assert_eq!(hear(now, &mut session, have), Ok(vec!["Have(PieceIndex(7))".into()]));
    }
    // Before the torrent is known the last one counts, and the haves after it.
    let mut early = Session::new(now, config(Kind::Plain));
    hear(now, &mut early, Message::Bitfield(&[0xff])).unwrap();
    hear(now, &mut early, Message::Have(PieceIndex(0))).unwrap();
    hear(now, &mut early, Message::Bitfield(&[0b0000_0001])).unwrap();
    hear(now, &mut early, Message::Have(PieceIndex(2))).unwrap();
    early.handle_command(now, torrent(empty()));
    let has = early.remote.has.as_ref().unwrap();
    assert_eq!(has.iter().collect::<Vec<_>>(), [PieceIndex(2), PieceIndex(7)]);
}

#[test]
fn a_choked_peer_gets_no_block() {
    let now = test_now();
    let granted = |session: &Session, number| session.uploads.is_granted(block(number).piece);
    let mut fast = opened(now, Kind::Fast, full());
    let number = (0..PIECES * 4).find(|number| !granted(&fast, *number)).unwrap();
    hear(now, &mut fast, Message::Request(block(number))).unwrap();
    assert!(!serve(&mut fast, u32::MAX));
    assert_eq!(said(now, &mut fast), [format!("Reject({number})")]);
    let mut plain = opened(now, Kind::Plain, full());
    hear(now, &mut plain, Message::Request(block(0))).unwrap();
    assert!(!serve(&mut plain, u32::MAX));
    assert_eq!(said(now, &mut plain), [""; 0]);
}

#[test]
fn a_granted_piece_is_served_while_choked_until_the_grant_is_used_up() {
    let now = test_now();
    let mut session = opened(now, Kind::Fast, all_but_one());
    let granted = |number: &u32| session.uploads.is_granted(block(*number).piece);
    let granted: Vec<u32> = (0..PIECES * 4).filter(granted).collect();
    let number = granted[0];
    let mut blocks = 0;
    loop {
        hear(now, &mut session, Message::Request(block(number))).unwrap();
        if !serve(&mut session, u32::MAX) {
            break;
        }
        blocks += 1;
        assert_eq!(said(now, &mut session), [format!("Block({number})")]);
    }
    assert_eq!(blocks, 2 * granted.len());
    assert_eq!(said(now, &mut session), [format!("Reject({number})")]);
}

#[test]
fn neighbouring_requests_are_one_run() {
    let now = test_now();
    let mut session = serving(Kind::Fast);
    for number in [0, 1, 2, 5] {
        hear(now, &mut session, Message::Request(block(number))).unwrap();
    }
    let run = session.poll_upload(u32::MAX).unwrap();
    assert_eq!(run.span(), Block { len: 3 * BLOCK_LEN, ..block(0) });
    session.upload_ready(run, content(Block { len: 3 * BLOCK_LEN, ..block(0) }));
    assert!(serve(&mut session, u32::MAX));
    assert_eq!(said(now, &mut session), ["Block(0)", "Block(1)", "Block(2)", "Block(5)"]);
    let sent = format!("Sent({})", 4 * BLOCK_LEN);
    assert_eq!(events(&mut session), [sent, "Waiting(false)".to_owned()]);
    assert!(session.take_spent_buffer().is_some(), "its buffer is used again");
}

#[test]
fn a_run_that_cannot_be_read_is_rejected() {
    let now = test_now();
    let mut session = serving(Kind::Fast);
    let heard = hear(now, &mut session, Message::Request(block(0)));
    assert_eq!(heard, Ok(vec!["Waiting(true)".into()]));
    let run = session.poll_upload(u32::MAX).unwrap();
    session.upload_failed(run);
    assert_eq!(said(now, &mut session), ["Reject(0)"]);
    assert_eq!(events(&mut session), ["Waiting(false)"]);
}

#[test]
fn a_choke_ends_what_is_queued_read_and_not_begun() {
    let now = test_now();
    let mut session = serving(Kind::Fast);
    let granted = |session: &Session, number| session.uploads.is_granted(block(number).piece);
    let ungranted: Vec<_> =
        (0..PIECES * 4).filter(|number| !granted(&session, *number)).take(3).collect();
    for number in &ungranted {
        hear(now, &mut session, Message::Request(block(*number))).unwrap();
    }
    assert!(serve(&mut session, 1));
    let reading = session.poll_upload(1).unwrap();
    session.handle_command(now, PeerCommand::Choke(true));
    assert!(session.poll_upload(1).is_none(), "a choke is about to be told");
    let rejects = |number: &u32| format!("Reject({number})");
    let [ready, _, queued] = ungranted[..] else { panic!("three are not granted") };
    assert_eq!(said(now, &mut session), ["Choke".to_owned(), rejects(&ready), rejects(&queued)]);
    let data = content(reading.span());
    session.upload_ready(reading, data);
    assert_eq!(said(now, &mut session), [rejects(&ungranted[1])]);
}

#[test]
fn flags_that_change_back_are_not_told() {
    let now = test_now();
    let mut session = serving(Kind::Fast);
    hear(now, &mut session, Message::Request(block(0))).unwrap();
    for flag in [true, false, true, false] {
        session.handle_command(now, PeerCommand::Choke(flag));
        session.handle_command(now, PeerCommand::Interest(flag));
    }
    assert_eq!(said(now, &mut session), [""; 0]);
    assert!(serve(&mut session, u32::MAX), "the request outlives a choke that was not told");
    session.handle_command(now, PeerCommand::Interest(true));
    assert_eq!(said(now, &mut session), ["Interested", "Block(0)"]);
}

#[test]
fn more_requests_than_advertised_are_refused() {
    let now = test_now();
    let mut session = serving(Kind::Fast);
    for _ in 0..=REQQ {
        hear(now, &mut session, Message::Request(block(0))).unwrap();
    }
    assert_eq!(said(now, &mut session), ["Reject(0)"]);
    let flood = (0..3 * REQQ)
        .try_for_each(|_| hear(now, &mut session, Message::Request(block(0))).map(drop));
    assert_eq!(flood, Err(PeerFault::Flood));
}

#[test]
fn impossible_requests_are_faults() {
    let now = test_now();
    for bad in [
        Block { len: BLOCK_LEN + 1, ..block(0) },
        Block { len: 0, ..block(0) },
        Block { begin: 4 * BLOCK_LEN, ..block(0) },
        block(PIECES * 4),
    ] {
        let mut session = serving(Kind::Fast);
        assert_eq!(hear(now, &mut session, Message::Request(bad)), Err(PeerFault::BadRequest));
    }
}

#[test]
fn a_lost_piece_is_no_longer_served_and_told() {
    let now = test_now();
    let mut session = serving(Kind::Fast);
    let mut payload = Vec::new();
    ExtensionHandshake { lt_donthave: Some(9), ..Default::default() }.encode(&mut payload);
    hear(now, &mut session, Message::Extended(0, &payload)).unwrap();
    hear(now, &mut session, Message::Request(block(0))).unwrap();
    session.handle_command(now, PeerCommand::Lost(PieceIndex(0)));
    assert_eq!(said(now, &mut session), ["Reject(0)", "Extended(9)"]);
    session.handle_command(now, PeerCommand::Have(PieceIndex(0)));
    session.handle_command(now, PeerCommand::Lost(PieceIndex(0)));
    assert_eq!(said(now, &mut session), [""; 0]);
}

#[test]
fn haves_are_told_once_and_to_those_that_have_the_piece_too() {
    let now = test_now();
    let mut session = opened(now, Kind::Fast, empty());
    hear(now, &mut session, Message::Have(PieceIndex(1))).unwrap();
    for piece in [0, 1, 0] {
        session.handle_command(now, PeerCommand::Have(PieceIndex(piece)));
    }
    assert_eq!(said(now, &mut session), ["Have(PieceIndex(0))", "Have(PieceIndex(1))"]);
}

#[test]
fn an_idle_connection_is_kept_alive_and_a_silent_peer_given_up() {
    let start = test_now();
    let mut session = opened(start, Kind::Fast, empty());
    assert_eq!(session.poll_timeout(), Some(start + KEEP_ALIVE));
    let now = start + KEEP_ALIVE;
    assert_eq!(session.handle_timeout(now), Ok(()));
    assert_eq!(said(now, &mut session), ["KeepAlive"]);
    assert_eq!(session.poll_timeout(), Some(start + SILENCE));
    assert_eq!(session.handle_timeout(start + SILENCE), Err(PeerFault::Timeout));
}

#[test]
fn a_peer_that_does_not_read_is_given_up() {
    let start = test_now();
    let mut session = opened(start, Kind::Fast, empty());
    session.handle_command(start, PeerCommand::RequestMetadata(0));
    hear(start, &mut session, Message::Unchoke).unwrap();
    request(&mut session, &[0]);
    session.handle_bytes(start, &[]).unwrap();
    let late = start + SILENCE;
    session.stalled_since = Some(start);
    session.handle_bytes(late, &[0; 4]).unwrap();
    assert_eq!(session.handle_timeout(late), Err(PeerFault::NotReading));
}

pub(super) fn range() -> HashRange {
    HashRange { root: MerkleHash([3; 32]), base: 0, index: 0, length: 4, proof_layers: 2 }
}

#[test]
fn hashes_must_answer_a_request() {
    let now = test_now();
    let mut session = opened(now, Kind::FastV2, empty());
    let answer = |count: usize| vec![5; 32 * count];
    session.handle_command(now, PeerCommand::RequestHashes(range()));
    let bytes = answer(5);
    let heard = hear(now, &mut session, Message::Hashes(range(), &bytes)).unwrap();
    assert!(heard[0].starts_with("Hashes("));
    let again = hear(now, &mut session, Message::Hashes(range(), &bytes));
    assert_eq!(again, Err(PeerFault::UnsolicitedHashes));
    for count in [3, 7] {
        session.handle_command(now, PeerCommand::RequestHashes(range()));
        let bytes = answer(count);
        let heard = hear(now, &mut session, Message::Hashes(range(), &bytes));
        assert_eq!(heard, Err(PeerFault::UnsolicitedHashes));
    }
}

#[test]
fn a_v1_connection_rejects_our_own_hash_requests() {
    let now = test_now();
    let mut session = opened(now, Kind::Fast, empty());
    session.handle_command(now, PeerCommand::RequestHashes(range()));
    assert!(events(&mut session)[0].starts_with("HashesRejected"));
    assert_eq!(said(now, &mut session), [""; 0]);
}

#[test]
fn invalid_hash_requests_are_rejected_and_valid_ones_passed_on() {
    let now = test_now();
    let mut session = opened(now, Kind::FastV2, full());
    let odd = HashRange { length: 3, ..range() };
    assert_eq!(hear(now, &mut session, Message::HashRequest(odd)), Ok(vec![]));
    assert!(said(now, &mut session)[0].starts_with("HashReject"));
    let heard = hear(now, &mut session, Message::HashRequest(range())).unwrap();
    assert!(heard[0].starts_with("HashesRequested"));
    let hashes = Some(vec![MerkleHash([1; 32]); 4]);
    session.handle_command(now, PeerCommand::Hashes(range(), hashes.clone()));
    session.handle_command(now, PeerCommand::Hashes(range(), hashes));
    assert_eq!(said(now, &mut session).len(), 1, "one request, one answer");
}

#[test]
fn the_port_of_our_dht_node_follows_what_we_have_and_only_by_agreement() {
    let now = test_now();
    let start = |dht, metadata_len| {
        let mut settings = SessionConfig { dht_port: Some(6881), ..config(Kind::Fast) };
        settings.connected.dht = dht;
        settings.metadata_len = settings.metadata_len.filter(|_| metadata_len);
        let mut session = Session::new(now, settings);
        session.handle_command(now, torrent(empty()));
        said(now, &mut session)
    };
    assert_eq!(start(true, true), ["Extended(0)", "HaveNone", "Port(6881)"]);
    assert_eq!(start(false, true), ["Extended(0)", "HaveNone"]);
    let magnet = start(true, false);
    assert_eq!(magnet.iter().filter(|said| said.starts_with("Port")).count(), 1);
}

#[test]
fn a_peers_dht_port_counts_once_and_only_by_agreement() {
    let now = test_now();
    let told = |dht| {
        let mut settings = config(Kind::Fast);
        settings.connected.dht = dht;
        let mut session = Session::new(now, settings);
        let ports = [0, 7000, 7001].map(Message::Port);
        ports.map(|port| hear(now, &mut session, port).unwrap()).concat()
    };
    assert_eq!(told(true), ["DhtPort(7000)"]);
    assert!(told(false).is_empty());
}

#[test]
fn last_piece_is_told_before_the_end_of_all_wishes() {
    let now = test_now();
    let mut session = opened(now, Kind::Fast, empty());
    let mut payload = Vec::new();
    ExtensionHandshake { upload_only_id: Some(7), ..Default::default() }.encode(&mut payload);
    hear(now, &mut session, Message::Extended(0, &payload)).unwrap();
    session.handle_command(now, PeerCommand::Have(PieceIndex(0)));
    session.handle_command(now, PeerCommand::UploadOnly(true));
    assert_eq!(said(now, &mut session), ["Have(PieceIndex(0))", "Extended(7)"]);
}
