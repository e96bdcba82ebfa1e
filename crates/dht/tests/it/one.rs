//! One node and what is sent to it, byte by byte.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use dht::limits::{
    AMPLIFICATION_MAX, ASKED_BURST, FAILURES_BAD, FRESH, ID_KEPT, K, PATIENCE_FIRST,
    PATIENCES_DEAD, TICK,
};
use dht::{Config, Dht, Event, Transmit};
use proptest::prelude::*;
use proto::InfoHash;
use proto::dht::{
    Body, Contact, ErrorCode, MESSAGE_LEN_SENT, Message, Method, NodeId, Query, Reply, Want,
    is_secure,
};

const HASH: InfoHash = InfoHash([7; 20]);

#[expect(clippy::disallowed_methods, reason = "tests need one instant to count from")]
fn start() -> Instant {
    Instant::now()
}

fn config() -> Config {
    Config {
        seed: [1; 16],
        v4: true,
        v6: true,
        read_only: false,
        version: *b"TE01",
        roots: Vec::new(),
        saved: Vec::new(),
    }
}

fn addr(last: u8) -> SocketAddr {
    SocketAddr::from(([80, last, 1, 1], 6881))
}

fn drain(dht: &mut Dht) -> Vec<Transmit> {
    std::iter::from_fn(|| dht.poll_transmit()).collect()
}

fn query(id: u8, read_only: bool, method: Method<'_>) -> Vec<u8> {
    let body = Body::Query(Query { id: NodeId([id; 20]), read_only, method });
    Message { transaction: b"aa", version: None, observed: None, body }.encode()
}

fn get_peers(id: u8) -> Vec<u8> {
    query(id, true, Method::GetPeers { info_hash: HASH, want: Want::default() })
}

fn announce(token: &[u8], port: Option<u16>) -> Vec<u8> {
    query(1, true, Method::AnnouncePeer { info_hash: HASH, port, token })
}

/// The only answer.
fn answer(dht: &mut Dht) -> Vec<u8> {
    let mut answers = drain(dht);
    assert_eq!(answers.len(), 1);
    assert!(answers[0].is_answer);
    answers.pop().expect("one").bytes
}

fn body(bytes: &[u8]) -> Body<'_> {
    let message = Message::decode(bytes).expect("what we write is read");
    assert_eq!(message.transaction, b"aa");
    assert!(message.observed.is_some());
    message.body
}

/// Answers all questions of a node as somebody would who names nobody.
fn reply_all(dht: &mut Dht, now: Instant, observed: Option<SocketAddr>) -> usize {
    let questions = drain(dht);
    for Transmit { to, bytes, .. } in &questions {
        let message = Message::decode(bytes).expect("a question");
        let body = Body::Reply(Reply { id: id_of(*to), token: Some(b"t"), ..Reply::default() });
        let transaction = message.transaction;
        let answer = Message { transaction, version: None, observed, body }.encode();
        dht.handle_packet(now, *to, &answer);
    }
    questions.len()
}

fn id_of(addr: SocketAddr) -> NodeId {
    proto::dht::secure_id(addr.ip(), [addr.port() as u8; 20])
}

#[test]
fn a_peer_is_kept_for_who_shows_a_token_of_that_address() {
    let now = start();
    let mut dht = Dht::new(now, config());
    dht.handle_packet(now, addr(1), &get_peers(1));
    let bytes = answer(&mut dht);
    let Body::Reply(reply) = body(&bytes) else { panic!("a reply") };
    let token = reply.token.expect("a token").to_vec();
    assert!(reply.peers.is_empty());
    // Another address cannot use it, nor can anybody make one up.
    for (from, token) in [(addr(2), &token[..]), (addr(1), b"12345678"), (addr(1), b"")] {
        dht.handle_packet(now, from, &announce(token, Some(7000)));
        let reason = "bad token".to_owned();
        let refused = Body::Error { code: ErrorCode::Protocol, reason };
        assert_eq!(body(&answer(&mut dht)), refused);
    }
    for port in [Some(7000), None] {
        dht.handle_packet(now, addr(1), &announce(&token, port));
        assert!(matches!(body(&answer(&mut dht)), Body::Reply(_)));
    }
    assert_eq!(dht.stats().stored, 2);
    dht.handle_packet(now, addr(3), &get_peers(3));
    let bytes = answer(&mut dht);
    let Body::Reply(reply) = body(&bytes) else { panic!("a reply") };
    let mut peers = reply.peers;
    peers.sort();
    assert_eq!(peers, [addr(1), SocketAddr::new(addr(1).ip(), 7000)], "implied, and named");
}

