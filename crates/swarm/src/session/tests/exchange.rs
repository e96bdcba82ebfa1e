//! Metadata between two sessions, and limits of what is told.

use std::net::SocketAddr;

use proto::peer::extension::local;
use proto::peer::{ExtensionHandshake, HolePunch, MetadataMessage, PeerExchange, PeerFlags};

use super::*;
use crate::test_now;

/// Carries all that either session writes to the other.
fn carry(now: Instant, a: &mut Session, b: &mut Session) {
    loop {
        let (to_b, to_a) = (written(now, a), written(now, b));
        if to_a.is_empty() && to_b.is_empty() {
            return;
        }
        b.handle_bytes(now, &to_b).unwrap();
        a.handle_bytes(now, &to_a).unwrap();
    }
}

#[test]
fn a_magnet_link_gets_the_info_dictionary_from_a_peer() {
    let now = test_now();
    let mut seeder = Session::new(now, config(Kind::Fast));
    seeder.handle_command(now, torrent(Bitfield::full(PIECES)));
    let mut fetcher = Session::new(now, SessionConfig { metadata_len: None, ..config(Kind::Fast) });
    carry(now, &mut seeder, &mut fetcher);
    let told = events(&mut fetcher);
    assert!(
        told[0].contains("client: Some(\"Teem/test\")") && told[0].contains("reqq: Some(2000)")
    );
    fetcher.handle_command(now, PeerCommand::RequestMetadata(0));
    fetcher.handle_command(now, PeerCommand::RequestMetadata(1));
    assert_eq!(events(&mut fetcher), ["MetadataRejected(1)"], "there is one part only");
    carry(now, &mut seeder, &mut fetcher);
    let mut got = Vec::new();
    fetcher.poll_events(&mut got);
    let [PeerEvent::Metadata(0, part)] = &got[..] else { panic!("{got:?}") };
    assert_eq!(part.as_slice(), &info().raw()[..]);
}

fn with_metadata(now: Instant) -> Session {
    let mut session = Session::new(now, SessionConfig { metadata_len: None, ..config(Kind::Fast) });
    let mut payload = Vec::new();
    let handshake = ExtensionHandshake {
        ut_metadata: Some(4),
        metadata_len: Some(20_000),
        ..Default::default()
    };
    handshake.encode(&mut payload);
    hear(now, &mut session, Message::Extended(0, &payload)).unwrap();
    session
}

fn metadata(part: u32, total_len: u32, data: &[u8]) -> Vec<u8> {
    let mut payload = Vec::new();
    MetadataMessage::Data { part, total_len: Some(total_len), data }.encode(&mut payload);
    payload
}

#[test]
fn metadata_of_another_length_is_a_fault() {
    let now = test_now();
    for (len, total_len) in [(3615, 20_000), (3617, 20_000), (3616, 20_001)] {
        let mut session = with_metadata(now);
        session.handle_command(now, PeerCommand::RequestMetadata(1));
        let payload = metadata(1, total_len, &vec![0; len]);
        let heard = hear(now, &mut session, Message::Extended(1, &payload));
        assert_eq!(heard, Err(PeerFault::BadMetadata), "{len} of {total_len}");
    }
    let mut session = with_metadata(now);
    let payload = metadata(1, 20_000, &[0; 3616]);
    let unasked = hear(now, &mut session, Message::Extended(1, &payload));
    assert_eq!(unasked, Ok(vec![]), "ignored when not asked for");
}

#[test]
fn a_peer_without_metadata_rejects_at_once() {
    let now = test_now();
    let mut session = Session::new(now, SessionConfig { metadata_len: None, ..config(Kind::Fast) });
    session.handle_command(now, PeerCommand::RequestMetadata(0));
    assert_eq!(events(&mut session), ["MetadataRejected(0)"]);
}

#[test]
fn metadata_is_given_a_bounded_number_of_times() {
    let now = test_now();
    let mut session = opened(now, Kind::Fast, Bitfield::full(PIECES));
    let mut payload = Vec::new();
    ExtensionHandshake { ut_metadata: Some(4), ..Default::default() }.encode(&mut payload);
    hear(now, &mut session, Message::Extended(0, &payload)).unwrap();
    let mut ask = Vec::new();
    MetadataMessage::Request(0).encode(&mut ask);
    let mut lens = Vec::new();
    for _ in 0..5 {
        hear(now, &mut session, Message::Extended(1, &ask)).unwrap();
        lens.push(written(now, &mut session).len() > info().raw().len());
    }
    assert_eq!(lens, [true, true, true, false, false]);
}

