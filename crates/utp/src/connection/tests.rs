use proto::utp::Header;

use super::*;
use crate::test_now;

const PEER: ([u8; 4], u16) = ([10, 0, 0, 1], 6881);

/// A connection whose packets are numbered from 100, the peer's from 1, and that has sent so many bytes.
fn sent(now: Instant, len: usize) -> Connection {
    let mut connection = Connection::incoming(now, PEER.into(), 7, Seq(100), Seq(0));
    connection.write(&[IoSlice::new(&vec![1; len])]).unwrap();
    while connection.poll_transmit(now, 0, &mut Vec::new(), &mut Vec::new()).is_some() {}
    connection
}

fn handle(connection: &mut Connection, now: Instant, kind: Kind, seq: u16, ack: u16, window: u32) {
    let (seq, ack, connection_id) = (Seq(seq), Seq(ack), connection.receive_id);
    let header = Header { kind, connection_id, sent_micros: 0, delay_micros: 0, window, seq, ack };
    let payload: &[u8] = if kind == Kind::Data { b"payload" } else { b"" };
    connection.handle_packet(now, 0, &Packet { header, sack: None, payload }, true);
}

#[test]
fn window_of_an_overtaken_packet_is_ignored() {
    let now = test_now();
    let mut connection = sent(now, 3_000);
    handle(&mut connection, now, Kind::State, 1, 100, 50_000);
    handle(&mut connection, now, Kind::State, 1, 99, 0);
    assert_eq!(connection.peer_window, 50_000);
    handle(&mut connection, now, Kind::State, 1, 100, 40_000);
    assert_eq!(connection.peer_window, 40_000);
}

#[test]
fn stream_that_says_little_after_a_busy_time_holds_little() {
    let mut now = test_now();
    let mut connection = sent(now, 0);
    connection.write(&[IoSlice::new(&[1; 200_000])]).unwrap();
    while connection.outgoing.len() > 0 {
        while connection.poll_transmit(now, 0, &mut Vec::new(), &mut Vec::new()).is_some() {}
        now += Duration::from_millis(10);
        let ack = connection.outgoing.next_seq().minus(1).0;
        handle(&mut connection, now, Kind::State, 1, ack, 1_000_000);
    }
    for seq in 1..=3_000 {
        handle(&mut connection, now, Kind::Data, seq, 99, 1_000_000);
    }
    let held =
        |connection: &Connection| connection.outgoing.allocated() + connection.incoming.allocated();
    assert_eq!(connection.read(&mut [IoSliceMut::new(&mut [0; 100_000])]), Ok(Some(21_000)));
    assert!(held(&connection) > 200_000);
    // One short message a second both ways: it is never idle.
    for seq in 3_001..=3_030 {
        connection.write(&[IoSlice::new(b"have")]).unwrap();
        while connection.poll_transmit(now, 0, &mut Vec::new(), &mut Vec::new()).is_some() {}
        now += Duration::from_secs(1);
        let ack = connection.outgoing.next_seq().minus(1).0;
        handle(&mut connection, now, Kind::Data, seq, ack, 1_000_000);
        connection.read(&mut [IoSliceMut::new(&mut [0; 100])]).unwrap();
        connection.handle_timeout(now);
    }
    assert!(held(&connection) < 10_000, "{}", held(&connection));
}

#[test]
fn read_without_room_does_not_wait() {
    let now = test_now();
    let mut connection = sent(now, 0);
    handle(&mut connection, now, Kind::Data, 1, 99, 50_000);
    for slices in [&mut [][..], &mut [IoSliceMut::new(&mut []), IoSliceMut::new(&mut [])]] {
        assert_eq!(connection.read(slices), Ok(Some(0)));
        assert!(!connection.is_ready());
    }
    assert_eq!(connection.read(&mut [IoSliceMut::new(&mut [0; 100])]), Ok(Some(7)));
}

#[test]
fn bytes_that_overtake_the_answer_to_a_syn_begin_nothing() {
    let now = test_now();
    let mut connection = Connection::outgoing(now, PEER.into(), 7, Seq(100));
    assert!(connection.poll_transmit(now, 0, &mut Vec::new(), &mut Vec::new()).is_some());
    handle(&mut connection, now, Kind::Data, 3, 100, 50_000);
    assert!(matches!(connection.state, State::SynSent { .. }));
    handle(&mut connection, now, Kind::State, 1, 100, 50_000);
    assert_eq!((connection.state, connection.incoming.last()), (State::Connected, Seq(0)));
}

/// The window that the next packet tells of.
fn told_window(connection: &mut Connection, now: Instant) -> Option<u32> {
    let mut out = Vec::new();
    connection.poll_transmit(now, 0, &mut Vec::new(), &mut out)?;
    Some(Packet::decode(&out).unwrap().header.window)
}

#[test]
fn peer_whose_packets_always_queue_is_asked_to_pause_and_told_when_to_go_on() {
    let start = test_now();
    let mut connection = sent(start, 0);
    let (mut now, mut seq) = (start, 1);
    let mut come = |connection: &mut Connection, now: Instant, queued: u32| {
        let micros = now.duration_since(start).as_micros() as u32;
        let header = Header {
            kind: Kind::Data,
            connection_id: connection.receive_id,
            sent_micros: micros.wrapping_sub(queued),
            delay_micros: 0,
            window: 50_000,
            seq: Seq(seq),
            ack: Seq(99),
        };
        seq += 1;
        connection.handle_packet(now, micros, &Packet { header, sack: None, payload: b"x" }, true);
    };
    come(&mut connection, now, 1_000);
    while now < start + Duration::from_secs(29) {
        now += Duration::from_millis(500);
        come(&mut connection, now, 90_000);
        assert!(told_window(&mut connection, now).is_none_or(|window| window > 100_000));
    }
    for _ in 0..2 {
        now = start + Duration::from_secs(30);
        come(&mut connection, now, 90_000);
    }
    assert_eq!(told_window(&mut connection, now), Some(OFFERED_SLOW as u32));
    let ends = connection.their_slowdown.poll_timeout().unwrap();
    connection.handle_timeout(ends);
    assert!(told_window(&mut connection, ends).unwrap() > 100_000, "said at once");
}