#[test]
fn questions_that_are_wrong_are_told_so() {
    let now = start();
    let mut dht = Dht::new(now, config());
    let vote = query(1, true, Method::Unknown);
    let broken = b"d1:ad2:id20:abcdefghij0123456789e1:q9:find_node1:t2:aa1:y1:qe";
    for (bytes, code) in [(&vote[..], ErrorCode::MethodUnknown), (broken, ErrorCode::Protocol)] {
        dht.handle_packet(now, addr(1), bytes);
        assert!(matches!(body(&answer(&mut dht)), Body::Error { code: told, .. } if told == code));
    }
    for bytes in [&b"d1:t2:aa1:y1:re"[..], b"", b"hello", &[b'l'; 3000]] {
        dht.handle_packet(now, addr(1), bytes);
        assert!(drain(&mut dht).is_empty(), "what is no message is not answered");
    }
    assert_eq!(dht.stats().malformed, 4);
}

#[test]
fn a_read_only_node_asks_and_says_so_but_answers_nothing() {
    let now = start();
    let mut dht = Dht::new(now, Config { read_only: true, roots: vec![addr(9)], ..config() });
    dht.handle_timeout(now);
    let asked = drain(&mut dht);
    assert!(!asked.is_empty());
    for transmit in asked {
        assert!(!transmit.is_answer);
        let message = Message::decode(&transmit.bytes).expect("a question");
        assert!(matches!(message.body, Body::Query(Query { read_only: true, .. })));
    }
    dht.handle_packet(now, addr(1), &get_peers(1));
    assert!(drain(&mut dht).is_empty());
}

#[test]
fn who_has_not_proved_their_address_gets_no_more_than_three_times_their_bytes() {
    let now = start();
    let mut dht = Dht::new(now, Config { roots: (1..40).map(addr).collect(), ..config() });
    dht.handle_timeout(now);
    for _ in 0..40 {
        reply_all(&mut dht, now, None);
    }
    // Many peers of one hash.
    for last in 100..200 {
        dht.handle_packet(now, addr(last), &get_peers(last));
        let bytes = answer(&mut dht);
        let Body::Reply(reply) = body(&bytes) else { panic!("a reply") };
        dht.handle_packet(now, addr(last), &announce(reply.token.expect("a token"), None));
        drain(&mut dht);
    }
    assert_eq!(dht.stats().stored, 100);
    let stranger = SocketAddr::from(([90, 1, 1, 1], 6881));
    let want = Want { v4: true, v6: true };
    let questions = [
        query(1, true, Method::Ping),
        query(1, true, Method::FindNode { target: NodeId([1; 20]), want }),
        query(1, true, Method::GetPeers { info_hash: HASH, want }),
        get_peers(1),
        query(1, true, Method::Unknown),
    ];
    for question in questions {
        dht.handle_packet(now, stranger, &question);
        let len = answer(&mut dht).len();
        assert!(len <= AMPLIFICATION_MAX * question.len(), "{len} for {}", question.len());
    }
    // Somebody who has shown a token gets a full answer, and it fits.
    dht.handle_packet(now, addr(150), &get_peers(1));
    let bytes = answer(&mut dht);
    assert!(bytes.len() > 800 && bytes.len() <= 1024, "{}", bytes.len());
    let Body::Reply(reply) = body(&bytes) else { panic!("a reply") };
    assert_eq!(reply.nodes.map(|nodes| nodes.len()), Some(K));
    assert!(reply.peers.len() >= 50);
}