#[test]
fn upload_only_is_told_when_it_changes() {
    let now = test_now();
    let (mut a, mut b) =
        (opened(now, Kind::Fast, Bitfield::empty(PIECES)), Session::new(now, config(Kind::Fast)));
    let mut payload = Vec::new();
    ExtensionHandshake { upload_only_id: Some(3), ..Default::default() }.encode(&mut payload);
    hear(now, &mut a, Message::Extended(0, &payload)).unwrap();
    a.handle_command(now, PeerCommand::UploadOnly(true));
    let bytes = written(now, &mut a);
    b.handle_bytes(now, &bytes).unwrap();
    assert!(events(&mut b)[0].contains("upload_only: true"));
    a.handle_command(now, PeerCommand::UploadOnly(true));
    assert_eq!(said(now, &mut a), [""; 0]);
}

#[test]
fn peers_hear_of_each_other_once_both_know_that_they_may() {
    let now = test_now();
    let addr = SocketAddr::from(([20, 0, 0, 1], 6881));
    let message = PeerExchange { added: vec![(addr, PeerFlags::default())], dropped: Vec::new() };
    let torrent = |exchange| PeerCommand::Torrent {
        geometry: geometry(),
        info: info(),
        have: Bitfield::empty(PIECES),
        exchange,
        punch: false,
    };
    for (ours, theirs) in [(true, true), (true, false), (false, true), (false, false)] {
        let mut a = Session::new(now, SessionConfig { exchange: ours, ..config(Kind::Fast) });
        let magnet = SessionConfig { metadata_len: None, ..config(Kind::Fast) };
        let mut b = Session::new(now, magnet);
        a.handle_command(now, torrent(ours));
        carry(now, &mut a, &mut b);
        a.handle_command(now, PeerCommand::Exchange(message.clone()));
        assert_eq!(said(now, &mut a), [""; 0], "a magnet link's torrent may be private");
        b.handle_command(now, torrent(theirs));
        carry(now, &mut a, &mut b);
        events(&mut b);
        a.handle_command(now, PeerCommand::Exchange(message.clone()));
        carry(now, &mut a, &mut b);
        assert_eq!(events(&mut b).len(), usize::from(ours && theirs), "{ours} {theirs}");
    }
}

#[test]
fn peers_are_brought_together_once_both_know_that_they_may() {
    let now = test_now();
    let message = HolePunch::Connect(SocketAddr::from(([20, 0, 0, 1], 6881)));
    let torrent = |punch| PeerCommand::Torrent {
        geometry: geometry(),
        info: info(),
        have: Bitfield::empty(PIECES),
        exchange: false,
        punch,
    };
    for (ours, theirs) in [(true, true), (true, false), (false, true), (false, false)] {
        let mut a = Session::new(now, SessionConfig { punch: ours, ..config(Kind::Fast) });
        let magnet = SessionConfig { metadata_len: None, ..config(Kind::Fast) };
        let mut b = Session::new(now, magnet);
        a.handle_command(now, torrent(ours));
        carry(now, &mut a, &mut b);
        a.handle_command(now, PeerCommand::HolePunch(message));
        assert_eq!(said(now, &mut a), [""; 0], "a magnet link's torrent may be private");
        b.handle_command(now, torrent(theirs));
        carry(now, &mut a, &mut b);
        let told = events(&mut a).pop().unwrap_or_default();
        assert_eq!(told.contains("punches: true"), theirs, "{told}");
        events(&mut b);
        a.handle_command(now, PeerCommand::HolePunch(message));
        carry(now, &mut a, &mut b);
        let expected: &[_] =
            if ours && theirs { &[format!("HolePunch({message:?})")] } else { &[] };
        assert_eq!(events(&mut b), expected, "{ours} {theirs}");
    }
}

#[test]
fn hole_punching_that_was_not_agreed_on_is_ignored_and_a_broken_message_is_a_fault() {
    let now = test_now();
    let broken = Message::Extended(local::HOLE_PUNCH, b"x");
    let mut silent = opened(now, Kind::Fast, Bitfield::empty(PIECES));
    assert_eq!(hear(now, &mut silent, broken), Ok(vec![]));
    let mut open = Session::new(now, SessionConfig { punch: true, ..config(Kind::Fast) });
    assert!(hear(now, &mut open, broken).is_err());
}

#[test]
fn an_exchange_that_was_not_agreed_on_is_ignored_and_a_broken_one_is_a_fault() {
    let now = test_now();
    let broken = Message::Extended(local::EXCHANGE, b"x");
    let mut silent = opened(now, Kind::Fast, Bitfield::empty(PIECES));
    assert_eq!(hear(now, &mut silent, broken), Ok(vec![]));
    let mut open = Session::new(now, SessionConfig { exchange: true, ..config(Kind::Fast) });
    assert!(hear(now, &mut open, broken).is_err());
}
