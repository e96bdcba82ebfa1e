//! Strangers that forge, flood and guess.

use std::net::SocketAddr;
use std::time::Duration;

use chance::Chance;
use proptest::prelude::*;
use proto::utp::{Header, Kind, Packet, Seq};
use utp::limits::{EARLY_LEN_TOTAL, HALF_OPEN_MAX, HALF_OPEN_PER_SOURCE, REPLIES_PER_SECOND};

use crate::link::Path;
use crate::world::{World, addr};

fn packet(kind: Kind, connection_id: u16, seq: u16, ack: u16, payload: &[u8]) -> Vec<u8> {
    let (seq, ack) = (Seq(seq), Seq(ack));
    let header =
        Header { kind, connection_id, sent_micros: 1, delay_micros: 1, window: 9_999, seq, ack };
    let mut bytes = Vec::new();
    header.encode(&[], &mut bytes);
    bytes.extend_from_slice(payload);
    bytes
}

/// A world in which 0 sends to 1.
fn busy(seed: u64) -> World {
    let path = Path::clean(10).with_rate(1_000_000, 1_000_000);
    let mut world = World::new(seed, 2, path, Path::clean(10));
    world.connect(0, 1, 1_500_000);
    world.run_for(Duration::from_millis(300));
    assert!(world.received(1) > 0 && world.received(1) < 1_500_000);
    world
}

/// All that the endpoint has to say to strangers, without any time passing.
fn answers(world: &mut World, to: SocketAddr) -> Vec<Vec<u8>> {
    let (mut all, now) = (Vec::new(), world.now);
    let mut out = Vec::new();
    while let Some(transmit) = world.nodes[1].endpoint.poll_transmit(now, &mut out) {
        if transmit.to == to {
            all.push(out.clone());
        }
        out.clear();
    }
    all
}

#[test]
fn flood_of_syns_holds_little_and_answers_no_more_than_it_hears() {
    let mut world = World::new(1, 2, Path::clean(10), Path::clean(10));
    let (mut chance, now) = (Chance::new(1), world.now);
    let mut heard = 0;
    let mut out = Vec::new();
    for _ in 0..100_000 {
        let from: SocketAddr = ((chance.number() as u32).to_be_bytes(), 1).into();
        let syn = packet(Kind::Syn, chance.number() as u16, 1, 0, &[]);
        heard += syn.len();
        world.nodes[1].endpoint.handle_datagram(now, from, &syn);
        while world.nodes[1].endpoint.poll_transmit(now, &mut out).is_some() {}
    }
    assert!(out.len() <= heard && out.len() <= 20 * REPLIES_PER_SECOND as usize);
    let stats = world.nodes[1].endpoint.stats();
    assert_eq!((stats.connections, stats.half_open), (0, HALF_OPEN_MAX));
    // Real peers still get in.
    world.now += Duration::from_secs(2);
    world.connect(0, 1, 1_000);
    world.run_until(Duration::from_secs(10), |world| world.received(1) == 1_000);
}

#[test]
fn one_host_cannot_hold_all_places() {
    let mut world = World::new(2, 2, Path::clean(10), Path::clean(10));
    for id in 0..2_000 {
        let from = SocketAddr::from(([9, 9, 9, 9], id));
        world.inject(1, from, &packet(Kind::Syn, id, 1, 0, &[]));
    }
    assert_eq!(world.nodes[1].endpoint.stats().half_open, HALF_OPEN_PER_SOURCE);
}

#[test]
fn stranger_must_show_our_number_before_it_counts() {
    let mut world = World::new(3, 2, Path::clean(10), Path::clean(10));
    let (now, stranger) = (world.now, SocketAddr::from(([9, 9, 9, 9], 9)));
    world.nodes[1].endpoint.handle_datagram(now, stranger, &packet(Kind::Syn, 50, 7, 0, &[]));
    let answer = answers(&mut world, stranger).remove(0);
    let ours = Packet::decode(&answer).unwrap().header.seq;
    for wrong in [5, 100, 20_000] {
        let data = packet(Kind::Data, 51, 8, ours.plus(wrong).0, b"hello");
        world.nodes[1].endpoint.handle_datagram(now, stranger, &data);
        assert_eq!(world.nodes[1].endpoint.stats().connections, 0);
    }
    let data = packet(Kind::Data, 51, 8, ours.minus(1).0, b"hello");
    world.nodes[1].endpoint.handle_datagram(now, stranger, &data);
    assert_eq!(world.nodes[1].endpoint.stats().connections, 1);
}