#[test]
fn somebody_who_asks_too_much_is_not_answered() {
    let now = start();
    let mut dht = Dht::new(now, config());
    for _ in 0..10 * ASKED_BURST {
        dht.handle_packet(now, addr(1), &query(1, true, Method::Ping));
    }
    assert_eq!(drain(&mut dht).len(), ASKED_BURST as usize);
    dht.handle_packet(now, addr(2), &query(1, true, Method::Ping));
    assert_eq!(drain(&mut dht).len(), 1, "others are");
    assert_eq!(dht.stats().refused, u64::from(9 * ASKED_BURST));
}

#[test]
fn answers_count_only_from_where_and_as_whom_they_were_asked() {
    let now = start();
    let mut dht = Dht::new(now, Config { roots: vec![addr(1)], ..config() });
    dht.handle_timeout(now);
    let asked = drain(&mut dht);
    let message = Message::decode(&asked[0].bytes).expect("a question");
    let reply = |transaction: &[u8]| {
        let body = Body::Reply(Reply { id: id_of(addr(1)), ..Reply::default() });
        Message { transaction, version: None, observed: None, body }.encode()
    };
    dht.handle_packet(now, addr(2), &reply(message.transaction));
    dht.handle_packet(now, addr(1), &reply(b"none"));
    assert_eq!(dht.stats().nodes_v4, 0);
    dht.handle_packet(now, addr(1), &reply(message.transaction));
    assert_eq!(dht.stats().nodes_v4, 1);
}

#[test]
fn our_id_comes_to_belong_to_the_address_that_others_see() {
    let now = start();
    let ours: SocketAddr = "8.7.6.5:6881".parse().expect("an address");
    let mut dht = Dht::new(now, Config { roots: (1..30).map(addr).collect(), ..config() });
    dht.handle_timeout(now);
    for _ in 0..30 {
        reply_all(&mut dht, now, Some(ours));
    }
    let events: Vec<_> = std::iter::from_fn(|| dht.poll_event()).collect();
    assert_eq!(events, [Event::External(ours.ip())]);
    dht.handle_packet(now, addr(99), &query(1, true, Method::Ping));
    let bytes = answer(&mut dht);
    let Body::Reply(reply) = body(&bytes) else { panic!("a reply") };
    assert!(is_secure(reply.id, ours.ip()));
    assert!(dht.stats().nodes_v4 >= K, "nodes are kept");
    // The id and the nodes outlast a restart.
    let saved = dht.save();
    let mut again = Dht::new(now, Config { seed: [2; 16], saved, ..config() });
    again.handle_packet(now, addr(99), &query(1, true, Method::Ping));
    let bytes = answer(&mut again);
    assert!(matches!(body(&bytes), Body::Reply(Reply { id, .. }) if id == reply.id));
    again.search(now, HASH, None);
    assert!(!drain(&mut again).is_empty(), "it goes on from the nodes that it knew");
}

#[test]
fn an_address_that_changes_soon_changes_our_id_later() {
    let mut now = start();
    let (first, second): (SocketAddr, SocketAddr) =
        (([8, 7, 6, 5], 6881).into(), ([9, 7, 6, 5], 6881).into());
    let mut dht = Dht::new(now, Config { roots: (1..30).map(addr).collect(), ..config() });
    dht.handle_timeout(now);
    while reply_all(&mut dht, now, Some(first)) > 0 {}
    now += Duration::from_secs(1);
    for hash in 0..16 {
        dht.search(now, InfoHash([16 * hash; 20]), None);
        while reply_all(&mut dht, now, Some(second)) > 0 {}
    }
    let mut events = std::iter::from_fn(|| dht.poll_event());
    assert!(events.any(|event| event == Event::External(second.ip())));
    let mut belongs_to = |now| {
        drain(&mut dht);
        dht.handle_timeout(now);
        drain(&mut dht);
        dht.handle_packet(now, addr(99), &query(1, true, Method::Ping));
        let bytes = answer(&mut dht);
        let Body::Reply(reply) = body(&bytes) else { panic!("a reply") };
        [first, second].map(|ours| is_secure(reply.id, ours.ip()))
    };
    assert_eq!(belongs_to(now), [true, false], "not so soon");
    // Nobody says anything new, and nobody has to.
    assert_eq!(belongs_to(now + ID_KEPT), [false, true]);
}

