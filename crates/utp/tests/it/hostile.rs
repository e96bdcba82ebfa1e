//! Strangers that forge, flood and guess.

use std::io::{IoSlice, IoSliceMut};
use std::net::SocketAddr;
use std::time::Duration;

use chance::Chance;
use proptest::prelude::*;
use proto::utp::{Header, Kind, Packet, Seq};
use utp::limits::{
    EARLY_LEN_TOTAL, EARLY_PACKETS_MAX, EARLY_SLOT_LEN, HALF_OPEN_MAX, HALF_OPEN_PER_SOURCE,
    RECEIVE_LEN_MIN, REPLIES_PER_SECOND,
};

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
    let key = world.nodes[0].owners[0].key;
    // The forger knows both addresses but not the numbers; it guesses ids and stays off the window,
    // which it would have to hit as well.
    for id in 0..=u16::MAX {
        for kind in [Kind::Reset, Kind::State, Kind::Data] {
            let far = packet(kind, id, 0x1234, 0x4321, b"forged");
            let now = world.now;
            world.nodes[0].endpoint.handle_datagram(now, addr(1), &far);
            assert_eq!(world.nodes[0].endpoint.ended(key), None, "{kind:?} {id}");
        }
    }
    world.run_until(Duration::from_secs(60), |world| world.received(1) == 1_500_000);
    assert!(world.nodes[0].owners[0].failed.is_none());
}

