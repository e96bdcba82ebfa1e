//! KRPC messages: the specification's examples, round trips, hostile input.

use std::net::{Ipv4Addr, Ipv6Addr};

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;
use crate::DecodeError;

const ASKER: NodeId = NodeId(*b"abcdefghij0123456789");
const OTHER: NodeId = NodeId(*b"mnopqrstuvwxyz123456");

fn plain(body: Body<'_>) -> Message<'_> {
    Message { transaction: b"aa", version: None, observed: None, body }
}

fn query(method: Method<'_>) -> Message<'_> {
    plain(Body::Query(Query { id: ASKER, read_only: false, method }))
}

fn check(bytes: &[u8], message: &Message<'_>) {
    assert_eq!(Message::decode(bytes).as_ref(), Ok(message));
    assert_eq!(message.encode().escape_ascii().to_string(), bytes.escape_ascii().to_string());
}

#[test]
fn examples_of_the_specification_are_read_and_written() {
    let want = Want::default();
    check(b"d1:ad2:id20:abcdefghij0123456789e1:q4:ping1:t2:aa1:y1:qe", &query(Method::Ping));
    check(
        b"d1:ad2:id20:abcdefghij01234567896:target20:mnopqrstuvwxyz123456e1:q9:find_node1:t2:aa1:y1:qe",
        &query(Method::FindNode { target: OTHER, want }),
    );
    let info_hash = InfoHash(OTHER.0);
    check(
        b"d1:ad2:id20:abcdefghij01234567899:info_hash20:mnopqrstuvwxyz123456e1:q9:get_peers1:t2:aa1:y1:qe",
        &query(Method::GetPeers { info_hash, want }),
    );
    check(
        b"d1:rd2:id20:mnopqrstuvwxyz123456e1:t2:aa1:y1:re",
        &plain(Body::Reply(Reply { id: OTHER, ..Reply::default() })),
    );
    let peers = ["97.120.106.101:11893", "105.100.104.116:28269"];
    let peers = peers.iter().map(|peer| peer.parse().expect("an address")).collect();
    check(
        b"d1:rd2:id20:abcdefghij01234567895:token8:aoeusnth6:valuesl6:axje.u6:idhtnmee1:t2:aa1:y1:re",
        &plain(Body::Reply(Reply { id: ASKER, peers, token: Some(b"aoeusnth"), ..Reply::default() })),
    );
    check(
        b"d1:eli201e23:A Generic Error Ocurrede1:t2:aa1:y1:ee",
        &plain(Body::Error { code: ErrorCode::Generic, reason: "A Generic Error Ocurred".into() }),
    );
}

#[test]
fn an_implied_port_wins_over_a_named_one() {
    let bytes =
        b"d1:ad2:id20:abcdefghij012345678912:implied_porti1e9:info_hash20:mnopqrstuvwxyz123456\
        4:porti6881e5:token8:aoeusnthe1:q13:announce_peer1:t2:aa1:y1:qe";
    let message = Message::decode(bytes).expect("a message");
    let info_hash = InfoHash(OTHER.0);
    let method = Method::AnnouncePeer { info_hash, port: None, token: b"aoeusnth" };
    assert_eq!(message, query(method));
}

#[test]
fn a_question_that_lacks_something_can_still_be_answered() {
    for (bytes, reason) in [
        (&b"d1:q4:ping1:t2:aa1:y1:qe"[..], "the arguments are missing"),
        (b"d1:ade1:q4:ping1:t2:aa1:y1:qe", "the id is not 20 bytes long"),
        (b"d1:ad2:id3:abce1:q4:ping1:t2:aa1:y1:qe", "the id is not 20 bytes long"),
        (
            b"d1:ad2:id20:abcdefghij0123456789e1:q9:find_node1:t2:aa1:y1:qe",
            "the target is not 20 bytes long",
        ),
        (
            b"d1:ad2:id20:abcdefghij01234567894:porti0e5:token1:xe1:q13:announce_peer1:t2:aa1:y1:qe",
            "the port is missing",
        ),
        (
            b"d1:ad2:id20:abcdefghij01234567894:porti9ee1:q13:announce_peer1:t2:aa1:y1:qe",
            "the token is missing",
        ),
    ] {
        let message = Message::decode(bytes).expect("a message");
        assert_eq!((message.transaction, message.body), (&b"aa"[..], Body::Malformed(reason)));
    }
    let unknown = b"d1:ad2:id20:abcdefghij0123456789e1:q4:vote1:t2:aa1:y1:qe";
    assert_eq!(Message::decode(unknown), Ok(query(Method::Unknown)));
}

#[test]
fn read_only_wants_and_observed_addresses_are_where_they_belong() {
    let want = Want { v4: true, v6: true };
    let body =
        Query { id: ASKER, read_only: true, method: Method::FindNode { target: OTHER, want } };
    let message = Message {
        version: Some(*b"TE01"),
        observed: Some("1.2.3.4:6881".parse().expect("an address")),
        ..plain(Body::Query(body))
    };
    check(
        b"d1:ad2:id20:abcdefghij01234567896:target20:mnopqrstuvwxyz1234564:wantl2:n42:n6ee\
          2:ip6:\x01\x02\x03\x04\x1a\xe11:q9:find_node2:roi1e1:t2:aa1:v4:TE011:y1:qe",
        &message,
    );
}

#[test]
fn broken_datagrams_are_refused_with_a_reason() {
    let long = [b"d1:t40:".to_vec(), vec![b'x'; 40], b"1:y1:qe".to_vec()].concat();
    let deep = [b"d1:t2:aa1:x".to_vec(), vec![b'l'; 500], vec![b'e'; 500], b"e".to_vec()].concat();
    for (bytes, reason) in [
        (&b"le"[..], "DHT message: transaction id or kind is missing"),
        (b"d1:y1:qe", "DHT message: transaction id or kind is missing"),
        (b"d1:t2:aa1:y1:xe", "DHT message: neither query, reply nor error"),
        (b"d1:t2:aa1:y1:re", "DHT message: a reply without values"),
        (b"d1:rd2:id2:abe1:t2:aa1:y1:re", "DHT message: the id is not 20 bytes long"),
        (
            b"d1:rd2:id20:abcdefghij01234567895:nodes3:abce1:t2:aa1:y1:re",
            "DHT message: the nodes are not a whole number of nodes",
        ),
        (b"d1:t2:aa1:y1:qe ", "DHT message: unexpected data after the end"),
        (b"d1:t2:aa1:y1:q", "DHT message: the data ends too early"),
        (&long, "DHT message: more than the limit of 32"),
        (&deep, "DHT message: nested too deeply"),
    ] {
        let error = Message::decode(bytes).expect_err("refused");
        assert_eq!(error.to_string(), reason);
    }
    let huge = vec![b'l'; MESSAGE_LEN_MAX + 1];
    let limit = MESSAGE_LEN_MAX as u64;
    assert_eq!(Message::decode(&huge), Err(DecodeError::TooLong { what: WHAT, limit }));
}

#[test]
fn no_reply_brings_more_nodes_than_the_limit() {
    let contact = Contact { id: OTHER, addr: (Ipv4Addr::new(1, 2, 3, 4), 5).into() };
    let nodes = Some(vec![contact; NODES_MAX + 5]);
    let bytes = plain(Body::Reply(Reply { id: ASKER, nodes, ..Reply::default() })).encode();
    let Body::Reply(reply) = Message::decode(&bytes).expect("a message").body else {
        panic!("a reply")
    };
    assert_eq!(reply.nodes.map(|nodes| nodes.len()), Some(NODES_MAX));
}

fn v4() -> impl Strategy<Value = SocketAddr> {
    any::<(u32, u16)>().prop_map(|(ip, port)| (Ipv4Addr::from(ip), port).into())
}

fn v6() -> impl Strategy<Value = SocketAddr> {
    any::<(u128, u16)>().prop_map(|(ip, port)| (Ipv6Addr::from(ip), port).into())
}

fn contacts(
    addr: impl Strategy<Value = SocketAddr>,
) -> impl Strategy<Value = Option<Vec<Contact>>> {
    let contact = (any::<[u8; 20]>(), addr).prop_map(|(id, addr)| Contact { id: NodeId(id), addr });
    proptest::option::of(vec(contact, 0..=8))
}

proptest! {
    #[test]
    fn replies_round_trip(
        id: [u8; 20],
        nodes in contacts(v4()),
        nodes6 in contacts(v6()),
        peers in vec(prop_oneof![v4(), v6()], 0..30),
        token in proptest::option::of(vec(any::<u8>(), 0..=TOKEN_LEN_MAX)),
        transaction in vec(any::<u8>(), 0..=TRANSACTION_LEN_MAX),
        version: Option<[u8; 4]>,
        observed in proptest::option::of(prop_oneof![v4(), v6()]),
    ) {
        let reply = Reply { id: NodeId(id), nodes, nodes6, peers, token: token.as_deref() };
        let message =
            Message { transaction: &transaction, version, observed, body: Body::Reply(reply) };
        let bytes = message.encode();
        prop_assert_eq!(Message::decode(&bytes), Ok(message));
    }

    #[test]
    fn queries_round_trip(
        id: [u8; 20],
        other: [u8; 20],
        read_only: bool,
        families: (bool, bool),
        port in proptest::option::of(1..=u16::MAX),
        token in vec(any::<u8>(), 0..=TOKEN_LEN_MAX),
        which in 0..5_u8,
    ) {
        let want = Want { v4: families.0, v6: families.1 };
        let (target, info_hash) = (NodeId(other), InfoHash(other));
        let method = match which {
            0 => Method::Ping,
            1 => Method::FindNode { target, want },
            2 => Method::GetPeers { info_hash, want },
            3 => Method::AnnouncePeer { info_hash, port, token: &token },
            _ => Method::Unknown,
        };
        let message = plain(Body::Query(Query { id: NodeId(id), read_only, method }));
        let bytes = message.encode();
        prop_assert_eq!(Message::decode(&bytes), Ok(message));
    }

    #[test]
    fn errors_round_trip(code: i64, reason in "[a-z ]{0,100}") {
        let code = ErrorCode::from_number(code);
        let message = plain(Body::Error { code, reason });
        let bytes = message.encode();
        prop_assert_eq!(Message::decode(&bytes), Ok(message));
    }

    #[test]
    fn damaged_messages_never_panic(
        mut bytes in Just(query(Method::GetPeers {
            info_hash: InfoHash([1; 20]), want: Want { v4: true, v6: false },
        }).encode()),
        changes in vec((any::<proptest::sample::Index>(), any::<u8>()), 0..6),
        cut in any::<proptest::sample::Index>(),
    ) {
        for (at, byte) in changes {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        let _ = Message::decode(&bytes);
        let _ = Message::decode(&bytes[..cut.index(bytes.len())]);
    }
}