#[test]
fn who_refuses_to_be_pinged_does_not_keep_others_from_it() {
    let mut now = start();
    let roots = vec![addr(1), addr(2)];
    let mut dht = Dht::new(now, Config { roots, v6: false, ..config() });
    dht.handle_timeout(now);
    while reply_all(&mut dht, now, None) > 0 {}
    assert_eq!(dht.stats().nodes_v4, 2);
    now += FRESH;
    let mut refused = 0;
    for _ in 0..20 {
        now += TICK;
        dht.handle_timeout(now);
        for Transmit { to, bytes, .. } in drain(&mut dht) {
            let message = Message::decode(&bytes).expect("a question");
            let Body::Query(Query { method, .. }) = message.body else { panic!("a question") };
            let body = if to == addr(1) {
                refused += usize::from(method == Method::Ping);
                Body::Error { code: ErrorCode::Server, reason: String::new() }
            } else {
                Body::Reply(Reply { id: id_of(to), ..Reply::default() })
            };
            let transaction = message.transaction;
            let answer = Message { transaction, version: None, observed: None, body }.encode();
            dht.handle_packet(now, to, &answer);
        }
    }
    assert_eq!(refused, usize::from(FAILURES_BAD), "then others have their turn");
    assert_eq!(dht.stats().nodes_v4, 1);
}

#[test]
fn a_family_without_nodes_learns_of_some_through_the_other() {
    let mut now = start();
    let mut dht = Dht::new(now, Config { roots: vec![addr(1)], ..config() });
    let v6 = |last: u8| SocketAddr::from(([0x2001, 0xdb8, last.into(), 0, 0, 0, 0, 1], 6881));
    let contact = |addr| Contact { id: id_of(addr), addr };
    // Each node of the one family knows a few of the other, and some that it must not lead us to.
    for _ in 0..40 {
        dht.handle_timeout(now);
        for Transmit { to, bytes, .. } in drain(&mut dht) {
            assert!(!to.ip().is_loopback());
            let message = Message::decode(&bytes).expect("a question");
            let Body::Query(query) = message.body else { panic!("a question") };
            let mut reply = Reply { id: id_of(to), ..Reply::default() };
            if let (IpAddr::V4(ip), Method::FindNode { .. }) = (to.ip(), query.method) {
                let near = |last: u8| (ip.octets()[1] % 16) * 8 + last;
                reply.nodes = Some((0..8).map(|last| contact(addr(near(last)))).collect());
                let local = contact("[::1]:9".parse().expect("an address"));
                let others = (0..7).map(|last| contact(v6(near(last))));
                reply.nodes6 = Some([local].into_iter().chain(others).collect());
            }
            let (transaction, body) = (message.transaction, Body::Reply(reply));
            let answer = Message { transaction, version: None, observed: None, body }.encode();
            dht.handle_packet(now, to, &answer);
        }
        now += Duration::from_secs(10);
    }
    assert!(dht.stats().nodes_v6 >= K, "{:?}", dht.stats());
    // Both are asked for while one has too few, and no longer.
    let mut young = Dht::new(now, Config { roots: vec![addr(1)], ..config() });
    for (dht, expected) in [(&mut young, Want { v4: true, v6: true }), (&mut dht, Want::default())]
    {
        drain(dht);
        dht.search(now, HASH, None);
        for Transmit { bytes, .. } in drain(dht) {
            let message = Message::decode(&bytes).expect("a question");
            let Body::Query(query) = message.body else { panic!("a question") };
            assert_eq!(query.method, Method::GetPeers { info_hash: HASH, want: expected });
        }
    }
}