#[test]
fn places_for_packets_that_never_come_are_bounded() {
    let mut world = World::new(8, 2, Path::clean(10), Path::clean(10));
    let now = world.now;
    let mut keys = Vec::new();
    for port in 1..=400 {
        let stranger = SocketAddr::from(([9, 9, 9, 9], port));
        world.nodes[1].endpoint.handle_datagram(now, stranger, &packet(Kind::Syn, 50, 7, 0, &[]));
        let answer = answers(&mut world, stranger).remove(0);
        let ours = Packet::decode(&answer).unwrap().header.seq.minus(1).0;
        let endpoint = &mut world.nodes[1].endpoint;
        for seq in [8, 8_000] {
            endpoint.handle_datagram(now, stranger, &packet(Kind::Data, 51, seq, ours, b"x"));
        }
        keys.extend(endpoint.poll_accept().map(|(key, _)| key));
    }
    let endpoint = &mut world.nodes[1].endpoint;
    assert_eq!(keys.len(), 400);
    let held = endpoint.stats().early_len;
    assert!((EARLY_LEN_TOTAL..EARLY_LEN_TOTAL + 1_000_000).contains(&held), "{held}");
    for key in keys {
        endpoint.close(now, key);
    }
    assert!(endpoint.stats().early_len < held);
}

#[test]
fn packet_of_no_connection_is_answered_with_a_reset() {
    let mut world = World::new(4, 2, Path::clean(10), Path::clean(10));
    let (now, stranger) = (world.now, SocketAddr::from(([9, 9, 9, 9], 9)));
    world.nodes[1].endpoint.handle_datagram(now, stranger, &packet(Kind::Data, 7, 77, 3, b"x"));
    let answer = answers(&mut world, stranger).remove(0);
    let header = Packet::decode(&answer).unwrap().header;
    assert_eq!((header.kind, header.connection_id, header.ack), (Kind::Reset, 7, Seq(77)));
    // A RESET is not answered: two hosts would never stop.
    world.nodes[1].endpoint.handle_datagram(now, stranger, &packet(Kind::Reset, 7, 77, 3, &[]));
    assert!(answers(&mut world, stranger).is_empty());
}

#[test]
fn resets_and_acknowledgements_out_of_the_window_are_ignored() {
    let mut world = busy(5);
    let mut ids = 0;
    // The forger knows both addresses but not the numbers; it guesses ids and stays off the window,
    // which it would have to hit as well.
    for id in 0..=u16::MAX {
        for kind in [Kind::Reset, Kind::State, Kind::Data] {
            let far = packet(kind, id, 0x1234, 0x4321, b"forged");
            let now = world.now;
            let before = world.nodes[0].endpoint.stats().connections;
            world.nodes[0].endpoint.handle_datagram(now, addr(1), &far);
            ids += usize::from(before != world.nodes[0].endpoint.stats().connections);
        }
    }
    assert_eq!(ids, 0);
    world.run_until(Duration::from_secs(60), |world| world.received(1) == 1_500_000);
    assert!(world.nodes[0].owners[0].failed.is_none());
}

#[test]
fn peer_without_that_connection_ends_it_at_once() {
    let mut world = busy(6);
    let config = utp::Config { seed: [99; 16], accepts: true };
    world.nodes[1].endpoint = utp::Endpoint::new(world.now, config);
    world.nodes[1].owners.clear();
    world.run_until(Duration::from_secs(1), |world| world.nodes[0].owners[0].failed.is_some());
}

#[test]
fn refusal_ends_an_attempt_at_once() {
    let mut world = World::new(7, 2, Path::clean(10), Path::clean(10));
    let config = utp::Config { seed: [99; 16], accepts: false };
    world.nodes[1].endpoint = utp::Endpoint::new(world.now, config);
    world.connect(0, 1, 1);
    world.run_until(Duration::from_secs(1), |world| {
        world.nodes[0].owners[0].failed == Some(utp::Ended::Refused)
    });
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 32, ..ProptestConfig::default() })]

    #[test]
    fn endpoint_survives_any_packets(
        seed in any::<u64>(),
        packets in prop::collection::vec(
            (0_u8..5, 0_u16..4, 0_u16..4, 0_u16..4, 0_usize..3_000, 0_u64..3_000),
            1..200,
        ),
    ) {
        let mut world = World::new(seed, 2, Path::clean(10), Path::clean(10));
        let stranger = SocketAddr::from(([10, 0, 0, 1], 6881));
        let mut ours = 0;
        for (kind, id, seq, ack, len, wait) in packets {
            let kind = [Kind::Data, Kind::Fin, Kind::State, Kind::Reset, Kind::Syn][usize::from(kind)];
            let bytes = packet(kind, 100 + id, seq, seq.wrapping_add(ours).wrapping_add(ack), &vec![0; len]);
            let now = world.now;
            world.nodes[1].endpoint.handle_datagram(now, stranger, &bytes);
            for answer in answers(&mut world, stranger) {
                ours = Packet::decode(&answer).unwrap().header.seq.0;
            }
            world.now += Duration::from_millis(wait);
            let now = world.now;
            world.nodes[1].endpoint.handle_timeout(now);
            prop_assert!(world.nodes[1].endpoint.stats().connections <= 5);
        }
    }
}