#[test]
fn reset_in_the_window_ends_the_stream() {
    let mut world = busy(5);
    let (key, now) = (world.nodes[0].owners[0].key, world.now);
    let said = world.nodes[0].said.unwrap();
    for (id, ack, ends) in [
        (said.connection_id, said.seq.plus(2), false),
        (said.connection_id.wrapping_add(1), said.seq, false),
        (said.connection_id, said.seq, true),
    ] {
        let reset = packet(Kind::Reset, id, 0, ack.0, &[]);
        world.nodes[0].endpoint.handle_datagram(now, addr(1), &reset);
        let ended = world.nodes[0].endpoint.ended(key);
        assert_eq!(ended, ends.then_some(utp::Ended::Reset));
    }
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

/// What a stranger with a connection sends, in terms of the numbers that it was told.
#[derive(Debug, Clone)]
struct Odd {
    kind: Kind,
    /// From the id that is right, and from the numbers that would come next.
    id: u16,
    seq: u16,
    ack: u16,
    window: u32,
    sack: Vec<u8>,
    len: usize,
    /// What the owner of the stream does before, and how many milliseconds it takes.
    owner: u8,
    wait: u64,
}

fn odd() -> impl Strategy<Value = Odd> {
    // Nearly always what may be, so that what follows meets a connection that stands.
    let kind = prop_oneof![
        40 => Just(Kind::Data),
        20 => Just(Kind::State),
        1 => Just(Kind::Fin),
        1 => Just(Kind::Reset),
        2 => Just(Kind::Syn),
    ];
    let near = || {
        prop_oneof![
            8 => Just(0_u16),
            3 => 0_u16..5,
            2 => 0_u16..9_000,
            2 => (1_u16..9_000).prop_map(|back| back.wrapping_neg()),
            1 => any::<u16>(),
        ]
    };
    let ids = prop_oneof![20 => Just(0_u16), 1 => any::<u16>()];
    let window = prop_oneof![Just(0_u32), 0_u32..3_000, Just(1_000_000), Just(u32::MAX)];
    let sack = prop_oneof![Just(Vec::new()), prop::collection::vec(any::<u8>(), 0..=255)];
    let wait = prop_oneof![4 => Just(0_u64), 4 => 0_u64..100, 1 => 0_u64..20_000];
    let rest = (sack, 0_usize..3_000, 0_u8..60, wait);
    (kind, ids, near(), near(), window, rest).prop_map(
        |(kind, id, seq, ack, window, (sack, len, owner, wait))| Odd {
            kind,
            id,
            seq,
            ack,
            window,
            sack,
            len,
            owner,
            wait,
        },
    )
}

/// A stranger whose connection to node 1 stands, and what it was told last.
struct Partner {
    key: utp::Key,
    id: u16,
    told: Header,
    sent: usize,
    read: usize,
}

const STRANGER: ([u8; 4], u16) = ([10, 0, 0, 1], 6881);

impl Partner {
    fn stand(world: &mut World) -> Self {
        let (now, from) = (world.now, SocketAddr::from(STRANGER));
        world.nodes[1].endpoint.handle_datagram(now, from, &packet(Kind::Syn, 50, 7, 0, &[]));
        let told = Packet::decode(&answers(world, from).remove(0)).expect("it is ours").header;
        let hello = packet(Kind::State, 51, 8, told.seq.minus(1).0, &[]);
        world.nodes[1].endpoint.handle_datagram(now, from, &hello);
        let (key, _) = world.nodes[1].endpoint.poll_accept().expect("it stands");
        let told = Header { seq: told.seq.minus(1), ..told };
        Self { key, id: 51, told, sent: 0, read: 0 }
    }

    fn datagram(&mut self, odd: &Odd) -> Vec<u8> {
        let header = Header {
            kind: odd.kind,
            connection_id: self.id.wrapping_add(odd.id),
            sent_micros: u32::from(odd.seq) << 16,
            delay_micros: u32::from(odd.ack) << 8,
            window: odd.window,
            seq: self.told.ack.plus(1).plus(odd.seq),
            ack: self.told.seq.plus(odd.ack),
        };
        let mut bytes = Vec::new();
        header.encode(&odd.sack, &mut bytes);
        if matches!(odd.kind, Kind::Data | Kind::Fin) {
            bytes.resize(bytes.len() + odd.len, 0);
            self.sent += odd.len;
        }
        bytes
    }

    /// What the endpoint has to say. What does not bear the number of a packet bears that of the next.
    fn listen(&mut self, world: &mut World) {
        let (now, mut out) = (world.now, Vec::new());
        while let Some(transmit) = world.nodes[1].endpoint.poll_transmit(now, &mut out) {
            for datagram in out.chunks(transmit.segment_len) {
                let said = Packet::decode(datagram).expect("it is ours").header;
                if said.connection_id == self.id.wrapping_sub(1) && said.kind != Kind::Reset {
                    let is_next = u16::from(said.kind == Kind::State);
                    self.told = Header { seq: said.seq.minus(is_next), ..said };
                }
            }
            out.clear();
        }
    }

    /// The owner of the stream does something, or nothing.
    fn act(&mut self, world: &mut World, what: u8) {
        let (now, endpoint) = (world.now, &mut world.nodes[1].endpoint);
        let mut room = [9; 5_000];
        match what {
            0..5 => _ = endpoint.write(now, self.key, &[IoSlice::new(&[7; 20_000])]),
            5..15 => {
                let got = endpoint.read(now, self.key, &mut [IoSliceMut::new(&mut room)]);
                let count = got.ok().flatten().unwrap_or(0);
                assert!(room[..count].iter().all(|&byte| byte == 0));
                self.read += count;
            }
            15 => endpoint.finish(now, self.key),
            16 => endpoint.close(now, self.key),
            _ => {}
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 32, ..ProptestConfig::default() })]

    #[test]
    fn endpoint_survives_any_packets(seed in any::<u64>(), odds in prop::collection::vec(odd(), 1..200)) {
        let mut world = World::new(seed, 2, Path::clean(10), Path::clean(10));
        let mut partner = Partner::stand(&mut world);
        for odd in &odds {
            partner.act(&mut world, odd.owner);
            let datagram = partner.datagram(odd);
            let now = world.now;
            world.nodes[1].endpoint.handle_datagram(now, STRANGER.into(), &datagram);
            partner.listen(&mut world);
            world.now += Duration::from_millis(odd.wait);
            let now = world.now;
            world.nodes[1].endpoint.handle_timeout(now);
            partner.listen(&mut world);
            let stats = world.nodes[1].endpoint.stats();
            // Each SYN with another id may have become one more.
            prop_assert!(stats.connections <= 1 + odds.len() && partner.read <= partner.sent);
            prop_assert!(stats.early_len <= (stats.connections + 1) * EARLY_COST_MAX);
        }
        // Whatever it was: nothing is left once the owners have gone.
        let (now, endpoint) = (world.now, &mut world.nodes[1].endpoint);
        endpoint.close(now, partner.key);
        while let Some((key, _)) = endpoint.poll_accept() {
            endpoint.close(now, key);
        }
        while let Some(at) = world.nodes[1].endpoint.poll_timeout() {
            prop_assert!(at <= now + Duration::from_secs(300));
            world.now = at;
            world.nodes[1].endpoint.handle_timeout(at);
            partner.listen(&mut world);
        }
        let stats = world.nodes[1].endpoint.stats();
        prop_assert_eq!((stats.connections, stats.early_len), (0, 0));
    }
}

/// What packets that came early cost a connection at most: what a new one has room for, and their places.
const EARLY_COST_MAX: usize = RECEIVE_LEN_MIN + EARLY_PACKETS_MAX * EARLY_SLOT_LEN;