#[test]
fn who_only_asks_is_not_asked_back() {
    let mut now = start();
    let mut dht = Dht::new(now, config());
    dht.handle_packet(now, addr(1), &query(1, true, Method::Ping));
    dht.handle_packet(now, addr(2), &query(2, false, Method::Ping));
    assert!(drain(&mut dht).iter().all(|transmit| transmit.is_answer));
    let mut asked = Vec::new();
    for _ in 0..20 {
        now += Duration::from_secs(1);
        dht.handle_timeout(now);
        asked.extend(drain(&mut dht).into_iter().map(|transmit| transmit.to));
    }
    assert_eq!(asked, [addr(2)]);
}

#[test]
fn a_stranger_cannot_make_us_write_to_our_own_network() {
    let now = start();
    let mut dht = Dht::new(now, Config { roots: vec![addr(1)], ..config() });
    dht.search(now, HASH, Some(1));
    let asked = drain(&mut dht);
    let message = Message::decode(&asked[0].bytes).expect("a question");
    let bad = ["127.0.0.1:80", "192.168.1.1:80", "169.254.169.254:80", "224.0.0.1:9", "10.0.0.1:0"];
    let bad: Vec<SocketAddr> = bad.iter().map(|addr| addr.parse().expect("an address")).collect();
    let nodes = bad.iter().map(|addr| Contact { id: id_of(*addr), addr: *addr }).collect();
    let reply = Reply { id: id_of(addr(1)), nodes: Some(nodes), peers: bad, ..Reply::default() };
    let body = Body::Reply(reply);
    let transaction = message.transaction;
    let bytes = Message { transaction, version: None, observed: None, body }.encode();
    dht.handle_packet(now, addr(1), &bytes);
    let mut now = now;
    for _ in 0..20 {
        now += Duration::from_secs(1);
        dht.handle_timeout(now);
        assert!(drain(&mut dht).iter().all(|transmit| transmit.to == addr(1)));
    }
    let events: Vec<_> = std::iter::from_fn(|| dht.poll_event()).collect();
    assert_eq!(events, [Event::Searched { info_hash: HASH, peers: 0, announced: 0 }]);
}

#[test]
fn a_search_in_an_empty_world_ends_and_costs_nothing() {
    let mut now = start();
    let mut dht = Dht::new(now, config());
    dht.search(now, HASH, Some(1));
    let ended = Event::Searched { info_hash: HASH, peers: 0, announced: 0 };
    assert_eq!(dht.poll_event(), Some(ended.clone()));
    dht.add_roots(now, &[addr(1), "[2001:db8::1]:1".parse().expect("an address")]);
    dht.search(now, HASH, Some(1));
    assert_eq!(drain(&mut dht).len(), 2, "one question in each network");
    now += PATIENCE_FIRST;
    dht.handle_timeout(now);
    now += PATIENCE_FIRST * PATIENCES_DEAD;
    dht.handle_timeout(now);
    let events: Vec<_> = std::iter::from_fn(|| dht.poll_event()).collect();
    assert_eq!(events, [ended]);
}

/// A hostile or confused world: anything may come at any time.
#[derive(Debug, Clone)]
enum Step {
    Bytes(u8, Vec<u8>),
    Query(u8, u8, bool),
    Reply { to: u8, peers: u8, lies: bool },
    Pass(u16),
    Search(u8),
    Root(u8),
}

fn step() -> impl Strategy<Value = Step> {
    // Many answer, so that there is something to tell.
    prop_oneof![
        1 => (any::<u8>(), proptest::collection::vec(any::<u8>(), 0..40))
            .prop_map(|(from, bytes)| Step::Bytes(from, bytes)),
        2 => (any::<u8>(), 0..4_u8, any::<bool>()).prop_map(|(a, b, c)| Step::Query(a, b, c)),
        6 => (any::<u8>(), any::<u8>(), 0..4_u8)
            .prop_map(|(to, peers, lies)| Step::Reply { to, peers, lies: lies == 0 }),
        1 => (0..8000_u16).prop_map(Step::Pass),
        1 => any::<u8>().prop_map(Step::Search),
        1 => any::<u8>().prop_map(Step::Root),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]
    #[test]
    fn whatever_comes_it_stays_within_bounds(steps in proptest::collection::vec(step(), 0..120)) {
        let mut now = start();
        let mut dht = Dht::new(now, config());
        let mut open: Vec<Transmit> = Vec::new();
        // Who answered anything. Nobody shows a token that was given to them.
        let mut answered = BTreeSet::new();
        for step in steps {
            let mut heard = None;
            match step {
                Step::Bytes(from, bytes) => {
                    heard = Some((addr(from), bytes.len()));
                    dht.handle_packet(now, addr(from), &bytes);
                }
                Step::Query(from, which, read_only) => {
                    let want = Want::default();
                    let bytes = query(from, read_only, match which {
                        0 => Method::Ping,
                        1 => Method::FindNode { target: NodeId([from; 20]), want },
                        2 => Method::GetPeers { info_hash: HASH, want },
                        _ => Method::AnnouncePeer { info_hash: HASH, port: None, token: b"x" },
                    });
                    heard = Some((addr(from), bytes.len()));
                    dht.handle_packet(now, addr(from), &bytes);
                }
                Step::Reply { to, peers, lies } => {
                    if open.is_empty() { continue; }
                    let asked = open.swap_remove(to as usize % open.len());
                    answered.insert(asked.to);
                    let message = Message::decode(&asked.bytes).unwrap();
                    let id = if lies { NodeId([to; 20]) } else { id_of(asked.to) };
                    let contact = |last: u8| Contact { id: id_of(addr(last)), addr: addr(last) };
                    let reply = Reply {
                        id,
                        nodes: Some((peers..peers.saturating_add(8)).map(contact).collect()),
                        peers: (0..peers % 8).map(addr).collect(),
                        token: Some(b"t"),
                        ..Reply::default()
                    };
                    let (transaction, body) = (message.transaction, Body::Reply(reply));
                    let bytes = Message { transaction, version: None, observed: None, body };
                    dht.handle_packet(now, asked.to, &bytes.encode());
                }
                Step::Pass(millis) => {
                    now += Duration::from_millis(millis.into());
                    dht.handle_timeout(now);
                }
                Step::Search(hash) => dht.search(now, InfoHash([hash; 20]), Some(1)),
                Step::Root(last) => dht.add_roots(now, &[addr(last)]),
            }
            for transmit in drain(&mut dht) {
                let len = transmit.bytes.len();
                prop_assert!(len <= MESSAGE_LEN_SENT);
                let message = Message::decode(&transmit.bytes).unwrap();
                let asks = matches!(message.body, Body::Query(_));
                prop_assert_eq!(asks, !transmit.is_answer);
                if asks {
                    open.push(transmit);
                    continue;
                }
                let (from, heard) = heard.take().expect("one answer to one question");
                prop_assert_eq!(transmit.to, from);
                prop_assert!(answered.contains(&from) || len <= AMPLIFICATION_MAX * heard);
            }
            open.truncate(600);
            let stats = dht.stats();
            prop_assert!(stats.nodes_v4 <= answered.len() && stats.nodes_v6 == 0);
            prop_assert!(stats.searches <= 256 && stats.stored == 0);
            let _ = std::iter::from_fn(|| dht.poll_event()).count();
        }
    }
}
